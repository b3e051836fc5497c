"""Whoever uses the site over HTTP, and does not give up when it does not answer: as browsers and programs do."""

import random
import threading
import time
from collections import Counter
from collections.abc import Callable
from html.parser import HTMLParser
from typing import Any

import httpx

PATIENCE = 30.0  # seconds for one answer
heard: Counter[str] = Counter()  # what became of every request of everybody
broken_pages: list[str] = []


class Over(Exception):
    """The work is over before an answer came."""


class Person:
    """With a token for the API, or with a session for the pages."""

    def __init__(self, address: str, over: threading.Event, token: str = "", login: str = "") -> None:
        self.over = over
        self.http = httpx.Client(
            base_url=address, timeout=PATIENCE, headers={"Authorization": f"Bearer {token}"} if token else {}
        )
        if login:
            self.http.get(login)
            self.get("/account")

    def get(self, path: str, **more: Any) -> httpx.Response:
        return self.ask("GET", path, **more)

    def post(self, path: str, **more: Any) -> httpx.Response:
        more.setdefault("headers", {})["X-CSRFToken"] = self.http.cookies.get("csrftoken", "")
        return self.ask("POST", path, **more)

    def ask(self, method: str, path: str, **more: Any) -> httpx.Response:
        """Until it is answered. What the server could not answer is asked once more."""
        pause = 0.1
        while True:
            try:
                response = self.http.request(method, path, **more)
            except httpx.HTTPError as error:
                heard[type(error).__name__] += 1
            else:
                heard[str(response.status_code)] += 1
                if response.status_code < 500:
                    return response
                if response.status_code != 503:
                    broken_pages.append(f"{method} {path}: {response.status_code} {response.text[:300]}")
            if self.over.is_set():
                raise Over
            time.sleep(pause)
            pause = min(2.0, 1.5 * pause)


class Worker(threading.Thread):
    """Does one thing after the other until all is over; what makes it fall over is told."""

    def __init__(self, name: str, turn: Callable[[], object], over: threading.Event, pause: float) -> None:
        super().__init__(name=name, daemon=True)
        self.turn, self.over, self.pause = turn, over, pause
        self.error = ""
        self.doing = ""
        self.turns = 0
        self.dice = random.Random(name)
        self.closing = threading.Event()

    def run(self) -> None:
        while not self.over.is_set() and not self.closing.is_set():
            try:
                self.turn()
                self.turns += 1
            except Over:
                return
            except Exception as error:
                self.error = f"{self.name}: {type(error).__name__}: {error}"[:600]
                import traceback

                traceback.print_exc()
                return
            self.closing.wait(self.pause * self.dice.uniform(0.5, 1.5))


class Form(HTMLParser):
    """What a browser would send of the form that goes to `action`, as it was served."""

    def __init__(self, page: str, action: str) -> None:
        super().__init__()
        self.action, self.inside, self.select = action, False, ""
        self.found = False
        self.fields: dict[str, list[str]] = {}
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        at = dict(attrs)
        if tag == "form":
            self.inside = at.get("action") == self.action
            self.found |= self.inside
        if not self.inside:
            return
        name, value = at.get("name") or "", at.get("value") or ""
        if tag == "select":
            self.select = name
        elif tag == "option" and self.select and "selected" in at:
            self.fields.setdefault(self.select, []).append(value)
        elif tag == "input" and name and (at.get("type") not in ("checkbox", "radio") or "checked" in at):
            self.fields.setdefault(name, []).append(value)

    def handle_endtag(self, tag: str) -> None:
        if tag == "form":
            self.inside = False
        elif tag == "select":
            self.select = ""
