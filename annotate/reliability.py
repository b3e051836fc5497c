"""Pure: how far each voter can be trusted, which two make the same mistakes, and how people agree.

All that people judged counts, each post for as many as it stands for: an audit for one by its chance of being drawn, a
reviewed disagreement for as many as were contested for each that was reviewed. Without that, the hard posts would
speak for the easy ones.
"""

from bisect import bisect_right
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .agreement import Answer, Cell, Share, confusion, krippendorffs_alpha
from .audit import kish, lent, wilson

DRAWS = 2000
EDGES = (0.0, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 1.0)  # of confidence: voters use the upper end most
SURE = 0.01  # a drift is told where chance alone would show one so rarely: many people are watched, and often


@dataclass(frozen=True, slots=True)
class Judged:
    """A post that people decided, and what each machine had said about it."""

    votes: Mapping[int, Answer]  # by voter
    truth: int
    weight: float = 1.0  # how many posts it stands for
    stratum: str = ""  # posts that were chosen in the same way: "audit", "review"
    confidences: Mapping[int, float] = field(default_factory=dict)


class Weighted(NamedTuple):
    """A share of posts that count unequally, with its 95% interval."""

    rate: float | None
    low: float
    high: float
    posts: int  # as they are, unweighted
    effective: float


class Bin(NamedTuple):
    low: float
    high: float
    confidence: float  # the mean of what the voter said
    right: Weighted


@dataclass(frozen=True, slots=True)
class Reliability:
    voter: int
    accuracy: Weighted  # where it gave a label
    recall: dict[int, Weighted]  # by truth
    abstained: Weighted
    confusion: list[list[Cell]]  # truth in the rows, said in the columns; the shares are weighted, the posts are not
    calibration: list[Bin]


def share(hits: Sequence[bool], judged: Sequence[Judged], picked: bool = False) -> Weighted:
    """Each stratum's share by itself, joined by how many posts it stands for.

    Those numbers are known, unless the posts were picked by what they turned out to be: then they vary as well.
    """
    if not judged:
        return Weighted(None, 0.0, 1.0, 0, 0.0)
    hit, weights = np.array(hits, dtype=float), np.array([one.weight for one in judged])
    strata = np.array([one.stratum for one in judged])
    total, rate = float(weights.sum()), min(1.0, float(weights @ hit / weights.sum()))
    common = (len(hit) * rate + 0.5) / (len(hit) + 1)
    variance, middle = 0.0, 0.0
    for stratum in set(strata.tolist()):
        here = strata == stratum
        part, own = float(weights[here].sum()) / total, lent(hit[here], weights[here], common)
        off = own * (1 - own) + picked * (own - rate) ** 2
        middle += part * own
        variance += part * part * off / kish(weights[here])
    effective = middle * (1 - middle) / variance
    return Weighted(rate, *wilson(rate, effective), len(hit), effective)


def reliabilities(judged: Sequence[Judged], labels: Sequence[int]) -> list[Reliability]:
    return [reliability(voter, judged, labels) for voter in voters_of(judged)]


def voters_of(judged: Iterable[Judged]) -> list[int]:
    return sorted({voter for one in judged for voter in one.votes})


def reliability(voter: int, judged: Sequence[Judged], labels: Sequence[int]) -> Reliability:
    asked = [one for one in judged if voter in one.votes]
    said = [one for one in asked if one.votes[voter] is not None]
    of_truth = {label: [one for one in said if one.truth == label] for label in labels}
    return Reliability(
        voter=voter,
        accuracy=share([one.votes[voter] == one.truth for one in said], said),
        recall={
            label: share([one.votes[voter] == label for one in of], of, picked=True) for label, of in of_truth.items()
        },
        abstained=share([one.votes[voter] is None for one in asked], asked),
        confusion=cells(voter, asked, labels),
        calibration=calibration(voter, said),
    )


