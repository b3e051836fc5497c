"""Pure: which settled labels are most likely wrong, so that people look there next, and how many that will find.

Audits measure, this mends: what it points people to is no random sample, and no error rate is ever taken from it.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from math import log, sqrt
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .agreement import Z

Floats = NDArray[np.float64]

# With 60, in simulated projects, what a model announced held within its interval only 7 times in 10, what confidence
# alone announced, 95 times in 100. From here on it holds 9 times in 10, and the model finds a fifth to a third more.
ENOUGH_AUDITS = 100
ENOUGH_ERRORS = 8  # among them
ENOUGH_TO_ANNOUNCE = 30  # audits; with fewer, nobody knows how many errors a doubt is worth
FOLDS = 5
STRENGTH = 0.1  # scikit-learn's C: how far the audits may pull the model from knowing nothing
LENGTHS = (0, 20, 80, 200, 500)  # characters: no text, a word or two, a line, a paragraph, more
UNSAID = 0.5  # taken for how sure they are where no voter says
# What is thought of a line before any audit: one label in ten wrong, and more where voters doubt. Weak on purpose.
BASE, BASE_SPREAD = log(1 / 9), 2.0
SLOPE, SLOPE_SPREAD = 0.7, 0.5  # per standard deviation of doubt
FLAT = 0.05  # more doubt never means fewer errors
STEPS = 30


@dataclass(frozen=True, slots=True)
class Candidate:
    """What is known about a settled post without looking at it."""

    label: int
    confidences: Mapping[int, float | None]  # of the voters that gave this label
    dissent: int = 0  # voters that gave another, or none
    incongruous: bool = False  # some voter said that text and picture pull apart
    readings_differ: bool = False  # some voter read the text by itself otherwise than the picture by itself
    has_image: bool = False
    length: int = 0  # of the text, in characters
    posterior: float | None = None  # of this label, where voters are weighted


@dataclass(frozen=True, slots=True)
class Layout:
    """Which column is what: settled by the posts that the model learned from."""

    voters: tuple[int, ...]
    labels: tuple[int, ...]

    @classmethod
    def of(cls, candidates: Sequence[Candidate]) -> "Layout":
        voters = {voter for candidate in candidates for voter in candidate.confidences}
        return cls(tuple(sorted(voters)), tuple(sorted({candidate.label for candidate in candidates})))


def features(candidates: Sequence[Candidate], layout: Layout) -> Floats:
    """A row a post. Unknown confidences are not a number; `Standard` fills them in."""
    said = confidences(candidates, layout.voters)
    labels = np.array([candidate.label for candidate in candidates])
    lengths = np.array([candidate.length for candidate in candidates])
    posterior = np.array([candidate.posterior for candidate in candidates], dtype=float)
    flags = np.array(
        [(c.incongruous, c.readings_differ, c.has_image, c.dissent, len(c.confidences)) for c in candidates],
        dtype=float,
    )
    return np.column_stack(
        [
            log_odds(said),
            log_odds(least(said)),
            log_odds(mean(said)),
            log_odds(posterior),
            flags.reshape(len(candidates), 5),
            labels[:, None] == layout.labels,
            np.searchsorted(LENGTHS, lengths, side="right")[:, None] == np.arange(1, len(LENGTHS) + 1),
        ]
    )


def confidences(candidates: Sequence[Candidate], voters: Sequence[int]) -> Floats:
    rows = [[candidate.confidences.get(voter) for voter in voters] for candidate in candidates]
    return np.array(rows, dtype=float).reshape(len(candidates), len(voters))


def log_odds(chances: Floats) -> Floats:
    """From .98 to .99 is as far as from .5 to .67; nobody is surer than .995."""
    held = np.clip(chances, 0.005, 0.995)
    odds: Floats = np.log(held / (1 - held))
    return odds


def least(said: Floats) -> Floats:
    """Not a number where nobody says."""
    lowest = np.where(np.isnan(said), np.inf, said).min(axis=1, initial=np.inf)
    return np.where(np.isinf(lowest), np.nan, lowest)


def doubts(candidates: Sequence[Candidate]) -> Floats:
    """The fallback: the less sure the least sure voter is, the more doubtful the label."""
    voters = Layout.of(candidates).voters
    return -log_odds(np.nan_to_num(least(confidences(candidates, voters)), nan=UNSAID))


def mean(said: Floats) -> Floats:
    known = ~np.isnan(said)
    sums, many = np.where(known, said, 0).sum(axis=1), known.sum(axis=1)
    return np.where(many > 0, sums / np.maximum(many, 1), np.nan)


@dataclass(frozen=True, slots=True)
class Model:
    """A logistic regression on standardised features, as plain numbers: scoring needs no library but numpy."""

    layout: Layout
    middle: Floats
    scale: Floats
    weights: Floats
    base: float

    def log_odds(self, candidates: Sequence[Candidate]) -> Floats:
        return np.asarray(
            standard(features(candidates, self.layout), self.middle, self.scale) @ self.weights + self.base
        )


def standard(table: Floats, middle: Floats, scale: Floats) -> Floats:
    """What is not known is taken to be ordinary."""
    return np.nan_to_num((table - middle) / scale, nan=0.0)


@dataclass(frozen=True, slots=True)
class Line:
    """From doubts to chances, on scores that were not fitted to the very audits it is drawn through."""

    middle: float
    scale: float
    base: float
    slope: float
    covariance: Floats  # of base and slope

    @classmethod
    def through(cls, doubts: Floats, wrong: Floats, weights: Floats, believed: float | None = None) -> "Line":
        """Newton's steps to the likeliest line. `believed` is its slope before any audit spoke, per unit of doubt."""
        middle = float(weights @ doubts / weights.sum()) if len(doubts) else 0.0
        scale = float(np.sqrt(weights @ (doubts - middle) ** 2 / weights.sum())) if len(doubts) else 1.0
        scale = scale if scale > 1e-9 else 1.0
        columns = np.column_stack([np.ones(len(doubts)), (doubts - middle) / scale])
        prior = np.array([BASE, SLOPE if believed is None else believed * scale])
        certainty = np.diag([BASE_SPREAD**-2, SLOPE_SPREAD**-2])
        line = prior.copy()
        for _ in range(STEPS):
            chances = logistic(columns @ line)
            pull = columns.T @ (weights * (wrong - chances)) - certainty @ (line - prior)
            curve = columns.T @ (columns * (weights * chances * (1 - chances))[:, None]) + certainty
            line += np.clip(np.linalg.solve(curve, pull), -1, 1)
        return cls(middle, scale, float(line[0]), max(FLAT, float(line[1])), np.linalg.inv(curve))

    def chances(self, doubts: Floats) -> Floats:
        return logistic(self.base + self.slope * (doubts - self.middle) / self.scale)

    def variance(self, chances: Floats) -> float:
        """Of how many of these are wrong: by luck, and because the line itself is a guess."""
        held = np.clip(chances, 1e-9, 1 - 1e-9)
        luck = held * (1 - held)
        along = (np.log(held / (1 - held)) - self.base) / self.slope
        moved = np.array([luck.sum(), (luck * along).sum()])
        return float(luck.sum() + moved @ self.covariance @ moved)


