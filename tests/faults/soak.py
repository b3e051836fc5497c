"""Everything at once on a site of its own, while its processes are killed at random; and then the books are checked.

python -m tests.faults.soak [--minutes 20] [--seed N] [--var FOLDER] [--small]
"""

import argparse
import faulthandler
import os
import random
import shutil
import signal
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from tests.faults.killer import WEIGHTS, Killer
from tests.faults.people import Over
from tests.faults.site import Site, waited

T = TypeVar("T")
PEOPLE = 4
WHOLE_WITHIN = 180.0  # seconds after a blow until pages answer and tasks are done again
SETTLED_WITHIN = 420.0  # seconds after the last blow until all is over: a silence, a sweep, and the work itself
EVERY = (3.0, 9.0)  # seconds between two blows
BLOWS_A_CHECK = 6
SMALL = ("web worker", "short queue's process", "postgres backend", "training child", "postmaster", "web server",
         "short queue's guard", "gpu queue's process", "short queue", "predict child", "the whole site")  # fmt: skip


def main() -> None:
    wanted = arguments()
    faulthandler.register(signal.SIGUSR1)  # where it hangs, for whoever asks
    print(f"SEED={wanted.seed}", flush=True)
    folder = Path(tempfile.mkdtemp(prefix="soak-", dir=wanted.var))
    site = Site(
        folder / "var",
        QUEUE_WORKERS="3",
        API_PER_MINUTE="0",
        LOG_LEVEL="WARNING",
        OMP_NUM_THREADS="1",
        TOKENIZERS_PARALLELISM="0",
    )
    try:
        os.environ |= {
            "DATABASE_URL": site.database_url(), "DATABASE_POOL": "0", "VAR_DIR": str(site.var),
            "DJANGO_SETTINGS_MODULE": "annotate.settings", "LOG_LEVEL": "ERROR",
        }  # fmt: skip
        import django

        django.setup()
        soak = Soak(site, folder, wanted.seed, wanted.small)
        soak.run(wanted.minutes * 60)
    finally:
        left = site.end() if site.is_up else []
    soak.broken += [f"{process} outlived the site" for process in left]
    soak.report()
    if soak.broken:
        print(f"What the site said last:\n{site.said[-4000:]}")
        sys.exit(f"{len(soak.broken)} promises broken with SEED={wanted.seed}; the site's files: {folder}")
    shutil.rmtree(folder, ignore_errors=True)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    parser.add_argument("--minutes", type=float, default=20)
    parser.add_argument("--seed", type=int, default=random.randrange(10**6))
    parser.add_argument("--var", help="where the site's folder is made")
    parser.add_argument("--small", action="store_true", help="each kind in its turn, and as a minute later at the end")
    return parser.parse_args()


class SiteEnded(Exception):
    """Nothing that follows could tell anything."""


