"""A backup becomes the site again: first its pictures beside what lies there, then the database in one transaction,
then the few files whose name does not tell their content. Broken off anywhere, it can be started again and goes on.
"""

import hashlib
import os
import secrets
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import psycopg
from django.core.files import File
from django.core.files.storage import FileSystemStorage, Storage, default_storage
from django.db import DatabaseError, connection

from annotate import first_start, removing
from annotate.models import Post

from . import dumping
from .backup import (
    DUMP,
    FORMAT,
    HALF,
    MEDIA,
    Manifest,
    NotBackedUp,
    Say,
    checked,
    key_told,
    now_and_then,
    read,
    sums_of,
    unknown_migrations,
)
from .dumping import LEFT_OUT, Database, NotDumped

OUR_ROOMS = ("annotate", "labeling", "modeling")
HOLDS = ("annotate_project", "annotate_post", "annotate_user")
GO_ON = "Mend that and say the same again: it goes on where it stopped."


class NotRestored(Exception):
    """The message is a sentence for whoever runs the site."""


@dataclass
class Restored:
    manifest: Manifest
    written: int = 0
    there_already: int = 0
    removed_again: int = 0
    other_key: bool = False
    waiting_tasks: int = 0
    replaced: list[str] = field(default_factory=list)


def restore(path: Path, replace: bool = False, say: Say = lambda _: None) -> Restored:
    path = path.absolute()
    database, manifest = Database(), known(path)
    server = refuse_database(database, manifest, replace)
    be_whole(path, say)
    done = Restored(manifest, other_key=manifest.key != key_told())
    since = removed_since(database, manifest) if replace else {}
    try:
        later = lay_beside(path, default_storage, done, say)
    except OSError as error:
        raise NotRestored(
            f"The media could not be written ({error.strerror or error}); the database is as it was. {GO_ON}"
        ) from error
    say("The database is restored …")
    try:
        dumping.load(database, server, path / DUMP, manifest.rows, lambda _: None)
    except NotDumped as failure:
        raise NotRestored(f"PostgreSQL did not take it ({failure}); the database is as it was. {GO_ON}") from failure
    bring_up_to_date(database, done, say)
    try:
        put_in_place(path, default_storage, later, done)
    except OSError as error:
        raise NotRestored(f"The last files could not be written ({error.strerror or error}). {GO_ON}") from error
    done.removed_again = remove_again(since)
    done.waiting_tasks = waiting() if done.other_key else 0
    return done


# --- Before anything is touched


def known(path: Path) -> Manifest:
    try:
        manifest = read(path)
    except NotBackedUp as failure:
        raise NotRestored(str(failure)) from failure
    newer = unknown_migrations(manifest, OUR_ROOMS)
    if newer or manifest.format > FORMAT:
        told = f" ({newer[-1]} is not known here)" if newer else ""
        raise NotRestored(f"This backup is of a newer version{told}: install that version first.")
    return manifest


def be_whole(path: Path, say: Say) -> None:
    try:
        checked(path, say)
    except NotBackedUp as failure:
        raise NotRestored(str(failure)) from failure


def refuse_database(database: Database, manifest: Manifest, replace: bool) -> int:
    """Returns the server's version."""
    connection.close()
    if hasattr(connection, "close_pool"):
        connection.close_pool()  # our own connections are not those of a running site
    try:
        with database.connect() as one:
            server = dumping.major(one)
            held = [table for (table,) in one.execute(TABLES).fetchall()]
            asked = [one.execute(f"SELECT 1 FROM {table} LIMIT 1").fetchone() for table in HOLDS if table in held]
    except psycopg.Error as error:
        raise NotRestored(f"The database cannot be reached: {' '.join(str(error).split())}") from error
    if any(asked) and not replace:
        raise NotRestored("This database holds a site already. Where it is to go, say --replace; back it up before.")
    ours = {*connection.introspection.django_table_names(), "django_migrations", *manifest.tables, *LEFT_OUT}
    if strange := sorted(set(held) - ours):
        raise NotRestored(
            f"This database holds tables that are not ours ({', '.join(strange[:3])}): name one of its own."
        )
    if others := database.others():
        told = "1 connection is" if others == 1 else f"{others} connections are"
        raise NotRestored(f"{told} open on this database: stop the site and its workers first.")
    return server


