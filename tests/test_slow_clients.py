"""Clients that send by drops, to the real server as `manage.py up` starts it: everybody else is served meanwhile."""

import csv
import io
import json
import os
import socket
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from annotate.operating import processes
from annotate.operating.slow_clients import OF_ONE_ADDRESS, SlowClients
from tests.ports import free_port
from tests.test_import_faults import database_url
from tests.test_up import soon

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture
def server(transactional_db, monkeypatch) -> Iterator[int]:
    """One process with two threads at work, which so many slow clients would hold many times over."""
    port = free_port()
    monkeypatch.setenv("WEB_THREADS", "")
    command = processes.web_server("127.0.0.1", port, 1, 2)
    environment = os.environ | {"DATABASE_URL": database_url(), "DATABASE_POOL": "0", "DEBUG": "true"}
    process = subprocess.Popen(command, cwd=ROOT, env=environment, start_new_session=True)
    try:
        assert soon(lambda: login_page(port) is not None, 60)
        yield port
    finally:
        process.terminate()
        process.wait(30)


def login_page(port: int) -> httpx.Response | None:
    try:
        return httpx.get(f"http://127.0.0.1:{port}/login", timeout=30)
    except httpx.HTTPError:
        return None


def begun(port: int, head: bytes, part: bytes = b"") -> socket.socket:
    """A request that never ends."""
    client = socket.create_connection(("127.0.0.1", port), 10)
    client.sendall(head + part)
    return client


def test_headers_and_bodies_that_come_by_drops_hold_nobody_up(server):
    cookie = login_page(server).headers["Set-Cookie"].partition(";")[0]
    post = f"POST /login HTTP/1.1\r\nHost: 127.0.0.1\r\nCookie: {cookie}\r\nContent-Length: 100000\r\nContent-Type: "
    form, file = "application/x-www-form-urlencoded\r\n\r\n", "multipart/form-data; boundary=x\r\n\r\n"
    slow = []
    try:
        for _ in range(15):
            slow.append(begun(server, b"GET /login HTTP/1.1\r\nHost: 127.0.0.1\r\nX-A: "))
            slow.append(begun(server, (post + form).encode(), b"username=a"))
            slow.append(begun(server, (post + file).encode(), b"--x\r\nContent-Disposition: form-data; "))
        for _ in range(5):
            assert login_page(server).status_code == 200
        refused = httpx.post(f"http://127.0.0.1:{server}/login", data={"username": "a"}, timeout=30)
        assert refused.status_code == 503, "From that address enough is being sent."
        assert refused.headers["Retry-After"]
    finally:
        for client in slow:
            client.close()
    assert soon(lambda: httpx.post(f"http://127.0.0.1:{server}/login", data={"a": "b"}, timeout=30).status_code == 403)


# --- The same, without a server around it


class Drops(io.BytesIO):
    """Says nothing until it is told to."""

    def __init__(self, data: bytes) -> None:
        super().__init__(data)
        self.go = threading.Event()

    def read(self, size: int | None = -1, /) -> bytes:
        assert self.go.wait(30)
        return super().read(size)


def reading(environ: dict[str, Any], start_response: Any) -> list[bytes]:
    return [environ["wsgi.input"].read()]


def asked(address: str, body: io.BytesIO | None = None, size: int = 5) -> dict[str, Any]:
    return {"REMOTE_ADDR": address} | ({"wsgi.input": body, "CONTENT_LENGTH": str(size)} if body else {})


def answer(clients: SlowClients, environ: dict[str, Any]) -> tuple[str, bytes]:
    status = ["200"]
    body = b"".join(clients(environ, lambda line, headers: status.append(line)))
    return status[-1], body


def test_who_waits_for_a_client_leaves_the_room_to_others_and_comes_back():
    clients, drops, told = SlowClients(reading, 1), Drops(b"slow"), []
    thread = threading.Thread(target=lambda: told.append(answer(clients, asked("192.0.2.1", drops))))
    thread.start()
    assert soon(lambda: clients.waiting.total() == 1)
    assert answer(clients, asked("192.0.2.1", io.BytesIO(b"quick")))[1] == b"quick"
    drops.go.set()
    thread.join(30)
    assert told == [("200", b"slow")]
    assert clients.waiting == {}
    assert clients.room.acquire(blocking=False)
    assert not clients.room.acquire(blocking=False), "One may work at once, as before."


