"""A cascade is made, fitted on validation, and used at a point that somebody chose. Pages, command and API end up here.

Nothing is asked anew: both stages have answered the posts already, and whatever is tried is reckoned from that. A curve
is drawn on the validation split alone. Of posts that it was not fitted on, the chosen point is told and no other.
"""

import logging
from collections.abc import Sequence
from typing import Any

import numpy as np
from django.db import IntegrityError, transaction
from django.utils import timezone
from django_q.tasks import async_task

from annotate.heartbeat import heartbeat
from annotate.models import Event, Project, User, Voter
from modeling.evaluation import evaluating
from modeling.evaluation.predictors import Predictor
from modeling.measures import calibration, cascade
from modeling.measures.cascade import Point
from modeling.models import (
    Cascade,
    CascadeQuerySet,
    CascadeState,
    Dataset,
    Evaluation,
    On,
    Run,
    RunState,
)

from . import stages
from .stages import MEASURED_ON, Lack, Said

FEWEST, MOST = 2, 50  # candidates
ENDED = {
    CascadeState.DONE: "cascade fitted", CascadeState.LACKING: "cascade lacks answers",
    CascadeState.FAILED: "cascade failed",
}  # fmt: skip


class Refused(Exception):
    """It cannot be so; the words are for whoever asked."""


class Lost(Exception):
    """Another worker has taken it over while we were silent."""


def of(project: Project) -> CascadeQuerySet:
    """The latest first, without what is long about datasets and runs."""
    related = ("project", "dataset__project", "voter", "run", "second", "by")
    long = ("dataset__told", "run__receipt", "run__log", "second__receipt", "second__log")
    return Cascade.objects.filter(project=project).select_related(*related).defer(*long)


# --- Made


def make(
    project: Project, by: User | None, dataset: Dataset, first: Voter | Run, second: Run, k: int, name: str = "",
    queue: bool = True,
) -> Cascade:  # fmt: skip
    """Whoever makes one by command fits it there and then."""
    check(project, dataset, first, second, k)
    name = name.strip() or usual_name(first, second, k, dataset)
    is_voter = isinstance(first, Voter)
    told: dict[str, Any] = {"voter": first} if is_voter else {"run": first}
    with transaction.atomic():
        try:
            with transaction.atomic():
                made = Cascade.objects.create(
                    project=project, by=by, name=name[:120], dataset=dataset, second=second, k=k, **told
                )
        except IntegrityError as problem:
            raise Refused(f"There is a cascade “{name[:120]}” already: give this one another name.") from problem
        record("cascade made", made, by, first=str(first), second=str(second), candidates=k)
        if queue:
            enqueue(made)
    return made


def usual_name(first: Voter | Run, second: Run, k: int, dataset: Dataset) -> str:
    return f"{str(first)[:60]} then {second}, {k} candidates, {dataset.name}"


def check(project: Project, dataset: Dataset, first: Voter | Run, second: Run, k: int) -> None:
    if not dataset.is_frozen or dataset.project_id != project.pk:
        raise Refused(f"{dataset.name} is not frozen yet.")
    if not dataset.items.filter(split=On.VALIDATION, removed=None).exists():
        raise Refused(f"{dataset.name} has no validation split, on which weight and threshold are fitted.")
    labels = len(dataset.facts["labels"])
    if labels <= FEWEST:
        raise Refused(f"{dataset.name} has {labels} labels: there is nothing to narrow down.")
    most = min(MOST, labels)
    if not FEWEST <= k <= most:
        raise Refused(f"From {FEWEST} to {most} candidates can be asked about here.")
    if first == second:
        raise Refused("Both stages are the same run.")
    for stage in (first, second):
        check_stage(project, dataset, stage)


def check_stage(project: Project, dataset: Dataset, stage: Voter | Run) -> None:
    if stage.project_id != project.pk:
        raise Refused(f"There is no {stage} in this project.")
    if isinstance(stage, Run) and stage.state != RunState.DONE:
        raise Refused(f"{stage} is not done: there is nothing to ask yet.")
    if isinstance(stage, Run) and "fold" in stage.part:
        raise Refused(f"{stage} has learnt from validation posts too: it left out but a fold of them.")


