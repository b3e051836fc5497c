"""A tiny random checkpoint of every family that we train: real in shape (classes, processor, signs, template), a few
hundred kilobytes, saved to a folder and loaded from there as a real one is.
"""

import importlib.resources
from collections.abc import Callable
from pathlib import Path
from typing import Any

from modeling.gpu import cpu_build

cpu_build.prepare()

import torch  # noqa: E402
import transformers as t  # noqa: E402
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers  # noqa: E402

WORDS = ["What does this post say? The labels: bearish, neutral, bullish. Answer with the label alone."] * 3
HIDDEN, HEADS = 64, 4
TEXT: dict[str, Any] = {
    "hidden_size": HIDDEN, "intermediate_size": 96, "num_hidden_layers": 2, "num_attention_heads": HEADS,
    "num_key_value_heads": 2, "max_position_embeddings": 4096, "head_dim": HIDDEN // HEADS, "initializer_range": 0.1,
    "tie_word_embeddings": False,
}  # fmt: skip
TOWER: dict[str, Any] = {
    "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 2,
    "initializer_range": 0.1,
}  # fmt: skip
MROPE = {"rope_type": "default", "rope_theta": 10000.0, "mrope_section": [2, 3, 3]}
CHATML = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{% for c in m.content %}"
    "{% if c.type == 'image' %}IMAGE{% else %}{{ c.text }}{% endif %}{% endfor %}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
VICUNA = (  # LLaVA-1.5: pictures before words, and an answer that begins with a space
    "{% for m in messages %}{% if m.role != 'system' %}{{ m.role.upper() }}: {% endif %}"
    "{% for c in m.content %}{% if c.type == 'image' %}<image>\n{% endif %}{% endfor %}"
    "{% for c in m.content %}{% if c.type == 'text' %}{{ c.text }} {% endif %}{% endfor %}{% endfor %}"
    "{% if add_generation_prompt %}ASSISTANT:{% endif %}"
)
PIXTRAL = (  # no room for a system turn in parts, and an answer in one piece
    "<s>{% if messages[0].role == 'system' %}{% set said = messages[0].content + '\n\n' %}{% endif %}"
    "{% for m in messages if m.role != 'system' %}{% if m.role == 'user' %}[INST]{% if loop.last %}{{ said }}"
    "{% endif %}{% for c in m.content %}{% if c.type == 'image' %}[IMG]{% else %}{{ c.text }}{% endif %}{% endfor %}"
    "[/INST]{% else %}{{ m.content + '</s>' }}{% endif %}{% endfor %}"
)
MISTRAL = (
    "<s>{% for m in messages %}{% if m.role == 'system' %}[SYSTEM_PROMPT]{{ m.content[0].text }}[/SYSTEM_PROMPT]"
    "{% elif m.role == 'user' %}[INST]{% for c in m.content %}{% if c.type == 'image' %}[IMG]{% else %}{{ c.text }}"
    "{% endif %}{% endfor %}[/INST]{% else %}{{ m.content[0].text }}</s>{% endif %}{% endfor %}"
)
IDEFICS2 = (
    "{% for m in messages %}{{ m.role.capitalize() }}{{ ':' if m.content[0].type == 'image' else ': ' }}"
    "{% for c in m.content %}{% if c.type == 'text' %}{{ c.text }}{% else %}<image>{% endif %}{% endfor %}"
    "<end_of_utterance>\n{% endfor %}{% if add_generation_prompt %}Assistant:{% endif %}"
)
QWEN = ["<|im_start|>", "<|im_end|>", "<|endoftext|>", "<|vision_start|>", "<|vision_end|>", "<|image_pad|>",
        "<|video_pad|>"]  # fmt: skip
SENTENCE = ["<pad>", "<s>", "</s>", "<image>"]


def shipped(name: str) -> str:
    """A family's own template, as trl carries it."""
    return (importlib.resources.files("trl") / "chat_templates" / f"{name}.jinja").read_text(encoding="utf-8")


