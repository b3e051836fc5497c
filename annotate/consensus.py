"""Pure: votes -> a settled label, or why not. The order of the votes never matters."""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Literal

Reason = Literal["split", "abstained"]
AT_LEAST = 2  # one voter agreeing with itself is no agreement


@dataclass(frozen=True, slots=True)
class Outcome:
    label: int | None = None
    why: Reason | None = None

    @property
    def is_settled(self) -> bool:
        return self.label is not None


WAITING = Outcome()


def decide(ballots: dict[int, int | None], required: Collection[int]) -> Outcome:
    """`ballots` holds each voter's label, None for an abstention; all required must have spoken."""
    if len(ballots) < AT_LEAST or any(voter not in ballots for voter in required):
        return WAITING
    labels = set(ballots.values())
    if len(labels - {None}) > 1:
        return Outcome(why="split")
    if None in labels:
        return Outcome(why="abstained")
    return Outcome(label=labels.pop())
