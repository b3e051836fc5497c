"""What a checkpoint holds is what is loaded from it: the best one at the end, the last one when a run is resumed."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests import run_folders, tiny_families
from tests.run_folders import make_run

import torch  # isort: skip  - after tiny_families has made it ready for this machine
from safetensors.torch import load_file

from modeling.gpu import train
from modeling.gpu.config import Config
from modeling.gpu.load import load_adapter
from modeling.gpu.trainer import Trainer

torch.set_num_threads(1)
WHOLE: dict[str, Any] = {"method": "full", "lr": 1e-2, "max_steps": 6, "evaluate_every": 2, "schedule": "constant"}


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(folder / "adapter" / "model.safetensors")


@pytest.mark.parametrize("name", ["qwen2_5_vl", "gemma3", "llava", "idefics3", "paligemma"])
def test_the_best_model_is_the_one_that_was_best(name, tmp_path, monkeypatch):
    """The first evaluation is made the best one: what is kept is as it was then, and not as it is at the end."""
    base = tiny_families.build(name, tmp_path / "base")
    real, scores = Trainer.measure, iter([0.9, 0.1, 0.1])
    monkeypatch.setattr(Trainer, "measure", lambda self: {**real(self), "macro_f1": next(scores)})
    train.main(make_run(tmp_path / "long", base, **WHOLE))
    scores = iter([0.9])
    train.main(make_run(tmp_path / "short", base, **{**WHOLE, "max_steps": 2}))
    long, short = weights(tmp_path / "long"), weights(tmp_path / "short")
    assert long.keys() == short.keys()
    for key in long:
        assert torch.equal(long[key], short[key]), key


@pytest.mark.parametrize("method", ["full", "spectrum"])
def test_a_resumed_run_goes_on_with_the_weights_that_it_had(method, tmp_path, monkeypatch):
    base = tiny_families.build("qwen2_5_vl", tmp_path / "base")
    given = {**WHOLE, "method": method, "lr": 1e-3}
    train.main(make_run(tmp_path / "whole", base, **given))
    train.main(make_run(tmp_path / "parted", base, **{**given, "max_steps": 2}))
    run_folders.change(tmp_path / "parted", max_steps=6)
    train.main(tmp_path / "parted")
    resumed = [line for line in run_folders.told(tmp_path / "parted", "state") if line.get("resumed")]
    assert resumed
    one, other = weights(tmp_path / "whole"), weights(tmp_path / "parted")
    assert max(float((one[key] - other[key]).abs().max()) for key in one) < 1e-5


def test_what_is_kept_is_loaded_under_the_names_of_the_base(tmp_path):
    """Other programs know a model by the names that its maker gave."""
    base = tiny_families.build("qwen2_5_vl", tmp_path / "base")
    folder = make_run(tmp_path / "run", base, **WHOLE)
    train.main(folder)
    assert weights(folder).keys() == load_file(base / "model.safetensors").keys()
    assert load_adapter(Config.read(folder), folder).model is not None


def test_a_checkpoint_of_another_model_is_refused(tmp_path):
    base = tiny_families.build("qwen2_5_vl", tmp_path / "base")
    folder = make_run(tmp_path / "run", base, **WHOLE)
    train.main(folder)
    run_folders.change(folder, max_steps=8)
    [*_, last] = sorted((folder / "checkpoints").glob("checkpoint-*"))
    from safetensors.torch import save_file

    held = load_file(last / "model.safetensors")
    save_file({f"other.{name}": weight for name, weight in held.items()}, last / "model.safetensors")
    with pytest.raises(SystemExit):
        train.main(folder)
    assert "does not fit" in run_folders.told(folder, "failed")[-1]["error"]
    assert json.loads((folder / "config.json").read_text())["max_steps"] == 8
