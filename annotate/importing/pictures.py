"""Finds the picture that a record names: in the folder or archive beside it, in the record itself, or at an address."""

import base64
import binascii
import re
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit

from .rows import Picture, Unreadable

ENDINGS = frozenset({".jpg", ".jpeg", ".png", ".gif", ".webp", ".bmp", ".tif", ".tiff", ".avif"})
ADDRESS = re.compile(r"https?://", re.IGNORECASE)
EMBEDDED = re.compile(r"data:image/[\w.+-]+;base64,", re.IGNORECASE)
UPLOADED = re.compile(r"^/?data/upload/\d+/")  # how Label Studio names what was uploaded to it
NOT_FETCHED = "pictures are not fetched from addresses unless an administrator allows it; put them beside the file"

MAX_BYTES = 64 * 1024**2

Fetch = Callable[[str], bytes]
PictureOf = Callable[[str], Picture]


def is_picture(name: str) -> bool:
    return Path(name).suffix.lower() in ENDINGS


def finder(find: PictureOf, fetch: Fetch | None) -> PictureOf:
    """`find` looks among files; addresses and embedded pictures are the same everywhere."""

    def picture_of(name: str) -> Picture:
        if embedded := EMBEDDED.match(name):
            return Picture("embedded picture", partial(decoded, name[embedded.end() :]))
        if ADDRESS.match(name):
            return at_address(name, fetch)
        return find(plain_path(name))

    return picture_of


def at_address(address: str, fetch: Fetch | None) -> Picture:
    if fetch is None:
        raise Unreadable(NOT_FETCHED)
    return Picture(address.rpartition("/")[2][:100] or address[:100], partial(fetch, address))


def decoded(text: str) -> bytes:
    try:
        return base64.b64decode(text)
    except (binascii.Error, ValueError) as error:
        raise Unreadable("the embedded picture is not valid base64") from error


def plain_path(name: str) -> str:
    name = name.replace("\\", "/").removeprefix("file://")
    if "/local-files/" in name and (path := parse_qs(urlsplit(name).query).get("d")):
        return path[0]
    return UPLOADED.sub("", name).removeprefix("./")


def nowhere(name: str) -> Picture:
    raise Unreadable(f"its picture “{name[:80]}” is not in this file; send a ZIP of the table and the pictures")


def in_folder(folder: Path) -> PictureOf:
    root = folder.resolve()

    def find(name: str) -> Picture:
        for candidate in dict.fromkeys((name, unquote(name), name.rpartition("/")[2])):
            if path := inside(root, candidate):
                return Picture(path.relative_to(root).as_posix(), partial(bytes_of, path))
        raise Unreadable(f"its picture “{name[:80]}” is not in the folder")

    return find


def inside(root: Path, name: str) -> Path | None:
    """The file of that name, links followed, if that is still within the folder."""
    try:
        path = (root / name).resolve()
        return path if path.is_relative_to(root) and path.is_file() else None
    except (OSError, ValueError, RuntimeError):  # a name too long, with a NUL, or a ring of links
        return None


def bytes_of(path: Path) -> bytes:
    try:
        if path.stat().st_size > MAX_BYTES:
            raise Unreadable(f"larger than {MAX_BYTES // 1024**2} MB")
        return path.read_bytes()
    except OSError as error:
        raise Unreadable(f"cannot be read ({error.strerror})") from error


def among(names: Iterable[str], read: Callable[[str], bytes], beside: str = "") -> PictureOf:
    """In an archive: as named from the table's own folder, from the top, or by its bare name where only one has it."""
    full = set(names)
    by_bare_name: dict[str, str] = {}
    for name in full:
        bare = name.rpartition("/")[2]
        by_bare_name[bare] = "" if bare in by_bare_name else name

    def find(name: str) -> Picture:
        for candidate in (f"{beside}/{name}" if beside else name, name, unquote(name)):
            if candidate in full:
                return Picture(candidate, partial(read, candidate))
        only = by_bare_name.get(name.rpartition("/")[2])
        if only:
            return Picture(only, partial(read, only))
        raise Unreadable(f"its picture “{name[:80]}” is not in the archive")

    return find
