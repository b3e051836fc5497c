"""Pure: how much alike a model answers before and after it was written out, post by post."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from annotate.agreement import Share
from modeling.measures import calibration, metrics
from modeling.measures.metrics import Answers
from modeling.measures.resampling import FloatArray, IntArray

MOST_LISTED = 200  # posts that differ
# As many of the answers are the same, and probabilities are on average no further apart. Rounding weights moves both.
EXACT, ROUNDED = (0.95, 0.02), (0.9, 0.1)


@dataclass(frozen=True, slots=True)
class Before:
    """What the run itself said, and what is true."""

    labels: tuple[str, ...]
    ids: Sequence[str]
    truth: IntArray
    told: IntArray
    kin: IntArray
    scores: FloatArray  # log-probabilities of whole labels, as it gave them


@dataclass(frozen=True, slots=True)
class After:
    """What was said of one post when it was written out."""

    label: str  # blank: none of the labels
    chances: Mapping[str, float] | None = None  # of all labels
    own: float | None = None  # of the one that was written, where that alone is known
    content: str = ""
    refused: str = ""


def figures(before: Before, after: Mapping[str, After], bar: tuple[float, float]) -> dict[str, Any]:
    """`after` by a post's id. What was not answered counts as another answer."""
    said = [after.get(name, After("", refused="not asked")) for name in before.ids]
    chances = calibration.apply(before.scores, 1.0)
    number = {name: n for n, name in enumerate(before.labels)}
    told = np.array([number.get(one.label, -1) for one in said], dtype=np.int64)
    same = Share(int((told == before.told).sum()), len(told))
    apart = [distance(one, n, before, chances) for n, one in enumerate(said)]
    known = [value for value in apart if value is not None]
    mean = float(np.mean(known)) if known else None
    refused = [one.refused for one in said if one.refused]
    rate = same.rate or 0.0
    return {
        "n": same.of, "same": same.hits, "low": same.low, "high": same.high, "bar": list(bar),
        "agrees": rate >= bar[0] and (mean is None or mean <= bar[1]) and not refused,
        "known": sum(one.chances is not None for one in said),
        "own_alone": sum(one.chances is None and one.own is not None for one in said),
        "mean": mean, "largest": max(known, default=None),
        "no_label": sum(not one.label and not one.refused for one in said),
        "refused": len(refused), "why_refused": max(set(refused), key=refused.count) if refused else "",
        "before": macro_f1(before, before.told), "after": macro_f1(before, told),
        "differ": [as_listed(n, before, said[n], chances) for n in np.flatnonzero(told != before.told)[:MOST_LISTED]],
        "furthest": furthest(before, said, chances, apart),
    }  # fmt: skip


def distance(one: After, n: int, before: Before, chances: FloatArray) -> float | None:
    """The largest over the labels; where only the written one is known, of that one as a whole."""
    if not np.isfinite(before.scores[n]).any():
        return None
    if one.chances is not None:
        return max(abs(one.chances[name] - float(chances[n, k])) for k, name in enumerate(before.labels))
    if one.own is not None and one.label in before.labels:
        return abs(one.own - float(np.exp(min(0.0, before.scores[n, before.labels.index(one.label)]))))
    return None


def macro_f1(before: Before, told: IntArray) -> dict[str, Any] | None:
    if not len(told):
        return None
    found: dict[str, Any] = metrics.measure(Answers(before.labels, before.truth, told, before.kin)).as_json()
    return dict(found["macro_f1"])


def as_listed(n: int, before: Before, one: After, chances: FloatArray) -> dict[str, Any]:
    was = before.labels[before.told[n]] if before.told[n] >= 0 else ""
    return {
        "id": str(before.ids[n]), "before": was, "after": one.label, "truth": before.labels[before.truth[n]],
        "content": "" if one.label else one.content, "refused": one.refused,
        "sure_before": rounded(float(chances[n, before.told[n]])) if was else None,
        "sure_after": rounded(one.chances[one.label]) if one.chances and one.label else rounded(one.own),
    }  # fmt: skip


def furthest(before: Before, said: Sequence[After], chances: FloatArray, apart: Sequence[float | None]) -> Any:
    """The post on which probabilities are furthest apart."""
    known = [(value, n) for n, value in enumerate(apart) if value is not None]
    if not known:
        return None
    value, n = max(known)
    return as_listed(n, before, said[n], chances) | {"apart": rounded(value)}


def rounded(value: float | None) -> float | None:
    return None if value is None or not np.isfinite(value) else round(value, 4)
