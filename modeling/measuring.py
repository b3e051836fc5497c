"""What datasets, runs and models take, and whose it is; beside the measures of all else."""

from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

from django.db import connection
from django.db.models import Sum

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
    yield in_own("evaluations", "Evaluations under way or to be resumed", of(Evaluation, str))
    yield in_own("prelabelling", "Pre-labellings under way or to be resumed", of(PreLabelling, str))
    yield in_own("answering", "Answers under way", lambda name: None)


def of(model: Any, number: Callable[[str], str]) -> ProjectOf:
    """Whose a file or folder is, told by the number in its name."""
    projects = {str(pk): project for pk, project in model.objects.values_list("pk", "project")}
    return lambda name: projects.get(number(name))


def datasets() -> Taken:
    """They lie in the database: each has the share of their table that it has of the posts there."""
    posts = dict(Dataset.objects.frozen().order_by().values_list("project").annotate(n=Sum("total")))
    all_posts, size = sum(posts.values()), table_size(DatasetItem._meta.db_table) if posts else 0
    held: ByProject = {project: size * n // all_posts for project, n in posts.items()} if all_posts else {}
    return Taken("Datasets", size, Dataset.objects.frozen().count(), "dataset", "Part of the database.", held)


def table_size(name: str) -> int:
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_total_relation_size(%s::regclass)", [name])
        return int(cursor.fetchone()[0])


def summed(named: list[tuple[int, int | None]]) -> ByProject:
    held = Counter[int]()
    for project, size in named:
        held[project] += size or 0
    return held
