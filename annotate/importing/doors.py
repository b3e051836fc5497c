"""How an import begins: an upload, a board, or the command line. Each leaves an ImportRun for `carry_out`."""

import secrets
from dataclasses import dataclass
from pathlib import PurePath

from django.core.files.base import File
from django.core.files.storage import default_storage
from django.db import transaction
from django.utils import timezone
from django_q.tasks import async_task

from annotate.models import ImportRun, Project, User
from annotate.models.importing import ImportState
from annotate.operating import measuring, quotas, room

from . import formats
from .rows import Unreadable
from .running import local_copy, reading_options

COUNTED = 256 * 1024**2  # bytes; of a larger file the run itself tells how many rows it has


def receive(project: Project, by: User, file: File) -> ImportRun:  # type: ignore[type-arg]
    """The name is kept for people; where it lies has nothing of it but the ending."""
    if problem := room.problem_with_import(room.stand(project), file.size or 0):
        raise Unreadable(problem)
    name = PurePath(file.name or "upload").name[:255]
    path = kept(f"uploads/{secrets.token_hex(12)}{PurePath(name).suffix[:10].lower()}", file)
    measuring.came_in(project, measuring.UPLOADS, file.size or 0)
    return ImportRun.objects.create(project=project, by=by, name=name, path=path)


def kept(path: str, file: File) -> str:  # type: ignore[type-arg]
    """Whole, or with a sentence and not at all."""
    try:
        return default_storage.save(path, file)
    except OSError as error:
        default_storage.delete(path)
        if error.errno in room.FULL:
            raise Unreadable(
                "The disk is full, so the file could not be kept. Make room, and send it again."
            ) from error
        raise


def collect(project: Project, by: User, board: str, threads: int, with_pictures: bool) -> ImportRun:
    held = room.stand(project)
    if problem := room.problem_with_import(held) or quotas.problem_with_posts(held):  # a board brings new posts
        raise Unreadable(problem)
    options = {"board": board, "threads": threads, "with_pictures": with_pictures}
    run = ImportRun.objects.create(project=project, by=by, name=f"/{board}/ live", options=options)
    begin(run)
    return run


def preview(run: ImportRun) -> tuple[formats.Preview, int | None]:
    """What was understood of the file, and about how many rows it has."""
    if not default_storage.exists(run.path):
        raise Unreadable("The file of this import is gone; upload it again.")
    with local_copy(run, None) as local:
        options = reading_options(run)
        few = local.stat().st_size <= COUNTED  # somebody waits for the page
        return formats.preview(local, run.name, options), formats.count(local, run.name, options) if few else None


def begin(run: ImportRun) -> bool:
    """Queued with its task in one transaction: a run never waits for a task that nobody wrote, and never gets two."""
    if not ((run.path and default_storage.exists(run.path)) or run.options.get("board")):
        return False
    with transaction.atomic():
        run.refresh_from_db(fields=["state", "heartbeat"], from_queryset=ImportRun.objects.select_for_update())
        if not run.can_begin:
            return False
        run.state = ImportState.QUEUED
        run.save(update_fields=["state", "options", "holdout"])
        enqueue(run)
    return True


def enqueue(run: ImportRun) -> None:
    async_task("annotate.tasks.import_posts", run.pk, task_name=f"import {run.pk}")


def ask_to_stop(run: ImportRun) -> None:
    """A run at work stops after its batch; one that nobody works on is stopped at once."""
    ImportRun.objects.filter(pk=run.pk, state=ImportState.RUNNING).update(stop_asked=True)
    idle = ImportRun.objects.filter(pk=run.pk).claimable().update(state=ImportState.CANCELLED, ended=timezone.now())
    if not idle:
        ImportRun.objects.filter(pk=run.pk, state=ImportState.DRAFT).update(state=ImportState.CANCELLED)


@dataclass(frozen=True, slots=True)
class Pace:
    per_second: float
    seconds_left: int | None


def pace(run: ImportRun) -> Pace | None:
    if not run.started or not run.done:
        return None
    seconds = max(((run.ended or timezone.now()) - run.started).total_seconds(), 0.05)
    rate = run.done / seconds
    left = max(run.total - run.done, 0) / rate if run.total else None
    return Pace(rate, None if left is None else round(left))
