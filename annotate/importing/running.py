"""One import from claim to report. The browser's task, the command and the API all end up in `carry_out`."""

import csv
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from django.conf import settings
from django.core.files import File
from django.core.files.storage import default_storage
from django.db import OperationalError, connection, transaction
from django.db.models import F
from django.db.models.functions import Now
from django.utils import timezone
from psycopg.errors import DeadlockDetected

from annotate import spreadsheets
from annotate.fetch import fetch_image
from annotate.heartbeat import heartbeat
from annotate.models import Event, ImportRun, Label
from annotate.models.importing import ImportRunQuerySet, ImportState
from annotate.operating import measuring, quotas, room

from . import formats, fourchan_live, leftovers
from .columns import Columns
from .load import Line, Loaded, Loader, batches
from .rows import Refused, Row, Unreadable

Progress = Callable[[ImportRun], None]
DEADLOCKS_BORNE = 5
VERBS = {ImportState.FAILED: "import failed", ImportState.CANCELLED: "import stopped"}


class LostClaim(Exception):
    """Another worker took this run over while we were silent; whatever we wrote stands, and it will find it there."""


def carry_out(run: ImportRun, path: Path | None = None, progress: Progress | None = None) -> bool:
    """False when somebody else has the run, or another import into the same project is under way."""
    if not run.claim():
        return False
    with (
        heartbeat(lambda: still_ours(run), f"Import {run.pk}"),
        tempfile.NamedTemporaryFile("w", newline="", suffix=".csv", encoding="utf-8-sig") as report,
    ):
        lines = csv.writer(report)
        lines.writerow(["row", "id", "outcome", "detail"])
        try:
            state, error = (
                load_all(run, path, lambda batch: lines.writerows(map(spreadsheet_safe, batch)), progress),
                "",
            )
        except LostClaim:
            return False
        except (Unreadable, OSError) as failure:
            state, error = ImportState.FAILED, said(failure)
        except BaseException:
            if not connection.in_atomic_block:
                connection.close_if_unusable_or_obsolete()  # or nobody could be told
            finish(run, ImportState.FAILED, "It broke off; what was imported stands, and it can be run again.", report)
            raise
        return finish(run, state, error, report)


def still_ours(run: ImportRun) -> ImportRunQuerySet:
    """No row of it once another worker has claimed the run, or somebody has stopped it."""
    return ImportRun.objects.filter(pk=run.pk, started=run.started, state=ImportState.RUNNING)


def load_all(
    run: ImportRun, path: Path | None, report: Callable[[list[Line]], None], progress: Progress | None
) -> ImportState:
    loader = Loader(run)
    with source_of(run, path) as rows:
        for batch in batches(rows):
            while batch:
                loader, loaded = load_whole(run, loader, batch, posts_left(run))
                if not loaded.taken:
                    refuse_more(run)
                batch = batch[loaded.taken :]
                report(loaded.lines)
                if progress:
                    progress(run)
                if run.stop_asked:
                    return ImportState.CANCELLED
    return ImportState.DONE


def posts_left(run: ImportRun) -> int | None:
    """That the project may still hold; None where it may hold any number. Votes and posts that are there need none."""
    held = room.stand(run.project)
    if problem := room.problem_with_import(held):
        raise Unreadable(standing(run, problem))
    return held.posts_left


def refuse_more(run: ImportRun) -> None:
    if problem := quotas.problem_with_posts(room.stand(run.project)):  # unless it was allowed more this very moment
        raise Unreadable(standing(run, problem))


def standing(run: ImportRun, problem: str) -> str:
    return f"{problem} What was imported stands." if run.imported else problem


def load_whole(run: ImportRun, loader: Loader, batch: list[Row | Refused], most: int | None) -> tuple[Loader, Loaded]:
    """A batch that lost a deadlock is undone as one, and tried again by a loader that knows nothing of it."""
    for tries_left in range(DEADLOCKS_BORNE, -1, -1):
        try:
            with transaction.atomic():
                loaded = loader.load(batch, most)
                record(run, loaded)
            return loader, loaded
        except OperationalError as error:
            if not tries_left or not isinstance(error.__cause__, DeadlockDetected):
                raise
            loader = Loader(run)
    raise AssertionError


@contextmanager
def source_of(run: ImportRun, path: Path | None) -> Iterator[Iterator[Row | Refused]]:
    if board := run.options.get("board"):
        yield live_board(run, str(board))
        return
    with local_copy(run, path) as local:
        options = reading_options(run, local if path else None)
        run.total = formats.count(local, run.name, options)
        run.save(update_fields=["total"])
        yield formats.read(local, run.name, options)


