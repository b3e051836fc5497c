"""Every file format that posts come in: which one it is, its rows, and what the upload page shows of it."""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from itertools import chain, islice
from pathlib import Path, PurePath

from . import delimited, exported, fourchan, json_files, label_studio, parquet, picture_sets, sharegpt, topk
from .cells import as_text
from .columns import MAX_COLUMNS, Columns, Record, guess, to_row, topk_of
from .pictures import Fetch, PictureOf, finder, in_folder, is_picture, nowhere
from .rows import Refused, Row, Unreadable
from .text_files import encoding_of

SAMPLE = 50
CELL = 200  # characters of a cell that the preview shows
COUNTED_JSON = 16_000_000  # bytes; counting the records of more would take as long as reading them

READERS: dict[str, Callable[[Path], Iterator[Record | Refused]]] = {
    "csv": delimited.read,
    "tsv": delimited.read,
    "json": json_files.read,
    "jsonl": json_files.read_as_lines,
    "parquet": parquet.read,
}
CONVERSATIONS, TASKS, BOARD, OURS = "sharegpt", "label_studio", "fourchan", "casting_vote"
FORMATS = (*READERS, CONVERSATIONS, TASKS, BOARD, OURS, "images")

ENDINGS = {".csv": "csv", ".tsv": "tsv", ".tab": "tsv", ".json": "json", ".jsonl": "jsonl", ".ndjson": "jsonl"}
NOT_OURS = {
    b"%PDF": "This is a PDF. Export the posts as CSV or JSON.",
    b"\x1f\x8b": "This file is compressed. Unpack it first, or send a ZIP.",
    b"7z\xbc\xaf": "This is a 7z archive. Send a ZIP.",
    b"Rar!": "This is a RAR archive. Send a ZIP.",
    b"SQLite": "This is a database. Export the posts as CSV or JSON.",
    b"ARROW1": "This is an Arrow file. Save it as Parquet.",
    b"\xd0\xcf\x11\xe0": "This is an Office document. Save it as CSV.",
}
OFFICE = frozenset({".xlsx", ".xlsm", ".ods", ".docx", ".odt", ".pptx", ".numbers"})
PICTURES = (b"\xff\xd8\xff", b"\x89PNG", b"GIF8", b"BM", b"RIFF", b"II*\0", b"MM\0*")
UNKNOWN = "This is not a format we know. Send CSV, TSV, JSON, JSON Lines, Parquet, or a ZIP of pictures."
EMPTY = "The file is empty."
CONTROLS = re.compile(rb"[\x00-\x08\x0e-\x1a\x1c-\x1f]")


@dataclass(frozen=True)
class Options:
    format: str = ""  # blank: as detected
    columns: Columns | None = None  # None: as guessed
    labels: tuple[str, ...] = ()
    picture_from_url: Fetch | None = None  # None: addresses are not fetched
    base: Path | None = None  # the folder of the pictures that a lone table names; nothing outside it is read
    board: str = ""
    voter: str = ""  # whose the votes are that come without a name


@dataclass(frozen=True)
class Preview:
    format: str
    headers: list[str]  # none where the format itself says what is what
    columns: Columns | None
    rows: list[dict[str, str]]
    refused: list[Refused] = field(default_factory=list)
    topk: list[tuple[str, str]] = field(default_factory=list)  # who tells probabilities, and where, in words


# --- which format


def detect(path: Path, name: str) -> str:
    if path.is_dir():
        return "images"
    with path.open("rb") as file:
        head = file.read(4096)
    if not head.strip(b" \t\r\n\0"):
        raise Unreadable(EMPTY)
    ending = PurePath(name).suffix.lower()
    return by_first_bytes(head, ending) or by_text(path, head, ending)


def by_first_bytes(head: bytes, ending: str) -> str:
    if head.startswith(b"PAR1"):
        return "parquet"
    if ending == ".parquet":
        raise Unreadable("This is not a Parquet file, whatever its name says.")
    if head.startswith((b"PK\3\4", b"PK\5\6")):
        if ending in OFFICE:
            raise Unreadable("This is an Office document. Save it as CSV.")
        return "images"
    for magic, sentence in NOT_OURS.items():
        if head.startswith(magic):
            raise Unreadable(sentence)
    if head.startswith(PICTURES) and is_picture(f"x{ending}"):
        return "images"
    return ""


