"""Pure: how wrong the settled labels are, from the blind audits alone, with an interval that tells the truth.

The audits are a random sample of what machines settled, each drawn with a known chance. The posts that machines contest
are no such sample, and never come in here: they would say 27% where 9% is true.

The interval is Wilson's, on the number of equally weighted audits that would be as uncertain. In 200,000 drawn samples
of each size it held 95.0 to 95.9% of the truths, for errors of 2 to 20% and 50 to 800 audits; Jeffreys' held 94.3 to
97.3%, and Clopper and Pearson's, up to 98.7%, is wider than it needs to be.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import combinations
from math import ceil, hypot, sqrt
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .agreement import Share, Z

Kind = Literal["one", "agreed", "lead", "torn"]
Stratum = tuple[int, str]  # the label that machines settled, and where it came from
Population = Mapping[Stratum, int]
Floats = NDArray[np.float64]

ENOUGH_TO_STAND_ALONE = 10  # audits; strata with fewer are weighed together
LENT = 5  # audits' worth of the common rate that each part of a sample borrows, so that few never look certain
MOST = 1e9  # the effective number where everything was read: nothing is left to chance
HALF_WIDTHS = (0.04, 0.03, 0.02)


@dataclass(frozen=True, slots=True)
class Audited:
    """One audit. Near-duplicates count each for itself, for each was drawn by itself."""

    was: int  # the label that machines had settled
    source: str
    inclusion: float  # the chance with which it was drawn
    answers: tuple[int | None, ...] = ()  # of people who did not see each other's, in order; None: could not tell
    verdict: int | None = None  # what people said in the end; None while they differ, or where nobody could tell
    saw_votes: bool = False  # somebody knew what the machines said before choosing


class Reading(NamedTuple):
    """What people make of an audit, and how they came to it: that decides how often they are wrong."""

    said: int
    kind: Kind


def read(audit: Audited) -> Reading | None:
    """None where nobody has told. Where two differ and no lead has spoken, the first answer stands in."""
    given = [answer for answer in audit.answers if answer is not None]
    said = given[0] if given and audit.verdict is None else audit.verdict
    if said is None:
        return None
    if len(given) < 2:
        return Reading(said, "lead" if given and given[0] != said else "one")
    if set(given) == {said}:
        return Reading(said, "agreed")
    return Reading(said, "torn" if audit.verdict is None else "lead")


class Read(NamedTuple):
    """Of tens of thousands of audits nearly all are like one another, and are reckoned with once."""

    audit: Audited
    reading: Reading
    times: int  # so many are alike


@dataclass(frozen=True, slots=True)
class Mistakes:
    """How often one reader alone errs: from how often two differ, or from posts whose label was known."""

    rate: float
    low: float
    high: float
    of: int  # pairs of answers, or answers to the locked test set
    labels: int
    from_checks: bool = False

    @classmethod
    def of_pairs(cls, differ: Share, labels: int) -> "Mistakes":
        rate, low, high = (one_errs(d, labels) for d in (differ.hits / differ.of, differ.low, differ.high))
        return cls(rate, low, high, differ.of, labels)

    @classmethod
    def of_checks(cls, right: Share, labels: int) -> "Mistakes":
        return cls(1 - right.hits / right.of, 1 - right.high, 1 - right.low, right.of, labels, from_checks=True)

    def chances(self, rate: float, lead: float) -> dict[Kind, float]:
        """How often each kind of reading is wrong, if one reader errs at this rate, and a lead at that part of it."""
        same = rate * rate / (self.labels - 1)  # two err alike
        differ = 2 * rate * (1 - rate) + rate * rate - same
        return {
            "one": rate,
            "agreed": same / (1 - differ),
            "lead": lead * rate,
            "torn": (rate - same) / differ if differ else 0.5,  # the first of two who differ
        }


def one_errs(differ: float, labels: int) -> float:
    """Two who each err with chance e, on any other label alike, differ with chance 2e - e * e * k / (k - 1)."""
    spread = labels / (labels - 1)
    return (1 - sqrt(max(0.0, 1 - spread * differ))) / spread


def mistakes_of(audits: Iterable[Audited], labels: int, checks: Share | None = None) -> Mistakes | None:
    """From blind answers only: people who have seen the same votes agree for that reason."""
    differ = pairs = 0
    for audit, times in Counter(audits).items():
        given = [] if audit.saw_votes else [answer for answer in audit.answers if answer is not None]
        for one, other in combinations(given, 2):
            pairs += times
            differ += times * (one != other)
    if labels < 2:
        return None
    if pairs:
        return Mistakes.of_pairs(Share(differ, pairs), labels)
    return Mistakes.of_checks(checks, labels) if checks and checks.of else None


class Span(NamedTuple):
    value: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Sample:
    """What the audits say, before the readers' own mistakes are taken out."""

    rate: float  # weighted share in which people said another label
    effective: float  # equally weighted audits that would be as uncertain
    kinds: Mapping[Kind, float]  # weighted share of each kind of reading
    mistakes: Mistakes | None

    def span(self) -> Span:
        """Each thing that is not known moves the rate by itself; together they move it by the root of their squares.

        Nothing tells how often a lead errs who sees two answers: between never and as often as any reader.
        """
        low, high = wilson(self.rate, self.effective)
        if not self.mistakes:
            return Span(self.rate, low, high)
        known, rate = self.mistakes, self.without(self.rate)
        lead = rate - self.without(self.rate, lead=1)
        below = hypot(rate - self.without(low), rate - self.without(self.rate, known.high), lead)
        above = hypot(rate - self.without(high), rate - self.without(self.rate, known.low), lead)
        return Span(*(min(1.0, max(0.0, end)) for end in (rate, rate - below, rate + above)))

    def without(self, seen: float, errs: float | None = None, lead: float = 0.5) -> float:
        """Rogan and Gladen's: what share is wrong, if so much looks wrong to readers who err so often.

        A right label looks wrong whenever they err; a wrong one looks right where their mistake hits that very label.
        """
        assert self.mistakes
        chances = self.mistakes.chances(self.mistakes.rate if errs is None else errs, lead)
        false = sum(share * chances[kind] for kind, share in self.kinds.items())
        missed = false / (self.mistakes.labels - 1)
        return min(2.0, max(-1.0, (seen - false) / max(1 - false - missed, 1e-6)))

    def times(self, size: float) -> "Sample":
        """As it would be with so many times the audits, read in the same way."""
        known = self.mistakes
        if known:
            low, high = (known.rate + (end - known.rate) / sqrt(size) for end in (known.low, known.high))
            known = replace(known, low=low, high=high)
        return replace(self, effective=self.effective * size, mistakes=known)


