"""Everything there is about each post, as it was frozen: what another installation imports, and what the hash is of."""

from collections.abc import Iterator

from modeling.datasets import items
from modeling.models import Dataset

from . import pictures
from .members import Member, Options, gathered, readme

FACTS, POSTS = "dataset.json", "posts.jsonl"


def members(dataset: Dataset, options: Options) -> Iterator[Member]:
    yield Member(FACTS, iter([items.facts_file(dataset)]))
    yield Member(POSTS, gathered(map(items.line, items.items(dataset, options.splits))))
    yield readme(dataset)
    if options.with_pictures:
        yield from pictures.members(dataset, options.splits)
