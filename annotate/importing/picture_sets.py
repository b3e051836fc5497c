"""A folder or ZIP of pictures, or a single one; with a table beside them, the table's rows name the pictures."""

import os
import weakref
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import islice
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory, mkdtemp

from . import exported
from .archive import BadMember, open_archive
from .pictures import MAX_BYTES, PictureOf, among, bytes_of, in_folder, is_picture
from .rows import Picture, Refused, Row, Unreadable

TABLES = frozenset({".csv", ".tsv", ".tab", ".json", ".jsonl", ".ndjson", ".parquet"})
ROWS_TRIED = 20
NAMES_SHOWN = 5
REFUSED_SHOWN = 100

ReadTable = Callable[[Path, str, PictureOf], Iterator[Row | Refused]]


@dataclass(frozen=True)
class Shelf:
    """Pictures and tables that came together."""

    pictures: list[str]
    tables: list[str]
    picture: PictureOf  # by its name on this shelf
    beside: Callable[[str], PictureOf]  # as the table of that name calls them
    table: Callable[[str], Path]
    refused: list[tuple[str, str]] = field(default_factory=list)  # members of an archive, and why


@contextmanager
def opened(path: Path, name: str) -> Iterator[Shelf]:
    if path.is_dir():
        yield folder_shelf(path)
    elif is_picture(name):
        picture = Picture(name, partial(bytes_of, path))
        yield Shelf([name], [], lambda _: picture, lambda _: lambda _: picture, lambda _: path)
    else:
        with TemporaryDirectory() as tables:
            yield archive_shelf(path, Path(tables))


def folder_shelf(folder: Path) -> Shelf:
    found = [
        (Path(root) / file).relative_to(folder).as_posix()
        for root, _, files in os.walk(folder)
        for file in files
        if not file.startswith(".") and (Path(root) / file).is_file()
    ]
    return Shelf(
        *pictures_and_tables(found), in_folder(folder), partial(beside_in_folder, folder), lambda name: folder / name
    )


def beside_in_folder(folder: Path, table: str) -> PictureOf:
    own, top = in_folder((folder / table).parent), in_folder(folder)

    def find(name: str) -> Picture:
        try:
            picture = own(name)
        except Unreadable:
            return top(name)
        return replace(picture, name=(PurePosixPath(table).parent / picture.name).as_posix())

    return find


def archive_shelf(path: Path, folder: Path) -> Shelf:
    opening = ExitStack()
    archive = opening.enter_context(open_archive(path))

    def read(name: str) -> bytes:
        try:
            return archive.read(name, MAX_BYTES)
        except BadMember as error:
            raise Unreadable(str(error)) from error

    # Pictures are read after their rows have left here, so the archive is closed with the last of them.
    weakref.finalize(read, opening.close)
    names = archive.names()

    def beside(table: str) -> PictureOf:
        return among(names, read, table.rpartition("/")[0])

    return Shelf(
        *pictures_and_tables(names),
        lambda name: Picture(name, partial(read, name)),
        beside,
        lambda name: archive.extract_table(name, Path(mkdtemp(dir=folder))),  # two tables may have one name
        list(archive.refused),
    )


def pictures_and_tables(names: list[str]) -> tuple[list[str], list[str]]:
    names = sorted(names)
    return [n for n in names if is_picture(n)], [n for n in names if PurePosixPath(n).suffix.lower() in TABLES]


def read(shelf: Shelf, labels: tuple[str, ...], read_table: ReadTable) -> Iterator[Row | Refused]:
    tables, notes = choose_tables(shelf, read_table)
    number = 0
    unnamed = dict.fromkeys(shelf.pictures)
    for name, path in tables.items():
        before = number
        for row in read_table(path, name, shelf.beside(name)):
            number = before + row.number
            if isinstance(row, Row) and row.picture:
                unnamed.pop(row.picture.name, None)
            yield replace(row, number=number) if before else row
    if tables and unnamed:
        shown = ", ".join(islice(unnamed, NAMES_SHOWN)) + (", …" if len(unnamed) > NAMES_SHOWN else "")
        notes.append((shown, f"no row names {len(unnamed):,} of the pictures"))
    elif not tables:
        known = {label.strip().casefold(): label for label in labels}
        for number, name in enumerate(shelf.pictures, 1):
            yield picture_row(number, name, shelf, known)
    for after, (name, reason) in enumerate(notes + shelf.refused[:REFUSED_SHOWN], 1):
        yield Refused(number + after, reason, name[:80])


def picture_row(number: int, name: str, shelf: Shelf, labels: dict[str, str]) -> Row | Refused:
    """Pictures are often sorted into a folder for each label."""
    try:
        picture = shelf.picture(name)
    except Unreadable as error:
        return Refused(number, str(error), name[:80])
    folder = PurePosixPath(name).parent.name
    return Row(number, picture=picture, label=labels.get(folder.casefold(), ""), meta={"file": name})


def choose_tables(shelf: Shelf, read_table: ReadTable) -> tuple[dict[str, Path], list[tuple[str, str]]]:
    """Those whose first rows name pictures of this shelf, or all, where it has no pictures; and why not the others."""
    if known := exported.tables_of_posts(shelf.tables):
        return {name: shelf.table(name) for name in known}, []
    tables: dict[str, Path] = {}
    notes: list[tuple[str, str]] = []
    for name in shelf.tables:
        try:
            path = shelf.table(name)
            names_pictures = any(
                isinstance(row, Row) and row.picture and row.picture.name in shelf.pictures
                for row in islice(read_table(path, name, shelf.beside(name)), ROWS_TRIED)
            )
        except Unreadable as error:
            notes.append((name, str(error)))
            continue
        if names_pictures or not shelf.pictures:
            tables[name] = path
        else:
            notes.append((name, "this table was not read: its first rows name none of the pictures"))
    if not tables and not shelf.pictures:
        raise Unreadable("There are neither pictures nor a table of posts in it." + why(notes + shelf.refused))
    return tables, notes


def why(notes: list[tuple[str, str]]) -> str:
    return "".join(f" {name[:80]}: {reason}" for name, reason in notes[:3])
