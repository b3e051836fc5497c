"""Pure: what a predictor's answers are worth, each figure with how sure it is.

Macro F1 comes first: the mean over the labels, so that a rare one counts as much as a common one. It is over the labels
that some of these posts have, as balanced accuracy is, and as scikit-learn's f1_score(labels=those, average="macro",
zero_division=0) is. A label that no post has could only be told wrongly; saying it costs the label that it should have
been, but does not add a nought of its own. So two predictors on the same posts are averaged over the same labels.

No answer counts as wrong, and is shown apart. All intervals are for posts like these: see resampling.py.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any

import numpy as np

from . import calibration, resampling
from .calibration import Bin
from .resampling import Figure, FloatArray, IntArray, Kinds, Scores

SAMPLES = 1000
FOLDS, REPEATS = 5, 3
ENOUGH_FOR_FOLDS = 2 * FOLDS  # groups
ENOUGH_FOR_A_SLICE = 20  # posts


@dataclass(frozen=True)
class Answers:
    labels: tuple[str, ...]
    truth: IntArray  # a label's place in `labels`
    told: IntArray  # -1 where no label was given
    groups: IntArray  # posts that are alike share a number
    probabilities: FloatArray | None = None  # a row a post, in the order of the labels; not a number where unknown
    confidence: FloatArray | None = None  # in the label that was told; not a number where unknown

    def __post_init__(self) -> None:
        n, k = len(self.truth), len(self.labels)
        if not n == len(self.told) == len(self.groups):
            raise ValueError("Each post needs a true label, what was told and a group")
        if ((self.truth < 0) | (self.truth >= k) | (self.told < -1) | (self.told >= k)).any():
            raise ValueError("A label's number must be its place among the labels")
        if self.probabilities is not None and self.probabilities.shape != (n, k):
            raise ValueError("Each post needs a probability for each label")
        if self.probabilities is not None and not np.allclose(self.probabilities[self.sure].sum(axis=1), 1, atol=1e-6):
            raise ValueError("The probabilities of a post must add up to 1")
        if self.confidence is not None and len(self.confidence) != n:
            raise ValueError("Each post needs a confidence, or not a number where it is not known")

    @classmethod
    def of(
        cls,
        labels: Sequence[str],
        truth: Sequence[str],
        told: Sequence[str | None],
        groups: Sequence[int] | None = None,
        probabilities: Sequence[Sequence[float]] | None = None,
        confidence: Sequence[float | None] | None = None,
    ) -> "Answers":
        """From labels by name. Without groups, no post is like another."""
        number = {name: k for k, name in enumerate(labels)}
        return cls(
            tuple(labels),
            np.array([number[name] for name in truth], dtype=np.int64),
            np.array([-1 if name is None else number[name] for name in told], dtype=np.int64),
            np.arange(len(truth)) if groups is None else np.asarray(groups, dtype=np.int64),
            None if probabilities is None else np.asarray(probabilities, dtype=float).reshape(-1, len(number)),
            None if confidence is None else np.array(confidence, dtype=float),
        )

    def __len__(self) -> int:
        return len(self.truth)

    def only(self, members: Any) -> "Answers":
        """Of some of the posts: a mask, or their places."""
        rows = np.asarray(members) if len(members) else slice(0)
        columns = (self.truth, self.told, self.groups, self.probabilities, self.confidence)
        return Answers(self.labels, *(None if one is None else one[rows] for one in columns))  # type: ignore[arg-type]

    @property
    def sure(self) -> Any:
        """A mask: where it is known how sure it was of each label."""
        known = np.zeros(len(self), dtype=bool)
        return known if self.probabilities is None else ~np.isnan(self.probabilities).any(axis=1)

    @cached_property
    def confusion(self) -> IntArray:
        """A row a true label, a column a told one; the last column is no answer."""
        k = len(self.labels)
        return np.bincount(self.cells, minlength=k * (k + 1)).reshape(k, k + 1)

    @property
    def cells(self) -> IntArray:
        k = len(self.labels)
        return np.asarray(self.truth * (k + 1) + np.where(self.told < 0, k, self.told), dtype=np.int64)


# --- What is told


@dataclass(frozen=True, slots=True)
class Spread:
    mean: float
    deviation: float

    @classmethod
    def of(cls, found: FloatArray) -> "Spread":
        return cls(float(found.mean()), float(found.std(ddof=1)))

    def __str__(self) -> str:
        return f"{self.mean:.2f} ± {self.deviation:.2f}"


@dataclass(frozen=True, slots=True)
class Folds:
    """Mean and standard deviation over parts of these answers: how much a figure moves from one fifth to the next.

    Not how sure the figure of the whole is, which the interval tells, and not new training runs.
    """

    macro_f1: Spread
    accuracy: Spread
    folds: int
    repeats: int


@dataclass(frozen=True, slots=True)
class OfLabel:
    label: str
    support: int  # posts that have it
    told: int
    right: int
    precision: float | None  # None: never told
    recall: float | None  # None: no post has it
    f1: Figure | None  # None: no post has it


@dataclass(frozen=True, slots=True)
class Measured:
    n: int
    groups: int
    unanswered: int
    macro_f1: Figure
    accuracy: Figure
    balanced_accuracy: Figure
    folds: Folds | None  # None: too few groups to part
    labels: list[OfLabel]
    confusion: list[list[int]]
    log_loss: Figure | None  # None, here and below: it is not known how sure it was
    brier: float | None
    ece: float | None
    ece_by_chance: float | None  # what a model would show here that is as often right as it says
    bins: list[Bin] | None
    sure: int  # posts of which it is known how sure it was: the five figures above are of these

    def as_json(self) -> dict[str, Any]:
        told = asdict(self)
        return {**told, "bins": self.bins and [one._asdict() for one in self.bins]}

    @classmethod
    def from_json(cls, told: Mapping[str, Any]) -> "Measured":
        figures = ("macro_f1", "accuracy", "balanced_accuracy", "log_loss")
        folds, bins = told["folds"], told["bins"]
        return cls(**{
            **told,
            **{name: figure_from(told[name]) for name in figures},
            "folds": folds and Folds(**{
                **folds, "macro_f1": Spread(**folds["macro_f1"]), "accuracy": Spread(**folds["accuracy"])
            }),
            "labels": [OfLabel(**{**one, "f1": figure_from(one["f1"])}) for one in told["labels"]],
            "bins": bins and [Bin(**one) for one in bins],
        })  # fmt: skip


def figure_from(told: Mapping[str, Any] | None) -> Figure | None:
    return told and Figure(**told)  # type: ignore[return-value]


# --- Measuring


def measure(answers: Answers, seed: int = 0, samples: int = SAMPLES) -> Measured:
    """With no samples, figures without intervals."""
    if not len(answers):
        raise ValueError("There is nothing to measure")
    lot = Lot(answers)
    whole, drawn = lot.whole, lot.drawn(samples, seed)
    return Measured(
        n=len(answers),
        groups=lot.kinds.groups,
        unanswered=int((answers.told < 0).sum()),
        macro_f1=lot.figure(whole.macro_f1, drawn and drawn.macro_f1),
        accuracy=lot.figure(whole.accuracy, drawn and drawn.accuracy),
        balanced_accuracy=lot.figure(whole.balanced_accuracy, drawn and drawn.balanced_accuracy),
        folds=lot.folds(seed),
        labels=of_labels(answers, drawn),
        confusion=answers.confusion.tolist(),
        **sureness(answers, seed, samples),
    )


class Lot:
    """Answers as kinds of groups: see resampling.py."""

    def __init__(self, answers: Answers) -> None:
        self.posts, self.labels = len(answers), len(answers.labels)
        self.kinds = Kinds.of(answers.cells, answers.groups)
        self.truth, told = np.divmod(self.kinds.cells, self.labels + 1)
        self.table = resampling.tally(self.kinds.rows, self.truth, told, len(self.kinds.many), self.labels)

    def figure(self, whole: FloatArray, drawn: FloatArray | None) -> Figure:
        return resampling.share(float(whole[0]), drawn, self.posts, self.kinds.groups)

    def scores(self, counts: FloatArray) -> Scores:
        return resampling.scores(counts, self.table, self.labels)

    @property
    def whole(self) -> Scores:
        return self.scores(self.kinds.many[None].astype(float))

    def drawn(self, samples: int, seed: int) -> Scores | None:
        found = [self.scores(counts) for counts in self.kinds.drawn(samples, seed)]
        return resampling.stacked(found) if found else None

    def folds(self, seed: int) -> Folds | None:
        """Repeated stratified folds. Groups stay whole, and are dealt out by the label that most of their posts have.

        scikit-learn's StratifiedGroupKFold does so too, but one group at a time.
        """
        many, rng = self.kinds.many, np.random.default_rng(seed)
        if self.kinds.groups < ENOUGH_FOR_FOLDS:
            return None
        kind = np.repeat(np.arange(len(many)), many)
        stratum = self.strata()[kind]
        counts = []
        for _ in range(REPEATS):
            dealt = kind[np.lexsort((rng.random(len(kind)), stratum))]
            counts += [np.bincount(dealt[fold::FOLDS], minlength=len(many)) for fold in range(FOLDS)]
        found = self.scores(np.array(counts, dtype=float))
        return Folds(Spread.of(found.macro_f1), Spread.of(found.accuracy), FOLDS, REPEATS)

    def strata(self) -> IntArray:
        """Of each kind of group, the label that most of its posts have."""
        posts = self.table[self.labels : 2 * self.labels]
        return np.asarray(posts.argmax(axis=0)).ravel().astype(np.int64)


def of_labels(answers: Answers, drawn: Scores | None) -> list[OfLabel]:
    table, found = answers.confusion, []
    support, told, right = table.sum(axis=1).tolist(), table.sum(axis=0).tolist(), table.diagonal().tolist()
    groups = groups_touched(answers)
    for k, label in enumerate(answers.labels):
        either = support[k] + told[k] - right[k]
        f1 = None
        if support[k]:
            overlap = resampling.share(right[k] / either, drawn and drawn.overlap[:, k], either, int(groups[k]))
            ends = (None if end is None else resampling.f1_of(end) for end in (overlap.low, overlap.high))
            f1 = Figure(resampling.f1_of(overlap.value), *ends)
        precision = right[k] / told[k] if told[k] else None
        recall = right[k] / support[k] if support[k] else None
        found.append(OfLabel(label, support[k], told[k], right[k], precision, recall, f1))
    return found


def groups_touched(answers: Answers) -> IntArray:
    """Of each label, the groups in which some post has it or was told it."""
    k = len(answers.labels)
    _, group = np.unique(answers.groups, return_inverse=True)
    named = answers.told >= 0
    pairs = np.unique(np.concatenate([group * k + answers.truth, (group * k + answers.told)[named]]))
    return np.bincount(pairs % k, minlength=k)


def sureness(answers: Answers, seed: int, samples: int) -> dict[str, Any]:
    """By the label it holds likeliest, which need not be the one it told; else by the confidence that it stated."""
    known = answers.sure
    if answers.probabilities is not None and known.any():
        chances, truth = answers.probabilities[known], answers.truth[known]
        lost = calibration.losses(chances, truth)
        log_loss = resampling.mean(lost, answers.groups[known], samples, seed, calibration.LARGEST)
        bins = calibration.reliability(chances.max(axis=1), chances.argmax(axis=1) == truth)
        return {"log_loss": log_loss, "brier": calibration.brier(chances, truth), **off_by(bins, seed)}
    if answers.confidence is not None:
        stated = ~np.isnan(answers.confidence) & (answers.told >= 0)
        bins = calibration.reliability(answers.confidence[stated], (answers.told == answers.truth)[stated])
        return {"log_loss": None, "brier": None, **off_by(bins, seed)}
    return {"log_loss": None, "brier": None, **off_by([], seed)}


def off_by(bins: list[Bin], seed: int) -> dict[str, Any]:
    if not bins:
        return {"ece": None, "ece_by_chance": None, "bins": None, "sure": 0}
    by_chance = calibration.ece_by_chance(bins, seed)
    return {
        "ece": calibration.ece(bins), "ece_by_chance": by_chance, "bins": bins, "sure": sum(one.n for one in bins)
    }  # fmt: skip


# --- Slices


@dataclass(frozen=True, slots=True)
class Slice:
    name: str
    n: int
    macro_f1: Figure | None  # over the labels that its posts have
    accuracy: Figure | None
    enough: bool  # to judge by; else no figures

    def as_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, told: Mapping[str, Any]) -> "Slice":
        figures = {name: figure_from(told[name]) for name in ("macro_f1", "accuracy")}
        return cls(**{**told, **figures})


def slice_figures(
    answers: Answers,
    members: Mapping[str, Any],
    least: int = ENOUGH_FOR_A_SLICE,
    seed: int = 0,
    samples: int = SAMPLES,
) -> list[Slice]:
    """`members` are masks, or places of posts, by the slice's name; a post may be in several."""
    return [one_slice(name, answers.only(rows), least, seed, samples) for name, rows in members.items()]


def one_slice(name: str, inside: Answers, least: int, seed: int, samples: int) -> Slice:
    n = len(inside)
    if n < max(1, least):
        return Slice(name, n, None, None, enough=False)
    lot = Lot(inside)
    whole, drawn = lot.whole, lot.drawn(samples, seed)
    macro_f1 = lot.figure(whole.macro_f1, drawn and drawn.macro_f1)
    accuracy = lot.figure(whole.accuracy, drawn and drawn.accuracy)
    return Slice(name, n, macro_f1, accuracy, enough=True)
