"""The readers of imported files: pure code, so no database, and every fixture is written here."""

import json
import tracemalloc
import zipfile
from collections import deque
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from annotate.importing import cells, formats, fourchan, text_files
from annotate.importing.columns import Columns, guess, to_row
from annotate.importing.formats import Options
from annotate.importing.pictures import nowhere
from annotate.importing.rows import Refused, Row, Unreadable

LABELS = ("bearish", "neutral", "bullish")
PNG = b"\x89PNG\r\n\x1a\n" + b"\0" * 20


def write(folder: Path, name: str, content: str | bytes) -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def make_zip(folder: Path, members: dict[str, str | bytes], name: str = "posts.zip") -> Path:
    with zipfile.ZipFile(folder / name, "w") as archive:
        for member, content in members.items():
            archive.writestr(member, content)
    return folder / name


def read(path: Path, **options: object) -> list[Row | Refused]:
    options.setdefault("labels", LABELS)
    return list(formats.read(path, path.name, Options(**options)))


def read_text(folder: Path, name: str, content: str | bytes, **options: object) -> list[Row | Refused]:
    return read(write(folder, name, content), **options)


def texts(rows: list[Row | Refused]) -> list[str]:
    return [row.text for row in rows if isinstance(row, Row)]


def refusals(rows: list[Row | Refused]) -> list[tuple[int, str]]:
    return [(row.number, row.reason) for row in rows if isinstance(row, Refused)]


# --- cells


@pytest.mark.parametrize(
    "written",
    [
        "2024-01-31T13:05:00Z",
        "2024-01-31 13:05:00",
        "2024-01-31T14:05:00+01:00",
        "2024-01-31 13:05:00 UTC",
        "Wed, 31 Jan 2024 13:05:00 GMT",
        "Wed, 31 Jan 2024 08:05:00 -0500",
        "Wed Jan 31 13:05:00 +0000 2024",
        "31.01.2024 13:05",
        "01/31/2024 1:05 PM",
        "31/01/2024 13:05",
        "Jan 31, 2024 1:05 PM",
        "31 January 2024 13:05:00",
        "1706706300",
        1706706300,
        1706706300.0,
        1706706300000,
        "1706706300000",
        datetime(2024, 1, 31, 13, 5),
    ],
)
def test_a_date_is_understood_in_its_common_forms(written):
    assert cells.as_date(written) == datetime(2024, 1, 31, 13, 5, tzinfo=UTC)


@pytest.mark.parametrize(
    "written", ["yesterday", "2024", "13/13/2024", True, [], "9" * 400, 10**40, "0001-01-01T00:00+14:00"]
)
def test_what_is_no_date_says_so(written):
    with pytest.raises(ValueError, match="is not one we can read"):
        cells.as_date(written)


def test_a_date_with_two_readings_is_not_guessed():
    with pytest.raises(ValueError, match="has two readings"):
        cells.as_date("03/04/2024")


@pytest.mark.parametrize("written", ["", None, "  ", float("nan")])
def test_a_blank_date_is_none(written):
    assert cells.as_date(written) is None


@pytest.mark.parametrize(
    ("written", "meant"),
    [("0.83", 0.83), ("83%", 0.83), (83, 0.83), (1, 1.0), ("", None), ("high", None), (-1, None), (float("nan"), None),
     (float("inf"), None), (True, None), ([1], None), (10**400, None)],
)  # fmt: skip
def test_a_confidence_is_a_probability_or_unknown(written, meant):
    assert cells.as_probability(written) == meant


@pytest.mark.parametrize(
    ("value", "text"),
    [(None, ""), (float("nan"), ""), (12.0, "12"), (1.5, "1.5"), (True, "true"), (7, "7"), ("a\0b", "ab"),
     ("\ud83d", "\ufffd"), (["a"], '["a"]')],
)  # fmt: skip
def test_any_value_becomes_text_that_postgresql_takes(value, text):
    assert cells.as_text(value) == text


def test_what_is_kept_is_json_of_a_bounded_size():
    nested: object = "deep"
    for _ in range(500):
        nested = [nested]
    found = cells.kept(
        {"n": float("nan"), "\0k": "v" * 50_000, "nested": nested, "i": 10**5000, "b": b"123", "l": [1] * 5000}
    )
    text = json.dumps(found, allow_nan=False)
    assert "\\u0000" not in text
    assert len(text) < 40_000


# --- columns


def test_columns_are_guessed_by_header():
    headers = ["tweet_id", "Tweet Text", "Created At", "image_url", "Sentiment", "platform", "incongruous", "likes"]
    record = {"tweet_id": "1", "Tweet Text": "gm", "Created At": "2024-01-31", "image_url": "https://x.org/a.jpg",
              "Sentiment": "Bullish", "platform": "x", "incongruous": "yes", "likes": "3"}  # fmt: skip
    assert guess(headers, [record], list(LABELS)) == Columns(
        text="Tweet Text", image="image_url", id="tweet_id", label="Sentiment", date="Created At", source="platform",
        incongruous="incongruous",
    )  # fmt: skip


