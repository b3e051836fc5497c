"""What a run's page reads of it: how far it is, its curves, whether it is here."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from functools import cached_property
from typing import Any, NamedTuple

from django.utils import timezone

from modeling.models import Run, RunPoint, RunState

from . import run_folder
from .runner import MAY_RESUME

MOST = 1000  # points of a curve, however long the run
LATELY = 50  # steps that tell the pace
CURVES = {"step": ("loss", "lr", "memory"), "evaluation": ("macro_f1", "accuracy", "loss")}

# The first point of each stretch of steps, each found by the index: a run of any length costs the same.
POINTS = """
SELECT point.id, point.step, point.told
FROM generate_series(%(first)s::bigint, %(last)s::bigint, %(stride)s::bigint) AS start
CROSS JOIN LATERAL (
  SELECT id, step, told FROM modeling_runpoint WHERE run_id = %(run)s AND kind = %(kind)s
    AND step >= start AND step < start + %(stride)s
  ORDER BY step LIMIT 1
) AS point
WHERE point.step > %(after)s ORDER BY point.step
"""


class Figures(NamedTuple):
    """A line of the table beside the curves."""

    step: int
    told: Mapping[str, Any]


@dataclass(frozen=True)
class Watch:
    run: Run
    ahead: int  # runs that were asked for before it, where it waits
    steps_per_second: float | None

    @property
    def at_work(self) -> bool:
        return self.run.state == RunState.RUNNING and not self.run.is_silent

    @property
    def is_stopping(self) -> bool:
        """A run that waits to be resumed may still hold that it was asked to stop."""
        return self.at_work and self.run.stop_asked

    @property
    def may_resume(self) -> bool:
        return self.run.is_silent or self.run.state in MAY_RESUME

    @property
    def saved_on(self) -> str:
        """Another machine, where what it saved is out of the reach of this one."""
        waits = self.may_resume or self.run.state == RunState.QUEUED
        return self.run.machine if waits and self.run.step and not is_here(self.run) else ""

    @property
    def lasted(self) -> int | None:
        """Seconds, since it was started or resumed last."""
        if not self.run.started:
            return None
        return round(((self.run.ended or timezone.now()) - self.run.started) / timedelta(seconds=1))

    @cached_property
    def seconds_left(self) -> int | None:
        if not self.at_work or not self.steps_per_second:
            return None
        return round((self.run.steps - self.run.step) / self.steps_per_second)

    @property
    def pace(self) -> str:
        """As it is lately; a slow one by the step."""
        rate = self.steps_per_second
        if not rate:
            return ""
        return f"{rate:,.1f} steps a second" if rate >= 1 else f"{1 / rate:,.1f} s a step"


def watch(run: Run) -> Watch:
    running = run.state == RunState.RUNNING
    ahead = not_over().filter(pk__lt=run.pk).count() if run.state == RunState.QUEUED else 0
    return Watch(run, ahead, pace(run) if running else None)


def not_over() -> Any:
    return Run.objects.filter(state__in=[RunState.QUEUED, RunState.RUNNING])


def pace(run: Run) -> float | None:
    """Steps a second, with the evaluations between them; those before it was resumed are left out."""
    since = run.started.timestamp() if run.started else 0.0
    lately = run.points.filter(kind="step", told__at__gte=since).order_by("-step").values_list("step", "told__at")
    told = list(lately[:LATELY])
    if len(told) < 2:
        return None
    (last, at), (first, began) = told[0], told[-1]
    return (last - first) / (at - began) if at > began else None


# --- Curves


def stride_of(steps: int) -> int:
    """It doubles as a run grows, so that points which stay were drawn before."""
    stride = 1
    while steps > MOST * stride:
        stride *= 2
    return stride


def points(run: Run, kind: str, after: int = -1) -> list[Figures]:
    """About a thousand at most, evenly over the run's steps."""
    stride = stride_of(run.step)
    first = max(0, after) // stride * stride
    told = {
        "run": run.pk, "kind": kind, "after": after, "stride": stride, "first": first, "last": run.step + stride,
    }  # fmt: skip
    return [Figures(point.step, point.told) for point in RunPoint.objects.raw(POINTS, told)]


def curves(run: Run, after: int = -1) -> dict[str, Any]:
    """Column by column, as they are drawn. An evaluation is told after the step that it belongs to."""
    drawn: dict[str, Any] = {}
    for kind, names in CURVES.items():
        found = points(run, kind, after - (kind == "evaluation"))
        columns = {name: [one.told.get(name) for one in found] for name in names}
        drawn[kind] = {"step": [one.step for one in found], **columns}
    return drawn | {"stride": stride_of(run.step), "at": run.step, "over": run.is_over}


def latest(run: Run, kind: str, count: int = 8) -> list[Figures]:
    found = run.points.filter(kind=kind).order_by("-step").values_list("step", "told")[:count]
    return [Figures(step, told) for step, told in found]


# --- The machine


def is_here(run: Run) -> bool:
    """Whether this machine trains it, or trained it last."""
    return run.is_of_this_machine and run_folder.folder_of(run).is_dir()
