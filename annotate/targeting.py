"""The settled posts most likely to be wrong: found among all of them by a task, shown to a lead, then put to people."""

from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

from django.db import connection, transaction
from django.db.models import QuerySet, Sum
from django.db.models.functions import Now
from django.utils import timezone
from django_q.tasks import async_task

from . import audit, quality, risk, weighing
from .consensus import Ballot, Weights, posterior_of
from .models import Disagreement, Event, Post, Project, Tally, Targeting, User
from .models.project import Rule
from .models.review import Stream, TargetingState, Why
from .quality import MACHINES
from .risk import Candidate, Risk
from .settling import lot

CHUNK = 4000  # posts, scored in about half a second
FORGOTTEN = timedelta(days=1)  # what was found and never asked for


class Stopped(Exception):
    """Somebody discarded it while we looked."""


def ask(project: Project, by: User, posts: int) -> Targeting:
    """Starts the search; its page shows how far it has come."""
    stale = Targeting.objects.filter(project=project, created__lt=timezone.now() - FORGOTTEN)
    stale.exclude(state=TargetingState.ASKED).delete()
    with transaction.atomic():
        targeting = Targeting.objects.create(project=project, by=by, posts=posts, total=candidates_in(project))
        async_task("annotate.tasks.find_riskiest", targeting.pk, task_name=f"riskiest {targeting.pk}")
    return targeting


def candidates_in(project: Project) -> int:
    settled = Tally.objects.filter(project=project, state="settled", label_source__in=MACHINES, holdout=False)
    total: int = settled.aggregate(n=Sum("posts", default=0))["n"]
    return max(0, total)


def search(targeting: Targeting) -> None:
    """Delivered twice, it looks once."""
    begun = Targeting.objects.filter(pk=targeting.pk, state=TargetingState.SEARCHING, heartbeat=None)
    if not begun.update(heartbeat=Now()):
        return
    try:
        find(targeting)
    except Stopped:
        return
    except Exception:
        searching(targeting).update(state=TargetingState.FAILED, error="It broke off; ask for them again.")
        raise


def find(targeting: Targeting) -> None:
    project = targeting.project
    known = learn(project)
    picked = risk.riskiest(known, chunks(targeting, weights_of(project)), targeting.posts)
    expected = known.expected([score for _, score in picked])
    found, low, high = expected or (None, None, None)
    searching(targeting).update(
        state=TargetingState.READY, picked=picked, posts=len(picked), method=method_of(known),
        expected=found, low=low, high=high, by_chance=by_chance(project, len(picked)),
    )  # fmt: skip


def searching(targeting: Targeting) -> QuerySet[Targeting]:
    return Targeting.objects.filter(pk=targeting.pk, state=TargetingState.SEARCHING)


def method_of(known: Risk) -> str:
    if known.kind == "model":
        return f"a model of {known.audits:,} audits, {known.errors:,} of them wrong"
    return f"least confidence, with {known.audits:,} audits, {known.errors:,} of them wrong"


def by_chance(project: Project, posts: int) -> float | None:
    """How many wrong labels are among as many settled posts at random, as the audits tell."""
    left, still = quality.read(project).left, candidates_in(project)
    return posts * min(1.0, left.value / still) if left and still else None


# --- What is known about posts
class Settled(NamedTuple):
    post: int
    label: int
    has_image: bool
    length: int


class Votes(NamedTuple):
    ballots: dict[int, Ballot]
    incongruous: bool
    readings_differ: bool


NO_VOTES = Votes({}, False, False)
VOTES = """
SELECT vote.post_id, array_agg(vote.voter_id), array_agg(vote.label_id), array_agg(vote.confidence),
  coalesce(bool_or(vote.incongruous), FALSE),
  bool_or(vote.text_reading <> '' AND vote.image_reading <> ''
    AND lower(vote.text_reading) <> lower(vote.image_reading))
FROM annotate_vote AS vote JOIN annotate_voter AS voter ON voter.id = vote.voter_id AND voter.retired IS NULL
WHERE vote.post_id = ANY(%s) GROUP BY vote.post_id
"""


def describe(posts: Sequence[Settled], weights: Weights | None) -> list[Candidate]:
    """Without looking at them: how machines voted, and what a post is made of."""
    votes = votes_on([one.post for one in posts])
    return [candidate(one, votes.get(one.post, NO_VOTES), weights) for one in posts]


def votes_on(posts: list[int]) -> dict[int, Votes]:
    with connection.cursor() as cursor:
        cursor.execute(VOTES, [posts])
        return {
            post: Votes(dict(zip(voters, map(Ballot, labels, confidences), strict=True)), incongruous, differ)
            for post, voters, labels, confidences, incongruous, differ in cursor.fetchall()
        }


def candidate(one: Settled, votes: Votes, weights: Weights | None) -> Candidate:
    alike = {voter: ballot.confidence for voter, ballot in votes.ballots.items() if ballot.label == one.label}
    return Candidate(
        label=one.label,
        confidences=alike,
        dissent=len(votes.ballots) - len(alike),
        incongruous=votes.incongruous,
        readings_differ=votes.readings_differ,
        has_image=one.has_image,
        length=one.length,
        posterior=posterior_of(votes.ballots, weights).get(one.label) if weights else None,
    )


def weights_of(project: Project) -> Weights | None:
    if project.consensus != Rule.WEIGHTED or not project.weights:
        return None
    return weighing.from_json(project.weights)


def learn(project: Project) -> Risk:
    """From the audits, each weighed by its chance of being drawn."""
    told = [(post, one, reading) for post, one in quality.audits(project) if (reading := audit.read(one))]
    weights = weights_of(project)
    described: list[Candidate] = []
    for first in range(0, len(told), CHUNK):
        some = [(post, one.was) for post, one, _ in told[first : first + CHUNK]]
        described += describe(as_audited(some), weights)
    wrong = [reading.said != one.was for _, one, reading in told]
    return risk.fit(described, wrong, [1 / one.inclusion for _, one, _ in told])


