"""A voting run at half price: requests go to the provider in files, and the answers are fetched when they are done.

One look at a run fetches what is done and submits what is pending; between two looks nobody is at work. The row of a
batch and its posts are written before the file goes out, so that whatever happens in between, the next look finds the
batch at the provider by its name, or knows that it never got there.
"""

import asyncio
import logging
import tempfile
from collections import Counter
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from decimal import ROUND_UP, Decimal
from itertools import islice
from pathlib import Path
from typing import IO, Any, TypeVar

from django.db import connections, transaction
from django.db.models import Max, Min, QuerySet, Sum
from django.utils import timezone

from annotate.models import Post, Vote

from . import pricing, storing
from .asking import Pending, Questions
from .models import ZERO, Asked, Batch, BatchPost, BatchState, Mode, Part, RunState, VotingRun
from .providers import BATCHING, PROVIDERS
from .providers.batching import BatchConnection, Look, Reply
from .providers.contract import Ask, Failed, Later, Stop

log = logging.getLogger(__name__)
T = TypeVar("T")

POLL = timedelta(seconds=50)  # the schedule looks once a minute
GRACE = timedelta(minutes=2)  # a batch that was just created may be missing in the provider's list
TRIES = 3
BEAT = 5.0
AT_ONCE = 500
ENDED = {
    "done": BatchState.DONE, "expired": BatchState.EXPIRED, "failed": BatchState.FAILED,
    "cancelled": BatchState.CANCELLED,
}  # fmt: skip


@dataclass
class Seat:
    part: Part
    connection: BatchConnection | None
    stopped: str
    locked: bool = False  # it could not be asked what became of its batches
    waits: bool = False  # the provider's queue has no room until other batches are done

    @property
    def at_work(self) -> BatchConnection:
        assert self.connection
        return self.connection


@dataclass
class Chunk:
    posts: dict[int, Decimal] = field(default_factory=dict)  # and the most that each can cost
    most: Decimal = ZERO
    bytes: int = 0

    def add(self, post: int, most: Decimal, size: int) -> None:
        self.posts[post] = most
        self.most += most
        self.bytes += size


