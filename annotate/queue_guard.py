"""A queue goes on where one of its processes is killed, whatever it held at that moment.

Its processes share two pipes, each behind a lock that nobody lets go of for a dead process. Whoever waits for a task
waits with that lock in hand: killed then, it would leave all the others, and whoever takes its place, to wait for ever.
So the guard, who sees it die, ends them all and forks them anew with pipes of their own, and what they had fetched is
handed out again. A worker that dies at its work holds no lock, and is replaced alone.
"""

import logging
import threading
from multiprocessing import Event, Value
from typing import Any

from django_q.conf import Conf
from django_q.queues import Queue

log = logging.getLogger(__name__)
IDLE = -1.0


def mind_the_locks() -> None:
    """Django-Q offers no other way to change what its guard does. In the guard's own process, once."""
    from django_q import cluster

    guard = cluster.Sentinel
    if getattr(guard, "minds_the_locks", False):
        return
    replace_alone = guard.reincarnate

    def reincarnate(self: Any, process: Any) -> None:
        if process not in all_of(self):  # ended with the others, a moment ago
            return
        if may_hold_a_lock(self, process):
            fork_anew(self)
        else:
            replace_alone(self, process)

    guard.reincarnate, guard.spawn_worker, guard.minds_the_locks = reincarnate, spawn_worker, True


def all_of(guard: Any) -> list[Any]:
    return [*guard.pool, guard.monitor, guard.pusher]


def may_hold_a_lock(guard: Any, process: Any) -> bool:
    """Killed by a signal, and not at work on a task."""
    killed = process.exitcode is not None and process.exitcode < 0
    return killed and (process not in guard.pool or process.timer.value == IDLE)


def fork_anew(guard: Any) -> None:
    log.warning("A process of the queue was killed with its lock in hand: all of them are started anew.")
    for process in all_of(guard):
        process.kill()
    for process in all_of(guard):
        process.join()
    guard.task_queue = Queue(maxsize=Conf.QUEUE_LIMIT) if Conf.QUEUE_LIMIT else Queue()
    guard.result_queue, guard.event_out = Queue(), Event()
    guard.reincarnations += 1
    guard.broker.hand_out_again()
    guard.spawn_cluster()


def spawn_worker(guard: Any) -> None:
    """With a timer whose lock is each process's own: nobody waits for that of a dead one either."""
    from django_q.worker import worker

    timer = Value("f", IDLE, lock=threading.RLock())  # type: ignore[call-overload]
    guard.spawn_process(worker, guard.task_queue, guard.result_queue, timer, guard.timeout)