TABLES = "SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p')"


def removed_since(database: Database, manifest: Manifest) -> dict[str, dict[str, str]]:
    """Posts that had to go for good after the backup was made, by project: they must not come back with it."""
    since: dict[str, dict[str, str]] = {}
    try:
        with database.connect() as one:
            found = one.execute(
                "SELECT p.slug, r.id_hash, r.reason FROM annotate_removal r JOIN annotate_project p"
                " ON p.id = r.project_id WHERE r.at >= %s::timestamptz",
                [manifest.made],
            )
            for slug, id_hash, reason in found:
                since.setdefault(slug, {})[id_hash] = reason
    except psycopg.errors.UndefinedTable:
        return {}  # nothing was ever removed in a database as old as that
    return since


# --- Media


def lay_beside(path: Path, storage: Storage, done: Restored, say: Say) -> list[str]:
    """What is new here. Returns what is here by the same name with other content: that waits for the database."""
    later, told = [], now_and_then(say)
    for number, (name, hashed) in enumerate(media_in(path), start=1):
        if not storage.exists(name):
            place(storage, name, path / MEDIA / name)
            done.written += 1
        elif same(storage, name, path / MEDIA / name, hashed):
            done.there_already += 1
        else:
            later.append(name)
        told(f"Media: {number:,} of {done.manifest.files:,} files …")
    return later


def media_in(path: Path) -> Iterator[tuple[str, str]]:
    for name, hashed in sums_of(path).items():
        if name.startswith(f"{MEDIA}/"):
            yield name.removeprefix(f"{MEDIA}/"), hashed


def same(storage: Storage, name: str, backed_up: Path, hashed: str) -> bool:
    if storage.size(name) != backed_up.stat().st_size:
        return False
    seen = hashlib.sha256()
    with storage.open(name) as file:
        for chunk in file.chunks(dumping.CHUNK):
            seen.update(chunk)
    return seen.hexdigest() == hashed


def place(storage: Storage, name: str, source: Path) -> None:
    """Whole or not at all, and in place of what bore its name."""
    with source.open("rb") as content:
        if not isinstance(storage, FileSystemStorage):
            storage.delete(name)
            storage.save(name, File(content, name))
            return
        part = f"{name}.{secrets.token_hex(4)}{HALF}"
        try:
            os.replace(storage.path(storage.save(part, File(content, part))), storage.path(name))
        except BaseException:
            storage.delete(part)
            raise
    told = source.stat()
    os.utime(storage.path(name), ns=(told.st_atime_ns, told.st_mtime_ns))  # the next backup knows it again by this


def put_in_place(path: Path, storage: Storage, names: list[str], done: Restored) -> None:
    for name in names:
        place(storage, name, path / MEDIA / name)
        done.replaced.append(name)


# --- Afterwards


def bring_up_to_date(database: Database, done: Restored, say: Say) -> None:
    try:
        first_start.migrate(say)
        with database.connect(autocommit=True) as one:
            one.execute("ANALYZE")
    except (DatabaseError, psycopg.Error) as error:
        reason = " ".join(str(error).split())
        raise NotRestored(
            f"The database is restored, and could not be brought up to this version ({reason}). {GO_ON}"
        ) from error


def remove_again(since: dict[str, dict[str, str]]) -> int:
    removed = 0
    for slug, reasons in since.items():
        there = Post.objects.filter(project__slug=slug)
        named = ((pk, removing.hash_of(name)) for pk, name in there.values_list("pk", "external_id").iterator())
        for pk, hashed in [(pk, hashed) for pk, hashed in named if hashed in reasons]:
            removing.remove(there.select_related("project").defer("search").get(pk=pk), None, reasons[hashed])
            removed += 1
    return removed


def waiting() -> int:
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM django_q_ormq")
        return int(cursor.fetchone()[0])
