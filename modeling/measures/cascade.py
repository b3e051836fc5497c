"""Pure: a cheap first stage answers where it is sure; elsewhere a costly second is asked, about the likeliest alone.

Probabilities, a row a post and a column a label, come from the first; log scores of the same shape from the second. At
a threshold t the first stage's answer stands where its highest probability is t or more. Elsewhere the candidates are
its k likeliest labels, and both are blended over these:

    p ∝ first^(1 - w) · softmax(second / T)^w

The candidates share what the first stage gave them together, and every other label keeps what it gave that: so a row
adds up to 1, what the first stage had ruled out stays so, and the likeliest label is always a candidate.

Weight and temperature are fitted on posts that are not measured on. That, and choosing no threshold on a locked test
set, is the caller's to see to, for here all posts look alike.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from . import calibration, resampling
from .calibration import COLDEST, ENOUGH_TO_FIT, HOTTEST
from .metrics import SAMPLES, figure_from
from .resampling import Figure, FloatArray, IntArray, Kinds, Scores

NEVER, ALWAYS = 0.0, 1.01  # thresholds at which the second stage is never asked, and always
LEAST = 1e-6  # how likely a candidate is at least: the second may raise what the first holds for next to nothing
LOWEST = -700.0  # of a candidate's log-probability
FEWEST = 2  # candidates; of one there is nothing to be asked
STEPS = 20  # of the threshold, evenly
QUANTILES = 19  # of the posts by how sure the first stage is: many are surer than the last even step
MOST_TO_FIT = 20_000  # posts; two numbers are learnt from these as well as from a million
WEIGHTS = np.linspace(0, 1, 21)
MARGIN = 0.005  # of accuracy, that a cheaper point may be worse
TOO_FEW = "There are fewer than {least} validation posts whose label is among the candidates: the second stage alone \
decides between candidates, as it says."


def whole(stated: ArrayLike) -> FloatArray:
    """From what was stated, which may be of a few labels alone: not a number where nothing was said of a label.

    What is missing to 1 is spread evenly over the labels that were not named, and where all were named, or more than 1
    was given away, all are scaled. Who said nothing holds all labels as likely.
    """
    told = np.asarray(stated, dtype=float)
    unnamed = np.isnan(told)
    given = np.where(unnamed, 0.0, np.clip(told, 0, None))
    total, left_out = given.sum(axis=1, keepdims=True), unnamed.sum(axis=1, keepdims=True)
    share = np.clip(1 - total, 0, None) / np.maximum(left_out, 1)
    filled = np.where(unnamed, share, given)
    total = filled.sum(axis=1, keepdims=True)
    even = np.full_like(filled, 1 / filled.shape[1])
    found: FloatArray = np.divide(filled, total, out=even, where=total > 0)
    return found


# --- Candidates, and both stages together


class Candidates(NamedTuple):
    places: IntArray  # a row a post: its likeliest labels, the likeliest first
    counted: NDArray[np.bool_]  # which of these are candidates


def candidates(first: FloatArray, k: int) -> Candidates:
    """The k likeliest. Labels as likely as one that is left out are left out too, for by nothing but their place among
    the labels would one be asked about and another not; unless fewer than two would be left."""
    k = min(k, first.shape[1])
    places = np.argsort(-first, axis=1, kind="stable")
    if k == first.shape[1]:
        return Candidates(places, np.ones(places.shape, dtype=bool))
    chances = np.take_along_axis(first, places[:, : k + 1], 1)
    counted = chances[:, :k] > chances[:, k:]
    fewest = np.arange(k) < min(FEWEST, k)
    counted = np.where(counted.sum(axis=1, keepdims=True) < fewest.sum(), fewest, counted)
    return Candidates(places[:, :k], counted)


def mixed(first: FloatArray, second: FloatArray, counted: Any, weight: float, temperature: float) -> FloatArray:
    """Over candidates alone, a column each: probabilities among these. Where the second said nothing, the first's."""
    prior = np.log(np.clip(first, LEAST, 1))
    said = np.isfinite(second) & counted
    scores = np.where(said, second, -np.inf)
    highest = np.where(said.any(axis=1, keepdims=True), scores.max(axis=1, keepdims=True), 0.0)
    scores = np.where(counted, (scores - highest) / temperature, -np.inf)
    with np.errstate(divide="ignore", invalid="ignore"):
        told = scores - np.log(np.exp(scores).sum(axis=1, keepdims=True))
    told = np.where(said.any(axis=1, keepdims=True), np.clip(told, LOWEST, None), prior)
    both = np.where(counted, (1 - weight) * prior + weight * told, -np.inf)
    found: FloatArray = np.exp(both - both.max(axis=1, keepdims=True))
    found /= found.sum(axis=1, keepdims=True)
    return found


