"""Where the lines and squares of the agreement page lie, in an SVG's own units."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from itertools import pairwise
from math import floor
from typing import NamedTuple

from .agreement import Cell, Share

# A confusion's picture
HEAD, SLANTED_HEAD, ROW, LETTER = 34, 92, 46, 7.5
NARROW, WIDE = 64, 88  # a column
LONGEST = 14  # letters of a row's name
OVERHANG = 70  # of the last slanted name
FAINTEST, STRONGEST = 0.04, 0.45  # the ink on them keeps its contrast, on light and dark pages
MARGIN = 2  # left and right of a line over time, which is 100 wide and 100 high


class Name(NamedTuple):
    written: str
    whole: str
    css: str
    x: float
    y: float


class Square(NamedTuple):
    cell: Cell
    x: float
    y: float
    strength: float

    @property
    def alike(self) -> bool:
        return self.cell.one == self.cell.other is not None


@dataclass(frozen=True)
class HeatMap:
    width: float
    height: float
    column: float
    slanted: bool
    squares: list[Square]
    rows: list[Name]
    columns: list[Name]
    row: int = ROW

    @property
    def half(self) -> float:
        return self.column / 2


def heat_map(table: list[list[Cell]], names: dict[int | None, tuple[str, str]]) -> HeatMap:
    """`names` has each answer's name and the class that colours it."""
    across = [cell.other for cell in table[0]] if table else []
    figures = max((9.0 * len(f"{cell.posts:,}") + 16 for row in table for cell in row), default=0)
    named = max((LETTER * len(names[answer][0]) + 12 for answer in across), default=0)
    slanted = named > max(WIDE, figures)
    column = max(NARROW, figures, 0 if slanted else named)
    head = SLANTED_HEAD if slanted else HEAD
    side = 24 + LETTER * min(LONGEST, max((len(names[row[0].one][0]) for row in table), default=0))
    return HeatMap(
        width=side + column * len(across) + (OVERHANG if slanted else 0),
        height=head + ROW * len(table),
        column=column,
        slanted=slanted,
        squares=[
            square(cell, side + column * x, head + ROW * y) for y, row in enumerate(table) for x, cell in enumerate(row)
        ],
        rows=[name_at(names[row[0].one], 0, head + ROW * (y + 0.5), LONGEST) for y, row in enumerate(table)],
        columns=[name_at(names[it], side + column * (x + 0.5), head - 12, 17) for x, it in enumerate(across)],
    )


def square(cell: Cell, x: float, y: float) -> Square:
    strength = FAINTEST + (STRONGEST - FAINTEST) * cell.share if cell.posts else 0
    return Square(cell, x, y, round(strength, 3))


def name_at(name: tuple[str, str], x: float, y: float, room: int) -> Name:
    whole, css = name
    return Name(whole if len(whole) <= room else f"{whole[: room - 1]}…", whole, css, x, y)


class Point(NamedTuple):
    x: float
    y: float
    low: float
    high: float
    left: float  # the strip that takes a click
    width: float


@dataclass(frozen=True)
class Line:
    points: list[Point]
    ticks: list[float]  # shares, from the top down, evenly spaced

    @property
    def path(self) -> str:
        return " ".join(f"{point.x},{point.y}" for point in self.points)

    @property
    def scale(self) -> list[float]:
        return [height(share, self.ticks[-1]) for share in self.ticks]


def line(shares: Sequence[tuple[date, Share]]) -> Line:
    """Days lie as far apart as they were; the scale begins below the lowest end of an interval."""
    least = floor(5 * min(share.low for _, share in shares)) / 5
    first, last = shares[0][0], shares[-1][0]
    across = [MARGIN + (100 - 2 * MARGIN) * (day - first) / (last - first) for day, _ in shares]
    edges = [0, *((a + b) / 2 for a, b in pairwise(across)), 100]
    points = [
        Point(round(x, 2), *heights(share, least), round(left, 2), round(right - left, 2))
        for x, (_, share), (left, right) in zip(across, shares, pairwise(edges), strict=True)
    ]
    return Line(points, [step / 5 for step in range(5, round(5 * least) - 1, -1)])


def heights(share: Share, least: float) -> tuple[float, float, float]:
    return height(share.rate or 0, least), height(share.low, least), height(share.high, least)


def height(rate: float, least: float) -> float:
    return round(100 * (1 - rate) / (1 - least), 2)
