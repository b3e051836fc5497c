"""A training step of ours beside the plainest TRL script: the same tiny model, posts, pictures and settings.

Each in a process of its own, with one thread, in turn, so that a busy moment of the machine falls on both.
"""

import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from itertools import pairwise
from pathlib import Path
from random import Random
from statistics import median

from PIL import Image

from tests.bench.list_posts import WORDS

STEPS, BATCH, POSTS, ROUNDS = 60, 8, 240, 3
SIDE = 224
SETTINGS = {
    "model": "tiny", "method": "lora", "rank": 16, "alpha": 32, "lr": 1e-3, "batch": BATCH, "accumulation": 1,
    "max_steps": STEPS, "warmup": 0.1, "checkpointing": False, "min_pixels": SIDE * SIDE, "max_pixels": SIDE * SIDE,
}  # fmt: skip
LABELS = ("bearish", "neutral", "bullish")


def make_folder(folder: Path) -> None:
    dice = Random(7)
    (folder / "posts").mkdir(parents=True)
    (folder / "images").mkdir()
    lines = []
    for n in range(POSTS):
        label = LABELS[n % 3]
        name = f"images/{n}.png"
        Image.effect_noise((300, 300), 20 + 60 * (n % 3)).convert("RGB").save(folder / name)
        lines.append({
            "id": str(n), "system": "What does it say?", "user": " ".join(dice.choices(WORDS, k=30)), "answer": label,
            "label": label, "image": name,
        })  # fmt: skip
    (folder / "posts" / "train.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    (folder / "labels.json").write_text(json.dumps([{"name": label, "answer": label} for label in LABELS]))
    (folder / "config.json").write_text(json.dumps(SETTINGS))


def ours(folder: Path) -> None:
    from modeling.gpu.train import main

    main(folder)


def plain(folder: Path) -> None:
    """What TRL's own examples do, and nothing more."""
    from modeling.gpu import cpu_build

    cpu_build.prepare()
    from datasets import Dataset, List
    from datasets import Image as Picture
    from peft import LoraConfig
    from transformers import AutoModelForImageTextToText, AutoProcessor
    from trl import SFTConfig, SFTTrainer

    from modeling.gpu.config import Config
    from modeling.gpu.families import FAMILIES

    config = Config.read(folder)
    family = next(family for family in FAMILIES if family.key == "qwen2_5_vl")
    rows = [json.loads(line) for line in (folder / "posts" / "train.jsonl").open()]
    data = Dataset.from_list([
        {"prompt": [{"role": "system", "content": row["system"]}, {"role": "user", "content": row["user"]}],
         "completion": [{"role": "assistant", "content": row["answer"]}], "images": [str(folder / row["image"])]}
        for row in rows
    ]).cast_column("images", List(Picture()))  # fmt: skip
    processor = AutoProcessor.from_pretrained(folder / "base")
    processor.image_processor.size = {"shortest_edge": config.min_pixels, "longest_edge": config.max_pixels}
    SFTTrainer(
        AutoModelForImageTextToText.from_pretrained(folder / "base"),
        args=SFTConfig(
            output_dir=str(folder / "plain"), per_device_train_batch_size=BATCH, max_steps=STEPS,
            learning_rate=config.lr, lr_scheduler_type="cosine", warmup_steps=6, gradient_checkpointing=False,
            max_length=None, use_cpu=True,
            logging_steps=1, report_to=[], disable_tqdm=True, save_strategy="no", seed=0,
        ),
        train_dataset=data, processing_class=processor,
        peft_config=LoraConfig(r=16, lora_alpha=32, target_modules="all-linear", exclude_modules=family.not_language,
                               task_type="CAUSAL_LM"),
    ).train()  # fmt: skip


def timed(which: str, folder: Path) -> None:
    """In a process of its own: seconds a step, from the tenth on, and the most memory."""
    import torch

    torch.set_num_threads(1)
    from modeling.gpu import cpu_build

    cpu_build.prepare()
    from transformers import TrainerCallback
    from trl import SFTTrainer

    moments: list[float] = []

    class Clock(TrainerCallback):  # type: ignore[misc]
        def on_step_end(self, *_: object, **__: object) -> None:
            moments.append(time.perf_counter())

    begun = SFTTrainer.__init__

    def clocked(self: object, *positional: object, **named: object) -> None:
        begun(self, *positional, **named)
        self.add_callback(Clock())  # type: ignore[attr-defined]

    SFTTrainer.__init__ = clocked
    {"ours": ours, "plain": plain}[which](folder)
    steps = [after - before for before, after in pairwise(moments[10:])]
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({"step": median(steps), "peak": peak}))


def main() -> None:
    from tests.bench.ground import machine

    print(machine())
    found: dict[str, list[dict[str, float]]] = {"ours": [], "plain": []}
    for _ in range(ROUNDS):
        with tempfile.TemporaryDirectory() as room:
            folder = Path(room)
            make_folder(folder)
            for which in ("ours", "plain"):  # ours first: it builds the tiny model for both
                found[which].append(in_its_own_process(which, folder))
    for which, runs in found.items():
        step, peak = (median(run[name] for run in runs) for name in ("step", "peak"))
        name = "plainest TRL script (baseline)" if which == "plain" else "our trainer"
        print(f"{name:32} {1000 * step:7.1f} ms a step of {BATCH} posts, peak memory {peak:5.0f} MB")
    ratios = [
        median(one[name] / other[name] for one, other in zip(found["ours"], found["plain"], strict=True))
        for name in ("step", "peak")
    ]
    print(f"{'ours to theirs':32} {ratios[0]:7.2f} of the time, {ratios[1]:.2f} of the memory")


def in_its_own_process(which: str, folder: Path) -> dict[str, float]:
    ran = subprocess.run(
        [sys.executable, "-m", "tests.bench.train", which, str(folder)], capture_output=True, text=True,
        env=os.environ | {"OMP_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false"},
    )  # fmt: skip
    if ran.returncode:
        raise RuntimeError(ran.stderr[-2000:])
    told: dict[str, float] = json.loads(ran.stdout.strip().splitlines()[-1])
    return told


if __name__ == "__main__":
    timed(sys.argv[1], Path(sys.argv[2])) if len(sys.argv) > 1 else main()
