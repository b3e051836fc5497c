"""Programs that keep webhooks: the same functions as the pages."""

from collections.abc import Iterable
from datetime import datetime
from typing import Annotated, Any

from django.http import HttpRequest
from django.shortcuts import get_object_or_404
from ninja import Field, Router, Schema, Status
from ninja.errors import HttpError

from .access import me, project_for
from .models import Delivery, Project, Role, Webhook
from .webhooks import keeping

router = Router(tags=["Webhooks"])
Words = Annotated[str, Field(max_length=500)]
MOST = 2**63


class WebhookIn(Schema):
    address: Words = Field(examples=["https://example.com/casting-vote"])
    kinds: Annotated[list[Words], Field(min_length=1, max_length=50)] = Field(examples=[["voting", "queue"]])
    note: Annotated[str, Field(max_length=120)] = ""
    private: bool = Field(default=False, description="It is inside our own network; only site admins may say so.")


class WebhookOut(Schema):
    id: int
    address: str
    kinds: list[str]
    note: str
    private: bool
    state: str
    why: str = Field(description="Why it was switched off.")
    failing_since: datetime | None


class WebhookMade(WebhookOut):
    secret: str = Field(description="Told this once: `whsec_…`, by which what is sent can be checked.")


class DeliveryOut(Schema):
    id: int
    message: str = Field(description="The `webhook-id` that it is sent with.")
    type: str
    state: str
    tries: int
    code: int | None
    ms: int | None
    said: str
    created: datetime
    tried: datetime | None
    due: datetime | None = Field(description="When it is tried next.")

    @staticmethod
    def resolve_type(delivery: Delivery) -> str:
        return delivery.kind

    @staticmethod
    def resolve_due(delivery: Delivery) -> datetime | None:
        return None if delivery.is_over else delivery.due


def of(request: HttpRequest, slug: str) -> Project:
    return project_for(me(request), slug, Role.ADMIN)[0]


def one_of(request: HttpRequest, slug: str, pk: int) -> Webhook:
    within = of(request, slug).webhooks.select_related("project")
    return get_object_or_404(within, pk=pk if pk < MOST else 0)


@router.get("/projects/{slug}/webhooks", response=list[WebhookOut], url_name="webhooks")
def webhooks(request: HttpRequest, slug: str) -> Iterable[Webhook]:
    return of(request, slug).webhooks.all()


@router.post("/projects/{slug}/webhooks", response={201: WebhookMade}, url_name="webhooks", summary="Add a webhook")
def add(request: HttpRequest, slug: str, asked: WebhookIn) -> Status[dict[str, Any]]:
    project = of(request, slug)
    try:
        made, secret = keeping.add(project, me(request), asked.address, asked.kinds, asked.note, asked.private)
    except keeping.Refused as refusal:
        raise HttpError(422, str(refusal)) from refusal
    return Status(201, {name: getattr(made, name) for name in WebhookOut.model_fields} | {"secret": secret})


@router.delete(
    "/projects/{slug}/webhooks/{webhook_id}", response={204: None}, url_name="webhook", summary="Delete a webhook"
)
def delete(request: HttpRequest, slug: str, webhook_id: int) -> Status[None]:
    keeping.delete(one_of(request, slug, webhook_id), me(request))
    return Status(204, None)


@router.get(
    "/projects/{slug}/webhooks/{webhook_id}/deliveries", response=list[DeliveryOut], url_name="webhook_deliveries",
    summary="The last messages, the newest first",
)  # fmt: skip
def deliveries(request: HttpRequest, slug: str, webhook_id: int, limit: int = 50) -> Iterable[Delivery]:
    return keeping.recent(one_of(request, slug, webhook_id))[: max(1, min(limit, 500))]


@router.post(
    "/projects/{slug}/webhooks/{webhook_id}/test", response={202: DeliveryOut}, url_name="webhook_test",
    summary="Send a test",
)  # fmt: skip
def test(request: HttpRequest, slug: str, webhook_id: int) -> Status[Delivery]:
    return Status(202, keeping.test(one_of(request, slug, webhook_id)))
