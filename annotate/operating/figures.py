"""Of the tables that all rooms share. Each is a look at a tally, a short queue or PostgreSQL's own account: none counts
a table that grows with the posts."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from django.conf import settings
from django.db import connection
from django.db.models import Count, Sum
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.metrics_core import Metric

from annotate.broker import AHEAD
from annotate.heartbeat import unheard
from annotate.models import ImportRun, QueueTally, Tally, Voter, VoteTally
from annotate.models.importing import SILENCE, ImportState
from annotate.models.post import State
from annotate.models.review import Stream

from . import queue_beats

# A task that waits bears the moment when it was asked for, one at work the moment when it would be given up.
QUEUES = """
SELECT key, count(*) FILTER (WHERE waits), count(*) FILTER (WHERE NOT waits),
  coalesce(greatest(0, extract(epoch FROM now() - min(lock) FILTER (WHERE waits))), 0)::float8
FROM (SELECT key, lock, lock <= now() + make_interval(secs => %s) AS waits FROM django_q_ormq) AS task GROUP BY key
"""
# How far its numbers are given out: also those of an answer that was then not kept, so a little more than there are.
REVIEWS = "SELECT coalesce(pg_sequence_last_value(pg_get_serial_sequence('annotate_review', 'id')::regclass), 0)"
CONNECTIONS = """
SELECT coalesce(state, 'other'), count(*) FROM pg_stat_activity WHERE datname = current_database() GROUP BY 1
"""


def figures() -> Iterator[Metric]:
    yield from queues()
    yield from workers()
    yield from work_of_people()
    yield from votes()
    yield by_state("casting_vote_imports", "Imports.", ImportRun.objects.all(), ImportState.values)
    running = ImportRun.objects.filter(unheard(SILENCE), state=ImportState.RUNNING)
    yield one(
        "casting_vote_imports_silent", "Imports whose worker has not been heard of for a minute.", running.count()
    )
    yield from connections()


# --- Shapes of a figure, for the wings too


def one(name: str, says: str, value: float) -> Metric:
    return GaugeMetricFamily(name, says, value)


def by(name: str, says: str, label: str, values: Mapping[str, float]) -> Metric:
    told = GaugeMetricFamily(name, says, labels=[label])
    for of, value in values.items():
        told.add_metric([of], value)
    return told


def by_state(name: str, says: str, rows: Any, states: Iterable[str]) -> Metric:
    """Each state is told, also one that nothing is in: an alert must not wait for a figure to appear."""
    counted = dict(rows.order_by().values_list("state").annotate(n=Count("pk")))
    return by(name, says, "state", {state: counted.get(state, 0) for state in states})


# --- Queues


def queues() -> Iterator[Metric]:
    with connection.cursor() as cursor:
        cursor.execute(QUEUES, [AHEAD.total_seconds()])
        told = {key: rest for key, *rest in cursor.fetchall()}
    told = {name: [0, 0, 0.0] for name in names_of_queues()} | told
    yield by("casting_vote_queue_waiting", "Tasks that wait.", "queue", {name: row[0] for name, row in told.items()})
    yield by("casting_vote_queue_fetched", "Tasks at work, or next in a worker's hand.", "queue",
             {name: row[1] for name, row in told.items()})  # fmt: skip
    yield by("casting_vote_queue_oldest_seconds", "For how long the oldest of those that wait does so.", "queue",
             {name: row[2] for name, row in told.items()})  # fmt: skip


def names_of_queues() -> list[str]:
    told: dict[str, Any] = settings.Q_CLUSTER
    return [told["name"], *told["ALT_CLUSTERS"]]


def workers() -> Iterator[Metric]:
    with connection.cursor() as cursor:
        heard = queue_beats.heard(cursor)
    alive = GaugeMetricFamily(
        "casting_vote_queue_workers", "Workers that were heard of within a minute.", labels=["queue", "machine"]
    )
    silent = GaugeMetricFamily(
        "casting_vote_queue_heartbeat_seconds", "Since the longest silent of them was heard.",
        labels=["queue", "machine"],
    )  # fmt: skip
    for name in names_of_queues():
        if not any(one.queue == name for one in heard):
            alive.add_metric([name, ""], 0)
    for found in heard:
        alive.add_metric([found.queue, found.machine], found.workers)
        silent.add_metric([found.queue, found.machine], found.seconds)
    yield alive
    yield silent


# --- Work


def work_of_people() -> Iterator[Metric]:
    posts = dict(Tally.objects.order_by().values_list("state").annotate(n=Sum("posts")))
    yield by("casting_vote_posts", "Posts.", "state", {state: posts.get(state, 0) for state in State.values})
    waiting = dict(QueueTally.objects.order_by().values_list("stream").annotate(n=Sum("posts")))
    yield by("casting_vote_open_disagreements", "Posts that wait for people.", "stream",
             {stream.name.lower(): waiting.get(stream.value, 0) for stream in Stream})  # fmt: skip
    with connection.cursor() as cursor:
        cursor.execute(REVIEWS)
        [given] = cursor.fetchone()
    yield CounterMetricFamily("casting_vote_reviews", "Answers that people gave, those taken back among them.", given)


def votes() -> Iterator[Metric]:
    """The tally knows voters by number; there are a few of them a project."""
    providers = dict(Voter.objects.values_list("pk", "provider"))
    told: dict[str, list[float]] = {}
    sums = VoteTally.objects.order_by().values_list("voter_id").annotate(n=Sum("votes"), dollars=Sum("cost"))
    for voter, n, dollars in sums:
        of = told.setdefault(providers.get(voter, "removed"), [0, 0.0])
        of[0] += n
        of[1] += float(dollars)
    yield by("casting_vote_votes", "Votes of machines.", "provider", {name: n for name, (n, _) in told.items()})
    yield by("casting_vote_votes_dollars", "What these votes cost.", "provider",
             {name: dollars for name, (_, dollars) in told.items()})  # fmt: skip


# --- PostgreSQL


def connections() -> Iterator[Metric]:
    with connection.cursor() as cursor:
        cursor.execute(CONNECTIONS)
        yield by("casting_vote_database_connections", "To this database, of all processes.", "state",
                 dict(cursor.fetchall()))  # fmt: skip
        cursor.execute("SELECT current_setting('max_connections')::int, pg_database_size(current_database())")
        most, size = cursor.fetchone()
    yield one("casting_vote_database_connections_most", "That PostgreSQL takes.", most)
    yield one("casting_vote_database_bytes", "Size of the database.", size)
