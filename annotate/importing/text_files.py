"""Lines of text from a file of any usual encoding, never more than one of them in memory."""

import codecs
import re
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

MAX_LINE = 16_000_000  # characters: a record with a picture inside fits, a hostile one does not fill the memory
CHUNK = 1 << 16
ENOUGH = 1000  # bytes or sequences that are not ASCII, to tell the encoding by
BOMS = (  # UTF-32 first: its mark begins like that of UTF-16
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
HIGH = re.compile(rb"[\x80-\xff]")
MULTIBYTE = re.compile(rb"[\xc2-\xdf][\x80-\xbf]|[\xe0-\xef][\x80-\xbf]{2}|[\xf0-\xf4][\x80-\xbf]{3}")


def open_text(path: Path) -> TextIO:
    """Bytes that are not UTF-8 become lone surrogates, which `is_broken` finds: they cost one record, not the file."""
    encoding = encoding_of(path)
    errors = "surrogateescape" if encoding.startswith("utf-8") else "replace"
    return path.open(encoding=encoding, errors=errors, newline="")


def is_broken(text: str) -> bool:
    if text.isascii():
        return False
    try:
        text.encode()  # ten times as fast as looking for the marks
    except UnicodeEncodeError:
        return True
    return False


def lines(file: TextIO) -> Iterator[str]:
    """A line longer than MAX_LINE comes cut at one character more, so that who reads it can tell."""
    while line := file.readline(MAX_LINE + 1):
        if len(line) > MAX_LINE:
            rest = line
            while rest and rest[-1] not in "\r\n":
                rest = file.readline(MAX_LINE)
        yield line.replace("\0", "") if "\0" in line else line


def encoding_of(path: Path) -> str:
    with path.open("rb") as file:
        head = file.read(4096)
    for mark, encoding in BOMS:
        if head.startswith(mark):
            return encoding
    return utf16_without_mark(head) or utf8_or_cp1252(path)


def utf16_without_mark(head: bytes) -> str:
    """In UTF-16 nearly every second byte of Latin letters is zero."""
    pairs = len(head) // 2
    even, odd = head[0::2].count(0), head[1::2].count(0)
    if odd > pairs * 0.3 and even < pairs * 0.05:
        return "utf-16-le"
    if even > pairs * 0.3 and odd < pairs * 0.05:
        return "utf-16-be"
    return ""


def utf8_or_cp1252(path: Path) -> str:
    """UTF-8 with some broken records holds sequences that are valid; Windows-1252 holds next to none, by chance."""
    valid = stray = 0
    carried = b""
    with path.open("rb") as file:
        while chunk := file.read(CHUNK):
            chunk = carried + chunk
            carried = chunk[-3:] if HIGH.search(chunk[-3:]) else b""
            if chunk.isascii():
                continue
            found = MULTIBYTE.findall(chunk)
            valid += len(found)
            stray += len(HIGH.findall(chunk)) - sum(map(len, found))
            if valid + stray > ENOUGH:
                break
    return "utf-8" if valid * 10 >= stray else "cp1252"
