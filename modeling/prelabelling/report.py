"""What the pages of pre-labellings show: how far one is, and what a threshold would mean before anything is settled."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import NamedTuple
from urllib.parse import urlencode

from django.utils import timezone

from annotate.agreement import Share
from annotate.models import Project
from modeling.models import Goal, JobState, PreLabelling, Run, RunState
from modeling.models.job import this_machine
from modeling.training.run_log import end_of

from . import asking, feeding, thresholds
from . import prelabelling as room
from .thresholds import Reckoning, Row

FEW = 20  # posts of the validation split: of fewer, a share says little
FINELY = [50 + n for n in range(51)]  # hundredths at which the curves are drawn
KINDS = {
    "waiting": ({"state": "waiting"}, "posts that wait for votes"),
    "contested": ({"state": "contested"}, "posts that voters contest"),
    "all": ({}, "all posts"),
}


# --- Which posts


def kind_of(posts: Mapping[str, str]) -> str:
    return next((key for key, (filters, _) in KINDS.items() if filters == posts), "list")


def about(prelabelling: PreLabelling) -> str:
    kind = kind_of(prelabelling.posts)
    if kind in KINDS:
        return KINDS[kind][1]
    told = ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in prelabelling.posts.items())
    return f"posts of the list with {told}"


# --- While it goes


WORDS = {  # where it waits, is at work, and is done
    Goal.ASK: ("Waits to be asked", "Asking", "Waits for your word"),
    Goal.APPLY: ("Waits to settle", "Settling", "Settled"),
    Goal.TAKE_BACK: ("Waits to take its labels back", "Taking back", "Taken back"),
}


@dataclass(frozen=True)
class Watch:
    prelabelling: PreLabelling
    ahead: int = 0  # that were asked for before it, where it waits

    @property
    def at_work(self) -> bool:
        return self.prelabelling.state == JobState.RUNNING and not self.prelabelling.is_silent

    @property
    def is_stopping(self) -> bool:
        return self.at_work and self.prelabelling.stop_asked

    @property
    def may_resume(self) -> bool:
        return self.prelabelling.state in room.MAY_RESUME

    @property
    def words(self) -> str:
        """What it is at, or came to."""
        waits, works, over = WORDS[Goal(self.prelabelling.goal)]
        if self.prelabelling.is_silent:
            return "Interrupted"
        if self.is_stopping:
            return "Stopping"
        named = {JobState.QUEUED: waits, JobState.RUNNING: works, JobState.DONE: over}
        return named.get(JobState(self.prelabelling.state), self.prelabelling.get_state_display())

    @property
    def about(self) -> str:
        return about(self.prelabelling)

    @property
    def query(self) -> str:
        """Of those posts, in their list."""
        return urlencode(self.prelabelling.posts)

    @property
    def css(self) -> str:
        if self.prelabelling.is_silent or self.prelabelling.state == JobState.INTERRUPTED:
            return "warn"
        if self.prelabelling.state == JobState.DONE:
            return {Goal.ASK: "at-work", Goal.APPLY: "good"}.get(Goal(self.prelabelling.goal), "soft")
        return {"running": "at-work", "failed": "bad"}.get(self.prelabelling.state, "soft")

    @property
    def lasted(self) -> int | None:
        if not self.prelabelling.started:
            return None
        return round(((self.prelabelling.ended or timezone.now()) - self.prelabelling.started).total_seconds())

    @property
    def rate(self) -> float:
        """Posts a second, as the process itself tells it since it was started last."""
        asks = self.at_work and self.prelabelling.goal == Goal.ASK
        return float(self.prelabelling.used.get("rate") or 0) if asks else 0.0

    @property
    def pace(self) -> str:
        if not self.rate:
            return ""
        return f"{self.rate:,.1f} posts a second" if self.rate >= 1 else f"{1 / self.rate:,.1f} s a post"

    @property
    def seconds_left(self) -> int | None:
        left = self.prelabelling.total - self.prelabelling.done
        return round(left / self.rate) if self.rate and left > 0 else None

    @property
    def is_here(self) -> bool:
        return self.prelabelling.machine == this_machine()

    @cached_property
    def log(self) -> str:
        """The last lines of the process that asks, where it works or worked on this machine."""
        path = feeding.folder_of(self.prelabelling) / asking.LOG
        return end_of(path) if self.is_here and path.is_file() else ""

    # --- As a list shows it

    @property
    def settled(self) -> int | None:
        told = self.prelabelling.result.get("settled")
        return sum(told.values()) if told is not None else None

    @property
    def doubts(self) -> int | None:
        told: int | None = self.prelabelling.result.get("doubts")
        return told


def watch(prelabelling: PreLabelling) -> Watch:
    """What only settles does not wait for those that ask."""
    if prelabelling.state != JobState.QUEUED:
        return Watch(prelabelling)
    open_ones = PreLabelling.objects.filter(state__in=[JobState.QUEUED, JobState.RUNNING])
    before = open_ones.filter(pk__lt=prelabelling.pk)
    return Watch(prelabelling, before.filter(goal=prelabelling.goal).count())


def may_be_asked(project: Project) -> list[Run]:
    """The latest first."""
    done = project.runs.filter(state=RunState.DONE, study=None).select_related("dataset")
    return list(done.defer("receipt", "log", "dataset__told", "dataset__facts", "dataset__composition"))


# --- What a threshold would mean


@dataclass(frozen=True)
class Wanted:
    """As written in the address; what cannot be understood is told, and the usual stands in."""

    threshold: float
    growth: float
    audit_rate: float
    most_doubts: int
    mend: list[str] = field(default_factory=list)

    @classmethod
    def from_query(cls, query: Mapping[str, str], prelabelling: PreLabelling) -> "Wanted":
        mend: list[str] = []
        threshold, growth, audit_rate, most_doubts = (
            number_in(query, name, getattr(prelabelling, name), mend)
            for name in ("threshold", "growth", "audit_rate", "most_doubts")
        )
        return cls(threshold, growth, audit_rate, int(most_doubts), mend)


def number_in(query: Mapping[str, str], name: str, usual: float, mend: list[str]) -> float:
    written = query.get(name, "").replace("\0", "").strip()
    try:
        value = float(written.replace(",", ".")) if written else usual
        room.checked({name: value})
    except ValueError:
        mend.append(f"“{written[:40]}” is not a number. This is for {usual:g}.")
    except room.Refused as refusal:
        mend.append(f"{refusal} This is for {usual:g}.")
    else:
        return value
    return usual


class OfLabel(NamedTuple):
    """A label's row, and its bars on a scale on which the longest is 100."""

    row: Row
    css: str
    query: str  # of all that it said to be this, in the list of posts
    settles: float
    held: float

    @property
    def share(self) -> str:
        return told_finely(self.row.wrong / self.row.settled if self.row.settled else None)

    @property
    def validation(self) -> Share | None:
        return Share(self.row.mistaken, self.row.checked) if self.row.checked else None


