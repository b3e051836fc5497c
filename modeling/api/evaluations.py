"""Evaluations over the API: the same functions as the pages."""

from datetime import datetime
from typing import Annotated, Any, Literal

import numpy as np
from django.db import transaction
from django.http import HttpRequest
from django.shortcuts import get_object_or_404
from ninja import Field, Router, Schema, Status
from ninja.errors import HttpError

from annotate.access import me
from annotate.models import Event, Project, Role
from modeling.evaluation import evaluating, leaderboard, predictors, told
from modeling.evaluation.answers import label_names
from modeling.evaluation.posts import heat_of
from modeling.forms.evaluations import problem_with
from modeling.measures import calibration
from modeling.models import Dataset, Evaluation, Prediction

from .runs import LARGEST, open_project

router = Router(tags=["Evaluations"])
A_PAGE = 1000
Way = Literal["both", "text", "picture"]


class EvaluationIn(Schema):
    predictor: Annotated[
        str,
        Field(max_length=400, description="run-N, base:MODEL, consensus, majority, text, text-cv, or a voter’s name."),
    ]
    on: Annotated[Literal["holdout", "test", "validation"], Field(description="The split of the dataset.")] = "holdout"
    dataset: Annotated[str, Field(description="Left out, the latest that is frozen.", examples=["v1"])] = ""
    sees: Annotated[list[Way], Field(min_length=1, description="Of a model: in which ways it is asked.")] = ["both"]
    bits: Annotated[int, Field(description="A weight of a model: 4, 8 or 16; 0: as it was trained.")] = 0
    merged: Annotated[bool, Field(description="What a run learnt is added to the weights first.")] = False
    shots: Annotated[int, Field(description="Examples of each label, from the train split alone.")] = 0


class EvaluationOut(Schema):
    id: int
    name: str
    predictor: dict[str, Any]
    sees: str
    dataset: str
    split: str
    test_hash: str
    state: str
    doing: str
    done: int
    total: int
    error: str
    macro_f1: dict[str, Any] | None = Field(description="Value, and its 95% interval.")
    by: str | None
    created: datetime
    started: datetime | None
    ended: datetime | None


class EvaluationDetail(EvaluationOut):
    measured: dict[str, Any] = Field(description="All figures; see the page.")
    used: dict[str, Any]
    compared: list[dict[str, Any]] = Field(description="With the latest of each on the same test set, from this one.")


class PredictionOut(Schema):
    position: int
    id: str
    truth: str
    told: str = Field(description="Blank: no answer.")
    confidence: float | None = Field(description="As it was stated, where it was.")
    probabilities: dict[str, float] | None


def evaluation_in(project: Project, evaluation_id: int) -> Evaluation:
    found = project.evaluations.select_related("dataset", "dataset__project", "project", "by")
    return get_object_or_404(found, pk=evaluation_id if 0 < evaluation_id <= LARGEST else 0)


def dataset_in(project: Project, name: str) -> Dataset:
    name, frozen = name.replace("\0", ""), project.datasets.frozen()
    found = (frozen.filter(name=name) if name else frozen).first()
    if found is None:
        raise HttpError(422, f"There is no frozen dataset {name}.".replace(" .", "."))
    return found


@router.get(
    "/projects/{slug}/evaluations", response=list[EvaluationOut], url_name="evaluations", summary="The latest hundred"
)
def evaluations(request: HttpRequest, slug: str, before: int = LARGEST, test_hash: str = "") -> list[dict[str, Any]]:
    """For those that came earlier, `before` is the id of the last one. With `test_hash`, of one test set alone."""
    listed = open_project(request, slug).evaluations.filter(pk__lt=max(0, min(before, LARGEST)))
    if test_hash:
        listed = listed.filter(test_hash=test_hash.replace("\0", ""))
    found: list[Any] = list(leaderboard.with_figures(listed)[:100])
    return [as_told(one, one.macro_f1) for one in found]


@router.post(
    "/projects/{slug}/evaluations", response={202: list[EvaluationOut]}, url_name="evaluations", summary="Ask one"
)
def ask(request: HttpRequest, slug: str, asked: EvaluationIn) -> Status[list[dict[str, Any]]]:
    """In each of the ways, as an evaluation of its own. A worker does it; watch its state."""
    project = open_project(request, slug, Role.ADMIN)
    dataset, by = dataset_in(project, asked.dataset), me(request)
    try:
        named = predictors.named(project, asked.predictor.replace("\0", ""))
        predictor = predictors.changed(named, bits=asked.bits, merged=asked.merged, shots=asked.shots)
        if predictor.kind == "base" and (problem := problem_with(predictor, by)):
            raise HttpError(422, problem)
        with transaction.atomic():
            ways = dict.fromkeys(asked.sees)
            made = [evaluating.ask(project, by, dataset, asked.on, predictor, sees) for sees in ways]
    except (predictors.Unknown, evaluating.Refused) as refusal:
        raise HttpError(422, str(refusal)) from refusal
    return Status(202, [as_told(one, None) for one in made])


