"""A base model and its processor, quantised where asked; or what was made of it, ready to be asked."""

import importlib.util
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
import transformers
from transformers import AutoProcessor, BitsAndBytesConfig, PretrainedConfig

from . import families, kernels, pixels, sharing, tiny
from .config import Config
from .families import Family

ADAPTER = "adapter"


class CannotLoad(Exception):
    """The words say what is wrong with the base model and what to change."""


@dataclass
class Loaded:
    model: Any
    processor: Any
    family: Family
    base: str  # the folder or the hub's name it was loaded from
    used: dict[str, Any] = field(default_factory=dict)  # for the receipt: what of this machine it uses


def load(config: Config, folder: Path, bits: int | None = None) -> Loaded:
    """`bits` a weight where it is to be asked and not trained: 4, 8 or 16; else as the method has it."""
    base = str(folder / "base") if config.model == tiny.NAME else config.model
    return load_from(base, config, bits)


def load_adapter(config: Config, folder: Path, adapter: Path | None = None, bits: int | None = None) -> Loaded:
    """What a run made, ready to be asked: its adapter upon a fresh base, or the whole model where it changed that."""
    adapter = adapter or folder / ADAPTER
    if config.method not in ("qlora", "lora"):
        loaded = load_from(str(adapter), config, bits)
    else:
        from peft import PeftModel

        check_adapter(adapter)
        loaded = load(config, folder, bits)
        try:
            loaded.model = PeftModel.from_pretrained(loaded.model, adapter)
        except (OSError, ValueError) as error:
            raise CannotLoad(
                f"The folder {adapter} holds no adapter that could be loaded: {first_line(error)}"
            ) from error
    loaded.model.eval()
    return loaded


def check_adapter(adapter: Path) -> None:
    """PEFT would take a pickle where there is nothing better, and a pickle runs what it likes."""
    if not any(adapter.glob("*.safetensors")):
        raise CannotLoad(f"The folder {adapter} holds no adapter in safetensors.")


def load_from(base: str, config: Config, bits: int | None = None) -> Loaded:
    common = {
        "trust_remote_code": config.trust_remote_code,
        **({"revision": config.revision} if config.revision else {}),
    }
    try:
        described = PretrainedConfig.get_config_dict(base, **common)[0]
        family = families.of(described)
        check_consent(family, config)
        processor = AutoProcessor.from_pretrained(base, **common)
        kept = "quantization_config" in described  # it was quantised before it was saved, and is loaded as it is
        wanted = 16 if kept else bits or (4 if config.method == "qlora" else 16)
        model, used = load_model(wanted, family, base, common)
    except families.Unknown as error:
        raise CannotLoad(str(error)) from error
    except OSError as error:
        raise CannotLoad(why_not(base, error)) from error
    pixels.limit(processor, model, family.pixels, config)
    if processor.tokenizer.pad_token is None:
        processor.tokenizer.pad_token = processor.tokenizer.eos_token
    return Loaded(model, processor, family, base, used)


def check_consent(family: Family, config: Config) -> None:
    if family.remote_code and not config.trust_remote_code:
        raise CannotLoad(
            f"{family.title} is not part of transformers: loading it runs program code that lies beside its weights, "
            "and may do all that you may on this machine. Read that code first; if you trust it, allow remote code for "
            "this run."
        )


def why_not(base: str, error: OSError) -> str:
    if Path(base).is_absolute() and not Path(base).exists():
        return f"There is no folder {base} on this machine."
    if isinstance(error, FileNotFoundError) or Path(base).is_absolute():
        return f"The folder {base} holds no model that could be loaded: {first_line(error)}"
    if "gated" in str(error) or "401" in str(error) or "403" in str(error):
        return f"The hub does not give {base} to this machine: accept its licence there, and set HF_TOKEN."
    return (
        f"{base} could not be loaded. Either there is no such model, or this machine does not reach the hub: "
        "download it elsewhere and give its folder."
    )


def first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0][:300] if str(error).strip() else type(error).__name__


