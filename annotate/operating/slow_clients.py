"""Somebody who sends or fetches slowly, on a bad line or to do harm, holds up nobody else.

The server gives each request a thread, and Django needs few of them: as many as WEB_THREADS work at once. Here a thread
counts only while it works, not while it waits for a client's next bytes; so the server may have many more of them.
Of those that wait, one address may have some, and some are always left for requests that send nothing.

Whoever waits holds no database connection: there are few, and those at work would wait for them in turn. So what is
short is read before Django sees it, and what is long is read, or sent, with the connection given back.
"""

import io
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, Protocol

from .limits import network_of

WAITING = 60  # threads of a server process that may wait for clients, beside those that work
OF_ONE_ADDRESS = 24
SHORT = 1_000_000  # bytes, which are kept in memory
BUSY = b'{"detail": "Too many requests are being sent from where you are. Try again in a moment."}'

# The server ends an answer that broke half-way as if it were whole, and offers no way to cut it off. This stands at the
# end then: no reader of JSON, JSON Lines, ZIP or quoted CSV takes it for theirs, and a person can read it.
BROKEN_OFF = b'\n"This file broke off here and is not whole: fetch it again.\n'

Environ = dict[str, Any]
Application = Callable[[Environ, Any], Iterable[bytes]]


class Source(Protocol):
    def read(self, size: int = -1, /) -> bytes: ...

    def readline(self, size: int = -1, /) -> bytes: ...


class SlowClients:
    def __init__(self, application: Application, at_work: int, let_go: Callable[[], None] = lambda: None) -> None:
        """`let_go` is called before a wait: to give back what others need."""
        self.application, self.let_go = application, let_go
        self.room = threading.Semaphore(at_work)
        self.lock = threading.Lock()
        self.waiting: Counter[str] = Counter()

    def __call__(self, environ: Environ, start_response: Any) -> Iterable[bytes]:
        if sends(environ):
            address = network_of(str(environ.get("REMOTE_ADDR", "")))
            if not self.has_room_for(address):
                start_response("503 Service Unavailable", [("Content-Type", "application/json"), ("Retry-After", "5")])
                return [BUSY]
            environ["wsgi.input"] = self.body_of(environ, address)
        self.room.acquire()
        try:
            response = self.application(environ, start_response)
        except BaseException:
            self.room.release()
            raise
        if getattr(response, "streaming", False):
            return Parts(self, response)
        self.room.release()
        return response

    def body_of(self, environ: Environ, address: str) -> Source:
        source: Source = environ["wsgi.input"]
        if not 0 < size_of(environ) <= SHORT:
            return Unhurried(self, source, address)
        try:
            with self.counted(address):
                return io.BytesIO(source.read(size_of(environ)))
        except OSError:  # who broke off is told so where the rest is told
            return source

    def has_room_for(self, address: str) -> bool:
        with self.lock:
            return self.waiting[address] < OF_ONE_ADDRESS and self.waiting.total() < WAITING

    def wait_for(self, address: str, read: Callable[[], bytes]) -> bytes:
        self.let_go()
        self.room.release()
        try:
            with self.counted(address):
                return read()
        finally:
            self.room.acquire()

    @contextmanager
    def counted(self, address: str) -> Iterator[None]:
        with self.lock:
            self.waiting[address] += 1
        try:
            yield
        finally:
            with self.lock:
                self.waiting[address] -= 1
                if not self.waiting[address]:
                    del self.waiting[address]


class Unhurried:
    """The body of a request, read without being in anybody's way."""

    def __init__(self, clients: SlowClients, source: Source, address: str) -> None:
        self.clients, self.source, self.address = clients, source, address

    def read(self, size: int = -1) -> bytes:
        return self.clients.wait_for(self.address, lambda: self.source.read(size))

    def readline(self, size: int = -1) -> bytes:
        return self.clients.wait_for(self.address, lambda: self.source.readline(size))

    def __iter__(self) -> Iterator[bytes]:
        return iter(self.readline, b"")


class Parts:
    """An answer that is made while it is sent: its next part is made when the last one is taken. What makes it must not
    keep a cursor of the database open from part to part."""

    def __init__(self, clients: SlowClients, response: Any) -> None:
        self.clients, self.response, self.holds = clients, response, True

    def __iter__(self) -> Iterator[bytes]:
        try:
            for part in self.response:
                self.leave()
                yield part
                self.enter()
        except Exception:
            if not self.response.has_header("Content-Length"):  # with one, too short is seen to be so
                self.leave()
                yield BROKEN_OFF
            raise
        finally:
            self.leave()  # also for whoever forgets to close what was read to its end

    def enter(self) -> None:
        self.clients.room.acquire()
        self.holds = True

    def leave(self) -> None:
        if self.holds:
            self.holds = False
            self.clients.let_go()
            self.clients.room.release()

    def close(self) -> None:
        try:
            self.response.close()
        finally:
            self.leave()


def sends(environ: Environ) -> bool:
    return size_of(environ) > 0 or "HTTP_TRANSFER_ENCODING" in environ


def size_of(environ: Environ) -> int:
    stated = str(environ.get("CONTENT_LENGTH") or "0")
    return int(stated) if stated.isdecimal() and len(stated) < 16 else 0
