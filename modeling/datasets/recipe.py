"""Pure: what an admin asks of a dataset."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Self

SOURCES = ("review", "consensus", "model", "import")
MACHINES = ("consensus", "model")


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
        known = {name: value for name, value in stored.items() if name in cls.__dataclass_fields__}
        return cls(**known | {"sources": tuple(known.get("sources", SOURCES))})

    def as_json(self) -> dict[str, Any]:
        return asdict(self) | {"sources": sorted(self.sources), "caps": dict(self.caps), "weights": dict(self.weights)}

    @property
    def train(self) -> float:
        return 1 - self.validation - self.test


def problem_with(recipe: Recipe) -> str:
    if unknown := sorted(set(recipe.sources) - set(SOURCES)):
        return f"“{unknown[0]}” is no source of labels; there are {', '.join(SOURCES)}."
    if not recipe.sources:
        return "Choose at least one source of labels."
    if min(recipe.validation, recipe.test) < 0 or recipe.train <= 0:
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