def record(verb: str, made: Cascade, by: User | None, **facts: Any) -> None:
    Event.record(verb, user=by, project=made.project, cascade=made.name, number=made.pk, **facts)


def enqueue(made: Cascade) -> None:
    async_task("modeling.tasks.fit_cascade", made.pk, task_name=f"cascade {made.pk}")


def again(made: Cascade, queue: bool = True) -> bool:
    """With the answers that are there by now. Not while it is being fitted."""
    with transaction.atomic():
        changed = idle(made).update(state=CascadeState.QUEUED, error="", ended=None)
        if changed and queue:
            enqueue(made)
    return bool(changed)


def idle(made: Cascade) -> CascadeQuerySet:
    return Cascade.objects.filter(pk=made.pk).exclude(state__in=[CascadeState.QUEUED, CascadeState.RUNNING])


def use(made: Cascade, threshold: float, by: User | None, queue: bool = True) -> Point:
    """The point of the curve nearest to it. Only then is it told what comes out on posts that it was not fitted on."""
    points = curve_of(made)
    if not points:
        raise Refused("It is not fitted yet: there is no curve to choose from.")
    point = nearest(points, threshold)
    with transaction.atomic():
        changed = idle(made).update(
            threshold=point.threshold, chosen=timezone.now(), state=CascadeState.QUEUED, error="", ended=None
        )
        if not changed:
            raise Refused("It is being fitted: wait a moment.")
        record("cascade's point chosen", made, by, threshold=in_words(point.threshold))
        if queue:
            enqueue(made)
    made.refresh_from_db()
    return point


def in_words(threshold: float) -> str:
    """Of the two ends what they mean."""
    if threshold >= cascade.ALWAYS:
        return "always ask"
    return "never ask" if threshold <= cascade.NEVER else f"ask below {threshold:g}"


def curve_of(made: Cascade) -> list[Point]:
    return [Point.from_json(one) for one in made.told.get("curve", [])]


def nearest(points: Sequence[Point], threshold: float) -> Point:
    return min(points, key=lambda point: abs(point.threshold - threshold))


# --- What it lacks


def lacks(made: Cascade) -> list[Lack]:
    """Without validation there is no curve; without the others nobody knows what the chosen point is worth."""
    present = set(made.dataset.items.filter(removed=None).order_by().values_list("split", flat=True).distinct())
    wanted = [split for split in (On.VALIDATION, *MEASURED_ON) if split in present]
    found = [lack for split in wanted for lack in stages.lacks(made, made.dataset, split)]
    seen, once = set[tuple[Any, ...]](), []
    for lack in found:  # one evaluation may mend two things
        mended_by = (lack.run.pk, lack.split) if lack.run else (lack.words,)
        if mended_by not in seen:
            once.append(lack)
        seen.add(mended_by)
    return once


def ask_for(made: Cascade, by: User | None, run: int, split: str) -> Evaluation:
    """One of the evaluations that it lacks."""
    lack = next((one for one in lacks(made) if one.run and one.run.pk == run and one.split == split), None)
    if lack is None:
        raise Refused("Nothing is missing there.")
    if lack.at_work is not None:
        raise Refused(f"{lack.run} is being asked already.")
    return evaluating.ask(made.project, by, made.dataset, split, Predictor("run", run=run))


def advance(evaluation: Evaluation) -> None:
    """Answers came in: whoever waited for them goes on."""
    waiting = Cascade.objects.filter(dataset=evaluation.dataset_id).exclude(state=CascadeState.RUNNING)
    for made in waiting.select_related("project"):
        wants = made.state == CascadeState.LACKING or (
            made.is_usable
            and evaluation.split in MEASURED_ON
            and evaluation.split not in made.told.get("elsewhere", {})
        )
        if wants and evaluation.run_id in (made.run_id, made.second_id) and evaluation.run_id is not None:
            again(made)


