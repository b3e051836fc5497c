"""Pre-labellings over the API: the same functions as the pages."""

from datetime import datetime
from typing import Annotated, Any

from django.http import HttpRequest
from django.shortcuts import get_object_or_404
from ninja import Field, Router, Schema, Status
from ninja.errors import HttpError

from annotate.access import me
from annotate.models import Project, Role
from modeling.models import Cascade, Goal, PreLabelling, Run
from modeling.prelabelling import audited, thresholds
from modeling.prelabelling import prelabelling as room
from modeling.prelabelling.thresholds import Reckoning

from .runs import LARGEST, open_project

router = Router(tags=["Pre-labellings"])
GROWTH = "Times its share before that a label may come to have; 0: any."


class PreLabellingIn(Schema):
    run: Annotated[int, Field(description="Its number; left out, the latest that is done.")] = 0
    cascade: Annotated[
        int, Field(description="Its number, in place of a run: its second stage is asked where its first is unsure.")
    ] = 0
    posts: Annotated[
        dict[str, str] | None,
        Field(description="As the filters of a list of posts; empty, all of them; left out, those that wait for votes.",
              examples=[{"state": "waiting"}]),
    ] = None  # fmt: skip
    bits: Annotated[int, Field(description="A weight: 4, 8 or 16; 0: as it was trained.")] = 0
    batch: Annotated[int, Field(ge=1, le=1024, description="Posts at once.")] = 16
    threshold: Annotated[float, Field(description="How likely a label must be to settle a post.")] = 0.9
    growth: Annotated[float, Field(description=GROWTH)] = 1.5
    audit_rate: Annotated[float, Field(description="The share of what it settles that people check blind.")] = 0.1
    most_doubts: Annotated[int, Field(description="So many doubts go to people at most.")] = 200


class ApplyIn(Schema):
    """What is left out stays as it was asked for."""

    threshold: float | None = None
    growth: Annotated[float | None, Field(description=GROWTH)] = None
    audit_rate: float | None = None
    most_doubts: int | None = None


class PreLabellingOut(Schema):
    id: int
    run: int = Field(description="Of a cascade, its second stage.")
    cascade: int | None
    voter: str = Field(description="As which the model votes.")
    posts: dict[str, str] = Field(description="Which, as the filters of a list of posts.")
    goal: str
    state: str
    waits_for_a_word: bool = Field(description="The model was asked, and nothing is settled yet.")
    doing: str
    done: int
    total: int
    threshold: float
    growth: float
    audit_rate: float
    most_doubts: int
    result: dict[str, Any]
    error: str
    by: str | None
    created: datetime
    started: datetime | None
    ended: datetime | None
    applied: datetime | None
    taken_back: datetime | None


class RowOut(Schema):
    label: str
    sure: int
    settled: int
    held_back: int
    wrong: float = Field(description="Of these, by the model’s own chances.")
    checked: int = Field(description="Posts of the validation split of which it was as sure.")
    mistaken: int


class ReckoningOut(Schema):
    threshold: float
    settled: int
    held_back: int
    wrong_share: float | None = Field(description="Expected, by the model’s own chances.")
    on_validation: dict[str, Any] | None = Field(description="Wrong there, of how many, and its 95% interval.")
    unsure: int
    against: int = Field(description="It is sure, and voters say otherwise.")
    conflicts: int = Field(description="It is sure, and the post has another label: listed, never changed.")
    labels: list[RowOut]


class AuditsOut(Schema):
    drawn: int
    waiting: int
    told: int
    wrong: int
    estimate: dict[str, Any] | None = Field(description="The share that is wrong, and its 95% interval.")


class PreLabellingDetail(PreLabellingOut):
    temperature: float | None = Field(description="None: not calibrated, for want of a validation split.")
    used: dict[str, Any]
    reckoning: ReckoningOut | None = Field(description="What its threshold would settle, once the model was asked.")
    offered: list[ReckoningOut] = Field(description="The same at other thresholds.")
    audits: AuditsOut | None = Field(description="Of its labels, once any are settled.")


