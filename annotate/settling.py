"""Apply consensus to posts, many at a time. What a person decided is never touched."""

import hashlib
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import cast

from django.db import connection, transaction

from . import weighing
from .consensus import Ballot, Outcome, Rule, Weights, decide
from .models import Disagreement, Label, LabelSource, Post, Project, State, Voter
from .models.review import Why

# A label from one of these stands, whatever machines say.
BY_PEOPLE = (LabelSource.REVIEW, LabelSource.IMPORT)


def settle(project: Project, posts: Sequence[int]) -> None:
    """Call inside the transaction that stored the votes, so that no vote is ever seen without its consequence."""
    lock(posts)
    rule = Ruling.of(project)
    by_people: dict[int, int] = {}
    outcomes: dict[int, Outcome] = {}
    counts: dict[int, int] = {}
    for post, source, ballots in ballots_on(posts):
        if source in BY_PEOPLE:
            by_people[post] = len(ballots)
        else:
            outcomes[post], counts[post] = rule.decide(ballots), len(ballots)
    count_votes(by_people)
    write(outcomes, counts)
    follow_up(project, outcomes)


def follow_up(project: Project, outcomes: dict[int, Outcome]) -> None:
    """What is contested waits for people, what is settled waits no more, and a share of that is audited."""
    contest({post: outcome for post, outcome in outcomes.items() if outcome.why})
    settled = [post for post, outcome in outcomes.items() if outcome.is_settled]
    close(settled)
    draw_audits(project, settled)


@dataclass(frozen=True, slots=True)
class Ruling:
    """A project's rule, read once for many posts."""

    required: frozenset[int]
    rule: Rule
    least_confidence: float | None
    weights: Weights | None

    @classmethod
    def of(cls, project: Project) -> "Ruling":
        required = Voter.objects.filter(project=project, required=True).values_list("pk", flat=True)
        rule = cast(Rule, project.consensus)
        weights = weighing.from_json(project.weights) if rule == "weighted" and project.weights else None
        return cls(frozenset(required), rule, project.least_confidence, weights)

    def decide(self, ballots: dict[int, Ballot]) -> Outcome:
        return decide(ballots, self.required, self.rule, self.least_confidence, self.weights)


def lock(posts: Sequence[int]) -> None:
    """In one order, so that two workers never wait for each other; and a person's decision is seen, or waits for us."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT FROM annotate_post WHERE id = ANY(%s) ORDER BY id FOR NO KEY UPDATE", [list(posts)])


def ballots_on(posts: Sequence[int]) -> Iterable[tuple[int, str, dict[int, Ballot]]]:
    with connection.cursor() as cursor:
        cursor.execute(
            """SELECT post.id, post.label_source, array_agg(vote.voter_id), array_agg(vote.label_id),
                   array_agg(vote.confidence)
               FROM annotate_post AS post JOIN annotate_vote AS vote ON vote.post_id = post.id
               WHERE post.id = ANY(%s) GROUP BY post.id""",
            [list(posts)],
        )
        for post, source, voters, labels, confidences in cursor.fetchall():
            yield post, source, dict(zip(voters, map(Ballot, labels, confidences), strict=True))


def write(outcomes: dict[int, Outcome], counts: dict[int, int]) -> None:
    """A post that still waits keeps its state: a late third voter does not unsettle what two have settled."""
    rows = [
        (post, state_of(outcome), outcome.label, LabelSource.CONSENSUS if outcome.is_settled else "", counts[post])
        for post, outcome in outcomes.items()
    ]
    if not rows:
        return
    with connection.cursor() as cursor:
        cursor.execute(
            """UPDATE annotate_post AS post SET vote_count = new.votes,
                 state = coalesce(new.state, post.state),
                 label_id = CASE WHEN new.state IS NULL THEN post.label_id ELSE new.label END,
                 label_source = CASE WHEN new.state IS NULL THEN post.label_source ELSE new.source END
               FROM unnest(%s::bigint[], %s::text[], %s::bigint[], %s::text[], %s::int[])
                 AS new (id, state, label, source, votes)
               WHERE post.id = new.id""",
            [list(column) for column in zip(*rows, strict=True)],
        )


def state_of(outcome: Outcome) -> str | None:
    if outcome.is_settled:
        return State.SETTLED
    return State.CONTESTED if outcome.why else None


def count_votes(counts: dict[int, int]) -> None:
    if not counts:
        return
    with connection.cursor() as cursor:
        cursor.execute(
            """UPDATE annotate_post AS post SET vote_count = new.votes
               FROM unnest(%s::bigint[], %s::int[]) AS new (id, votes) WHERE post.id = new.id""",
            [list(counts), list(counts.values())],
        )


def contest(outcomes: dict[int, Outcome]) -> None:
    for why in {outcome.why for outcome in outcomes.values()}:
        posts = [post for post, outcome in outcomes.items() if outcome.why == why]
        Disagreement.objects.filter(post__in=posts, closed=None).exclude(why=why).update(why=why)
    Disagreement.objects.bulk_create(
        [Disagreement(post_id=post, why=outcome.why or "") for post, outcome in outcomes.items()],
        ignore_conflicts=True,
    )


def close(posts: Collection[int]) -> None:
    with connection.cursor() as cursor:
        cursor.execute(
            """UPDATE annotate_disagreement SET closed = now()
               WHERE closed IS NULL AND why <> 'audit' AND post_id = ANY(%s)""",
            [list(posts)],
        )


def draw_audits(project: Project, settled: Collection[int]) -> None:
    """A uniform sample of what machines agree on, from the first settled post on, that people check without knowing.

    Whether a post is drawn depends on nothing but its number: settling it again never draws again.
    """
    drawn = [post for post in settled if lot(project.pk, post) < project.audit_rate]
    known = set(Disagreement.objects.filter(post__in=drawn, why=Why.AUDIT).values_list("post_id", flat=True))
    Disagreement.objects.bulk_create(
        [Disagreement(post_id=p, why=Why.AUDIT, inclusion=project.audit_rate) for p in drawn if p not in known],
        ignore_conflicts=True,
    )


def lot(project: int, post: int) -> float:
    digest = hashlib.blake2b(f"audit {project} {post}".encode(), digest_size=8).digest()
    return int.from_bytes(digest) / 2**64


def label_ids(project: Project) -> dict[str, int]:
    """By name as people write it: case, quotes and spaces around it do not matter."""
    return {plain(name): pk for pk, name in Label.objects.filter(project=project).values_list("pk", "name")}


def plain(answer: str) -> str:
    return answer.strip().strip("\"'`.“”‘’").strip().casefold()


WINDOW = 2000


def settle_all(project: Project) -> int:
    """After the rule changed. In windows, each a transaction of its own: nobody waits long for a lock."""
    after, settled = 0, 0
    while posts := list(
        Post.objects.filter(project=project, vote_count__gt=0, pk__gt=after)
        .order_by("pk")
        .values_list("pk", flat=True)[:WINDOW]
    ):
        with transaction.atomic():
            settle(project, posts)
        after, settled = posts[-1], settled + len(posts)
    return settled
