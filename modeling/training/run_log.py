"""The last lines of a run's log, told to its row, so that a page on any machine can show them."""

import re
import time
from pathlib import Path

FILE = "log.txt"
LINES, LONGEST = 200, 8 * 1024  # as much is told
READ = 128 * 1024  # of bars that were drawn over and over little stays
EVERY = 3.0  # seconds between two times that it is told, at least
COLOURS = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


class Tail:
    def __init__(self, folder: Path) -> None:
        self.path = folder / FILE
        self.size = -1
        self.told_at = 0.0

    def news(self, at_once: bool = False) -> str | None:
        """Nothing where the log is as it was, or was told a moment ago."""
        now, size = time.monotonic(), self.path.stat().st_size
        if size == self.size or (now - self.told_at < EVERY and not at_once):
            return None
        self.size, self.told_at = size, now
        return end_of(self.path)


def end_of(path: Path) -> str:
    """Of a bar that was drawn over and over, how it ended."""
    with path.open("rb") as file:
        size = file.seek(0, 2)
        file.seek(max(0, size - READ))
        text = COLOURS.sub("", file.read().decode("utf-8", "replace")).replace("\0", "")
    lines = [line.rstrip("\r").rpartition("\r")[2] for line in text.rstrip("\n").split("\n")]
    kept = "\n".join(lines[-LINES:])
    return kept if len(kept) <= LONGEST else kept[-LONGEST:].partition("\n")[2] or kept[-LONGEST:]
