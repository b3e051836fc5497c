"""What is made up once: the site's secret key, a place's own name."""

import itertools
import stat
import threading
import time
from pathlib import Path

import pytest

from annotate.kept import kept


def test_it_is_made_once_and_read_by_us_alone(tmp_path):
    numbers = map(str, itertools.count())
    path = tmp_path / "var" / "key"
    assert kept(path, lambda: next(numbers)) == kept(path, lambda: next(numbers)) == "0"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_all_who_begin_in_the_same_instant_have_one(tmp_path, monkeypatch):
    exists = Path.exists
    monkeypatch.setattr(Path, "exists", lambda self: (exists(self), time.sleep(0.05))[0])  # all look before one writes
    start, keys, numbers = threading.Barrier(8), [], map(str, itertools.count())

    def ask() -> None:
        start.wait()
        keys.append(kept(tmp_path / "key", lambda: next(numbers)))

    workers = [threading.Thread(target=ask) for _ in range(8)]
    [worker.start() for worker in workers]
    [worker.join() for worker in workers]
    assert len(keys) == 8
    assert len(set(keys)) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["key"]


@pytest.mark.parametrize("reason", [PermissionError, OSError])
def test_a_file_system_without_links_will_do(tmp_path, monkeypatch, reason):
    def hardlink_to(self, target):
        raise reason

    monkeypatch.setattr(Path, "hardlink_to", hardlink_to)
    assert kept(tmp_path / "key", lambda: "a") == kept(tmp_path / "key", lambda: "b") == "a"
    assert [path.name for path in tmp_path.iterdir()] == ["key"]
