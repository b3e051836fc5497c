"""A round from its first step to its verdict. The page, the command, the API and the workers all end up here.

`advance` does whatever comes next, and nothing twice: it is called whenever a step has ended, and once a minute,
because a worker may die before it calls, and because people answer without telling anybody.
"""

import logging
import time
from collections.abc import Callable, Mapping
from typing import Any

from django.db import IntegrityError, transaction
from django.db.models import Max
from django_q.tasks import async_task

from annotate.models import Project, User
from annotate.operating import room
from modeling.datasets import asking as recipes
from modeling.datasets import dataset as freezing
from modeling.evaluation import evaluating
from modeling.models import (
    Dataset,
    DatasetState,
    Evaluation,
    Goal,
    JobState,
    Needs,
    PreLabelling,
    Round,
    RoundState,
    Run,
)
from modeling.prelabelling import prelabelling
from modeling.training import runner, starting

from . import judging, steps
from .ending import conclude, record
from .plan import Plan
from .steps import Trouble

LOOK_EVERY = 1.0  # seconds
RELATED = ("project", "by", "dataset", "run__dataset", "evaluation", "rival", "prelabelling__run__dataset")
Heard = Callable[[Any], None]


class Refused(Exception):
    """It cannot be done so; the words are for whoever asked."""


# --- Started, stopped, resumed


def start(project: Project, by: User | None, plan: Plan, queue: bool = True) -> Round:
    """One at a time: two that learn from each other's labels could not be told apart."""
    check(project, by, plan)
    if problem := room.problem_with_project(project):  # asked now, and not in the midst of it
        raise Refused(problem)
    number = (project.rounds.aggregate(n=Max("number"))["n"] or 0) + 1
    try:
        with transaction.atomic():
            made = Round.objects.create(project=project, number=number, plan=plan.as_json(), by=by)
            record("round begun", made, by)
            if queue:
                enqueue(made)
    except IntegrityError as error:
        raise Refused("A round of this project is not over yet; end that one first.") from error
    return made


def check(project: Project, by: User | None, plan: Plan) -> None:
    if not project.posts.filter(holdout=True).exists():
        raise Refused("Rounds are judged on the locked test set, and this project has none. Import one first.")
    try:
        recipes.recipe_of(project, "", plan.frozen)
        config = starting.planned(project, plan.recipe, plan.base, plan.settings)
    except (recipes.NotUnderstood, starting.NotUnderstood) as problem:
        raise Refused(str(problem)) from problem
    wrong = starting.problem_with_model(config.model) or (by and starting.problem_with_code(by, config))
    if wrong:
        raise Refused(wrong)


def enqueue(one: Round) -> None:
    async_task("modeling.tasks.advance_round", one.pk, task_name=f"round {one.pk}")


def stop(one: Round, by: User | None = None) -> bool:
    """The step at work is asked to stop; what it saved is kept."""
    with transaction.atomic():
        now = locked(one)  # a worker may have begun the next step since it was looked at
        stopped = Round.objects.moving().filter(pk=one.pk).update(state=RoundState.STOPPED, needs="", why="")
        if stopped:
            halt(now, by)
            record("round stopped", now, by)
    return bool(stopped)


def halt(one: Round, by: User | None) -> None:
    if one.dataset and not one.dataset.is_over:
        freezing.stop(one.dataset)
    if one.run and not one.run.is_over:
        runner.stop(one.run, by)
    for evaluation in (one.evaluation, one.rival):
        if evaluation and not evaluation.is_over:
            evaluating.stop(evaluation, by)
    if one.prelabelling and not one.prelabelling.is_over and one.prelabelling.goal != Goal.TAKE_BACK:
        prelabelling.stop(one.prelabelling, by)


def resume(one: Round, by: User | None = None, queue: bool = True) -> bool:
    """From where it stopped. What failed is tried again. Not while a step is still stopping."""
    over = Round.objects.filter(pk=one.pk, state__in=[RoundState.STOPPED, RoundState.HELD_UP])
    with transaction.atomic():
        now = locked(one)
        changed = not is_stopping(now) and over.update(state=RoundState.RUNNING, needs="", why="")
        if changed:
            again(now, by)
            record("round resumed", now, by)
            if queue:
                enqueue(one)
    return bool(changed)


def is_stopping(one: Round) -> bool:
    steps_of = [one.run, one.evaluation, one.rival, one.prelabelling]
    freezes = one.dataset is not None and one.dataset.stop_asked and one.dataset.state == DatasetState.FREEZING
    return freezes or any(step and step.stop_asked and step.state == JobState.RUNNING for step in steps_of)


