"""What has to be done once for all processes of a site, before any of them starts: tables, and the minutely sweeps."""

from collections.abc import Iterator
from contextlib import contextmanager

from django.db import connection
from django.db.migrations.executor import MigrationExecutor
from django_q.models import Schedule

from annotate import first_start
from annotate.first_start import Say

NOT_YET = "The database is not prepared for this version: run `manage.py prepare` once, then start this again."


def prepare(say: Say) -> None:
    with alone():
        first_start.migrate(say)


@contextmanager
def alone() -> Iterator[None]:
    """Of several machines that start at once one prepares, and the others find it done."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_lock(hashtext('prepare'))")
    try:
        yield
    finally:
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_advisory_unlock(hashtext('prepare'))")


def is_prepared() -> bool:
    executor = MigrationExecutor(connection)
    if executor.migration_plan(executor.loader.graph.leaf_nodes()):
        return False
    return set(first_start.SWEEPS) <= set(Schedule.objects.values_list("name", flat=True))
