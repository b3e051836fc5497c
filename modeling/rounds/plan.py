"""Pure: how the steps of a round are to be done."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any, Self


@dataclass(frozen=True)
class Plan:
    base: str = ""  # what is fine-tuned: a name on the hub, a folder, tiny; blank: as the recipe has it
    recipe: str = ""  # of training
    settings: Mapping[str, Any] = field(default_factory=dict)  # what differs from that recipe
    frozen: Mapping[str, Any] = field(default_factory=dict)  # what differs from the usual recipe of a dataset
    threshold: float = 0.9
    growth: float = 1.5
    audit_rate: float = 0.1
    doubts: int = 200
    error_allowed: float = 0.05  # of the labels that its model settled
    by_rule: bool = True  # a round that breaks a rule is rolled back by itself, or a lead decides
    unattended: bool = False  # what its model is sure of settles without a word, as long as few of it should be wrong

    def __post_init__(self) -> None:
        if problem := problem_with(self):
            raise ValueError(problem)

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> Self:
        known = {f.name for f in fields(cls)}
        if unknown := sorted(set(stored) - known):
            raise ValueError(f"“{unknown[0]}” is nothing that a round has; there are {', '.join(sorted(known))}.")
        return cls(**stored)

    def as_json(self) -> dict[str, Any]:
        return asdict(self) | {"settings": dict(self.settings), "frozen": dict(self.frozen)}


def problem_with(plan: Plan) -> str:
    if not 0.5 <= plan.threshold <= 1:
        return "The threshold is a chance from 0.5 to 1: below that a label is a guess."
    if not (plan.growth == 0 or 1 <= plan.growth <= 100):
        return "A label's share may grow to so many times what it was, from 1 to 100; 0 for any."
    if not 0 <= plan.audit_rate <= 1:
        return "The share of labels that people check blind is from 0 to 1."
    if not 0 <= plan.doubts <= 100_000:
        return "From 0 to 100,000 doubts can be sent to people."
    if not 0 < plan.error_allowed < 1:
        return "The error allowed is a share of the labels, above 0 and below 1."
    return ""