def again(one: Round, by: User | None) -> None:
    if one.dataset and one.dataset.state in (DatasetState.FAILED, DatasetState.CANCELLED):
        Round.objects.filter(pk=one.pk).update(dataset=None)  # nothing is left of it but its name, which is free again
    if one.run:
        runner.resume(one.run, by)
    if not judging.is_compared(one):  # posts had to go between the one and the other: both are asked about what is left
        Round.objects.filter(pk=one.pk).update(evaluation=None, rival=None)
        return
    for evaluation in (one.evaluation, one.rival):
        if evaluation:
            evaluating.resume(evaluation, by)
    if one.prelabelling:
        prelabelling.resume(one.prelabelling, by)


# --- What comes next


def advance(pk: int | None, queue: bool = True) -> None:
    """Two workers take their turns, and the second finds nothing left to do."""
    if pk is None:
        return
    try:
        with transaction.atomic():
            moving = Round.objects.moving().filter(pk=pk).select_for_update(of=("self",))
            one = moving.select_related(*RELATED).first()
            if one:
                steps.move_on(one, queue)
    except (
        Trouble, runner.Refused, evaluating.Refused, prelabelling.Refused, freezing.Refused,
        starting.NotUnderstood, recipes.NotUnderstood, ValueError,
    ) as trouble:  # fmt: skip
        hold_up(pk, str(trouble))
    except Exception:
        logging.getLogger(__name__).exception("Round %s broke off.", pk)
        hold_up(pk, "It broke off. What is done stands: look at the log, then resume it.")


def take_up() -> None:
    for pk in Round.objects.moving().values_list("pk", flat=True):
        advance(pk)


def moved(**what: Any) -> None:
    """A dataset, a run, an evaluation or a pre-labelling has ended: whichever round it is a step of goes on."""
    for name, ended in what.items():
        found = Round.objects.moving().filter(**{name: ended})
        if name == "evaluation":
            found = found | Round.objects.moving().filter(rival=ended)
        for pk in found.values_list("pk", flat=True):
            advance(pk)


def hold_up(pk: int, words: str) -> None:
    with transaction.atomic():
        held = Round.objects.moving().filter(pk=pk)
        if held.update(state=RoundState.HELD_UP, needs="", why=words):
            one = Round.objects.select_related("project", "by").get(pk=pk)
            record("round held up", one, one.by)


# --- What people say


def go_on(one: Round, by: User | None, queue: bool = True) -> bool:
    """Without the answers that are still open."""
    waiting = Round.objects.filter(pk=one.pk, state=RoundState.WAITING, needs=Needs.REVIEW, enough=False)
    changed = bool(waiting.update(enough=True))
    if changed:
        record("round goes on without open answers", one, by)
        advance(one.pk, queue)
    return changed


def settle(one: Round, by: User | None, threshold: float | None = None, queue: bool = True) -> bool:
    """A word for what waits for one."""
    with transaction.atomic():
        now = locked(one)
        return now.needs == Needs.WORD and steps.settle(now, by, queue, threshold)


def keep_all_the_same(one: Round, by: User, queue: bool = True) -> bool:
    """A lead's word, where a rule was broken and no rule decides."""
    with transaction.atomic():
        now = locked(one)
        if now.needs != Needs.VERDICT:
            return False
        conclude(now, RoundState.KEPT, f"{now.why} {by} keeps it all the same.", by, queue)
    return True


def roll_back(one: Round, by: User | None, why: str = "", queue: bool = True) -> bool:
    """At any time, one that is over and was kept too: every label that its model settled goes back."""
    with transaction.atomic():
        now = locked(one)
        if now.state == RoundState.ROLLED_BACK:
            return False
        halt(now, by)
        conclude(now, RoundState.ROLLED_BACK, why or f"{by or 'Somebody'} rolled it back. {now.why}", by, queue)
    return True


def locked(one: Round) -> Round:
    related = Round.objects.select_related(*RELATED).select_for_update(of=("self",))
    return related.get(pk=one.pk)


# --- Here and now


def carry_out(one: Round, heard: Mapping[str, Heard]) -> None:
    """Step by step, in this process, as far as no people are needed. A worker that takes some of it is welcome."""
    while True:
        advance(one.pk, queue=False)
        one.refresh_from_db()
        if not carry_out_a_step(one, heard):
            if one.state != RoundState.RUNNING:
                return
            time.sleep(LOOK_EVERY)  # a worker has it


def carry_out_a_step(one: Round, heard: Mapping[str, Heard]) -> bool:
    """Whether there was one for us."""
    if one.dataset and Dataset.objects.claimable().filter(pk=one.dataset.pk).exists():
        return freezing.carry_out(one.dataset, heard["dataset"])
    if one.run and Run.objects.claimable().filter(pk=one.run.pk).exists():
        return runner.carry_out(one.run, heard["run"])
    for evaluation in (one.evaluation, one.rival):
        if evaluation and Evaluation.objects.claimable().filter(pk=evaluation.pk).exists():
            return evaluating.carry_out(evaluation, heard["evaluation"])
    for made in PreLabelling.objects.claimable().filter(project=one.project).select_related("project", "run__dataset"):
        return prelabelling.carry_out(made, heard["prelabelling"])
    return False
