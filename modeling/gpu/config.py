"""What a run is asked to do: `config.json` in its folder. Read here and by the site, so it needs no torch."""

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, Literal, Self

from . import classifier_tiny, tiny

Method = Literal["qlora", "lora", "spectrum", "full", "classifier"]
Projector = Literal["frozen", "lora", "train"]
METHODS: tuple[Method, ...] = ("qlora", "lora", "spectrum", "full", "classifier")
PROJECTORS: tuple[Projector, ...] = ("frozen", "lora", "train")
Sharing = Literal["ddp", "fsdp", "zero3"]
SHARINGS: tuple[Sharing, ...] = ("ddp", "fsdp", "zero3")
NOT_THAT_TINY = (
    f"“{tiny.NAME}” reads and writes, and “{classifier_tiny.NAME}” is a classifier of pictures: each goes with its own "
    "methods."
)


@dataclass(frozen=True)
class Config:
    model: str  # tiny, tiny-picture, a name on the hub, or a folder
    revision: str = ""
    trust_remote_code: bool = False
    method: Method = "qlora"
    rank: int = 16
    alpha: int = 16
    dropout: float = 0.0
    targets: str = "all-linear"  # or a full match of module names; never what sees
    projector: Projector = "frozen"
    projector_lr: float = 2e-5
    spectrum_share: float = 0.3
    lr: float = 2e-4
    schedule: str = "cosine"
    warmup: float = 0.1  # of all steps
    epochs: float = 3.0
    max_steps: int = 0  # 0: as the epochs give
    batch: int = 2
    accumulation: int = 4
    weight_decay: float = 0.0
    clip: float = 1.0
    checkpointing: bool = True
    min_pixels: int = 4 * 28 * 28
    max_pixels: int = 768 * 28 * 28
    seed: int = 0
    weights: Mapping[str, float] = field(default_factory=dict)  # by label
    focal: float = 0.0  # how much less what is known already counts
    balanced: bool = False  # each label drawn as often
    evaluate_every: int = 0  # steps; 0: at each epoch's end
    patience: int = 0  # evaluations without a better one before it stops; 0: it does not
    evaluation_batch: int = 8
    augment: bool = False
    text_dropout: float = 0.0  # of the posts whose picture tells the label: how often their words are left out
    as_is: bool = False  # a classifier's checkpoint, kept as a run without training it
    cards: int = 1  # of one machine, each with posts of its own
    sharing: Sharing = "ddp"  # what several cards hold of the model: each all of it (ddp), or each a part

    def __post_init__(self) -> None:
        if problem := problem_with(self):
            raise ValueError(problem)

    @property
    def is_classifier(self) -> bool:
        """It tells labels apart by the picture alone, and reads and writes no words."""
        return self.method == "classifier"

    @property
    def is_made_on_the_spot(self) -> bool:
        """Random, of our own making, and worth nothing but the walk."""
        return self.model in (tiny.NAME, classifier_tiny.NAME)

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> Self:
        known = {f.name for f in fields(cls)}
        if unknown := sorted(set(stored) - known):
            raise ValueError(f"“{unknown[0]}” is nothing that can be set; there are {', '.join(sorted(known))}.")
        return cls(**stored)

    @classmethod
    def read(cls, folder: Path) -> Self:
        return cls.from_json(json.loads((folder / "config.json").read_text(encoding="utf-8")))

    def as_json(self) -> dict[str, Any]:
        return asdict(self) | {"weights": dict(self.weights)}


def problem_with(config: Config) -> str:
    words = (config.model, config.revision, config.targets, config.schedule, *config.weights)
    if not all(word.isprintable() for word in words):
        return "A name there holds signs that cannot be printed: write it anew."
    numbers = (*(getattr(config, one.name) for one in fields(config)), *config.weights.values())
    if not all(math.isfinite(number) for number in numbers if isinstance(number, float)):
        return "A number there is none: NaN and infinity cannot be trained with."
    if config.method not in METHODS:
        return f"“{config.method}” is no method; there are {', '.join(METHODS)}."
    if config.sharing not in SHARINGS:
        return f"“{config.sharing}” is no way to share a model among cards; there are {', '.join(SHARINGS)}."
    if config.is_classifier and config.sharing != "ddp":
        return "A classifier is small: let each card hold all of it (ddp)."
    if config.as_is and not config.is_classifier:
        return "Only an image classifier is taken as it is, without training: choose the method “classifier”."
    if config.as_is and config.cards > 1:
        return "What is taken as it is takes one card: nothing is trained."
    if config.model == (tiny.NAME if config.is_classifier else classifier_tiny.NAME):
        return NOT_THAT_TINY
    if config.projector not in PROJECTORS:
        return f"“{config.projector}” cannot be done with a projector; there are {', '.join(PROJECTORS)}."
    if config.is_classifier and config.projector != "frozen":
        return "A classifier has no projector: leave it frozen."
    if config.projector == "lora" and config.method in ("spectrum", "full"):
        return "The projector gets an adapter only where the language model does: with LoRA or QLoRA."
    if config.rank < 1 or config.alpha <= 0:
        return "Rank and alpha are whole numbers above 0."
    if not 0 <= config.dropout < 1 or not 0 <= config.text_dropout < 1 or not 0 <= config.warmup < 1:
        return "Dropout, text dropout and warm-up are shares from 0 to below 1."
    if min(config.lr, config.projector_lr, config.epochs) <= 0 or config.lr > 1:
        return "Learning rates and epochs are above 0, and a learning rate is far below 1."
    if min(config.batch, config.accumulation, config.evaluation_batch) < 1:
        return "A batch is one post at least."
    if config.cards < 1:
        return "It takes one card at least, or the CPU in its place."
    if config.cards > 1 and config.sharing == "zero3" and config.method == "spectrum":
        return "Spectrum weighs whole matrices, which ZeRO-3 has cut up by then. Share the model by DDP or FSDP."
    if not 0 < config.spectrum_share <= 1:
        return "The share of Spectrum lies above 0, and is 1 at most."
    if not 0 < config.min_pixels <= config.max_pixels:
        return "The fewest pixels are above 0, and no more than the most."
    if any(weight <= 0 for weight in config.weights.values()) or config.focal < 0:
        return "Weights are above 0, and focal weighting is 0 or more."
    return ""
