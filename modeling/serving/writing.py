"""What a run made, written out for a server. The page, the command and the API all end up here; never in a request."""

import json
import logging
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from django.conf import settings
from django.db import transaction
from django.utils import timezone
from django_q.tasks import async_task

from annotate.heartbeat import heartbeat
from annotate.models import Project, User
from annotate.operating import room, upkeep
from modeling.chat import Chat
from modeling.child import Told, child, ended, looks
from modeling.evaluation.folder import config_of
from modeling.gpu import families
from modeling.gpu.config import Config
from modeling.gpu.progress import STOP
from modeling.models import Form, JobState, Run, RunState, Serving
from modeling.training import results

from . import at_work, commands
from .at_work import Lost, Refused, doing, heard, still_ours
from .commands import Written
from .question import Words
from .written import MARK, README, files_in, mark_in

COMMAND = [sys.executable, "-m", "modeling.gpu.writing_out"]
LOG = "log.txt"
PART = "part"  # as modeling/gpu/writing_out.py has it, which needs torch
LOOK_EVERY = 0.5  # seconds
PATIENCE = 20.0  # seconds that a process asked to stop may take
LAST_LINES = 40  # of the log, as a page shows it
BY_WORDS = frozenset({"qlora", "lora", "spectrum", "full"})  # methods whose models write answers
WITH_ADAPTER = frozenset({"qlora", "lora"})
Progress = Callable[[Serving], None]


# --- Asked for, stopped, resumed


def ask(project: Project, by: User | None, run: Run, form: str, folder: str = "", queue: bool = True) -> Serving:
    """Whoever writes by command carries it out there and then, and queues nothing."""
    if problem := problem_with(run, form) or room.problem_with_project(project):
        raise Refused(problem)
    alike = run.servings.filter(form=form, folder=folder)
    if alike.filter(state__in=[JobState.QUEUED, JobState.RUNNING]).exists():
        raise Refused(f"{run} is being written out so already.")
    if not folder and alike.filter(state=JobState.DONE, deleted=None).exists():
        raise Refused(f"{run} is written out so already. Delete that first, if it is to be written anew.")
    with transaction.atomic():
        serving = Serving.objects.create(project=project, by=by, run=run, form=form, folder=folder)
        at_work.record("writing out asked for", serving, serving, by)
        if queue:
            enqueue(serving)
    return serving


def problem_with(run: Run, form: str) -> str:
    """A sentence where it cannot be, or nothing."""
    if form not in Form.values:
        return f"“{form}” is no form; there are {', '.join(Form.values)}."
    if run.state != RunState.DONE:
        return f"{run} is not done: there is nothing to serve yet."
    method, projector = run.config.get("method", "qlora"), run.config.get("projector", "frozen")
    if method not in BY_WORDS:
        return f"{run} made a model that writes no answers: no server of language models loads it."
    family = next((one for one in families.FAMILIES if one.key == run.receipt.get("family")), None)
    if family and family.remote_code:
        return f"{family.title} needs program code that lies beside its weights, and no code is written out."
    return problem_with_adapter(run, method, projector, family) if form == Form.LORA else ""


def problem_with_adapter(run: Run, method: str, projector: str, family: families.Family | None) -> str:
    if method not in WITH_ADAPTER:
        return f"{run} changed the weights themselves, so there is no adapter. Write it out merged."
    if projector != "frozen":
        return (f"{run} trained the projector too, between seeing and speaking, and vLLM loads adapters of the "
                "language model: it would leave out, or refuse, the rest. Write it out merged.")  # fmt: skip
    if family and family.encoding != "chat":
        return f"vLLM has no way to ask {family.title} with an adapter. Write it out merged, for transformers."
    if run.config.get("rank", 0) > commands.RANKS[-1]:
        return f"vLLM loads adapters up to rank {commands.RANKS[-1]}. Write it out merged."
    return ""


def enqueue(serving: Serving) -> None:
    async_task("modeling.tasks.write_out", serving.pk, task_name=f"write out {serving.pk}", cluster="gpu")


def stop(serving: Serving, by: User | None = None) -> bool:
    asked = at_work.stop(serving)
    if asked:
        at_work.record("writing out stopped", serving, serving, by)
    return asked


def resume(serving: Serving, by: User | None = None) -> bool:
    resumed = at_work.resume(serving, enqueue)
    if resumed:
        at_work.record("writing out resumed", serving, serving, by)
    return resumed


def take_up() -> None:
    at_work.take_up(Serving, enqueue, end)


# --- Where it lies


