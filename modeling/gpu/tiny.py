"""A vision-language model small enough for a CPU, with the shape of the real ones and none of their knowledge.

It is there so that anyone can walk the whole loop without a card. What it learns, it learns from the dataset alone.
"""

from pathlib import Path
from typing import Any

NAME = "tiny"
SIDE = 112  # pixels: an 8 x 8 grid of patches, merged to 4 x 4 tokens
SIGNS = ["<|im_start|>", "<|im_end|>", "<|endoftext|>", "<|vision_start|>", "<|vision_end|>", "<|vision_pad|>",
         "<|image_pad|>", "<|video_pad|>"]  # fmt: skip


def build(folder: Path, words: list[str], seed: int = 0) -> Path:
    """`words` are what its tokenizer learns to read: the dataset's own texts."""
    from . import cpu_build

    cpu_build.prepare()
    import torch
    from transformers import Qwen2_5_VLConfig, Qwen2_5_VLForConditionalGeneration

    torch.manual_seed(seed)
    tokenizer = tokenizer_of(words)
    ids = {sign: tokenizer.convert_tokens_to_ids(sign) for sign in SIGNS}
    config = Qwen2_5_VLConfig(
        text_config={
            "vocab_size": len(tokenizer), "hidden_size": 128, "intermediate_size": 256, "num_hidden_layers": 2,
            "num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 4096,
            "rope_scaling": {"type": "mrope", "mrope_section": [4, 6, 6]}, "tie_word_embeddings": False,
            "bos_token_id": ids["<|endoftext|>"], "eos_token_id": ids["<|im_end|>"], "initializer_range": 0.1,
        },
        vision_config={
            "depth": 2, "hidden_size": 64, "intermediate_size": 128, "num_heads": 4, "patch_size": 14,
            "out_hidden_size": 128, "spatial_merge_size": 2, "temporal_patch_size": 2, "window_size": 112,
            "fullatt_block_indexes": [1], "initializer_range": 0.1,
        },
        image_token_id=ids["<|image_pad|>"], video_token_id=ids["<|video_pad|>"],
        vision_start_token_id=ids["<|vision_start|>"], vision_end_token_id=ids["<|vision_end|>"],
        tie_word_embeddings=False, initializer_range=0.1,
    )  # fmt: skip
    model = Qwen2_5_VLForConditionalGeneration(config)
    with torch.no_grad():
        model.lm_head.weight.mul_(4)  # else a frozen head keeps all answers nearly as likely as each other
    folder.mkdir(parents=True, exist_ok=True)
    model.save_pretrained(folder)
    processor_of(tokenizer).save_pretrained(folder)
    return folder


def tokenizer_of(words: list[str]) -> Any:
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=2000, special_tokens=SIGNS, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False
    )
    tokenizer.train_from_iterator(words, trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, eos_token="<|im_end|>", pad_token="<|endoftext|>",  # noqa: S106 - signs, no secrets
        additional_special_tokens=SIGNS,
    )  # fmt: skip


def processor_of(tokenizer: Any) -> Any:
    from transformers import Qwen2_5_VLProcessor, Qwen2VLImageProcessor, Qwen2VLVideoProcessor

    template = (Path(__file__).parent / "tiny.jinja").read_text(encoding="utf-8")
    pixels = {"min_pixels": SIDE * SIDE, "max_pixels": SIDE * SIDE}
    return Qwen2_5_VLProcessor(
        image_processor=Qwen2VLImageProcessor(**pixels), tokenizer=tokenizer,
        video_processor=Qwen2VLVideoProcessor(**pixels), chat_template=template,
    )  # fmt: skip
