"""Pure: rounds drawn against each other, a small chart for each figure, in an SVG that is 100 by 100."""

from collections.abc import Callable, Mapping, Sequence
from math import floor, log10
from typing import Any, NamedTuple

from modeling.evaluation.drawing import Axis, ends_of

SOURCES = ("import", "review", "consensus", "model")  # from the bottom up: what is surest first
WIDEST = 14.0  # of a bar, in hundredths
STEPS = (1, 2, 5, 10)
UNKNOWN = "not known"


class Column(NamedTuple):
    """A round."""

    number: int
    url: str
    state: str
    css: str
    told: Mapping[str, Any]


class Bar(NamedTuple):
    css: str
    top: float
    height: float


class Drawn(NamedTuple):
    column: Column
    left: float  # the strip that takes a click
    width: float
    middle: float
    bar_left: float
    bar_width: float
    bars: list[Bar]
    at: float | None  # a figure with an interval
    low: float
    high: float
    words: str


class Panel(NamedTuple):
    key: str
    title: str
    ticks: list[str]  # from the top down
    lines: list[float]
    drawn: list[Drawn]

    @property
    def empty(self) -> str:
        """In words, where there is nothing to be drawn."""
        if any(one.bars or one.at is not None for one in self.drawn):
            return ""
        return "not known yet" if {one.words for one in self.drawn} <= {UNKNOWN} else "nothing so far"


Amount = Callable[[Mapping[str, Any]], float | None]
Written = Callable[[float], str]


def panels(columns: Sequence[Column]) -> list[Panel]:
    return [
        stacked(columns),
        ranged("wrong", "Wrong among what it learnt from", columns, share),
        ranged("macro_f1", "Macro F1, locked test set", columns, lambda value: f"{value:g}"),
        amounts("money", "Money for votes", columns, dollars),
        amounts("machine_hours", "Machine hours", columns, hours),
        amounts("people_hours", "People’s hours", columns, hours),
    ]


def share(value: float) -> str:
    return f"{100 * value:.3g}%"


def dollars(value: float) -> str:
    return f"${value:,.2g}" if value < 10 else f"${value:,.0f}"


def hours(value: float) -> str:
    if value >= 1:
        return f"{value:,.1f} h" if value % 1 else f"{value:,.0f} h"
    return f"{60 * value:.2g} min" if value >= 1 / 60 else f"{3600 * value:.2g} s"


def stacked(columns: Sequence[Column]) -> Panel:
    """Labels by where they come from."""
    sums = [sum((column.told.get("labels") or {}).values()) for column in columns]
    top = round_up(max(sums, default=0))
    drawn = [place(n, columns, stack(column, top), words_of_labels(column)) for n, column in enumerate(columns)]
    return Panel("labels", "Labels by source", scale(top, lambda value: f"{value:,.0f}"), [0, 50, 100], drawn)


def stack(column: Column, top: float) -> list[Bar]:
    labels, bars, below = column.told.get("labels") or {}, [], 0.0
    for source in SOURCES:
        if posts := labels.get(source, 0):
            height = 100 * posts / top
            below += height
            bars.append(Bar(f"source-{source}", round(100 - below, 2), round(height, 2)))
    return bars


def words_of_labels(column: Column) -> str:
    labels = column.told.get("labels") or {}
    return ", ".join(f"{labels[source]:,} {source}" for source in SOURCES if labels.get(source)) or "no label yet"


def amounts(key: str, title: str, columns: Sequence[Column], written: Written) -> Panel:
    values = [column.told.get(key) for column in columns]
    top = round_up(max((value for value in values if value is not None), default=0))
    drawn = []
    for n, value in enumerate(values):
        bars = [Bar("amount", round(100 - 100 * value / top, 2), round(100 * value / top, 2))] if value else []
        drawn.append(place(n, columns, bars, UNKNOWN if value is None else written(value)))
    return Panel(key, title, scale(top, written), [0, 50, 100], drawn)


def ranged(key: str, title: str, columns: Sequence[Column], written: Written) -> Panel:
    """With an interval; a share of errors stands on nought, a score on an axis around what there is."""
    figures = [column.told.get(key) for column in columns]
    known = [figure for figure in figures if figure]
    axis = Axis.around(known) if key == "macro_f1" else Axis(0, min(1.0, round_up(highest(known))))
    drawn = [place(n, columns, [], words_of(figure, written), axis, figure) for n, figure in enumerate(figures)]
    ticks = axis.ticks if key == "macro_f1" else [0, axis.high / 2, axis.high]
    lines = [100 - axis.across(tick) for tick in reversed(ticks)]
    return Panel(key, title, [written(tick) for tick in reversed(ticks)], lines, drawn)


def highest(figures: Sequence[Mapping[str, Any]]) -> float:
    return max((ends_of(figure)[1] for figure in figures), default=0.0)


def words_of(figure: Mapping[str, Any] | None, written: Written) -> str:
    if not figure:
        return UNKNOWN
    if figure["low"] is None:
        return written(round(figure["value"], 4))
    value, low, high = (written(round(figure[name], 4)) for name in ("value", "low", "high"))
    return f"{value}, 95%: {low} to {high}"


def place(
    n: int, columns: Sequence[Column], bars: list[Bar], words: str, axis: Axis | None = None,
    figure: Mapping[str, Any] | None = None,
) -> Drawn:  # fmt: skip
    width = 100 / len(columns)
    bar = min(WIDEST, 0.7 * width)
    middle = (n + 0.5) * width
    at, low, high = None, 0.0, 0.0
    if axis and figure:
        mark = axis.mark(figure)
        at, low, high = (round(100 - one, 2) for one in (mark.at, mark.starts, mark.ends))
    return Drawn(
        columns[n], round(n * width, 2), round(width, 2), round(middle, 2), round(middle - bar / 2, 2), round(bar, 2),
        bars, at, low, high, words,
    )  # fmt: skip


def scale(top: float, written: Written) -> list[str]:
    return [written(top), written(top / 2), "0"]


def round_up(value: float) -> float:
    """To 1, 2 or 5 times a power of ten; of nothing, to one."""
    if value <= 0:
        return 1.0
    power = 10.0 ** floor(log10(value))
    return next(step * power for step in STEPS if step * power >= value * (1 - 1e-9))
