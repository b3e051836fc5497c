"""An image classifier small enough for a CPU, with the shape of a ConvNeXt and none of its knowledge.

It is there so that anyone can walk the whole loop without a card. What it learns, it learns from the dataset alone.
"""

from collections.abc import Sequence
from pathlib import Path

NAME = "tiny-picture"
SIDE = 48  # pixels


def build(folder: Path, labels: Sequence[str], seed: int = 0) -> Path:
    from . import cpu_build

    cpu_build.prepare()
    import torch
    from transformers import ConvNextConfig, ConvNextForImageClassification, ConvNextImageProcessor

    torch.manual_seed(seed)
    config = ConvNextConfig(
        image_size=SIDE, patch_size=4, hidden_sizes=[32, 64, 96, 128], depths=[1, 1, 2, 1], drop_path_rate=0.0,
        layer_scale_init_value=1.0,  # its own is for deep ones: a shallow one would hardly move
        num_labels=len(labels), id2label=dict(enumerate(labels)), label2id={name: n for n, name in enumerate(labels)},
    )  # fmt: skip
    folder.mkdir(parents=True, exist_ok=True)
    ConvNextForImageClassification(config).save_pretrained(folder)
    ConvNextImageProcessor(size={"shortest_edge": SIDE}, crop_pct=1.0).save_pretrained(folder)
    return folder