def tokenizer(signs: list[str], bos: str | None = None, **named: str) -> Any:
    """Byte-level, so that nothing is ever unknown; `named` are what a processor asks for by name."""
    tokens = Tokenizer(models.BPE())
    tokens.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokens.decoder = decoders.ByteLevel()
    tokens.train_from_iterator(WORDS, trainers.BpeTrainer(
        vocab_size=330, special_tokens=signs, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False,
    ))  # fmt: skip
    if bos:
        tokens.post_processor = processors.TemplateProcessing(
            single=f"{bos} $A", pair=f"{bos} $A $B", special_tokens=[(bos, signs.index(bos))]
        )
    own = {name: value for name, value in named.items() if name in ("eos_token", "pad_token", "bos_token")}
    extra = {name: value for name, value in named.items() if name not in own}
    return t.PreTrainedTokenizerFast(
        tokenizer_object=tokens, **own, **({"extra_special_tokens": extra} if extra else {})
    )


def sign(tokens: Any, text: str) -> int:
    return int(tokens.convert_tokens_to_ids(text))


# --- The families: each gives its configuration and its processor


def qwen(config: type, processor: type, vision: dict[str, Any], template: str, **text: Any) -> tuple[Any, Any]:
    tokens = tokenizer(QWEN, eos_token="<|im_end|>", pad_token="<|endoftext|>")
    pixels = {"min_pixels": 56 * 56, "max_pixels": 112 * 112, "patch_size": vision["patch_size"]}
    made = config(
        text_config={**TEXT, "vocab_size": len(tokens), "rope_parameters": MROPE, **text},
        vision_config={
            "depth": 2, "hidden_size": 32, "intermediate_size": 48, "num_heads": 2, "spatial_merge_size": 2,
            "temporal_patch_size": 2, "initializer_range": 0.1, **vision,
        },
        image_token_id=sign(tokens, "<|image_pad|>"), video_token_id=sign(tokens, "<|video_pad|>"),
        vision_start_token_id=sign(tokens, "<|vision_start|>"), vision_end_token_id=sign(tokens, "<|vision_end|>"),
        tie_word_embeddings=False,
    )  # fmt: skip
    return made, processor(
        image_processor=t.Qwen2VLImageProcessor(**pixels), tokenizer=tokens,
        video_processor=t.Qwen2VLVideoProcessor(**pixels), chat_template=template,
    )  # fmt: skip


def qwen2_vl() -> tuple[Any, Any]:
    vision = {"embed_dim": 32, "hidden_size": HIDDEN, "mlp_ratio": 2, "patch_size": 14}
    return qwen(t.Qwen2VLConfig, t.Qwen2VLProcessor, vision, shipped("qwen2_5_vl"))


def qwen2_5_vl() -> tuple[Any, Any]:
    vision = {"out_hidden_size": HIDDEN, "patch_size": 14, "window_size": 56, "fullatt_block_indexes": [1]}
    return qwen(t.Qwen2_5_VLConfig, t.Qwen2_5_VLProcessor, vision, shipped("qwen2_5_vl"))


def qwen3_vl() -> tuple[Any, Any]:
    vision = {
        "out_hidden_size": HIDDEN,
        "patch_size": 16,
        "num_position_embeddings": 64,
        "deepstack_visual_indexes": [0],
    }
    return qwen(t.Qwen3VLConfig, t.Qwen3VLProcessor, vision, shipped("qwen3_vl"))


def qwen3_5() -> tuple[Any, Any]:
    """Linear attention in the first layer, and a template that thinks unless it is told not to."""
    vision = {"out_hidden_size": HIDDEN, "patch_size": 16, "num_position_embeddings": 64}
    return qwen(
        t.Qwen3_5Config, t.Qwen3VLProcessor, vision, shipped("qwen3_5_think"),
        layer_types=["linear_attention", "full_attention"], linear_key_head_dim=16, linear_value_head_dim=16,
        linear_num_key_heads=2, linear_num_value_heads=4,
        rope_parameters={**MROPE, "partial_rotary_factor": 1.0, "mrope_interleaved": True},
    )  # fmt: skip


