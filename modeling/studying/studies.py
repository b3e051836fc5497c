"""A study from its first part to its figures. The page, the command, the API and the workers all end up here.

`advance` does whatever comes next, and nothing twice: it is called whenever a run or an evaluation of the study has
ended, and once a minute, because a worker may die before it calls.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from django.db import transaction
from django.utils import timezone
from django_q.tasks import async_task

from annotate.models import Event, LabelSource, Project, User
from annotate.operating import room
from modeling.datasets.composition import weights_of
from modeling.datasets.recipe import Recipe
from modeling.evaluation import evaluating
from modeling.evaluation.predictors import Predictor
from modeling.gpu.config import Config
from modeling.measures.baselines import TooFew
from modeling.models import (
    MOST_PARTS,
    Dataset,
    Evaluation,
    JobState,
    On,
    Run,
    RunState,
    Split,
    Study,
    StudyKind,
    StudyState,
)
from modeling.training import runner, starting

from . import figures, posts

FEWEST_FOLDS = 2
LEAST_SHARE = 0.001
LOOK_EVERY = 1.0  # seconds
TEST_SETS = (On.HOLDOUT, On.TEST)  # of a learning curve
MAY_RESUME = (StudyState.STOPPED, StudyState.FAILED)
TROUBLE = {
    "failed": "failed", "interrupted": "was interrupted", "stopped": "was stopped", "away": "is on another machine",
}  # fmt: skip


class Refused(Exception):
    """It cannot be studied so; the words are for whoever asked."""


@dataclass(frozen=True)
class Plan:
    """What is to be studied: folds by their number, or a curve by its shares."""

    kind: str
    folds: int = 5
    shares: Sequence[float] = (0.1, 0.25, 0.5, 1.0)
    seed: int = 0

    def __post_init__(self) -> None:
        if problem := problem_with(self):
            raise Refused(problem)

    @property
    def parts(self) -> list[dict[str, Any]]:
        if self.kind == StudyKind.FOLDS:
            return [{"fold": number, "of": self.folds} for number in range(1, self.folds + 1)]
        return [{"share": share} for share in sorted(self.shares)]


def problem_with(plan: Plan) -> str:
    if plan.kind not in StudyKind.values:
        return f"“{plan.kind}” is no kind of study; there are {', '.join(StudyKind.values)}."
    if not 0 <= plan.seed < 2**31:
        return "A seed is a whole number from 0 on."
    if plan.kind == StudyKind.FOLDS:
        fits = FEWEST_FOLDS <= plan.folds <= MOST_PARTS
        return "" if fits else f"From {FEWEST_FOLDS} to {MOST_PARTS} folds."
    if not 2 <= len(set(plan.shares)) == len(plan.shares) <= MOST_PARTS:
        return f"From 2 to {MOST_PARTS} shares, each another one."
    if not all(LEAST_SHARE <= share <= 1 for share in plan.shares):
        return f"A share is from {LEAST_SHARE:g} to 1, which is all of the posts."
    return ""


def shares_in(words: str) -> tuple[float, ...]:
    """As people write them: .1, .25, 50%, 1."""
    try:
        return tuple(share_in(word) for word in words.replace(",", " ").split())
    except ValueError:
        raise Refused(f"“{words[:60]}” are no shares: write them as .1, .25, .5, 1.") from None


def share_in(word: str) -> float:
    return float(word.removesuffix("%")) / 100 if word.endswith("%") else float(word)


# --- Started, stopped, resumed


def start(
    project: Project, by: User | None, dataset: Dataset, config: Config, recipe: str, plan: Plan, queue: bool = True
) -> Study:
    """Whoever studies by command carries it out there and then, and queues nothing."""
    if problem := problem_with_dataset(dataset, plan) or room.problem_with_project(project):
        raise Refused(problem)
    with transaction.atomic():
        study = Study.objects.create(
            project=project, by=by, dataset=dataset, config=config.as_json(), recipe=recipe, kind=plan.kind,
            parts=plan.parts, seed=plan.seed,
        )  # fmt: skip
        record("study asked for", study, by)
        if queue:
            enqueue(study)
    return study


def begin(project: Project, by: User, dataset: Dataset, config: Config, recipe: str, plan: Plan) -> Study:
    """As people ask for it, who may not run a model's own code."""
    if problem := starting.problem_with_model(config.model) or starting.problem_with_code(by, config):
        raise Refused(problem)
    return start(project, by, dataset, config, recipe, plan)


