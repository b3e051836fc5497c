"""No process of ours outlives the one that started it: on Linux the kernel ends it, however its parent died.

With SIGKILL, which says it once and for all: a dying parent of several threads sends its signal once for each of them,
and a queue that is asked twice to stop waits for itself for ever. The kernel counts the end of the thread that forked
as the parent's, so only a main thread starts processes that are to live.
"""

import ctypes
import multiprocessing
import os
import runpy
import signal
import sys

PR_SET_PDEATHSIG = 1
LIBC = ctypes.CDLL(None)  # loaded now: between fork and exec there may be nobody left to release the loader's lock


def die_with_parent(parent: int) -> None:
    """Called in the child, before it does anything else."""
    if sys.platform == "linux":
        LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:  # it was gone before it could be followed
            os._exit(1)


def forked_die_with_parent() -> None:
    """Whatever this process and its children fork from now on, as a queue does with its workers."""
    parent = 0

    def remember() -> None:
        nonlocal parent
        parent = os.getpid()

    os.register_at_fork(before=remember, after_in_child=lambda: die_with_parent(parent))


if __name__ == "__main__":  # python -m annotate.offspring MODULE ARGUMENTS: another's program, under the same rule
    forked_die_with_parent()
    if sys.platform == "linux":
        multiprocessing.set_start_method("fork")  # from Python 3.14 on Granian would spawn, which passes the rule by
    del sys.argv[0]
    runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
