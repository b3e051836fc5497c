"""Start, watch, stop and resume the process that trains. The page, the command and the API all end up here."""

import json
import logging
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import IO, Any

from django.db import transaction
from django.utils import timezone
from django_q.tasks import async_task

from annotate.heartbeat import heartbeat
from annotate.models import Event, Project, User
from annotate.offspring import die_with_parent

from . import run_folder
from .gpu.config import Config
from .gpu.progress import FILE, STOP
from .models import RESUMES, Dataset, Run, RunPoint, RunQuerySet, RunState

PROGRAM = [sys.executable, "-m", "modeling.gpu.train"]
HERE = Path(__file__).resolve().parent.parent
LOG = "log.txt"
LOOK_EVERY = 0.5  # seconds
PATIENCE = 60.0  # seconds that a process asked to stop may take to save what it has
MAY_RESUME = (RunState.STOPPED, RunState.INTERRUPTED, RunState.FAILED, RunState.AWAY)
Progress = Callable[[Run], None]


class Refused(Exception):
    """It cannot be started so; the words are for whoever asked."""


class Lost(Exception):
    """Another worker has taken this run over while we were silent."""


def start(
    project: Project,
    by: User | None,
    dataset: Dataset,
    config: Config,
    recipe: str = "",
    queue: bool = True,
    away: bool = False,
) -> Run:
    """Whoever trains by command carries it out there and then, and queues nothing; nor is queued what is to be trained
    on another machine, as a bundle."""
    if not dataset.is_frozen:
        raise Refused(f"{dataset.name} is not frozen yet.")
    if not run_folder.has_posts_to_learn_from(dataset):
        raise Refused(f"{dataset.name} has no post to train on.")
    told = config.as_json() | {"weights": dict(config.weights) or dataset.facts.get("weights", {})}
    with transaction.atomic():
        state = RunState.AWAY if away else RunState.QUEUED
        run = Run.objects.create(project=project, dataset=dataset, by=by, config=told, recipe=recipe, state=state)
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


def record(verb: str, run: Run, by: User | None) -> None:
    Event.record(verb, user=by, project=run.project, run=run.pk, dataset=run.dataset.name)


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
    if not run.claim():
        return False
    folder = run_folder.folder_of(run)
    try:
        doing(run, "writing the dataset")
        with heartbeat(lambda: still_ours(run), f"Run {run.pk}"):  # many pictures take minutes
            run_folder.write(run, folder)
        (folder / STOP).unlink(missing_ok=True)
        doing(run, "starting the trainer")
        with (folder / LOG).open("ab") as log, child(folder, log) as process:
            state, error = watch(run, folder, process, progress)
    except Lost:
        return True
    except OSError as failure:
        state, error = RunState.FAILED, f"The disk did not play along: {failure.strerror or failure}. Then resume it."
    except BaseException:
        logging.getLogger(__name__).exception("Run %s broke off.", run.pk)
        end(run, RunState.INTERRUPTED, "It broke off. What was saved stands: resume it.")
        raise
    end(run, state, error)
    return True


@contextmanager
def child(folder: Path, log: IO[bytes]) -> Iterator["subprocess.Popen[bytes]"]:
    """The process that trains, which never outlives us: neither an exception of ours, nor our death."""
    process = subprocess.Popen(
        [*PROGRAM, str(folder)], cwd=HERE, stdout=log, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL,
        env=os.environ | {"TOKENIZERS_PARALLELISM": "false"}, preexec_fn=partial(die_with_parent, os.getpid()),
    )  # fmt: skip
    try:
        yield process
    finally:
        if process.poll() is None:
            process.kill()
        process.wait()


def watch(run: Run, folder: Path, process: "subprocess.Popen[bytes]", progress: Progress) -> tuple[RunState, str]:
    """Until it ends. What it told last says how; if it told nothing, something ended it."""
    told = Told(folder)
    asked_at = 0.0
    while True:
        over = process.poll() is not None
        mirror(run, told.fresh())
        heard(run)
        progress(run)
        if over:
            return outcome(told, process.returncode)
        if run.stop_asked and not asked_at:
            (folder / STOP).touch()
            asked_at = time.monotonic()
        elif asked_at and time.monotonic() - asked_at > PATIENCE:
            process.kill()
        time.sleep(LOOK_EVERY)


class Told:
    """What is new in the progress file since it was looked at last, and what this start of the process told at all."""

    def __init__(self, folder: Path, of_before: bool = False) -> None:
        self.path = folder / FILE
        self.at = self.path.stat().st_size if self.path.exists() and not of_before else 0
        self.last: dict[str, Any] = {}

    def fresh(self) -> Iterator[dict[str, Any]]:
        if not self.path.exists():
            return
        with self.path.open("rb") as file:
            file.seek(self.at)
            for line in file:
                if not line.endswith(b"\n"):
                    return
                self.at += len(line)
                self.last = json.loads(line, parse_constant=lambda _: None)  # PostgreSQL knows no NaN
                yield self.last


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
            points.values(), update_conflicts=True, unique_fields=["run", "kind", "step"], update_fields=["told"]
        )


def outcome(told: Told, code: int) -> tuple[RunState, str]:
    kind = told.last.get("kind")
    if kind == "failed":
        return RunState.FAILED, str(told.last["error"])
    if code == 0 and kind in ("done", "stopped"):
        return (RunState.DONE if kind == "done" else RunState.STOPPED), ""
    how = f"signal {-code}" if code < 0 else f"exit code {code}"
    return RunState.INTERRUPTED, f"The process ended without a word ({how}). Look at the log, then resume it."


def doing(run: Run, what: str) -> None:
    run.doing = what
    heard(run)


def still_ours(run: Run) -> RunQuerySet:
    """No row of it once another worker has claimed the run."""
    return Run.objects.filter(pk=run.pk, state=RunState.RUNNING, started=run.started)


def heard(run: Run) -> None:
    told = {name: getattr(run, name) for name in ("doing", "step", "steps", "latest", "scores")}
    if not still_ours(run).update(heartbeat=timezone.now(), **told):
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
    run.refresh_from_db()
