"""`make load`: 8, 32 and 100 people review at once while a voting run and downloads go on; then memory over thousands
of requests.

    LOAD_POSTS=100000       posts of the project, which is kept; 1000000 for the long one; LOAD_FRESH=1 makes it anew
    LOAD_SECONDS=60         of each crowd
    LOAD_PEOPLE=8,32,100
    LOAD_REQUESTS=10000     page requests a web worker in the end; 0 for none
    LOAD_PORT=8798          and the next one for the floor: a bare Django site that does the same two statements

It fails where anything was answered with an error.
"""

import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx
import psutil

from tests.bench import ground
from tests.load import crowd, world
from tests.load.crowd import Heard

POSTS = int(os.environ.get("LOAD_POSTS", "100000"))
SECONDS = float(os.environ.get("LOAD_SECONDS", "60"))
PEOPLE = [int(n) for n in os.environ.get("LOAD_PEOPLE", "8,32,100").split(",")]
REQUESTS = int(os.environ.get("LOAD_REQUESTS", "10000"))
PORT = int(os.environ.get("LOAD_PORT", "8798"))
FLOOR, FAKE = PORT + 1, PORT + 2
MARKS = (1_000, 5_000, 10_000, 20_000, 50_000, 100_000)
PROCESSES = 2  # of clients
WARM_UP = 40  # pages, so that no worker is still being imported
PAGES = [
    "", "review", "posts", "posts?state=contested", "posts?q=unique777", "posts?as=list&voter=gpt", "posts?end=1",
    "agreement", "votes", "datasets", "datasets/v1", "datasets/v1/posts", "runs", "runs/1", "evaluations",
    "prelabellings", "quality", "reviewers", "people", "settings", "guidelines", "templates", "imports", "events",
    "rounds", "playground",
]  # fmt: skip


def megabytes(process: psutil.Process) -> float:
    try:
        return float(process.memory_info().rss) / 2**20
    except psutil.NoSuchProcess:
        return 0.0


# --- The site


@dataclass
class Site:
    web: subprocess.Popen[bytes]
    queue: subprocess.Popen[bytes]

    @property
    def workers(self) -> list[psutil.Process]:
        return [one for one in psutil.Process(self.web.pid).children(recursive=True) if not one.children()]

    @property
    def queue_processes(self) -> list[psutil.Process]:
        mother = psutil.Process(self.queue.pid)
        return [mother, *mother.children(recursive=True)]


@contextmanager
def site() -> Iterator[Site]:
    """As `make run` starts it, without its first start and without a queue for cards."""
    from django.conf import settings

    from annotate.operating.processes import web_server

    log = (world.var_folder() / "site.log").open("w")
    command = web_server("127.0.0.1", PORT, settings.WEB_WORKERS, settings.WEB_THREADS)
    web = subprocess.Popen(command, stdout=log, stderr=log, cwd=world.ROOT)
    queue = subprocess.Popen(
        [sys.executable, "manage.py", "qcluster"], stdout=log, stderr=log, cwd=world.ROOT,
        env=os.environ | {"Q_CLUSTER_NAME": "short", "DATABASE_POOL": "0"},
    )  # fmt: skip
    try:
        wait_for(web)
        yield Site(web, queue)
    finally:
        parts = [one for process in (web, queue) for one in family(process)]
        for process in (web, queue):
            process.terminate()
        for one in psutil.wait_procs(parts, 10)[1]:  # a voting run goes on for as long as it has posts
            one.kill()
        for process in (web, queue):
            process.wait(30)


def family(process: subprocess.Popen[bytes]) -> list[psutil.Process]:
    try:
        mother = psutil.Process(process.pid)
        return [*mother.children(recursive=True), mother]
    except psutil.NoSuchProcess:
        return []


def wait_for(web: subprocess.Popen[bytes]) -> None:
    """Until a page has been answered; a busy machine may take a minute."""
    for _ in range(600):
        if web.poll() is not None:
            break
        try:
            httpx.get(f"http://127.0.0.1:{PORT}/login", timeout=60).raise_for_status()
            return
        except httpx.HTTPError:
            time.sleep(0.2)
    raise RuntimeError(f"The site did not start; see {world.var_folder() / 'site.log'}")


@contextmanager
def floor() -> Iterator[None]:
    from annotate.operating.processes import web_server

    ground.BENCH.mkdir(parents=True, exist_ok=True)  # where the server of a benchmark writes its log
    command = web_server("127.0.0.1", FLOOR, 2, 4)
    command[command.index("annotate.wsgi:application")] = "django.core.wsgi:get_wsgi_application"
    os.environ["DJANGO_SETTINGS_MODULE"] = "tests.bench.bare_queue"
    try:
        with ground.server(command=[*command, "--factory"], port=FLOOR):
            yield
    finally:
        os.environ["DJANGO_SETTINGS_MODULE"] = "annotate.settings"


