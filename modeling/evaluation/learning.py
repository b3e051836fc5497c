"""Do more posts help: the same recipe and base on versions of a dataset, measured on the same posts."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from django.db.models.fields.json import KeyTextTransform, KeyTransform
from django.db.models.functions import Coalesce

from annotate.models import Project
from modeling.models import Sees
from modeling.training import training_presets

from .drawing import Curve, Point, curve
from .leaderboard import FIGURES, TestSet
from .predictors import short

TRAINED_ON = KeyTransform("posts", KeyTransform("train", KeyTransform("posts", "run__receipt")))
FROZEN = KeyTransform("posts", KeyTransform("train", KeyTransform("splits", "run__dataset__composition")))


class Step(NamedTuple):
    evaluation: int
    run: int
    dataset: str
    posts: int
    macro_f1: dict[str, float]


@dataclass(frozen=True)
class Series:
    key: str
    name: str
    steps: list[Step]  # the fewest posts first
    drawn: Curve

    @property
    def pairs(self) -> list[tuple[Step, Point]]:
        return list(zip(self.steps, self.drawn.points, strict=True))


def series(project: Project, test_set: TestSet | None) -> list[Series]:
    """Those of at least two sizes, the longest first. A run that was asked in another way than is usual is none."""
    if test_set is None:
        return []
    there = project.evaluations.done().filter(test_hash=test_set.hash, run__isnull=False, sees=Sees.BOTH)
    latest = there.order_by("test_hash", "key", "-id").distinct("test_hash", "key")
    told = latest.annotate(
        macro_f1=FIGURES["macro_f1"], posts=Coalesce(TRAINED_ON, FROZEN), base=KeyTextTransform("model", "run__config")
    ).values("pk", "run", "predictor", "run__recipe", "base", "run__dataset__name", "posts", "macro_f1")
    found: dict[tuple[str, str], list[Step]] = {}
    for one in told:
        if set(one["predictor"]) - {"batch"} == {"kind", "run"}:
            found.setdefault((one["run__recipe"], one["base"]), []).append(as_step(one))
    made = [made_of(key, steps) for key, steps in found.items() if len({step.posts for step in steps}) > 1]
    return sorted(made, key=lambda one: -len(one.steps))


def as_step(one: Mapping[str, Any]) -> Step:
    return Step(one["pk"], one["run"], one["run__dataset__name"], int(one["posts"]), one["macro_f1"])


def made_of(key: tuple[str, str], steps: list[Step]) -> Series:
    recipe, base = key
    ordered = sorted(steps, key=lambda step: (step.posts, step.run))
    titles = {preset.key: preset.title for preset in training_presets.available()}
    drawn = curve([(step.posts, step.macro_f1) for step in ordered])
    return Series(f"{recipe}:{base}", f"{short(base)}, {titles.get(recipe, recipe or 'by hand')}", ordered, drawn)


def chosen(known: list[Series], key: str) -> Series | None:
    return next((one for one in known if one.key == key), known[0] if known else None)
