"""Runs in LLaMA-Factory's own environment: reads an export as its training does, and tells what it made of each row.

python read_with_llamafactory.py FOLDER ARGUMENTS.json
"""

import json
import sys
from importlib.machinery import ModuleSpec
from importlib.util import module_from_spec
from pathlib import Path
from typing import Any

import torch

sys.path.insert(0, str(Path(__file__).resolve().parent.parent.parent))
from modeling.gpu import cpu_build, tiny

# Both wheels are built for CUDA and die at import beside a torch for CPUs; nothing of them is called here.
cpu_build.prepare()
if torch.version.cuda is None:
    sys.modules["torchaudio"] = module_from_spec(ModuleSpec("torchaudio", None))

folder, arguments = Path(sys.argv[1]), json.loads(Path(sys.argv[2]).read_text())

import yaml  # noqa: E402
from llamafactory.data import get_dataset, get_template_and_fix_tokenizer  # noqa: E402
from llamafactory.data.loader import _load_single_dataset  # noqa: E402
from llamafactory.data.parser import get_dataset_list  # noqa: E402
from llamafactory.hparams import get_train_args  # noqa: E402

example = yaml.safe_load((folder / "train_lora.yaml").read_text())
model, data, training, *_ = get_train_args(example | arguments)


def aligned(name: str) -> list[dict[str, Any]]:
    """After its loader and its converter, before any template."""
    [attributes] = get_dataset_list([name], data.dataset_dir)
    return list(_load_single_dataset(attributes, model, data, training))


def tokenized(rows: dict[str, list[dict[str, Any]]]) -> list[dict[str, Any]]:
    """After the template of Qwen2-VL and its plugin for pictures."""
    words = [turn["content"] for split in rows.values() for row in split for turn in row["_prompt"]]
    tokenizer = tiny.tokenizer_of(words)
    processor = tiny.processor_of(tokenizer)
    template = get_template_and_fix_tokenizer(tokenizer, data)
    module = get_dataset(template, model, data, training, "sft", tokenizer, processor)
    pad = tokenizer.convert_tokens_to_ids("<|image_pad|>")
    end = tokenizer.convert_tokens_to_ids("<|im_end|>")
    return [
        {
            "answer": tokenizer.decode([token for token in row["labels"] if token >= 0]),
            "pads": row["input_ids"].count(pad),
            "turns": row["input_ids"].count(end),
            "images": row["images"],
        }
        for row in module["train_dataset"]
    ]


rows = {name: aligned(name) for name in json.loads((folder / "dataset_info.json").read_text())}
print(json.dumps({"rows": rows, "tokenized": tokenized(rows), "template": data.template}))
