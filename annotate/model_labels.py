"""What a tuned model of ours says of posts: its votes, the labels that it is sure of, and its doubts.

Consensus never hears these votes: a model that learnt from the voters would seem to agree with them. What it is sure of
is settled here, on request and with audits of its own, and can be taken back as a whole. What people decided, what
voters agree on, and the locked test set are never touched.
"""

from collections.abc import Collection, Mapping, Sequence
from typing import Any, NamedTuple

from django.db import connection, transaction
from django.db.models import Q, QuerySet
from django.db.models.functions import Now
from django.utils import timezone

from . import settling
from .importing import votes
from .importing.rows import RowVote, VoteDetail
from .models import Disagreement, LabelSource, Project, State, Voter
from .models.review import Stream, Why
from .settling import lot

TIER = settling.TIERS[Why.UNSURE]  # among the contested, a model's doubts wait where those of unsure voters do


class Said(NamedTuple):
    """Of one post. No label: what it is likeliest to be is no label of the project any more."""

    post: int
    label: str
    chance: float
    probabilities: Mapping[str, float]
    reason: str = ""


def cast(voter: Voter, said: Sequence[Said]) -> int:
    """One vote a post, at most: what stands there stays. Returns how many are new."""
    told = (
        (one.post, RowVote(voter.name, one.label, one.chance, one.reason, VoteDetail(dict(one.probabilities))))
        for one in said
    )
    with transaction.atomic():
        settling.lock([one.post for one in said])
        new = votes.insert(told, settling.label_ids(voter.project), lambda _: voter.pk)
        with connection.cursor() as cursor:
            cursor.execute("UPDATE annotate_post SET vote_count = vote_count + 1 WHERE id = ANY(%s)", [new])
    return len(new)


# A post that somebody has on the screen, or has answered, is theirs.
UNTOUCHED = """
NOT EXISTS (
  SELECT FROM annotate_disagreement AS d WHERE d.post_id = post.id AND d.closed IS NULL
    AND (d.answers > 0 OR d.held_until > now())
)"""
SETTLE = f"""
UPDATE annotate_post AS post SET state = 'settled', label_id = new.label, label_source = 'model'
FROM unnest(%s::bigint[], %s::bigint[]) AS new (id, label)
WHERE post.id = new.id AND post.state IN ('waiting', 'contested') AND NOT post.holdout AND {UNTOUCHED}
RETURNING post.id
"""
TAKE_BACK = """
UPDATE annotate_post AS post SET state = 'waiting', label_id = NULL, label_source = ''
WHERE post.id = ANY(%s) AND post.label_source = 'model' RETURNING post.id
"""
CONTEST = f"""
UPDATE annotate_post AS post SET state = 'contested'
WHERE post.id = ANY(%s) AND post.state = 'waiting' AND NOT post.holdout AND NOT EXISTS (
  SELECT FROM annotate_disagreement AS d WHERE d.post_id = post.id AND d.closed IS NULL
) AND {UNTOUCHED} RETURNING post.id
"""
RELEASE = """
UPDATE annotate_post SET state = 'waiting' WHERE id = ANY(%s) AND state = 'contested' RETURNING id
"""


def settle(project: Project, labels: Mapping[int, int], audit_rate: float, purpose: str) -> list[int]:
    """Those that could be: who was quicker keeps the post. A blind sample, by a lot of its own, goes to people."""
    with transaction.atomic():
        settling.lock(list(labels))
        settled = changed(SETTLE, [list(labels), list(labels.values())])
        settling.close(settled)
        settling.draw_audits(project, settled, audit_rate, purpose)
    return settled


def take_back(project: Project, posts: Collection[int]) -> list[int]:
    """Where the label is still a model's. What voters had contested is contested again; and what people have decided
    since, they decided of a post that had no label: nothing is told any more of how wrong those labels were."""
    with transaction.atomic():
        settling.lock(list(posts))
        freed = changed(TAKE_BACK, [list(posts)])
        Disagreement.objects.filter(post__in=list(posts), was_source=LabelSource.MODEL).update(
            was_state=State.WAITING, was_label=None, was_source=""
        )
        unanswered(freed).exclude(stream=Stream.CONTESTED).update(closed=timezone.now())
        settling.settle(project, freed)
    return freed


def doubt(project: Project, posts: Mapping[int, float]) -> list[int]:
    """`posts`: how much an answer would teach, from 0 to 1. Those that wait for nobody yet wait for people now."""
    with transaction.atomic():
        settling.lock(list(posts))
        opened = changed(CONTEST, [list(posts)])
        Disagreement.objects.bulk_create([
            Disagreement(
                project=project, post_id=post, why=Why.MODEL, stream=Stream.CONTESTED, rank=TIER + 1 - posts[post],
                wanted=1 + (lot("twice", project.pk, post) < project.double_rate),
            )
            for post in opened
        ], ignore_conflicts=True)  # fmt: skip
    return opened


def withdraw(project: Project, posts: Collection[int]) -> int:
    """Doubts that nobody has answered."""
    with transaction.atomic():
        settling.lock(list(posts))
        open_ones = unanswered(posts).filter(why=Why.MODEL)
        freed = list(open_ones.values_list("post_id", flat=True))
        open_ones.update(closed=timezone.now())
        changed(RELEASE, [freed])
        settling.settle(project, freed)
    return len(freed)


def unanswered(posts: Collection[int]) -> QuerySet[Disagreement]:
    free = Q(held_until=None) | Q(held_until__lt=Now())
    return Disagreement.objects.filter(free, post__in=list(posts), closed=None, answers=0)


def changed(statement: str, values: list[Any]) -> list[int]:
    with connection.cursor() as cursor:
        cursor.execute(statement, values)
        return [post for (post,) in cursor.fetchall()]
