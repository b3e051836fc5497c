"""What a run is started with: a dataset, a recipe, a base model, and what differs from the recipe."""

import json
import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from annotate.models import Project, User
from modeling.datasets.composition import weights_of
from modeling.datasets.recipe import Recipe
from modeling.faults import first_of
from modeling.gpu import classifier_tiny, tiny
from modeling.gpu.config import Config
from modeling.gpu.families import FAMILIES, Family, Size
from modeling.models import Dataset, Run

from . import run_settings, runner, training_presets
from .training_presets import TrainingPreset

USUAL = "qwen-qlora-24gb"
CLASSIFIER = "classifier"
OF_OUR_MAKING = {tiny.NAME: "tiny", classifier_tiny.NAME: "classifier-tiny"}  # models, and the recipe of each
CLASSIFIERS = {
    "facebook/convnextv2-tiny-1k-224": "ConvNeXt V2 Tiny, an image classifier, 29 million parameters",
    "facebook/convnext-base-224-22k-1k": "ConvNeXt Base, an image classifier, 89 million parameters",
    "google/vit-base-patch16-224": "ViT Base, an image classifier, 87 million parameters",
    "microsoft/swin-tiny-patch4-window7-224": "Swin Tiny, an image classifier, 28 million parameters",
}
HUB_NAME = re.compile(r"[A-Za-z0-9][\w.-]*/[\w.-]+")
NOT_A_MODEL = "Write a name on the hub as owner/name, a folder from its root as /models/name, tiny or tiny-picture."
NO_CODE_OF_OTHERS = "Only a site admin may let a model’s own code run on the machine that trains."
CONFIG = TypeAdapter(Config)


class NotUnderstood(Exception):
    """The words are for whoever asked."""


def trainable(project: Project) -> list[Dataset]:
    """Frozen, with something to learn from; the latest first."""
    frozen = project.datasets.frozen().select_related("project").defer("told")
    return [dataset for dataset in frozen if dataset.composition["splits"]["train"]["posts"]]


def usual_recipe(model: str = "") -> str:
    if model in OF_OUR_MAKING:
        return OF_OUR_MAKING[model]
    return CLASSIFIER if model in CLASSIFIERS or is_folder_of_classifier(model) else USUAL


def is_folder_of_classifier(model: str) -> bool:
    """As its own description says, where it lies on this machine."""
    try:
        described = json.loads((Path(model) / "config.json").read_text(encoding="utf-8"))
        return any(str(name).endswith("ForImageClassification") for name in described["architectures"])
    except (OSError, ValueError, KeyError, TypeError):
        return False


def weights_for(preset: TrainingPreset, dataset: Dataset) -> dict[str, float]:
    """The dataset's own, or balanced ones where the recipe wants rare labels to weigh more."""
    own: dict[str, float] = dataset.facts.get("weights", {})
    if own or not preset.balanced_weights:
        return own
    balanced = weights_of(Recipe(balanced=True), dataset.composition["splits"]["train"]["labels"])
    return balanced if set(balanced.values()) != {1.0} else {}


def as_recipe_says(preset: TrainingPreset, dataset: Dataset, model: str = "") -> Config:
    return replace(preset.configured(model), weights=weights_for(preset, dataset))


def configured(dataset: Dataset, recipe: str, model: str, changes: Mapping[str, Any]) -> Config:
    """As programs write it: a value of the wrong kind, or beyond what the form takes, is told by its name."""
    labels = [label["name"] for label in dataset.facts["labels"]]
    recipe = recipe or usual_recipe(model)
    return changed(lambda preset: as_recipe_says(preset, dataset, model), recipe, changes, labels)


def planned(project: Project, recipe: str, model: str, changes: Mapping[str, Any]) -> Config:
    """Before there is a dataset to learn from: it will have the labels of its project."""
    labels = [label.name for label in project.labels.all()] if run_settings.BY_LABEL in changes else []
    recipe = recipe or usual_recipe(model)
    return changed(lambda preset: preset.configured(model), recipe, changes, labels)


def changed(
    usual: Callable[[TrainingPreset], Config], recipe: str, changes: Mapping[str, Any], labels: Collection[str]
) -> Config:
    try:
        told = usual(training_presets.named(recipe)).as_json()
        if unknown := sorted(changes.keys() - told.keys()):
            raise ValueError(f"“{unknown[0]}” is nothing that can be set; there are {', '.join(sorted(told))}.")
        config = CONFIG.validate_python({**told, **changes})
    except ValidationError as problem:
        raise NotUnderstood(first_of(problem)) from problem
    except ValueError as problem:
        raise NotUnderstood(str(problem)) from problem
    for name in changes:
        if why := run_settings.problem_with(name, getattr(config, name), labels):
            raise NotUnderstood(why)
    return config


def begin(project: Project, by: User, dataset: Dataset, config: Config, recipe: str, away: bool = False) -> Run:
    if problem := problem_with_model(config.model) or problem_with_code(by, config):
        raise runner.Refused(problem)
    return runner.start(project, by, dataset, config, recipe, away=away)


def resume(run: Run, by: User) -> bool:
    """What a dead worker left is taken up by itself within a minute, and by this at once."""
    if run.is_silent:
        runner.enqueue(run)
        return True
    return runner.resume(run, by)


# --- Base models


def problem_with_model(model: str) -> str:
    named = model in OF_OUR_MAKING or model.startswith("/") or HUB_NAME.fullmatch(model)
    return "" if named else NOT_A_MODEL


def problem_with_code(by: User, config: Config) -> str:
    return NO_CODE_OF_OTHERS if config.trust_remote_code and not by.is_superuser else ""


def known(model: str) -> tuple[Family, Size] | None:
    return next(((family, size) for family in FAMILIES for size in family.sizes if size.hub == model), None)


def suggestions() -> list[tuple[str, str]]:
    """Names on the hub, each with what it is."""
    sizes = [(family, size) for family in FAMILIES for size in family.sizes]
    told = [(size.hub, f"{family.title}, {size.billions:g} billion parameters") for family, size in sizes]
    spot = "random, made on the spot: only to walk the loop without a card"
    return [*told, *CLASSIFIERS.items(), (tiny.NAME, spot), (classifier_tiny.NAME, f"an image classifier, {spot}")]
