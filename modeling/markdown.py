"""Pure: other people's words in our Markdown, where `|`, a backtick or `<img>` of theirs must mean nothing."""

import re
import unicodedata
from collections.abc import Iterable, Sequence

MEANS_SOMETHING = re.compile(r"([\\`*_\[\]<>&|~$!#])")
MARKED = re.compile(r"\A([-+=])")
NUMBERED = re.compile(r"\A(\d+)([.)])")
TICKS = re.compile(r"`+")
TURNS = {"\u061c", "\u200e", "\u200f", *map(chr, range(0x202A, 0x202F)), *map(chr, range(0x2066, 0x206A))}


def plain(words: object) -> str:
    """In a line of text or a cell of a table, exactly as it reads."""
    line = " ".join(shown(str(words)).split())
    escaped = MEANS_SOMETHING.sub(r"\\\1", line)
    return NUMBERED.sub(r"\1\\\2", MARKED.sub(r"\\\1", escaped))


def shown(words: str) -> str:
    """Without what moves other words about and cannot be seen itself."""
    kept = (c for c in words if c not in TURNS and (unicodedata.category(c) != "Cc" or c in "\n\t"))
    return "".join(kept)


def fenced(words: str, language: str = "") -> list[str]:
    """A block as it was written; its fence is longer than any that stands within."""
    text = shown(words).strip("\n")
    fence = "`" * max(3, 1 + max((len(ticks) for ticks in TICKS.findall(text)), default=0))
    return [f"{fence}{language}", *text.split("\n"), fence]


def table(heads: Sequence[str], rows: Iterable[Sequence[str]], right: int | None = None) -> list[str]:
    """The cells are Markdown already. From column `right` on there are figures."""
    begin = len(heads) if right is None else right
    rule = ["---" if n < begin else "---:" for n in range(len(heads))]
    return [row(heads), row(rule), *map(row, rows)]


def row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cell or '–' for cell in cells)} |"
