"""The whole product in one process tree: the site, and the two queue clusters. Ctrl-C ends all of it."""

import http.client
import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable
from contextlib import nullcontext, suppress
from functools import partial
from types import FrameType
from typing import Any

import psutil
from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser

from annotate import database, first_start, offspring, own_address, static_files
from annotate.operating import given, processes

PATIENCE = 10  # seconds a child has to end by itself
QUICK_DEATHS = 5  # this many within a minute is no accident


class Child:
    def __init__(self, name: str, command: list[str], **environment: str) -> None:
        self.name, self.command, self.environment = name, command, environment
        self.deaths: list[float] = []
        self.process = self.start()

    def start(self) -> subprocess.Popen[bytes]:
        # A session of its own: Ctrl-C reaches us alone, and we end the children in order.
        return subprocess.Popen(
            self.command,
            env=os.environ | self.environment,
            start_new_session=True,
            preexec_fn=partial(offspring.die_with_parent, os.getpid()),
        )

    def revive(self) -> None:
        now = time.monotonic()
        self.deaths = [*(death for death in self.deaths if now - death < 60), now]
        if len(self.deaths) >= QUICK_DEATHS:
            raise CommandError(f"The {self.name} ended {QUICK_DEATHS} times within a minute; its reason stands above.")
        self.process = self.start()

    def end(self) -> None:
        self.process.terminate()

    def bury(self, deadline: float) -> None:
        with suppress(subprocess.TimeoutExpired):
            self.process.wait(max(0.1, deadline - time.monotonic()))
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)  # whatever it left behind in its session
        self.process.wait()


class Command(BaseCommand):
    help = "Serve the site and work off both queues, from one process tree."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--host", default="127.0.0.1")
        parser.add_argument("--port", type=int, default=8000)
        parser.add_argument("--workers", type=int, default=settings.WEB_WORKERS)
        parser.add_argument("--threads", type=int, default=settings.WEB_THREADS)

    def handle(self, *args: Any, host: str, port: int, workers: int, threads: int, **options: Any) -> None:
        end_in_order()
        given.may_be_up(self.stderr.write)
        refuse_taken(host, port)
        address = address_of(host, port)
        with nullcontext() if os.environ.get("SITE_URL") else own_address.told(settings.VAR_DIR, address):
            os.environ["SITE_URL"] = os.environ.get("SITE_URL") or address  # for the children, who link to it
            self.serve(host, port, workers, threads, address)

    def serve(self, host: str, port: int, workers: int, threads: int, address: str) -> None:
        static_files.collect()
        first_start.migrate(self.say)
        first_start.make_demo(self.say)
        children: list[Child] = []
        try:
            children += [Child("web server", processes.web_server(host, port, workers, threads))]
            wait_for(host, port, children[0])  # before the queues: on two cores they would hold each other up
            children += [queue("short"), *([queue("gpu")] if settings.GPU_QUEUE else [])]
            self.welcome(address, seconds_since_start())
            watch(children, self.say)
        except KeyboardInterrupt:
            self.say("\nStopping.")
        finally:
            end_all(children)

    def say(self, sentence: str) -> None:
        self.stdout.write(sentence)
        self.stdout.flush()

    def welcome(self, address: str, seconds: float) -> None:
        self.say(f"\nCasting Vote is at {address} (ready in {seconds:.1f} s)")
        if link := first_start.link():
            self.say(f"Log in once with {address}{link}")
        self.say(f"Data lies in {settings.VAR_DIR}. Ctrl-C stops everything.\n")


def address_of(host: str, port: int) -> str:
    """As a browser on this machine writes it."""
    return f"http://{f'[{host}]' if ':' in from_here(host) else from_here(host)}:{port}"


def from_here(host: str) -> str:
    return "127.0.0.1" if host in {"0.0.0.0", "::"} else host  # noqa: S104


def queue(name: str) -> Child:
    return Child(f"{name} queue", processes.queue(), Q_CLUSTER_NAME=name)


def refuse_taken(host: str, port: int) -> None:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except (OSError, OverflowError) as error:
            reason = str(getattr(error, "strerror", error)).lower()
            other = port + 1 if port < 65535 else 8000
            raise CommandError(
                f"Port {port} on {host} cannot be used ({reason}); stop what holds it, "
                f"or choose another: make run PORT={other}"
            ) from error


def wait_for(host: str, port: int, server: Child) -> None:
    """Until a page has been answered: the port is open long before there is anybody behind it."""
    while server.process.poll() is None:
        try:
            asked = http.client.HTTPConnection(from_here(host), port, timeout=5)
            asked.request("GET", "/login")
            asked.getresponse().read()
            return
        except (OSError, http.client.HTTPException):
            time.sleep(0.05)
    raise CommandError("The web server ended before it was ready; its reason stands above.")


def seconds_since_start() -> float:
    """Of the whole process: importing Django and starting PostgreSQL are part of the wait."""
    return time.time() - float(psutil.Process().create_time())


def watch(children: list[Child], say: Callable[[str], None]) -> None:
    while True:
        time.sleep(0.5)
        if database.is_down():
            revive_database(say)
            if database.is_down():
                continue  # whoever is started without it ends at once, and that is not its fault
        for child in children:
            if (code := child.process.poll()) is not None:
                say(f"The {child.name} ended (code {code}); starting it again.")
                child.revive()


def revive_database(say: Callable[[str], None]) -> None:
    """Killed, for want of memory say. What it left behind may stand in its way for a moment; then we try again."""
    say("PostgreSQL ended; starting it again.")
    with suppress(OSError, subprocess.SubprocessError, AssertionError):
        database.revive()


def end_in_order() -> None:
    """Also when the terminal is closed, unless `nohup` asked to outlive it."""
    signal.signal(signal.SIGTERM, interrupt)
    if signal.getsignal(signal.SIGHUP) != signal.SIG_IGN:
        signal.signal(signal.SIGHUP, interrupt)


def end_all(children: list[Child]) -> None:
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)  # a second Ctrl-C must not leave half of them behind
    for child in children:
        child.end()
    deadline = time.monotonic() + PATIENCE
    for child in children:
        child.bury(deadline)


def interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt
