"""Looked at by many at once, the thing behind is looked at once, and the others are told what was seen a moment ago."""

import time
from collections.abc import Callable
from threading import Lock
from typing import Generic, TypeVar

T = TypeVar("T")


class Briefly(Generic[T]):
    def __init__(self, seconds: float, look: Callable[[], T]) -> None:
        self.seconds, self.look = seconds, look
        self.lock, self.seen = Lock(), list[T]()
        self.until = 0.0

    def __call__(self) -> T:
        seen = self.seen
        if seen and time.monotonic() < self.until:
            return seen[0]
        # While one looks, whoever else asks is told what was seen before: a database that hangs must not take every
        # thread of the site with it. Only where nothing was seen yet do they wait.
        if not self.lock.acquire(blocking=not seen):
            return seen[0]
        try:
            if not self.seen or time.monotonic() >= self.until:
                self.seen = [self.look()]
                self.until = time.monotonic() + self.seconds
            return self.seen[0]
        finally:
            self.lock.release()

    def forget(self) -> None:
        self.seen = []
