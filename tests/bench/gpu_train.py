"""Training on an NVIDIA card: memory and speed of the 24 GB recipe, and what each optimisation does to them.

    python -m tests.bench.gpu_train                      # Qwen2.5-VL-7B, about nine minutes at most
    python -m tests.bench.gpu_train --only eager bf16    # some variants alone, beside the recipe
    python -m tests.bench.gpu_train --model-size tiny    # the same steps on a CPU, to see that they run

Wanted: Linux, NVIDIA's driver, a card of 24 GB (larger for some variants), 20 GB of disk (`--room` says where), Python
3.11 or newer and `pip install -e .[train,cuda]` with a CUDA build of torch; flash-attn is measured too where it is
installed. Neither the network nor the site's database is used: the model has its real shape and random weights, so the
speed and the memory are the real ones, and what it learns is nothing.

Each variant is a process of its own that trains a run's folder as the site's runs are trained; what differs from the
recipe is a setting where there is one, and a patch in that process where there is none. A variant that fails says why,
and the others go on. The table goes to the screen, and as gpu_train.md and gpu_train.json to $OUT where that is set.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from itertools import pairwise
from pathlib import Path
from random import Random
from statistics import median
from typing import Any

from PIL import Image, ImageDraw

from modeling.gpu.config import Config
from modeling.training import fitting, nvidia, training_presets
from tests.bench.gpu_child import ASKED, HUBS, LABELS, PATCHES, text_of

RECIPE = "qwen-qlora-24gb"
POSTS, PICTURES, SIDE = 64, 16, 900
WARM_UP = 2  # steps that are not counted
PATIENCE = 300  # seconds a variant may take
GB = 1024**3


@dataclass(frozen=True)
class Variant:
    what: str
    settings: dict[str, Any] = field(default_factory=dict)  # what differs from the recipe
    bits: int = 0  # asked with so many bits a weight, and not trained
    needs: str = ""  # a package
    card: bool = False  # means nothing without one


# The most telling first: the rest is left out where time runs short.
VARIANTS = {
    "recipe": Variant("the 24 GB recipe"),
    "no-liger": Variant("without Liger's kernels", needs="liger_kernel", card=True),
    "no-checkpointing": Variant("without gradient checkpointing", {"checkpointing": False}),
    "bf16": Variant("LoRA in bf16 rather than 4 bits", {"method": "lora"}),
    "eager": Variant("plain attention rather than flash or SDPA"),
    "ask-4": Variant("asked, in 4 bits", bits=4),
    "full-logits": Variant("logits of all tokens rather than the answer's"),
    "adamw": Variant("AdamW in 32 bits rather than paged in 8", card=True),
    "quantised-once": Variant("constants not quantised again"),
    "sdpa": Variant("SDPA rather than flash attention", needs="flash_attn", card=True),
    "ask-8": Variant("asked, in 8 bits", bits=8),
    "ask-16": Variant("asked, in bf16", bits=16),
}


# --- What each of them is given


def configured(name: str, size: str, base: Path, steps: int) -> Config:
    small = {"min_pixels": 224 * 224, "max_pixels": 224 * 224} if size == "tiny" else {}
    return training_presets.named(RECIPE).configured(
        str(base), max_steps=steps, **small, **VARIANTS[name].settings
    )  # fmt: skip


def make_folder(folder: Path, config: Config) -> None:
    (folder / "posts").mkdir(parents=True)
    (folder / "images").mkdir()
    for n in range(PICTURES):
        draw(Random(n)).save(folder / f"images/{n}.png", compress_level=1)
    lines = []
    for n in range(max(POSTS, config.max_steps * config.batch * config.accumulation)):
        label = LABELS[n % len(LABELS)]
        lines.append({"id": str(n), "system": "What does this post say? Answer with one label.", "label": label,
                      "user": text_of(Random(n)), "answer": label, "image": f"images/{n % PICTURES}.png"})  # fmt: skip
    (folder / "posts" / "train.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    (folder / "labels.json").write_text(json.dumps([{"name": label, "answer": label} for label in LABELS]))
    (folder / "config.json").write_text(json.dumps(config.as_json()))


def draw(dice: Random) -> Image.Image:
    """Larger than the recipe lets through, so that each costs what the recipe allows."""
    picture = Image.new("RGB", (SIDE, SIDE), "white")
    pen = ImageDraw.Draw(picture)
    for _ in range(60):
        left, top = dice.randrange(SIDE - 100), dice.randrange(SIDE - 100)
        colour = tuple(dice.randrange(256) for _ in range(3))
        pen.rectangle((left, top, left + dice.randrange(20, 100), top + dice.randrange(20, 100)), fill=colour)
    return picture


# --- What comes of it


def measured(name: str, folder: Path) -> dict[str, Any]:
    if VARIANTS[name].bits:
        told = json.loads((folder / "asked.json").read_text())
        step, posts = median(told["seconds"]), ASKED
    else:
        lines = [json.loads(line) for line in (folder / "progress.jsonl").open()]
        steps = [line for line in lines if line["kind"] == "step"]
        config, receipt = Config.read(folder), json.loads((folder / "receipt.json").read_text())
        step = median(after["at"] - before["at"] for before, after in pairwise(steps[WARM_UP - 1 :]))
        posts = config.batch * config.accumulation
        told = {"used": receipt["used"], "memory": receipt["peak_memory"]}
    return {"step": step, "rate": posts / step, "memory": told["memory"], "used": told["used"]}


def reason(folder: Path, said: str) -> str:
    progress = folder / "progress.jsonl"
    lines = [json.loads(line) for line in progress.open()] if progress.exists() else []
    failed = [line["error"] for line in lines if line["kind"] == "failed"]
    return " ".join((failed or said.strip().splitlines() or ["it ended without a word"])[-1].split())[:200]


class OnCard:
    """The most that the driver has seen in use on this machine's first card."""

    def __init__(self) -> None:
        self.peak, self.over = 0, threading.Event()
        self.thread = threading.Thread(target=self.watch)

    def __enter__(self) -> "OnCard":
        self.thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.over.set()
        self.thread.join()

    def watch(self) -> None:
        while not self.over.wait(0.3):
            try:
                first = nvidia.asked(nvidia.OF_CARDS, columns=5)[:1]
                self.peak = max([self.peak, *(nvidia.mib(used) or 0 for _, _, used, _, _ in first)])
            except nvidia.Silent:
                continue


