"""What became of the batches at a provider, and the answers on their way back, in any order."""

import logging
import tempfile
from collections import Counter
from collections.abc import Iterator
from datetime import timedelta
from decimal import Decimal
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from django.db import transaction
from django.db.models import Sum
from django.db.models.functions import Now
from django.utils import timezone

from annotate.models import Vote

from . import pricing, storing, submitting
from .models import ZERO, Asked, Batch, BatchPost, BatchState, Part
from .providers.batching import Look, Reply
from .providers.contract import Ask, Failed, Stop

if TYPE_CHECKING:
    from .batch import Round, Seat

log = logging.getLogger(__name__)

GRACE = timedelta(minutes=2)  # a batch that was just created may be missing in the provider's list
TRIES = 3
AT_ONCE = 500
ENDED = {
    "done": BatchState.DONE, "expired": BatchState.EXPIRED, "failed": BatchState.FAILED,
    "cancelled": BatchState.CANCELLED,
}  # fmt: skip


def look_at(look: "Round", seat: "Seat", batch: Batch) -> None:
    if not batch.batch_id and not found(look, seat, batch):
        return
    try:
        told = look.go(seat.at_work.look(batch.batch_id))
    except Failed as gone:
        told = Look("failed", error=str(gone))
    if told.is_over:
        collect(look, seat, batch, told)
    elif look.asked == Asked.CANCEL and told.stage == "open":
        look.go(seat.at_work.cancel(batch.batch_id))


def found(look: "Round", seat: "Seat", batch: Batch) -> bool:
    """A batch that was being submitted when somebody died."""
    batch_id = look.go(seat.at_work.find(batch.name, batch.created - timedelta(hours=1)))
    if batch_id:
        submitting.note(batch, batch_id)
    elif Batch.objects.filter(pk=batch.pk, created__lt=Now() - GRACE).exists():
        submitting.drop(look, seat, batch)
    return bool(batch_id)


def collect(look: "Round", seat: "Seat", batch: Batch, told: Look) -> None:
    posts = {str(post): post for post in batch.posts.values_list("post_id", flat=True)}
    errors: dict[int, Exception] = {}
    wanted = (reply for reply in replies(look, seat, told) if reply.key in posts)
    while some := list(islice(wanted, AT_ONCE)):
        errors |= {posts[reply.key]: reply.error for reply in some if reply.error}
        look.keep(seat, [result_of(seat.part, posts[reply.key], reply) for reply in some if reply.answer])
    close(look, seat, batch, told, errors)
    look.remove(seat, batch.file_id, *told.files)


def replies(look: "Round", seat: "Seat", told: Look) -> Iterator[Reply]:
    project = look.run.project
    labels = tuple(project.labels.values_list("name", flat=True))
    like = Ask("", "", labels, asks_incongruous=project.asks_incongruous)
    for line in lines(look, seat, told):
        try:
            yield seat.at_work.read(line, like)
        except Exception:  # one odd line must not cost the answers after it
            log.exception("a line of a batch of %s", seat.part.voter)


def lines(look: "Round", seat: "Seat", told: Look) -> Iterator[str]:
    for file_id in told.files:
        with tempfile.TemporaryDirectory(prefix="batch-") as folder:
            path = Path(folder) / "answers.jsonl"
            try:
                look.go(seat.at_work.download(file_id, path))
            except Failed:  # kept for some weeks only
                log.warning("the answers in %s are gone", file_id)
                continue
            with path.open(encoding="utf-8") as file:
                yield from (line for line in file if line.strip())


@transaction.atomic
def close(look: "Round", seat: "Seat", batch: Batch, told: Look, errors: dict[int, Exception]) -> None:
    unanswered = list(batch.posts.unanswered().values_list("post_id", flat=True))
    stop = next((error for error in errors.values() if isinstance(error, Stop)), None)
    seat.stopped = seat.stopped or str(stop or "")
    tried = [] if told.queue_full or look.asked == Asked.CANCEL else unanswered
    causes = {post: str(errors.get(post) or told.error or f"no answer in a batch that is {told.stage}")
              for post in tried if not isinstance(errors.get(post), Stop)}  # fmt: skip
    final = {post for post in causes if isinstance(errors.get(post), Failed)}
    final |= in_vain(batch, set(causes) - final)
    look.keep(seat, [storing.Result(post, failure=causes[post][:200]) for post in sorted(final)])
    look.run.written_off += without_price(batch) if look.run.budget is not None else ZERO
    batch.state, batch.ended = ENDED[told.stage], timezone.now()
    batch.error, batch.queue_full = told.error[:200], told.queue_full
    batch.save()
    look.account()


def result_of(part: Part, post: int, reply: Reply) -> storing.Result:
    voter, answer = part.voter, reply.answer
    assert answer
    cost = pricing.price_of(
        voter.provider, voter.model, answer.usage.tokens_in, answer.usage.tokens_out, voter.parameters, batch=True
    )
    return storing.Result(post, answer, cost=cost, latency_ms=None)


def in_vain(batch: Batch, posts: set[int]) -> set[int]:
    """Marks these as tried, and returns those that were tried often enough. Those begin anew if anybody retries."""
    tried = BatchPost.objects.filter(batch__part=batch.part, post__in=posts)
    tried.filter(batch=batch).update(in_vain=True)
    counts = Counter(tried.filter(in_vain=True).values_list("post_id", flat=True))
    enough = {post for post, count in counts.items() if count >= TRIES}
    tried.filter(post__in=enough).update(in_vain=False)
    return enough


def without_price(batch: Batch) -> Decimal:
    """An answer whose price cannot be told counts as the most that it could have cost."""
    unpriced = Vote.objects.filter(voter=batch.part.voter_id, cost=None, post__in=batch.posts.values("post"))
    return batch.posts.filter(post__in=unpriced.values("post")).aggregate(total=Sum("most"))["total"] or ZERO
