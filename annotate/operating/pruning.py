"""What may go by rule, because nobody needs it or it can be made again. First found and shown, and only then removed.

A rule finds what would go. Each thing that it found is looked at again in the moment that it goes, for whatever was
found on a page may be in use by the time that somebody says yes.

The rules here are of what all machines share. Whatever leaves things elsewhere brings rules of its own, and says which
pictures it needs: annotate knows neither training nor datasets.
"""

import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import cached_property, partial
from pathlib import Path
from typing import Any, NamedTuple

from django.conf import settings
from django.contrib.sessions.models import Session
from django.core.files.storage import default_storage
from django.db import transaction
from django.utils import timezone
from django_q.models import Success

from annotate import images, removing
from annotate.models import Event, Image, ImportRun, User
from annotate.models.importing import ImportState

HALF = ".part"
OF_PICTURES = ("images/", "thumbs/")
HALF_DAYS = 1  # nobody writes one file for as long as that
Named = Callable[[], set[str]]  # pictures that are needed though no post shows them, by their hashes
NAMED: list[Named] = []


@dataclass(frozen=True, slots=True)
class Going:
    what: str
    bytes: int
    remove: Callable[[], None]


@dataclass(frozen=True, slots=True)
class Rule:
    key: str
    title: str
    why: str  # it may go, in a sentence
    days: int  # that it stays; 0: the rule is switched off
    find: Callable[[datetime], Iterable[Going]]  # what was left alone since that moment
    shared: bool = True  # else of each machine's own folder, which no other machine sees

    def found(self) -> list[Going]:
        return list(self.find(timezone.now() - timedelta(days=self.days))) if self.days else []


@dataclass(frozen=True, slots=True)
class Found:
    rule: Rule
    going: list[Going]

    @property
    def bytes(self) -> int:
        return sum(one.bytes for one in self.going)


OTHERS: list[Callable[[], list[Rule]]] = []


def also_by(rules: Callable[[], list[Rule]]) -> None:
    OTHERS.append(rules)


def also_needed(named: Named) -> None:
    NAMED.append(named)


def still_named() -> set[str]:
    return {name for named in NAMED for name in named()}


def rules() -> list[Rule]:
    """Made anew for each look: what one rule has gone through for it, another need not."""
    walk = Walk()
    ours = [
        Rule("uploads", "Files sent for imports that are done", "Their posts stand in the database.",
             settings.PRUNE_UPLOADS_DAYS, partial(uploads, walk)),
        Rule("orphans", "Pictures that no post shows",
             "Their posts went with their project, or the import that brought them broke off.",
             settings.PRUNE_ORPHANS_DAYS, partial(orphans, walk)),
        Rule("halves", "Half-written files", "Whoever wrote them was killed.", HALF_DAYS, partial(halves, walk)),
        Rule("tasks", "Queued work that is done", "Only the admin’s list of tasks shows it.",
             settings.PRUNE_TASKS_DAYS, tasks),
        Rule("sessions", "Logins that have ended", "They open nothing any more.", HALF_DAYS, sessions),
    ]  # fmt: skip
    return [rule for others in OTHERS for rule in others()] + ours


def look(shared: bool | None = None) -> list[Found]:
    """By the rules of what is shared, by those of this machine's own folder, or by all."""
    return [Found(rule, rule.found()) for rule in rules() if shared is None or rule.shared == shared]