def blended(first: FloatArray, second: FloatArray, k: int, weight: float, temperature: float) -> FloatArray:
    """As if the second stage were asked about every post. Of other labels than the candidates nothing need be known."""
    if not len(first):
        return first.copy()
    places, counted = candidates(first, k)
    given = np.take_along_axis(first, places, 1)
    among = mixed(given, np.take_along_axis(second, places, 1), counted, weight, temperature)
    together = (given * counted).sum(axis=1, keepdims=True)
    found = first.copy()
    np.put_along_axis(found, places, np.where(counted, among * together, given), 1)
    return found


def answered(
    first: FloatArray, second: FloatArray, k: int, threshold: float, weight: float, temperature: float
) -> FloatArray:
    """The cascade: the first stage where it is sure, both together elsewhere."""
    found, asked = first.copy(), is_unsure(first, threshold)
    found[asked] = blended(first[asked], second[asked], k, weight, temperature)
    return found


def is_unsure(first: FloatArray, threshold: float) -> NDArray[np.bool_]:
    return np.asarray(first.max(axis=1, initial=0) < threshold)


# --- Fitted


@dataclass(frozen=True, slots=True)
class Fit:
    weight: float  # of the second stage
    temperature: float  # that the second stage's scores are divided by
    posts: int  # that it was fitted on: those whose label is among the candidates
    of: int
    log_loss: float | None  # of all posts, if the second stage were always asked; None: there were none
    first_log_loss: float | None
    note: str  # why it is not fitted; blank where it is

    @property
    def in_reach(self) -> float | None:
        """The share of posts whose label is among the candidates: of the others the second stage gets none right."""
        return self.posts / self.of if self.of else None

    def as_json(self) -> dict[str, Any]:
        return asdict(self) | {"in_reach": self.in_reach}


def fit(first: FloatArray, second: FloatArray, truth: IntArray, k: int) -> Fit:
    """The weight and the temperature at which the log loss is least, as if the second stage were asked of every post.

    A post whose label is no candidate loses the same at any of these, so it takes no part.
    """
    if not len(truth):
        return Fit(1.0, 1.0, 0, 0, None, None, TOO_FEW.format(least=ENOUGH_TO_FIT))
    places, counted = candidates(first, k)
    rows, columns = np.nonzero((places == truth[:, None]) & counted)
    told = np.take_along_axis(second, places, 1)
    known = np.isfinite(np.where(counted, told, np.nan))[rows].any(axis=1)
    rows, columns = rows[known], columns[known]
    some = np.unique(np.linspace(0, len(rows) - 1, MOST_TO_FIT).astype(int)) if len(rows) > MOST_TO_FIT else slice(None)
    chosen = (np.take_along_axis(first, places, 1)[rows][some], told[rows][some], counted[rows][some], columns[some])
    enough = len(rows) >= ENOUGH_TO_FIT
    weight, temperature = least_loss(*chosen) if enough else (1.0, 1.0)
    loss = float(calibration.losses(blended(first, second, k, weight, temperature), truth).mean())
    alone = float(calibration.losses(first, truth).mean())
    note = "" if enough else TOO_FEW.format(least=ENOUGH_TO_FIT)
    return Fit(weight, temperature, len(rows), len(truth), loss, alone, note)


