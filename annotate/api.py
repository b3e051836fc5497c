"""The JSON API: the same functions as the pages, under the same rules. Its browser is at /api/docs."""

import json
import tempfile
from collections.abc import Iterable
from datetime import datetime, timedelta
from decimal import Decimal
from typing import IO, Any

from django.conf import settings
from django.core.exceptions import PermissionDenied
from django.core.files import File
from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.shortcuts import get_object_or_404
from django.urls import URLPattern
from django.utils import timezone
from ninja import Field, NinjaAPI, Query, Schema, Status
from ninja.errors import HttpError
from ninja.parser import Parser
from ninja.security import HttpBearer, SessionAuth

from . import removing
from .access import client_address, me, project_for
from .api_doubts import router as doubts_router
from .api_events import router as events_router
from .api_review import LabelOut, router
from .api_webhooks import router as webhooks_router
from .blindness import knows_label, reader_of
from .browse import Filters, matching, page_of
from .funnel import funnel_of
from .importing import doors
from .importing.cells import storable
from .importing.columns import VOTER_NAME
from .importing.rows import Unreadable
from .models import ApiToken, ImportRun, Post, Project, Role, User, Vote
from .models.people import digest
from .operating.limits import MINUTE, Limit, TooFast, spend
from .views import media

CHUNK = 1024 * 1024


# By hand, because every request asks it, and putting it into words costs Django more than PostgreSQL the answer.
WHO = """
SELECT person.*, token.id AS token, token.last_used FROM annotate_apitoken AS token
JOIN annotate_user AS person ON person.id = token.user_id WHERE token.digest = %s AND person.is_active
"""


# What a request counts. Reading and reviewing is 1; what puts work on others, and an upload, is as much as ten of them.
HEAVY = 10
LIGHT = {"queue_next", "queue_renew", "queue_release", "disagreement_votes", "review", "completions"}


def heed_pace(request: HttpRequest, person: User) -> None:
    """All programs of a person together: more tokens are no more requests."""
    at = request.resolver_match
    is_light = request.method in {"GET", "HEAD"} or (at is not None and at.url_name in LIGHT)
    limit = Limit("api", settings.API_PER_MINUTE, MINUTE, "requests")
    spend(limit, person.pk, min(1 if is_light else HEAVY, limit.most))


def heed_strangers(request: HttpRequest) -> None:
    """A token cannot be guessed; but to look each up costs us as much as it costs them."""
    spend(Limit("unknown token", settings.API_PER_MINUTE, MINUTE, "requests"), client_address(request))


class Token(HttpBearer):
    def authenticate(self, request: HttpRequest, token: str) -> User | None:
        found: Any = next(iter(User.objects.raw(WHO, [digest(token)])), None)
        if found is None:
            heed_strangers(request)
            return None
        heed_pace(request, found)
        now = timezone.now()
        if not found.last_used or found.last_used < now - timedelta(minutes=1):
            ApiToken.objects.filter(pk=found.token).update(last_used=now)
        person: User = found
        request.user = person
        return person


class Browser(SessionAuth):
    """A program without a token that counts is told so, and not of forged requests: those need a session."""

    def _get_key(self, request: HttpRequest) -> str | None:
        return super()._get_key(request) if request.user.is_authenticated else None

    def authenticate(self, request: HttpRequest, key: str | None) -> Any:
        if known := super().authenticate(request, key):
            heed_pace(request, me(request))
        return known


TOO_FAST: dict[str, Any] = {
    "description": "Too many requests: `detail` says so in words, and `Retry-After` after how many seconds to go on.",
    "headers": {"Retry-After": {"schema": {"type": "integer"}}},
    "content": {"application/json": {"schema": {"type": "object", "properties": {"detail": {"type": "string"}}}}},
}

