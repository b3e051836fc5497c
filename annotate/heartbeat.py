"""A worker says that it lives, while a step of its work takes long too; and who is taken for dead.

By the database's clock alone: those of two machines differ, and one that says “now” for another is taken for dead
while it works.
"""

import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import Any

from django.db import DatabaseError, InterfaceError, connection
from django.db.models import Q, QuerySet
from django.db.models.functions import Now
from django.utils import timezone

BEAT = 15  # seconds; after sixty without a beat a worker is taken for dead


def unheard(silence: timedelta) -> Q:
    """Of whom nothing was heard for so long. What was heard in times to come was so before that clock was put back, and
    says nothing: otherwise a dead worker's run would wait for the hour to come again."""
    return Q(heartbeat__lt=Now() - silence) | Q(heartbeat__gt=Now() + silence)


def is_unheard(at: datetime | None, silence: timedelta) -> bool:
    """As a page tells it, by its own machine's clock. Nothing hangs on it: what is pressed is claimed by `unheard`."""
    return at is None or abs(timezone.now() - at) > silence


@contextmanager
def heartbeat(ours: Callable[[], QuerySet[Any]], name: str) -> Iterator[None]:
    """`ours` finds the row of the run as long as it is this worker's."""
    over = threading.Event()

    def beat() -> None:
        while not over.wait(BEAT):
            try:
                ours().update(heartbeat=Now())
            except (DatabaseError, InterfaceError):
                logging.getLogger(__name__).warning("%s: the database did not take the heartbeat.", name)
                connection.close()
        connection.close()

    thread = threading.Thread(target=beat, daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
