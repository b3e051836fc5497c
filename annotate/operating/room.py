"""How much room there is, and a sentence before it is gone: what begins on a full disk ends as half of something."""

import errno
import shutil
from pathlib import Path

from django.conf import settings
from django.core.files.storage import FileSystemStorage, default_storage
from django.db.models import Sum

from annotate.models import Image

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


def problem_with_import() -> str:
    return problem_with_disk(*media_folders()) or problem_with_quota()


def problem_with_quota() -> str:
    if not settings.MEDIA_QUOTA_MB:
        return ""
    held: int = Image.objects.aggregate(held=Sum("bytes"))["held"] or 0
    if held < settings.MEDIA_QUOTA_MB * MB:
        return ""
    return (
        f"This site’s pictures take {held // MB:,} MB, and MEDIA_QUOTA_MB allows {settings.MEDIA_QUOTA_MB:,} MB. "
        "Raise it, or remove what is no longer needed, and run this again: it goes on from there."
    )


def refuse_if_full(*folders: Path) -> None:
    if problem := problem_with_disk(*folders):
        raise NoRoom(problem)
