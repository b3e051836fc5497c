"""ShareGPT with `messages` and `images`, a record a line: what LLaMA-Factory and most trainers read.

Lines and not one JSON array: `datasets`, which they read with, holds an array in memory as a whole, and reads lines ten
megabytes at a time.
"""

from collections.abc import Iterator
from typing import Any

from modeling.chat import Chat, reason_for
from modeling.datasets.items import Item, as_line
from modeling.models import Dataset

from . import pictures
from .members import Member, Options, gathered, held, picture_first, readme

HOW = """
## Reading this export

One file a split, one record a line: `id`, `messages` (system, user, assistant) and `images`, a list of at most one path
relative to this folder. `<image>` in the user's turn is where the picture belongs; a post that says so itself has it
broken by a character without width. With Hugging Face's `datasets`:

    load_dataset("json", data_files={"train": "train.jsonl"})
"""


def members(dataset: Dataset, options: Options) -> Iterator[Member]:
    yield readme(dataset, HOW)
    yield from tables(dataset, options)
    if options.with_pictures:
        yield from pictures.members(dataset, options.splits)


def tables(dataset: Dataset, options: Options) -> Iterator[Member]:
    chat = Chat.of(dataset.facts, options.with_reason)
    for split in held(dataset, options):
        lines = (as_line(record(item, chat)) for item in picture_first(dataset, (split,)))
        yield Member(f"{split}.jsonl", gathered(lines))


def record(item: Item, chat: Chat) -> dict[str, Any]:
    turns = {"system": chat.system, "user": chat.user(item.text, bool(item.image)), "assistant": answer(item, chat)}
    return {
        "id": item.id,
        "messages": [{"role": role, "content": content} for role, content in turns.items()],
        "images": paths(item),
    }


def answer(item: Item, chat: Chat) -> str:
    return chat.answer(item.label, reason_for(item.label, item.votes, item.reviews) if chat.with_reason else "")


def paths(item: Item) -> list[str]:
    return [f"{pictures.FOLDER}/{item.image}"] if item.image else []