@contextmanager
def fake_provider() -> Iterator[None]:
    server = subprocess.Popen([sys.executable, "-m", "tests.model_server", str(FAKE), "0.5"], cwd=world.ROOT)
    try:
        ground.wait_until_open(FAKE)
        yield
    finally:
        server.terminate()
        server.wait()


# --- What goes on beside them


@dataclass
class Beside:
    """A voting run and one download after another, until it is over; and what the processes take meanwhile."""

    made: world.World
    running: Site
    cookies: dict[str, str]
    over: threading.Event = field(default_factory=threading.Event)
    downloads: int = 0
    bytes: int = 0
    errors: list[str] = field(default_factory=list)
    memory: list[tuple[list[float], float, int]] = field(default_factory=list)  # each worker, the queue, connections

    def download(self) -> None:
        address = f"http://127.0.0.1:{PORT}/p/{self.made.slug}/datasets/v1/download?format=jsonl&split=train"
        with httpx.Client(cookies=self.cookies, timeout=60) as client:
            while not self.over.is_set():
                try:
                    with client.stream("GET", address) as answer:
                        if answer.status_code != 200:
                            self.errors.append(f"download: {answer.status_code}")
                            return
                        for part in answer.iter_bytes():
                            self.bytes += len(part)
                            if self.over.is_set():
                                return
                    self.downloads += 1
                except httpx.HTTPError as error:
                    self.errors.append(f"download: {error!r}")

    def watch(self) -> None:
        while not self.over.wait(1):
            self.look()

    def look(self) -> None:
        queue = sum(megabytes(one) for one in self.running.queue_processes)
        self.memory.append(([megabytes(one) for one in self.running.workers], queue, connections()))


def connections() -> int:
    """Of this database, this process' own aside."""
    import psycopg

    with psycopg.connect(os.environ["DATABASE_URL"]) as connection:
        row = connection.execute(
            """SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()
               AND backend_type = 'client backend'"""
        ).fetchone()
    return int(row[0]) if row else 0


