"""The pictures of an export: each once, however many posts show it, straight from wherever they are stored.

A picture may be gone from the storage. To ask beforehand for each would take a remote storage minutes, and one that is
lost is no reason to keep the others from a trainer; so it is told in a file of its own, and a command says so too.
"""

from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import islice

from django.conf import settings
from django.core.files import File
from django.core.files.storage import default_storage
from django.db import connection

from annotate import images
from modeling.models import Dataset

from .members import Member, NotExported

FOLDER = "images"
MISSING = "MISSING.txt"
MOST_MISSING = 1000
WINDOW = 5000
AHEAD = 16  # pictures held at once, at most
FORMATS = {ending: format for format, ending in images.EXTENSIONS.items()}

READ = """
SELECT position, image FROM modeling_datasetitem
WHERE dataset_id = %s AND position > %s AND split = ANY(%s) AND removed IS NULL AND image <> ''
ORDER BY position LIMIT %s
"""


def members(dataset: Dataset, splits: tuple[str, ...], folder: str = FOLDER) -> Iterator[Member]:
    return by_name(named(dataset, splits), folder)


def by_name(images: Iterable[str], folder: str = FOLDER) -> Iterator[Member]:
    missing: set[str] = set()
    for image, file in opened_ahead(each_once(images)):
        if file:
            yield Member(f"{folder}/{image}", read(file))
        else:
            lost(f"{folder}/{image}", missing)
    if missing:
        yield Member(MISSING if folder == FOLDER else f"{folder}/{MISSING}", iter([told(missing)]))


def each_once(images: Iterable[str]) -> Iterator[str]:
    seen: set[bytes] = set()
    for image in images:
        key = bytes.fromhex(image.partition(".")[0])
        if key not in seen:
            seen.add(key)
            yield image


def opened_ahead(images: Iterator[str]) -> Iterator[tuple[str, File[bytes] | None]]:
    """A bucket answers after milliseconds, a disk at once: of the former a few are asked for beforehand."""
    if not settings.MEDIA_S3_BUCKET:
        yield from ((image, opened(image)) for image in images)
        return
    with ThreadPoolExecutor(AHEAD) as pool:
        waiting = deque((image, pool.submit(opened, image)) for image in islice(images, AHEAD))
        while waiting:
            image, file = waiting.popleft()
            yield image, file.result()
            waiting.extend((image, pool.submit(opened, image)) for image in islice(images, 1))


def named(dataset: Dataset, splits: tuple[str, ...]) -> Iterator[str]:
    after = 0
    while True:
        with connection.cursor() as cursor:
            cursor.execute(READ, [dataset.pk, after, list(map(str, splits)), WINDOW])
            page = cursor.fetchall()
        yield from (image for _, image in page)
        if len(page) < WINDOW:
            return
        after = page[-1][0]


def opened(image: str) -> File[bytes] | None:
    sha256, _, ending = image.partition(".")
    try:
        return default_storage.open(images.path_of(sha256, FORMATS[ending]))
    except FileNotFoundError:
        return None


def read(file: File[bytes]) -> Iterator[bytes]:
    with file:
        yield from file.chunks()


def lost(path: str, missing: set[str]) -> None:
    missing.add(path)
    if len(missing) == MOST_MISSING:
        raise NotExported(f"{MOST_MISSING:,} pictures are not in the storage: is it the right one, and whole?")


def told(missing: set[str]) -> bytes:
    lines = ["These pictures are named in the tables, and are gone from the storage:", *sorted(missing)]
    return "\n".join([*lines, ""]).encode()
