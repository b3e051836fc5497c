"""Whether what the database holds is what people said: every rule a sentence, and where it is broken."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from datetime import timedelta
from typing import Any

from django.db.models import Count, Sum
from django.utils import timezone

from annotate import queue
from annotate.deciding import answer_of
from annotate.models import Disagreement, Post, Project, QueueTally, Review, Tally
from annotate.models.review import Instead, Why
from annotate.verdict import verdict
from tests.faults.journal import Journal


def broken(project: Project, journals: Iterable[Journal], lease: timedelta) -> list[str]:
    told = [line for journal in journals for line in journal.lines]
    return [
        *answers_kept(project, told),
        *answered_once(project),
        *settled_rightly(project),
        *leases_run_out(project, lease),
        *tallies_add_up(project),
    ]


def answers_kept(project: Project, told: list[dict[str, Any]]) -> Iterator[str]:
    stored = dict(Review.objects.filter(project=project).values_list("key", "disagreement"))
    asked = {line["ask"]: line for line in told if "ask" in line}
    kept = {line["kept"] for line in told if "kept" in line}
    refused = {line["refused"] for line in told if "refused" in line}
    for key in kept - stored.keys():
        yield f"{key} was acknowledged and is lost"
    for key in refused & stored.keys():
        yield f"{key} was refused and is stored"
    for key in asked.keys() - kept - refused:
        yield f"{key} was never answered"
    for key in kept & stored.keys():
        if stored[key] != asked[key]["pk"]:
            yield f"{key} is stored for another post"
    for key in stored.keys() - asked.keys():
        yield f"{key} was stored and nobody sent it"
    undone = set(Review.objects.filter(project=project, undone__isnull=False).values_list("pk", flat=True))
    for line in told:
        if "undone" in line and line.get("review", 0) not in undone | {0}:
            yield f"{line['review']} was taken back and still counts"


def answered_once(project: Project) -> Iterator[str]:
    live = Review.objects.filter(project=project, undone=None)
    twice = live.values("disagreement", "reviewer", "final").annotate(n=Count("pk")).filter(n__gt=1)
    for row in twice:
        yield f"{row['reviewer']} has answered {row['disagreement']} {row['n']} times"
    open_twice = Disagreement.objects.filter(project=project, closed=None).values("post").annotate(n=Count("pk"))
    for row in open_twice.filter(n__gt=1):
        yield f"post {row['post']} waits twice"


def settled_rightly(project: Project) -> Iterator[str]:
    live = defaultdict(list)
    for review in Review.objects.filter(project=project, undone=None).order_by("pk"):
        live[review.disagreement_id].append(review)
    for stored in Disagreement.objects.filter(project=project).select_related("post"):
        answers = [review for review in live[stored.pk] if review.instead != Instead.SKIP]
        if was_withdrawn(stored) and not answers:
            continue
        blind = [review for review in answers if not review.final]
        if len(blind) > stored.wanted:
            yield f"{stored.pk} wanted {stored.wanted} and has {len(blind)} answers"
        if stored.answers != len(answers):
            yield f"{stored.pk} counts {stored.answers} answers and has {len(answers)}"
        given = [answer_of(review) for review in answers]
        outcome = verdict(given, stored.wanted)
        if stored.closed and given and not outcome.stands and not queue.somebody_else(project, stored.passed):
            outcome = verdict(given, len(given))  # all others have passed it on, so the sweep took what there was
        if (stored.closed is not None) != outcome.stands:
            yield f"{stored.pk} is {'closed' if stored.closed else 'open'} with {answers}"
        yield from post_follows(stored, outcome.label, outcome.instead)


def was_withdrawn(stored: Disagreement) -> bool:
    """Nobody had answered when it was no question any more: a model's doubt, or the audit of a label taken back."""
    return stored.closed is not None and not (stored.answers or stored.label_id or stored.instead)


def post_follows(stored: Disagreement, label: int | None, instead: str) -> Iterator[str]:
    post = stored.post
    if stored.closed:
        expected = ("aside" if instead else "settled", label, "" if instead else "review")
        if (stored.label_id, stored.instead) != (label, instead):
            yield f"{stored.pk} says {stored.label_id or stored.instead}, its reviews say {label or instead}"
    elif stored.why == Why.AUDIT:
        expected = ("settled", post.label_id, post.label_source if post.label_source == "model" else "consensus")
    else:
        expected = ("contested", None, "")
    if (post.state, post.label_id, post.label_source) != expected:
        yield f"post {post.pk} is {post.state} {post.label_id} {post.label_source}, not {expected}"


def leases_run_out(project: Project, lease: timedelta) -> Iterator[str]:
    stored = Disagreement.objects.filter(project=project)
    for held in stored.filter(held_until__gt=timezone.now() + lease):
        yield f"{held.pk} is held until {held.held_until}"
    for held in stored.filter(closed__isnull=False, holder__isnull=False):
        yield f"{held.pk} is closed, and {held.holder_id} holds it"
    for held in stored.filter(holder__isnull=False, held_until=None):
        yield f"{held.pk} is held for ever"


def tallies_add_up(project: Project) -> Iterator[str]:
    told = Counter(dict(QueueTally.objects.filter(project=project).values_list("stream").annotate(Sum("posts"))))
    waiting = Disagreement.objects.filter(project=project, closed=None)
    counted = Counter(dict(waiting.values_list("stream").annotate(Count("pk")).order_by()))
    if +told != counted:
        yield f"the queue's tally says {told}, and there are {counted}"
    columns = ("state", "label_id", "label_source")
    tallies = Tally.objects.filter(project=project).values_list(*columns)
    told = Counter({row[:3]: row[3] for row in tallies.annotate(n=Sum("posts")).filter(n__gt=0)})
    posts = Post.objects.filter(project=project).values_list(*columns)
    counted = Counter({row[:3]: row[3] for row in posts.annotate(n=Count("pk")).order_by()})
    if told != counted:
        yield f"the tally says {told}, and there are {counted}"