class Round:
    """One look at a run."""

    def __init__(self, run: VotingRun) -> None:
        self.run = run
        self.asked: str = run.asked
        self.trouble = ""
        self.out_of_money = False

    def work(self) -> RunState | None:
        """None while something is at a provider."""
        with asyncio.Runner() as self.runner:
            seats = [self.seat(part) for part in storing.parts_of(self.run)]
            for seat in seats:
                with self.telling(seat):
                    self.tend(seat)
                if seat.connection:
                    self.runner.run(seat.connection.close())
        return self.outcome(seats)

    def seat(self, part: Part) -> Seat:
        try:
            return Seat(part, connect(part), part.stopped)
        except Stop as stop:
            return Seat(part, None, str(stop), locked=True)

    @contextmanager
    def telling(self, seat: Seat) -> Iterator[None]:
        """One provider's trouble does not keep the others from being looked at."""
        before = seat.stopped
        try:
            yield
        except Later as later:
            self.trouble = f"{PROVIDERS[seat.part.voter.provider].title}: {later.cause}. Tried again in a minute."
        except (Stop, Failed) as error:
            seat.stopped, seat.locked = str(error), True
        if seat.stopped != before:
            self.keep(seat, [])

    def tend(self, seat: Seat) -> None:
        if not seat.connection:
            self.keep(seat, [])
            return
        for batch in seat.part.batches.open():
            self.look_at(seat, batch)
        self.submit_all(seat)

    def outcome(self, seats: list[Seat]) -> RunState | None:
        locked = [seat.part for seat in seats if seat.locked]
        if open_batches(self.run).exclude(part__in=locked).exists():
            return None
        if any(seat.waits for seat in seats) and not self.asked:
            return None
        if all(seat.stopped for seat in seats) or open_batches(self.run).exists():
            self.run.error = "Stopped: " + " ".join(sorted({seat.stopped for seat in seats if seat.stopped}))
            return RunState.FAILED
        if self.asked:
            return RunState.PAUSED if self.asked == Asked.PAUSE else RunState.CANCELLED
        if self.out_of_money:
            self.run.error = (
                f"The budget of ${self.run.budget:.2f} is used up: raise it and resume, or leave it at that."
            )
            return RunState.PAUSED
        return RunState.DONE

    # --- what runs in the loop, while the run shows that it is alive

    def go(self, work: Coroutine[Any, Any, T]) -> T:
        return self.runner.run(self.beating(work))

    async def beating(self, work: Coroutine[Any, Any, T]) -> T:
        task = asyncio.ensure_future(work)
        try:
            while not (await asyncio.wait({task}, timeout=BEAT))[0]:
                await asyncio.to_thread(self.beat_apart)
        finally:
            task.cancel()
        return task.result()

    def beat_apart(self) -> None:
        """In a thread of its own, and so with a connection of its own."""
        try:
            self.beat()
        finally:
            connections.close_all()

    def beat(self) -> None:
        self.asked = storing.store(self.run, []) or self.asked

    # --- submitting

    def submit_all(self, seat: Seat) -> None:
        while not (self.asked or seat.stopped or self.must_wait(seat)):
            with tempfile.TemporaryDirectory(prefix="batch-") as folder:
                path = Path(folder) / "requests.jsonl"
                with path.open("wb") as file:
                    chunk = self.write(seat, file)
                if not chunk.posts:
                    return
                self.submit(seat, self.record(seat, chunk), path)

    def must_wait(self, seat: Seat) -> bool:
        latest = seat.part.batches.order_by("-number").first()
        voter = seat.part.voter
        alike = Batch.objects.open().filter(part__voter__provider=voter.provider, part__voter__model=voter.model)
        seat.waits = latest is not None and latest.queue_full and alike.exists()
        return seat.waits

    def write(self, seat: Seat, file: IO[bytes]) -> Chunk:
        """As much as a batch holds and the budget has room for, line by line: memory stays flat."""
        chunk, room = Chunk(), self.room()
        requests, size = largest(seat.part), BATCHING[seat.part.voter.provider].bytes
        for pending in self.pending(seat):
            line = seat.at_work.line(str(pending.post), pending.ask).encode() + b"\n"
            if chunk.posts and (len(chunk.posts) >= requests or chunk.bytes + len(line) > size):
                break
            most = most_for(seat.part, pending.ask)
            if room is not None and chunk.most + most > room:
                self.out_of_money = not chunk.posts
                break
            file.write(line)
            chunk.add(pending.post, most, len(line))
        return chunk

    def room(self) -> Decimal | None:
        run = self.run
        return None if run.budget is None else run.budget - run.written_off - run.spent - run.reserved

    def pending(self, seat: Seat) -> Iterator[Pending]:
        seat.part.refresh_from_db(fields=["done"])
        questions = Questions(self.run, seat.part)
        if questions.left is not None:
            waiting = BatchPost.objects.unanswered().filter(batch__part=seat.part).count()
            questions.left = max(0, questions.left - waiting - seat.part.failures.count())
        while not self.asked and (page := questions.next_page()):
            self.beat()
            yield from page

    @transaction.atomic
    def record(self, seat: Seat, chunk: Chunk) -> Batch:
        """Before anything goes out: the posts are taken, and their money is."""
        self.beat()
        number = seat.part.batches.aggregate(last=Max("number"))["last"] or 0
        batch = Batch.objects.create(part=seat.part, number=number + 1, requests=len(chunk.posts))
        there = Post.objects.filter(pk__in=list(chunk.posts)).values_list("pk", flat=True)
        taken = [BatchPost(batch=batch, post_id=post, most=chunk.posts[post]) for post in there]
        BatchPost.objects.bulk_create(taken, batch_size=5000)
        self.account()
        return batch

    def account(self) -> None:
        self.run.account()
        self.run.save(update_fields=["granted", "written_off"])

    def submit(self, seat: Seat, batch: Batch, path: Path) -> None:
        """Only where the provider says no, or was not asked to begin yet, is it certain that there is no batch."""
        try:
            batch.file_id = self.go(seat.at_work.upload(path, batch.name))
        except (Stop, Failed, Later):
            self.drop(batch)
            raise
        batch.save(update_fields=["file_id"])
        try:
            batch_id = self.go(seat.at_work.create(batch.file_id, batch.name))
        except (Stop, Failed):
            self.drop(batch)
            raise
        note(batch, batch_id)

    @transaction.atomic
    def drop(self, batch: Batch) -> None:
        self.beat()
        batch.delete()
        self.account()

    # --- looking

    def look_at(self, seat: Seat, batch: Batch) -> None:
        if not batch.batch_id and not self.found(seat, batch):
            return
        try:
            look = self.go(seat.at_work.look(batch.batch_id))
        except Failed as gone:
            look = Look("failed", error=str(gone))
        if look.is_over:
            self.collect(seat, batch, look)
        elif self.asked == Asked.CANCEL and look.stage == "open":
            self.go(seat.at_work.cancel(batch.batch_id))

    def found(self, seat: Seat, batch: Batch) -> bool:
        """A batch that was being submitted when somebody died."""
        batch_id = self.go(seat.at_work.find(batch.name, batch.created - timedelta(hours=1)))
        if batch_id:
            note(batch, batch_id)
        elif batch.created < timezone.now() - GRACE:
            self.drop(batch)
        return bool(batch_id)

    def collect(self, seat: Seat, batch: Batch, look: Look) -> None:
        posts = {str(post): post for post in batch.posts.values_list("post_id", flat=True)}
        errors: dict[int, Exception] = {}
        replies = (reply for reply in self.replies(seat, look) if reply.key in posts)
        while some := list(islice(replies, AT_ONCE)):
            errors |= {posts[reply.key]: reply.error for reply in some if reply.error}
            self.keep(seat, [result_of(seat.part, posts[reply.key], reply) for reply in some if reply.answer])
        self.close(seat, batch, look, errors)

    def keep(self, seat: Seat, results: list[storing.Result]) -> None:
        self.asked = storing.store(self.run, [storing.Batch(seat.part, results, seat.stopped)]) or self.asked

    def replies(self, seat: Seat, look: Look) -> Iterator[Reply]:
        project = self.run.project
        labels = tuple(project.labels.values_list("name", flat=True))
        like = Ask("", "", labels, asks_incongruous=project.asks_incongruous)
        for line in self.lines(seat, look):
            try:
                yield seat.at_work.read(line, like)
            except Exception:  # one odd line must not cost the answers after it
                log.exception("a line of a batch of %s", seat.part.voter)

    def lines(self, seat: Seat, look: Look) -> Iterator[str]:
        for file_id in look.files:
            with tempfile.TemporaryDirectory(prefix="batch-") as folder:
                path = Path(folder) / "answers.jsonl"
                try:
                    self.go(seat.at_work.download(file_id, path))
                except Failed:  # kept for some weeks only
                    log.warning("the answers in %s are gone", file_id)
                    continue
                with path.open(encoding="utf-8") as file:
                    yield from (line for line in file if line.strip())

    @transaction.atomic
    def close(self, seat: Seat, batch: Batch, look: Look, errors: dict[int, Exception]) -> None:
        unanswered = list(batch.posts.unanswered().values_list("post_id", flat=True))
        stop = next((error for error in errors.values() if isinstance(error, Stop)), None)
        seat.stopped = seat.stopped or str(stop or "")
        tried = [] if look.queue_full or self.asked == Asked.CANCEL else unanswered
        causes = {post: str(errors.get(post) or look.error or f"no answer in a batch that is {look.stage}")
                  for post in tried if not isinstance(errors.get(post), Stop)}  # fmt: skip
        final = {post for post in causes if isinstance(errors.get(post), Failed)}
        final |= in_vain(batch, set(causes) - final)
        self.keep(seat, [storing.Result(post, failure=causes[post][:200]) for post in sorted(final)])
        self.run.written_off += without_price(batch) if self.run.budget is not None else ZERO
        batch.state, batch.ended = ENDED[look.stage], timezone.now()
        batch.error, batch.queue_full = look.error[:200], look.queue_full
        batch.save()
        self.account()