@router.get(
    "/projects/{slug}/evaluations/{evaluation_id}", response=EvaluationDetail, url_name="evaluation",
    summary="One of them",
)  # fmt: skip
def one(request: HttpRequest, slug: str, evaluation_id: int) -> dict[str, Any]:
    shown = evaluation_in(open_project(request, slug), evaluation_id)
    compared = [
        {"evaluation": other.pk, "name": other.name, "sees": other.sees, **difference.as_json()}
        for other, difference in told.compared(shown)
    ]
    figures = shown.measured.get("figures")
    whole = {"measured": shown.measured, "used": shown.used, "compared": compared}
    return as_told(shown, figures and figures["macro_f1"]) | whole


@router.get(
    "/projects/{slug}/evaluations/{evaluation_id}/predictions", response=list[PredictionOut],
    url_name="evaluation_predictions", summary="What it said of each post",
)  # fmt: skip
def predictions(request: HttpRequest, slug: str, evaluation_id: int, after: int = -1) -> list[dict[str, Any]]:
    """A thousand at a time, in the order of the dataset; for those that follow, `after` is the last one's position."""
    shown = evaluation_in(open_project(request, slug), evaluation_id)
    # As for the file: the true label of each post, of the locked test set too.
    Event.record("evaluation downloaded", user=me(request), project=shown.project, evaluation=shown.pk, format="api")
    names, heat = label_names(shown.dataset), heat_of(shown)
    said = told.said_by(shown).filter(item__position__gt=max(-1, min(after, 2**31 - 1)))
    return [as_prediction(one, names, heat) for one in said.order_by("item__position")[:A_PAGE]]


@router.post(
    "/projects/{slug}/evaluations/{evaluation_id}/stop", response={202: EvaluationOut}, url_name="evaluation_stop",
    summary="Stop it",
)  # fmt: skip
def stop(request: HttpRequest, slug: str, evaluation_id: int) -> Status[dict[str, Any]]:
    """What was answered is kept."""
    shown = evaluation_in(open_project(request, slug, Role.ADMIN), evaluation_id)
    if not evaluating.stop(shown, me(request)):
        raise HttpError(409, f"Evaluation {shown.pk} is not at work: {shown.get_state_display().lower()}.")
    return Status(202, as_told(evaluation_in(shown.project, shown.pk), None))


@router.post(
    "/projects/{slug}/evaluations/{evaluation_id}/resume", response={202: EvaluationOut}, url_name="evaluation_resume",
    summary="Go on with it",
)  # fmt: skip
def resume(request: HttpRequest, slug: str, evaluation_id: int) -> Status[dict[str, Any]]:
    """Who has answered is not asked again, where it is the same machine that goes on."""
    shown = evaluation_in(open_project(request, slug, Role.ADMIN), evaluation_id)
    if not evaluating.resume(shown, me(request)):
        raise HttpError(409, f"Evaluation {shown.pk} cannot be resumed: {shown.get_state_display().lower()}.")
    return Status(202, as_told(evaluation_in(shown.project, shown.pk), None))


def as_told(one: Evaluation, macro_f1: dict[str, Any] | None) -> dict[str, Any]:
    plain = ("name", "predictor", "sees", "split", "test_hash", "doing", "done", "total", "error", "created", "started",
             "ended")  # fmt: skip
    return {name: getattr(one, name) for name in plain} | {
        "id": one.pk, "dataset": one.dataset.name, "macro_f1": macro_f1, "by": one.by.username if one.by else None,
        "state": "interrupted" if one.is_silent else one.state,
    }  # fmt: skip


def as_prediction(said: Prediction, names: tuple[str, ...], heat: float) -> dict[str, Any]:
    chances = calibration.apply(np.array([said.scores]), heat)[0].tolist() if said.scores else None
    return {
        "position": said.item.position, "id": said.item.external_id, "truth": said.item.label, "told": said.label,
        "confidence": said.confidence, "probabilities": chances and dict(zip(names, chances, strict=True)),
    }  # fmt: skip
