"""Everything that a site knows in one folder: the database as it was at one moment, and every file of its media.

The database comes first. What it names in the media lay there before the row was written, under a name that tells its
content, and goes only where a post is removed for good; so what is copied after the database holds all that it names.

A folder, and not one file: its media are plain files, which the next backup beside it takes as they are (a hard link
costs no room), `sha256sum -c SHA256SUMS` can check without us, and rsync carries elsewhere.
"""

import errno
import fcntl
import hashlib
import json
import os
import secrets
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from time import monotonic
from typing import IO, Any

import psycopg
from django.conf import settings
from django.core.files.storage import FileSystemStorage, Storage, default_storage
from django.db import connection
from django.utils import timezone
from django.utils.crypto import salted_hmac

from annotate import images

from . import dumping
from .dumping import Database, NotDumped

FORMAT = 1
MANIFEST, DUMP, SUMS, MEDIA, LOCK = "manifest.json", "database.dump", "SHA256SUMS", "media", "lock"
HALF = ".part"
ADDRESSED = ("images/", "thumbs/")  # named for what they hold: the same name is the same picture
EVERY = 3.0  # seconds between two words about how far it is
Say = Callable[[str], None]


class NotBackedUp(Exception):
    """The message is a sentence for whoever runs the site."""


def now_and_then(say: Say) -> Say:
    """Of a million files nobody wants to hear of each."""
    last = monotonic()

    def paced(words: str) -> None:
        nonlocal last
        if monotonic() - last > EVERY:
            last = monotonic()
            say(words)

    return paced


@dataclass
class Manifest:
    """Written last, so that what has one is whole."""

    made: str = ""
    format: int = FORMAT
    postgresql: int = 0
    migrations: dict[str, list[str]] = field(default_factory=dict)
    tables: dict[str, dict[str, Any]] = field(default_factory=dict)  # rows, and a hash of them
    key: str = ""  # tells one SECRET_KEY from another, and is of no other use
    has_media: bool = True
    files: int = 0
    bytes: int = 0
    taken_over: int = 0  # files that the backup beside it had already
    gone_meanwhile: int = 0  # pictures of posts that were removed while it was made
    missing: int = 0  # pictures that the storage had lost before
    sums: str = ""  # the hash of SHA256SUMS, which has all the others

    @property
    def rows(self) -> dict[str, int]:
        return {table: told["rows"] for table, told in self.tables.items()}


def read(path: Path) -> Manifest:
    try:
        told = json.loads((path / MANIFEST).read_text(encoding="utf-8"))
        known = {name: value for name, value in told.items() if name in Manifest.__dataclass_fields__}
        return Manifest(**known)
    except FileNotFoundError as error:
        raise NotBackedUp(f"{path} is no whole backup: it has no {MANIFEST}, which is written last.") from error
    except (OSError, ValueError, TypeError, AttributeError) as error:
        raise NotBackedUp(f"The {MANIFEST} of {path} cannot be read, so it is taken for no backup.") from error


# --- Made