def wilson(rate: float, n: float) -> tuple[float, float]:
    """As in agreement.Share, for numbers that are not whole."""
    centre, spread = rate + Z * Z / (2 * n), Z * sqrt(rate * (1 - rate) / n + Z * Z / (4 * n * n))
    low, high = ((centre + side * spread) / (1 + Z * Z / n) for side in (-1, 1))
    return max(0.0, min(low, rate)), min(1.0, max(high, rate))


@dataclass(frozen=True, slots=True)
class Estimate:
    rate: float
    low: float
    high: float
    audits: int
    wrong_seen: int  # audits in which people said another label
    posts: int  # all that machines settled so, read or not
    sample: Sample = field(repr=False)

    @property
    def effective(self) -> float:
        return self.sample.effective

    @property
    def half_width(self) -> float:
        return (self.high - self.low) / 2

    @property
    def wrong(self) -> float:
        return self.rate * self.posts

    @property
    def wrong_low(self) -> float:
        return self.low * self.posts

    @property
    def wrong_high(self) -> float:
        return self.high * self.posts

    def left(self, corrected: int) -> Span:
        """Labels still wrong after people put so many of these posts right, in audits or otherwise."""
        return Span(*(max(0.0, wrong - corrected) for wrong in (self.wrong, self.wrong_low, self.wrong_high)))


