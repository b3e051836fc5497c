"""How large the language part of a checkpoint is, as its config.json says: what memory is reckoned from."""

from typing import NamedTuple


class Shape(NamedTuple):
    layers: int
    hidden: int
    inner: int  # of the feed-forward part
    keys: int  # width of keys and of values, which grouped attention keeps small
    vocabulary: int
    tied: bool = False  # one matrix for reading and for speaking


SHAPES = {
    "Qwen/Qwen2.5-VL-3B-Instruct": Shape(36, 2048, 11008, 256, 151936, tied=True),
    "Qwen/Qwen2.5-VL-7B-Instruct": Shape(28, 3584, 18944, 512, 152064),
    "Qwen/Qwen2.5-VL-72B-Instruct": Shape(80, 8192, 29568, 1024, 152064),
    "Qwen/Qwen2-VL-2B-Instruct": Shape(28, 1536, 8960, 256, 151936, tied=True),
    "Qwen/Qwen2-VL-7B-Instruct": Shape(28, 3584, 18944, 512, 152064),
    "Qwen/Qwen3-VL-2B-Instruct": Shape(28, 2048, 6144, 1024, 151936, tied=True),
    "Qwen/Qwen3-VL-4B-Instruct": Shape(36, 2560, 9728, 1024, 151936, tied=True),
    "Qwen/Qwen3-VL-8B-Instruct": Shape(36, 4096, 12288, 1024, 151936),
    "llava-hf/llava-1.5-7b-hf": Shape(32, 4096, 11008, 4096, 32064),
    "llava-hf/llava-1.5-13b-hf": Shape(40, 5120, 13824, 5120, 32064),
    "llava-hf/llava-v1.6-mistral-7b-hf": Shape(32, 4096, 14336, 1024, 32064),
    "mistral-community/pixtral-12b": Shape(40, 5120, 14336, 1024, 131072),
    "google/paligemma2-3b-pt-224": Shape(26, 2304, 9216, 1024, 257216, tied=True),
    "OpenGVLab/InternVL3-2B-hf": Shape(28, 1536, 8960, 256, 151674),
    "OpenGVLab/InternVL3-8B-hf": Shape(28, 3584, 18944, 512, 151674),
    "HuggingFaceM4/idefics2-8b": Shape(32, 4096, 14336, 1024, 32003),
    "HuggingFaceM4/Idefics3-8B-Llama3": Shape(32, 4096, 14336, 1024, 128259),
    "HuggingFaceTB/SmolVLM2-500M-Video-Instruct": Shape(32, 960, 2560, 320, 49280),
    "mistralai/Mistral-Small-3.1-24B-Instruct-2503": Shape(40, 5120, 32768, 1024, 131072),
    "google/gemma-3-4b-it": Shape(34, 2560, 10240, 1024, 262208, tied=True),
    "google/gemma-3-12b-it": Shape(48, 3840, 15360, 2048, 262208, tied=True),
}
