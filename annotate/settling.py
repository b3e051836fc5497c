"""Apply consensus to posts, many at a time. What a person decided is never touched."""

from collections.abc import Collection, Iterable, Sequence

from django.db import connection

from .consensus import Outcome, decide
from .models import Disagreement, Label, LabelSource, Project, State, Voter

# A label from one of these stands, whatever machines say.
BY_PEOPLE = (LabelSource.REVIEW, LabelSource.IMPORT)


def settle(project: Project, posts: Sequence[int]) -> None:
    """Call inside the transaction that stored the votes, so that no vote is ever seen without its consequence."""
    required = set(Voter.objects.filter(project=project).values_list("pk", flat=True))
    by_people: dict[int, int] = {}
    outcomes: dict[int, Outcome] = {}
    counts: dict[int, int] = {}
    for post, source, cast in ballots_on(posts):
        if source in BY_PEOPLE:
            by_people[post] = len(cast)
        else:
            outcomes[post], counts[post] = decide(cast, required), len(cast)
    count_votes(by_people)
    write(outcomes, counts)
    contest({post: outcome for post, outcome in outcomes.items() if outcome.why})
    close([post for post, outcome in outcomes.items() if outcome.is_settled])


def ballots_on(posts: Sequence[int]) -> Iterable[tuple[int, str, dict[int, int | None]]]:
    with connection.cursor() as cursor:
        cursor.execute(
            """SELECT post.id, post.label_source, array_agg(vote.voter_id), array_agg(vote.label_id)
               FROM annotate_post AS post JOIN annotate_vote AS vote ON vote.post_id = post.id
               WHERE post.id = ANY(%s) GROUP BY post.id""",
            [list(posts)],
        )
        for post, source, voters, labels in cursor.fetchall():
            yield post, source, dict(zip(voters, labels, strict=True))


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
            "UPDATE annotate_disagreement SET closed = now() WHERE closed IS NULL AND post_id = ANY(%s)", [list(posts)]
        )


def label_ids(project: Project) -> dict[str, int]:
    """By name as people write it: case, quotes and spaces around it do not matter."""
    return {plain(name): pk for pk, name in Label.objects.filter(project=project).values_list("pk", "name")}


def plain(answer: str) -> str:
    return answer.strip().strip("\"'`.“”‘’").strip().casefold()
