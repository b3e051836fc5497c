"""Where the processes of one web server count together: files of prometheus_client, in a folder of this server's own.

Named for the server's first process, so that a new start begins with an empty folder, and two servers that share a
disk do not mix. It has to be chosen before prometheus_client is imported.
"""

import fcntl
import os
import shutil
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

CHOSEN = "PROMETHEUS_MULTIPROC_DIR"
FOLDER = "metrics"


def choose(var: Path) -> None:
    """In a worker of the web server. Whoever has loaded prometheus_client before counts alone."""
    if CHOSEN in os.environ or "prometheus_client" in sys.modules:
        return
    folder = folder_of(var, os.getppid())
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:
        return  # a disk that is full is no reason not to serve: this worker counts alone
    clean(var / FOLDER, but=folder)
    os.environ[CHOSEN] = str(folder)


def folder_of(var: Path, server: int) -> Path:
    return var / FOLDER / f"{socket.gethostname()}.{server}.{int(psutil.Process(server).create_time())}"


def clean(parent: Path, but: Path) -> None:
    """Of servers of this machine that are no more. Another machine's are for it to clean."""
    for old in parent.glob(f"{socket.gethostname()}.*"):
        if old != but and not is_served(old):
            shutil.rmtree(old, ignore_errors=True)


def is_served(folder: Path) -> bool:
    _, server, began = folder.name.rsplit(".", 2)
    try:
        return str(int(psutil.Process(int(server)).create_time())) == began
    except (psutil.Error, ValueError, OverflowError):
        return False


@contextmanager
def alone(folder: Path) -> Iterator[None]:
    """One process at a time reads and tidies."""
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
