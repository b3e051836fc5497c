"""The posts of a run's train split that are most like one that is asked about: by their words, and by their picture."""

from collections.abc import Sequence
from typing import Any, NamedTuple
from uuid import UUID

from django.db import connection

from annotate.images import HASH_BITS, PLAIN
from modeling.models import Dataset, DatasetItem, Question, Reply, Split

MOST = 5000  # the latest by words; more make no nearer neighbours
SHOWN = 6
LEAST_ALIKE = 0.05  # of 1, by words
FARTHEST = 16  # bits of 63 in which pictures differ: two that have nothing in common differ in about half


class Near(NamedTuple):
    item: DatasetItem
    by: str  # how near, in words
    css: str


# --- Found, by a worker: to read five thousand posts takes longer than a page may


def find(batch: UUID) -> None:
    for question in Question.objects.filter(batch=batch, near__isnull=True).defer("picture", "thumbnail"):
        runs = Reply.objects.filter(question=question).values("run__dataset").distinct()
        found = {str(dataset.pk): near(question, dataset) for dataset in Dataset.objects.filter(pk__in=runs)}
        Question.objects.filter(pk=question.pk).update(near=found)


def near(question: Question, dataset: Dataset) -> dict[str, list[list[Any]]]:
    """Positions in the dataset, each with how alike, or how far."""
    return {"words": by_words(question.text, dataset), "picture": by_picture(question.fingerprint, dataset)}


def by_words(text: str, dataset: Dataset) -> list[list[Any]]:
    from sklearn.feature_extraction.text import TfidfVectorizer

    learnt = dataset.items.filter(split=Split.TRAIN, removed=None).exclude(text="").order_by("-position")
    known = list(learnt.values_list("position", "text")[:MOST])
    if not known or not text.strip():
        return []
    vectorizer = TfidfVectorizer(analyzer="char_wb", ngram_range=(3, 4), max_features=50_000, sublinear_tf=True)
    try:
        matrix = vectorizer.fit_transform([words for _, words in known])
    except ValueError:  # not one of them has a letter
        return []
    alike = (matrix @ vectorizer.transform([text]).T).toarray().ravel()
    order = sorted(range(len(known)), key=lambda n: (-alike[n], n))[:SHOWN]
    return [[known[n][0], round(float(alike[n]), 3)] for n in order if alike[n] >= LEAST_ALIKE]


BY_PICTURE = """
SELECT item.position, bit_count(((image.fingerprint # %(print)s) & %(bits)s)::bit(64)) AS distance
FROM modeling_datasetitem AS item JOIN annotate_image AS image ON image.sha256 = split_part(item.image, '.', 1)
WHERE item.dataset_id = %(dataset)s AND item.split = 'train' AND item.removed IS NULL AND item.image <> ''
  AND image.fingerprint <> %(plain)s
  AND bit_count(((image.fingerprint # %(print)s) & %(bits)s)::bit(64)) <= %(farthest)s
ORDER BY distance, item.position DESC LIMIT %(shown)s
"""


def by_picture(fingerprint: int | None, dataset: Dataset) -> list[list[Any]]:
    if fingerprint in (None, PLAIN):
        return []
    with connection.cursor() as cursor:
        cursor.execute(BY_PICTURE, {
            "print": fingerprint, "bits": HASH_BITS, "dataset": dataset.pk, "plain": PLAIN, "farthest": FARTHEST,
            "shown": SHOWN,
        })  # fmt: skip
        return [list(row) for row in cursor.fetchall()]


# --- Shown


class Neighbours(NamedTuple):
    """Of one dataset."""

    dataset: Dataset
    words: list[Near]
    picture: list[Near]


def shown(question: Question, datasets: Sequence[Dataset], css: dict[str, str]) -> list[Neighbours]:
    """What had to go since is not shown."""
    found = question.near or {}
    return [
        Neighbours(
            dataset,
            listed(dataset, found[str(dataset.pk)]["words"], css, alike),
            listed(dataset, found[str(dataset.pk)]["picture"], css, apart),
        )
        for dataset in datasets
        if str(dataset.pk) in found
    ]


def listed(dataset: Dataset, found: list[list[Any]], css: dict[str, str], told: Any) -> list[Near]:
    items = dataset.items.filter(position__in=[position for position, _ in found], removed=None)
    at = {item.position: item for item in items.defer("votes", "reviews", "meta")}
    return [Near(at[n], told(how), css.get(at[n].label, "")) for n, how in found if n in at]


def alike(share: float) -> str:
    return f"{100 * share:.0f}% alike"


def apart(bits: int) -> str:
    return "the same picture" if bits == 0 else f"differs in {bits} of 63 bits"