def take_up() -> None:
    """What a dead worker left."""
    for made in Cascade.objects.claimable().filter(state=CascadeState.RUNNING):
        enqueue(made)


# --- Fitted


def carry_out(made: Cascade) -> bool:
    """False where somebody else has it."""
    if not made.claim():
        return False
    try:
        with heartbeat(lambda: still_ours(made), f"Cascade {made.pk}"):
            state, error = fitted(made)
    except Lost:
        return True
    except BaseException:
        logging.getLogger(__name__).exception("Cascade %s broke off.", made.pk)
        end(made, CascadeState.FAILED, "It broke off. Fit it again.")
        raise
    end(made, state, error)
    return True


def still_ours(made: Cascade) -> CascadeQuerySet:
    return Cascade.objects.filter(pk=made.pk, state=CascadeState.RUNNING, started=made.started)


def end(made: Cascade, state: CascadeState, error: str = "") -> None:
    with transaction.atomic():
        if still_ours(made).update(state=state, error=error, ended=timezone.now()):
            record(ENDED[state], made, made.by)
    made.refresh_from_db()


def fitted(made: Cascade) -> tuple[CascadeState, str]:
    if stages.lacks(made, made.dataset, On.VALIDATION):
        return CascadeState.LACKING, ""
    said = stages.read(made, made.dataset, On.VALIDATION)
    both = said.both
    if not len(both):
        return CascadeState.FAILED, "There is no post of the validation split that both stages have spoken of."
    made.heat = 1.0 if made.run_id is None else calibration.temperature(both.stated, both.truth)
    first = stages.chances(made, both.stated, made.heat)
    fit = cascade.fit(first, both.second, both.truth, made.k)
    made.weight, made.temperature, made.fitted_on = fit.weight, fit.temperature, len(both)
    counts, seconds = label_counts(made.dataset), stages.seconds_of(made, made.dataset)
    points = cascade.curve(
        first, both.second, both.truth, both.kin, made.k, fit.weight, fit.temperature, counts=counts, seconds=seconds
    )
    made.told = {
        "fit": fit.as_json(), "curve": [point.as_json() for point in points], "of": len(said),
        "best": cascade.cheapest_as_good(points).threshold, "margin": cascade.MARGIN, "seconds": list(seconds),
        "rare": [name for name, rare in zip(both.labels, cascade.minority(counts), strict=True) if rare],
        "named": named_labels(made, both), "elsewhere": elsewhere(made, counts, seconds),
    }  # fmt: skip
    kept = ("heat", "weight", "temperature", "fitted_on", "told")
    if not still_ours(made).update(**{name: getattr(made, name) for name in kept}):
        raise Lost
    return CascadeState.DONE, ""


def named_labels(made: Cascade, said: Said) -> float | None:
    """How many labels the first stage named of a post, on average; a run tells of all."""
    return None if made.run_id else float((~np.isnan(said.stated)).sum(axis=1).mean())


def label_counts(dataset: Dataset) -> list[int]:
    """Of all its splits: which labels are rare is not for a few posts of one to say."""
    splits = dataset.composition["splits"].values()
    return [sum(one["labels"].get(name, 0) for one in splits) for name in stages.label_names(dataset)]


def elsewhere(
    made: Cascade, counts: Sequence[int], seconds: tuple[float | None, float | None]
) -> dict[str, dict[str, Any]]:
    """At the chosen point, beside never and always asking: on posts that nothing was fitted on."""
    found = {}
    for split in MEASURED_ON if made.is_usable else ():
        said = stages.read(made, made.dataset, split)
        both = said.both
        if len(both):
            assert made.weight is not None
            assert made.temperature is not None
            assert made.threshold is not None
            first = stages.chances(made, both.stated, made.heat)
            at = [cascade.NEVER, made.threshold, cascade.ALWAYS]
            points = cascade.curve(
                first, both.second, both.truth, both.kin, made.k, made.weight, made.temperature, at, counts, seconds
            )
            told = dict(zip(("never", "chosen", "always"), (point.as_json() for point in points), strict=True))
            found[split.value] = {"of": len(said), **told}
    return found
