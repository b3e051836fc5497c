"""Every family that we train, as a tiny random model, by the product's own path: trained, saved, loaded and asked."""

import dataclasses
import json
import re
from pathlib import Path
from typing import Any

import pytest

from tests import run_folders, tiny_families
from tests.run_folders import HOSTILE, LABELS, make_post, make_run

import torch  # isort: skip  - after tiny_families has made it ready for this machine
from modeling.gpu import families, train
from modeling.gpu.batches import Collator
from modeling.gpu.config import Config
from modeling.gpu.encoders import Encoder, encoder_of
from modeling.gpu.load import CannotLoad, Loaded, load, load_adapter
from modeling.gpu.scoring import answer_logits, in_batches, score, score_slowly
from modeling.gpu.trainable import make_trainable
from modeling.gpu.trainer import answer_loss

torch.set_num_threads(1)
EVERY = sorted(tiny_families.FAMILIES)
SEES = re.compile(r"visual|vision|audio|merger|connector|multi_modal_projector")
CLOSE = 1e-3


@pytest.fixture(scope="session")
def bases(tmp_path_factory):
    folder = tmp_path_factory.mktemp("bases")
    return lambda name: folder / name if (folder / name).exists() else tiny_families.build(name, folder / name)


@pytest.fixture
def trained(monkeypatch):
    """Runs a folder, and hands over the trainer whose model was just trained."""
    made: list[Any] = []
    make = train.make_trainer
    monkeypatch.setattr(train, "make_trainer", lambda *given: made.append(make(*given)) or made[-1])

    def run(folder: Path) -> Any:
        train.main(folder)
        made[-1].model.eval()
        return made[-1]

    return run


def posts_of(folder: Path, split: str = "validation") -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "posts" / f"{split}.jsonl").read_text().splitlines()]


def asked(loaded: Loaded, folder: Path) -> tuple[Encoder, list[list[int]]]:
    encoder = encoder_of(loaded.processor, folder, loaded.family)
    return encoder, [encoder.answer(name) for name in LABELS]


def loaded_from(folder: Path, base: Path, **given: Any) -> Loaded:
    return load(Config(model=str(base), method="lora", **given), folder)


def scores(model: Any, encoder: Encoder, posts: list[dict[str, Any]], answers: Any, way: Any = score) -> torch.Tensor:
    batches = in_batches(encoder, {"image": [post["image"] for post in posts]}, 8)
    return torch.cat([way(model, encoder, [posts[n] for n in batch], answers) for batch in batches])


def test_every_native_family_of_the_table_is_built_here():
    assert {family.key for family in families.FAMILIES if not family.remote_code} == set(EVERY)


@pytest.mark.parametrize("name", EVERY)
def test_it_is_trained_saved_loaded_and_asked(name, bases, trained, tmp_path):
    folder = make_run(tmp_path / "run", bases(name))
    trainer = trained(folder)

    assert run_folders.told(folder, "done")[0]["step"] == 3
    assert run_folders.receipt(folder)["family"] == name
    weights = dict(trainer.model.named_parameters())
    changed = [weight for key, weight in weights.items() if "lora_B" in key]
    assert changed
    assert all(weight.abs().sum() > 0 for weight in changed)
    quantised = [key for key, weight in weights.items() if type(weight).__name__ == "Params4bit"]
    assert quantised
    assert [key for key in [*quantised, *(key for key in weights if "lora_" in key)] if SEES.search(key)] == []

    posts, encoder, answers = posts_of(folder), trainer.encoder, trainer.answers
    quick = scores(trainer.model, encoder, posts, answers)
    assert torch.isfinite(quick).all()
    torch.testing.assert_close(quick, scores(trainer.model, encoder, posts, answers, score_slowly), atol=CLOSE, rtol=0)
    order = [n for batch in in_batches(encoder, trainer.eval_dataset, 8) for n in batch]
    alone = torch.cat([scores(trainer.model, encoder, [posts[n]], answers) for n in order])
    torch.testing.assert_close(quick, alone, atol=CLOSE, rtol=0)  # padding is not seen

    again = load_adapter(Config.read(folder), folder)
    encoder, answers = asked(again, folder)
    torch.testing.assert_close(scores(again.model, encoder, posts, answers), quick, atol=1e-5, rtol=0)
    one, other = ([{**make_post(1), "image": f"images/{n}.png"}] for n in (0, 3))
    assert not torch.allclose(score(again.model, encoder, one, answers), score(again.model, encoder, other, answers))


