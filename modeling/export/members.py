"""What an export is made of: files under relative paths, each made while it is being read."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from modeling.datasets import card, items
from modeling.datasets.items import Item
from modeling.models import Dataset, DatasetItem

CHUNK = 1 << 17
README = "README.md"


class NotExported(Exception):
    """The words are for whoever asked."""


@dataclass(frozen=True)
class Options:
    splits: tuple[str, ...] = items.TO_TRAIN_WITH
    with_reason: bool = False
    with_pictures: bool = True  # without them the tables name the same paths, and the files are left out


@dataclass(frozen=True)
class Member:
    path: str  # relative, with slashes
    chunks: Iterator[bytes]


def gathered(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """Lines are many and short; whoever writes or compresses them is faster with few and long ones."""
    held = bytearray()
    for piece in pieces:
        held += piece
        if len(held) >= CHUNK:
            yield bytes(held)
            held.clear()
    if held:
        yield bytes(held)


def readme(dataset: Dataset, how_to_read: str = "") -> Member:
    def written() -> Iterator[bytes]:
        told = card.markdown(dataset)
        yield (f"{told}\n{how_to_read.strip()}\n" if how_to_read else told).encode()

    return Member(README, written())


def held(dataset: Dataset, options: Options) -> list[str]:
    """The splits that hold something: readers take an empty file for a broken one."""
    asked = [split for split in items.SPLITS if split in options.splits]
    return [split for split in asked if dataset.items.filter(split=split, removed=None).exists()]


def picture_first(dataset: Dataset, splits: tuple[str, ...]) -> Iterator[Item]:
    """In order, but for one post with a picture that comes before all others: readers that guess the columns from the
    first megabytes would take a list of pictures, empty so far, for a list of nothing and stumble over the first."""
    leading = with_picture(dataset, splits)
    if leading:
        yield leading
    for item in items.items(dataset, splits):
        if not leading or item.position != leading.position:
            yield item


def with_picture(dataset: Dataset, splits: tuple[str, ...]) -> Item | None:
    parts = dataset.composition["splits"]
    if not any(parts[split]["pictures"] for split in splits):
        return None
    found = DatasetItem.objects.filter(dataset=dataset, split__in=splits, removed=None).exclude(image="")
    position = found.order_by("position").values_list("position", flat=True).first()
    return next(items.items(dataset, splits, window=1, after=position - 1), None) if position else None


def as_array(records: Iterable[object]) -> Iterator[bytes]:
    """A JSON array with a record a line."""
    mark = b"[\n"
    for record in records:
        yield mark + items.as_line(record).rstrip(b"\n")
        mark = b",\n"
    yield b"\n]\n" if mark == b",\n" else b"[]\n"
