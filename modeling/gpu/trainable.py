"""What may be trained on a base model, and nothing else; and whether all of that moved."""

import re
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open

from . import sharing, spectrum
from .config import Config
from .families import Family
from .load import CannotLoad, Loaded


class NeverMoved(Exception):
    """Something that was to be trained stayed as it was; the words name it."""


class NotSaved(Exception):
    """It was trained, and the file lacks it."""


def make_trainable(loaded: Loaded, config: Config) -> Any:
    loaded.model.config.use_cache = False
    if config.method in ("qlora", "lora"):
        return with_adapters(loaded.model, loaded.family, config)
    wanted = chosen(loaded.model, loaded.family, config)
    for name, parameter in loaded.model.named_parameters():
        parameter.requires_grad_(name in wanted)
    return loaded.model


def chosen(model: Any, family: Family, config: Config) -> set[str]:
    """The weights themselves: all of the language model, or its matrices with the most signal."""
    language = [
        (name, weight) for name, weight in model.named_parameters() if not re.fullmatch(family.not_language, name)
    ]
    if config.method == "spectrum":
        matrices = [(name, weight) for name, weight in language if weight.ndim == 2 and is_inner(name)]
        wanted = set(spectrum.chosen(matrices, config.spectrum_share))
    else:
        wanted = {name for name, _ in language}
    if config.projector == "train":
        wanted |= {name for name, _ in model.named_parameters() if re.fullmatch(family.between, name)}
    return wanted


def is_inner(name: str) -> bool:
    return "embed" not in name and "lm_head" not in name and ".shared." not in name


def with_adapters(model: Any, family: Family, config: Config) -> Any:
    """Without PEFT's preparation for quantised models: it keeps what is not quantised in twice the memory."""
    from peft import LoraConfig, get_peft_model

    forbidden = family.seeing if config.projector == "lora" else family.not_language
    check_targets(model, config.targets, forbidden)
    model = get_peft_model(model, LoraConfig(
        r=config.rank, lora_alpha=config.alpha, lora_dropout=config.dropout, target_modules=config.targets,
        exclude_modules=forbidden,
        modules_to_save=projector_of(model, family) if config.projector == "train" else None,
        task_type="SEQ_2_SEQ_LM" if family.encoding == "florence" else "CAUSAL_LM",
    ))  # fmt: skip
    check_adapters(model, forbidden)
    return model


def projector_of(model: Any, family: Family) -> list[str]:
    """Its topmost modules by name: a list of modules cannot be kept as one."""
    found: list[str] = []
    for name, module in model.named_modules():
        is_list = isinstance(module, torch.nn.ModuleList)
        if re.fullmatch(family.between, name) and not is_list and not any(name.startswith(f"{top}.") for top in found):
            found.append(name)
    return found


def check_targets(model: Any, targets: str, forbidden: str) -> None:
    """Beforehand: what is named but excluded would be left out without a word."""
    if targets == "all-linear":
        return
    try:
        named = [name for name, module in model.named_modules()
                 if isinstance(module, torch.nn.Linear) and re.fullmatch(targets, name)]  # fmt: skip
    except re.error as error:
        raise CannotLoad(f"The targets are no regular expression: {error}.") from error
    refuse([name for name in named if re.fullmatch(forbidden, name)], bool(named))


def check_adapters(model: Any, forbidden: str) -> None:
    adapted = [module_of(name) for name, _ in model.named_parameters() if "lora_" in name]
    refuse([name for name in adapted if re.fullmatch(forbidden, name)], bool(adapted))


def refuse(seeing: list[str], any_at_all: bool) -> None:
    if seeing or not any_at_all:
        what = f"the vision module {seeing[0]} would get an adapter" if seeing else "no module would get an adapter"
        raise CannotLoad(f"With these targets {what}. Leave the targets at all-linear, or name language modules.")


def module_of(parameter: str) -> str:
    return parameter.removeprefix("base_model.model.").partition(".lora_")[0]


# --- Whether it moved


def fingerprints(model: Any) -> dict[str, int]:
    """Of each matrix that is to be trained, before it is. A lora_A may rest where its lora_B did not move yet."""
    return sharing.prints(model, {
        name for name, weight in sharing.named(model)
        if weight.requires_grad and weight.ndim > 1 and "lora_A" not in name
    })  # fmt: skip


def check_moved(model: Any, before: dict[str, int]) -> None:
    now = sharing.prints(model, set(before))
    still = [name for name, was in before.items() if now[name] == was]
    if still:
        raise NeverMoved(
            f"{len(still)} of {len(before)} trained matrices never moved, {still[0]} among them: it learns less than "
            "it seems to. Train for more steps, choose other targets, or report this model."
        )


def check_saved(folder: Path, trained: int) -> None:
    """Libraries that do not know each other's names save nothing, without a word."""
    saved = 0
    for path in folder.glob("*.safetensors"):
        with safe_open(path, "pt") as file:
            saved += len(file.keys())
    if saved < trained:
        raise NotSaved(f"{trained} weights were trained and only {saved} were saved. Report this model.")