def by_text(path: Path, head: bytes, ending: str) -> str:
    encoding = encoding_of(path)
    if not encoding.startswith(("utf-16", "utf-32")) and len(CONTROLS.findall(head)) > len(head) * 0.05 + 1:
        raise Unreadable(UNKNOWN)
    start = head.decode(encoding, errors="replace").lstrip()
    if start[:1] == "<" and ending not in ENDINGS:
        raise Unreadable("This is a web page or XML. Send CSV or JSON.")
    kind = ENDINGS.get(ending, "")
    if start[:1] in {"[", "{"} and (record := first_record(path)) is not None:
        return json_kind(record) or (kind if kind in {"json", "jsonl"} else "json")
    if kind:
        return kind
    if delimited.is_even(path):
        return "csv"
    raise Unreadable(UNKNOWN)


def first_record(path: Path) -> dict[str, object] | None:
    try:
        return next((r[1] for r in islice(json_files.read(path), SAMPLE) if isinstance(r, tuple)), None)
    except Unreadable:
        return None


def json_kind(record: dict[str, object]) -> str:
    if sharegpt.is_conversation(record):
        return CONVERSATIONS
    if label_studio.is_task(record):
        return TASKS
    if exported.is_ours(record):
        return OURS
    return BOARD if fourchan.is_fourchan(record) else ""


# --- rows


def read(path: Path, name: str, options: Options) -> Iterator[Row | Refused]:
    kind = kind_of(path, name, options)
    if kind != "images":
        yield from read_file(path, name, kind, options, pictures_beside(options))
        return
    with picture_sets.opened(path, name) as shelf:
        yield from picture_sets.read(shelf, options.labels, table_reader(options))


def kind_of(path: Path, name: str, options: Options) -> str:
    kind = options.format or detect(path, name)
    if kind not in FORMATS:
        raise Unreadable(f"“{kind}” is not a format; there are {', '.join(FORMATS)}.")
    if kind == "jsonl" and options.columns is None and exported.is_ours(first_record(path) or {}):
        return OURS  # a program that sends lines need not know that these tell more
    return kind


def pictures_beside(options: Options) -> PictureOf:
    return finder(in_folder(options.base) if options.base else nowhere, options.picture_from_url)


def table_reader(options: Options) -> picture_sets.ReadTable:
    """For tables that lie beside their pictures."""

    def read_table(path: Path, name: str, picture_of: PictureOf) -> Iterator[Row | Refused]:
        rows = read_file(path, name, kind_beside(path, name), options, finder(picture_of, options.picture_from_url))
        return (exported.of_split(row, name) for row in rows)

    return read_table


def kind_beside(path: Path, name: str) -> str:
    kind = detect(path, name)
    if kind == "images":
        raise Unreadable("This is not a table, whatever its name says.")
    return kind


def read_file(path: Path, name: str, kind: str, options: Options, picture_of: PictureOf) -> Iterator[Row | Refused]:
    if kind == CONVERSATIONS:
        turns = sharegpt.read(json_files.read(path), options.labels, picture_of)
        return (exported.of_split(row, name) for row in turns)
    if kind == TASKS:
        return label_studio.read(json_files.read(path), options.columns, options.labels, picture_of)
    if kind == OURS:
        return exported.read(json_files.read(path), picture_of)
    if kind == BOARD:
        return fourchan.read(json_files.read(path), picture_of, options.board, name)
    return table_rows(READERS[kind](path), options, picture_of)


def table_rows(records: Iterator[Record | Refused], options: Options, picture_of: PictureOf) -> Iterator[Row | Refused]:
    sample = sample_of(records)
    columns = columns_of(sample, options)
    for record in chain(sample, records):
        yield record if isinstance(record, Refused) else exported.of_table(to_row(*record, columns, picture_of))


def sample_of(records: Iterator[Record | Refused]) -> list[Record | Refused]:
    """Some good records, however many bad ones come first."""
    sample: list[Record | Refused] = []
    good = 0
    for record in islice(records, SAMPLE * 20):
        sample.append(record)
        good += isinstance(record, tuple)
        if good == SAMPLE:
            break
    if not sample:
        raise Unreadable("There are no rows in this file.")
    return sample


def values_and_headers(sample: list[Record | Refused]) -> tuple[list[dict[str, object]], list[str]]:
    values = [record[1] for record in sample if isinstance(record, tuple)]
    return values, list(dict.fromkeys(header for record in values for header in record))[:MAX_COLUMNS]


