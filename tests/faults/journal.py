"""What one person asked for and heard back, written down at once: being killed loses no line of it."""

import json
import os
from functools import cached_property
from pathlib import Path
from typing import Any


class Journal:
    def __init__(self, path: Path) -> None:
        self.path = path
        self.lines: list[dict[str, Any]] = []
        if path.exists():  # each line came in one write, so it is whole or not there
            self.lines = [json.loads(line) for line in path.read_text().splitlines()]

    @cached_property
    def file(self) -> int:
        return os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)

    def write(self, **line: Any) -> None:
        os.write(self.file, json.dumps(line).encode() + b"\n")
        self.lines.append(line)

    def unheard(self) -> dict[str, Any] | None:
        """The last answer, where nothing was heard of it."""
        heard = {line.get("kept") or line.get("refused") for line in self.lines}
        asked = [line for line in self.lines if "ask" in line and line["ask"] not in heard]
        return {"key": asked[-1]["ask"], "pk": asked[-1]["pk"], "said": asked[-1]["said"]} if asked else None

    def not_taken_back(self) -> int | None:
        asked = [line for line in self.lines if "undo" in line]
        done = [line for line in self.lines if "undone" in line]
        return asked[-1]["undo"] if len(asked) > len(done) else None
