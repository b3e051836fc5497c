"""Whoever draws a process of the site, again and again, and kills it or holds it up; and notes what that met."""

import os
import random
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field

import psutil

from tests.faults.site import Site

# How often each is drawn, where it is there; models' children live for seconds only.
WEIGHTS = {
    "web worker": 4, "web server": 1, "short queue's process": 6, "short queue's guard": 1, "short queue": 1,
    "gpu queue's process": 2, "gpu queue's guard": 1, "gpu queue": 1, "training child": 4, "predict child": 20,
    "postgres backend": 3, "postmaster": 1, "the whole site": 1,
}  # fmt: skip
HELD_UP = ("web worker", "short queue's process", "gpu queue's process", "training child", "postgres backend")
A_MINUTE = 3  # deaths of what `up` itself starts; five it takes for no accident
COUNTED = ("web server", "short queue", "gpu queue")
GUARDS = {"short queue's guard": "short queue", "gpu queue's guard": "gpu queue"}


@dataclass
class Killer:
    site: Site
    dice: random.Random
    at_work: Callable[[], list[str]]
    holds: tuple[float, ...] = (3.0, 10.0)
    survived: Counter[tuple[str, str]] = field(default_factory=Counter)
    blows: list[str] = field(default_factory=list)
    lately: dict[str, list[float]] = field(default_factory=dict)
    held: list[threading.Timer] = field(default_factory=list)

    def strike(self, kind: str = "") -> str:
        """What was struck, or blank where nothing of the kind was there."""
        parts = self.site.parts()
        there = [one for one in WEIGHTS if parts.get(one) and self.may(one) and one in (kind or one,)]
        if not there:
            return ""
        chosen = self.dice.choices(there, [WEIGHTS[one] for one in there])[0]
        process = self.dice.choice(parts[chosen])
        during = self.at_work()
        holds = chosen in HELD_UP and self.dice.random() < 0.25 and not kind
        how = f"{chosen} held up" if holds else f"{chosen} killed"
        with suppress(psutil.Error, ProcessLookupError):
            if holds:
                self.hold(process)
            else:
                process.send_signal(signal.SIGKILL)
            self.note(how, chosen, process, during)
            return how
        return ""

    def hold(self, process: psutil.Process) -> None:
        seconds = self.dice.choice(self.holds)
        process.send_signal(signal.SIGSTOP)
        timer = threading.Timer(seconds, go_on, [process])
        timer.start()
        self.held.append(timer)

    def note(self, how: str, kind: str, process: psutil.Process, during: list[str]) -> None:
        counted = GUARDS.get(kind, kind)
        self.lately.setdefault(counted, []).append(time.monotonic())
        self.blows.append(
            f"{time.strftime('%H:%M:%S')} {how} (pid {process.pid}) during {', '.join(during) or 'nothing'}"
        )
        for one in during or ["nothing"]:
            self.survived[how, one] += 1

    def may(self, kind: str) -> bool:
        counted = GUARDS.get(kind, kind)
        now = time.monotonic()
        lately = [at for at in self.lately.get(counted, []) if now - at < 70]
        return counted not in COUNTED or len(lately) < A_MINUTE

    def let_go(self) -> None:
        for timer in self.held:
            timer.join()


def go_on(process: psutil.Process) -> None:
    with suppress(psutil.Error, ProcessLookupError):
        os.kill(process.pid, signal.SIGCONT) if process.is_running() else None
