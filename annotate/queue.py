"""Who looks at which post next. A claim is one statement, and lasts while the page is open."""

import random
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta

from django.core.cache import cache
from django.db import connection
from django.db.models import Exists, OuterRef, Q, QuerySet, Sum
from django.db.models.functions import Now
from django.utils import timezone

from .models import Disagreement, Membership, Post, Project, QueueTally, Review, Role, User
from .models.project import VotesShown
from .models.review import BROUGHT, Instead, Stream, Why
from .settling import BY_PEOPLE

LEASE = timedelta(minutes=5)
AMISS = timedelta(minutes=1)  # nothing is held for so much longer than a lease, but before the clock was put back
AHEAD = 2  # posts claimed beside the one on the screen, so that the next is there at once
CHANCE = random.Random()  # noqa: S311 - of nothing secret
COUNTED_EVERY = 5  # seconds: how the streams are mixed may lag that far behind


@dataclass(frozen=True, slots=True)
class Seat:
    """A person at one tab of a browser: two tabs are never given the same post."""

    project: Project
    user: User
    role: Role
    tab: str = ""


class Gone(Exception):
    """This post is not on this person's screen any more; the words are for them."""


# MATERIALIZED, because a sub-select that locks must not be run again for every row it is joined to.
CLAIM = """
WITH next AS MATERIALIZED (
  SELECT found.id, turn FROM unnest(%(streams)s::int[]) WITH ORDINALITY AS wanted (stream, turn)
  CROSS JOIN LATERAL (
    SELECT id FROM annotate_disagreement
    WHERE project_id = %(project)s AND stream = wanted.stream AND closed IS NULL
      AND (held_until IS NULL OR held_until NOT BETWEEN now() AND now() + %(longest)s * interval '1 second')
      AND NOT %(user)s = ANY(passed)
    ORDER BY rank, id LIMIT 1 FOR NO KEY UPDATE SKIP LOCKED
  ) AS found LIMIT 1
)
UPDATE annotate_disagreement AS d
SET holder_id = %(user)s, tab = %(tab)s, held_since = clock_timestamp(),
  held_until = now() + %(lease)s * interval '1 second',
  votes_shown = %(from_start)s AND d.wanted = 1 AND d.stream <> ALL(%(blind)s) AND d.why <> %(doubt)s
FROM next WHERE d.id = next.id RETURNING d.id
"""
BLIND = (Stream.AUDIT, Stream.CHECK)


def claim(seat: Seat) -> int | None:
    with connection.cursor() as cursor:
        cursor.execute(
            CLAIM,
            {
                "streams": streams_for(seat, open_in(seat.project)),
                "project": seat.project.pk,
                "user": seat.user.pk,
                "tab": seat.tab,
                "lease": LEASE.total_seconds(),
                "longest": (LEASE + AMISS).total_seconds(),
                "from_start": seat.project.votes_shown == VotesShown.START,
                "blind": list(BLIND),
                "doubt": Why.DOUBT,  # the model that doubts may be among the voters
            },
        )
        row = cursor.fetchone()
    return row[0] if row else None


def fill(seat: Seat, holding: Sequence[int] = (), size: int = 1 + AHEAD) -> list[int]:
    """What the seat holds, and as many more as make it `size`."""
    held = list(holding)
    while len(held) < size and (pk := claim(seat)) is not None:
        held.append(pk)
    return held


MIXED = (Stream.CONTESTED, Stream.AUDIT, Stream.RISK)


def streams_for(seat: Seat, waiting: Mapping[Stream, int]) -> list[Stream]:
    """What people differ on goes to leads, first of all. The rest is mixed by how much of each there is."""
    first = [Stream.CONFLICT] if seat.role.covers(Role.LEAD) else []
    there = [stream for stream in MIXED if waiting.get(stream, 0) > 0]
    if not there:
        return [*first, *MIXED]
    if CHANCE.random() < seat.project.check_rate:
        first.append(Stream.CHECK)
    chosen = CHANCE.choices(there, [waiting[stream] for stream in there])[0]
    return [*first, chosen, *(stream for stream in MIXED if stream != chosen)]


def open_in(project: Project) -> dict[Stream, int]:
    """How many wait in each stream, as of a few seconds ago."""
    key = f"queue-{project.pk}"
    found: dict[Stream, int] | None = cache.get(key)
    if found is None:
        found = count_open(project)
        cache.set(key, found, COUNTED_EVERY)
    return found


def count_open(project: Project) -> dict[Stream, int]:
    sums = QueueTally.objects.filter(project=project).values_list("stream").annotate(n=Sum("posts"))
    return {Stream(stream): n for stream, n in sums if n > 0}


def waiting_for(project: Project, role: Role, exactly: bool = False) -> int:
    """What a page says is left to review; whoever has just reached the end wants the very number."""
    counts = count_open(project) if exactly else open_in(project)
    hidden = {Stream.CHECK} | (set() if role.covers(Role.LEAD) else {Stream.CONFLICT})
    return sum(n for stream, n in counts.items() if stream not in hidden)


def held(seat: Seat) -> list[int]:
    """What this tab still holds, in the order in which it came: a reload shows the same post."""
    with connection.cursor() as cursor:
        cursor.execute(
            """SELECT id FROM annotate_disagreement
               WHERE holder_id = %s AND project_id = %s AND tab = %s AND closed IS NULL AND held_until > now()
               ORDER BY held_since, id""",
            [seat.user.pk, seat.project.pk, seat.tab],
        )
        return [pk for (pk,) in cursor.fetchall()]


