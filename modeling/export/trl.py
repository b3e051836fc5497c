"""Prompt and completion for TRL's SFTTrainer, a record a line.

As turns and not as one string: its collator then puts the pictures before the user's words and lets each model's own
template write the rest, and the loss falls on the completion alone. So the user's words hold no `<image>` here.
"""

from collections.abc import Iterator
from typing import Any

from modeling.chat import Chat
from modeling.datasets.items import Item, as_line
from modeling.models import Dataset

from . import pictures
from .members import Member, Options, gathered, held, picture_first, readme
from .sharegpt import answer, paths

HOW = """
## Reading this export

One file a split, one record a line: `prompt` (system, user), `completion` (assistant) and `images`, a list of at most
one path relative to this folder. From within this folder:

    from datasets import Image, List, load_dataset
    data = load_dataset("json", data_files={"train": "train.jsonl"}).cast_column("images", List(Image()))
    trainer = SFTTrainer(model, args=SFTConfig(max_length=None), train_dataset=data["train"])

From elsewhere make the paths absolute before they become pictures:

    data = load_dataset("json", data_files={"train": f"{folder}/train.jsonl"})
    data = data.map(lambda row: {"images": [f"{folder}/{path}" for path in row["images"]]})
    data = data.cast_column("images", List(Image()))

`max_length=None`, because an answer that is cut off is not an error but a loss of nothing.
"""


def members(dataset: Dataset, options: Options) -> Iterator[Member]:
    yield readme(dataset, HOW)
    chat = Chat.of(dataset.facts, options.with_reason)
    for split in held(dataset, options):
        lines = (as_line(record(item, chat)) for item in picture_first(dataset, (split,)))
        yield Member(f"{split}.jsonl", gathered(lines))
    if options.with_pictures:
        yield from pictures.members(dataset, options.splits)


def record(item: Item, chat: Chat) -> dict[str, Any]:
    return {
        "id": item.id,
        "prompt": [
            {"role": "system", "content": chat.system},
            {"role": "user", "content": chat.user(item.text, has_image=False)},
        ],
        "completion": [{"role": "assistant", "content": answer(item, chat)}],
        "images": paths(item),
    }
