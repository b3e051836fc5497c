"""Answers into the database, in one transaction with their consequences; and what a run has on record."""

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal

from django.db import connection, transaction
from django.db.models import QuerySet
from django.db.models.functions import Now
from django.utils import timezone

from annotate import removing, settling
from annotate.models import Event

from .models import Failure, Part, RunState, VotingRun
from .providers.contract import Answer


class LostClaim(Exception):
    """Another worker took the run over while we were silent; whatever it finds stored stands."""


@dataclass(slots=True)
class Result:
    post: int
    answer: Answer | None = None
    failure: str = ""
    cost: Decimal | None = None
    latency_ms: int | None = None


@dataclass(frozen=True, slots=True)
class Batch:
    part: Part
    results: Sequence[Result]
    stopped: str = ""


def parts_of(run: VotingRun) -> list[Part]:
    return list(run.parts.select_related("voter", "voter__project").order_by("pk"))


def grant(run: VotingRun, granted: Decimal) -> None:
    if not mine(run).update(granted=granted):
        raise LostClaim


def mine(run: VotingRun) -> QuerySet[VotingRun]:
    return VotingRun.objects.filter(pk=run.pk, state=RunState.RUNNING, claim_number=run.claim_number)


@transaction.atomic
def store(run: VotingRun, batches: Sequence[Batch]) -> str:
    """Returns what somebody asked of the run meanwhile. A worker that lost the run writes nothing."""
    if not mine(run).update(heartbeat=Now()):
        raise LostClaim
    posts: list[int] = []
    there = removing.staying([result.post for batch in batches for result in batch.results])
    for batch in (replace(batch, results=[r for r in batch.results if r.post in there]) for batch in batches):
        stored = insert_votes(batch)
        posts += stored
        keep_failures(batch)
        count(batch, set(stored))
    settling.settle(run.project, sorted(set(posts)))
    return str(VotingRun.objects.values_list("asked", flat=True).get(pk=run.pk))


def insert_votes(batch: Batch) -> list[int]:
    labels = settling.label_ids(batch.part.voter.project)
    rows = [row_of(result, result.answer, labels) for result in batch.results if result.answer]
    if not rows:
        return []
    with connection.cursor() as cursor:
        cursor.execute(
            """INSERT INTO annotate_vote (post_id, voter_id, label_id, confidence, probabilities, reason, text_reading,
                   image_reading, incongruous, raw, tokens_in, tokens_out, cost, latency_ms, created)
               SELECT post, %s, label, confidence, probabilities::jsonb, reason, text_reading, image_reading,
                   incongruous, raw, tokens_in, tokens_out, cost, latency_ms, now()
               FROM unnest(%s::bigint[], %s::bigint[], %s::float8[], %s::text[], %s::text[], %s::text[], %s::text[],
                   %s::bool[], %s::text[], %s::int[], %s::int[], %s::numeric[], %s::int[])
                 AS new (post, label, confidence, probabilities, reason, text_reading, image_reading, incongruous,
                   raw, tokens_in, tokens_out, cost, latency_ms)
               ON CONFLICT (post_id, voter_id) DO NOTHING RETURNING post_id""",
            [batch.part.voter_id, *(list(column) for column in zip(*rows, strict=True))],
        )
        return [post for (post,) in cursor.fetchall()]


def row_of(result: Result, answer: Answer, labels: dict[str, int]) -> tuple[object, ...]:
    reason = f"{answer.abstained}: {answer.reason}".strip(": ") if answer.abstained else answer.reason
    return (
        result.post,
        labels.get(settling.plain(answer.label)) if answer.label else None,
        answer.confidence,
        json.dumps(answer.probabilities) if answer.probabilities else None,
        storable(reason),
        storable(answer.text_reading)[:200],
        storable(answer.image_reading)[:200],
        answer.incongruous,
        storable(answer.raw),
        answer.usage.tokens_in,
        answer.usage.tokens_out,
        result.cost,
        result.latency_ms,
    )


def storable(text: str) -> str:
    """PostgreSQL takes neither NUL nor half a surrogate pair, and models send both."""
    return text.replace("\0", "").encode("utf-8", "replace").decode()


def keep_failures(batch: Batch) -> None:
    failed = [
        Failure(part=batch.part, post_id=r.post, cause=storable(r.failure).strip()) for r in batch.results if r.failure
    ]
    Failure.objects.bulk_create(failed, ignore_conflicts=True)


def count(batch: Batch, stored: set[int]) -> None:
    if not batch.results and batch.part.stopped == batch.stopped:
        return
    part = Part.objects.get(pk=batch.part.pk)  # afresh: a transaction that is tried again must not count twice
    answers = [(r, r.answer) for r in batch.results if r.answer and r.post in stored]
    part.add(
        done=len(answers),
        abstained=sum(answer.label is None for _, answer in answers),
        tokens_in=sum(answer.usage.tokens_in or 0 for _, answer in answers),
        tokens_out=sum(answer.usage.tokens_out or 0 for _, answer in answers),
        cost=sum(known_costs(r for r, _ in answers), Decimal(0)),
        unpriced=sum(r.cost is None for r, _ in answers),
        by_label=Counter(answer.label for _, answer in answers if answer.label),
    )
    part.stopped = batch.part.stopped = batch.stopped
    part.save()


def known_costs(results: Iterable[Result]) -> Iterable[Decimal]:
    return (result.cost for result in results if result.cost is not None)


def finish(run: VotingRun, state: RunState, error: str) -> None:
    was_told = state in {RunState.PAUSED, RunState.CANCELLED} and not error  # on record already, with who told it
    run.state, run.error, run.asked, run.ended = state, error, "", timezone.now()
    with transaction.atomic():
        run.save(update_fields=["state", "error", "asked", "ended"])
        spent = run.spent
        VotingRun.objects.filter(pk=run.pk).update(granted=spent)
        if was_told:
            return
        Event.record(
            f"voting {state.label.lower()}", user=run.by, project=run.project, run=run.pk,
            votes=sum(run.parts.values_list("done", flat=True)), spent=f"${spent:.4f}",
        )  # fmt: skip
        if run.budget is not None and error == used_up(run.budget):
            Event.record("budget reached", user=run.by, project=run.project, run=run.pk, spent=f"${spent:.4f}")


def used_up(budget: Decimal) -> str:
    return f"The budget of ${budget:.2f} is used up: raise it and resume, or leave it at that."
