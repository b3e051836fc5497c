"""Datasets over the API: the same functions as the pages."""

from datetime import datetime
from typing import Annotated, Any

from django.core.exceptions import ValidationError
from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.shortcuts import get_object_or_404
from ninja import Field, Query, Router, Schema, Status
from ninja.errors import HttpError

from annotate.access import me, project_for
from annotate.models import Project, Role
from modeling.datasets import asking, card, dataset, marks, previews
from modeling.datasets.composition import Composition, thin
from modeling.datasets.items import SPLITS, TO_TRAIN_WITH
from modeling.datasets.recipe import SOURCES, Recipe
from modeling.export.formats import FORMATS, NotExported, Options
from modeling.models import Dataset
from modeling.views.datasets import sent

router = Router(tags=["Datasets"])
Share = Annotated[float | None, Field(ge=0, le=1, allow_inf_nan=False)]


class Asked(Schema):
    """What is left out is as usual, or as in the dataset that `like` names."""

    like: str = ""
    sources: Annotated[list[str] | None, Field(description=f"Of labels: {', '.join(SOURCES)}.")] = None
    least_confidence: Share = None
    one_per_group: bool | None = None
    size: Annotated[int | None, Field(ge=1, lt=2**31)] = None
    validation: Share = None
    test: Share = None
    balanced: bool | None = None
    incongruous: Share = None


class RecipeIn(Asked):
    name: Annotated[str, Field(max_length=60, description="Left out, the next free number.", examples=["v1"])] = ""
    caps: Annotated[dict[str, int] | None, Field(description="By label, of what is trained on.")] = None
    weights: Annotated[dict[str, float] | None, Field(description="By label, in training.")] = None


class RecipeQuery(Asked):
    cap: Annotated[list[str] | None, Field(description="As `bullish=500`, again for each label.")] = None
    weight: Annotated[list[str] | None, Field(description="As `bullish=2`, again for each label.")] = None


class PreviewOut(Schema):
    composition: dict[str, Any]
    warnings: list[str]


class CountingOut(Schema):
    counting: int = Field(description="So many labelled posts; ask again in a moment.")


class DatasetOut(Schema):
    name: str
    state: str
    posts: int = Field(description="The locked test set among them.")
    done: int
    total: int
    error: str
    content_hash: str
    removed: int = Field(description="Posts that had to go since; exports leave them out.")
    by: str | None
    created: datetime
    ended: datetime | None


class DatasetDetail(DatasetOut):
    recipe: dict[str, Any]
    facts: dict[str, Any] = Field(description="Question, labels, weights and voters, as they are hashed.")
    composition: dict[str, Any]
    warnings: list[str]


class DownloadIn(Schema):
    format: str = Field("", description=f"One of {', '.join(FORMATS)}.")
    split: Annotated[
        list[str], Field(description=f"Again for each: {', '.join(SPLITS)}. Whoever has the holdout has its answers.")
    ] = [str(split) for split in TO_TRAIN_WITH]
    with_reason: bool = False
    with_pictures: bool = True


def open_project(request: HttpRequest, slug: str, least: Role = Role.LEAD) -> Project:
    return project_for(me(request), slug, least)[0]


def dataset_in(project: Project, name: str) -> Dataset:
    return get_object_or_404(project.datasets.select_related("project", "by"), name=name.replace("\0", ""))


def recipe_in(project: Project, asked: Asked, **by_label: Any) -> Recipe:
    told = asked.dict(exclude={"like", "name", "caps", "weights", "cap", "weight"})
    try:
        return asking.recipe_of(project, asked.like, told | by_label)
    except asking.NotUnderstood as problem:
        raise HttpError(422, str(problem)) from problem


@router.get(
    "/projects/{slug}/datasets", response=list[DatasetOut], url_name="datasets", summary="All, the latest first"
)
def datasets(request: HttpRequest, slug: str) -> list[dict[str, Any]]:
    return [told(row) for row in marks.listed(open_project(request, slug))]


