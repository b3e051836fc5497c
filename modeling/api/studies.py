"""Studies over the API: the same functions as the pages and the command."""

from datetime import datetime
from typing import Annotated, Any, Literal

from django.http import HttpRequest
from django.shortcuts import get_object_or_404
from ninja import Field, Router, Schema, Status
from ninja.errors import HttpError

from annotate.access import me
from annotate.models import Project, Role
from modeling.models import MOST_PARTS, Study
from modeling.studying import studies, watching
from modeling.studying.studies import Plan
from modeling.training import runner, starting

from .runs import LARGEST, RunIn, dataset_in, open_project

router = Router(tags=["Studies"])


class StudyIn(RunIn):
    kind: Annotated[Literal["folds", "curve"], Field(description="Folds, or a learning curve.")] = "folds"
    folds: Annotated[int, Field(ge=studies.FEWEST_FOLDS, le=MOST_PARTS, description="A run each.")] = 5
    shares: Annotated[
        list[float], Field(max_length=MOST_PARTS, description="Of the train split, a run each.", examples=[[0.25, 1]])
    ] = [0.1, 0.25, 0.5, 1.0]
    seed: Annotated[int, Field(ge=0, lt=2**31, description="The same seed draws the same posts.")] = 0


class PartOut(Schema):
    part: str
    run: int | None
    state: str
    posts: dict[str, int] = Field(description="Learnt from, validated on, asked about.")
    evaluations: list[int]


class StudyOut(Schema):
    id: int
    kind: str
    dataset: str
    recipe: str
    base: str
    state: str
    done: int = Field(description="Parts that are trained and asked.")
    of: int
    error: str
    by: str | None
    created: datetime
    ended: datetime | None


class StudyDetail(StudyOut):
    doing: str
    seconds_left: int | None
    parts: list[PartOut]
    seed: int
    config: dict[str, Any]
    measured: dict[str, Any] = Field(description="Of folds together and over the runs; of a curve point by point.")


def study_in(project: Project, study_id: int) -> Study:
    found = project.studies.select_related("dataset", "dataset__project", "project", "by").defer("drawn")
    return get_object_or_404(found, pk=study_id if 0 < study_id <= LARGEST else 0)


@router.get("/projects/{slug}/studies", response=list[StudyOut], url_name="studies", summary="The latest fifty")
def listed(request: HttpRequest, slug: str, before: int = LARGEST) -> list[dict[str, Any]]:
    """For those that came earlier, `before` is the id of the last one."""
    found = open_project(request, slug).studies.select_related("dataset", "dataset__project", "project", "by")
    page = found.defer("drawn").filter(pk__lt=max(0, min(before, LARGEST)))[:50]
    return [told(watch) for watch in watching.watch_all(list(page))]


@router.post("/projects/{slug}/studies", response={202: StudyDetail}, url_name="studies", summary="Start one")
def start(request: HttpRequest, slug: str, asked: StudyIn) -> Status[dict[str, Any]]:
    """Its runs wait in the gpu queue; watch its state."""
    project = open_project(request, slug, Role.ADMIN)
    dataset = dataset_in(project, asked.dataset)
    recipe = asked.recipe or starting.usual_recipe(asked.base)
    try:
        config = starting.configured(dataset, recipe, asked.base, asked.settings)
        plan = Plan(asked.kind, asked.folds, asked.shares, asked.seed)
        study = studies.begin(project, me(request), dataset, config, recipe, plan)
    except (starting.NotUnderstood, studies.Refused, runner.Refused) as problem:
        raise HttpError(422, str(problem)) from problem
    return Status(202, told(watching.watch(study), whole=True))


@router.get("/projects/{slug}/studies/{study_id}", response=StudyDetail, url_name="study", summary="One of them")
def one(request: HttpRequest, slug: str, study_id: int) -> dict[str, Any]:
    return told(watching.watch(study_in(open_project(request, slug), study_id)), whole=True)


@router.post(
    "/projects/{slug}/studies/{study_id}/stop", response={202: StudyOut}, url_name="study_stop", summary="Stop it"
)
def stop(request: HttpRequest, slug: str, study_id: int) -> Status[dict[str, Any]]:
    """The part at work saves a checkpoint first."""
    study = study_in(open_project(request, slug, Role.ADMIN), study_id)
    if not studies.stop(study, me(request)):
        raise HttpError(409, f"{study} is not at work: {study.get_state_display().lower()}.")
    return Status(202, told(watching.watch(study_in(study.project, study.pk))))


@router.post(
    "/projects/{slug}/studies/{study_id}/resume", response={202: StudyOut}, url_name="study_resume",
    summary="Go on with it",
)  # fmt: skip
def resume(request: HttpRequest, slug: str, study_id: int) -> Status[dict[str, Any]]:
    """What is done stands; each other part goes on from its last checkpoint."""
    study = study_in(open_project(request, slug, Role.ADMIN), study_id)
    if not studies.resume(study, me(request)):
        raise HttpError(409, f"{study} cannot be resumed: {study.get_state_display().lower()}.")
    return Status(202, told(watching.watch(study_in(study.project, study.pk))))


def told(watch: watching.Watch, whole: bool = False) -> dict[str, Any]:
    study = watch.study
    plain = ("kind", "recipe", "state", "error", "created", "ended", *(("seed", "config", "measured") if whole else ()))
    return {name: getattr(study, name) for name in plain} | {
        "id": study.pk, "dataset": study.dataset.name, "base": study.config["model"], "done": watch.done,
        "of": len(watch.parts), "by": study.by.username if study.by else None, "seconds_left": watch.seconds_left,
        "doing": "" if study.is_over else watch.doing, "parts": [part_told(part) for part in watch.parts],
    }  # fmt: skip


def part_told(part: watching.Part) -> dict[str, Any]:
    return {
        "part": part.words, "run": part.run.pk if part.run else None, "state": part.state, "posts": part.posts,
        "evaluations": [one.pk for one in part.evaluations],
    }  # fmt: skip