def test_votes_are_guessed_by_value_and_by_the_names_of_models():
    record = {"text": "to the moon", "label": "bullish", "gpt-4o-mini": "bullish", "gpt-4o-mini_confidence": "0.9",
              "gemini-2.5-flash_label": "neutral", "anna": "bearish", "claude_reason": "why", "lang": "en"}  # fmt: skip
    columns = guess(list(record), [record], list(LABELS))
    assert columns.votes == ("gpt-4o-mini", "gemini-2.5-flash_label", "anna")
    assert columns.label == "label"


def test_the_text_is_guessed_by_length_where_no_header_says_it():
    record = {"a": "en", "b": "a sentence long enough to be what people posted", "c": "https://x.org/" + "long" * 50}
    assert guess(list(record), [record], []).text == "b"


def test_pictures_are_guessed_by_value():
    record = {"thing": "a/b.JPG", "text": "gm"}
    assert guess(list(record), [record], []).image == "thing"


def test_addresses_are_pictures_only_where_the_header_says_so():
    record = {"url": "https://x.org/post/1", "photo_url": "https://x.org/1?format=jpg", "text": "gm"}
    assert guess(list(record), [record], []).image == "photo_url"
    del record["photo_url"]
    assert guess(list(record), [record], []).image == ""


def test_a_label_column_may_begin_empty():
    record: dict[str, object] = {"text": "gm", "label": ""}
    assert guess(list(record), [record], list(LABELS)).label == "label"


def test_a_column_of_other_classes_is_not_taken_for_the_label():
    record = {"text": "gm", "category": "sports"}
    assert guess(list(record), [record], list(LABELS)).label == ""


def test_ids_that_repeat_are_not_ids():
    sample: list[dict[str, object]] = [{"id": "1", "text": "a"}, {"id": "1", "text": "b"}]
    assert guess(["id", "text"], sample, []).id == ""


def test_columns_survive_storing():
    columns = Columns(text="t", votes=("a", "b"))
    assert Columns.from_dict(json.loads(json.dumps(columns.asdict()))) == columns
    assert Columns.from_dict({"votes": None, "unknown": 1}) == Columns()


def test_a_record_becomes_a_row():
    record = {"t": " gm\r\nall ", "i": 7.0, "l": "bullish", "d": "2024-01-31", "c": "yes", "m": "neutral",
              "M Confidence": "40%", "m_reason": "dull", "likes": 3, "blank": ""}  # fmt: skip
    columns = Columns(text="t", id="i", label="l", date="d", incongruous="c", votes=("m",))
    row = to_row(3, record, columns, nowhere)
    assert isinstance(row, Row)
    assert (row.number, row.text, row.external_id, row.label, row.incongruous) == (3, "gm\nall", "7", "bullish", True)
    assert row.posted_at == datetime(2024, 1, 31, tzinfo=UTC)
    assert [(v.voter, v.label, v.confidence, v.reason) for v in row.votes] == [("m", "neutral", 0.4, "dull")]
    assert row.meta == {"likes": 3}


def test_the_only_vote_takes_the_only_confidence():
    row = to_row(1, {"t": "gm", "gpt_label": "x", "confidence": 0.5}, Columns(text="t", votes=("gpt_label",)), nowhere)
    assert isinstance(row, Row)
    assert [(v.voter, v.confidence) for v in row.votes] == [("gpt", 0.5)]


def test_a_blank_cell_is_an_abstention_and_a_missing_one_no_vote():
    columns = Columns(text="t", votes=("a", "b"))
    row = to_row(1, {"t": "gm", "a": "", "b": None}, columns, nowhere)
    assert isinstance(row, Row)
    assert [(v.voter, v.label) for v in row.votes] == [("a", "")]


@pytest.mark.parametrize(
    ("record", "reason"),
    [
        ({"t": " \0", "d": ""}, "neither text nor a picture"),
        ({"t": "gm", "d": "soon"}, "the date “soon”"),
        ({"t": "gm", "c": "perhaps"}, "neither yes nor no"),
        ({"t": "gm", "p": "a.jpg"}, "a.jpg"),
    ],
)
def test_a_record_that_cannot_be_a_post_is_refused_with_the_reason(record, reason):
    row = to_row(5, record, Columns(text="t", date="d", incongruous="c", image="p"), nowhere)
    assert isinstance(row, Refused)
    assert row.number == 5
    assert reason in row.reason


def test_records_with_ever_new_keys_do_not_fill_the_memory():
    columns = Columns(text="t")
    for n in range(500):
        to_row(n, {"t": "gm", f"key{n}": 1}, columns, nowhere)
    assert len(columns._plans) <= 100


# --- CSV and TSV


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_the_delimiter_is_found(tmp_path, delimiter):
    content = "id,text,label\n1,gm,bullish\n2,gn,bearish\n".replace(",", delimiter)
    rows = read_text(tmp_path, "posts.csv", content)
    assert [(r.external_id, r.text, r.label) for r in rows] == [("1", "gm", "bullish"), ("2", "gn", "bearish")]


