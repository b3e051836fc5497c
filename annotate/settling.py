"""Apply consensus to posts, many at a time. What a person decided is never touched."""

import hashlib
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, cast

from django.db import connection, transaction
from django.db.models import Q

from . import weighing
from .consensus import WAITING, Ballot, Outcome, Rule, Weights, decide
from .models import Disagreement, Label, LabelSource, Post, Project, State, Voter
from .models.review import Stream, Why

# A label from one of these stands, whatever machines say. One that a tuned model gave stands until voters agree.
BY_PEOPLE = (LabelSource.REVIEW, LabelSource.IMPORT)


def settle(project: Project, posts: Sequence[int]) -> None:
    """Call inside the transaction that stored the votes, so that no vote is ever seen without its consequence."""
    lock(posts)
    rule = Ruling.of(project)
    standing: dict[int, int] = {}
    outcomes: dict[int, Outcome] = {}
    counts: dict[int, int] = {}
    for post, stands, votes, ballots in ballots_on(posts):
        outcome = WAITING if stands == "people" else rule.decide(ballots)
        if stands == "people" or (stands == "model" and not outcome.is_settled):
            standing[post] = votes
        else:
            outcomes[post], counts[post] = outcome, votes
    count_votes(standing)
    write(outcomes, counts)
    follow_up(project, outcomes)


def follow_up(project: Project, outcomes: dict[int, Outcome]) -> None:
    """What is contested waits for people, what is settled waits no more, and a share of that is audited."""
    contest(project, {post: outcome for post, outcome in outcomes.items() if outcome.why})
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


Stands = Literal["people", "model", ""]


def ballots_on(posts: Sequence[int]) -> Iterable[tuple[int, Stands, int, dict[int, Ballot]]]:
    """Of each post: whose word on it stands, how many votes it has, and those that consensus hears."""
    with connection.cursor() as cursor:
        cursor.execute(
            """SELECT post.id, CASE WHEN post.label_source = ANY(%s) OR post.state = 'aside' THEN 'people'
                     WHEN post.label_source = 'model' THEN 'model' ELSE '' END, count(*),
                   array_agg(vote.voter_id) FILTER (WHERE voter.retired IS NULL AND voter.heard),
                   array_agg(vote.label_id) FILTER (WHERE voter.retired IS NULL AND voter.heard),
                   array_agg(vote.confidence) FILTER (WHERE voter.retired IS NULL AND voter.heard)
               FROM annotate_post AS post JOIN annotate_vote AS vote ON vote.post_id = post.id
               JOIN annotate_voter AS voter ON voter.id = vote.voter_id
               WHERE post.id = ANY(%s) GROUP BY post.id""",
            [list(BY_PEOPLE), list(posts)],
        )
        for post, stands, votes, voters, labels, confidences in cursor.fetchall():
            heard = zip(voters or (), map(Ballot, labels or (), confidences or ()), strict=True)
            yield post, stands, votes, dict(heard)


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


# In this order people are asked. Between two of these a twin has room to stand behind what is like it.
TIERS: dict[str | None, int] = {Why.SPLIT: 0, Why.UNSURE: 2, Why.ABSTAINED: 4}
TWIN = 1


def contest(project: Project, outcomes: Mapping[int, Outcome]) -> None:
    if not outcomes:
        return
    twins = twins_among(outcomes)
    ranks = {post: rank_of(outcome) + TWIN * (post in twins) for post, outcome in outcomes.items()}
    reopen(outcomes, ranks)
    Disagreement.objects.bulk_create(
        [
            Disagreement(
                project=project, post_id=post, why=outcome.why or "", stream=Stream.CONTESTED, rank=ranks[post],
                wanted=1 + (lot("twice", project.pk, post) < project.double_rate),
            )
            for post, outcome in outcomes.items()
        ],
        ignore_conflicts=True,
    )  # fmt: skip


def rank_of(outcome: Outcome) -> float:
    return TIERS[outcome.why] + 1 - outcome.information


