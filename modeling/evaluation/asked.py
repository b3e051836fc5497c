"""Which posts an evaluation is about, and the hash by which two test sets are known to be the same."""

import hashlib
import json
from collections.abc import Iterable, Iterator

from django.db.models import QuerySet

from annotate.models import LabelSource
from modeling.datasets.items import TO_TRAIN_WITH, Item, items
from modeling.models import Dataset, DatasetItem, Evaluation, On, Split
from modeling.studying import posts

from .predictors import Predictor


def asked_items(evaluation: Evaluation) -> Iterator[Item]:
    """Those that are measured on; and of a model the validation split, by which alone it is calibrated."""
    yield from measured_items(evaluation)
    if is_calibrated(evaluation):
        yield from calibrating_items(evaluation)


def measured_items(evaluation: Evaluation) -> Iterator[Item]:
    if evaluation.split == On.FOLD and evaluation.run:
        return posts.asked(evaluation.run)
    there = items(evaluation.dataset, splits_of(evaluation.split))
    return posts.measurable(there) if evaluation.split == On.POOL else there


def calibrating_items(evaluation: Evaluation) -> Iterator[Item]:
    """Of a fold, what its run was validated on: the dataset's own, without those that are asked about."""
    if evaluation.split == On.FOLD and evaluation.run:
        return posts.learnt(evaluation.run, Split.VALIDATION)
    return items(evaluation.dataset, [Split.VALIDATION])


def is_calibrated(evaluation: Evaluation) -> bool:
    kind = Predictor.from_json(evaluation.predictor).kind
    return kind in {"run", "base", "text"} and evaluation.split not in (On.VALIDATION, On.POOL)


def splits_of(on: str) -> tuple[str, ...]:
    """Of the dataset. All folds together are all but the locked test set, and but what a model labelled."""
    return tuple(map(str, TO_TRAIN_WITH)) if on == On.POOL else (on,)


def count(evaluation: Evaluation) -> int:
    """Of those that are measured on."""
    if evaluation.split == On.FOLD and evaluation.run:
        return posts.count_at(evaluation.dataset, posts.positions_asked(evaluation.run))
    return there(evaluation.dataset, evaluation.split).count()


def there(dataset: Dataset, on: str) -> QuerySet[DatasetItem]:
    found = dataset.items.filter(split__in=splits_of(on), removed=None)
    return found.exclude(label_source=LabelSource.MODEL) if on == On.POOL else found


def are_measured(evaluation: Evaluation, positions: list[int]) -> list[bool | None]:
    """Whether they are measured on, or are there to calibrate by. None: as their split tells."""
    if evaluation.split == On.FOLD and evaluation.run:
        return posts.are_among(positions, posts.positions_asked(evaluation.run))
    return [None] * len(positions)


def hash_of(items: Iterable[Item]) -> str:
    """Of posts and labels, in whatever order and dataset they stand: only where it is the same may figures be held
    against each other."""
    lines = (json.dumps([item.id, item.text, item.image, item.label], ensure_ascii=False) for item in items)
    each = sorted(hashlib.sha256(line.encode()).digest() for line in lines)
    return hashlib.sha256(b"".join(each)).hexdigest()
