"""Two evaluations side by side, and the posts of which they say different things."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple
from urllib.parse import urlencode

from django.db.models import F, OuterRef, Q, QuerySet, Subquery

from annotate.models import Project
from modeling.measures import comparison
from modeling.measures.comparison import Difference
from modeling.models import DatasetItem, Evaluation, On, Prediction

from .beside import held_against
from .drawing import Axis, Mark
from .leaderboard import with_figures
from .posts import colours_of

PAGE = 60
WHICH = {
    "": "all on which they differ", "first": "the first alone is right", "second": "the second alone is right",
    "neither": "both are wrong",
}  # fmt: skip


@dataclass(frozen=True)
class Pair:
    first: Any  # evaluations, with their figures
    second: Any

    @property
    def is_same_test_set(self) -> bool:
        return bool(self.first.test_hash == self.second.test_hash)

    @cached_property
    def axis(self) -> Axis:
        return Axis.around([self.first.macro_f1, self.second.macro_f1])

    @property
    def marks(self) -> list[tuple[Any, Mark]]:
        return [(one, self.axis.mark(one.macro_f1)) for one in (self.first, self.second)]

    @cached_property
    def told(self) -> Difference | None:
        """Counted when the later of them was measured; nothing is where one was asked again since."""
        if not self.is_same_test_set:
            return None
        return held_against(self.first, [self.second.pk]).get(self.second.pk)

    @property
    def query(self) -> str:
        return urlencode({"first": self.first.pk, "second": self.second.pk})

    @property
    def words(self) -> str:
        """With both names, because neither is plain from the page."""
        return comparison.words(self.told, self.first.name, self.second.name) if self.told else ""


def choices(project: Project) -> list[Any]:
    """The latest of each, on every test set; those of one beside each other."""
    latest = project.evaluations.latest_of_each().exclude(split=On.FOLD).values("pk")
    found = with_figures(Evaluation.objects.filter(pk__in=latest))
    return list(found.order_by("-dataset_id", "split", "-pk")[:200])


def known(project: Project, listed: list[Any], named: list[int]) -> dict[int, Any]:
    """One that was asked again since stands in no list, but an address may still name it."""
    found = {one.pk: one for one in listed}
    if unlisted := [pk for pk in named if pk not in found]:
        found |= {one.pk: one for one in with_figures(project.evaluations.done().filter(pk__in=unlisted))}
    return found


def chosen(listed: list[Any], known: Mapping[int, Any], first: int | None, second: int | None) -> Pair | None:
    """What is not named: the latest, and the one after it on the same test set."""
    one = known.get(first or 0) or (listed[0] if listed else None)
    if one is None:
        return None
    other = known.get(second or 0) or next(
        (rival for rival in listed if rival.pk != one.pk and rival.test_hash == one.test_hash), None
    )
    return Pair(one, other) if other else None


# --- The posts


class Differs(NamedTuple):
    item: DatasetItem
    truth: tuple[str, str]  # each with its colour
    first: tuple[str, str]
    second: tuple[str, str]

    @property
    def both(self) -> list[tuple[str, str]]:
        return [self.first, self.second]


class Page(NamedTuple):
    posts: list[Differs]
    after: int | None
    is_first: bool


def differing(pair: Pair, which: str) -> QuerySet[Prediction]:
    """The first's, beside what the second said of the same post, which may stand in another version of the dataset."""
    there = Prediction.objects.filter(evaluation=pair.second.pk, to_calibrate=False, item__removed=None)
    if pair.first.dataset_id == pair.second.dataset_id:
        same = there.filter(item=OuterRef("item"))
    else:
        same = there.filter(item__dataset=pair.second.dataset_id, item__external_id=OuterRef("item__external_id"))
    found = Prediction.objects.filter(evaluation=pair.first.pk, to_calibrate=False, item__removed=None)
    first, second = Q(label=F("item__label")), Q(other=F("item__label"))
    wanted = {"first": first & ~second, "second": second & ~first, "neither": ~first & ~second}.get(which, Q())
    return found.annotate(other=Subquery(same.values("label")[:1])).filter(
        ~Q(other=F("label")), wanted, other__isnull=False
    )


def page_of(pair: Pair, which: str, after: int | None, size: int = PAGE) -> Page:
    found = differing(pair, which).filter(*([Q(item__position__gt=after)] if after is not None else []))
    shown: list[Any] = list(
        found.order_by("item__position")
        .select_related("item")
        .defer("item__votes", "item__reviews", "item__meta")[: size + 1]
    )
    colours = colours_of(pair.first.project)

    def chip(name: str) -> tuple[str, str]:
        return name, colours.get(name, "label-gone")

    posts = [Differs(one.item, chip(one.item.label), chip(one.label), chip(one.other)) for one in shown[:size]]
    return Page(posts, posts[-1].item.position if len(shown) > size else None, after is None)
