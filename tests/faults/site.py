"""A whole site of its own, to be broken: `manage.py up` on a port that stays, and the parts that it is made of."""

import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import httpx
import psutil

from tests.ports import free_port
from tests.test_up import hear_hangups, manage, postgres_of, soon, started_for

PARTS = {
    "modeling.gpu.predict": "predict child", "modeling.gpu.answer": "answering child", "modeling.gpu": "training child",
}  # fmt: skip
ORPHANS_MAY_LIVE = 5.0  # seconds
Parts = dict[str, list[psutil.Process]]


class Site:
    def __init__(self, var: Path, **environment: str) -> None:
        self.var, self.port, self.environment = var, free_port(), environment
        self.output = var.parent / "site.log"
        self.starts = 0
        self.start()

    def start(self) -> None:
        before = len(self.said)
        self.starts += 1
        with self.output.open("a") as out:
            self.process = subprocess.Popen(
                **manage("up", "--port", str(self.port), VAR_DIR=str(self.var), **self.environment),
                stdout=out, stderr=subprocess.STDOUT, start_new_session=True, preexec_fn=hear_hangups,
            )  # fmt: skip
        soon(lambda: "Ctrl-C" in self.said[before:] or self.process.poll() is not None, 180)
        if self.process.poll() is not None or "Ctrl-C" not in self.said[before:]:
            raise RuntimeError(f"The site did not start:\n{self.said[before:]}")

    @property
    def said(self) -> str:
        return self.output.read_text(errors="replace") if self.output.exists() else ""

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def is_up(self) -> bool:
        return self.process.poll() is None

    def answers(self) -> bool:
        with suppress(httpx.HTTPError):
            return httpx.get(f"{self.address}/login", timeout=5).status_code == 200
        return False

    def database_url(self) -> str:
        """As its children were told it."""
        for process in started_for(self.var):
            with suppress(psutil.Error):
                if url := process.environ().get("DATABASE_URL"):
                    return url
        raise RuntimeError("No process of the site knows its database.")

    def end(self) -> list[psutil.Process]:
        """What is left of it, PostgreSQL included."""
        everything = {*postgres_of(self.var), *started_for(self.var)}
        with suppress(ProcessLookupError):
            os.kill(self.process.pid, signal.SIGTERM)
        self.process.wait(60)
        return psutil.wait_procs({*everything, *started_for(self.var)}, timeout=10)[1]

    # --- What it is made of

    def parts(self) -> Parts:
        """By kind. Looked at while it changes: what is gone meanwhile is left out."""
        found: Parts = {}
        for kind, process in self.each_part():
            found.setdefault(kind, []).append(process)
        return found

    def each_part(self) -> Iterator[tuple[str, psutil.Process]]:
        with suppress(psutil.Error):
            yield "the whole site", psutil.Process(self.process.pid)
            for child in psutil.Process(self.process.pid).children():
                with suppress(psutil.Error):
                    yield from parts_of(child)
        postmaster = postgres_of(self.var)
        with suppress(psutil.Error):
            for process in postmaster[:1]:
                yield "postmaster", process
        for process in postmaster[1:]:
            with suppress(psutil.Error):
                if "casting_vote" in " ".join(process.cmdline()):
                    yield "postgres backend", process

    def orphans(self) -> list[str]:
        """Processes of this site that nobody of it looks after any more."""
        known = {process.pid for process in self.tree()}
        lost = [process for process in started_for(self.var) if process.pid not in known]
        time.sleep(ORPHANS_MAY_LIVE if lost else 0)
        known = {process.pid for process in self.tree()}
        return [told(process) for process in lost if process.pid not in known and is_alive(process)]

    def tree(self) -> list[psutil.Process]:
        with suppress(psutil.Error):
            site = psutil.Process(self.process.pid)
            return [site, *site.children(recursive=True)]
        return []


def parts_of(child: psutil.Process) -> Iterator[tuple[str, psutil.Process]]:
    command = child.cmdline()
    if "granian" in command:
        yield "web server", child
        yield from (("web worker", worker) for worker in ours(child))
    elif "qcluster" in command:
        name = child.environ().get("Q_CLUSTER_NAME", "short")
        yield f"{name} queue", child
        for guard in ours(child):
            yield f"{name} queue's guard", guard
            for process in ours(guard):
                yield f"{name} queue's process", process
                yield from ((kind_of(below), below) for below in ours(process))


def ours(process: psutil.Process) -> list[psutil.Process]:
    """Without what Python keeps beside it to look after semaphores."""
    found = []
    for child in process.children():
        with suppress(psutil.Error):
            if "resource_tracker" not in " ".join(child.cmdline()):
                found.append(child)
    return found


def kind_of(child: psutil.Process) -> str:
    with suppress(psutil.Error):
        command = " ".join(child.cmdline())
        return next((kind for part, kind in PARTS.items() if part in command), "another child")
    return "another child"


def is_alive(process: psutil.Process) -> bool:
    """Whoever is dead, and only waits for somebody to take note of it, holds nothing."""
    with suppress(psutil.Error):
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    return False


def told(process: psutil.Process) -> str:
    with suppress(psutil.Error):
        return f"{process.pid}: {' '.join(process.cmdline())[:120]}"
    return str(process.pid)


def waited(what: Callable[[], bool], patience: float) -> float | None:
    """Seconds until it was so, or None."""
    began = time.monotonic()
    return time.monotonic() - began if soon(what, patience) else None
