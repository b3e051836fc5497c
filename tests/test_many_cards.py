"""Several cards on one run: what is started, what is refused, and that cut up among processes it learns the same. There
is no card here: two processes on the CPU, over gloo, stand for two."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import psutil
import pytest

from modeling.child import child
from modeling.gpu import many_cards
from modeling.gpu.config import Config
from modeling.training import run_settings, runner
from tests import tiny_families
from tests.run_folders import make_run, receipt, told

import torch  # isort: skip  - after tiny_families has made it ready for this machine
from accelerate import PartialState
from accelerate.commands.config.config_args import load_config_from_file
from accelerate.utils.deepspeed import HfDeepSpeedConfig
from safetensors.torch import load_file

from modeling.gpu import batches, sharing, train, trainer
from modeling.gpu.progress import STOP

torch.set_num_threads(1)
ROOT = Path(__file__).resolve().parent.parent
STEPS = 6


@pytest.fixture(scope="session")
def base(tmp_path_factory):
    return tiny_families.build("qwen2_5_vl", tmp_path_factory.mktemp("base") / "qwen2_5_vl")


def several(**given: Any) -> Config:
    return Config.from_json({"model": "tiny", "method": "lora", "cards": 2, **given})


# --- What is started


def test_one_card_needs_no_launcher(tmp_path):
    config = several(cards=1)
    assert many_cards.command(config, tmp_path, "python") == ["python", "-m", "modeling.gpu.train", str(tmp_path)]
    assert many_cards.files(config, tmp_path) == {}


@pytest.mark.parametrize(("sharing", "kind"), [("ddp", "MULTI_GPU"), ("fsdp", "FSDP"), ("zero3", "DEEPSPEED")])
def test_several_are_started_with_a_configuration_that_accelerate_reads(sharing, kind, tmp_path):
    config = several(cards=4, sharing=sharing, accumulation=3)
    [*_, trainer_itself, folder] = many_cards.command(config, tmp_path, sys.executable)
    assert (trainer_itself, folder) == ("modeling.gpu.train", str(tmp_path))
    for path, made in many_cards.files(config, tmp_path).items():
        path.write_text(json.dumps(made))
    read = load_config_from_file(str(tmp_path / many_cards.FILE))
    assert (str(read.distributed_type).rpartition(".")[2], read.num_processes) == (kind, 4)
    if sharing == "zero3":
        deepspeed = HfDeepSpeedConfig(read.deepspeed_config["deepspeed_config_file"])
        assert deepspeed.is_zero3()
        assert deepspeed.get_value("gradient_accumulation_steps") == 3


def test_packed_weights_are_cut_up_by_the_fsdp_that_they_survive():
    assert many_cards.for_fsdp(several(method="qlora"))["fsdp_version"] == 1
    assert {many_cards.for_fsdp(several(method=m))["fsdp_version"] for m in ("lora", "spectrum", "full")} == {2}


def test_another_number_of_cards_can_be_asked_for_where_it_starts():
    assert many_cards.on_cards(several(), {"CARDS": "3"}).cards == 3
    assert many_cards.on_cards(several(), {}).cards == 2
    with pytest.raises(ValueError, match="whole number, and not “all”"):
        many_cards.on_cards(several(), {"CARDS": "all"})


def test_a_run_of_before_was_on_one_card():
    before = {"model": "tiny", "method": "lora"}
    assert set(run_settings.differing(before, several(cards=1).as_json())).isdisjoint({"cards", "sharing"})
    assert {"cards", "sharing"} <= set(run_settings.differing(before, several(sharing="fsdp").as_json()))
    assert Config.from_json(before).cards == 1


# --- What is refused, in a sentence


@pytest.mark.parametrize(("given", "words"), [
    ({"cards": 0}, "one card at least"), ({"sharing": "magic"}, "no way to share"),
    ({"sharing": "zero3", "method": "spectrum"}, "which ZeRO-3 has cut up by then"),
])  # fmt: skip
def test_what_does_not_go_together(given, words):
    with pytest.raises(ValueError, match=words):
        several(**given)


@pytest.mark.skipif(many_cards.importlib.util.find_spec("deepspeed") is not None, reason="DeepSpeed is here")
def test_zero3_without_deepspeed_is_told_before_anything_starts(base, tmp_path):
    folder = make_run(tmp_path / "run", base, method="lora", cards=2, sharing="zero3")
    with pytest.raises(SystemExit, match="pip install deepspeed"):
        many_cards.main(folder)
    assert told(folder, "failed")[0]["error"].startswith("ZeRO-3 needs deepspeed: pip install deepspeed.")


def test_more_cards_than_there_are(monkeypatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "4")
    with pytest.raises(sharing.TooFewCards, match="to use 4 cards, and this machine has 2"):
        sharing.check_cards()


def test_a_model_that_cannot_be_cut_up(tmp_path, monkeypatch):
    folder = make_run(tmp_path / "run", tiny_families.build("florence2", tmp_path / "base"), method="lora")
    monkeypatch.setattr(sharing, "kind", lambda: "fsdp")
    monkeypatch.setattr(sharing, "together", lambda: PartialState(cpu=True))
    with pytest.raises(SystemExit):
        train.main(folder)
    assert "Florence-2 reads and writes with the same table of words" in told(folder, "failed")[0]["error"]


def test_an_adapter_that_was_not_saved_is_no_result(base, tmp_path, monkeypatch):
    folder = make_run(tmp_path / "run", base, method="lora", max_steps=1, evaluate_every=1)
    saved = trainer.Trainer.save_model

    def emptied(self: Any, where: str | None = None, _internal_call: bool = False) -> None:
        saved(self, where, _internal_call)
        for path in Path(where or "").glob("*.safetensors"):
            trainer.save_file({}, path)

    monkeypatch.setattr(trainer.Trainer, "save_model", emptied)
    with pytest.raises(SystemExit):
        train.main(folder)
    assert "were trained and only 0 were saved" in told(folder, "failed")[0]["error"]
    assert not (folder / "receipt.json").exists()


# --- Batches of processes that share the weights


@pytest.mark.parametrize("pictures", [(1, 0) * 9, (1,) * 7 + (0,) * 4, (0,) * 5])
def test_all_have_a_picture_at_a_time_or_none_has(pictures):
    posts = {"image": ["picture" if one else "" for one in pictures], "label": ["a"] * len(pictures)}
    shares = [list(batches.Batches(posts, several(), False, 2, n, in_step=True)) for n in range(2)]
    assert len(shares[0]) == len(shares[1]) == len(batches.Batches(posts, several(), False, 2, 0, in_step=True))
    for both in zip(*shares, strict=True):
        assert len({pictures[post] for batch in both for post, _ in batch}) == 1
    assert {post for share in shares for batch in share for post, _ in batch} == set(range(len(pictures)))


# --- For real


def launch(folder: Path, stop_after: int = 0) -> None:
    """As the site does, by hand, and asked to stop as soon as it told of that step."""
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    with (folder / "log.txt").open("wb") as log:
        started = subprocess.Popen(
            [*runner.PROGRAM, str(folder)], cwd=ROOT, env=environment, stdout=log, stderr=subprocess.STDOUT
        )
        while started.poll() is None:
            if stop_after and any(line["step"] == stop_after for line in steps(folder)):
                (folder / STOP).touch()
            time.sleep(0.02)
    assert started.returncode == 0, (folder / "log.txt").read_text()[-3000:]


def steps(folder: Path) -> list[dict[str, Any]]:
    return told(folder, "step") if (folder / "progress.jsonl").exists() else []


def train_alone(folder: Path, base: Path, monkeypatch: pytest.MonkeyPatch, **given: Any) -> Path:
    """One process that takes two batches for a step, as two processes draw them."""
    made = trainer.batches_of

    def in_rounds(*asked: Any) -> batches.Batches:
        drawn = made(*asked)
        drawn.at_once = 2
        return drawn

    make_run(folder, base, **{**given, "cards": 1, "accumulation": 2})
    with monkeypatch.context() as patched:
        patched.setattr(trainer, "batches_of", in_rounds)
        train.main(folder)
    return folder


def same(one: Path, other: Path) -> None:
    for kind, name in (("step", "loss"), ("step", "norm"), ("evaluation", "loss"), ("evaluation", "macro_f1")):
        found = [[line[name] for line in told(folder, kind)] for folder in (one, other)]
        assert found[0] == pytest.approx(found[1], rel=1e-3)
    weights = [load_file(folder / "adapter" / "adapter_model.safetensors") for folder in (one, other)]
    assert weights[0].keys() == weights[1].keys()
    for name, weight in weights[0].items():
        torch.testing.assert_close(weights[1][name], weight, atol=1e-4, rtol=0)
    assert receipt(one)["parameters"] == receipt(other)["parameters"]
    assert receipt(one)["trained"] == receipt(other)["trained"]


def test_lora_cut_up_among_two_learns_as_one_does(base, tmp_path, monkeypatch):
    given = {"method": "lora", "train": 12, "sharing": "fsdp", "cards": 2, "projector": "train"}
    two = make_run(tmp_path / "two", base, **given)
    launch(two)
    same(two, train_alone(tmp_path / "one", base, monkeypatch, **given))
    assert receipt(two)["used"]["processes"] == 2
    assert receipt(two)["used"]["shared"] == "FSDP: each held a part of it"


def test_qlora_cut_up_among_two_stops_resumes_and_learns_as_one_does(base, tmp_path, monkeypatch):
    """Wherever it was stopped. What is loaded again at its end is the better of two checkpoints."""
    given = {"method": "qlora", "train": 12, "sharing": "fsdp", "cards": 2, "max_steps": STEPS, "evaluate_every": 3}
    two = make_run(tmp_path / "two", base, **given)
    launch(two, stop_after=2)
    stopped = told(two)[-1]
    assert (stopped["kind"], stopped["step"] < STEPS) == ("stopped", True)
    (two / STOP).unlink()
    launch(two)
    assert [line["step"] for line in told(two, "step")] == list(range(1, STEPS + 1))
    same(two, train_alone(tmp_path / "one", base, monkeypatch, **given))
    assert receipt(two)["used"]["quantised"] == "NF4, twice"


def test_killed_outright_a_launcher_leaves_no_trainer(base, tmp_path):
    """An orphan would keep its card."""
    folder = make_run(tmp_path / "run", base, method="lora", cards=2, max_steps=10**6, evaluate_every=10**6)
    with (tmp_path / "log.txt").open("wb") as log, child([*runner.PROGRAM, str(folder)], log) as launcher:
        deadline = time.monotonic() + 120
        while not (folder / "progress.jsonl").exists() and launcher.poll() is None and time.monotonic() < deadline:
            time.sleep(0.05)
        trainers = psutil.Process(launcher.pid).children(recursive=True)
        assert len(trainers) >= 2, (tmp_path / "log.txt").read_text()[-3000:]
        os.kill(launcher.pid, signal.SIGKILL)
        launcher.wait()
        while any(map(lives, trainers)) and time.monotonic() < deadline:
            time.sleep(0.05)
    left = list(filter(lives, trainers))
    for one in left:
        one.kill()
    assert not left


def lives(process: psutil.Process) -> bool:
    """A dead one may wait for somebody to take note of it."""
    with contextlib.suppress(psutil.NoSuchProcess):
        return process.status() != psutil.STATUS_ZOMBIE
    return False
