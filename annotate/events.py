"""Reading the event log: narrowed by an address anybody can write, page by page, and whole into a file.

The first page of a million events costs what the last one does: each question walks an index from a key."""

import csv
import io
import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, fields
from datetime import UTC, datetime, time
from typing import Any, Self
from urllib.parse import urlencode

from django.conf import settings
from django.db import connection
from django.db.models import Q, QuerySet
from django.utils import timezone
from django.utils.dateparse import parse_date, parse_datetime

from . import spreadsheets
from .models import Event, Project, User
from .webhooks import telling

PAGE = 50
CHUNK = 2000  # rows of a file that are read at once
FEW = 5000  # events about one thing that are looked up, rather than met on the way
MOST = 2**63
YEARS = (1970, 9000)  # what every calendar on the way can hold
NOBODY = "-"  # what happened by itself, in an address
NOTES = {"note"}  # for admins, who wrote them: they may name whom an invitation is for
FORMATS = {"csv": "text/csv; charset=utf-8", "jsonl": "application/x-ndjson; charset=utf-8"}
ABOUT = re.compile(r"([a-z_]{1,40}):(.{1,200})")
COLUMNS = ("id", "at", "verb", "who", "project", "post", "address", "data")


@dataclass(frozen=True, slots=True)
class Asked:
    """As it stands in an address."""

    verb: str = ""
    who: str = ""
    since: str = ""
    until: str = ""
    about: str = ""
    project: str = ""  # where the whole site is read
    order: str = ""

    @classmethod
    def of(cls, query: Mapping[str, Any]) -> Self:
        told = {field.name: query.get(field.name) for field in fields(cls)}
        return cls(**{name: str(value or "").replace("\0", "").strip()[:300] for name, value in told.items()})

    @property
    def narrowing(self) -> dict[str, str]:
        told = {field.name: getattr(self, field.name) for field in fields(self)}
        return {name: value for name, value in told.items() if value}

    @property
    def query(self) -> str:
        return urlencode(self.narrowing)

    @property
    def oldest_first(self) -> bool:
        return self.order == "oldest"


@dataclass(frozen=True, slots=True)
class Page:
    events: list[Event]
    before: str
    after: str

    @property
    def first(self) -> bool:
        return not self.before

    @property
    def last(self) -> bool:
        return not self.after


def matching(project: Project | None, asked: Asked) -> tuple[QuerySet[Event], list[str]]:
    """Of a project, or of the whole site; and what of the question has to be mended."""
    log = Event.objects.all() if project is None else Event.objects.filter(project=project)
    mend: list[str] = []
    if project is None and asked.project:
        log = log.filter(project=Project.objects.filter(slug=asked.project).values_list("pk", flat=True).first() or -1)
    if asked.verb:
        log = log.filter(verb=asked.verb)
    if asked.who:
        log, mend = by_whom(log, asked.who)
    log, more = in_time(log, asked)
    log, most = about(log, asked.about) if asked.about else (log, [])
    return (log.none() if mend + more + most else log), mend + more + most


def by_whom(log: QuerySet[Event], who: str) -> tuple[QuerySet[Event], list[str]]:
    """A username; or the number of an account, which outlives it."""
    if who == NOBODY:
        return log.filter(user=None), []
    known = User.objects.filter(username=who).values_list("pk", flat=True).first()
    if known is None and who.isdecimal() and who.isascii() and int(who[:19]) < MOST:
        known = int(who[:19])
    return (log, [f"Nobody is called “{who}”."]) if known is None else (log.filter(user_id=known), [])


def in_time(log: QuerySet[Event], asked: Asked) -> tuple[QuerySet[Event], list[str]]:
    mend = []
    for written, lookup, edge in ((asked.since, "at__gte", time.min), (asked.until, "at__lte", time.max)):
        if not written:
            continue
        moment = moment_of(written, edge)
        if moment:
            log = log.filter(**{lookup: moment})
        else:
            mend.append(f"“{written}” is not a moment; write it as 2025-11-14 or 2025-11-14T09:30.")
    return log, mend


def moment_of(written: str, edge: time) -> datetime | None:
    """A day is meant from its beginning to its end, as the site counts days."""
    try:
        day = parse_date(written) if len(written) == len("2025-11-14") else None
        moment = datetime.combine(day, edge) if day else parse_datetime(written)
    except ValueError:
        return None
    if moment is None or not YEARS[0] <= moment.year <= YEARS[1]:
        return None
    return moment if timezone.is_aware(moment) else timezone.make_aware(moment)


def about(log: QuerySet[Event], written: str) -> tuple[QuerySet[Event], list[str]]:
    """Few are found by their index and then put in order; many are met soon enough on the way."""
    found = ABOUT.fullmatch(written)
    if not found:
        return log, [f"“{written}” names nothing; write it as run:12, dataset:coins or post:345."]
    key, value = found.groups()
    number = (
        int(value) if value.isdecimal() and value.isascii() and int(value[:19]) < MOST and len(value) < 20 else None
    )
    if key == "post":
        return (log.none(), ["A post is named by its number."]) if number is None else (log.filter(post_id=number), [])
    narrowed = log.filter(Q(data__contains={key: value}) | Q(data__contains={key: value if number is None else number}))
    some = list(narrowed.order_by().values_list("pk", flat=True)[: FEW + 1])
    return (narrowed if len(some) > FEW else Event.objects.filter(pk__in=some)), []


# --- Page by page


