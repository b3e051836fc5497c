"""Asking a model: by the process itself, on every family, as adapter, merged and quantised; resumed and stopped."""

import dataclasses
import json
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from tests import run_folders, tiny_families
from tests.run_folders import LABELS, make_post, make_run

import torch  # isort: skip  - after tiny_families has made it ready for this machine
from modeling.gpu import predict, tiny
from modeling.gpu.config import Config
from modeling.gpu.encoders import encoder_of
from modeling.gpu.load import load
from modeling.gpu.scoring import score_slowly
from modeling.gpu.trainable import make_trainable

torch.set_num_threads(1)
CLOSE = 2e-3
EVERY = sorted(tiny_families.FAMILIES)


def make_asked(folder: Path, base: Path | str, posts: int = 4, pictures: bool = True, **ask: Any) -> Path:
    """A folder to be asked in: no line says what the answer should be."""
    make_run(folder, base, train=posts, validation=1, pictures=pictures, method="lora")
    made = [json.loads(line) for line in (folder / "posts/train.jsonl").read_text().splitlines()]
    asked = [{"number": n, **{k: post[k] for k in ("id", "system", "user", "image")}} for n, post in enumerate(made)]
    run_folders.write_posts(folder, "asked", asked)
    return asking(folder, **ask)


def asking(folder: Path, **ask: Any) -> Path:
    (folder / "ask.json").write_text(json.dumps(ask))
    return folder


def told(folder: Path) -> dict[int, list[float]]:
    lines = map(json.loads, (folder / predict.FILE).read_text().splitlines())
    return {line["number"]: line["scores"] for line in lines}


def anew(folder: Path, **ask: Any) -> dict[int, list[float]]:
    (folder / predict.FILE).unlink(missing_ok=True)
    predict.main(asking(folder, **ask))
    return told(folder)


def make_adapter(folder: Path, base: Path) -> Path:
    """As if it had been trained: every matrix has moved."""
    loaded = load(Config(model=str(base), method="lora", min_pixels=56 * 56, max_pixels=112 * 112), folder)
    model = make_trainable(loaded, Config(model=str(base), method="lora", rank=4))
    torch.manual_seed(0)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if "lora_B" in name:
                weight.normal_(std=0.1)
    model.save_pretrained(folder / "adapter")
    loaded.processor.save_pretrained(folder / "adapter")
    return folder / "adapter"


def far(one: dict[int, list[float]], other: dict[int, list[float]]) -> float:
    return max(abs(a - b) for n in one for a, b in zip(one[n], other[n], strict=True))


@pytest.fixture(scope="session")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.build(tmp_path_factory.mktemp("base") / "base", [*run_folders.TEXTS, run_folders.SYSTEM, *LABELS])


@pytest.mark.parametrize("name", EVERY)
def test_every_family_is_asked_as_adapter_merged_and_quantised(name, tmp_path):
    base = tiny_families.build(name, tmp_path / "base")
    folder = make_asked(tmp_path / "run", base, batch=3)
    adapter = str(make_adapter(folder, base))

    bare, tuned, merged = anew(folder), anew(folder, adapter=adapter), anew(folder, adapter=adapter, merged=True)
    assert sorted(bare) == sorted(tuned) == [0, 1, 2, 3]
    assert far(bare, tuned) > CLOSE, "the adapter was not asked"
    assert far(tuned, merged) < CLOSE
    for bits in (4, 8):
        few = anew(folder, adapter=adapter, bits=bits)
        used = run_folders.told(folder, "done")[-1]["used"]
        assert used["quantised"] == {4: "NF4, twice", 8: "8 bits"}[bits]
        assert far(tuned, few) > 0, "it was not quantised"
        assert all(score < 0 for scores in few.values() for score in scores)


