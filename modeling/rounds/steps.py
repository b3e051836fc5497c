"""The steps of a round. Each looks whether it is done, begins if nobody has begun it, and says whether the next one has
its turn."""

from typing import TypeVar

from annotate.browse import Filters, matching
from annotate.models import User
from modeling.datasets import asking as recipes
from modeling.datasets import dataset as freezing
from modeling.evaluation import evaluating
from modeling.evaluation.predictors import Predictor
from modeling.models import (
    DatasetState,
    Goal,
    JobState,
    Needs,
    On,
    Round,
    RoundState,
    RunState,
)
from modeling.prelabelling import audited, prelabelling, told
from modeling.training import runner, starting

from . import guards, judging
from .ending import conclude, judge, keep, wait_for
from .plan import Plan

TEST_SETS = (On.HOLDOUT, On.TEST)  # the first that has posts
BROKEN = {
    "failed": "failed", "interrupted": "was interrupted", "stopped": "was stopped", "away": "is on another machine",
    "cancelled": "was stopped",
}  # fmt: skip
NOT_COMPARED = (
    "The two models were not measured on the same posts: some had to go meanwhile. Resume it, and both are asked about "
    "those that are left."
)
NO_AUDITS = "None of its labels was audited, so no rule can say whether it is kept."
T = TypeVar("T")


class Trouble(Exception):
    """A step went wrong; the words say which, and why."""


def move_on(one: Round, queue: bool) -> None:
    plan = Plan.from_json(one.plan)
    for step in (froze, trained, measured, held_against_the_best, pre_labelled, reviewed):
        if not step(one, plan, queue):
            return


def froze(one: Round, plan: Plan, queue: bool) -> bool:
    if one.dataset is None:
        if going_back(one):
            return False
        recipe = recipes.recipe_of(one.project, "", dict(plan.frozen))
        name = free_name(one)
        keep(one, dataset=freezing.ask(one.project, one.by, name, recipe, queue, has_begun=True))
        return False
    if vain := judging.learnt_in_vain(one):
        raise Trouble(
            f"Labels of {vain} went back after {one.dataset} was begun, and this round learns from them. Roll it back, "
            "and begin another."
        )
    return over(one.dataset.state, DatasetState.FROZEN, f"Freezing {one.dataset}", one.dataset.error)


def going_back(one: Round) -> bool:
    """Labels that are being taken back must not be learnt from again."""
    left = one.project.prelabellings.filter(goal=Goal.TAKE_BACK).exclude(state=JobState.DONE)
    broken = left.filter(state__in=prelabelling.MAY_RESUME).first()
    if broken:
        raise Trouble(f"{broken} did not take all its labels back: resume it on its page, then this.")
    return left.exists()


def free_name(one: Round) -> str:
    taken = set(one.project.datasets.frozen().values_list("name", flat=True))
    names = (f"round-{one.number}{suffix}" for suffix in ("", *(f".{n}" for n in range(2, len(taken) + 3))))
    return next(name for name in names if name not in taken)


def trained(one: Round, plan: Plan, queue: bool) -> bool:
    if one.run is None:
        dataset = known(one.dataset)
        recipe = plan.recipe or starting.usual_recipe(plan.base)
        config = starting.configured(dataset, recipe, plan.base, plan.settings)
        keep(one, run=runner.start(one.project, one.by, dataset, config, recipe, queue, has_begun=True))
        return False
    return over(one.run.state, RunState.DONE, str(one.run), one.run.error)


def measured(one: Round, plan: Plan, queue: bool) -> bool:
    """This model, and that of the best round that was kept, on the very same posts."""
    dataset, run = known(one.dataset), known(one.run)
    on = next((on for on in TEST_SETS if dataset.composition["splits"][on]["posts"]), None)
    if on is None:
        raise Trouble(f"{dataset} has neither a locked test set nor a test split: nothing can be judged by it.")
    if one.evaluation is None:
        asked = Predictor("run", run=run.pk)
        keep(one, evaluation=evaluating.ask(one.project, one.by, dataset, on, asked, queue=queue))
    best = judging.to_beat(one.project, before=one.number)
    if one.rival is None and best and best.run:
        asked = Predictor("run", run=best.run.pk)
        keep(one, rival=evaluating.ask(one.project, one.by, dataset, on, asked, queue=queue))
    asked_ones = [evaluation for evaluation in (one.evaluation, one.rival) if evaluation]
    done = [
        over(evaluation.state, JobState.DONE, f"Asking {evaluation.name}", evaluation.error)
        for evaluation in asked_ones
    ]
    return all(done)


