"""A queue's worker says that it lives by a connection of its own, which bears its queue's name and asks nothing again
and again. PostgreSQL keeps account of it, by its own clock and for every machine, and forgets whoever died: no table
fills up, and none has to be swept."""

import logging
import socket
import threading
from typing import Any, NamedTuple

from django.db import DatabaseError, InterfaceError, connection
from django_q.conf import Conf

from . import upkeep

BEAT = 10  # seconds
SILENCE = 60  # seconds after which a worker is taken for dead, as a run is
BEARS = "casting-vote queue "
LONGEST = 63  # bytes that PostgreSQL keeps of a name

# PostgreSQL's own view of who is connected: as many rows as there are connections.
HEARD = """
SELECT application_name, count(*), extract(epoch FROM min(clock_timestamp() - state_change))::float8
FROM pg_stat_activity
WHERE datname = current_database() AND application_name LIKE %s
  AND state_change > clock_timestamp() - make_interval(secs => %s)
GROUP BY 1
"""
NAMED = (f"{BEARS}%", SILENCE)


class Heard(NamedTuple):
    queue: str
    machine: str
    workers: int
    seconds: float  # since the latest beat


def heard(cursor: Any) -> list[Heard]:
    cursor.execute(HEARD, NAMED)
    return [Heard(*parted(name), workers, seconds) for name, workers, seconds in cursor.fetchall()]


def parted(name: str) -> tuple[str, str]:
    queue, _, machine = name.removeprefix(BEARS).partition(" on ")
    return queue, machine


def name_of(queue: str) -> str:
    return f"{BEARS}{queue} on {socket.gethostname()}"[:LONGEST]


def begin(**_: Any) -> None:
    """In each worker, as it is forked."""
    threading.Thread(target=beat, args=[Conf.CLUSTER_NAME, threading.Event()], daemon=True, name="beat").start()


def beat(queue: str, over: threading.Event) -> None:
    """A database that is away for a while is no reason to stop: it is asked again."""
    quiet = False
    while True:
        try:
            with connection.cursor() as cursor:
                cursor.execute("SELECT set_config('application_name', %s, false)", [name_of(queue)])
            upkeep.mind_own()
            quiet = False
        except (DatabaseError, InterfaceError):
            if not quiet:
                logging.getLogger(__name__).warning("The database does not take the %s queue's heartbeat.", queue)
            quiet = True
            connection.close()
        if over.wait(BEAT):
            connection.close()
            return