def prelabelling_in(project: Project, prelabelling_id: int) -> PreLabelling:
    found = project.prelabellings.select_related("project", "run__dataset__project", "voter", "by")
    return get_object_or_404(found, pk=prelabelling_id if 0 < prelabelling_id <= LARGEST else 0)


def run_in(project: Project, run_id: int) -> Run:
    done = project.runs.filter(state="done", study=None).select_related("project", "dataset")
    found = project.runs.filter(pk=run_id if 0 < run_id <= LARGEST else 0).first() if run_id else done.first()
    if found is None:
        raise HttpError(422, f"There is no run {run_id}." if run_id else "There is no run that is done. Train one.")
    return found


def cascade_in(project: Project, cascade_id: int) -> Cascade | None:
    if not cascade_id:
        return None
    known = cascade_id if 0 < cascade_id <= LARGEST else 0
    found = Cascade.objects.select_related("second", "dataset__project").filter(project=project, pk=known).first()
    if found is None:
        raise HttpError(422, f"There is no cascade {cascade_id}.")
    return found


@router.get(
    "/projects/{slug}/prelabellings", response=list[PreLabellingOut], url_name="prelabellings",
    summary="The latest hundred",
)  # fmt: skip
def prelabellings(request: HttpRequest, slug: str, before: int = LARGEST) -> list[dict[str, Any]]:
    """For those that came earlier, `before` is the id of the last one."""
    listed = open_project(request, slug).prelabellings.filter(pk__lt=max(0, min(before, LARGEST)))
    return [as_told(one) for one in listed.select_related("voter", "by").defer("validation", "meaning")[:100]]


@router.post(
    "/projects/{slug}/prelabellings", response={202: PreLabellingOut}, url_name="prelabellings", summary="Ask a model"
)
def ask(request: HttpRequest, slug: str, asked: PreLabellingIn) -> Status[dict[str, Any]]:
    """A run, or a cascade at its point. Nothing is settled by that. A worker does it; watch its state, and then look at
    what its threshold means."""
    project = open_project(request, slug, Role.ADMIN)
    cascade = cascade_in(project, asked.cascade)
    run = cascade.second if cascade and not asked.run else run_in(project, asked.run)
    try:
        made = room.ask(
            project, me(request), run, asked.posts, bits=asked.bits, batch=asked.batch, cascade=cascade,
            threshold=asked.threshold, growth=asked.growth, audit_rate=asked.audit_rate, most_doubts=asked.most_doubts,
        )  # fmt: skip
    except room.Refused as refusal:
        raise HttpError(422, str(refusal)) from refusal
    return Status(202, as_told(made))


@router.get(
    "/projects/{slug}/prelabellings/{prelabelling_id}", response=PreLabellingDetail, url_name="prelabelling",
    summary="One of them, and what its threshold means",
)  # fmt: skip
def one(request: HttpRequest, slug: str, prelabelling_id: int) -> dict[str, Any]:
    shown = prelabelling_in(open_project(request, slug), prelabelling_id)
    reckonings = {at: reckoned(shown, at) for at in (shown.threshold, *thresholds.OFFERED)} if shown.meaning else {}
    return as_told(shown) | {
        "temperature": shown.temperature, "used": shown.used, "reckoning": reckonings.get(shown.threshold),
        "offered": [reckonings[at] for at in thresholds.OFFERED if at in reckonings],
        "audits": None if shown.goal == Goal.ASK else audits(shown),
    }  # fmt: skip


@router.post(
    "/projects/{slug}/prelabellings/{prelabelling_id}/apply", response={202: PreLabellingOut},
    url_name="prelabelling_apply", summary="Settle what it is sure of",
)  # fmt: skip
def apply(request: HttpRequest, slug: str, prelabelling_id: int, how: ApplyIn) -> Status[dict[str, Any]]:
    """Once the model was asked. A blind sample of what is settled goes to people, and so do its doubts."""
    shown = prelabelling_in(open_project(request, slug, Role.ADMIN), prelabelling_id)
    try:
        done = room.apply(shown, me(request), **how.dict())
    except room.Refused as refusal:
        raise HttpError(422, str(refusal)) from refusal
    if not done:
        raise HttpError(409, f"{shown} does not wait for a word: {at_what(shown)}.")
    return Status(202, as_told(shown))


