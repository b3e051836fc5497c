"""CSV for spreadsheets: a row a post, three columns a voter. It is a format that we import, so columns are called as
`annotate.importing.columns` looks for them."""

import csv
import io
from collections.abc import Iterable, Iterator
from datetime import UTC
from typing import Any

from annotate.spreadsheets import guarded
from modeling.datasets.items import Item, as_line
from modeling.models import Dataset

from . import pictures
from .members import Member, Options, gathered, picture_first, readme

POSTS = "posts.csv"
BOM = "\ufeff".encode()  # without it Excel takes UTF-8 for something else
FIXED = ("id", "text", "image", "label", "label_source", "split", "source", "at", "incongruous", "confidence", "group",
         "template")  # fmt: skip
BEHIND = ("reviews", "meta")
ABSTAINED = "abstained"

HOW = """
## Reading this export

posts.csv holds a row a post, in UTF-8. `gpt_vote`, `gpt_confidence` and `gpt_reason` are what the voter gpt said. A
cell that a spreadsheet would run as a formula has an apostrophe before it, which our own import takes away again.
"""


def members(dataset: Dataset, options: Options) -> Iterator[Member]:
    yield readme(dataset, HOW)
    yield Member(POSTS, gathered(rows(dataset, options)))
    if options.with_pictures:
        yield from pictures.members(dataset, options.splits)


def rows(dataset: Dataset, options: Options) -> Iterator[bytes]:
    voters = [voter["name"] for voter in dataset.facts["voters"]]
    yield BOM
    yield line([*FIXED, *(f"{voter}_{said}" for voter in voters for said in ("vote", "confidence", "reason")), *BEHIND])
    for item in picture_first(dataset, options.splits):
        votes = {vote["voter"]: vote for vote in item.votes}
        said = (cell for voter in voters for cell in vote_cells(votes.get(voter)))
        yield line([*fixed_cells(item), *said, reviews_cell(item.reviews), as_json(item.meta)])


def line(cells: Iterable[str]) -> bytes:
    written = io.StringIO()
    csv.writer(written).writerow(map(guarded, cells))
    return written.getvalue().encode()


def fixed_cells(item: Item) -> list[str]:
    image = f"{pictures.FOLDER}/{item.image}" if item.image else ""
    odd = {True: "yes", False: "no", None: ""}[item.incongruous]
    at = item.at.astimezone(UTC).isoformat()
    return [item.id, item.text, image, item.label, item.label_source, item.split, item.source, at, odd,
            number(item.confidence), str(item.group), item.template]  # fmt: skip


def vote_cells(vote: dict[str, Any] | None) -> tuple[str, str, str]:
    if vote is None:
        return "", "", ""
    return vote.get("label", ABSTAINED), number(vote.get("confidence")), vote.get("reason", "")


def number(value: float | None) -> str:
    return "" if value is None else str(value)


def reviews_cell(reviews: list[dict[str, Any]]) -> str:
    """For people: `ana: bullish (sarcasm)`. The JSON Lines hold all of it for programs."""
    return "\n".join(review_words(review) for review in reviews)


def review_words(review: dict[str, Any]) -> str:
    said = review.get("label") or review.get("instead", "")
    return f"{review['reviewer']}: {said}" + (f" ({review['note']})" if review.get("note") else "")


def as_json(meta: dict[str, Any]) -> str:
    return as_line(meta).decode().rstrip("\n") if meta else ""
