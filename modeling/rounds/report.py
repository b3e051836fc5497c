"""All rounds of a project beside each other, and what is missing before the first."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

from django.db.models import Sum

from annotate.models import LabelSource, Project, State, Tally
from modeling.models import Round, RoundState
from modeling.prelabelling.report import told_finely

from . import drawing, outcome
from .drawing import Column, Panel

SHOWN = 20  # more are on further pages
CSS = {
    RoundState.RUNNING: "at-work", RoundState.WAITING: "warn", RoundState.HELD_UP: "bad", RoundState.STOPPED: "soft",
    RoundState.KEPT: "good", RoundState.ROLLED_BACK: "bad",
}  # fmt: skip
SOURCES = [source for source in LabelSource if source]
UNREAD = (
    "dataset__facts", "dataset__told", "dataset__recipe", "run__receipt", "run__log", "run__latest", "run__scores",
    "prelabelling__validation", "prelabelling__meaning", "evaluation__used",
)  # fmt: skip


class OfSource(NamedTuple):
    name: str
    css: str
    posts: int


@dataclass(frozen=True)
class Row:
    one: Round
    told: Mapping[str, Any]

    @property
    def css(self) -> str:
        return CSS[RoundState(self.one.state)]

    @property
    def sources(self) -> list[OfSource]:
        labels = self.told.get("labels") or {}
        return [OfSource(str(one.label), f"source-{one}", labels[one]) for one in SOURCES if labels.get(one)]

    @property
    def labels(self) -> int:
        return sum(one.posts for one in self.sources)

    @property
    def wrong(self) -> str:
        return told_finely(self.told["wrong"]["value"])

    @property
    def wrong_between(self) -> str:
        low, high = (self.told["wrong"][end] for end in ("low", "high"))
        return "" if low is None else f"{told_finely(low)} to {told_finely(high)}"

    @property
    def money(self) -> float | None:
        return self.told.get("money")

    @property
    def machine(self) -> str:
        return drawing.hours(self.told.get("machine_hours") or 0)

    @property
    def people(self) -> str:
        return drawing.hours(self.told.get("people_hours") or 0)

    @property
    def is_over(self) -> bool:
        return self.one.is_over


@dataclass(frozen=True)
class Board:
    rows: list[Row]  # the latest first
    older: int | None  # the number before which there are more

    @cached_property
    def panels(self) -> list[Panel]:
        columns = [
            Column(row.one.number, row.one.get_absolute_url(), row.one.get_state_display(), row.one.state.replace(
                " ", "-"), row.told)
            for row in reversed(self.rows)
        ]  # fmt: skip
        return drawing.panels(columns)

    @property
    def sources(self) -> list[OfSource]:
        """For the key: those that gave a label in any of these rounds."""
        found: dict[str, OfSource] = {}
        for row in self.rows:
            found |= {one.css: one for one in row.sources}
        return [found[f"source-{one}"] for one in SOURCES if f"source-{one}" in found]

    @property
    def has_rolled_back(self) -> bool:
        return any(row.one.state == RoundState.ROLLED_BACK for row in self.rows)

    @property
    def open(self) -> Round | None:
        return next((row.one for row in self.rows if not row.is_over), None)


def board(project: Project, before: int | None) -> Board:
    listed = project.rounds.select_related("project", "dataset", "run", "evaluation", "rival", "prelabelling", "by")
    if before is not None:
        listed = listed.filter(number__lt=before)
    page: Sequence[Round] = list(listed.defer(*UNREAD, "rival__measured", "rival__used")[: SHOWN + 1])
    rows = [Row(one, one.told if one.is_over else outcome.of(one)) for one in page[:SHOWN]]
    return Board(rows, page[SHOWN - 1].number if len(page) > SHOWN else None)


# --- What there is to begin with


@dataclass(frozen=True)
class Stock:
    """Posts, the locked test set told apart."""

    locked: int
    labelled: int
    waiting: int

    @property
    def may_begin(self) -> bool:
        return bool(self.locked and self.labelled)


def stock(project: Project) -> Stock:
    counts = Tally.objects.filter(project=project).order_by().values_list("state", "holdout").annotate(n=Sum("posts"))
    found = {(state, holdout): int(n) for state, holdout, n in counts}
    return Stock(
        locked=sum(n for (_, holdout), n in found.items() if holdout),
        labelled=found.get((State.SETTLED.value, False), 0), waiting=found.get((State.WAITING.value, False), 0),
    )  # fmt: skip
