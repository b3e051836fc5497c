"""Ask a predictor, and measure it. The page, the command and the API all end up here; never in a request."""

import logging
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

from django.db import connection, transaction
from django.db.models.functions import Now
from django.utils import timezone
from django_q.tasks import async_task

from annotate.heartbeat import heartbeat
from annotate.models import Event, Project, User
from modeling.cascade.stages import Lacking
from modeling.child import Told, child, ended, looks
from modeling.gpu.ask import Ask
from modeling.gpu.progress import STOP
from modeling.measures import baselines
from modeling.models import (
    RESUMES,
    Dataset,
    Evaluation,
    EvaluationQuerySet,
    JobState,
    On,
    Prediction,
    Run,
    RunState,
    Sees,
    Study,
)
from modeling.training import results, run_folder

from . import answers, asked, folder, measuring
from .answers import Answer
from .predictors import Predictor, Unknown, cascade_of, run_of, study_of, title

COMMAND = [sys.executable, "-m", "modeling.gpu.predict"]
LOG = "log.txt"
LOOK_EVERY = 0.5  # seconds
PATIENCE = 30.0  # seconds that a process asked to stop may take to end the batch that it is at
WINDOW = 2000
UNTAUGHT = frozenset({"voter", "consensus", "base", "text-cv", "folds"})  # learnt from no split, or each post unseen
MAY_RESUME = (JobState.STOPPED, JobState.INTERRUPTED, JobState.FAILED)
Progress = Callable[[Evaluation], None]


class Refused(Exception):
    """It cannot be evaluated so; the words are for whoever asked."""


class Lost(Exception):
    """Another worker has taken it over while we were silent, or somebody asked it to stop."""


# --- Started, stopped, resumed


def ask(
    project: Project, by: User | None, dataset: Dataset, split: str, predictor: Predictor, sees: str = Sees.BOTH,
    queue: bool = True, study: Study | None = None,
) -> Evaluation:  # fmt: skip
    """Whoever evaluates by command carries it out there and then, and queues nothing."""
    check(project, dataset, split, predictor, sees)
    told = predictor.as_json()
    shown = Sees(sees)
    name = title(predictor, project) + ("" if shown == Sees.BOTH else f", {shown.label.lower()}")
    with transaction.atomic():
        evaluation = Evaluation.objects.create(
            project=project, dataset=dataset, split=split, predictor=told, sees=shown, by=by, name=name[:200],
            key=Evaluation.key_of(told, shown), run_id=predictor.run or None, voter_id=predictor.voter or None,
            study=study,
        )  # fmt: skip
        record("evaluation asked for", evaluation, by)
        if queue:
            enqueue(evaluation)
    return evaluation


def check(project: Project, dataset: Dataset, split: str, predictor: Predictor, sees: str) -> None:
    if not dataset.is_frozen or dataset.project_id != project.pk:
        raise Refused(f"{dataset.name} is not frozen yet.")
    if split not in On.values or split == On.TRAIN:
        raise Refused("A model is measured on the test split, the locked test set or the validation split.")
    if split != On.FOLD and not asked.there(dataset, split).exists():
        raise Refused(f"{dataset.name} has no posts in its {On(split).label.lower()}.")
    if split == On.POOL and (predictor.kind not in UNTAUGHT or predictor.shots):
        raise Refused("Whoever has learnt from the train split cannot be measured on it.")
    if predictor.kind == "folds" and (split != On.POOL or study_of(predictor, project).dataset_id != dataset.pk):
        raise Refused("The runs of a study are asked together about all folds of its dataset, and about nothing else.")
    if not predictor.needs_model and sees == Sees.PICTURE:
        raise Refused("Only a model can be shown the picture alone.")
    if predictor.kind == "cascade":
        check_cascade(project, predictor, split)
    if not predictor.needs_model and predictor.kind in ("voter", "consensus", "cascade") and sees != Sees.BOTH:
        raise Refused("What voters said, they said of picture and words together.")
    if predictor.kind == "run":
        run = run_of(predictor, project)
        if run.state != RunState.DONE:
            raise Refused(f"{run} is not done: there is nothing to ask yet.")
        check_fold(run, dataset, split)
    if split == On.FOLD and predictor.shots:
        raise Refused("Examples come from the train split, and posts of the fold may be among the examples.")
    learns = predictor.kind in ("text", "majority") or predictor.shots
    if learns and not dataset.items.filter(split=On.TRAIN, removed=None).exists():
        raise Refused(f"{dataset.name} has no train split to learn from.")
    check_ask(predictor)


def check_ask(predictor: Predictor) -> None:
    if predictor.merged and predictor.kind != "run":
        raise Refused("Only what a run has made can be merged into its base.")
    adapter = "as trained" if predictor.kind == "run" else ""
    try:
        Ask(adapter=adapter, bits=predictor.bits, merged=predictor.merged, batch=predictor.batch)
    except ValueError as problem:
        raise Refused(str(problem)) from problem


