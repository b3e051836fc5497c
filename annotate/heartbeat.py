"""A worker that says that it lives while one step of its work takes long."""

import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from django.db import DatabaseError, InterfaceError, connection
from django.db.models import QuerySet
from django.utils import timezone

BEAT = 15  # seconds; after sixty without a beat a worker is taken for dead


@contextmanager
def heartbeat(ours: Callable[[], QuerySet[Any]], name: str) -> Iterator[None]:
    """`ours` finds the row of the run as long as it is this worker's."""
    over = threading.Event()

    def beat() -> None:
        while not over.wait(BEAT):
            try:
                ours().update(heartbeat=timezone.now())
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
