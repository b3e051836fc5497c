"""Pure: which post belongs to which part of a study, drawn once and kept, a byte for each post by its position.

Posts that are alike share a part: whoever learns from one of them has seen the other. Of folds, the byte tells in which
one a post is asked about; of a learning curve, from which share on it is learnt from. One bit tells who validates.

What a model of ours labelled is no truth: it is never asked about and never validates. Another bit tells that it is
there to be learnt from alone, by all folds but the one that asks about something alike.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from modeling.measures.baselines import TooFew, folds_for, parted

VALIDATES = 0x80
NOWHERE = 0x7F  # the locked test set; of a curve all that it does not learn from
TO_LEARN = 0x40  # the rest of the byte is the fold that does not learn from it
FOLD = 0x3F
NO_FOLD = 0x3E  # every one learns from it
TENTHS = 10  # one of them validates where a dataset has no posts that do
EXACT = 20_000  # groups; scikit-learn looks at each by itself, and a million would take it minutes
SLACK = 1e-6  # of a post: shares are no exact numbers
Numbers = NDArray[np.int64]
Flags = NDArray[np.bool_]
Bytes = NDArray[np.uint8]


@dataclass(frozen=True)
class Posts:
    """Of a dataset, in the order of positions, which begin with 1."""

    labels: Numbers
    kin: Numbers
    train: Flags
    validation: Flags
    held: Flags  # the locked test set
    model: Flags  # labelled by a model of ours

    @property
    def measured(self) -> Numbers:
        """The rows that folds ask about."""
        return np.flatnonzero(~self.held & ~self.model)

    @property
    def validating(self) -> Flags:
        return self.validation & ~self.model


@dataclass(frozen=True)
class Drawn:
    """As it is kept. Positions go in and come out."""

    kept: Bytes

    @classmethod
    def of(cls, kept: bytes | memoryview) -> "Drawn":
        return cls(np.frombuffer(kept, dtype=np.uint8))

    @property
    def part(self) -> Bytes:
        return np.bitwise_and(self.kept, np.uint8(NOWHERE))

    @property
    def validates(self) -> Flags:
        return np.asarray(self.kept >= VALIDATES)

    def learnt(self, number: int, of_folds: bool) -> Numbers:
        """By the part of this number, from 0: of folds all but one, of a curve all up to it."""
        other = np.bitwise_and(self.kept, np.uint8(FOLD)) != number
        inside = other & (self.part != NOWHERE) if of_folds else self.part <= number
        return positions(inside & ~self.validates)

    def validating(self, number: int, of_folds: bool) -> Numbers:
        return positions(self.validates & (self.part != number) if of_folds else self.validates)

    def asked(self, number: int) -> Numbers:
        """Of folds; a curve asks about the dataset's own test sets."""
        return positions(self.part == number)


def positions(flags: Flags) -> Numbers:
    return np.flatnonzero(flags) + 1


# --- Folds


def folds(posts: Posts, count: int, seed: int) -> bytes:
    drawn = np.full(len(posts.labels), NOWHERE, dtype=np.uint8)
    for fold, rows in enumerate(dealt(posts, posts.measured, count, seed)):
        drawn[rows] = fold
    if len(np.unique(drawn[posts.measured])) < count:
        raise TooFew(f"There are too few posts that are not alike for {count} folds: one of them stayed empty.")
    validates = validating(posts, seed)
    lend(posts, validates, drawn)
    drawn[validates] |= VALIDATES
    return drawn.tobytes()


def lend(posts: Posts, validates: Any, drawn: Bytes) -> None:
    """What a model labelled, to all that have nothing alike to ask about; to none where something alike validates."""
    left_out = np.full(int(posts.kin.max(initial=0)) + 1, NO_FOLD, dtype=np.uint8)
    left_out[posts.kin[posts.measured]] = drawn[posts.measured]
    left_out[posts.kin[validates]] = FOLD  # with the other bit: nowhere
    lent = posts.model & ~posts.held & ~posts.validation  # no run learns from any of the validation split
    drawn[lent] = left_out[posts.kin[lent]] | np.uint8(TO_LEARN)


def validating(posts: Posts, seed: int) -> Any:
    """The dataset's own, or a tenth of all; a fold asks about its part of them, and no run ever learns from any."""
    if posts.validating.any():
        return posts.validating
    measured = posts.measured
    tenths = folds_for(posts.labels[measured].tolist(), posts.kin[measured].tolist(), TENTHS)
    return next(dealt(posts, measured, max(2, tenths), seed + 1))


def dealt(posts: Posts, among: Numbers, count: int, seed: int) -> Iterator[Numbers]:
    """The rows of each fold: whole groups, and of each label about as many."""
    groups = len(np.unique(posts.kin[among]))
    if groups < count or np.bincount(posts.labels[among]).max() < count:
        raise TooFew(f"There are too few posts that are not alike for {count} folds. Take fewer.")
    if groups > EXACT:
        yield from dealt_around(posts, among, count, seed)
        return
    labels, kin = posts.labels[among].tolist(), posts.kin[among].tolist()
    yield from (among[asked] for _, asked in parted(labels, kin, count, seed))


def dealt_around(posts: Posts, among: Numbers, count: int, seed: int) -> Iterator[Numbers]:
    """Like cards, label by label and the largest groups first."""
    group, label, size = groups_of(posts, among)
    order = np.lexsort((np.random.default_rng(seed).random(len(size)), -size, label))
    fold = np.empty(len(size), dtype=np.int64)
    fold[order] = np.arange(len(size)) % count
    yield from (among[fold[group] == number] for number in range(count))


def groups_of(posts: Posts, rows: Numbers) -> tuple[Numbers, Numbers, Numbers]:
    """The group of each row; of each group the label that most of its posts have, and its size."""
    _, group = np.unique(posts.kin[rows], return_inverse=True)
    table = np.zeros((int(group.max()) + 1, int(posts.labels.max()) + 1), dtype=np.int64)
    np.add.at(table, (group, posts.labels[rows]), 1)
    return group, table.argmax(axis=1), table.sum(axis=1)


# --- A learning curve


def curve(posts: Posts, shares: Sequence[float], seed: int) -> bytes:
    """Each share holds the smaller ones, and of every label about as much of it."""
    drawn = np.full(len(posts.labels), NOWHERE, dtype=np.uint8)
    rows = np.flatnonzero(posts.train)
    group, label, size = groups_of(posts, rows)
    smallest = np.full(len(size), NOWHERE, dtype=np.uint8)
    order = np.random.default_rng(seed).permutation(len(size))
    for one in np.unique(label):
        share_out(order[label[order] == one].tolist(), size.tolist(), shares, smallest)
    drawn[rows] = smallest[group]
    drawn[posts.validating] |= VALIDATES
    return drawn.tobytes()


def share_out(waiting: list[int], size: list[int], shares: Sequence[float], smallest: Bytes) -> None:
    """Group by group in this order, as long as that brings a share nearer to what it should hold; none stays empty."""
    whole, held = sum(size[group] for group in waiting), 0
    for number, share in enumerate(shares):
        passed = []
        for group in waiting:
            if held + size[group] / 2 <= share * whole + SLACK:
                held += size[group]
                smallest[group] = number
            else:
                passed.append(group)
        if not held:
            least = min(passed, key=size.__getitem__)
            passed.remove(least)
            held, smallest[least] = size[least], number
        waiting = passed
