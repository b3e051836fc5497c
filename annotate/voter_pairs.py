"""Two voters beside each other, every figure with the question to `browse` that finds the posts behind it."""

import hashlib
from calendar import monthrange
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from functools import cached_property
from itertools import combinations
from typing import NamedTuple

from django.utils.formats import date_format

from .agreement import Counts, LabelShare, Share, by_label, cohens_kappa, confusion, krippendorffs_alpha, observed
from .agreement_pictures import HeatMap, Line, Square, heat_map, line
from .ballots import Ballots
from .browse import Filters
from .models import Label, Project, Template, Voter

LEAST_COMPARED = 10  # posts of a template; fewer say nothing about it
ABSTAINED = "abstained"


@dataclass(frozen=True)
class Pair:
    one: Voter
    other: Voter
    counts: Counts

    @cached_property
    def agreed(self) -> Share:
        return observed(self.counts)

    @cached_property
    def kappa(self) -> float | None:
        return cohens_kappa(self.counts)

    @property
    def query(self) -> str:
        """Of this pair's page."""
        return Filters(voter=self.one.name, other=self.other.name).query()

    @property
    def different(self) -> int:
        return self.agreed.of - self.agreed.hits

    def posts(self, **more: str) -> str:
        return Filters(voter=self.one.name, other=self.other.name).query(**more)

    @property
    def queries(self) -> dict[str, str]:
        return self.within()

    def within(self, **part: str) -> dict[str, str]:
        return {answers: self.posts(answers=answers, **part) for answers in ("both", "same", "different")}


class PairRow(NamedTuple):
    """A part of what the pair compared, and the posts in it."""

    name: str
    agreed: Share
    queries: dict[str, str]

    @property
    def different(self) -> int:
        return self.agreed.of - self.agreed.hits


class LabelRow(NamedTuple):
    label: Label
    share: LabelShare
    one: str
    other: str
    both: str


class SquareLink(NamedTuple):
    square: Square
    one: str
    other: str
    query: str


class PromptRow(NamedTuple):
    shared: str
    pair: Pair
    prompts: tuple[str, str]


@dataclass(frozen=True)
class Voters:
    """All of a project that have voted, and what was counted of them."""

    project: Project
    all: list[Voter]
    ballots: Ballots

    @cached_property
    def alpha(self) -> float | None:
        return krippendorffs_alpha(self.ballots.all_voters)

    @cached_property
    def pairs(self) -> list[Pair]:
        return [self.pair(one, other) for one, other in combinations(self.all, 2)]

    @cached_property
    def square(self) -> list[tuple[Voter, list[Pair | None]]]:
        return [(row, [self.pair(row, one) if one != row else None for one in self.all]) for row in self.all]

    def pair(self, one: Voter, other: Voter) -> Pair:
        return Pair(one, other, self.ballots.pairs.get((one.pk, other.pk), {}))

    def chosen(self, query: Mapping[str, str]) -> Pair | None:
        """As the address asks; else those two who have most to compare."""
        named = {voter.name: voter for voter in self.all}
        one, other = named.get(query.get("voter", "")), named.get(query.get("other", ""))
        if one and other and one != other:
            return self.pair(one, other)
        return max(self.pairs, key=lambda pair: pair.agreed.of, default=None)

    @cached_property
    def by_prompt(self) -> list[PromptRow]:
        """Pairs that were asked in the same words, and models that were asked in different ones."""
        found = [PromptRow(shared(pair), pair, (digest(pair.one), digest(pair.other))) for pair in self.pairs]
        return sorted((row for row in found if row.shared), key=lambda row: (row.shared, row.prompts))


def shared(pair: Pair) -> str:
    if not (pair.one.prompt and pair.other.prompt):
        return ""
    prompt, model = pair.one.prompt == pair.other.prompt, made_by(pair.one) == made_by(pair.other)
    return " and ".join(name for name, same in (("prompt", prompt), ("model", model)) if same)


def made_by(voter: Voter) -> tuple[str, str]:
    return voter.provider, voter.model


def digest(voter: Voter) -> str:
    return hashlib.sha256(voter.prompt.encode()).hexdigest()[:8]


def label_rows(pair: Pair, labels: list[Label]) -> list[LabelRow]:
    shares = by_label(pair.counts, [label.pk for label in labels])
    return [LabelRow(label, share, *label_queries(pair, label)) for label, share in zip(labels, shares, strict=True)]


def label_queries(pair: Pair, label: Label) -> tuple[str, str, str]:
    one = pair.posts(said=label.name, answers="both")
    return one, pair.posts(other_said=label.name, answers="both"), pair.posts(said=label.name, other_said=label.name)


def heat(pair: Pair, labels: list[Label]) -> tuple[HeatMap, list[SquareLink]]:
    names: dict[int | None, tuple[str, str]] = {label.pk: (label.name, f"label-{label.pk}") for label in labels}
    names[None] = (ABSTAINED, "")
    picture = heat_map(confusion(pair.counts, [label.pk for label in labels]), names)
    said = ((square, names[square.cell.one][0], names[square.cell.other][0]) for square in picture.squares)
    return picture, [SquareLink(it, one, other, pair.posts(said=one, other_said=other)) for it, one, other in said]


def template_rows(pair: Pair, ballots: Ballots, templates: dict[int, Template]) -> list[PairRow]:
    """The most contested first."""
    shares = ballots.by_template(pair.one.pk, pair.other.pk).items()
    rows = [
        PairRow(str(templates[pk]), share, pair.within(template=str(pk)))
        for pk, share in shares
        if pk in templates and share.of >= LEAST_COMPARED
    ]
    return sorted(rows, key=lambda row: (row.agreed.rate, -row.agreed.of))


def over_time(pair: Pair, ballots: Ballots) -> tuple[Line | None, list[PairRow]]:
    shares = ballots.over_time(pair.one.pk, pair.other.pk)
    rows = [
        PairRow(named(first, ballots.unit), share, pair.within(**span(first, ballots.unit))) for first, share in shares
    ]
    return (line(shares) if len(shares) > 1 else None), rows


def span(first: date, unit: str) -> dict[str, str]:
    return {"since": first.isoformat(), "until": last_day(first, unit).isoformat()}


def last_day(first: date, unit: str) -> date:
    if unit == "month":
        return first.replace(day=monthrange(first.year, first.month)[1])
    if unit == "year":
        return first.replace(month=12, day=31)
    return first + timedelta(days=6 if unit == "week" else 0)


def named(first: date, unit: str) -> str:
    return date_format(first, {"month": "M Y", "year": "Y"}.get(unit, "j M Y"))
