"""What happens becomes messages, one for each webhook that is to be told; written where the event is written."""

import json
from datetime import UTC, datetime
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from django.conf import settings
from django.urls import NoReverseMatch, reverse
from django_q.tasks import async_task

from annotate.models.webhook import Delivery, Webhook, WebhookState

from . import kinds

if TYPE_CHECKING:
    from annotate.models import Event, Project


def tell(event: "Event", project: "Project") -> None:
    """Inside the event's transaction: told of is what happened, and all of it. Where nobody listens it is one look at
    an index."""
    kind = kinds.kind_of(event.verb)
    if not kind:
        return
    listening = Webhook.objects.filter(project=project, state=WebhookState.ON, kinds__contains=[kind])
    for webhook in listening:
        body = written(kinds.TYPES[event.verb], event.at, told(event, project))
        Delivery.objects.create(webhook=webhook, event=event.pk, kind=kinds.TYPES[event.verb], body=body)
        if webhook.failing_since is None:  # one that fails is tried once a minute, and no queue is filled with it
            enqueue(webhook)


def enqueue(webhook: Webhook) -> None:
    async_task("annotate.tasks.deliver", webhook.pk, task_name=f"webhook {webhook.pk}")


def told(event: "Event", project: "Project") -> dict[str, object]:
    """Numbers and addresses; never what posts or people say."""
    return {
        **kinds.sayable(event.data),
        "id": event.pk,
        "verb": event.verb,
        "project": project.slug,
        "address": settings.SITE_URL + address_of(event.verb, event.data, project.slug),
        **({"by": event.user_id} if event.user_id else {}),
    }


def address_of(verb: str, data: dict[str, Any], slug: str) -> str:
    """The page of what it is about; else the project's."""
    place = kinds.place_of(verb, data)
    try:
        return page(place[0], slug, *place[1]) if place else page("project", slug)
    except NoReverseMatch:  # a name that no page can have
        return page("project", slug)


@lru_cache(maxsize=4096)
def page(name: str, *named: object) -> str:
    return reverse(name, args=named)


def written(type: str, at: datetime, data: dict[str, object]) -> str:
    moment = at.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
    return json.dumps({"type": type, "timestamp": moment, "data": data}, ensure_ascii=False)
