"""Programs that read the event log: the same question as the page asks, by the same names."""

from typing import Any

from django.http import HttpRequest
from ninja import Field, Query, Router, Schema
from ninja.errors import HttpError

from . import events
from .access import me, project_for
from .models import Role

router = Router(tags=["Events"])
MOST = 500


class EventOut(Schema):
    id: int
    at: str
    verb: str
    who: str = Field(description="Blank where it happened by itself.")
    project: str
    post: int | None
    address: str
    data: dict[str, Any]


class EventPage(Schema):
    events: list[EventOut]
    after: str = Field(description="Pass it on to get the next page; blank on the last.")


class EventsIn(Schema):
    verb: str = ""
    who: str = Field("", description="A username, or `-` for what happened by itself.")
    since: str = Field("", description="A day, or a moment.")
    until: str = ""
    about: str = Field("", description="`run:12`, `dataset:coins`, `post:345`.")
    order: str = Field("", description="`oldest` for the oldest first.")


@router.get("/projects/{slug}/events", response=EventPage, url_name="events", summary="What happened, and who did it")
def log(
    request: HttpRequest, slug: str, filters: Query[EventsIn], after: str = "", limit: int = 100
) -> dict[str, object]:
    project, role = project_for(me(request), slug, Role.LEAD)
    asked = events.Asked.of(filters.dict())
    found, mend = events.matching(project, asked)
    if mend:
        raise HttpError(422, " ".join(mend))
    page = events.page_of(found, asked, {"after": after}, size=max(1, min(limit, MOST)))
    notes = role.covers(Role.ADMIN)
    return {"events": [events.told(event, notes) for event in page.events], "after": page.after}
