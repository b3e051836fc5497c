"""All posts that could go into a dataset, as arrays: a million of them take 80 MB."""

from array import array
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from django.db import connection

from annotate.models import Project
from modeling import words

from .recipe import SOURCES
from .splits import WAS_TEST, WAS_TRAIN, WAS_VALIDATION, Known

WINDOW = 10_000
BITS = {"train": WAS_TRAIN, "validation": WAS_VALIDATION, "test": WAS_TEST}
Beat = Callable[[], None]

# What is not settled now counts all the same if it was ever in test: its twins must not be trained on.
PAGE = """
SELECT post.id, post.external_id, post.text, CASE WHEN post.state = 'settled' THEN post.label_id END,
  post.label_source, post.incongruous, coalesce(post.template_id, 0), post.image_id IS NOT NULL, post.holdout,
  vote.least
FROM annotate_post AS post
LEFT JOIN LATERAL (
  SELECT min(confidence) AS least FROM annotate_vote AS vote
  WHERE vote.post_id = post.id AND vote.label_id = post.label_id
) AS vote ON TRUE
WHERE post.project_id = %s AND post.id > %s AND (post.state = 'settled' OR EXISTS (
  SELECT FROM modeling_datasetitem AS item WHERE item.post_id = post.id AND item.split = 'test'
)) ORDER BY post.id LIMIT %s
"""

WAS = """
SELECT post_id, bit_or(CASE split WHEN 'train' THEN %s WHEN 'validation' THEN %s WHEN 'test' THEN %s ELSE 0 END)
FROM modeling_datasetitem AS item JOIN modeling_dataset AS dataset ON dataset.id = item.dataset_id
WHERE dataset.project_id = %s AND dataset.state = 'frozen' AND post_id IS NOT NULL GROUP BY post_id ORDER BY post_id
"""


def read(project: Project, beat: Beat = lambda: None) -> Known:
    labels = list(project.labels.values_list("pk", "name"))
    number = {pk: n for n, (pk, _) in enumerate(labels)} | {None: -1}
    source = {name: n for n, name in enumerate(SOURCES)} | {"": -1}
    columns = {name: array("q") for name in (
        "ids", "labels", "sources", "incongruous", "templates", "words", "lots", "pictures", "holdout"
    )}  # fmt: skip
    confidence = array("d")
    for pk, external_id, text, label, label_source, odd, template, picture, holdout, least in rows(project, beat):
        columns["ids"].append(pk)
        columns["labels"].append(number[label])
        columns["sources"].append(source[label_source])
        columns["incongruous"].append(-1 if odd is None else int(odd))
        columns["templates"].append(template)
        columns["words"].append(words.mark(text))
        columns["lots"].append(words.lot(external_id))
        columns["pictures"].append(picture)
        columns["holdout"].append(holdout)
        confidence.append(float("nan") if least is None else least)
    numbers: dict[str, Any] = {name: np.frombuffer(column, dtype=np.int64) for name, column in columns.items()}
    flags = {name: numbers.pop(name).astype(bool) for name in ("pictures", "holdout")}
    return Known(
        **numbers, **flags, confidence=np.frombuffer(confidence), was=was(project, numbers["ids"]),
        label_names=tuple(name for _, name in labels),
    )  # fmt: skip


def rows(project: Project, beat: Beat) -> Iterator[tuple[Any, ...]]:
    after = 0
    while True:
        with connection.cursor() as cursor:
            cursor.execute(PAGE, [project.pk, after, WINDOW])
            page = cursor.fetchall()
        yield from page
        beat()
        if len(page) < WINDOW:
            return
        after = page[-1][0]


def was(project: Project, ids: np.ndarray[Any, np.dtype[np.int64]]) -> np.ndarray[Any, np.dtype[np.int64]]:
    """In which splits of frozen datasets each of them ever stood, as bits."""
    with connection.cursor() as cursor:
        cursor.execute(WAS, [*BITS.values(), project.pk])
        found = np.array(cursor.fetchall(), dtype=np.int64).reshape(-1, 2)
    bits = np.zeros(len(ids), dtype=np.int64)
    if len(found):
        at = np.searchsorted(found[:, 0], ids).clip(max=len(found) - 1)
        bits[:] = np.where(found[at, 0] == ids, found[at, 1], 0)
    return bits