@dataclass
class Soak:
    site: Site
    folder: Path
    seed: int
    small: bool
    broken: list[str] = field(default_factory=list)
    whole_again: dict[str, list[tuple[float, float]]] = field(default_factory=dict)
    checks: int = 0
    told: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        from tests.faults import stage

        self.closing, self.over = threading.Event(), threading.Event()
        self.stage = stage.Stage(self.site, self.folder, self.seed, self.over, PEOPLE, self.small)
        self.killer = Killer(
            self.site, random.Random(self.seed), lambda: patient(self.stage.at_work, tries=1) or ["it was away"],
            (3.0,) if self.small else (3.0, 10.0, 40.0, 75.0),
        )  # fmt: skip

    def run(self, seconds: float) -> None:
        self.workers = self.stage.workers(self.closing)
        for worker in self.workers:
            worker.start()
        try:
            self.small_round(seconds) if self.small else self.blow_after_blow(seconds)
            self.come_to_rest()
        except SiteEnded as ended:
            self.wrong(str(ended))
        finally:
            self.over.set()

    # --- Blows

    def blow_after_blow(self, seconds: float) -> None:
        end, n = time.monotonic() + seconds, 0
        while time.monotonic() < end:
            time.sleep(self.killer.dice.uniform(*EVERY))
            if how := self.killer.strike():
                n += 1
                self.after(how)
                if n % BLOWS_A_CHECK == 0:
                    self.check()

    def small_round(self, seconds: float) -> None:
        """Each kind twice, as soon as there is one of it."""
        end, left = time.monotonic() + seconds, Counter(dict.fromkeys(SMALL, 2))
        while +left and time.monotonic() < end and not self.broken:
            time.sleep(1)
            for kind in sorted(+left, key=lambda kind: (-left[kind], SMALL.index(kind))):
                if how := self.killer.strike(kind):
                    left[kind] -= 1
                    self.after(how)
                    break

    def after(self, how: str) -> None:
        """The site is whole again, by itself but where all of it was killed."""
        began = time.monotonic()
        print(self.killer.blows[-1], flush=True)
        if how == "the whole site killed":
            self.site.process.wait()
            if orphans := self.site.orphans():
                self.wrong(f"after {how}, there live on: {orphans}")
            self.site.start()
        if how.endswith("held up"):
            return
        pages = waited(lambda: self.stage.pages_answer() or not self.site.is_up, WHOLE_WITHIN)
        probe = self.stage.probe()
        tasks = waited(lambda: probe() or not self.site.is_up, WHOLE_WITHIN)
        if pages is None or tasks is None:
            self.wrong(f"{WHOLE_WITHIN:.0f} s after {how}, {'pages' if pages is None else 'tasks'} were not done")
        if not self.site.is_up:
            raise SiteEnded(f"after {how}, the site ended with code {self.site.process.returncode}")
        now = time.monotonic() - began
        self.whole_again.setdefault(how, []).append((now - (tasks or 0), now))
        if orphans := self.site.orphans():
            self.wrong(f"after {how}, nobody looks after {orphans}")

    # --- The books

    def check(self, over: bool = False) -> None:
        self.checks += 1
        for sentence in patient(lambda: self.stage.broken(over)) or []:
            self.wrong(sentence)
        for worker in self.workers:
            if worker.error:
                self.wrong(f"{worker.error}")
                worker.error = ""

    def wrong(self, sentence: str) -> None:
        if sentence not in self.broken:
            self.broken.append(sentence)
            print(f"BROKEN: {sentence}", flush=True)

    def come_to_rest(self) -> None:
        """Nobody begins anything more; what was begun comes to its end, or says so and goes on when it is pressed."""
        self.killer.let_go()
        self.closing.set()
        print("No more blows; what was begun comes to its end.", flush=True)
        began = time.monotonic()
        deadline = began + SETTLED_WITHIN
        patience = threading.Timer(SETTLED_WITHIN, self.over.set)  # whoever waits for an answer is told that it is over
        patience.daemon = True
        patience.start()
        while time.monotonic() < deadline:
            if self.small:
                patient(self.stage.as_a_minute_later)
            if not any(worker.is_alive() for worker in self.workers):
                break
            time.sleep(1)
        for worker in self.workers:
            if worker.is_alive() and not worker.error:
                self.wrong(f"{worker.name} did not come to its end")
        try:
            patient(self.stage.last_votes)
        except Over:
            self.wrong("the last votes did not come")
        while (left := patient(self.stage.unfinished)) and time.monotonic() < deadline:
            time.sleep(1)
        for sentence in left or []:
            self.wrong(f"{SETTLED_WITHIN:.0f} s after the last blow, {sentence}")
        self.rest = time.monotonic() - began
        if waited(lambda: bool(patient(self.stage.no_task_is_left)), WHOLE_WITHIN) is None:
            self.wrong("there are tasks that nobody does")
        patience.cancel()
        self.over.set()
        self.check(over=True)
        self.told = patient(lambda: list(self.stage.told())) or []

    # --- What is told

    def report(self) -> None:
        survived = self.killer.survived
        print(f"\n{len(self.killer.blows)} faults, {self.checks} checks of the books, seed {self.seed}")
        kinds = Counter(blow.split(" ", 1)[1].partition(" (pid")[0] for blow in self.killer.blows)
        for how, n in kinds.most_common():
            during = ", ".join(f"{one} {count}" for (what, one), count in survived.most_common() if what == how)
            again = self.whole_again.get(how, [])
            took = (
                f"; pages again after {middle([p for p, _ in again])}, tasks after {middle([t for _, t in again])}"
                if again else ""
            )  # fmt: skip
            print(f"  {how}: {n} (during {during}){took}")
        missed = [kind for kind in WEIGHTS if not any(how.startswith(f"{kind} ") for how in kinds)]
        if missed:
            print(f"  never met: {', '.join(missed)}")
        print(f"All over {getattr(self, 'rest', 0):.0f} s after the last blow")
        for line in self.told:
            print(line)
        for sentence in self.broken:
            print(f"BROKEN: {sentence}")


def middle(seconds: list[float]) -> str:
    ordered = sorted(seconds)
    return f"{ordered[len(ordered) // 2]:.1f} s (at most {ordered[-1]:.1f})"


def patient(work: Callable[[], T], tries: int = 30) -> Any:
    """The database is away now and then, and that is what is wanted."""
    from django.db import InterfaceError, OperationalError, connection

    for left in range(tries - 1, -1, -1):
        try:
            return work()
        except (OperationalError, InterfaceError):
            connection.close()
            time.sleep(1 if left else 0)
    return None


if __name__ == "__main__":
    main()
