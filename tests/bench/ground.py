"""A fresh database with production settings, a server over it, and honest timing."""

import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median

ROOT = Path(__file__).resolve().parent.parent.parent
BENCH = ROOT / "var" / "bench"


def django_on_fresh_database(name: str) -> None:
    """An embedded PostgreSQL of its own, tuned and as durable as the product's; never the one with people's work."""
    os.environ["VAR_DIR"] = str(BENCH)
    os.environ["DJANGO_SETTINGS_MODULE"] = "annotate.settings"
    os.environ.pop("DATABASE_URL", None)
    import django
    import psycopg

    from annotate import database

    database.NAME = f"bench_{name}"
    admin = database.start(BENCH / "postgres", database.TUNING).replace(database.NAME, "postgres")
    with psycopg.connect(admin, autocommit=True) as connection:
        connection.execute(f"DROP DATABASE IF EXISTS bench_{name} WITH (FORCE)")
    django.setup()
    database.attach()
    from django.core.management import call_command

    call_command("migrate", verbosity=0)
    from annotate import static_files

    static_files.collect()
    print(machine())


def machine() -> str:
    load = ", ".join(f"{value:.2f}" for value in os.getloadavg())
    return f"{os.cpu_count()} cores, load {load}, Python {sys.version.split()[0]}"


@contextmanager
def server(*, workers: int = 2, threads: int = 4, command: list[str] | None = None, port: int = 8765) -> Iterator[str]:
    from annotate.operating.processes import web_server

    log = (BENCH / "server.log").open("w")
    process = subprocess.Popen(
        command or web_server("127.0.0.1", port, workers, threads), stdout=log, stderr=log, cwd=ROOT
    )
    try:
        wait_until_open(port)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait()


def wait_until_open(port: int) -> None:
    import socket

    for _ in range(200):
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            return
        except OSError:
            time.sleep(0.05)
    raise RuntimeError(f"nothing listens on {port}; see {BENCH / 'server.log'}")


def session_cookie(user: object) -> dict[str, str]:
    from django.conf import settings
    from django.test import Client

    client = Client()
    client.force_login(user)  # type: ignore[arg-type]
    return {settings.SESSION_COOKIE_NAME: client.cookies[settings.SESSION_COOKIE_NAME].value}


def seconds(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def percentile(values: list[float], share: float) -> float:
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, round(share * (len(ordered) - 1)))]


def milliseconds(values: list[float]) -> str:
    return f"median {1000 * median(values):6.1f} ms, 95th percentile {1000 * percentile(values, 0.95):6.1f} ms"


def peak_megabytes() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
