"""Hugging Face's image folder: a folder a split, its pictures, and `metadata.jsonl` with what is known of each post.

Its reader guesses columns from the first megabytes and wants the same in every split, so each is there for every post,
and never null.
"""

from collections.abc import Iterator
from datetime import UTC
from typing import Any

from modeling.datasets import items
from modeling.datasets.items import Item, as_line
from modeling.models import Dataset

from . import pictures
from .members import Member, Options, gathered, held, readme

METADATA = "metadata.jsonl"
HOW = """
## Reading this export

    load_dataset("imagefolder", data_dir="this folder")

Each split is a folder; its metadata.jsonl names the picture, the text, the label and where they come from. The reader
knows no split called holdout: load the locked test set, where it was asked for, from its own folder. {left_out}
"""


def members(dataset: Dataset, options: Options) -> Iterator[Member]:
    yield readme(dataset, HOW.format(left_out=left_out(dataset, options)))
    for split in (split for split in held(dataset, options) if has_pictures(dataset, split)):
        rows = (item for item in items.items(dataset, [split]) if item.image)
        yield Member(f"{split}/{METADATA}", gathered(as_line(record(item)) for item in rows))
        if options.with_pictures:
            yield from pictures.members(dataset, (split,), folder=split)


def has_pictures(dataset: Dataset, split: str) -> bool:
    return dataset.items.filter(split=split, removed=None).exclude(image="").exists()


def left_out(dataset: Dataset, options: Options) -> str:
    without = dataset.items.filter(split__in=options.splits, removed=None, image="").count()
    if not without:
        return "Every post has a picture, so all of them are in it."
    posts = "1 post without a picture is" if without == 1 else f"{without:,} posts without a picture are"
    return f"{posts} not in it: an image folder has no place for them."


def record(item: Item) -> dict[str, Any]:
    return {
        "file_name": item.image,
        "id": item.id,
        "text": item.text,
        "label": item.label,
        "label_source": item.label_source,
        "incongruous": {True: "yes", False: "no", None: ""}[item.incongruous],
        "source": item.source,
        "posted": item.at.astimezone(UTC).isoformat(),
        "template": item.template,
        "group": item.group,
    }
