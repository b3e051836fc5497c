"""How a voting run begins, and what it is expected to cost before it does."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import Any, NamedTuple

from django.db import connection, transaction
from django.db.models import Q, QuerySet, Sum
from django_q.tasks import async_task

from annotate.browse import Filters, matching
from annotate.models import Event, Post, Project, User, Voter, VoteTally

from . import batch, pricing, wording
from .asking import unvoted
from .models import Asked, Failure, Mode, Part, RunState, VotingRun
from .providers import PROVIDERS

RECENT = 500  # answers that an estimate looks at
COUNTED = 10_000  # posts: of more, so many drawn by lot tell of how many a voter has spoken already


class CannotStart(Exception):
    """The message is a sentence that says what to mend."""


class Usage(NamedTuple):
    answers: int
    tokens_in: float | None
    tokens_out: float | None


@dataclass(frozen=True, slots=True)
class Estimate:
    voter: Voter
    posts: int  # that were chosen
    asks: int
    answers: int  # how many real answers it rests on; none means a pilot is due
    tokens_in: float | None
    tokens_out: float | None
    each: Decimal | None
    batch_factor: Decimal | None
    missing: str  # a sentence, where the voter's key is not set
    ends: date | None  # when its provider switches the model off
    change: wording.Change | None  # of what it is asked beside the post
    is_drawn: bool = False  # whether the asks are told by a part of the posts

    @property
    def total(self) -> Decimal | None:
        return None if self.each is None else self.each * self.asks

    @property
    def all_in(self) -> float | None:
        return None if self.tokens_in is None else self.tokens_in * self.asks

    @property
    def all_out(self) -> float | None:
        return None if self.tokens_out is None else self.tokens_out * self.asks

    @property
    def in_batch(self) -> Decimal | None:
        return None if self.total is None or self.batch_factor is None else self.total * self.batch_factor


def estimates(run: VotingRun, voters: Sequence[Voter]) -> list[Estimate]:
    """From each voter's own answers, or those of the same model elsewhere; never from a constant."""
    used, asks, changed = usages(voters), asks_of(run, voters), wording.changes(run.project)
    return [estimate(run, voter, used[voter.pk], asks[voter.pk], changed.get(voter.pk)) for voter in voters]


class Asks(NamedTuple):
    posts: int
    number: int
    is_drawn: bool = False


def estimate(run: VotingRun, voter: Voter, used: Usage, asks: Asks, change: wording.Change | None) -> Estimate:
    price = None
    if voter.provider == "offline":
        price = Decimal(0)
    elif used.answers:
        price = pricing.price_of(
            voter.provider, voter.model, round(used.tokens_in or 0), round(used.tokens_out or 0), voter.parameters
        )
    return Estimate(
        voter=voter, posts=asks.posts, asks=asks.number if run.limit is None else min(asks.number, run.limit),
        answers=used.answers,
        tokens_in=used.tokens_in, tokens_out=used.tokens_out, each=price,
        batch_factor=PROVIDERS[voter.provider].batch_factor,
        missing=PROVIDERS[voter.provider].missing(voter.parameters), ends=pricing.ends(voter.provider, voter.model),
        change=change, is_drawn=asks.is_drawn,
    )  # fmt: skip


# One for each voter, and all of them sent at once: written out, so that PostgreSQL knows whose votes are many.
LATEST = """
SELECT %s::bigint, count(*), avg(tokens_in)::float8, avg(tokens_out)::float8 FROM (
  SELECT tokens_in, tokens_out FROM annotate_vote WHERE voter_id = ANY(%s::bigint[]) AND tokens_in IS NOT NULL
  ORDER BY id DESC LIMIT %s
) AS latest
"""


def usages(voters: Sequence[Voter]) -> dict[int, Usage]:
    used = latest_of({voter.pk: [voter.pk] for voter in voters})
    new = [voter for voter in voters if not used[voter.pk].answers]
    made = [(voter.provider, voter.model) for voter in new]
    kin: dict[tuple[str, str], list[int]] = {}
    alike = Voter.objects.filter(provider__in={one for one, _ in made}, model__in={one for _, one in made})
    for pk, provider, model in alike.values_list("pk", "provider", "model") if new else ():
        kin.setdefault((provider, model), []).append(pk)
    return used | latest_of({voter.pk: kin[voter.provider, voter.model] for voter in new})


def latest_of(asked: Mapping[int, list[int]]) -> dict[int, Usage]:
    """What the latest answers of some took, for each who asks."""
    if not asked:
        return {}
    with connection.cursor() as cursor:
        cursor.execute(" UNION ALL ".join([LATEST] * len(asked)), [
            value for pk, voters in asked.items() for value in (pk, voters, RECENT)
        ])  # fmt: skip
        return {pk: Usage(*told) for pk, *told in cursor.fetchall()}


