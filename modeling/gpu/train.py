"""Fine-tunes a vision-language model, or an image classifier, on a run folder: `python -m modeling.gpu.train RUN_DIR`.

The folder holds config.json, labels.json, posts/train.jsonl, posts/validation.jsonl and the pictures they name. Into it
go progress.jsonl, checkpoints, the adapter and receipt.json. It knows neither Django nor our tables, and goes on from
the last checkpoint where there is one. For several cards many_cards.py starts several of it.
"""

import json
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from modeling.gpu import cpu_build

cpu_build.prepare()

import torch  # noqa: E402
from datasets import Dataset  # noqa: E402
from transformers import EarlyStoppingCallback  # noqa: E402
from trl import SFTConfig  # noqa: E402

from modeling.gpu import (  # noqa: E402
    checkpoints,
    classifier_as_it_is,
    classifier_training,
    families,
    full_disk,
    receipt,
    sharing,
    tiny,
)
from modeling.gpu.batches import BadBatch, Collator  # noqa: E402
from modeling.gpu.config import Config  # noqa: E402
from modeling.gpu.encoders import Encoder, encoder_of  # noqa: E402
from modeling.gpu.load import ADAPTER, CannotLoad, Loaded, first_line, load  # noqa: E402
from modeling.gpu.picture_changes import changed  # noqa: E402
from modeling.gpu.progress import Progress  # noqa: E402
from modeling.gpu.trainable import NeverMoved, NotSaved, check_moved, check_saved, fingerprints, make_trainable  # noqa: E402
from modeling.gpu.trainer import Diverged, Finished, Stopped, Trainer, Watch, asked_to_stop  # noqa: E402

EXPECTED = (
    BadBatch, CannotLoad, Diverged, NeverMoved, NotSaved, families.Unknown, sharing.TooFewCards, ValueError,
)  # fmt: skip


class Unfit(Exception):
    """The folder is not one to train on; the words say why."""


def main(folder: Path) -> None:
    sharing.die_with_launcher()
    progress = Progress(folder)
    try:
        sharing.check_cards()
        train(folder, progress)
        sharing.together().destroy_process_group()  # one that is left open may abort at the very end
    except (Unfit, *EXPECTED) as error:
        progress.write("failed", error=words_of(error))
        raise SystemExit(1) from error
    except torch.OutOfMemoryError as error:
        progress.write("failed", error=out_of_memory(Config.read(folder)))
        raise SystemExit(1) from error
    except OSError as error:
        progress.write("failed", error=full_disk.told(error, folder))
        raise SystemExit(1) from error
    except Exception as error:  # whatever it is, whoever watches is told; the whole of it goes to the log
        if full_disk.is_reason(error, folder):
            progress.write("failed", error=full_disk.WORDS)
            raise SystemExit(1) from error
        told = f"Something that was not foreseen, {type(error).__name__}: {first_line(error)}"
        progress.write("failed", error=told)
        raise


def train(folder: Path, progress: Progress) -> None:
    progress.write("state", doing="reading the posts")
    joules = receipt.joules_so_far()
    config = Config.read(folder)
    labels = json.loads((folder / "labels.json").read_text(encoding="utf-8"))
    posts = {split: read_posts(folder, split) for split in ("train", "validation")}
    check_posts(posts, {label["name"] for label in labels}, config)
    if config.as_is:
        classifier_as_it_is.take(config, folder, posts, labels, progress, joules)
        return

    asked = arguments(config, folder, len(posts["validation"]) > 0)  # first: ZeRO-3 cuts a model up as it is loaded
    prepare = classifier_training.prepared if config.is_classifier else prepared
    loaded, model, weights, before, trainer = prepare(config, folder, posts, labels, progress, asked)

    resumed = checkpoints.last_whole(folder, progress.is_main)
    if asked_to_stop(progress, trainer.args):
        progress.write("stopped", step=int(resumed.rpartition("-")[2]) if resumed else 0)
        return
    progress.write("state", doing="training", resumed=resumed and Path(resumed).name)
    try:
        trainer.train(resume_from_checkpoint=resumed)
    except Finished:
        if trainer.state.best_global_step not in (None, trainer.state.global_step):
            trainer._load_best_model()
    except Stopped:
        pass
    if not has_ended(trainer):
        progress.write("stopped", step=trainer.state.global_step)
        return

    check_moved(model, before)
    trainer.save_model(str(folder / ADAPTER))
    if progress.is_main:
        check_saved(folder / ADAPTER, sum(weight.is_trained for weight in weights))
        (folder / ADAPTER / "training_args.bin").unlink(missing_ok=True)  # a pickle
        loaded.processor.save_pretrained(str(folder / ADAPTER))
        receipt.write(folder, config, loaded, weights, receipt.outcome_of(trainer), posts, joules)
    progress.write("done", step=trainer.state.global_step)