def problem_with_dataset(dataset: Dataset, plan: Plan) -> str:
    if not dataset.is_frozen:
        return f"{dataset.name} is not frozen yet."
    splits = dataset.composition["splits"]
    if not splits[Split.TRAIN]["posts"]:
        return f"{dataset.name} has no post to train on."
    if plan.kind == StudyKind.CURVE:
        measured = any(splits[on]["posts"] for on in TEST_SETS)
        return "" if measured else f"{dataset.name} has neither a test split nor a locked test set to measure on."
    pool = [part for name, part in splits.items() if name != Split.HOLDOUT]
    by_model = any(part["sources"].get(LabelSource.MODEL) for part in pool)
    groups = groups_measured(dataset) if by_model else sum(part["groups"] for part in pool)
    which = "that are not alike and that no model labelled" if by_model else "that are not alike"
    few = f"{dataset.name} has {groups:,} posts {which}: too few for {plan.folds} folds."
    return few if groups < 2 * plan.folds else ""


def groups_measured(dataset: Dataset) -> int:
    """What a model labelled is learnt from, and asked about in no fold."""
    there = dataset.items.exclude(split=Split.HOLDOUT).exclude(label_source=LabelSource.MODEL)
    return there.values("kin").distinct().count()


def enqueue(study: Study) -> None:
    async_task("modeling.tasks.advance_study", study.pk, task_name=f"study {study.pk}")


def record(verb: str, study: Study, by: User | None) -> None:
    Event.record(verb, user=by, project=study.project, study=study.pk, dataset=study.dataset.name, kind=study.kind)


def stop(study: Study, by: User | None = None) -> bool:
    """Parts at work save a checkpoint first; those that wait go no further."""
    with transaction.atomic():
        stopped = Study.objects.running().filter(pk=study.pk).update(state=StudyState.STOPPED, ended=timezone.now())
        if stopped:
            hold(study, by, at_work=True)
            record("study stopped", study, by)
    return bool(stopped)


def hold(study: Study, by: User | None, at_work: bool) -> None:
    """What waits no longer waits; what is at work is asked to stop only where that is wanted."""
    runs = study.runs.filter(state__in=[RunState.QUEUED, *([RunState.RUNNING] if at_work else [])])
    for run in runs.select_related("project", "dataset"):
        runner.stop(run, by)
    open_ones = [JobState.QUEUED, *([JobState.RUNNING] if at_work else [])]
    for evaluation in study.evaluations.filter(state__in=open_ones).select_related("project", "dataset"):
        evaluating.stop(evaluation, by)


def resume(study: Study, by: User | None = None) -> bool:
    """Each part from its last checkpoint; what is done stays done. Not while one of them is still stopping."""
    stopping = study.runs.filter(state=RunState.RUNNING, stop_asked=True)
    over = Study.objects.filter(pk=study.pk, state__in=[] if stopping.exists() else MAY_RESUME)
    with transaction.atomic():
        changed = over.update(state=StudyState.RUNNING, error="", ended=None)
        if changed:
            runs = study.runs.filter(state__in=runner.MAY_RESUME).order_by("pk")
            for run in runs.select_related("project", "dataset"):
                runner.resume(run, by)
            asked = study.evaluations.filter(state__in=evaluating.MAY_RESUME).order_by("pk")
            for evaluation in asked.select_related("project", "dataset"):
                evaluating.resume(evaluation, by)
            record("study resumed", study, by)
            enqueue(study)
    return bool(changed)


# --- What comes next


def advance(pk: int | None, queue: bool = True) -> None:
    """Of a study that is at work; for all else there is nothing to do."""
    study = pk and Study.objects.running().select_related("project", "dataset", "by").filter(pk=pk).first()
    if not study:
        return
    try:
        if study.drawn is None:
            draw(study)
        if not move_on(study, queue):
            finish(study)
    except (TooFew, evaluating.Refused, runner.Refused) as refusal:
        fail(study, str(refusal))
    except Exception:
        fail(study, "It broke off. What is done stands: resume it.")
        raise


def take_up() -> None:
    for pk in Study.objects.running().values_list("pk", flat=True):
        advance(pk)


def draw(study: Study) -> None:
    """Drawn again, it is the same."""
    study.drawn, study.posts = posts.draw(study)
    Study.objects.filter(pk=study.pk, drawn=None).update(drawn=study.drawn, posts=study.posts)