@dataclass(frozen=True, slots=True)
class Quality:
    overall: Estimate | None  # nothing read: no estimate, which is not the same as no errors
    by_label: dict[int, Estimate]
    by_source: dict[str, Estimate]
    audits: int
    single: int  # of these, how many rest on one pair of eyes
    torn: int  # two differ, and no lead has spoken
    unread: int  # drawn, but nobody has told or nobody could: not in the estimate
    saw_votes: int
    unseen: Estimate | None  # without those in which somebody saw the votes before choosing
    mistakes: Mistakes | None

    @property
    def corrected(self) -> bool:
        """Whether the readers' own mistakes were taken out; where not, some of them count as errors of the labels."""
        return self.mistakes is not None


def quality(audits: Iterable[Audited], population: Population, labels: int, checks: Share | None = None) -> Quality:
    """`population` counts all that machines settled, those since read or corrected too; `labels` are the project's.

    Each audit may come by itself, or a Counter with how many are alike. `checks` are people's answers on the locked
    test set: they tell of single readers where nothing is read twice.
    """
    alike = Counter(audits)
    mistakes = mistakes_of(alike, labels, checks)
    readings = all_read(alike)
    return Quality(
        overall=estimate_of(readings, population, mistakes),
        by_label={label: one for label, one in parts(0, readings, population, mistakes) if isinstance(label, int)},
        by_source={source: one for source, one in parts(1, readings, population, mistakes) if isinstance(source, str)},
        audits=many(readings),
        single=many(one for one in readings if one.reading.kind == "one"),
        torn=many(one for one in readings if one.reading.kind == "torn"),
        unread=alike.total() - many(readings),
        saw_votes=many(one for one in readings if one.audit.saw_votes),
        unseen=estimate_of([one for one in readings if not one.audit.saw_votes], population, mistakes),
        mistakes=mistakes,
    )


def many(readings: Iterable[Read]) -> int:
    return sum(one.times for one in readings)


def parts(
    of: Literal[0, 1], readings: Sequence[Read], population: Population, mistakes: Mistakes | None
) -> Iterable[tuple[int | str, Estimate]]:
    for part in sorted({stratum_of(one)[of] for one in readings}, key=str):
        inside = [one for one in readings if stratum_of(one)[of] == part]
        found = estimate_of(inside, {stratum: n for stratum, n in population.items() if stratum[of] == part}, mistakes)
        if found:
            yield part, found


def estimate(audits: Iterable[Audited], population: Population, mistakes: Mistakes | None = None) -> Estimate | None:
    return estimate_of(all_read(audits), population, mistakes)


def all_read(audits: Iterable[Audited]) -> list[Read]:
    return [Read(audit, reading, times) for audit, times in Counter(audits).items() if (reading := read(audit))]


def stratum_of(one: Read) -> Stratum:
    return one.audit.was, one.audit.source


def estimate_of(readings: Sequence[Read], population: Population, mistakes: Mistakes | None) -> Estimate | None:
    if not readings:
        return None
    times = np.array([one.times for one in readings])
    wrong = np.repeat([float(one.reading.said != one.audit.was) for one in readings], times)
    inclusion = np.repeat([one.audit.inclusion for one in readings], times)
    strata = strata_of(readings, population)
    weights = weigh(inclusion, strata, population)
    rate = float(weights @ wrong / weights.sum())
    kinds: Counter[Kind] = Counter()
    for one, weight in zip(readings, np.add.reduceat(weights, np.cumsum(times) - times).tolist(), strict=True):
        kinds[one.reading.kind] += weight / float(weights.sum())
    sample = Sample(min(1.0, rate), effective_size(wrong, weights, inclusion, strata.of), kinds, mistakes)
    posts = sum(population.values()) or round(float((1 / inclusion).sum()))
    return Estimate(*sample.span(), len(wrong), int(wrong.sum()), posts, sample)


class Strata(NamedTuple):
    alone: list[Stratum]  # that are weighed by themselves
    of: NDArray[np.int64]  # each audit's place among these; the place after the last where they are too few for that


