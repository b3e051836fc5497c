"""JSON and JSON Lines, a record at a time: parsers of whole files neither go on after a broken one nor read NaN."""

import re
from collections.abc import Iterator
from json import JSONDecodeError, JSONDecoder
from pathlib import Path
from typing import TextIO

from .cells import storable
from .columns import Record
from .exported import is_ours
from .rows import Refused, Unreadable
from .text_files import MAX_LINE, is_broken, lines, open_text

CHUNK = 1 << 18
NEAR_THE_END = 16  # an error this close to the end of what was read may only be a value cut in two
DECODER = JSONDecoder(strict=False)  # line breaks inside strings are wrong and common
SPACE = re.compile(r"[ \t\r\n]*")
FIRST_KEY = re.compile(r'\{\s*"[^"\\]{1,100}"')
LISTS_INSIDE_ONE_RECORD = frozenset({"messages", "conversations", "annotations", "predictions"})
NO_RECORDS = (
    "No list of records was found in this JSON file. It should be a list of objects, [{…}, {…}], "
    'or one object a line; from pandas: to_json(orient="records").'
)

Problem = tuple[str, str]  # the reason and an excerpt
Parsed = dict[str, object] | Problem


def read(path: Path) -> Iterator[Record | Refused]:
    return numbered(read_lines(path) if has_lines(path) else read_array(path))


def read_as_lines(path: Path) -> Iterator[Record | Refused]:
    """For files that are called JSON Lines, and may begin with a broken one."""
    return read(path) if opening(path) == "[" else numbered(read_lines(path))


def numbered(records: Iterator[Parsed]) -> Iterator[Record | Refused]:
    for number, parsed in enumerate(records, 1):
        yield Refused(number, *parsed) if isinstance(parsed, tuple) else (number, parsed)


def opening(path: Path) -> str:
    with open_text(path) as file:
        return Window(file).peek()


def has_lines(path: Path) -> bool:
    """Whether each line is an object, whatever the file is called."""
    if opening(path) != "{":
        return False
    with open_text(path) as file:
        texts = (line for line in lines(file) if line.strip())
        first, second = next(texts, ""), next(texts, "")
    record = record_in(first)
    if second:
        return isinstance(record, dict) or second.lstrip().startswith("{")
    return isinstance(record, dict) and (is_ours(record) or not holds_records(record))


def holds_records(value: dict[str, object]) -> bool:
    lists = (inside for key, inside in value.items() if key not in LISTS_INSIDE_ONE_RECORD)
    return any(isinstance(inside, list) and inside and isinstance(inside[0], dict) for inside in lists)


def read_lines(path: Path) -> Iterator[Parsed]:
    with open_text(path) as file:
        for line in lines(file):
            if line := line.strip():
                yield record_in(line)


def record_in(line: str) -> Parsed:
    if len(line) > MAX_LINE:
        return f"record is longer than {MAX_LINE:,} characters", excerpt(line)
    try:
        return checked(DECODER.decode(line), line)
    except (ValueError, RecursionError) as error:
        return reason(error), excerpt(line)


def read_array(path: Path) -> Iterator[Parsed]:
    with open_text(path) as file:
        window = Window(file)
        mark = window.peek()
        try:
            if mark == "{":
                enter_list(window)
            elif mark == "[":
                window.at += 1
            else:
                raise Unreadable(NO_RECORDS)
        except (ValueError, RecursionError) as error:
            raise Unreadable(NO_RECORDS) from error
        yield from elements(window)


def enter_list(window: "Window") -> None:
    """From the start of an object to the first element of its first list of objects."""
    window.at += 1
    while window.peek() == '"':
        window.value()
        if window.peek() != ":":
            break
        window.at += 1
        if window.peek() == "[":
            window.at += 1
            if window.peek() == "{":
                return
            skip_list(window)
        else:
            window.value()
        if window.peek() == ",":
            window.at += 1
    raise Unreadable(NO_RECORDS)


def skip_list(window: "Window") -> None:
    while window.peek() not in {"]", ""}:
        if window.peek() == ",":
            window.at += 1
        else:
            window.value()
    window.at += 1


def elements(window: "Window") -> Iterator[Parsed]:
    window.peek()
    first_key = FIRST_KEY.match(window.text, window.at)
    next_record = re.compile(r"\}\s*,\s*(?=" + (re.escape(first_key[0]) if first_key else r"\{") + ")")
    broken = False
    while mark := window.peek():
        if mark == ",":
            window.at += 1
        elif mark == "]":
            # Having lost the thread once, this may be the end of a list inside a record.
            if not (broken and window.skip_to(next_record)):
                return
        else:
            try:
                value = window.value()
                yield checked(value, window.last)
            except (ValueError, RecursionError) as error:
                broken = True
                yield reason(error), excerpt(window.text[window.at : window.at + 200])
                window.at += 1
                if not window.skip_to(next_record):
                    return
    yield "the file ends in the middle of the list: is it complete?", ""


class Window:
    """The part of a JSON text that is in memory, and how far it has been read."""

    def __init__(self, file: TextIO) -> None:
        self.file = file
        self.text = ""
        self.at = 0
        self.last = ""  # the source of the last value

    def more(self) -> bool:
        """Twice as much each time a value does not fit, so that reading a long one again stays cheap."""
        self.text = self.text[self.at :]
        self.at = 0
        read = self.file.read(max(CHUNK, len(self.text)))
        self.text += read
        return bool(read)

    def peek(self) -> str:
        while True:
            space = SPACE.match(self.text, self.at)
            assert space
            self.at = space.end()
            if self.at < len(self.text):
                return self.text[self.at]
            if not self.more():
                return ""

    def value(self) -> object:
        while True:
            try:
                value, end = DECODER.raw_decode(self.text, self.at)
            except JSONDecodeError as error:
                if not self.is_cut(error):
                    raise
                if len(self.text) - self.at > MAX_LINE:
                    raise ValueError(f"longer than {MAX_LINE:,} characters") from error
                if not self.more():
                    raise
            else:
                self.last, self.at = self.text[self.at : end], end
                return value

    def is_cut(self, error: JSONDecodeError) -> bool:
        return error.msg.startswith("Unterminated string") or error.pos >= len(self.text) - NEAR_THE_END

    def skip_to(self, pattern: re.Pattern[str]) -> bool:
        while not (found := pattern.search(self.text, self.at)):
            self.at = max(self.at, len(self.text) - 200)  # it may begin here and end in what comes next
            if not self.more():
                return False
        self.at = found.end()
        return True


def checked(value: object, source: str) -> Parsed:
    if is_broken(source):
        return "record is not valid UTF-8; save the file as UTF-8", excerpt(source)
    if not isinstance(value, dict):
        return "record is not an object with named fields", excerpt(source)
    if "\\u" not in source and "\0" not in source:
        return value
    return {storable(name): inside for name, inside in value.items()}  # pages show the names as headings


def reason(error: ValueError | RecursionError) -> str:
    if isinstance(error, RecursionError):
        return "record is nested too deeply"
    return f"record is not valid JSON ({error.msg if isinstance(error, JSONDecodeError) else str(error)[:80]})"


def excerpt(source: str) -> str:
    return storable(source[:80])