def clip(side: int = 56) -> tuple[Any, Any]:
    config = t.CLIPVisionConfig(**TOWER, image_size=side, patch_size=14, projection_dim=32)
    size = {"size": {"shortest_edge": side}, "crop_size": {"height": side, "width": side}}
    return config, t.CLIPImageProcessor(**size)


def llava() -> tuple[Any, Any]:
    tokens = tokenizer(SENTENCE, bos="<s>", bos_token="<s>", eos_token="</s>", pad_token="<pad>", image_token="<image>")
    tower, images = clip()
    config = t.LlavaConfig(
        vision_config=tower, text_config=t.LlamaConfig(**TEXT, vocab_size=len(tokens)),
        image_token_index=sign(tokens, "<image>"), vision_feature_layer=-2,
    )  # fmt: skip
    return config, t.LlavaProcessor(
        image_processor=images, tokenizer=tokens, patch_size=14, vision_feature_select_strategy="default",
        num_additional_image_tokens=1, chat_template=VICUNA,
    )  # fmt: skip


def llava_next() -> tuple[Any, Any]:
    tokens = tokenizer(SENTENCE, bos="<s>", bos_token="<s>", eos_token="</s>", pad_token="<pad>", image_token="<image>")
    tower, images = clip()
    grid = [[56, 112], [112, 56], [112, 112]]
    config = t.LlavaNextConfig(
        vision_config=tower, text_config=t.MistralConfig(**TEXT, vocab_size=len(tokens)),
        image_token_index=sign(tokens, "<image>"), image_grid_pinpoints=grid,
    )  # fmt: skip
    images = t.LlavaNextImageProcessor(size=images.size, crop_size=images.crop_size, image_grid_pinpoints=grid)
    return config, t.LlavaNextProcessor(
        image_processor=images, tokenizer=tokens, patch_size=14, vision_feature_select_strategy="default",
        num_additional_image_tokens=1, chat_template=shipped("llava_next"),
    )  # fmt: skip


def pixtral_parts(merged: int, template: str) -> tuple[Any, Any, Any]:
    signs = ["<pad>", "<s>", "</s>", "[INST]", "[/INST]", "[IMG]", "[IMG_BREAK]", "[IMG_END]", "[SYSTEM_PROMPT]",
             "[/SYSTEM_PROMPT]"]  # fmt: skip
    tokens = tokenizer(signs, bos_token="<s>", eos_token="</s>", pad_token="<pad>")
    tower = t.PixtralVisionConfig(**TOWER, image_size=112, patch_size=14, head_dim=16)
    images = t.PixtralImageProcessor(size={"longest_edge": 112}, patch_size={"height": 14, "width": 14})
    processor = t.PixtralProcessor(
        image_processor=images, tokenizer=tokens, patch_size=14, spatial_merge_size=merged, chat_template=template
    )
    return tokens, tower, processor


def pixtral() -> tuple[Any, Any]:
    tokens, tower, processor = pixtral_parts(1, PIXTRAL)
    return t.LlavaConfig(
        vision_config=tower, text_config=t.MistralConfig(**TEXT, vocab_size=len(tokens)),
        image_token_index=sign(tokens, "[IMG]"), vision_feature_layer=-1, vision_feature_select_strategy="full",
    ), processor  # fmt: skip


def mistral3() -> tuple[Any, Any]:
    tokens, tower, processor = pixtral_parts(2, MISTRAL)
    return t.Mistral3Config(
        vision_config=tower, text_config=t.MistralConfig(**TEXT, vocab_size=len(tokens)), tie_word_embeddings=False,
        image_token_index=sign(tokens, "[IMG]"), spatial_merge_size=2, vision_feature_layer=-1,
    ), processor  # fmt: skip


