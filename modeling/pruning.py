"""What training and asking leave in a machine's own folder, and which of it may go."""

import shutil
from collections.abc import Iterator
from datetime import datetime
from functools import partial
from pathlib import Path

from django.conf import settings
from django.core.files.storage import default_storage

from annotate.operating.pruning import Going, Kept, Rule, last_touched, size_of

from .export import pictures
from .models import Answerer, DatasetItem, Evaluation, JobState, PreLabelling, Run, RunState, Serving
from .training import results, run_folder

CHECKPOINTS = "checkpoints"
GOING = ".going"
AT_WORK = (JobState.QUEUED, JobState.RUNNING)
OF_JOBS: dict[str, type[Evaluation | PreLabelling | Run]] = {
    "evaluations": Evaluation, "prelabelling": PreLabelling, "runs": Run,
}  # fmt: skip


def rules() -> list[Rule]:
    own = partial(Rule, days=settings.PRUNE_RUNS_DAYS, shared=False)
    return [
        own("checkpoints", "Checkpoints of runs that are done",
            "The result is stored; only a run that is not done goes on from a checkpoint.", find=checkpoints),
        own("copies", "What done runs were trained on, as copied for them", "The dataset has it all, frozen.",
            find=copies),
        own("results", "Results fetched from the storage", "They are fetched again when they are needed.",
            find=fetched_results),
        own("left", "Folders of evaluations, pre-labellings and runs that are done or no more",
            "What they found out stands in the database.", find=left),
    ]  # fmt: skip


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
    shutil.rmtree(out_of_the_way(path))


def out_of_the_way(path: Path) -> Path:
    """Under another name in one step: whoever is killed over it leaves no half of a result that looks like a whole."""
    return path if path.suffix == GOING else path.rename(path.with_name(f"{path.name}{GOING}"))


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
