"""A process of the gpu folder, as the site sees it: it never outlives us, and tells what it does in a file."""

import json
import os
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import IO, Any

from annotate.offspring import die_with_parent

from .gpu import full_disk
from .gpu.progress import FILE, STOP, whole_lines

HERE = Path(__file__).resolve().parent.parent


@contextmanager
def child(command: Sequence[str], log: IO[bytes]) -> Iterator["subprocess.Popen[bytes]"]:
    """Neither an exception of ours, nor our death, leaves it behind."""
    process = subprocess.Popen(
        command, cwd=HERE, stdout=log, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL,
        env=os.environ | {"TOKENIZERS_PARALLELISM": "false"}, preexec_fn=partial(die_with_parent, os.getpid()),
    )  # fmt: skip
    try:
        yield process
    finally:
        if process.poll() is None:
            process.kill()
        process.wait()


def looks(
    process: "subprocess.Popen[bytes]", folder: Path, stop_asked: Callable[[], bool], every: float, patience: float
) -> Iterator[bool]:
    """Again and again until it is over, which is told. One asked to stop may take `patience` to save what it has."""
    asked_at = 0.0
    while True:
        over = process.poll() is not None
        yield over
        if over:
            return
        if stop_asked() and not asked_at:
            (folder / STOP).touch()
            asked_at = time.monotonic()
        elif asked_at and time.monotonic() - asked_at > patience:
            process.kill()
        time.sleep(every)


class Told:
    """What is new in the progress file since it was looked at last, and what this start of the process told at all."""

    def __init__(self, folder: Path, of_before: bool = False) -> None:
        self.path = folder / FILE
        self.at = 0 if of_before else whole_lines(self.path)
        self.last: dict[str, Any] = {}

    def fresh(self) -> Iterator[dict[str, Any]]:
        if not self.path.exists():
            return
        with self.path.open("rb") as file:
            file.seek(self.at)
            for line in file:
                if not line.endswith(b"\n"):
                    return
                self.at += len(line)
                self.last = json.loads(line, parse_constant=lambda _: None)  # PostgreSQL knows no NaN
                yield self.last


def ended(told: Told, code: int) -> tuple[str, str]:
    """How it ended, by what it told last, and why: done, stopped, failed; or interrupted, where it told nothing."""
    kind = str(told.last.get("kind"))
    if kind == "failed":
        return kind, str(told.last["error"])
    if code == 0 and kind in ("done", "stopped"):
        return kind, ""
    if full_disk.has_no_room(told.path.parent):  # not even the words that say so found room
        return "failed", full_disk.WORDS
    how = f"signal {-code}" if code < 0 else f"exit code {code}"
    return "interrupted", f"The process ended without a word ({how}). Look at the log, then resume it."