def logistic(odds: Floats) -> Floats:
    return 1 / (1 + np.exp(-np.clip(odds, -30, 30)))


class Expected(NamedTuple):
    found: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Risk:
    audits: int
    errors: int
    line: Line = field(repr=False)
    model: Model | None = field(default=None, repr=False)

    @property
    def kind(self) -> Literal["model", "confidence"]:
        return "model" if self.model else "confidence"

    def score(self, candidates: Sequence[Candidate]) -> Floats:
        """The chance that each one's label is wrong."""
        if not candidates:
            return np.zeros(0)
        return self.line.chances(self.model.log_odds(candidates) if self.model else doubts(candidates))

    def expected(self, scores: Sequence[float] | Floats) -> Expected | None:
        """How many wrong labels are among posts with these scores. None where too few audits tell."""
        if self.audits < ENOUGH_TO_ANNOUNCE or not self.errors:
            return None
        chances = np.asarray(scores, dtype=float)
        found, spread = float(chances.sum()), Z * sqrt(self.line.variance(chances))
        return Expected(found, max(0.0, found - spread), min(float(len(chances)), found + spread))


def fit(candidates: Sequence[Candidate], wrong: Sequence[bool], weights: Sequence[float] | None = None) -> Risk:
    """On the audits: whether people said another label, and one by the chance of each to be drawn."""
    was_wrong = np.array(wrong, dtype=float)
    stands_for = np.ones(len(was_wrong)) if weights is None else np.array(weights, dtype=float)
    stands_for /= stands_for.mean() if len(stands_for) else 1
    errors = int(was_wrong.sum())
    if len(was_wrong) >= ENOUGH_AUDITS and min(errors, len(was_wrong) - errors) >= ENOUGH_ERRORS:
        model, unseen = learn(candidates, was_wrong, stands_for)
        line = Line.through(unseen, was_wrong, stands_for, believed=1.0)
        return Risk(len(was_wrong), errors, line, model)
    doubtful = doubts(candidates) if candidates else np.zeros(0)
    return Risk(len(was_wrong), errors, Line.through(doubtful, was_wrong, stands_for))