def test_a_ragged_row_is_refused_by_its_number_and_the_rest_goes_in(tmp_path):
    rows = read_text(
        tmp_path, "posts.csv", 'id,text,label\n1,"a\n""b"", c",neutral\n2,b\n\n3,c,neutral,,\n4,d,neutral,x\n'
    )
    assert texts(rows) == ['a\n"b", c', "c"]
    assert refusals(rows) == [
        (2, "row has 2 columns where the header has 3"),
        (4, "row has 4 columns where the header has 3"),
    ]


def test_headers_that_repeat_or_are_blank_get_names(tmp_path):
    row = read_text(tmp_path, "posts.csv", "text,,a,a\ngm,1,2,3\n")[0]
    assert row.meta == {"column 2": "1", "a": "2", "a (2)": "3"}


def test_nuls_are_dropped(tmp_path):
    assert texts(read_text(tmp_path, "posts.csv", b"id,text\n1,g\0m and some more\n")) == ["gm and some more"]


def test_a_quote_that_never_closes_costs_its_own_rows_only(tmp_path):
    filler = "".join(f"{n},fine\n" for n in range(30_000))
    rows = read_text(tmp_path, "posts.csv", f'id,text\n1,good\n2,"open\n{filler}')
    assert texts(rows)[0] == "good"
    assert "closing quote" in refusals(rows)[0][1]
    assert len(texts(rows)) > 1000


def test_a_line_too_long_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(text_files, "MAX_LINE", 200_000)
    rows = read_text(tmp_path, "posts.csv", "id,text\n1,good\n2," + "x" * 1_000_000 + "\n3,good\n")
    assert texts(rows) == ["good", "good"]
    assert [number for number, _ in refusals(rows)] == [2]


def test_one_column_is_a_table_too(tmp_path):
    assert texts(read_text(tmp_path, "posts.csv", "text\ngm; all\ngn, all\n")) == ["gm; all", "gn, all"]


def test_a_chosen_column_that_is_missing_is_said(tmp_path):
    with pytest.raises(Unreadable, match=r"no column “body”. It has: id, text"):
        read_text(tmp_path, "posts.csv", "id,text\n1,gm\n", columns=Columns(text="body"))


def test_a_table_without_texts_says_which_columns_it_has(tmp_path):
    with pytest.raises(Unreadable, match="No column of texts or pictures was found among: a, b"):
        read_text(tmp_path, "posts.csv", "a,b\n1,2\n3,4\n")


def test_a_header_alone_is_said(tmp_path):
    with pytest.raises(Unreadable, match="no rows"):
        read_text(tmp_path, "posts.csv", "id,text\n")


# --- encodings


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32"])
@pytest.mark.parametrize("name", ["posts.csv", "posts.json", "posts.jsonl"])
def test_unicode_is_read_with_and_without_its_mark(tmp_path, encoding, name):
    content = {
        "posts.csv": "id,text\n1,“gm” – señor, said the man\n".replace("gm” – señor,", "gm” – señor"),
        "posts.json": json.dumps([{"id": 1, "text": "“gm” – señor said the man"}], ensure_ascii=False, indent=1),
        "posts.jsonl": json.dumps({"id": 1, "text": "“gm” – señor said the man"}, ensure_ascii=False) + "\n",
    }[name]
    assert texts(read_text(tmp_path, name, content.encode(encoding))) == ["“gm” – señor said the man"]


def test_windows_1252_is_read(tmp_path):
    content = "id,text\n1,“Déjà vu” – señor\n2,Spaß für 5 €\n".encode("cp1252")
    assert texts(read_text(tmp_path, "posts.csv", content)) == ["“Déjà vu” – señor", "Spaß für 5 €"]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("posts.csv", b"id,text\n1,se\xc3\xb1or\n2,se\xf1or\n3,\xf0\x9f\x9a\x80\n"),
        ("posts.jsonl", b'{"text": "se\xc3\xb1or"}\n{"text": "se\xf1or"}\n{"text": "\xf0\x9f\x9a\x80"}\n'),
        ("posts.json", b'[{"text": "se\xc3\xb1or"}, {"text": "se\xf1or"}, {"text": "\xf0\x9f\x9a\x80"}]'),
    ],
)
def test_one_broken_row_of_a_utf8_file_is_refused_alone(tmp_path, name, content):
    rows = read_text(tmp_path, name, content)
    assert texts(rows) == ["señor", "🚀"]
    assert [(number, "not valid UTF-8" in reason) for number, reason in refusals(rows)] == [(2, True)]


# --- JSON


@pytest.mark.parametrize(
    "content",
    [
        '[{"text": "a"}, {"text": "b"}]',
        '{"info": {"n": 2}, "tags": ["x"], "data": [{"text": "a"}, {"text": "b"}], "more": 1}',
        '{"text": "a"}\n\n{"text": "b"}',
        '[{"text": "a"},\n{"text": "b"},]',
    ],
)
def test_json_is_a_list_or_holds_one_or_is_lines(tmp_path, content):
    assert texts(read_text(tmp_path, "posts.json", content)) == ["a", "b"]