def check_cascade(project: Project, predictor: Predictor, split: str) -> None:
    cascade = cascade_of(predictor, project)
    if not cascade.is_usable:
        raise Refused(f"{cascade} has no point yet: choose one on its page.")
    if split not in (On.TEST, On.HOLDOUT):
        raise Refused("A cascade is fitted on the validation split: it is measured on the test split or the locked "
                      "test set.")  # fmt: skip


def check_fold(run: Run, dataset: Dataset, split: str) -> None:
    """What a fold was left out of has learnt from the other posts, whatever their split."""
    if "fold" in run.part and split not in (On.FOLD, On.HOLDOUT):
        raise Refused(f"{run} has learnt from all but {run.part_in_words}: only on that, or the locked test set, it is "
                      "measured.")  # fmt: skip
    if split == On.FOLD and ("fold" not in run.part or run.dataset_id != dataset.pk):
        raise Refused(f"{run} has left out no fold of {dataset.name}.")


def record(verb: str, evaluation: Evaluation, by: User | None) -> None:
    Event.record(
        verb, user=by, project=evaluation.project, evaluation=evaluation.pk, predictor=evaluation.name,
        dataset=evaluation.dataset.name, split=evaluation.split,
    )  # fmt: skip


def enqueue(evaluation: Evaluation) -> None:
    """What needs no model does not wait for a card."""
    where = {"cluster": "gpu"} if Predictor.from_json(evaluation.predictor).needs_model else {}
    async_task("modeling.tasks.evaluate", evaluation.pk, task_name=f"evaluate {evaluation.pk}", **where)


def stop(evaluation: Evaluation, by: User | None = None) -> bool:
    """What was answered is kept; one that nobody works on is settled here."""
    this = Evaluation.objects.filter(pk=evaluation.pk)
    idle = Evaluation.objects.claimable().filter(pk=evaluation.pk)
    asked = idle.update(state=JobState.STOPPED, ended=timezone.now()) or this.filter(
        state=JobState.RUNNING, stop_asked=False
    ).update(stop_asked=True)
    if asked:
        record("evaluation stopped", evaluation, by)
    return bool(asked)


def resume(evaluation: Evaluation, by: User | None = None) -> bool:
    """Who has answered is not asked again, where it is the same machine that goes on."""
    over = Evaluation.objects.filter(pk=evaluation.pk, state__in=MAY_RESUME)
    with transaction.atomic():
        changed = over.update(state=JobState.QUEUED, error="", ended=None, interruptions=0, stop_asked=False)
        if changed:
            enqueue(evaluation)
            record("evaluation resumed", evaluation, by)
    return bool(changed)


def take_up() -> None:
    """What a dead worker left goes on by itself, a few times; but not what it had been asked to stop."""
    left = Evaluation.objects.claimable().filter(state=JobState.RUNNING)
    for evaluation in left.select_related("project", "dataset", "by"):
        if evaluation.stop_asked:
            end(evaluation, JobState.STOPPED)
        elif evaluation.interruptions >= RESUMES:
            end(evaluation, JobState.INTERRUPTED, "Its worker died again and again. Look at the log.")
        else:
            enqueue(evaluation)


# --- Carried out


def carry_out(evaluation: Evaluation, progress: Progress = lambda _: None) -> bool:
    """False where somebody else has it."""
    if not evaluation.claim():
        return False
    try:
        state, error = evaluated(evaluation, progress)
    except Lost:
        if not still_ours(evaluation).filter(stop_asked=True).exists():
            return True
        state, error = JobState.STOPPED, ""
    except (Unknown, baselines.TooFew, results.NoResult, run_folder.NotSeen, measuring.NothingSaid, Lacking) as refusal:
        state, error = JobState.FAILED, str(refusal)
    except OSError as failure:
        state = JobState.FAILED
        error = f"The disk did not play along: {failure.strerror or failure}. Then resume it."
    except BaseException:
        logging.getLogger(__name__).exception("Evaluation %s broke off.", evaluation.pk)
        end(evaluation, JobState.INTERRUPTED, "It broke off. What was answered stands: resume it.")
        raise
    end(evaluation, state, error)
    return True


def evaluated(evaluation: Evaluation, progress: Progress) -> tuple[JobState, str]:
    with heartbeat(lambda: still_ours(evaluation), f"Evaluation {evaluation.pk}"):
        doing(evaluation, "reading the posts", progress)
        evaluation.test_hash = asked.hash_of(asked.measured_items(evaluation))
        evaluation.total = sum(1 for _ in asked.asked_items(evaluation))
        heard(evaluation)
        if Predictor.from_json(evaluation.predictor).needs_model:
            state, error = by_model(evaluation, progress)
            if state != JobState.DONE:
                return state, error
        else:
            store(evaluation, answers.of(evaluation, lambda done: told(evaluation, done, progress)))
        doing(evaluation, "measuring", progress)
        measuring.measure(evaluation)
        doing(evaluation, "comparing it with the others", progress)
        measuring.compare_with_others(evaluation)
    return JobState.DONE, ""


