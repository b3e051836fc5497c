"""CSV and TSV: a header, then records; a record that does not fit its header is refused by its number."""

import csv
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

from annotate.spreadsheets import restored

from .cells import storable
from .columns import MAX_COLUMNS, Record
from .rows import Refused, Unreadable
from .text_files import is_broken, lines, open_text

DELIMITERS = ",;\t|"
NO_DELIMITER = "\x1f"  # of a file of one column, whose texts may hold all of the others
SAMPLE_CHARACTERS = 64 * 1024
SAMPLE_ROWS = 30
OURS = frozenset({"label_source", "split", "group"})  # columns of our own export, which keeps formulas from running


def read(path: Path) -> Iterator[Record | Refused]:
    delimiter = delimiter_of(path)
    with open_text(path) as file:
        reader = csv.reader(lines(file), delimiter=delimiter)
        header = header_of(reader)
        width, is_ours = len(header), set(header) >= OURS
        for number, row in enumerate(rows(reader), 1):
            if is_ours and isinstance(row, list):
                row = list(map(restored, row))
            if isinstance(row, list) and len(row) == width and not is_broken("".join(row)):
                yield number, dict(zip(header, row, strict=True))
            else:
                yield fitted(number, row, header)


def headers(path: Path) -> list[str]:
    delimiter = delimiter_of(path)
    with open_text(path) as file:
        return header_of(csv.reader(lines(file), delimiter=delimiter))


def rows(reader: Iterator[list[str]]) -> Iterator[list[str] | str]:
    """Rows that are not blank, and a sentence in place of one that cannot be parsed: the reader goes on after it."""
    while True:
        try:
            row = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            yield f"row cannot be read ({error}); is a closing quote missing?"
            continue
        if row:
            yield row


def fitted(number: int, row: list[str] | str, header: list[str]) -> Record | Refused:
    if isinstance(row, str):
        return Refused(number, row)
    excerpt = storable(", ".join(row)[:80])
    if is_broken("".join(row)):
        return Refused(number, "row is not valid UTF-8; save the file as UTF-8", excerpt)
    while len(row) > len(header) and not row[-1]:
        row.pop()  # spreadsheets leave empty cells at the end
    if len(row) != len(header):
        return Refused(number, f"row has {columns(len(row))} where the header has {len(header)}", excerpt)
    return number, dict(zip(header, row, strict=True))


def columns(number: int) -> str:
    return "1 column" if number == 1 else f"{number} columns"


def header_of(reader: Iterator[list[str]]) -> list[str]:
    first = next(rows(reader), None)
    if first is None:
        raise Unreadable("The file is empty. It needs a header that names its columns, then one row for each post.")
    if isinstance(first, str):
        raise Unreadable("The first line is not a header that names the columns.")
    if len(first) > MAX_COLUMNS:
        raise Unreadable(f"The header names {len(first):,} columns; at most {MAX_COLUMNS:,} can be read.")
    return unique_names(list(map(restored, first)) if set(first) >= OURS else first)


def unique_names(header: list[str]) -> list[str]:
    names: dict[str, None] = {}
    for position, cell in enumerate(header, 1):
        name = unmarked = storable(cell).strip() or f"column {position}"
        again = 1
        while name in names:
            again += 1
            name = f"{unmarked} ({again})"
        names[name] = None
    return list(names)


def delimiter_of(path: Path) -> str:
    """The one that cuts most rows as it cuts the header."""
    sample = sample_of(path)
    best = max(DELIMITERS, key=lambda delimiter: evenness(sample, delimiter))
    return best if evenness(sample, best)[1] > 1 else NO_DELIMITER


def is_even(path: Path) -> bool:
    """Whether a file without a telling name is a table."""
    sample = sample_of(path)
    return "\n" in sample.strip() and max(evenness(sample, delimiter)[0] for delimiter in DELIMITERS) > 0.9


def sample_of(path: Path) -> str:
    with open_text(path) as file:
        return file.read(SAMPLE_CHARACTERS).replace("\0", "")


def evenness(sample: str, delimiter: str) -> tuple[float, int]:
    reader = csv.reader(sample.splitlines(keepends=True), delimiter=delimiter)
    widths = [len(row) if isinstance(row, list) else 0 for row in islice(rows(reader), SAMPLE_ROWS)]
    if len(widths) > 1 and len(sample) == SAMPLE_CHARACTERS:
        widths.pop()  # it may be cut in the middle
    if not widths or widths[0] < 2:
        return 0.0, 1
    return widths.count(widths[0]) / len(widths), widths[0]


def count(path: Path) -> int:
    """Lines in all, times the rows a line in the first thousand rows: texts with line breaks take several."""
    with path.open("rb") as raw:
        in_all = sum(block.count(b"\n") for block in iter(lambda: raw.read(1 << 20), b""))
    delimiter = delimiter_of(path)
    with open_text(path) as file:
        reader = csv.reader(lines(file), delimiter=delimiter)
        read = sum(1 for _ in islice(rows(reader), 1001))
        return read - 1 if read <= 1000 else round(in_all / reader.line_num * read) - 1
