"""Which checkpoint a run goes on from. One that was broken off, by a full disk or a kill, is no checkpoint."""

import json
import re
import shutil
from pathlib import Path

FOLDER = "checkpoints"
LAST_WRITTEN = "trainer_state.json"  # by the trainer of transformers, after weights, optimizer and random numbers
NAME = re.compile(r"checkpoint-(\d+)")


def last_whole(folder: Path, is_main: bool) -> str | None:
    """The others go: a page or the trainer's own count of checkpoints would take them for whole ones."""
    whole = None
    for path in sorted((folder / FOLDER).glob("checkpoint-*"), key=step_of, reverse=True):
        if is_whole(path):
            whole = whole or str(path)
        elif is_main:
            shutil.rmtree(path, ignore_errors=True)
    return whole


def step_of(path: Path) -> int:
    match = NAME.fullmatch(path.name)
    return int(match[1]) if match else -1


def is_whole(path: Path) -> bool:
    try:
        return step_of(path) >= 0 and "global_step" in json.loads((path / LAST_WRITTEN).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
