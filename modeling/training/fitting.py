"""Pure: does it fit a card, how long will it take, what will it cost; reckoned before anything is started.

By part, from the shapes of the model and of a batch. Memory on a real card also hangs on its driver and on how it is
cut up, so a tenth at least should be left over. Nothing here was measured on a card yet; the README says once it is.

Where several cards share a model, each holds its part of the weights, the gradients and the optimiser (ZeRO's third
stage, arXiv 1910.02054, and FSDP alike), and for a moment a whole layer and the words; activations are its own posts'.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

from modeling.gpu.config import Config
from modeling.gpu.families import FAMILIES, Family, Size
from modeling.gpu.pixels import SOFT_TOKENS
from modeling.gpu.shapes import SHAPES, Shape

GB = 1024**3
NF4 = 0.5 + 0.127 / 8  # bytes a weight: four bits, and its share of the twice quantised constants
BF16, FP32 = 2, 4
ADAM, ADAM_8BIT = 8, 2  # bytes of optimiser a trained weight
TEXT_TOKENS = 350  # of question, labels and a post
CONTEXT = 0.7 * GB  # what CUDA itself takes
ROOM = 0.9  # of a card may be filled
AT_WORK = {"qlora": 0.25, "lora": 0.35, "spectrum": 0.35, "full": 0.35}  # of a card's peak, as trainers usually reach
LOADING = 180.0  # seconds before the first step, and for saving
# Pixels of a picture's side that become one token, in the families whose tokens grow with the picture.
TOKEN_SIDES = {"qwen2_vl": 28, "qwen2_5_vl": 28, "qwen3_vl": 32, "qwen3_5": 32, "pixtral": 16, "mistral3": 28}
SOFT_SIDE, SOFT_MOST = 48, 280  # Gemma 4 takes steps, and has this one for its largest unless it is told otherwise
# Tokens a picture becomes where its size is fixed. LLaVA-NeXT and InternVL cut large pictures into tiles: their most.
PICTURE_TOKENS = {
    "llava": 576, "llava_next": 2880, "paligemma": 256, "florence2": 577, "internvl": 3328, "idefics2": 320,
    "idefics3": 1690, "smolvlm": 1088, "gemma3": 256,
}  # fmt: skip


class Card(NamedTuple):
    name: str
    gigabytes: int
    teraflops: float  # in bf16, dense
    price: float | None  # an hour


@dataclass(frozen=True)
class Estimate:
    parts: Mapping[str, float]  # bytes, of one card
    tokens: int  # of one post
    steps: int
    posts: int  # seen, over all epochs
    operations: float  # floating-point, in all

    @property
    def bytes(self) -> float:
        return sum(self.parts.values())

    def fits(self, card: Card) -> bool:
        return self.bytes <= ROOM * card.gigabytes * GB


class OnCard(NamedTuple):
    card: Card
    fits: bool
    seconds: float
    cost: float | None


def known_size(model: str) -> tuple[Family, Size, Shape] | None:
    for family in FAMILIES:
        for size in family.sizes:
            if size.hub == model and model in SHAPES:
                return family, size, SHAPES[model]
    return None


def estimate(config: Config, posts: int) -> Estimate | None:
    """None for a model whose shape we do not know: a folder, one that is not in our table, or a classifier."""
    known = None if config.is_classifier else known_size(config.model)
    if known is None or not posts:
        return None
    family, size, shape = known
    tokens = TEXT_TOKENS + picture_tokens(family, config)
    at_once = config.batch * config.accumulation * config.cards
    seen = config.max_steps * at_once or round(config.epochs * posts)
    return Estimate(
        parts={
            **of_the_model(config, size, shape),
            "activations": activations(config, shape, tokens),
            "CUDA itself": CONTEXT,
        },
        tokens=tokens,
        steps=config.max_steps or max(1, round(seen / at_once)),
        posts=seen,
        operations=operations(config, size, shape, tokens) * seen,
    )


def of_the_model(config: Config, size: Size, shape: Shape) -> dict[str, float]:
    """What a card holds of it."""
    trained, adapts = trained_weights(config, shape), config.method in ("qlora", "lora")
    whole = {
        "weights": weights(config, size, shape),
        "what is trained": trained * (FP32 if adapts else 0),
        "gradients": trained * (FP32 if adapts else BF16),
        "optimiser": trained * (ADAM_8BIT if config.method == "qlora" else ADAM),
    }
    if config.sharing == "ddp" or config.cards == 1:
        return whole
    layer = linear_weights(shape) / shape.layers * (NF4 if config.method == "qlora" else BF16)
    own = {name: part / config.cards for name, part in whole.items()}
    return {**own, "gathered for a moment": layer + shape.words * BF16}


def picture_tokens(family: Family, config: Config) -> int:
    if side := TOKEN_SIDES.get(family.key):
        return config.max_pixels // side**2
    if family.pixels == "tokens":
        steps = [step for step in SOFT_TOKENS if step * SOFT_SIDE**2 <= config.max_pixels] or SOFT_TOKENS[:1]
        return min(steps[-1], SOFT_MOST)
    return PICTURE_TOKENS[family.key]


def linear_weights(shape: Shape) -> int:
    """Of the matrices that are quantised and adapted: attention and feed-forward of every layer."""
    return sum(number * wide * tall for number, wide, tall in shape.matrices)


def weights(config: Config, size: Size, shape: Shape) -> float:
    inner = linear_weights(shape) * (NF4 if config.method == "qlora" else BF16)
    return inner + shape.words * BF16 + size.vision * 1e9 * BF16


def trained_weights(config: Config, shape: Shape) -> float:
    if config.method == "full":
        return linear_weights(shape) + shape.words
    if config.method == "spectrum":
        return config.spectrum_share * linear_weights(shape)
    return config.rank * sum(number * (wide + tall) for number, wide, tall in shape.matrices)


def activations(config: Config, shape: Shape, tokens: int) -> float:
    """With checkpointing each layer's input is kept, and one layer's inside at a time; without it, all of them."""
    row = config.batch * tokens
    inside = row * (12 * shape.hidden + 5 * shape.inner) * BF16
    kept = row * shape.hidden * BF16 * shape.layers
    unpacked = 3 * shape.hidden * shape.inner * BF16 if config.method == "qlora" else 0
    return (kept + inside if config.checkpointing else inside * shape.layers) + unpacked


def operations(config: Config, size: Size, shape: Shape, tokens: int) -> float:
    """Of one post. Forward, back through all of it, once more forward where activations are made anew; and the weights'
    own gradients where they are trained."""
    passes = 4 + (2 if config.checkpointing else 0) + (2 if config.method in ("spectrum", "full") else 0)
    seen_patches = 4 * (tokens - TEXT_TOKENS)
    return passes * linear_weights(shape) * tokens + 2 * size.vision * 1e9 * seen_patches


def on_cards(made: Estimate, config: Config, cards: list[Card]) -> list[OnCard]:
    """Several of a kind where the run asks for several; as if none of them waited for another."""
    found = []
    for card in cards:
        at_work = card.teraflops * 1e12 * AT_WORK[config.method] * config.cards
        seconds = LOADING + made.operations / at_work
        cost = card.price * config.cards * seconds / 3600 if card.price is not None else None
        found.append(OnCard(card, made.fits(card), seconds, cost))
    return found


def warnings(made: Estimate, config: Config, cards: list[OnCard]) -> list[str]:
    """What should be thought over; nothing is refused."""
    told = []
    if cards and not any(one.fits for one in cards):
        largest = max(one.card.gigabytes for one in cards)
        told.append(
            f"It wants about {made.bytes / GB:.0f} GB, more than any of these cards has ({largest} GB). Take QLoRA, a "
            "smaller model, or smaller pictures."
        )
    if config.method == "qlora" and not config.checkpointing:
        told.append("Without gradient checkpointing the memory is mostly activations; switch it on for a small card.")
    if made.steps < 20:
        told.append(f"Only {made.steps} steps: the warm-up is hardly over by then. More epochs, or smaller batches.")
    return told
