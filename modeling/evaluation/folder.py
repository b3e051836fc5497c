"""What the asking process is given: posts, labels and pictures, and never what the answers should be."""

import json
from collections.abc import Iterator
from dataclasses import replace
from itertools import zip_longest
from pathlib import Path
from typing import Any

from django.conf import settings
from django.db.models.functions import MD5

from modeling.chat import Chat
from modeling.datasets.items import Item, as_line, items_at
from modeling.export import pictures
from modeling.export.members import Member, gathered
from modeling.gpu import tiny
from modeling.gpu.ask import Ask
from modeling.gpu.config import Config
from modeling.models import Dataset, Evaluation, Run, Sees, Split
from modeling.serving.written import as_written
from modeling.training import results, run_folder, training_presets
from modeling.training.run_folder import as_json
from modeling.training.starting import usual_recipe

from .asked import asked_items
from .predictors import Predictor, run_of


def folder_at(pk: int) -> Path:
    return Path(settings.VAR_DIR) / "evaluations" / str(pk)


def folder_of(evaluation: Evaluation) -> Path:
    return folder_at(evaluation.pk)


def write(evaluation: Evaluation, folder: Path) -> None:
    """Anew each time: what had to go from the dataset since is not asked about. What is answered already stays."""
    run_folder.forget(folder)
    run_folder.write_members(members(evaluation, Predictor.from_json(evaluation.predictor)), folder)


def members(evaluation: Evaluation, predictor: Predictor) -> Iterator[Member]:
    chat = Chat.of(evaluation.dataset.facts)
    config, ask = asked_how(evaluation, predictor)
    yield as_json("config.json", config.as_json())
    yield as_json("ask.json", ask.as_json())
    yield as_json("labels.json", [{"name": name, "answer": chat.answer(name)} for name, _ in chat.labels])
    asked = (as_line(told(chat, item, evaluation.sees)) for item in asked_items(evaluation))
    yield Member("posts/asked.jsonl", gathered(asked))
    shown = list(examples(evaluation.dataset, predictor))
    if shown:
        lines = (as_line(told(chat, item, evaluation.sees) | {"answer": chat.answer(item.label)}) for item in shown)
        yield Member("posts/shown.jsonl", gathered(lines))
    if evaluation.sees != Sees.TEXT:
        named = (item.image for items in (asked_items(evaluation), shown) for item in items if item.image)
        yield from pictures.by_name(named)


def asked_how(evaluation: Evaluation, predictor: Predictor) -> tuple[Config, Ask]:
    if predictor.kind == "base":
        preset = training_presets.named(predictor.recipe or usual_recipe(predictor.model))
        config = preset.configured(
            predictor.model, revision=predictor.revision, trust_remote_code=predictor.trust_remote_code
        )
        return as_written(config), Ask(bits=predictor.bits, batch=predictor.batch)
    run = run_of(predictor, evaluation.project)
    adapter = results.fetched(run) / results.ADAPTER
    ask = Ask(adapter=str(adapter), bits=predictor.bits, merged=predictor.merged, batch=predictor.batch)
    return config_of(run, adapter.parent), ask


def config_of(run: Run, result: Path) -> Config:
    """A tiny base was built where it was trained, and came along with the result."""
    config = Config.from_json(run.config)
    return replace(config, model=str(result / "base")) if config.model == tiny.NAME else config


def told(chat: Chat, item: Item, sees: str) -> dict[str, Any]:
    return {
        "number": item.position,
        "id": item.id,
        "system": chat.system,
        "user": "" if sees == Sees.PICTURE else chat.user(item.text, has_image=False),
        "image": f"{pictures.FOLDER}/{item.image}" if item.image and sees != Sees.TEXT else "",
    }


def examples(dataset: Dataset, predictor: Predictor) -> Iterator[Item]:
    """Of each label as many, from the train split alone; the same for everybody who asks."""
    learnt = dataset.items.filter(split=Split.TRAIN, removed=None).order_by(MD5("external_id"), "position")
    names = [label["name"] for label in dataset.facts["labels"]]
    of_each = [list(learnt.filter(label=name).values_list("position", flat=True)[: predictor.shots]) for name in names]
    for turn in zip_longest(*of_each):  # one label after the other, so that the last ones are not all alike
        yield from items_at(dataset, [position for position in turn if position])


def predictions_in(folder: Path) -> Iterator[tuple[int, list[float]]]:
    with (folder / "predictions.jsonl").open(encoding="utf-8") as file:
        for line in file:
            told = json.loads(line)
            yield told["number"], told["scores"]