def held_against_the_best(one: Round, plan: Plan, queue: bool) -> bool:
    if not judging.is_compared(one):
        raise Trouble(NOT_COMPARED)
    judged = judging.of_holdout(one)
    if judged.verdict == "keep":
        return True
    if judged.verdict == "ask":
        wait_for(one, Needs.VERDICT, judged.words)
    elif judged.verdict == "roll back":
        judge(one, plan, judged, queue)
    return False


def pre_labelled(one: Round, plan: Plan, queue: bool) -> bool:
    made = one.prelabelling
    if made is None:
        if not matching(one.project, Filters.from_query(prelabelling.USUAL)).posts.filter(holdout=False).exists():
            return True  # nothing is left to be labelled
        made = prelabelling.ask(
            one.project, one.by, known(one.run), queue=queue, threshold=plan.threshold, growth=plan.growth,
            audit_rate=plan.audit_rate, most_doubts=plan.doubts,
        )  # fmt: skip
        keep(one, prelabelling=made)
        return False
    over(made.state, JobState.DONE, f"{made}, which is to “{made.get_goal_display().lower()}”,", made.error)
    if made.goal == Goal.TAKE_BACK:
        conclude(one, RoundState.ROLLED_BACK, "Its labels were taken back.", one.by, queue)
        return False
    if made.waits_for_a_word:
        return settle_by_itself(one, plan, queue)
    if not made.is_applied and one.state == RoundState.WAITING:  # somebody gave the word on its own page
        keep(one, state=RoundState.RUNNING, needs="")
    return made.is_applied


def settle_by_itself(one: Round, plan: Plan, queue: bool) -> bool:
    """Where nobody wants to be asked, and no more is expected to be wrong than is allowed."""
    if plan.unattended and few_are_wrong(one, plan):
        settle(one, None, queue)
        return False
    wait_for(one, Needs.WORD)
    return False


def few_are_wrong(one: Round, plan: Plan) -> bool:
    """By what its model says, calibrated, and by its mistakes on the validation split where it was as sure."""
    made = known(one.prelabelling)
    found = told.reckoned(made)
    if not found.settled:
        return True
    checked = found.on_validation.rate if found.on_validation else None
    if made.temperature is None or checked is None or found.wrong_share is None:
        return False
    return max(checked, found.wrong_share) <= plan.error_allowed


def settle(one: Round, by: User | None, queue: bool = True, threshold: float | None = None) -> bool:
    """With as many audits as a verdict takes, however few are settled."""
    made = known(one.prelabelling)
    rate = guards.share_audited(Plan.from_json(one.plan).audit_rate, told.reckoned(made, threshold).settled)
    changed = prelabelling.apply(made, by, threshold, queue=queue, audit_rate=rate)
    if changed:
        Round.objects.filter(pk=one.pk, state=RoundState.WAITING).update(state=RoundState.RUNNING, needs="")
    return changed


def reviewed(one: Round, plan: Plan, queue: bool) -> bool:
    """The audits decide; doubts are waited for, because the next round learns from what people say of them."""
    made = one.prelabelling
    settled = sum(made.result.get("settled", {}).values()) if made else 0
    if made and judging.doubts_open(made) and not (settled or one.enough):
        wait_for(one, Needs.REVIEW)
        return False
    if made is None or not settled:
        conclude(one, RoundState.KEPT, in_words(one, "Its model settled nothing that could be wrong."), one.by)
        return False
    judged = judging.of_audits(one, made, audited.read(made), plan.error_allowed)
    if judged is None:  # settled on its own page with none to be drawn, or nobody could tell of any
        wait_for(one, Needs.VERDICT, NO_AUDITS)
        return False
    if judged.verdict == "ask":
        wait_for(one, Needs.VERDICT, judged.words)
        return False
    if judged.verdict == "roll back":
        judge(one, plan, judged, queue)
        return False
    if judged.verdict == "wait" or (judging.doubts_open(made) and not one.enough):
        wait_for(one, Needs.REVIEW)
        return False
    conclude(one, RoundState.KEPT, in_words(one, judged.words), one.by)
    return False


def in_words(one: Round, words: str) -> str:
    return f"{judging.of_holdout(one).words} {words}"


def over(state: str, done: str, what: str, error: str) -> bool:
    if state in BROKEN:
        raise Trouble(f"{what} {BROKEN[state]}. {error}".strip())
    return state == done


def known(value: T | None) -> T:
    assert value is not None
    return value
