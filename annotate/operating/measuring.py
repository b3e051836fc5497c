"""What takes how much room, and which project holds it. Measured by workers, because a folder is walked for it.

Here stands what all rooms share. Whatever leaves files elsewhere brings measures of its own.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from django.conf import settings
from django.db import connection, transaction
from django.db.models import Q

from annotate.models import Holding, ImportRun, Place, Project

from . import pruning, room

PICTURES, UPLOADS = "Pictures", "Files sent for imports"
SHARED = Place.SHARED
ByProject = Mapping[int, int]
ADD = """
INSERT INTO annotate_holding AS there (place_id, project_id, what, bytes)
SELECT %(place)s, more.project, more.what, more.bytes
FROM unnest(%(projects)s::bigint[], %(kinds)s::text[], %(sizes)s::bigint[]) AS more (project, what, bytes)
JOIN annotate_project AS project ON project.id = more.project
ORDER BY 2, 3
ON CONFLICT (place_id, project_id, what) DO UPDATE SET bytes = there.bytes + excluded.bytes
"""


@dataclass(frozen=True, slots=True)
class Taken:
    what: str
    bytes: int
    count: int
    unit: str
    told: str = ""
    held: ByProject = field(default_factory=dict)  # bytes, where it is known whose they are
    stood: ByProject = field(default_factory=dict)  # bytes that were told of just before it was measured


@dataclass(frozen=True, slots=True)
class Measure:
    shared: bool  # else of the machine's own folder
    take: Callable[[], Iterable[Taken]]


MEASURES: list[Measure] = []


def also_measure(shared: bool, take: Callable[[], Iterable[Taken]]) -> None:
    MEASURES.append(Measure(shared, take))


def measured(shared: bool, place: Place | None = None) -> list[Taken]:
    """With what stood in that place just before, by which `keep` tells what came in meanwhile."""
    return [
        taken for measure in MEASURES if measure.shared == shared for taken in with_what_stood(place, measure.take())
    ]


def with_what_stood(place: Place | None, takes: Iterable[Taken]) -> Iterator[Taken]:
    coming = iter(takes)
    while True:
        rows = list(Holding.objects.filter(place=place).values_list("project", "what", "bytes")) if place else []
        if not (taken := next(coming, None)):
            return
        yield replace(taken, stood={project: size for project, what, size in rows if what == taken.what})


# --- Kept


def keep(place: Place, taken: list[Taken]) -> None:
    """In place of what stood there before it was measured. What came in since is not in the figures, and stays."""
    more = Counter({(project, one.what): held for one in taken for project, held in one.held.items()})
    more.subtract({(project, one.what): stood for one in taken for project, stood in one.stood.items()})
    with transaction.atomic():
        add(place, more)
        nothing = Q(bytes__lte=0) | ~Q(what__in=[one.what for one in taken])
        Holding.objects.filter(nothing, place=place).delete()


def came_in(project: Project, what: str, size: int) -> None:
    """Between two looks, so that an import is stopped where it is full and not an hour later."""
    if size:
        place, _ = Place.objects.get_or_create(key=SHARED)
        add(place, {(project.pk, what): size})


def add(place: Place, more: Mapping[tuple[int, str], int]) -> None:
    """To what stands there at this moment, whoever else adds to it. In one order, because several may."""
    rows = [(*key, size) for key, size in more.items() if size]
    projects, kinds, sizes = ([row[column] for row in rows] for column in range(3))
    with connection.cursor() as cursor:
        cursor.execute(ADD, {"place": place.pk, "projects": projects, "kinds": kinds, "sizes": sizes})


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
