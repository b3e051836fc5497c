"""Pure: which posts go into a dataset, and into which split, so that nothing that is measured on was trained on.

Everything is an array with an entry a post, because a million posts are chosen from.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .recipe import MACHINES, SOURCES, Recipe

OUT, TRAIN, VALIDATION, TEST, HOLDOUT = range(-1, 4)
NAMES = ("train", "validation", "test", "holdout")
MODEL = SOURCES.index("model")
WAS_TRAIN, WAS_VALIDATION, WAS_TEST = 1, 2, 4  # bits of `was`: in which splits of frozen datasets a post ever stood

Numbers = NDArray[np.int64]
Flags = NDArray[np.bool_]

REASONS = {
    "source": "their label comes from a source that was not chosen",
    "confidence": "a voter for their label was less sure than asked, or did not say how sure it was",
    "holdout": "they look or read like posts of the locked test set",
    "model": "a model of ours labelled them, and they look or read like posts that are measured on",
    "twins": "another of their near-duplicates was taken",
    "size": "there were enough without them",
    "trained": "they were trained on before, and look or read like posts that are measured on now",
    "cap": "their label has enough",
    "incongruous": "the share of incongruous posts would not have come out",
}


@dataclass(frozen=True)
class Known:
    """All posts with a label, and those that were ever in test."""

    ids: Numbers
    labels: Numbers  # a number for each name of `label_names`; -1: has none now
    sources: Numbers  # numbers of SOURCES; -1: has none now
    incongruous: Numbers  # 1, 0, or -1 where nobody said
    confidence: NDArray[np.float64]  # not a number where nobody stated any
    templates: Numbers  # 0: none
    words: Numbers  # 0: none
    lots: Numbers
    pictures: Flags
    holdout: Flags
    was: Numbers
    label_names: tuple[str, ...]


@dataclass(frozen=True)
class Chosen:
    splits: Numbers  # OUT where it was left out
    kin: Numbers
    left_out: Counter[str]
    order: Numbers  # which posts were chosen, as their lots fell


def choose(known: Known, recipe: Recipe) -> Chosen:
    chosen = Choice(known, recipe)
    chosen.leave_out_unwanted()
    chosen.leave_out_like_holdout()
    kin = kin_of(known.templates, known.words, ~known.holdout & (chosen.open | (known.was & WAS_TEST > 0)))
    if recipe.one_per_group:
        chosen.leave_out_twins(kin)
    if recipe.size is not None:
        chosen.leave_out_surplus(recipe.size)
    chosen.split(kin)
    chosen.shape_train()
    chosen.splits[known.holdout & (known.labels >= 0) & (known.sources != MODEL)] = HOLDOUT
    kin = np.where(known.holdout, kin_of(known.templates, known.words, known.holdout) + len(known.ids), kin)
    taken = np.flatnonzero(chosen.splits != OUT)
    order = taken[np.lexsort((known.ids[taken], known.lots[taken]))]
    return Chosen(chosen.splits, numbered(kin, order), chosen.left_out, order)


class Choice:
    """Posts are left out step by step; each step says how many and why."""

    def __init__(self, known: Known, recipe: Recipe) -> None:
        self.known, self.recipe = known, recipe
        self.splits: Numbers = np.full(len(known.ids), OUT, dtype=np.int64)
        self.open: Flags = ~known.holdout & (known.labels >= 0)
        self.left_out: Counter[str] = Counter()

    def leave_out(self, reason: str, posts: Flags) -> None:
        gone = self.open & posts
        if count := int(gone.sum()):
            self.left_out[reason] += count
            self.open &= ~gone
            self.splits[gone] = OUT

    def leave_out_unwanted(self) -> None:
        wanted = [SOURCES.index(source) for source in self.recipe.sources]
        self.leave_out("source", ~np.isin(self.known.sources, wanted))
        if self.recipe.least_confidence is not None:
            by_machines = np.isin(self.known.sources, [SOURCES.index(source) for source in MACHINES])
            self.leave_out("confidence", by_machines & ~(self.known.confidence >= self.recipe.least_confidence))

    def leave_out_like_holdout(self) -> None:
        """Only what is itself like one of them: with that gone, nothing links what is left to the locked test set."""
        known = self.known
        like = [marks_in(marks, known.holdout) for marks in (known.templates, known.words)]
        self.leave_out("holdout", like[0] | like[1])

    def leave_out_twins(self, kin: Numbers) -> None:
        """What was in a dataset before stays; then people's word goes before machines', a model of ours comes last,
        because nothing is measured on what it labelled, and the surer goes before others."""
        rank = np.array([0, 2, 3, 1, 4])[self.known.sources]  # as SOURCES stand; 4 for none
        sure = np.nan_to_num(self.known.confidence, nan=-1.0)
        best = np.lexsort((self.known.ids, self.known.lots, -sure, rank, -self.known.was, kin))
        best = best[self.open[best]]
        first = np.ones(len(best), dtype=bool)
        first[1:] = kin[best][1:] != kin[best][:-1]
        twins = np.zeros(len(kin), dtype=bool)
        twins[best[~first]] = True
        self.leave_out("twins", twins)

    def leave_out_surplus(self, size: int) -> None:
        self.leave_out("size", self.after_the_first(size, self.open))

    def after_the_first(self, most: int, among: Flags) -> Flags:
        posts = np.flatnonzero(among & self.open)
        surplus = np.zeros(len(among), dtype=bool)
        surplus[posts[np.lexsort((self.known.ids[posts], self.known.lots[posts]))][most:]] = True
        return surplus

    def split(self, kin: Numbers) -> None:
        was = self.known.was
        ever = np.zeros(int(kin.max(initial=0)) + 1, dtype=np.int64)
        np.bitwise_or.at(ever, kin, was)
        home = np.select(
            [ever & WAS_TEST > 0, ever & WAS_VALIDATION > 0, ever & WAS_TRAIN > 0], [TEST, VALIDATION, TRAIN], OUT
        )
        went = home[kin]
        learnt = (was & WAS_TRAIN > 0) | ((was & WAS_VALIDATION > 0) & (went == TEST))
        measured = ((went == TEST) & (was & WAS_TEST == 0)) | ((went == VALIDATION) & (was & WAS_VALIDATION == 0))
        self.leave_out("trained", learnt & measured)
        self.splits[self.open] = went[self.open]
        self.place(kin)
        self.leave_out("model", (self.known.sources == MODEL) & (self.splits != TRAIN))

    def place(self, kin: Numbers) -> None:
        """What was never placed goes where its labels are needed most, the largest groups first. What a model of ours
        labelled counts for nothing here: it goes with its group, and without one is trained on."""
        shares = (self.recipe.train, self.recipe.validation, self.recipe.test)
        names = len(self.known.label_names)
        ours = self.known.sources == MODEL
        given = self.open & ~ours
        total = np.bincount(self.known.labels[given], minlength=names)
        need = [[share * n for n in total] for share in shares]
        for split in (TRAIN, VALIDATION, TEST):
            have = np.bincount(self.known.labels[given & (self.splits == split)], minlength=names)
            need[split] = [wanted - int(n) for wanted, n in zip(need[split], have, strict=True)]
        fresh = np.flatnonzero(given & (self.splits == OUT))
        placed: dict[int, int] = {}
        for group, labels in groups_in(fresh, kin, self.known):
            placed[group] = best = most_needed(labels, need, shares, total)
            for label, posts in labels.items():
                need[best][label] -= posts
        left = np.flatnonzero(self.open & (self.splits == OUT))
        if len(left):
            self.splits[left] = [placed.get(int(group), TRAIN) for group in kin[left]]

    def shape_train(self) -> None:
        for name, cap in self.recipe.caps.items():
            if name in self.known.label_names:
                label = self.known.label_names.index(name)
                self.leave_out("cap", self.after_the_first(cap, self.in_train() & (self.known.labels == label)))
        share = self.recipe.incongruous
        odd = self.in_train() & (self.known.incongruous == 1)
        even = self.in_train() & (self.known.incongruous != 1)
        if share is None or not odd.any():
            return
        self.leave_out("incongruous", self.after_the_first(round(int(odd.sum()) * (1 - share) / share), even))
        self.leave_out("incongruous", self.after_the_first(round(int(even.sum()) * share / (1 - share)), odd))

    def in_train(self) -> Flags:
        train: Flags = self.open & (self.splits == TRAIN)
        return train


def most_needed(labels: Counter[int], need: Sequence[Sequence[float]], shares: Sequence[float], total: Numbers) -> int:
    """Where most is still wanted of what should be there, so that each split fills up from the first lot to the last: a
    smaller dataset of the same posts keeps all three. What is larger than any has room for goes where most is missing.
    """
    open_splits = [split for split in (TRAIN, VALIDATION, TEST) if shares[split] > 0]
    with_room = [split for split in open_splits if all(need[split][label] + 0.5 >= n for label, n in labels.items())]

    def wanting(split: int) -> float:
        """Rare labels weigh more: one post of theirs too many or too few is a larger part of all they have."""
        per = shares[split] if with_room else 1.0
        return sum(posts * need[split][label] / (per * int(total[label])) for label, posts in labels.items())

    return max(with_room or open_splits, key=wanting)


def groups_in(posts: Numbers, kin: Numbers, known: Known) -> list[tuple[int, Counter[int]]]:
    """With how many posts of each label; the largest first, then as the lots fell."""
    groups: dict[int, Counter[int]] = {}
    for group, label in zip(kin[posts].tolist(), known.labels[posts].tolist(), strict=True):
        groups.setdefault(group, Counter())[label] += 1
    lots: dict[int, int] = {}
    for group, lot in zip(kin[posts].tolist(), known.lots[posts].tolist(), strict=True):
        lots[group] = min(lot, lots.get(group, lot))
    return sorted(groups.items(), key=lambda group: (-group[1].total(), lots[group[0]]))


def marks_in(marks: Numbers, among: Flags) -> Flags:
    found = np.unique(marks[among])
    like: Flags = np.isin(marks, found[found != 0])
    return like


def kin_of(templates: Numbers, words: Numbers, among: Flags) -> Numbers:
    """A number for each post, the same for all that are linked by picture or words, over however many others.

    Posts that are not among them stand for themselves.
    """
    from scipy.sparse import coo_matrix  # here, because a web worker that counts nothing should not carry it
    from scipy.sparse.csgraph import connected_components

    posts = len(templates)
    ends, marks, nodes = [], [], posts
    for values in (templates, words):
        linked = np.flatnonzero(among & (values != 0))
        named, number = np.unique(values[linked], return_inverse=True)
        ends.append(linked)
        marks.append(number.reshape(-1) + nodes)
        nodes += len(named)
    one, other = np.concatenate(ends), np.concatenate(marks)
    graph = coo_matrix((np.ones(len(one), dtype=np.int8), (one, other)), shape=(nodes, nodes))
    _, found = connected_components(graph, directed=False)
    return np.asarray(found[:posts], dtype=np.int64)


def numbered(kin: Numbers, order: Numbers) -> Numbers:
    """From 1, in the order in which they come, so that equal datasets have equal numbers."""
    _, first, inverse = np.unique(kin[order], return_index=True, return_inverse=True)
    rank = np.empty(len(first), dtype=np.int64)
    rank[np.argsort(first)] = np.arange(1, len(first) + 1)
    numbers = np.zeros(len(kin), dtype=np.int64)
    numbers[order] = rank[inverse.reshape(-1)]
    return numbers
