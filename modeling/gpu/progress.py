"""What a run writes while it goes: a line of JSON for each thing worth knowing, read by whoever watches."""

import json
import os
import time
from pathlib import Path
from typing import Any

FILE = "progress.jsonl"
STOP = "stop"  # a file of this name asks it to save a checkpoint and end


def whole_lines(path: Path) -> int:
    """Up to which byte: what a full disk or a kill cut off counts for nothing."""
    return path.read_bytes().rfind(b"\n") + 1 if path.exists() else 0


def drop_half_a_line(path: Path) -> None:
    """The next one would be written to its end, and nobody could read either."""
    if path.exists() and path.stat().st_size > (whole := whole_lines(path)):
        os.truncate(path, whole)


class Progress:
    """Of several processes the first one writes; but each may say why it failed."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.is_main = os.environ.get("RANK", "0") == "0"  # as accelerate and torchrun tell it
        if self.is_main:
            drop_half_a_line(folder / FILE)
        self.file = (folder / FILE).open("a", encoding="utf-8")
        self.begins = self.file.tell()

    def write(self, kind: str, **told: Any) -> None:
        """Whole lines alone, at once: a reader never sees half of one, and a killed run loses none."""
        if (not self.is_main and kind != "failed") or (kind == "failed" and self.has_failed):
            return
        line = json.dumps({"kind": kind, "at": round(time.time(), 3), **told}) + "\n"
        self.file.write(line)
        self.file.flush()
        os.fsync(self.file.fileno())

    @property
    def has_failed(self) -> bool:
        """Another process said why; that it is gone is no news."""
        with (self.folder / FILE).open(encoding="utf-8") as file:
            file.seek(self.begins)
            return '"kind": "failed"' in file.read()

    @property
    def stop_asked(self) -> bool:
        return (self.folder / STOP).exists()