def twins_among(outcomes: Mapping[int, Outcome]) -> set[int]:
    """Of near-duplicates one is asked about first, the one that teaches most; the others wait behind."""
    homes = Post.objects.filter(pk__in=list(outcomes), template__isnull=False).values_list("template_id", "pk")
    groups: dict[int, list[int]] = {}
    for template, post in homes:
        groups.setdefault(template, []).append(post)
    with connection.cursor() as cursor:
        cursor.execute(
            """SELECT template FROM unnest(%s::bigint[]) AS template WHERE EXISTS (
                 SELECT FROM annotate_post AS post JOIN annotate_disagreement AS d ON d.post_id = post.id
                 WHERE post.template_id = template AND d.closed IS NULL AND NOT post.id = ANY(%s))""",
            [list(groups), list(outcomes)],
        )
        waiting = {template for (template,) in cursor.fetchall()}
    firsts = {
        min(posts, key=lambda post: (rank_of(outcomes[post]), post))
        for template, posts in groups.items()
        if template not in waiting
    }
    return {post for posts in groups.values() for post in posts} - firsts


def reopen(outcomes: Mapping[int, Outcome], ranks: Mapping[int, float]) -> None:
    """What is open already is open for a new reason; what people differ on is theirs."""
    with connection.cursor() as cursor:
        cursor.execute(
            """UPDATE annotate_disagreement AS d SET why = new.why, stream = %s, rank = new.rank
               FROM unnest(%s::bigint[], %s::text[], %s::float8[]) AS new (post, why, rank)
               WHERE d.post_id = new.post AND d.closed IS NULL AND d.stream <> %s AND d.why <> new.why""",
            [
                Stream.CONTESTED, list(outcomes), [outcome.why for outcome in outcomes.values()],
                [ranks[post] for post in outcomes], Stream.CONFLICT,
            ],
        )  # fmt: skip


def close(posts: Collection[int]) -> None:
    """But what somebody has answered, or has on the screen, is decided by people."""
    with connection.cursor() as cursor:
        cursor.execute(
            """UPDATE annotate_disagreement SET closed = now()
               WHERE closed IS NULL AND post_id = ANY(%s) AND stream = %s AND answers = 0
                 AND (held_until IS NULL OR held_until < now())""",
            [list(posts), Stream.CONTESTED],
        )


# Closed without an answer, because the label that was to be checked was taken back.
UNANSWERED = Q(closed__isnull=False, was_state="", answers=0)


def draw_audits(project: Project, settled: Collection[int], rate: float | None = None, purpose: str = "audit") -> None:
    """A uniform sample of what machines agree on, from the first settled post on, that people check without knowing.

    Whether a post is drawn depends on nothing but its number: settling it again never draws again. `rate` is the
    project's, unless what was settled has one of its own; then its `purpose` is one too, or a sample that was drawn
    from these posts before, and left the others behind, would be drawn once more.
    """
    rate = project.audit_rate if rate is None else rate
    drawn = [post for post in settled if lot(purpose, project.pk, post) < rate]
    before = Disagreement.objects.filter(post__in=drawn, why=Why.AUDIT).exclude(UNANSWERED)
    known = set(before.values_list("post_id", flat=True))
    Disagreement.objects.bulk_create(
        [
            Disagreement(
                project=project, post_id=post, why=Why.AUDIT, stream=Stream.AUDIT, wanted=2,
                rank=lot("order", project.pk, post), inclusion=rate,
            )
            for post in drawn
            if post not in known
        ],
        ignore_conflicts=True,
    )  # fmt: skip


def lot(purpose: str, project: int, post: int) -> float:
    """Between 0 and 1, and the same whenever it is drawn."""
    digest = hashlib.blake2b(f"{purpose} {project} {post}".encode(), digest_size=8).digest()
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
    drawn_anew(project)
    return settled


def drawn_anew(project: Project) -> None:
    """Where more are audited than before, what was drawn already would be drawn at the new rate too. Left at the old
    one, a handful would stand for half of all posts."""
    audits = Disagreement.objects.filter(project=project, why=Why.AUDIT, inclusion__lt=project.audit_rate)
    settled = Q(was_source=LabelSource.CONSENSUS) | Q(was_source="", post__label_source=LabelSource.CONSENSUS)
    audits.filter(settled).update(inclusion=project.audit_rate)
