"""What a run was, for whoever asks later: what went in, what was trained, on what, and what came out."""

import json
import platform
import re
import resource
import subprocess
from collections import Counter
from collections.abc import Iterable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, NamedTuple

import torch

from . import sharing
from .config import Config
from .hashing import hash_of
from .load import ADAPTER, Loaded
from .progress import FILE as PROGRESS

PACKAGE = "casting-vote"
AS_IT_IS = "as it is, nothing was trained"
LIBRARIES = ("torch", "transformers", "peft", "trl", "bitsandbytes", "accelerate", "datasets", "pillow")
PAPERS = {
    "qlora": ["QLoRA, arXiv 2305.14314", "LoRA, arXiv 2106.09685"],
    "lora": ["LoRA, arXiv 2106.09685"],
    "spectrum": ["Spectrum, arXiv 2406.06623"],
    "full": [],
    "classifier": [],
}
SHARED = {
    "ddp": "DDP: each held all of it",
    "fsdp": "FSDP: each held a part of it",
    "zero3": "ZeRO-3: each held a part of it",
}


class Weight(NamedTuple):
    name: str
    size: int
    is_trained: bool


def weights_of(model: Any) -> list[Weight]:
    """Before it is cut up among several cards."""
    return [Weight(name, sharing.size_of(one), one.requires_grad) for name, one in model.named_parameters()]


class Outcome(NamedTuple):
    """How it ended."""

    steps: int
    best: float | None  # macro F1
    best_at: int | None  # the step
    used: dict[str, Any]


def outcome_of(trainer: Any) -> Outcome:
    state = trainer.state
    return Outcome(state.global_step, state.best_metric, state.best_global_step, together_with(trainer))


def write(
    folder: Path, config: Config, loaded: Loaded, weights: list[Weight], outcome: Outcome, posts: dict[str, Any],
    joules: float | None,
) -> None:  # fmt: skip
    """`joules`: what the cards' meters told at its start."""
    trained = [weight for weight in weights if weight.is_trained]
    starts, seconds = time_of(folder)
    told = {
        "trained_for": trained_for(folder),
        "model": config.model, "revision": config.revision or getattr(loaded.model.config, "_commit_hash", None),
        "family": loaded.family.key, "config": config.as_json(), "papers": PAPERS[config.method],
        "code": code_version(), "posts": {split: counts(of, loaded) for split, of in posts.items()},
        "parameters": {"all": sum(one.size for one in weights), "trained": sum(one.size for one in trained)},
        "trained": patterns(one.name for one in trained),
        "frozen": patterns(one.name for one in weights if not one.is_trained),
        "used": loaded.used | outcome.used,
        "machine": {"platform": platform.platform(), "python": platform.python_version(),
                    "cards": [torch.cuda.get_device_name(n) for n in range(torch.cuda.device_count())]},
        "libraries": {name: found for name in LIBRARIES if (found := version_of(name))},
        "starts": starts, "seconds": seconds, "steps": outcome.steps,
        "best": {"macro_f1": outcome.best, "step": outcome.best_at},
        "peak_memory": torch.cuda.max_memory_allocated() if torch.cuda.is_available() else peak_memory(),
        "adapter": hash_of(folder / ADAPTER),
    }  # fmt: skip
    known: dict[str, Any] = {"method": AS_IT_IS} if config.as_is else {}
    if joules is not None:
        known["joules"] = round((joules_so_far() or joules) - joules)
    (folder / "trained_modules.txt").write_text("".join(f"{one.name}\n" for one in trained), encoding="utf-8")
    (folder / "receipt.json").write_text(json.dumps({**told, **known}, indent=1) + "\n", encoding="utf-8")


def counts(posts: Any, loaded: Loaded) -> dict[str, Any]:
    if not len(posts):
        return {"posts": 0}
    without = sum(not name for name in posts["image"])
    blank = {"blank_pictures": without} if loaded.family.needs_picture else {}
    return {
        "posts": len(posts),
        "labels": dict(Counter(posts["label"]).most_common()),
        "without_picture": without,
        **blank,
        **({"by_model": n} if (n := sum(map(bool, by_model(posts)))) else {}),
    }


def by_model(posts: Any) -> list[bool]:
    """Of which the label is a tuned model's own. Folders written before there were any do not tell."""
    return list(posts["by_model"]) if "by_model" in posts.column_names else []


def together_with(trainer: Any) -> dict[str, Any]:
    """How many processes took part, and how they shared the model; not how many were asked for."""
    told = {"optimiser": str(trainer.args.optim.value), "processes": trainer.args.world_size}
    return told | ({"shared": SHARED[how]} if (how := sharing.kind()) else {})


def patterns(names: Iterable[str]) -> dict[str, int]:
    return dict(Counter(re.sub(r"\.\d+(?=\.)", ".*", name) for name in names))


def time_of(folder: Path) -> tuple[int, float]:
    """Over all its starts, since it may have been stopped and resumed."""
    starts, seconds, before = 0, 0.0, 0.0
    for line in map(json.loads, (folder / PROGRESS).read_text(encoding="utf-8").splitlines()):
        if line.get("doing") == "reading the posts":
            starts += 1
        else:
            seconds += line["at"] - before
        before = line["at"]
    return starts, round(seconds, 1)


def code_version() -> str | None:
    """The commit, where this is a checkout, and the package's number elsewhere."""
    here = Path(__file__).resolve().parent
    if (here.parent.parent / ".git").exists():
        asked = ["git", "-C", str(here), "describe", "--always", "--dirty", "--abbrev=12"]
        found = subprocess.run(asked, capture_output=True, text=True, check=False)
        if found.returncode == 0:
            return found.stdout.strip()
    return version_of(PACKAGE)


def trained_for(folder: Path) -> dict[str, Any]:
    """Which run of which dataset, as the site told it: by this a result from another machine is known again."""
    told = folder / "run.json"
    found: dict[str, Any] = json.loads(told.read_text(encoding="utf-8")) if told.exists() else {}
    return found


def version_of(library: str) -> str | None:
    try:
        return version(library)
    except PackageNotFoundError:
        return None


def joules_so_far() -> float | None:
    """By the cards' own meters, which count from when they were switched on; None where there are none."""
    if not torch.cuda.is_available():
        return None
    try:
        import pynvml

        pynvml.nvmlInit()
        cards = [pynvml.nvmlDeviceGetHandleByIndex(n) for n in range(torch.cuda.device_count())]
        return float(sum(pynvml.nvmlDeviceGetTotalEnergyConsumption(card) for card in cards)) / 1000
    except Exception:  # no such library, or a card without a meter: then it is not known
        return None


def peak_memory() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
