"""What Prometheus is told: requests as they were counted here, and figures of the tables, which each wing adds to."""

import os
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from threading import Lock

import psutil
from django.db import DatabaseError, InterfaceError, connection
from django.http import HttpRequest
from prometheus_client import CollectorRegistry, Gauge, Histogram, generate_latest
from prometheus_client import Counter as Counted
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.multiprocess import MultiProcessCollector

from . import readiness
from .at_work import method_of, route_of
from .briefly import Briefly
from .ended_counts import bury_the_dead
from .shared_counts import CHOSEN, alone

BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
FRESH = 5.0  # seconds that figures of the tables are told again
Figures = Callable[[], Iterable[Metric]]

OWN = CollectorRegistry()
SECONDS = Histogram(
    "casting_vote_request_seconds", "Requests, and how long each took.", ["route", "method", "status"],
    buckets=BUCKETS, registry=OWN,
)  # fmt: skip
WORKERS = Gauge("casting_vote_web_workers", "Processes that serve.", multiprocess_mode="livesum", registry=OWN)
MEMORY = Gauge(
    "casting_vote_web_memory_bytes", "What they hold in memory.", multiprocess_mode="livesum", registry=OWN
)  # fmt: skip
POOL = Gauge(
    "casting_vote_database_pool_connections", "Of the pools of these processes: open, idle, and the most there may be.",
    ["kind"], multiprocess_mode="livesum", registry=OWN,
)  # fmt: skip
WAITING = Gauge(
    "casting_vote_database_pool_waiting", "Threads that wait for a connection now.", multiprocess_mode="livesum",
    registry=OWN,
)  # fmt: skip
WAITED = Counted("casting_vote_database_pool_wait_seconds", "Waited for a connection, in all.", registry=OWN)


# --- Requests

COUNTED: dict[tuple[str, str, int], Histogram] = {}  # found in a tenth of the time that labels() takes


def count(request: HttpRequest, status: int, seconds: float) -> None:
    key = (route_of(request), method_of(request), status // 100)
    if (counted := COUNTED.get(key)) is None:
        route, method, hundreds = key
        counted = COUNTED[key] = SECONDS.labels(route, method, f"{hundreds}xx")
    counted.observe(seconds)


# --- This process


class ThisProcess:
    """What only it knows itself, told every few seconds, when it has a request at hand anyway."""

    def __init__(self) -> None:
        self.lock, self.due, self.waited = Lock(), 0.0, 0.0

    def tell(self) -> None:
        if time.monotonic() < self.due or not self.lock.acquire(blocking=False):
            return
        try:
            self.due = time.monotonic() + FRESH
            WORKERS.set(1)
            MEMORY.set(psutil.Process().memory_info().rss)
            self.tell_of_pool()
        finally:
            self.lock.release()

    def tell_of_pool(self) -> None:
        if (pool := getattr(connection, "pool", None)) is None:
            return
        told = pool.get_stats()
        for kind, name in (("open", "pool_size"), ("idle", "pool_available"), ("most", "pool_max")):
            POOL.labels(kind).set(told.get(name, 0))
        WAITING.set(told.get("requests_waiting", 0))
        waited = told.get("requests_wait_ms", 0) / 1000
        WAITED.inc(max(0.0, waited - self.waited))
        self.waited = waited


ITSELF = ThisProcess()


# --- Tables: each room tells of its own

SOURCES: list[Figures] = []


def also_tell(figures: Figures) -> None:
    if figures not in SOURCES:
        SOURCES.append(figures)


def gather() -> list[Metric]:
    """Without the database the rest can still be told, and that it is gone is the most important figure of all. It is
    asked by a connection that does not wait, because Prometheus does not either."""
    up = GaugeMetricFamily("casting_vote_database_up", "Whether the figures of the tables could be read.", 1)
    with suppress(DatabaseError, InterfaceError):
        if readiness.database_answers():
            return [up, *(metric for figures in SOURCES for metric in figures())]
    return [GaugeMetricFamily(up.name, up.documentation, 0)]


TABLES = Briefly(FRESH, gather)


class Tables:
    def collect(self) -> Iterator[Metric]:
        yield from TABLES()


# --- All of it, as text


def exposition() -> bytes:
    ITSELF.tell()
    told = CollectorRegistry()
    told.register(Tables())
    return counted() + generate_latest(told)


def counted() -> bytes:
    if (chosen := os.environ.get(CHOSEN)) is None:
        return generate_latest(OWN)
    shared = CollectorRegistry()
    with alone(folder := Path(chosen)):
        bury_the_dead(folder)
        MultiProcessCollector(shared, chosen)  # type: ignore[no-untyped-call]
        return generate_latest(shared)
