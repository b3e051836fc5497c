"""Pure: votes -> a settled label, or why not. The order of the votes never matters."""

import math
from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

Reason = Literal["split", "unsure", "abstained"]
Rule = Literal["all", "majority", "weighted"]

AT_LEAST = 2  # one voter agreeing with itself is no agreement
ENOUGH_FOR_MAJORITY = 3
CLEAR = 0.8  # the posterior from which a weighted vote settles, where the project asks for no other


@dataclass(frozen=True, slots=True)
class Ballot:
    label: int | None  # None is an abstention
    confidence: float | None = None


@dataclass(frozen=True, slots=True)
class Weights:
    """How often each voter says what when the truth is what, and how common each truth is: Dawid and Skene's model."""

    priors: Mapping[int, float]
    says: Mapping[int, Mapping[int, Mapping[int, float]]]  # voter -> truth -> said -> probability


@dataclass(frozen=True, slots=True)
class Outcome:
    label: int | None = None
    why: Reason | None = None
    # How much a person's answer would teach, from 0 to 1: the order in which contested posts are asked about.
    information: float = field(default=0.0, compare=False)

    @property
    def is_settled(self) -> bool:
        return self.label is not None


WAITING = Outcome()


def decide(
    ballots: Mapping[int, Ballot],
    required: Collection[int],
    rule: Rule = "all",
    least_confidence: float | None = None,
    weights: Weights | None = None,
) -> Outcome:
    """`ballots` by voter. Nothing is decided before all required have spoken, and at least two."""
    outcome = ruled(ballots, required, rule, least_confidence, weights)
    return replace(outcome, information=information(ballots, outcome.why)) if outcome.why else outcome


def ruled(
    ballots: Mapping[int, Ballot],
    required: Collection[int],
    rule: Rule,
    least_confidence: float | None,
    weights: Weights | None,
) -> Outcome:
    if len(ballots) < AT_LEAST or any(voter not in ballots for voter in required):
        return WAITING
    if rule == "weighted" and weights and len(ballots) >= ENOUGH_FOR_MAJORITY:
        return weighted(ballots, weights, least_confidence or CLEAR)
    labels = {ballot.label for ballot in ballots.values()}
    if rule != "all" and len(ballots) >= ENOUGH_FOR_MAJORITY:
        label = majority(ballots)
    else:
        label = labels.pop() if len(labels) == 1 else None
    if label is None:
        return Outcome(why=disunity(ballots))
    return Outcome(why="unsure") if is_unsure(ballots, label, least_confidence) else Outcome(label=label)


def majority(ballots: Mapping[int, Ballot]) -> int | None:
    """More than half of all who were asked: abstentions count against every label."""
    counts = Counter(ballot.label for ballot in ballots.values() if ballot.label is not None)
    label, most = max(counts.items(), key=lambda item: item[1], default=(None, 0))
    return label if 2 * most > len(ballots) else None


def disunity(ballots: Mapping[int, Ballot]) -> Reason:
    named = {ballot.label for ballot in ballots.values()} - {None}
    return "split" if len(named) > 1 else "abstained"


SAID_NOTHING = 0.7  # how sure a voter counts as that does not say


def information(ballots: Mapping[int, Ballot], why: Reason) -> float:
    """Two that are sure and still differ teach most; of the unsure, the least sure; of the silent, the least silent."""
    sure = dict.fromkeys(sorted({b.label for b in ballots.values() if b.label is not None}), 0.0)
    for ballot in ballots.values():
        if ballot.label is not None:
            said = SAID_NOTHING if ballot.confidence is None else ballot.confidence
            sure[ballot.label] = max(sure[ballot.label], said)
    best = sorted(sure.values(), reverse=True)
    if why == "split":
        return best[0] * best[1] if len(best) > 1 else 0.0
    if why == "unsure":
        return 1 - min((b.confidence for b in ballots.values() if b.confidence is not None), default=SAID_NOTHING)
    spoke = sum(ballot.label is not None for ballot in ballots.values()) / len(ballots)
    return spoke * (best[0] if best else 0.0)


def is_unsure(ballots: Mapping[int, Ballot], label: int, least: float | None) -> bool:
    """A voter that does not say how sure it is cannot be held to a threshold."""
    said = [b.confidence for b in ballots.values() if b.label == label and b.confidence is not None]
    return least is not None and any(confidence < least for confidence in said)


def weighted(ballots: Mapping[int, Ballot], weights: Weights, least: float) -> Outcome:
    posterior = posterior_of(ballots, weights)
    if not posterior:
        return Outcome(why="abstained")
    label = max(sorted(posterior), key=lambda truth: posterior[truth])
    return Outcome(label=label) if posterior[label] >= least else Outcome(why=disunity(ballots))


def posterior_of(ballots: Mapping[int, Ballot], weights: Weights) -> dict[int, float]:
    """Voters whom the fit has not seen say nothing here, and so do abstentions."""
    known = [(weights.says[voter], ballot.label) for voter, ballot in sorted(ballots.items()) if voter in weights.says]
    heard = [(says, said) for says, said in known if said is not None]
    if not heard:
        return {}
    logs = {
        truth: math.log(prior) + sum(math.log(says.get(truth, {}).get(said, 0.0) or 1e-6) for says, said in heard)
        for truth, prior in weights.priors.items()
        if prior > 0
    }
    top = max(logs.values())
    shares = {truth: math.exp(value - top) for truth, value in logs.items()}
    total = sum(shares.values())
    return {truth: share / total for truth, share in shares.items()}
