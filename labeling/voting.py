"""A voting run: every voter asked about every post once, side by side, within the budget, and safe to kill.

Answers are stored in batches together with their consequences. A post is pending for a voter while it has no vote of
it, so whatever happens, carrying on means asking about what is pending.
"""

import asyncio
import logging
import random
import time
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from decimal import Decimal
from typing import TypeVar

from aiolimiter import AsyncLimiter
from django.db import InterfaceError, OperationalError, connections

from annotate.models import Voter

from . import pricing, storing, wording
from .asking import Pending, Questions
from .ledger import Ledger
from .models import Asked, Part, RunState, VotingRun
from .providers import PROVIDERS
from .providers.contract import Answer, Ask, Connection, Failed, Later, Stop

log = logging.getLogger(__name__)
T = TypeVar("T")

TRIES = 6
FIRST_PAUSE, LONGEST_PAUSE = 1.0, 60.0
FLUSH_SECONDS, FLUSH_ANSWERS = 0.25, 200
CONCURRENCY = 32

Progress = Callable[[VotingRun], None]


@dataclass
class Seat:
    """A voter at work: its connection, its limits, and the gate that a 429 closes for all its requests at once."""

    part: Part
    voter: Voter
    connection: Connection | None
    questions: Questions
    most: Callable[[Ask], Decimal | None]
    slots: asyncio.Semaphore
    per_minute: AsyncLimiter | None
    tokens_a_minute: AsyncLimiter | None
    closed_until: float = 0.0
    stopped: str = ""
    results: list[storing.Result] = field(default_factory=list)


