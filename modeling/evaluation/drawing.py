"""Where the lines and dots of the evaluation pages lie, in an SVG's own units."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import ceil, floor, log2
from typing import Any, NamedTuple, Self

from modeling.measures.calibration import Bin

LEAST_WIDE = 0.2  # of an axis
WIDE = 0.55  # from which on every second tenth is enough
MARGIN = 3  # left and right of what is 100 wide
SPREAD_OUT = 8  # times as many posts, from which on they are drawn by doubling


class Mark(NamedTuple):
    """A figure and its interval, on an axis that is 100 wide."""

    value: float
    low: float | None
    high: float | None
    at: float
    starts: float
    ends: float


@dataclass(frozen=True)
class Axis:
    low: float
    high: float

    @classmethod
    def around(cls, figures: Sequence[Mapping[str, Any]]) -> Self:
        """Ends on tenths, and never so narrow that a small difference looks large."""
        ends = [ends_of(one) for one in figures]
        low = floor(10 * min((low for low, _ in ends), default=0)) / 10
        high = ceil(10 * max((high for _, high in ends), default=1)) / 10
        while high - low < LEAST_WIDE - 1e-9:
            low, high = max(0.0, round(low - 0.1, 1)), min(1.0, round(high + 0.1, 1))
        if high - low > WIDE:
            low, high = floor(round(5 * low, 6)) / 5, ceil(round(5 * high, 6)) / 5
        return cls(max(0.0, low), min(1.0, high))

    @property
    def ticks(self) -> list[float]:
        """Evenly spaced from end to end."""
        step = 0.2 if self.high - self.low > WIDE else 0.1
        count = floor((self.high - self.low) / step + 1e-9)
        return [round(self.low + n * step, 1) for n in range(count + 1)]

    @property
    def lines(self) -> list[float]:
        return [self.across(tick) for tick in self.ticks]

    def across(self, value: float) -> float:
        return round(100 * (value - self.low) / (self.high - self.low), 2)

    def mark(self, figure: Mapping[str, Any]) -> Mark:
        value, (low, high) = figure["value"], ends_of(figure)
        return Mark(value, figure["low"], figure["high"], self.across(value), self.across(low), self.across(high))


def ends_of(figure: Mapping[str, Any]) -> tuple[float, float]:
    """Of too few posts no interval is known."""
    value = figure["value"]
    return (value if figure["low"] is None else figure["low"], value if figure["high"] is None else figure["high"])


# --- How sure it is, and how often it is right


SIDE, LEFT, BELOW, ABOVE = 240, 40, 24, 8  # of the square, and room for its scales


class Drawn(NamedTuple):
    """A bin: a bar as high as it is right, with a whisker, and a tick where it says it is."""

    told: Bin
    left: float
    top: float
    width: float
    height: float
    middle: float
    from_: float
    to: float
    says: float


@dataclass(frozen=True)
class Reliability:
    bins: list[Drawn]
    width: int = LEFT + SIDE + ABOVE
    height: int = ABOVE + SIDE + BELOW
    left: int = LEFT
    right: int = LEFT + SIDE
    top: int = ABOVE
    bottom: int = ABOVE + SIDE
    side: int = SIDE

    @property
    def ticks(self) -> list[tuple[str, float, float]]:
        return [(f"{100 * n // 4}%", LEFT + SIDE * n / 4, up(n / 4)) for n in range(5)]


def reliability(bins: Sequence[Mapping[str, Any]]) -> Reliability:
    return Reliability([drawn(Bin(**one)) for one in bins])


def drawn(told: Bin) -> Drawn:
    left, width, top = LEFT + SIDE * told.low, SIDE * (told.high - told.low), up(told.accuracy)
    return Drawn(
        told, round(left, 2), top, round(width, 2), round(up(0) - top, 2), round(left + width / 2, 2),
        up(told.accuracy_low), up(told.accuracy_high), up(told.confidence),
    )  # fmt: skip


def up(share: float) -> float:
    return round(ABOVE + SIDE * (1 - share), 2)


# --- More posts to learn from


class Point(NamedTuple):
    x: float
    y: float
    low: float
    high: float
    left: float  # the strip that takes a click
    width: float


@dataclass(frozen=True)
class Curve:
    points: list[Point]
    axis: Axis
    doubling: bool

    @property
    def path(self) -> str:
        return " ".join(f"{point.x},{point.y}" for point in self.points)

    @property
    def ticks(self) -> list[float]:
        """From the top down."""
        return self.axis.ticks[::-1]

    @property
    def scale(self) -> list[float]:
        return [round(100 - at, 2) for at in self.axis.lines[::-1]]


def curve(figures: Sequence[tuple[int, Mapping[str, Any]]]) -> Curve:
    """By how many posts were learnt from; spread evenly by doubling where they are many times more."""
    axis = Axis.around([figure for _, figure in figures])
    posts = [max(1, count) for count, _ in figures]
    doubling = max(posts) > SPREAD_OUT * min(posts)
    scale = [log2(count) if doubling else float(count) for count in posts]
    first, reach = min(scale), (max(scale) - min(scale)) or 1.0
    across = [MARGIN + (100 - 2 * MARGIN) * (one - first) / reach for one in scale]
    edges = [0.0, *((one + other) / 2 for one, other in pairwise(across)), 100.0]
    points = []
    for x, (_, figure), (left, right) in zip(across, figures, pairwise(edges), strict=True):
        mark = axis.mark(figure)
        y, low, high = (round(100 - at, 2) for at in (mark.at, mark.starts, mark.ends))
        points.append(Point(round(x, 2), y, low, high, round(left, 2), round(right - left, 2)))
    return Curve(points, axis, doubling)
