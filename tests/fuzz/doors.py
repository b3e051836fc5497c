"""What a door is; and those of files: readers of every format, the archive, pictures."""

import io
import json
import tempfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hypothesis import strategies as st
from PIL import Image

from annotate import images
from annotate.importing import formats
from annotate.importing.archive import BadMember, open_archive
from annotate.importing.cells import storable
from annotate.importing.columns import Columns
from annotate.importing.rows import Picture, Refused, Row, Unreadable

from . import samples, wounds
from .wounds import damaged, like, odd_values, one_of, words

LABELS = ("bearish", "neutral", "bullish")
TRACEBACK = "Traceback (most recent call last)"


@dataclass(frozen=True)
class Door:
    """`attempt` raises where something that must never happen has happened; whatever is refused in words is fine."""

    name: str
    cases: Callable[[], st.SearchStrategy[Any]]
    attempt: Callable[[Any], None]
    share: float = 1  # of the cases, in the long version and in the quick one
    quick: int = 40  # cases for a share of one in the quick version


def is_storable(text: str) -> bool:
    return "\0" not in text and text == text.encode("utf-8", "replace").decode()


def is_sentence(text: str) -> bool:
    """Something for a person to read, and nothing of how we are made."""
    return (
        bool(text.strip()) and is_storable(text) and TRACEBACK not in text and len(text) < 2000 and "<class" not in text
    )


def is_told(refusal: Exception) -> None:
    assert is_sentence(str(refusal)), refusal


def json_of(value: Any) -> str:
    """PostgreSQL takes no NaN, no NUL and no half of a surrogate pair."""
    told = json.dumps(value, allow_nan=False, ensure_ascii=False)
    assert is_storable(told)
    assert "\\u0000" not in told.replace("\\\\", "")
    return told


# --- Files with posts


@dataclass(frozen=True)
class File:
    kind: str
    name: str
    data: bytes
    options: formats.Options = field(default_factory=formats.Options)

    def __repr__(self) -> str:
        return f"File({self.kind!r}, {self.name!r}, {self.data[:100_000]!r}, {self.options!r})"


WRITERS: dict[str, Callable[[list[dict[str, Any]]], bytes]] = {
    "csv": samples.as_csv,
    "tsv": lambda records: samples.as_csv(records, "\t"),
    "json": samples.as_json,
    "jsonl": samples.as_lines,
    "parquet": lambda records: parquet_of(records),
    "sharegpt": samples.as_json,
    "label_studio": samples.as_lines,
    "fourchan": samples.as_json,
    "casting_vote": samples.as_lines,
}
NAMES = [
    "text", "body", "id", "label", "image", "picture", "created_at", "source", "incongruous", "gpt-4o_label",
    "gpt-4o_confidence", "votes", "predictions", "convnext_top1", "convnext_p1", "top_1", "prob_1", "split",
    "label_source", "group", "messages", "data", "no", "com", "meta", "reviews", "",
]  # fmt: skip
tables = st.lists(st.dictionaries(st.sampled_from(NAMES) | words, odd_values, min_size=1, max_size=8), max_size=4)


def parquet_of(records: list[dict[str, Any]]) -> bytes:
    """With the values that Arrow can hold together, and the others as text."""
    try:
        return samples.as_parquet(records)
    except Exception:
        plain = [
            {str(name): samples.cell(value) for name, value in record.items()}
            for record in records
            if isinstance(record, dict)
        ]
        return samples.as_parquet(
            [
                {
                    name.encode("utf-8", "replace").decode(): value.encode("utf-8", "replace").decode()
                    for name, value in record.items()
                }
                for record in plain
            ]
            or [{"text": "gm"}]
        )


def listed(value: Any) -> list[dict[str, Any]]:
    rows = value if isinstance(value, list) else [value]
    return [row if isinstance(row, dict) else {"text": row} for row in rows]


def written(kind: str, records: Any) -> bytes:
    """As the writer of that kind would have it, or as JSON where it cannot."""
    try:
        return WRITERS[kind](listed(records))
    except (UnicodeError, ValueError, TypeError, RecursionError):
        return samples.as_json(records)


def columns() -> st.SearchStrategy[Columns | None]:
    names = st.sampled_from([*NAMES, "nowhere"]) | words.map(storable)  # forms take no others
    chosen = st.builds(
        Columns,
        text=names,
        image=names,
        id=names,
        label=names,
        date=names,
        source=names,
        incongruous=names,
        votes=st.lists(names, max_size=3).map(tuple),
        topk=st.lists(names, max_size=3).map(tuple),
        voter=names,
    )
    return st.none() | st.none() | chosen