def test_a_broken_line_is_refused(tmp_path):
    rows = read_text(tmp_path, "posts.jsonl", '{"text": "a"}\n{"text": \n[1]\n{"text": "b", "n": NaN}\n')
    assert texts(rows) == ["a", "b"]
    assert [number for number, _ in refusals(rows)] == [2, 3]


def test_a_first_line_that_is_broken_is_refused_too(tmp_path):
    rows = read_text(tmp_path, "posts.jsonl", 'oops\n{"text": "a"}\n')
    assert texts(rows) == ["a"]
    assert [number for number, _ in refusals(rows)] == [1]


def test_a_broken_record_of_a_list_is_refused_and_reading_goes_on(tmp_path):
    inside = '"l": [{"x": 1}, {"x": 2}]'
    content = f'[{{"text": "a", {inside}}}, {{"text": "b" {inside}}}, {{"text": "c"}}, 5, {{"text": "d"}}]'
    rows = read_text(tmp_path, "posts.json", content)
    assert texts(rows) == ["a", "c", "d"]
    assert refusals(rows) == [
        (2, "record is not valid JSON (Expecting ',' delimiter)"),
        (4, "record is not an object with named fields"),
    ]


def test_a_list_that_breaks_off_gives_what_it_has(tmp_path):
    rows = read_text(tmp_path, "posts.json", '[{"text": "a"}, {"text": "b"}, {"tex')
    assert texts(rows) == ["a", "b"]
    assert len(refusals(rows)) == 1


def test_hostile_json_costs_its_own_record(tmp_path):
    deep = '{"text": "deep", "x": ' + "[" * 100_000 + "]" * 100_000 + "}"
    lists = '{"text": "lists", "image": ' + "[" * 900 + "]" * 900 + "}"
    huge = '{"text": "huge", "x": ' + "9" * 10_000 + "}"
    odd = '{"text": "a\\u0000b\\ud83d", "x": NaN, "y": 1e999, "z\\u0000": {"k": [-Infinity]}}'
    rows = read_text(
        tmp_path,
        "posts.json",
        f'[{{"text": "first"}}, {deep}, {huge}, {lists}, {odd}, {{"text": 5}}]',
        columns=Columns("text", "image"),
    )
    assert texts(rows) == ["first", "ab\ufffd", "5"]
    assert refusals(rows)[0][1] == "record is nested too deeply"
    json.dumps([row.meta for row in rows if isinstance(row, Row)], allow_nan=False)


def test_values_cut_by_the_reading_window_are_whole(tmp_path, monkeypatch):
    monkeypatch.setattr("annotate.importing.json_files.CHUNK", 7)
    records = [{"text": f"text {n} \\ “{'x' * n}”", "n": n * 1.5, "ok": True} for n in range(60)]
    rows = read_text(tmp_path, "posts.json", json.dumps(records))
    assert texts(rows) == [r["text"] for r in records]
    assert [row.meta["n"] for row in rows] == [r["n"] for r in records]


def test_json_without_records_says_what_it_should_be(tmp_path):
    for content in ('{"a": 1}', '{"text": {"0": "a"}}', '"text"', '{"a": [1, 2]}', "{"):
        with pytest.raises(Unreadable):
            read_text(tmp_path, "posts.json", content, format="json")


@pytest.mark.parametrize("name", ["posts.csv", "posts.json", "posts.jsonl"])
def test_memory_stays_flat(tmp_path, name):
    path = tmp_path / name
    with path.open("w") as file:
        file.write({"posts.csv": "id,text\n", "posts.json": "[", "posts.jsonl": ""}[name])
        for n in range(10_000):
            record = json.dumps({"id": n, "text": "x" * 500})
            file.write(
                {"posts.csv": f"{n},{'x' * 500}\n", "posts.json": record + ",", "posts.jsonl": record + "\n"}[name]
            )
        file.write("{}]" if name == "posts.json" else "")
    tracemalloc.start()
    deque(formats.read(path, name, Options()), maxlen=0)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2_500_000 < path.stat().st_size


def test_a_huge_field_is_refused_without_holding_it(tmp_path, monkeypatch):
    monkeypatch.setattr("annotate.importing.json_files.MAX_LINE", 500_000)
    path = tmp_path / "posts.json"
    with path.open("w") as file:
        file.write('[{"text": "a"}, {"text": "')
        for _ in range(200):
            file.write("x" * 100_000)
        file.write('"}, {"text": "b"}]')
    tracemalloc.start()
    rows = list(formats.read(path, path.name, Options()))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert texts(rows) == ["a", "b"]
    assert "longer than" in refusals(rows)[0][1]
    assert peak < 12_000_000


# --- Parquet


def write_parquet(folder: Path, columns: dict[str, object], metadata: dict[str, str] | None = None) -> Path:
    table = pa.table(columns)
    if metadata:
        table = table.replace_schema_metadata(metadata)
    pq.write_table(table, folder / "posts.parquet")
    return folder / "posts.parquet"


