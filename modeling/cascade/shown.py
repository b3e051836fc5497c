"""What the pages of cascades show: all of it was reckoned and stored."""

from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

from annotate.models import Project
from modeling.measures.cascade import Fit, Point
from modeling.models import Cascade, CascadeState, Evaluation, On

from . import cascades, choosing, stages
from .stages import Lack

A_PAGE = 50
NONE = "–"
TITLES = {"never": "The first stage alone", "chosen": "This point", "always": "Always asking"}


class Row(NamedTuple):
    point: Point
    title: str = ""
    is_best: bool = False
    is_chosen: bool = False
    is_shown: bool = False

    @property
    def words(self) -> str:
        return cascades.in_words(self.point.threshold)

    @property
    def at(self) -> str:
        """As addresses and forms have it."""
        return f"{self.point.threshold:g}"

    @property
    def cells(self) -> list[tuple[str, float | None, str, str]]:
        """Name, value, how it is written, and its interval."""
        point = self.point
        return [
            ("accuracy", point.accuracy.value, share(point.accuracy.value), between(point)),
            ("balanced", point.balanced_accuracy, share(point.balanced_accuracy), ""),
            ("f1", point.macro_f1, share(point.macro_f1), ""),
            ("minority", point.minority_recall, share(point.minority_recall), ""),
            ("saved", point.saved, f"{point.saved:.1%}", ""),
            ("seconds", point.seconds, seconds(point.seconds), ""),
        ]

    @property
    def by_name(self) -> dict[str, dict[str, str]]:
        return {name: {"words": words, "interval": interval} for name, _, words, interval in self.cells}

    @property
    def behind(self) -> str:
        """Against always asking, in points of accuracy."""
        told = self.point.behind
        if self.point.asked == self.point.posts:
            return "Every post is asked about."
        if not round(100 * told.value, 1):
            words = "As accurate as always asking"
        else:
            words = (
                f"{abs(100 * told.value):.1f} points {'more' if told.value > 0 else 'less'} accurate than always asking"
            )
        if told.low is None or told.high is None:
            return f"{words}."
        return f"{words} (95%: {signed(told.low)} to {signed(told.high)})."


def share(value: float | None) -> str:
    return NONE if value is None else f"{value:.3f}"


def between(point: Point) -> str:
    told = point.accuracy
    return "" if told.low is None else f"{told.low:.3f} to {told.high:.3f}"


def seconds(value: float | None) -> str:
    if value is None:
        return NONE
    return f"{1000 * value:,.0f} ms" if value < 1 else f"{value:,.1f} s"


def signed(value: float) -> str:
    return f"{100 * value:+.1f}".replace("-", "−")


class Elsewhere(NamedTuple):
    """Of posts that nothing was fitted on."""

    split: str
    words: str
    rows: list[Row]
    posts: int
    of: int
    evaluation: Evaluation | None  # in which it stands on the leaderboard, where it was asked


@dataclass(frozen=True)
class Page:
    made: Cascade
    asked: str = ""  # the threshold in the address

    @cached_property
    def points(self) -> list[Point]:
        return cascades.curve_of(self.made)

    @cached_property
    def shown(self) -> Point | None:
        """That of the address, or the one that is used, or the cheapest that is as good as always asking."""
        if not self.points:
            return None
        used = self.made.told["best"] if self.made.threshold is None else self.made.threshold
        return cascades.nearest(self.points, used if self.wanted is None else self.wanted)

    @property
    def wanted(self) -> float | None:
        try:
            found = float(self.asked.strip().replace(",", "."))
        except ValueError:
            return None
        return found if 0 <= found <= 2 else None

    @property
    def is_misread(self) -> bool:
        return bool(self.asked.strip()) and self.wanted is None

    @cached_property
    def rows(self) -> list[Row]:
        return [self.row(point) for point in self.points]

    def row(self, point: Point) -> Row:
        told = self.made.told
        used = self.made.threshold
        return Row(point, "", point.threshold == told["best"], point.threshold == used, point is self.shown)

    @property
    def at(self) -> Row | None:
        return self.row(self.shown) if self.shown else None

    @property
    def best(self) -> Row | None:
        return next((row for row in self.rows if row.is_best), None)

    @property
    def fit(self) -> Fit | None:
        told = self.made.told.get("fit")
        return told and Fit(**{name: value for name, value in told.items() if name != "in_reach"})

    @property
    def margin(self) -> str:
        return f"{100 * self.made.told['margin']:g} points"

    @property
    def first_weight(self) -> float:
        return 1 - (self.made.weight or 0)

    @property
    def has_seconds(self) -> bool:
        return bool(self.points) and self.points[0].seconds is not None

    @cached_property
    def lacks(self) -> list[Lack]:
        return cascades.lacks(self.made)

    @property
    def is_live(self) -> bool:
        return not self.made.is_over

    @property
    def is_lacking(self) -> bool:
        return self.made.state == CascadeState.LACKING

    @property
    def used_in_words(self) -> str:
        return "" if self.made.threshold is None else cascades.in_words(self.made.threshold)

    @cached_property
    def elsewhere(self) -> list[Elsewhere]:
        found = []
        for split, told in self.made.told.get("elsewhere", {}).items():
            if told["chosen"]["threshold"] != self.made.threshold:
                continue  # another point was chosen since, and is being measured
            rows = [Row(Point.from_json(told[name]), title) for name, title in TITLES.items()]
            posts = rows[0].point.posts
            found.append(Elsewhere(split, stages.named(split), rows, posts, told["of"], self.evaluated(split)))
        return sorted(found, key=lambda one: one.split != On.HOLDOUT)

    def evaluated(self, split: str) -> Evaluation | None:
        """The latest in which it stood so, not one from before another point was chosen."""
        there = self.made.dataset.evaluations.done().filter(split=split, predictor__kind="cascade")
        since = there.filter(predictor__cascade=self.made.pk, created__gte=self.made.chosen)
        return since.select_related("project").defer("measured", "used").order_by("-pk").first()


class Listed(NamedTuple):
    made: Cascade
    row: Row | None  # at the point that is used

    @property
    def words(self) -> str:
        return "" if self.made.threshold is None else cascades.in_words(self.made.threshold)


def listed(found: list[Cascade]) -> list[Listed]:
    pages = [Page(one) for one in found]
    return [Listed(page.made, page.at if page.made.threshold is not None else None) for page in pages]


def comes_first(project: Project) -> tuple[str, str, str] | None:
    """What has to be there before a cascade: a heading, why, and the page where it is made. None: all is there."""
    if not choosing.datasets(project):
        return ("A frozen dataset comes first", "Weight and threshold are fitted on the validation split of a frozen "
                "dataset, and what they are worth is measured on its test split.", "datasets")  # fmt: skip
    if not choosing.firsts(project):
        return ("A first stage comes first", "That is a classifier trained here, or votes that say how likely labels "
                "are: import a file with its probabilities, perhaps of the likeliest five alone.", "runs")  # fmt: skip
    if not choosing.seconds(project):
        return ("A run comes first", "The second stage is a run that is done, and was evaluated on the same posts as "
                "the first.", "runs")  # fmt: skip
    return None
