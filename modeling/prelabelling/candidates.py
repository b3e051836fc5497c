"""Votes of a model that may settle a post, that voters contradict, or that contradict a label: found where they lie."""

from collections.abc import Generator, Iterable, Iterator
from typing import Any, NamedTuple

from django.db import connection, models, transaction
from django.db.models import Sum

from annotate.browse import Filters, matching
from annotate.models import LabelSource, Post, Tally
from modeling.models import PreLabelling

from .thresholds import STEPS

WINDOW = 2000

# Beside each vote what the voters say that consensus hears. Nobody but a person decides against them: a post that waits
# is settled where none of them says otherwise, and one that they contest where one of them says the same.
VOTES = """
SELECT vote.post_id, vote.label_id, vote.confidence, vote.probabilities, post.state, post.label_id AS stands,
  post.template_id, post.text, others.votes, others.differ,
  CASE WHEN post.state = 'settled' THEN CASE WHEN post.label_id = vote.label_id THEN 'agrees' ELSE 'conflicts' END
    WHEN post.state = 'aside' THEN 'aside'
    WHEN post.state = 'waiting' AND others.differ = 0 OR post.state = 'contested'
      AND (others.same > 0 OR others.votes = 0) THEN 'free'
    ELSE 'against' END AS place
FROM annotate_vote AS vote JOIN annotate_post AS post ON post.id = vote.post_id
CROSS JOIN LATERAL (
  SELECT count(*) AS votes, count(*) FILTER (WHERE other.label_id = vote.label_id) AS same,
    count(*) FILTER (WHERE other.label_id <> vote.label_id) AS differ
  FROM annotate_vote AS other JOIN annotate_voter AS voter ON voter.id = other.voter_id
  WHERE other.post_id = vote.post_id AND voter.heard AND voter.retired IS NULL
) AS others
WHERE vote.voter_id = %s AND vote.label_id IS NOT NULL AND NOT post.holdout AND post.id IN ({asked})
"""
COUNTED = """
SELECT place, label_id, least(floor(confidence * {steps} + 1e-9), {steps})::int, count(*), sum(confidence)
FROM ({votes}) AS said GROUP BY 1, 2, 3
"""
# Looked for once: a table of this connection, so that a million are settled in a million's time.
GATHER = """
CREATE TEMP TABLE sure AS SELECT post_id, label_id, confidence FROM ({votes}) AS said
WHERE place = 'free' AND confidence >= %s
"""
BY_CHANCE = "CREATE INDEX ON sure (label_id, confidence DESC, post_id)"
SUREST = """
SELECT post_id, confidence FROM sure WHERE label_id = %s AND confidence <= %s
  AND (confidence < %s OR post_id > %s) ORDER BY confidence DESC, post_id LIMIT %s
"""
# How much an answer would teach: the closer the two likeliest labels, and the more voters say otherwise, the more.
DOUBTS = """
SELECT post_id, CASE WHEN votes = 0 THEN 1 - margin ELSE (1 - margin + differ::float8 / votes) / 2 END AS teaches,
  template_id, text
FROM ({votes}) AS said CROSS JOIN LATERAL (
  SELECT (array_agg(p ORDER BY p DESC))[1] - coalesce((array_agg(p ORDER BY p DESC))[2], 0) AS margin
  FROM (SELECT value::float8 AS p FROM jsonb_each_text(probabilities)) AS each
) AS told
WHERE state = 'waiting' AND (place = 'against' OR confidence < %s)
ORDER BY teaches DESC, post_id
"""
# Both words for a conflict: by the first PostgreSQL finds them before it looks what the voters say of each.
CONFLICTS = """
SELECT post_id, label_id, stands, confidence FROM ({votes}) AS said
WHERE state = 'settled' AND label_id <> stands AND place = 'conflicts' AND confidence >= %s
  AND (confidence, -post_id) < (%s, %s)
ORDER BY confidence DESC, post_id LIMIT %s
"""
BY_OTHERS = (LabelSource.CONSENSUS, LabelSource.REVIEW, LabelSource.IMPORT)
ABOVE_ALL = (2.0, 0)


