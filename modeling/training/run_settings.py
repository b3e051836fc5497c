"""Every setting of a run in plain words, in the order in which a form asks for them and a page tells them."""

import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, fields
from typing import Any

from modeling.gpu.config import Config

BY_LABEL = "weights"  # the one setting that has a value for each label
CLASSIFIER = "classifier"  # the one method whose model has no words
LEAST_WEIGHT, MOST_WEIGHT = 0.0001, 1000  # of a label
LONGEST = 300  # signs of a value that is a word


@dataclass(frozen=True)
class Setting:
    name: str
    title: str
    help: str = ""
    least: float | None = None
    most: float | None = None
    choices: tuple[tuple[str, str], ...] = ()
    rare: bool = False  # folded away: hardly anybody changes it
    for_words: bool = False  # of models that read and write: a classifier has no such thing
    for_classifiers: bool = False  # and of no other

    @property
    def usual(self) -> Any:
        return next(field.default for field in fields(Config) if field.name == self.name)

    @property
    def is_word(self) -> bool:
        return self.name == "model" or isinstance(self.usual, str)


@dataclass(frozen=True)
class Group:
    title: str
    settings: tuple[Setting, ...]


BASE = Group("Base model", (
    Setting("model", "Base model",
            "A name on the hub, a folder on the machine that trains, or tiny; of classifiers tiny-picture."),
    Setting("revision", "Revision", "A tag or a commit on the hub. Blank: the latest.", rare=True),
    Setting("trust_remote_code", "Run the code that comes with this model",
            "A few models bring Python of their own, and it may do anything on the machine that trains: only a site "
            "admin may tick this, having read that code.", rare=True),
))  # fmt: skip

METHOD = Group("Method and adapters", (
    Setting("method", "Method", "What is trained, and how exactly the weights are kept meanwhile.", choices=(
        ("qlora", "QLoRA: adapters, weights in 4 bits"), ("lora", "LoRA: adapters, weights in bf16"),
        ("spectrum", "Spectrum: some matrices themselves"), ("full", "Full: the whole language model"),
        ("classifier", "Classifier: a whole model that sees pictures and reads no words"),
    )),
    Setting("as_is", "As it is, without training",
            "For a checkpoint that knows this project's labels by name already: it is measured and kept, can vote and "
            "be the first stage of a cascade.", for_classifiers=True),
    Setting("rank", "Rank", "How much an adapter can take in: 8 to 64.", least=1, most=1024, for_words=True),
    Setting("alpha", "Alpha", "How much adapters count: the rank, or twice that.", least=1, most=4096, for_words=True),
    Setting("dropout", "Dropout", "The share of an adapter left out at random, from 0 to below 1.", least=0, most=0.99,
            rare=True, for_words=True),
    Setting("targets", "What gets an adapter",
            "all-linear, or a pattern that module names match as a whole. Never what sees.", rare=True,
            for_words=True),
    Setting("projector", "Projector", "What stands between seeing and speaking.", choices=(
        ("frozen", "stays as it is"), ("lora", "gets light adapters"), ("train", "is trained itself"),
    ), rare=True, for_words=True),
    Setting("projector_lr", "Learning rate of the projector", "Where it is trained itself.", least=1e-9, most=1,
            rare=True, for_words=True),
    Setting("spectrum_share", "Share for Spectrum",
            "Of the matrices, those with the most signal for their noise: above 0, and 1 at most.", least=0.001, most=1,
            rare=True, for_words=True),
))  # fmt: skip

LEARNING = Group("Learning", (
    Setting("lr", "Learning rate", "Adapters: 1e-4 to 2e-4. Whole matrices: about 1e-5.", least=1e-9, most=1),
    Setting("epochs", "Epochs", "How often each post is seen.", least=0.001, most=1000),
    Setting("schedule", "Schedule", "How the learning rate goes after the warm-up.", choices=(
        ("cosine", "falls along a cosine"), ("linear", "falls in a line"), ("constant_with_warmup", "stays"),
        ("constant", "stays, without a warm-up"),
    ), rare=True),
    Setting("warmup", "Warm-up", "The share of all steps over which the learning rate rises.", least=0, most=0.99,
            rare=True),
    Setting("max_steps", "Steps at most", "0: as many as the epochs give.", least=0, most=10**7, rare=True),
    Setting("weight_decay", "Weight decay", "Pulls trained weights towards 0.", least=0, most=1, rare=True),
    Setting("clip", "Gradient clipping", "A longer gradient is cut to this length.", least=0.001, most=1000, rare=True),
    Setting("seed", "Seed", "The same seed draws the same order.", least=0, most=2**31 - 1, rare=True),
))  # fmt: skip

BATCHES = Group("Batches", (
    Setting("batch", "Posts at once", "Each takes memory of the card.", least=1, most=4096),
    Setting("accumulation", "Batches a step", "They make a larger batch that takes no more memory.", least=1,
            most=65536),
    Setting("checkpointing", "Gradient checkpointing", "Far less memory, for about a third more time.", rare=True),
    Setting("cards", "Cards of the machine",
            "Each takes batches of its own: a step sees as many times more posts. 1 where there is no card.", least=1,
            most=64, rare=True),
    Setting("sharing", "How they share the model",
            "Several cards only. Cut up, it may be larger than one card, and is slower. ZeRO-3 needs deepspeed on the "
            "machine that trains, and does not take Spectrum.", choices=(
                ("ddp", "DDP: each holds all of it"), ("fsdp", "FSDP: each holds a part"),
                ("zero3", "DeepSpeed ZeRO-3: each holds a part"),
            ), rare=True, for_words=True),
))  # fmt: skip

