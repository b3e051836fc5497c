"""Parquet with the pictures inside, a table a split, as Hugging Face's `datasets` writes it: `load_dataset` gives
pictures and named labels, and the Hub shows them. Written a few pictures at a time."""

import io
import json
from collections.abc import Iterator
from datetime import UTC
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from modeling.datasets import items
from modeling.datasets.items import Item
from modeling.models import Dataset

from . import pictures
from .members import Member, Options, held, readme

FOLDER = "data"
# Of one row group, which is in memory as a whole; and every group adds 60 KB to what is held until the end.
MOST_ROWS = 4000
MOST_BYTES = 16 << 20  # of pictures and words

VOTE = {"voter": pa.string(), "label": pa.string(), "confidence": pa.float64(), "probabilities": pa.string(),
        "reason": pa.string(), "text_reading": pa.string(), "image_reading": pa.string(), "incongruous": pa.bool_(),
        "at": pa.string()}  # fmt: skip
REVIEW = {"reviewer": pa.string(), "why": pa.string(), "label": pa.string(), "instead": pa.string(),
          "note": pa.string(), "incongruous": pa.bool_(), "final": pa.bool_(), "saw": pa.list_(pa.string()),
          "seconds": pa.float64(), "at": pa.string()}  # fmt: skip
COLUMNS = {
    "id": pa.string(),
    "text": pa.string(),
    "image": pa.struct({"bytes": pa.binary(), "path": pa.string()}),
    "label": pa.int64(),
    "label_source": pa.string(),
    "group": pa.int64(),
    "incongruous": pa.bool_(),
    "confidence": pa.float64(),
    "source": pa.string(),
    "at": pa.timestamp("us", tz="UTC"),
    "template": pa.string(),
    "meta": pa.string(),
    "votes": pa.list_(pa.struct(VOTE)),
    "reviews": pa.list_(pa.struct(REVIEW)),
}
NAMES = {"double": "float64"}  # what arrow and `datasets` call differently

HOW = """
## Reading this export

    load_dataset("this folder")

or push the folder to the Hub as it is. `label` is a ClassLabel, `image` a picture or null; `votes` and `reviews` hold
everything that was said. `meta` and `probabilities` are JSON.
"""


def members(dataset: Dataset, options: Options) -> Iterator[Member]:
    yield readme(dataset, HOW)
    labels = [label["name"] for label in dataset.facts["labels"]]
    missing: set[str] = set()
    for split in held(dataset, options):
        rows = items.items(dataset, [split])
        yield Member(f"{FOLDER}/{split}-00000-of-00001.parquet", written(rows, labels, options.with_pictures, missing))
    if missing:
        yield Member(pictures.MISSING, iter([pictures.told(missing)]))


def written(rows: Iterator[Item], labels: list[str], with_pictures: bool, missing: set[str]) -> Iterator[bytes]:
    drain = Drain()
    schema = pa.schema(COLUMNS, metadata={"huggingface": json.dumps({"info": {"features": features(labels)}})})
    words = [name for name in COLUMNS if name != "image"]
    with pq.ParquetWriter(drain, schema, use_dictionary=words, write_statistics=False) as writer:
        group: list[dict[str, Any]] = []
        size = 0
        for item in rows:
            group.append(row := record(item, labels, with_pictures, missing))
            size += heft(row)
            if len(group) == MOST_ROWS or size >= MOST_BYTES:
                writer.write_table(pa.Table.from_pylist(group, schema))
                yield drain.taken()
                group, size = [], 0
        if group:
            writer.write_table(pa.Table.from_pylist(group, schema))
    yield drain.taken()


def heft(row: dict[str, Any]) -> int:
    picture = row["image"]["bytes"] or b"" if row["image"] else b""
    return len(picture) + len(row["text"]) + sum(len(vote.get("reason", "")) for vote in row["votes"])


class Drain(io.RawIOBase):
    """Arrow writes, and we pass on what it wrote."""

    def __init__(self) -> None:
        self.held = bytearray()
        self.at = 0

    def writable(self) -> bool:
        return True

    def tell(self) -> int:
        return self.at

    def write(self, data: Any, /) -> int:
        self.held += data
        self.at += len(data)
        return len(data)

    def taken(self) -> bytes:
        taken = bytes(self.held)
        self.held.clear()
        return taken


def features(labels: list[str]) -> dict[str, Any]:
    """As all versions of `datasets` read it: lists as lists."""
    described = {name: feature(kind) for name, kind in COLUMNS.items()}
    return described | {"image": {"_type": "Image"}, "label": {"names": labels, "_type": "ClassLabel"}}


def feature(kind: pa.DataType) -> Any:
    if pa.types.is_struct(kind):
        return {field.name: feature(field.type) for field in kind}
    if pa.types.is_list(kind):
        return [feature(kind.value_type)]
    return {"dtype": NAMES.get(str(kind), str(kind)), "_type": "Value"}


def record(item: Item, labels: list[str], with_pictures: bool, missing: set[str]) -> dict[str, Any]:
    return {
        "id": item.id,
        "text": item.text,
        "image": embedded(item.image, with_pictures, missing) if item.image else None,
        "label": labels.index(item.label),
        "label_source": item.label_source,
        "group": item.group,
        "incongruous": item.incongruous,
        "confidence": item.confidence,
        "source": item.source,
        "at": item.at.astimezone(UTC),
        "template": item.template,
        "meta": json.dumps(item.meta, ensure_ascii=False) if item.meta else "",
        "votes": [vote | probabilities(vote) for vote in item.votes],
        "reviews": item.reviews,
    }


def embedded(image: str, with_pictures: bool, missing: set[str]) -> dict[str, Any] | None:
    path = f"{pictures.FOLDER}/{image}"
    if not with_pictures:
        return {"bytes": None, "path": path}
    file = pictures.opened(image)
    if file is None:
        pictures.lost(path, missing)
        return None
    return {"bytes": b"".join(pictures.read(file)), "path": image}


def probabilities(vote: dict[str, Any]) -> dict[str, str]:
    return {"probabilities": json.dumps(vote["probabilities"])} if "probabilities" in vote else {}