def cells(voter: int, asked: Sequence[Judged], labels: Sequence[int]) -> list[list[Cell]]:
    weight: defaultdict[tuple[int, Answer], float] = defaultdict(float)
    for one in asked:
        weight[one.truth, one.votes[voter]] += one.weight
    table = confusion(Counter((one.truth, one.votes[voter]) for one in asked), labels)
    whole = {truth: sum(w for (other, _), w in weight.items() if other == truth) for truth in labels}
    return [
        [cell._replace(share=weight.get((truth, cell.other), 0.0) / (whole[truth] or 1)) for cell in row]
        for truth, row in zip(labels, table, strict=True)
    ]


def calibration(voter: int, said: Sequence[Judged]) -> list[Bin]:
    """Whether it is right as often as it says it is sure; bins without a post are left out."""
    sure = [one for one in said if one.confidences.get(voter) is not None]
    binned: defaultdict[int, list[Judged]] = defaultdict(list)
    for one in sure:
        binned[bisect_right(EDGES[1:-1], one.confidences[voter])].append(one)
    return [
        Bin(
            EDGES[at],
            EDGES[at + 1],
            mean_confidence(voter, of),
            share([o.votes[voter] == o.truth for o in of], of, picked=True),
        )
        for at, of in sorted(binned.items())
    ]


def mean_confidence(voter: int, of: Sequence[Judged]) -> float:
    return sum(one.confidences[voter] * one.weight for one in of) / sum(one.weight for one in of)


@dataclass(frozen=True, slots=True)
class SharedMistakes:
    one: int
    other: int
    posts: int  # that both gave a label
    together: Weighted  # of these, where both said the same wrong label
    by_chance: float  # what that would be, did each err by itself, as often as it does on posts of that truth
    when_one_errs: Weighted  # of the one's mistakes, those that the other makes too
    when_one_errs_by_chance: float | None
    when_other_errs: Weighted
    when_other_errs_by_chance: float | None
    phi: float | None  # how far being wrong goes together, whatever they said; None where either is never wrong
    phi_low: float | None
    phi_high: float | None

    @property
    def more_than_chance(self) -> bool:
        return self.together.low > self.by_chance


def shared_mistakes(judged: Sequence[Judged], labels: Sequence[int]) -> list[SharedMistakes]:
    """Every pair of voters, those who fail together most often first."""
    pairs = [shared_by(one, other, judged, labels) for one, other in combinations(voters_of(judged), 2)]
    return sorted((pair for pair in pairs if pair.posts), key=lambda pair: (-(pair.together.rate or 0), pair.one))


def shared_by(one: int, other: int, judged: Sequence[Judged], labels: Sequence[int]) -> SharedMistakes:
    both = [j for j in judged if j.votes.get(one) is not None and j.votes.get(other) is not None]
    one_errs = [j for j in both if j.votes[one] != j.truth]
    other_errs = [j for j in both if j.votes[other] != j.truth]
    chance = same_by_chance(one, other, both, labels)
    low, phi, high = mistakes_together(one, other, both)
    return SharedMistakes(
        one=one,
        other=other,
        posts=len(both),
        together=share([j.votes[one] == j.votes[other] != j.truth for j in both], both),
        by_chance=chance,
        when_one_errs=share([j.votes[one] == j.votes[other] for j in one_errs], one_errs, picked=True),
        when_one_errs_by_chance=chance * weight_of(both) / weight_of(one_errs) if one_errs else None,
        when_other_errs=share([j.votes[one] == j.votes[other] for j in other_errs], other_errs, picked=True),
        when_other_errs_by_chance=chance * weight_of(both) / weight_of(other_errs) if other_errs else None,
        phi=phi,
        phi_low=low,
        phi_high=high,
    )


def weight_of(judged: Iterable[Judged]) -> float:
    return sum(one.weight for one in judged)


