"""What each step of a round would do and cost, for whoever is about to begin one."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from annotate.models import Project, Review
from annotate.models.review import BROUGHT
from annotate.pace import Median
from modeling.datasets import asking as recipes
from modeling.datasets import previews
from modeling.datasets.composition import Composition
from modeling.gpu.config import Config
from modeling.models import Dataset, Round, Run, Split
from modeling.training import estimates, starting
from modeling.training.estimates import Told

from . import guards, judging, report
from .plan import Plan


@dataclass(frozen=True)
class Reckoned:
    project: Project
    plan: Plan
    config: Config

    # --- Freeze

    @cached_property
    def composition(self) -> Composition | None:
        """None while it is being counted."""
        return previews.read(self.project, recipes.recipe_of(self.project, "", dict(self.plan.frozen)))

    @property
    def splits(self) -> Mapping[str, int]:
        made = self.composition
        return {name: part.posts for name, part in made.splits.items()} if made else {}

    @property
    def train(self) -> int:
        return self.splits.get(Split.TRAIN, 0)

    @property
    def by_model(self) -> int:
        return self.composition.train.sources.get("model", 0) if self.composition else 0

    # --- Train

    @cached_property
    def told(self) -> Told | None:
        if self.composition is None:
            return None
        return estimates.told(self.config, Dataset(project=self.project, composition=self.composition.as_json()))

    # --- Measure

    @cached_property
    def to_beat(self) -> Round | None:
        return judging.to_beat(self.project)

    @property
    def locked(self) -> int:
        return self.splits.get(Split.HOLDOUT, 0)

    # --- Pre-label

    @cached_property
    def stock(self) -> report.Stock:
        return report.stock(self.project)

    @cached_property
    def asked_before(self) -> tuple[Run, float] | None:
        """The latest run of that base model which was asked so, and its posts a second."""
        found: Any = self.project.prelabellings.filter(run__config__model=self.config.model, used__rate__gt=0)
        made = found.select_related("run").only("run__id", "used").order_by("-pk").first()
        return (made.run, float(made.used["rate"])) if made else None

    @property
    def asking_lasts(self) -> int | None:
        return round(self.stock.waiting / self.asked_before[1]) if self.asked_before else None

    # --- People

    @property
    def audits(self) -> int:
        """At most, if it is sure of all."""
        waiting = self.stock.waiting
        return round(waiting * guards.share_audited(self.plan.audit_rate, waiting))

    @property
    def doubts(self) -> int:
        return min(self.plan.doubts, self.stock.waiting)

    @cached_property
    def seconds_each(self) -> float | None:
        """Half of what was reviewed here took longer."""
        given = Review.objects.filter(~BROUGHT, project=self.project, undone=None)
        found: float | None = given.aggregate(pace=Median("seconds"))["pace"]
        return found

    @property
    def doubts_last(self) -> int | None:
        return round(self.doubts * self.seconds_each) if self.seconds_each else None

    @property
    def audits_last(self) -> int | None:
        return round(self.audits * self.seconds_each) if self.seconds_each else None


def config_of(project: Project, plan: Plan) -> Config:
    """NotUnderstood where it cannot be."""
    return starting.planned(project, plan.recipe, plan.base, plan.settings)
