"""Pure: whether a model is as often right as it says, and the one temperature that makes it say so.

The temperature is fitted on the validation split. Whoever fits it on the posts that are then measured measures nothing:
that is the caller's to see to, for here all posts look alike.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from annotate.agreement import Share

from .resampling import FloatArray, IntArray

BINS = 15
EDGES = np.linspace(0, 1, BINS + 1)
LEAST = float(np.finfo(np.float64).eps)  # no label is less likely, as scikit-learn has it
LARGEST = -float(np.log(LEAST))
ENOUGH_TO_FIT = 20  # posts
COLDEST, HOTTEST = 0.05, 20.0
DRAWS = 1000


class Bin(NamedTuple):
    """Posts of which it was about as sure."""

    low: float
    high: float
    n: int
    confidence: float  # on average
    accuracy: float  # share of them that it was right about
    accuracy_low: float  # Wilson's 95% interval, each post for itself
    accuracy_high: float


def temperature(log_scores: FloatArray, truth: IntArray) -> float:
    """What to divide the scores by, so that the log loss is least; above 1, the model was too sure.

    1 where there is nothing to learn it from: few posts, no gain, or never a mistake, which no certainty is too much
    for.
    """
    from scipy.optimize import minimize_scalar

    known = np.isfinite(log_scores).any(axis=1)
    scores, labels = log_scores[known], truth[known]
    if len(labels) < ENOUGH_TO_FIT or (apply(scores, 1.0).argmax(axis=1) == labels).all():
        return 1.0

    def loss(log_temperature: float) -> float:
        return float(losses(apply(scores, float(np.exp(log_temperature))), labels).mean())

    bounds = (np.log(COLDEST), np.log(HOTTEST))
    found = minimize_scalar(loss, bounds=bounds, method="bounded", options={"xatol": 1e-7})
    return float(np.exp(found.x)) if found.fun < loss(0.0) - 1e-9 else 1.0


def apply(log_scores: ArrayLike, temperature: float) -> FloatArray:
    """Probabilities, a row a post. Scores need not add up to anything; where all are minus infinity, none is known."""
    scores = np.asarray(log_scores, dtype=float)
    with np.errstate(invalid="ignore"):
        chances = np.exp((scores - scores.max(axis=1, keepdims=True)) / temperature)
    probabilities: FloatArray = chances / chances.sum(axis=1, keepdims=True)
    return probabilities


def losses(probabilities: FloatArray, truth: IntArray) -> FloatArray:
    """The log loss of each post, in nats."""
    of_truth = probabilities[np.arange(len(truth)), truth]
    lost: FloatArray = -np.log(np.clip(of_truth, LEAST, 1 - LEAST))
    return lost


def brier(probabilities: FloatArray, truth: IntArray) -> float:
    """Brier's own: squares added up over all labels, from 0 to 2, for two labels too."""
    off = probabilities.copy()
    off[np.arange(len(truth)), truth] -= 1
    return float((off**2).sum(axis=1).mean())


def reliability(confidence: FloatArray, right: ArrayLike) -> list[Bin]:
    """Fifteen of equal width, each with its upper edge; those without a post are left out."""
    hits = np.asarray(right, dtype=np.int64)
    of = np.searchsorted(EDGES[1:-1], confidence, side="left")
    posts, sure, good = (np.bincount(of, weights, BINS) for weights in (None, confidence, hits))
    bins = []
    for k in np.flatnonzero(posts):
        shown = Share(int(good[k]), int(posts[k]))
        ends = (float(EDGES[k]), float(EDGES[k + 1]))
        bins.append(Bin(*ends, shown.of, float(sure[k] / posts[k]), shown.hits / shown.of, shown.low, shown.high))
    return bins


def ece(bins: Sequence[Bin]) -> float:
    """Expected calibration error: how far what it says is from how often it is right, over all posts."""
    return sum(one.n * abs(one.confidence - one.accuracy) for one in bins) / sum(one.n for one in bins)


def ece_by_chance(bins: Sequence[Bin], seed: int = 0) -> float:
    """What a model would show on so many posts that is as often right as it says: never nought, and more on few."""
    rng = np.random.default_rng(seed)
    posts, sure = np.array([one.n for one in bins]), np.clip([one.confidence for one in bins], 0, 1)
    shown = rng.binomial(posts, sure, (DRAWS, len(bins)))
    return float(np.abs(shown - posts * sure).sum(axis=1).mean() / posts.sum())
