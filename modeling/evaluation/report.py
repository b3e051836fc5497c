"""What an evaluation's page shows: all of it was measured and stored, nothing is reckoned here."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple
from urllib.parse import urlencode

from django.utils import timezone

from annotate.agreement import Cell
from annotate.agreement_pictures import HeatMap, Square, heat_map
from annotate.models import Project
from modeling.measures.comparison import Difference
from modeling.measures.metrics import Measured, OfLabel, Slice
from modeling.models import Evaluation, JobState, Sees
from modeling.models.job import this_machine
from modeling.training import receipts
from modeling.training.run_log import end_of

from . import evaluating, folder
from .beside import held_against, in_short
from .drawing import Axis, Mark, Reliability, reliability
from .leaderboard import MOST_ROWS, with_figures
from .posts import colours_of
from .predictors import Predictor

NO_ANSWER = "no answer"
TITLES = {"asked": "posts asked since it was started", "batch": "posts at once", "shown": "examples shown",
          "dtype": "numbers", "quantised": "quantised to", "kernels": "kernels of"}  # fmt: skip
WAYS = (Sees.BOTH, Sees.TEXT, Sees.PICTURE)


class LabelRow(NamedTuple):
    told: OfLabel
    css: str
    mark: Mark | None
    query: str  # of its posts


class Link(NamedTuple):
    """A square of the confusion, and where it leads."""

    square: Square
    truth: str
    said: str
    query: str


class Part(NamedTuple):
    told: Slice
    mark: Mark | None
    query: str


class Cut(NamedTuple):
    by: str
    parts: list[Part]


class Rival(NamedTuple):
    evaluation: Any
    mark: Mark
    told: Difference | None  # from this one to that

    @property
    def words(self) -> str:
        return in_short(self.told) if self.told else "not compared"


class Way(NamedTuple):
    """One of the three in which the same model can be asked."""

    sees: Sees
    evaluation: Any  # None: not asked so
    mark: Mark | None
    words: str  # against both together


class Ways(NamedTuple):
    axis: Axis
    each: list[Way]


@dataclass(frozen=True)
class Report:
    evaluation: Evaluation

    @cached_property
    def figures(self) -> Measured:
        return Measured.from_json(self.evaluation.measured["figures"])

    @cached_property
    def colours(self) -> dict[str, str]:
        return colours_of(self.evaluation.project)

    @cached_property
    def names(self) -> list[str]:
        return [one.label for one in self.figures.labels]

    @cached_property
    def axis(self) -> Axis:
        """From nothing to all, for labels and slices alike."""
        return Axis(0, 1)

    @property
    def headline(self) -> Mark:
        return self.axis.mark(self.evaluation.measured["figures"]["macro_f1"])

    @property
    def has_unasked(self) -> bool:
        return bool(self.evaluation.measured["asked"] < self.evaluation.measured["of"])

    @property
    def labels(self) -> list[LabelRow]:
        shown = self.evaluation.measured["figures"]["labels"]
        return [
            LabelRow(
                one, self.colours.get(one.label, "label-gone"), self.axis.mark(told["f1"]) if told["f1"] else None,
                urlencode({"truth": one.label}),
            )
            for one, told in zip(self.figures.labels, shown, strict=True)
        ]  # fmt: skip

    # --- Confusion

    @cached_property
    def heat(self) -> HeatMap:
        across = len(self.names) + (1 if self.figures.unanswered else 0)
        table = [
            [Cell(n, k if k < len(self.names) else None, row[k], row[k] / max(1, sum(row))) for k in range(across)]
            for n, row in enumerate(self.figures.confusion)
        ]
        named: dict[int | None, tuple[str, str]] = {
            n: (name, self.colours.get(name, "label-gone")) for n, name in enumerate(self.names)
        }
        return heat_map(table, named | {None: (NO_ANSWER, "")})

    @property
    def squares(self) -> list[Link]:
        return [self.square(one) for one in self.heat.squares]

    def square(self, one: Square) -> Link:
        truth = self.names[one.cell.one or 0]
        if one.cell.other is None:
            return Link(one, truth, NO_ANSWER, urlencode({"truth": truth, "answered": "no"}))
        said = self.names[one.cell.other]
        return Link(one, truth, said, urlencode({"truth": truth, "told": said}))

    # --- How sure

    @cached_property
    def curve(self) -> Reliability | None:
        bins = self.evaluation.measured["figures"]["bins"]
        return reliability(bins) if bins else None

    @property
    def temperature(self) -> float | None:
        heat: float | None = self.evaluation.measured["temperature"]
        return heat

    @property
    def is_set_right(self) -> bool:
        return self.temperature is not None and self.temperature != 1

    @property
    def ece_before(self) -> float | None:
        said = self.evaluation.measured["as_said"]
        return said["ece"] if said else None

    @property
    def log_loss_before(self) -> float | None:
        said = self.evaluation.measured["as_said"]
        return said["log_loss"]["value"] if said and said["log_loss"] else None

    @property
    def calibrated_on(self) -> int:
        return int(self.evaluation.measured["calibrated_on"])

    # --- Slices

    @property
    def cuts(self) -> list[Cut]:
        told = self.evaluation.measured["slices"]
        return [Cut(one["by"], [self.part(one["by"], part) for part in one["parts"]]) for one in told if one["parts"]]

    def part(self, by: str, told: dict[str, Any]) -> Part:
        mark = self.axis.mark(told["macro_f1"]) if told["macro_f1"] else None
        return Part(Slice.from_json(told), mark, urlencode({"slice": f"{by}/{told['name']}"}))


# --- Beside others


def newer(evaluation: Evaluation) -> Evaluation | None:
    """Asked again since, and measured."""
    again = evaluation.project.evaluations.done().filter(
        test_hash=evaluation.test_hash, key=evaluation.key, pk__gt=evaluation.pk
    )
    return again.select_related("project").defer("measured", "used").order_by("-pk").first()


def rivals(evaluation: Evaluation) -> list[Rival]:
    """The latest of each on the same test set, the best first."""
    there = evaluation.project.evaluations.done().filter(test_hash=evaluation.test_hash)
    latest = there.order_by("test_hash", "key", "-id").distinct("test_hash", "key")
    others = Evaluation.objects.filter(pk__in=latest.values("pk")).exclude(key=evaluation.key)
    found: list[Any] = list(with_figures(others)[:MOST_ROWS])
    axis = Axis.around([evaluation.measured["figures"]["macro_f1"], *(one.macro_f1 for one in found)])
    told = held_against(evaluation, [one.pk for one in found])
    shown = [Rival(one, axis.mark(one.macro_f1), told.get(one.pk)) for one in found]
    return sorted(shown, key=lambda one: -one.mark.value)


def leans_on(evaluation: Evaluation, beside: list[Rival]) -> Ways | None:
    """The same model asked three ways; none of those that can be asked in one alone."""
    if not Predictor.from_json(evaluation.predictor).needs_model:
        return None
    figures = {evaluation.sees: evaluation.measured["figures"]["macro_f1"]}
    asked: dict[str, Any] = {evaluation.sees: evaluation}
    for one in (rival.evaluation for rival in beside if rival.evaluation.predictor == evaluation.predictor):
        asked[one.sees], figures[one.sees] = one, one.macro_f1
    axis, whole = Axis.around(list(figures.values())), asked.get(Sees.BOTH)
    told = held_against(whole, [one.pk for one in asked.values()]) if whole else {}
    return Ways(axis, [
        Way(sees, one, axis.mark(figures[sees]), in_short(told[one.pk].turned()) if one.pk in told else "")
        if (one := asked.get(sees)) else Way(sees, None, None, "") for sees in WAYS
    ])  # fmt: skip


def missing(evaluation: Evaluation) -> list[Sees]:
    """Ways in which this model was never asked on this test set, and is not being asked now. A study asks its own."""
    if evaluation.study_id:
        return []
    there = Evaluation.objects.filter(
        project=evaluation.project_id, dataset=evaluation.dataset_id, split=evaluation.split,
        predictor=evaluation.predictor,
    )  # fmt: skip
    idle = (JobState.STOPPED, JobState.FAILED, JobState.INTERRUPTED)
    known = set(there.exclude(state__in=idle).values_list("sees", flat=True))
    return [sees for sees in WAYS if sees not in known]


# --- Receipt


def receipt(evaluation: Evaluation) -> list[receipts.Line]:
    used = {TITLES.get(name, name): value for name, value in evaluation.used.items() if value not in (None, "")}
    told = {"asked as": evaluation.predictor, "machine": evaluation.machine} | used
    lines = [receipts.Line(receipts.title_of(name), words) for name, value in told.items()
             if (words := receipts.said(name, value))]  # fmt: skip
    hashes = (("Hash of the test set", evaluation.test_hash), ("Hash of the dataset", evaluation.dataset.content_hash))
    return [*lines, *(receipts.Line(title, [found], is_code=True) for title, found in hashes if found)]


# --- While it goes


@dataclass(frozen=True)
class Watch:
    evaluation: Evaluation
    ahead: int  # that were asked for before it, where it waits

    @property
    def at_work(self) -> bool:
        return self.evaluation.state == JobState.RUNNING and not self.evaluation.is_silent

    @property
    def is_stopping(self) -> bool:
        return self.at_work and self.evaluation.stop_asked

    @property
    def may_resume(self) -> bool:
        return self.evaluation.state in evaluating.MAY_RESUME

    @property
    def lasted(self) -> int | None:
        if not self.evaluation.started:
            return None
        return round(((self.evaluation.ended or timezone.now()) - self.evaluation.started).total_seconds())

    @property
    def pace(self) -> str:
        """Since it was started or resumed last, loading the model included."""
        if not self.at_work or not self.evaluation.done_now or not self.lasted:
            return ""
        rate = self.evaluation.done_now / self.lasted
        return f"{rate:,.1f} posts a second" if rate >= 1 else f"{1 / rate:,.1f} s a post"

    @property
    def needs_model(self) -> bool:
        return Predictor.from_json(self.evaluation.predictor).needs_model

    @property
    def is_here(self) -> bool:
        return self.evaluation.machine == this_machine()

    @cached_property
    def log(self) -> str:
        """The last lines of the process that asks, where it works or worked on this machine."""
        path = folder.folder_of(self.evaluation) / evaluating.LOG
        return end_of(path) if self.is_here and path.is_file() else ""


def watch(evaluation: Evaluation) -> Watch:
    waits = evaluation.state == JobState.QUEUED
    unfinished = Evaluation.objects.filter(state__in=[JobState.QUEUED, JobState.RUNNING])
    return Watch(evaluation, unfinished.filter(pk__lt=evaluation.pk).count() if waits else 0)


def three_ways(evaluation: Evaluation, project: Project, by: Any) -> int:
    """Asks in the ways that are missing; how many."""
    predictor = Predictor.from_json(evaluation.predictor)
    asked = missing(evaluation)
    for sees in asked:
        evaluating.ask(project, by, evaluation.dataset, evaluation.split, predictor, sees)
    return len(asked)
