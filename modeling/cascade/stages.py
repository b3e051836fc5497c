"""What either stage has said of a dataset's posts, as it is stored: whatever is tried, nobody is asked anew."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from django.db.models import Avg

from annotate.models import Vote, Voter
from modeling.datasets.renamed import was_called
from modeling.evaluation.predictors import Predictor
from modeling.measures import calibration, cascade
from modeling.measures.resampling import FloatArray, IntArray
from modeling.models import Cascade, Dataset, DatasetItem, Evaluation, JobState, On, Prediction, Run, Sees

WINDOW = 2000
A_FEW = 1000  # votes, whose time is told
MEASURED_ON = (On.TEST, On.HOLDOUT)


class Lacking(Exception):
    """A stage has not answered what is needed; the words say what to do."""


@dataclass(frozen=True)
class Lack:
    words: str
    run: Run | None = None  # whose evaluation would mend it
    split: str = ""  # on which
    at_work: Evaluation | None = None  # and it is being made


@dataclass(frozen=True)
class Said:
    """Row by row, in the order of the dataset. Not a number where a stage said nothing."""

    labels: tuple[str, ...]
    positions: IntArray
    truth: IntArray
    kin: IntArray
    stated: FloatArray  # of the first: of a voter probabilities, perhaps of a few labels alone; of a run log scores
    second: FloatArray  # log scores

    @property
    def first_spoke(self) -> Any:
        """A mask."""
        return ~np.isnan(self.stated).all(axis=1)

    @property
    def second_spoke(self) -> Any:
        return ~np.isnan(self.second).all(axis=1)

    @property
    def both(self) -> "Said":
        """The posts of which both have spoken."""
        return self.at(self.first_spoke & self.second_spoke)

    def at(self, rows: Any) -> "Said":
        return Said(
            self.labels, self.positions[rows], self.truth[rows], self.kin[rows], self.stated[rows], self.second[rows]
        )

    def __len__(self) -> int:
        return len(self.truth)


def label_names(dataset: Dataset) -> tuple[str, ...]:
    return tuple(label["name"] for label in dataset.facts["labels"])


def read(made: Cascade, dataset: Dataset, split: str) -> Said:
    names = label_names(dataset)
    number = {name: n for n, name in enumerate(names)}
    there = dataset.items.filter(split=split, removed=None).order_by("position")
    found = there.values_list("pk", "post_id", "position", "label", "kin")
    rows: list[tuple[int, int | None, int, str, int]] = [row for row in found if row[3] in number]
    items, posts = [row[0] for row in rows], [row[1] for row in rows]
    if made.voter is not None:
        stated = voted(made.voter, dataset, posts, names)
    else:
        assert made.run is not None
        stated = predicted(made.run, dataset, split, items, len(names))
    return Said(
        names, np.array([row[2] for row in rows], dtype=np.int64),
        np.array([number[row[3]] for row in rows], dtype=np.int64), np.array([row[4] for row in rows], dtype=np.int64),
        stated, predicted(made.second, dataset, split, items, len(names)),
    )  # fmt: skip


def chances(made: Cascade, stated: FloatArray, heat: float) -> FloatArray:
    """Whole probabilities of the first stage."""
    return cascade.whole(stated) if made.run_id is None else calibration.apply(stated, heat)


# --- Votes


def voted(voter: Voter, dataset: Dataset, posts: Sequence[int | None], names: Sequence[str]) -> FloatArray:
    """As they stand now; a post that had to go has none."""
    rows = {post: n for n, post in enumerate(posts) if post is not None}
    stated, was = np.full((len(posts), len(names)), np.nan), was_called(dataset)
    for post, told in votes_on(voter, list(rows)):
        stated[rows[post]] = row_of(told, names, was)
    return stated


def votes_on(voter: Voter, posts: Sequence[int]) -> Iterator[tuple[int, dict[str, float]]]:
    """In windows; only votes that say how likely labels are."""
    for start in range(0, len(posts), WINDOW):
        some = posts[start : start + WINDOW]
        there = Vote.objects.filter(voter=voter, post__in=some, probabilities__isnull=False)
        yield from ((post, told or {}) for post, told in there.values_list("post_id", "probabilities"))


def row_of(told: Mapping[str, Any], names: Sequence[str], was: Mapping[str, str]) -> list[float]:
    """By the names that the dataset knows. What was said of others is as good as not said."""
    known = {was.get(name, name): chance for name, chance in told.items() if isinstance(chance, int | float)}
    return [float(known.get(name, np.nan)) for name in names]


# --- Predictions


def predicted(run: Run, dataset: Dataset, split: str, items: Sequence[int], labels: int) -> FloatArray:
    found = np.full((len(items), labels), np.nan)
    evaluation = answers_of(run, dataset, split)
    if evaluation is None:
        return found
    rows = {item: n for n, item in enumerate(items)}
    for start in range(0, len(items), WINDOW):
        some = items[start : start + WINDOW]
        told = Prediction.objects.filter(evaluation=evaluation, item__in=some, scores__isnull=False)
        for item, scores in told.values_list("item_id", "scores"):
            found[rows[item]] = scores
    return found


def key_of(run: Run) -> str:
    """Asked as it was trained, shown all of a post."""
    return Evaluation.key_of(Predictor("run", run=run.pk).as_json(), Sees.BOTH)


def answers_of(run: Run, dataset: Dataset, split: str) -> Evaluation | None:
    """The latest that tells of these posts. Whatever a model is measured on, it is asked about validation besides."""
    splits = [On.VALIDATION, *MEASURED_ON] if split == On.VALIDATION else [split]
    return dataset.evaluations.done().filter(key=key_of(run), split__in=splits).order_by("-pk").first()


# --- What is missing, and what would mend it


def lacks(made: Cascade, dataset: Dataset, split: str) -> list[Lack]:
    runs = [run for run in (made.run, made.second) if run is not None]
    found = [lack_of(run, dataset, split) for run in runs if answers_of(run, dataset, split) is None]
    if made.voter is not None and not has_voted(made.voter, dataset, split):
        words = (
            f"{made.voter} has not said of any post of the {named(split)} how likely labels are: import its "
            "probabilities, or take another first stage."
        )
        found.insert(0, Lack(words))
    return found


def has_voted(voter: Voter, dataset: Dataset, split: str) -> bool:
    posts = DatasetItem.objects.filter(dataset=dataset, split=split, removed=None, post__isnull=False)
    return Vote.objects.filter(voter=voter, probabilities__isnull=False, post__in=posts.values("post")).exists()


def lack_of(run: Run, dataset: Dataset, split: str) -> Lack:
    on = best_split(dataset) if split == On.VALIDATION else split
    at_work = dataset.evaluations.filter(key=key_of(run), split=on, state__in=[JobState.QUEUED, JobState.RUNNING])
    besides = ", and so of validation too" if on != split else ""
    words = f"{run} has not said anything of the {named(split)}. Evaluate it on the {named(on)}{besides}."
    return Lack(words, run, on, at_work.order_by("-pk").first())


def best_split(dataset: Dataset) -> str:
    """One asking for both: what a model is measured on, and validation besides."""
    splits = set(dataset.items.filter(removed=None).order_by().values_list("split", flat=True).distinct())
    return next((on.value for on in MEASURED_ON if on in splits), On.VALIDATION.value)


def named(split: str) -> str:
    words = On(split).label.lower()
    return words if split == On.HOLDOUT else f"{words} split"


# --- How long it takes


def seconds_of(made: Cascade, dataset: Dataset) -> tuple[float | None, float | None]:
    """A post, of either stage; None where nobody has told."""
    first = voter_seconds(made.voter) if made.voter else run_seconds(made.run, dataset) if made.run else None
    return first, run_seconds(made.second, dataset)


def run_seconds(run: Run, dataset: Dataset) -> float | None:
    for used in dataset.evaluations.done().filter(key=key_of(run)).order_by("-pk").values_list("used", flat=True)[:5]:
        if used.get("asked") and used.get("seconds"):
            return float(used["seconds"]) / float(used["asked"])
    return None


def voter_seconds(voter: Voter) -> float | None:
    some = Vote.objects.filter(voter=voter).order_by("pk").values("pk")[:A_FEW]
    told = Vote.objects.filter(pk__in=some).aggregate(mean=Avg("latency_ms"))["mean"]
    return None if told is None else float(told) / 1000
