"""Each reviewer's work counted one decision at a time: slow, plain, and what the product's SQL is held against."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import median

from annotate.agreement import Answer, Share
from annotate.reliability import Drift, Work, drift


@dataclass(frozen=True, slots=True)
class Decision:
    reviewer: int
    week: int  # in order of time
    said: Answer
    seconds: float | None = None
    others: tuple[Answer, ...] = ()  # what other people said about the same post, blind
    check: int | None = None  # the known label, where the post was slipped in as a check


@dataclass(frozen=True, slots=True)
class Reviewer:
    reviewer: int
    whole: Work
    weeks: dict[int, Work]
    drifts: list[Drift]


def reviewers(decisions: Iterable[Decision]) -> list[Reviewer]:
    """By number, never by rank."""
    by_reviewer: defaultdict[int, list[Decision]] = defaultdict(list)
    for decision in decisions:
        by_reviewer[decision.reviewer].append(decision)
    return [reviewer_of(reviewer, of) for reviewer, of in sorted(by_reviewer.items())]


def reviewer_of(reviewer: int, decisions: Sequence[Decision]) -> Reviewer:
    weeks = {week: work([d for d in decisions if d.week == week]) for week in sorted({d.week for d in decisions})}
    shares = {
        "others": [of.with_others for of in weeks.values()],
        "checks": [of.on_checks for of in weeks.values()],
    }
    drifts = [drift("others", shares["others"]), drift("checks", shares["checks"])]
    return Reviewer(reviewer, work(decisions), weeks, [one for one in drifts if one])


def work(decisions: Sequence[Decision]) -> Work:
    told = [one for one in decisions if one.said is not None]
    compared = [one.said == other for one in told for other in one.others if other is not None]
    checked = [one.said == one.check for one in told if one.check is not None]
    paces = [one.seconds for one in decisions if one.seconds is not None]
    return Work(
        len(decisions),
        Share(sum(compared), len(compared)),
        Share(sum(checked), len(checked)),
        median(paces) if paces else None,
    )
