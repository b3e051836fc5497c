"""A folder that LLaMA-Factory trains from as it is: the ShareGPT files, and `dataset_info.json` that names them."""

import json
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from modeling.models import Dataset, Split

from . import pictures, sharegpt
from .members import Member, Options, held, readme

INFO = "dataset_info.json"
EXAMPLE = "train_lora.yaml"
TAGS = {"role_tag": "role", "content_tag": "content", "user_tag": "user", "assistant_tag": "assistant",
        "observation_tag": "observation", "function_tag": "function", "system_tag": "system"}  # fmt: skip

HOW = """
## Reading this export

Name this folder as `dataset_dir`, and the splits as dataset_info.json calls them; the names hold project and dataset,
so several such folders can be put together, and their dataset_info.json merged. {example}
"""
WITH_EXAMPLE = f"{EXAMPLE} is one to begin with: `llamafactory-cli train {EXAMPLE}` from within this folder."

YAML = """\
# A small LoRA to begin with. From within this folder: llamafactory-cli train {file}
model_name_or_path: Qwen/Qwen2.5-VL-3B-Instruct
template: qwen2_vl
image_max_pixels: 262144

stage: sft
do_train: true
finetuning_type: lora
lora_rank: 16
lora_target: all
freeze_vision_tower: true

dataset_dir: .
dataset: {train}
{evaluated}cutoff_len: 4096

output_dir: saves/{name}
num_train_epochs: 2.0
per_device_train_batch_size: 2
gradient_accumulation_steps: 8
learning_rate: 1.0e-4
lr_scheduler_type: cosine
warmup_ratio: 0.1
bf16: true
logging_steps: 10
save_steps: 200
"""
EVALUATED = """\
eval_dataset: {validation}
eval_strategy: steps
eval_steps: 200
per_device_eval_batch_size: 2
"""


def members(dataset: Dataset, options: Options) -> Iterator[Member]:
    named = {split: name_of(dataset, split) for split in held(dataset, options)}
    yield readme(dataset, HOW.format(example=WITH_EXAMPLE if Split.TRAIN in named else ""))
    yield Member(INFO, iter([info(named)]))
    if Split.TRAIN in named:
        yield Member(EXAMPLE, iter([example(dataset, named)]))
    for table in sharegpt.tables(dataset, options):
        yield replace(table, path=f"{named[table.path.removesuffix('.jsonl')]}.jsonl")
    if options.with_pictures:
        yield from pictures.members(dataset, options.splits)


def name_of(dataset: Dataset, split: str) -> str:
    """A slug and a split have no dots, so no two datasets share a name."""
    return f"{dataset.project.slug}.{dataset.name}.{split}"


def info(named: dict[str, str]) -> bytes:
    return json.dumps({name: entry(name) for name in named.values()}, indent=2).encode() + b"\n"


def entry(name: str) -> dict[str, Any]:
    return {
        "file_name": f"{name}.jsonl",
        "formatting": "sharegpt",
        "columns": {"messages": "messages", "images": "images"},
        "tags": TAGS,
    }


def example(dataset: Dataset, named: dict[str, str]) -> bytes:
    validation = named.get(Split.VALIDATION)
    evaluated = EVALUATED.format(validation=validation) if validation else ""
    name = f"{dataset.project.slug}.{dataset.name}"
    return YAML.format(file=EXAMPLE, train=named[Split.TRAIN], evaluated=evaluated, name=name).encode()
