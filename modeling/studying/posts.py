"""Which posts a run learns from, is validated on and is asked about, where it is a part of a study: by position."""

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
from django.db import connection

from annotate.models import LabelSource
from modeling.datasets.items import WINDOW, Item, items, items_at
from modeling.models import Dataset, Run, Split, Study

from .parting import Drawn, Numbers, Posts, curve, folds, positions

READ = """
SELECT array_position(%s::text[], label), kin, split, removed IS NOT NULL, label_source = 'model'
FROM modeling_datasetitem WHERE dataset_id = %s AND position > %s ORDER BY position LIMIT %s
"""
COUNT = """
SELECT count(*) FROM modeling_datasetitem
WHERE dataset_id = %s AND position = ANY(%s) AND removed IS NULL AND label_source <> 'model'
"""
LABELS = """
SELECT label, count(*) FROM modeling_datasetitem
WHERE dataset_id = %s AND position = ANY(%s) AND removed IS NULL GROUP BY label
"""
AT_ONCE = 50_000


def learnt(run: Run, split: str) -> Iterator[Item]:
    """What stands in its folder as this split, and nothing else does."""
    if run.study is None:
        return items(run.dataset, [split])
    drawn, number = drawn_of(run.study), number_of(run)
    there = drawn.learnt if split == Split.TRAIN else drawn.validating
    return at(run.dataset, there(number, run.study.of_folds))


def asked(run: Run) -> Iterator[Item]:
    """Its fold: no run of these learnt from anything alike. A fold that was drawn before models' labels were set apart
    holds some of them, which are passed over."""
    return measurable(at(run.dataset, positions_asked(run)))


def measurable(some: Iterable[Item]) -> Iterator[Item]:
    """What a model of ours labelled tells how like it another is, and not how right."""
    return (item for item in some if item.label_source != LabelSource.MODEL)


def positions_asked(run: Run) -> Numbers:
    assert run.study is not None
    return drawn_of(run.study).asked(number_of(run))


def at(dataset: Dataset, wanted: Numbers) -> Iterator[Item]:
    for first in range(0, len(wanted), WINDOW):
        yield from items_at(dataset, wanted[first : first + WINDOW].tolist())


def count_at(dataset: Dataset, wanted: Numbers) -> int:
    """Of those that are measured on."""
    with connection.cursor() as cursor:
        cursor.execute(COUNT, [dataset.pk, wanted.tolist()])
        return int(cursor.fetchone()[0])


def labels_learnt(study: Study, number: int) -> dict[str, int]:
    """How many of each its part of this number, from 0, learns from."""
    wanted = drawn_of(study).learnt(number, study.of_folds)
    with connection.cursor() as cursor:
        cursor.execute(LABELS, [study.dataset_id, wanted.tolist()])
        return dict(cursor.fetchall())


def are_among(some: list[int], wanted: Numbers) -> list[bool | None]:
    return list(np.isin(some, wanted).tolist())


def number_of(run: Run) -> int:
    assert run.study is not None
    return int(run.study.parts.index(run.part))


def drawn_of(study: Study) -> Drawn:
    assert study.drawn is not None
    return Drawn.of(study.drawn)


# --- Drawn


def draw(study: Study) -> tuple[bytes, list[dict[str, int]]]:
    """And how many posts each part has. What had to go from the dataset keeps its place: a fold never moves."""
    posts, gone = read(study.dataset)
    if study.of_folds:
        kept = folds(posts, len(study.parts), study.seed)
    else:
        kept = curve(posts, [part["share"] for part in study.parts], study.seed)
    return kept, list(counts(study, Drawn.of(kept), gone))


def counts(study: Study, drawn: Drawn, gone: Numbers) -> Iterator[dict[str, int]]:
    for number in range(len(study.parts)):
        parts = {
            "learnt": drawn.learnt(number, study.of_folds),
            "validation": drawn.validating(number, study.of_folds),
            **({"asked": drawn.asked(number)} if study.of_folds else {}),
        }
        yield {name: len(np.setdiff1d(there, gone)) for name, there in parts.items()}


def read(dataset: Dataset) -> tuple[Posts, Numbers]:
    names = [label["name"] for label in dataset.facts["labels"]]
    pages = [np.array(page, dtype=object) for page in pages_of(dataset, names)]
    rows: Any = np.concatenate(pages) if pages else np.empty((0, 5), dtype=object)
    labels, kin, splits, gone, model = rows.T
    train, validation, held = (splits == str(one) for one in (Split.TRAIN, Split.VALIDATION, Split.HOLDOUT))
    numbers, kin = labels.astype(np.int64) - 1, kin.astype(np.int64)
    return Posts(numbers, kin, train, validation, held, model.astype(bool)), positions(gone.astype(bool))


def pages_of(dataset: Dataset, names: list[str]) -> Iterator[list[tuple[Any, ...]]]:
    after, page = 0, [()]
    while page:
        with connection.cursor() as cursor:
            cursor.execute(READ, [names, dataset.pk, after, AT_ONCE])
            page = cursor.fetchall()
        if page:
            yield page
        after += AT_ONCE