def test_a_post_s_scores_are_those_of_a_whole_pass_for_each_label(base, tmp_path):
    folder = make_asked(tmp_path / "run", base, posts=8, batch=4)
    found = anew(folder)
    config = Config.read(folder)
    loaded = load(config, folder)
    loaded.model.eval()
    encoder = encoder_of(loaded.processor, folder, loaded.family)
    answers = [encoder.answer(label) for label in LABELS]
    for post in predict.lines(folder / "posts/asked.jsonl"):
        slowly = score_slowly(loaded.model, encoder, [post], answers)[0].tolist()
        assert found[post["number"]] == pytest.approx(slowly, abs=CLOSE)


def test_only_candidates_are_asked_about_where_a_post_names_them(base, tmp_path):
    folder = make_asked(tmp_path / "run", base, pictures=False)
    free = anew(folder)
    posts = list(predict.lines(folder / "posts/asked.jsonl"))
    posts[0]["candidates"] = [LABELS[2]]
    posts[1]["candidates"] = [LABELS[0], LABELS[2]]
    run_folders.write_posts(folder, "asked", posts)
    bound = anew(folder)
    assert bound[0][:2] == [predict.NEVER, predict.NEVER]
    assert bound[0][2] == pytest.approx(free[0][2], abs=CLOSE)
    assert bound[1][1] == predict.NEVER
    assert bound[2] == pytest.approx(free[2], abs=CLOSE)

    posts[1]["candidates"] = ["no label"]
    run_folders.write_posts(folder, "asked", posts)
    with pytest.raises(SystemExit):
        anew(folder)
    assert "no label" in run_folders.told(folder, "failed")[-1]["error"]


def test_examples_are_told_with_their_pictures_before_each_post(base, tmp_path):
    folder = make_asked(tmp_path / "run", base, batch=2)
    bare = anew(folder)
    shown = [make_post(1, "images/0.png"), make_post(2)]
    run_folders.write_posts(folder, "shown", shown)
    assert far(bare, anew(folder)) > CLOSE
    loaded = load(Config.read(folder), folder)
    encoder = encoder_of(loaded.processor, folder, loaded.family, shown=shown)
    told = encoder.prompt(make_post(0))
    assert told.count("<|im_start|>") == 7
    assert told.index(shown[0]["answer"]) < told.index(make_post(0)["user"])


@pytest.mark.parametrize("name", ["idefics2", "llava", "gemma3", "smolvlm", "internvl", "qwen3_5"])
def test_families_of_every_kind_of_template_take_examples(name, tmp_path):
    folder = make_asked(tmp_path / "run", tiny_families.build(name, tmp_path / "base"), batch=2)
    bare = anew(folder)
    run_folders.write_posts(folder, "shown", [make_post(1, "images/0.png"), make_post(2)])
    assert far(bare, anew(folder)) > 1e-6


@pytest.mark.parametrize("name", ["paligemma", "florence2"])
def test_a_family_that_reads_one_post_says_so(name, tmp_path):
    folder = make_asked(tmp_path / "run", tiny_families.build(name, tmp_path / "base"))
    run_folders.write_posts(folder, "shown", [make_post(1)])
    with pytest.raises(SystemExit):
        anew(folder)
    assert "cannot be shown examples" in run_folders.told(folder, "failed")[-1]["error"]


def test_what_was_answered_is_not_asked_again(base, tmp_path, monkeypatch):
    folder = make_asked(tmp_path / "run", base, posts=8, pictures=False)
    whole = anew(folder)
    lines = (folder / predict.FILE).read_bytes().splitlines(keepends=True)
    (folder / predict.FILE).write_bytes(b"".join(lines[:5]) + lines[5][:9])  # it died as it wrote
    asked: list[str] = []
    monkeypatch.setattr(predict.Asker, "score", spied(asked, predict.Asker.score))
    predict.main(folder)
    assert len(asked) == 3
    assert told(folder) == {n: pytest.approx(scores, abs=CLOSE) for n, scores in whole.items()}
    done = run_folders.told(folder, "done")[-1]
    assert (done["done"], done["asked"]) == (8, 3)


