"""Whoever guesses passwords is slowed, whatever way they go about it: one name from one address (django-axes counts
that), many names from one address, and one name from many addresses.

The last two would let a stranger lock colleagues out: all those behind one address, or anybody whose name is known. So
a browser that somebody logged in with before is known by a cookie and counted by itself. And the one-time link of
`manage.py login_link` is counted by nobody.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from secrets import token_hex
from typing import Any

from django.conf import settings
from django.core import signing
from django.http import HttpRequest, HttpResponse
from django.utils.crypto import salted_hmac

from annotate.access import client_address
from annotate.models import User
from annotate.operating.limits import HOUR, Limit, give_back, network_of, spend

COOKIE, SALT = "known", "annotate.guessing"
LIFE = 400 * 24 * 3600  # seconds; browsers keep no cookie for longer
MOST_PEOPLE = 5  # who share a browser
WHAT = "failed attempts to log in"


def by_browser() -> Limit:
    return Limit("login browser", settings.LOGIN_FAILURES_PER_NAME, HOUR, WHAT)


def by_name() -> Limit:
    return Limit("login name", settings.LOGIN_FAILURES_PER_NAME, HOUR, WHAT)


def by_address() -> Limit:
    return Limit("login address", settings.LOGIN_FAILURES_PER_ADDRESS, HOUR, WHAT)


class Attempt:
    """Counted before the password is looked at: a hundred at the same moment are not one. Who gets in is given it
    back."""

    def __init__(self) -> None:
        self.succeeded = False


@contextmanager
def attempt(request: HttpRequest, username: str) -> Iterator[Attempt]:
    counts = list(counted(request, username))
    for limit, who in counts:
        spend(limit, who)
    this = Attempt()
    yield this
    if this.succeeded:
        for limit, who in counts:
            give_back(limit, who)


def counted(request: HttpRequest, username: str) -> Iterator[tuple[Limit, str]]:
    cookie = kept_in(request)
    if marked(username) in cookie["people"]:
        yield by_browser(), cookie["browser"]
    else:
        yield by_address(), network_of(client_address(request))
        yield by_name(), username


# --- A browser that is known


def remember(request: HttpRequest, response: HttpResponse, user: User) -> None:
    """Who logged in with it, as marks: the cookie tells nobody a name."""
    cookie = kept_in(request)
    people = [marked(user.username), *(mark for mark in cookie["people"] if mark != marked(user.username))]
    value = signing.dumps({"browser": cookie["browser"], "people": people[:MOST_PEOPLE]}, salt=SALT)
    response.set_cookie(
        COOKIE, value, max_age=LIFE, secure=settings.SESSION_COOKIE_SECURE, httponly=True, samesite="Lax", path="/login"
    )


def kept_in(request: HttpRequest) -> dict[str, Any]:
    try:
        found: dict[str, Any] = signing.loads(request.COOKIES.get(COOKIE, ""), salt=SALT, max_age=LIFE)
        return found
    except signing.BadSignature:
        return {"browser": token_hex(16), "people": []}


def marked(username: str) -> str:
    return salted_hmac(SALT, username).hexdigest()[:24]
