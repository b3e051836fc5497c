"""Runs over the API: the same functions as the pages."""

from datetime import datetime
from typing import Annotated, Any

from django.http import HttpRequest
from django.shortcuts import get_object_or_404
from ninja import Field, Router, Schema, Status
from ninja.errors import HttpError

from annotate.access import me, project_for
from annotate.models import Project, Role
from modeling.models import Dataset, Run
from modeling.training import runner, starting, training_presets, watching

router = Router(tags=["Runs"])
LARGEST = 2**63 - 1


class RunIn(Schema):
    dataset: Annotated[str, Field(description="Left out, the latest that is frozen.", examples=["v1"])] = ""
    recipe: Annotated[
        str, Field(description=f"One of {', '.join(preset.key for preset in training_presets.available())}.")
    ] = ""
    base: Annotated[
        str, Field(max_length=300, description="A name on the hub, a folder, or tiny; left out, the recipe’s.")
    ] = ""
    settings: Annotated[
        dict[str, Any], Field(description="What differs from the recipe, by name.", examples=[{"lr": 1e-4}])
    ] = {}


class RunOut(Schema):
    id: int
    dataset: str
    recipe: str
    base: str
    state: str
    doing: str
    step: int
    steps: int
    latest: dict[str, Any] = Field(description="Loss, learning rate, pace and memory, as last told.")
    scores: dict[str, Any] = Field(description="Of the best evaluation on the validation split.")
    error: str
    by: str | None
    created: datetime
    started: datetime | None
    ended: datetime | None


class RunDetail(RunOut):
    config: dict[str, Any]
    receipt: dict[str, Any]


class PointsOut(Schema):
    step: dict[str, list[Any]] = Field(description="Column by column: step, loss, learning rate, memory.")
    evaluation: dict[str, list[Any]] = Field(description="Column by column: step, macro F1, accuracy, loss.")
    stride: int = Field(description="So many steps lie between two points, so that there are about a thousand.")
    at: int
    over: bool


def open_project(request: HttpRequest, slug: str, least: Role = Role.LEAD) -> Project:
    return project_for(me(request), slug, least)[0]


def run_in(project: Project, run_id: int) -> Run:
    runs = project.runs.select_related("dataset", "dataset__project", "by")
    return get_object_or_404(runs, pk=run_id if 0 < run_id <= LARGEST else 0)


def dataset_in(project: Project, name: str) -> Dataset:
    datasets = starting.trainable(project)
    found = next((dataset for dataset in datasets if not name or dataset.name == name), None)
    if found is None:
        known = ", ".join(dataset.name for dataset in datasets) or "none yet"
        raise HttpError(422, f"There is no frozen dataset {name or ''} with posts to train on. There are: {known}.")
    return found


@router.get("/projects/{slug}/runs", response=list[RunOut], url_name="runs", summary="The latest hundred")
def runs(request: HttpRequest, slug: str, before: int = LARGEST) -> list[dict[str, Any]]:
    """For those that came earlier, `before` is the id of the last one."""
    listed = open_project(request, slug).runs.select_related("dataset", "by").defer("receipt")
    return [told(run) for run in listed.filter(pk__lt=max(0, min(before, LARGEST)))[:100]]


@router.post("/projects/{slug}/runs", response={202: RunDetail}, url_name="runs", summary="Start one")
def start(request: HttpRequest, slug: str, asked: RunIn) -> Status[dict[str, Any]]:
    """A worker of the gpu queue does it; watch its state and its points."""
    project = open_project(request, slug, Role.ADMIN)
    dataset = dataset_in(project, asked.dataset)
    recipe = asked.recipe or starting.usual_recipe(asked.base)
    try:
        config = starting.configured(dataset, recipe, asked.base, asked.settings)
        run = starting.begin(project, me(request), dataset, config, recipe)
    except (starting.NotUnderstood, runner.Refused) as problem:
        raise HttpError(422, str(problem)) from problem
    return Status(202, told(run, whole=True))


@router.get("/projects/{slug}/runs/{run_id}", response=RunDetail, url_name="run", summary="One of them")
def one(request: HttpRequest, slug: str, run_id: int) -> dict[str, Any]:
    return told(run_in(open_project(request, slug), run_id), whole=True)


@router.get("/projects/{slug}/runs/{run_id}/points", response=PointsOut, url_name="run_points", summary="Its curves")
def points(request: HttpRequest, slug: str, run_id: int, after: int = -1) -> dict[str, Any]:
    """Those after a step; an evaluation at that very step is told again, because it comes later than the step."""
    return watching.curves(run_in(open_project(request, slug), run_id), max(-1, min(after, LARGEST // 2)))


@router.post("/projects/{slug}/runs/{run_id}/stop", response={202: RunOut}, url_name="run_stop", summary="Stop it")
def stop(request: HttpRequest, slug: str, run_id: int) -> Status[dict[str, Any]]:
    """It saves a checkpoint first."""
    run = run_in(open_project(request, slug, Role.ADMIN), run_id)
    if not runner.stop(run, me(request)):
        raise HttpError(409, f"Run {run.pk} is not at work: {run.get_state_display().lower()}.")
    return Status(202, told(run_in(run.project, run.pk)))


@router.post(
    "/projects/{slug}/runs/{run_id}/resume", response={202: RunOut}, url_name="run_resume", summary="Go on with it"
)
def resume(request: HttpRequest, slug: str, run_id: int) -> Status[dict[str, Any]]:
    """From its last checkpoint."""
    run = run_in(open_project(request, slug, Role.ADMIN), run_id)
    if not starting.resume(run, me(request)):
        raise HttpError(409, f"Run {run.pk} cannot be resumed: {run.get_state_display().lower()}.")
    return Status(202, told(run_in(run.project, run.pk)))


def told(run: Run, whole: bool = False) -> dict[str, Any]:
    plain = ("recipe", "state", "doing", "step", "steps", "latest", "scores", "error", "created", "started", "ended")
    more = ("config", "receipt") if whole else ()
    return {name: getattr(run, name) for name in (*plain, *more)} | {
        "id": run.pk, "dataset": run.dataset.name, "base": run.config["model"],
        "by": run.by.username if run.by else None,
        "state": "interrupted" if run.is_silent else run.state,
    }  # fmt: skip
