"""A learning curve as its page draws it."""

from dataclasses import dataclass
from typing import Any

from modeling.evaluation import drawing
from modeling.evaluation.drawing import Point
from modeling.models import On, Study


@dataclass(frozen=True)
class Curve:
    on: str
    title: str
    posts: int
    steps: list[dict[str, Any]]  # the fewest posts first
    words: str
    drawn: drawing.Curve | None  # None where some figure has no interval

    @property
    def pairs(self) -> list[tuple[dict[str, Any], Point]]:
        return list(zip(self.steps, self.drawn.points if self.drawn else [], strict=True))

    @property
    def fewest(self) -> int:
        return int(self.steps[0]["posts"])

    @property
    def most(self) -> int:
        return int(self.steps[-1]["posts"])


def curves(study: Study) -> list[Curve]:
    """The locked test set first."""
    ordered = sorted(study.measured.items(), key=lambda one: one[0] != On.HOLDOUT)
    return [curve(on, told) for on, told in ordered]


def curve(on: str, told: dict[str, Any]) -> Curve:
    steps = told["points"]
    is_whole = all(step["macro_f1"]["low"] is not None for step in steps)
    drawn = drawing.curve([(step["posts"], step["macro_f1"]) for step in steps]) if is_whole else None
    return Curve(on, On(on).label, told["asked"], steps, told["words"], drawn)