def files(kind: str) -> st.SearchStrategy[File]:
    held = samples.files()[kind]
    data = [damaged(held, whole=kind not in {"parquet", "images"})] * 2
    if kind == "images":
        data += [archives(), one_of(samples.pictures())]
    else:
        data += [
            like([samples.RECORDS[kind], *samples.RECORDS[kind]]).map(lambda records: written(kind, records)),
            tables.map(lambda records: written(kind, records)),
        ]
    ending = samples.ENDINGS.get(kind, kind)
    names = st.sampled_from(
        [f"posts.{ending}"] * 6
        + [
            f"posts.{ending.upper()}",
            "posts",
            "a.png",
            "posts.xlsx",
            "biz_thread_123.json",
            "train.jsonl",
            "holdout.csv",
            ".csv",
        ]
    )
    asked = st.sampled_from(["", "", "", kind, *formats.FORMATS])
    options = st.builds(
        formats.Options,
        format=asked,
        columns=columns(),
        labels=st.just(LABELS),
        board=st.sampled_from(["", "biz"]),
        voter=st.sampled_from(["", "vit"]),
    )
    return st.builds(File, st.just(kind), names, st.one_of(data), options)


def archives() -> st.SearchStrategy[bytes]:
    names = st.one_of(
        st.sampled_from(
            [
                "a.png",
                "b/a.png",
                "posts.csv",
                "x/posts.json",
                "metadata.jsonl",
                "../a.png",
                "/a.png",
                "C:\\a.png",
                "a\\b.png",
                "a.zip",
                "__MACOSX/a.png",
                ".DS_Store",
                "é.png",
                "a.png/",
                "posts.jsonl",
                "dataset.json",
                "train.jsonl",
                "x" * 300 + ".csv",
                "a\nb.csv",
                "train.parquet",
                ".json",
            ]
        ),
        words.filter(bool),
    )
    held = [file for kind in samples.files().values() for file in kind]
    contents = st.one_of(one_of(held), one_of(samples.pictures()), damaged(held), st.binary(max_size=40))
    return (
        st.dictionaries(names, contents, max_size=4).map(zipped).flatmap(lambda data: st.just(data) | damaged([data]))
    )


def zipped(members: dict[str, bytes]) -> bytes:
    try:
        return samples.as_zip(members)
    except (ValueError, IndexError):  # a name that no writer takes
        return samples.as_zip({f"{n}.csv": data for n, data in enumerate(members.values())})


CROWDED = {"text": "gm", "votes": {f"v{n}": "bullish" for n in range(20_000)}}
HUGE: dict[str, Callable[[], bytes]] = {
    "a cell of 10 MB.csv": lambda: b"text,label\n" + b"x" * 10_000_000 + b",bullish\ngm,bullish\n",
    "a cell of 10 MB.jsonl": lambda: samples.as_lines([{"text": "x" * 10_000_000}, {"text": "gm"}]),
    "a cell of 10 MB.json": lambda: samples.as_json([{"text": "x" * 10_000_000}, {"text": "gm"}]),
    "a cell of 10 MB.parquet": lambda: samples.as_parquet([{"text": "x" * 10_000_000}, {"text": "gm"}]),
    "a quote that never ends.csv": lambda: b'text,label\n"' + b"gm,bullish\n" * 500_000,
    "100,000 columns.csv": lambda: b",".join(b"c%d" % n for n in range(100_000)) + b"\n" + b"," * 99_999 + b"\n",
    "100,000 columns.tsv": lambda: b"\t" * 100_000 + b"\n" + b"\t" * 100_000 + b"\n",
    "100,000 columns.jsonl": lambda: samples.as_lines([{"text": "gm"} | {f"c{n}": n for n in range(100_000)}] * 2),
    "100,000 columns.json": lambda: samples.as_json([{"text": "gm"} | {f"c{n}": n for n in range(100_000)}] * 2),
    "3,000 columns.parquet": lambda: samples.as_parquet([{"text": "gm"} | {f"c{n}": n for n in range(3000)}]),
    "ever new columns.jsonl": lambda: samples.as_lines([{"text": "gm", f"c{n}": n} for n in range(20_000)]),
    "a header and no more.csv": lambda: b"id,text,label\n",
    "nothing but line breaks.csv": lambda: b"\n" * 2_000_000,
    "nothing but NULs.csv": lambda: b"\0" * 2_000_000,
    "a million brackets.json": lambda: b"[" * 1_000_000,
    "a million objects in each other.json": lambda: b'{"a":' * 1_000_000,
    "one number of a million digits.json": lambda: b'[{"text": "gm", "n": ' + b"9" * 1_000_000 + b"}]",
    "a vote of each of many.jsonl": lambda: samples.as_lines([CROWDED]),
    "5,000 members.zip": lambda: samples.as_zip({f"{n}.png": b"\x89PNG" for n in range(5000)}),
    "zeros that pack well.zip": lambda: samples.as_zip({"posts.csv": b"text\n" + b"0" * 30_000_000}),
    "an archive in an archive.zip": lambda: samples.as_zip({"a.zip": samples.as_zip({"posts.csv": b"text\ngm\n"})}),
}