def prune(
    found: Iterable[Found], by: User | None = None, machine: str = "", goes_on: Callable[[], bool] = lambda: True
) -> tuple[int, int]:
    """How many went, and of how many bytes. What cannot go now is left for the next time, and so is all of which
    another takes care by now: `goes_on` is asked before each."""
    things = freed = 0
    told: dict[str, Any] = {"machine": machine} if machine else {}
    for each in found:
        for one in each.going:
            if not goes_on():
                break
            try:
                one.remove()
            except (OSError, Kept):
                continue
            things, freed = things + 1, freed + one.bytes
            told[each.rule.key] = told.get(each.rule.key, 0) + 1
    if things:
        Event.record("storage pruned", user=by, megabytes=freed // 1024**2, **told)
    return things, freed


class Kept(Exception):
    """It is needed after all."""


# --- The rules


def uploads(walk: "Walk", before: datetime) -> Iterator[Going]:
    """Of one that failed or was stopped the file stays: with it the import can be begun again."""
    over = ImportRun.objects.filter(state=ImportState.DONE, ended__lt=before).exclude(path="")
    for run in over.iterator():
        if run.path in walk.found.sent:
            yield Going(
                f"{run.name} (import {run.pk})", walk.found.sent[run.path], partial(default_storage.delete, run.path)
            )


def orphans(walk: "Walk", before: datetime) -> Iterator[Going]:
    for image in Image.objects.filter(posts=None, created__lt=before).iterator():
        if image.sha256 not in walk.named:
            yield Going(images.path_of(image.sha256, image.format), image.bytes, partial(drop, image.pk))
    for name, size, changed in walk.found.strays:
        if changed < before:
            yield Going(name, size, partial(drop_file, name))


def drop(pk: int) -> None:
    """No import is about to use it: those that are at a batch hold the same lock."""
    with transaction.atomic():
        removing.alone()
        image = Image.objects.filter(pk=pk, posts=None).first()
        if image is None or image.sha256 in still_named():
            raise Kept
        removing.drop_picture(pk)


def drop_file(name: str) -> None:
    with transaction.atomic():
        removing.alone()
        if Image.objects.filter(sha256=hash_in(name)).exists() or hash_in(name) in still_named():
            raise Kept
        default_storage.delete(name)


def hash_in(name: str) -> str:
    return name.rpartition("/")[2].partition(".")[0]


def halves(walk: "Walk", before: datetime) -> Iterator[Going]:
    for name, size, changed in walk.found.halves:
        if changed < before:
            yield Going(name, size, partial(default_storage.delete, name))


def tasks(before: datetime) -> Iterator[Going]:
    old = Success.objects.filter(stopped__lt=before)
    if count := old.count():
        yield Going(f"{count:,} tasks", 0, lambda: forget(old.delete()))


def sessions(before: datetime) -> Iterator[Going]:
    old = Session.objects.filter(expire_date__lt=before)
    if count := old.count():
        yield Going(f"{count:,} logins", 0, lambda: forget(old.delete()))


def forget(_: object) -> None:
    """What a deletion tells is of no use here."""


# --- Files of the storage


class File(NamedTuple):
    name: str
    size: int
    changed: datetime  # when it was last written


@dataclass(slots=True)
class Picked:
    halves: list[File] = field(default_factory=list)
    strays: list[File] = field(default_factory=list)  # pictures of which nobody knows
    sent: dict[str, int] = field(default_factory=dict)  # for imports, with their sizes


class Walk:
    """Through the whole storage, once for all rules and only where one asks. Of millions of files few are kept."""

    @cached_property
    def named(self) -> set[str]:
        return still_named()

    @cached_property
    def found(self) -> Picked:
        picked = Picked()
        sent = set(ImportRun.objects.exclude(path="").values_list("path", flat=True))
        known = set(Image.objects.values_list("sha256", flat=True)) | self.named
        for name, size, changed in files_in():
            if name in sent:
                picked.sent[name] = size
            elif name.endswith(HALF):
                picked.halves.append(File(name, size, changed))
            elif name.startswith(OF_PICTURES) and hash_in(name) not in known:
                picked.strays.append(File(name, size, changed))
        return picked


def files_in(folder: str = "") -> Iterator[File]:
    """What goes meanwhile is passed over. A bucket tells all of it in its list; a folder is asked for each file."""
    if listed := getattr(default_storage, "listed", None):
        for told in listed(folder):
            yield File(*told)
        return
    try:
        folders, names = default_storage.listdir(folder)
    except (FileNotFoundError, NotADirectoryError):
        return
    for name in names:
        path = f"{folder}/{name}".lstrip("/")
        try:
            yield File(path, default_storage.size(path), default_storage.get_modified_time(path))
        except FileNotFoundError:
            continue
    for within in folders:
        yield from files_in(f"{folder}/{within}".lstrip("/"))


# --- Folders of this machine


def size_of(folder: Path) -> int:
    return sum(size for size, _ in each_in(folder))


def last_touched(folder: Path) -> datetime:
    """The last time that anything in it was written."""
    changed = max((at for _, at in each_in(folder)), default=0.0)
    return datetime.fromtimestamp(changed or time.time(), tz=timezone.get_default_timezone())


def each_in(folder: Path) -> Iterator[tuple[int, float]]:
    for path in (folder, *folder.rglob("*")):
        try:
            told = path.lstat()
        except FileNotFoundError:
            continue
        yield (0 if path.is_dir() and not path.is_symlink() else told.st_size), told.st_mtime
