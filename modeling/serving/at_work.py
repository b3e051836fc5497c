"""What is the same of writing a model out and of checking it: a worker has it, says that it lives, and may lose it."""

import subprocess
from collections.abc import Callable
from typing import Any

from django.db import transaction
from django.db.models import QuerySet
from django.db.models.functions import Now
from django.utils import timezone

from annotate.models import Event, User
from modeling.models import RESUMES, Job, JobState

MAY_RESUME = (JobState.STOPPED, JobState.INTERRUPTED, JobState.FAILED)
DOING = 80  # characters
Process = subprocess.Popen[bytes]


class Refused(Exception):
    """It cannot be done so; the words are for whoever asked."""


class Lost(Exception):
    """Another worker has taken it over while we were silent, or somebody asked it to stop."""


def rows(job: Job) -> QuerySet[Any]:
    found: QuerySet[Any] = type(job)._default_manager.filter(pk=job.pk)
    return found


def still_ours(job: Job) -> QuerySet[Any]:
    """No row of it once another worker has claimed it."""
    return rows(job).filter(state=JobState.RUNNING, started=job.started)


def doing(job: Job, what: str, progress: Callable[[Any], None] = lambda _: None) -> None:
    job.doing = what[:DOING]
    heard(job)
    progress(job)
    if job.stop_asked:
        raise Lost


def heard(job: Job) -> None:
    told = {name: getattr(job, name) for name in ("doing", "done", "total")}
    if not still_ours(job).update(heartbeat=Now(), **told):
        raise Lost
    job.refresh_from_db(fields=["stop_asked"])


def jobs_of(kind: type[Job]) -> Any:
    """Each kind has rows of its own."""
    return kind._default_manager


def stop(job: Job) -> bool:
    """One that nobody works on is settled here."""
    idle = jobs_of(type(job)).claimable().filter(pk=job.pk)
    asked: int = idle.update(state=JobState.STOPPED, ended=timezone.now()) or rows(job).filter(
        state=JobState.RUNNING, stop_asked=False
    ).update(stop_asked=True)
    return bool(asked)


def resume(job: Job, enqueue: Callable[[Any], None]) -> bool:
    """What a dead worker left is taken up by itself within a minute, and by this at once."""
    if job.is_silent:
        enqueue(job)
        return True
    with transaction.atomic():
        changed: int = rows(job).filter(state__in=MAY_RESUME).update(
            state=JobState.QUEUED, error="", ended=None, interruptions=0, stop_asked=False
        )  # fmt: skip
        if changed:
            enqueue(job)
    return bool(changed)


def take_up(kind: type[Job], enqueue: Callable[[Any], None], end: Callable[..., None]) -> None:
    """What a dead worker left goes on by itself, a few times; but not what it had been asked to stop."""
    for job in jobs_of(kind).claimable().filter(state=JobState.RUNNING).select_related("by"):
        if job.stop_asked:
            end(job, JobState.STOPPED)
        elif job.interruptions >= RESUMES:
            end(job, JobState.INTERRUPTED, "Its worker died again and again. Look at the log, then resume it.")
        else:
            enqueue(job)


def ended(job: Job, state: str, error: str, **told: Any) -> bool:
    """Only while it is still ours."""
    changed = still_ours(job).update(state=state, error=error, doing="", ended=timezone.now(), **told)
    job.refresh_from_db()
    return bool(changed)


def record(verb: str, job: Any, serving: Any, by: User | None) -> None:
    Event.record(verb, user=by, project=serving.project, run=serving.run_id, serving=serving.pk, form=serving.form)
