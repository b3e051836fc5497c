"""Django-Q's broker on PostgreSQL, by the database's clock, and with tasks that outlive whoever had fetched them.

Every task of ours may be delivered twice, because whoever carries something out claims it first. So what was fetched
and not done after a while is delivered once more: its worker may be dead, and with it all that waited in its memory.
"""

import logging
import time
from collections.abc import Callable
from datetime import timedelta
from typing import Any

from django.db import InterfaceError, OperationalError, connections
from django.db.models import Q
from django.db.models.functions import Now
from django_q.brokers.orm import ORM
from django_q.conf import Conf
from django_q.models import OrmQ, Schedule

from . import queue_guard

AGAIN = timedelta(seconds=30)
LOST = timedelta(minutes=5)  # after so long a task that was fetched is delivered once more
FETCHED = timedelta(seconds=Conf.RETRY)  # so far ahead lies the lock of one that has just been fetched
# What waits has a lock in the past; one a little ahead was written before the clock was put back.
AHEAD = timedelta(days=1)
SWEEPS_LATE = timedelta(minutes=5)
A_MINUTE = 60.0
FETCH = """
UPDATE django_q_ormq SET lock = now() + %(fetched)s * interval '1 second' WHERE id = (
  SELECT id FROM django_q_ormq WHERE key = %(key)s AND lock <= now() + %(ahead)s * interval '1 second'
  ORDER BY id LIMIT 1 FOR UPDATE SKIP LOCKED
) RETURNING id, payload
"""
log = logging.getLogger(__name__)


def waiting() -> Q:
    return Q(lock__lte=Now() + AHEAD)


def fetched_within(seconds: float) -> Q:
    return Q(lock__gt=Now() + FETCHED - timedelta(seconds=seconds))


def fetched() -> Q:
    return Q(lock__gt=Now() + AHEAD + AGAIN)


def redeliver(after: timedelta = LOST) -> int:
    """Also what was fetched in times to come: before the clock was put back."""
    long_ago = fetched() & Q(lock__lt=Now() + FETCHED - after)
    found: int = OrmQ.objects.filter(long_ago | Q(lock__gt=Now() + FETCHED + after)).update(lock=Now())
    return found


class Broker(ORM):  # type: ignore[misc]
    looked_at = 0.0

    def ping(self) -> bool:
        """What a queue's guard asks first, before it forks anybody."""
        queue_guard.mind_the_locks()
        return True

    def enqueue(self, task: str) -> int:
        pk: int = self.get_connection().create(key=self.list_key or Conf.CLUSTER_NAME, payload=task, lock=Now()).pk
        return pk

    def dequeue(self) -> list[tuple[int, str]] | None:
        """A database that is away costs a moment, where Django-Q would wait for ten seconds and fork anew."""
        try:
            self.mind_the_sweeps()
            fetched = self.fetch()
        except (OperationalError, InterfaceError):
            connections.close_all()
            fetched = []
        if not fetched:
            time.sleep(Conf.POLL)
        return fetched or None

    def fetch(self) -> list[tuple[int, str]]:
        self.get_connection()  # closes what was lost
        with connections[Conf.ORM].cursor() as cursor:
            cursor.execute(FETCH, {"key": self.list_key, "fetched": Conf.RETRY, "ahead": AHEAD.total_seconds()})
            found: list[tuple[int, str]] = cursor.fetchall()
        return found

    def hand_out_again(self) -> None:
        """After all processes of a queue have died at once: nobody waits until what they had fetched counts as lost.
        What another machine is at comes twice by this, and is claimed by then."""
        try:
            OrmQ.objects.filter(fetched(), key=self.list_key).update(lock=Now())
        except (OperationalError, InterfaceError):
            log.warning("The database is away: what this queue had fetched comes again in %s.", LOST)
            connections.close_all()

    def mind_the_sweeps(self) -> None:
        """A clock that was a day ahead for a moment has left them to be done tomorrow."""
        if time.monotonic() - self.looked_at < A_MINUTE:
            return
        self.looked_at = time.monotonic()
        every_minute = Schedule.objects.filter(schedule_type=Schedule.MINUTES, minutes=1)
        if every_minute.filter(next_run__gt=Now() + SWEEPS_LATE).update(next_run=Now()):
            log.warning("What is done every minute was put off by a clock that ran ahead; it is done now.")

    def acknowledge(self, task_id: int) -> Any:
        return patiently(lambda: self.delete(task_id))

    def fail(self, task_id: int) -> None:
        """Signed with another key than ours: left to a worker that holds it, where Django-Q would throw it away."""
        self.get_connection().filter(pk=task_id).update(lock=Now() + AHEAD + AGAIN)
        log.error(
            "This machine has another SECRET_KEY than the site and cannot read its tasks: start it with the site’s."
        )


def patiently(work: Callable[[], Any], tries: int = 60) -> Any:
    """Whoever is away is waited for."""
    for left in range(tries - 1, -1, -1):
        try:
            return work()
        except (OperationalError, InterfaceError):
            connections.close_all()
            if not left:
                raise
            time.sleep(1)
    return None
