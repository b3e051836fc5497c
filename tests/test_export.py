"""What leaves: every format, to the byte, from frozen datasets alone."""

import csv
import hashlib
import io
import json
import struct
import zipfile

import pyarrow.parquet as pq
import pytest
from django.core.files.storage import default_storage
from PIL import Image as Pillow

from annotate import images, removing
from annotate.models import Post
from modeling.chat import Chat
from modeling.datasets import card, items
from modeling.export import zipping
from modeling.export.formats import FORMATS, Member, NotExported, Options, stream
from modeling.models import Dataset, DatasetItem, DatasetState

from .exporting import HOSTILE, frozen, hostile_project
from .make import make_post, make_project

pytestmark = pytest.mark.django_db

ALL = Options(splits=items.SPLITS)
WITHOUT_PICTURES = Options(with_pictures=False)


@pytest.fixture
def dataset():
    return frozen(hostile_project())


def small(text="gm", **fields):
    project = make_project()
    make_post(project, text, "bullish", **fields)
    return frozen(project, validation=0, test=0)


def sent(dataset, key, options=ALL):
    return b"".join(stream(dataset, key, options).chunks)


def unpacked(dataset, key, options=ALL):
    with zipfile.ZipFile(io.BytesIO(sent(dataset, key, options))) as archive:
        assert archive.testzip() is None
        return {name: archive.read(name) for name in archive.namelist()}


def plain(content):
    """Parquet compresses its columns."""
    is_parquet = content.startswith(b"PAR1")
    return str(pq.read_table(io.BytesIO(content)).to_pylist()).encode() if is_parquet else content


def records(content):
    return [json.loads(line) for line in content.decode().split("\n") if line]


def everything(dataset, key, options=ALL):
    """Every record of every split."""
    return [
        record
        for name, content in unpacked(dataset, key, options).items()
        if name.endswith((".jsonl", ".json")) and name.partition(".")[0] in items.SPLITS
        for record in (json.loads(content) if name.endswith(".json") else records(content))
    ]


@pytest.mark.parametrize("key", FORMATS)
class TestEachFormat:
    def test_the_same_dataset_gives_the_same_bytes(self, dataset, key):
        assert sent(dataset, key) == sent(Dataset.objects.get(pk=dataset.pk), key)

    def test_it_is_a_sound_archive_with_the_card_and_every_picture_once(self, dataset, key):
        with zipfile.ZipFile(io.BytesIO(sent(dataset, key))) as archive:
            assert archive.testzip() is None
            names = archive.namelist()
            assert len(set(names)) == len(names)
            assert not [name for name in names if name.startswith("/") or ".." in name or "\\" in name]
            assert archive.read("README.md").decode().startswith(card.markdown(dataset))
            shown = {item.image for item in items.items(dataset) if item.image}
            sent_pictures = [name.rpartition("/")[2] for name in names if name.endswith((".png", ".jpg", ".webp"))]
        assert set(sent_pictures) == (set() if key == "parquet" else shown)
        if key != "imagefolder":  # there each split has its own
            assert len(sent_pictures) == len(set(sent_pictures))

    def test_the_locked_test_set_stays_here_unless_it_is_asked_for(self, dataset, key):
        def holds(options):
            return any(b"locked 0" in plain(content) for content in unpacked(dataset, key, options).values())

        assert not holds(Options())
        assert holds(Options(splits=("holdout",)))

    def test_posts_are_read_from_the_dataset_and_not_as_they_are_now(self, dataset, key):
        before = sent(dataset, key)
        Post.objects.update(text="something else", label=None, image=None, state="waiting")
        assert sent(dataset, key) == before

    def test_what_is_not_frozen_is_refused_before_the_first_byte(self, dataset, key):
        unfrozen = Dataset(project=dataset.project, name="v2", state=DatasetState.FREEZING)
        with pytest.raises(NotExported, match="only a frozen dataset"):
            stream(unfrozen, key, Options())

    def test_a_post_that_had_to_go_is_not_in_it(self, dataset, key):
        post = Post.objects.get(text__startswith="people ")
        removing.remove(post, None, "asked by its author")
        dataset.refresh_from_db()
        held = unpacked(dataset, key)
        assert not any(b"people <" in content or b"id-decided" in content for content in held.values())
        assert "1 post had to go" in held["README.md"].decode()

    def test_a_lost_picture_is_told_and_the_others_come(self, dataset, key):
        image = next(item.image for item in items.items(dataset, items.TO_TRAIN_WITH) if item.image)
        default_storage.delete(f"images/{image[:2]}/{image}")
        held = unpacked(dataset, key, Options())
        [told] = [content.decode() for name, content in held.items() if name.endswith("MISSING.txt")]
        assert image in told
        assert told.count("\n") == 2


