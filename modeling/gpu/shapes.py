"""How large the language part of a checkpoint is, as its config.json says: what memory is reckoned from."""

from typing import NamedTuple


class Matrices(NamedTuple):
    number: int
    wide: int
    tall: int


class Shape(NamedTuple):
    layers: int
    hidden: int
    inner: int  # of the feed-forward part; the widest where they differ
    keys: int  # width of keys and of values, which grouped attention keeps small
    vocabulary: int
    tied: bool = False  # one matrix for reading and for speaking
    queries: int = 0  # their width, where it is not the hidden one
    own: tuple[Matrices, ...] = ()  # where its layers are not all alike: all that are quantised and adapted
    further: int = 0  # weights that are looked up beside those of the words

    @property
    def matrices(self) -> tuple[Matrices, ...]:
        """Of all layers: attention, and a gated feed-forward part."""
        if self.own:
            return self.own
        queries = self.queries or self.hidden
        return (
            Matrices(2 * self.layers, self.hidden, queries), Matrices(2 * self.layers, self.hidden, self.keys),
            Matrices(3 * self.layers, self.hidden, self.inner),
        )  # fmt: skip

    @property
    def words(self) -> int:
        return self.vocabulary * self.hidden * (1 if self.tied else 2) + self.further


# Three of four layers keep a state in place of looking back at all tokens.
QWEN_3_5_9B = (
    Matrices(24, 4096, 8192), Matrices(48, 4096, 4096), Matrices(48, 4096, 32), Matrices(8, 4096, 8192),
    Matrices(8, 4096, 4096), Matrices(16, 4096, 1024), Matrices(96, 4096, 12288),
)  # fmt: skip
# Every fifth (E4B: sixth) layer looks back at all tokens and is wider for it; the last 20 (18) borrow keys and values,
# and are twice as wide inside (E4B: not); each layer has words of its own.
GEMMA_4_E2B = (
    Matrices(56, 1536, 2048), Matrices(24, 1536, 256), Matrices(14, 1536, 4096), Matrices(6, 1536, 512),
    Matrices(45, 1536, 6144), Matrices(60, 1536, 12288), Matrices(70, 1536, 256), Matrices(1, 1536, 35 * 256),
)  # fmt: skip
GEMMA_4_E4B = (
    Matrices(70, 2560, 2048), Matrices(40, 2560, 512), Matrices(14, 2560, 4096), Matrices(8, 2560, 1024),
    Matrices(126, 2560, 10240), Matrices(84, 2560, 256), Matrices(1, 2560, 42 * 256),
)  # fmt: skip
# An encoder and a decoder, which attends to both; two matrices in each feed-forward part.
FLORENCE_BASE = (Matrices(12 * 4 + 6 * 4, 768, 768), Matrices(12 * 2, 768, 3072))
FLORENCE_LARGE = (Matrices(24 * 4 + 12 * 4, 1024, 1024), Matrices(24 * 2, 1024, 4096))

SHAPES = {
    "Qwen/Qwen2.5-VL-3B-Instruct": Shape(36, 2048, 11008, 256, 151936, tied=True),
    "Qwen/Qwen2.5-VL-7B-Instruct": Shape(28, 3584, 18944, 512, 152064),
    "Qwen/Qwen2.5-VL-72B-Instruct": Shape(80, 8192, 29568, 1024, 152064),
    "Qwen/Qwen2-VL-2B-Instruct": Shape(28, 1536, 8960, 256, 151936, tied=True),
    "Qwen/Qwen2-VL-7B-Instruct": Shape(28, 3584, 18944, 512, 152064),
    "Qwen/Qwen3-VL-2B-Instruct": Shape(28, 2048, 6144, 1024, 151936, tied=True),
    "Qwen/Qwen3-VL-4B-Instruct": Shape(36, 2560, 9728, 1024, 151936, tied=True, queries=4096),
    "Qwen/Qwen3-VL-8B-Instruct": Shape(36, 4096, 12288, 1024, 151936),
    "Qwen/Qwen3.5-9B": Shape(32, 4096, 12288, 1024, 248320, own=QWEN_3_5_9B),
    "llava-hf/llava-1.5-7b-hf": Shape(32, 4096, 11008, 4096, 32064),
    "llava-hf/llava-1.5-13b-hf": Shape(40, 5120, 13824, 5120, 32064),
    "llava-hf/llava-v1.6-mistral-7b-hf": Shape(32, 4096, 14336, 1024, 32064),
    "mistral-community/pixtral-12b": Shape(40, 5120, 14336, 1024, 131072, queries=4096),
    "google/paligemma2-3b-pt-224": Shape(26, 2304, 9216, 1024, 257216, tied=True, queries=2048),
    "OpenGVLab/InternVL3-2B-hf": Shape(28, 1536, 8960, 256, 151674),
    "OpenGVLab/InternVL3-8B-hf": Shape(28, 3584, 18944, 512, 151674),
    "HuggingFaceM4/idefics2-8b": Shape(32, 4096, 14336, 1024, 32003),
    "HuggingFaceM4/Idefics3-8B-Llama3": Shape(32, 4096, 14336, 1024, 128259),
    "HuggingFaceTB/SmolVLM2-500M-Video-Instruct": Shape(32, 960, 2560, 320, 49280),
    "HuggingFaceTB/SmolVLM2-2.2B-Instruct": Shape(24, 2048, 8192, 2048, 49280),
    "mistralai/Mistral-Small-3.1-24B-Instruct-2503": Shape(40, 5120, 32768, 1024, 131072, queries=4096),
    "google/gemma-3-4b-it": Shape(34, 2560, 10240, 1024, 262208, tied=True, queries=2048),
    "google/gemma-3-12b-it": Shape(48, 3840, 15360, 2048, 262208, tied=True, queries=4096),
    "google/gemma-3-27b-it": Shape(62, 5376, 21504, 2048, 262208, tied=True, queries=4096),
    "google/gemma-4-E2B-it": Shape(35, 1536, 12288, 256, 262144, tied=True, own=GEMMA_4_E2B, further=262144 * 35 * 256),
    "google/gemma-4-E4B-it": Shape(42, 2560, 10240, 512, 262144, tied=True, own=GEMMA_4_E4B, further=262144 * 42 * 256),
    "florence-community/Florence-2-base": Shape(12, 768, 3072, 768, 51289, tied=True, own=FLORENCE_BASE),
    "florence-community/Florence-2-large": Shape(24, 1024, 4096, 1024, 51289, tied=True, own=FLORENCE_LARGE),
}
