"""A run folder for classifiers: pictures drawn on the spot, each label a letter or a sign in a colour."""

import json
from pathlib import Path
from random import Random
from typing import Any

from PIL import Image, ImageDraw, ImageFont

SIGNS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789+*#%&?=<>!$@/"
COLOURS = ("crimson", "seagreen", "royalblue")
LABELS = tuple(f"Breed {sign}, {colour}" for colour in COLOURS for sign in SIGNS)[:67]
QUICK: dict[str, Any] = {
    "model": "tiny-picture", "method": "classifier", "lr": 2e-3, "batch": 32, "accumulation": 1, "warmup": 0.1,
    "epochs": 5, "checkpointing": False, "evaluation_batch": 128,
}  # fmt: skip


def drawn(label: str, seed: int, side: int = 64) -> Image.Image:
    """Its sign in its colour, each time a little elsewhere."""
    dice = Random(f"{label} {seed}")
    sign, _, colour = label.removeprefix("Breed ").rpartition(", ")
    paper = Image.new("RGB", (side, side - 8), (dice.randint(200, 255), dice.randint(200, 255), dice.randint(200, 255)))
    place = (dice.randint(8, 18), dice.randint(0, 8))
    ImageDraw.Draw(paper).text(place, sign, fill=colour, font=ImageFont.load_default(dice.randint(38, 46)))
    return paper


def make_run(
    folder: Path, labels: tuple[str, ...] = LABELS, train: int = 10, validation: int = 2, **given: Any
) -> Path:
    """So many posts of each label."""
    (folder / "posts").mkdir(parents=True)
    (folder / "images").mkdir()
    for split, first, each in (("train", 0, train), ("validation", train, validation)):
        numbered = [(label, seed) for seed in range(first, first + each) for label in labels]
        lines = [json.dumps(make_post(folder, label, seed, labels)) for label, seed in numbered]
        (folder / "posts" / f"{split}.jsonl").write_text("\n".join(lines) + "\n")
    (folder / "labels.json").write_text(json.dumps([{"name": name, "answer": name} for name in labels]))
    (folder / "config.json").write_text(json.dumps({**QUICK, **given}))
    return folder


def make_post(folder: Path, label: str, seed: int, labels: tuple[str, ...] = LABELS) -> dict[str, Any]:
    name = f"images/{labels.index(label)}-{seed}.png"
    drawn(label, seed).save(folder / name)
    return {
        "id": f"{label} {seed}", "system": "Which breed?", "user": "look at this one", "answer": label, "label": label,
        "image": name, "picture_tells": False, "by_model": False,
    }  # fmt: skip