def reading_options(run: ImportRun, beside: Path | None = None) -> formats.Options:
    """Only a file that lies on this machine's disk may name pictures beside it; an upload has nothing beside it."""
    columns = run.options.get("columns")
    return formats.Options(
        format=str(run.options.get("format", "")),
        columns=Columns.from_dict(columns) if columns else None,
        labels=tuple(Label.objects.filter(project=run.project_id).values_list("name", flat=True)),
        picture_from_url=fetch_image if settings.FETCH_IMAGES else None,
        base=beside.resolve().parent if beside else None,
        board=str(run.options.get("board", "")),
        voter=str(run.options.get("voter", "")),
    )


def live_board(run: ImportRun, board: str) -> Iterator[Row | Refused]:
    """What was seen last time is not asked for again. Its rule of one request a second holds for all of us together."""
    seen = last_seen(run, board)
    with only_one_collector():
        yield from fourchan_live.collect(
            board,
            api=settings.FOURCHAN_API,
            images=settings.FOURCHAN_IMAGES,
            threads=int(run.options.get("threads", 10)),
            with_pictures=bool(run.options.get("with_pictures", True)),
            state=seen,
        )
    run.options["seen"] = seen
    run.save(update_fields=["options"])


def last_seen(run: ImportRun, board: str) -> dict[str, str]:
    earlier = ImportRun.objects.filter(project=run.project_id, options__board=board, options__has_key="seen")
    options = earlier.values_list("options", flat=True).first()
    return dict(options["seen"]) if options else {}


@contextmanager
def only_one_collector() -> Iterator[None]:
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_try_advisory_lock(hashtext('fourchan'))")
        if not cursor.fetchone()[0]:
            raise Unreadable("Another board is being collected, and there is one request a second for all; try later.")
    try:
        yield
    finally:
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_advisory_unlock(hashtext('fourchan'))")


@contextmanager
def local_copy(run: ImportRun, path: Path | None) -> Iterator[Path]:
    """Readers want a file they can seek in; a storage elsewhere (S3) is copied to disk first."""
    if path:
        yield path
        return
    try:
        yield Path(default_storage.path(run.path))
    except NotImplementedError:
        with (
            tempfile.NamedTemporaryFile(suffix=Path(run.name).suffix) as copy,
            default_storage.open(run.path) as upload,
        ):
            shutil.copyfileobj(upload, copy)
            copy.flush()
            yield Path(copy.name)


def record(run: ImportRun, loaded: Loaded) -> None:
    """In the batch's own transaction, so that the counts on the page are what stands in the table."""
    kept = still_ours(run).update(
        heartbeat=Now(),
        imported=F("imported") + loaded.count("imported"),
        already=F("already") + loaded.count("already there"),
        refused=F("refused") + loaded.count("refused"),
        votes=F("votes") + loaded.votes,
    )
    if not kept:
        raise LostClaim
    measuring.came_in(run.project, measuring.PICTURES, loaded.picture_bytes)
    if loaded.brought_removed:
        run.options[leftovers.BROUGHT_REMOVED] = True
        run.save(update_fields=["options"])
    run.refresh_from_db(fields=["heartbeat", "imported", "already", "refused", "votes", "stop_asked"])


def finish(run: ImportRun, state: ImportState, error: str, report: IO[str]) -> bool:
    """False where the run is somebody else's by now: how it ended is theirs to say."""
    run.state, run.error, run.ended = state, error, timezone.now()
    with suppress(OSError):  # a full disk must not keep the run from being told as ended
        report.flush()
        with Path(report.name).open("rb") as finished:
            run.report = default_storage.save(f"reports/import-{run.pk}.csv", File(finished))
    with transaction.atomic():
        if not still_ours(run).update(report=run.report, state=state, error=error, ended=run.ended):
            return False
        Event.record(
            VERBS.get(state, "posts imported"), user=run.by, project=run.project,
            run=run.pk, name=run.name, imported=run.imported, already_there=run.already, refused=run.refused,
        )  # fmt: skip
    leftovers.forget_after(run)
    return True


def said(failure: Exception) -> str:
    if isinstance(failure, OSError) and failure.errno in room.FULL:
        return room.FULL_WORDS
    if isinstance(failure, OSError):
        return f"The disk or the file did not play along: {failure.strerror or failure}. Mend that and run it again."
    return str(failure)


def spreadsheet_safe(line: Line) -> list[str | int]:
    """A spreadsheet runs cells that begin like a formula, and these come from strangers' files."""
    cells = [line.external_id, line.outcome, line.detail]
    return [line.number, *map(spreadsheets.guarded, cells)]
