"""Whether this machine can serve now, part by part: a sentence each, for whoever runs it."""

import logging
import tempfile
import time
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import psycopg
from django.conf import settings
from django.core.files.storage import FileSystemStorage, default_storage
from django.db import connection
from django.db.migrations.loader import MigrationLoader

from . import queue_beats
from .briefly import Briefly

PATIENCE = 2  # seconds for the database
FRESH = 2.0  # seconds that an answer is told again
TRIAL = bytes(4096)
OUT = "out-of-service"  # a file of this name in VAR_DIR: no new visitors, for the machine is about to end
SILENT = "Not known while the database does not answer."
log = logging.getLogger("annotate.readiness")


class Part(NamedTuple):
    name: str
    ok: bool
    says: str


def look() -> list[Part]:
    return [in_service(), *of_database(), media()]


class Watched:
    """What is amiss is told once, when it begins, and once more when it is over: balancers ask every second."""

    def __init__(self) -> None:
        self.amiss: dict[str, str] = {}

    def look(self) -> list[Part]:
        parts = look()
        amiss = {part.name: part.says for part in parts if not part.ok}
        for name in amiss.keys() - self.amiss.keys():
            log.warning("Not ready: %s. %s", name, amiss[name])
        for name in self.amiss.keys() - amiss.keys():
            log.warning("Ready again: %s.", name)
        self.amiss = amiss
        return parts


PARTS = Briefly(FRESH, Watched().look)


def database_answers() -> bool:
    return any(part.name == "database" and part.ok for part in PARTS())


def in_service() -> Part:
    marker = settings.VAR_DIR / OUT
    if marker.exists():
        return Part("in_service", False, f"Taken out of service: {marker} is there. Remove it to take it in again.")
    return Part("in_service", True, "This machine takes visitors.")


# --- The database, by a connection of its own: whether the pool is busy is another question, and waits too long


def of_database() -> list[Part]:
    began = time.monotonic()
    try:
        with connect() as database:
            cursor = database.cursor()
            cursor.execute("SELECT set_config('statement_timeout', %s, false)", [str(PATIENCE * 1000)])
            parts = [migrations(cursor), *queues(cursor)]
    except psycopg.Error as error:
        gone = Part("database", False, f"PostgreSQL does not answer: {first_line(error)}.")
        return [gone, Part("migrations", False, SILENT), *(Part(name, False, SILENT) for name in needed())]
    milliseconds = (time.monotonic() - began) * 1000
    return [Part("database", True, f"PostgreSQL answers, in {milliseconds:.0f} ms."), *parts]


def connect() -> Any:
    told = connection.get_connection_params() | {"connect_timeout": PATIENCE, "autocommit": True}
    return psycopg.connect(**told)


def first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return lines[0].removesuffix(".")


def migrations(cursor: Any) -> Part:
    """More than we know of are no fault: a newer version may be about to take over."""
    cursor.execute("SELECT to_regclass('django_migrations')")
    if cursor.fetchone() == (None,):
        return Part("migrations", False, "The database is empty: run `manage.py prepare`.")
    cursor.execute("SELECT app, name FROM django_migrations")
    missing = sorted(latest() - set(cursor.fetchall()))
    if missing:
        names = ", ".join(f"{app}.{name}" for app, name in missing)
        return Part("migrations", False, f"Not applied: {names}. Run `manage.py prepare`.")
    return Part("migrations", True, "All migrations are applied.")


@lru_cache(maxsize=1)
def latest() -> frozenset[tuple[str, str]]:
    """The last migration of each app, as the code of this process has it."""
    return frozenset(MigrationLoader(None, ignore_no_migrations=True).graph.leaf_nodes())


def needed() -> list[str]:
    return ["queue_short", *(["queue_gpu"] if settings.GPU_QUEUE else [])]


def queues(cursor: Any) -> Iterator[Part]:
    heard = queue_beats.heard(cursor)
    for name in needed():
        queue = name.removeprefix("queue_")
        of_it = [one for one in heard if one.queue == queue]
        workers = sum(one.workers for one in of_it)
        machines = ", ".join(sorted({one.machine for one in of_it}))
        yield (
            Part(name, True, f"Workers of the {queue} queue: {workers}, on {machines}.")
            if of_it
            else Part(name, False, f"No worker of the {queue} queue is there: start `manage.py worker {queue}`.")
        )


# --- Files


def media() -> Part:
    if not isinstance(default_storage, FileSystemStorage):
        return Part("media", True, "Pictures lie in a bucket, which is not asked here.")
    folder = Path(default_storage.location)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder) as trial:  # a file without a name: nothing is left, however we end
            trial.write(TRIAL)
            trial.flush()
    except OSError as error:
        return Part("media", False, f"{folder} cannot be written to: {error.strerror or error}.")
    return Part("media", True, f"{folder} can be written to.")
