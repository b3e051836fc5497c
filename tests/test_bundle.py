"""A run carried to another machine and back, the trainer there for real, with nothing of ours around it."""

import hashlib
import io
import json
import os
import re
import subprocess
import sys
import zipfile

import pytest
from django.core.management import CommandError, call_command
from django.urls import reverse

from annotate.models import Role
from modeling.datasets.recipe import Recipe
from modeling.models import Run, RunPoint, RunState
from modeling.training import bundle, run_folder, runner, training_presets

from .make import make_member, make_project
from .test_dataset import freeze, make_posts

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _var(tmp_path, settings):
    settings.VAR_DIR = tmp_path / "var"


@pytest.fixture
def run():
    project = make_project(audit_rate=0)
    make_posts(project, 12)
    frozen = freeze(project, recipe=Recipe(validation=0.2, test=0.2))
    config = training_presets.named("tiny").configured(max_steps=2, batch=2)
    return runner.start(project, None, frozen, config, away=True)


def packed(run):
    return zipfile.ZipFile(io.BytesIO(b"".join(bundle.pack(run))))


def result(run, **changes):
    """A result that is right but for what is changed: a name to its content, or to None where it is absent."""
    adapter = hashlib.sha256(b"adapter_model.safetensors" + b"weights").hexdigest()
    receipt = {"trained_for": run_folder.told_of(run), "seconds": 3, "adapter": adapter}
    files = {
        "receipt.json": json.dumps(receipt), "progress.jsonl": '{"kind": "done", "step": 2, "loss": 1}\n',
        "trained_modules.txt": "a\n", "adapter/adapter_model.safetensors": "weights",
    } | changes  # fmt: skip
    path = run_folder.folder_of(run).parent.parent / "result.zip"
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in files.items():
            if content is not None:
                archive.writestr(name, content)
    return path


def test_there_and_back(run, tmp_path):
    """In a folder of its own, by the bundle's own lines but for the installing, which takes gigabytes."""
    there = tmp_path / "elsewhere"
    packed(run).extractall(there)
    there /= f"run-{run.pk}"
    environment = {name: value for name, value in os.environ.items() if not name.startswith("DJANGO")}
    script = (there / "train.sh").read_text()
    trained = subprocess.run(
        [sys.executable, *re.findall(r"python (-m .+)", script)[-1].split()], cwd=there, capture_output=True, text=True,
        env=environment | {"OMP_NUM_THREADS": "1", "TRANSFORMERS_OFFLINE": "1"},
    )  # fmt: skip
    assert trained.returncode == 0, trained.stderr[-2000:]
    [packing] = re.findall(r"<<'END'\n(.*)END\n", script, re.DOTALL)
    subprocess.run([sys.executable, "-c", packing], cwd=there, check=True, capture_output=True)
    call_command("import_run", run.pk, there / "result.zip")
    run.refresh_from_db()
    assert run.state == RunState.DONE
    assert run.receipt["steps"] == run.step == 2
    assert RunPoint.objects.filter(run=run, kind="step").count() == 2
    assert list((run_folder.folder_of(run) / "adapter").glob("*.safetensors"))


def test_what_is_measured_on_does_not_travel(run):
    measured = set(run.dataset.items.exclude(split__in=["train", "validation"]).values_list("external_id", flat=True))
    archive = packed(run)
    told = [json.loads(line) for name in archive.namelist() if name.endswith("jsonl") for line in archive.open(name)]
    assert measured
    assert told
    assert not measured & {line["id"] for line in told}


def test_it_is_pinned_as_this_project_is(run):
    wanted = bundle.requirements().splitlines()
    assert "torch==2.13.0" in wanted
    assert all(any(line.startswith(name) for line in wanted) for name in ("transformers", "peft", "trl", "pillow"))
    assert not any("django" in line.lower() for line in wanted)


def test_it_says_how_many_cards_it_uses_and_brings_what_they_need(run):
    run.config |= {"cards": 4, "sharing": "zero3", "method": "lora"}
    archive = packed(run)
    top = f"run-{run.pk}"
    assert "It uses 4 cards of the machine" in archive.read(f"{top}/README.md").decode()
    assert "deepspeed" in archive.read(f"{top}/requirements.txt").decode().splitlines()
    assert "deepspeed" not in bundle.requirements()


