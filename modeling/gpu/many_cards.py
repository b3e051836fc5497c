"""Several cards of one machine on one run: `python -m modeling.gpu.many_cards RUN_DIR` starts as many trainers as the
run asks for, or as CARDS says; for one card it becomes the trainer itself. It needs no torch.

How they share the model:
- ddp: each card holds all of it.
- fsdp: each holds a part. FSDP2 for LoRA, Spectrum and full training; FSDP1 for QLoRA, because the packed 4-bit weights
  do not survive FSDP2.
- zero3: each holds a part, by DeepSpeed, which is not installed with ours. Not for Spectrum, which weighs whole
  matrices.
All of them ran with two processes on a CPU, over gloo, on tiny models, to the same weights as one process comes to.
None of them ever ran on several cards.
"""

import importlib.util
import json
import os
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from .config import Config
from .progress import Progress

FILE = "accelerate.json"
ZERO3 = "zero3.json"
TRAINER = "modeling.gpu.train"
CARDS = "CARDS"  # in the environment: more or fewer than the run asks for
LAUNCHER = "CASTING_VOTE_LAUNCHER"  # there too: whom a trainer must not outlive
KINDS = {"ddp": "MULTI_GPU", "fsdp": "FSDP", "zero3": "DEEPSPEED"}
NO_DEEPSPEED = "ZeRO-3 needs deepspeed: pip install deepspeed. Or let the cards share the model by FSDP."


def main(folder: Path) -> None:
    try:
        config = on_cards(Config.read(folder), os.environ)
    except ValueError as error:
        end(folder, str(error))
    if problem := missing(config):
        end(folder, problem)
    for path, made in files(config, folder).items():
        path.write_text(json.dumps(made, indent=1) + "\n", encoding="utf-8")
    asked = command(config, folder, sys.executable)
    os.execve(asked[0], asked, {**os.environ, LAUNCHER: str(os.getpid())})  # noqa: S606 - ourselves, by no shell


def end(folder: Path, why: str) -> None:
    Progress(folder).write("failed", error=why)
    raise SystemExit(why)


def on_cards(config: Config, environment: Mapping[str, str]) -> Config:
    given = environment.get(CARDS, "")
    if not given:
        return config
    if not given.isdecimal():
        raise ValueError(f"{CARDS} is a whole number, and not “{given}”.")
    return replace(config, cards=int(given))


def missing(config: Config) -> str:
    needed = config.cards > 1 and config.sharing == "zero3"
    return NO_DEEPSPEED if needed and importlib.util.find_spec("deepspeed") is None else ""


def command(config: Config, folder: Path, python: str) -> list[str]:
    """What starts the run."""
    if config.cards == 1:
        return [python, "-m", TRAINER, str(folder)]
    launch = [python, "-m", "accelerate.commands.launch", "--config_file", str(folder / FILE)]
    return [*launch, "-m", TRAINER, str(folder)]


def files(config: Config, folder: Path) -> dict[Path, dict[str, Any]]:
    """What accelerate reads, and DeepSpeed where it takes part."""
    if config.cards == 1:
        return {}
    made = {folder / FILE: for_accelerate(config, folder)}
    return made | {folder / ZERO3: for_deepspeed(config)} if config.sharing == "zero3" else made


def for_accelerate(config: Config, folder: Path) -> dict[str, Any]:
    """Precision stays with the trainer, which knows the card."""
    shared = {
        "ddp": {},
        "fsdp": {"fsdp_config": for_fsdp(config)},
        "zero3": {"deepspeed_config": {"deepspeed_config_file": str((folder / ZERO3).resolve()),
                                       "zero3_init_flag": True}},
    }  # fmt: skip
    return {
        "compute_environment": "LOCAL_MACHINE", "distributed_type": KINDS[config.sharing], "debug": False,
        "num_machines": 1, "machine_rank": 0, "num_processes": config.cards, "gpu_ids": "all",
        "main_process_port": 0,  # any that is free: two runs may be at work on one machine
        "main_training_function": "main", "downcast_bf16": "no", "rdzv_backend": "static", "same_network": True,
        "use_cpu": False, **shared[config.sharing], **({"mixed_precision": "no"} if config.sharing != "zero3" else {}),
    }  # fmt: skip


def for_fsdp(config: Config) -> dict[str, Any]:
    """Each decoder layer is cut up by itself. Every process reads the whole base model first: Spectrum weighs it, and
    what moved is seen by what was."""
    common = {
        "fsdp_auto_wrap_policy": "TRANSFORMER_BASED_WRAP", "fsdp_state_dict_type": "FULL_STATE_DICT",
        "fsdp_offload_params": False, "fsdp_cpu_ram_efficient_loading": False, "fsdp_activation_checkpointing": False,
    }  # fmt: skip
    if config.method == "qlora":
        return common | {
            "fsdp_version": 1, "fsdp_reshard_after_forward": "FULL_SHARD", "fsdp_use_orig_params": True,
            "fsdp_sync_module_states": False, "fsdp_backward_prefetch": "BACKWARD_PRE",
        }  # fmt: skip
    return common | {"fsdp_version": 2, "fsdp_reshard_after_forward": True}


def for_deepspeed(config: Config) -> dict[str, Any]:
    """What is “auto” the trainer fills in."""
    return {
        "bf16": {"enabled": "auto"},
        "zero_optimization": {
            "stage": 3, "overlap_comm": True, "contiguous_gradients": True,
            "stage3_gather_16bit_weights_on_model_save": True,  # the adapter is to be one file
        },
        "gradient_accumulation_steps": config.accumulation, "gradient_clipping": config.clip,
        "train_micro_batch_size_per_gpu": config.batch, "train_batch_size": "auto", "steps_per_print": 10**9,
    }  # fmt: skip


if __name__ == "__main__":
    main(Path(sys.argv[1]))
