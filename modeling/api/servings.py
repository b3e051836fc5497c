"""Models written out, over the API: the same functions as the pages."""

from datetime import datetime
from typing import Annotated, Any, Literal

from django.http import HttpRequest
from django.shortcuts import get_object_or_404
from ninja import Field, Router, Schema, Status
from ninja.errors import HttpError

from annotate.access import me
from annotate.models import Project, Role
from modeling.evaluation import evaluating
from modeling.models import JobState, ServedCheck, Serving
from modeling.serving import checking, commands, writing
from modeling.serving.at_work import Refused

from .runs import LARGEST, open_project, run_in

router = Router(tags=["Served models"])


class ServingIn(Schema):
    run: int
    form: Annotated[Literal["merged", "8bit", "4bit", "lora"], Field(description="As the page explains them.")]


class CheckIn(Schema):
    way: Annotated[Literal["server", "folder"], Field(description="Its server, or the folder itself.")] = "server"
    url: Annotated[str, Field(max_length=400, description="Of a server, up to /v1.")] = ""
    model: Annotated[str, Field(max_length=200, description="As the server calls it; left out, run-N.")] = ""
    on: Annotated[Literal["holdout", "test", "validation"], Field(description="The split.")] = "holdout"


class CheckOut(Schema):
    id: int
    way: str
    url: str
    model: str
    split: str
    state: str
    doing: str
    done: int
    total: int
    error: str
    told: dict[str, Any] = Field(description="All figures; empty until it is done.")


class ServingOut(Schema):
    id: int
    run: int
    form: str
    state: str
    doing: str
    done: int = Field(description="Bytes.")
    total: int
    error: str
    folder: str
    machine: str
    command: str = Field(description="By which vLLM serves it; empty until it is done.")
    bytes: int | None
    deleted: datetime | None
    by: str | None
    created: datetime
    started: datetime | None
    ended: datetime | None
    checks: list[CheckOut]


def serving_in(project: Project, serving_id: int) -> Serving:
    found = project.servings.select_related("project", "run__dataset", "run__project", "by")
    one: Serving = get_object_or_404(found, pk=serving_id if 0 < serving_id <= LARGEST else 0)
    return one


@router.get("/projects/{slug}/servings", response=list[ServingOut], url_name="servings", summary="The latest hundred")
def servings(request: HttpRequest, slug: str, run: int | None = None) -> list[dict[str, Any]]:
    """Each with its latest checks. With `run`, of that run alone."""
    listed = open_project(request, slug).servings.select_related("project", "run__dataset", "run__project", "by")
    if run is not None:
        listed = listed.filter(run=run if 0 < run <= LARGEST else 0)
    return [as_told(one) for one in listed.prefetch_related("checks").order_by("-pk")[:100]]


@router.post("/projects/{slug}/servings", response={202: ServingOut}, url_name="servings", summary="Write one out")
def write(request: HttpRequest, slug: str, asked: ServingIn) -> Status[dict[str, Any]]:
    """A worker of the gpu queue does it; watch its state."""
    project = open_project(request, slug, Role.ADMIN)
    run = run_in(project, asked.run)
    try:
        made = writing.ask(project, me(request), run, asked.form)
    except Refused as refusal:
        raise HttpError(422, str(refusal)) from refusal
    return Status(202, as_told(made))


@router.get("/projects/{slug}/servings/{serving_id}", response=ServingOut, url_name="serving", summary="One of them")
def one(request: HttpRequest, slug: str, serving_id: int) -> dict[str, Any]:
    return as_told(serving_in(open_project(request, slug), serving_id))


@router.delete("/projects/{slug}/servings/{serving_id}", response=ServingOut, url_name="serving", summary="Delete it")
def delete(request: HttpRequest, slug: str, serving_id: int) -> dict[str, Any]:
    """Its folder goes, and what is known of it stays."""
    project = open_project(request, slug, Role.ADMIN)
    try:
        writing.delete(serving_in(project, serving_id), me(request))
    except Refused as refusal:
        raise HttpError(409, str(refusal)) from refusal
    return as_told(serving_in(project, serving_id))


@router.post(
    "/projects/{slug}/servings/{serving_id}/stop", response={202: ServingOut}, url_name="serving_stop",
    summary="Stop it",
)  # fmt: skip
def stop(request: HttpRequest, slug: str, serving_id: int) -> Status[dict[str, Any]]:
    shown = serving_in(open_project(request, slug, Role.ADMIN), serving_id)
    if not writing.stop(shown, me(request)):
        raise HttpError(409, f"It is not being written: {shown.get_state_display().lower()}.")
    return Status(202, as_told(serving_in(shown.project, shown.pk)))


@router.post(
    "/projects/{slug}/servings/{serving_id}/checks", response={202: CheckOut}, url_name="serving_checks",
    summary="Check it",
)  # fmt: skip
def check(request: HttpRequest, slug: str, serving_id: int, asked: CheckIn) -> Status[dict[str, Any]]:
    """Each post is asked in the words of its training, and held against the run’s own evaluation."""
    shown = serving_in(open_project(request, slug, Role.ADMIN), serving_id)
    try:
        made = checking.ask(shown, me(request), asked.way, asked.on, asked.url, asked.model)
    except (Refused, evaluating.Refused) as refusal:
        raise HttpError(422, str(refusal)) from refusal
    return Status(202, check_told(made))


def as_told(one: Serving) -> dict[str, Any]:
    plain = ("form", "doing", "done", "total", "error", "machine", "deleted", "created", "started", "ended")
    is_done = one.state == JobState.DONE and bool(one.told)
    return {name: getattr(one, name) for name in plain} | {
        "id": one.pk, "run": one.run_id, "state": "interrupted" if one.is_silent else one.state,
        "folder": str(writing.folder_of(one)), "by": one.by.username if one.by else None,
        "command": commands.serve(writing.written_of(one)) if is_done else "",
        "bytes": one.told.get("bytes"), "checks": [check_told(check) for check in one.checks.all()],
    }  # fmt: skip


def check_told(one: ServedCheck) -> dict[str, Any]:
    plain = ("way", "url", "model", "split", "doing", "done", "total", "error", "told")
    state = "interrupted" if one.is_silent else one.state
    return {name: getattr(one, name) for name in plain} | {"id": one.pk, "state": state}