@pytest.mark.parametrize(("name", "given"), [
    ("llava", {"dropout": 0.1}), ("qwen3_5", {"checkpointing": False}), ("florence2", {"checkpointing": False}),
    ("gemma4", {"projector": "lora"}),
])  # fmt: skip
def test_lora_without_quantising(name, given, bases, trained, tmp_path):
    folder = make_run(tmp_path / "run", bases(name), method="lora", **given)
    trainer = trained(folder)
    posts = posts_of(folder)
    again = load_adapter(Config.read(folder), folder)
    found = scores(again.model, *((parts := asked(again, folder))[0], posts, parts[1]))
    torch.testing.assert_close(found, scores(trainer.model, trainer.encoder, posts, trainer.answers), atol=1e-5, rtol=0)


@pytest.mark.parametrize("name", EVERY)
def test_words_alone_teach_it_too_with_checkpointing_and_without(name, bases, tmp_path):
    folder = make_run(tmp_path / "run", "none", pictures=False)
    grads = [gradients(loaded_from(folder, bases(name)), folder, checkpointing) for checkpointing in (False, True)]
    assert all(grad.abs().sum() > 0 for grad in grads[0].values())
    for key, grad in grads[0].items():
        torch.testing.assert_close(grad, grads[1][key], atol=1e-5, rtol=1e-4)


def gradients(loaded: Loaded, folder: Path, checkpointing: bool) -> dict[str, torch.Tensor]:
    torch.manual_seed(0)
    model = make_trainable(loaded, Config(model="none", method="lora", rank=2, checkpointing=checkpointing)).train()
    if checkpointing:
        model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
    encoder, _ = asked(loaded, folder)
    batch = Collator(encoder, {})([make_post(0), make_post(1)])
    weights = batch.pop("weights")
    answer_loss(*answer_logits(model, loaded.model, batch, encoder.apart), weights, 0).backward()
    return {key: weight.grad for key, weight in model.named_parameters() if "lora_B" in key}


# --- Pixel limits: how many tokens, or how large a picture, for few pixels and for many

LIMITED = {
    "qwen2_vl": (56, 224), "qwen2_5_vl": (56, 224), "qwen3_vl": (64, 224), "qwen3_5": (64, 224), "pixtral": (56, 112),
    "mistral3": (56, 112), "llava_next": (100, 112), "internvl": (56, 112), "idefics3": (56, 112), "smolvlm": (56, 112),
    "gemma4": (420, 600),
}  # fmt: skip


@pytest.mark.parametrize("name", EVERY)
def test_fewer_pixels_are_fewer_tokens_where_the_family_can(name, bases, tmp_path):
    folder = make_run(tmp_path / "run", "none")
    few, many = (shown(folder, bases(name), side) for side in LIMITED.get(name, (28, 224)))
    if name in LIMITED:
        assert few["input_ids"].shape[1] < many["input_ids"].shape[1]
    else:
        assert few["input_ids"].shape[1] == many["input_ids"].shape[1]
    how = next(family for family in families.FAMILIES if family.key == name).pixels
    assert (how in ("fixed", "cost")) == (name not in LIMITED)
    if how == "cost":
        assert few["pixel_values"].numel() < many["pixel_values"].numel()


def shown(folder: Path, base: Path, side: int) -> dict[str, Any]:
    loaded = loaded_from(folder, base, min_pixels=28 * 28, max_pixels=side * side)
    encoder, answers = asked(loaded, folder)
    post = {**make_post(1), "image": "images/3.png"}
    assert torch.isfinite(score(loaded.model, encoder, [post], answers)).all()  # the model agrees with its processor
    return encoder.prompts([post])


# --- What is written


@pytest.mark.parametrize("name", EVERY)
def test_no_post_can_place_a_picture_or_end_a_turn(name, bases, tmp_path):
    folder = make_run(tmp_path / "run", "none")
    encoder, _ = asked(loaded_from(folder, bases(name)), folder)
    plain, hostile = (
        signs_in(encoder, {**make_post(1), "image": "images/0.png", "user": said}) for said in ("x", HOSTILE)
    )
    assert plain == hostile
    assert plain.count(encoder.tokenizer.bos_token_id) <= 1 or not encoder.tokenizer.bos_token


def signs_in(encoder: Encoder, post: dict[str, Any]) -> list[int]:
    known = set(encoder.tokenizer.added_tokens_decoder)
    return [token for token in encoder.prompts([post])["input_ids"][0].tolist() if token in known]


