"""What a frozen dataset holds, read a window at a time: a million posts take no more memory than a thousand."""

import hashlib
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from django.db import connection

from annotate.images import EXTENSIONS
from modeling.models import Dataset, Split

WINDOW = 2000
ENDINGS = json.dumps(EXTENSIONS)
SPLITS = tuple(str(split) for split in Split)
TO_TRAIN_WITH = (Split.TRAIN, Split.VALIDATION, Split.TEST)  # whoever has the locked test set has its answers


@dataclass(frozen=True, slots=True)
class Item:
    position: int
    id: str
    text: str
    image: str  # its hash and ending; blank where there is no picture
    label: str
    label_source: str
    split: str
    group: int
    incongruous: bool | None
    confidence: float | None
    source: str
    at: datetime
    template: str
    meta: dict[str, Any]
    votes: list[dict[str, Any]]
    reviews: list[dict[str, Any]]


# By position, so that a slow download holds no transaction open; what had to go is passed over.
COLUMNS = """
SELECT position, external_id, text, image, label, label_source, split, kin, incongruous, confidence, source, at,
  template, meta, votes, reviews
FROM modeling_datasetitem"""
READ = f"""{COLUMNS}
WHERE dataset_id = %s AND position > %s AND split = ANY(%s) AND removed IS NULL
ORDER BY position LIMIT %s
"""
READ_AT = f"{COLUMNS} WHERE dataset_id = %s AND position = ANY(%s) AND removed IS NULL ORDER BY position"


def items(dataset: Dataset, splits: Iterable[str] = SPLITS, window: int = WINDOW, after: int = 0) -> Iterator[Item]:
    wanted = [str(split) for split in splits]
    while True:
        with connection.cursor() as cursor:
            cursor.execute(READ, [dataset.pk, after, wanted, window])
            page = [as_item(row) for row in cursor.fetchall()]
        yield from page
        if len(page) < window:
            return
        after = page[-1].position


def items_at(dataset: Dataset, positions: list[int]) -> list[Item]:
    with connection.cursor() as cursor:
        cursor.execute(READ_AT, [dataset.pk, positions])
        return [as_item(row) for row in cursor.fetchall()]


def as_item(row: tuple[Any, ...]) -> Item:
    return Item(*row[:-3], *map(json.loads, row[-3:]))


def line(item: Item) -> bytes:
    """One post of the JSONL export, to the byte; the content hash is made of these."""
    told = {
        "id": item.id,
        "text": item.text,
        "image": f"images/{item.image}" if item.image else "",
        "label": item.label,
        "label_source": item.label_source,
        "split": item.split,
        "group": item.group,
        "incongruous": item.incongruous,
        "confidence": item.confidence,
        "source": item.source,
        "at": item.at.astimezone(UTC).isoformat(),
        "template": item.template,
        "meta": item.meta,
        "votes": item.votes,
        "reviews": item.reviews,
    }
    return as_line({name: value for name, value in told.items() if value not in (None, "", {}, [])})


def as_line(value: object) -> bytes:
    return json.dumps(value, ensure_ascii=False).encode() + b"\n"


def facts_file(dataset: Dataset) -> bytes:
    """`dataset.json`; followed by `posts.jsonl` with all splits, it has the content hash: `sha256sum` tells."""
    return json.dumps(dataset.facts, ensure_ascii=False, indent=1, sort_keys=True).encode() + b"\n"


def hash_of(dataset: Dataset, beat: Any = lambda: None) -> str:
    digest = hashlib.sha256(facts_file(dataset))
    for n, item in enumerate(items(dataset)):
        digest.update(line(item))
        if n % WINDOW == 0:
            beat()
    return digest.hexdigest()
