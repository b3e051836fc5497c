"""What datasets, runs and models take, and whose it is; beside the measures of all else."""

from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

from django.db import connection

from annotate.operating.measuring import ByProject, Taken, in_own, in_storage

from .models import Dataset, DatasetItem, Evaluation, JobState, PreLabelling, Run, Serving

ProjectOf = Callable[[str], int | None]


def of_all() -> Iterator[Taken]:
    yield in_storage("runs", "Results of runs", of(Run, lambda name: name.split("/")[1]))
    yield datasets()
    elsewhere = Serving.objects.filter(state=JobState.DONE, deleted=None).exclude(folder="")
    named = list(elsewhere.values_list("project", "told__bytes"))
    yield Taken(
        "Models written to folders of your choice", sum(size or 0 for _, size in named), len(named), "folder",
        "As large as they were when they were written.", summed(named),
    )  # fmt: skip


def of_own() -> Iterator[Taken]:
    by_number = of(Run, lambda name: name.partition("-")[0])
    yield in_own("runs", "Folders of runs", by_number, "Checkpoints, logs and what was trained on.")
    yield in_own("results", "Results fetched for a machine", by_number)
    yield in_own("serving", "Written-out models", of(Serving, str),
                 "Each is deleted on its run’s page: a server may be using it.")  # fmt: skip
    yield in_own("evaluations", "Evaluations under way or stopped", of(Evaluation, str))
    yield in_own("prelabelling", "Pre-labellings under way or stopped", of(PreLabelling, str))
    yield in_own("answering", "Answers under way", lambda name: None)


def of(model: Any, number: Callable[[str], str]) -> ProjectOf:
    """Whose a file or folder is, told by the number in its name."""
    projects = {str(pk): project for pk, project in model.objects.values_list("pk", "project")}
    return lambda name: projects.get(number(name))


# A few rows of each tell how wide its rows are. A share of the table would charge whoever has a dataset with what
# others are freezing, and with the room that one which failed has left.
ROWS_BY_PROJECT = """
SELECT project_id, sum(total * (24 + 4 + row.width))::bigint FROM modeling_dataset AS dataset
CROSS JOIN LATERAL (
  SELECT avg(pg_column_size(few)) AS width
  FROM (SELECT * FROM modeling_datasetitem WHERE dataset_id = dataset.id LIMIT 200) AS few
) AS row
WHERE dataset.state = 'frozen' AND row.width IS NOT NULL GROUP BY 1
"""


def datasets() -> Taken:
    with connection.cursor() as cursor:
        cursor.execute(ROWS_BY_PROJECT)
        held: ByProject = dict(cursor.fetchall())
    size = table_size(DatasetItem._meta.db_table)
    told = "Part of the database. A project holds what its rows take, without the indexes on them."
    return Taken("Datasets", size, Dataset.objects.frozen().count(), "dataset", told, held)


def table_size(name: str) -> int:
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_total_relation_size(%s::regclass)", [name])
        return int(cursor.fetchone()[0])


def summed(named: list[tuple[int, int | None]]) -> ByProject:
    held = Counter[int]()
    for project, size in named:
        held[project] += size or 0
    return held
