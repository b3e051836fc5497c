"""Labels that a model doubts go back to people, whoever gave them. Nobody who answers is told.

One that machines gave is looked at like any other risky one. One that people gave, or that came with an import, takes
two people who agree, blind to each other, and a lead where they differ: one model's doubt and one person's opinion are
not enough to overturn it. That holds for the locked test set too, whose posts stay in it whatever people say.
"""

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from django.db import transaction
from django.db.models import Exists, OuterRef, Q
from django.db.models.functions import Now
from django.utils import timezone

from . import queue
from .models import Disagreement, Event, Post, Project, Review, State, User
from .models.review import Instead, Stream, Why
from .settling import BY_PEOPLE, lot

TWO = 2


class Labelled(NamedTuple):
    post: int
    by_people: bool


def doubt(project: Project, by: User | None, posts: Mapping[int, float]) -> int:
    """`posts`: each one's chance that its label is wrong; the likeliest are asked about first. Returns how many wait
    now: what has no label, waits already or is on somebody's screen is left out."""
    with transaction.atomic():
        found = settled_among(project, posts)
        queue.waiting_checks([one.post for one in found]).update(closed=timezone.now())
        eyes, before = set(queue.eyes(project).values_list("user", flat=True)), labelled_before(found)
        if by:
            before = {one.post: before.get(one.post, set()) | {by.pk} for one in found}
        Disagreement.objects.bulk_create(
            [disagreement(project, one, posts[one.post], eyes, before.get(one.post, set())) for one in found],
            ignore_conflicts=True,
        )
        opened = Disagreement.objects.filter(post__in=[one.post for one in found], why=Why.DOUBT, closed=None).count()
        if opened:
            Event.record("labels doubted", user=by, project=project, posts=opened)
    return opened


def settled_among(project: Project, posts: Iterable[int]) -> list[Labelled]:
    """Locked until we are done, in the order in which settling locks them."""
    held = Q(held_until__gt=Now())
    taken = Disagreement.objects.filter(~Q(why=Why.CHECK) | held, post=OuterRef("pk"), closed=None)
    labelled = Post.objects.filter(~Exists(taken), project=project, pk__in=list(posts), state=State.SETTLED)
    rows = labelled.select_for_update(no_key=True).order_by("pk").values_list("pk", "label_source")
    return [Labelled(post, source in BY_PEOPLE) for post, source in rows]


def labelled_before(found: Iterable[Labelled]) -> dict[int, set[int]]:
    """Whoever gave a label meets it again only because it is doubted, and would know."""
    said = Review.objects.filter(disagreement__post__in=[one.post for one in found], undone=None)
    before: dict[int, set[int]] = {}
    for post, reviewer in said.exclude(instead=Instead.SKIP).values_list("disagreement__post", "reviewer"):
        before.setdefault(post, set()).add(reviewer)
    return before


def disagreement(project: Project, one: Labelled, chance: float, eyes: set[int], knowing: set[int]) -> Disagreement:
    """Who knows of the doubt is not asked, where there are enough others."""
    wanted = TWO if one.by_people else 1 + (lot("twice", project.pk, one.post) < project.double_rate)
    return Disagreement(
        project=project, post_id=one.post, why=Why.DOUBT, stream=Stream.RISK, rank=1 - chance, wanted=wanted,
        passed=sorted(knowing) if len(eyes - knowing) >= wanted else [],
    )  # fmt: skip
