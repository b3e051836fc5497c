"""Pictures that we exported and that are imported again: known by the name that we gave them.

We store them without their metadata, under the hash of what once came in; so what went out has another hash than its
name says. The name is believed only where the very same bytes are stored under it.
"""

from collections.abc import Mapping, Sequence
from pathlib import PurePath

from django.core.files.storage import default_storage

from annotate import images
from annotate.models import Image

from .rows import Refused, Row


def hashes(rows: Sequence[Row | Refused], read: Mapping[int, bytes], found: Mapping[int, str]) -> dict[int, str]:
    """By the number of the row, where the name is right and the hash of the bytes is another."""
    pictures = {row.number: row.picture for row in rows if isinstance(row, Row) and row.past and row.picture}
    names = {n: PurePath(picture.name).stem for n, picture in pictures.items() if n in read}
    others = {n: name for n, name in names.items() if name != found[n]}
    known = Image.objects.in_bulk(set(others.values()), field_name="sha256") if others else {}
    return {n: name for n, name in others.items() if name in known and is_stored(known[name], read[n])}


def is_stored(image: Image, data: bytes) -> bool:
    try:
        with default_storage.open(images.path_of(image.sha256, image.format)) as file:
            return bool(file.size == len(data) and file.read() == data)
    except FileNotFoundError:
        return False
