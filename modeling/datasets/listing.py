"""Lists of what a frozen dataset holds: every filter comes from the address, and pages go by position."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from typing import Self

from django.db.models import Exists, OuterRef, Q, QuerySet, Subquery
from django.utils.http import urlencode

from modeling.models import Dataset, DatasetItem, Split

from .recipe import SOURCES

PAGE = 60
COUNT_UP_TO = 1000  # beyond this a page says "more than", because counting grows with the dataset
CHANGES = {
    "added": "are not in",
    "removed": "are no longer in",
    "relabelled": "had another label in",
    "moved": "stood in another split in",
}
CHOICES = [
    ("added", "not there"),
    ("removed", "there alone"),
    ("relabelled", "relabelled"),
    ("moved", "in another split"),
]
YES, NO = "yes", "no"


@dataclass(frozen=True, slots=True)
class Filters:
    """As written in the address; what cannot be understood is told, never an error page."""

    split: str = ""
    label: str = ""
    source: str = ""
    incongruous: str = ""
    picture: str = ""
    group: str = ""
    against: str = ""  # another dataset of the project
    change: str = ""  # what is otherwise there
    was: str = ""  # the label it had there
    was_split: str = ""

    @classmethod
    def from_query(cls, query: Mapping[str, str]) -> Self:
        return cls(**{f.name: query.get(f.name, "").replace("\0", "").strip()[:200] for f in fields(cls)})

    def as_dict(self) -> dict[str, str]:
        return {f.name: getattr(self, f.name) for f in fields(self) if getattr(self, f.name)}

    def query(self, **changes: str) -> str:
        return urlencode({name: value for name, value in (self.as_dict() | changes).items() if value})


@dataclass(frozen=True, slots=True)
class Match:
    items: QuerySet[DatasetItem]
    of: Dataset  # whose posts these are: of the other one, where they are no longer in this
    against: Dataset | None
    mend: list[str]

    def count(self) -> tuple[int, bool]:
        """And whether there are more than we cared to count."""
        found = len(self.items.order_by().values_list("pk", flat=True)[: COUNT_UP_TO + 1])
        return min(found, COUNT_UP_TO), found > COUNT_UP_TO


@dataclass(frozen=True, slots=True)
class Page:
    items: list[DatasetItem]
    before: int | None  # positions to walk from
    after: int | None
    first: bool
    last: bool


def matching(dataset: Dataset, filters: Filters) -> Match:
    mend: list[str] = []
    against = other_of(dataset, filters, mend)
    leaving = filters.change == "removed" and against is not None
    of = against if leaving and against is not None else dataset
    found = of.items.filter(
        one_of("split", filters.split, {split: Q(split=split) for split in Split.values}, mend),
        one_of("source", filters.source, {source: Q(label_source=source) for source in SOURCES}, mend),
        one_of("incongruous", filters.incongruous, {YES: Q(incongruous=True), NO: ~Q(incongruous=True)}, mend),
        one_of("picture", filters.picture, {YES: ~Q(image=""), NO: Q(image="")}, mend),
        grouped(filters.group, mend),
        removed__isnull=True,
    )
    if filters.label:
        found = found.filter(label=filters.label)
    if against is not None:
        other = dataset if leaving else against
        found = found.filter(CHANGED[filters.change or "relabelled"](other, filters))
        found = found.annotate(
            was_label=Subquery(there(other).values("label")[:1]), was_split=Subquery(there(other).values("split")[:1])
        )
    return Match(found.none() if mend else found, of, against, mend)


def other_of(dataset: Dataset, filters: Filters, mend: list[str]) -> Dataset | None:
    if filters.change and filters.change not in CHANGES:
        mend.append(f"“{filters.change}” is not a change; there are {', '.join(CHANGES)}.")
    if not filters.against:
        if filters.change or filters.was or filters.was_split:
            mend.append("Say which dataset to compare with.")
        return None
    other = Dataset.objects.frozen().filter(project=dataset.project_id, name=filters.against).first()
    if other is None:
        mend.append(f"There is no frozen dataset “{filters.against}”.")
    return None if mend else other


def one_of(name: str, chosen: str, known: Mapping[str, Q], mend: list[str]) -> Q:
    if chosen and chosen not in known:
        mend.append(f"“{chosen}” is not known as {name}; there are {', '.join(known)}.")
    return known.get(chosen, Q())


def grouped(group: str, mend: list[str]) -> Q:
    if not group:
        return Q()
    if not (group.isascii() and group.isdecimal() and len(group) < 10):
        mend.append(f"“{group}” is not the number of a group.")
        return Q()
    return Q(kin=int(group))


# --- Beside another dataset


def there(other: Dataset, **as_it_was: object) -> QuerySet[DatasetItem]:
    alike = DatasetItem.objects.filter(dataset=other, external_id=OuterRef("external_id"), removed__isnull=True)
    return alike.filter(**as_it_was)


def absent(other: Dataset, filters: Filters) -> Q:
    return Q(~Exists(there(other)))


def relabelled(other: Dataset, filters: Filters) -> Q:
    was = there(other, **({"label": filters.was} if filters.was else {}))
    return Q(Exists(was.exclude(label=OuterRef("label"))))


def moved(other: Dataset, filters: Filters) -> Q:
    was = there(other, **({"split": filters.was_split} if filters.was_split else {}))
    return Q(Exists(was.exclude(split=OuterRef("split"))))


CHANGED: dict[str, Callable[[Dataset, Filters], Q]] = {
    "added": absent, "removed": absent, "relabelled": relabelled, "moved": moved,
}  # fmt: skip


# --- A page of them


def page_of(found: QuerySet[DatasetItem], query: Mapping[str, str], size: int = PAGE) -> Page:
    """`after=POSITION` walks on, `before=POSITION` walks back, `end=1` starts from the far end."""
    after, before = position(query.get("after", "")), position(query.get("before", ""))
    backwards = before is not None or (after is None and bool(query.get("end")))
    if before is not None:
        found = found.filter(position__lt=before)
    elif after is not None:
        found = found.filter(position__gt=after)
    ordered = found.order_by("-position" if backwards else "position")
    items = list(whole(ordered)[: size + 1])
    more, items = len(items) > size, items[:size]
    if backwards:
        items.reverse()
    has_before = more if backwards else after is not None
    has_after = before is not None if backwards else more
    return Page(
        items,
        before=items[0].position if items and has_before else None,
        after=items[-1].position if items and has_after else None,
        first=not has_before,
        last=not has_after,
    )


def whole(found: QuerySet[DatasetItem]) -> QuerySet[DatasetItem]:
    """With the post as it is now; without what a list does not show."""
    shown = found.select_related("post__label")
    return shown.defer("votes", "reviews", "meta", "post__search", "post__meta", "post__text")


def position(written: str) -> int | None:
    return int(written) if written.isascii() and written.isdecimal() and len(written) < 10 else None
