"""The result of a run on a machine that did not train it."""

import tracemalloc
import zipfile
from concurrent.futures import ThreadPoolExecutor

import pytest
from django.core.files.base import ContentFile
from django.core.files.storage import InMemoryStorage, default_storage

from modeling.gpu.hashing import hash_of
from modeling.models import RunState
from modeling.training import results, run_folder

from .freezing import freeze, make_settled

pytestmark = pytest.mark.django_db
FILES = {
    "receipt.json": "{}", "progress.jsonl": '{"kind": "done"}\n', "trained_modules.txt": "a\n",
    "adapter/adapter_model.safetensors": "weights", "adapter/tokenizer.json": "{}", "base/model.safetensors": "tiny",
}  # fmt: skip


@pytest.fixture
def run():
    frozen = freeze(make_settled())
    return frozen.runs.create(project=frozen.project, config={}, state=RunState.DONE, machine="card-1")


@pytest.fixture
def trained(run, settings, tmp_path):
    """Its folder on the machine that trained it; then this machine is another."""
    settings.VAR_DIR = tmp_path / "card-1"
    folder = written(
        run_folder.folder_of(run), FILES | {"adapter/modelling.py": "import os", "posts/train.jsonl": "gm"}
    )
    run.receipt = {"adapter": hash_of(folder / "adapter")}
    results.keep(run, folder)
    settings.VAR_DIR = tmp_path / "site"
    return folder


def written(folder, files):
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    return folder


def stored_anew(run, files):
    default_storage.delete(results.name_of(run))
    content = ContentFile(b"")
    with zipfile.ZipFile(content.file, "w") as archive:
        for name, text in files.items():
            archive.writestr(name, text)
    content.size = content.file.tell()
    default_storage.save(results.name_of(run), content)


def inside(folder):
    return {path.relative_to(folder).as_posix(): path.read_text() for path in folder.rglob("*") if path.is_file()}


def test_another_machine_has_it_whole_and_nothing_else(run, trained, tmp_path):
    folder = results.fetched(run)
    assert folder.is_relative_to(tmp_path / "site")
    assert inside(folder) == FILES
    assert hash_of(folder / "adapter") == run.receipt["adapter"]


def test_the_machine_that_trained_has_its_own(run, trained, settings, tmp_path):
    settings.VAR_DIR = tmp_path / "card-1"
    assert results.fetched(run) == trained


def test_what_lies_here_of_an_attempt_that_went_on_elsewhere_is_not_taken_for_it(run, trained):
    written(run_folder.folder_of(run), {"adapter/adapter_model.safetensors": "half-way"})
    assert inside(results.fetched(run)) == FILES


def test_it_is_fetched_once(run, trained):
    folder = results.fetched(run)
    default_storage.delete(results.name_of(run))
    assert results.fetched(run) == folder


def test_whoever_asks_at_the_same_time_has_it_whole(run, trained):
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda _: inside(results.fetched(run)), range(8)))
    assert found == [FILES] * 8


def test_what_one_that_was_killed_left_behind_is_not_in_it(run, trained):
    folder = results.fetched(run)
    folder.rename(folder.with_name(f"{folder.name}.part"))
    written(folder.with_name(f"{folder.name}.part"), {"adapter/half.json": "{"})
    assert inside(results.fetched(run)) == FILES


def test_what_is_kept_again_takes_its_place(run, trained):
    written(trained, {"adapter/adapter_model.safetensors": "better"})
    run.receipt = {"adapter": hash_of(trained / "adapter")}
    results.keep(run, trained)
    assert inside(results.fetched(run))["adapter/adapter_model.safetensors"] == "better"
    assert default_storage.listdir(f"runs/{run.pk}") == ([], ["result.zip"])


def test_what_cannot_be_kept_to_its_end_leaves_no_half(run, trained, monkeypatch):
    monkeypatch.setattr(results.os, "replace", lambda *_: (_ for _ in ()).throw(OSError(28, "No space left")))
    with pytest.raises(OSError, match="No space"):
        results.keep(run, trained)
    assert default_storage.listdir(f"runs/{run.pk}") == ([], ["result.zip"])
    assert inside(results.fetched(run)) == FILES


def test_in_a_storage_that_is_no_folder(run, trained, monkeypatch):
    monkeypatch.setattr(results, "default_storage", InMemoryStorage())
    results.keep(run, trained)
    results.keep(run, trained)
    assert inside(results.fetched(run)) == FILES


def test_a_large_one_takes_no_memory(run, trained):
    size = 64 << 20
    with (trained / "adapter" / "adapter_model.safetensors").open("wb") as file:
        file.truncate(size)
    run.receipt = {"adapter": hash_of(trained / "adapter")}
    tracemalloc.start()
    try:
        results.keep(run, trained)
        folder = results.fetched(run)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert (folder / "adapter" / "adapter_model.safetensors").stat().st_size == size
    assert peak < size / 8


class TestNone:
    def refusal(self, run):
        with pytest.raises(results.NoResult) as refused:
            results.fetched(run)
        return str(refused.value)

    def test_a_run_that_is_not_done(self, run, trained):
        run.state = RunState.STOPPED
        assert "is not done" in self.refusal(run)

    def test_a_storage_that_is_not_shared(self, run, trained, settings, tmp_path):
        settings.MEDIA_ROOT = tmp_path / "nothing"
        assert "it was trained on card-1. Give both the same MEDIA_ROOT" in self.refusal(run)

    def test_a_damaged_one(self, run, trained):
        with default_storage.open(results.name_of(run), "r+b") as file:
            file.truncate(100)
        assert "damaged" in self.refusal(run)

    @pytest.mark.parametrize(("change", "words"), [
        ({"adapter/adapter_model.safetensors": "others"}, "not the one that its receipt tells of"),
        ({"adapter/run_me.py": "import os"}, "no part of a result"),
        ({"../../outside.json": "{}"}, "no part of a result"),
        ({"adapter/../../outside.json": "{}"}, "no part of a result"),
        ({"/outside.json": "{}"}, "no part of a result"),
    ])  # fmt: skip
    def test_what_is_no_result_of_it_is_refused_and_leaves_nothing(self, run, trained, change, words, tmp_path):
        stored_anew(run, FILES | change)
        assert words in self.refusal(run)
        assert [path for path in (tmp_path / "site").rglob("*") if path.suffix != ".lock" and path.is_file()] == []
