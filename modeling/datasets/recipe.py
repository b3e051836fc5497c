"""Pure: what an admin asks of a dataset."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Self

from pydantic import TypeAdapter, ValidationError

from modeling.faults import first_of

SOURCES = ("review", "consensus", "model", "import")
MACHINES = ("consensus", "model")
MOST_POSTS = 10**9  # that a size or a cap can name


@dataclass(frozen=True)
class Recipe:
    sources: tuple[str, ...] = SOURCES
    least_confidence: float | None = None  # of machines' labels: what the least sure voter for it stated
    one_per_group: bool = False  # of near-duplicates, or all of them
    size: int | None = None  # posts, the locked test set aside
    validation: float = 0.1
    test: float = 0.1
    # These shape what is trained on, and nothing that is measured on.
    caps: Mapping[str, int] = field(default_factory=dict)  # by label
    weights: Mapping[str, float] = field(default_factory=dict)  # by label; 1 where none is named
    balanced: bool = False  # weights from how rare each label is, instead
    incongruous: float | None = None  # the share wanted

    def __post_init__(self) -> None:
        if problem := problem_with(self):
            raise ValueError(problem)

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> Self:
        """What is stored, by another release too: names that are unknown here are passed over."""
        known = {name: value for name, value in stored.items() if name in cls.__dataclass_fields__}
        return cls(**known | {"sources": tuple(known.get("sources", SOURCES))})

    def as_json(self) -> dict[str, Any]:
        return asdict(self) | {"sources": sorted(self.sources), "caps": dict(self.caps), "weights": dict(self.weights)}

    @property
    def train(self) -> float:
        return 1 - self.validation - self.test


RECIPE = TypeAdapter(Recipe)


def as_written(told: Mapping[str, Any]) -> Recipe:
    """By whoever asks, and so with nothing passed over or rounded: a misspelt share would leave the usual one standing,
    and half a post breaks the freezing. ValueError in words."""
    if unknown := sorted(told.keys() - Recipe.__dataclass_fields__.keys()):
        known = ", ".join(Recipe.__dataclass_fields__)
        raise ValueError(f"“{unknown[0]}” is nothing that a recipe has; there are {known}.")
    try:
        recipe = RECIPE.validate_json(json.dumps(told), strict=True)
    except ValidationError as problem:
        raise ValueError(first_of(problem)) from problem
    if max([recipe.size or 0, *recipe.caps.values()]) > MOST_POSTS:
        raise ValueError(f"A size and a cap are numbers of posts, {MOST_POSTS:,} at most.")
    return recipe


def problem_with(recipe: Recipe) -> str:
    if unknown := sorted(set(recipe.sources) - set(SOURCES)):
        return f"“{unknown[0]}” is no source of labels; there are {', '.join(SOURCES)}."
    if not recipe.sources:
        return "Choose at least one source of labels."
    if not (recipe.validation >= 0 and recipe.test >= 0 and recipe.train > 0):  # NaN is neither
        return "Validation and test are shares of the whole, and something must be left to train on."
    if recipe.size is not None and recipe.size < 1:
        return "The size is a number of posts, one at least."
    for share in (recipe.least_confidence, recipe.incongruous):
        if share is not None and not 0 <= share <= 1:
            return "A confidence and a share lie between 0 and 1."
    if recipe.incongruous in (0, 1):
        return "A share of incongruous posts lies between 0 and 1; leave it blank to take them as they come."
    if any(cap < 0 for cap in recipe.caps.values()) or any(not 0 < w <= 1000 for w in recipe.weights.values()):
        return "A cap is a number of posts, and a weight a number above 0."
    return ""
