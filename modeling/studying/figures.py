"""What a study tells beyond each of its evaluations: how much runs differ, and whether more posts still help."""

from statistics import fmean, stdev
from typing import Any

from modeling.evaluation import measuring
from modeling.measures import comparison
from modeling.measures.comparison import Difference
from modeling.models import Evaluation, On, Sees, Study, part_in_words

TOLD = ("macro_f1", "accuracy", "balanced_accuracy", "log_loss")


def measure(study: Study) -> dict[str, Any]:
    return of_folds(study) if study.of_folds else of_curve(study)


def evaluations(study: Study, on: str) -> list[Evaluation]:
    """One a part, in their order."""
    found = study.evaluations.done().filter(split=on, sees=Sees.BOTH, run__isnull=False).select_related("run")
    return sorted(found, key=lambda one: study.parts.index(one.run.part) if one.run else 0)


def figures_of(evaluation: Evaluation) -> dict[str, Any]:
    return {name: evaluation.measured["figures"][name] for name in TOLD}


# --- Folds


def of_folds(study: Study) -> dict[str, Any]:
    """Mean and deviation over the runs tell how much a figure moves from one run to the next; how sure the figure of
    all folds together is, its interval tells."""
    each = [figures_of(one) for one in evaluations(study, On.FOLD)]
    pooled = study.evaluations.done().get(split=On.POOL)
    return {
        "pooled": {"evaluation": pooled.pk, "posts": pooled.measured["asked"], **figures_of(pooled)},
        "over_folds": {name: spread([one[name]["value"] for one in each if one[name]]) for name in TOLD},
    }


def spread(values: list[float]) -> dict[str, float] | None:
    return {"mean": fmean(values), "deviation": stdev(values)} if len(values) > 1 else None


# --- A learning curve


def of_curve(study: Study) -> dict[str, Any]:
    told = {}
    for on in (On.HOLDOUT, On.TEST):
        if found := evaluations(study, on):
            points = [
                {"evaluation": one.pk, "posts": there["learnt"], **figures_of(one)}
                for one, there in zip(found, study.posts, strict=True)
            ]
            told[str(on)] = {"asked": found[-1].measured["asked"], "points": points, **last_two(study, found)}
    return told


def last_two(study: Study, found: list[Evaluation]) -> dict[str, Any]:
    """The largest share against the one before it, on the very same posts."""
    fewer, more = found[-2:]
    difference = measuring.compared(measuring.read(more), measuring.read(fewer))
    if difference is None:
        return {"difference": None, "words": ""}
    names = [part_in_words(part) for part in study.parts[-2:]]
    return {"difference": difference, "words": in_words(Difference.from_json(difference), *names)}


def in_words(told: Difference, fewer: str, more: str) -> str:
    posts = f"{told.n:,} post{'s' if told.n > 1 else ''}"
    rather = f"with {more} rather than {fewer}, macro F1"
    if told.distinguishable and told.macro_f1.value > 0:
        return f"More posts still help: {rather} is higher by {comparison.points(told.macro_f1)}."
    if told.distinguishable:
        return f"More posts did not help: {rather} is lower by {comparison.points(told.turned().macro_f1)}."
    if told.alike == told.n:
        return f"Learnt from {fewer} or from {more}, the model says the same of all {posts}."
    unsure = f"Whether more posts still help cannot be told: {fewer} and {more} are not distinguishable on {posts}"
    return f"{unsure}; {comparison.about(told.needed, told.n)} would be needed." if told.needed else f"{unsure}."
