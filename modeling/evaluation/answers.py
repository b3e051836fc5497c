"""What those say that need no model: voters, their consensus, and the baselines that every model has to beat."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import islice
from typing import NamedTuple

import numpy as np

from annotate import settling
from annotate.models import LabelSource, Vote
from modeling.cascade import answering
from modeling.datasets.items import Item, items
from modeling.datasets.renamed import was_called
from modeling.measures import baselines, calibration
from modeling.models import Cascade, Dataset, Evaluation, On, Sees, Split, Study

from .asked import asked_items, measured_items
from .predictors import Predictor, cascade_of, study_of

WINDOW = 2000
LEAST = 1e-6  # how likely a label is at least that a voter gave no chance at all
SEED = 0
Beat = Callable[[int], None]


class Answer(NamedTuple):
    position: int
    label: str  # blank: an abstention, or votes that differ
    scores: list[float] | None = None  # log-probabilities, in the order of the dataset's labels
    confidence: float | None = None


def of(evaluation: Evaluation, beat: Beat) -> Iterator[Answer]:
    predictor = Predictor.from_json(evaluation.predictor)
    names = label_names(evaluation.dataset)
    if predictor.kind in ("voter", "consensus"):
        yield from said(evaluation, predictor, names, beat)
        return
    if predictor.kind == "cascade":
        yield from cascaded(evaluation, cascade_of(predictor, evaluation.project), beat)
        return
    if predictor.kind == "folds":
        yield from pooled(study_of(predictor, evaluation.project), beat)
        return
    asked = list(asked_items(evaluation))
    beat(0)
    found = by_words(evaluation, predictor, asked, names)
    for item, chances in zip(asked, found, strict=True):
        yield Answer(item.position, names[int(chances.argmax())], np.log(np.clip(chances, LEAST, 1)).tolist())


def label_names(dataset: Dataset) -> tuple[str, ...]:
    return tuple(label["name"] for label in dataset.facts["labels"])


# --- Voters


def said(evaluation: Evaluation, predictor: Predictor, names: Sequence[str], beat: Beat) -> Iterator[Answer]:
    """As they stand now: what was voted since the dataset was frozen counts too. Who was never asked gives none."""
    measured, was = measured_items(evaluation), was_called(evaluation.dataset)
    done = 0
    while some := list(islice(measured, WINDOW)):
        posts = posts_of(evaluation.dataset, [item.position for item in some])
        if predictor.kind == "consensus":
            yield from agreed(evaluation, posts, was)
        else:
            yield from voted(predictor, posts, names, was)
        done += len(some)
        beat(done)


def posts_of(dataset: Dataset, positions: list[int]) -> dict[int, int]:
    found = dataset.items.filter(position__in=positions, post__isnull=False)
    return dict(found.values_list("post_id", "position"))


def voted(
    predictor: Predictor, posts: Mapping[int, int], names: Sequence[str], was: Mapping[str, str]
) -> Iterator[Answer]:
    votes = Vote.objects.filter(voter=predictor.voter, post__in=list(posts))
    for post, label, sure, chances in votes.values_list("post_id", "label__name", "confidence", "probabilities"):
        known = {was.get(name, name): chance for name, chance in (chances or {}).items()}
        yield Answer(posts[post], was.get(label, label) or "", scores_of(known, names), sure)


def scores_of(chances: Mapping[str, float], names: Sequence[str]) -> list[float] | None:
    """None where nothing is said of the labels; or of one only by a name that it had before, which nobody knows now."""
    if not set(names) <= set(chances) and not set(chances) <= set(names):
        return None
    told = [max(LEAST, chances.get(name, 0.0)) for name in names]
    return [math.log(chance) for chance in told] if max(told, default=0) > LEAST else None


def agreed(evaluation: Evaluation, posts: Mapping[int, int], was: Mapping[str, str]) -> Iterator[Answer]:
    """As they would be settled: where voters differ there is no label."""
    ruling = settling.Ruling.of(evaluation.project)
    names = {pk: was.get(name, name) for pk, name in evaluation.project.labels.values_list("pk", "name")}
    for post, _, _, ballots in settling.ballots_on(list(posts)):
        outcome = ruling.decide(ballots)
        if outcome.is_settled or outcome.why:
            yield Answer(posts[post], names[outcome.label] if outcome.label is not None else "")


# --- The folds of a study


def pooled(study: Study, beat: Beat) -> Iterator[Answer]:
    """Of each post what the run said that had not seen it, at the temperature that its own validation posts gave."""
    done = 0
    for fold in study.evaluations.done().filter(split=On.FOLD, sees=Sees.BOTH):
        heat = fold.measured["temperature"] or 1.0
        there = fold.predictions.filter(to_calibrate=False, item__removed=None, scores__isnull=False)
        there = there.exclude(
            item__label_source=LabelSource.MODEL
        )  # of a study that was drawn before these were left out
        told = there.order_by("item__position").values_list("item__position", "label", "scores").iterator(WINDOW)
        while some := list(islice(told, WINDOW)):
            chances = calibration.apply(np.array([scores for _, _, scores in some]), heat)
            for (position, label, _), row in zip(some, np.log(np.clip(chances, calibration.LEAST, 1)), strict=True):
                yield Answer(position, label, row.tolist())
            done += len(some)
            beat(done)


# --- A cascade


def cascaded(evaluation: Evaluation, cascade: Cascade, beat: Beat) -> Iterator[Answer]:
    """What it saves is told beside what it says."""
    found, evaluation.used = answering.answers(cascade, evaluation.dataset, evaluation.split, beat)
    yield from (Answer(*row) for row in found)


# --- Baselines


def by_words(
    evaluation: Evaluation, predictor: Predictor, asked: Sequence[Item], names: tuple[str, ...]
) -> baselines.Probabilities:
    """`text-cv` learns from the posts that it is measured on, each time without those that it is asked about."""
    texts = [item.text for item in asked]
    if predictor.kind == "text-cv":
        labels, kin = [item.label for item in asked], [item.group for item in asked]
        return baselines.cross_validated(texts, labels, names, kin, seed=SEED).probabilities
    learnt = [(item.text, item.label) for item in items(evaluation.dataset, [Split.TRAIN])]
    labels = [label for _, label in learnt]
    if predictor.kind == "majority":
        return baselines.majority(labels, names, len(asked))
    return baselines.text([text for text, _ in learnt], labels, texts, names, SEED)
