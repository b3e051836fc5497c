"""What part of the whole each label or state holds, ready to be drawn as a bar and written as a table."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

from .models import Label, LabelSource


class Slice(NamedTuple):
    """A part of a split bar that is 100 wide."""

    name: str
    css: str
    posts: int
    x: float
    width: float


def split(*parts: tuple[str, str, int]) -> list[Slice]:
    whole, x, slices = sum(posts for *_, posts in parts), 0.0, []
    for name, css, posts in parts:
        if posts:
            width = 100 * posts / whole
            slices.append(Slice(name, css, posts, round(x, 3), round(width, 3)))
            x += width
    return slices


class LabelRow(NamedTuple):
    label: Label
    posts: int
    by_source: list[tuple[LabelSource, int]]


@dataclass(frozen=True)
class LabelTable:
    sources: list[LabelSource]
    rows: list[LabelRow]

    @property
    def slices(self) -> list[Slice]:
        return split(*((row.label.name, f"label-{row.label.pk}", row.posts) for row in self.rows))


def label_table(labels: Iterable[Label], by_label: dict[int, dict[str, int]]) -> LabelTable:
    """Labels down, and across only those sources that have given one."""
    seen = {source for sources in by_label.values() for source, posts in sources.items() if posts}
    across = [source for source in LabelSource if source in seen]
    counts = ((label, by_label.get(label.pk, {})) for label in labels)
    rows = [LabelRow(label, sum(c.values()), [(source, c.get(source, 0)) for source in across]) for label, c in counts]
    return LabelTable(across, rows)