class Sure(NamedTuple):
    post: int
    chance: float


class Doubt(NamedTuple):
    post: int
    teaches: float
    template: int | None
    text: str


class Conflict(NamedTuple):
    post: int
    said: int
    stands: int
    chance: float


def asked(prelabelling: PreLabelling) -> "models.QuerySet[Post]":
    """Never the locked test set: nothing may learn from what a model says of it."""
    return matching(prelabelling.project, Filters.from_query(prelabelling.posts)).posts.filter(holdout=False)


def votes(statement: str, prelabelling: PreLabelling) -> tuple[str, list[Any]]:
    """Of the posts that this one is about, however many the same model was asked about before."""
    sql, values = asked(prelabelling).order_by().values("pk").query.sql_with_params()
    return statement.format(votes=VOTES.format(asked=sql), steps=STEPS), [prelabelling.voter_id, *values]


def count(prelabelling: PreLabelling) -> dict[str, Any]:
    """All that thresholds.py needs, in one walk over the votes."""
    names = dict(prelabelling.project.labels.values_list("pk", "name"))
    found: dict[str, dict[str, list[list[float]]]] = {"free": {}, "against": {}, "conflicts": {}}
    agrees = 0
    with connection.cursor() as cursor:
        cursor.execute(*votes(COUNTED, prelabelling))
        for place, label, step, posts, chances in cursor.fetchall():
            if place in found:
                found[place].setdefault(names[label], []).append([step, posts, round(chances, 6)])
            agrees += posts if place == "agrees" else 0
    return {**found, "agrees": agrees, "labels": list(names.values()), "known": given_by(prelabelling, BY_OTHERS),
            "standing": given_by(prelabelling, [LabelSource.MODEL])}  # fmt: skip


def given_by(prelabelling: PreLabelling, sources: Iterable[str]) -> dict[str, int]:
    """How many posts have each label from there, the locked test set aside."""
    given = Tally.objects.filter(
        project=prelabelling.project_id, state="settled", label_source__in=list(sources), holdout=False
    )
    counts = dict(given.values_list("label_id").annotate(n=Sum("posts")))
    return {name: int(counts.get(pk, 0)) for pk, name in prelabelling.project.labels.values_list("pk", "name")}


def gather_sure(prelabelling: PreLabelling) -> None:
    statement, values = votes(GATHER, prelabelling)
    forget_sure()  # of one that broke off
    with connection.cursor() as cursor:
        cursor.execute(statement, [*values, prelabelling.threshold])
        cursor.execute(BY_CHANCE)


def forget_sure() -> None:
    """It would take room for as long as the worker keeps its connection."""
    with connection.cursor() as cursor:
        cursor.execute("DROP TABLE IF EXISTS pg_temp.sure")


def surest(label: int, most: int) -> Iterator[list[Sure]]:
    """Of those that were gathered, page by page, the surest first: each is settled before the next is read."""
    chance, post = ABOVE_ALL
    while most > 0:
        with connection.cursor() as cursor:
            cursor.execute(SUREST, [label, chance, chance, post, min(WINDOW, most)])
            page = [Sure(*row) for row in cursor.fetchall()]
        if not page:
            return
        yield page
        most -= len(page)
        chance, post = page[-1].chance, page[-1].post


def doubts(prelabelling: PreLabelling) -> Generator[Doubt, None, None]:
    """Those that would teach most first; read as far as somebody wants them, inside a transaction. Close it before you
    write: a transaction that is given up takes all that was written in it along."""
    statement, values = votes(DOUBTS, prelabelling)
    with transaction.atomic(), connection.chunked_cursor() as cursor:
        cursor.execute(statement, [*values, prelabelling.threshold])
        while rows := cursor.fetchmany(WINDOW):
            yield from (Doubt(*row) for row in rows)


def conflicts(prelabelling: PreLabelling, size: int, after: tuple[float, int] = ABOVE_ALL) -> list[Conflict]:
    statement, values = votes(CONFLICTS, prelabelling)
    with connection.cursor() as cursor:
        cursor.execute(statement, [*values, prelabelling.threshold, *after, size])
        return [Conflict(*row) for row in cursor.fetchall()]
