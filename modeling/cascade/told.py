"""A cascade as text for the terminal, and for programs."""

from collections.abc import Iterator
from typing import Any

from modeling.measures.cascade import Point
from modeling.measures.resampling import Figure
from modeling.models import Cascade

from . import stages
from .cascades import curve_of, in_words

HEADINGS = ("Ask below", "Accuracy", "", "Balanced", "Macro F1", "Minority", "Calls saved", "Seconds a post")
ROW = "{:>12}  {:>8}  {:16}  {:>8}  {:>8}  {:>8}  {:>11}  {:>14}  {}"
NONE = "–"


def lines(made: Cascade) -> Iterator[str]:
    fit = made.told["fit"]
    yield f"{made}: fitted on {made.fitted_on:,} of {made.told['of']:,} validation posts"
    yield (
        f"Weight of the second stage {fit['weight']:.2f}, temperature {fit['temperature']:.2f}; the label is among the "
        f"{made.k} candidates of {fit['in_reach']:.1%} of the posts"
    )
    if fit["note"]:
        yield fit["note"]
    yield ""
    yield row(HEADINGS, "")
    for point in curve_of(made):
        marks = (
            [f"asks least, within {100 * made.told['margin']:g} points of always asking"]
            if point.threshold == made.told["best"]
            else []
        )
        marks += ["chosen"] if point.threshold == made.threshold else []
        yield row(cells(point), "; ".join(marks))
    for split, told in made.told["elsewhere"].items():
        yield ""
        yield f"On the {stages.named(split)}, which nothing was fitted on"
        for name in ("never", "chosen", "always"):
            yield row(cells(Point.from_json(told[name])), "")
    if made.threshold is None:
        yield ""
        yield "No point is chosen yet: say which with --threshold."


def row(cells: tuple[str, ...], mark: str) -> str:
    return ROW.format(*cells, mark).rstrip()


def cells(point: Point) -> tuple[str, ...]:
    words = in_words(point.threshold)
    rare = NONE if point.minority_recall is None else f"{point.minority_recall:.3f}"
    seconds = NONE if point.seconds is None else f"{point.seconds:.3g}"
    return (
        words.removeprefix("ask below "), f"{point.accuracy.value:.3f}", between(point.accuracy),
        f"{point.balanced_accuracy:.3f}", f"{point.macro_f1:.3f}", rare, f"{point.saved:.1%}", seconds,
    )  # fmt: skip


def between(figure: Figure) -> str:
    return "" if figure.low is None else f"{figure.low:.3f} to {figure.high:.3f}"


def as_json(made: Cascade, whole: bool = False) -> dict[str, Any]:
    plain = ("name", "k", "threshold", "chosen", "weight", "temperature", "fitted_on", "state", "error", "created")
    told = {name: getattr(made, name) for name in plain} | {
        "id": made.pk, "dataset": made.dataset.name, "first": first_named(made), "second": f"run-{made.second_id}",
        "by": made.by.username if made.by else None,
    }  # fmt: skip
    return told | {"told": made.told} if whole else told


def first_named(made: Cascade) -> str:
    """As commands and programs write it."""
    return f"run-{made.run_id}" if made.run_id else str(made.voter)
