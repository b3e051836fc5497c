"""What this thread is at: a request, or a task of a queue. Every line of the log says so, and an error its number."""

import random
import re
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

from django.http import HttpRequest
from django.utils.functional import LazyObject, empty

HARMLESS = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{3,39}")  # a UUID has 36
ALPHABET = "abcdefghijklmnopqrstuvwxyz234567"
METHODS = {"GET", "POST", "HEAD", "PUT", "PATCH", "DELETE", "OPTIONS"}  # others are made up, without end
UNKNOWN, NAMELESS = "unknown", "nameless"
Told = dict[str, object]


@dataclass(frozen=True, slots=True)
class Request:
    number: str
    request: HttpRequest

    def told(self) -> Told:
        """The person by number: a log goes to places where names should not."""
        match = self.request.resolver_match
        told = {
            "request_id": self.number,
            "route": route_of(self.request) if match else None,
            "project": match.kwargs.get("slug") if match else None,
            "user_id": user_id(self.request),
        }
        return {name: value for name, value in told.items() if value is not None}


@dataclass(frozen=True, slots=True)
class Task:
    name: str
    task_id: str
    run: int | None
    asked_in: str  # the request that asked for it

    def told(self) -> Told:
        told: Told = {"task": self.name, "task_id": self.task_id}
        if self.run is not None:
            told["run_id"] = self.run
        if self.asked_in:
            told["request_id"] = self.asked_in
        return told


AT: ContextVar[Request | Task | None] = ContextVar("at", default=None)


@contextmanager
def at(what: Request | Task) -> Iterator[None]:
    mark = AT.set(what)
    try:
        yield
    finally:
        AT.reset(mark)


def told(request: HttpRequest | None = None) -> Told:
    now = now_at(request)
    return now.told() if now else {}


def now_at(request: HttpRequest | None) -> Request | Task | None:
    """Django itself has a word to say of a request when it has left our hands: then it names it."""
    if now := AT.get():
        return now
    number = getattr(request, "number", "")
    return Request(number, request) if request and number else None


def number(request: HttpRequest | None = None) -> str:
    """To be quoted: of the request, or of the one that asked for this task."""
    now = now_at(request)
    if isinstance(now, Task):
        return now.asked_in
    return now.number if now else ""


def number_for(given: str) -> str:
    """A proxy's own, so that its log and ours can be laid side by side; but nothing long or strange, which would stand
    in our log and on our page. Ours is short enough to be read out, and has no 0, 1, 8 or 9 that could be a letter."""
    if given and HARMLESS.fullmatch(given):
        return given
    made = random.getrandbits(40)
    letters = [ALPHABET[made >> shift & 31] for shift in range(0, 40, 5)]
    return f"{''.join(letters[:4])}-{''.join(letters[4:])}"


def route_of(request: HttpRequest) -> str:
    """Its name and never its address: there are as many addresses as anybody cares to try."""
    match = request.resolver_match
    return (match.view_name or NAMELESS) if match else UNKNOWN


def method_of(request: HttpRequest) -> str:
    return request.method if request.method in METHODS else "other"


def user_id(request: HttpRequest) -> int | None:
    """Who it is, where that has been asked already: a line of the log is no reason to ask the database."""
    user: Any = request.__dict__.get("user")
    if isinstance(user, LazyObject):
        user = user.__dict__.get("_wrapped", empty)
    return None if user is None or user is empty else user.pk