def prepared(
    config: Config, folder: Path, posts: dict[str, Dataset], labels: list[dict[str, str]], progress: Progress,
    asked: SFTConfig,
) -> tuple[Loaded, Any, list[receipt.Weight], dict[str, int], Trainer]:  # fmt: skip
    """All that is needed before the first step."""
    with sharing.together().main_process_first():  # the others find what it built
        if config.model == tiny.NAME and not (folder / "base").exists():
            progress.write("state", doing="building a tiny model")
            tiny.build(folder / "base", list(texts_of(posts["train"])), config.seed)
    progress.write("state", doing="loading the base model")
    torch.manual_seed(config.seed)  # adapters begin with numbers drawn at random
    loaded = load(config, folder)
    check_sharing(loaded, config)
    model = make_trainable(loaded, config)
    before, weights = fingerprints(model), receipt.weights_of(model)
    sharing.name_layers(loaded.model)
    trainer = make_trainer(config, folder, loaded, model, posts, labels, before, progress, asked)
    return loaded, model, weights, before, trainer


def read_posts(folder: Path, split: str) -> Dataset:
    """As an Arrow file on disk: a million posts take no memory."""
    path = folder / "posts" / f"{split}.jsonl"
    if not path.exists() or not path.stat().st_size:
        return Dataset.from_list([])
    with sharing.together().main_process_first():
        return Dataset.from_json(str(path), cache_dir=str(folder / "cache"))


def check_posts(posts: dict[str, Dataset], labels: set[str], config: Config) -> None:
    if not len(posts["train"]):
        raise Unfit("There is no post to train on.")
    for split in filter(len, posts.values()):
        if unknown := sorted(set(split.unique("label")) - labels):
            post = next(post["id"] for post in split if post["label"] == unknown[0])
            raise Unfit(f"Post {post} has the label “{unknown[0]}”, which labels.json does not hold.")
    if config.projector != "frozen" and not any(posts["train"]["image"]):
        raise Unfit("The projector is to be trained, and no post has a picture. Leave it frozen.")


def check_sharing(loaded: Loaded, config: Config) -> None:
    if sharing.kind() == "fsdp" and loaded.family.encoding == "florence" and config.method != "qlora":
        raise Unfit(
            f"{loaded.family.title} reads and writes with the same table of words, which FSDP cannot cut up. It is "
            "small: let each card hold all of it (DDP)."
        )


def texts_of(posts: Dataset) -> Iterator[str]:
    for post in posts:
        yield f"{post['system']}\n{post['user']}\n{post['answer']}"


def make_trainer(
    config: Config, folder: Path, loaded: Loaded, model: Any, posts: dict[str, Dataset], labels: list[dict[str, str]],
    before: dict[str, int], progress: Progress, asked: SFTConfig,
) -> Trainer:  # fmt: skip
    encoder = encoder_of(loaded.processor, folder, loaded.family)
    validated = len(posts["validation"]) > 0
    stopping = [EarlyStoppingCallback(config.patience)] if config.patience and validated else []
    return Trainer(
        config=config, encoder=encoder, answers=[encoder.answer(label["answer"]) for label in labels],
        labels=[label["name"] for label in labels], progress=progress, model=model,
        args=asked, train_dataset=posts["train"],
        eval_dataset=posts["validation"] if validated else None, processing_class=loaded.processor,
        data_collator=collator(config, folder, loaded, posts["train"]),
        callbacks=[Watch(progress, model, before), *stopping],
    )  # fmt: skip


