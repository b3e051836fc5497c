"""What is drawn, shown and weighed: chance hangs on the seed and the place in the run alone."""

import json
from collections import Counter
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests import tiny_families
from tests.run_folders import LABELS, SYSTEM, make_post, make_run

import torch  # isort: skip  - after tiny_families has made it ready for this machine
from datasets import Dataset
from PIL import Image

from modeling.gpu import encoders, spectrum, train
from modeling.gpu.batches import Batches, Collator, Drawn
from modeling.gpu.config import Config
from modeling.gpu.load import load
from modeling.gpu.picture_changes import changed
from modeling.gpu.scoring import score
from modeling.gpu.trainer import answer_loss

torch.set_num_threads(1)


@pytest.fixture(scope="session")
def loaded(tmp_path_factory):
    base = tiny_families.build("qwen2_5_vl", tmp_path_factory.mktemp("base") / "qwen2_5_vl")
    return load(Config(model=str(base), method="lora", max_pixels=56 * 56, min_pixels=56 * 56), base)


def some(posts: int, **given: Any) -> Dataset:
    return Dataset.from_list([make_post(n, f"images/{n % 4}.png" if n % 3 else "", **given) for n in range(posts)])


def drawn(posts: Dataset, epoch: int = 0, processes: int = 1, process: int = 0, **given: Any) -> list[list[Any]]:
    batches = Batches(posts, Config(model="x", **{"batch": 3, **given}), False, processes, process)
    batches.set_epoch(epoch)
    found = list(batches)
    assert len(found) == len(batches)
    return found


def test_each_epoch_shows_every_post_once_in_another_order():
    posts = some(20)
    first, second = drawn(posts), drawn(posts, epoch=1)
    for batches in (first, second):
        assert sorted(post for batch in batches for post, _ in batch) == list(range(20))
        assert all(len({bool(posts[post]["image"]) for post, _ in batch}) == 1 for batch in batches)
    assert first == drawn(posts)
    assert first != second
    assert first != drawn(posts, seed=1)


@pytest.mark.parametrize("processes", [2, 3, 16])
def test_processes_share_the_batches_each_as_many(processes):
    posts = some(20)
    shares = [drawn(posts, processes=processes, process=process) for process in range(processes)]
    assert len({len(share) for share in shares}) == 1
    assert {post for share in shares for batch in share for post, _ in batch} == set(range(20))


def test_rare_labels_are_drawn_as_often_where_it_is_balanced():
    posts = Dataset.from_list([make_post(0 if n % 10 else 1) for n in range(200)])
    count = Counter(posts[post]["label"] for batch in drawn(posts, balanced=True) for post, _ in batch)
    assert count["neutral"] > 70  # of 200, where 20 are


def test_posts_come_with_their_place_in_the_run():
    posts = Drawn(some(3))
    assert posts[(2, "0 0 1")]["id"] == "post-2"
    assert posts[(2, "0 0 1")]["drawn"] == "0 0 1"
    assert len(posts) == 3


# --- Without words


def collator(loaded: Any, folder: Path, **given: Any) -> Collator:
    return Collator(encoders.encoder_of(loaded.processor, folder, loaded.family), {}, **given)


def words_shown(loaded: Any, folder: Path, posts: list[dict[str, Any]], share: float) -> list[bool]:
    collate = collator(loaded, folder, text_dropout=share)
    return [bool(collate.shown({**post, "drawn": f"0 0 {n}"})["user"]) for n, post in enumerate(posts)]


def test_words_are_left_out_only_where_the_picture_tells(loaded, tmp_path):
    tells, tells_not = make_post(0, "images/0.png", picture_tells=True), make_post(0, "images/0.png")
    no_picture = make_post(0, "", picture_tells=True)
    without = words_shown(loaded, tmp_path, [tells] * 300, 0.3).count(False)
    assert 60 < without < 120
    assert words_shown(loaded, tmp_path, [tells] * 300, 0.3).count(False) == without
    assert all(words_shown(loaded, tmp_path, [tells] * 50, 0.0))
    assert all(words_shown(loaded, tmp_path, [tells_not, no_picture] * 50, 0.9))


def test_the_question_stays_where_the_words_are_left_out(loaded, tmp_path):
    folder = make_run(tmp_path / "run", "none")
    post = make_post(0, "images/0.png", picture_tells=True, drawn="0 0 0")
    said = [loaded.processor.tokenizer.decode(collator(loaded, folder, text_dropout=share)([post])["input_ids"][0])
            for share in (0.0, 0.999)]  # fmt: skip
    assert ["rug pulled" in words for words in said] == [True, False]
    assert all(SYSTEM in words for words in said)


def test_a_picture_is_changed_by_its_place_and_in_training_alone(loaded, tmp_path):
    folder = make_run(tmp_path / "run", "none")
    encoder = encoders.encoder_of(loaded.processor, folder, loaded.family, changed)
    one, same, other = (
        encoder.picture(make_post(0, "images/1.png", drawn=place)) for place in ("0 0 1", "0 0 1", "0 1 1")
    )
    assert one.tobytes() == same.tobytes()
    assert (one.size, one.tobytes()) != (other.size, other.tobytes())
    plain = encoders.encoder_of(loaded.processor, folder, loaded.family).picture(make_post(0, "images/1.png"))
    with Image.open(folder / "images/1.png") as kept:
        assert plain.tobytes() == kept.convert("RGB").tobytes()