def test_parquet_holds_pictures_and_named_labels(tmp_path):
    features = {"label": {"names": ["bearish", "bullish"], "_type": "ClassLabel"}}
    path = write_parquet(
        tmp_path,
        {
            "text": ["a", "b", None],
            "image": [{"bytes": PNG, "path": "a.png"}, None, None],
            "label": [1, -1, 0],
            "created_at": pa.array([1_706_706_300_000_000_123] * 3, pa.timestamp("ns")),
        },
        {"huggingface": json.dumps({"info": {"features": features}})},
    )
    rows = read(path)
    assert [row.label for row in rows[:2]] == ["bullish", ""]
    assert rows[0].picture.read() == PNG
    assert rows[0].posted_at == datetime(2024, 1, 31, 13, 5, tzinfo=UTC)
    assert refusals(rows) == [(3, "row has neither text nor a picture")]
    assert formats.count(path, path.name, Options()) == 3


def test_a_parquet_value_that_cannot_be_read_costs_its_row(tmp_path):
    broken = pa.Array.from_buffers(
        pa.string(), 3, [None, pa.py_buffer(b"\0\0\0\0\1\0\0\0\2\0\0\0\3\0\0\0"), pa.py_buffer(b"a\xffb")]
    )
    rows = read(write_parquet(tmp_path, {"text": broken}))
    assert texts(rows) == ["a", "b"]
    assert refusals(rows) == [(2, "row cannot be read (not valid UTF-8)")]


def test_names_of_parquet_columns_are_ones_that_a_page_can_show(tmp_path):
    pq.write_table(pa.table({"text": ["gm"], "nul \0": ["a"]}), tmp_path / "posts.parquet")
    shown = formats.preview(tmp_path / "posts.parquet", "posts.parquet", Options(labels=LABELS))
    assert shown.rows == [{"text": "gm", "nul ": "a"}]


def test_a_parquet_file_cut_short_cannot_be_read(tmp_path):
    path = write_parquet(tmp_path, {"text": ["a"]})
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(Unreadable, match="Parquet"):
        read(path)


# --- pictures


def test_pictures_named_by_a_table_lie_beside_it(tmp_path):
    write(tmp_path, "pictures/a.png", PNG)
    path = write(tmp_path, "posts.csv", "text,image\ngm,pictures/a.png\ngn,b.png\n")
    rows = read(path, base=tmp_path)
    assert rows[0].picture.read() == PNG
    assert refusals(rows) == [(2, "its picture “b.png” is not in the folder")]


@pytest.mark.parametrize(
    "name", ["../secret.png", "/etc/passwd", "link.png", "a\0.png", "x" * 5000, "..\\secret.png", "."]
)
def test_no_name_leads_out_of_the_folder(tmp_path, name):
    write(tmp_path, "secret.png", PNG)
    base = tmp_path / "base"
    base.mkdir()
    (base / "link.png").symlink_to(tmp_path / "secret.png")
    rows = read_text(
        base, "posts.jsonl", json.dumps({"text": "gm", "image": name}), base=base, columns=Columns("text", "image")
    )
    assert isinstance(rows[0], Refused)


def test_addresses_are_fetched_only_where_that_is_allowed(tmp_path):
    path = write(tmp_path, "posts.csv", "text,image_url\ngm,https://x.org/a.png\n")
    assert "not fetched" in refusals(read(path))[0][1]
    assert read(path, picture_from_url=str.encode)[0].picture.read() == b"https://x.org/a.png"


def test_an_embedded_picture_is_decoded(tmp_path):
    rows = read_text(tmp_path, "posts.jsonl", '{"text": "gm", "image": "data:image/png;base64,aGk="}')
    assert rows[0].picture.read() == b"hi"


def test_a_zip_of_pictures_needs_no_table(tmp_path):
    rows = read(make_zip(tmp_path, {"Bullish/a.png": PNG, "b.jpg": b"jpg", "notes.txt": "x"}))
    assert [(row.picture.name, row.label, row.picture.read()) for row in rows] == [
        ("Bullish/a.png", "bullish", PNG), ("b.jpg", "", b"jpg"),
    ]  # fmt: skip


@pytest.mark.parametrize("pack", [True, False])
def test_a_table_beside_the_pictures_names_them(tmp_path, pack):
    members = {
        "set/posts.csv": "text,image\na,img/a.png\nb,b.png\nc,img/none.png\n",
        "set/img/a.png": PNG, "set/b.png": b"b", "set/unused.png": b"c", "other.json": '[{"text": "no picture"}]',
    }  # fmt: skip
    if pack:
        path = make_zip(tmp_path, members)
    else:
        path = tmp_path / "folder"
        for name, content in members.items():
            write(path, name, content)
    rows = read(path)
    assert [(row.text, row.picture.name, row.picture.read()) for row in rows if isinstance(row, Row)] == [
        ("a", "set/img/a.png", PNG), ("b", "set/b.png", b"b"),
    ]  # fmt: skip
    assert [row.number for row in rows] == [1, 2, 3, 4, 5]
    assert [reason for _, reason in refusals(rows)][1:] == [
        "this table was not read: its first rows name none of the pictures", "no row names 1 of the pictures",
    ]  # fmt: skip


