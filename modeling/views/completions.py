"""Runs behind the form of OpenAI's API, for programs that speak nothing else: /v1/chat/completions and /v1/models.

The key is a token of the account page; a model is called `<project>/run-<N>`, or `run-<N>`. Only the last message of
the user is read, as the post: a run answers the question that it was trained with, whatever a system message says.
"""

from collections.abc import Callable
from functools import wraps
from typing import Any
from uuid import UUID

from django.contrib.auth.decorators import login_not_required
from django.core.exceptions import PermissionDenied
from django.db import IntegrityError
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseBase, JsonResponse, StreamingHttpResponse
from django.views.decorators.cache import never_cache
from django.views.decorators.csrf import csrf_exempt

from annotate.access import project_for
from annotate.api import Token
from annotate.models import Project, Role, User
from annotate.operating.limits import TooFast
from modeling import openai_form
from modeling.answering import questions, told
from modeling.answering.body import NotRead, json_in
from modeling.models import ReplyState, Run
from modeling.openai_form import Answer, Asked, NotUnderstood

INVALID, LIMIT, SERVER = "invalid_request_error", "rate_limit_exceeded", "server_error"
NO_KEY = "Send a token of your account page as the API key: Authorization: Bearer …"
WRONG_KEY = "This token is not known here, or was revoked. Make one on your account page."
NOT_YET = (
    "No worker of the gpu queue has answered yet: it may be loading the model, or be at work on something else. "
    "Ask again in a moment."
)
FULL = "As many requests wait for an answer here as can. Ask again in a second."
AGAIN, AGAIN_SOON = 5, 1  # seconds
View = Callable[..., HttpResponseBase]


class Wrong(Exception):
    def __init__(self, status: int, words: str, kind: str, code: str, param: str = "", after: int = 0) -> None:
        super().__init__(words)
        self.status, self.kind, self.code, self.param, self.after = status, kind, code, param, after

    @property
    def response(self) -> JsonResponse:
        told = openai_form.error(str(self), self.kind, self.code, self.param)
        headers = {"Retry-After": str(self.after)} if self.after else {}
        if self.status == 401:
            headers["WWW-Authenticate"] = "Bearer"
        return JsonResponse(told, status=self.status, headers=headers)


def door(method: str) -> Callable[[View], View]:
    """Whatever goes wrong is told in OpenAI's form, or their clients show nothing of it."""

    def decorate(view: View) -> View:
        @csrf_exempt
        @login_not_required
        @never_cache
        @wraps(view)
        def inner(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
            try:
                if request.method != method:
                    raise Wrong(405, f"This address takes {method}.", INVALID, "method_not_allowed")
                return view(request, bearer(request), *args, **kwargs)
            except Wrong as wrong:
                return wrong.response

        return inner

    return decorate


def bearer(request: HttpRequest) -> User:
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not token.strip():
        raise Wrong(401, NO_KEY, INVALID, "invalid_api_key")
    try:
        user = Token().authenticate(request, token.strip())
    except TooFast as refusal:
        raise Wrong(429, str(refusal), LIMIT, LIMIT, after=refusal.seconds) from refusal
    if user is None:
        raise Wrong(401, WRONG_KEY, INVALID, "invalid_api_key")
    return user


@door("POST")
def completions(request: HttpRequest, user: User) -> HttpResponseBase:
    asked = understood(request)
    run = run_called(user, asked.model)
    with questions.seated() as has_seat:
        if not has_seat:
            raise Wrong(429, FULL, LIMIT, LIMIT, after=AGAIN_SOON)
        batch = put(user, run, asked)
        questions.wait(batch)
    return written(asked, answered(batch, asked.model))


def understood(request: HttpRequest) -> Asked:
    try:
        return openai_form.read(json_in(request))
    except NotRead as problem:
        raise Wrong(problem.status, str(problem), INVALID, "body") from problem
    except NotUnderstood as problem:
        raise Wrong(400, str(problem), INVALID, "invalid_value", problem.param) from problem


def put(user: User, run: Run, asked: Asked) -> UUID:
    try:
        questions.heed_limits(user, 1)
        post = questions.post_of(asked.text, asked.picture)
        return questions.ask(run.project, user, [post], [run])
    except TooFast as refusal:
        raise Wrong(429, str(refusal), LIMIT, LIMIT, after=refusal.seconds) from refusal
    except questions.Refused as problem:
        raise Wrong(400, str(problem), INVALID, "invalid_value", "messages") from problem
    except IntegrityError as problem:
        raise gone(asked.model) from problem


def gone(model: str) -> Wrong:
    return Wrong(404, f"“{model[:80]}” was deleted while it was asked.", INVALID, "model_not_found", "model")


def answered(batch: UUID, model: str) -> Answer:
    """Whoever is sent away asks anew, so what nobody answered in time is asked no more."""
    replies = told.replies_to(batch)
    questions.withdraw(batch)
    if not replies:
        raise gone(model)
    [said] = told.told(replies)
    if said.reply.state == ReplyState.FAILED:
        raise Wrong(500, said.reply.error, SERVER, "model_failed")
    if said.probabilities is None:
        raise Wrong(503, NOT_YET, SERVER, "not_ready", after=AGAIN)
    return Answer(batch.hex, int(said.reply.question.asked.timestamp()), model, said.probabilities)


def written(asked: Asked, answer: Answer) -> HttpResponseBase:
    if asked.stream:
        return StreamingHttpResponse(openai_form.stream(asked, answer), content_type="text/event-stream")
    return JsonResponse(openai_form.completion(asked, answer))


# --- Which models there are


@door("GET")
def models(request: HttpRequest, user: User) -> HttpResponse:
    runs = questions.askable(Project.objects.led_by(user))
    return JsonResponse({"object": "list", "data": [as_model(run) for run in runs]})


@door("GET")
def model(request: HttpRequest, user: User, name: str) -> HttpResponse:
    return JsonResponse(as_model(run_called(user, name)))


def as_model(run: Run) -> dict[str, Any]:
    made = int((run.ended or run.created).timestamp())
    return {"id": f"{run.project.slug}/run-{run.pk}", "object": "model", "created": made, "owned_by": run.project.slug}


def run_called(user: User, name: str) -> Run:
    """Strangers are told what they would be told of a run that does not exist."""
    unknown = Wrong(
        404, f"There is no model “{name[:80]}” for you here: see /v1/models.", INVALID, "model_not_found", "model"
    )
    named = openai_form.MODEL.fullmatch(name)
    run = Run.objects.select_related("project").filter(pk=int(named["run"])).first() if named else None
    if named is None or run is None or named["slug"] not in (None, run.project.slug):
        raise unknown
    try:
        project, _ = project_for(user, run.project.slug, Role.LEAD)
        return questions.run_called(project, str(run.pk))
    except Http404 as problem:
        raise unknown from problem
    except PermissionDenied as problem:
        raise Wrong(403, str(problem), INVALID, "permission_denied", "model") from problem
    except questions.Refused as problem:
        raise Wrong(404, str(problem), INVALID, "model_not_found", "model") from problem
