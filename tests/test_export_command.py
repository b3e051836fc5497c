"""Exports on a disk: whole under their name, or not there at all."""

import errno
import hashlib
import io
import os
import zipfile

import pytest
from django.core.files.storage import default_storage
from django.core.management import CommandError, call_command

from modeling.datasets import items
from modeling.export import formats
from modeling.export.formats import NotExported, Options, Written, stream, write_to
from modeling.models import Dataset

from .exporting import frozen, hostile_project
from .make import make_post, make_project

pytestmark = pytest.mark.django_db


@pytest.fixture
def dataset():
    return frozen(hostile_project(posts=8))


@pytest.fixture
def room(tmp_path):
    """The pictures lie beside it."""
    (tmp_path / "room").mkdir()
    return tmp_path / "room"


def export(*arguments, **options):
    told = io.StringIO()
    call_command("export_dataset", *map(str, arguments), stdout=told, stderr=told, **options)
    return told.getvalue()


def files(folder):
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


class TestWhereItGoes:
    @pytest.mark.parametrize("key", formats.FORMATS)
    def test_a_folder_holds_what_the_download_does(self, dataset, key, room):
        written = write_to(dataset, key, Options(), room / "out")
        with zipfile.ZipFile(io.BytesIO(b"".join(stream(dataset, key, Options()).chunks))) as archive:
            assert files(room / "out") == {name: archive.read(name) for name in archive.namelist()}
            assert written.files == len(archive.namelist())

    def test_a_zip_is_the_download(self, dataset, room):
        write_to(dataset, "sharegpt", Options(), room / "deep" / "out.zip")
        assert (room / "deep" / "out.zip").read_bytes() == b"".join(stream(dataset, "sharegpt", Options()).chunks)

    def test_a_table_alone(self, dataset, room):
        write_to(dataset, "csv", Options(), room / "posts.csv")
        assert (room / "posts.csv").read_bytes().startswith(b"\xef\xbb\xbfid,text")
        write_to(dataset, "jsonl", Options(items.SPLITS), room / "posts.jsonl")
        facts = items.facts_file(dataset)
        assert hashlib.sha256(facts + (room / "posts.jsonl").read_bytes()).hexdigest() == dataset.content_hash
        write_to(dataset, "parquet", Options(("train",)), room / "train.parquet")
        assert (room / "train.parquet").read_bytes().startswith(b"PAR1")

    def test_a_file_cannot_hold_several_tables(self, dataset, room):
        with pytest.raises(NotExported, match=r"writes train.jsonl, validation.jsonl.* name a folder, a .zip, or one"):
            write_to(dataset, "sharegpt", Options(items.SPLITS), room / "all.jsonl")
        with pytest.raises(NotExported, match=r"writes no file that ends in \.csv"):
            write_to(dataset, "sharegpt", Options(), room / "all.csv")
        assert not list(room.iterdir())

    def test_progress_is_told(self, dataset, room):
        seen = []
        write_to(dataset, "jsonl", Options(), room / "out", lambda written: seen.append(written.files))
        assert seen == sorted(seen)
        assert seen[-1] > 3


class TestWhatIsThereAlready:
    def test_an_empty_folder_is_filled(self, dataset, room):
        (room / "out").mkdir()
        write_to(dataset, "jsonl", Options(), room / "out")
        assert "posts.jsonl" in files(room / "out")

    def test_nothing_is_overwritten_unasked(self, dataset, room):
        for name in ("out", "out.zip"):
            write_to(dataset, "jsonl", Options(), room / name)
            with pytest.raises(NotExported, match=r"is there already.*--force"):
                write_to(dataset, "csv", Options(), room / name)

    def test_an_earlier_export_is_replaced_as_a_whole(self, dataset, room):
        write_to(dataset, "sharegpt", Options(items.SPLITS), room / "out")
        write_to(dataset, "sharegpt", Options(), room / "out", replace=True)
        assert "holdout.jsonl" not in files(room / "out")
        write_to(dataset, "llamafactory", Options(), room / "out", replace=True)
        write_to(dataset, "llamafactory", Options(), room / "out", replace=True)
        assert [path.name for path in room.iterdir()] == ["out"]

    def test_a_folder_with_anything_else_in_it_is_never_replaced(self, dataset, room):
        write_to(dataset, "jsonl", Options(), room / "out")
        (room / "out" / "thesis.tex").write_text("years of work")
        with pytest.raises(NotExported, match=r"holds what no export wrote \(thesis\.tex\)"):
            write_to(dataset, "jsonl", Options(), room / "out", replace=True)
        assert (room / "out" / "thesis.tex").read_text() == "years of work"

    def test_a_folder_is_not_replaced_by_a_file(self, dataset, room):
        (room / "out.zip").mkdir()
        with pytest.raises(NotExported, match=r"out.zip is a folder"):
            write_to(dataset, "jsonl", Options(), room / "out.zip", replace=True)


