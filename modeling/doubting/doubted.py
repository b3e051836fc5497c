"""What became of the labels that a model doubted: lists of them, what people found, and the way to people."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, NamedTuple, Self

from django.db.models import Case, CharField, Count, Exists, F, OuterRef, Q, QuerySet, Subquery, Value, When
from django.utils.http import urlencode

from annotate import doubting
from annotate.agreement import Share
from annotate.models import Disagreement, State, User
from annotate.models.review import BROUGHT_ALONG, Why
from modeling.datasets.renamed import was_called
from modeling.models import DoubtSearch

PAGE = 60
Told = QuerySet[Any]  # doubts, each with what became of it
# What a doubt comes to. `open` may still be sent; `moot` may not, because the label is another by now, or none.
FATES = {
    "open": "not sent",
    "waiting": "waits for people",
    "wrong": "label was wrong",
    "right": "label was right",
    "aside": "set aside",
    "moot": "changed since",
}
ASKED = Disagreement.objects.filter(~BROUGHT_ALONG, post=OuterRef("item__post"), why=Why.DOUBT).order_by("-pk")


def told(search: DoubtSearch) -> Told:
    """Each with its fate, and with what people say where they have looked at it. Post by post, whoever doubted it."""
    was = was_called(search.dataset)
    same = Q(item__post__label__name=F("item__label"))
    for now, before in was.items():
        same |= Q(item__post__label__name=now, item__label=before)
    stands = Q(item__post__state=State.SETTLED) & same
    fate = Case(
        When(~Exists(ASKED) & stands, then=Value("open")),
        When(~Exists(ASKED), then=Value("moot")),
        When(Exists(ASKED.filter(closed=None)), then=Value("waiting")),
        When(said=None, then=Value("aside")),
        When(said=F("item__label"), then=Value("right")),
        default=Value("wrong"),
        output_field=CharField(),
    )
    return search.doubts.filter(item__removed=None).annotate(said=said(was)).annotate(fate=fate)


def said(was: Mapping[str, str]) -> Subquery:
    """By the name that the dataset knows the label by."""
    known = Case(*(When(label__name=now, then=Value(before)) for now, before in was.items()), default=F("label__name"))
    return Subquery(ASKED.filter(closed__isnull=False).annotate(known=known).values("known")[:1])


# --- A list of them


@dataclass(frozen=True, slots=True)
class Filters:
    """As written in the address."""

    given: str = ""
    suggested: str = ""
    fate: str = ""

    @classmethod
    def from_query(cls, query: Mapping[str, str]) -> Self:
        return cls(**{f.name: query.get(f.name, "").replace("\0", "").strip()[:200] for f in fields(cls)})

    def as_dict(self) -> dict[str, str]:
        return {f.name: getattr(self, f.name) for f in fields(self) if getattr(self, f.name)}

    @property
    def query(self) -> str:
        return urlencode(self.as_dict())


def matching(search: DoubtSearch, filters: Filters) -> Told:
    columns = {"given": "item__label", "suggested": "suggested", "fate": "fate"}
    return told(search).filter(**{columns[name]: value for name, value in filters.as_dict().items()})


class Page(NamedTuple):
    doubts: Sequence[Any]
    before: int | None  # ranks to walk from
    after: int | None


def page_of(found: Told, query: Mapping[str, str], size: int = PAGE) -> Page:
    """`after=RANK` walks on, `before=RANK` walks back."""
    after, before = rank(query.get("after", "")), rank(query.get("before", ""))
    shown = found.select_related("item", "item__post__label")
    shown = shown.defer("item__votes", "item__reviews", "item__meta", "item__post__search", "item__post__meta")
    if before is not None:
        last = list(shown.filter(rank__lt=before).order_by("-rank")[: size + 1])
        doubts = last[:size][::-1]
        return Page(doubts, doubts[0].rank if len(last) > size else None, doubts[-1].rank if doubts else None)
    first = list(shown.filter(rank__gt=after or 0).order_by("rank")[: size + 1])
    doubts = first[:size]
    more = doubts[-1].rank if len(first) > size else None
    return Page(doubts, doubts[0].rank if doubts and after else None, more)


def rank(written: str) -> int | None:
    return int(written) if written.isascii() and written.isdecimal() and len(written) < 10 else None


def labels_in(search: DoubtSearch) -> tuple[list[str], list[str]]:
    """Those that are doubted, and those that are suggested."""
    given = search.doubts.order_by("item__label").values_list("item__label", flat=True).distinct()
    suggested = search.doubts.order_by("suggested").values_list("suggested", flat=True).distinct()
    return list(given), list(suggested)


# --- What people found


@dataclass(frozen=True)
class Found:
    counts: Mapping[str, int]  # by fate

    @property
    def all(self) -> int:
        return sum(self.counts.values())

    @property
    def open(self) -> int:
        return self.counts.get("open", 0)

    @property
    def waiting(self) -> int:
        return self.counts.get("waiting", 0)

    @property
    def decided(self) -> int:
        return sum(self.counts.get(fate, 0) for fate in ("wrong", "right", "aside"))

    @property
    def sent(self) -> int:
        return self.waiting + self.decided

    @property
    def wrong(self) -> Share:
        """Of those that people gave a label again."""
        wrong = self.counts.get("wrong", 0)
        return Share(wrong, wrong + self.counts.get("right", 0))


def found_by(search: DoubtSearch) -> Found:
    return Found(dict(told(search).order_by().values_list("fate").annotate(n=Count("pk"))))


# --- To people


def send(search: DoubtSearch, by: User | None, chosen: Told, first: int | None = None) -> int:
    """Of those chosen what may still be sent, or the first of these. Returns how many wait for people now."""
    sendable = chosen.filter(fate="open").order_by("rank").values_list("item__post", "chance")
    return doubting.doubt(search.dataset.project, by, dict(sendable if first is None else sendable[:first]))