def by_model(evaluation: Evaluation, progress: Progress) -> tuple[JobState, str]:
    here = folder.folder_of(evaluation)
    doing(evaluation, "writing the posts", progress)
    folder.write(evaluation, here)
    (here / STOP).unlink(missing_ok=True)
    doing(evaluation, "starting the model", progress)
    with (here / LOG).open("ab") as log, child([*COMMAND, str(here)], log) as process:
        kind, error = watch(evaluation, here, process, progress)
    if kind == "done":
        store(evaluation, model_answers(evaluation, here))
    return JobState(kind), error


def watch(
    evaluation: Evaluation, here: Path, process: "subprocess.Popen[bytes]", progress: Progress
) -> tuple[str, str]:
    said = Told(here)
    for _ in looks(process, here, lambda: evaluation.stop_asked, LOOK_EVERY, PATIENCE):
        for line in said.fresh():
            heed(evaluation, line)
        heard(evaluation)
        progress(evaluation)
    return ended(said, process.returncode)


def heed(evaluation: Evaluation, line: dict[str, Any]) -> None:
    if line["kind"] == "state":
        evaluation.doing = line.get("doing", "")
        if "done" in line:
            evaluation.used = evaluation.used | {"before": line["done"]}
    elif line["kind"] in ("asked", "done"):
        evaluation.done = line["done"]
    if line["kind"] == "done":
        evaluation.used = {
            "seconds": line["seconds"],
            "asked": line["asked"],
            "memory": line["memory"],
            **line["used"],
        }


def model_answers(evaluation: Evaluation, here: Path) -> Iterator[Answer]:
    names = answers.label_names(evaluation.dataset)
    for position, scores in folder.predictions_in(here):
        yield Answer(position, names[max(range(len(names)), key=scores.__getitem__)], scores)


STORE = """
INSERT INTO modeling_prediction (evaluation_id, item_id, label, scores, confidence, to_calibrate)
SELECT %(evaluation)s, item.id, said.label,
  (SELECT array_agg(score::float8) FROM jsonb_array_elements_text(said.scores) AS score), said.confidence,
  coalesce(NOT said.is_measured, item.split = 'validation' AND %(split)s NOT IN ('validation', 'pool'))
FROM unnest(%(positions)s::int[], %(labels)s::text[], %(scores)s::jsonb[], %(confidence)s::float8[],
  %(measured)s::bool[]) AS said (position, label, scores, confidence, is_measured)
JOIN modeling_datasetitem AS item ON item.dataset_id = %(dataset)s AND item.position = said.position
"""


def store(evaluation: Evaluation, said: Iterable[Answer]) -> None:
    """In place of what stood there before, all or nothing."""
    with transaction.atomic():
        Prediction.objects.filter(evaluation=evaluation).delete()
        said = iter(said)
        while some := list(islice(said, WINDOW)):
            with connection.cursor() as cursor:
                cursor.execute(STORE, {
                    "evaluation": evaluation.pk, "dataset": evaluation.dataset_id, "split": evaluation.split,
                    "positions": [one.position for one in some], "labels": [one.label for one in some],
                    "scores": [None if one.scores is None else str(one.scores) for one in some],
                    "confidence": [one.confidence for one in some],
                    "measured": asked.are_measured(evaluation, [one.position for one in some]),
                })  # fmt: skip


# --- Told while it goes


def still_ours(evaluation: Evaluation) -> EvaluationQuerySet:
    """No row of it once another worker has claimed it."""
    return Evaluation.objects.filter(pk=evaluation.pk, state=JobState.RUNNING, started=evaluation.started)


def doing(evaluation: Evaluation, what: str, progress: Progress) -> None:
    evaluation.doing = what
    heard(evaluation)
    progress(evaluation)
    if evaluation.stop_asked:
        raise Lost


def told(evaluation: Evaluation, done: int, progress: Progress) -> None:
    evaluation.done = done
    doing(evaluation, "asking", progress)


def heard(evaluation: Evaluation) -> None:
    said = {name: getattr(evaluation, name) for name in ("doing", "done", "total", "used", "test_hash")}
    if not still_ours(evaluation).update(heartbeat=Now(), **said):
        raise Lost
    evaluation.refresh_from_db(fields=["stop_asked"])


def end(evaluation: Evaluation, state: JobState, error: str = "") -> None:
    """Only while it is still ours. What the process was given lies in the tables alone then."""
    with transaction.atomic():
        changed = still_ours(evaluation).update(state=state, error=error, doing="", ended=timezone.now())
        if changed and state != JobState.STOPPED:  # for that whoever asked is on record
            record(f"evaluation {JobState(state).label.lower()}", evaluation, evaluation.by)
    here = folder.folder_of(evaluation)
    if changed and state == JobState.DONE:
        shutil.rmtree(here, ignore_errors=True)
    elif changed:
        run_folder.forget(here)
    evaluation.refresh_from_db()
