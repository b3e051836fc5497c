"""Answers that people gave elsewhere and that came with an import: kept as they were, and counted in no figure of ours.

Each stands under a disagreement that is over, that nobody here decided (`was_state` is blank) and that holds answers:
nothing that happens here leaves one like that, so this is how they are known. See BROUGHT_ALONG of `models.review`.
"""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

from django.contrib.auth.hashers import make_password
from django.db import connection

from . import settling
from .deciding import ORIGIN
from .importing.rows import RowReview
from .models import Membership, Project, User, Voter
from .models.review import FLAGS, Stream, Why
from .verdict import Answer, verdict

SUFFIX = "@import"
LONGEST = 150  # characters of a user's name
STREAMS = {**ORIGIN, Why.CHECK: Stream.CHECK}


@dataclass(frozen=True, slots=True)
class Told:
    """A review with everything looked up."""

    post: int
    reviewer: int
    label: int | None
    saw: list[int]
    said: RowReview
    at: datetime

    @property
    def key(self) -> str:
        one = self.said
        parts = [self.post, self.reviewer, self.label, one.instead, one.why, one.note, one.final, one.at]
        return "import " + hashlib.sha256(repr(parts).encode()).hexdigest()[:40]

    @property
    def seat(self) -> tuple[int, bool]:
        return self.reviewer, self.said.final


@dataclass(slots=True)
class Closed:
    """A disagreement, and who answered it."""

    post: int
    why: str
    answers: list[Told] = field(default_factory=list)


def keep(project: Project, posts: Mapping[int, Sequence[RowReview]], now: datetime) -> dict[int, int]:
    """In the batch's own transaction. Returns, of each post, how many name a label that this project lacks."""
    told, unknown = look_up(project, posts, now)
    fresh = without_known(told)
    if fresh:
        write(project, gathered(fresh))
    return unknown


def look_up(
    project: Project, posts: Mapping[int, Sequence[RowReview]], now: datetime
) -> tuple[list[Told], dict[int, int]]:
    said = [(post, one) for post, reviews in posts.items() for review in reviews if (one := understood(review))]
    labels = settling.label_ids(project)
    people = people_named(project, {review.reviewer for _, review in said})
    names = {name for _, review in said for name in review.saw}
    voters = dict(Voter.objects.filter(project=project, name__in=names).values_list("name", "pk"))
    told, unknown = [], dict[int, int]()
    for post, one in said:
        label = labels.get(settling.plain(one.label)) if one.label else None
        if label is None and one.label:
            unknown[post] = unknown.get(post, 0) + 1
            continue
        saw = [voters[name] for name in one.saw if name in voters]
        told.append(Told(post, people[one.reviewer], label, saw, one, one.at or now))
    return told, unknown


def understood(review: RowReview) -> RowReview | None:
    """One that says nothing is none; a reason to ask that we do not know is that voters differed."""
    if not review.label and review.instead not in FLAGS:
        return None
    why = review.why if review.why in Why.values else Why.SPLIT.value
    return replace(review, why=why, instead="" if review.label else review.instead)


# --- Who they are


def people_named(project: Project, names: Iterable[str]) -> dict[str, int]:
    """Members by their user name, or their address where one alone has it; others by an account that opens nothing."""
    members = list(Membership.objects.filter(project=project).values_list("user", "user__username", "user__email"))
    by_name = {username: pk for pk, username, _ in members}
    by_email: dict[str, set[int]] = {}
    for pk, _, email in members:
        by_email.setdefault(email.casefold(), set()).add(pk)
    found = {}
    for name in sorted(names):
        plain = name.removesuffix(SUFFIX)
        at = by_email.get(name.casefold(), set())
        found[name] = by_name.get(plain) or (min(at) if len(at) == 1 else absent(plain))
    return found


def absent(name: str) -> int:
    """Never the account of somebody: whoever is called that here is another person."""
    stem = name[: LONGEST - len(SUFFIX) - 4] + SUFFIX
    for username in (stem, *(f"{stem}-{n}" for n in range(2, 1000))):
        user, made = User.objects.get_or_create(
            username=username, defaults={"is_active": False, "password": make_password(None)}
        )
        if made or is_nobodys(user):
            return user.pk
    raise AssertionError


