"""Cascades over the API: the same functions as the pages and the command."""

from datetime import datetime
from typing import Annotated, Any

from django.http import HttpRequest
from django.shortcuts import get_object_or_404
from ninja import Field, Router, Schema, Status
from ninja.errors import HttpError

from annotate.access import me
from annotate.models import Project, Role
from modeling.cascade import cascades, choosing, told
from modeling.models import Cascade, Run

from .evaluations import dataset_in
from .runs import LARGEST, open_project

router = Router(tags=["Cascades"])


class CascadeIn(Schema):
    first: Annotated[str, Field(max_length=200, description="The name of a voter, or run-N, a classifier.")]
    second: Annotated[str, Field(max_length=40, description="run-N: asked where the first is unsure.")]
    k: Annotated[int, Field(ge=cascades.FEWEST, le=cascades.MOST, description="Candidates.")] = 5
    dataset: Annotated[str, Field(description="Left out, the latest that is frozen.", examples=["v1"])] = ""
    name: Annotated[str, Field(max_length=120, description="Left out, told by its parts.")] = ""


class PointIn(Schema):
    threshold: Annotated[float, Field(ge=0, le=2, description="The point of the curve nearest to it; above 1: always.")]


class CascadeOut(Schema):
    id: int
    name: str
    first: str
    second: str
    k: int
    dataset: str
    state: str
    threshold: float | None = Field(description="None: no point is chosen yet.")
    chosen: datetime | None
    weight: float | None = Field(description="Of the second stage, where both are blended.")
    temperature: float | None
    fitted_on: int = Field(description="Validation posts of which both stages have spoken.")
    error: str
    by: str | None
    created: datetime


class CascadeDetail(CascadeOut):
    told: dict[str, Any] = Field(description="The fit, the curve on validation, and the chosen point elsewhere.")
    missing: list[str] = Field(description="What would have to be asked first.")


def cascade_in(project: Project, cascade_id: int) -> Cascade:
    return get_object_or_404(cascades.of(project), pk=cascade_id if 0 < cascade_id <= LARGEST else 0)


@router.get("/projects/{slug}/cascades", response=list[CascadeOut], url_name="cascades", summary="The latest fifty")
def listed(request: HttpRequest, slug: str, before: int = LARGEST) -> list[dict[str, Any]]:
    """For those that came earlier, `before` is the id of the last one."""
    found = cascades.of(open_project(request, slug)).filter(pk__lt=max(0, min(before, LARGEST)))
    return [told.as_json(one) for one in found[:50]]


@router.post("/projects/{slug}/cascades", response={202: CascadeDetail}, url_name="cascades", summary="Make one")
def make(request: HttpRequest, slug: str, asked: CascadeIn) -> Status[dict[str, Any]]:
    """A worker fits it; watch its state. Nobody is asked anew."""
    project = open_project(request, slug, Role.ADMIN)
    first = choosing.named(choosing.firsts(project), asked.first)
    second = choosing.named(choosing.seconds(project), asked.second)
    if first is None:
        raise HttpError(422, f"“{asked.first}” is no first stage: it must have said how likely labels are.")
    if not isinstance(second, Run):
        raise HttpError(422, f"“{asked.second}” is no run that is done, and no classifier.")
    dataset = dataset_in(project, asked.dataset)
    try:
        made = cascades.make(project, me(request), dataset, first, second, asked.k, asked.name.replace("\0", ""))
    except cascades.Refused as refusal:
        raise HttpError(422, str(refusal)) from refusal
    return Status(202, whole(made))


@router.get("/projects/{slug}/cascades/{cascade_id}", response=CascadeDetail, url_name="cascade", summary="One of them")
def one(request: HttpRequest, slug: str, cascade_id: int) -> dict[str, Any]:
    return whole(cascade_in(open_project(request, slug), cascade_id))


@router.post(
    "/projects/{slug}/cascades/{cascade_id}/point", response={202: CascadeDetail}, url_name="cascade_use",
    summary="Use a point of its curve",
)  # fmt: skip
def use(request: HttpRequest, slug: str, cascade_id: int, asked: PointIn) -> Status[dict[str, Any]]:
    """What comes out on posts that it was not fitted on is told once a worker has reckoned it."""
    made = cascade_in(open_project(request, slug, Role.ADMIN), cascade_id)
    try:
        cascades.use(made, asked.threshold, me(request))
    except cascades.Refused as refusal:
        raise HttpError(409, str(refusal)) from refusal
    return Status(202, whole(made))


def whole(made: Cascade) -> dict[str, Any]:
    return told.as_json(made, whole=True) | {"missing": [lack.words for lack in cascades.lacks(made)]}