class TestShareGPT:
    def test_the_label_alone_is_the_answer_to_the_post_alone(self, dataset):
        chat = Chat.of(dataset.facts)
        by_id = {item.id: item for item in items.items(dataset)}
        found = everything(dataset, "sharegpt")
        assert len(found) == len(by_id)
        for record in found:
            item = by_id[record["id"]]
            assert [turn["role"] for turn in record["messages"]] == ["system", "user", "assistant"]
            system, user, answer = (turn["content"] for turn in record["messages"])
            assert (system, answer) == (chat.system, item.label)
            assert user == chat.user(item.text, bool(item.image))
            assert user.count("<image>") == len(record["images"]) == bool(item.image)

    def test_with_reasons_each_answer_has_one_below_it(self, dataset):
        [record] = [r for r in everything(dataset, "sharegpt", Options(items.SPLITS, with_reason=True))
                    if r["id"] == "id-decided"]  # fmt: skip
        assert record["messages"][0]["content"].endswith("the label, and below it a brief reason.")
        assert record["messages"][2]["content"] == "bullish\nReason: =SARCASM() <\u2060image>"

    def test_a_post_with_a_picture_comes_first(self):
        """`datasets` takes a list that is empty all through its first megabytes for a list of nothing."""
        project = hostile_project()
        dataset = frozen(project, validation=0, test=0)
        last = max(item.position for item in items.items(dataset, ["train"]) if item.image)
        Dataset.objects.filter(pk=dataset.pk).update(state=DatasetState.FREEZING)
        DatasetItem.objects.filter(dataset=dataset, split="train", position__lt=last).update(image="")
        Dataset.objects.filter(pk=dataset.pk).update(state=DatasetState.FROZEN)
        first, *others = records(unpacked(dataset, "sharegpt", Options())["train.jsonl"])
        assert first["images"]
        assert not any(record["images"] for record in others[:5])
        assert len({record["id"] for record in [first, *others]}) == len(others) + 1

    def test_a_split_that_holds_nothing_has_no_file(self):
        names = set(unpacked(small(), "sharegpt"))
        assert names == {"train.jsonl", "README.md"}


class TestLlava:
    def test_what_its_readers_expect(self, dataset):
        by_id = {item.id: item for item in items.items(dataset)}
        found = everything(dataset, "llava")
        assert len(found) == len(by_id)
        for record in found:
            item = by_id[record["id"]]
            assert [turn["from"] for turn in record["conversations"]] == ["human", "gpt"]
            assert ("image" in record) == bool(item.image)
            assert record["conversations"][0]["value"].startswith("<image>") == bool(item.image)
            assert record["system"] == Chat.of(dataset.facts).system
            told = record["metadata"]
            assert (told["label_source"], told["split"], told["group"]) == (item.label_source, item.split, item.group)
            assert told.get("meta", {}) == item.meta


class TestLlamaFactory:
    def test_each_split_is_an_entry_of_its_own(self, dataset):
        held = unpacked(dataset, "llamafactory")
        told = json.loads(held["dataset_info.json"])
        slug = dataset.project.slug
        assert sorted(told) == [f"{slug}.v1.{split}" for split in sorted(items.SPLITS)]
        assert all(entry["file_name"] in held for entry in told.values())
        assert f"dataset: {slug}.v1.train\n" in held["train_lora.yaml"].decode()

    def test_two_datasets_can_lie_in_one_folder(self):
        project = make_project()
        make_post(project, label="bullish")
        one, other = (set(unpacked(frozen(project, name), "llamafactory")) for name in ("v1", "v1.train"))
        assert one & other == {"README.md", "dataset_info.json", "train_lora.yaml"}


class TestTRL:
    def test_the_prompt_holds_no_mark_for_the_picture(self, dataset):
        chat = Chat.of(dataset.facts)
        by_id = {item.id: item for item in items.items(dataset)}
        for record in everything(dataset, "trl"):
            item = by_id[record["id"]]
            assert record["prompt"][1] == {"role": "user", "content": chat.user(item.text, has_image=False)}
            assert record["completion"] == [{"role": "assistant", "content": item.label}]
            assert len(record["images"]) == bool(item.image)