def of_seat(seat: Seat) -> QuerySet[Disagreement]:
    return Disagreement.objects.filter(project=seat.project, holder=seat.user, tab=seat.tab, closed=None)


def renew(seat: Seat, pks: Collection[int]) -> list[int]:
    """Also what lapsed, while nobody else has taken it. Returns what is still this seat's."""
    with connection.cursor() as cursor:
        cursor.execute(
            """UPDATE annotate_disagreement SET held_until = now() + %s * interval '1 second'
               WHERE id = ANY(%s) AND project_id = %s AND holder_id = %s AND tab = %s AND closed IS NULL
               RETURNING id""",
            [LEASE.total_seconds(), list(pks), seat.project.pk, seat.user.pk, seat.tab],
        )
        mine = {pk for (pk,) in cursor.fetchall()}
    return [pk for pk in pks if pk in mine]


def release(seat: Seat, pks: Collection[int] | None = None) -> int:
    """On leaving; all of the tab's, or these alone."""
    mine = of_seat(seat) if pks is None else of_seat(seat).filter(pk__in=pks)
    return mine.update(**FREE)


GRACE = timedelta(seconds=20)  # in which a reload finds its posts again


def step_out(seat: Seat, pks: Collection[int]) -> int:
    """The page is being left, or loaded again: nobody can tell which. Left, its posts are free in a moment."""
    return of_seat(seat).filter(pk__in=pks).update(held_until=Now() + GRACE)


def move_in(seat: Seat) -> int:
    """The page came before its tab had a name: what it was served with becomes the tab's."""
    return of_seat(replace(seat, tab="")).update(tab=seat.tab)


FREE = {"holder": None, "tab": "", "held_since": None, "held_until": None, "votes_shown": False}


def show_votes(seat: Seat, pk: int) -> None:
    """On record before they are seen."""
    if not of_seat(seat).filter(pk=pk).update(votes_shown=True):
        raise Gone("This post is no longer on your screen: somebody else has it now.")


def unplanted() -> QuerySet[Post]:
    """Posts of locked test sets whose label people gave, and that wait for nobody yet.

    One without votes would be known for a check as soon as somebody asks to see them.
    """
    waiting = Disagreement.objects.filter(post=OuterRef("pk"), closed=None)
    return Post.objects.filter(~Exists(waiting), holdout=True, label_source__in=BY_PEOPLE, vote_count__gt=0)


def waiting_checks(posts: Collection[int]) -> QuerySet[Disagreement]:
    """A post waits for one thing at a time: a check gives way to what may change the label, and is planted again."""
    return Disagreement.objects.filter(post__in=posts, why=Why.CHECK, closed=None)


def plant_checks(project: Project) -> int:
    """Each known answer waits for everybody once, among the others."""
    if not project.check_rate:
        planted = Disagreement.objects.filter(project=project, stream=Stream.CHECK, closed=None)
        return planted.update(closed=timezone.now())
    posts = unplanted().filter(project=project)
    asked = asked_before(posts)
    made = [
        Disagreement(
            project=project, post_id=pk, why=Why.CHECK, stream=Stream.CHECK, rank=CHANCE.random(),
            passed=sorted(asked.get(pk, ())),
        )
        for pk in posts.values_list("pk", flat=True)
    ]  # fmt: skip
    return len(Disagreement.objects.bulk_create(made, ignore_conflicts=True))


def asked_before(posts: QuerySet[Post]) -> dict[int, set[int]]:
    """Who has met them as a check, or as a doubt that the check gave way to."""
    met = Review.objects.filter(disagreement__post__in=posts, disagreement__why__in=(Why.CHECK, Why.DOUBT), undone=None)
    found: dict[int, set[int]] = {}
    for post, reviewer in met.values_list("disagreement__post", "reviewer"):
        found.setdefault(post, set()).add(reviewer)
    return found


def take_up_skipped(seat: Seat) -> int:
    """What this person skipped comes up again."""
    skipped = Review.objects.filter(
        project=seat.project, reviewer=seat.user, undone=None, instead=Instead.SKIP, disagreement__closed=None
    )
    pks = list(skipped.values_list("disagreement", flat=True))
    skipped.update(undone=timezone.now())
    with connection.cursor() as cursor:
        cursor.execute(
            "UPDATE annotate_disagreement SET passed = array_remove(passed, %s) WHERE id = ANY(%s)",
            [seat.user.pk, pks],
        )
    return len(pks)


def skipped_by(seat: Seat) -> int:
    return Review.objects.filter(
        project=seat.project, reviewer=seat.user, undone=None, instead=Instead.SKIP, disagreement__closed=None
    ).count()


def somebody_else(project: Project, besides: Collection[int], least: Role = Role.REVIEWER) -> bool:
    """Whether another pair of eyes exists. An admin counts who has ever looked; a reviewer or lead may yet."""
    return eyes(project, least).exclude(user__in=list(besides)).exists()


def eyes(project: Project, least: Role = Role.REVIEWER) -> QuerySet[Membership]:
    members = project.memberships.filter(user__is_active=True)
    if least != Role.REVIEWER:
        return members.filter(role__in=[role for role in Role if role.covers(least)])
    looks = Q(role__in=[Role.REVIEWER, Role.LEAD]) | Q(
        user__in=Review.objects.filter(~BROUGHT, project=project).values("reviewer")
    )
    return members.filter(looks)
