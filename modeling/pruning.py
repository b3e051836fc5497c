"""What training and asking leave on a machine's disk, and which of it may go; beside the rules for everything else."""

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from pathlib import Path

from django.conf import settings
from django.core.files.storage import default_storage
from django.db import connection
from django.db.models import Sum

from annotate.models import Image
from annotate.operating import pruning, room
from annotate.operating.pruning import Found, Going, Kept, Rule, last_touched, size_of

from .export import pictures
from .models import Answerer, DatasetItem, Evaluation, JobState, PreLabelling, Run, RunState, Serving
from .training import results, run_folder

CHECKPOINTS = "checkpoints"
AT_WORK = (JobState.QUEUED, JobState.RUNNING)
OF_JOBS: dict[str, type[Evaluation | PreLabelling | Run]] = {
    "evaluations": Evaluation, "prelabelling": PreLabelling, "runs": Run,
}  # fmt: skip


def rules() -> list[Rule]:
    days = settings.PRUNE_RUNS_DAYS
    return [
        Rule("checkpoints", "Checkpoints of runs that are done",
             "The result is stored; only a run that is not done goes on from a checkpoint.", days, checkpoints),
        Rule("copies", "What done runs were trained on, as copied for them", "The dataset has it all, frozen.", days,
             copies),
        Rule("results", "Results fetched from the storage", "They are fetched again when they are needed.", days,
             fetched_results),
        Rule("left", "Folders of evaluations, pre-labellings and runs that are done or no more",
             "What they found out stands in the database.", days, left),
        *pruning.rules(still_named),
    ]  # fmt: skip


def look() -> list[Found]:
    return [Found(rule, rule.found()) for rule in rules()]


def still_named() -> set[str]:
    """A frozen dataset keeps its pictures, whatever became of its posts."""
    names = DatasetItem.objects.exclude(image="").values_list("image", flat=True).distinct()
    return {name.partition(".")[0] for name in names.iterator()}


# --- The rules


def checkpoints(before: datetime) -> Iterator[Going]:
    for run in done_runs(before):
        folder = run_folder.folder_of(run) / CHECKPOINTS
        if folder.is_dir() and default_storage.exists(results.name_of(run)):
            yield Going(f"{run} of {run.project.name}", size_of(folder), partial(drop_of, run.pk, folder))


def drop_of(run: int, folder: Path) -> None:
    if not Run.objects.filter(pk=run, state=RunState.DONE).exists():
        raise Kept
    shutil.rmtree(folder)


def copies(before: datetime) -> Iterator[Going]:
    for run in done_runs(before):
        folder = run_folder.folder_of(run)
        held = sum(size_of(folder / name) for name in ("posts", pictures.FOLDER, "cache"))
        if held and run_folder.gone_when_written(folder) is not None:
            yield Going(f"{run} of {run.project.name}", held, partial(forget_copy, run.pk, folder))


def forget_copy(run: int, folder: Path) -> None:
    if not Run.objects.filter(pk=run, state=RunState.DONE).exists():
        raise Kept
    run_folder.forget(folder)


def done_runs(before: datetime) -> Iterator[Run]:
    here = [int(path.name) for path in numbered(run_folder.all_runs())]
    done = Run.objects.filter(pk__in=here, state=RunState.DONE, ended__lt=before)
    yield from done.select_related("project").order_by("pk")


def numbered(folder: Path) -> list[Path]:
    return [path for path in folder.glob("*") if path.name.isdecimal() and path.is_dir()]


def fetched_results(before: datetime) -> Iterator[Going]:
    for path in (Path(settings.VAR_DIR) / "results").glob("*"):
        pk = path.name.partition("-")[0]
        if not path.is_dir() or not pk.isdecimal() or last_touched(path) > before:
            continue
        run = Run.objects.filter(pk=int(pk)).first()
        if run is None or default_storage.exists(results.name_of(run)):
            yield Going(path.name, size_of(path), partial(drop_result, path))


def drop_result(path: Path) -> None:
    """A process may be reading its weights at this moment; which, nobody has written down."""
    if is_asking():
        raise Kept
    shutil.rmtree(path)


def is_asking() -> bool:
    jobs = (Evaluation, PreLabelling, Serving)
    return Answerer.objects.alive().exists() or any(job.objects.filter(state__in=AT_WORK).exists() for job in jobs)


def left(before: datetime) -> Iterator[Going]:
    """By the job's state, and by when anything in it was last written; one that can be resumed keeps its folder."""
    for name, model in OF_JOBS.items():
        folders = {int(path.name): path for path in numbered(Path(settings.VAR_DIR) / name)}
        there = dict(model.objects.filter(pk__in=folders).values_list("pk", "state"))
        for pk, path in sorted(folders.items()):
            over = pk not in there or (there[pk] == JobState.DONE and model is not Run)
            if over and last_touched(path) < before:
                yield Going(f"{name}/{pk}", size_of(path), partial(drop_left, name, pk, path))


def drop_left(name: str, pk: int, path: Path) -> None:
    if OF_JOBS[name].objects.filter(pk=pk).exclude(state=JobState.DONE).exists():
        raise Kept
    shutil.rmtree(path)


# --- What takes how much


@dataclass(frozen=True, slots=True)
class Taken:
    what: str
    bytes: int
    count: int
    unit: str
    told: str = ""


def taken() -> list[Taken]:
    """The pictures are summed by the database: a million of them would be a minute's walk."""
    pictures = Image.objects.aggregate(held=Sum("bytes"))["held"] or 0
    own = Path(settings.VAR_DIR)
    folders = [
        ("runs", "Folders of runs", "Checkpoints, logs and what was trained on; of this machine alone."),
        ("results", "Results fetched for this machine", ""),
        ("serving", "Written-out models", "Each is deleted on its run’s page: a server may be using it."),
        ("evaluations", "Evaluations under way or to be resumed", ""),
        ("prelabelling", "Pre-labellings under way or to be resumed", ""),
        ("answering", "Answers under way", ""),
    ]
    return [
        Taken("The database", database_size(), *table_rows(),
              "Posts, votes, reviews, datasets, predictions. Rows as PostgreSQL reckons them."),
        Taken("Pictures", pictures, Image.objects.count(), "picture",
              "Their thumbnails take about a seventh of this on top, and stay: nothing draws them anew."),
        *(in_storage(name, what) for name, what in (("uploads", "Files sent for imports"),
                                                    ("reports", "Reports of imports"), ("runs", "Results of runs"))),
        *(Taken(what, size_of(own / name), len(list((own / name).glob("*"))), "folder", words)
          for name, what, words in folders),
    ]  # fmt: skip


def database_size() -> int:
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_database_size(current_database())")
        return int(cursor.fetchone()[0])


def table_rows() -> tuple[int, str]:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT coalesce(sum(greatest(reltuples, 0)), 0)::bigint FROM pg_class"
            " WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace"
        )
        return int(cursor.fetchone()[0]), "row"


def in_storage(folder: str, what: str) -> Taken:
    sizes = [size for _, size, _ in pruning.files_in(folder)]
    return Taken(what, sum(sizes), len(sizes), "file")


def disks() -> list[tuple[str, int]]:
    """Free bytes where things are written; one line where it is one disk."""
    own = room.free(Path(settings.VAR_DIR))
    media = [room.free(folder) for folder in room.media_folders()]
    return [("the media", free) for free in media if free != own] + [("VAR_DIR" if {*media} - {own} else "", own)]
