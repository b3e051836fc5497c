"""How several processes share one model, as it turned out: each holds all of it (ddp), or a part (fsdp, zero3)."""

import os
import signal
import sys
from collections.abc import Iterator
from contextlib import nullcontext
from typing import Any

import torch
from accelerate import PartialState
from accelerate.utils import DistributedType
from torch.distributed.fsdp import FullyShardedDataParallel
from torch.distributed.fsdp._flat_param import FlatParamHandle
from torch.distributed.tensor import DTensor

from .many_cards import LAUNCHER

ON_CPU = not torch.cuda.is_available()
WRAPPED = "_fsdp_wrapped_module."  # what FSDP1 puts into names
LAYERS = "FSDP_TRANSFORMER_CLS_TO_WRAP"  # as accelerate and PEFT read it
PR_SET_PDEATHSIG = 1


class TooFewCards(Exception):
    """The words say how many there are."""


def kind() -> str:
    """As the launcher told it; blank where there is one process alone."""
    if int(os.environ.get("WORLD_SIZE", "1")) < 2:
        return ""
    if os.environ.get("ACCELERATE_USE_DEEPSPEED") == "true":
        return "zero3"
    return "fsdp" if os.environ.get("ACCELERATE_USE_FSDP") == "true" else "ddp"


def is_cut_up() -> bool:
    """Then no process can go through the model without the others."""
    return kind() in ("fsdp", "zero3")


def together() -> PartialState:
    """All processes of this run: over gloo where there is no card."""
    if ON_CPU and kind() == "zero3":
        return PartialState(backend="gloo")
    state = PartialState(cpu=ON_CPU)
    if ON_CPU and kind() == "fsdp":
        share_on_cpu(state)
    return state


def share_on_cpu(state: PartialState) -> None:
    """Where there is no card accelerate passes FSDP over without a word. And FSDP1, which brings a weight to the CPU
    and then frees it where it was, would free it altogether."""
    state.distributed_type, state.device = DistributedType.MULTI_GPU, torch.device("cpu")
    FlatParamHandle.to_cpu = lambda _: nullcontext()


def uses_cpu() -> bool:
    """As accelerate is to be told: DeepSpeed, which finds out itself, it would leave out where this is true."""
    return ON_CPU and kind() != "zero3"


def check_cards() -> None:
    asked, found = int(os.environ.get("LOCAL_WORLD_SIZE", "1")), torch.cuda.device_count()
    if found and asked > found:
        raise TooFewCards(f"This run is to use {asked} cards, and this machine has {found}. Start one with {found}.")


def die_with_launcher() -> None:
    """Killed outright, a launcher cannot end its trainers, and they would keep their cards: the kernel does."""
    launcher = os.environ.get(LAUNCHER)
    if not launcher or not kind() or sys.platform != "linux":
        return
    import ctypes

    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != int(launcher):  # it was gone before it could be followed
        os._exit(1)


def name_layers(model: Any) -> None:
    """What FSDP cuts up by itself. Told nothing it takes a model's own list, and fails where that names a layer which
    this one does not have."""
    if kind() == "fsdp":
        own = {type(module).__name__ for module in model.modules()} & set(model._no_split_modules or ())
        os.environ[LAYERS] = ",".join(sorted(name for name in own if name.endswith(("Layer", "Block"))))


# --- Weights, of which a process may hold a part


def named(model: Any) -> Iterator[tuple[str, Any]]:
    return ((name.replace(WRAPPED, ""), weight) for name, weight in model.named_parameters())


def size_of(weight: Any) -> int:
    """Of all its parts. In each byte of a quantised one lie two."""
    if type(weight).__name__ == "Params4bit":
        return int(weight.numel() * weight.element_size() * 2)
    return int(getattr(weight, "ds_numel", weight.numel()))


def own_part(weight: Any) -> torch.Tensor:
    if isinstance(weight, DTensor):
        return weight.to_local()
    if hasattr(weight, "ds_tensor"):  # DeepSpeed's last part may be longer than what is left
        part = weight.ds_tensor
        return part[: max(0, weight.ds_numel - together().process_index * part.numel())]
    return weight


def prints(model: Any, names: set[str]) -> dict[str, int]:
    """A number for each weight that changes when it does, whoever holds which part of it and however exactly: the sum
    of its bits. All processes ask for the same at once."""
    own, cut = {}, []
    for raw, weight in model.named_parameters():
        if (name := raw.replace(WRAPPED, "")) in names:
            own[name] = bits(own_part(weight.detach()))
            cut.append(WRAPPED in raw or isinstance(weight, DTensor) or hasattr(weight, "ds_tensor"))
    if any(cut):
        parts = torch.tensor(list(own.values()), device=together().device)
        torch.distributed.all_reduce(parts)
        own = {name: whole if is_cut else own[name]
               for (name, whole), is_cut in zip(zip(own, parts.tolist(), strict=True), cut, strict=True)}  # fmt: skip
    return own


def bits(weight: torch.Tensor) -> int:
    return int(weight.float().contiguous().view(torch.int32).sum(dtype=torch.int64))


# --- FSDP1, whose names PEFT does not know: it would save an adapter with nothing in it, and load as little


def is_wrapped(model: Any) -> bool:
    return isinstance(model, FullyShardedDataParallel)


def gathered(model: Any) -> dict[str, torch.Tensor]:
    """What was trained, whole, as PEFT names it in a file. All processes at once."""
    found: dict[str, torch.Tensor] = {}
    for prefix, unit in units(model):
        with FullyShardedDataParallel.summon_full_params(unit, recurse=False, writeback=False):
            found |= {in_file(f"{prefix}.{name}"): weight.detach().cpu().clone() for name, weight in trained(unit)}
    return found


def filled(model: Any, found: dict[str, torch.Tensor]) -> None:
    for prefix, unit in units(model):
        with FullyShardedDataParallel.summon_full_params(unit, recurse=False), torch.no_grad():
            for name, weight in trained(unit):
                weight.copy_(found[in_file(f"{prefix}.{name}")])


def units(model: Any) -> Iterator[tuple[str, Any]]:
    model.check_is_root()  # which makes it so: a unit that is asked first takes itself for the root
    return ((name, module) for name, module in model.named_modules() if is_wrapped(module) and any(trained(module)))


def trained(unit: Any) -> list[tuple[str, Any]]:
    """Of this unit itself, and not of units in it."""
    own = ((name.removeprefix(WRAPPED), weight) for name, weight in unit.named_parameters() if weight.requires_grad)
    return [(name, weight) for name, weight in own if WRAPPED not in name]


def in_file(name: str) -> str:
    return name.replace(WRAPPED, "").lstrip(".").replace(".modules_to_save.default.", ".").replace(".default.", ".")
