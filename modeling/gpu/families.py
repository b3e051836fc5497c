"""One table of what differs between base models. Nothing else asks for a model's name.

Kept here and not a floor higher, because a rented machine has this folder alone. It needs no torch.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

# How large pictures are held: pixels (a budget), edge (the longest one), grid (shapes to choose from), tiles (how many
# of them), tokens (so many), cost (fewer pixels, but as many tokens), fixed (one size for all: nothing to limit).
Pixels = Literal["pixels", "edge", "grid", "tiles", "tokens", "cost", "fixed"]
Encoding = Literal["chat", "paligemma", "florence"]


@dataclass(frozen=True)
class Size:
    hub: str
    billions: float  # parameters, all of them: counted in a model of its configuration, or its maker's figure
    vision: float  # of these in the vision tower and the projector


@dataclass(frozen=True)
class Family:
    key: str
    title: str
    model_type: str  # as its config.json calls itself
    vision: tuple[str, ...]  # modules that see (or hear), which are never quantised and never adapted
    projector: tuple[str, ...]  # modules between seeing and speaking
    sizes: tuple[Size, ...]
    tower: str = ""  # what sees, where two families share a model type
    encoding: Encoding = "chat"  # how a post becomes a batch
    pixels: Pixels = "fixed"
    needs_picture: bool = False  # a post without one is shown a blank one
    flash: bool = True  # False where parts of a sequence see ahead, which flash attention would drop without a word
    remote_code: bool = False
    loader: str = "AutoModelForImageTextToText"
    placeholder: str = ""  # where turns are plain text: what stands in it for the picture
    ran: str = ""  # what of it was run here, and what was not

    @property
    def not_language(self) -> str:
        """A full match of module names: PEFT and bitsandbytes both pass over a plain list of parts, without a word."""
        return match_of(*self.vision, *self.projector)

    @property
    def seeing(self) -> str:
        """What sees, without the projector, which may lie inside it."""
        return rf"(?!{match_of(*self.projector)}$){match_of(*self.vision)}"

    @property
    def between(self) -> str:
        return match_of(*self.projector)


def match_of(*parts: str) -> str:
    return rf"(?:.*\.)?(?:{'|'.join(map(re.escape, parts))})(?:\..*)?"


RAN = "Trained, saved, loaded and asked as a tiny random model on a CPU; no real checkpoint."
TOWER, LLAVA = ("vision_tower",), ("multi_modal_projector",)
MERGER, CONNECTOR = ("visual.merger",), ("connector",)
DEEP = ("visual.merger", "visual.deepstack_merger_list")

FAMILIES = (
    Family("qwen2_5_vl", "Qwen2.5-VL", "qwen2_5_vl", ("visual",), MERGER, (
        Size("Qwen/Qwen2.5-VL-7B-Instruct", 8.29, 0.68), Size("Qwen/Qwen2.5-VL-3B-Instruct", 3.75, 0.67),
        Size("Qwen/Qwen2.5-VL-72B-Instruct", 73.4, 0.7),
    ), pixels="pixels", ran=RAN),
    Family("qwen2_vl", "Qwen2-VL", "qwen2_vl", ("visual",), MERGER, (
        Size("Qwen/Qwen2-VL-2B-Instruct", 2.21, 0.67), Size("Qwen/Qwen2-VL-7B-Instruct", 8.29, 0.68),
    ), pixels="pixels", ran=RAN),
    Family("qwen3_vl", "Qwen3-VL", "qwen3_vl", ("visual",), DEEP, (
        Size("Qwen/Qwen3-VL-2B-Instruct", 2.13, 0.41), Size("Qwen/Qwen3-VL-4B-Instruct", 4.44, 0.42),
        Size("Qwen/Qwen3-VL-8B-Instruct", 8.77, 0.58),
    ), pixels="pixels", ran=RAN),
    Family("qwen3_5", "Qwen3.5", "qwen3_5", ("visual",), MERGER, (Size("Qwen/Qwen3.5-9B", 9.41, 0.46),),
           pixels="pixels", ran=RAN),
    Family("llava", "LLaVA-1.5", "llava", TOWER, LLAVA, (
        Size("llava-hf/llava-1.5-7b-hf", 7.06, 0.32), Size("llava-hf/llava-1.5-13b-hf", 13.4, 0.34),
    ), ran=RAN),
    Family("llava_next", "LLaVA-NeXT", "llava_next", TOWER, LLAVA, (
        Size("llava-hf/llava-v1.6-mistral-7b-hf", 7.57, 0.32),
    ), pixels="grid", ran=RAN),
    Family("pixtral", "Pixtral", "llava", TOWER, LLAVA, (Size("mistral-community/pixtral-12b", 12.7, 0.44),),
           tower="pixtral", pixels="edge", ran=RAN),
    Family("mistral3", "Mistral Small 3.1", "mistral3", TOWER, LLAVA, (
        Size("mistralai/Mistral-Small-3.1-24B-Instruct-2503", 24.0, 0.44),
    ), pixels="edge", ran=RAN),
    Family("paligemma", "PaliGemma 2", "paligemma", TOWER, LLAVA, (Size("google/paligemma2-3b-pt-224", 3.03, 0.42),),
           encoding="paligemma", needs_picture=True, flash=False, ran=RAN),
    Family("gemma3", "Gemma 3", "gemma3", TOWER, LLAVA, (
        Size("google/gemma-3-4b-it", 4.3, 0.42), Size("google/gemma-3-12b-it", 12.2, 0.42),
        Size("google/gemma-3-27b-it", 27.4, 0.42),
    ), flash=False, ran=RAN),
    Family("gemma4", "Gemma 4", "gemma4", ("vision_tower", "audio_tower", "embed_audio"), ("embed_vision",), (
        Size("google/gemma-4-E2B-it", 5.1, 0.48), Size("google/gemma-4-E4B-it", 7.94, 0.48),
    ), pixels="tokens", flash=False, ran=RAN),
    Family("internvl", "InternVL", "internvl", TOWER, LLAVA, (
        Size("OpenGVLab/InternVL3-2B-hf", 2.09, 0.31), Size("OpenGVLab/InternVL3-8B-hf", 7.94, 0.33),
    ), pixels="tiles", ran=RAN),
    Family("idefics2", "Idefics2", "idefics2", ("vision_model",), CONNECTOR, (
        Size("HuggingFaceM4/idefics2-8b", 8.4, 1.16),
    ), pixels="cost", ran=RAN),
    Family("idefics3", "Idefics3", "idefics3", ("vision_model",), CONNECTOR, (
        Size("HuggingFaceM4/Idefics3-8B-Llama3", 8.46, 0.43),
    ), pixels="edge", ran=RAN),
    Family("smolvlm", "SmolVLM", "smolvlm", ("vision_model",), CONNECTOR, (
        Size("HuggingFaceTB/SmolVLM2-500M-Video-Instruct", 0.51, 0.1),
        Size("HuggingFaceTB/SmolVLM2-2.2B-Instruct", 2.25, 0.43),
    ), pixels="edge", ran=RAN),
    Family("florence2", "Florence-2", "florence2", TOWER, LLAVA, (
        Size("florence-community/Florence-2-base", 0.23, 0.09), Size("florence-community/Florence-2-large", 0.77, 0.36),
    ), encoding="florence", needs_picture=True, ran=RAN),
    Family("phi3_v", "Phi-3.5-vision", "phi3_v", ("vision_embed_tokens",), ("vision_embed_tokens.img_projection",), (
        Size("microsoft/Phi-3.5-vision-instruct", 4.15, 0.33),
    ), remote_code=True, loader="AutoModelForCausalLM", placeholder="<|image_1|>\n",
       ran="Never run: its code lies beside its weights, which no machine of ours could reach. Only that it is refused "
           "without consent was tested. Written for an older transformers, it may not load."),
)  # fmt: skip

DEFAULT = FAMILIES[0].sizes[0].hub
BY_TYPE = {(family.model_type, family.tower): family for family in FAMILIES}


class Unknown(Exception):
    """This model is none that we know how to train; the words are for whoever chose it."""


def of(described: Mapping[str, Any]) -> Family:
    """By what its config.json says."""
    model_type = str(described.get("model_type", ""))
    tower = str((described.get("vision_config") or {}).get("model_type", ""))
    family = BY_TYPE.get((model_type, tower)) or BY_TYPE.get((model_type, ""))
    if family is None:
        known = ", ".join(family.title for family in FAMILIES)
        raise Unknown(f"A model of the type “{model_type}” is not one we know how to train. There are {known}.")
    return family