def test_rows_of_two_tables_are_counted_through(tmp_path):
    rows = read(make_zip(tmp_path, {"a/posts.csv": "id,text\n1,a\n", "b/posts.csv": "id,text\n2,b\n"}))
    assert [(row.number, row.text) for row in rows] == [(1, "a"), (2, "b")]


def test_members_that_are_not_safe_are_refused(tmp_path):
    rows = read(make_zip(tmp_path, {"a.png": PNG, "../b.png": PNG}))
    assert len(rows) == 2
    assert refusals(rows)[0][0] == 2


def test_a_zip_without_posts_says_so(tmp_path):
    with pytest.raises(Unreadable, match="neither pictures nor a table"):
        read(make_zip(tmp_path, {"notes.txt": "x"}))


def test_a_single_picture_is_a_post(tmp_path):
    rows = read_text(tmp_path, "meme.png", PNG)
    assert rows[0].picture.read() == PNG


# --- ShareGPT


def test_a_conversation_is_a_post_and_its_answer_the_label(tmp_path):
    write(tmp_path, "img/1.jpg", b"1")
    records = [
        {"messages": [{"role": "system", "content": "Classify."}, {"role": "user", "content": "<image>to the moon"},
                      {"role": "assistant", "content": "Bullish"}], "images": ["img/1.jpg"], "lang": "en"},
        {"conversations": [{"from": "human", "value": "<image>\nwhat is it?"}, {"from": "gpt", "value": "A cat."},
                           {"from": "human", "value": "sure?"}], "image": "img/1.jpg", "id": "c2"},
        {"messages": [{"role": "user", "content": [{"type": "text", "text": "parts"},
                                                   {"type": "image_url", "image_url": {"url": "img/1.jpg"}}]}]},
        {"messages": [{"role": "assistant", "content": "alone"}]},
        {"messages": ["text"]},
    ]  # fmt: skip
    rows = read_text(tmp_path, "chat.json", json.dumps(records), base=tmp_path)
    assert [(row.text, row.label) for row in rows[:3]] == [
        ("to the moon", "bullish"),
        ("what is it?", ""),
        ("parts", ""),
    ]
    assert all(row.picture.read() == b"1" for row in rows[:3])
    assert rows[0].meta == {"lang": "en"}
    assert rows[1].external_id == "c2"
    assert rows[1].meta == {"answer": "A cat.", "later turns": [{"human": "sure?"}]}
    assert [number for number, _ in refusals(rows)] == [4, 5]


@pytest.mark.parametrize("source", [[], {}, ["review"], 7, None])
@pytest.mark.parametrize("record", [
    {"messages": [{"role": "user", "content": "gm"}], "metadata": {"label_source": "SOURCE"}},
    {"text": "gm", "label": "bullish", "split": "train", "at": "2025-11-14", "label_source": "SOURCE"},
])  # fmt: skip
def test_a_source_of_labels_that_is_no_text_is_none_of_ours(tmp_path, record, source):
    written = json.dumps([record]).replace('"SOURCE"', json.dumps(source))
    [row] = read_text(tmp_path, "posts.json", written)
    assert row.text == "gm"
    assert row.past is None


# --- Label Studio


def choice(*chosen: str) -> list[dict[str, object]]:
    return [{"type": "choices", "from_name": "l", "to_name": "t", "value": {"choices": list(chosen)}}]


def test_label_studio_tasks_bring_labels_and_votes(tmp_path):
    write(tmp_path, "a.png", PNG)
    tasks = [
        {"id": 1, "project": 9, "data": {"text": "gm", "image": "/data/upload/9/a.png"},
         "annotations": [{"result": choice("bullish")}, {"result": choice("bearish"), "was_cancelled": True}],
         "predictions": [{"model_version": "gpt", "score": 0.7, "result": choice("neutral")},
                         {"model_version": "two", "result": choice("a", "b")}]},
        {"id": 2, "data": {"text": "differ"},
         "annotations": [{"result": choice("bullish")}, {"result": choice("bearish")}]},
        {"id": 3, "data": {"text": "odd"},
         "annotations": [{"result": "x"}, 5, {"result": [{"value": {"choices": 1}}]}]},
        {"id": 4},
    ]  # fmt: skip
    rows = read_text(tmp_path, "export.json", json.dumps(tasks), base=tmp_path)
    assert [(row.external_id, row.text, row.label) for row in rows[:3]] == [
        ("label-studio/9/1", "gm", "bullish"), ("label-studio/2", "differ", ""), ("label-studio/3", "odd", ""),
    ]  # fmt: skip
    assert rows[0].picture.read() == PNG
    assert [(v.voter, v.label, v.confidence) for v in rows[0].votes] == [("gpt", "neutral", 0.7)]
    assert rows[1].meta == {"choices": [["bullish"], ["bearish"]]}
    assert [number for number, _ in refusals(rows)] == [4]


# --- 4chan


