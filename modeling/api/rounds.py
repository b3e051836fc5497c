"""Rounds over the API: the same functions as the pages and the command."""

from datetime import datetime
from typing import Annotated, Any

from django.http import HttpRequest
from django.shortcuts import get_object_or_404
from ninja import Field, Router, Schema, Status
from ninja.errors import HttpError

from annotate.access import me
from annotate.models import Project, Role
from modeling.models import Round
from modeling.prelabelling import prelabelling
from modeling.rounds import report, rounds, told
from modeling.rounds.plan import Plan
from modeling.rounds.walking import Walk

from .runs import LARGEST, open_project

router = Router(tags=["Rounds"])
USUAL = Plan()


class RoundIn(Schema):
    base: Annotated[
        str, Field(max_length=300, description="A name on the hub, a folder, or tiny; blank: the recipe’s.")
    ] = ""
    recipe: Annotated[str, Field(description="Of training; blank: the usual one for that model.")] = ""
    settings: Annotated[
        dict[str, Any], Field(description="What differs from the recipe, by name.", examples=[{"lr": 1e-4}])
    ] = {}
    frozen: Annotated[dict[str, Any], Field(description="What differs from the usual recipe of a dataset.")] = {}
    threshold: Annotated[float, Field(description="How likely a label must be to settle a post.")] = USUAL.threshold
    growth: Annotated[float, Field(description="Times its share that a label may come to have; 0: any.")] = USUAL.growth
    audit_rate: Annotated[float, Field(description="Of what it settles, checked blind.")] = USUAL.audit_rate
    doubts: Annotated[int, Field(description="So many go to people at most.")] = USUAL.doubts
    error_allowed: Annotated[float, Field(description="Of its labels, as audits tell.")] = USUAL.error_allowed
    by_rule: Annotated[bool, Field(description="It goes back by itself where it breaks a rule, or a lead decides.")] = (
        True
    )
    unattended: Annotated[bool, Field(description="It settles without a word, if few should be wrong.")] = False


class SettleIn(Schema):
    threshold: Annotated[float | None, Field(description="Left out, that of its plan.")] = None


class RoundOut(Schema):
    number: int
    state: str
    needs: str = Field(description="Of people: word, review, verdict, or nothing.")
    why: str = Field(description="Why it was kept, rolled back or held up.")
    dataset: str | None
    run: int | None
    evaluation: int | None
    rival: int | None = Field(description="The evaluation of the best kept round’s model, on the same posts.")
    prelabelling: int | None
    told: dict[str, Any] = Field(description="What it came to, once it was over.")
    by: str | None
    created: datetime
    ended: datetime | None


class StepOut(Schema):
    step: str
    state: str
    will: str
    told: list[str]
    done: int | None
    total: int | None
    seconds_left: int | None
    error: str


class RoundDetail(RoundOut):
    plan: dict[str, Any]
    steps: list[StepOut]
    labels_back: int = Field(description="So many labels would go back if it were rolled back now.")
    another: str = Field(description="Why another round would not be worth it; blank: it may be.")


def round_in(project: Project, number: int) -> Round:
    found = project.rounds.select_related(*rounds.RELATED, "prelabelling__voter")
    return get_object_or_404(found, number=number if 0 < number < 2**31 else 0)


@router.get("/projects/{slug}/rounds", response=list[RoundOut], url_name="rounds", summary="The latest twenty")
def listed(request: HttpRequest, slug: str, before: int = LARGEST) -> list[dict[str, Any]]:
    """For those that came earlier, `before` is the number of the last one."""
    board = report.board(open_project(request, slug), max(0, min(before, 2**31 - 1)))
    return [as_told(row.one) for row in board.rows]


@router.post("/projects/{slug}/rounds", response={202: RoundOut}, url_name="rounds", summary="Begin one")
def start(request: HttpRequest, slug: str, asked: RoundIn) -> Status[dict[str, Any]]:
    """Workers carry it out, as far as no people are needed; watch its state and what it needs."""
    project = open_project(request, slug, Role.ADMIN)
    try:
        one = rounds.start(project, me(request), Plan(**asked.dict()))
    except (rounds.Refused, ValueError) as problem:
        raise HttpError(422, str(problem)) from problem
    return Status(202, as_told(one))


