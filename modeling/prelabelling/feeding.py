"""Posts to the process that holds the model, and its answers back: a portion at a time, so that neither the disk nor
the memory ever holds them all."""

import json
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import chain, islice
from pathlib import Path
from typing import NamedTuple

from django.conf import settings
from django.db.models import Exists, OuterRef

from annotate.images import EXTENSIONS
from annotate.models import Image, Post, Vote
from modeling.chat import Chat
from modeling.datasets.items import as_line, items
from modeling.evaluation.folder import config_of
from modeling.export import pictures
from modeling.gpu.ask import END, PREDICTIONS, Ask, portion_at
from modeling.models import PreLabelling, Split
from modeling.training import results, run_folder
from modeling.training.run_folder import as_json

from . import candidates

PORTION = 512
AHEAD = 2  # portions that lie ready, so that nobody waits for the disk


class Asked(NamedTuple):
    """A post is asked about under its number; one of the validation split under its position, below nought."""

    number: int
    id: str
    text: str
    image: str  # its hash and ending; blank where there is no picture
    candidates: tuple[str, ...] = ()  # labels, of which alone it is asked; none: of all


Sift = Callable[[list[Asked]], list[Asked]]  # takes out those that the model need not be asked about


class Answer(NamedTuple):
    number: int
    scores: list[float]  # log-probabilities, in the order of the dataset's labels


def folder_of(prelabelling: PreLabelling) -> Path:
    return Path(settings.VAR_DIR) / "prelabelling" / str(prelabelling.pk)


def prepare(prelabelling: PreLabelling) -> Path:
    """Anew: what was answered before is in the table."""
    folder, run = folder_of(prelabelling), prelabelling.run
    shutil.rmtree(folder, ignore_errors=True)
    adapter = results.fetched(run) / results.ADAPTER
    chat = Chat.of(run.dataset.facts)
    ask = Ask(adapter=str(adapter), bits=prelabelling.bits, batch=prelabelling.batch)
    run_folder.write_members(
        [
            as_json("config.json", config_of(run, adapter.parent).as_json()),
            as_json("ask.json", ask.as_json()),
            as_json("labels.json", [{"name": name, "answer": chat.answer(name)} for name, _ in chat.labels]),
        ],
        folder,
    )
    (folder / "posts").mkdir()
    return folder


def to_calibrate(prelabelling: PreLabelling) -> Iterator[Asked]:
    for item in items(prelabelling.run.dataset, [Split.VALIDATION]):
        yield Asked(-item.position, item.id, item.text, item.image)


def unasked(prelabelling: PreLabelling) -> Iterator[Asked]:
    """By number, so that nothing is missed while others settle or import posts; those with the vote are passed over."""
    voted = Vote.objects.filter(voter=prelabelling.voter_id, post=OuterRef("pk"))
    open_ones = candidates.asked(prelabelling).filter(~Exists(voted)).order_by("pk").select_related("image")
    after = 0
    while page := list(open_ones.filter(pk__gt=after).defer("search", "meta")[:PORTION]):
        yield from (Asked(post.pk, post.external_id, post.text, image_of(post)) for post in page)
        after = page[-1].pk


def in_portions(asked: Iterator[Asked]) -> Iterator[list[Asked]]:
    while portion := list(islice(asked, PORTION)):
        yield portion


def image_of(post: Post) -> str:
    return name_of(post.image) if post.image else ""


def name_of(image: Image) -> str:
    return f"{image.sha256}.{EXTENSIONS[image.format]}"


@dataclass
class Portion:
    path: Path
    numbers: set[int]
    images: set[str]


@dataclass
class Feed:
    """Keeps a few portions ahead of what is answered, and takes away what is."""

    folder: Path
    chat: Chat
    portions: Iterator[list[Asked]]
    waiting: list[Portion] = field(default_factory=list)
    written: int = 0
    is_over: bool = False

    @classmethod
    def of(cls, prelabelling: PreLabelling, folder: Path, sift: Sift) -> "Feed":
        chat = Chat.of(prelabelling.run.dataset.facts)
        known = prelabelling.validation or prelabelling.cascade
        calibrating = iter(()) if known else to_calibrate(prelabelling)
        left = chain.from_iterable(map(sift, in_portions(unasked(prelabelling))))
        return cls(folder, chat, chain(in_portions(calibrating), in_portions(left)))

    def fill(self) -> None:
        while not self.is_over and len(self.waiting) < AHEAD:
            asked = next(self.portions, None)
            if asked is None:
                self.is_over = True
                (self.folder / "posts" / END).touch()
            else:
                self.write(asked)

    def write(self, asked: list[Asked]) -> None:
        """The pictures first, and the portion at once: the process never finds half of one."""
        self.written += 1
        path = portion_at(self.folder, self.written)
        images = {one.image for one in asked if one.image}
        there = set().union(*(portion.images for portion in self.waiting))
        run_folder.write_members(pictures.by_name(sorted(images - there)), self.folder)
        aside = path.with_suffix(".part")
        aside.write_bytes(b"".join(as_line(self.line(one)) for one in asked))
        os.replace(aside, path)
        self.waiting.append(Portion(path, {one.number for one in asked}, images))

    def line(self, one: Asked) -> dict[str, object]:
        return {
            "number": one.number, "id": one.id, "system": self.chat.system,
            "user": self.chat.user(one.text, has_image=False),
            "image": f"{pictures.FOLDER}/{one.image}" if one.image else "",
            **({"candidates": list(one.candidates)} if one.candidates else {}),
        }  # fmt: skip

    def answered(self, numbers: set[int]) -> None:
        for portion in self.waiting:
            portion.numbers -= numbers
        while self.waiting and not self.waiting[0].numbers:
            gone = self.waiting.pop(0)
            gone.path.unlink()
            still = set().union(*(portion.images for portion in self.waiting))
            for image in gone.images - still:
                with suppress(FileNotFoundError):
                    (self.folder / pictures.FOLDER / image).unlink()


class Answers:
    """What is new in the process's file since it was looked at last."""

    def __init__(self, folder: Path) -> None:
        self.path, self.at = folder / PREDICTIONS, 0

    def fresh(self) -> Iterator[Answer]:
        if not self.path.exists():
            return
        with self.path.open("rb") as file:
            file.seek(self.at)
            for line in file:
                if not line.endswith(b"\n"):
                    return
                self.at += len(line)
                told = json.loads(line)
                yield Answer(told["number"], told["scores"])
