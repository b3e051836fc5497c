"""How much room there is, and a sentence before it is gone: what begins on a full disk ends as half of something."""

import errno
import shutil
from pathlib import Path

from django.conf import settings
from django.core.files.storage import FileSystemStorage, default_storage
from django.db.models import BigIntegerField, Count, OuterRef, QuerySet, Subquery, Sum
from django.db.models.functions import Coalesce

from annotate.models import Holding, Image, Project, Tally

from . import quotas
from .quotas import Stand

MB = 1024**2
FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
FULL_WORDS = "The disk is full. Make room, and run it again: what was imported stands, and it goes on from there."


class NoRoom(Exception):
    """The message is a sentence for whoever asked."""


def free(folder: Path) -> int:
    """On the disk that holds it, or will."""
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    return shutil.disk_usage(folder).free


def problem_with_disk(*folders: Path) -> str:
    """A sentence where less is free than LEAST_FREE_MB, or nothing."""
    for folder in folders:
        if (left := free(folder)) < settings.LEAST_FREE_MB * MB:
            return (
                f"Only {left // MB:,} MB are free on the disk of {folder.name}, and {settings.LEAST_FREE_MB:,} MB are "
                "kept free. Make room (Storage, in a site admin’s menu, says where it went), and try again."
            )
    return ""


def media_folders() -> list[Path]:
    """None where the media lie in a bucket."""
    return [Path(settings.MEDIA_ROOT)] if isinstance(default_storage, FileSystemStorage) else []


def problem_with_import(held: Stand, coming: int = 0) -> str:
    """Into a project that holds so much, of a file that is still to be kept, with so many bytes. How many posts it
    brings that are not there yet, the import itself finds out."""
    return problem_with_disk(*media_folders()) or problem_with_pictures() or quotas.problem_with_disk(held, coming)


def problem_with_pictures() -> str:
    if not settings.MEDIA_QUOTA_MB:
        return ""
    held, _ = pictures()
    if held < settings.MEDIA_QUOTA_MB * MB:
        return ""
    return (
        f"This site’s pictures take {held // MB:,} MB, and MEDIA_QUOTA_MB allows {settings.MEDIA_QUOTA_MB:,} MB. "
        "Raise it, or remove what is no longer needed, and run this again: it goes on from there."
    )


def pictures() -> tuple[int, int]:
    """Bytes, and how many."""
    told = Image.objects.aggregate(held=Sum("bytes"), count=Count("pk"))
    return told["held"] or 0, told["count"]


def refuse_if_full(*folders: Path) -> None:
    if problem := problem_with_disk(*folders):
        raise NoRoom(problem)


# --- Of a project


def problem_with_project(project: Project) -> str:
    """A sentence where it holds as much as it may. What has begun may end all the same."""
    return quotas.problem_with_disk(stand(project))


def stand(project: Project) -> Stand:
    return stands(Project.objects.filter(pk=project.pk))[0][1]


def stands(projects: QuerySet[Project]) -> list[tuple[Project, Stand]]:
    """How many posts it holds is known to the post, its bytes as they were last measured."""
    held = Holding.objects.filter(project=OuterRef("pk")).order_by().values("project")
    counted = Tally.objects.filter(project=OuterRef("pk")).order_by().values("project")
    found = projects.annotate(
        held=Coalesce(Subquery(held.annotate(n=Sum("bytes")).values("n")), 0, output_field=BigIntegerField()),
        counted=Coalesce(Subquery(counted.annotate(n=Sum("posts")).values("n")), 0, output_field=BigIntegerField()),
    )
    return [(one, stand_of(one, one.held, one.counted)) for one in found]


def stand_of(project: Project, held: int, posts: int) -> Stand:
    gigabytes = settings.PROJECT_QUOTA_GB if project.quota_gb is None else project.quota_gb
    most = settings.PROJECT_QUOTA_POSTS if project.quota_posts is None else project.quota_posts
    return Stand(project.name, held, posts, round(gigabytes * quotas.GB), most)
