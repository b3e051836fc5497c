"""A composition as a page draws it: bars of labels, and figures of which each leads to its posts."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple
from urllib.parse import urlencode

from annotate.models import Project
from annotate.quality import VAGUE
from annotate.shares import Slice, split

from .card_text import SOURCE_NAMES, SPLIT_NAMES
from .composition import WANTED_INCONGRUOUS, Composition, Part, Wrong, thin
from .recipe import SOURCES, Recipe
from .splits import REASONS

SCALE = 0.5  # where the drawn share of incongruous posts ends


class Cell(NamedTuple):
    posts: int
    query: str  # of the dataset's posts


class Row(NamedTuple):
    name: str
    css: str
    query: str
    cells: list[Cell]  # a split each
    weight: float | None = None

    @property
    def posts(self) -> int:
        return sum(cell.posts for cell in self.cells)


class Bar(NamedTuple):
    """One split."""

    key: str
    title: str
    part: Part
    slices: list[Slice]


class Range(NamedTuple):
    """For the pieces of the quality pages."""

    rate: float
    low: float
    high: float

    @property
    def is_vague(self) -> bool:
        return self.high - self.low > 2 * VAGUE


@dataclass(frozen=True)
class Drawing:
    made: Composition
    recipe: Recipe
    labels: Mapping[str, str]  # in their order, with the class that colours each

    @cached_property
    def warnings(self) -> list[str]:
        return thin(self.made, self.recipe)

    @cached_property
    def bars(self) -> list[Bar]:
        return [
            Bar(
                key, SPLIT_NAMES[key], part, split(*((n, css, part.labels.get(n, 0)) for n, css in self.labels.items()))
            )
            for key, part in self.made.splits.items()
            if part.posts
        ]

    @property
    def by_label(self) -> list[Row]:
        weights = self.made.weights
        return [
            Row(
                name, css, urlencode({"label": name}),
                [Cell(bar.part.labels.get(name, 0), urlencode({"split": bar.key, "label": name})) for bar in self.bars],
                weights.get(name),
            )
            for name, css in self.labels.items()
        ]  # fmt: skip

    @property
    def by_source(self) -> list[Row]:
        rows = [
            Row(SOURCE_NAMES[source], "", urlencode({"source": source}), [
                Cell(bar.part.sources.get(source, 0), urlencode({"split": bar.key, "source": source}))
                for bar in self.bars
            ])
            for source in SOURCES
        ]  # fmt: skip
        return [row for row in rows if row.posts]

    @property
    def others(self) -> list[Row]:
        """What else is told of each split."""
        rows = [Row("With a picture", "", "picture=yes", [
            Cell(bar.part.pictures, urlencode({"split": bar.key, "picture": "yes"})) for bar in self.bars
        ])]  # fmt: skip
        if self.made.asks_incongruous:
            rows.append(Row("Incongruous", "", "incongruous=yes", [
                Cell(bar.part.incongruous, urlencode({"split": bar.key, "incongruous": "yes"})) for bar in self.bars
            ]))  # fmt: skip
        return rows

    @property
    def totals(self) -> list[Cell]:
        return [Cell(bar.part.posts, urlencode({"split": bar.key})) for bar in self.bars]

    @property
    def everything(self) -> int:
        return sum(bar.part.posts for bar in self.bars)

    @property
    def left_out(self) -> list[tuple[str, int]]:
        return [(REASONS[reason], posts) for reason, posts in self.made.left_out.items()]

    @property
    def wrong(self) -> Wrong | None:
        return self.made.wrong if self.made.wrong and self.made.wrong.machines else None

    @property
    def wrong_share(self) -> Range | None:
        if not (told := self.wrong):
            return None
        return Range(told.posts / told.machines, told.low / told.machines, told.high / told.machines)

    @property
    def machines_label_some(self) -> bool:
        return bool(self.made.sources.get("consensus") or self.made.sources.get("model"))

    # --- The share of incongruous posts, on a scale that ends at SCALE
    @property
    def incongruous_at(self) -> float:
        return min(1.0, (self.made.incongruous_share or 0) / SCALE) * 100

    @property
    def wanted_from(self) -> float:
        return WANTED_INCONGRUOUS[0] / SCALE * 100

    @property
    def wanted_to(self) -> float:
        return WANTED_INCONGRUOUS[1] / SCALE * 100


def draw(project: Project, made: Composition, recipe: Recipe, names: list[str]) -> Drawing:
    """A label that is gone from the project since has no colour of its own."""
    css = {label.name: f"label-{label.pk}" for label in project.labels.all()}
    return Drawing(made, recipe, {name: css.get(name, "label-gone") for name in names})