# As many as we look at are drawn by a hash of their number, which knows nothing about them.
POSTS = """
SELECT count(*), (array_agg(pk ORDER BY hashint8(pk)) FILTER (WHERE hashint8(pk) %% 8 = 0))[:%s]
FROM ({posts}) AS asked (pk)
"""
SPOKEN = """
SELECT voter_id, count(*) FROM annotate_vote WHERE voter_id = ANY(%s::bigint[]) AND post_id IN ({posts}) GROUP BY 1
"""
ALL_OF = "SELECT unnest(%s::bigint[])"


def asks_of(run: VotingRun, voters: Sequence[Voter]) -> dict[int, Asks]:
    """How many of the posts each has not spoken of. Where it is all of them, both numbers stand already."""
    match = matching(run.project, Filters.from_query(run.posts))
    tallied = VoteTally.objects.filter(voter_id__in=[voter.pk for voter in voters]).values("voter_id")
    votes = dict(tallied.annotate(n=Sum("votes")).values_list("voter_id", "n"))
    if not run.posts:
        posts = match.count().number
        return {voter.pk: Asks(posts, posts - votes.get(voter.pk, 0)) for voter in voters}
    return asks_among(match.posts, {voter.pk: bool(votes.get(voter.pk)) for voter in voters})


def asks_among(posts: QuerySet[Post], spoke: Mapping[int, bool]) -> dict[int, Asks]:
    """`spoke`: whether a voter has ever said anything."""
    if posts.query.is_empty():  # what was asked for cannot be understood
        return dict.fromkeys(spoke, Asks(0, 0))
    asked, values = posts.order_by().values("pk").query.sql_with_params()
    [(number, drawn)] = told(POSTS.format(posts=asked), COUNTED, *values)
    voters = [pk for pk, ever in spoke.items() if ever]
    if number <= COUNTED:
        spoken = dict(told(SPOKEN.format(posts=asked), voters, *values) if number else [])
        return {pk: Asks(number, number - spoken.get(pk, 0)) for pk in spoke}
    spoken = dict(told(SPOKEN.format(posts=ALL_OF), voters, drawn))
    left = {pk: round(number * (1 - spoken.get(pk, 0) / len(drawn))) for pk in voters}
    return {pk: Asks(number, left.get(pk, number), is_drawn=pk in left) for pk in spoke}


