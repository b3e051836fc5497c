"""Live answers over the API: the same functions as the playground."""

import base64
import binascii
from collections.abc import Callable
from functools import partial
from typing import Annotated, Any, Literal
from uuid import UUID

from django.http import Http404, HttpRequest, HttpResponse, JsonResponse
from django.urls import reverse
from ninja import Field, Router, Schema, Status
from ninja.errors import HttpError
from pydantic import ValidationError

from annotate.access import me, project_for
from annotate.models import Project, Role
from modeling.answering import claims, questions, told
from modeling.answering.body import NotRead, json_in
from modeling.models import ReplyState

router = Router(tags=["Answers"])
WAITING = (
    "Nobody has answered yet: a worker of the gpu queue takes it as soon as one is free. Ask this address again; "
    "it is kept for an hour."
)
RUN = {"type": "string", "description": "run-3, or 3; left out, the latest that is done."}
FORM = {"text": {"type": "string"}, "picture": {"type": "string", "format": "binary"}, "run": RUN}


class PostIn(Schema):
    id: Annotated[str | int, Field(description="As you call it; left out, its number.")] = ""
    text: str = ""
    picture_base64: str | None = None


class PostsIn(Schema):
    posts: Annotated[list[PostIn], Field(min_length=1, max_length=questions.MOST_AT_ONCE)]
    run: str | int = ""


POSTS = {"type": "array", "minItems": 1, "maxItems": questions.MOST_AT_ONCE, "items": PostIn.model_json_schema()}


class AnswerOut(Schema):
    id: str
    state: Literal["answered", "failed"]
    label: str | None
    confidence: float | None = Field(description="The probability of the label.")
    probabilities: dict[str, float] | None
    calibrated: bool = Field(description="By the run’s latest evaluation; else as the model says.")
    run: int
    seconds: float | None = Field(description="From the question to the answer.")
    error: str


class AnswersOut(Schema):
    id: UUID
    answers: list[AnswerOut]


class WaitingOut(Schema):
    id: UUID
    state: Literal["waiting"]
    address: str
    detail: str


def open_project(request: HttpRequest, slug: str) -> Project:
    return project_for(me(request), slug, Role.LEAD)[0]


@router.post(
    "/projects/{slug}/classify",
    response={200: AnswerOut | AnswersOut, 202: WaitingOut},
    url_name="classify",
    summary="Ask a run what a post says",
    openapi_extra={"requestBody": {"content": {
        "multipart/form-data": {"schema": {"type": "object", "properties": FORM}},
        "application/json": {"schema": {"type": "object", "properties": {"posts": POSTS, "run": RUN}}},
    }}},
)  # fmt: skip
def classify(request: HttpRequest, slug: str) -> Any:
    """One post as a form, with its picture as a file; or as JSON up to 64, each with a picture in base64 or without. It
    waits for up to 25 s; then the answer is fetched from the address that it gives."""
    project = open_project(request, slug)
    try:
        name, posts = read(request)
        run = questions.run_called(project, name.replace("\0", ""))
        questions.heed_limits(me(request), len(posts))
        batch = questions.ask(project, me(request), [looked_at() for looked_at in posts], [run])
    except NotRead as problem:
        raise HttpError(problem.status, str(problem)) from problem
    except questions.Refused as refusal:
        raise HttpError(422, str(refusal)) from refusal
    with questions.seated() as has_seat:
        questions.wait(batch, None if has_seat else 0)
    return answer_to(project, batch)


@router.get(
    "/projects/{slug}/answers/{answer_id}", response={200: AnswerOut | AnswersOut, 202: WaitingOut},
    url_name="answer", summary="What it said",
)  # fmt: skip
def answer(request: HttpRequest, slug: str, answer_id: UUID) -> Any:
    """For an hour after it was asked. To ask for it calls another worker, where the one that had it has died."""
    project = open_project(request, slug)
    claims.summon()
    return answer_to(project, answer_id)


# --- What is asked


Unseen = Callable[[], questions.Post]  # its picture is looked at when it is called


def read(request: HttpRequest) -> tuple[str, list[Unseen]]:
    """The run that is named, and the posts."""
    if request.content_type == "application/json":
        return many(json_in(request))
    picture = request.FILES.get("picture")
    if picture and (problem := questions.too_large(picture.size or 0)):
        raise questions.Refused(problem)
    text = request.POST.get("text", "")
    return request.POST.get("run", ""), [partial(questions.post_of, text, picture.read() if picture else None)]


def many(body: Any) -> tuple[str, list[Unseen]]:
    """Also as a bare list."""
    try:
        asked = PostsIn.model_validate({"posts": body} if isinstance(body, list) else body)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"]))
        raise questions.Refused(f"{place or 'The body'}: {first['msg']}.") from error
    return str(asked.run), [partial(numbered, number, post) for number, post in enumerate(asked.posts, start=1)]


def numbered(number: int, post: PostIn) -> questions.Post:
    try:
        picture = None if post.picture_base64 is None else base64.b64decode(post.picture_base64, validate=True)
        return questions.post_of(post.text, picture, str(post.id) or str(number))
    except (binascii.Error, ValueError) as error:
        raise questions.Refused(f"Post {number}: the picture’s base64 is damaged or cut off.") from error
    except questions.Refused as refusal:
        raise questions.Refused(f"Post {number}: {refusal}") from refusal


# --- What is answered


def answer_to(project: Project, batch: UUID) -> Any:
    said = told.told(told.replies_to(batch, project))
    if not said:
        raise Http404
    if any(one.is_waiting for one in said):
        address = reverse("api:answer", args=[project.slug, batch])
        return Status(202, {"id": batch, "state": "waiting", "address": address, "detail": WAITING})
    if said[0].reply.question.name:
        return {"id": batch, "answers": [one.as_json() for one in said]}
    return alone(said[0])


def alone(said: told.Told) -> dict[str, Any] | HttpResponse:
    if said.reply.state == ReplyState.FAILED:
        return JsonResponse({"detail": said.reply.error}, status=503)
    return said.as_json()
