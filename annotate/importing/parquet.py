"""Parquet files, a batch of rows at a time; labels stored as numbers get the names that the file's metadata has."""

import json
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from .cells import as_text, storable
from .columns import Record
from .rows import Refused, Unreadable

ROWS = 1000
ROWS_WITH_PICTURES = 32
FAILURES = (pa.ArrowException, OSError, ValueError, OverflowError, NotImplementedError)


def read(path: Path) -> Iterator[Record | Refused]:
    with opened(path) as file:
        names = label_names(file.schema_arrow)
        heavy = any(holds_bytes(column.type) for column in file.schema_arrow)
        batches = file.iter_batches(batch_size=ROWS_WITH_PICTURES if heavy else ROWS)
        number = 0
        while True:
            try:
                batch = next(batches, None)
            except FAILURES as error:
                yield Refused(number + 1, f"the file is damaged from this row on ({said(error)})")
                return
            if batch is None:
                return
            for record in records(with_plain_names(in_microseconds(batch))):
                number += 1
                yield Refused(number, record) if isinstance(record, str) else (number, named(record, names))


def opened(path: Path) -> pq.ParquetFile:
    try:
        return pq.ParquetFile(path)
    except FAILURES as error:
        raise Unreadable(f"This Parquet file cannot be read ({said(error)}).") from error


def headers(path: Path) -> list[str]:
    with opened(path) as file:
        return [storable(name) for name in file.schema_arrow.names]


def count(path: Path) -> int:
    with opened(path) as file:
        return int(file.metadata.num_rows)


def records(batch: pa.RecordBatch) -> Iterator[dict[str, object] | str]:
    """A batch at once; where one value cannot be had, row by row, so that it costs only its own."""
    try:
        yield from batch.to_pylist()
    except FAILURES:
        for at in range(batch.num_rows):
            try:
                yield batch.slice(at, 1).to_pylist()[0]
            except FAILURES as error:
                yield f"row cannot be read ({said(error)})"


def in_microseconds(batch: pa.RecordBatch) -> pa.RecordBatch:
    """Python's dates have no nanoseconds."""
    for at, column in enumerate(batch.schema):
        if pa.types.is_timestamp(column.type) and column.type.unit == "ns":
            micro = pa.timestamp("us", column.type.tz)
            batch = batch.set_column(at, pa.field(column.name, micro), batch.column(at).cast(micro, safe=False))
    return batch


def with_plain_names(batch: pa.RecordBatch) -> pa.RecordBatch:
    """Pages show the names as headings, and a form sends them back without a NUL."""
    names = [storable(name) for name in batch.schema.names]
    return batch if names == batch.schema.names else batch.rename_columns(names)


def holds_bytes(kind: pa.DataType) -> bool:
    if pa.types.is_struct(kind):
        return any(holds_bytes(kind.field(at).type) for at in range(kind.num_fields))
    return bool(pa.types.is_binary(kind) or pa.types.is_large_binary(kind))


def label_names(schema: pa.Schema) -> dict[str, list[str]]:
    """`ClassLabel` columns, as the Hugging Face `datasets` library writes them."""
    with suppress(ValueError, KeyError, TypeError, AttributeError, RecursionError):
        described = json.loads((schema.metadata or {})[b"huggingface"])["info"]["features"]
        return {
            column: [as_text(name) for name in feature["names"]]
            for column, feature in described.items()
            if isinstance(feature, dict) and feature.get("_type") == "ClassLabel"
        }
    return {}


def named(record: dict[str, object], names: dict[str, list[str]]) -> dict[str, object]:
    for column, known in names.items():
        value = record.get(column)
        if isinstance(value, int) and -1 <= value < len(known):
            record[column] = known[value] if value >= 0 else None  # -1 is how that library writes "no label"
    return record


def said(error: BaseException) -> str:
    if isinstance(error, UnicodeError):
        return "not valid UTF-8"
    return storable(str(error).splitlines()[0][:100]) if str(error) else type(error).__name__