def told(statement: str, *values: Any) -> list[tuple[Any, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(statement, values)
        rows: list[tuple[Any, ...]] = cursor.fetchall()
    return rows


def askable(project: Project) -> list[Voter]:
    """Voters that came with a file cannot be asked, and those that were replaced are offered no more."""
    return list(could_be_asked(project).filter(retired=None))


def could_be_asked(project: Project) -> QuerySet[Voter]:
    return project.voters.filter(provider__in=PROVIDERS)


def start(
    project: Project,
    by: User | None,
    voters: Sequence[Voter],
    *,
    posts: dict[str, str] | None = None,
    budget: Decimal | None = None,
    limit: int | None = None,
    mode: str = Mode.LIVE,
    queue: bool = True,
) -> VotingRun:
    check(project, voters, posts or {}, budget, mode)
    with transaction.atomic():
        Project.objects.select_for_update().get(pk=project.pk)
        refuse_busy(voters)
        run = VotingRun.objects.create(project=project, by=by, posts=posts or {}, budget=budget, limit=limit, mode=mode)
        totals = {voter.pk: unvoted(run, voter).count() for voter in voters}
        if not any(totals.values()):
            raise CannotStart("Every one of these posts has a vote of each of these voters already.")
        Part.objects.bulk_create(
            Part(run=run, voter=v, total=totals[v.pk] if limit is None else min(limit, totals[v.pk])) for v in voters
        )
        Event.record("voting started", user=by, project=project, run=run.pk, voters=[voter.name for voter in voters])
        if queue:
            enqueue(run)
    return run


def check(
    project: Project, voters: Sequence[Voter], posts: dict[str, str], budget: Decimal | None, mode: str = Mode.LIVE
) -> None:
    if not voters:
        raise CannotStart("Choose at least one voter.")
    if mend := matching(project, Filters.from_query(posts)).mend:
        raise CannotStart(" ".join(mend))
    if problems := [sentence for voter in voters if (sentence := problem_with(voter))]:
        raise CannotStart(" ".join(dict.fromkeys(problems)))
    if problems := [problem for voter in voters if mode == Mode.BATCH and (problem := problem_in_batch(voter))]:
        raise CannotStart(" ".join(dict.fromkeys(problems)))
    unpriced = [
        v.name for v in voters if budget is not None and not pricing.is_known(v.provider, v.model, v.parameters)
    ]
    if unpriced:
        raise CannotStart(
            f"The price of {' and '.join(unpriced)} is unknown, so no budget can be kept: "
            "give the voter price_in and price_out (dollars a million tokens), or start without a budget."
        )


def problem_with(voter: Voter) -> str:
    """What would stop this voter at its first ask, said before a run starts."""
    provider = PROVIDERS[voter.provider]
    return provider.missing(voter.parameters) or provider.problem_with(voter.model, voter.parameters)


def problem_in_batch(voter: Voter) -> str:
    return batch.unfit(voter.provider, voter.parameters)


def enqueue(run: VotingRun) -> None:
    async_task("labeling.tasks.vote", run.pk, task_name=f"voting {run.pk}")


def busy(voters: Iterable[Voter], but: VotingRun | None = None) -> list[str]:
    """Whom another run is at work with, or may be at any moment."""
    others = VotingRun.objects.under_way().exclude(pk=but.pk if but else 0)
    return sorted(set(Part.objects.filter(voter__in=voters, run__in=others).values_list("voter__name", flat=True)))


def refuse_busy(voters: Iterable[Voter], but: VotingRun | None = None) -> None:
    if taken := busy(voters, but):
        is_voting = "is voting" if len(taken) == 1 else "are voting"
        raise CannotStart(f"{' and '.join(taken)} {is_voting} in another run; resume or cancel that one first.")


def pause(run: VotingRun, by: User | None = None) -> None:
    """A run in batches asks for no more, and stays to fetch what is at the provider."""
    if run.ask_for(Asked.PAUSE):
        record("voting paused", run, by)


def cancel(run: VotingRun, by: User | None = None) -> None:
    """A run in batches has them cancelled at the provider first, and fetches what was done until then."""
    if run.ask_for(Asked.CANCEL):
        record("voting cancelled", run, by)
    if VotingRun.objects.claimable().filter(pk=run.pk, mode=Mode.BATCH).exists():
        enqueue(run)  # rather than at the next minute


def resume(run: VotingRun, budget: Decimal | None = None, *, by: User | None = None, queue: bool = True) -> bool:
    """Also takes up a run whose worker died. A raised budget takes effect from here on."""
    with transaction.atomic():
        rested = not VotingRun.objects.filter(pk=run.pk, state=RunState.QUEUED).exists()
        if not take_up(run, budget):
            return False
        if rested:
            record("voting resumed", run, by)
        if queue:
            enqueue(run)
    return True


def take_up(run: VotingRun, budget: Decimal | None = None) -> bool:
    resumable = Q(state=RunState.PAUSED) | Q(state=RunState.FAILED) | Q(pk__in=VotingRun.objects.claimable())
    resumable |= Q(state=RunState.RUNNING, asked=Asked.PAUSE, waits_until__isnull=False)
    Project.objects.select_for_update().get(pk=run.project_id)
    resumed = VotingRun.objects.filter(resumable, pk=run.pk)
    if not resumed.exists():
        return False
    refuse_busy(Voter.objects.filter(parts__run=run), but=run)
    changes: dict[str, Any] = {"state": RunState.QUEUED, "asked": "", "error": "", "ended": None, "waits_until": None}
    if budget is not None:
        changes["budget"] = budget
    if not resumed.update(**changes):
        return False
    Part.objects.filter(run=run).update(stopped="")
    run.refresh_from_db()
    return True


@transaction.atomic
def retry_failures(run: VotingRun, cause: str = "", by: User | None = None) -> int:
    """What failed becomes pending again, all of it or one cause of it."""
    failures = Failure.objects.filter(part__run=run)
    gone, _ = (failures.filter(cause=cause) if cause else failures).delete()
    if not gone:
        return 0
    if run.is_over:
        VotingRun.objects.filter(pk=run.pk).update(state=RunState.PAUSED)
    if take_up(run):
        enqueue(run)
    record("failures retried", run, by, posts=gone, **({"cause": cause} if cause else {}))
    return gone


def record(verb: str, run: VotingRun, by: User | None, **data: Any) -> None:
    Event.record(verb, user=by, project=run.project, run=run.pk, voters=voters_of(run), **data)


def voters_of(run: VotingRun) -> list[str]:
    return list(run.parts.values_list("voter__name", flat=True))