@router.get("/projects/{slug}/rounds/{number}", response=RoundDetail, url_name="round", summary="One, step by step")
def one(request: HttpRequest, slug: str, number: int) -> dict[str, Any]:
    walk = Walk(round_in(open_project(request, slug), number))
    steps = [
        {"step": step.key, "state": step.state, "will": step.will, "told": [one.words for one in step.told],
         "done": step.progress.done if step.progress else None, "total": step.progress.total if step.progress else None,
         "seconds_left": step.progress.seconds_left if step.progress else None, "error": step.error}
        for step in walk.steps
    ]  # fmt: skip
    return as_told(walk.one) | {
        "plan": walk.one.plan, "steps": steps, "labels_back": walk.labels_back, "needs": walk.needs,
        "another": told.another(walk.one.project)[1],
    }  # fmt: skip


@router.post(
    "/projects/{slug}/rounds/{number}/settle", response={202: RoundOut}, url_name="round_settle",
    summary="Settle what its model is sure of",
)  # fmt: skip
def settle(request: HttpRequest, slug: str, number: int, how: SettleIn) -> Status[dict[str, Any]]:
    """Once it needs a word. Look at its pre-labelling first: that tells what a threshold means."""
    shown = round_in(open_project(request, slug, Role.ADMIN), number)
    try:
        prelabelling.checked({"threshold": how.threshold})  # before anything is reckoned with it
        done = rounds.settle(shown, me(request), how.threshold)
    except prelabelling.Refused as refusal:
        raise HttpError(422, str(refusal)) from refusal
    return changed(shown, done, "does not wait for a word")


@router.post(
    "/projects/{slug}/rounds/{number}/go-on", response={202: RoundOut}, url_name="round_go_on",
    summary="Go on without the answers that are open",
)  # fmt: skip
def go_on(request: HttpRequest, slug: str, number: int) -> Status[dict[str, Any]]:
    """A verdict still takes some audits."""
    shown = round_in(open_project(request, slug, Role.ADMIN), number)
    return changed(shown, rounds.go_on(shown, me(request)), "does not wait for answers, or was told so already")


@router.post(
    "/projects/{slug}/rounds/{number}/keep", response={202: RoundOut}, url_name="round_keep",
    summary="Keep it all the same",
)  # fmt: skip
def keep(request: HttpRequest, slug: str, number: int) -> Status[dict[str, Any]]:
    """Where it broke a rule, and its plan lets a lead decide."""
    shown = round_in(open_project(request, slug), number)
    return changed(shown, rounds.keep_all_the_same(shown, me(request)), "does not wait for a verdict")


@router.post(
    "/projects/{slug}/rounds/{number}/roll-back", response={202: RoundOut}, url_name="round_roll_back",
    summary="Roll it back",
)  # fmt: skip
def roll_back(request: HttpRequest, slug: str, number: int) -> Status[dict[str, Any]]:
    """At any time, after it was kept too. What people and voters have said since stands."""
    shown = round_in(open_project(request, slug), number)
    return changed(shown, rounds.roll_back(shown, me(request)), "was rolled back before")


@router.post(
    "/projects/{slug}/rounds/{number}/stop", response={202: RoundOut}, url_name="round_stop", summary="Stop it"
)
def stop(request: HttpRequest, slug: str, number: int) -> Status[dict[str, Any]]:
    """The step at work is asked to stop; what it saved is kept."""
    shown = round_in(open_project(request, slug, Role.ADMIN), number)
    return changed(shown, rounds.stop(shown, me(request)), "is not under way")


@router.post(
    "/projects/{slug}/rounds/{number}/resume",
    response={202: RoundOut},
    url_name="round_resume",
    summary="Go on with it",
)
def resume(request: HttpRequest, slug: str, number: int) -> Status[dict[str, Any]]:
    """From where it stopped; what failed is tried again."""
    shown = round_in(open_project(request, slug, Role.ADMIN), number)
    return changed(shown, rounds.resume(shown, me(request)), "cannot be resumed")


# --- As they are told


def changed(shown: Round, done: bool, otherwise: str) -> Status[dict[str, Any]]:
    now = round_in(shown.project, shown.number)
    if not done:
        raise HttpError(409, f"{now} {otherwise}: {now.get_state_display().lower()}.")
    return Status(202, as_told(now))


def as_told(one: Round) -> dict[str, Any]:
    plain = ("number", "state", "needs", "why", "told", "created", "ended")
    return {name: getattr(one, name) for name in plain} | {
        "dataset": one.dataset.name if one.dataset else None, "run": one.run_id, "evaluation": one.evaluation_id,
        "rival": one.rival_id, "prelabelling": one.prelabelling_id, "by": one.by.username if one.by else None,
    }  # fmt: skip