@router.post(
    "/projects/{slug}/prelabellings/{prelabelling_id}/take-back", response={202: PreLabellingOut},
    url_name="prelabelling_take_back", summary="Take all its labels back",
)  # fmt: skip
def take_back(request: HttpRequest, slug: str, prelabelling_id: int) -> Status[dict[str, Any]]:
    """What people or voters have said since stands."""
    shown = prelabelling_in(open_project(request, slug, Role.ADMIN), prelabelling_id)
    if not room.take_back(shown, me(request)):
        raise HttpError(409, f"{shown} has settled nothing that could be taken back now: {at_what(shown)}.")
    return Status(202, as_told(shown))


@router.post(
    "/projects/{slug}/prelabellings/{prelabelling_id}/stop", response={202: PreLabellingOut},
    url_name="prelabelling_stop", summary="Stop it",
)  # fmt: skip
def stop(request: HttpRequest, slug: str, prelabelling_id: int) -> Status[dict[str, Any]]:
    """What was answered, settled or taken back stays so."""
    shown = prelabelling_in(open_project(request, slug, Role.ADMIN), prelabelling_id)
    if not room.stop(shown, me(request)):
        raise HttpError(409, f"{shown} is not at work: {at_what(shown)}.")
    return Status(202, as_told(prelabelling_in(shown.project, shown.pk)))


@router.post(
    "/projects/{slug}/prelabellings/{prelabelling_id}/resume", response={202: PreLabellingOut},
    url_name="prelabelling_resume", summary="Go on with it",
)  # fmt: skip
def resume(request: HttpRequest, slug: str, prelabelling_id: int) -> Status[dict[str, Any]]:
    """Nothing is asked or settled twice."""
    shown = prelabelling_in(open_project(request, slug, Role.ADMIN), prelabelling_id)
    if not room.resume(shown, me(request)):
        raise HttpError(409, f"{shown} cannot be resumed: {at_what(shown)}.")
    return Status(202, as_told(prelabelling_in(shown.project, shown.pk)))


# --- As they are told


def at_what(shown: PreLabelling) -> str:
    return f"{shown.get_goal_display().lower()}, {shown.get_state_display().lower()}"


def as_told(one: PreLabelling) -> dict[str, Any]:
    plain = ("posts", "goal", "doing", "done", "total", "threshold", "growth", "audit_rate", "most_doubts", "result",
             "error", "created", "started", "ended", "applied", "taken_back", "waits_for_a_word")  # fmt: skip
    return {name: getattr(one, name) for name in plain} | {
        "id": one.pk, "run": one.run_id, "cascade": one.cascade_id, "voter": one.voter.name,
        "by": one.by.username if one.by else None,
        "state": "interrupted" if one.is_silent else one.state,
    }  # fmt: skip


def reckoned(shown: PreLabelling, threshold: float) -> dict[str, Any]:
    found: Reckoning = thresholds.reckon(shown.meaning, shown.validation, threshold, shown.growth)
    told = found.on_validation
    plain = ("threshold", "settled", "held_back", "wrong_share", "unsure", "against", "conflicts")
    return {name: getattr(found, name) for name in plain} | {
        "on_validation": told and {"wrong": told.hits, "of": told.of, "low": told.low, "high": told.high},
        "labels": [row._asdict() | {"held_back": row.held_back} for row in found.rows],
    }


def audits(shown: PreLabelling) -> dict[str, Any]:
    found = audited.read(shown)
    estimate = found.estimate
    return {name: getattr(found, name) for name in ("drawn", "waiting", "told", "wrong")} | {
        "estimate": estimate and {"rate": estimate.rate, "low": estimate.low, "high": estimate.high},
    }