def connect(part: Part) -> BatchConnection:
    voter = part.voter
    provider = PROVIDERS[voter.provider]
    if sentence := unfit(voter.provider, voter.parameters) or provider.missing(voter.parameters):
        raise Stop(sentence)
    return BATCHING[voter.provider].open(voter.model, provider.filled(voter.parameters))


def unfit(provider: str, parameters: dict[str, Any]) -> str:
    """A sentence where this voter can be asked one by one only."""
    if provider not in BATCHING:
        return f"{PROVIDERS[provider].title} takes no batches; its voters are asked one by one."
    if parameters.get("base_url"):
        return "A server of one's own takes no batches; its voters are asked one by one."
    return ""


def open_batches(run: VotingRun) -> QuerySet[Batch]:
    return Batch.objects.open().filter(part__run=run)


def largest(part: Part) -> int:
    """Half of what the provider's queue had no room for, so that any queue is small enough in the end."""
    most = BATCHING[part.voter.provider].requests
    told = int(part.voter.limits.get("requests_a_batch") or most)
    refused = part.batches.filter(queue_full=True).aggregate(least=Min("requests"))["least"]
    return max(1, min(most, told, refused // 2 if refused else most))


def most_for(part: Part, ask: Ask) -> Decimal:
    voter = part.voter
    most = pricing.most_for(voter.provider, voter.model, voter.parameters, ask) or ZERO
    return (most * (PROVIDERS[voter.provider].batch_factor or 1)).quantize(pricing.CENTS, ROUND_UP)


def note(batch: Batch, batch_id: str) -> None:
    batch.batch_id, batch.state, batch.submitted = batch_id, BatchState.SUBMITTED, timezone.now()
    batch.save(update_fields=["batch_id", "state", "submitted"])


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


def carry_out(run: VotingRun) -> bool:
    """One look. False when somebody else has the run, or when it is not due."""
    assert run.mode == Mode.BATCH
    if not run.claim():
        return False
    look = Round(run)
    try:
        state = look.work()
    except storing.LostClaim:
        return False
    except BaseException:
        connections.close_all()
        break_off(run)
        raise
    if state is None:
        step_back(run, look.trouble)
    else:
        storing.finish(run, state, run.error)
    return True


def break_off(run: VotingRun) -> None:
    """What is at the provider is looked at again; without that, somebody has to mend something first."""
    if open_batches(run).exists():
        step_back(run, "The last look broke off; the next one comes in a minute.")
    else:
        storing.finish(run, RunState.PAUSED, "It broke off; every answer until then is stored. Resume it.")


def step_back(run: VotingRun, error: str) -> None:
    now = timezone.now()
    storing.mine(run).update(waits_until=now + POLL, heartbeat=now, error=error)
    run.refresh_from_db()
