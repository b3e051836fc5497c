"""What a voting run shows of itself while it is at work and afterwards."""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from functools import cached_property
from typing import NamedTuple

from django.db.models import Count, Min
from django.utils import timezone

from annotate.browse import Filters
from annotate.models import Project, Vote, Voter
from annotate.shares import Slice, split

from .models import ZERO, Asked, Batch, BatchState, Failure, Part, RunState, VotingRun

WINDOW = timedelta(seconds=30)
LATEST = 5000  # votes looked at for the pace: found by number, so that it costs the same among millions


class Cost(NamedTuple):
    """A sum that may lack the price of some answers."""

    known: Decimal
    unpriced: int
    answers: int

    @property
    def is_unknown(self) -> bool:
        return bool(self.unpriced) and self.unpriced == self.answers

    @property
    def is_least(self) -> bool:
        return bool(self.unpriced) and not self.is_unknown


@dataclass(frozen=True)
class Line:
    part: Part
    failed: int
    slices: list[Slice]
    per_second: float | None
    batches: list[Batch]  # at the provider, the first submitted first

    @property
    def submitted(self) -> int:
        return sum(batch.requests for batch in self.batches)

    @property
    def tried(self) -> int:
        return self.part.done + self.failed

    @property
    def cost(self) -> Cost:
        return Cost(self.part.cost, self.part.unpriced, self.part.done)

    @property
    def left_out(self) -> int:
        """Of a run that is done: they no longer matched when their turn came, or a worker left them."""
        return max(0, self.part.total - self.tried) if not self.part.stopped else 0

    @property
    def pace(self) -> str:
        rate = self.per_second or 0.0
        return f"{rate:,.0f} a second" if rate >= 3 else f"{60 * rate:,.0f} a minute"

    @property
    def seconds_left(self) -> int | None:
        return round(max(0, self.part.total - self.tried) / self.per_second) if self.per_second else None


class Cause(NamedTuple):
    cause: str
    posts: int
    voters: list[tuple[Voter, int]]  # each with one of the posts


@dataclass(frozen=True)
class Watch:
    run: VotingRun
    lines: list[Line]
    causes: list[Cause]

    @cached_property
    def filters(self) -> Filters:
        return Filters.from_query(self.run.posts)

    @property
    def at_work(self) -> bool:
        return self.run.state in {RunState.QUEUED, RunState.RUNNING} and not self.run.is_silent

    @property
    def may_cancel(self) -> bool:
        """A run that failed may have left requests at the provider."""
        return not self.run.asked and (not self.run.is_over or self.may_fetch)

    @cached_property
    def may_fetch(self) -> bool:
        return self.run.state == RunState.FAILED and self.run.has_open_batches

    @property
    def may_resume(self) -> bool:
        fetching = self.run.asked == Asked.PAUSE and self.run.waits_until is not None  # a pause can be taken back
        return self.run.state in {RunState.PAUSED, RunState.FAILED} or self.run.is_silent or fetching

    @property
    def failed(self) -> int:
        return sum(cause.posts for cause in self.causes)

    @property
    def done(self) -> int:
        return sum(line.part.done for line in self.lines)

    @property
    def total(self) -> int:
        return sum(line.part.total for line in self.lines)

    @property
    def cost(self) -> Cost:
        parts = [line.part for line in self.lines]
        return Cost(sum((part.cost for part in parts), ZERO), sum(part.unpriced for part in parts), self.done)

    @property
    def gone(self) -> Decimal:
        """Of the budget: what answers cost, and what a dead worker could not account for."""
        return self.cost.known + self.run.written_off


def watch(run: VotingRun) -> Watch:
    parts = list(run.parts.select_related("voter"))
    failed = dict(Failure.objects.filter(part__run=run).values_list("part").annotate(n=Count("pk")))
    labels = dict(run.project.labels.values_list("name", "pk"))
    batches: defaultdict[int, list[Batch]] = defaultdict(list)
    for batch in Batch.objects.filter(part__run=run, state=BatchState.SUBMITTED).order_by("submitted"):
        batches[batch.part_id].append(batch)
    paces = paces_of(parts) if run.state == RunState.RUNNING and not run.is_silent else {}
    return Watch(
        run=run,
        lines=[
            Line(p, failed.get(p.pk, 0), answers_of(p, labels), paces.get(p.voter_id), batches[p.pk]) for p in parts
        ],
        causes=causes(run, {part.voter_id: part.voter for part in parts}),
    )


def recent(project: Project, most: int = 50) -> list[Watch]:
    """For a list: without what each failed at."""
    runs = project.voting_runs.select_related("by", "project").prefetch_related("parts__voter")[:most]
    return [Watch(run, [Line(part, 0, [], None, []) for part in run.parts.all()], []) for run in runs]


def answers_of(part: Part, labels: dict[str, int]) -> list[Slice]:
    """In the project's order; a label that was renamed meanwhile comes last."""
    named = sorted(part.by_label, key=lambda name: list(labels).index(name) if name in labels else len(labels))
    told = [(name, f"label-{labels.get(name, 0)}", int(part.by_label[name])) for name in named]
    return split(*told, ("abstained", "abstained", part.abstained))


def paces_of(parts: Iterable[Part]) -> dict[int, float]:
    latest = Vote.objects.order_by("-pk").values_list("pk", flat=True).first() or 0
    now = timezone.now()
    recent = Vote.objects.filter(
        pk__gt=latest - LATEST, created__gt=now - WINDOW, voter__in=[part.voter_id for part in parts]
    )
    counted = recent.order_by().values_list("voter").annotate(n=Count("pk"), since=Min("created"))
    return {voter: pace(n, now - since) for voter, n, since in counted}


def pace(count: int, span: timedelta) -> float:
    return count / max(1.0, span.total_seconds())


def causes(run: VotingRun, voters: dict[int, Voter]) -> list[Cause]:
    """The most frequent first."""
    grouped: dict[str, Cause] = {}
    rows = Failure.objects.filter(part__run=run).values_list("cause", "part__voter")
    for cause, voter, n, post in rows.annotate(n=Count("pk"), first=Min("post")).order_by("-n", "cause"):
        known = grouped.get(cause, Cause(cause, 0, []))
        grouped[cause] = Cause(cause, known.posts + n, [*known.voters, (voters[voter], post)])
    return sorted(grouped.values(), key=lambda cause: -cause.posts)