def huge(name: str) -> File:
    return File("huge", name, HUGE[name]())


def read_file(file: File) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "upload"
        path.write_bytes(file.data)
        in_words(lambda: check_preview(formats.preview(path, file.name, file.options)))
        in_words(lambda: formats.count(path, file.name, file.options))
        in_words(lambda: check_rows(formats.read(path, file.name, file.options)))
        assert list(Path(folder).iterdir()) == [path]


def in_words(work: Callable[[], object]) -> None:
    try:
        work()
    except Unreadable as refusal:
        is_told(refusal)


def check_preview(preview: formats.Preview) -> None:
    told = [
        preview.headers,
        [list(row.items()) for row in preview.rows],
        [(one.reason, one.excerpt) for one in preview.refused],
        preview.topk,
    ]
    json_of(told)
    assert preview.format in formats.FORMATS


def check_rows(rows: Iterable[Row | Refused]) -> None:
    before = 0
    for row in rows:
        assert row.number >= before, "numbers go down"
        before = row.number
        if isinstance(row, Refused):
            assert is_sentence(row.reason), row.reason
            assert is_storable(row.excerpt)
        else:
            check_row(row)


def check_row(row: Row) -> None:
    assert row.text or row.picture or row.votes, "a post of nothing"
    json_of([row.text, row.external_id, row.source, row.label, row.meta])
    assert row.posted_at is None or row.posted_at.tzinfo
    for vote in row.votes:
        detail = vote.detail
        json_of([vote.voter, vote.label, vote.reason, detail and [detail.text_reading, detail.image_reading]])
        shares = [vote.confidence] if vote.confidence is not None else []
        shares += list(((detail and detail.probabilities) or {}).values())
        assert all(0 <= share <= 1 for share in shares), shares
    if row.past:
        json_of(
            [
                [one.reviewer, one.label, one.instead, one.why, one.note, one.seconds, one.saw]
                for one in row.past.reviews
            ]
        )
        json_of([row.past.split, row.past.template])
    if row.picture:
        check_picture(row.picture)


def check_picture(picture: Picture) -> None:
    def read() -> None:
        assert isinstance(picture.read(), bytes)

    in_words(read)


# --- The archive


def open_members(data: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path, out = Path(folder) / "a.zip", Path(folder) / "out"
        path.write_bytes(data)
        out.mkdir()

        def work() -> None:
            with open_archive(path, max_members=1000, max_total=10**8) as archive:
                for name in archive.names():
                    try:
                        assert len(archive.read(name, 10**6)) <= 10**6
                    except BadMember as refusal:
                        is_told(refusal)
                    in_words(lambda name=name: archive.extract_table(name, out))  # type: ignore[misc]
                assert all(reason for _, reason in archive.refused)

        in_words(work)
        assert sorted(Path(folder).iterdir()) == [path, out], "something was written elsewhere"
        assert all(one.is_file() and not one.is_symlink() for one in out.iterdir())


# --- Pictures


def polyglots() -> st.SearchStrategy[bytes]:
    held = samples.pictures()
    return st.builds(
        lambda one, other, at: one[: int(at * len(one))] + other, one_of(held), one_of(held), wounds.places
    )


def look_at(data: bytes) -> None:
    try:
        seen = images.inspect(data, max_pixels=2_000_000)
    except images.BadImage as refusal:
        is_told(refusal)
        return
    assert seen.format in images.STORED
    assert samples.TOLD not in seen.data, "a stored picture still tells where it was taken"
    assert -(2**63) <= seen.fingerprint < 2**63
    with Image.open(io.BytesIO(seen.data)) as stored:
        stored.load()
        assert stored.size == (seen.width, seen.height)
        assert stored.format in {"JPEG", "PNG", "WEBP"}
        assert not stored.getexif()
    with Image.open(io.BytesIO(seen.thumbnail)) as small:
        small.load()
        assert max(small.size) <= images.THUMBNAIL_SIDE
    assert images.inspect(seen.data, max_pixels=2_000_000).format == seen.format, "what was stored is not taken again"


FILES = [
    *(
        Door(f"reader: {kind}", lambda kind=kind: files(kind), read_file, 2 if kind != "images" else 1)
        for kind in samples.files()
    ),  # type: ignore[misc]
    Door("huge and hollow files", lambda: one_of(list(HUGE)).map(huge), read_file, 0.2),
    Door("archive", archives, open_members),
    Door(
        "pictures", lambda: st.one_of(damaged(samples.pictures()), damaged(samples.pictures()), polyglots()), look_at, 3
    ),
]