class TestJSONL:
    def test_its_hash_is_the_content_hash(self, dataset):
        held = unpacked(dataset, "jsonl")
        assert hashlib.sha256(held["dataset.json"] + held["posts.jsonl"]).hexdigest() == dataset.content_hash

    def test_the_readme_is_the_card(self, dataset):
        assert unpacked(dataset, "jsonl")["README.md"].decode() == card.markdown(dataset)


class TestCSV:
    def rows(self, dataset, options=ALL):
        content = unpacked(dataset, "csv", options)["posts.csv"]
        assert content.startswith(b"\xef\xbb\xbf")
        return list(csv.DictReader(io.StringIO(content.decode("utf-8-sig"), newline="")))

    def test_no_cell_begins_like_a_formula(self, dataset):
        rows = self.rows(dataset)
        assert len(rows) == dataset.items.count()
        cells = [cell for row in rows for pair in row.items() for cell in pair]
        assert not [cell for cell in cells if cell[:1] in set("=+-@\t\r\n＝＋－＠")]
        texts = {row["text"] for row in rows}
        assert "'=cmd|' /C calc'!A0" in texts
        assert "''=1+1" in texts

    def test_each_voter_has_its_columns(self, dataset):
        [row] = [row for row in self.rows(dataset) if row["id"] == "'=id/001 é"]
        assert (row["gpt-4o_vote"], row["gpt-4o_confidence"]) == ("neutral", "0.6")
        assert row["'=words, list_vote"] == "abstained" or row["'=words, list_vote"] == "bearish"

    def test_what_people_said_stands_behind(self, dataset):
        [row] = [row for row in self.rows(dataset) if row["id"] == "id-decided"]
        assert row["reviews"].endswith(": bullish (=SARCASM() <image>)")

    def test_without_pictures_it_is_one_file_as_it_is(self, dataset):
        download = stream(dataset, "csv", WITHOUT_PICTURES)
        assert download.name == f"{dataset.project.slug}-v1-csv.csv"
        assert b"".join(download.chunks) == unpacked(dataset, "csv", Options())["posts.csv"]


class TestParquet:
    def test_pictures_are_inside_and_votes_beside(self, dataset):
        held = unpacked(dataset, "parquet")
        by_id = {item.id: item for item in items.items(dataset)}
        tables = [content for name, content in held.items() if name.endswith(".parquet")]
        found = [row for table in tables for row in pq.read_table(io.BytesIO(table)).to_pylist()]
        assert {row["id"] for row in found} == set(by_id)
        names = [label["name"] for label in dataset.facts["labels"]]
        for row in found:
            item = by_id[row["id"]]
            assert (row["text"], names[row["label"]], row["at"]) == (item.text, item.label, item.at)
            assert [vote["voter"] for vote in row["votes"]] == [vote["voter"] for vote in item.votes]
            assert bool(row["image"]) == bool(item.image)
            if item.image:
                with default_storage.open(f"images/{item.image[:2]}/{item.image}") as file:
                    assert row["image"]["bytes"] == file.read()

    def test_row_groups_stay_small(self, monkeypatch):
        monkeypatch.setattr("modeling.export.parquet.MOST_BYTES", 3000)
        held = unpacked(frozen(hostile_project(), validation=0, test=0), "parquet", Options())
        file = pq.ParquetFile(io.BytesIO(held["data/train-00000-of-00001.parquet"]))
        assert file.num_row_groups > 5
        assert file.read().num_rows == file.metadata.num_rows == 41


class TestImageFolder:
    def test_posts_without_a_picture_are_counted_and_not_in_it(self, dataset):
        held = unpacked(dataset, "imagefolder", Options(splits=("train",)))
        found = records(held["train/metadata.jsonl"])
        with_picture = [item for item in items.items(dataset, ["train"]) if item.image]
        assert [record["id"] for record in found] == [item.id for item in with_picture]
        assert all(f"train/{record['file_name']}" in held for record in found)
        without = dataset.items.filter(split="train", image="").count()
        assert f"{without} posts without a picture are not in it" in held["README.md"].decode()

    def test_a_dataset_of_words_alone_says_so(self):
        held = unpacked(small(), "imagefolder")
        assert set(held) == {"README.md"}
        assert "1 post without a picture is not in it" in held["README.md"].decode()


