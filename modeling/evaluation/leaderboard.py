"""Who is best on a test set, as far as that can be told: no row stands above another without a comparison of both."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from functools import cached_property
from typing import Any, NamedTuple, Self

from django.db.models import Exists, OuterRef, Q, QuerySet
from django.db.models.fields.json import KT, KeyTransform
from django.utils.http import urlencode

from annotate.models import Project, Role, User
from modeling.measures.comparison import Difference
from modeling.models import Evaluation, JobState, On, Sees

from .beside import held_against, in_short
from .drawing import Axis, Mark
from .predictors import KINDS

MOST_ROWS = 100
MOST_AT_WORK = 20
WHOLE = 0.95  # of the posts, from which on somebody counts as asked about all of them
KIND_TITLES = {
    "run": "Runs", "base": "Base models as they are", "voter": "Voters", "consensus": "Consensus",
    "majority": "Always the commonest label", "text": "Words alone", "text-cv": "Words alone, cross-validated",
    "folds": "Folds of a study", "cascade": "Cascades",
}  # fmt: skip
OF_FIGURES = ("macro_f1", "accuracy", "ece", "unanswered")
FIGURES: dict[str, Any] = {
    **{name: KeyTransform(name, KeyTransform("figures", "measured")) for name in OF_FIGURES},
    **{name: KeyTransform(name, "measured") for name in ("asked", "of")}, "kind": KT("predictor__kind"),
}  # fmt: skip
UNLISTED = ("measured", "used", "dataset__facts", "dataset__composition", "dataset__told", "dataset__recipe")
UNLISTED_OF_RUN = ("run__config", "run__receipt", "run__log", "run__latest", "run__scores")


@dataclass(frozen=True, slots=True)
class Filters:
    """As written in the address; what cannot be understood is told, never an error page."""

    test: str = ""  # the first letters of its hash, or instead of it:
    dataset: str = ""
    split: str = ""
    sees: str = ""
    kind: str = ""
    which: str = ""

    @classmethod
    def from_query(cls, query: Mapping[str, str]) -> Self:
        return cls(**{f.name: query.get(f.name, "").replace("\0", "").strip()[:64] for f in fields(cls)})

    def as_dict(self) -> dict[str, str]:
        return {f.name: getattr(self, f.name) for f in fields(self) if getattr(self, f.name)}

    def query(self, **changes: str) -> str:
        return urlencode({name: value for name, value in (self.as_dict() | changes).items() if value})


class TestSet(NamedTuple):
    hash: str
    split: str
    datasets: list[str]  # the latest first
    posts: int

    @property
    def key(self) -> str:
        return self.hash[:12]

    @property
    def name(self) -> str:
        more = f" (also {', '.join(self.datasets[1:4])})" if len(self.datasets) > 1 else ""
        return f"{On(self.split).label} of {self.datasets[0]}{more}, {self.posts:,} posts"


@dataclass(frozen=True)
class Row:
    evaluation: Any
    mark: Mark
    told: Difference | None  # from it to the best
    is_best: bool

    @property
    def against(self) -> str:
        return in_short(self.told) if self.told else ""

    @property
    def is_whole(self) -> bool:
        return bool(self.evaluation.asked >= WHOLE * self.evaluation.of)


class Group(NamedTuple):
    title: str
    says: str
    rows: list[Row]


@dataclass(frozen=True)
class Board:
    test_set: TestSet | None
    axis: Axis
    groups: list[Group]

    @cached_property
    def rows(self) -> list[Row]:
        return [row for group in self.groups for row in group.rows]

    @property
    def best(self) -> Any:
        return next((row.evaluation for row in self.rows if row.is_best), None)


# --- Test sets


def test_sets(project: Project) -> list[TestSet]:
    """All that something was measured on, the latest locked one first. A fold by itself is a part, and no test set."""
    told = (
        project.evaluations.done()
        .exclude(split=On.FOLD)
        .order_by("test_hash", "dataset_id", "-id")
        .distinct("test_hash", "dataset_id")
    )
    found: dict[str, list[Any]] = {}
    rows = told.annotate(of=FIGURES["of"]).values_list("pk", "test_hash", "split", "dataset__name", "of")
    for _, key, *row in sorted(rows, reverse=True):
        found.setdefault(key, []).append(row)
    sets = [TestSet(key, of[0][0], [name for _, name, _ in of], of[0][2]) for key, of in found.items()]
    return sorted(sets, key=lambda one: one.split != On.HOLDOUT)


def chosen(project: Project, filters: Filters, known: Sequence[TestSet], mend: list[str]) -> TestSet | None:
    """By its hash, or by a dataset and a split; the latest locked one otherwise."""
    if not filters.test and not filters.dataset and not filters.split:
        return known[0] if known else None
    by_hash = [one for one in known if filters.test and one.hash.startswith(filters.test)]
    if filters.test:
        mend += [] if by_hash else [f"Nothing was measured on a test set {filters.test} in this project."]
        return by_hash[0] if by_hash else None
    there = project.evaluations.done().filter(
        *([Q(dataset__name=filters.dataset)] if filters.dataset else []),
        *([Q(split=filters.split)] if filters.split else []),
    )
    measured_on = there.order_by("-id").values_list("test_hash", flat=True).first()
    if measured_on is None:
        where = f"{split_words(filters.split)} of {filters.dataset or 'any dataset'}"
        mend.append(f"Nothing was measured on the {where} yet.")
    return next((one for one in known if one.hash == measured_on), None)


def split_words(split: str) -> str:
    return On(split).label.lower() if split in On.values else split or "test set"


# --- The board


def board(project: Project, filters: Filters, test_set: TestSet | None, mend: list[str]) -> Board:
    found = listed(project, filters, test_set, mend) if test_set else []
    axis = Axis.around([one.macro_f1 for one in found])
    rivals = [one for one in found if one.asked >= WHOLE * one.of]
    best = max(rivals, key=lambda one: one.macro_f1["value"], default=None)
    told = held_against(best, [one.pk for one in found]) if best else {}
    rows = [row_of(one, axis, told.get(one.pk), one is best) for one in found]
    return Board(test_set, axis, grouped(sorted(rows, key=lambda row: -row.mark.value)))


def row_of(one: Any, axis: Axis, told: Difference | None, is_best: bool) -> Row:
    """The best is told against each; a row reads the other way round."""
    return Row(one, axis.mark(one.macro_f1), told.turned() if told else None, is_best)


def grouped(rows: list[Row]) -> list[Group]:
    whole = [row for row in rows if row.is_whole]
    alike = [row for row in whole if row.is_best or (row.told and not row.told.distinguishable)]
    apart = [row for row in whole if not row.is_best and row.told and row.told.distinguishable]
    unknown = [row for row in whole if not row.is_best and not row.told]
    several = len(alike) > 1
    groups = [
        Group("Cannot be told apart from the best" if several else "The best",
              "Whoever stands above another among these may do so by chance." if several else "", alike),
        Group("Worse than the best", "", apart),
        Group("Not compared with the best", "Measured with other labels, or too many others stand between.", unknown),
        Group("Asked about some of the posts", "Held against the best on these alone; they stand in no order with "
              "those who were asked about all.", [row for row in rows if not row.is_whole]),
    ]  # fmt: skip
    return [group for group in groups if group.rows]


def listed(project: Project, filters: Filters, test_set: TestSet, mend: list[str]) -> list[Any]:
    there = project.evaluations.done().filter(test_hash=test_set.hash)
    for name, value, known in (("sees", filters.sees, Sees.values), ("kind", filters.kind, KINDS)):
        if value and value not in known:
            mend.append(f"“{value}” is not known as {name}; there are {', '.join(known)}.")
    if filters.sees:
        there = there.filter(sees=filters.sees)
    if filters.kind:
        there = there.filter(predictor__kind=filters.kind)
    if filters.which != "all":
        latest = there.order_by("test_hash", "key", "-id").distinct("test_hash", "key")
        there = project.evaluations.filter(pk__in=latest.values("pk"))
    return list(with_figures(there)[:MOST_ROWS])


def with_figures(found: QuerySet[Evaluation]) -> QuerySet[Evaluation]:
    """Of all that was measured only what a list shows: the rest is long."""
    shown = found.select_related("dataset", "project", "run", "by").annotate(**FIGURES)
    return shown.defer(*UNLISTED, *UNLISTED_OF_RUN)


# --- What is not measured yet


def unfinished(project: Project) -> list[Evaluation]:
    """At work or waiting; and of those that came to nothing the ones that nobody asked again since. The page of a study
    shows its folds."""
    later = Evaluation.objects.filter(
        project=project, dataset=OuterRef("dataset"), split=OuterRef("split"), key=OuterRef("key"),
        pk__gt=OuterRef("pk"),
    )  # fmt: skip
    open_ones = Q(state__in=[JobState.QUEUED, JobState.RUNNING])
    unmeasured = project.evaluations.exclude(state=JobState.DONE).exclude(split=On.FOLD)
    found = unmeasured.filter(open_ones | ~Exists(later))
    shown = found.select_related("dataset", "project", "by").defer(*(set(UNLISTED) - {"used"}))  # it tells the pace
    return list(shown.order_by("-pk")[:MOST_AT_WORK])


# --- The same posts in other projects


class Elsewhere(NamedTuple):
    project: Project
    evaluation: Any
    mark: Mark


def elsewhere(project: Project, reader: User, test_set: TestSet | None, axis: Axis) -> list[Elsewhere]:
    """Only where the reader may see that project's evaluations too."""
    if test_set is None:
        return []
    others = Evaluation.objects.done().filter(test_hash=test_set.hash).exclude(project=project)
    if not reader.is_superuser:
        leading = [role for role in Role.values if Role(role).covers(Role.LEAD)]
        others = others.filter(project__memberships__user=reader, project__memberships__role__in=leading)
    latest = others.order_by("project_id", "key", "-id").distinct("project_id", "key").values("pk")
    found: list[Any] = list(with_figures(Evaluation.objects.filter(pk__in=latest))[:MOST_ROWS])
    ordered = sorted(found, key=lambda one: -one.macro_f1["value"])
    return [Elsewhere(one.project, one, axis.mark(one.macro_f1)) for one in ordered]
