"""A run's folder: all that the trainer reads, and nothing that it must not see. It may be carried to any machine."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from django.conf import settings
from django.db.models import OuterRef, Subquery

from .chat import Chat
from .export import pictures
from .export.members import Member, gathered
from .items import Item, as_line, items
from .models import Dataset, DatasetItem, Run, RunState, Split

TO_LEARN_FROM = (Split.TRAIN, Split.VALIDATION)  # what models are measured on never leaves this machine with a run
WRITTEN = "whole"  # stands in a folder that was written to its end


def folder_of(run: Run) -> Path:
    return Path(settings.VAR_DIR) / "runs" / str(run.pk)


def members(run: Run) -> Iterator[Member]:
    chat = Chat.of(run.dataset.facts)
    labels = [{"name": name, "answer": chat.answer(name)} for name, _ in chat.labels]
    yield as_json("config.json", run.config)
    yield as_json("labels.json", labels)
    yield as_json("run.json", told_of(run))
    for split in TO_LEARN_FROM:
        lines = (as_line(told(chat, item)) for item in items(run.dataset, [split]))
        yield Member(f"posts/{split}.jsonl", gathered(lines))
    yield from pictures.members(run.dataset, TO_LEARN_FROM)


def as_json(path: str, value: object) -> Member:
    return Member(path, iter([json.dumps(value, ensure_ascii=False, indent=1).encode() + b"\n"]))


def told_of(run: Run) -> dict[str, object]:
    """For the receipt: by this the result of another machine is known again."""
    return {"run": run.pk, "project": run.project.slug, "dataset": run.dataset.name, "hash": run.dataset.content_hash}


def write(run: Run, folder: Path) -> None:
    """Once: a run that is resumed finds it as it was."""
    if (folder / WRITTEN).exists():
        return
    for member in members(run):
        target = folder / member.path
        target.parent.mkdir(parents=True, exist_ok=True)
        with target.open("wb") as file:
            file.writelines(member.chunks)
    (folder / WRITTEN).touch()


def forget_removed() -> None:
    """What had to go from a dataset goes from the folders of its runs, once they are over; one that is resumed is
    written anew, without it."""
    gone = DatasetItem.objects.filter(dataset=OuterRef("dataset"), external_id="", removed__isnull=False)
    over = Run.objects.exclude(state__in=[RunState.QUEUED, RunState.RUNNING])
    found: Any = over.annotate(gone=Subquery(gone.order_by("-removed").values("removed")[:1])).exclude(gone=None)
    for run in found:
        written = folder_of(run) / WRITTEN
        if written.exists() and written.stat().st_mtime < run.gone.timestamp():
            for held in ("posts", pictures.FOLDER, "cache"):
                shutil.rmtree(folder_of(run) / held, ignore_errors=True)
            written.unlink()


def told(chat: Chat, item: Item) -> dict[str, object]:
    """One line of what a model learns from; a picture's place is told by the trainer, as each family wants it."""
    return {
        "id": item.id,
        "system": chat.system,
        "user": chat.user(item.text, has_image=False),
        "answer": chat.answer(item.label),
        "label": item.label,
        "image": f"{pictures.FOLDER}/{item.image}" if item.image else "",
        "picture_tells": picture_tells(item),
    }


def picture_tells(item: Item) -> bool:
    """A voter read the label off the picture alone: then it stays right without the words."""
    readings = (vote.get("image_reading", "") for vote in item.votes)
    return any(reading.strip().casefold() == item.label.casefold() for reading in readings)


def has_posts_to_learn_from(dataset: Dataset) -> bool:
    return dataset.items.filter(split=Split.TRAIN, removed=None).exists()
