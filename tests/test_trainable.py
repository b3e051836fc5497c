"""What is trained: adapters of the language model or its weights, the projector if asked for, what sees never."""

from pathlib import Path
from typing import Any

import pytest

from tests import tiny_families
from tests.run_folders import make_run, receipt

import torch  # isort: skip  - after tiny_families has made it ready for this machine
from modeling.gpu import train, trainable
from modeling.gpu.config import Config
from modeling.gpu.load import load, load_adapter
from modeling.gpu.trainable import make_trainable

torch.set_num_threads(1)


@pytest.fixture(scope="session")
def base(tmp_path_factory):
    return tiny_families.build("qwen2_5_vl", tmp_path_factory.mktemp("base") / "qwen2_5_vl")


@pytest.fixture(scope="session")
def llava(tmp_path_factory):
    return tiny_families.build("llava", tmp_path_factory.mktemp("base") / "llava")


def trained_names(base: Path, folder: Path, **given: Any) -> tuple[Any, set[str]]:
    config = Config(model=str(base), **{"rank": 2, **given})
    model = make_trainable(load(config, folder), config)
    return model, {
        name.removeprefix("base_model.model.") for name, weight in model.named_parameters() if weight.requires_grad
    }


@pytest.mark.parametrize("method", ["lora", "qlora", "full", "spectrum"])
@pytest.mark.parametrize("projector", ["frozen", "lora", "train"])
@pytest.mark.parametrize(("which", "between", "seeing"), [
    ("base", "model.visual.merger.", "model.visual."),
    ("llava", "model.multi_modal_projector.", "model.vision_tower."),
])  # fmt: skip
def test_the_projector_is_frozen_adapted_or_trained_and_what_sees_never(
    method, projector, which, between, seeing, request, tmp_path
):
    if projector == "lora" and method in ("full", "spectrum"):
        with pytest.raises(ValueError, match="gets an adapter only where"):
            Config(model="x", method=method, projector=projector)
        return
    model, names = trained_names(request.getfixturevalue(which), tmp_path, method=method, projector=projector)
    ours = {name for name in names if name.startswith(between)}
    assert not {name for name in names - ours if name.startswith(seeing)}
    assert names - ours
    if projector == "frozen":
        assert not ours
    elif projector == "lora":
        assert ours
        assert all(".lora_" in name for name in ours)
    else:
        whole = {name.removeprefix("base_model.model.") for name, _ in model.named_parameters()}
        kept = {name for name in whole if name.startswith(between) and ".original_module." not in name}
        assert ours == kept
        assert ours


def test_a_projector_that_is_trained_has_its_own_rate_and_is_saved(tmp_path):
    """Qwen3-VL's lies in several places, one of them a list."""
    folder = make_run(
        tmp_path / "run", tiny_families.build("qwen3_vl", tmp_path / "base"), projector="train", projector_lr=1e-4,
        lr=1e-3, schedule="constant", method="qlora",
    )  # fmt: skip
    made = []
    whole = train.make_trainer
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(train, "make_trainer", lambda *given: made.append(whole(*given)) or made[0])
        train.main(folder)
    name_of = {id(weight): name for name, weight in made[0].model.named_parameters()}
    rates = {
        group["lr"]: {name_of[id(weight)] for weight in group["params"]} for group in made[0].optimizer.param_groups
    }
    assert set(rates) == {1e-3, 1e-4}
    assert all("visual" in name for name in rates[1e-4])
    assert {"merger.", "deepstack_merger_list."} == {part for part in ("merger.", "deepstack_merger_list.")
                                                     if any(part in name for name in rates[1e-4])}  # fmt: skip
    assert not any("visual" in name for name in rates[1e-3])
    again = load_adapter(Config.read(folder), folder).model
    now = dict(again.named_parameters())
    for name, weight in made[0].model.named_parameters():
        if weight.requires_grad:
            torch.testing.assert_close(now[name], weight.detach(), atol=1e-6, rtol=0)


@pytest.mark.parametrize("method", ["full", "spectrum"])
def test_whole_weights_are_trained_saved_and_loaded(method, llava, tmp_path):
    folder = make_run(tmp_path / "run", llava, method=method, lr=1e-3, spectrum_share=0.5)
    train.main(folder)
    said = receipt(folder)
    before, after = (
        load(Config(model=str(llava), method="lora"), folder).model,
        load_adapter(Config.read(folder), folder).model,
    )
    moved = {name for name, weight in after.named_parameters() if not torch.equal(weight, before.get_parameter(name))}
    trained = set((folder / "trained_modules.txt").read_text().split())
    assert moved <= trained
    assert {name for name in trained if before.get_parameter(name).ndim > 1} <= moved
    assert not any("vision" in name or "projector" in name for name in trained)
    if method == "spectrum":
        assert "Spectrum, arXiv 2406.06623" in said["papers"]
        assert {pattern: n for pattern, n in said["trained"].items() if "up_proj" in pattern} == {
            "model.language_model.layers.*.mlp.up_proj.weight": 1
        }


def test_fingerprints_leave_out_what_may_rest(base, tmp_path):
    model, _ = trained_names(base, tmp_path, method="lora")
    before = trainable.fingerprints(model)
    assert before
    assert all("lora_B" in name for name in before)
    with pytest.raises(trainable.NeverMoved, match="14 of 14 trained matrices never moved"):
        trainable.check_moved(model, before)