def collator(config: Config, folder: Path, loaded: Loaded, posts: Dataset) -> Collator:
    """Weights are 1 on the average, so that they leave the learning rate's meaning alone."""
    encoder: Encoder = encoder_of(loaded.processor, folder, loaded.family, changed if config.augment else None)
    count = Counter(posts["label"])
    mean = sum(n * config.weights.get(label, 1.0) for label, n in count.items()) / count.total()
    weights = {label: config.weights.get(label, 1.0) / mean for label in count}
    longest = getattr(loaded.model.config.get_text_config(), "max_position_embeddings", 0) or 0
    return Collator(encoder, weights, longest, config.text_dropout)


def arguments(config: Config, folder: Path, validated: bool) -> SFTConfig:
    on_card = torch.cuda.is_available()
    when = "no" if not validated else "steps" if config.evaluate_every else "epoch"
    steps = {"eval_steps": config.evaluate_every, "save_steps": config.evaluate_every} if when == "steps" else {}
    cut_up = sharing.is_cut_up()
    return SFTConfig(
        output_dir=str(folder / "checkpoints"), per_device_train_batch_size=config.batch,
        gradient_accumulation_steps=config.accumulation, num_train_epochs=config.epochs,
        max_steps=config.max_steps or -1, learning_rate=config.lr, lr_scheduler_type=config.schedule,
        warmup_steps=config.warmup, weight_decay=config.weight_decay, max_grad_norm=config.clip,
        gradient_checkpointing=config.checkpointing, gradient_checkpointing_kwargs={"use_reentrant": False},
        eval_strategy=when, save_strategy=when if validated else "epoch", save_total_limit=2, **steps,
        load_best_model_at_end=validated, metric_for_best_model="macro_f1", greater_is_better=True,
        optim="paged_adamw_8bit" if on_card and config.method == "qlora" and not cut_up else "adamw_torch",
        bf16=on_card, tf32=on_card or None, use_cpu=sharing.uses_cpu(), seed=config.seed, data_seed=config.seed,
        logging_steps=1, logging_nan_inf_filter=False, report_to=[], remove_unused_columns=False, max_length=None,
        disable_tqdm=True, dataset_kwargs={"skip_prepare_dataset": True}, dataloader_num_workers=2 if on_card else 0,
        dataloader_pin_memory=on_card,
        ddp_find_unused_parameters=config.projector != "frozen",  # it rests where a batch has no pictures
        accelerator_config={"use_configured_state": cut_up and not on_card},  # as `together` made it
    )  # fmt: skip


def has_ended(trainer: Trainer) -> bool:
    """With its last step, or because it got no better; not because it was asked to stop."""
    state = trainer.state
    evaluated = not trainer.is_due(state.global_step) or trainer.is_evaluated(state.global_step)
    if state.global_step >= state.max_steps:
        return evaluated
    return bool(trainer.control.should_training_stop) and not trainer.progress.stop_asked


def words_of(error: BaseException) -> str:
    """Of a loader's process it comes with that process's traceback around it."""
    return str(error).strip().rpartition(f"{type(error).__name__}: ")[2]


def out_of_memory(config: Config) -> str:
    smaller = [
        f"a batch of {config.batch // 2} with accumulation {config.accumulation * 2}" if config.batch > 1 else "",
        "gradient checkpointing" if not config.checkpointing else "",
        f"at most {config.max_pixels // 2:,} pixels a picture" if not config.is_classifier else "",
        "a smaller model" if config.method in ("qlora", "classifier") else "QLoRA",
    ]
    return f"The card's memory was too small. Try {', or '.join(filter(None, smaller))}, in a run like this one."


if __name__ == "__main__":
    main(Path(sys.argv[1]))