class Offered(NamedTuple):
    reckoning: Reckoning
    is_chosen: bool

    @property
    def share(self) -> str:
        return told_finely(self.reckoning.wrong_share)

    @property
    def query(self) -> str:
        return f"{self.reckoning.threshold:g}"


@dataclass(frozen=True)
class Meaning:
    prelabelling: PreLabelling
    wanted: Wanted

    def at(self, threshold: float) -> Reckoning:
        told = self.prelabelling
        return thresholds.reckon(told.meaning, told.validation, threshold, self.wanted.growth)

    @cached_property
    def reckoning(self) -> Reckoning:
        return self.at(self.wanted.threshold)

    @property
    def share(self) -> str:
        return told_finely(self.reckoning.wrong_share)

    @cached_property
    def labels(self) -> list[OfLabel]:
        css = {label.name: f"label-{label.pk}" for label in self.prelabelling.project.labels.all()}
        most = max((row.sure for row in self.reckoning.rows), default=0) or 1
        return [
            OfLabel(
                row, css.get(row.label, "label-gone"), self.query_of(row.label), 100 * row.settled / most,
                100 * row.held_back / most,
            )
            for row in self.reckoning.rows
        ]  # fmt: skip

    def query_of(self, label: str) -> str:
        told = self.prelabelling
        return urlencode(told.posts | {"voter": told.voter.name, "said": label})

    @cached_property
    def offered(self) -> list[Offered]:
        chosen = self.wanted.threshold
        return [Offered(self.at(one), one == chosen) for one in sorted({*thresholds.OFFERED, chosen})]

    @property
    def curve_json(self) -> str:
        return json.dumps(self.curve)

    @cached_property
    def curve(self) -> list[list[float | None]]:
        """Column by column: threshold in hundredths, posts settled, and how many in a hundred are expected to be wrong
        by its own chances, and on the validation split."""
        found = [self.at(hundredths / 100) for hundredths in FINELY]
        checked = [one.on_validation for one in found]
        return [
            [float(one) for one in FINELY], [float(one.settled) for one in found],
            [hundred(one.wrong_share) for one in found], [hundred(one.rate) if one else None for one in checked],
        ]  # fmt: skip

    @property
    def to_people(self) -> int:
        """At most: near-duplicates are asked about once. What voters contest waits for people already."""
        if self.prelabelling.posts.get("state") == "contested":
            return 0
        return min(self.wanted.most_doubts, self.reckoning.unsure + self.reckoning.against)

    @property
    def checked(self) -> int:
        told = self.reckoning.on_validation
        return told.of if told else 0

    @property
    def is_scarce(self) -> bool:
        return self.prelabelling.temperature is not None and self.checked < FEW


def hundred(share: float | None) -> float | None:
    return None if share is None else round(100 * share, 3)


def told_finely(share: float | None) -> str:
    """To a tenth of a hundredth; only nothing is 0%."""
    if share is None:
        return "–"
    return "<0.1%" if 0 < share < 0.001 else f"{share:.1%}".replace(".0%", "%")


def listed(found: Iterable[PreLabelling]) -> list[Watch]:
    return [Watch(one) for one in found]