def work_folder(serving: Serving) -> Path:
    """What the process reads and tells."""
    return Path(settings.VAR_DIR) / "serving" / str(serving.pk)


def folder_of(serving: Serving) -> Path:
    """The model itself."""
    own = work_folder(serving) / f"run-{serving.run_id}-{serving.form}"
    return Path(serving.folder) if serving.folder else own.resolve()


def problem_with_folder(folder: Path, serving: Serving) -> str:
    """A sentence where this machine cannot write there."""
    if not folder.is_absolute():
        return f"Name the folder from the root: {folder} would lie somewhere else for each program."
    try:
        folder.mkdir(parents=True, exist_ok=True)
        there = [path.name for path in folder.iterdir() if path.name not in (PART, "lost+found")]
    except FileExistsError:
        return f"{folder} is a file."
    except NotADirectoryError:
        return f"{folder} cannot be a folder: something on the way there is a file."
    except OSError as error:
        return f"{folder} cannot be made or read here: {error.strerror or error}. Choose another one."
    mark = mark_in(folder)
    if there and (mark is None or mark["run"] != serving.run_id):
        whose = f"what run {mark['run']} made lies there" if mark else f"{there[0]} lies there, among others"
        return f"{folder} is not empty: {whose}. Choose an empty folder, or empty it yourself."
    if not os.access(folder, os.W_OK | os.X_OK):
        return f"This process may not write to {folder}: give it the right, or choose another folder."
    return ""


# --- Carried out


def carry_out(serving: Serving, progress: Progress = lambda _: None) -> bool:
    """False where somebody else has it."""
    if not serving.claim():
        return False
    told: dict[str, Any] = {}
    try:
        state, error, told = written(serving, progress)
    except Lost:
        if not still_ours(serving).filter(stop_asked=True).exists():
            return True
        state, error = JobState.STOPPED, ""
    except (Refused, results.NoResult) as refusal:
        state, error = JobState.FAILED, str(refusal)
    except OSError as failure:
        state = JobState.FAILED
        error = f"The disk did not play along: {failure.strerror or failure}. Make room, and resume it."
    except BaseException:
        logging.getLogger(__name__).exception("Writing out %s broke off.", serving.pk)
        end(serving, JobState.INTERRUPTED, "It broke off. Resume it: it begins anew.")
        raise
    end(serving, state, error, told)
    return True


def written(serving: Serving, progress: Progress) -> tuple[JobState, str, dict[str, Any]]:
    with heartbeat(lambda: still_ours(serving), f"Writing out {serving.pk}"):
        doing(serving, "fetching what the run made", progress)
        here, to = work_folder(serving), folder_of(serving)
        made = results.fetched(serving.run)
        here.mkdir(parents=True, exist_ok=True)
        if problem := problem_with_folder(to, serving):
            raise Refused(problem)
        config = config_of(serving.run, made)
        prepare(serving, here, to, made, config)
        doing(serving, "starting the process", progress)
        with (here / LOG).open("ab") as log, child([*COMMAND, str(here)], log) as process:
            kind, error, told = watch(serving, here, to, process, progress)
        if kind == "done":
            doing(serving, "putting it in place", progress)
            land(serving, to, config, told)
    return JobState(kind), error, told


def prepare(serving: Serving, here: Path, to: Path, made: Path, config: Config) -> None:
    (here / STOP).unlink(missing_ok=True)
    chat = Chat.of(serving.run.dataset.facts)
    asked = {"form": serving.form, "made": str((made / results.ADAPTER).resolve()), "to": str(to),
             "answers": [chat.answer(name) for name, _ in chat.labels]}  # fmt: skip
    (here / "config.json").write_text(json.dumps(config.as_json(), indent=1), encoding="utf-8")
    (here / "form.json").write_text(json.dumps(asked, indent=1), encoding="utf-8")


def watch(
    serving: Serving, here: Path, to: Path, process: "subprocess.Popen[bytes]", progress: Progress
) -> tuple[str, str, dict[str, Any]]:
    said, told = Told(here), {}
    for _ in looks(process, here, lambda: serving.stop_asked, LOOK_EVERY, PATIENCE):
        for line in said.fresh():
            if line["kind"] == "state":
                serving.doing, serving.total = line["doing"], line.get("of") or serving.total
            elif line["kind"] == "done":
                told = line["told"]
        serving.done = min(size_of(to / PART), serving.total)
        heard(serving)
        progress(serving)
    kind, error = ended(said, process.returncode)
    if kind != "done" and serving.stop_asked:
        kind, error = "stopped", ""
    return kind, error, told