def move_on(study: Study, queue: bool) -> bool:
    """False where all is done but the figures. Two workers take their turns, and the second finds nothing left."""
    with transaction.atomic():
        if not Study.objects.select_for_update(of=("self",)).running().filter(pk=study.pk).exists():
            return True
        runs = list(study.runs.select_related("dataset", "project", "by").order_by("pk"))
        if not runs:
            start_parts(study, queue)
            return True
        if words := trouble(study, runs):
            hold(study, study.by, at_work=False)
            fail(study, words)
            return True
        for run in runs:
            if run.state == RunState.DONE:
                ask_about(study, run, queue)
        if any(run.state != RunState.DONE for run in runs) or unfinished(study):
            return True
        if study.of_folds and not study.evaluations.filter(split=On.POOL).exists():
            pool(study, queue)
            return True
    return False


def start_parts(study: Study, queue: bool) -> None:
    """All at once into the queue: one worker takes one after the other, several take as many at a time."""
    config = Config.from_json(study.config)
    for number, part in enumerate(study.parts):
        told = replace(config, weights=weights_of_part(study, number))
        runner.start(
            study.project, study.by, study.dataset, told, study.recipe, queue, part=runner.Part(study, part),
            has_begun=True,
        )  # fmt: skip


def weights_of_part(study: Study, number: int) -> Mapping[str, float]:
    """Balanced ones are counted from what the part learns from: those of the dataset know its fold. Others are as
    somebody chose them."""
    asked: dict[str, float] = study.config["weights"] or study.dataset.facts.get("weights", {})
    of_dataset = balanced(study.dataset.composition["splits"][Split.TRAIN]["labels"])
    if not asked or any(asked.get(name, 1) != of_dataset.get(name, 1) for name in {*asked, *of_dataset}):
        return asked
    return balanced(posts.labels_learnt(study, number))


def balanced(labels: Mapping[str, int]) -> Mapping[str, float]:
    return weights_of(Recipe(balanced=True), labels)


def ask_about(study: Study, run: Run, queue: bool) -> None:
    there = set(run.evaluations.filter(study=study).values_list("split", flat=True))
    for on in asked_on(study):
        if on not in there:
            predictor = Predictor("run", run=run.pk)
            evaluating.ask(study.project, study.by, study.dataset, on, predictor, queue=queue, study=study)


def asked_on(study: Study) -> list[str]:
    if study.of_folds:
        return [On.FOLD]
    return [on for on in TEST_SETS if study.dataset.composition["splits"][on]["posts"]]


def pool(study: Study, queue: bool) -> Evaluation:
    predictor = Predictor("folds", study=study.pk)
    return evaluating.ask(study.project, study.by, study.dataset, On.POOL, predictor, queue=queue, study=study)


def unfinished(study: Study) -> bool:
    return study.evaluations.exclude(state=JobState.DONE).exists()


def trouble(study: Study, runs: Sequence[Run]) -> str:
    """In words, which part and why; blank while there is none."""
    for number, run in enumerate(runs, start=1):
        if run.state in TROUBLE:
            return f"Part {number} of {len(runs)} ({str(run).lower()}) {TROUBLE[run.state]}. {run.error}".strip()
    for evaluation in study.evaluations.filter(state__in=evaluating.MAY_RESUME)[:1]:
        return f"Asking {evaluation.name} {TROUBLE[evaluation.state]}. {evaluation.error}".strip()
    return ""


def fail(study: Study, words: str) -> None:
    with transaction.atomic():
        failed = Study.objects.running().filter(pk=study.pk)
        if failed.update(state=StudyState.FAILED, error=words, ended=timezone.now()):
            record("study held up", study, study.by)


def finish(study: Study) -> None:
    """Reckoned again, the figures are the same; so nothing is locked over it."""
    measured = figures.measure(study)
    with transaction.atomic():
        done = Study.objects.running().filter(pk=study.pk)
        if done.update(state=StudyState.DONE, measured=measured, ended=timezone.now()):
            record("study done", study, study.by)


# --- Here and now


def carry_out(study: Study, told_run: Callable[[Run], None], told_evaluation: Callable[[Evaluation], None]) -> None:
    """Part by part, in this process, for whoever studies by command. A worker that takes some of it is welcome."""
    while True:
        advance(study.pk, queue=False)
        study.refresh_from_db()
        if study.is_over:
            return
        waiting = study.runs.claimable().order_by("pk").select_related("project", "dataset", "by").first()
        asked = study.evaluations.claimable().order_by("pk").select_related("project", "dataset", "by").first()
        if waiting:
            runner.carry_out(waiting, told_run)
        elif asked:
            evaluating.carry_out(asked, told_evaluation)
        else:
            time.sleep(LOOK_EVERY)  # a worker has what is left
