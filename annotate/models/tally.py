"""Counts that stay cheap at a million posts: triggers append what changed, reading adds it up, folding keeps it short.

Appending never waits for another transaction, as updating one shared row would.
"""

from collections.abc import Sequence

from django.db import connection, models

from .project import Project
from .review import Stream


class Tally(models.Model):
    project = models.ForeignKey(Project, on_delete=models.CASCADE, db_constraint=False, related_name="tallies")
    state = models.CharField(max_length=12)
    label_id = models.BigIntegerField(null=True)
    label_source = models.CharField(max_length=12)
    voted = models.BooleanField()
    holdout = models.BooleanField()
    posts = models.BigIntegerField()


class VoteTally(models.Model):
    voter_id = models.BigIntegerField(db_index=True)
    label_id = models.BigIntegerField(null=True)
    votes = models.BigIntegerField()
    cost = models.DecimalField(max_digits=20, decimal_places=8)


class QueueTally(models.Model):
    """How many disagreements are open in each stream of a project's queue."""

    project = models.ForeignKey(Project, on_delete=models.CASCADE, db_constraint=False, related_name="queue_tallies")
    stream = models.SmallIntegerField()
    posts = models.BigIntegerField()


def fold(keep: Sequence[int] = ()) -> list[int]:
    """Replace the appended changes by their sums, in one statement, so that nobody reads a half.

    Returns the projects whose queue is empty since the last time: something changed, and nothing is left. Those in
    `keep` are left for the next time.
    """
    with connection.cursor() as cursor:
        cursor.execute(
            """WITH gone AS (DELETE FROM annotate_tally RETURNING *)
               INSERT INTO annotate_tally (project_id, state, label_id, label_source, voted, holdout, posts)
               SELECT project_id, state, label_id, label_source, voted, holdout, sum(posts) FROM gone
               GROUP BY 1, 2, 3, 4, 5, 6 HAVING sum(posts) <> 0"""
        )
        cursor.execute(
            """WITH gone AS (DELETE FROM annotate_votetally RETURNING *)
               INSERT INTO annotate_votetally (voter_id, label_id, votes, cost)
               SELECT voter_id, label_id, sum(votes), sum(cost) FROM gone
               GROUP BY 1, 2 HAVING sum(votes) <> 0 OR sum(cost) <> 0"""
        )
        cursor.execute(
            """WITH gone AS (DELETE FROM annotate_queuetally RETURNING *), kept AS (
                 INSERT INTO annotate_queuetally (project_id, stream, posts)
                 SELECT project_id, stream, sum(posts) FROM gone GROUP BY 1, 2
                 HAVING sum(posts) <> 0 OR stream <> %(check)s AND project_id = ANY(%(keep)s::bigint[])
               )
               SELECT project_id FROM gone WHERE stream <> %(check)s AND project_id <> ALL(%(keep)s::bigint[])
               GROUP BY 1 HAVING sum(posts) = 0 ORDER BY 1""",
            {"check": Stream.CHECK.value, "keep": list(keep)},
        )
        return [project for (project,) in cursor.fetchall()]