@contextmanager
def beside(made: world.World, running: Site, cookies: dict[str, str]) -> Iterator[Beside]:
    going = Beside(made, running, cookies)
    going.look()
    threads = [threading.Thread(target=work, daemon=True) for work in (going.download, going.watch)]
    voted = begin_voting(made)
    before = voted()
    began = time.perf_counter()
    for thread in threads:
        thread.start()
    try:
        yield going
    finally:
        took = time.perf_counter() - began
        going.over.set()
        for thread in threads:
            thread.join(30)
        going.look()
        votes = (voted() - before) / took
        end_voting(made)
        print(f"    beside: {votes:.1f} votes stored a second; "
              f"{going.bytes / took / 2**20:.1f} MB of exports a second, {going.downloads} whole")  # fmt: skip
        first, middle, last = (going.memory[n] for n in (0, len(going.memory) // 2, -1))
        for name, (workers, queue, there) in {"start": first, "middle": middle, "end": last}.items():
            print(f"    {name:6} web workers {', '.join(f'{size:.0f}' for size in workers)} MB, queue {queue:.0f} MB, "
                  f"{there} connections")  # fmt: skip


def begin_voting(made: world.World) -> Callable[[], int]:
    """Over all posts, so that it lasts. Of one that was killed with an earlier load nobody knows any more."""
    from annotate.models import Project, Vote
    from labeling import runs

    project = Project.objects.get(pk=made.project)
    voter = world.asked_voter(project, f"http://127.0.0.1:{FAKE}/v1")
    under_way(made).update(state="cancelled")
    try:
        runs.start(project, None, [voter])
    except runs.CannotStart as reason:
        print(f"    no voting run: {reason}")
    return Vote.objects.filter(voter=voter).count


def end_voting(made: world.World) -> None:
    from labeling import runs

    for run in under_way(made):
        runs.cancel(run)
    for _ in range(100):
        if not under_way(made).exists():
            return
        time.sleep(0.2)


def under_way(made: world.World) -> Any:
    from labeling.models import VotingRun

    return VotingRun.objects.filter(project=made.project, state__in=["queued", "running"])


# --- Crowds


def crowd_of(n: int, made: world.World) -> dict[int, dict[str, str]]:
    from annotate.models import User
    from tests.bench.queue_ground import session_of

    return {person: session_of(User.objects.get(pk=made.people[person])) for person in range(n)}


def all_at_once(work: Callable[..., Heard], port: int, told: Any, people: dict[int, Any], *more: Any) -> Heard:
    parts = [{n: one for n, one in people.items() if n % PROCESSES == part} for part in range(PROCESSES)]
    heard = Heard()
    with ProcessPoolExecutor(PROCESSES, mp_context=multiprocessing.get_context("fork")) as pool:
        for one in [pool.submit(work, port, told, part, *more) for part in parts if part]:
            heard.add(one.result())
    return heard


def report(name: str, heard: Heard, seconds: float) -> None:
    total = sum(len(times) for times in heard.seconds.values())
    print(f"  {name}: {total:,} requests, {total / seconds:.0f} a second; "
          f"{len(heard.errors)} errors, {heard.gone} posts gone to others", flush=True)  # fmt: skip
    for kind, times in sorted(heard.seconds.items(), key=lambda one: -len(one[1])):
        waits = " / ".join(f"{1000 * ground.percentile(times, share):7.1f}" for share in (0.5, 0.95, 0.99))
        print(f"    {kind:8} {len(times):7,}   {len(times) / seconds:6.1f} a second   {waits} ms", flush=True)
    for error in sorted(set(heard.errors))[:10]:
        print(f"    {heard.errors.count(error)} times {error}")


def main() -> None:
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("Ended from outside."))  # and with it what it started
    made = world.make(POSTS)
    print(f"{ground.machine()}; {POSTS:,} posts; 50th / 95th / 99th percentile\n")
    failed: list[str] = []
    everybody = crowd_of(max(PEOPLE), made)
    for people in PEOPLE:
        some = dict(list(everybody.items())[:people])
        print(f"{people} people")
        world.reopen(made)
        short = min(SECONDS, 20)
        with floor():
            bare = all_at_once(crowd.review, FLOOR, made, some, short, "floor", False)
        report("the floor, no pause", bare, short)
        for paced in (False, True):
            world.reopen(made)
            failed += review(made, some, paced, bare)
    if REQUESTS:
        failed += leak(made, dict(list(everybody.items())[:8]))
    if failed:
        sys.exit(f"{len(failed)} requests failed: {sorted(set(failed))[:5]}")
    print("\nNo request failed.")


def review(made: world.World, people: dict[int, dict[str, str]], paced: bool, bare: Heard) -> list[str]:
    name = "2 to 4 seconds a post" if paced else "no pause"
    with fake_provider(), site() as running, beside(made, running, cookies_of(made)) as going:
        all_at_once(crowd.read, PORT, [f"/p/{made.slug}/review"], dict(list(people.items())[:8]), WARM_UP)
        heard = all_at_once(crowd.review, PORT, made, people, SECONDS, "screen", paced)
        report(name, heard, SECONDS)
        compare(heard, bare, paced)
    for error in going.errors:
        print(f"    {error}")
    return heard.errors + going.errors


def compare(heard: Heard, bare: Heard, paced: bool) -> None:
    """A decision brings the next post along: beside a claim and an answer of the floor."""
    ours, theirs = heard.seconds.get("decide"), bare.seconds.get("decide")
    if paced or not ours or not theirs:
        return
    pair = ground.percentile(theirs, 0.5) + ground.percentile(bare.seconds["next"], 0.5)
    print(f"    a decision, which brings the next post: {ground.percentile(ours, 0.5) / pair:.2f} times the floor's "
          "claim and answer, at the median")  # fmt: skip


def cookies_of(made: world.World) -> dict[str, str]:
    from annotate.models import User

    return ground.session_cookie(User.objects.get(pk=made.admin))


# --- Memory


def leak(made: world.World, people: dict[int, dict[str, str]]) -> list[str]:
    """Pages of all kinds, and what each worker takes after so many of them."""
    from annotate.models import User
    from tests.bench.queue_ground import session_of

    addresses = ["/", *(f"/p/{made.slug}/{path}" for path in PAGES)]
    admin = session_of(User.objects.get(pk=made.admin))
    print(f"\nMemory: {len(addresses)} pages in turn, {REQUESTS:,} requests a worker", flush=True)
    failed, done, sizes = [], 0, []
    with site() as running:
        workers = len(running.workers)
        for mark in [mark for mark in MARKS if mark <= REQUESTS] or [REQUESTS]:
            began = time.perf_counter()
            heard = all_at_once(
                crowd.read, PORT, addresses, dict.fromkeys(people, admin), (mark - done) * workers // PROCESSES
            )
            took = time.perf_counter() - began
            done = mark
            sizes.append([megabytes(one) for one in running.workers])
            failed += heard.errors
            told, asked = ", ".join(f"{size:.0f}" for size in sizes[-1]), sum(map(len, heard.seconds.values()))
            print(f"  after {mark:7,} a worker: {told} MB; {asked / took:.0f} a second, {len(heard.errors)} errors")
            for error in sorted(set(heard.errors))[:5]:
                print(f"    {error}")
    if len(sizes) > 1:
        grown = [last - before for before, last in zip(sizes[-2], sizes[-1], strict=True)]
        print(f"  from the mark before the last to the last: {', '.join(f'{size:+.1f}' for size in grown)} MB")
    return failed


if __name__ == "__main__":
    main()
