"""A voting run at half price: requests go to the provider in files, and the answers are fetched when they are done.

One look at a run fetches what is done and submits what is pending; between two looks nobody is at work.
"""

import asyncio
import logging
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeVar

from django.db import connections
from django.db.models import QuerySet
from django.db.models.functions import Now

from . import collecting, storing, submitting
from .models import Asked, Batch, Mode, Part, RunState, VotingRun
from .providers import BATCHING, PROVIDERS
from .providers.batching import BatchConnection
from .providers.contract import Failed, Later, Stop

log = logging.getLogger(__name__)
T = TypeVar("T")

POLL = timedelta(seconds=50)  # the schedule looks once a minute
BEAT = 5.0


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
            collecting.look_at(self, seat, batch)
        submitting.submit_all(self, seat)

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
        if self.out_of_money and self.run.budget is not None:
            self.run.error = storing.used_up(self.run.budget)
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

    # --- what goes on record

    def keep(self, seat: Seat, results: list[storing.Result]) -> None:
        self.asked = storing.store(self.run, [storing.Batch(seat.part, results, seat.stopped)]) or self.asked

    def account(self) -> None:
        self.run.account()
        self.run.save(update_fields=["granted", "written_off"])

    def remove(self, seat: Seat, *files: str) -> None:
        """Other people's posts are not left lying at a provider; but a file that stays costs nobody an answer."""
        for file_id in filter(None, files):
            try:
                self.go(seat.at_work.remove(file_id))
            except (Stop, Failed, Later) as error:
                log.warning("the file %s stays at the provider of %s: %s", file_id, seat.part.voter, error)


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
    storing.mine(run).update(waits_until=Now() + POLL, heartbeat=Now(), error=error)
    run.refresh_from_db()