class TestLabelStudio:
    def test_a_prediction_for_each_voter_and_an_annotation_for_each_person(self, dataset):
        held = unpacked(dataset, "label_studio")
        by_id = {item.id: item for item in items.items(dataset)}
        tasks = json.loads(held["tasks.json"])
        assert {task["data"]["id"] for task in tasks} == set(by_id)
        for task in tasks:
            item = by_id[task["data"]["id"]]
            assert task["data"]["text"] == item.text
            voters = [prediction["model_version"] for prediction in task.get("predictions", [])]
            assert voters == [vote["voter"] for vote in item.votes]
            assert len(task.get("annotations", [])) == len(item.reviews)
            assert task["meta"]["label"] == item.label
        assert b'value="bullish"' in held["labeling_config.xml"]


class TestTheArchive:
    def test_pictures_are_stored_and_tables_deflated(self, dataset):
        with zipfile.ZipFile(io.BytesIO(sent(dataset, "sharegpt"))) as archive:
            kinds = {(info.filename.rpartition(".")[2], info.compress_type) for info in archive.infolist()}
            assert kinds == {("jsonl", 8), ("md", 8), ("png", 0), ("jpg", 0), ("webp", 0)}
            assert {info.date_time for info in archive.infolist()} == {(1980, 1, 1, 0, 0, 0)}

    def test_more_than_65535_files(self):
        many = [Member(f"images/{n}.png", iter([b"x" * 100])) for n in range(66_000)]
        with zipfile.ZipFile(io.BytesIO(b"".join(zipping.zipped(many)))) as archive:
            assert len(archive.namelist()) == 66_000
            assert archive.read("images/65999.png") == b"x" * 100

    def test_a_large_table_is_sent_as_it_is_made_and_a_small_one_with_its_size(self, dataset, monkeypatch):
        small = sent(dataset, "sharegpt")
        monkeypatch.setattr(zipping, "SMALL", 500)
        large = sent(dataset, "sharegpt")
        flags = {}
        for name, content in (("small", small), ("large", large)):
            with zipfile.ZipFile(io.BytesIO(content)) as archive:
                assert archive.testzip() is None
                flags[name] = {info.filename: bool(info.flag_bits & 8) for info in archive.infolist()}
        assert not any(flags["small"].values())
        assert flags["large"]["train.jsonl"]
        assert not any(follow for name, follow in flags["large"].items() if name.startswith("images/"))

    def test_what_lies_beyond_4_gigabytes_is_written_long(self):
        entry = zipping.Entry(b"a.jsonl", 8, 0x808, 1, 5 << 30, 6 << 30)
        written = zipping.central(entry, 7 << 30)
        kind, length, size, packed, offset = struct.unpack("<HHQQQ", written[46 + len(entry.name) :])
        assert (kind, length, size, packed, offset) == (1, 24, 6 << 30, 5 << 30, 7 << 30)
        assert zipping.end(3, 200, 8 << 30).startswith(b"PK\6\6")
        assert zipping.end(3, 200, 8 << 20).startswith(b"PK\5\6")

    def test_the_first_bytes_come_before_the_posts_are_read(self, dataset, monkeypatch):
        def unread(*_, **__):
            raise AssertionError

        monkeypatch.setattr(items, "items", unread)
        assert next(stream(dataset, "jsonl", Options()).chunks).startswith(b"PK\3\4")


def test_pictures_that_are_all_gone_stop_the_export(dataset, monkeypatch):
    monkeypatch.setattr("modeling.export.pictures.MOST_MISSING", 3)
    for item in items.items(dataset):
        if item.image:
            default_storage.delete(f"images/{item.image[:2]}/{item.image}")
    with pytest.raises(NotExported, match="is it the right one"):
        sent(dataset, "sharegpt")


def test_splits_are_checked(dataset):
    with pytest.raises(NotExported, match="“dev” is not a split; there are train, validation, test, holdout"):
        stream(dataset, "csv", Options(splits=("train", "dev")))
    with pytest.raises(NotExported, match="no post in holdout"):
        stream(small(), "csv", Options(splits=("holdout",)))


def test_every_hostile_text_is_in_the_dataset_that_all_of_this_is_tried_with(dataset):
    texts = {item.text for item in items.items(dataset)}
    assert texts >= set(HOSTILE)
    assert "" in texts


def test_pictures_of_this_dataset_are_real(dataset):
    image = next(item.image for item in items.items(dataset) if item.image)
    sha256, _, ending = image.partition(".")
    kind = next(kind for kind, known in images.EXTENSIONS.items() if known == ending)
    with default_storage.open(images.path_of(sha256, kind)) as file, Pillow.open(file) as picture:
        assert picture.width >= 96