def least_loss(first: FloatArray, second: FloatArray, counted: Any, columns: IntArray) -> tuple[float, float]:
    """Of some weights, each with the best temperature for it; of two as good, the one nearer to the second alone."""
    from scipy.optimize import minimize_scalar

    rows = np.arange(len(columns))

    def loss(log_temperature: float, weight: float) -> float:
        chances = mixed(first, second, counted, weight, float(np.exp(log_temperature)))
        return float(-np.log(np.clip(chances[rows, columns], calibration.LEAST, 1)).mean())

    never_wrong = bool((np.where(counted, second, -np.inf).argmax(axis=1) == columns).all())
    bounds, best = (np.log(COLDEST), np.log(HOTTEST)), (loss(0.0, 1.0), 1.0, 1.0)
    for weight in WEIGHTS[::-1].tolist():
        tried = [0.0]  # who never was wrong teaches no temperature: no certainty would be too much
        if weight and not never_wrong:
            tried.append(minimize_scalar(loss, (), bounds, (weight,), "bounded", options={"xatol": 1e-5}).x)
        for heat in tried:
            if (value := loss(heat, weight)) < best[0] - 1e-9:
                best = value, weight, float(np.exp(heat))
    return round(best[1], 4), best[2]


# --- From never asking to always asking


@dataclass(frozen=True, slots=True)
class Point:
    """What comes out at a threshold."""

    threshold: float
    posts: int
    asked: int  # of these, by the second stage
    accuracy: Figure
    behind: Figure  # its accuracy less that of always asking, post by post
    balanced_accuracy: float
    macro_f1: float
    minority_recall: float | None  # None: no label is rarer than the others, or no post has such a one
    seconds: float | None  # a post, on average; None: not known

    @property
    def saved(self) -> float:
        return 1 - self.asked / self.posts

    def as_json(self) -> dict[str, Any]:
        return asdict(self) | {"saved": self.saved}

    @classmethod
    def from_json(cls, told: Mapping[str, Any]) -> Self:
        plain = {name: value for name, value in told.items() if name != "saved"}
        return cls(**plain | {name: figure_from(told[name]) for name in ("accuracy", "behind")})


def minority(counts: ArrayLike) -> NDArray[np.bool_]:
    """Which labels are rare: those with fewer posts than the label in the middle has. None, where all have as many."""
    told = np.asarray(counts)
    return np.asarray(told < np.median(told)) if len(told) else np.zeros(0, dtype=bool)


def thresholds(first: FloatArray) -> list[float]:
    """About forty, the first that never asks and the last that always does."""
    even = np.linspace(0, 1, STEPS + 1)
    shares = np.linspace(0, 1, QUANTILES + 2)[1:-1]
    sure = np.quantile(first.max(axis=1), shares) if len(first) else []
    return sorted({NEVER, ALWAYS, *np.round(even, 4).tolist(), *np.round(sure, 4).tolist()})


def curve(
    first: FloatArray,
    second: FloatArray,
    truth: IntArray,
    groups: IntArray,
    k: int,
    weight: float = 1.0,
    temperature: float = 1.0,
    at: Sequence[float] | None = None,
    counts: ArrayLike | None = None,
    seconds: tuple[float | None, float | None] = (None, None),
    samples: int = SAMPLES,
    seed: int = 0,
) -> list[Point]:
    """`counts` of each label, by which it is rare or not; those of these posts otherwise. `seconds` are those that a
    post takes in either stage. Posts of a group are alike, and are drawn together for the intervals."""
    if not len(truth):
        return []
    labels = first.shape[1]
    always = blended(first, second, k, weight, temperature).argmax(axis=1)
    never, sure = first.argmax(axis=1), first.max(axis=1)
    rare = minority(np.bincount(truth, minlength=labels) if counts is None else counts)
    lot = Lot.of_groups(groups)
    best = always == truth
    points = []
    for threshold in thresholds(first) if at is None else at:
        asked = sure < threshold
        told = np.where(asked, always, never)
        right = told == truth
        found = Scores.of(counted(truth, told, labels), labels)
        points.append(Point(
            float(threshold), len(truth), int(asked.sum()), lot.accuracy(right, samples, seed),
            lot.difference(right, best, samples, seed), float(found.balanced_accuracy), float(found.macro_f1),
            recall_of(truth, right, rare), expected(seconds, float(asked.mean())),
        ))  # fmt: skip
    return points


