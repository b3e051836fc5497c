"""The cascade as a predictor among others: what it says of posts, from what its stages have said of them."""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from modeling.measures import calibration, cascade
from modeling.models import Cascade, Dataset

from . import stages
from .stages import Lacking, Said

Row = tuple[int, str, list[float]]  # a post's place in the dataset, its label, a log-probability of each label


def answers(
    made: Cascade, dataset: Dataset, split: str, beat: Callable[[int], None]
) -> tuple[Iterator[Row], dict[str, Any]]:
    """A row a post that the first stage spoke of; and what asking it took. Refused where the second stage was not asked
    about posts that it would be asked about."""
    if made.threshold is None or made.weight is None or made.temperature is None:
        raise Lacking(f"{made} has no point yet: choose one on its page.")
    missing = stages.lacks(made, dataset, split)
    beat(0)
    said = stages.read(made, dataset, split)
    said = said.at(said.first_spoke)  # as of a voter, of a post on which it did not vote there is no answer
    first = stages.chances(made, said.stated, made.heat)
    asked = cascade.is_unsure(first, made.threshold)
    unheard = asked & ~said.second_spoke
    if missing and (unheard.any() or not len(said)):
        raise Lacking(" ".join(lack.words for lack in missing))
    found = cascade.answered(first, said.second, made.k, made.threshold, made.weight, made.temperature)
    used = used_of(made, dataset, int(asked.sum()), len(said))
    beat(len(said))
    return rows(said, found, ~unheard), used


def rows(said: Said, found: Any, heard: Any) -> Iterator[Row]:
    logs = np.log(np.clip(found, calibration.LEAST, 1))
    for n in np.flatnonzero(heard).tolist():
        yield int(said.positions[n]), said.labels[int(found[n].argmax())], logs[n].tolist()


def used_of(made: Cascade, dataset: Dataset, asked: int, of: int) -> dict[str, Any]:
    """As its receipt has it."""
    seconds = cascade.expected(stages.seconds_of(made, dataset), asked / max(1, of))
    told = {
        "calls_saved": f"{1 - asked / max(1, of):.1%}", "second_stage_asked": f"{asked:,} of {of:,} posts",
        "threshold": made.threshold, "candidates": made.k, "weight": made.weight, "temperature": made.temperature,
    }  # fmt: skip
    return told if seconds is None else told | {"expected_seconds_a_post": seconds}