PICTURES = Group("Pictures", (
    Setting("max_pixels", "Most pixels", "Larger pictures are scaled down: 602,112 is 768 tokens of Qwen2.5-VL.",
            least=784, most=10**8, for_words=True),
    Setting("min_pixels", "Fewest pixels", "Smaller ones are scaled up.", least=784, most=10**8, rare=True,
            for_words=True),
))  # fmt: skip

RARE_LABELS = Group("Rare labels", (
    Setting("balanced", "Draw each label as often", "Posts of rare labels are seen again and again."),
    Setting("focal", "Focal weighting", "How much less counts what the model is sure of already: 0 is off, 2 is usual.",
            least=0, most=10, rare=True),
))  # fmt: skip

EVALUATION = Group("Evaluation and early stopping", (
    Setting("evaluate_every", "Evaluate every so many steps",
            "On the validation split; the best checkpoint is kept. 0: at the end of each epoch.", least=0, most=10**7),
    Setting("patience", "Patience", "Evaluations without a better one before it stops. 0: it goes on to the end.",
            least=0, most=1000),
    Setting("evaluation_batch", "Posts at once in evaluation", "More is faster, and takes memory.", least=1, most=4096,
            rare=True),
))  # fmt: skip

AUGMENTATION = Group("Augmentation", (
    Setting("augment", "Change pictures a little", "Cropped, turned and compressed anew each time they are seen."),
    Setting("text_dropout", "Leave the words out",
            "Of this share of posts whose picture alone tells the label: against leaning on the words.", least=0,
            most=0.99, for_words=True),
))  # fmt: skip

GROUPS = (METHOD, LEARNING, BATCHES, PICTURES, RARE_LABELS, EVALUATION, AUGMENTATION)
SETTINGS = {setting.name: setting for group in (BASE, *GROUPS) for setting in group.settings}


def problem_with(name: str, value: Any, labels: Collection[str]) -> str:
    """What nobody could choose in the form: blank where somebody could. The value is of its setting's kind."""
    if name == BY_LABEL:
        return problem_with_weights(value, labels)
    setting = SETTINGS[name]
    if setting.choices and value not in dict(setting.choices):
        return f"“{name}” is one of {', '.join(dict(setting.choices))}."
    if setting.least is not None and setting.most is not None and not setting.least <= value <= setting.most:
        return f"“{name}” is from {in_words(name, setting.least)} to {in_words(name, setting.most)}."
    if setting.is_word and len(value) > LONGEST:
        return f"“{name}” has more than {LONGEST} signs."
    why = problem_with_targets(value) if name == "targets" else ""
    return why and f"“{name}”: {why}"


def problem_with_weights(weights: Mapping[str, float], labels: Collection[str]) -> str:
    if unknown := [name for name in weights if name not in labels]:
        return f"“{BY_LABEL}”: “{unknown[0]}” is no label here; there are {', '.join(labels) or 'none yet'}."
    if not all(LEAST_WEIGHT <= weight <= MOST_WEIGHT for weight in weights.values()):
        return f"“{BY_LABEL}” are from {LEAST_WEIGHT:g} to {MOST_WEIGHT:g} each."
    return ""


def problem_with_targets(targets: str) -> str:
    try:
        re.compile(targets)
    except (re.error, OverflowError, RecursionError) as problem:
        return f"This is no pattern: {problem}."
    return "" if targets else "All-linear, or a pattern that module names match."


def in_words(name: str, value: Any) -> str:
    if name == BY_LABEL:
        return ", ".join(f"{label} {weight:g}" for label, weight in value.items()) or "all 1"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, int):
        return f"{value:,}"
    setting = SETTINGS.get(name)
    return dict(setting.choices if setting else ()).get(value, str(value)) or "–"


def title_of(name: str) -> str:
    if name == BY_LABEL:
        return "Weights"
    return SETTINGS[name].title if name in SETTINGS else name


def in_order(config: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    told = (name for name in [*SETTINGS, BY_LABEL] if name in config)
    return ((name, config[name]) for name in told if applies(name, config.get("method", "")))


def applies(name: str, method: str) -> bool:
    """Whether a run by this method has such a setting at all."""
    setting = SETTINGS.get(name)
    if setting is None:
        return True
    return not setting.for_words if method == CLASSIFIER else not setting.for_classifiers


def differing(one: Mapping[str, Any], other: Mapping[str, Any]) -> Iterator[str]:
    """Their names, in the order of the form."""
    order = [*SETTINGS, BY_LABEL]
    unknown = sorted((one.keys() | other.keys()) - set(order))
    return (name for name in [*order, *unknown] if value(one, name) != value(other, name))


def value(config: Mapping[str, Any], name: str) -> Any:
    """What a run of long ago was not asked yet is as it usually is."""
    return config.get(name, SETTINGS[name].usual if name in SETTINGS else None)