class TestWhenItFails:
    @pytest.mark.parametrize("name", ["out", "out.zip"])
    def test_a_full_disk_is_one_sentence_and_leaves_nothing(self, dataset, room, name):
        def full(written: Written) -> None:
            if written.bytes > 2000:
                raise OSError(errno.ENOSPC, "No space left on device")

        with pytest.raises(NotExported, match="The disk is full; nothing was left"):
            write_to(dataset, "sharegpt", Options(), room / name, full)
        assert not list(room.iterdir())

    def test_what_was_there_stays_when_replacing_it_fails(self, dataset, room):
        write_to(dataset, "jsonl", Options(), room / "out")
        before = files(room / "out")

        def stopped(written: Written) -> None:
            raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            write_to(dataset, "jsonl", Options(), room / "out", stopped, replace=True)
        assert files(room / "out") == before
        assert [path.name for path in room.iterdir()] == ["out"]

    def test_what_was_there_stays_when_the_new_one_cannot_take_its_place(self, dataset, room, monkeypatch):
        write_to(dataset, "jsonl", Options(), room / "out")
        before, rename = files(room / "out"), os.rename

        def refused(one, other):
            if one.name == "new":
                raise PermissionError(errno.EACCES, "Permission denied")
            rename(one, other)

        monkeypatch.setattr(os, "rename", refused)
        with pytest.raises(NotExported, match="could not be written: Permission denied"):
            write_to(dataset, "csv", Options(), room / "out", replace=True)
        assert files(room / "out") == before

    def test_a_place_that_cannot_be_written_is_named(self, dataset, room):
        (room / "file").write_text("")
        with pytest.raises(NotExported, match="could not be written"):
            write_to(dataset, "jsonl", Options(), room / "file" / "out")


class TestTheCommand:
    def test_it_writes_and_says_what(self, dataset, room):
        told = export("v1", "--format", "jsonl", "--out", room / "out")
        assert told.startswith(f"{room / 'out'}: ")
        assert "files, " in told
        assert b"locked" not in (room / "out" / "posts.jsonl").read_bytes()

    def test_splits_reasons_and_pictures_are_as_asked(self, dataset, room):
        export("v1", "--format", "sharegpt", "--out", room / "out", "--splits", "train, holdout", "--reasons",
               "--without-pictures")  # fmt: skip
        held = files(room / "out")
        assert set(held) == {"train.jsonl", "holdout.jsonl", "README.md"}
        assert "Reason: " in held["train.jsonl"].decode()

    def test_lost_pictures_are_told(self, dataset, room):
        image = next(item.image for item in items.items(dataset, items.TO_TRAIN_WITH) if item.image)
        default_storage.delete(f"images/{image[:2]}/{image}")
        told = export("v1", "--format", "trl", "--out", room / "out")
        assert "1 of the pictures are gone from the storage; MISSING.txt among the files names them." in told

    def test_an_unknown_dataset_lists_those_there_are(self, dataset, room):
        with pytest.raises(CommandError, match=rf"no dataset v7. Datasets: v1 .{dataset.project.slug}."):
            export("v7", "--format", "jsonl", "--out", room / "out")

    def test_a_name_that_two_projects_use_needs_its_project(self, dataset, room):
        other = make_project()
        make_post(other, "gm", "bullish")
        frozen(other, validation=0, test=0)
        with pytest.raises(CommandError, match="Several projects have a dataset v1: add --project"):
            export("v1", "--format", "csv", "--out", room / "out.csv")
        export("v1", "--format", "csv", "--out", room / "out.csv", "--project", other.slug)
        assert (room / "out.csv").read_text("utf-8-sig").count("bullish") == 1

    def test_what_is_not_frozen_and_what_is_no_format(self, dataset, room):
        Dataset.objects.create(project=dataset.project, name="v2")
        with pytest.raises(CommandError, match="v2 is not frozen"):
            export("v2", "--format", "jsonl", "--out", room / "out")
        with pytest.raises(CommandError, match="“xlsx” is not a format; there are sharegpt, llava"):
            export("v1", "--format", "xlsx", "--out", room / "out")