def size_of(folder: Path) -> int:
    """While somebody writes there: what was renamed meanwhile is passed over."""
    size = 0
    for path in folder.rglob("*"):
        try:
            size += path.stat().st_size if path.is_file() else 0
        except FileNotFoundError:
            continue
    return size


def land(serving: Serving, to: Path, config: Config, told: dict[str, Any]) -> None:
    """In place of what we had written there before; the mark comes last."""
    part = to / PART
    known = written_of(serving, told)
    (part / README).write_text(commands.readme(known, told["template"], how_to_check(serving)), encoding="utf-8")
    names = sorted(path.name for path in part.iterdir())
    mark = {
        "run": serving.run_id, "project": serving.project.slug, "form": serving.form, "files": names,
        "adapter": serving.run.receipt.get("adapter", ""), "min_pixels": config.min_pixels,
        "max_pixels": config.max_pixels, "libraries": told["libraries"],
    }  # fmt: skip
    usual = (part / README).stat().st_mode & 0o777
    for path in part.glob("*.safetensors"):
        path.chmod(usual)  # they come readable to ourselves alone, and a server may run as somebody else
    clear(to)
    for name in names:
        os.replace(part / name, to / name)
    part.rmdir()
    (to / MARK).write_text(json.dumps(mark, indent=1) + "\n", encoding="utf-8")


def clear(folder: Path) -> None:
    """Only what we had written."""
    mark = mark_in(folder)
    for name in files_in(mark) if mark else ():
        path = folder / name
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)


def how_to_check(serving: Serving) -> str:
    return commands.fenced("sh", (
        f"manage.py check_served --project {serving.project.slug} --run {serving.run_id} "
        f"--url http://localhost:{commands.PORT}/v1 --model run-{serving.run_id}"
    ))  # fmt: skip


def written_of(serving: Serving, told: dict[str, Any] | None = None) -> Written:
    run, config = serving.run, Config.from_json(serving.run.config)
    told = serving.told if told is None else told
    return Written(
        form=serving.form, run=run.pk, folder=str(folder_of(serving)), base=config.model, revision=config.revision,
        rank=config.rank, method=config.method, told=told, words=words_of(run, told),
    )  # fmt: skip


def words_of(run: Run, told: dict[str, Any]) -> Words:
    return Words.of(Chat.of(run.dataset.facts).system, told)


def end(serving: Serving, state: JobState, error: str = "", told: dict[str, Any] | None = None) -> None:
    """Half a model is left nowhere."""
    kept = {"told": told} if state == JobState.DONE and told else {}
    with transaction.atomic():
        if not at_work.ended(serving, state, error, **kept):
            return
        if state != JobState.STOPPED:  # for that whoever asked is on record
            at_work.record(f"writing out {JobState(state).label.lower()}", serving, serving, serving.by)
    upkeep.look_again()
    if state != JobState.DONE and serving.is_of_this_machine:
        shutil.rmtree(folder_of(serving) / PART, ignore_errors=True)


def last_lines(serving: Serving) -> str:
    """Of its log, where it lies here."""
    try:
        data = (work_folder(serving) / LOG).read_bytes()[-20_000:]
    except OSError:
        return ""
    return "\n".join(data.decode(errors="replace").replace("\r", "\n").splitlines()[-LAST_LINES:])


# --- Deleted


def delete(serving: Serving, by: User | None = None) -> None:
    """The folder goes, and what is known of it stays."""
    if not serving.is_over:
        raise Refused("It is being written: stop it first.")
    if not serving.is_of_this_machine:
        raise Refused(f"It lies on {serving.machine}: delete {folder_of(serving)} there.")
    if serving.folder:
        folder = folder_of(serving)
        if lies_there(serving, folder):
            clear(folder)
        if folder.is_dir() and not any(folder.iterdir()):
            folder.rmdir()
    else:
        shutil.rmtree(work_folder(serving), ignore_errors=True)
    Serving.objects.filter(pk=serving.pk).update(deleted=timezone.now())
    at_work.record("written-out model deleted", serving, serving, by)
    upkeep.look_again()


def lies_there(serving: Serving, folder: Path) -> bool:
    """Not where another was written to the same folder since: that one stays, and goes when it is deleted itself."""
    mark = mark_in(folder)
    others = serving.run.servings.filter(
        form=serving.form, folder=serving.folder, machine=serving.machine, state=JobState.DONE, deleted=None
    )
    is_its = mark is not None and (mark["run"], mark["form"]) == (serving.run_id, serving.form)
    return is_its and not others.exclude(pk=serving.pk).exists()
