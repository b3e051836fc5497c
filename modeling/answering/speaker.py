"""A model in a process of its own, which is kept while it is asked."""

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from queue import Empty, SimpleQueue
from threading import Thread
from typing import IO, Any

from annotate.offspring import die_with_parent
from modeling.chat import Chat
from modeling.child import HERE
from modeling.evaluation.folder import config_of
from modeling.export import pictures
from modeling.gpu.ask import Ask
from modeling.models import Answerer, Question, Reply, Run
from modeling.training import results, run_folder

from .folders import folder_of

COMMAND = [sys.executable, "-m", "modeling.gpu.answer"]
LOG = "log.txt"
LAST_WORDS = 5.0  # seconds
LONGEST_LOG = 1024 * 1024
Told = dict[str, Any]


class Speaker:
    """Starts at once. What it is asked while it loads still, it is told when it is ready: a full pipe would hold us."""

    def __init__(self, run: Run, answerer: Answerer) -> None:
        self.run, self.folder, self.chat = run, folder_of(run, answerer), Chat.of(run.dataset.facts)
        self.is_ready = False
        self.held: dict[int, Reply] = {}
        self.untold: list[Reply] = []
        self.last_used = time.monotonic()
        self.error = ""  # why it could not be loaded
        write(run, self.folder)
        self.process = started(self.folder)
        self.lines: SimpleQueue[bytes] = SimpleQueue()
        self.listener = Thread(target=listen, args=(self.process.stdout, self.lines), daemon=True)
        self.listener.start()

    @property
    def is_over(self) -> bool:
        return self.process.poll() is not None

    def ask(self, replies: Sequence[Reply]) -> None:
        self.held |= {reply.pk: reply for reply in replies}
        self.untold += replies
        self.last_used = time.monotonic()
        if self.is_ready:
            self.tell()

    def tell(self) -> None:
        posts, self.untold = [self.post(reply) for reply in self.untold], []
        stdin = self.process.stdin
        assert stdin is not None
        with suppress(OSError):  # it has died, which is seen when it is looked at next
            stdin.write(json.dumps(posts).encode() + b"\n")
            stdin.flush()

    def post(self, reply: Reply) -> Told:
        """As a model is asked about any other post: see `evaluation.folder.told`."""
        return {
            "number": reply.pk, "id": f"question {reply.question_id}", "system": self.chat.system,
            "user": self.chat.user(reply.question.text, has_image=False), "image": self.laid(reply.question),
        }  # fmt: skip

    def laid(self, question: Question) -> str:
        if not question.picture:
            return ""
        path = f"{pictures.FOLDER}/{question.pk}.{question.picture_format}"
        (self.folder / path).write_bytes(bytes(question.picture))
        return path

    def heard(self) -> Iterator[tuple[Reply, Told]]:
        """What was answered since we looked last; of one that has died, to its last word."""
        if self.is_over:
            self.listener.join(LAST_WORDS)
        while True:
            try:
                told = json.loads(self.lines.get_nowait())
            except (Empty, ValueError):  # half a line of one that was killed
                return
            self.last_used = time.monotonic()
            self.error = told.get("failed", self.error)
            if "ready" in told:
                self.is_ready = True
                self.tell()
            if (reply := self.held.pop(told.get("number", 0), None)) is not None:
                self.forget(reply.question)
                yield reply, told

    def forget(self, question: Question) -> None:
        (self.folder / pictures.FOLDER / f"{question.pk}.{question.picture_format}").unlink(missing_ok=True)

    def stop(self) -> list[Reply]:
        """What it leaves unanswered. It holds nothing that is worth an orderly end."""
        if not self.is_over:
            self.process.kill()
        self.process.wait()
        self.listener.join(LAST_WORDS)
        with suppress(OSError):  # what was on its way into it
            self.process.communicate(timeout=LAST_WORDS)
        shutil.rmtree(self.folder, ignore_errors=True)
        left, self.held, self.untold = list(self.held.values()), {}, []
        return left


def write(run: Run, folder: Path) -> None:
    """As an evaluation's folder, without posts: those come one by one. NoResult where the run's result is not here."""
    chat = Chat.of(run.dataset.facts)
    adapter = results.fetched(run) / results.ADAPTER
    shutil.rmtree(folder, ignore_errors=True)
    (folder / pictures.FOLDER).mkdir(parents=True)
    for member in (
        run_folder.as_json("config.json", config_of(run, adapter.parent).as_json()),
        run_folder.as_json("ask.json", Ask(adapter=str(adapter)).as_json()),
        run_folder.as_json("labels.json", [{"name": name, "answer": chat.answer(name)} for name, _ in chat.labels]),
    ):
        run_folder.write_member(member, folder / member.path)


def started(folder: Path) -> "subprocess.Popen[bytes]":
    """Started by the main thread, or the kernel would end it with the thread that did. Its log stays."""
    log = folder.parent / LOG
    with suppress(FileNotFoundError):  # at first, or where another worker has just begun it anew
        if log.stat().st_size > LONGEST_LOG:
            log.unlink()
    with log.open("ab") as file:
        return subprocess.Popen(
            [*COMMAND, str(folder)], cwd=HERE, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=file,
            env=os.environ | {"TOKENIZERS_PARALLELISM": "false"}, preexec_fn=partial(die_with_parent, os.getpid()),
        )  # fmt: skip


def listen(stdout: IO[bytes] | None, lines: "SimpleQueue[bytes]") -> None:
    """A pipe that nobody reads fills up, and then whoever writes to it stands still."""
    for line in stdout or ():
        lines.put(line)