class Worker:
    def __init__(self, run: VotingRun, progress: Progress | None = None) -> None:
        self.run = run
        self.progress = progress
        self.ledger = Ledger(run.budget, run.granted, run.written_off)
        self.database = ThreadPoolExecutor(1)  # one thread, and so one of Django's connections
        self.seats: list[Seat] = []
        self.asked: str = ""
        self.out_of_money = False
        self.finished = False
        self.broken: Exception | None = None
        self.answered = asyncio.Event()
        self.granting = asyncio.Lock()

    async def work(self) -> RunState:
        self.seats = [await self.seat(part) for part in await self.db(storing.parts_of, self.run)]
        flusher = asyncio.create_task(self.flush_forever())
        try:
            await asyncio.gather(*(self.fill(seat) for seat in self.seats))
        finally:
            self.finished = True
            await flusher
            for seat in self.seats:
                if seat.connection:
                    await seat.connection.close()
            await self.db(connections.close_all)
            self.database.shutdown()
        if self.broken:
            raise self.broken
        return self.outcome()

    def outcome(self) -> RunState:
        if self.asked:
            return RunState.PAUSED if self.asked == Asked.PAUSE else RunState.CANCELLED
        if self.out_of_money and self.run.budget is not None:
            self.run.error = storing.used_up(self.run.budget)
            return RunState.PAUSED
        if all(seat.stopped for seat in self.seats):
            self.run.error = "Every voter was stopped: " + " ".join(sorted({seat.stopped for seat in self.seats}))
            return RunState.FAILED
        return RunState.DONE

    async def db(self, work: Callable[..., T], *args: object) -> T:
        """In the one thread that has the connection. A database that restarts costs a wait and no answer."""
        loop = asyncio.get_running_loop()
        for pause in (0.5, 1, 2, 4, 8):
            try:
                return await loop.run_in_executor(self.database, work, *args)
            except (OperationalError, InterfaceError) as error:
                log.warning("the database is away (%s); trying again in %s s", str(error).strip(), pause)
                await loop.run_in_executor(self.database, connections.close_all)
                await asyncio.sleep(pause)
        return await loop.run_in_executor(self.database, work, *args)

    async def seat(self, part: Part) -> Seat:
        voter = part.voter
        provider = PROVIDERS[voter.provider]
        limits = voter.limits
        connection, stopped = None, ""
        try:
            connection = provider.connect(voter.model, voter.parameters)
        except Stop as stop:  # the key went missing, or a parameter is known no longer: the others need not wait for it
            stopped = str(stop)
        questions = await self.db(Questions, self.run, part)
        if connection:
            await self.db(lambda: wording.note(part, questions.writer.prompt))
        return Seat(
            part=part,
            voter=voter,
            connection=connection,
            questions=questions,
            most=lambda ask: pricing.most_for(voter.provider, voter.model, voter.parameters, ask),
            slots=asyncio.Semaphore(int(limits.get("concurrency", CONCURRENCY))),
            per_minute=AsyncLimiter(limits["requests_a_minute"], 60) if limits.get("requests_a_minute") else None,
            tokens_a_minute=AsyncLimiter(limits["tokens_a_minute"], 60) if limits.get("tokens_a_minute") else None,
            stopped=stopped,
        )

    # --- asking

    async def fill(self, seat: Seat) -> None:
        """Keep the voter's slots filled until nothing is pending, money is short, or somebody says stop."""
        if seat.stopped:
            return
        flying: set[asyncio.Task[None]] = set()
        async for pending in self.pending(seat):
            await seat.slots.acquire()
            most = seat.most(pending.ask) or Decimal(0)
            if self.asked or seat.stopped or not await self.reserved(most):
                seat.slots.release()
                break
            task = asyncio.create_task(self.vote(seat, pending, most))
            flying.add(task)
            task.add_done_callback(flying.discard)
        await asyncio.gather(*flying)

    async def pending(self, seat: Seat) -> AsyncIterator[Pending]:
        """The next page is read while this one is asked about."""
        ahead = asyncio.create_task(self.db(seat.questions.next_page))
        while page := await ahead:
            ahead = asyncio.create_task(self.db(seat.questions.next_page))
            for pending in page:
                yield pending

    async def reserved(self, most: Decimal) -> bool:
        """Where the budget is all but used up, wait for what is in flight: it mostly costs less than was reserved."""
        while not self.ledger.has_room_for(most):
            if not self.ledger.reserved:
                self.out_of_money = True
                return False
            self.answered.clear()
            await self.answered.wait()
            if self.asked or self.out_of_money:
                return False
        self.ledger.reserve(most)
        async with self.granting:
            if self.ledger.lacks_grant():
                wanted = self.ledger.portion(most)
                await self.db(storing.grant, self.run, wanted)
                self.ledger.granted = wanted
        return True

    async def vote(self, seat: Seat, pending: Pending, most: Decimal) -> None:
        result = storing.Result(pending.post)
        try:
            began = time.perf_counter()
            result.answer = await self.ask(seat, pending.ask)
            result.latency_ms = round(1000 * (time.perf_counter() - began))
            usage = result.answer.usage
            result.cost = pricing.price_of(seat.voter.provider, seat.voter.model, usage.tokens_in, usage.tokens_out,
                                           seat.voter.parameters)  # fmt: skip
        except Failed as failure:
            result.failure, result.cost = str(failure)[:200], Decimal(0)
        except Stop as stop:
            seat.stopped = seat.stopped or str(stop)
            result.cost = Decimal(0)
        except Exception as error:  # one post's surprise must not end the run for ten thousand others
            log.exception("asking %s about post %s", seat.voter, pending.post)
            result.failure = f"{type(error).__name__} in our own code"
        finally:
            self.ledger.settle(most, result.cost)
            seat.slots.release()
            self.answered.set()
        if result.answer or result.failure:
            seat.results.append(result)

    async def ask(self, seat: Seat, ask: Ask) -> Answer:
        for attempt in range(1, TRIES + 1):
            await self.at_the_gate(seat, ask)
            if self.asked or seat.stopped:
                raise Stop(seat.stopped)
            try:
                assert seat.connection
                return await seat.connection.ask(ask)
            except Later as later:
                if attempt == TRIES:
                    raise Failed(later.cause) from later
                pause = min(LONGEST_PAUSE, FIRST_PAUSE * 2 ** (attempt - 1)) * random.uniform(0.5, 1.5)  # noqa: S311
                if later.after is not None:
                    seat.closed_until = max(seat.closed_until, time.monotonic() + later.after)
                await self.sleep(max(pause if later.after is None else 0.0, later.after or 0.0))
        raise AssertionError("unreachable")

    async def at_the_gate(self, seat: Seat, ask: Ask) -> None:
        while (wait := seat.closed_until - time.monotonic()) > 0 and not self.asked:
            await self.sleep(wait)
        if seat.per_minute:
            await seat.per_minute.acquire()
        if seat.tokens_a_minute:
            tokens = (len(ask.system) + len(ask.prompt)) / 4 + (300 if ask.image else 0)
            await seat.tokens_a_minute.acquire(min(tokens, seat.tokens_a_minute.max_rate))

    async def sleep(self, seconds: float) -> None:
        """In short naps, so that a long Retry-After does not keep anybody from pausing the run."""
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0 and not self.asked:
            await asyncio.sleep(min(left, 0.25))

    # --- storing

    async def flush_forever(self) -> None:
        """Once it cannot store, nobody asks on: an answer that is not kept is money thrown away."""
        beat = 0.0
        while not self.finished or any(seat.results for seat in self.seats):
            await asyncio.sleep(0 if self.finished else FLUSH_SECONDS)
            if any(seat.results for seat in self.seats) or time.monotonic() - beat > 1:
                try:
                    await self.flush()
                except Exception as error:
                    self.broken, self.asked = error, "broken"
                    self.answered.set()
                    return
                beat = time.monotonic()

    async def flush(self) -> None:
        taken = [(seat, seat.results[:FLUSH_ANSWERS]) for seat in self.seats]
        batches = [storing.Batch(seat.part, results, seat.stopped) for seat, results in taken]
        self.asked = await self.db(storing.store, self.run, batches) or self.asked
        for seat, results in taken:
            del seat.results[: len(results)]
        if self.progress:
            self.progress(self.run)


def carry_out(run: VotingRun, progress: Progress | None = None) -> bool:
    """False when somebody else has the run."""
    if not run.claim():
        return False
    try:
        state = asyncio.run(Worker(run, progress).work())
    except storing.LostClaim:
        return False
    except BaseException:
        connections.close_all()
        storing.finish(run, RunState.PAUSED, "It broke off; every answer until then is stored. Resume it.")
        raise
    connections.close_all()  # ours may have been lost while the worker's was in use
    storing.finish(run, state, run.error)
    return True
