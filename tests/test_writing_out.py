"""What a run made, written out by the process itself: as weights that load again and answer as before."""

import json
import resource
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests import run_folders, tiny_families
from tests.run_folders import LABELS, SYSTEM, TEXTS
from tests.test_predict import CLOSE, anew, far, make_adapter, make_asked

import torch  # isort: skip  - after tiny_families has made it ready for this machine
from safetensors import safe_open

from modeling.gpu import tiny, writing_out
from modeling.gpu.config import Config
from modeling.gpu.load import Loaded, load
from modeling.gpu.trainable import make_trainable

torch.set_num_threads(1)
ROUNDED = 0.4  # log-probabilities of a model that exaggerates; bf16 keeps three digits
ODD = {".bin", ".pt", ".pth", ".pkl", ".py"}


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.build(tmp_path_factory.mktemp("base") / "base", [*TEXTS, SYSTEM, *LABELS])


def make_work(folder: Path, base: Path, made: Path, form: str, **config: Any) -> Path:
    folder.mkdir(parents=True)
    told = {**run_folders.QUICK, "model": str(base), "method": "lora", **config}
    (folder / "config.json").write_text(json.dumps(told))
    asked = {"form": form, "made": str(made), "to": str(folder / "out"), "answers": LABELS}
    (folder / "form.json").write_text(json.dumps(asked))
    return folder


def write(folder: Path, *given: Any, **config: Any) -> tuple[Path, dict[str, Any]]:
    make_work(folder, *given, **config)
    writing_out.main(folder)
    return folder / "out" / writing_out.PART, run_folders.told(folder, "done")[-1]["told"]


def refused(folder: Path) -> str:
    with pytest.raises(SystemExit):
        writing_out.main(folder)
    return run_folders.told(folder, "failed")[-1]["error"]


def asked_of(folder: Path, model: Path, **ask: Any) -> dict[int, list[float]]:
    return anew(make_asked(folder, model, batch=3), **ask)


def test_merged_it_answers_as_the_adapter_did(base, tmp_path):
    folder = make_asked(tmp_path / "run", base, batch=3)
    adapter = make_adapter(folder, base)
    tuned = anew(folder, adapter=str(adapter), bits=16)
    part, told = write(tmp_path / "merged", base, adapter, "merged")
    assert far(tuned, anew(folder)) > 1
    assert far(tuned, asked_of(tmp_path / "asked", part)) < ROUNDED
    assert {path.suffix for path in part.iterdir()}.isdisjoint(ODD)
    assert told["by_chat"]
    assert "<|im_end|>" in told["signs"]
    assert told["answer_tokens"] == max(len(one) for one in lengths(base))
    with safe_open(part / "model.safetensors", "pt") as file:
        assert {file.get_tensor(name).dtype for name in file.keys()} == {torch.bfloat16}  # noqa: SIM118
    sized = json.loads((part / "processor_config.json").read_text())["image_processor"]["size"]
    assert sized == {"shortest_edge": 56 * 56, "longest_edge": 112 * 112}, "it would be shown larger pictures"


def lengths(base: Path) -> list[list[int]]:
    from modeling.gpu.encoders import encoder_of

    loaded = load(Config(model=str(base), method="lora"), base)
    return [encoder_of(loaded.processor, base, loaded.family).answer(label) for label in LABELS]


@pytest.mark.parametrize(("form", "bits", "close"), [("8bit", 8, 1e-6), ("4bit", 4, 0.5)])
def test_quantised_it_answers_as_if_it_were_quantised_on_the_spot(base, tmp_path, form, bits, close):
    adapter = make_adapter(make_asked(tmp_path / "run", base), base)
    merged, _ = write(tmp_path / "merged", base, adapter, "merged")
    part, told = write(tmp_path / form, base, adapter, form)
    kept = asked_of(tmp_path / "kept", part)
    assert far(kept, asked_of(tmp_path / "fly", merged, bits=bits)) < close
    assert run_folders.told(tmp_path / "kept", "done")[-1]["used"]["quantised"]
    assert not (part / "merged").exists()
    stored = json.loads((part / "config.json").read_text())["quantization_config"]
    assert {"visual", "model.visual", "lm_head"} <= set(stored["llm_int8_skip_modules"])
    assert str(bits) in told["weights"]
    with safe_open(part / "model.safetensors", "pt") as file:
        seeing = {file.get_tensor(n).dtype for n in file.keys() if n.startswith("visual")}  # noqa: SIM118
    assert seeing == {torch.bfloat16}


def test_what_learnt_beside_a_base_of_4_bits_is_merged_into_that_base(base, tmp_path):
    folder = make_asked(tmp_path / "run", base, batch=3)
    adapter = make_adapter(folder, base)
    as_trained, beside_16 = (anew(folder, adapter=str(adapter), bits=bits) for bits in (4, 16))
    part, _ = write(tmp_path / "merged", base, adapter, "merged", method="qlora")
    said = asked_of(tmp_path / "asked", part)
    assert far(said, as_trained) < ROUNDED < far(beside_16, as_trained)
    assert "quantization_config" not in json.loads((part / "config.json").read_text())


def test_what_changed_the_weights_themselves_is_written_too(base, tmp_path):
    loaded = load(Config(model=str(base), method="full"), tmp_path)
    moved(loaded)
    loaded.model.save_pretrained(tmp_path / "adapter")
    loaded.processor.save_pretrained(tmp_path / "adapter")
    part, _ = write(tmp_path / "merged", base, tmp_path / "adapter", "merged", method="full")
    bare, said = asked_of(tmp_path / "one", base), asked_of(tmp_path / "two", part)
    assert far(bare, said) > 1
    assert far(said, asked_of(tmp_path / "three", tmp_path / "adapter")) < ROUNDED


