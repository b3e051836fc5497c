"""ShareGPT with `conversations`, in the manner of LLaVA: one JSON array a split, because its readers load just that.

Those readers know the turns human and gpt and stumble over any other, so the question stands beside the conversation,
in `system`; and `image` is absent, not empty, where a post has none.
"""

from collections.abc import Iterator
from datetime import UTC
from typing import Any

from modeling.chat import Chat
from modeling.datasets.items import Item
from modeling.models import Dataset

from . import pictures
from .members import Member, Options, as_array, gathered, held, picture_first, readme
from .sharegpt import answer

HOW = """
## Reading this export

One JSON array a split. Each record has `id`, `image` (a path relative to this folder, absent where the post has none),
`conversations` (human, gpt), `system` (the question and its labels) and `metadata`. Readers in the manner of LLaVA take
the folder as their image folder. Most of them pass over `system` and put their own before each conversation: give them
ours, or ask in the same way later.
"""


def members(dataset: Dataset, options: Options) -> Iterator[Member]:
    yield readme(dataset, HOW)
    chat = Chat.of(dataset.facts, options.with_reason)
    for split in held(dataset, options):
        records = (record(item, chat) for item in picture_first(dataset, (split,)))
        yield Member(f"{split}.json", gathered(as_array(records)))
    if options.with_pictures:
        yield from pictures.members(dataset, options.splits)


def record(item: Item, chat: Chat) -> dict[str, Any]:
    turns = {"human": chat.user(item.text, bool(item.image)), "gpt": answer(item, chat)}
    return {
        "id": item.id,
        **({"image": f"{pictures.FOLDER}/{item.image}"} if item.image else {}),
        "conversations": [{"from": who, "value": said} for who, said in turns.items()],
        "system": chat.system,
        "metadata": metadata(item),
    }


def metadata(item: Item) -> dict[str, Any]:
    told = {
        "label": item.label,
        "label_source": item.label_source,
        "split": item.split,
        "group": item.group,
        "incongruous": item.incongruous,
        "confidence": item.confidence,
        "source": item.source,
        "at": item.at.astimezone(UTC).isoformat(),
        "template": item.template,
        "meta": item.meta,
    }
    return {name: value for name, value in told.items() if value not in (None, "", {})}
