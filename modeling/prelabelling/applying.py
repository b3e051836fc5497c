"""Settle what the model is sure of, send its doubts to people, and take all of it back. Each step may be cut off
anywhere and done again: what was done to a post stands on record, and is not done twice."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from itertools import islice

from django.db import transaction
from django.db.models import Count, Max

from annotate import model_labels, settling
from annotate.models import Disagreement
from modeling import words
from modeling.models import PreLabel, PreLabelling

from . import audited, candidates, thresholds
from .candidates import Doubt

WINDOW = 1000
Beat = Callable[[], None]


# --- Settled


def apply(prelabelling: PreLabelling, beat: Beat, hold: Beat) -> None:
    """How many of each label is reckoned once, so that a worker which takes it up settles no more. `hold` keeps the row
    for as long as a transaction lasts, and raises where somebody wants something else of it by now."""
    if "allowed" not in prelabelling.result:
        meaning = candidates.count(prelabelling)
        reckoning = thresholds.reckon(
            meaning, prelabelling.validation, prelabelling.threshold, prelabelling.growth
        )  # as things stand now, which may be later than when somebody looked
        prelabelling.meaning = meaning
        prelabelling.result = {
            "allowed": {row.label: row.settled for row in reckoning.rows},
            "held_back": {row.label: row.held_back for row in reckoning.rows if row.held_back},
            "against": reckoning.against, "conflicts": reckoning.conflicts,
        }  # fmt: skip
    prelabelling.total = sum(prelabelling.result["allowed"].values()) + prelabelling.most_doubts
    prelabelling.doing = "settling what it is sure of"
    beat()
    candidates.gather_sure(prelabelling)
    before = settled(prelabelling)
    prelabelling.done = sum(before.values())
    for label, name in prelabelling.project.labels.values_list("pk", "name"):
        most = prelabelling.result["allowed"].get(name, 0) - before.get(label, 0)
        for page in candidates.surest(label, most):
            with transaction.atomic():
                hold()
                chances = dict(page)
                done = model_labels.settle(
                    prelabelling.project, dict.fromkeys(chances, label), prelabelling.audit_rate, str(prelabelling)
                )
                record(prelabelling, {post: chances[post] for post in done}, label)
            prelabelling.done += len(done)
            beat()
    candidates.forget_sure()
    prelabelling.doing = "choosing what to ask people"
    beat()
    send_doubts(prelabelling, beat, hold)
    prelabelling.result = prelabelling.result | summed_up(prelabelling)


def settled(prelabelling: PreLabelling) -> dict[int, int]:
    found = prelabelling.labels.filter(label__isnull=False, taken_back=False).order_by().values_list("label")
    return dict(found.annotate(n=Count("pk")))


def record(prelabelling: PreLabelling, chances: dict[int, float], label: int | None) -> None:
    PreLabel.objects.bulk_create(
        [PreLabel(prelabelling=prelabelling, post_id=post, label_id=label, chance=p) for post, p in chances.items()],
        ignore_conflicts=True,
    )


def send_doubts(prelabelling: PreLabelling, beat: Beat, hold: Beat) -> None:
    """Of near-duplicates one alone, that which teaches most: whoever answers it has answered them all."""
    there = prelabelling.labels.filter(label=None, taken_back=False).count()
    with closing(candidates.doubts(prelabelling)) as found:  # its transaction is over before ours begins
        chosen = list(islice(firsts(prelabelling, found), max(0, prelabelling.most_doubts - there)))
    for at in range(0, len(chosen), WINDOW):
        teaches = {one.post: one.teaches for one in chosen[at : at + WINDOW]}
        with transaction.atomic():
            hold()
            opened = model_labels.doubt(prelabelling.project, teaches)
            record(prelabelling, {post: teaches[post] for post in opened}, None)
        prelabelling.done += len(opened)
        beat()


def firsts(prelabelling: PreLabelling, doubts: Iterator[Doubt]) -> Iterator[Doubt]:
    waiting = Disagreement.objects.filter(project=prelabelling.project_id, closed=None)
    templates = set(waiting.filter(post__template__isnull=False).values_list("post__template", flat=True))
    read: set[int] = set()
    for one in doubts:
        mark = words.mark(one.text)
        if one.template not in templates and mark not in read:
            yield one
        templates |= {one.template} if one.template else set()
        read |= {mark} - {0}


def summed_up(prelabelling: PreLabelling) -> dict[str, object]:
    names = dict(prelabelling.project.labels.values_list("pk", "name"))
    return {
        "settled": {names[label]: n for label, n in settled(prelabelling).items()},
        "doubts": prelabelling.labels.filter(label=None).count(),
    }


# --- Taken back


def take_back(prelabelling: PreLabelling, beat: Beat) -> None:
    """What people have said since stands, and so do what voters agree on and what a later one has settled anew."""
    prelabelling.total = prelabelling.labels.count()
    prelabelling.done = prelabelling.labels.filter(taken_back=True).count()
    prelabelling.doing = "taking its labels back"
    if "audited" not in prelabelling.result:
        found = audited.read(prelabelling)
        told = {"drawn": found.drawn, "told": found.told, "wrong": found.wrong}
        prelabelling.result = prelabelling.result | {"audited": told}
    freed = int(prelabelling.result.get("freed", 0))
    prelabelling.result = prelabelling.result | {"freed": freed}
    beat()
    while page := list(prelabelling.labels.filter(taken_back=False).order_by("pk")[:WINDOW]):
        with transaction.atomic():
            settling.lock([one.post_id for one in page])  # nobody settles one of them anew while we look who has
            given, doubted = its_own(page, labels=True), its_own(page, labels=False)
            freed += len(model_labels.take_back(prelabelling.project, given))
            model_labels.withdraw(prelabelling.project, doubted)
            PreLabel.objects.filter(pk__in=[one.pk for one in page]).update(taken_back=True)
        prelabelling.done += len(page)
        prelabelling.result = prelabelling.result | {"freed": freed}
        beat()


def its_own(page: Sequence[PreLabel], labels: bool) -> list[int]:
    """Of the posts that it gave labels, or else doubted, those with which no later one has done the same since: there
    the label with its audits, or the doubt, is that one's."""
    done = {one.post_id: one.pk for one in page if (one.label_id is not None) == labels}
    standing = PreLabel.objects.filter(post__in=list(done), label__isnull=not labels, taken_back=False)
    last = dict(standing.order_by().values_list("post").annotate(last=Max("pk")))
    return [post for post, mine in done.items() if last.get(post, mine) <= mine]