@pytest.mark.parametrize(
    ("html", "text"),
    [
        (
            '<a href="#p1" class="quotelink">&gt;&gt;1</a><br><span class="quote">&gt;be me</span><br>buy',
            ">>1\n>be me\nbuy",
        ),
        ("super<wbr>long &amp; <s>spoiler</s> &#039;x&#039;", "superlong & spoiler 'x'"),
        ('code<pre class="prettyprint">a<br>b</pre>end', "code\na\nb\nend"),
        ("a < b <br/>c", "a < b\nc"),
        ("", ""),
    ],
)
def test_a_comment_becomes_text(html, text):
    assert fourchan.as_plain_text(html) == text


def test_a_comment_that_would_take_long_to_parse_is_refused():
    with pytest.raises(ValueError, match="not valid HTML"):
        fourchan.as_plain_text("<a " * 6000)


THREAD: list[dict[str, object]] = [
    {"no": 100, "time": 1706706300, "resto": 0, "sub": "Gold &amp; you", "com": "up?", "replies": 2,
     "tim": 1706706300123, "ext": ".jpg", "filename": "chart", "country": "DE"},
    {"no": 101, "time": 1706706301, "resto": 100, "com": "yes"},
    {"no": 102, "time": 1706706302, "resto": 100, "tim": 1706706302000, "ext": ".png"},
    {"no": 103, "time": 1706706303, "resto": 100, "tim": 1706706303000, "ext": ".png", "filedeleted": 1},
    {"no": "104", "time": 1706706303, "com": "x"},
    {"no": 105, "time": "later", "resto": 100, "com": "x"},
]  # fmt: skip


def test_a_saved_thread_is_read(tmp_path):
    rows = read_text(tmp_path, "biz_thread_100.json", json.dumps({"posts": THREAD}))
    assert [(row.external_id, row.text) for row in rows[:2]] == [
        ("4chan/biz/100", "Gold & you\nup?"),
        ("4chan/biz/101", "yes"),
    ]
    assert rows[0].posted_at == datetime(2024, 1, 31, 13, 5, tzinfo=UTC)
    assert rows[0].source == "4chan /biz/"
    assert rows[0].meta == {"thread": 100, "subject": "Gold & you", "picture": "1706706300123.jpg", "replies": 2,
                            "country": "DE", "filename": "chart"}  # fmt: skip
    assert refusals(rows) == [
        (3, "it has no text, and its picture 1706706302000.png is not beside the file"),
        (4, "its picture was deleted, and it has no text"),
        (5, "the post has no number"),
        (6, "the post has no valid time"),
    ]


def test_a_thread_finds_its_pictures_beside_it(tmp_path):
    write(tmp_path, "1706706302000.png", PNG)
    rows = read_text(tmp_path, "thread.json", json.dumps({"posts": THREAD}), base=tmp_path)
    assert rows[2].picture.read() == PNG
    assert rows[2].external_id == "4chan/102"


def test_a_catalogue_is_read_without_its_notices(tmp_path):
    pages = [
        {"page": 1, "threads": [THREAD[0] | {"sticky": 1}, THREAD[0]]},
        {"page": 2, "threads": [THREAD[0] | {"no": 7}]},
    ]
    rows = read_text(tmp_path, "catalog.json", json.dumps(pages), board="biz")
    assert [row.external_id for row in rows if isinstance(row, Row)] == ["4chan/biz/100", "4chan/biz/7"]
    assert refusals(rows) == [(1, "a notice that the moderators pinned, not a post")]


# --- formats


@pytest.mark.parametrize(
    ("name", "content", "kind"),
    [
        ("a.csv", "text\ngm\n", "csv"),
        ("a.tsv", "id\ttext\n1\tgm\n", "tsv"),
        ("a.txt", "id;text\n1;gm\n", "csv"),
        ("a.json", '[{"text": "gm"}]', "json"),
        ("a.csv", '[{"text": "gm"}]', "json"),
        ("a.ndjson", '{"text": "gm"}\n', "jsonl"),
        ("a.jsonl", '{"messages": [{"role": "user", "content": "gm"}]}', "sharegpt"),
        ("a.json", '[{"conversations": [{"from": "human", "value": "gm"}]}]', "sharegpt"),
        ("a.json", '[{"data": {"text": "gm"}, "annotations": []}]', "label_studio"),
        ("a.json", '{"posts": [{"no": 1, "time": 1, "resto": 0}]}', "fourchan"),
        ("a.json", '[{"page": 1, "threads": []}]', "fourchan"),
        ("a.png", PNG, "images"),
        ("a", b"PK\3\4xxxx", "images"),
    ],
)
def test_the_format_is_found_by_name_and_content(tmp_path, name, content, kind):
    assert formats.detect(write(tmp_path, name, content), name) == kind


@pytest.mark.parametrize(
    ("name", "content", "sentence"),
    [
        ("a.csv", b"", "empty"),
        ("a.csv", b" \n\0\n", "empty"),
        ("a.parquet", b"text\n", "not a Parquet"),
        ("a.xlsx", b"PK\3\4", "Office"),
        ("a.pdf", b"%PDF-1.7", "PDF"),
        ("a.gz", b"\x1f\x8b\x08", "compressed"),
        ("a.bin", bytes(range(32)) * 20, "not a format we know"),
        ("a.txt", b"just some words\nand more\n", "not a format we know"),
        ("a.html", b"<!doctype html><p>", "web page"),
    ],
)
def test_what_cannot_be_read_says_what_to_mend(tmp_path, name, content, sentence):
    with pytest.raises(Unreadable, match=sentence):
        formats.detect(write(tmp_path, name, content), name)


