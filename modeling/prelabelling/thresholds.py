"""Pure: what a threshold would mean, from counts that were taken once: how many labels, of which kind, how many wrong.

Two answers to how many are wrong: what the model itself says, once it is calibrated, and how often it was wrong on the
validation split where it was as sure. Neither knows how the posts without a label differ from those with one; only the
audit of what was settled tells that.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from annotate.agreement import Share

from .quotas import allowed

STEPS = 200  # to 1: a threshold is told to half a hundredth
OFFERED = (0.5, 0.6, 0.7, 0.8, 0.85, 0.9, 0.95, 0.98, 0.99)
LEAST = 0.5


class Row(NamedTuple):
    """One label at one threshold."""

    label: str
    sure: int  # posts of which the model is as sure as that
    settled: int  # and as many its quota lets through, the surest
    wrong: float  # of these, by the model's own probabilities
    checked: int  # posts of the validation split of which it was as sure, and said this label
    mistaken: int  # and was wrong

    @property
    def held_back(self) -> int:
        return self.sure - self.settled


@dataclass(frozen=True)
class Reckoning:
    threshold: float
    rows: Sequence[Row]
    unsure: int  # posts of which it is less sure
    against: int  # it is sure, and voters say otherwise
    conflicts: int  # it is sure, and the post has another label

    @property
    def settled(self) -> int:
        return sum(row.settled for row in self.rows)

    @property
    def held_back(self) -> int:
        return sum(row.held_back for row in self.rows)

    @property
    def wrong(self) -> float:
        return sum(row.wrong for row in self.rows)

    @property
    def wrong_share(self) -> float | None:
        return self.wrong / self.settled if self.settled else None

    @property
    def on_validation(self) -> Share | None:
        """How often it was wrong there, where it was as sure."""
        checked = sum(row.checked for row in self.rows)
        return Share(sum(row.mistaken for row in self.rows), checked) if checked else None


Counts = Mapping[str, Sequence[Sequence[float]]]  # by label: [step, posts, their chances added up]


def reckon(
    meaning: Mapping[str, Any], validation: Iterable[Sequence[Any]], threshold: float, growth: float
) -> Reckoning:
    """`meaning` as candidates.py counts it; `validation`: label given, how sure, whether right."""
    free: Counts = meaning["free"]
    step = step_of(threshold)
    sure = {label: sum(int(n) for k, n, _ in rows if k >= step) for label, rows in free.items()}
    quota = allowed(sure, meaning["known"], growth, meaning.get("standing", {}))
    checks = [(label, right) for label, chance, right in validation if step_of(chance) >= step]
    rows = [
        Row(
            label, sure[label], quota[label], wrong_among(free[label], step, quota[label]),
            sum(one == label for one, _ in checks), sum(one == label and not right for one, right in checks),
        )
        for label in meaning["labels"] if label in free
    ]  # fmt: skip
    return Reckoning(
        threshold, rows, sum(int(n) for counts in free.values() for k, n, _ in counts if k < step),
        counted(meaning["against"], step), counted(meaning["conflicts"], step),
    )  # fmt: skip


def step_of(chance: float) -> int:
    return min(STEPS, int(chance * STEPS + 1e-9))


def counted(counts: Counts, step: int) -> int:
    return sum(int(n) for rows in counts.values() for k, n, _ in rows if k >= step)


def wrong_among(rows: Sequence[Sequence[float]], step: int, most: int) -> float:
    """The surest first, as they are settled."""
    wrong, left = 0.0, most
    for k, n, chances in sorted(rows, key=lambda row: -row[0]):
        if k < step or left <= 0:
            break
        taken = min(left, int(n))
        wrong += taken * (1 - chances / n)
        left -= taken
    return wrong