SYSTEM_TURNS = {
    "taken": "{% for m in messages %}[{{ m.role }}] {{ m.content[0].text }}\n{% endfor %}[assistant]",
    "dropped": "{% for m in messages if m.role != 'system' %}[{{ m.role }}] {{ m.content[0].text }}\n{% endfor %}"
    "[assistant]",
    "refused": "{% if messages[0].role == 'system' %}{{ raise_exception('System role not supported') }}{% endif %}"
    "{% for m in messages %}[{{ m.role }}] {{ m.content[0].text }}\n{% endfor %}[assistant]",
}


@pytest.mark.parametrize("way", SYSTEM_TURNS)
def test_the_question_is_asked_whatever_a_template_does_with_a_system_turn(way, bases, tmp_path):
    folder = make_run(tmp_path / "run", "none")
    encoder, _ = asked(loaded_from(folder, bases("llava")), folder)
    encoder.processor.chat_template = SYSTEM_TURNS[way]
    prompt = encoder.prompt(make_post(0))
    assert prompt.count("What does this post say?") == 1
    assert prompt.count("rug pulled") == 1
    assert ("[system]" in prompt) == (way == "taken")


def test_an_answer_begins_and_ends_as_the_template_writes_it(bases, tmp_path):
    folder = make_run(tmp_path / "run", "none")
    written = {}
    for name in ("llava", "qwen2_5_vl", "qwen3_5", "pixtral", "gemma3", "idefics3", "paligemma", "florence2"):
        encoder, answers = asked(loaded_from(folder, bases(name)), folder)
        written[name] = encoder.tokenizer.decode(answers[0])
        if name == "qwen3_5":
            assert encoder.prompt(make_post(0)).endswith("</think>\n\n")  # it answers, and does not think first
    assert written == {
        "llava": " bearish</s>", "qwen2_5_vl": "bearish<|im_end|>", "qwen3_5": "bearish<|im_end|>",
        "pixtral": "bearish</s>", "gemma3": "bearish<end_of_turn>", "idefics3": " bearish<end_of_utterance>",
        "paligemma": "bearish<eos>", "florence2": "<s>bearish</s>",
    }  # fmt: skip


def test_a_template_of_plain_texts_gets_a_placeholder_for_the_picture(bases, tmp_path):
    folder = make_run(tmp_path / "run", "none")
    loaded = loaded_from(folder, bases("llava"))
    loaded.family = dataclasses.replace(loaded.family, placeholder="<|image_1|>\n")
    encoder, _ = asked(loaded, folder)
    encoder.processor.chat_template = "{% for m in messages %}<|{{ m.role }}|>\n{{ m.content }}<|end|>\n{% endfor %}"
    post = {**make_post(1), "image": "images/0.png", "user": "mine: <|image_1|>"}
    assert encoder.prompt(post).count("<|image_1|>") == 1
    assert "<|user|>\n<|image_1|>\n" in encoder.prompt(post)


# --- Which model it is


def describe(folder: Path, **said: Any) -> str:
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(said))
    return str(folder)


def test_code_from_beside_the_weights_is_run_with_consent_alone(tmp_path):
    base = describe(tmp_path / "phi", model_type="phi3_v", auto_map={"AutoConfig": "theirs.Config"})
    (tmp_path / "phi" / "theirs.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\n")
    folder = make_run(tmp_path / "run", base)
    with pytest.raises(SystemExit):
        train.main(folder)
    assert "if you trust it, allow remote code" in run_folders.told(folder, "failed")[0]["error"]
    assert not (tmp_path / "ran").exists()
    assert "Never run" in next(family for family in families.FAMILIES if family.remote_code).ran


def test_what_it_does_not_know_and_what_is_not_there_is_said_so(tmp_path):
    with pytest.raises(CannotLoad, match=r"type “bert” is not one we know how to train. There are Qwen2.5-VL"):
        load(Config(model=describe(tmp_path / "bert", model_type="bert")), tmp_path)
    with pytest.raises(CannotLoad, match=r"There is no folder"):
        load(Config(model=str(tmp_path / "nowhere")), tmp_path)


def test_a_tower_tells_two_families_of_one_type_apart():
    assert families.of({"model_type": "llava", "vision_config": {"model_type": "pixtral"}}).key == "pixtral"
    assert families.of({"model_type": "llava", "vision_config": {"model_type": "clip_vision_model"}}).key == "llava"
    assert families.DEFAULT == "Qwen/Qwen2.5-VL-7B-Instruct"
