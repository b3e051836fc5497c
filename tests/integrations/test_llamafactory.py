"""Our export in LLaMA-Factory: its own arguments, loader, converter and template, in an environment of its own."""

import json
import os
import subprocess
from pathlib import Path

import pytest

from modeling.chat import Chat
from modeling.datasets import items

READER = Path(__file__).parent / "read_with_llamafactory.py"


@pytest.fixture
def read(tmp_path):
    def read(folder, **changed):
        python = os.environ.get("LLAMAFACTORY_PYTHON")
        assert python, "make test-integrations makes LLaMA-Factory's environment and says where it is"
        asked = {
            "use_cpu": True,
            "bf16": False,
            "cutoff_len": 100_000,
            "output_dir": str(tmp_path / "run"),
            "cache_dir": str(tmp_path / "cache"),
        }
        arguments = tmp_path / "arguments.json"
        arguments.write_text(json.dumps(asked | changed))
        offline = {"HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path / "hf"), "DISABLE_VERSION_CHECK": "1"}
        ran = subprocess.run(
            [python, READER, folder, arguments], cwd=folder, env=os.environ | offline, capture_output=True, text=True
        )
        assert ran.returncode == 0, ran.stderr[-4000:]
        return json.loads(ran.stdout.splitlines()[-1])

    return read


def test_every_post_arrives_with_its_picture_its_question_and_its_answer(export, read, dataset):
    folder = export("llamafactory")
    told = read(folder)
    chat = Chat.of(dataset.facts)
    slug = dataset.project.slug
    for split in items.SPLITS:
        rows = told["rows"][f"{slug}.v1.{split}"]
        held = in_file_order(folder / f"{slug}.v1.{split}.jsonl", dataset)
        assert len(rows) == len(held) > 0
        for row, item in zip(rows, held, strict=True):
            assert row["_system"] == chat.system
            assert row["_prompt"] == [{"role": "user", "content": chat.user(item.text, bool(item.image))}]
            assert row["_response"] == [{"role": "assistant", "content": item.label}]
            assert (row["_images"] or []) == ([f"./images/{item.image}"] if item.image else [])
            assert all((folder / path).is_file() for path in row["_images"] or [])


def test_after_its_template_there_are_two_turns_and_as_many_pictures_as_the_post_has(export, read, dataset):
    """So no post placed a picture, ended a turn or spoke as the machine."""
    folder = export("llamafactory")
    told = read(folder)["tokenized"]
    held = in_file_order(folder / f"{dataset.project.slug}.v1.train.jsonl", dataset)
    assert len(told) == len(held)
    for row, item in zip(told, held, strict=True):
        assert row["answer"].strip() == f"{item.label}<|im_end|>"
        assert row["turns"] == 3  # system, user, assistant
        assert (row["pads"] > 0) == bool(item.image)
        assert len(row["images"] or []) == bool(item.image)


def in_file_order(path, dataset):
    by_id = {item.id: item for item in items.items(dataset)}
    return [by_id[json.loads(line)["id"]] for line in path.read_text().split("\n") if line]
