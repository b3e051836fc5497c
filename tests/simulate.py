"""Seeded synthetic projects, whose truth is known: what the measures of quality are held against."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from annotate.audit import Audited, Population
from annotate.reliability import Judged
from annotate.risk import Candidate

Numbers = NDArray[Any]
SOURCES = ("consensus", "model")


@dataclass
class Settled:
    """What machines settled in one project."""

    was: Numbers
    truth: Numbers
    source: Numbers  # an index into SOURCES
    labels: int

    @property
    def wrong(self) -> Numbers:
        return self.was != self.truth

    @property
    def error(self) -> float:
        return float(self.wrong.mean())

    @property
    def population(self) -> Population:
        strata = zip(self.was.tolist(), self.source.tolist(), strict=True)
        return {(label, SOURCES[source]): n for (label, source), n in Counter(strata).items()}


def settle(rng: np.random.Generator, posts: int, error: float, labels: int = 3, worse_later: float = 1.0) -> Settled:
    """Rare labels and the second source err more; what was settled in the last third, `worse_later` times as much."""
    was = rng.choice(labels, posts, p=rng.dirichlet(np.full(labels, 4.0)))
    source = (rng.random(posts) < 0.3).astype(int)
    risk = rng.uniform(0.5, 2, labels)[was] * np.array([0.8, 1.5])[source]
    risk *= np.where(np.arange(posts) > posts * 2 / 3, worse_later, 1.0)
    wrong = rng.random(posts) < np.minimum(0.95, error * risk / risk.mean())
    return Settled(was, np.where(wrong, another(rng, was, labels), was), source, labels)


def another(rng: np.random.Generator, label: Numbers, labels: int) -> Numbers:
    return (label + rng.integers(1, labels, label.shape)) % labels


def people_say(rng: np.random.Generator, truth: Numbers, labels: int, errs: float) -> Numbers:
    return np.where(rng.random(truth.shape) < errs, another(rng, truth, labels), truth)


@dataclass
class People:
    errs: float = 0.0
    lead_errs: float = 0.0
    twice: float = 1.0  # share of the audits that two people read
    led: float = 1.0  # share of those on which two differ that a lead has settled


PERFECT = People()
ALONE = People(twice=0)


def audit(rng: np.random.Generator, settled: Settled, inclusion: Numbers | float, people: People) -> list[Audited]:
    """Each post is drawn by itself, as the product draws."""
    chance = np.broadcast_to(inclusion, settled.was.shape)
    drawn = np.flatnonzero(rng.random(len(chance)) < chance)
    truth, shape = settled.truth[drawn], drawn.shape
    first, second = (people_say(rng, truth, settled.labels, people.errs) for _ in range(2))
    lead = people_say(rng, truth, settled.labels, people.lead_errs)
    twice, led = rng.random(shape) < people.twice, rng.random(shape) < people.led
    columns = (settled.was[drawn], settled.source[drawn], chance[drawn], first, second, lead, twice, led)
    return list(read_by(*columns))


def read_by(*columns: Numbers) -> Iterator[Audited]:
    for was, source, chance, first, second, lead, twice, led in zip(*(c.tolist() for c in columns), strict=True):
        answers = (first, second) if twice else (first,)
        verdict = first if len(set(answers)) == 1 else (lead if led else None)
        yield Audited(was, SOURCES[source], chance, answers, verdict)


def mixed(posts: int, audits: int, later: float = 3.0) -> Numbers:
    """The audit rate was raised for the second half: about so many audits in all."""
    before = 2 * audits / posts / (1 + later)
    return np.where(np.arange(posts) < posts / 2, before, later * before)


@dataclass
class Voted:
    """What each of some voters said about every post, with mistakes that hang together."""

    truth: Numbers
    said: Numbers  # a row a post, a column a voter
    confidence: Numbers
    incongruous: Numbers
    labels: int

    @property
    def agreed(self) -> Numbers:
        return (self.said == self.said[:, :1]).all(axis=1)

    @property
    def wrong(self) -> Numbers:
        return self.said[:, 0] != self.truth


def vote(
    rng: np.random.Generator, posts: int, voters: int = 2, labels: int = 3, alike: float = 0.7, plain: bool = False
) -> Voted:
    """About 82% right each. Hard posts are hard for all, ironic ones harder still, and tempt all to the same label.

    A voter is less sure where it is nearer to a mistake, but each is sure in its own way, and noisily. In a plain
    project nothing makes posts hard but what `alike` says.
    """
    truth = rng.choice(labels, posts, p=np.array([0.5] + [0.5 / (labels - 1)] * (labels - 1)))
    incongruous = (rng.random(posts) < 0.15) & (not plain)
    hard = rng.normal(size=posts) + 0.8 * incongruous + 0.3 * (truth == labels - 1) * (not plain) - 0.2
    near = np.sqrt(alike) * hard[:, None] + np.sqrt(1 - alike) * rng.normal(size=(posts, voters))
    errs = near > 1.1
    tempting, own = another(rng, truth, labels), another(rng, np.repeat(truth[:, None], voters, 1), labels)
    mistaken = np.where(rng.random((posts, voters)) < 0.85 * (alike > 0), tempting[:, None], own)
    sure = 2.2 - rng.uniform(0.1, 0.5, voters) * near + rng.normal(0, 0.8, (posts, voters)) + rng.normal(0, 0.5, voters)
    return Voted(truth, np.where(errs, mistaken, truth[:, None]), 1 / (1 + np.exp(-sure)), incongruous, labels)


def candidates(voted: Voted, posts: Numbers) -> list[Candidate]:
    """What the product knows about these posts that all voters agree on."""
    rows = zip(*(c[posts].tolist() for c in (voted.said, voted.confidence, voted.incongruous)), strict=True)
    return [
        Candidate(said[0], dict(enumerate(sure)), incongruous=odd, has_image=True, length=100)
        for said, sure, odd in rows
    ]


def judged(rng: np.random.Generator, voted: Voted, audits: float, reviews: float) -> list[Judged]:
    """What people decided: a few of what voters agree on, many of what they contest."""
    agreed = voted.agreed
    chosen = np.flatnonzero(rng.random(len(agreed)) < np.where(agreed, audits, reviews))
    contested = (~agreed).sum() / max(1, (~agreed[chosen]).sum())
    return [
        Judged(
            votes=dict(enumerate(voted.said[post].tolist())),
            truth=int(voted.truth[post]),
            weight=1 / audits if agreed[post] else float(contested),
            stratum="audit" if agreed[post] else "review",
            confidences=dict(enumerate(voted.confidence[post].tolist())),
        )
        for post in chosen
    ]
