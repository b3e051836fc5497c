"""That it learns, and is not merely busy: handwritten digits as pictures, by the product's own path."""

import json
from typing import Any

import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_digits

from modeling.gpu import cpu_build

cpu_build.prepare()

import torch  # noqa: E402

from modeling.gpu import train  # noqa: E402
from tests.run_folders import receipt, told, write_posts  # noqa: E402

torch.set_num_threads(1)
DIGITS = ("zero", "one", "two")
SIDE = 56  # pixels
RECIPE: dict[str, Any] = {
    "model": "tiny", "rank": 16, "alpha": 32, "lr": 5e-3, "batch": 16, "accumulation": 1, "max_steps": 60,
    "warmup": 10 / 60, "evaluate_every": 60, "evaluation_batch": 32, "checkpointing": False,
    "min_pixels": SIDE * SIDE, "max_pixels": SIDE * SIDE, "seed": 0,
}  # fmt: skip


@pytest.mark.parametrize("method", ["qlora", "lora"])
def test_it_learns_digits_from_pictures_alone(method, tmp_path):
    digits = load_digits(n_class=3)
    (tmp_path / "images").mkdir()
    (tmp_path / "posts").mkdir()
    posts = []
    for number, (pixels, digit) in enumerate(zip(digits.images, digits.target, strict=True)):
        grey = np.uint8(pixels / 16 * 255)
        Image.fromarray(grey).resize((SIDE, SIDE), Image.Resampling.NEAREST).save(tmp_path / f"images/{number}.png")
        posts.append({"id": str(number), "system": "Which digit is it?", "user": "", "answer": DIGITS[digit],
                      "label": DIGITS[digit], "image": f"images/{number}.png"})  # fmt: skip
    write_posts(tmp_path, "train", posts[:437])
    write_posts(tmp_path, "validation", posts[437:])
    (tmp_path / "labels.json").write_text(json.dumps([{"name": name, "answer": name} for name in DIGITS]))
    (tmp_path / "config.json").write_text(json.dumps({**RECIPE, "method": method}))

    train.main(tmp_path)

    measured = told(tmp_path, "evaluation")[-1]
    assert measured["accuracy"] >= 0.85
    assert receipt(tmp_path)["best"]["macro_f1"] == measured["macro_f1"]
