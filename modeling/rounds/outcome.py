"""What a round came to, put on record when it is over: later rounds change what could be counted then."""

from datetime import datetime
from typing import Any

from django.db.models import Sum
from django.utils import timezone

from annotate.models import LabelSource, Review, Tally, VoteTally
from modeling.models import Evaluation, PreLabelling, Round


def of(one: Round) -> dict[str, Any]:
    since, until = begun(one), timezone.now()
    made = one.prelabelling
    return {
        "labels": labels_by_source(one),
        "wrong": wrong_in(one),
        "macro_f1": macro_f1(one.evaluation),
        "settled": sum(made.result.get("settled", {}).values()) if made else 0,
        **money(one),
        "machine_hours": machine_hours(one),
        "people_hours": people_hours(one, since, until),
    }


def begun(one: Round) -> datetime:
    """Since the last one was over: what was voted and reviewed between two rounds was for the second of them."""
    last = one.project.rounds.filter(number__lt=one.number, ended__isnull=False).order_by("-number").first()
    return last.ended if last and last.ended else one.project.created


def macro_f1(evaluation: Evaluation | None) -> dict[str, float] | None:
    return evaluation.measured["figures"]["macro_f1"] if evaluation and evaluation.measured else None


def labels_by_source(one: Round) -> dict[str, int]:
    settled = Tally.objects.filter(project=one.project, state="settled", holdout=False)
    counts = dict(settled.order_by().values_list("label_source").annotate(n=Sum("posts")))
    return {source: int(counts[source]) for source in LabelSource.values if counts.get(source)}


def wrong_in(one: Round) -> dict[str, float] | None:
    """Of the dataset that it learnt from, as a share of its posts."""
    if not one.dataset or not one.dataset.composition.get("wrong"):
        return None
    posts = sum(part["posts"] for name, part in one.dataset.composition["splits"].items() if name != "holdout")
    wrong = one.dataset.composition["wrong"]
    if not posts:
        return None
    return {"value": wrong["posts"] / posts, "low": wrong["low"] / posts, "high": wrong["high"] / posts}


def money(one: Round) -> dict[str, float]:
    """What votes have cost since the last round was over: all of it, less what stood on its record."""
    voters = one.project.voters.values("pk")
    spent = float(VoteTally.objects.filter(voter_id__in=voters).aggregate(n=Sum("cost"))["n"] or 0)
    last = one.project.rounds.filter(number__lt=one.number, ended__isnull=False).order_by("-number").first()
    return {"money": round(spent - (last.told.get("spent") or 0 if last else 0), 6), "spent": round(spent, 6)}


def machine_hours(one: Round) -> float:
    """Of training and asking: from start to end of each, as of the last time it was started."""
    steps = [one.run, one.evaluation, one.rival, one.prelabelling]
    return round(sum(lasted(step) for step in steps if step is not None) / 3600, 4)


def lasted(step: Any) -> float:
    if isinstance(step, PreLabelling):
        return float(step.used.get("seconds") or 0)
    return (step.ended - step.started).total_seconds() if step.started and step.ended else 0.0


def people_hours(one: Round, since: datetime, until: datetime) -> float:
    """As the reviewing page measured them; what came along with an import took nobody here any time."""
    given = Review.objects.filter(project=one.project, at__gt=since, at__lte=until)
    return round(float(given.aggregate(n=Sum("seconds"))["n"] or 0) / 3600, 4)