REFUSED: dict[str, Any] = {
    "description": "Refused: `detail` says why, in words; where a field is at fault, as a list that names the fields.",
    "content": {"application/json": {"schema": {
        "type": "object", "required": ["detail"],
        "properties": {"detail": {"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "object"}}]}},
    }}},
}  # fmt: skip


class NotKept(ValueError):
    """The words are for whoever sent it."""


class Body(Parser):
    """What Python reads as JSON and no database keeps is refused here, once, wherever in the body it stands."""

    def parse_body(self, request: HttpRequest) -> dict[str, Any]:
        told = super().parse_body(request)
        try:
            json.dumps(told, ensure_ascii=False, allow_nan=False).encode()
        except UnicodeEncodeError as problem:
            raise NotKept("A text in the body holds half of a surrogate pair, which is no sign.") from problem
        except ValueError as problem:
            raise NotKept("A number in the body is none: NaN and infinity are no JSON.") from problem
        return told


class Api(NinjaAPI):
    def get_openapi_schema(self, **asked: Any) -> Any:
        """With what every operation may answer."""
        schema = super().get_openapi_schema(**asked)
        for operations in schema["paths"].values():
            for operation in operations.values():
                operation["responses"].setdefault(429, TOO_FAST)
                operation["responses"].setdefault("4XX", REFUSED)
        return schema


api = Api(
    title="Casting Vote",
    version="1",
    urls_namespace="api",
    parser=Body(),
    auth=[Token(), Browser()],
    description=(
        "Make a token on your account page and send it as `Authorization: Bearer …`. All programs of a person together "
        f"may ask {settings.API_PER_MINUTE:,} times a minute, and as often at once after a pause; whatever starts work "
        f"or uploads counts as {HEAVY} requests. Beyond that the answer is 429, and `Retry-After` says when to go on."
        if settings.API_PER_MINUTE
        else "Make a token on your account page and send it as `Authorization: Bearer …`."
    ),
)


@api.exception_handler(TooFast)
def too_fast(request: HttpRequest, refusal: TooFast) -> HttpResponse:
    return refusal.response


@api.exception_handler(HttpError)
def refused(request: HttpRequest, error: HttpError) -> HttpResponse:
    """Whatever a parser raises, ninja says of it no more than that the body cannot be read."""
    told = error.__cause__ if isinstance(error.__cause__, NotKept) else error
    return api.create_response(request, {"detail": str(told)}, status=error.status_code)


@api.exception_handler(PermissionDenied)
def denied(request: HttpRequest, error: PermissionDenied) -> HttpResponse:
    return api.create_response(request, {"detail": str(error) or "Your role does not allow this."}, status=403)


class ProjectOut(Schema):
    slug: str
    name: str
    question: str
    asks_incongruous: bool
    synthetic: bool


class FunnelOut(Schema):
    imported: int
    voted: int
    waiting: int
    settled: int
    contested: int
    aside: int
    reviewed: int
    holdout: int
    spent: Decimal | None


class ProjectDetail(ProjectOut):
    guidelines: str
    labels: list[LabelOut]
    role: Role
    funnel: FunnelOut


class VoteOut(Schema):
    voter: str
    label: str | None
    confidence: float | None
    reason: str

    @staticmethod
    def resolve_voter(vote: Vote) -> str:
        return vote.voter.name

    @staticmethod
    def resolve_label(vote: Vote) -> str | None:
        return vote.label.name if vote.label else None


class PostOut(Schema):
    id: int
    external_id: str
    text: str
    at: datetime
    source: str
    state: str
    label: str | None = Field(description="Of the locked test set (`holdout`) told to leads and admins alone.")
    label_source: str
    incongruous: bool | None
    holdout: bool
    votes: int
    image: str | None

    @staticmethod
    def resolve_label(post: Post, context: dict[str, Any]) -> str | None:
        return post.label.name if post.label and knows_label(reader_of(context["request"]), post) else None

    @staticmethod
    def resolve_label_source(post: Post, context: dict[str, Any]) -> str:
        return post.label_source if knows_label(reader_of(context["request"]), post) else ""

    @staticmethod
    def resolve_incongruous(post: Post, context: dict[str, Any]) -> bool | None:
        return post.incongruous if knows_label(reader_of(context["request"]), post) else None

    @staticmethod
    def resolve_votes(post: Post) -> int:
        return post.vote_count

    @staticmethod
    def resolve_image(post: Post) -> str | None:
        return post.image.file_name if post.image else None


class PostDetail(PostOut):
    meta: dict[str, Any]
    all_votes: list[VoteOut]

    @staticmethod
    def resolve_meta(post: Post, context: dict[str, Any]) -> dict[str, Any]:
        """The label may be among what came with the post, under any name."""
        return post.meta if knows_label(reader_of(context["request"]), post) else {}

    @staticmethod
    def resolve_all_votes(post: Post) -> Iterable[Vote]:
        return post.votes.select_related("voter", "label").order_by("voter__name")


class PostPage(Schema):
    posts: list[PostOut]
    after: str  # pass it on to get the next page; blank on the last


class FiltersIn(Schema):
    state: str = ""
    label: str = ""
    source: str = ""
    voter: str = ""
    said: str = ""
    other: str = ""
    other_said: str = ""
    answers: str = ""
    template: str = ""
    since: str = ""
    until: str = ""
    q: str = ""
    holdout: str = ""
    voted: str = ""
    flag: str = ""
    reviewer: str = ""
    order: str = ""


class ImportOut(Schema):
    id: int
    name: str
    state: str
    total: int | None
    imported: int
    already: int
    refused: int
    votes: int
    error: str


def open_project(request: HttpRequest, slug: str, least: Role = Role.REVIEWER) -> Project:
    project, role = project_for(me(request), slug, least)
    request.role = role  # type: ignore[attr-defined]
    return project


@api.get("/projects", response=list[ProjectOut])
def projects(request: HttpRequest) -> Iterable[Project]:
    return Project.objects.seen_by(me(request))


@api.get("/projects/{slug}", response=ProjectDetail)
def project(request: HttpRequest, slug: str) -> dict[str, Any]:
    found = open_project(request, slug)
    plain = {name: getattr(found, name) for name in (*ProjectOut.model_fields, "guidelines")}
    role: Role = request.role  # type: ignore[attr-defined]
    return plain | {"labels": list(found.labels.all()), "role": role, "funnel": funnel_of(found)}


@api.get("/projects/{slug}/posts", response=PostPage)
def posts(
    request: HttpRequest, slug: str, filters: Query[FiltersIn], after: str = "", limit: int = 100
) -> dict[str, object]:
    asked = Filters.from_query(filters.dict())
    match = matching(open_project(request, slug), asked, reader_of(request))
    if match.mend:
        raise HttpError(422, " ".join(match.mend))
    page = page_of(match.posts, asked, {"after": after}, size=max(1, min(limit, 500)))
    return {"posts": page.posts, "after": page.after}


@api.get("/projects/{slug}/posts/{post_id}", response=PostDetail)
def post(request: HttpRequest, slug: str, post_id: int) -> Post:
    within = open_project(request, slug).posts.select_related("label", "image")
    return get_object_or_404(within, pk=post_id if post_id < 2**63 else 0)


@api.delete("/projects/{slug}/posts/{post_id}", response={204: None}, summary="Remove a post for good")
def remove_post(request: HttpRequest, slug: str, post_id: int, reason: str = "") -> Status[None]:
    """For legal reasons: with its votes, its answers and its picture. It cannot be undone, and it cannot come back."""
    within = open_project(request, slug, Role.ADMIN).posts.defer("search")
    going = get_object_or_404(within, pk=post_id if post_id < 2**63 else 0)
    try:
        removing.remove(going, me(request), reason)
    except removing.NotRemoved as refusal:
        raise HttpError(422, str(refusal)) from refusal
    return Status(204, None)


@api.get("/projects/{slug}/images/{name}", openapi_extra={"responses": {200: {"description": "The picture."}}})
def image(request: HttpRequest, slug: str, name: str) -> HttpResponseBase:
    return media.image(request, slug, name)


@api.post(
    "/projects/{slug}/posts",
    response={202: ImportOut},
    summary="Import posts as NDJSON",
    openapi_extra={"requestBody": {"content": {"application/x-ndjson": {"schema": {"type": "string"}}}}},
)
def import_posts(request: HttpRequest, slug: str, holdout: bool = False, voter: str = "") -> Status[ImportRun]:
    """One JSON object a line: `text`, and as wanted `id`, `label`, `date`, `source`, and a key for each voter. A
    classifier's `predictions`, a list of labels with scores, become votes of `voter`; for posts that are there, `id`
    and `predictions` are enough."""
    within = open_project(request, slug, Role.ADMIN)
    with tempfile.TemporaryFile() as body:
        take_in(request, body)
        body.seek(0)
        try:
            run = doors.receive(within, me(request), File(body, name="api.jsonl"))
        except Unreadable as problem:
            raise HttpError(507, str(problem)) from problem
    name = storable(voter).strip()[:VOTER_NAME]
    run.options, run.holdout = {"format": "jsonl"} | ({"voter": name} if name else {}), holdout
    doors.begin(run)
    return Status(202, run)


def take_in(request: HttpRequest, body: IO[bytes]) -> None:
    """Django reads nothing where no length is stated, as programs do that stream; the server knows where it ends."""
    streamed = request.headers.get("Transfer-Encoding", "").lower() == "chunked"
    source = request.META["wsgi.input"] if streamed else request
    while chunk := source.read(CHUNK):
        body.write(chunk)
        if body.tell() > settings.UPLOAD_MAX_BYTES:
            raise HttpError(413, f"More than {settings.UPLOAD_MAX_BYTES:,} bytes; send it in parts.")
    stated = request.META.get("CONTENT_LENGTH") or "0"
    if not streamed and stated.isdecimal() and body.tell() < int(stated):
        raise HttpError(400, "The body broke off before its end; send it again.")
    if not body.tell():
        raise HttpError(422, "The body is empty; send one JSON object a line.")


@api.get("/projects/{slug}/imports/{import_id}", response=ImportOut)
def import_state(request: HttpRequest, slug: str, import_id: int) -> ImportRun:
    within = open_project(request, slug, Role.ADMIN).imports
    return get_object_or_404(within, pk=import_id if import_id < 2**63 else 0)


api.add_router("", router)
api.add_router("", doubts_router)
api.add_router("", events_router)
api.add_router("", webhooks_router)


def mounted() -> tuple[Any, ...]:
    """With the wings' routers, which `urls` adds. The API asks for its own authentication; its documentation stays
    behind the login."""
    urls: tuple[Any, ...] = api.urls
    for pattern in urls[0]:
        if isinstance(pattern, URLPattern) and pattern.name not in {"openapi-view", "openapi-json"}:
            pattern.callback.login_required = False  # type: ignore[attr-defined]
    return urls