def strata_of(readings: Sequence[Read], population: Population) -> Strata:
    """Those that are too few to be weighed by themselves speak for each other."""
    read_in: Counter[Stratum] = Counter()
    for one in readings:
        read_in[stratum_of(one)] += one.times
    alone = sorted(
        (n, stratum) for stratum, n in read_in.items() if n >= ENOUGH_TO_STAND_ALONE and stratum in population
    )
    while alone:
        kept = {stratum for _, stratum in alone}
        others = sum(n for stratum, n in read_in.items() if stratum not in kept)
        unread = any(n for stratum, n in population.items() if stratum not in kept)
        if others >= ENOUGH_TO_STAND_ALONE or not (others or unread):
            break
        alone.pop(0)
    places = {stratum: place for place, (_, stratum) in enumerate(alone)}
    of = [places.get(stratum_of(one), len(places)) for one in readings]
    return Strata(list(places), np.repeat(of, [one.times for one in readings]))


def weigh(inclusion: Floats, strata: Strata, population: Population) -> Floats:
    """How many posts each audit stands for: one by its chance, so that all of a stratum stand for all its posts."""
    weights = 1 / inclusion
    others = sum(n for stratum, n in population.items() if stratum not in strata.alone)
    for place in np.unique(strata.of).tolist():
        here = strata.of == place
        posts = population[strata.alone[place]] if place < len(strata.alone) else others
        weights[here] *= posts / weights[here].sum() if posts else 1
    return weights


def effective_size(wrong: Floats, weights: Floats, inclusion: Floats, strata: NDArray[np.int64]) -> float:
    """Kish's number, corrected where audits that weigh more are wrong more often, and for how much of all was read.

    Audits of one stratum that were drawn with one chance are alike; their rate is drawn a little to their stratum's.
    Each post was drawn by itself, so that near-duplicates need no correction: it is these very posts we speak of.
    """
    n = len(wrong)
    common = (n * float(weights @ wrong / weights.sum()) + 0.5) / (n + 1)  # never quite nought
    variance, spread = 0.0, 0.0
    for stratum in np.unique(strata):
        here = strata == stratum
        rate = lent(wrong[here], weights[here], common)
        few = max(2.0, kish(weights[here]))
        for chance in np.unique(inclusion[here]).tolist():
            alike = here & (inclusion == chance)
            own = lent(wrong[alike], weights[alike], rate)
            off = (own * (1 - own) + (own - rate) ** 2) * few / (few - 1)  # the stratum's rate is a guess itself
            unread = max(0.0, 1 - 1 / float(weights[alike][0]))  # of all of them; many are drawn and not read yet
            variance += float((weights[alike] ** 2).sum()) * unread * off
            spread += float(weights[alike].sum()) * own
    middle = spread / float(weights.sum())
    return min(MOST, middle * (1 - middle) * float(weights.sum()) ** 2 / variance) if variance else MOST


def kish(weights: Floats) -> float:
    return float(weights.sum()) ** 2 / float((weights**2).sum())


def lent(wrong: Floats, weights: Floats, common: float) -> float:
    n = len(wrong)
    return (n * float(weights @ wrong / weights.sum()) + LENT * common) / (n + LENT)


class Needed(NamedTuple):
    half_width: float
    more: int  # audits; none where the interval is as narrow already


def more_needed(now: Estimate, half_widths: Sequence[float] = HALF_WIDTHS) -> list[Needed]:
    return [Needed(half_width, more_for(now, half_width)) for half_width in half_widths]


def more_for(now: Estimate, half_width: float) -> int:
    """If what comes is like what came. There are never more to read than there are posts."""
    small, large = 1.0, max(1.0, now.posts / now.audits)
    if now.half_width <= half_width:
        return 0
    for _ in range(40):
        middle = (small + large) / 2
        _, low, high = now.sample.times(middle).span()
        small, large = (small, middle) if (high - low) / 2 <= half_width else (middle, large)
    return max(0, min(now.posts - now.audits, ceil(now.audits * (large - 1))))
