"""Where a round waits for people, and how it ends; what is rolled back with it."""

from collections.abc import Iterator
from typing import Any

from django.utils import timezone

from annotate.models import Event, User
from modeling.models import Goal, Needs, PreLabelling, Round, RoundState
from modeling.prelabelling import prelabelling

from . import judging, outcome
from .guards import Judgement
from .plan import Plan


def keep(one: Round, **told: Any) -> None:
    for name, value in told.items():
        setattr(one, name, value)
    one.save(update_fields=list(told))


def record(verb: str, one: Round, by: User | None, **more: Any) -> None:
    Event.record(verb, user=by, project=one.project, round=one.number, **more)


def wait_for(one: Round, needs: Needs, why: str = "") -> None:
    if (one.state, one.needs, one.why) != (RoundState.WAITING, needs, why):
        keep(one, state=RoundState.WAITING, needs=needs, why=why)
        record("round waits for people", one, None, needs=str(needs))


def judge(one: Round, plan: Plan, judged: Judgement, queue: bool) -> None:
    """What breaks a rule goes back by itself, or a lead says what is to be done."""
    if plan.by_rule:
        conclude(one, RoundState.ROLLED_BACK, judged.words, one.by, queue)
    else:
        wait_for(one, Needs.VERDICT, judged.words)


def conclude(one: Round, state: RoundState, why: str, by: User | None, queue: bool = True) -> None:
    if state == RoundState.ROLLED_BACK:
        for made in to_take_back(one):
            prelabelling.give_up(made, by, queue)
    at, told = one.ended or timezone.now(), one.told or outcome.of(one)  # rolled back later, it came to what it came to
    keep(one, state=state, needs="", why=why.strip(), ended=at, told=told)
    record(f"round {state.label.lower()}", one, by)


def to_take_back(one: Round) -> Iterator[PreLabelling]:
    """What its own model settled; or, where that model is worse for it, what it was the first to learn from."""
    if one.prelabelling:
        yield one.prelabelling
        return
    if one.dataset is None or judging.of_holdout(one).verdict != "roll back":
        return
    applied = PreLabelling.objects.filter(project=one.project, goal=Goal.APPLY, applied__lte=one.dataset.created)
    last = judging.last_kept(one)
    since = applied.filter(applied__gte=last.dataset.created) if last and last.dataset else applied
    yield from since.select_related("project", "run")
