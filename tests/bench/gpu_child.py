"""What tests/bench/gpu_train.py starts in processes of their own: a model built, a run trained, posts asked about."""

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

from modeling.gpu.config import Config
from modeling.gpu.shapes import SHAPES

HUBS = {"7b": "Qwen/Qwen2.5-VL-7B-Instruct", "3b": "Qwen/Qwen2.5-VL-3B-Instruct"}
LABELS = ("bearish", "neutral", "bullish")
WORDS = ["moon", "rug", "pull", "hands", "chart", "crash", "pump", "dump", "whale", "dip", "buy", "sell", "hold", "it"]
TEXT_WORDS = 300
ASKED, ROUNDS = 16, 3


def text_of(dice: Random) -> str:
    return " ".join(dice.choices(WORDS, k=TEXT_WORDS))


# --- Trained, with one thing patched


def train(name: str, folder: Path) -> None:
    from modeling.gpu import train  # first of all: it makes a CPU build of torch fit for the rest

    PATCHES[name]()
    train.main(folder)


def no_liger() -> None:
    sys.modules["liger_kernel"] = None  # type: ignore[assignment]  # as if it were not installed


def attend(how: str) -> Callable[[], None]:
    def patch() -> None:
        from modeling.gpu import load

        load.attention = lambda *_: {"attn_implementation": how}

    return patch


def full_logits() -> None:
    from modeling.gpu import scoring

    scoring.keeping = lambda *_: {}


def adamw() -> None:
    from transformers.training_args import OptimizerNames

    from modeling.gpu import train

    made = train.arguments

    def arguments(*given: Any) -> Any:
        told = made(*given)
        told.optim = OptimizerNames.ADAMW_TORCH
        return told

    train.arguments = arguments


def quantised_once() -> None:
    from modeling.gpu import load

    made = load.quantisation

    def quantisation(*given: Any) -> Any:
        told = made(*given)
        told["quantization_config"].bnb_4bit_use_double_quant = False
        return told

    load.quantisation = quantisation


PATCHES = {
    "no-liger": no_liger, "eager": attend("eager"), "sdpa": attend("sdpa"), "full-logits": full_logits, "adamw": adamw,
    "quantised-once": quantised_once,
}  # fmt: skip


# --- Asked


def ask(bits: str, folder: Path) -> None:
    from modeling.gpu import cpu_build

    cpu_build.prepare()
    import torch

    from modeling.gpu.encoders import encoder_of
    from modeling.gpu.load import load
    from modeling.gpu.receipt import peak_memory
    from modeling.gpu.scoring import score

    loaded = load(Config.read(folder), folder, int(bits))
    loaded.model.eval()
    encoder = encoder_of(loaded.processor, folder, loaded.family)
    answers = [encoder.answer(label) for label in LABELS]
    posts = [json.loads(line) for line in (folder / "posts" / "train.jsonl").open()][:ASKED]
    seconds = []
    for _ in range(1 + ROUNDS):
        began = time.perf_counter()
        score(loaded.model, encoder, posts, answers).sum().item()
        seconds.append(time.perf_counter() - began)
    on_card = torch.cuda.is_available()
    told = {"seconds": seconds[1:], "memory": torch.cuda.max_memory_allocated() if on_card else peak_memory(),
            "used": loaded.used}  # fmt: skip
    (folder / "asked.json").write_text(json.dumps(told))


# --- Built


def build(size: str, folder: Path) -> None:
    """At full size, with random weights; in bf16, and on the card, where there is one."""
    from modeling.gpu import cpu_build, tiny

    words = [text_of(Random(n)) for n in range(50)]
    if size == "tiny":
        tiny.build(folder, words)
        return
    cpu_build.prepare()
    import torch
    from transformers import Qwen2_5_VLForConditionalGeneration

    tokenizer = tiny.tokenizer_of(words)
    torch.set_default_dtype(torch.bfloat16)
    with torch.device("cuda"):
        model = Qwen2_5_VLForConditionalGeneration(described(HUBS[size], tokenizer))
    model.save_pretrained(folder, max_shard_size="4GB")
    tiny.processor_of(tokenizer).save_pretrained(folder)


def described(hub: str, tokenizer: Any) -> Any:
    """As its config.json says; the signs are those of our own small tokenizer."""
    from transformers import Qwen2_5_VLConfig

    shape = SHAPES[hub]
    sign = tokenizer.convert_tokens_to_ids
    return Qwen2_5_VLConfig(
        text_config={
            "vocab_size": shape.vocabulary, "hidden_size": shape.hidden, "intermediate_size": shape.inner,
            "num_hidden_layers": shape.layers, "num_attention_heads": shape.hidden // 128,
            "num_key_value_heads": shape.keys // 128, "max_position_embeddings": 128000,
            "rope_scaling": {"type": "mrope", "mrope_section": [16, 24, 24]}, "tie_word_embeddings": shape.tied,
            "bos_token_id": sign("<|endoftext|>"), "eos_token_id": sign("<|im_end|>"),
        },
        vision_config={
            "depth": 32, "hidden_size": 1280, "intermediate_size": 3420, "num_heads": 16, "patch_size": 14,
            "out_hidden_size": shape.hidden, "spatial_merge_size": 2, "temporal_patch_size": 2, "window_size": 112,
            "fullatt_block_indexes": [7, 15, 23, 31],
        },
        image_token_id=sign("<|image_pad|>"), video_token_id=sign("<|video_pad|>"),
        vision_start_token_id=sign("<|vision_start|>"), vision_end_token_id=sign("<|vision_end|>"),
        tie_word_embeddings=shape.tied,
    )  # fmt: skip


if __name__ == "__main__":
    {"train": train, "ask": ask, "build": build}[sys.argv[1]](sys.argv[2], Path(sys.argv[3]))