def gemma3() -> tuple[Any, Any]:
    """A window of 16 tokens, far shorter than its prompts."""
    signs = ["<pad>", "<eos>", "<bos>", "<start_of_turn>", "<end_of_turn>", "<start_of_image>", "<end_of_image>",
             "<image_soft_token>"]  # fmt: skip
    tokens = tokenizer(
        signs, bos="<bos>", bos_token="<bos>", eos_token="<eos>", pad_token="<pad>", image_token="<image_soft_token>",
        boi_token="<start_of_image>", eoi_token="<end_of_image>",
    )  # fmt: skip
    config = t.Gemma3Config(
        text_config={
            **TEXT, "vocab_size": len(tokens), "sliding_window": 16, "query_pre_attn_scalar": 16,
            "layer_types": ["sliding_attention", "full_attention"], "tie_word_embeddings": True,
        },
        vision_config=t.SiglipVisionConfig(**TOWER, image_size=56, patch_size=14), mm_tokens_per_image=4,
        image_token_index=sign(tokens, "<image_soft_token>"), boi_token_index=sign(tokens, "<start_of_image>"),
        eoi_token_index=sign(tokens, "<end_of_image>"),
    )  # fmt: skip
    images = t.Gemma3ImageProcessor(size={"height": 56, "width": 56})
    return config, t.Gemma3Processor(
        image_processor=images, tokenizer=tokens, image_seq_length=4, chat_template=shipped("gemma3")
    )


def gemma4() -> tuple[Any, Any]:
    """As its small ones are: embeddings for each layer, and the last layers share the keys of those before."""
    signs = ["<pad>", "<eos>", "<bos>", "<|turn>", "<turn|>", "<|channel>", "<channel|>", "<|think|>", "<|image>",
             "<image|>", "<|image|>", "<|audio>", "<audio|>", "<|audio|>", "<|video|>"]  # fmt: skip
    tokens = tokenizer(
        signs, bos="<bos>", bos_token="<bos>", eos_token="<eos>", pad_token="<pad>", image_token="<|image|>",
        boi_token="<|image>", eoi_token="<image|>", audio_token="<|audio|>", boa_token="<|audio>", eoa_token="<audio|>",
    )  # fmt: skip
    config = t.Gemma4Config(
        text_config={
            **TEXT, "vocab_size": len(tokens), "sliding_window": 16, "num_hidden_layers": 4, "global_head_dim": 16,
            "layer_types": ["sliding_attention", "full_attention"] * 2, "num_kv_shared_layers": 2,
            "vocab_size_per_layer_input": len(tokens), "hidden_size_per_layer_input": 8, "tie_word_embeddings": True,
            "use_bidirectional_attention": "vision",
        },
        vision_config={
            **TOWER, "num_key_value_heads": 2, "head_dim": 16, "patch_size": 16, "position_embedding_size": 64
        },
        audio_config=None, image_token_id=sign(tokens, "<|image|>"), video_token_id=sign(tokens, "<|video|>"),
        audio_token_id=sign(tokens, "<|audio|>"), boi_token_id=sign(tokens, "<|image>"),
        eoi_token_id=sign(tokens, "<image|>"), boa_token_id=sign(tokens, "<|audio>"),
        eoa_token_index=sign(tokens, "<audio|>"),
    )  # fmt: skip
    return config, t.Gemma4Processor(
        feature_extractor=t.Gemma4AudioFeatureExtractor(), image_processor=t.Gemma4ImageProcessor(max_soft_tokens=140),
        video_processor=t.Gemma4VideoProcessor(), tokenizer=tokens, image_seq_length=140,
        chat_template=shipped("gemma4"),
    )  # fmt: skip


