"""Pure: what a dataset is made of, in counts, and what about it is thin."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Self

import numpy as np

from .recipe import MACHINES, SOURCES, Recipe
from .splits import HOLDOUT, NAMES, REASONS, TRAIN, Chosen, Known, Numbers

FEW_OF_A_LABEL = 30
FEW_IN_ALL = 3000
WANTED_INCONGRUOUS = (0.2, 0.3)
ONE_GROUP = 0.1  # of the dataset: more in a single group of look-alikes weighs on every figure


@dataclass(frozen=True)
class Part:
    """One split."""

    posts: int = 0
    labels: Mapping[str, int] = field(default_factory=dict)
    sources: Mapping[str, int] = field(default_factory=dict)
    incongruous: int = 0
    pictures: int = 0
    groups: int = 0


@dataclass(frozen=True)
class Wrong:
    """How many of the labels are wrong, as far as blind audits tell; people's own labels are not counted."""

    posts: float
    low: float
    high: float
    machines: int  # labels that it is told of
    audits: int


@dataclass(frozen=True)
class Composition:
    splits: Mapping[str, Part]
    left_out: Mapping[str, int]
    largest_group: int
    wrong: Wrong | None
    weights: Mapping[str, float]
    asks_incongruous: bool

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> Self:
        """In our order: PostgreSQL keeps an object's keys in one of its own."""
        wrong, out = stored["wrong"], stored["left_out"]
        return cls(**dict(stored) | {
            "splits": {name: Part(**stored["splits"][name]) for name in NAMES},
            "left_out": {reason: out[reason] for reason in REASONS if reason in out},
            "wrong": Wrong(**wrong) if wrong else None,
        })  # fmt: skip

    def as_json(self) -> dict[str, Any]:
        return asdict(self)

    @property
    def posts(self) -> int:
        """The locked test set aside: that is nobody's choice."""
        return sum(part.posts for name, part in self.splits.items() if name != NAMES[HOLDOUT])

    @property
    def train(self) -> Part:
        return self.splits[NAMES[TRAIN]]

    @property
    def sources(self) -> Mapping[str, int]:
        """Of all but the locked test set."""
        counts: Counter[str] = Counter()
        for name, part in self.splits.items():
            if name != NAMES[HOLDOUT]:
                counts.update(part.sources)
        return {source: counts[source] for source in SOURCES if counts[source]}

    @property
    def incongruous_share(self) -> float | None:
        """Of what is trained on."""
        return self.train.incongruous / self.train.posts if self.train.posts else None


def compose(known: Known, chosen: Chosen, recipe: Recipe, asks_incongruous: bool, wrong: Wrong | None) -> Composition:
    splits = {name: part_of(known, chosen, np.flatnonzero(chosen.splits == n)) for n, name in enumerate(NAMES)}
    kin = chosen.kin[(chosen.splits >= 0) & (chosen.splits != HOLDOUT)]
    return Composition(
        splits=splits,
        left_out=dict(chosen.left_out),
        largest_group=int(np.bincount(kin).max(initial=0)) if len(kin) else 0,
        wrong=wrong,
        weights=weights_of(recipe, splits[NAMES[TRAIN]].labels),
        asks_incongruous=asks_incongruous,
    )


def part_of(known: Known, chosen: Chosen, posts: Numbers) -> Part:
    labels = np.bincount(known.labels[posts], minlength=len(known.label_names)).tolist()
    sources = np.bincount(known.sources[posts], minlength=len(SOURCES)).tolist()
    return Part(
        posts=len(posts),
        labels=dict(zip(known.label_names, labels, strict=True)),
        sources={source: n for source, n in zip(SOURCES, sources, strict=True) if n},
        incongruous=int((known.incongruous[posts] == 1).sum()),
        pictures=int(known.pictures[posts].sum()),
        groups=len(np.unique(chosen.kin[posts])),
    )


def weights_of(recipe: Recipe, labels: Mapping[str, int]) -> dict[str, float]:
    """Balanced as scikit-learn does it, so that every label weighs the same in all; else as asked, or none at all."""
    if recipe.balanced:
        present = {name: posts for name, posts in labels.items() if posts}
        return {name: round(sum(present.values()) / (len(present) * n), 4) for name, n in present.items()}
    if any(recipe.weights.get(name, 1) != 1 for name in labels):
        return {name: recipe.weights.get(name, 1.0) for name in labels}
    return {}


def machines_in(known: Known, chosen: Chosen) -> int:
    """Labels from machines, the locked test set aside."""
    codes = [SOURCES.index(source) for source in MACHINES]
    taken = (chosen.splits >= 0) & (chosen.splits != HOLDOUT)
    return int(np.isin(known.sources[taken], codes).sum())


def thin(composition: Composition, recipe: Recipe) -> list[str]:
    """What to mend before it is frozen, in sentences; the gravest first."""
    if not composition.posts:
        return ["Nothing is left to train on. Choose more sources, or ask for less confidence."]
    return [
        *thin_labels(composition),
        *thin_whole(composition),
        *thin_incongruous(composition, recipe),
        *thin_splits(composition, recipe),
    ]


def thin_labels(composition: Composition) -> list[str]:
    found = []
    for name, posts in composition.train.labels.items():
        if not posts:
            found.append(f"No post to train on is labelled {name}: a model cannot learn it.")
        elif posts < FEW_OF_A_LABEL:
            found.append(f"Only {counted(posts)} to train on {are(posts)} labelled {name}; {FEW_OF_A_LABEL} are few.")
    return found


def thin_whole(composition: Composition) -> list[str]:
    found = []
    if composition.posts < FEW_IN_ALL:
        found.append(
            f"{counted(composition.posts)} in all. Below about {FEW_IN_ALL:,} a model learns the commonest patterns "
            "and little of the rest."
        )
    if composition.largest_group > max(5, ONE_GROUP * composition.posts):
        share = composition.largest_group / composition.posts
        found.append(
            f"{counted(composition.largest_group)} ({share:.0%}) look or read alike and stay in one split. Take one "
            "of each group, or expect figures that hang on that one."
        )
    return found


def thin_incongruous(composition: Composition, recipe: Recipe) -> list[str]:
    if not composition.asks_incongruous:
        return []
    if not composition.train.incongruous:
        return ["No post to train on is marked incongruous: the model will take sarcasm at its word."]
    share = composition.incongruous_share or 0.0
    low, high = WANTED_INCONGRUOUS
    if recipe.incongruous is None and not low <= share <= high:
        return [f"{share:.0%} of the posts to train on are incongruous; {low:.0%} to {high:.0%} serves sarcasm best."]
    return []


def thin_splits(composition: Composition, recipe: Recipe) -> list[str]:
    found = []
    for name, share in (("validation", recipe.validation), ("test", recipe.test)):
        absent = [label for label, posts in composition.splits[name].labels.items() if not posts]
        if share and not composition.splits[name].posts:
            found.append(f"The {name} split is empty: nothing can be measured on it.")
        elif share and absent:
            found.append(f"The {name} split has no post labelled {' or '.join(absent)}: it says nothing of it.")
    if not composition.splits[NAMES[HOLDOUT]].posts:
        found.append("The project has no locked test set: import one, so that models can be compared honestly.")
    return found


def counted(posts: int) -> str:
    return "1 post" if posts == 1 else f"{posts:,} posts"


def are(posts: int) -> str:
    return "is" if posts == 1 else "are"