def counted(truth: IntArray, told: IntArray, labels: int) -> FloatArray:
    """As `Scores` reads it: of each label, told rightly, posts, told so."""
    columns = (truth[truth == told], truth, told)
    return np.concatenate([np.bincount(one, minlength=labels) for one in columns]).astype(float)


def recall_of(truth: IntArray, right: NDArray[np.bool_], rare: NDArray[np.bool_]) -> float | None:
    """The mean over these labels, so that each counts as much."""
    posts = np.bincount(truth, minlength=len(rare))
    hits = np.bincount(truth[right], minlength=len(rare))
    seen = rare & (posts > 0)
    return float((hits[seen] / posts[seen]).mean()) if seen.any() else None


def expected(seconds: tuple[float | None, float | None], asked: float) -> float | None:
    """The first stage takes its time for every post. Where that is not known it is counted as nothing."""
    first, second = seconds
    return None if second is None else (first or 0.0) + asked * second


class Lot(NamedTuple):
    """Posts in groups: for a share of posts, groups with as many posts and as many hits are interchangeable, so a
    resample is one draw over the few kinds of these. See resampling.py."""

    of: IntArray  # of each post, its group
    sizes: IntArray  # of each group, its posts

    @classmethod
    def of_groups(cls, groups: IntArray) -> Self:
        _, of = np.unique(groups, return_inverse=True)
        return cls(of, np.bincount(of))

    def drawn(self, values: FloatArray, samples: int, seed: int) -> FloatArray | None:
        """Means of `values` over such posts, drawn anew."""
        if not samples:
            return None
        sums = np.rint(np.bincount(self.of, values)).astype(np.int64)
        pairs, many = np.unique(np.stack([sums, self.sizes], axis=1), axis=0, return_counts=True)
        kinds = Kinds([(total, size) for total, size in pairs.tolist()], many)
        weights = pairs.astype(float)
        found: list[FloatArray] = [
            counts @ weights[:, 0] / (counts @ weights[:, 1]) for counts in kinds.drawn(samples, seed)
        ]
        return np.concatenate(found)

    def accuracy(self, right: NDArray[np.bool_], samples: int, seed: int) -> Figure:
        drawn = self.drawn(right.astype(float), samples, seed)
        return resampling.share(float(right.mean()), drawn, len(right), len(self.sizes))

    def difference(self, one: NDArray[np.bool_], other: NDArray[np.bool_], samples: int, seed: int) -> Figure:
        """In pairs: what both get right or wrong alike does not blur it."""
        values = one.astype(float) - other
        drawn = self.drawn(values, samples, seed) if len(self.sizes) >= resampling.FEW else None
        if drawn is None:
            return Figure(float(values.mean()), None, None)
        low, high = np.quantile(drawn, [0.025, 0.975]).tolist()
        return Figure(float(values.mean()), low, high)


def cheapest_as_good(points: Sequence[Point], margin: float = MARGIN) -> Point:
    """The one that asks least, of those that are no more than a margin less accurate than always asking."""
    good = [point for point in points if point.behind.value >= -margin - 1e-12]
    return min(good or points[-1:], key=lambda point: (point.asked, -point.accuracy.value, point.threshold))