def tried(name: str, size: str, base: Path, room: Path, steps: int) -> dict[str, Any]:
    folder = room / name
    config = configured(name, size, base, steps)
    make_folder(folder, config)
    with OnCard() as card:
        try:
            ran = subprocess.run(
                command(name, folder), capture_output=True, text=True, timeout=PATIENCE,
                env=os.environ | {"TOKENIZERS_PARALLELISM": "false"},
            )  # fmt: skip
        except subprocess.TimeoutExpired:
            return {"failed": f"it took more than {PATIENCE} seconds"}
    if ran.returncode:
        return {"failed": reason(folder, ran.stderr)}
    return {**measured(name, folder), "driver_memory": card.peak or None, **estimated(name, size, config)}


def command(name: str, folder: Path) -> list[str]:
    """As the site starts a run, but where something has to be patched."""
    if bits := VARIANTS[name].bits:
        return started("ask", str(bits), folder)
    return started("train", name, folder) if name in PATCHES else [
        sys.executable, "-m", "modeling.gpu.train", str(folder)
    ]  # fmt: skip


def started(what: str, how: str, folder: Path) -> list[str]:
    return [sys.executable, "-m", "tests.bench.gpu_child", what, how, str(folder)]


def estimated(name: str, size: str, config: Config) -> dict[str, Any]:
    if size == "tiny" or VARIANTS[name].bits:
        return {}
    made = fitting.estimate(Config.from_json(config.as_json() | {"model": HUBS[size]}), POSTS)
    assert made
    told = {"estimate": made.bytes} if name not in PATCHES else {}  # what is patched is nothing that it reckons with
    return {**told, "operations": made.operations / made.posts}


def missing(name: str, has_card: bool) -> str:
    variant = VARIANTS[name]
    if variant.card and not has_card:
        return "needs a card"
    return f"{variant.needs} is not installed" if variant.needs and find_spec(variant.needs) is None else ""


# --- What is told


