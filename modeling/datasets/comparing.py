"""Two frozen datasets beside each other: counted where the rows lie, by the id that a post has everywhere."""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

from django.db import connection

from annotate.agreement import Answer, confusion
from annotate.agreement_pictures import HeatMap, Square, heat_map
from modeling.models import Dataset, Split

from .recipe import Recipe
from .recipe_words import in_words

# What had to go has no id any more, on either side.
BESIDE = """
SELECT old.split, new.split, old.label, new.label, count(*)
FROM (SELECT external_id, split, label FROM modeling_datasetitem WHERE dataset_id = %s AND removed IS NULL) AS old
FULL JOIN (SELECT external_id, split, label FROM modeling_datasetitem WHERE dataset_id = %s AND removed IS NULL) AS new
  USING (external_id)
GROUP BY 1, 2, 3, 4
"""


class Beside(NamedTuple):
    """So many posts that stand alike in both; None where they are not in one."""

    was_split: str | None
    split: str | None
    was_label: str | None
    label: str | None
    posts: int

    @property
    def in_both(self) -> bool:
        return self.was_split is not None and self.split is not None


class Move(NamedTuple):
    """From one split to another."""

    was: Split
    now: Split
    posts: int


class Link(NamedTuple):
    square: Square
    was: str
    now: str


@dataclass(frozen=True)
class Picture:
    heat: HeatMap
    links: list[Link]


class Turned(NamedTuple):
    """A fact of the whole dataset, as it was and as it is."""

    name: str
    was: list[str]
    now: list[str]


@dataclass(frozen=True)
class Comparison:
    old: Dataset
    new: Dataset
    counts: list[Beside]

    def count(self, **of: object) -> int:
        found = (one for one in self.counts if all(getattr(one, name) == value for name, value in of.items()))
        return sum(one.posts for one in found)

    @cached_property
    def added(self) -> int:
        return self.count(was_split=None)

    @cached_property
    def removed(self) -> int:
        return self.count(split=None)

    @cached_property
    def kept(self) -> int:
        return self.count(in_both=True)

    @cached_property
    def added_by_split(self) -> list[tuple[str, int]]:
        return [(split, n) for split in Split.values if (n := self.count(was_split=None, split=split))]

    @cached_property
    def removed_by_split(self) -> list[tuple[str, int]]:
        return [(split, n) for split in Split.values if (n := self.count(was_split=split, split=None))]

    @cached_property
    def labels(self) -> Counter[tuple[str, str]]:
        """Of what is in both: from which label to which."""
        return self.crossed("was_label", "label")

    @cached_property
    def splits(self) -> Counter[tuple[str, str]]:
        return self.crossed("was_split", "split")

    def crossed(self, was: str, now: str) -> Counter[tuple[str, str]]:
        found: Counter[tuple[str, str]] = Counter()
        for one in self.counts:
            if one.in_both:
                found[getattr(one, was), getattr(one, now)] += one.posts
        return found

    @property
    def relabelled(self) -> int:
        return sum(posts for (was, now), posts in self.labels.items() if was != now)

    @property
    def moved(self) -> int:
        return sum(posts for (was, now), posts in self.splits.items() if was != now)

    @property
    def moves(self) -> list[Move]:
        return [
            Move(was, now, posts) for was in Split for now in Split if was != now and (posts := self.splits[was, now])
        ]

    @property
    def label_names(self) -> list[str]:
        """In the new one's order, then what only the old one knew."""
        return list(
            dict.fromkeys(label["name"] for facts in (self.new.facts, self.old.facts) for label in facts["labels"])
        )

    @cached_property
    def turned(self) -> list[Turned]:
        return list(turned(self.old, self.new))


def compare(old: Dataset, new: Dataset) -> Comparison:
    with connection.cursor() as cursor:
        cursor.execute(BESIDE, [old.pk, new.pk])
        return Comparison(old, new, [Beside(*row) for row in cursor.fetchall()])


def picture_of(found: Comparison, css: Mapping[str, str]) -> Picture:
    """From which label, down, to which, across."""
    names = found.label_names
    number = {name: n for n, name in enumerate(names)}
    counts: dict[tuple[Answer, Answer], int] = {
        (number[was], number[now]): posts for (was, now), posts in found.labels.items()
    }
    named: dict[Answer, tuple[str, str]] = {n: (name, css.get(name, "")) for name, n in number.items()}
    heat = heat_map(confusion(counts, list(number.values())), named)
    links = [Link(square, names[square.cell.one or 0], names[square.cell.other or 0]) for square in heat.squares]
    return Picture(heat, links)


def turned(old: Dataset, new: Dataset) -> Iterator[Turned]:
    """What differs of all that is true of the whole: only what is not the same in both is told."""
    was, now = facts_in_words(old), facts_in_words(new)
    for name, told in now.items():
        before = was[name]
        if told != before:
            yield Turned(name, [one for one in before if one not in told], [one for one in told if one not in before])


def facts_in_words(dataset: Dataset) -> dict[str, list[str]]:
    facts = dataset.facts
    return {
        "Recipe": in_words(Recipe.from_json(dataset.recipe)),
        "Question": [facts["question"]],
        "Labels": [label_in_words(label) for label in facts["labels"]],
        "Weights in training": [f"{name}: {weight:g}" for name, weight in sorted(facts["weights"].items())],
        "Guidelines": [facts["guidelines"] or "none"],
        "Voters": [voter["name"] for voter in facts["voters"]],
    }


def label_in_words(label: Mapping[str, Any]) -> str:
    return f"{label['name']}: {label['meaning']}" if label.get("meaning") else str(label["name"])
