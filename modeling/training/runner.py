"""Start, watch, stop and resume the process that trains. The page, the command and the API all end up here."""

import json
import logging
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any, NamedTuple

from django.db import transaction
from django.db.models.functions import Now
from django.utils import timezone
from django_q.tasks import async_task

from annotate.heartbeat import heartbeat
from annotate.models import Event, Project, User
from annotate.operating import room, upkeep
from modeling.child import Told, child, ended, looks
from modeling.gpu import full_disk
from modeling.gpu.config import Config
from modeling.gpu.progress import STOP
from modeling.models import RESUMES, Dataset, Run, RunPoint, RunQuerySet, RunState, Study

from . import results, run_folder, run_log

PROGRAM = [sys.executable, "-m", "modeling.gpu.many_cards"]  # it becomes the trainer, or starts one a card
CHECKPOINTS = "checkpoints/checkpoint-*"
DOING = 80  # characters
LOOK_EVERY = 0.5  # seconds
PATIENCE = 60.0  # seconds that a process asked to stop may take to save what it has
MAY_RESUME = (RunState.STOPPED, RunState.INTERRUPTED, RunState.FAILED, RunState.AWAY)
Progress = Callable[[Run], None]


class Refused(Exception):
    """It cannot be started so; the words are for whoever asked."""


class Lost(Exception):
    """Another worker has taken this run over while we were silent."""


class Part(NamedTuple):
    """What makes a run one of several."""

    study: Study
    part: dict[str, Any]


def start(
    project: Project,
    by: User | None,
    dataset: Dataset,
    config: Config,
    recipe: str = "",
    queue: bool = True,
    away: bool = False,
    part: Part | None = None,
    has_begun: bool = False,
) -> Run:
    """Whoever trains by command carries it out there and then, and queues nothing; nor is queued what is to be trained
    on another machine, as a bundle. Where it is a part of what has begun, that may end in a full project too."""
    if not dataset.is_frozen:
        raise Refused(f"{dataset.name} is not frozen yet.")
    if not run_folder.has_posts_to_learn_from(dataset):
        raise Refused(f"{dataset.name} has no post to train on.")
    if problem := "" if has_begun else room.problem_with_project(project):
        raise Refused(problem)
    told = config.as_json() | {"weights": dict(config.weights) or dataset.facts.get("weights", {})}
    with transaction.atomic():
        state = RunState.AWAY if away else RunState.QUEUED
        run = Run.objects.create(
            project=project, dataset=dataset, by=by, config=told, recipe=recipe, state=state,
            **(part._asdict() if part else {}),
        )  # fmt: skip
        record("training asked for", run, by)
        if queue and not away:
            enqueue(run)
    return run


def enqueue(run: Run) -> None:
    async_task("modeling.tasks.train", run.pk, task_name=f"train {run.pk}", cluster="gpu")


def stop(run: Run, by: User | None = None) -> bool:
    """A run at work saves a checkpoint first; one that nobody works on is settled here."""
    idle = Run.objects.claimable().filter(pk=run.pk)
    at_work = Run.objects.filter(pk=run.pk, state=RunState.RUNNING, stop_asked=False)
    asked = idle.update(state=RunState.STOPPED, ended=timezone.now()) or at_work.update(stop_asked=True)
    if asked:
        record("training stopped", run, by)
    return bool(asked)


def resume(run: Run, by: User | None = None) -> bool:
    """From its last checkpoint, or from the start where there is none. What was to be trained elsewhere comes here."""
    over = Run.objects.filter(pk=run.pk, state__in=MAY_RESUME)
    with transaction.atomic():
        changed = over.update(state=RunState.QUEUED, error="", ended=None, interruptions=0, stop_asked=False)
        if changed:
            enqueue(run)
            record("training resumed", run, by)
    return bool(changed)


def record(verb: str, run: Run, by: User | None, **more: str) -> None:
    Event.record(verb, user=by, project=run.project, run=run.pk, dataset=run.dataset.name, **more)


def take_up() -> None:
    """What a dead worker left goes on by itself, a few times; but not what it had been asked to stop."""
    for run in Run.objects.claimable().filter(state=RunState.RUNNING).select_related("project", "dataset", "by"):
        if run.stop_asked:
            end(run, RunState.STOPPED)
        elif run.interruptions >= RESUMES:
            end(run, RunState.INTERRUPTED, "Its worker died again and again. Look at the log, then resume it.")
        else:
            enqueue(run)


# --- Carrying it out


def carry_out(run: Run, progress: Progress = lambda _: None) -> bool:
    """False where somebody else has it."""
    before = run.machine
    if not run.claim():
        return False
    try:
        state, error = trained(run, before, progress)
    except Lost:
        return True
    except (run_folder.NotSeen, room.NoRoom) as failure:
        state, error = RunState.FAILED, str(failure)
    except OSError as failure:
        told = f"The disk did not play along: {failure.strerror or failure}. Then resume it."
        state, error = RunState.FAILED, full_disk.WORDS if failure.errno in full_disk.FULL else told
    except BaseException:
        logging.getLogger(__name__).exception("Run %s broke off.", run.pk)
        end(run, RunState.INTERRUPTED, "It broke off. What was saved stands: resume it.")
        raise
    end(run, state, error)
    return True


