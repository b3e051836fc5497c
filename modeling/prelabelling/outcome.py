"""What became of what a pre-labelling did: its labels, its doubts, and the labels that it would give otherwise."""

from collections.abc import Collection
from dataclasses import dataclass
from typing import NamedTuple

from django.db.models import Count, Exists, F, OuterRef, Q
from django.utils.http import urlencode

from annotate import doubting
from annotate.audit import Estimate
from annotate.models import Disagreement, Label, LabelSource, Post, State, User, Vote
from annotate.models.review import Why
from modeling.models import PreLabelling

from . import audited, candidates
from .audited import Audits

PAGE = 48


# --- Its labels


class OfLabel(NamedTuple):
    label: Label
    settled: int
    stands: int  # its label to this day, from it
    query: str  # of these, in the list of posts
    held_back: int
    estimate: Estimate | None


class Doubts(NamedTuple):
    sent: int
    waiting: int
    answered: int


@dataclass(frozen=True)
class Outcome:
    labels: list[OfLabel]
    doubts: Doubts
    audits: Audits

    @property
    def settled(self) -> int:
        return sum(one.settled for one in self.labels)

    @property
    def stands(self) -> int:
        return sum(one.stands for one in self.labels)


def read(prelabelling: PreLabelling) -> Outcome:
    audits = audited.read(prelabelling)
    return Outcome(by_label(prelabelling, audits), doubts(prelabelling), audits)


def by_label(prelabelling: PreLabelling, audits: Audits) -> list[OfLabel]:
    stands = Q(taken_back=False, post__label_source=LabelSource.MODEL, post__label=F("label"))
    given = prelabelling.labels.filter(label__isnull=False).order_by().values_list("label")
    counts = {
        label: (settled, standing)
        for label, settled, standing in given.annotate(n=Count("pk"), standing=Count("pk", filter=stands))
    }
    held = prelabelling.result.get("held_back", {})
    return [
        OfLabel(
            label, *counts.get(label.pk, (0, 0)), query_of(prelabelling, label), held.get(label.name, 0),
            audits.by_label.get(label.pk),
        )
        for label in prelabelling.project.labels.all() if label.pk in counts or label.name in held
    ]  # fmt: skip


def query_of(prelabelling: PreLabelling, label: Label) -> str:
    return urlencode({"source": LabelSource.MODEL.value, "label": label.name, "voter": prelabelling.voter.name})


def doubts(prelabelling: PreLabelling) -> Doubts:
    """Post by post: voters may have contested one since, and then it waits for that reason as well."""
    since = Disagreement.objects.filter(post=OuterRef("post"), opened__gte=prelabelling.created)
    told = prelabelling.labels.filter(label=None).aggregate(
        sent=Count("pk"),
        waiting=Count("pk", filter=Exists(since.filter(closed=None))),
        answered=Count("pk", filter=Exists(since.filter(closed__isnull=False).exclude(was_state=""))),
    )
    return Doubts(**told)


# --- Labels that it would give otherwise


class Conflict(NamedTuple):
    post: Post
    said: Label
    stands: Label
    chance: float
    is_sent: bool

    @property
    def share(self) -> str:
        return f"{self.chance:.1%}"


class Page(NamedTuple):
    conflicts: list[Conflict]
    after: str  # where the next page begins, "" where this is the last
    is_first: bool


def conflicts(prelabelling: PreLabelling, after: str) -> Page:
    """The surest first."""
    key = key_in(after)
    rows = candidates.conflicts(prelabelling, PAGE + 1, key or candidates.ABOVE_ALL)
    more, rows = len(rows) > PAGE, rows[:PAGE]
    numbers = [row.post for row in rows]
    posts = Post.objects.select_related("image").defer("search", "meta").in_bulk(numbers)
    labels = {label.pk: label for label in prelabelling.project.labels.all()}
    sent = sent_among(numbers)
    shown = [
        Conflict(posts[row.post], labels[row.said], labels[row.stands], row.chance, row.post in sent)
        for row in rows if row.post in posts
    ]  # fmt: skip
    return Page(shown, f"{rows[-1].chance!r}_{rows[-1].post}" if more else "", is_first=key is None)


def key_in(written: str) -> tuple[float, int] | None:
    chance, _, post = written.partition("_")
    try:
        return (float(chance), -int(post)) if post.isascii() and len(post) < 19 else None
    except ValueError:
        return None


def sent_among(posts: Collection[int]) -> set[int]:
    waiting = Disagreement.objects.filter(post__in=posts, why=Why.DOUBT, closed=None)
    return set(waiting.values_list("post_id", flat=True))


def doubt(prelabelling: PreLabelling, by: User | None, posts: Collection[int]) -> int:
    """Of these, the labels that it contradicts as surely as its threshold asks; never one of the locked test set."""
    about = candidates.asked(prelabelling).filter(pk__in=posts, state=State.SETTLED).values("pk")
    said = Vote.objects.filter(
        voter=prelabelling.voter_id, post__in=about, label__isnull=False, confidence__gte=prelabelling.threshold
    )
    found = said.exclude(label=F("post__label")).values_list("post_id", "confidence")
    return doubting.doubt(prelabelling.project, by, {post: float(chance or 0) for post, chance in found})
