"""Votes that come in a file, into the database. A voter that has voted on a post keeps its vote."""

import json
from collections.abc import Callable, Iterable, Mapping

from django.db import connection

from annotate import settling

from .rows import RowVote

Labels = dict[str, int]

# Where no vote has a detail, its columns come empty, and `unnest` fills them with nothing.
INSERT = """
INSERT INTO annotate_vote (post_id, voter_id, label_id, confidence, reason, raw, probabilities, text_reading,
  image_reading, incongruous, created)
SELECT post.id, voter, new.label, confidence, reason, raw, probabilities::jsonb, coalesce(text_reading, ''),
  coalesce(image_reading, ''), new.incongruous, coalesce(new.at, now())
FROM unnest(%s::bigint[], %s::bigint[], %s::bigint[], %s::float8[], %s::text[], %s::text[], %s::text[], %s::text[],
  %s::text[], %s::bool[], %s::timestamptz[])
  AS new (post, voter, label, confidence, reason, raw, probabilities, text_reading, image_reading, incongruous, at)
JOIN annotate_post AS post ON post.id = new.post FOR KEY SHARE OF post
ON CONFLICT (post_id, voter_id) DO NOTHING RETURNING post_id
"""


def insert(
    votes: Iterable[tuple[int, RowVote]],
    labels: Labels,
    voter: Callable[[str], int],
    names: Mapping[int, str] | None = None,
) -> list[int]:
    """The post of each vote that was stored. With the `names` of the labels, probabilities are told by these."""
    cast = [(post, vote) for post, vote in votes if post and vote.counts]
    if not cast:
        return []
    rows = [columns(post, vote, labels, voter(vote.voter)) for post, vote in cast]
    details = [detail(vote, labels, names) for _, vote in cast] if any(vote.detail for _, vote in cast) else []
    wide = [list(column) for column in zip(*details, strict=True)] or [[]] * 5
    with connection.cursor() as cursor:
        cursor.execute(INSERT, [*(list(column) for column in zip(*rows, strict=True)), *wide])
        return [post for (post,) in cursor.fetchall()]


def columns(post: int, vote: RowVote, labels: Labels, voter: int) -> tuple[object, ...]:
    label = label_of(vote.label, labels)
    if label is None and vote.label:
        return post, voter, None, vote.confidence, abstention(vote.label, vote.reason), vote.label
    return post, voter, label, vote.confidence, vote.reason, "" if vote.detail else vote.label


def label_of(written: str, labels: Labels) -> int | None:
    """Classifiers are taught with folders, and write “Maine_Coon”."""
    return labels.get(settling.plain(written)) or labels.get(settling.plain(written.replace("_", " ")))


def detail(vote: RowVote, labels: Labels, names: Mapping[int, str] | None = None) -> tuple[object, ...]:
    more = vote.detail
    if more is None:
        return (None,) * 5
    shares = more.probabilities or {}
    known = shares if names is None else of_labels(shares, labels, names)
    told = json.dumps(known) if known else None
    return told, more.text_reading, more.image_reading, more.incongruous, more.at


def of_labels(shares: Mapping[str, float], labels: Labels, names: Mapping[int, str]) -> dict[str, float]:
    """What is no label is left out, and its share goes to nobody: what is missing from 1 was said of something else."""
    known: dict[str, float] = {}
    for written, share in shares.items():
        if (label := label_of(written, labels)) is not None:
            known[names[label]] = min(1.0, known.get(names[label], 0.0) + share)
    return known


def abstention(answer: str, reason: str) -> str:
    return f"answered “{answer.strip()[:100]}”, which is not a label" + (f": {reason}" if reason else "")
