"""How training goes: it stops when asked, goes on exactly, says what it did, and never trains on what is wrong."""

import math
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests import tiny_families
from tests.run_folders import make_post, make_run, receipt, told, write_posts

import torch  # isort: skip  - after tiny_families has made it ready for this machine
from safetensors.torch import load_file

from modeling.gpu import batches, encoders, train, trainer
from modeling.gpu.config import Config
from modeling.gpu.load import load_adapter
from modeling.gpu.progress import STOP, Progress

torch.set_num_threads(1)
ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def base(tmp_path_factory):
    return tiny_families.build("qwen2_5_vl", tmp_path_factory.mktemp("base") / "qwen2_5_vl")


def fails(folder: Path) -> str:
    with pytest.raises(SystemExit):
        train.main(folder)
    assert not (folder / "receipt.json").exists()
    return str(told(folder, "failed")[-1]["error"])


# --- What a run leaves behind


def test_the_receipt_says_what_was_done(base, tmp_path):
    folder = make_run(tmp_path / "run", base, method="lora")
    train.main(folder)
    said = receipt(folder)
    assert said["posts"]["train"] == {
        "posts": 8, "labels": {"bearish": 3, "neutral": 3, "very bullish indeed": 2}, "without_picture": 4,
    }  # fmt: skip
    assert said["steps"] == 3
    evaluation = told(folder, "evaluation")[0]
    assert said["best"] == {"macro_f1": evaluation["macro_f1"], "step": 3}
    assert said["used"]["processes"] == 1
    assert "base_model.model.model.language_model.layers.*.mlp.up_proj.lora_B.default.weight" in said["trained"]
    assert said["frozen"]["base_model.model.model.visual.blocks.*.attn.qkv.weight"] == 2
    assert not set(said["trained"]) & set(said["frozen"])
    assert "joules" not in said  # nobody measured it here
    assert said["code"]
    assert (said["starts"], said["seconds"] > 0) == (1, True)
    names = (folder / "trained_modules.txt").read_text().split()
    assert len(names) == sum(said["trained"].values())
    assert [line["step"] for line in told(folder, "step")] == [1, 2, 3]


def test_a_family_that_must_see_something_is_shown_blank_pictures_and_they_are_counted(tmp_path):
    folder = make_run(tmp_path / "run", tiny_families.build("paligemma", tmp_path / "base"))
    train.main(folder)
    assert receipt(folder)["posts"]["train"]["blank_pictures"] == 4


# --- Stopping and going on


