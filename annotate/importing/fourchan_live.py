"""Collects a board within the rules of 4chan's read-only API: one request a second, and only for what has changed."""

import json
import re
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

import httpx

from . import fourchan
from .rows import Picture, Refused, Row, Unreadable

SECONDS_APART = 1.0
FAILURES_BORNE = 3  # in a row; then the server wants to be left alone
LONGEST_WAIT = 60.0
MAX_BYTES = 20_000_000
BOARD = re.compile(r"[a-z0-9]{1,10}")


class GivenUp(Exception):
    """The message is a sentence for the report."""


class Missing(Exception):
    """A thread that was not read; the message goes on from its number."""

    def __init__(self, message: str, is_gone: bool = False) -> None:
        super().__init__(message)
        self.is_gone = is_gone  # for good: asking again is no use


@dataclass(frozen=True, slots=True)
class Answer:
    status: int
    body: bytes = b""
    modified: str = ""
    retry_after: str = ""


NO_ANSWER = Answer(status=0)


class Gate:
    """One request a second, pictures included, whichever threads ask; and waits that grow while the server fails."""

    def __init__(self, sleep: Callable[[float], object], now: Callable[[], float]) -> None:
        self.sleep, self.now = sleep, now
        self.lock = threading.Lock()
        self.open_at = now() + SECONDS_APART  # an earlier run may have asked just now
        self.failures = 0

    def get(self, url: str, modified_since: str = "") -> Answer:
        """An answer of status 200, 304 or 404."""
        with self.lock:
            while not self.is_shut:
                self.wait()
                answer = ask(url, modified_since)
                if answer.status in {200, 304, 404}:
                    self.failures = 0
                    return answer
                self.failures += 1
                self.open_at = self.now() + wait_after(answer, self.failures)
            raise GivenUp(f"the server failed {FAILURES_BORNE} times in a row; try again later")

    @property
    def is_shut(self) -> bool:
        return self.failures >= FAILURES_BORNE

    def wait(self) -> None:
        if (seconds := self.open_at - self.now()) > 0:
            self.sleep(seconds)
        self.open_at = self.now() + SECONDS_APART


def ask(url: str, modified_since: str) -> Answer:
    headers = {"User-Agent": "casting-vote"} | ({"If-Modified-Since": modified_since} if modified_since else {})
    try:
        with httpx.stream("GET", url, headers=headers, timeout=20) as response:
            body = bytearray()
            for piece in response.iter_bytes():
                body += piece
                if len(body) > MAX_BYTES:
                    return NO_ANSWER
            found = response.headers
            return Answer(
                response.status_code, bytes(body), found.get("Last-Modified", ""), found.get("Retry-After", "")
            )
    except (httpx.HTTPError, httpx.InvalidURL):
        return NO_ANSWER


def wait_after(answer: Answer, failures: int) -> float:
    asked = int(answer.retry_after) if re.fullmatch(r"\d{1,6}", answer.retry_after) else 0
    return min(max(asked, 2.0 ** (failures + 1)), LONGEST_WAIT)


def collect(
    board: str,
    *,
    api: str = "https://a.4cdn.org",
    images: str = "https://i.4cdn.org",
    threads: int,
    with_pictures: bool,
    state: dict[str, str],
    sleep: Callable[[float], object] = time.sleep,
    now: Callable[[], float] = time.monotonic,
) -> Iterator[Row | Refused]:
    """The most recently active threads. `state` remembers when each had last changed, and is updated in place."""
    if not BOARD.fullmatch(board):
        raise Unreadable("A board is named by a few small letters or digits, such as biz.")
    gate = Gate(sleep, now)
    picture_named = partial(live_picture, gate, f"{images}/{board}") if with_pictures else no_picture
    catalog = catalog_of(gate, f"{api}/{board}/catalog.json", state.get(f"{board}/catalog/{threads}", ""))
    number, has_all = 0, bool(catalog.modified)
    for no in active_threads(catalog)[:threads]:
        try:
            for post in posts_of(gate, f"{api}/{board}/thread/{no}.json", f"{board}/{no}", state):
                number += 1
                yield fourchan.row_of(number, post, board, picture_named)
        except Missing as error:
            number += 1
            has_all &= error.is_gone
            yield Refused(number, f"thread {no} {error}")
        if gate.is_shut:
            return
    # Only now: had we missed something, the next run must not hear "not changed" and stop there.
    if has_all:
        state[f"{board}/catalog/{threads}"] = catalog.modified


def catalog_of(gate: Gate, url: str, modified_since: str) -> Answer:
    try:
        answer = gate.get(url, modified_since)
    except GivenUp as error:
        raise Unreadable(f"The board cannot be read: {error}.") from error
    if answer.status == 404:
        raise Unreadable("There is no such board.")
    return answer


def active_threads(catalog: Answer) -> list[int]:
    """By their last change; none where nothing has changed since the last time."""
    if catalog.status == 304:
        return []
    pages = json_in(catalog.body)
    if not isinstance(pages, list):
        raise Unreadable("The board's catalogue is not what it should be; try again later.")
    threads = [thread for page in pages if isinstance(page, dict) for thread in fourchan.posts_in(page)]
    threads = [thread for thread in threads if fourchan.whole(thread, "no") and not thread.get("sticky")]
    threads.sort(key=lambda thread: fourchan.whole(thread, "last_modified"), reverse=True)
    return [fourchan.whole(thread, "no") for thread in threads]


def posts_of(gate: Gate, url: str, key: str, state: dict[str, str]) -> Iterator[fourchan.Post]:
    """None where the thread has not changed since the last time."""
    try:
        answer = gate.get(url, state.get(key, ""))
    except GivenUp as error:
        raise Missing(f"and those after it were not read: {error}") from error
    if answer.status == 304:
        return
    state.pop(key, None)
    if answer.status == 404:
        raise Missing("is gone from the board", is_gone=True)
    thread = json_in(answer.body)
    if not isinstance(thread, dict) or not isinstance(thread.get("posts"), list):
        raise Missing("is not what it should be: it has no list of posts")
    yield from fourchan.posts_in(thread)
    if answer.modified:
        state[key] = answer.modified


def json_in(body: bytes) -> object:
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        return None


def live_picture(gate: Gate, folder: str, name: str) -> Picture:
    return Picture(name, partial(picture_bytes, gate, f"{folder}/{name}"))


def no_picture(name: str) -> None:
    return None


def picture_bytes(gate: Gate, url: str) -> bytes:
    try:
        answer = gate.get(url)
    except GivenUp as error:
        raise Unreadable(str(error)) from error
    if answer.status != 200:
        raise Unreadable("it is gone from the board")
    return answer.body
