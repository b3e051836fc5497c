"""The site's processes, each told once: `manage.py up` starts all of them, `web` and `worker` become one of them."""

import os
import sys
from typing import NoReturn

from django.conf import settings

from . import slow_clients


def web_server(host: str, port: int, workers: int, threads: int) -> list[str]:
    os.environ["WEB_THREADS"] = str(threads)  # so many work at once; the others wait for slow clients
    return [
        sys.executable, "-m", "annotate.offspring", "granian", "annotate.wsgi:application", "--interface", "wsgi",
        "--host", host, "--port", str(port), "--workers", str(workers),
        "--blocking-threads", str(threads + slow_clients.WAITING),
        "--http", "1", "--no-ws", "--log-level", "error", "--no-access-log", "--respawn-failed-workers",
        "--workers-kill-timeout", "5",
    ]  # fmt: skip


def queue() -> list[str]:
    return [sys.executable, "manage.py", "qcluster"]


def become(command: list[str], **environment: str) -> NoReturn:
    """In place of this process: whoever started it has one process to watch and to end, and no parent between."""
    os.chdir(settings.BASE_DIR)
    sys.stdout.flush()
    sys.stderr.flush()
    os.execve(command[0], command, os.environ | environment)  # noqa: S606 - our own words