def make(path: Path, say: Say = lambda _: None, with_media: bool = True) -> Manifest:
    path = path.absolute()
    refuse_place(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        forget_halves(path.parent)
        with half(path) as part:
            manifest = fill(part, latest_in(path.parent), say, with_media)
            lies_on_the_disk(part)
            os.rename(part, path)
    except OSError as error:
        raise NotBackedUp(said(error, path)) from error
    except NotDumped as failure:
        full = "No space left" in str(failure)
        words = said(OSError(errno.ENOSPC, ""), path) if full else f"{failure}; nothing was left."
        raise NotBackedUp(words) from failure
    except psycopg.errors.UndefinedTable as error:
        raise NotBackedUp("There is no site in this database yet: `manage.py prepare` makes its tables.") from error
    except psycopg.Error as error:
        raise NotBackedUp(f"The database broke off ({' '.join(str(error).split())}); nothing was left.") from error
    return manifest


def refuse_place(path: Path) -> None:
    if path.exists():
        raise NotBackedUp(f"{path} is there already: name a new folder for each backup.")
    if isinstance(default_storage, FileSystemStorage) and path.is_relative_to(settings.MEDIA_ROOT):
        raise NotBackedUp(f"{path} lies among the media, so the next backup would hold this one: name another place.")


@contextmanager
def half(path: Path) -> Iterator[Path]:
    """Under a name of its own until it is whole. The lock tells others that somebody is at work on it."""
    part = path.with_name(f".{path.name}.{secrets.token_hex(4)}{HALF}")
    part.mkdir(mode=0o700)
    try:
        with (part / LOCK).open("w") as held:
            fcntl.flock(held, fcntl.LOCK_EX)
            yield part
    finally:
        shutil.rmtree(part, ignore_errors=True)  # by now it bears another name, or it failed


def forget_halves(parent: Path) -> None:
    """Of backups that were killed: the kernel let go of their locks."""
    for lock in parent.glob(f".*{HALF}/{LOCK}"):
        with suppress(OSError), lock.open("a") as held:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(lock.parent, ignore_errors=True)


def fill(part: Path, before: Path | None, say: Say, with_media: bool) -> Manifest:
    manifest = Manifest(made=timezone.now().isoformat(timespec="seconds"), key=key_told(), has_media=with_media)
    pictures = write_database(part, manifest, say)
    with (part / SUMS).open("w", encoding="utf-8", newline="\n") as sums:
        sums.write(f"{hash_of(part / DUMP)}  {DUMP}\n")
        if with_media:
            written = copy_media(default_storage, part, before, sums, manifest, say)
            manifest.gone_meanwhile, manifest.missing = not_there(pictures - written)
    manifest.sums = hash_of(part / SUMS)
    (part / LOCK).unlink()
    (part / MANIFEST).write_text(json.dumps(asdict(manifest), indent=1) + "\n", encoding="utf-8")
    return manifest


def lies_on_the_disk(part: Path) -> None:
    """Not only in memory: after a power cut nothing that bears the name is empty. What is a link lay there before."""
    for folder, _, names in os.walk(part, topdown=False):
        for path in (*(Path(folder) / name for name in names), Path(folder)):
            if path.is_dir() or path.stat().st_nlink == 1:
                opened = os.open(path, os.O_RDONLY)
                try:
                    os.fsync(opened)
                finally:
                    os.close(opened)


def key_told() -> str:
    return salted_hmac("annotate.operating.backup", "which key").hexdigest()[:16]


def write_database(part: Path, manifest: Manifest, say: Say) -> set[str]:
    """One snapshot for the dump and for what is counted of it. Returns where its pictures lie."""
    database = Database()
    with database.connect() as one:
        one.isolation_level, one.read_only = psycopg.IsolationLevel.REPEATABLE_READ, True
        row = one.execute("SELECT pg_export_snapshot()").fetchone()
        assert row
        manifest.postgresql = dumping.major(one)
        for app, name in one.execute("SELECT app, name FROM public.django_migrations ORDER BY id"):
            manifest.migrations.setdefault(app, []).append(name)
        say("The database is written out …")
        dumping.dump(database, manifest.postgresql, str(row[0]), part / DUMP)
        manifest.tables = dumping.measured(one)
        pictures = one.execute("SELECT sha256, format FROM public.annotate_image").fetchall()
    size = (part / DUMP).stat().st_size
    say(f"The database: {sum(manifest.rows.values()):,} rows, {size / 1e6:,.1f} MB.")
    return {images.path_of(sha256, format) for sha256, format in pictures}


# --- Media


def copy_media(
    storage: Storage, part: Path, before: Path | None, sums: IO[str], manifest: Manifest, say: Say
) -> set[str]:
    known, told, written = sums_of(before) if before else {}, now_and_then(say), set()
    for name in names_in(storage):
        target, earlier = part / MEDIA / name, before / MEDIA / name if before else None
        target.parent.mkdir(parents=True, exist_ok=True)
        hashed = known.get(f"{MEDIA}/{name}", "")
        if earlier and hashed and taken_over(storage, name, earlier, target):
            manifest.taken_over += 1
        else:
            hashed = copied(storage, name, target)
        if not hashed:
            continue
        sums.write(f"{hashed}  {MEDIA}/{name}\n")
        written.add(name)
        manifest.files += 1
        manifest.bytes += target.stat().st_size
        told(f"Media: {manifest.files:,} files, {manifest.bytes / 1e6:,.1f} MB …")
    again = f", {manifest.taken_over:,} of them as in {before.name}" if before and manifest.taken_over else ""
    say(f"Media: {manifest.files:,} files, {manifest.bytes / 1e6:,.1f} MB{again}.")
    return written


def names_in(storage: Storage, folder: str = "") -> Iterator[str]:
    """What is being written has another ending, and is nobody's yet."""
    try:
        folders, files = storage.listdir(folder)
    except FileNotFoundError:
        return
    yield from (f"{folder}{name}" for name in sorted(files) if name and not name.endswith(HALF) and "\n" not in name)
    for within in sorted(folders):
        yield from names_in(storage, f"{folder}{within}/")


def taken_over(storage: Storage, name: str, earlier: Path, target: Path) -> bool:
    """What did not change since the backup beside this one. A link costs no room, and either backup can be deleted."""
    try:
        had = earlier.stat()
        if had.st_size != storage.size(name) or not (name.startswith(ADDRESSED) or had.st_mtime_ns == changed(name)):
            return False
        os.link(earlier, target)
    except (OSError, NotImplementedError):
        return False
    return True


def changed(name: str) -> int:
    return Path(default_storage.path(name)).stat().st_mtime_ns


def copied(storage: Storage, name: str, target: Path) -> str:
    """Its hash; blank where it was deleted meanwhile."""
    seen = hashlib.sha256()
    try:
        with storage.open(name) as source, target.open("wb") as file:
            for chunk in source.chunks(dumping.CHUNK):
                seen.update(chunk)
                file.write(chunk)
    except FileNotFoundError:
        target.unlink(missing_ok=True)
        return ""
    with suppress(OSError, NotImplementedError):
        os.utime(target, ns=(changed(name), changed(name)))
    return seen.hexdigest()


def not_there(names: set[str]) -> tuple[int, int]:
    """Pictures that the database names and the storage does not have: gone with their posts since, and lost before."""
    if not names:
        return 0, 0
    hashes = [name.rpartition("/")[2].partition(".")[0] for name in names]
    with connection.cursor() as cursor:  # now, and not as of the snapshot
        cursor.execute("SELECT count(*) FROM annotate_image WHERE sha256 = ANY(%s)", [hashes])
        (still_named,) = cursor.fetchone()
    return len(names) - still_named, still_named


# --- What lies there


def latest_in(parent: Path) -> Path | None:
    whole: list[tuple[str, Path]] = []
    for found in parent.glob(f"*/{MANIFEST}"):
        with suppress(NotBackedUp):
            manifest = read(found.parent)
            if manifest.has_media and hash_of(found.parent / SUMS) == manifest.sums:
                whole.append((manifest.made, found.parent))
    return max(whole)[1] if whole else None


def sums_of(path: Path) -> dict[str, str]:
    """The hash of each file, by its name."""
    with (path / SUMS).open(encoding="utf-8", newline="\n") as file:
        return {line[66:].rstrip("\n"): line[:64] for line in file}


def hash_of(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def checked(path: Path, say: Say) -> Manifest:
    """Every file is read, and is the one that was written."""
    manifest, told = read(path), now_and_then(say)
    if manifest.format > FORMAT:
        raise NotBackedUp(f"{path} was made by a newer Casting Vote: install that version, and restore it there.")
    try:
        if hash_of(path / SUMS) != manifest.sums:
            raise NotBackedUp(f"{SUMS} in {path} is not the one that was written: this backup is damaged.")
        for number, (name, hashed) in enumerate(sums_of(path).items(), start=1):
            if hash_of(path / name) != hashed:
                raise NotBackedUp(f"{name} in {path} is not the file that was written: this backup is damaged.")
            told(f"Checked {number:,} of {manifest.files + 1:,} files …")
    except FileNotFoundError as error:
        raise NotBackedUp(f"{error.filename} is missing: this backup is damaged.") from error
    except OSError as error:
        raise NotBackedUp(f"{path} cannot be read: {error.strerror or error}.") from error
    return manifest


def tried(path: Path, say: Say) -> Manifest:
    """Restored into a database that is thrown away, and compared row for row with what was there."""
    manifest = checked(path.absolute(), say)
    say("Every file is as it was written. The database is restored to compare it …")
    name = f"check_{secrets.token_hex(6)}"
    try:
        with Database().connect() as one:
            server = dumping.major(one)
        with dumping.throwaway(name) as database:
            dumping.load(database, server, path / DUMP, manifest.rows, lambda _: None)
            with database.connect() as one:
                differing = differences(manifest, dumping.measured(one), server)
    except (NotDumped, psycopg.Error) as failure:
        raise NotBackedUp(f"It cannot be restored: {' '.join(str(failure).split())}") from failure
    if differing:
        raise NotBackedUp(f"Restored, these tables differ from what was backed up: {', '.join(differing)}.")
    return manifest


def differences(manifest: Manifest, there: dict[str, dict[str, Any]], server: int) -> list[str]:
    """Between two PostgreSQLs a number may be written differently, so there the rows alone are counted."""
    what = ("rows", "hash") if server == manifest.postgresql else ("rows",)
    tables = manifest.tables.keys() | there.keys()
    none: dict[str, Any] = {}
    return sorted(
        table
        for table in tables
        if any(manifest.tables.get(table, none).get(key) != there.get(table, none).get(key) for key in what)
    )


def unknown_migrations(manifest: Manifest, ours: tuple[str, ...]) -> list[str]:
    """Of our own rooms; what a package of others made is not ours to judge."""
    from django.db.migrations.loader import MigrationLoader

    known = MigrationLoader(None).disk_migrations or {}
    return [f"{app}.{name}" for app in ours for name in manifest.migrations.get(app, []) if (app, name) not in known]


def said(error: OSError, path: Path) -> str:
    if error.errno in {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}:
        return f"The disk of {path.parent} is full; nothing was left there. Make room, or name another place."
    return f"{path} could not be written: {error.strerror or error}. Nothing was left there."
