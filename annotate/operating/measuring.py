"""What takes how much room, and which project holds it. Measured by workers, because a folder is walked for it.

Here stands what all rooms share. Whatever leaves files elsewhere brings measures of its own.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from django.conf import settings
from django.db import connection, transaction
from django.db.models import F

from annotate.models import Holding, ImportRun, Place, Project

from . import pruning, room

PICTURES, UPLOADS = "Pictures", "Files sent for imports"
SHARED = "shared"  # the key of the place that all machines share
ByProject = Mapping[int, int]


@dataclass(frozen=True, slots=True)
class Taken:
    what: str
    bytes: int
    count: int
    unit: str
    told: str = ""
    held: ByProject = field(default_factory=dict)  # bytes, where it is known whose they are


@dataclass(frozen=True, slots=True)
class Measure:
    shared: bool  # else of the machine's own folder
    take: Callable[[], Iterable[Taken]]


MEASURES: list[Measure] = []


def also_measure(shared: bool, take: Callable[[], Iterable[Taken]]) -> None:
    MEASURES.append(Measure(shared, take))


def measured(shared: bool) -> list[Taken]:
    return [taken for measure in MEASURES if measure.shared == shared for taken in measure.take()]


# --- Kept


def keep(place: Place, taken: list[Taken]) -> None:
    """In place of what stood there. In one order, because an import may be adding to it."""
    held = Counter({(project, one.what): held for one in taken for project, held in one.held.items() if held})
    there = set(Project.objects.filter(pk__in={project for project, _ in held}).values_list("pk", flat=True))
    rows = [
        Holding(place=place, project_id=project, what=what, bytes=held[project, what])
        for project, what in sorted(held) if project in there
    ]  # fmt: skip
    with transaction.atomic():
        Holding.objects.bulk_create(
            rows, update_conflicts=True, unique_fields=["place", "project", "what"], update_fields=["bytes"]
        )
        known = {(row.project_id, row.what) for row in rows}
        before = Holding.objects.filter(place=place).values_list("pk", "project", "what")
        Holding.objects.filter(pk__in=[pk for pk, *of in before if tuple(of) not in known]).delete()


def came_in(project: Project, what: str, size: int) -> None:
    """Between two looks, so that an import is stopped where it is full and not an hour later."""
    if not size:
        return
    place, _ = Place.objects.get_or_create(key=SHARED)
    Holding.objects.bulk_create([Holding(place=place, project=project, what=what, bytes=0)], ignore_conflicts=True)
    Holding.objects.filter(place=place, project=project, what=what).update(bytes=F("bytes") + size)


# --- What all machines share


def of_all() -> Iterator[Taken]:
    yield Taken(
        "The database", database_size(), *table_rows(),
        "Posts, votes, reviews, datasets, predictions. Rows as PostgreSQL reckons them.",
    )  # fmt: skip
    imports = dict(ImportRun.objects.exclude(path="").values_list("path", "project"))
    yield in_storage("uploads", UPLOADS, imports.get)
    reports = dict(ImportRun.objects.exclude(report="").values_list("report", "project"))
    yield in_storage("reports", "Reports of imports", reports.get)
    yield Taken(
        PICTURES, *room.pictures(), "picture",
        "Their thumbnails take about a seventh of this on top, and stay: nothing draws them anew. A picture that "
        "several projects show counts for each.", pictures_by_project(),
    )  # fmt: skip


def database_size() -> int:
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_database_size(current_database())")
        return int(cursor.fetchone()[0])


def table_rows() -> tuple[int, str]:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT coalesce(sum(greatest(reltuples, 0)), 0)::bigint FROM pg_class"
            " WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace"
        )
        return int(cursor.fetchone()[0]), "row"


def pictures_by_project() -> ByProject:
    """Summed by the database: a million of them would be a minute's walk."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT project_id, sum(bytes)::bigint FROM annotate_image AS image JOIN"
            " (SELECT DISTINCT project_id, image_id FROM annotate_post WHERE image_id IS NOT NULL) AS shown"
            " ON shown.image_id = image.id GROUP BY 1"
        )
        return dict(cursor.fetchall())


def in_storage(folder: str, what: str, project_of: Callable[[str], int | None]) -> Taken:
    total, count, held = 0, 0, Counter[int]()
    for name, size, _ in pruning.files_in(folder):
        total, count = total + size, count + 1
        if project := project_of(name):
            held[project] += size
    return Taken(what, total, count, "file", held=held)


# --- A machine's own folder


def in_own(name: str, what: str, project_of: Callable[[str], int | None], told: str = "") -> Taken:
    """A folder of folders, each of which bears a number."""
    total, count, held = 0, 0, Counter[int]()
    for path in (Path(settings.VAR_DIR) / name).glob("*"):
        size = pruning.size_of(path)
        total, count = total + size, count + 1
        if project := project_of(path.name):
            held[project] += size
    return Taken(what, total, count, "folder", told, held)


def free(shared: bool) -> list[int]:
    """Bytes on the disks that hold it."""
    folders = room.media_folders() if shared else [Path(settings.VAR_DIR)]
    return [room.free(folder) for folder in folders]


also_measure(shared=True, take=of_all)
