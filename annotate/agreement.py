"""Pure: how far voters agree, from counts of what they answered, so that a million posts cost what ten do.

scikit-learn and krippendorff know these figures too, but want a row a post; the tests hold ours against theirs.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import sqrt
from typing import NamedTuple

Answer = int | None  # a label, or None for an abstention, which is no answer to compare
Counts = Mapping[tuple[Answer, Answer], int]  # what one said and what the other said -> posts
Z = 1.959963984540054  # 95% of a normal distribution lie this near its middle


@dataclass(frozen=True, slots=True)
class Share:
    """A part of some posts, with Wilson's 95% interval, which stays between 0 and 1 however few they are."""

    hits: int
    of: int

    @property
    def rate(self) -> float | None:
        return self.hits / self.of if self.of else None

    @property
    def low(self) -> float:
        return self.bound(-1) if self.hits else 0.0

    @property
    def high(self) -> float:
        return self.bound(1) if self.hits < self.of else 1.0

    def bound(self, side: int) -> float:
        rate, n = self.hits / self.of, self.of
        centre = rate + Z * Z / (2 * n)
        spread = Z * sqrt(rate * (1 - rate) / n + Z * Z / (4 * n * n))
        return (centre + side * spread) / (1 + Z * Z / n)


class LabelShare(NamedTuple):
    label: int
    one: int  # posts on which the one said it, and the other gave some label
    other: int
    both: int

    @property
    def agreed(self) -> Share:
        """Of the posts on which either said it, those on which both did."""
        return Share(self.both, self.one + self.other - self.both)


class Cell(NamedTuple):
    one: Answer
    other: Answer
    posts: int
    share: float  # of the row: of all posts on which the one said this


def answered(counts: Counts) -> dict[tuple[int, int], int]:
    """Where both gave a label."""
    return {(a, b): posts for (a, b), posts in counts.items() if a is not None and b is not None and posts}


def observed(counts: Counts) -> Share:
    compared = answered(counts)
    return Share(sum(posts for (a, b), posts in compared.items() if a == b), sum(compared.values()))


def margins(counts: Counts) -> tuple[Counter[int], Counter[int]]:
    one: Counter[int] = Counter()
    other: Counter[int] = Counter()
    for (a, b), posts in answered(counts).items():
        one[a] += posts
        other[b] += posts
    return one, other


def cohens_kappa(counts: Counts) -> float | None:
    """Agreement beyond chance; None where there is nothing to compare, or where chance alone would agree on all."""
    seen = observed(counts)
    one, other = margins(counts)
    by_chance = sum(posts * other[label] for label, posts in one.items())
    beyond = seen.of**2 - by_chance
    return (seen.hits * seen.of - by_chance) / beyond if beyond else None


def krippendorffs_alpha(ballots: Mapping[tuple[Answer, Answer, int], int]) -> float | None:
    """Over all voters at once, for labels without an order; a voter may be missing from any post.

    `ballots` sums over the pairs of voters: two answers, and how many labels their post got in all -> posts. A post's
    pairs weigh as much as its labels. None where nothing can be paired, or where all answers are one label.
    """
    met: defaultdict[tuple[int, int], float] = defaultdict(float)
    for (a, b, labels), posts in ballots.items():
        if a is not None and b is not None:
            met[a, b] += posts / (labels - 1)
            met[b, a] += posts / (labels - 1)
    given = sums_of_rows(met)
    n = sum(given.values())
    differ = sum(weight for (a, b), weight in met.items() if a != b)
    by_chance = n * n - sum(weight * weight for weight in given.values())
    return 1 - (n - 1) * differ / by_chance if len(given) > 1 else None


def sums_of_rows(met: Mapping[tuple[int, int], float]) -> dict[int, float]:
    sums: defaultdict[int, float] = defaultdict(float)
    for (a, _), weight in met.items():
        sums[a] += weight
    return sums


def by_label(counts: Counts, labels: Iterable[int]) -> list[LabelShare]:
    one, other = margins(counts)
    return [LabelShare(label, one[label], other[label], counts.get((label, label), 0)) for label in labels]


def confusion(counts: Counts, labels: Sequence[int]) -> list[list[Cell]]:
    """A row for each answer of the one, a column for each of the other; abstentions come last, where there are any."""
    met = {pair for pair, posts in counts.items() if posts}
    rows: list[Answer] = [*labels, *([None] if any(a is None for a, _ in met) else [])]
    columns: list[Answer] = [*labels, *([None] if any(b is None for _, b in met) else [])]
    return [row_of(counts, answer, columns) for answer in rows]


def row_of(counts: Counts, answer: Answer, columns: Sequence[Answer]) -> list[Cell]:
    posts = [counts.get((answer, column), 0) for column in columns]
    whole = sum(posts) or 1
    return [Cell(answer, column, n, n / whole) for column, n in zip(columns, posts, strict=True)]
