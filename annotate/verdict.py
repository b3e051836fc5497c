"""Pure: what people said of one post -> what stands, or why nothing does yet."""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Answer:
    label: int | None = None
    instead: str = ""  # what was said in place of a label
    incongruous: bool | None = None
    final: bool = False  # a lead's word

    @property
    def said(self) -> tuple[int | None, str]:
        return self.label, self.instead


@dataclass(frozen=True, slots=True)
class Verdict:
    label: int | None = None
    instead: str = ""
    incongruous: bool | None = None
    differ: bool = False  # a lead is needed

    @property
    def stands(self) -> bool:
        return bool(self.label is not None or self.instead)


OPEN = Verdict()


def verdict(answers: Sequence[Answer], wanted: int) -> Verdict:
    """`answers` are those of different people; skipping is not an answer. A lead's word ends it."""
    for answer in answers:
        if answer.final:
            return Verdict(answer.label, answer.instead, answer.incongruous)
    if len({answer.said for answer in answers}) > 1:
        return Verdict(differ=True)
    if not answers or len(answers) < wanted:
        return OPEN
    label, instead = answers[0].said
    return Verdict(label, instead, united([answer.incongruous for answer in answers]))


def united(said: Sequence[bool | None]) -> bool | None:
    """Beside the label: two who differ on this alone do not hold a post up, and nothing is known."""
    return said[0] if len(set(said)) == 1 else None