def table(found: dict[str, dict[str, Any]]) -> str:
    recipe = found.get("recipe", {})
    heads = ["variant", "seconds", "posts a second", "of its time", "torch's peak, GB", "driver's peak, GB",
             "estimate, GB", "TFLOP/s"]  # fmt: skip
    lines = [f"| {' | '.join(heads)} |", "|---" + "|---:" * (len(heads) - 1) + "|"]
    for name, told in found.items():
        if "failed" in told:
            lines.append(f"| {VARIANTS[name].what} | {told['failed']} |" + " |" * (len(heads) - 2))
            continue
        beside = told["step"] / recipe["step"] if "step" in recipe and not VARIANTS[name].bits else None
        speed = told["operations"] * told["rate"] / 1e12 if "operations" in told else None
        memory = (told.get(key) and told[key] / GB for key in ("memory", "driver_memory", "estimate"))
        cells = [f"{told['step']:.2f}", f"{told['rate']:.2f}", number(beside, ".2f"),
                 *(number(one, ".1f") for one in memory), number(speed, ".0f")]  # fmt: skip
        lines.append(f"| {VARIANTS[name].what} | {' | '.join(cells)} |")
    return "\n".join(lines)


def number(value: float | None, form: str) -> str:
    return "" if value is None else format(value, form)


def machine() -> dict[str, str]:
    asked = ["nvidia-smi", "--query-gpu=name,driver_version,memory.total", "--format=csv,noheader"]
    card = ""
    if shutil.which("nvidia-smi"):
        card = subprocess.run(asked, capture_output=True, text=True, check=False).stdout.partition("\n")[0].strip()
    found = {"card": card or "none"}
    for name in ("torch", "transformers", "peft", "trl", "bitsandbytes", "liger-kernel", "triton", "flash-attn"):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "not installed"
    return found


def page(size: str, steps: int, found: dict[str, dict[str, Any]]) -> str:
    used = found.get("recipe", {}).get("used", {})
    return "\n\n".join([
        f"Qwen2.5-VL {size}, random weights, the recipe “{RECIPE}”, {steps} steps a variant; seconds a step, or "
        f"where it is asked, a batch of {ASKED} posts and {len(LABELS)} labels.",
        "; ".join(f"{name} {value}" for name, value in machine().items()) + ".",
        "The recipe used: " + "; ".join(f"{name} {value}" for name, value in used.items() if value) + ".",
        table(found),
    ])  # fmt: skip


def keep(size: str, steps: int, found: dict[str, dict[str, Any]]) -> None:
    """After each variant, so that what was measured is there whatever comes next."""
    if out := os.environ.get("OUT"):
        (Path(out) / "gpu_train.md").write_text(page(size, steps, found) + "\n")
        kept = {"size": size, "steps": steps, "machine": machine(), "variants": found}
        (Path(out) / "gpu_train.json").write_text(json.dumps(kept, indent=1) + "\n")


def main(asked: argparse.Namespace) -> None:
    has_card = nvidia_card()
    if not has_card and asked.model_size != "tiny":
        print("This is measured on an NVIDIA card with CUDA's build of torch, and there is none here. "
              "`python -m tests.bench.gpu_train --model-size tiny` walks the same way on a CPU.")  # fmt: skip
        return
    began, longest = time.monotonic(), 0.0
    found: dict[str, dict[str, Any]] = {}
    with tempfile.TemporaryDirectory(dir=asked.room) as room:
        base = Path(room) / "base"
        subprocess.run(started("build", asked.model_size, base), check=True)
        print(f"The model is built: {time.monotonic() - began:.0f} s.", flush=True)
        for name in [name for name in VARIANTS if name == "recipe" or not asked.only or name in asked.only]:
            starts = time.monotonic()
            if not (lack := missing(name, has_card)) and starts - began + longest > asked.minutes * 60:
                lack = "left out: no time"
            found[name] = {"failed": lack} if lack else tried(name, asked.model_size, base, Path(room), asked.steps)
            shutil.rmtree(Path(room) / name, ignore_errors=True)  # checkpoints are large
            longest = max(longest, time.monotonic() - starts)
            outcome = found[name].get("failed") or f"{found[name]['step']:.2f} s"
            print(f"{name}: {outcome} ({time.monotonic() - starts:.0f} s in all)", flush=True)
            keep(asked.model_size, asked.steps, found)
    print()
    print(page(asked.model_size, asked.steps, found))


def nvidia_card() -> bool:
    import torch

    return bool(torch.cuda.is_available())


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Training on an NVIDIA card.")
    parser.add_argument("--model-size", choices=[*HUBS, "tiny"], default="7b")
    parser.add_argument("--steps", type=int, default=7)
    parser.add_argument("--only", nargs="*", choices=list(VARIANTS), default=[])
    parser.add_argument("--minutes", type=float, default=9, help="no variant is begun that would not end by then")
    parser.add_argument("--room", help="where the model and the runs may lie; else where temporary files do")
    return parser.parse_args()


if __name__ == "__main__":
    main(arguments())
