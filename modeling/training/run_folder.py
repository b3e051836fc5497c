"""A run's folder: all that the trainer reads, and nothing that it must not see. It may be carried to any machine."""

import json
import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path

from django.conf import settings
from django.db.models import Count, OuterRef, Q, Subquery

from annotate.models import LabelSource
from modeling.chat import Chat
from modeling.datasets.items import Item, as_line
from modeling.export import pictures
from modeling.export.members import Member, NotExported, gathered
from modeling.models import Dataset, DatasetItem, Run, RunState, Split
from modeling.studying.posts import learnt

TO_LEARN_FROM = (Split.TRAIN, Split.VALIDATION)  # what models are measured on never leaves this machine with a run
WRITTEN = "whole"  # stands in a folder that was written to its end, and tells how many posts had had to go by then
GONE = Q(external_id="", removed__isnull=False)
NOT_SEEN = (
    "This machine does not see the pictures: {}. Start its worker with MEDIA_ROOT, the site’s folder of pictures, "
    "which both machines must share; then resume it."
)


class NotSeen(Exception):
    """Pictures are not where this machine looks for them; the words are for whoever started the run."""


def all_runs() -> Path:
    return Path(settings.VAR_DIR) / "runs"


def folder_at(pk: int) -> Path:
    return all_runs() / str(pk)


def folder_of(run: Run) -> Path:
    return folder_at(run.pk)


def members(run: Run) -> Iterator[Member]:
    chat = Chat.of(run.dataset.facts)
    labels = [{"name": name, "answer": chat.answer(name)} for name, _ in chat.labels]
    yield as_json("config.json", run.config)
    yield as_json("labels.json", labels)
    yield as_json("run.json", told_of(run))
    for split in TO_LEARN_FROM:
        lines = (as_line(told(chat, item)) for item in learnt(run, split))
        yield Member(f"posts/{split}.jsonl", gathered(lines))
    if run.study is None:
        yield from pictures.members(run.dataset, TO_LEARN_FROM)
    else:
        yield from pictures.by_name(item.image for split in TO_LEARN_FROM for item in learnt(run, split) if item.image)


def as_json(path: str, value: object) -> Member:
    return Member(path, iter([json.dumps(value, ensure_ascii=False, indent=1).encode() + b"\n"]))


def told_of(run: Run) -> dict[str, object]:
    """For the receipt: by this the result of another machine is known again."""
    told = {"run": run.pk, "project": run.project.slug, "dataset": run.dataset.name, "hash": run.dataset.content_hash}
    return told | ({"part": run.part} if run.part else {})


def write(run: Run, folder: Path) -> None:
    """Once: a run that is resumed finds it as it was, but for what had to go from its dataset since."""
    gone = removed_from(run.dataset)
    if gone_when_written(folder) == gone:
        return
    forget(folder)
    write_members(members(run), folder)
    (folder / WRITTEN).write_text(str(gone))


def write_members(members: Iterable[Member], folder: Path) -> None:
    try:
        for member in members:
            write_member(member, folder / member.path)
    except NotExported as error:
        raise NotSeen(NOT_SEEN.format(f"{pictures.MOST_MISSING:,} and more are missing")) from error
    if (folder / pictures.MISSING).exists():
        raise NotSeen(not_seen((folder / pictures.MISSING).read_text().splitlines()[1:]))


def write_member(member: Member, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    with target.open("wb") as file:
        file.writelines(member.chunks)


def not_seen(paths: list[str]) -> str:
    return NOT_SEEN.format(f"{len(paths):,} {'is' if len(paths) == 1 else 'are'} missing, {paths[0]} first")


# --- What had to go


def removed_from(dataset: Dataset) -> int:
    return dataset.items.filter(GONE).count()


def gone_when_written(folder: Path) -> int | None:
    """None where it was not written to its end. No times are compared: the clocks of two machines differ."""
    try:
        return int((folder / WRITTEN).read_text() or 0)
    except FileNotFoundError:
        return None


def forget_removed() -> None:
    """What had to go from a dataset goes from the folders of its runs on this machine, once they are over; one that is
    resumed is written anew, without it."""
    here = {run: gone for run in written_here() if (gone := gone_when_written(folder_at(run))) is not None}
    counted = DatasetItem.objects.filter(GONE, dataset=OuterRef("dataset")).order_by().values("dataset")
    over = Run.objects.filter(pk__in=here).exclude(state__in=[RunState.QUEUED, RunState.RUNNING])
    for run, gone in over.values_list("pk", Subquery(counted.annotate(n=Count("pk")).values("n"))):
        if (gone or 0) != here[run]:
            forget(folder_at(run))


def written_here() -> list[int]:
    return [int(path.parent.name) for path in all_runs().glob(f"*/{WRITTEN}") if path.parent.name.isdecimal()]


def forget(folder: Path) -> None:
    for name in (WRITTEN, pictures.MISSING):
        (folder / name).unlink(missing_ok=True)
    for held in ("posts", pictures.FOLDER, "cache"):
        shutil.rmtree(folder / held, ignore_errors=True)


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
        "by_model": item.label_source == LabelSource.MODEL,
    }


def picture_tells(item: Item) -> bool:
    """A voter read the label off the picture alone: then it stays right without the words."""
    readings = (vote.get("image_reading", "") for vote in item.votes)
    return any(reading.strip().casefold() == item.label.casefold() for reading in readings)


def has_posts_to_learn_from(dataset: Dataset) -> bool:
    return dataset.items.filter(split=Split.TRAIN, removed=None).exists()
