"""How each pair of a project's voters answered, counted in the database.

A million posts and three voters take seconds: few votes are counted while the page waits, many by a task beforehand.
"""

import hashlib
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import date, datetime
from functools import cached_property
from typing import NamedTuple

from django.db import connection, transaction
from django.db.models import Max, Min, Sum
from django.utils import timezone
from django_q.tasks import async_task

from .agreement import Answer, Counts, Share
from .models import AgreementSnapshot, Project, VoteTally

FEW = 20_000  # votes, counted in about 0.1 s
TEMPLATES = 20  # the largest
UNITS = (("day", 45), ("week", 400), ("month", 2200))  # while the posts span no more days than that
Row = tuple[int, int, Answer, Answer, int, int]

# First a row a post, with all of its votes; then the few distinct ways to vote; only those are taken apart into pairs.
COUNT = """
WITH ballot AS (
  SELECT post_id, array_agg(voter_id ORDER BY voter_id) AS voters, array_agg(label_id ORDER BY voter_id) AS labels
  FROM annotate_vote WHERE voter_id = ANY(%(voters)s) GROUP BY post_id HAVING count(*) > 1
), pattern AS (
  SELECT date_trunc(%(unit)s, post.at, 'UTC') AS period, voters, labels,
    CASE WHEN template_id = ANY(%(templates)s) THEN template_id END AS template, count(*) AS posts
  FROM ballot JOIN annotate_post AS post ON post.id = ballot.post_id GROUP BY 1, 2, 3, 4
), met AS (
  SELECT period, template, voters[i] AS one, voters[j] AS other, labels[i] AS said, labels[j] AS other_said,
    cardinality(array_remove(labels, NULL)) AS answers, posts
  FROM pattern, generate_subscripts(voters, 1) AS i, generate_subscripts(voters, 1) AS j WHERE i < j
)
SELECT grouping(period), grouping(template), period, template, one, other, said, other_said, answers,
  sum(posts)::bigint, sum(posts) FILTER (WHERE said IS NOT NULL AND other_said IS NOT NULL)::bigint,
  sum(posts) FILTER (WHERE said = other_said)::bigint
FROM met GROUP BY GROUPING SETS ((one, other, said, other_said, answers), (period, one, other), (template, one, other))
"""


class Cast(NamedTuple):
    """Which votes there are: cheap to know, and different after almost every change."""

    voters: list[int]
    total: int
    hash: str


@dataclass(frozen=True)
class Ballots:
    unit: str
    rows: list[Row]  # two voters, their answers, how many labels the posts got, posts
    periods: list[tuple[str, int, int, int, int]]  # first day, two voters, posts that both answered, and alike
    templates: list[tuple[int, int, int, int, int]]

    @cached_property
    def pairs(self) -> dict[tuple[int, int], Counts]:
        met: dict[tuple[int, int], dict[tuple[Answer, Answer], int]] = defaultdict(lambda: defaultdict(int))
        for one, other, said, other_said, _, posts in self.rows:
            met[one, other][said, other_said] += posts
            met[other, one][other_said, said] += posts
        return {pair: dict(counts) for pair, counts in met.items()}

    @cached_property
    def all_voters(self) -> dict[tuple[Answer, Answer, int], int]:
        met: dict[tuple[Answer, Answer, int], int] = defaultdict(int)
        for _, _, said, other_said, answers, posts in self.rows:
            met[said, other_said, answers] += posts
        return dict(met)

    def over_time(self, one: int, other: int) -> list[tuple[date, Share]]:
        pair = tuple(sorted((one, other)))
        found = ((first, Share(same, both)) for first, *who, both, same in self.periods if tuple(who) == pair and both)
        return sorted((date.fromisoformat(first), share) for first, share in found)

    def by_template(self, one: int, other: int) -> dict[int, Share]:
        pair = tuple(sorted((one, other)))
        return {pk: Share(same, both) for pk, *who, both, same in self.templates if tuple(who) == pair and both}


@dataclass(frozen=True)
class Reading:
    voters: list[int]
    ballots: Ballots | None  # None while they are counted for the first time
    made_at: datetime | None = None
    under_way: bool = False


def read(project: Project) -> Reading:
    cast = votes_cast(project)
    if cast.total < FEW:
        return Reading(cast.voters, count(project, cast))
    snapshot, _ = AgreementSnapshot.objects.get_or_create(project=project)
    fresh = snapshot.tells_of(cast.hash)
    if not fresh:
        ask(snapshot)
    return Reading(cast.voters, Ballots(**snapshot.data) if snapshot.data else None, snapshot.made_at, not fresh)


def ask(snapshot: AgreementSnapshot) -> None:
    with transaction.atomic():
        if snapshot.claim():
            async_task("annotate.tasks.count_agreement", snapshot.project_id, task_name=f"agreement {snapshot.pk}")


def count_beforehand(project: Project) -> None:
    """Asked twice, it counts once."""
    cast = votes_cast(project)
    snapshot, _ = AgreementSnapshot.objects.get_or_create(project=project)
    if not snapshot.tells_of(cast.hash):
        snapshot.data, snapshot.votes, snapshot.made_at = asdict(count(project, cast)), cast.hash, timezone.now()
        snapshot.save(update_fields=["data", "votes", "made_at"])


def votes_cast(project: Project) -> Cast:
    voters = list(project.voters.values_list("pk", flat=True))
    sums = VoteTally.objects.filter(voter_id__in=voters).values_list("voter_id", "label_id").order_by()
    rows = sorted((voter, label or 0, votes) for voter, label, votes in sums.annotate(n=Sum("votes")) if votes)
    hashed = hashlib.sha256(repr(rows).encode()).hexdigest()
    return Cast(sorted({voter for voter, *_ in rows}), sum(votes for *_, votes in rows), hashed)


def count(project: Project, cast: Cast) -> Ballots:
    ballots = Ballots(unit_for(project), [], [], [])
    for kind, row in counted(cast.voters, ballots.unit, largest_templates(project)):
        getattr(ballots, kind).append(row)
    return ballots


def counted(voters: list[int], unit: str, templates: list[int]) -> Iterator[tuple[str, tuple[object, ...]]]:
    with connection.cursor() as cursor:
        cursor.execute(COUNT, {"voters": voters, "unit": unit, "templates": templates})
        for no_period, no_template, period, template, one, other, said, other_said, answers, *sums in cursor.fetchall():
            posts, both, same = sums[0], sums[1] or 0, sums[2] or 0
            if not no_period:
                yield "periods", (period.date().isoformat(), one, other, both, same)
            elif no_template:
                yield "rows", (one, other, said, other_said, answers, posts)
            elif template:
                yield "templates", (template, one, other, both, same)


def unit_for(project: Project) -> str:
    ends = project.posts.aggregate(first=Min("at"), last=Max("at"))
    days = (ends["last"] - ends["first"]).days if ends["first"] else 0
    return next((unit for unit, most in UNITS if days <= most), "year")


def largest_templates(project: Project) -> list[int]:
    groups = project.templates.filter(size__gt=1).order_by("-size", "id")
    return list(groups.values_list("pk", flat=True)[:TEMPLATES])
