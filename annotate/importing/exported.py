"""What another installation of this tool exported, or this one: each post with its votes and the answers of people."""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from math import isfinite
from pathlib import PurePosixPath

from .cells import as_date, as_probability, as_text, kept, storable
from .columns import VOTER_NAME, Record, picture_in
from .pictures import PictureOf
from .rows import Past, Refused, Row, RowReview, RowVote, Unreadable, VoteDetail

SPLITS = ("train", "validation", "test", "holdout")
HOLDOUT = "holdout"
POSTS, FACTS = "posts.jsonl", "dataset.json"
BESIDE = frozenset({FACTS, "dataset_info.json", "labels.csv"})  # they tell of the posts, and hold none
NAMED = re.compile(rf"(?:^|\.)({'|'.join(SPLITS)})(?:-\d+-of-\d+)?$")
SOURCES = frozenset({"review", "consensus", "model", "import"})  # of a label
MOST = 1000  # votes, and answers, of one post
READING = 200
TEMPLATE = 80
NAME = 150


def is_ours(record: Mapping[str, object]) -> bool:
    if {"label", "split", "at"} <= record.keys() and is_source(record.get("label_source")):
        return True
    lists = [entries for name in ("votes", "reviews") if isinstance(entries := record.get(name), list) and entries]
    named = any(isinstance(first, Mapping) and ("voter" in first or "reviewer" in first) for first, *_ in lists)
    return named and not {"text", "image"}.isdisjoint(record)


def is_source(value: object) -> bool:
    """Other people's files hold lists and objects under this name, which no set can be asked about."""
    return isinstance(value, str) and value in SOURCES


def tables_of_posts(names: Iterable[str]) -> list[str]:
    """Of the tables of an export those that hold posts; none where it is no export, as far as their names tell."""
    by_folder: dict[str, list[str]] = {}
    for name in names:
        by_folder.setdefault(name.rpartition("/")[0], []).append(name)
    if len(by_folder) != 1:
        return []
    [tables] = by_folder.values()
    bare = {PurePosixPath(name).name: name for name in tables}
    if {POSTS, FACTS} <= bare.keys():
        return [bare[POSTS]]
    splits = [name for name in tables if split_of(name)]
    return splits if splits and len(splits) + len(BESIDE & bare.keys()) == len(tables) else []


def split_of(table: str) -> str:
    """`train.jsonl`, `memes.v1.train.jsonl`, `train-00000-of-00001.parquet` or `train/metadata.jsonl`."""
    path = PurePosixPath(table)
    found = NAMED.search(path.parent.name if path.stem == "metadata" else path.stem)
    return found[1] if found else ""


def of_split(row: Row | Refused, table: str) -> Row | Refused:
    """A file of the locked test set may hold nothing but its name that says so."""
    if isinstance(row, Refused) or split_of(table) != HOLDOUT:
        return row
    return replace(row, past=replace(row.past or Past(), split=HOLDOUT))


def of_table(row: Row | Refused) -> Row | Refused:
    """Our own CSV has where the label is from in columns of its own."""
    if isinstance(row, Refused) or not is_source(row.meta.get("label_source")) or row.meta.get("split") not in SPLITS:
        return row
    return replace(
        row,
        past=past_of(row.meta),
        meta={name: value for name, value in row.meta.items() if name not in {"label_source", "split", "template"}},
    )


def read(records: Iterable[Record | Refused], picture_of: PictureOf) -> Iterator[Row | Refused]:
    for record in records:
        if isinstance(record, Refused):
            yield record
            continue
        number, values = record
        try:
            yield row_of(number, values, picture_of)
        except (ValueError, Unreadable) as error:
            yield Refused(number, str(error), as_text(values.get("text"))[:80])


def row_of(number: int, record: Mapping[str, object], picture_of: PictureOf) -> Row:
    text = as_text(record.get("text"))
    picture = picture_in(record.get("image"), number, picture_of)
    if not text.strip() and picture is None:
        raise ValueError("row has neither text nor a picture")
    return Row(
        number,
        text=text,
        external_id=as_text(record.get("id")),
        picture=picture,
        label=as_text(record.get("label")),
        votes=tuple(unique(vote_of(vote) for vote in entries(record, "votes", "voter"))),
        **about(record),  # type: ignore[arg-type]
        past=past_of(record, tuple(review_of(review) for review in entries(record, "reviews", "reviewer"))),
    )


def about(record: Mapping[str, object]) -> dict[str, object]:
    """What stands beside the post under the same names in each of our exports."""
    meta = record.get("meta")
    return {
        "posted_at": as_date(record.get("at")),
        "source": as_text(record.get("source")),
        "incongruous": told(record.get("incongruous")),
        "meta": {as_text(name)[:200]: kept(value) for name, value in meta.items()} if isinstance(meta, dict) else {},
    }


def past_of(record: Mapping[str, object], reviews: tuple[RowReview, ...] = ()) -> Past:
    source = as_text(record.get("label_source"))
    return Past(
        label_source=source if source in SOURCES else "",
        split=as_text(record.get("split")),
        template=as_text(record.get("template")).strip()[:TEMPLATE],
        reviews=reviews,
    )


def entries(record: Mapping[str, object], name: str, who: str) -> list[Mapping[str, object]]:
    listed = record.get(name)
    found = listed[:MOST] if isinstance(listed, list) else []
    return [entry for entry in found if isinstance(entry, Mapping) and as_text(entry.get(who)).strip()]


def unique(votes: Iterable[RowVote]) -> list[RowVote]:
    """A voter has one vote; of several, the first."""
    by_voter: dict[str, RowVote] = {}
    for vote in votes:
        by_voter.setdefault(vote.voter, vote)
    return list(by_voter.values())


def vote_of(vote: Mapping[str, object]) -> RowVote:
    return RowVote(
        as_text(vote["voter"]).strip()[:VOTER_NAME],
        as_text(vote.get("label")).strip(),
        as_probability(vote.get("confidence")),
        as_text(vote.get("reason")),
        VoteDetail(
            probabilities_in(vote.get("probabilities")),
            as_text(vote.get("text_reading"))[:READING],
            as_text(vote.get("image_reading"))[:READING],
            told(vote.get("incongruous")),
            as_date(vote.get("at")),
        ),
    )


def probabilities_in(value: object) -> dict[str, float] | None:
    if not isinstance(value, Mapping):
        return None
    read = {storable(as_text(label)): as_probability(sure) for label, sure in value.items()}
    return {label: sure for label, sure in read.items() if sure is not None} or None


def review_of(review: Mapping[str, object]) -> RowReview:
    saw = review.get("saw")
    return RowReview(
        as_text(review["reviewer"]).strip()[:NAME],
        label=as_text(review.get("label")).strip(),
        instead=as_text(review.get("instead")),
        why=as_text(review.get("why")),
        note=as_text(review.get("note")),
        incongruous=told(review.get("incongruous")),
        final=review.get("final") is True,
        saw=tuple(as_text(name)[:VOTER_NAME] for name in saw[:MOST]) if isinstance(saw, list) else (),
        seconds=seconds_in(review.get("seconds")),
        at=as_date(review.get("at")),
    )


def told(value: object) -> bool | None:
    return value if isinstance(value, bool) else None


def seconds_in(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    return float(value) if isfinite(value) and 0 <= value < 1e6 else None