def moved(loaded: Loaded) -> None:
    torch.manual_seed(1)
    with torch.no_grad():
        for name, weight in loaded.model.named_parameters():
            if "language_model" in name and weight.ndim > 1:
                weight.add_(torch.randn_like(weight) * 0.05)


def test_a_trained_projector_is_merged_too(base, tmp_path):
    folder = make_asked(tmp_path / "run", base, batch=3)
    config = Config(model=str(base), method="lora", rank=4, projector="train", min_pixels=56 * 56, max_pixels=112 * 112)
    loaded = load(config, folder)
    model = make_trainable(loaded, config)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if weight.requires_grad and "lora_A" not in name:
                weight.add_(torch.randn_like(weight) * 0.1)
    model.save_pretrained(folder / "adapter")
    loaded.processor.save_pretrained(folder / "adapter")
    tuned = anew(folder, adapter=str(folder / "adapter"), bits=16)
    part, _ = write(tmp_path / "merged", base, folder / "adapter", "merged", projector="train")
    assert far(tuned, asked_of(tmp_path / "asked", part)) < ROUNDED


def test_an_adapter_goes_as_it_is_and_names_what_there_is(base, tmp_path):
    adapter = make_adapter(make_asked(tmp_path / "run", base), base)
    part, told = write(tmp_path / "lora", base, adapter, "lora")
    stored = json.loads((part / "adapter_config.json").read_text())
    assert stored["target_modules"] == ["down_proj", "gate_proj", "k_proj", "o_proj", "q_proj", "up_proj", "v_proj"]
    assert stored["base_model_name_or_path"] == str(base)
    assert (part / "adapter_model.safetensors").read_bytes() == (adapter / "adapter_model.safetensors").read_bytes()
    assert told["pixels"] == {"min_pixels": 56 * 56, "max_pixels": 112 * 112}
    folder = make_asked(tmp_path / "asked", base, batch=3)
    assert far(anew(folder, adapter=str(adapter), bits=16), anew(folder, adapter=str(part), bits=16)) < CLOSE


@pytest.mark.parametrize("name", ["florence2", "gemma4", "llava_next"])
@pytest.mark.parametrize("form", ["merged", "8bit", "4bit"])
def test_families_of_every_kind_load_again(name, form, tmp_path):
    base = tiny_families.build(name, tmp_path / "base")
    folder = make_asked(tmp_path / "run", base, batch=3)
    adapter = make_adapter(folder, base)
    part, told = write(tmp_path / form, base, adapter, form)
    said = asked_of(tmp_path / "asked", part)
    assert told["family"] == name
    if form != "4bit":
        assert far(said, anew(folder, adapter=str(adapter), bits=16)) < 2


# --- What is in the way


def test_asked_to_stop_it_leaves_the_rest(base, tmp_path):
    folder = make_work(tmp_path / "work", base, tmp_path, "merged")
    (folder / "stop").touch()
    writing_out.main(folder)
    assert run_folders.told(folder)[-1]["kind"] == "stopped"


def test_a_base_that_is_not_there_is_told(base, tmp_path):
    adapter = make_adapter(make_asked(tmp_path / "run", base), base)
    gone = Path("/nowhere/model")
    assert (
        refused(make_work(tmp_path / "a", gone, adapter, "merged"))
        == "There is no folder /nowhere/model on this machine."
    )
    assert "no folder /nowhere/model" in refused(make_work(tmp_path / "b", gone, adapter, "lora"))
    assert "holds no adapter" in refused(make_work(tmp_path / "c", base, tmp_path, "lora"))


def test_too_little_room_is_told_before_anything_is_written(base, tmp_path, monkeypatch):
    adapter = make_adapter(make_asked(tmp_path / "run", base), base)
    usage = type("Usage", (), {"free": 1000})
    monkeypatch.setattr(writing_out.shutil, "disk_usage", lambda _: usage)
    error = refused(make_work(tmp_path / "work", base, adapter, "merged"))
    assert "0.0 MB are free. Make room" in error
    assert not list((tmp_path / "work" / "out").rglob("*.safetensors"))


def test_a_disk_that_fills_up_meanwhile_is_told(base, tmp_path):
    """As a limit on the size of a file: the library that writes weights has an exception of its own for it."""
    adapter = make_adapter(make_asked(tmp_path / "run", base), base)
    folder = make_work(tmp_path / "work", base, adapter, "merged")
    ran = subprocess.run(
        [sys.executable, "-m", "modeling.gpu.writing_out", str(folder)], cwd=Path(__file__).parent.parent,
        env=run_folders.environment(), capture_output=True, check=False,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (400_000, 400_000)),
    )  # fmt: skip
    assert ran.returncode == 1
    assert "The disk did not play along" in run_folders.told(folder, "failed")[-1]["error"]


def test_code_of_others_is_not_written_out():
    family = next(one for one in writing_out.families.FAMILIES if one.remote_code)
    with pytest.raises(writing_out.CannotLoad, match="no code is written out"):
        writing_out.check_writable(family)


def test_nothing_that_runs_when_it_is_loaded_is_left_there(tmp_path):
    (tmp_path / "pytorch_model.bin").touch()
    with pytest.raises(writing_out.CannotLoad, match="no safe way"):
        writing_out.check_safe(tmp_path)
