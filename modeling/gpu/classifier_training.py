"""Trains an image classifier as train.py trains a language model: the same folder, the same progress, the same end."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import transformers
from transformers import EarlyStoppingCallback

from . import classifier, classifier_tiny, receipt, sharing
from .classifier import RESTS, PictureEncoder
from .config import Config
from .load import CannotLoad, Loaded
from .picture_changes import changed
from .progress import Progress
from .trainable import fingerprints
from .trainer import CatchUp, Trainer, Watch, named_as_it_is

Posts = Any  # a table of `datasets`, which keeps it on the disk


class NothingToSee(ValueError):
    """No post has a picture; the words say what to do."""


def prepared(
    config: Config, folder: Path, posts: dict[str, Posts], labels: list[dict[str, str]], progress: Progress, asked: Any
) -> tuple[Loaded, Any, list[receipt.Weight], dict[str, int], Any]:
    """All that is needed before the first step. Posts without a picture are left out, and counted."""
    names = [label["name"] for label in labels]
    known = classifier.prior(posts["train"]["label"], names)
    left_out = sum(not name for name in posts["train"]["image"])
    posts["train"] = with_picture(posts["train"])
    build_tiny(config, folder, names, progress)
    progress.write("state", doing="loading the base model")
    torch.manual_seed(config.seed)  # a new head begins with numbers drawn at random
    loaded = classifier.load(config, folder, names)
    loaded.used["left out without a picture"] = left_out
    asked.activation_checkpointing = config.checkpointing and loaded.model.supports_gradient_checkpointing
    before = {name: was for name, was in fingerprints(loaded.model).items() if RESTS not in name}
    weights = receipt.weights_of(loaded.model)
    encoder = PictureEncoder(loaded.processor, folder, loaded.family)
    encoder.whole = True
    trainer = PictureTrainer(
        config=config, encoder=encoder, labels=names, prior=known, progress=progress, model=loaded.model, args=asked,
        train_dataset=posts["train"], eval_dataset=posts["validation"] if len(posts["validation"]) else None,
        processing_class=loaded.processor, data_collator=collator(config, folder, loaded, posts["train"], names),
        callbacks=callbacks(config, progress, loaded.model, before, len(posts["validation"]) > 0),
    )  # fmt: skip
    return loaded, loaded.model, weights, before, trainer


def build_tiny(config: Config, folder: Path, names: Sequence[str], progress: Progress) -> None:
    with sharing.together().main_process_first():  # the others find what it built
        if config.model == classifier_tiny.NAME and not (folder / "base").exists():
            progress.write("state", doing="building a tiny classifier")
            classifier_tiny.build(folder / "base", names, config.seed)


def with_picture(posts: Posts) -> Posts:
    seen = [number for number, name in enumerate(posts["image"]) if name]
    if not seen:
        raise NothingToSee("No post to train on has a picture, and a classifier sees nothing else.")
    return posts if len(seen) == len(posts) else posts.select(seen)


def callbacks(
    config: Config, progress: Progress, model: Any, before: dict[str, int], validated: bool
) -> list[transformers.TrainerCallback]:
    stopping = [EarlyStoppingCallback(config.patience)] if config.patience and validated else []
    return [Watch(progress, model, before), *stopping]


# --- Batches


@dataclass
class PictureCollator:
    encoder: PictureEncoder
    weights: Mapping[str, float]  # by label
    numbers: Mapping[str, int]  # of the labels

    def __call__(self, posts: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        batch = self.encoder.prompts(posts)
        batch["labels"] = torch.tensor([self.numbers[post["label"]] for post in posts])
        batch["weights"] = torch.tensor([self.weights[post["label"]] for post in posts])
        return batch


def collator(config: Config, folder: Path, loaded: Loaded, posts: Posts, names: Sequence[str]) -> PictureCollator:
    encoder = PictureEncoder(loaded.processor, folder, loaded.family, changed if config.augment else None)
    encoder.whole = True
    return PictureCollator(encoder, weights_for(config, posts["label"]), {name: n for n, name in enumerate(names)})


def weights_for(config: Config, labels: Iterable[str]) -> dict[str, float]:
    """1 on the average, so that they leave the learning rate's meaning alone."""
    count = Counter(labels)
    mean = sum(n * config.weights.get(label, 1.0) for label, n in count.items()) / count.total()
    return {label: config.weights.get(label, 1.0) / mean for label in count}


# --- Steps


class PictureTrainer(transformers.Trainer):  # type: ignore[misc]
    """What is not about words is done as the other trainer does it."""

    control: Any
    loss_is_scaled_for_ga = False  # a mean: several batches that make one step are to be averaged
    get_train_dataloader = Trainer.get_train_dataloader
    evaluate = Trainer.evaluate
    measure = Trainer.measure
    catch_up = Trainer.catch_up
    is_evaluated = Trainer.is_evaluated
    is_due = Trainer.is_due

    def __init__(
        self, *, config: Config, encoder: PictureEncoder, labels: list[str], prior: dict[str, float],
        progress: Progress, **rest: Any,
    ) -> None:  # fmt: skip
        self.config, self.encoder, self.labels, self.prior, self.progress = config, encoder, labels, prior, progress
        self.columns = [[number] for number in range(len(labels))]
        self.unseen = torch.tensor([prior[name] for name in labels]).log()
        super().__init__(**rest)
        self.add_callback(CatchUp(self))

    def compute_loss(
        self, model: Any, inputs: dict[str, Any], return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> Any:
        labels, weights = inputs.pop("labels"), inputs.pop("weights")
        logits = model(**inputs).logits
        loss = picture_loss(logits, labels, weights, self.config.focal)
        return (loss, {"logits": logits}) if return_outputs else loss

    def scored(self, posts: list[Any]) -> list[tuple[str, str, float]]:
        scores = classifier.score(self.model, self.encoder, posts, self.columns, self.unseen)
        right = torch.tensor([self.labels.index(post["label"]) for post in posts])
        losses = torch.nn.functional.cross_entropy(scores, right, reduction="none").tolist()
        told = scores.argmax(1).tolist()
        return [(post["label"], self.labels[best], loss) for post, best, loss in zip(posts, told, losses, strict=True)]

    def save_model(self, output_dir: str | None = None, _internal_call: bool = False) -> None:
        """A checkpoint keeps the names that the model has, so that all of it is loaded again."""
        model = self.accelerator.unwrap_model(self.model)
        with named_as_it_is(model) if _internal_call else nullcontext():
            super().save_model(output_dir, _internal_call)
        if not _internal_call and self.args.should_save:
            classifier.keep_prior(Path(output_dir or str(self.args.output_dir)), self.prior)

    def _issue_warnings_after_load(self, load_result: Any) -> None:
        """A warning in the log is not enough: what was not loaded would be as the base has it."""
        super()._issue_warnings_after_load(load_result)
        if strange := sorted({*load_result.missing_keys, *load_result.unexpected_keys}):
            raise CannotLoad(f"The checkpoint does not fit this model ({strange[0]}, and {len(strange) - 1} more).")


def picture_loss(logits: torch.Tensor, labels: torch.Tensor, weights: torch.Tensor, focal: float) -> torch.Tensor:
    """What the model is sure of already counts less where focal weighting is asked for."""
    losses = torch.nn.functional.cross_entropy(logits.float(), labels, reduction="none")
    if focal:
        weights = weights * (1 - torch.exp(-losses.detach())) ** focal
    return (losses * weights).mean()