def stop_after(step: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """As somebody would: by a file, while it runs."""
    write = Progress.write

    def watched(self: Progress, kind: str, **said: Any) -> None:
        write(self, kind, **said)
        if kind == "step" and said["step"] == step:
            (self.folder / STOP).touch()

    monkeypatch.setattr(Progress, "write", watched)


def weights_of(folder: Path, step: int) -> dict[str, torch.Tensor]:
    [saved] = (folder / "checkpoints" / f"checkpoint-{step}").glob("*model.safetensors")
    return load_file(saved)


@pytest.mark.parametrize(("method", "near"), [("lora", 0.0), ("qlora", 0.0), ("spectrum", 0.0)])
@pytest.mark.parametrize("after", [1, 2])  # before an evaluation that is due, and where it is
def test_stopped_and_resumed_it_ends_where_it_would_have(method, near, after, base, tmp_path, monkeypatch):
    given = {"method": method, "max_steps": 6, "evaluate_every": 3, "dropout": 0.1, "augment": True, "accumulation": 2}
    whole, halved = (make_run(tmp_path / name, base, **given) for name in ("whole", "halved"))
    train.main(whole)

    with monkeypatch.context() as patched:
        stop_after(after, patched)
        train.main(halved)
    assert told(halved)[-1]["kind"] == "stopped"
    assert told(halved)[-1]["step"] == after + 1  # within a step
    assert not (halved / "receipt.json").exists()
    (halved / STOP).unlink()
    train.main(halved)

    assert told(halved, "done")[0]["step"] == 6
    assert receipt(halved)["starts"] == 2
    for name, weight in weights_of(whole, 6).items():
        torch.testing.assert_close(weights_of(halved, 6)[name], weight, atol=near, rtol=0)
    losses = [[line["loss"] for line in told(folder, "step")] for folder in (whole, halved)]
    assert losses[0] == pytest.approx(losses[1], abs=near)
    measured = [{line["step"]: line["macro_f1"] for line in told(folder, "evaluation")} for folder in (whole, halved)]
    assert measured[0] == measured[1]
    assert receipt(whole)["best"] == receipt(halved)["best"]


def test_stopped_in_the_midst_of_an_evaluation_it_goes_on_from_there(base, tmp_path, monkeypatch):
    folder = make_run(tmp_path / "run", base, method="lora")
    scored = trainer.Trainer.scored
    with monkeypatch.context() as patched:
        patched.setattr(trainer.Trainer, "scored", lambda self, posts: (folder / STOP).touch() or scored(self, posts))
        train.main(folder)
    assert told(folder)[-1] | {"at": 0} == {"kind": "stopped", "at": 0, "step": 3}
    (folder / STOP).unlink()
    train.main(folder)
    assert [line["step"] for line in told(folder, "step")] == [1, 2, 3]  # none is taken twice
    assert [line["step"] for line in told(folder, "evaluation")] == [3]
    assert receipt(folder)["best"]["step"] == 3


@pytest.mark.parametrize("method", ["lora", "spectrum"])
def test_what_is_kept_is_the_best_checkpoint_and_not_the_last(method, base, tmp_path, monkeypatch):
    folder = make_run(tmp_path / "run", base, method=method, max_steps=4, evaluate_every=2)
    scores = iter([0.9, 0.1])
    monkeypatch.setattr(trainer, "figures", lambda *_: {"macro_f1": next(scores), "accuracy": 0.5, "loss": 1.0})
    train.main(folder)
    assert receipt(folder)["best"] == {"macro_f1": 0.9, "step": 2}
    kept = dict(load_adapter(Config.read(folder), folder).model.named_parameters())
    best, last = ({name.replace("lora_A.w", "lora_A.default.w").replace("lora_B.w", "lora_B.default.w"): weight
                   for name, weight in weights_of(folder, step).items()} for step in (2, 4))  # fmt: skip
    moved = [name for name, weight in best.items() if not torch.equal(weight, last[name])]
    assert moved
    assert all(torch.equal(kept[name], best[name]) for name in moved)


def test_asked_to_stop_before_the_first_step_it_trains_nothing(base, tmp_path):
    folder = make_run(tmp_path / "run", base)
    (folder / STOP).touch()
    train.main(folder)
    assert told(folder)[-1]["kind"] == "stopped"
    assert told(folder, "step") == []


def test_it_ends_when_it_gets_no_better(base, tmp_path):
    folder = make_run(tmp_path / "run", base, max_steps=40, evaluate_every=1, patience=2, lr=1e-7)
    train.main(folder)
    assert told(folder, "done")[0]["step"] == 3
    assert receipt(folder)["best"]["step"] == 1


# --- What must not be trained on


def test_a_label_that_is_not_listed(base, tmp_path):
    folder = make_run(tmp_path / "run", base)
    write_posts(folder, "train", [make_post(0), {**make_post(1), "label": "sideways"}])
    assert fails(folder) == "Post post-1 has the label “sideways”, which labels.json does not hold."


def test_no_posts(base, tmp_path):
    folder = make_run(tmp_path / "run", base)
    write_posts(folder, "train", [])
    assert fails(folder) == "There is no post to train on."


def test_a_broken_picture(base, tmp_path):
    folder = make_run(tmp_path / "run", base)
    whole = (folder / "images/0.png").read_bytes()
    for broken in (b"not a picture", whole[: len(whole) // 2]):
        (folder / "images/0.png").write_bytes(broken)
        assert "cannot be read (images/0.png)" in fails(folder)
    (folder / "images/0.png").unlink()
    assert "cannot be read (images/0.png)" in fails(folder)


def test_an_answer_without_words(base, tmp_path):
    folder = make_run(tmp_path / "run", base)
    write_posts(folder, "train", [{**make_post(0), "answer": " "}] * 2)
    assert "An answer is empty" in fails(folder)


@pytest.mark.parametrize(("lost", "said"), [(slice(None), "is all masked"), (slice(-1, None), "was cut")])
def test_an_answer_that_was_masked_or_cut(lost, said, base, tmp_path, monkeypatch):
    folder = make_run(tmp_path / "run", base)
    whole = encoders.with_answers

    def spoilt(*given: Any) -> Any:
        batch = whole(*given)
        batch["labels"][0, lost] = batches.IGNORED
        return batch

    monkeypatch.setattr(encoders, "with_answers", spoilt)
    assert said in fails(folder)


def test_a_batch_whose_answers_were_masked_on_the_way_to_the_loss(base, tmp_path, monkeypatch):
    folder = make_run(tmp_path / "run", base)
    whole = batches.Collator.__call__
    monkeypatch.setattr(
        batches.Collator, "__call__",
        lambda self, posts: (made := whole(self, posts)) | {"labels": torch.full_like(made["labels"], batches.IGNORED)},
    )  # fmt: skip
    assert "are all masked" in fails(folder)


def test_a_post_too_long_for_the_model(base, tmp_path, monkeypatch):
    folder = make_run(tmp_path / "run", base)
    monkeypatch.setattr(batches.Collator, "longest", 50, raising=False)
    made = train.collator
    monkeypatch.setattr(train, "collator", lambda *given: (one := made(*given), setattr(one, "longest", 50))[0])
    assert "and this model reads 50 at most" in fails(folder)


@pytest.mark.parametrize(("targets", "said"), [
    (r".*(visual.blocks.*qkv|q_proj)", "the vision module model.visual.blocks.0.attn.qkv would get an adapter"),
    (r".*visual.merger.*", "the vision module model.visual.merger.mlp.0 would get an adapter"),
    (r".*nothing.*", "no module would get an adapter"), (r"(", "no regular expression"),
])  # fmt: skip
def test_targets_that_would_adapt_what_sees(targets, said, base, tmp_path):
    assert said in fails(make_run(tmp_path / "run", base, targets=targets))


def test_a_vision_module_that_got_an_adapter_all_the_same(base, tmp_path, monkeypatch):
    folder = make_run(tmp_path / "run", base)
    import peft

    whole = peft.LoraConfig
    monkeypatch.setattr(peft, "LoraConfig", lambda **given: whole(**{**given, "exclude_modules": None}))
    assert "the vision module model.visual" in fails(folder)


@pytest.mark.parametrize("steps", [2, 8])  # noticed at the end, and early where there is much to come
def test_a_matrix_that_never_moved(steps, base, tmp_path, monkeypatch):
    folder = make_run(tmp_path / "run", base, max_steps=steps, evaluate_every=steps)
    whole = train.make_trainer

    def one_frozen(*given: Any) -> Any:
        made = whole(*given)
        stuck = next(weight for name, weight in made.model.named_parameters() if "o_proj.lora_B" in name)
        stuck.register_hook(torch.zeros_like)
        return made

    monkeypatch.setattr(train, "make_trainer", one_frozen)
    assert "never moved" in (error := fails(folder))
    assert "o_proj.lora_B" in error
    assert len(told(folder, "step")) <= trainer.EARLY


def test_a_loss_that_is_no_number(base, tmp_path, monkeypatch):
    folder = make_run(tmp_path / "run", base)
    whole = trainer.answer_loss
    monkeypatch.setattr(trainer, "answer_loss", lambda *given: whole(*given) * math.nan)
    assert fails(folder) == "The loss is not a number any more. Lower the learning rate, and start again."
    assert told(folder, "step") == []


def test_what_nobody_foresaw_is_told_too(base, tmp_path, monkeypatch):
    folder = make_run(tmp_path / "run", base)
    monkeypatch.setattr(train, "load", lambda *given: {}["surprise"])
    with pytest.raises(KeyError):
        train.main(folder)
    assert told(folder, "failed")[0]["error"] == "Something that was not foreseen, KeyError: 'surprise'"


def test_what_a_loaders_process_says_is_told_without_its_traceback():
    wrapped = "Caught BadBatch in worker process 0.\nOriginal Traceback:\n  File x\nmodeling.gpu.batches.BadBatch: No."
    assert train.words_of(batches.BadBatch(wrapped)) == "No."
    assert train.words_of(batches.BadBatch("The picture: broken.")) == "The picture: broken."


# --- Steps


def test_several_small_batches_make_the_same_step_as_one_large_one(base, tmp_path):
    """Where their sum were taken for their mean, the gradients would be twice as large."""
    given = {"method": "lora", "max_steps": 1, "evaluate_every": 1, "schedule": "constant", "clip": 1e9}
    one = make_run(tmp_path / "one", base, pictures=False, batch=8, accumulation=1, **given)
    four = make_run(tmp_path / "four", base, pictures=False, batch=2, accumulation=4, **given)
    for folder in (one, four):
        train.main(folder)
    norms = [told(folder, "step")[0]["norm"] for folder in (one, four)]
    assert norms[0] == pytest.approx(norms[1], rel=1e-3)


# --- Several processes


def test_two_processes_train_together(base, tmp_path):
    """Each on half of the batches: it comes to the same as one process that takes two of them for a step."""
    given = {"method": "lora", "train": 12, "max_steps": 3, "evaluate_every": 3, "projector": "lora"}
    two, one = make_run(tmp_path / "two", base, **given), make_run(tmp_path / "one", base, accumulation=2, **given)
    launch = [sys.executable, "-m", "accelerate.commands.launch", "--multi_gpu", "--num_processes", "2",
              "--num_machines", "1", "--mixed_precision", "no", "--dynamo_backend", "no", "--main_process_port", "0",
              "-m", "modeling.gpu.train", str(two)]  # fmt: skip
    ran = subprocess.run(
        launch, cwd=ROOT, env={**os.environ, "OMP_NUM_THREADS": "1"}, capture_output=True, text=True, timeout=300
    )
    assert ran.returncode == 0, ran.stderr[-3000:]
    train.main(one)

    assert receipt(two)["used"]["processes"] == 2
    assert [line["step"] for line in told(two, "step")] == [1, 2, 3]  # each is told once
    assert len(told(two, "evaluation")) == len(told(two, "done")) == 1
    for kind, name in (("step", "loss"), ("step", "norm"), ("evaluation", "loss"), ("evaluation", "macro_f1")):
        found = [[line[name] for line in told(folder, kind)] for folder in (one, two)]
        assert found[0] == pytest.approx(found[1], rel=1e-3)
    for name, weight in weights_of(one, 3).items():
        torch.testing.assert_close(weights_of(two, 3)[name], weight, atol=1e-4, rtol=0)


def test_of_several_processes_the_first_writes_and_a_failure_is_told_once(tmp_path, monkeypatch):
    first = Progress(tmp_path)
    monkeypatch.setenv("RANK", "1")
    second = Progress(tmp_path)
    for kind, one in (("step", second), ("step", first), ("failed", second), ("failed", first)):
        one.write(kind, by="second" if one is second else "first")
    assert [(line["kind"], line["by"]) for line in told(tmp_path)] == [("step", "first"), ("failed", "second")]
