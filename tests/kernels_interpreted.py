"""Liger's kernels on a CPU, as Triton's interpreter runs them: each family's adapter gradients, with and without.

`python -m tests.kernels_interpreted [family ...]`, where liger-kernel is installed; tests/test_kernels.py does.
"""

import os

os.environ["TRITON_INTERPRET"] = "1"  # before Triton is imported

import json
import sys
import tempfile
from pathlib import Path
from typing import Any

from tests import tiny_families

# isort: split
import liger_kernel.ops.geglu
import liger_kernel.ops.rms_norm
import numpy
import torch
import triton
import triton.language as tl
import triton.runtime.interpreter as interpreter

from modeling.gpu import kernels
from modeling.gpu.batches import Collator
from modeling.gpu.config import Config
from modeling.gpu.encoders import encoder_of
from modeling.gpu.load import load
from modeling.gpu.scoring import answer_logits
from modeling.gpu.trainable import make_trainable
from modeling.gpu.trainer import answer_loss
from tests.run_folders import make_post, make_run


@triton.jit
def rsqrt(x):
    return 1.0 / tl.sqrt(x)


@triton.jit
def tanh(x):
    return 2 * tl.sigmoid(2 * x) - 1


def prepare() -> None:
    """The interpreter knows neither CUDA's own functions nor plain numbers with a point."""
    liger_kernel.ops.rms_norm.rsqrt = rsqrt
    liger_kernel.ops.geglu.tanh = tanh
    convert = interpreter._implicit_cvt

    def converted(given: Any) -> Any:
        if not isinstance(given, float):
            return convert(given)
        return tl.tensor(interpreter.TensorHandle(numpy.array([given], dtype=numpy.float32), tl.float32), tl.float32)

    interpreter._implicit_cvt = converted


def gradients(base: Path, folder: Path, with_kernels: bool) -> tuple[dict[str, torch.Tensor], str]:
    """As in training: quantised, adapted, checkpointed, a picture and an answer."""
    config = Config(model=str(base), rank=2)
    loaded = load(config, folder)
    torch.manual_seed(1)
    for name, weight in loaded.model.named_parameters():
        if "norm" in name and weight.is_floating_point():
            weight.data += 0.2 * torch.randn_like(weight)  # else what it is counted from would not tell
    said = kernels.put_in_place(loaded.model.get_decoder()) if with_kernels else ""
    torch.manual_seed(0)
    model = make_trainable(loaded, config).train()
    model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
    encoder = encoder_of(loaded.processor, folder, loaded.family)
    batch = Collator(encoder, {})([{**make_post(n), "image": f"images/{n}.png", "drawn": ""} for n in (0, 1)])
    weights = batch.pop("weights")
    answer_loss(*answer_logits(model, loaded.model, batch, encoder.apart), weights, 0).backward()
    return {name: weight.grad for name, weight in model.named_parameters() if "lora_B" in name}, said


def main() -> None:
    torch.set_num_threads(1)
    prepare()
    for name in sys.argv[1:] or sorted(tiny_families.FAMILIES):
        with tempfile.TemporaryDirectory() as room:
            base = tiny_families.build(name, Path(room) / "base")
            folder = make_run(Path(room) / "run", base)
            plain, _ = gradients(base, folder, with_kernels=False)
            ours, said = gradients(base, folder, with_kernels=True)
        off = max(float((ours[key] - plain[key]).norm() / plain[key].norm()) for key in plain)
        print(json.dumps({"family": name, "said": said, "off": off, "matrices": len(plain)}), flush=True)


if __name__ == "__main__":
    main()