# --- The loss


def test_the_answer_alone_is_learnt(loaded, tmp_path):
    folder = make_run(tmp_path / "run", "none")
    batch = collator(loaded, folder)([make_post(0, "images/0.png"), make_post(2, "images/1.png")])
    said = [loaded.processor.tokenizer.decode(row[row >= 0]) for row in batch["labels"]]
    assert said == ["bearish<|im_end|>", "very bullish indeed<|im_end|>"]
    assert (batch["labels"][:, -1] >= 0).all()  # all end at one edge


def test_our_loss_is_the_models_own_where_nothing_is_weighed(loaded, tmp_path):
    folder = make_run(tmp_path / "run", "none")
    batch = collator(loaded, folder)([make_post(0, "images/0.png"), make_post(3, "images/1.png")])  # answers as long
    weights = batch.pop("weights")
    with torch.no_grad():
        theirs = loaded.model(**batch, use_cache=False).loss
        ours = answer_loss(*encoders_logits(loaded, batch), weights, 0)
    assert float(ours) == pytest.approx(float(theirs), rel=1e-5)


def encoders_logits(loaded: Any, batch: dict[str, Any]) -> tuple[torch.Tensor, torch.Tensor]:
    from modeling.gpu.scoring import answer_logits

    return answer_logits(loaded.model, loaded.model, dict(batch), False)


def test_weights_count_even_where_a_batch_is_of_one_label():
    logits, labels = torch.randn(2, 3, 7), torch.randint(0, 7, (2, 3))
    light = answer_loss(logits, labels, torch.tensor([1.0, 1.0]), 0)
    heavy = answer_loss(logits, labels, torch.tensor([3.0, 3.0]), 0)
    assert float(heavy) == pytest.approx(3 * float(light))


def test_weights_are_one_on_the_average_so_that_the_rate_keeps_its_meaning(loaded, tmp_path):
    posts = Dataset.from_list([make_post(n) for n in (0, 0, 0, 1)])
    config = Config(model="x", weights={"neutral": 5.0})
    weights = train.collator(config, tmp_path, loaded, posts).weights
    assert weights == {"bearish": 0.5, "neutral": 2.5}


def test_what_is_known_already_counts_less():
    sure, unsure = torch.tensor([[[8.0, 0.0]]]), torch.tensor([[[0.0, 0.0]]])
    one, label = torch.ones(1), torch.tensor([[0]])
    for focal in (1.0, 2.0):
        lost = [
            float(answer_loss(logits, label, one, focal) / answer_loss(logits, label, one, 0))
            for logits in (sure, unsure)
        ]
        assert lost[0] < 1e-3 < lost[1]


# --- Asking


def test_many_labels_are_asked_in_parts_that_agree(loaded, tmp_path, monkeypatch):
    folder = make_run(tmp_path / "run", "none")
    encoder = encoders.encoder_of(loaded.processor, folder, loaded.family)
    answers = [encoder.answer(f"{name} {n}") for n in range(7) for name in LABELS]
    posts = [make_post(n, f"images/{n}.png") for n in range(3)]
    whole = score(loaded.model, encoder, posts, answers)
    monkeypatch.setattr("modeling.gpu.scoring.ROWS", 6)
    torch.testing.assert_close(score(loaded.model, encoder, posts, answers), whole, atol=1e-4, rtol=0)


def test_a_batch_with_pictures_leaves_no_trace_in_the_next_without(loaded, tmp_path):
    folder = make_run(tmp_path / "run", "none")
    encoder = encoders.encoder_of(loaded.processor, folder, loaded.family)
    answers = [encoder.answer(name) for name in LABELS]
    words = [make_post(0), make_post(1)]
    before = score(loaded.model, encoder, words, answers)
    score(loaded.model, encoder, [make_post(2, "images/1.png"), make_post(3, "images/2.png")], answers)
    torch.testing.assert_close(score(loaded.model, encoder, words, answers), before)


# --- Spectrum's formula


def test_signal_is_what_stands_out_of_the_noise():
    values = torch.tensor([10.0, 1.0, 0.9, 0.8, 0.7])
    weight = torch.diag(values)
    quarter, three = 0.8, 1.0
    threshold = (three - quarter) / 1.349 * 2
    above, below = values[values > threshold].sum(), values[values <= threshold].sum()
    expected = float(above) / max(float(below), 1e-12) / 10.0
    assert spectrum.signal_to_noise(weight) == pytest.approx(expected, rel=1e-4)


def test_the_best_of_each_kind_are_chosen():
    torch.manual_seed(0)
    shape = SimpleNamespace(up=torch.randn(8, 8), down=torch.randn(8, 8))
    matrices = [
        (f"layers.{n}.{kind}.weight", getattr(shape, kind) * (n + 1)) for n in range(4) for kind in ("up", "down")
    ]
    found = spectrum.chosen(matrices, 0.5)
    assert Counter(name.split(".")[2] for name in found) == {"up": 2, "down": 2}
    assert len(spectrum.chosen(matrices, 0.01)) == 2  # one of each kind at least


def test_a_setting_that_there_is_not_is_said_so(tmp_path):
    (tmp_path / "config.json").write_text(json.dumps({"model": "x", "learning_rate": 1}))
    with pytest.raises(ValueError, match="“learning_rate” is nothing that can be set; there are accumulation, alpha"):
        Config.read(tmp_path)
