"""For whoever asks about posts of the project: which the first stage has answered, and of the others which labels the
second is to be asked about; then what both say together.

    answered, unsure = asking.split(cascade, posts)
    ... the second stage is asked about the posts of `unsure`, each about its candidates alone ...
    probabilities = asking.blend(cascade, first, scores)

Labels go by the names that the cascade's dataset knows them by, as its runs answer with.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from annotate.models import Voter
from modeling.datasets.renamed import was_called
from modeling.measures import cascade
from modeling.models import Cascade, PreLabelling

from . import stages
from .stages import Lacking, label_names

Chances = dict[str, float]


def split(made: Cascade, posts: Sequence[int]) -> tuple[dict[int, Chances], dict[int, list[str]]]:
    """Posts by their keys. Of each that the first stage is sure of the probabilities of all labels; of each other the
    candidates, the likeliest first: none where the first stage did not vote, which means all labels."""
    threshold = usable(made)
    answered: dict[int, Chances] = {}
    unsure: dict[int, list[str]] = {post: [] for post in posts}
    for post, chances in first_said(made, posts):
        row = np.array([list(chances.values())])
        if cascade.is_unsure(row, threshold)[0]:
            unsure[post] = candidates(made, chances)
        else:
            answered[post] = chances
            del unsure[post]
    return answered, unsure


def first_said(made: Cascade, posts: Sequence[int]) -> Iterator[tuple[int, Chances]]:
    """Of the posts on which the first stage has voted, in windows: what it holds of every label."""
    names, was = label_names(made.dataset), was_called(made.dataset)
    for post, told in stages.votes_on(voter_of(made), posts):
        row = np.array([stages.row_of(told, names, was)])
        if not np.isnan(row).all():
            yield post, dict(zip(names, cascade.whole(row)[0].tolist(), strict=True))


def candidates(made: Cascade, first: Mapping[str, float]) -> list[str]:
    names = list(first)
    places, counted = cascade.candidates(np.array([list(first.values())]), made.k)
    return [names[place] for place, counts in zip(places[0].tolist(), counted[0].tolist(), strict=True) if counts]


def blend(made: Cascade, first: Mapping[str, float], scores: Mapping[str, float]) -> Chances:
    """What the first stage said of all labels, and the second's log scores of the candidates; those that it was not
    asked about may be left out, or be as low as can be. Where the first said nothing, the second answers alone."""
    usable(made)
    assert made.weight is not None
    assert made.temperature is not None
    names = list(first) or list(scores)
    second = np.array([[scores.get(name, -np.inf) for name in names]])
    if first:
        told, k, weight = np.array([[first[name] for name in names]]), made.k, made.weight
    else:
        told, k, weight = np.full(second.shape, 1 / len(names)), len(names), 1.0
    found = cascade.blended(told, second, k, weight, made.temperature)
    return dict(zip(names, found[0].tolist(), strict=True))


def usable(made: Cascade) -> float:
    if made.threshold is None or not made.is_usable:
        raise Lacking(f"{made} has no point yet: choose one on its page.")
    return made.threshold


def parameters_of(made: Cascade) -> dict[str, Any]:
    """What its answers hang on beside its stages: with another of these it is another voter. Rounded, for a fit of the
    same answers ends a hair's breadth elsewhere on another machine."""
    fitted = {"weight": made.weight, "temperature": made.temperature}
    rounded = {name: None if value is None else float(f"{value:.6g}") for name, value in fitted.items()}
    return {"cascade": made.pk, "threshold": made.threshold, **rounded}


def check_voter(made: Cascade, voter: Voter) -> None:
    """The voter was fixed when somebody asked, which may be long ago. One of an older version does not tell of the
    fit: then that is taken for the same."""
    if any(voter.parameters.get(name, value) != value for name, value in parameters_of(made).items()):
        raise Lacking(f"Since this was asked for, {made} was fitted anew or given another point: ask it anew.")


def voter_of(made: Cascade) -> Voter:
    """As which the first stage votes: of a run, the one by which it pre-labels by itself, not as another cascade's
    second stage."""
    if made.voter is not None:
        return made.voter
    alone = PreLabelling.objects.filter(run=made.run_id, cascade=None)
    last = alone.select_related("voter").order_by("-pk").first()
    if last is None:
        raise Lacking(
            f"{made.run} has not voted on posts of the project yet: pre-label with it first, settling nothing."
        )
    return last.voter