def test_the_preview_of_a_table_asks_for_its_columns(tmp_path):
    path = write(tmp_path, "a.csv", "id,text,label\n1,gm,bullish\n2\n" + "3,x,neutral\n" * 20)
    preview = formats.preview(path, path.name, Options(labels=LABELS), limit=2)
    assert (preview.format, preview.headers) == ("csv", ["id", "text", "label"])
    assert preview.columns == Columns(text="text", label="label")
    assert preview.rows == [{"id": "1", "text": "gm", "label": "bullish"}, {"id": "3", "text": "x", "label": "neutral"}]
    assert [refused.number for refused in preview.refused] == [2]


@pytest.mark.parametrize("name", ["posts.json", "posts.jsonl"])
def test_names_of_columns_are_ones_that_a_page_can_show(tmp_path, name):
    record = r'{"text": "gm", "half \ud800": 1, "nul \u0000": 2}'
    path = write(tmp_path, name, record if name.endswith("l") else f"[{record}]")
    shown = formats.preview(path, name, Options(labels=LABELS))
    assert shown.headers == ["text", "half \ufffd", "nul "]
    assert shown.rows == [{"text": "gm", "half \ufffd": "1", "nul ": "2"}]


def test_the_preview_of_other_formats_has_no_columns_to_choose(tmp_path):
    preview = formats.preview(make_zip(tmp_path, {"a.png": PNG}), "posts.zip", Options())
    assert (preview.headers, preview.columns) == ([], None)
    assert preview.rows[0]["picture"] == "a.png"


def test_the_preview_of_a_zip_is_that_of_its_table(tmp_path):
    path = make_zip(tmp_path, {"posts.csv": "text,image\na,a.png\n", "a.png": PNG})
    preview = formats.preview(path, path.name, Options())
    assert (preview.format, preview.headers) == ("images", ["text", "image"])


def test_rows_are_counted_cheaply(tmp_path):
    table = "text,n\n" + '"two\nlines",1\n' * 5000
    assert formats.count(write(tmp_path, "a.csv", table), "a.csv", Options()) == pytest.approx(5000, rel=0.01)
    assert formats.count(write(tmp_path, "a.json", '[{"text": 1}, {"text": 2}]'), "a.json", Options()) == 2
    assert formats.count(make_zip(tmp_path, {"a.png": PNG, "b.png": PNG}), "posts.zip", Options()) == 2


def test_an_unknown_format_is_named(tmp_path):
    with pytest.raises(Unreadable, match="xml"):
        read_text(tmp_path, "a.csv", "text\ngm\n", format="xml")


# --- anything at all

ANYTHING = st.one_of(
    st.binary(max_size=400),
    st.lists(
        st.sampled_from([b'{"text": "a"}', b"[", b"]", b"{", b"}", b",", b'"', b"\n", b"\\", b"\0", b"\xff",
                         b"\xc3\xb1", b"text,image\n", b'{"messages": [', b'{"role": "user", "content": ', b'"data": {',
                         b'{"no": 1, ', b'"com": "<![x', b"1e999", b"NaN", b":", b"\xff\xfe", b"&#x110000;"]),
        max_size=30,
    ).map(b"".join),
)  # fmt: skip


@pytest.mark.parametrize(
    "kind", ["", "csv", "tsv", "json", "jsonl", "parquet", "sharegpt", "label_studio", "fourchan", "images"]
)
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(content=ANYTHING)
def test_any_bytes_are_rows_refusals_or_unreadable(tmp_path, kind, content):
    path = write(tmp_path, "any.bin", content)
    try:
        rows = read(path, format=kind)
    except Unreadable:
        return
    for row in rows:
        json.dumps(row.meta if isinstance(row, Row) else [row.reason, row.excerpt], allow_nan=False).encode()


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(), max_size=20),
    lambda inside: st.lists(inside, max_size=4) | st.dictionaries(st.text(max_size=8), inside, max_size=4),
    max_leaves=12,
)
KEYS = ["text", "image", "id", "label", "date", "messages", "images", "data", "annotations", "predictions", "result",
        "value", "choices", "no", "com", "tim", "ext", "time", "posts", "threads", "role", "content"]  # fmt: skip


@pytest.mark.parametrize("kind", ["json", "sharegpt", "label_studio", "fourchan"])
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(records=st.lists(st.dictionaries(st.sampled_from(KEYS), json_values, max_size=8), max_size=4))
def test_any_json_is_rows_refusals_or_unreadable(tmp_path, kind, records):
    path = write(tmp_path, "any.json", json.dumps(records))
    try:
        rows = read(path, format=kind)
    except Unreadable:
        return
    for row in rows:
        if isinstance(row, Row):
            stored = json.dumps([row.text, row.external_id, row.source, row.label, row.meta], allow_nan=False)
            assert "\\u0000" not in stored.replace("\\\\", "")