def test_of_one_address_so_many_wait_and_others_have_room_left():
    clients = SlowClients(lambda *_: [b"fine"], 1)
    clients.waiting["192.0.2.1"] = OF_ONE_ADDRESS
    assert answer(clients, asked("192.0.2.1", io.BytesIO(b"x")))[0].startswith("503")
    assert answer(clients, asked("192.0.2.1")) == ("200", b"fine")
    assert answer(clients, asked("192.0.2.2", io.BytesIO(b"x"))) == ("200", b"fine")


def test_whoever_waits_holds_no_database_connection_meanwhile():
    """Those at work would wait for it, and whoever holds it for room to work."""
    done: list[str] = []

    def looks_who_it_is_first(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        done.append("a connection is taken")
        return [environ["wsgi.input"].read()]

    class Watched(io.BytesIO):
        def read(self, size: int | None = -1, /) -> bytes:
            done.append("waits")
            return super().read(size)

    clients = SlowClients(looks_who_it_is_first, 1, lambda: done.append("it is given back"))
    assert answer(clients, asked("192.0.2.1", Watched(b"short"), 5))[1] == b"short"
    assert done == ["waits", "a connection is taken"]
    done.clear()
    assert answer(clients, asked("192.0.2.1", Watched(b"long"), 5_000_000))[1] == b"long"
    assert done == ["a connection is taken", "it is given back", "waits"]


def test_whoever_breaks_off_is_told_so_by_django():
    class Broken(io.BytesIO):
        def read(self, size: int | None = -1, /) -> bytes:
            raise ConnectionResetError

    clients = SlowClients(reading, 1)
    with pytest.raises(ConnectionResetError):
        answer(clients, asked("192.0.2.1", Broken(b"x")))
    assert clients.waiting == {}
    assert clients.room.acquire(blocking=False)


class Stream:
    streaming = True
    closed = False

    def __init__(self, **headers: str) -> None:
        self.headers = headers

    def __iter__(self) -> Iterator[bytes]:
        yield from (b"one", b"two", b"three")

    def has_header(self, name: str) -> bool:
        return name in self.headers

    def close(self) -> None:
        self.closed = True


@pytest.mark.parametrize("taken", [0, 1, 3])
def test_an_answer_that_is_fetched_slowly_or_never_to_its_end_leaves_the_room(taken):
    stream = Stream()
    clients = SlowClients(lambda *_: stream, 1)
    parts = clients(asked("192.0.2.1"), None)
    for _, _ in zip(range(taken), parts, strict=False):
        assert clients.room.acquire(blocking=False), "Between two parts others work."
        clients.room.release()
    parts.close()
    assert stream.closed
    assert clients.room.acquire(blocking=False)
    assert not clients.room.acquire(blocking=False)


def test_what_was_read_to_its_end_leaves_the_room_before_it_is_closed():
    clients = SlowClients(lambda *_: Stream(), 1)
    assert b"".join(clients(asked("192.0.2.1"), None)) == b"onetwothree"
    assert clients.room.acquire(blocking=False)
    assert not clients.room.acquire(blocking=False)


class Failing(Stream):
    def __iter__(self) -> Iterator[bytes]:
        yield from (b'{"id": 1}\n', b'{"id": 2}\n')
        raise ConnectionError


def heard_of(stream: Stream) -> bytes:
    """As the server hears it, which logs what is raised."""
    heard: list[bytes] = []
    clients = SlowClients(lambda *_: stream, 1)
    parts = clients(asked("192.0.2.1"), None)
    with pytest.raises(ConnectionError):
        heard.extend(parts)
    parts.close()
    assert clients.room.acquire(blocking=False)
    assert not clients.room.acquire(blocking=False)
    return b"".join(heard)


def test_what_broke_off_half_way_cannot_be_taken_for_whole():
    told = heard_of(Failing())
    assert told.startswith(b'{"id": 1}\n{"id": 2}\n')
    assert b"is not whole: fetch it again" in told
    lines = told.decode().splitlines()
    assert [json.loads(line) for line in lines[:2]] == [{"id": 1}, {"id": 2}]
    with pytest.raises(json.JSONDecodeError):
        [json.loads(line) for line in lines[2:] if line]
    with pytest.raises(csv.Error, match="unexpected end of data"):
        list(csv.reader(io.StringIO(told.decode()), strict=True))


def test_where_the_length_was_told_too_short_is_seen_to_be_so():
    assert heard_of(Failing(**{"Content-Length": "1000"})) == b'{"id": 1}\n{"id": 2}\n'


def test_a_failure_leaves_the_room_too():
    def fails(*_: Any) -> list[bytes]:
        raise ValueError

    clients = SlowClients(fails, 1)
    with pytest.raises(ValueError):  # noqa: PT011 - ours
        clients(asked("192.0.2.1"), None)
    assert clients.room.acquire(blocking=False)
