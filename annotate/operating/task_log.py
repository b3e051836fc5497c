"""Of a queue's task: which one it is stands in every line it logs, and one line tells how it ended."""

import logging
import time
from collections.abc import Callable
from contextvars import ContextVar
from typing import Any

from django_q.signals import post_execute_in_worker, post_spawn, pre_enqueue, pre_execute
from django_q.utils import get_func_repr

from . import at_work, queue_beats

log = logging.getLogger("annotate.tasks")
ASKED_IN = "asked_in"
SWEEP = ".every_minute"
BEGAN: ContextVar[float] = ContextVar("began", default=0.0)


def listen() -> None:
    """Django-Q has no other door. A worker does one task after the other, so what is set stays until the next."""
    pre_enqueue.connect(asked, dispatch_uid="task_log")
    pre_execute.connect(begun, dispatch_uid="task_log")
    post_execute_in_worker.connect(ended, dispatch_uid="task_log")
    post_spawn.connect(queue_beats.begin, dispatch_uid="queue_beats")


def asked(task: dict[str, Any], **_: Any) -> None:
    if number := at_work.number():
        task[ASKED_IN] = number


def begun(func: Callable[..., Any] | None, task: dict[str, Any], **_: Any) -> None:
    name = str(get_func_repr(task["func"]))
    at_work.AT.set(at_work.Task(name, task["id"], run_of(func, task["args"]), task.get(ASKED_IN, "")))
    BEGAN.set(time.monotonic())


def run_of(func: Callable[..., Any] | None, given: tuple[Any, ...]) -> int | None:
    """Our tasks that carry out a run take its number first, and call it `pk`."""
    names = getattr(getattr(func, "__code__", None), "co_varnames", ())
    return given[0] if given and names[:1] == ("pk",) and isinstance(given[0], int) else None


def ended(task: dict[str, Any], **_: Any) -> None:
    seconds = time.monotonic() - BEGAN.get()
    name = get_func_repr(task["func"])
    if not task["success"]:
        # What it said stands once more in Django-Q's own line, with the traceback, but without these numbers.
        log.error("%s failed after %.1f s: %s", name, seconds, str(task["result"]).partition(" : Traceback")[0])
    else:
        log.log(logging.DEBUG if name.endswith(SWEEP) else logging.INFO, "%s done in %.1f s", name, seconds)
    at_work.AT.set(None)