def trained(run: Run, before: str, progress: Progress) -> tuple[RunState, str]:
    """Its result is kept before it counts as done: no machine is told of one that it cannot have."""
    folder = run_folder.folder_of(run)
    room.refuse_if_full(run_folder.all_runs())
    doing(run, "writing the dataset")
    with heartbeat(lambda: still_ours(run), f"Run {run.pk}"):  # many pictures take minutes
        run_folder.forget_removed()  # nothing else sweeps a machine that only trains
        run_folder.write(run, folder)
    (folder / STOP).unlink(missing_ok=True)
    with (folder / run_log.FILE).open("ab") as log:
        with transaction.atomic():
            doing(run, begun(run, before, folder, log))
        with child([*PROGRAM, str(folder)], log) as process:
            state, error = watch(run, folder, process, progress)
    if state == RunState.DONE:
        doing(run, "storing its result")
        with heartbeat(lambda: still_ours(run), f"Run {run.pk}"):
            results.keep(run, folder)
    return state, error


def begun(run: Run, before: str, folder: Path, log: IO[bytes]) -> str:
    """In words. What it told here is heard again, because a worker that died missed its last lines; what was told on
    another machine counts no more, because nothing of it is here."""
    moved, reached = before not in ("", run.machine), run.step
    if moved:
        run.points.all().delete()
        run.step, run.steps, run.latest, run.scores = 0, 0, {}, {}
    mirror(run, Told(folder, of_before=True).fresh())
    if not (moved and reached) or any(folder.glob(CHECKPOINTS)):
        return "starting the trainer"
    words = f"starting from the beginning: its checkpoint lies on {before}"
    log.write(f"{words[0].upper()}{words[1:]}.\n".encode())
    log.flush()
    record("training starts from the beginning", run, None, checkpoint_on=before)
    return words[:DOING]


def watch(run: Run, folder: Path, process: "subprocess.Popen[bytes]", progress: Progress) -> tuple[RunState, str]:
    """Until it ends. What it told last says how; if it told nothing, something ended it."""
    told, tail = Told(folder), run_log.Tail(folder)
    for over in looks(process, folder, lambda: run.stop_asked, LOOK_EVERY, PATIENCE):
        mirror(run, told.fresh())
        heard(run)
        if (news := tail.news(at_once=over)) is not None:
            still_ours(run).update(log=news)
        progress(run)
    kind, error = ended(told, process.returncode)
    return RunState(kind), error


def mirror(run: Run, told: Iterator[dict[str, Any]]) -> None:
    """Into the table, where every machine can see it."""
    points: dict[tuple[str, int], RunPoint] = {}  # a resumed run tells its last steps again
    for line in told:
        kind = line["kind"]
        if kind == "state":
            run.doing = line.get("doing", "")
        elif kind in ("step", "evaluation"):
            points[kind, line["step"]] = RunPoint(run=run, kind=kind, step=line["step"], told=line)
            if kind == "step":
                run.step, run.steps, run.latest, run.doing = line["step"], line["of"], line, "training"
            elif line["macro_f1"] >= run.scores.get("macro_f1", -1):
                run.scores = line
    if points:
        RunPoint.objects.bulk_create(
            points.values(), update_conflicts=True, unique_fields=["run", "kind", "step"], update_fields=["told"],
            batch_size=2000,
        )  # fmt: skip


def doing(run: Run, what: str) -> None:
    run.doing = what
    heard(run)


def still_ours(run: Run) -> RunQuerySet:
    """No row of it once another worker has claimed the run."""
    return Run.objects.filter(pk=run.pk, state=RunState.RUNNING, started=run.started)


def heard(run: Run) -> None:
    told = {name: getattr(run, name) for name in ("doing", "step", "steps", "latest", "scores")}
    if not still_ours(run).update(heartbeat=Now(), **told):
        raise Lost
    run.refresh_from_db(fields=["stop_asked"])


def end(run: Run, state: RunState, error: str = "") -> None:
    """Only while it is still ours: how it ended is otherwise somebody else's to say."""
    receipt = run_folder.folder_of(run) / "receipt.json"
    told = json.loads(receipt.read_text(encoding="utf-8")) if state == RunState.DONE and receipt.exists() else {}
    with transaction.atomic():
        ended = still_ours(run).update(state=state, error=error, receipt=told, doing="", ended=timezone.now())
        if ended and state != RunState.STOPPED:  # for that whoever asked is on record
            record(f"training {RunState(state).label.lower()}", run, run.by)
    upkeep.look_again()
    run.refresh_from_db()