def same_by_chance(one: int, other: int, both: Sequence[Judged], labels: Sequence[int]) -> float:
    """Truth by truth, for a label that is hard for both is no mistake that they share beyond it."""
    if not both:
        return 0.0
    says: defaultdict[tuple[int, int, Answer], float] = defaultdict(float)
    truths: defaultdict[int, float] = defaultdict(float)
    for j in both:
        truths[j.truth] += j.weight
        for voter in (one, other):
            says[voter, j.truth, j.votes[voter]] += j.weight
    met = sum(
        says[one, truth, said] * says[other, truth, said] / weight
        for truth, weight in truths.items()
        for said in {*labels} - {truth}
    )
    return met / weight_of(both)


def mistakes_together(one: int, other: int, both: Sequence[Judged]) -> tuple[float | None, float | None, float | None]:
    """The correlation of being wrong, and what 95% of redrawn tables say: with few mistakes no formula holds."""
    tables: defaultdict[str, NDArray[np.float64]] = defaultdict(lambda: np.zeros((2, 4)))
    for j in both:
        cell = 2 * (j.votes[one] != j.truth) + (j.votes[other] != j.truth)
        tables[j.stratum][:, cell] += (1, j.weight)
    if not tables:
        return None, None, None
    seen = phi_of(sum(table[1] for _, table in sorted(tables.items())))
    if np.isnan(seen):
        return None, None, None
    rng = np.random.default_rng(0)
    drawn: Any = 0.0
    for _, (counts, weights) in sorted(tables.items()):
        drawn = drawn + rng.dirichlet(counts + 0.25, DRAWS) * weights.sum()
    low, high = np.nanquantile(phi_of(drawn), (0.025, 0.975))
    return min(float(low), float(seen)), float(seen), max(float(high), float(seen))


def phi_of(cells: Any) -> Any:
    """Of tables with neither wrong, the other, the one, both."""
    neither, other, one, both = np.moveaxis(np.asarray(cells, dtype=float), -1, 0)
    margins = (neither + other) * (one + both) * (neither + one) * (other + both)
    with np.errstate(invalid="ignore", divide="ignore"):
        return (neither * both - other * one) / np.sqrt(margins)


# --- People
def people_alpha(posts: Iterable[Sequence[Answer]]) -> float | None:
    """Krippendorff's, from what each post was answered by people who did not see each other's answers."""
    ballots: Counter[tuple[Answer, Answer, int]] = Counter()
    for answers in posts:
        given = [answer for answer in answers if answer is not None]
        ballots.update((one, other, len(given)) for one, other in combinations(given, 2))
    return krippendorffs_alpha(ballots)


@dataclass(frozen=True, slots=True)
class Work:
    """What one person did, in all or in a week."""

    decisions: int
    with_others: Share  # of the answers of others on the same posts, those that are the same
    on_checks: Share  # of the checks, those answered rightly
    pace: float | None  # median seconds


class Drift(NamedTuple):
    what: Literal["others", "checks"]
    before: Share
    last: Share  # the latest week that has something to compare
    chance: float  # Fisher's exact: how often a difference like this shows where nothing changed

    @property
    def distinguishable(self) -> bool:
        return self.chance < SURE

    @property
    def words(self) -> str:
        """Nothing, where chance could have done it."""
        if not self.distinguishable:
            return ""
        against = "other people" if self.what == "others" else "the checks"
        return (
            f"Agreed with {against} on {percent(self.last)} in the last week, "
            f"{percent(self.before)} before: more than chance would change."
        )


def drift(what: Literal["others", "checks"], weeks: Sequence[Share]) -> Drift | None:
    """The last week that has anything to compare, held against all before it."""
    *earlier, last = [week for week in weeks if week.of] or [Share(0, 0)]
    before = Share(sum(week.hits for week in earlier), sum(week.of for week in earlier))
    return Drift(what, before, last, fishers(before, last)) if before.of and last.of else None


def fishers(one: Share, other: Share) -> float:
    from scipy.stats import fisher_exact

    table = [[share.hits, share.of - share.hits] for share in (one, other)]
    return float(fisher_exact(table).pvalue)


def percent(share: Share) -> str:
    return f"{100 * share.hits / share.of:.0f}% of {share.of:,}"
