"""Shapes held against the models themselves, built without weights from what their config.json says."""

import re
from typing import Any

import pytest

from modeling.gpu import cpu_build

cpu_build.prepare()

import torch  # noqa: E402
import transformers as t  # noqa: E402

from modeling.gpu.families import FAMILIES  # noqa: E402
from modeling.gpu.shapes import SHAPES  # noqa: E402

SIGLIP = {"hidden_size": 1152, "intermediate_size": 4304, "num_hidden_layers": 27, "num_attention_heads": 16,
          "patch_size": 14}  # fmt: skip
GEMMA_4: dict[str, Any] = {
    "num_attention_heads": 8, "head_dim": 256, "global_head_dim": 512, "vocab_size": 262144,
    "hidden_size_per_layer_input": 256, "vocab_size_per_layer_input": 262144, "tie_word_embeddings": True,
}  # fmt: skip


def qwen_3_5() -> Any:
    config = t.Qwen3_5Config(
        text_config={
            "hidden_size": 4096, "intermediate_size": 12288, "num_hidden_layers": 32, "num_attention_heads": 16,
            "num_key_value_heads": 4, "head_dim": 256, "vocab_size": 248320, "linear_num_key_heads": 16,
            "linear_num_value_heads": 32, "linear_key_head_dim": 128, "linear_value_head_dim": 128,
            "linear_conv_kernel_dim": 4, "layer_types": (["linear_attention"] * 3 + ["full_attention"]) * 8,
            "tie_word_embeddings": False,
        },
        vision_config={
            "depth": 27, "hidden_size": 1152, "intermediate_size": 4304, "num_heads": 16, "patch_size": 16,
            "out_hidden_size": 4096, "num_position_embeddings": 2304, "spatial_merge_size": 2,
        },
    )  # fmt: skip
    return t.Qwen3_5ForConditionalGeneration(config)


def gemma_4(every: int, layers: int, **text: Any) -> Any:
    kinds = ["sliding_attention" if n % every else "full_attention" for n in range(1, layers + 1)]
    config = t.Gemma4Config(
        text_config={**GEMMA_4, "num_hidden_layers": layers, "layer_types": kinds, **text},
        vision_config={
            "hidden_size": 768, "intermediate_size": 3072, "num_hidden_layers": 16, "num_attention_heads": 12,
        },
        audio_config={"hidden_size": 1024, "num_hidden_layers": 12, "num_attention_heads": 8},
    )  # fmt: skip
    return t.Gemma4ForConditionalGeneration(config)


def gemma_4_e2b() -> Any:
    return gemma_4(5, 35, hidden_size=1536, intermediate_size=6144, num_key_value_heads=1, num_kv_shared_layers=20,
                   use_double_wide_mlp=True)  # fmt: skip


def gemma_4_e4b() -> Any:
    return gemma_4(6, 42, hidden_size=2560, intermediate_size=10240, num_key_value_heads=2, num_kv_shared_layers=18,
                   use_double_wide_mlp=False)  # fmt: skip


def gemma_3_27b() -> Any:
    config = t.Gemma3Config(
        text_config={
            "hidden_size": 5376, "intermediate_size": 21504, "num_hidden_layers": 62, "num_attention_heads": 32,
            "num_key_value_heads": 16, "head_dim": 128, "vocab_size": 262208, "tie_word_embeddings": True,
        },
        vision_config={**SIGLIP, "image_size": 896, "vision_use_head": False},
    )  # fmt: skip
    return t.Gemma3ForConditionalGeneration(config)


def smolvlm() -> Any:
    config = t.SmolVLMConfig(
        text_config={
            "model_type": "llama", "hidden_size": 2048, "intermediate_size": 8192, "num_hidden_layers": 24,
            "num_attention_heads": 32, "num_key_value_heads": 32, "vocab_size": 49280, "tie_word_embeddings": False,
        },
        vision_config={**SIGLIP, "image_size": 384}, scale_factor=3, tie_word_embeddings=False,
    )  # fmt: skip
    return t.SmolVLMForConditionalGeneration(config)


def florence(hidden: int, layers: int, widths: list[int]) -> Any:
    heads = [width // 32 for width in widths]
    config = t.Florence2Config(
        text_config={
            "model_type": "bart", "d_model": hidden, "encoder_layers": layers, "decoder_layers": layers,
            "encoder_ffn_dim": 4 * hidden, "decoder_ffn_dim": 4 * hidden, "encoder_attention_heads": hidden // 64,
            "decoder_attention_heads": hidden // 64, "vocab_size": 51289, "max_position_embeddings": 1024,
        },
        vision_config={
            "embed_dim": widths, "num_heads": heads, "num_groups": heads, "depths": [1, 1, 9, 1],
            "projection_dim": hidden,
        },
    )  # fmt: skip
    return t.Florence2ForConditionalGeneration(config)


BUILT = {
    "Qwen/Qwen3.5-9B": qwen_3_5,
    "google/gemma-4-E2B-it": gemma_4_e2b,
    "google/gemma-4-E4B-it": gemma_4_e4b,
    "google/gemma-3-27b-it": gemma_3_27b,
    "HuggingFaceTB/SmolVLM2-2.2B-Instruct": smolvlm,
    "florence-community/Florence-2-base": lambda: florence(768, 6, [128, 256, 512, 1024]),
    "florence-community/Florence-2-large": lambda: florence(1024, 12, [256, 512, 1024, 2048]),
}


@pytest.mark.parametrize("hub", BUILT)
def test_a_shape_counts_what_the_model_holds(hub):
    family, size = next((family, size) for family in FAMILIES for size in family.sizes if size.hub == hub)
    shape = SHAPES[hub]
    with torch.device("meta"):
        model = BUILT[hub]()
    weights = dict(model.named_parameters())  # tied ones come once
    sees = sum(weight.numel() for name, weight in weights.items() if re.fullmatch(family.not_language, name))
    inner = [
        module.weight for name, module in model.named_modules()
        if isinstance(module, torch.nn.Linear) and name != "lm_head" and not re.fullmatch(family.not_language, name)
    ]  # fmt: skip

    assert sum(weight.numel() for weight in weights.values()) == pytest.approx(size.billions * 1e9, rel=0.02)
    assert sees == pytest.approx(size.vision * 1e9, abs=0.01e9)
    assert sum(weight.numel() for weight in inner) == sum(n * wide * tall for n, wide, tall in shape.matrices)
    assert sum(map(sum, (weight.shape for weight in inner))) == sum(
        n * (wide + tall) for n, wide, tall in shape.matrices
    )
    words = [weight.numel() for name, weight in weights.items() if re.search(r"embed_tokens|shared|lm_head", name)]
    assert sum(words) == shape.words
    assert model.get_input_embeddings().weight.shape == (shape.vocabulary, shape.hidden)
