"""TRL's trainer, with the loss of a classifier and its score as the measure of what is best."""

import math
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from functools import partial
from pathlib import Path
from typing import Any

import torch
from accelerate.data_loader import DataLoaderShard
from accelerate.utils import gather_object
from peft.utils import SAFETENSORS_WEIGHTS_NAME
from safetensors.torch import load_file, save_file
from sklearn.metrics import accuracy_score, f1_score
from transformers import TrainerCallback
from transformers.trainer import SCHEDULER_NAME
from trl import SFTTrainer

from . import receipt, sharing
from .batches import IGNORED, BadBatch, Batches, Drawn, filled
from .config import Config
from .encoders import Encoder
from .load import CannotLoad
from .progress import Progress
from .scoring import answer_logits, bare, in_batches, score
from .trainable import check_moved

EARLY = 3  # steps: in the first the rate is 0 where it warms up; by then each adapter has moved, or never will


class Diverged(Exception):
    """The loss is no number any more."""


class Stopped(Exception):
    """Somebody asked it to stop, in the midst of an evaluation; a checkpoint is saved."""


class Finished(Exception):
    """It was stopped after its last step: there is nothing left to train."""


class Trainer(SFTTrainer):  # type: ignore[misc]
    control: Any
    loss_is_scaled_for_ga = False  # ours is a mean: several batches that make one step are to be averaged

    def __init__(
        self, *, config: Config, encoder: Encoder, answers: list[list[int]], labels: list[str], progress: Progress,
        **rest: Any,
    ) -> None:  # fmt: skip
        self.config, self.encoder, self.answers, self.labels, self.progress = config, encoder, answers, labels, progress
        super().__init__(**rest)
        self.add_callback(CatchUp(self))
        if config.method in ("qlora", "lora"):
            in_full_precision(self.model)

    def get_train_dataloader(self) -> Any:
        """Not prepared by accelerate, which would drop batches that are not full where several processes share them."""
        return DataLoaderShard(
            Drawn(self.train_dataset), device=self.args.device, collate_fn=self.data_collator,
            batch_sampler=batches_of(self.train_dataset, self.config, self.encoder, self.args),
            num_workers=self.args.dataloader_num_workers, pin_memory=self.args.dataloader_pin_memory,
        )  # fmt: skip

    def create_optimizer(self, model: Any = None) -> Any:
        optimizer = super().create_optimizer(model)
        if self.config.projector == "train":
            apart(optimizer, self.model, self.encoder.family.between, self.config.projector_lr)
        return optimizer

    def compute_loss(
        self, model: Any, inputs: dict[str, Any], return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> Any:
        weights = inputs.pop("weights")
        if int((inputs["labels"] != IGNORED).sum(1).min()) == 0:
            raise BadBatch("The answers in a batch are all masked: nothing could be learnt from it. Report this.")
        logits, labels = answer_logits(model, bare(self.model), inputs, self.encoder.apart)
        loss = answer_loss(logits, labels, weights, self.config.focal)
        return (loss, {"logits": logits}) if return_outputs else loss

    def evaluate(self, eval_dataset: Any = None, ignore_keys: Any = None, metric_key_prefix: str = "eval") -> Any:
        """Each post of the validation split is scored against all labels, as it is when the model is asked later."""
        measured = self.measure()
        metrics = {f"{metric_key_prefix}_{name}": value for name, value in measured.items()}
        self.progress.write("evaluation", step=self.state.global_step, **measured)
        self.log(metrics)
        self.control = self.callback_handler.on_evaluate(self.args, self.state, self.control, metrics)
        self.model.train()
        return metrics

    # --- What is saved, and loaded again. FSDP1 hides names that PEFT looks for: its part is ours.

    def save_model(self, output_dir: str | None = None, _internal_call: bool = False) -> None:
        """A checkpoint keeps the names that the model has: of whole weights under the names of a hub's file nothing
        would be loaded again, which only the log says. Nor does ZeRO-3 come by the right ones."""
        model = self.accelerator.unwrap_model(self.model)
        as_it_is = (_internal_call or sharing.kind() == "zero3") and not hasattr(model, "peft_config")
        if sharing.is_wrapped(self.model):
            self.save_gathered(Path(output_dir or self.args.output_dir))
        else:
            with named_as_it_is(model) if as_it_is else nullcontext():
                super().save_model(output_dir, _internal_call)

    def save_gathered(self, folder: Path) -> None:
        weights = sharing.gathered(self.model)
        if self.args.should_save:
            folder.mkdir(parents=True, exist_ok=True)
            save_file(weights, folder / SAFETENSORS_WEIGHTS_NAME, metadata={"format": "pt"})
            for adapter in self.model.peft_config.values():
                adapter.save_pretrained(folder)

    def _save_optimizer_and_scheduler(self, output_dir: str) -> None:
        """Each process its own part."""
        if not sharing.is_wrapped(self.model):
            super()._save_optimizer_and_scheduler(output_dir)
        else:
            Path(output_dir).mkdir(parents=True, exist_ok=True)  # it may be here before the first
            torch.save(self.optimizer.state_dict(), Path(output_dir) / self.own_part)
            if self.args.should_save:
                torch.save(self.lr_scheduler.state_dict(), Path(output_dir) / SCHEDULER_NAME)

    def _load_optimizer_and_scheduler(self, checkpoint: str | None) -> None:
        if checkpoint is None or not sharing.is_wrapped(self.model):
            super()._load_optimizer_and_scheduler(checkpoint)
        elif not (Path(checkpoint) / self.own_part).exists():
            raise CannotLoad("This run goes on with as many cards as it had when it was stopped, and with no others.")
        else:
            self.optimizer.load_state_dict(torch.load(Path(checkpoint) / self.own_part, weights_only=True))
            self.lr_scheduler.load_state_dict(torch.load(Path(checkpoint) / SCHEDULER_NAME, weights_only=True))

    @property
    def own_part(self) -> str:
        return f"optimizer-{self.args.process_index + 1}-of-{self.args.world_size}.pt"

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: Any = None) -> None:
        if sharing.is_wrapped(self.model):
            sharing.filled(self.model, load_file(Path(resume_from_checkpoint) / SAFETENSORS_WEIGHTS_NAME))
        else:
            super()._load_from_checkpoint(resume_from_checkpoint, model)

    def _load_best_model(self) -> None:
        if sharing.is_wrapped(self.model):
            self._load_from_checkpoint(self.state.best_model_checkpoint)
        else:
            super()._load_best_model()

    def _issue_warnings_after_load(self, load_result: Any) -> None:
        """A warning in the log is not enough: what was not loaded would be as the base has it."""
        super()._issue_warnings_after_load(load_result)
        tied = set(getattr(self.model, "all_tied_weights_keys", None) or ())
        if strange := sorted({*load_result.missing_keys, *load_result.unexpected_keys} - tied):
            raise CannotLoad(f"The checkpoint does not fit this model ({strange[0]}, and {len(strange) - 1} more).")

    def catch_up(self) -> None:
        """It may have been stopped where it was to be evaluated: nothing is to differ for that."""
        step = self.state.global_step
        if step and self.is_due(step) and not self.is_evaluated(step):
            self._determine_best_metric(metrics=self.evaluate(), trial=None)
        if step >= self.state.max_steps:
            raise Finished

    def is_evaluated(self, step: int) -> bool:
        return any(line.get("step") == step and "eval_macro_f1" in line for line in self.state.log_history)

    def is_due(self, step: int) -> bool:
        if self.args.eval_strategy == "steps":
            return bool(step % self.args.eval_steps == 0)
        epoch = -(-len(self.get_train_dataloader()) // self.args.gradient_accumulation_steps)
        return bool(self.args.eval_strategy == "epoch" and step % epoch == 0)

    def measure(self) -> dict[str, float]:
        """Each process takes its share of a round. Shares are equally large, and filled up with posts that are scored
        again and left out: where processes share the weights, each takes part in every pass of the others."""
        self.model.eval()
        found: list[tuple[str, str, float]] = []
        processes = self.args.world_size
        for numbers in in_batches(self.encoder, self.eval_dataset, self.config.evaluation_batch * processes):
            if asked_to_stop(self.progress, self.args):
                self._save_checkpoint(self.model, trial=None)
                raise Stopped
            size = -(-len(numbers) // processes)
            own = numbers[self.args.process_index * size :][:size]
            scored = self.scored([self.eval_dataset[n] for n in filled(own or numbers, size)])
            found += scored[: len(own)]
        return figures(gather_object(found) if processes > 1 else found, self.labels)

    def scored(self, posts: list[Any]) -> list[tuple[str, str, float]]:
        scores = score(self.model, self.encoder, posts, self.answers)
        right = torch.tensor([self.labels.index(post["label"]) for post in posts], device=scores.device)
        losses = torch.nn.functional.cross_entropy(scores, right, reduction="none").tolist()
        told = scores.argmax(1).tolist()
        return [(post["label"], self.labels[best], loss) for post, best, loss in zip(posts, told, losses, strict=True)]


def batches_of(posts: Any, config: Config, encoder: Encoder, arguments: Any) -> Batches:
    alike, processes, process = encoder.family.needs_picture, arguments.world_size, arguments.process_index
    return Batches(posts, config, alike, processes, process, sharing.is_cut_up())


@contextmanager
def named_as_it_is(model: Any) -> Iterator[None]:
    model.save_pretrained = partial(model.save_pretrained, save_original_format=False)
    try:
        yield
    finally:
        del model.save_pretrained


def in_full_precision(model: Any) -> None:
    """TRL rounds the adapters of a quantised model to bf16: late, small steps would be lost, and resuming inexact."""
    for parameter in model.parameters():
        if parameter.requires_grad:
            parameter.data = parameter.data.float()


def apart(optimizer: Any, model: Any, names: str, rate: float) -> None:
    """Gives what bears these names a learning rate of its own."""
    chosen = {id(weight) for name, weight in sharing.named(model) if re.fullmatch(names, name)}
    for group in list(optimizer.param_groups):
        moved = [weight for weight in group["params"] if id(weight) in chosen]
        group["params"] = [weight for weight in group["params"] if id(weight) not in chosen]
        if moved:
            optimizer.add_param_group({**group, "params": moved, "lr": rate})


def answer_loss(logits: torch.Tensor, labels: torch.Tensor, weights: torch.Tensor, focal: float) -> torch.Tensor:
    """Of the answers alone. What the model is sure of already counts less where focal weighting is asked for."""
    losses = torch.nn.functional.cross_entropy(
        logits.float().transpose(1, 2), labels, ignore_index=IGNORED, reduction="none"
    )
    told = (labels != IGNORED).sum(1).clamp(min=1)
    if focal:
        weights = weights * (1 - torch.exp(-losses.sum(1).detach())) ** focal
    return (losses.sum(1) / told * weights).mean()


def figures(found: list[tuple[str, str, float]], labels: list[str]) -> dict[str, float]:
    truth, told = [right for right, _, _ in found], [best for _, best, _ in found]
    return {
        "macro_f1": float(f1_score(truth, told, labels=labels, average="macro", zero_division=0)),
        "accuracy": float(accuracy_score(truth, told)), "loss": sum(loss for *_, loss in found) / max(1, len(found)),
    }  # fmt: skip


def asked_to_stop(progress: Progress, arguments: Any) -> bool:
    """By all processes or by none: one alone would leave the others waiting."""
    asked = torch.tensor(int(progress.stop_asked), device=arguments.device)
    if arguments.world_size > 1:
        torch.distributed.all_reduce(asked, torch.distributed.ReduceOp.MAX)
    return bool(asked)


class CatchUp(TrainerCallback):  # type: ignore[misc]
    def __init__(self, trainer: Trainer) -> None:
        self.trainer = trainer

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self.trainer.catch_up()


class Watch(TrainerCallback):  # type: ignore[misc]
    """Writes down each step, and stops what must not go on."""

    def __init__(self, progress: Progress, model: Any, before: dict[str, int]) -> None:
        self.progress, self.model = progress, model
        self.adapters = {name: was for name, was in before.items() if "lora_B" in name}
        self.began, self.first = time.monotonic(), 0

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self.began, self.first = time.monotonic(), state.global_step

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        if state.global_step == self.first + EARLY:
            check_moved(self.model, self.adapters)
        if asked_to_stop(self.progress, args):
            control.should_training_stop = control.should_save = True
            control.should_evaluate = args.load_best_model_at_end = False

    def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, float] | None = None, **_: Any) -> None:
        if not logs or "loss" not in logs:
            return
        if not math.isfinite(logs["loss"]):
            raise Diverged("The loss is not a number any more. Lower the learning rate, and start again.")
        steps, seconds = state.global_step - self.first, time.monotonic() - self.began
        posts = steps * args.per_device_train_batch_size * args.gradient_accumulation_steps * args.world_size
        self.progress.write(
            "step", step=state.global_step, of=state.max_steps, epoch=round(logs.get("epoch", 0.0), 3),
            loss=logs["loss"], lr=logs.get("learning_rate"), norm=logs.get("grad_norm"),
            samples_per_second=round(posts / seconds, 3) if seconds else None, seconds=round(seconds, 1),
            memory=torch.cuda.max_memory_allocated() if torch.cuda.is_available() else receipt.peak_memory(),
        )  # fmt: skip
