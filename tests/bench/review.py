"""Eight people review at once, over real HTTP: what they wait for, and what a decision costs the server.

    python -m tests.bench.review [POSTS ...]        10,000 and then 1,000,000 where nothing is said
    DECISIONS=600 PEOPLE=8 KILLED=5000              fewer or more of them

Beside it, in the same run, a bare Django site that does the same two statements. Then 32 people decide while the
server's workers and their connections are killed, and what is stored is compared with what each of them heard.
"""

import itertools
import multiprocessing
import os
import random
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import psutil

from tests.bench import ground
from tests.bench.queue_ground import CROWD, PORT, Wire, World, fill, reopen
from tests.bench.web_server import cpu_of_servers

PEOPLE = min(int(os.environ.get("PEOPLE", "8")), CROWD)
DECISIONS = int(os.environ.get("DECISIONS", "4000"))
KILLED = int(os.environ.get("KILLED", "5000"))
WARM_UP = 20
SPARED = 6.5  # seconds


@dataclass
class Times:
    next: list[float] = field(default_factory=list)
    decide: list[float] = field(default_factory=list)


# --- Ways to review: each yields the seconds of one wait after another


def bare(world: World, wire: Wire, person: int, decisions: int) -> Times:
    times, label = Times(), next(iter(world.labels))
    for _ in range(decisions):
        began = time.perf_counter()
        card = wire.expect("/next", {"project": world.project})
        middle = time.perf_counter()
        wire.expect("/decide", {"project": world.project, "id": card["id"], "key": uuid.uuid4().hex, "label": label})
        times.next.append(middle - began)
        times.decide.append(time.perf_counter() - middle)
    return times


def by_api(world: World, wire: Wire, person: int, decisions: int) -> Times:
    times, label = Times(), next(iter(world.labels.values()))
    for _ in range(decisions):
        began = time.perf_counter()
        (card,) = wire.expect(f"/api/projects/{world.slug}/queue/next", {})["cards"]
        middle = time.perf_counter()
        wire.expect(f"/api/disagreements/{card['id']}/review", {"label": label, "key": uuid.uuid4().hex})
        times.next.append(middle - began)
        times.decide.append(time.perf_counter() - middle)
    return times


def by_screen(world: World, wire: Wire, person: int, decisions: int, pause: float = 0) -> Times:
    """One round trip decides and brings the post after the next: two are at hand already."""
    times, label, tab = Times(), next(iter(world.labels)), f"tab-{person}"
    held = wire.expect(f"/p/{world.slug}/review/fill", {"tab": tab, "holding": []})["held"]
    for _ in range(decisions):
        sent = {"tab": tab, "pk": held[0], "holding": held[1:], "label": label, "key": uuid.uuid4().hex, "seconds": 1.2}
        began = time.perf_counter()
        held = wire.expect(f"/p/{world.slug}/review/decide", sent)["held"]
        times.decide.append(time.perf_counter() - began)
        time.sleep(pause)
    return times


def at_a_persons_pace(world: World, wire: Wire, person: int, decisions: int) -> Times:
    """Still four posts a second each, which nobody reads."""
    return by_screen(world, wire, person, min(decisions, 100), pause=0.25)


Way = Callable[[World, Wire, int, int], Times]


def one_person(way: Way, world: World, person: int, decisions: int) -> Times:
    wire = Wire((world.tokens if way is by_api else world.sessions)[person])
    return way(world, wire, person, decisions)


def all_at_once(way: Way, world: World, decisions: int) -> Times:
    """Each in a process of its own, so that none waits for another's turn in this one."""
    with ProcessPoolExecutor(PEOPLE, mp_context=multiprocessing.get_context("fork")) as pool:
        parts = list(pool.map(one_person, *zip(*[(way, world, n, decisions) for n in range(PEOPLE)], strict=True)))
    every = Times()
    for part in parts:
        every.next += part.next
        every.decide += part.decide
    return every