def load_model(bits: int, family: Family, base: str, common: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
    on_card = torch.cuda.is_available()
    dtype = torch.bfloat16 if on_card else torch.float32
    quantised = quantisation(bits, family, dtype)
    model = getattr(transformers, family.loader).from_pretrained(
        base, dtype=dtype, use_safetensors=True, **attention(family, on_card),
        **({"device_map": {"": torch.cuda.current_device()}} if on_card else {}), **quantised, **common,
    )  # fmt: skip
    if quantised:
        check_quantised(model, family)
    kind = quantised_as(model)
    if kind and not quantised:
        in_one_kind(model, dtype)
    if kind and not on_card:
        keep_differentiable(model)
    used = {"device": torch.cuda.get_device_name() if on_card else "CPU", "dtype": str(dtype).removeprefix("torch."),
            "attention": attention_of(model), "quantised": kind, "kernels": kernels.use(model)}  # fmt: skip
    return model, used


def quantisation(bits: int, family: Family, dtype: torch.dtype) -> dict[str, BitsAndBytesConfig]:
    """Of the language model alone: what sees stays as it is."""
    if bits == 16:
        return {}
    spared = [*(f"model.{name}" for name in (*family.vision, *family.projector)), "lm_head"]
    how = {
        4: {"load_in_4bit": True, "bnb_4bit_quant_type": "nf4", "bnb_4bit_use_double_quant": True,
            "bnb_4bit_compute_dtype": dtype, **packed(dtype)},
        8: {"load_in_8bit": True},
    }[bits]  # fmt: skip
    return {"quantization_config": BitsAndBytesConfig(llm_int8_skip_modules=spared, **how)}


def packed(dtype: torch.dtype) -> dict[str, torch.dtype]:
    """Into numbers of the other weights' kind: what is cut up among cards is of one kind, and never integers."""
    return {"bnb_4bit_quant_storage": dtype} if sharing.is_cut_up() else {}


def quantised_as(model: Any) -> str:
    """Also of a checkpoint that was quantised before it came here."""
    told = getattr(model.config, "quantization_config", None)
    method = getattr(told, "quant_method", "") if told is not None else ""
    if getattr(told, "load_in_4bit", False):
        return "NF4, twice"
    return "8 bits" if getattr(told, "load_in_8bit", False) else str(getattr(method, "value", method))


def attention(family: Family, on_card: bool) -> dict[str, str]:
    """Flash attention where there is one and the whole model can use it; else the fastest that each part knows."""
    flash = on_card and importlib.util.find_spec("flash_attn") and family.flash
    return {"attn_implementation": "flash_attention_2"} if flash else {}


def attention_of(model: Any) -> str:
    parts = [model.config, *(getattr(model.config, name) for name in getattr(model.config, "sub_configs", {}))]
    kinds = {str(part._attn_implementation) for part in parts if getattr(part, "_attn_implementation", None)}
    return ", ".join(sorted(kinds))


def in_one_kind(model: Any, dtype: torch.dtype) -> None:
    """Of a checkpoint that was quantised before, the other weights come as they were saved, and biases as was asked."""
    for weight in model.parameters():
        if weight.is_floating_point():
            weight.data = weight.data.to(dtype)


def keep_differentiable(model: Any) -> None:
    """On CPUs with AVX512-BF16 an evaluation would repack the weights for an operator that has no gradient."""
    from bitsandbytes.nn import Linear4bit

    for module in model.modules():
        if isinstance(module, Linear4bit):
            module.support_avx512bf16_for_cpu = False


def check_quantised(model: Any, family: Family) -> None:
    from bitsandbytes.nn import Linear4bit, Linear8bitLt

    names = [name for name, module in model.named_modules() if isinstance(module, Linear4bit | Linear8bitLt)]
    sees = [name for name in names if re.fullmatch(family.not_language, name)]
    if sees or not names:
        raise CannotLoad(f"Quantising went wrong: {sees[0] if sees else 'no module'} was quantised; report this model.")