def spied(asked: list[str], score: Any) -> Any:
    return lambda self, posts: asked.extend(post["id"] for post in posts) or score(self, posts)


def test_a_batch_too_large_for_the_card_is_halved(base, tmp_path, monkeypatch):
    folder = make_asked(tmp_path / "run", base, posts=8, pictures=False, batch=8)
    whole = anew(folder)
    sizes: list[int] = []
    real = predict.Asker.score

    def scarce(self: Any, posts: Any) -> Any:
        sizes.append(len(posts))
        if len(posts) > 2:
            raise torch.OutOfMemoryError
        return real(self, posts)

    monkeypatch.setattr(predict.Asker, "score", scarce)
    monkeypatch.setattr(torch.cuda, "empty_cache", lambda: None)
    assert anew(folder, batch=8) == {n: pytest.approx(scores, abs=CLOSE) for n, scores in whole.items()}
    assert max(sizes[sizes.index(2) :]) <= 4
    assert run_folders.told(folder, "done")[-1]["used"]["batch"] == 2

    monkeypatch.setattr(predict.Asker, "score", lambda *_: (_ for _ in ()).throw(torch.OutOfMemoryError()))
    with pytest.raises(SystemExit):
        anew(folder)
    assert "memory is too small" in run_folders.told(folder, "failed")[-1]["error"]


def test_it_stops_when_asked_and_goes_on_where_it_was(base, tmp_path):
    folder = make_asked(tmp_path / "run", base, posts=8, pictures=False, batch=2)
    (folder / "stop").touch()
    predict.main(folder)
    assert run_folders.told(folder)[-1]["kind"] == "stopped"
    assert len(told(folder)) == 2
    (folder / "stop").unlink()
    predict.main(folder)
    assert run_folders.told(folder)[-1]["kind"] == "done"
    assert len(told(folder)) == 8


def test_a_killed_process_leaves_whole_lines_and_is_resumed(base, tmp_path):
    folder = make_asked(tmp_path / "run", base, posts=8, batch=1)
    command = [sys.executable, "-m", "modeling.gpu.predict", str(folder)]
    process = subprocess.Popen(command, cwd=Path(__file__).parent.parent, env=run_folders.environment())
    while not (folder / predict.FILE).exists() or not (folder / predict.FILE).read_bytes():
        assert process.poll() is None
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    predict.main(folder)
    assert sorted(told(folder)) == list(range(8))


def test_a_broken_picture_is_told_by_its_post(base, tmp_path):
    folder = make_asked(tmp_path / "run", base)
    (folder / "images/0.png").write_bytes(b"no picture")
    with pytest.raises(SystemExit):
        predict.main(folder)
    assert "The picture of post post-1 cannot be read" in run_folders.told(folder, "failed")[-1]["error"]


def test_a_model_that_answers_with_no_numbers_is_told_and_measured_on_nothing(base, tmp_path, monkeypatch):
    folder = make_asked(tmp_path / "run", base)
    really = predict.score
    monkeypatch.setattr(predict, "score", lambda *asked: really(*asked) * float("nan"))
    with pytest.raises(SystemExit):
        predict.main(folder)
    assert "was answered with no numbers" in run_folders.told(folder, "failed")[-1]["error"]
    monkeypatch.setattr(predict, "score", lambda *asked: really(*asked) - float("inf"))
    predict.main(folder)
    assert {score for scores in told(folder).values() for score in scores} == {predict.NEVER}


def test_it_cannot_be_asked_in_a_way_that_does_not_exist(tmp_path):
    with pytest.raises(ValueError, match="4, 8 or 16"):
        predict.Ask(bits=3)
    with pytest.raises(ValueError, match="16 bits"):
        predict.Ask(adapter="a", bits=4, merged=True)
    with pytest.raises(ValueError, match="nothing that can be set"):
        predict.Ask.from_json({"adaptor": "a"})
    assert dataclasses.asdict(predict.Ask()) == predict.Ask().as_json()