# --- What is measured


def measure(name: str, way: Way, world: World, open_now: int, command: list[str] | None = None) -> dict[str, float]:
    reopen()
    each = min(DECISIONS, open_now // 2) // PEOPLE
    with ground.server(command=command, port=PORT):
        all_at_once(way, world, WARM_UP)
        cpu, pg, began = cpu_of_servers(PORT), cpu_of_postgres(), time.perf_counter()
        times = all_at_once(way, world, each)
        wall = time.perf_counter() - began
        cpu, pg = cpu_of_servers(PORT) - cpu, cpu_of_postgres() - pg
    n = len(times.decide)
    print(
        f"{name:28} next {percentiles(times.next)}   decide {percentiles(times.decide)}   "
        f"CPU {1000 * cpu / n:5.2f} ms + PostgreSQL {1000 * pg / n:5.2f} ms   {n / wall:5.0f} a second   ({n:,})",
        flush=True,
    )
    waits = {"next": times.next, "decide": times.decide}
    return {what: ground.percentile(values, 0.95) for what, values in waits.items() if values} | {"CPU": cpu / n}


def percentiles(values: list[float]) -> str:
    if not values:
        return "in the same round trip".rjust(26)
    return " / ".join(f"{1000 * ground.percentile(values, share):5.1f}" for share in (0.5, 0.95, 0.99)) + " ms"


def cpu_of_postgres() -> float:
    from django.db import connection

    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_backend_pid()")
        mother = psutil.Process(cursor.fetchone()[0]).parent()
    total = 0.0
    for part in [mother, *mother.children()] if mother else []:
        try:
            spent = part.cpu_times()
        except psutil.NoSuchProcess:
            continue
        total += spent.user + spent.system + (spent.children_user + spent.children_system if part is mother else 0)
    return total


def bare_server() -> list[str]:
    from annotate.operating.processes import web_server

    command = web_server("127.0.0.1", PORT, 2, 4)
    command = [
        "django.core.wsgi:get_wsgi_application" if part == "annotate.wsgi:application" else part for part in command
    ]
    return [*command, "--factory"]


def compare(posts: int) -> dict[str, dict[str, float]]:
    world, waiting = fill(posts)
    os.environ["DJANGO_SETTINGS_MODULE"] = "tests.bench.bare_queue"
    floor = measure("bare Django", bare, world, waiting, bare_server())
    os.environ["DJANGO_SETTINGS_MODULE"] = "annotate.settings"
    figures = {"bare": floor, "API": measure("API", by_api, world, waiting)}
    figures["screen"] = measure("review screen", by_screen, world, waiting)
    figures["screen, with pauses"] = measure("screen, 4 a second each", at_a_persons_pace, world, waiting)
    if KILLED:
        break_it(world)
    return figures


# --- Broken on purpose


def break_it(world: World) -> None:
    """What people heard, and what is stored, after workers and connections were killed under them."""
    from annotate import queue
    from annotate.models import Project
    from tests.faults.books import broken
    from tests.faults.journal import Journal

    reopen()
    with TemporaryDirectory() as folder, ground.server(port=PORT):
        began = time.perf_counter()
        with ProcessPoolExecutor(CROWD, mp_context=multiprocessing.get_context("fork")) as pool:
            waiting = [pool.submit(stubborn, folder, world, n, KILLED // CROWD) for n in range(CROWD)]
            faults = make_trouble(lambda: all(one.done() for one in waiting))
            heard = [one.result() for one in waiting]
        wall = time.perf_counter() - began
        journals = [Journal(Path(folder) / str(n)) for n in range(CROWD)]
        problems = broken(Project.objects.get(pk=world.project), journals, queue.LEASE + timedelta(seconds=1))
    print(
        f"{CROWD} people, {sum(heard):,} decisions in {wall:.0f} s; survived {faults['workers']} workers killed and "
        f"{faults['connections']} connections cut; lost, doubled or settled wrongly: {len(problems)}"
    )
    for problem in problems[:20]:
        print(f"  {problem}")


def make_trouble(over: Callable[[], bool]) -> dict[str, int]:
    """A connection for so many decisions, and a worker as often as its server takes it.

    Granian gives up, rightly, on a worker that dies within 5.5 seconds of its birth.
    """
    from annotate.models import Review

    dice, faults = random.Random(3), {"workers": 0, "connections": 0}
    every, turn, spared = max(KILLED // 150, 1), 0, time.monotonic()
    while not over():
        time.sleep(0.05)
        if Review.objects.count() >= every * (turn + 1):
            turn += 1
            faults["connections"] += cut_one()
        if time.monotonic() - spared > SPARED:
            faults["workers"] += kill_one(dice)
            spared = time.monotonic()
    return faults


def kill_one(dice: random.Random) -> int:
    mine = [p for p in psutil.process_iter(["cmdline"]) if str(PORT) in (p.info["cmdline"] or [])]
    workers = [child for parent in mine for child in parent.children() if not child.children()]
    victims = [one for one in workers if one.pid != os.getpid()]
    if not victims:
        return 0
    try:
        dice.choice(victims).kill()
    except psutil.NoSuchProcess:
        return 0
    return 1


def cut_one() -> int:
    from django.db import connection

    with connection.cursor() as cursor:
        cursor.execute(
            """SELECT count(*) FILTER (WHERE pg_terminate_backend(pid)) FROM (
                 SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()
                   AND backend_type = 'client backend' ORDER BY random() LIMIT 1) AS one"""
        )
        return int(cursor.fetchone()[0])


def stubborn(folder: str, world: World, person: int, decisions: int) -> int:
    """Somebody whose browser keeps each answer until it has heard of it."""
    from tests.faults.journal import Journal

    journal, wire, dice = Journal(Path(folder) / str(person)), Wire(world.sessions[person]), random.Random(person)
    labels, tab, done = list(world.labels), f"tab-{person}", 0
    for answer in insist(wire, f"/p/{world.slug}/review/fill", {"tab": tab, "holding": []}):
        held = answer["held"]
    while done < decisions and held:
        key, pk = uuid.uuid4().hex, held[0]
        label = labels[pk % len(labels)] if dice.random() < 0.85 else dice.choice(labels)
        time.sleep(dice.uniform(0, 0.2))
        journal.write(ask=key, pk=pk, said=[label, ""])
        sent = {"tab": tab, "pk": pk, "holding": held[1:], "label": label, "key": key}
        for answer in insist(wire, f"/p/{world.slug}/review/decide", sent):
            journal.write(**({"refused": key, "why": answer["gone"]} if "gone" in answer else {"kept": key}))
            held = answer["held"]
        done += 1
        if not held:
            for answer in insist(wire, f"/p/{world.slug}/review/fill", {"tab": tab, "holding": []}):
                held = answer["held"]
    return done


def insist(wire: Wire, path: str, body: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Until there is an answer; a refusal is one."""
    while True:
        try:
            status, answer = wire.post(path, body)
        except OSError:
            wire.close()
            time.sleep(0.05)
            continue
        if status in {200, 409}:
            yield answer
            return
        assert status >= 500, (path, status, answer)
        time.sleep(0.05)


def main() -> None:
    sizes = [int(posts) for posts in sys.argv[1:]] or [10_000, 1_000_000]
    ground.django_on_fresh_database("review")
    print(f"{PEOPLE} people at once, keep-alive, no pause between; 50th / 95th / 99th percentile")
    figures = [compare(posts) for posts in sizes]
    for small, large in itertools.pairwise(figures):
        for name in small:
            told = ", ".join(f"{what} {large[name][what] / small[name][what]:.2f}" for what in small[name])
            print(f"{name}, the larger beside the smaller: {told}")


if __name__ == "__main__":
    main()