def is_nobodys(user: User) -> bool:
    entered = user.is_active or user.last_login or user.has_usable_password()
    return not entered and not user.memberships.exists()


# --- What is new of it


def without_known(told: list[Told]) -> list[Told]:
    """Also what was never imported, because it was said here: an export that comes home brings nothing new."""
    with connection.cursor() as cursor:
        cursor.execute(
            """SELECT d.post_id, review.reviewer_id, review.at, review.key FROM annotate_review AS review
               JOIN annotate_disagreement AS d ON d.id = review.disagreement_id WHERE d.post_id = ANY(%s)""",
            [list({one.post for one in told})],
        )
        stored = cursor.fetchall()
    keys = {key for *_, key in stored}
    moments = {(post, reviewer, at) for post, reviewer, at, _ in stored}
    fresh = {one.key: one for one in told if one.key not in keys and (one.post, one.reviewer, one.at) not in moments}
    return list(fresh.values())


def gathered(told: list[Told]) -> list[Closed]:
    """Answers on one post and for one reason belong together, unless a person gave two of them."""
    closed: list[Closed] = []
    latest: dict[tuple[int, str], Closed] = {}
    for one in told:
        home = latest.get((one.post, one.said.why))
        if home is None or one.seat in {other.seat for other in home.answers}:
            home = latest[one.post, one.said.why] = Closed(one.post, one.said.why)
            closed.append(home)
        home.answers.append(one)
    return closed


# --- Into the database

OPENED = """
INSERT INTO annotate_disagreement (project_id, post_id, why, opened, closed, stream, rank, wanted, answers, passed,
  tab, votes_shown, label_id, instead, was_state, was_source)
SELECT %s, post, why, opened, closed, stream, 0, least(answers, 2), answers, ARRAY[]::bigint[], '', FALSE, label,
  instead, '', ''
FROM unnest(%s::bigint[], %s::text[], %s::timestamptz[], %s::timestamptz[], %s::int[], %s::int[], %s::bigint[],
  %s::text[]) WITH ORDINALITY AS new (post, why, opened, closed, stream, answers, label, instead, turn)
ORDER BY turn RETURNING id
"""
SAID = """
INSERT INTO annotate_review (project_id, disagreement_id, reviewer_id, key, label_id, instead, note, incongruous, final,
  saw, seconds, at)
SELECT %s, disagreement, reviewer, key, label, instead, note, incongruous, final, saw::bigint[], seconds, at
FROM unnest(%s::bigint[], %s::bigint[], %s::text[], %s::bigint[], %s::text[], %s::text[], %s::bool[], %s::bool[],
  %s::text[], %s::float8[], %s::timestamptz[]) WITH ORDINALITY
  AS new (disagreement, reviewer, key, label, instead, note, incongruous, final, saw, seconds, at, turn)
ORDER BY turn
"""


def write(project: Project, closed: list[Closed]) -> None:
    with connection.cursor() as cursor:
        cursor.execute(OPENED, [project.pk, *columns(map(opened, closed))])
        numbers = sorted(pk for (pk,) in cursor.fetchall())
        said = [answered(pk, one) for pk, each in zip(numbers, closed, strict=True) for one in each.answers]
        cursor.execute(SAID, [project.pk, *columns(said)])


def columns(rows: Iterable[tuple[object, ...]]) -> list[list[object]]:
    return [list(column) for column in zip(*rows, strict=True)]


def opened(one: Closed) -> tuple[object, ...]:
    moments = [told.at for told in one.answers]
    ended = any(told.said.final for told in one.answers)
    stream = Stream.CONFLICT if ended else STREAMS.get(Why(one.why), Stream.CONTESTED)
    answers = [Answer(told.label, told.said.instead, told.said.incongruous, told.said.final) for told in one.answers]
    stands = verdict(answers, wanted=len(answers))
    return one.post, one.why, min(moments), max(moments), stream, len(answers), stands.label, stands.instead


def answered(pk: int, one: Told) -> tuple[object, ...]:
    said = one.said
    saw = "{" + ",".join(map(str, one.saw)) + "}"
    return (
        pk, one.reviewer, one.key, one.label, said.instead, said.note, said.incongruous,
        said.final, saw, said.seconds, one.at,
    )  # fmt: skip