@router.post("/projects/{slug}/datasets", response={202: DatasetOut}, url_name="datasets", summary="Freeze one")
def freeze(request: HttpRequest, slug: str, asked: RecipeIn) -> Status[dict[str, Any]]:
    """A worker does it; watch its state."""
    project = open_project(request, slug, Role.ADMIN)
    recipe = recipe_in(project, asked, caps=asked.caps, weights=asked.weights)
    try:
        made = dataset.ask(project, me(request), asked.name or dataset.next_name(project), recipe)
    except ValidationError as error:
        raise HttpError(422, error.messages[0]) from error
    except dataset.Refused as refusal:
        raise HttpError(409, str(refusal)) from refusal
    return Status(202, told(marks.rows([made])[0]))


@router.get(
    "/projects/{slug}/datasets/preview", response={200: PreviewOut, 202: CountingOut}, url_name="dataset_preview",
    summary="What a recipe would give",
)  # fmt: skip
def preview(request: HttpRequest, slug: str, asked: Query[RecipeQuery]) -> Any:
    project = open_project(request, slug)
    try:
        caps, weights = asking.by_label(asked.cap, "cap", int), asking.by_label(asked.weight, "weight", float)
    except asking.NotUnderstood as problem:
        raise HttpError(422, str(problem)) from problem
    recipe = recipe_in(project, asked, caps=caps, weights=weights)
    made = previews.read(project, recipe)
    if made is None:
        return Status(202, {"counting": previews.stamp(project, recipe)[0]})
    return {"composition": made.as_json(), "warnings": thin(made, recipe)}


@router.get("/projects/{slug}/datasets/{name}", response=DatasetDetail, url_name="dataset", summary="One of them")
def one(request: HttpRequest, slug: str, name: str) -> dict[str, Any]:
    found = dataset_in(open_project(request, slug), name)
    (row,) = marks.rows([found])
    made = Composition.from_json(found.composition) if found.is_frozen else None
    return told(row) | {
        "recipe": found.recipe, "facts": found.facts, "composition": made.as_json() if made else {},
        "warnings": thin(made, Recipe.from_json(found.recipe)) if made else [],
    }  # fmt: skip


@router.get(
    "/projects/{slug}/datasets/{name}/card", url_name="dataset_card", summary="Its card, as Markdown",
    openapi_extra={"responses": {200: {"content": {"text/markdown": {"schema": {"type": "string"}}}}}},
)  # fmt: skip
def card_of(request: HttpRequest, slug: str, name: str) -> HttpResponse:
    found = frozen_in(open_project(request, slug), name)
    return HttpResponse(card.markdown(found), content_type="text/markdown; charset=utf-8")


@router.get(
    "/projects/{slug}/datasets/{name}/download", url_name="dataset_download", summary="Download it in a format",
    openapi_extra={"responses": {200: {"description": "A ZIP, or a CSV without pictures."}}},
)  # fmt: skip
def download(request: HttpRequest, slug: str, name: str, asked: Query[DownloadIn]) -> HttpResponseBase:
    found = frozen_in(open_project(request, slug, Role.ADMIN), name)
    options = Options(tuple(asked.split), with_reason=asked.with_reason, with_pictures=asked.with_pictures)
    try:
        return sent(request, found, asked.format, options)
    except NotExported as refusal:
        raise HttpError(422, str(refusal)) from refusal


def frozen_in(project: Project, name: str) -> Dataset:
    found = dataset_in(project, name)
    if not found.is_frozen:
        raise HttpError(409, f"{found.name} is not frozen: {found.get_state_display().lower()}.")
    return found


def told(row: marks.Row) -> dict[str, Any]:
    made = row.dataset
    plain = ("name", "state", "done", "total", "error", "content_hash", "created", "ended")
    removed = row.removed.posts if row.removed else 0
    by = made.by.username if made.by else None
    return {name: getattr(made, name) for name in plain} | {"posts": row.posts, "removed": removed, "by": by}