def internvl() -> tuple[Any, Any]:
    signs = ["<|im_start|>", "<|im_end|>", "<|endoftext|>", "<img>", "</img>", "<IMG_CONTEXT>", "<video>"]
    tokens = tokenizer(
        signs, eos_token="<|im_end|>", pad_token="<|endoftext|>", start_image_token="<img>", end_image_token="</img>",
        context_image_token="<IMG_CONTEXT>", video_token="<video>",
    )  # fmt: skip
    size = {"height": 56, "width": 56}
    config = t.InternVLConfig(
        vision_config={**TOWER, "image_size": [56, 56], "patch_size": [14, 14]}, image_seq_length=4,
        text_config=t.Qwen2Config(**TEXT, vocab_size=len(tokens)), image_token_id=sign(tokens, "<IMG_CONTEXT>"),
        tie_word_embeddings=False,
    )  # fmt: skip
    return config, t.InternVLProcessor(
        image_processor=t.GotOcr2ImageProcessor(size=size, crop_to_patches=True, min_patches=1, max_patches=4),
        tokenizer=tokens, video_processor=t.InternVLVideoProcessor(size=size), image_seq_length=4,
        chat_template=CHATML.replace("IMAGE", "<IMG_CONTEXT>\n"),
    )  # fmt: skip


def idefics_tokens(bos: str) -> Any:
    signs = ["<pad>", bos, "</s>", "<image>", "<fake_token_around_image>", "<end_of_utterance>", "<global-img>",
             *(f"<row_{row}_col_{column}>" for row in range(1, 3) for column in range(1, 3))]  # fmt: skip
    return tokenizer(signs, bos=bos, bos_token=bos, eos_token="</s>", pad_token="<pad>")


def idefics2() -> tuple[Any, Any]:
    tokens = idefics_tokens("<s>")
    config = t.Idefics2Config(
        vision_config={**TOWER, "image_size": 56, "patch_size": 14}, image_token_id=sign(tokens, "<image>"),
        perceiver_config={
            "hidden_size": HIDDEN, "resampler_n_latents": 4, "resampler_depth": 1, "resampler_n_heads": 2,
            "resampler_head_dim": 16, "num_key_value_heads": 1,
        },
        text_config=t.MistralConfig(**TEXT, vocab_size=len(tokens), pad_token_id=sign(tokens, "<pad>")),
    )  # fmt: skip
    images = t.Idefics2ImageProcessor(size={"longest_edge": 56, "shortest_edge": 28}, do_image_splitting=False)
    return config, t.Idefics2Processor(
        image_processor=images, tokenizer=tokens, image_seq_len=4, chat_template=IDEFICS2
    )


def idefics3() -> tuple[Any, Any]:
    tokens = idefics_tokens("<|begin_of_text|>")
    config = t.Idefics3Config(
        vision_config={**TOWER, "image_size": 56, "patch_size": 14}, image_token_id=sign(tokens, "<image>"),
        text_config=t.LlamaConfig(**TEXT, vocab_size=len(tokens), pad_token_id=sign(tokens, "<pad>")), scale_factor=2,
    )  # fmt: skip
    images = t.Idefics3ImageProcessor(size={"longest_edge": 112}, max_image_size={"longest_edge": 56})
    return config, t.Idefics3Processor(
        image_processor=images, tokenizer=tokens, image_seq_len=4, chat_template=shipped("idefics3")
    )


def smolvlm() -> tuple[Any, Any]:
    tokens = idefics_tokens("<|im_start|>")
    config = t.SmolVLMConfig(
        vision_config={**TOWER, "image_size": 56, "patch_size": 14}, image_token_id=sign(tokens, "<image>"),
        text_config=t.LlamaConfig(**TEXT, vocab_size=len(tokens), pad_token_id=sign(tokens, "<pad>")), scale_factor=2,
    )  # fmt: skip
    edges = {"size": {"longest_edge": 112}, "max_image_size": {"longest_edge": 56}}
    videos = t.SmolVLMVideoProcessor(
        **edges, fps=1, num_frames=2, video_sampling={"fps": 1, "max_frames": 2, "video_size": {"longest_edge": 56}}
    )
    return config, t.SmolVLMProcessor(
        image_processor=t.SmolVLMImageProcessor(**edges), tokenizer=tokens, video_processor=videos, image_seq_len=4,
        chat_template=shipped("smolvlm"),
    )  # fmt: skip