@pytest.mark.parametrize(("changes", "words"), [
    ({"receipt.json": None}, "no receipt"),
    ({"adapter/adapter_model.safetensors": None}, "no adapter"),
    ({"receipt.json": "{"}, "cannot be read"),
    ({"receipt.json": "[" * 5000}, "cannot be read"),
    ({"receipt.json": r'{"model": "nul \u0000"}'}, "cannot be read"),
    ({"receipt.json": r'{"model": "half \ud800"}'}, "cannot be read"),
    ({"receipt.json": '{"trained_for": {"run": 0}}'}, "another run"),
    ({"progress.jsonl": "no JSON\n"}, "progress cannot be read"),
    ({"progress.jsonl": "[]\n"}, "progress cannot be read"),
    ({"progress.jsonl": '{"step": 1}\n'}, "progress cannot be read"),
    ({"progress.jsonl": '{"kind": "step", "step": "first", "of": 2}\n'}, "progress cannot be read"),
    ({"progress.jsonl": f'{{"kind": "step", "step": {10**30}, "of": 2}}\n'}, "progress cannot be read"),
    ({"progress.jsonl": r'{"kind": "step", "step": 1, "of": 2, "loss": "\u0000"}' + "\n"}, "progress cannot be read"),
    ({"adapter/run_me.py": "import os"}, "no part of a result"),
    ({"adapter/pytorch_model.bin": "pickle"}, "no part of a result"),
    ({"../../outside.txt": "x"}, "no part of a result"),
    ({"adapter/deep/er.json": "x"}, "no part of a result"),
    ({"adapter/adapter_model.safetensors": "other weights"}, "not the one that its receipt tells of"),
])  # fmt: skip
def test_what_is_no_result_of_it_is_refused_and_changes_nothing(run, changes, words):
    with pytest.raises(bundle.NotOurs, match=words):
        bundle.bring_home(run, result(run, **changes))
    run.refresh_from_db()
    assert run.state == RunState.AWAY
    assert not (run_folder.folder_of(run) / "receipt.json").exists()


@pytest.mark.parametrize("damage", ["cut", "method", "password", "overlong"])
def test_an_archive_that_is_damaged_inside_is_a_sentence_and_changes_nothing(run, damage):
    path = result(run)
    whole = path.read_bytes()
    central = whole.index(b"PK\1\2")
    path.write_bytes({
        "cut": whole[: central // 2] + whole[central:], "password": whole[: central + 8] + b"\1" + whole[central + 9 :],
        "method": whole[: central + 10] + b"\x63" + whole[central + 11 :],
        "overlong": whole[:-6] + b"\xff\xff\xff\x7f" + whole[-2:],
    }[damage])  # fmt: skip
    with pytest.raises(bundle.NotOurs, match=r"not a ZIP|no receipt"):
        bundle.bring_home(run, path)
    run.refresh_from_db()
    assert run.state == RunState.AWAY
    assert not run_folder.folder_of(run).exists()


def test_what_is_no_archive_is_a_sentence(run, tmp_path):
    (tmp_path / "result.zip").write_bytes(b"PK\3\4 and no more")
    with pytest.raises(CommandError, match="not a ZIP"):
        call_command("import_run", run.pk, tmp_path / "result.zip")


def test_brought_home_twice_it_is_refused(run):
    bundle.bring_home(run, result(run))
    with pytest.raises(bundle.NotOurs, match="done already"):
        bundle.bring_home(run, result(run))


class TestPages:
    def test_a_run_for_another_machine_is_started_fetched_and_brought_home(self, client, run):
        admin = make_member(run.project, Role.ADMIN)
        client.force_login(admin)
        new = reverse("run_new", args=[run.project.slug])
        filled_in = client.get(f"{new}?recipe=tiny").context["form"].data.dict()
        asked = client.post(f"{new}?away=1", filled_in)
        away = Run.objects.latest("pk")
        assert asked["Location"] == away_page(away)
        assert away.state == RunState.AWAY
        page = client.get(away_page(away)).content.decode()
        assert "Download the bundle" in page
        fetched = client.get(reverse("run_bundle", args=[run.project.slug, away.pk]))
        assert "train.sh" in " ".join(zipfile.ZipFile(io.BytesIO(b"".join(fetched))).namelist())
        with result(away).open("rb") as brought:
            client.post(reverse("run_result", args=[run.project.slug, away.pk]), {"result": brought})
        away.refresh_from_db()
        assert away.state == RunState.DONE

    def test_what_is_no_result_is_a_sentence_on_the_page(self, client, run):
        client.force_login(make_member(run.project, Role.ADMIN))
        address = reverse("run_result", args=[run.project.slug, run.pk])
        for sent, words in (({}, "Choose the result.zip"), ({"result": io.BytesIO(b"no zip")}, "not a ZIP")):
            answer = client.post(address, sent, follow=True)
            assert words in answer.content.decode()


def away_page(run):
    return reverse("run", args=[run.project.slug, run.pk])