def page_of(log: QuerySet[Event], asked: Asked, query: Mapping[str, str], size: int = PAGE) -> Page:
    """`after=KEY` walks on, `before=KEY` walks back, `end=1` starts from the far end."""
    backwards = bool(query.get("before") or query.get("end"))
    key = read_key(query.get("after") or query.get("before") or "")
    found = list(walk(log, asked.oldest_first != backwards, key)[: size + 1])
    more, found = len(found) > size, found[:size]
    if backwards:
        found.reverse()
    has_before, has_after = (more, key is not None) if backwards else (key is not None, more)
    return Page(
        events=found,
        before=write_key(found[0]) if found and has_before else "",
        after=write_key(found[-1]) if found and has_after else "",
    )


def walk(log: QuerySet[Event], ascending: bool, key: tuple[datetime, int] | None) -> QuerySet[Event]:
    log = log.order_by("at", "id") if ascending else log.order_by("-at", "-id")
    if key:
        at, pk = key
        beyond = Q(at__gt=at) | Q(at=at, pk__gt=pk) if ascending else Q(at__lt=at) | Q(at=at, pk__lt=pk)
        # The plain bound on `at` is implied, but only with it does PostgreSQL start the index scan at the key.
        log = log.filter(beyond, **{"at__gte" if ascending else "at__lte": at})
    return log.prefetch_related("user", "project")  # looked up, not joined: whoever is gone has done it all the same


def write_key(event: Event) -> str:
    return f"{event.at.astimezone(UTC):%Y%m%dT%H%M%S.%fZ}-{event.pk}"


def read_key(key: str) -> tuple[datetime, int] | None:
    moment, _, pk = key.partition("-")
    try:
        at = datetime.strptime(moment, "%Y%m%dT%H%M%S.%fZ").replace(tzinfo=UTC)
    except ValueError:
        return None
    return (at, int(pk)) if pk.isdecimal() and pk.isascii() and len(pk) < 20 and 0 < int(pk) < MOST else None


# --- What there is to choose from: one step in an index for each, however many events there are

VALUES = """
WITH RECURSIVE known AS (
  (SELECT {column} AS value FROM annotate_event WHERE {where} ORDER BY {column} LIMIT 1)
  UNION ALL
  SELECT (SELECT {column} FROM annotate_event WHERE {where} AND {column} > known.value ORDER BY {column} LIMIT 1)
  FROM known WHERE known.value IS NOT NULL
)
SELECT value FROM known WHERE value IS NOT NULL
"""


def values(project: Project | None, column: str) -> list[Any]:
    where = "TRUE" if project is None else "project_id = %(project)s"
    with connection.cursor() as cursor:
        cursor.execute(VALUES.format(column=column, where=where), {"project": project.pk if project else None})
        return [value for (value,) in cursor.fetchall()]


def verbs(project: Project | None) -> list[str]:
    return values(project, "verb")


def people(project: Project | None) -> list[User]:
    """Who has done something."""
    return list(User.objects.filter(pk__in=values(project, "user_id")).order_by("username"))


# --- Told to programs


def told(event: Event, notes: bool) -> dict[str, Any]:
    slug = event.project.slug if event.project else ""
    return {
        "id": event.pk,
        "at": event.at.isoformat(),
        "verb": event.verb,
        "who": who(event),
        "project": slug,
        "post": event.post_id,
        "address": settings.SITE_URL + telling.address_of(event.verb, event.data, slug) if slug else "",
        "data": event.data if notes else {key: value for key, value in event.data.items() if key not in NOTES},
    }


def who(event: Event) -> str:
    """Blank where it happened by itself; the number of an account that is gone."""
    return event.user.get_username() if event.user else str(event.user_id or "")


def export(log: QuerySet[Event], asked: Asked, format: str, notes: bool) -> Iterator[str]:
    """What there is at this moment, and not that it is exported."""
    return chunks(log.filter(at__lte=timezone.now()), asked, format, notes)


def chunks(log: QuerySet[Event], asked: Asked, format: str, notes: bool) -> Iterator[str]:
    """Asked for one by one: no transaction stays open while somebody downloads slowly."""
    write: Callable[[Iterable[Event], bool], str] = {"csv": as_csv, "jsonl": as_lines}[format]
    if format == "csv":
        yield ",".join(COLUMNS) + "\r\n"
    key = None
    while some := list(walk(log, asked.oldest_first, key)[:CHUNK]):
        yield write(some, notes)
        key = (some[-1].at, some[-1].pk)


def as_csv(events: Iterable[Event], notes: bool) -> str:
    written = io.StringIO()
    rows = csv.writer(written)
    for event in events:
        row = told(event, notes)
        cells = [json.dumps(row[name], ensure_ascii=False) if name == "data" else row[name] for name in COLUMNS]
        rows.writerow([spreadsheets.guarded(cell) if isinstance(cell, str) else cell for cell in cells])
    return written.getvalue()


def as_lines(events: Iterable[Event], notes: bool) -> str:
    return "".join(json.dumps(told(event, notes), ensure_ascii=False) + "\n" for event in events)


def name_of(project: Project | None, format: str) -> str:
    return f"{project.slug if project else 'site'}-events-{timezone.localdate():%Y-%m-%d}.{format}"


def note_export(project: Project | None, user: User | None, asked: Asked, format: str) -> None:
    """Before the first byte: whoever has the start of it may have enough."""
    Event.record(
        "events exported", user=user, project=project, format=format, **({"filter": asked.query} if asked.query else {})
    )
