"""Lists of what people decided, for leads: each figure on the quality pages opens the posts behind it.

Only what people are done with: a blind audit that is still open is shown to nobody.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Self

from django.db.models import Exists, F, OuterRef, Prefetch, Q, QuerySet
from django.utils.http import urlencode

from .browse import Count, label_id
from .models import Disagreement, Project, Review, Vote
from .models.review import Instead, Stream, Why
from .quality import MACHINES, TIERS
from .settling import BY_PEOPLE

PAGE = 60
COUNT_UP_TO = 10_000  # where each has to be looked up; beyond this a page says "more than"
ABSTAINED = "abstained"

WHY: dict[str, list[Why]] = {
    "audit": [Why.AUDIT],
    "risk": [Why.RISK],
    "doubt": [Why.DOUBT],
    "model": [Why.MODEL],
    "contested": list(TIERS),
    "sampled": [Why.AUDIT, *TIERS],
}
OUTCOMES = {
    "right": Q(label=F("was_label"), was_source__in=MACHINES),
    "wrong": Q(label__isnull=False, was_source__in=MACHINES) & ~Q(label=F("was_label")),
    "aside": Q(label=None),
    "new": Q(label__isnull=False, was_source=""),
    "kept": Q(label=F("was_label"), was_source__in=BY_PEOPLE),
    "changed": Q(label__isnull=False, was_source__in=BY_PEOPLE) & ~Q(label=F("was_label")),
    "labelled": Q(label__isnull=False),
}
EYES = {
    "one": Q(answers=1) & ~Q(stream=Stream.CONFLICT),
    "two": Q(answers__gt=1) & ~Q(stream=Stream.CONFLICT),
    "lead": Q(stream=Stream.CONFLICT),
}
# What the page offers, by filter: value and words.
CHOICES = {
    "why": [("audit", "Blind audit"), ("risk", "For its risk"), ("doubt", "A model doubts it"),
            ("model", "A tuned model was unsure"), ("contested", "Contested"), ("sampled", "Audit or contested")],
    "verdict": [("wrong", "Machines were wrong"), ("right", "Machines were right"), ("new", "First label"),
                ("changed", "People’s label changed"), ("kept", "People’s label kept"), ("labelled", "Any label"),
                ("aside", "Set aside")],
    "eyes": [("one", "One person"), ("two", "Two who agree"), ("lead", "A lead")],
    "saw": [("yes", "Votes seen before"), ("no", "Blind")],
    "source": [(source.value, source.label) for source in MACHINES],
}  # fmt: skip
ANSWERS = Review.objects.filter(disagreement=OuterRef("pk"), undone=None).exclude(instead=Instead.SKIP)


@dataclass(frozen=True, slots=True)
class Filters:
    """As written in the address; what cannot be understood is told, never an error page."""

    why: str = ""
    verdict: str = ""
    was: str = ""  # what machines had said
    label: str = ""  # what people say
    source: str = ""
    eyes: str = ""
    saw: str = ""
    who: str = ""
    voter: str = ""
    said: str = ""  # what that voter said
    targeting: str = ""

    @classmethod
    def from_query(cls, query: Mapping[str, str]) -> Self:
        return cls(**{f.name: query.get(f.name, "").replace("\0", "").strip()[:200] for f in fields(cls)})

    def as_dict(self) -> dict[str, str]:
        return {f.name: getattr(self, f.name) for f in fields(self) if getattr(self, f.name)}

    @property
    def more(self) -> bool:
        """Whether any of those is in force that are not always in sight."""
        return bool(self.eyes or self.saw or self.source or self.who or self.voter)

    @property
    def looks_each_up(self) -> bool:
        """Among votes or answers; the others are known from the decision itself."""
        return bool(self.saw or self.who or self.voter)

    def query(self, **changes: str) -> str:
        return urlencode({name: value for name, value in (self.as_dict() | changes).items() if value})


@dataclass(frozen=True, slots=True)
class Page:
    decided: Iterable[Disagreement]
    after: str  # where the next page begins, "" where this is the last
    first: bool


def matching(project: Project, filters: Filters) -> tuple[QuerySet[Disagreement], list[str]]:
    """What was asked for, and what in the question could not be understood, in sentences."""
    mend: list[str] = []
    found = Disagreement.objects.filter(project=project, closed__isnull=False).exclude(was_state="")
    found = found.filter(
        one_of(filters.why, {name: Q(why__in=whys) for name, whys in WHY.items()}, mend),
        one_of(filters.verdict, OUTCOMES, mend),
        one_of(filters.eyes, EYES, mend),
        one_of(filters.source, {source.value: Q(was_source=source) for source in MACHINES}, mend),
        one_of(filters.saw, {"yes": seen(), "no": ~seen()}, mend),
        labelled(project, "was_label", filters.was, mend),
        labelled(project, "label", filters.label, mend),
        decided_by(filters.who),
        voted(project, filters, mend),
        asked_in(filters.targeting),
    )
    return (found.none() if mend else found), mend


def one_of(chosen: str, known: Mapping[str, Q], mend: list[str]) -> Q:
    if chosen and chosen not in known:
        mend.append(f"“{chosen}” is not known here; there are {', '.join(known)}.")
    return known.get(chosen, Q())


def seen() -> Q:
    return Q(Exists(ANSWERS.filter(saw__len__gt=0)))


def labelled(project: Project, field: str, name: str, mend: list[str]) -> Q:
    if not name:
        return Q()
    pk = label_id(project, name)
    if pk is None:
        mend.append(f"“{name}” is not a label of this project.")
    return Q(**{field: pk})


def decided_by(username: str) -> Q:
    return Q(Exists(ANSWERS.filter(reviewer__username=username))) if username else Q()


def voted(project: Project, filters: Filters, mend: list[str]) -> Q:
    if not filters.voter:
        return Q()
    voter = project.voters.filter(name=filters.voter).first()
    if voter is None:
        mend.append(f"No voter is called “{filters.voter}”.")
        return Q()
    votes = Vote.objects.filter(post=OuterRef("post"), voter=voter)
    if filters.said == ABSTAINED:
        votes = votes.filter(label=None)
    elif filters.said:
        votes = votes.filter(labelled(project, "label", filters.said, mend))
    return Q(Exists(votes))


def asked_in(targeting: str) -> Q:
    return Q(targeting=int(targeting)) if targeting.isdecimal() and len(targeting) < 19 else Q()


def count_of(found: QuerySet[Disagreement], filters: Filters) -> Count:
    if not filters.looks_each_up:
        return Count(found.count())
    number = found.order_by()[: COUNT_UP_TO + 1].count()
    return Count(min(number, COUNT_UP_TO), more=number > COUNT_UP_TO)


def page_of(found: QuerySet[Disagreement], query: Mapping[str, str], size: int = PAGE) -> Page:
    """The latest first. `after` is the last of the page before; were it taken back since, we begin anew."""
    key = query.get("after", "")
    last = None
    if key.isdecimal() and len(key) < 19:
        last = Disagreement.objects.filter(pk=int(key), closed__isnull=False).values_list("closed", "pk").first()
    if last:
        found = found.filter(Q(closed__lt=last[0]) | Q(closed=last[0], pk__lt=last[1]))
    # The numbers alone first: sorting whole posts would take seconds where there are many.
    pks = list(found.order_by("-closed", "-pk").values_list("pk", flat=True)[: size + 1])
    after = str(pks[size - 1]) if len(pks) > size else ""
    return Page(whole(pks[:size]), after, first=last is None)


def whole(pks: Sequence[int]) -> Iterable[Disagreement]:
    reviews = Review.objects.filter(undone=None).exclude(instead=Instead.SKIP).select_related("reviewer", "label")
    return (
        Disagreement.objects.filter(pk__in=pks)
        .select_related("post__image", "label", "was_label")
        .defer("post__search", "post__meta")
        .prefetch_related(Prefetch("reviews", reviews.order_by("pk"), to_attr="answered"))
        .order_by("-closed", "-pk")
    )