def paligemma() -> tuple[Any, Any]:
    """No template at all: a picture, a prompt, an answer."""
    tokens = tokenizer(
        ["<pad>", "<eos>", "<bos>", "<image>"], bos_token="<bos>", eos_token="<eos>", pad_token="<pad>",
        image_token="<image>",
    )  # fmt: skip
    images = t.SiglipImageProcessor(size={"height": 56, "width": 56})
    images.image_seq_length = 16
    processor = t.PaliGemmaProcessor(image_processor=images, tokenizer=tokens)  # it adds signs of its own
    text = t.Gemma2Config(**{
        **TEXT, "vocab_size": len(tokens), "sliding_window": 16, "query_pre_attn_scalar": 16,
        "tie_word_embeddings": True,
    })  # fmt: skip
    return t.PaliGemmaConfig(
        vision_config=t.SiglipVisionConfig(**TOWER, image_size=56, patch_size=14, projection_dim=HIDDEN),
        text_config=text, projection_dim=HIDDEN, hidden_size=HIDDEN, image_token_index=sign(tokens, "<image>"),
    ), processor  # fmt: skip


def florence2() -> tuple[Any, Any]:
    """Reads with one half and writes with the other."""
    tokens = tokenizer(
        ["<s>", "<pad>", "</s>", "<image>"], bos_token="<s>", eos_token="</s>", pad_token="<pad>", image_token="<image>"
    )
    tokens.backend_tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", pair="<s> $A </s> </s> $B </s>", special_tokens=[("<s>", 0), ("</s>", 2)]
    )
    text = t.BartConfig(
        vocab_size=len(tokens), d_model=HIDDEN, encoder_layers=2, decoder_layers=2, encoder_attention_heads=HEADS,
        decoder_attention_heads=HEADS, encoder_ffn_dim=96, decoder_ffn_dim=96, max_position_embeddings=4096,
        init_std=0.1, dropout=0.0, bos_token_id=0, pad_token_id=1, eos_token_id=2, decoder_start_token_id=2,
        forced_eos_token_id=2,
    )  # fmt: skip
    config = t.Florence2Config(
        text_config=text, image_token_id=sign(tokens, "<image>"),
        vision_config={
            "depths": [1, 1, 1, 1], "embed_dim": [8, 16, 16, 32], "num_heads": [1, 1, 2, 2], "num_groups": [1, 1, 2, 2],
            "window_size": 4, "projection_dim": HIDDEN, "drop_path_rate": 0.0, "max_position_embeddings": 10,
        },
    )  # fmt: skip
    images = t.CLIPImageProcessor(size={"height": 64, "width": 64}, do_center_crop=False)
    images.image_seq_length = 5
    processor = t.Florence2Processor(image_processor=images, tokenizer=tokens, num_additional_image_tokens=1)
    return config, processor


FAMILIES: dict[str, Callable[[], tuple[Any, Any]]] = {
    made.__name__: made
    for made in (
        qwen2_vl, qwen2_5_vl, qwen3_vl, qwen3_5, llava, pixtral, llava_next, mistral3, gemma3, gemma4, internvl,
        idefics2, idefics3, smolvlm, paligemma, florence2,
    )
}  # fmt: skip


def build(name: str, folder: Path) -> Path:
    config, processor = FAMILIES[name]()
    torch.manual_seed(1)
    model = t.AutoModelForImageTextToText.from_config(config)
    with torch.no_grad():
        for weight in model.parameters():
            if weight.ndim > 1 and not weight.any():
                weight.normal_(std=0.1)  # begun at nothing, it would let nothing through
        if not config.tie_word_embeddings:
            model.lm_head.weight.mul_(4)  # answers that differ, so that a mix-up shows
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    return folder
