"""People at work: how quick they are, how often they agree, and whether that changes. Never who is best."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Any, NamedTuple

from django.db import connection
from django.utils import timezone

from . import reliability
from .agreement import Share
from .models import Project, User
from .reliability import Work

WEEKS = 12
TOTAL = date.max  # stands for all weeks together

# What counts as an answer: given here (see BROUGHT of a Review), not a skip, and not taken back. Independent are those
# on one post that people gave without seeing each other's, which a lead's word is not; the truth of a check is known
# otherwise than from machines.
ANSWERS = """
  SELECT review.reviewer_id, review.disagreement_id, review.label_id, review.seconds,
    date_trunc('week', review.at AT TIME ZONE 'UTC')::date AS week, cardinality(review.saw) > 0 AS saw,
    CASE WHEN d.why = 'check' THEN (
      SELECT post.label_id FROM annotate_post AS post
      WHERE post.id = d.post_id AND post.holdout AND post.label_source IN ('import', 'review')
    ) END AS known
  FROM annotate_review AS review
  JOIN annotate_disagreement AS d ON d.id = review.disagreement_id
  WHERE review.project_id = %(project)s AND review.at >= %(since)s AND review.at < %(until)s
    AND review.undone IS NULL AND review.instead <> 'skip'
    AND NOT (d.closed IS NOT NULL AND d.was_state = '' AND d.answers > 0)
    AND (%(person)s::bigint IS NULL OR review.disagreement_id IN (
      SELECT disagreement_id FROM annotate_review WHERE project_id = %(project)s AND reviewer_id = %(person)s
    ))
"""
INDEPENDENT = f"{ANSWERS} AND d.answers > 1 AND NOT review.final AND d.why <> 'check'"
WORK = f"""WITH answer AS ({ANSWERS})
SELECT reviewer_id, coalesce(week, %(total)s), count(*), count(*) FILTER (WHERE saw),
  percentile_cont(0.5) WITHIN GROUP (ORDER BY seconds),
  count(*) FILTER (WHERE label_id = known), count(*) FILTER (WHERE label_id IS NOT NULL AND known IS NOT NULL)
FROM answer GROUP BY GROUPING SETS ((reviewer_id), (reviewer_id, week))
"""
COMPARED = f"""WITH answer AS ({INDEPENDENT})
SELECT one.reviewer_id, coalesce(one.week, %(total)s), count(*) FILTER (WHERE one.label_id = other.label_id), count(*)
FROM answer AS one JOIN answer AS other
  ON other.disagreement_id = one.disagreement_id AND other.reviewer_id <> one.reviewer_id
WHERE one.label_id IS NOT NULL AND other.label_id IS NOT NULL
GROUP BY GROUPING SETS ((one.reviewer_id), (one.reviewer_id, one.week))
"""
TOGETHER = f"""WITH answer AS ({INDEPENDENT})
SELECT array_agg(label_id) FROM answer GROUP BY disagreement_id HAVING count(*) > 1
"""


class Week(NamedTuple):
    first: date
    work: Work

    @property
    def decisions(self) -> int:
        return self.work.decisions


@dataclass(frozen=True)
class Person:
    user: User
    whole: Work
    weeks: list[Week]
    saw: Share

    @property
    def busiest(self) -> int:
        return max(week.decisions for week in self.weeks)

    @property
    def drifts(self) -> list[str]:
        """In words; none where chance could have done it."""
        told = [week.work for week in self.weeks]
        found = (
            reliability.drift("others", [work.with_others for work in told]),
            reliability.drift("checks", [work.on_checks for work in told]),
        )
        return [drift.words for drift in found if drift and drift.words]


@dataclass(frozen=True)
class People:
    people: list[Person]  # by name
    alpha: float | None
    compared: int  # posts that two or more answered independently
    since: date


@dataclass(frozen=True)
class Asked:
    """Whose answers, and of when. With a person, what others said of the same posts belongs to it."""

    project: Project
    until: datetime
    person: User | None = None

    @property
    def since(self) -> date:
        today = timezone.now().astimezone(UTC).date()
        return today - timedelta(days=today.weekday(), weeks=WEEKS - 1)

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        values: dict[str, Any] = {
            "project": self.project.pk,
            "since": datetime.combine(self.since, time.min, UTC),
            "until": self.until,
            "person": self.person.pk if self.person else None,
            "total": TOTAL,
        }
        with connection.cursor() as cursor:
            cursor.execute(query, values)
            rows: list[tuple[Any, ...]] = cursor.fetchall()
        return rows


def everybody(project: Project) -> People:
    asked = Asked(project, timezone.now())
    together = [row[0] for row in asked.rows(TOGETHER)]
    return People(
        people=sorted(people_in(asked), key=lambda person: name_of(person.user)),
        alpha=reliability.people_alpha(together),
        compared=len(together),
        since=asked.since,
    )


def one(project: Project, user: User) -> Person | None:
    """Live, for leads."""
    return next(people_in(Asked(project, timezone.now(), user)), None)


def oneself(project: Project, user: User) -> Person | None:
    """Up to yesterday: whoever saw a figure move could tell by it what the last post was."""
    today = datetime.combine(timezone.now().astimezone(UTC), time.min, UTC)
    return next(people_in(Asked(project, today, user)), None)


def people_in(asked: Asked) -> Iterator[Person]:
    compared = {(pk, week): Share(same, of) for pk, week, same, of in asked.rows(COMPARED)}
    works: dict[int, dict[date, Work]] = {}
    saw: dict[int, Share] = {}
    for pk, week, decisions, seen, pace, right, checked in asked.rows(WORK):
        met = compared.get((pk, week), Share(0, 0))
        works.setdefault(pk, {})[week] = Work(decisions, met, Share(right, checked), pace)
        if week == TOTAL:
            saw[pk] = Share(seen, decisions)
    firsts = [asked.since + timedelta(weeks=n) for n in range(WEEKS)]
    wanted = [asked.person.pk] if asked.person else list(works)
    for pk, user in User.objects.in_bulk([pk for pk in wanted if pk in works]).items():
        weeks = [Week(first, works[pk].get(first, NO_WORK)) for first in firsts]
        yield Person(user, works[pk][TOTAL], weeks, saw[pk])


NO_WORK = Work(0, Share(0, 0), Share(0, 0), None)


def name_of(user: User) -> str:
    return (user.get_full_name() or user.username).casefold()