def as_audited(some: Sequence[tuple[int, int]]) -> list[Settled]:
    """With the label that machines had given, whatever stands there now."""
    with connection.cursor() as cursor:
        cursor.execute(
            """SELECT post.id, drawn.was, post.image_id IS NOT NULL, char_length(post.text)
               FROM unnest(%s::bigint[], %s::bigint[]) WITH ORDINALITY AS drawn (id, was, turn)
               JOIN annotate_post AS post ON post.id = drawn.id ORDER BY drawn.turn""",
            [[post for post, _ in some], [was for _, was in some]],
        )
        return [Settled(*row) for row in cursor.fetchall()]


# In the order of an index, so that the last chunk is as quick as the first. The locked test set, what is being looked
# at already and what people decided are nobody's to look at again.
NEXT = """
SELECT post.id, post.label_id, post.image_id IS NOT NULL, char_length(post.text), post.at
FROM annotate_post AS post
WHERE post.project_id = %(project)s AND post.label_source = %(source)s AND (post.at, post.id) > (%(at)s, %(pk)s)
  AND post.state = 'settled' AND NOT post.holdout
  AND NOT EXISTS (SELECT FROM annotate_disagreement AS d WHERE d.post_id = post.id AND d.closed IS NULL)
ORDER BY post.at, post.id LIMIT %(size)s
"""


def chunks(targeting: Targeting, weights: Weights | None) -> Iterator[tuple[list[int], list[Candidate]]]:
    """All settled posts that may be asked about. Each chunk tells how far it has come."""
    looked_at = 0
    for source in MACHINES:
        for posts in settled_by(targeting.project, source):
            yield [one.post for one in posts], describe(posts, weights)
            looked_at += len(posts)
            if not searching(targeting).update(looked_at=looked_at, heartbeat=Now()):
                raise Stopped


def settled_by(project: Project, source: str) -> Iterable[list[Settled]]:
    at, pk = datetime.min.replace(tzinfo=UTC), 0
    while rows := after(project, source, at, pk):
        yield [one for one, _ in rows]
        at, pk = rows[-1][1], rows[-1][0].post


def after(project: Project, source: str, at: datetime, pk: int) -> list[tuple[Settled, datetime]]:
    with connection.cursor() as cursor:
        cursor.execute(NEXT, {"project": project.pk, "source": source, "at": at, "pk": pk, "size": CHUNK})
        return [(Settled(*known), at) for *known, at in cursor.fetchall()]


# --- Put to people
def put_to_people(targeting: Targeting, by: User) -> int:
    """What has been decided or taken up since it was found is left out. Asked twice, it is done once."""
    with transaction.atomic():
        ready = Targeting.objects.select_for_update().filter(pk=targeting.pk, state=TargetingState.READY).first()
        if ready is None:
            return 0
        chances = dict(ready.picked)
        Disagreement.objects.bulk_create(
            [disagreement(ready, post, chances[post]) for post in still_settled(ready.project, chances)],
            ignore_conflicts=True,
        )
        ready.state, ready.asked_at, ready.picked = TargetingState.ASKED, timezone.now(), []
        ready.posts = ready.asked.count()
        ready.save(update_fields=["state", "asked_at", "picked", "posts"])
        Event.record("riskiest asked for", user=by, project=ready.project, posts=ready.posts)
    return ready.posts


def still_settled(project: Project, posts: Iterable[int]) -> list[int]:
    """Locked until we are done, in the order in which settling locks them."""
    settled = Post.objects.filter(
        project=project, pk__in=list(posts), state="settled", label_source__in=MACHINES, holdout=False
    )
    return list(settled.select_for_update(no_key=True).order_by("pk").values_list("pk", flat=True))


def disagreement(targeting: Targeting, post: int, chance: float) -> Disagreement:
    """The riskiest first; as often by two people as any other post, so that nothing gives it away."""
    project = targeting.project
    return Disagreement(
        project=project, post_id=post, targeting=targeting, why=Why.RISK, stream=Stream.RISK, rank=1 - chance,
        wanted=1 + (lot("twice", project.pk, post) < project.double_rate),
    )  # fmt: skip


def discard(targeting: Targeting) -> bool:
    """Also while it is being looked for: the task notices."""
    gone, _ = Targeting.objects.filter(pk=targeting.pk).exclude(state=TargetingState.ASKED).delete()
    return bool(gone)


# --- What it found
class Found(NamedTuple):
    asked: int
    done: int
    wrong: int
    aside: int
    expected: float  # among those that are done
    waiting: int


NOTHING = Found(0, 0, 0, 0, 0.0, 0)
FOUND = """
SELECT targeting_id, count(*), count(*) FILTER (WHERE was_state <> ''),
  count(*) FILTER (WHERE label_id <> was_label_id AND was_source = ANY(%(machines)s)),
  count(*) FILTER (WHERE was_state <> '' AND label_id IS NULL),
  coalesce(sum(1 - rank) FILTER (WHERE was_state <> '' AND why = 'risk'), 0), count(*) FILTER (WHERE closed IS NULL)
FROM annotate_disagreement WHERE targeting_id = ANY(%(targetings)s) GROUP BY targeting_id
"""


def found_by(targetings: Iterable[Targeting]) -> dict[int, Found]:
    with connection.cursor() as cursor:
        cursor.execute(FOUND, {"machines": list(MACHINES), "targetings": [one.pk for one in targetings]})
        return {pk: Found(*rest) for pk, *rest in cursor.fetchall()}
