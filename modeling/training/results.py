"""What a run ended with, kept beside the pictures, so that every machine that shares them can have it."""

import fcntl
import os
import secrets
import shutil
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from tempfile import TemporaryFile
from typing import IO

from django.conf import settings
from django.core.files import File
from django.core.files.storage import FileSystemStorage, default_storage

from annotate.images import replaces
from modeling.gpu.hashing import hash_of
from modeling.gpu.progress import FILE as PROGRESS
from modeling.models import Run, RunState

from . import run_folder

RECEIPT, ADAPTER, MODULES = "receipt.json", "adapter", "trained_modules.txt"
BESIDE = (RECEIPT, PROGRESS, MODULES)
FOLDERS = (ADAPTER, "base")  # that of a base model is there only where it was built on the spot, as `tiny` is
SAFE = frozenset({".safetensors", ".json", ".jinja", ".txt", ".model", ".md"})  # nothing that runs when it is loaded


class NoResult(Exception):
    """There is none, or not here, or not whole; the words say why."""


def name_of(run: Run) -> str:
    return f"runs/{run.pk}/result.zip"


# --- Kept


def keep(run: Run, folder: Path) -> None:
    """As it is packed it takes no memory, and nobody ever finds it by half."""
    with TemporaryFile(dir=folder) as packed:
        with zipfile.ZipFile(packed, "w", strict_timestamps=False) as archive:
            for path in parts_of(folder):
                archive.write(path, path.relative_to(folder))
        packed.seek(0)
        put(name_of(run), packed)


def parts_of(folder: Path) -> Iterator[Path]:
    """The code that some models bring along is not among them: it comes from where the model comes from."""
    yield from (path for name in BESIDE if (path := folder / name).exists())
    for name in FOLDERS:
        yield from (path for path in sorted((folder / name).glob("*")) if path.suffix in SAFE)


def put(name: str, content: IO[bytes]) -> None:
    """In place of what is there by that name."""
    storage = default_storage
    if not isinstance(storage, FileSystemStorage):  # others take it as a whole or not at all
        if not replaces(storage):
            storage.delete(name)
        storage.save(name, File(content, name))
        return
    part = f"{name}.{secrets.token_hex(4)}.part"
    try:
        os.replace(storage.path(storage.save(part, File(content, part))), storage.path(name))
    except BaseException:
        storage.delete(part)
        raise


# --- Had again


def fetched(run: Run) -> Path:
    """A folder of this machine with the run's result, whichever machine trained it: for reading, not for changing."""
    known = known_by(run)
    own = run_folder.folder_of(run)
    if hash_of(own / ADAPTER) == known:
        return own
    whole = Path(settings.VAR_DIR) / "results" / f"{run.pk}-{known[:16]}"
    if not whole.exists():
        with alone(whole):
            if not whole.exists():  # while we waited
                fetch(run, known, whole)
    return whole


def known_by(run: Run) -> str:
    known = run.receipt.get("adapter", "")
    if run.state != RunState.DONE or not known:
        raise NoResult(f"{run} has no result: it is not done.")
    return str(known)


@contextmanager
def alone(whole: Path) -> Iterator[None]:
    """Who asks for it at the same time waits for us, and then finds it. The kernel lets go of what a dead one held."""
    whole.parent.mkdir(parents=True, exist_ok=True)
    with (whole.parent / f"{whole.name}.lock").open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        yield


def fetch(run: Run, known: str, whole: Path) -> None:
    """Aside, so that what bears the name is whole."""
    aside = whole.with_name(f"{whole.name}.part")
    shutil.rmtree(aside, ignore_errors=True)  # from one that was killed
    try:
        with archive_of(run) as archive:
            unpack(archive, aside)
        if hash_of(aside / ADAPTER) != known:
            raise NoResult(f"The adapter of {run} in the storage is not the one that its receipt tells of.")
        aside.rename(whole)
    finally:
        shutil.rmtree(aside, ignore_errors=True)


@contextmanager
def archive_of(run: Run) -> Iterator[zipfile.ZipFile]:
    try:
        with default_storage.open(name_of(run)) as stored, zipfile.ZipFile(stored) as archive:
            yield archive
    except FileNotFoundError as error:
        raise NoResult(
            f"The result of {run} is not in the storage that this machine sees: it was trained on "
            f"{run.machine or 'another one'}. Give both the same MEDIA_ROOT, or the same bucket."
        ) from error
    except zipfile.BadZipFile as error:
        raise NoResult(f"The result of {run} in the storage is damaged.") from error


def are_at_hand(run: Run) -> bool:
    here = (run_folder.folder_of(run) / MODULES).exists()
    return run.state == RunState.DONE and (here or default_storage.exists(name_of(run)))


def modules_of(run: Run) -> str | None:
    """Which were trained, by name: a small file of it, to be had without the rest. None where it cannot be had."""
    own = run_folder.folder_of(run) / MODULES
    if own.exists():
        return own.read_text(encoding="utf-8")
    try:
        with archive_of(run) as archive:
            return archive.read(MODULES).decode()
    except (NoResult, KeyError):
        return None


# --- Unpacked, from our storage or from another machine


def unpack(archive: zipfile.ZipFile, to: Path) -> None:
    """Only what a result is made of, under names of ours."""
    for entry in archive.infolist():
        path = PurePosixPath(entry.filename)
        is_beside = len(path.parts) == 1 and path.name in BESIDE
        is_within = len(path.parts) == 2 and path.parts[0] in FOLDERS and path.suffix in SAFE
        if not (is_beside or is_within):
            raise NoResult(f"{entry.filename[:80]} is no part of a result.")
        target = to / path
        target.parent.mkdir(parents=True, exist_ok=True)
        with archive.open(entry) as source, target.open("wb") as file:
            shutil.copyfileobj(source, file)