def columns_of(sample: list[Record | Refused], options: Options) -> Columns:
    values, headers = values_and_headers(sample)
    columns = options.columns or guess(headers, values, list(options.labels))
    columns = replace(columns, voter=columns.voter or options.voter)
    listed = ", ".join(headers)[:300]
    if headers and not (columns.text or columns.image or columns.has_votes_alone):
        raise Unreadable(f"No column of texts or pictures was found among: {listed}. Say which it is.")
    has_header = len({tuple(record) for record in values}) == 1  # objects of a JSON file may leave fields out
    if has_header and (missing := [column for column in columns.named() if column not in headers]):
        raise Unreadable(f"The file has no column “{missing[0][:80]}”. It has: {listed}.")
    return columns


# --- for the upload page


def preview(path: Path, name: str, options: Options, limit: int = 8) -> Preview:
    kind = kind_of(path, name, options)
    if kind != "images":
        return preview_file(path, name, kind, options, limit, pictures_beside(options))
    with picture_sets.opened(path, name) as shelf:
        tables, _ = picture_sets.choose_tables(shelf, table_reader(options))
        for table, file in tables.items():
            find = finder(shelf.beside(table), options.picture_from_url)
            shown = preview_file(file, table, kind_beside(file, table), options, limit, find)
            return replace(shown, format=kind)
        return preview_rows(kind, picture_sets.read(shelf, options.labels, table_reader(options)), limit)


def preview_file(path: Path, name: str, kind: str, options: Options, limit: int, picture_of: PictureOf) -> Preview:
    if kind not in READERS:
        return preview_rows(kind, read_file(path, name, kind, options, picture_of), limit)
    sample = sample_of(READERS[kind](path))
    values, headers = values_and_headers(sample)
    columns = options.columns or guess(headers, values, list(options.labels))
    rows = [{header: cell(record.get(header)) for header in headers} for record in values[:limit]]
    refused = [r for r in sample if isinstance(r, Refused)][:limit]
    return Preview(kind, headers, columns, rows, refused, topk_in_words(headers, values))


def topk_in_words(headers: list[str], sample: list[dict[str, object]]) -> list[tuple[str, str]]:
    """By the first column of each."""
    values = {h: [v for record in sample if (v := record.get(h)) is not None and v != ""] for h in headers}
    ranked = {one.key: one for one in topk.rankings(headers)}
    return [(key, said_of(key, ranked.get(key))) for key in topk_of(headers, values)]


def said_of(key: str, ranking: topk.Ranking | None) -> str:
    if ranking is None:
        return f"{key}: labels with their probabilities"
    k = len(ranking.pairs)
    who = f"{ranking.voter}, " if ranking.voter else ""
    return f"{who}{ranking.key} to {ranking.pairs[-1][0]}" if k > 1 else f"{who}{ranking.key}"


def preview_rows(kind: str, rows: Iterator[Row | Refused], limit: int) -> Preview:
    first = list(islice(rows, limit * 3))
    shown = [shown_row(row) for row in first if isinstance(row, Row)][:limit]
    return Preview(kind, [], None, shown, [row for row in first if isinstance(row, Refused)][:limit])


def shown_row(row: Row) -> dict[str, str]:
    return {
        "text": cell(row.text),
        "picture": row.picture.name if row.picture else "",
        "label": row.label,
        "votes": ", ".join(f"{vote.voter}: {vote.label}" for vote in row.votes)[:CELL],
        "date": f"{row.posted_at:%Y-%m-%d %H:%M}" if row.posted_at else "",
    }


def cell(value: object) -> str:
    text = as_text(value)
    return text if len(text) <= CELL else text[: CELL - 1] + "…"


def count(path: Path, name: str, options: Options) -> int | None:
    """About how many rows there are; None where finding out would take as long as reading."""
    kind = kind_of(path, name, options)
    if kind != "images":
        return count_file(path, kind)
    with picture_sets.opened(path, name) as shelf:
        tables, _ = picture_sets.choose_tables(shelf, table_reader(options))
        if not tables:
            return len(shelf.pictures)
        counts = [count_file(file, kind_beside(file, table)) for table, file in tables.items()]
        return None if None in counts else sum(filter(None, counts))


def count_file(path: Path, kind: str) -> int | None:
    if kind == "parquet":
        return parquet.count(path)
    if kind in {"csv", "tsv"}:
        return delimited.count(path)
    if kind == BOARD or path.stat().st_size > COUNTED_JSON:
        return None
    return sum(1 for _ in json_files.read(path))
