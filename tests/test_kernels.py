"""Liger's kernels: used where they are and do what the plain code does, left out elsewhere, and told either way."""

import importlib.util
import json
import subprocess
import sys

import pytest

from modeling.gpu import cpu_build

cpu_build.prepare()

import torch  # noqa: E402

from modeling.gpu import kernels  # noqa: E402
from modeling.gpu.config import Config  # noqa: E402
from modeling.gpu.load import load  # noqa: E402

from . import tiny_families  # noqa: E402

torch.set_num_threads(1)
IS_THERE = all(importlib.util.find_spec(name) for name in ("liger_kernel", "triton"))


@pytest.fixture(scope="module")
def language(tmp_path_factory):
    base = tiny_families.build("qwen2_5_vl", tmp_path_factory.mktemp("base"))
    return load(Config(model=str(base), method="lora"), base).model.get_decoder()


def test_on_a_cpu_there_is_nothing_to_use_and_nothing_to_tell(language):
    assert kernels.use(language) == ""


def test_without_liger_that_is_told(language, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert kernels.use(language) == "Liger: not installed"


def test_weights_that_are_not_all_on_the_card_are_left_alone(language, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: object())
    assert kernels.use(language) == "Liger: not where cards share the weights"


def test_a_family_without_kernels_is_told_so(tmp_path):
    base = tiny_families.build("florence2", tmp_path)
    model = load(Config(model=str(base), method="lora"), base).model
    assert kernels.put_in_place(model.get_decoder()) == "Liger: not for this family"


def test_what_would_compute_something_else_is_taken_out_again(language, monkeypatch):
    before = kernels.states(language)
    monkeypatch.setattr(kernels, "norm", lambda module, offset, rounds: lambda hidden: hidden * 0.5)
    monkeypatch.setattr(kernels, "gated", lambda module, gate: type(module).forward.__get__(module))
    said = kernels.put_in_place(language)
    assert said.startswith("Liger: left out, with it the model computes something else")
    assert torch.equal(kernels.states(language), before)


def test_what_breaks_is_taken_out_again(language, monkeypatch):
    def broken(x):
        raise RuntimeError("Failed to find C compiler")

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: object())
    monkeypatch.setattr(torch.Tensor, "is_cuda", True)
    monkeypatch.setattr(kernels, "gated", lambda module, gate: broken)
    monkeypatch.setattr(kernels, "norm", lambda module, offset, rounds: lambda hidden: hidden * 0.5)
    before = kernels.states(language)

    class Model:
        get_decoder = staticmethod(lambda: language)

    assert kernels.use(Model()) == "Liger: left out, RuntimeError"
    assert torch.equal(kernels.states(language), before)


@pytest.mark.parametrize("name", sorted(set(tiny_families.FAMILIES) - {"florence2"}))
def test_no_norm_and_no_feed_forward_part_of_a_family_is_unknown(name, tmp_path):
    """So that a new name in transformers does not pass unseen."""
    base = tiny_families.build(name, tmp_path)
    language = load(Config(model=str(base), method="lora"), base).model.get_decoder()
    kinds = {type(module).__name__ for module in language.modules()}
    assert {kind for kind in kinds if kind.endswith("RMSNorm")} <= set(kernels.NORMS)
    assert {kind for kind in kinds if kind.endswith("MLP")} <= kernels.GATED
    bends = {type(module.act_fn).__name__ for module in language.modules() if type(module).__name__ in kernels.GATED}
    assert bends
    assert bends <= set(kernels.GATES)


@pytest.mark.skipif(not IS_THERE, reason="liger-kernel is not installed: pip install -e .[train,cuda]")
def test_gradients_are_those_of_the_plain_code():
    """Without a card, by Triton's interpreter."""
    command = [sys.executable, "-m", "tests.kernels_interpreted", "qwen2_5_vl", "gemma4"]
    ran = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr[-2000:]
    told = [json.loads(line) for line in ran.stdout.splitlines()]
    assert [one["family"] for one in told] == ["qwen2_5_vl", "gemma4"]
    for one in told:
        assert "RMSNorm" in one["said"]
        assert one["matrices"]
        assert one["off"] < 1e-4