def learn(candidates: Sequence[Candidate], wrong: Floats, weights: Floats) -> tuple[Model, Floats]:
    """The model of all audits, and what it would have said of each had it not seen that one."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import StratifiedKFold

    layout = Layout.of(candidates)
    table = features(candidates, layout)
    middle, scale = ordinary(table)
    known = standard(table, middle, scale)
    folds = np.lexsort([*known.T, weights, wrong])  # the same folds in whatever order the audits come
    unseen = np.zeros(len(wrong))
    for part, rest in StratifiedKFold(FOLDS, shuffle=True, random_state=0).split(known[folds], wrong[folds]):
        learnt, asked = folds[part], folds[rest]
        regression = LogisticRegression(C=STRENGTH).fit(known[learnt], wrong[learnt], weights[learnt])
        unseen[asked] = regression.decision_function(known[asked])
    whole = LogisticRegression(C=STRENGTH).fit(known, wrong, weights)
    return Model(layout, middle, scale, whole.coef_[0], float(whole.intercept_[0])), unseen


def ordinary(table: Floats) -> tuple[Floats, Floats]:
    """Mean and spread of what is known in each column; a column that never varies is not stretched."""
    known = ~np.isnan(table)
    many = np.maximum(known.sum(axis=0), 1)
    middle = np.where(known, table, 0).sum(axis=0) / many
    spread = np.sqrt(np.where(known, (table - middle) ** 2, 0).sum(axis=0) / many)
    return middle, np.where(spread > 1e-9, spread, 1.0)


Chunk = tuple[Sequence[int], Sequence[Candidate]]  # posts and what is known about them


def riskiest(risk: Risk, chunks: Iterable[Chunk], n: int) -> list[tuple[int, float]]:
    """The n posts most likely wrong and their chances, however many come by: no more than n and a chunk are held."""
    posts: NDArray[Any] = np.zeros(0, dtype=np.int64)
    scores: Floats = np.zeros(0)
    for more, candidates in chunks:
        posts, scores = np.append(posts, np.array(more, dtype=np.int64)), np.append(scores, risk.score(candidates))
        first = np.lexsort([posts, -scores])[:n]
        posts, scores = posts[first], scores[first]
    return list(zip(posts.tolist(), scores.tolist(), strict=True))
