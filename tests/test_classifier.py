"""Image classifiers: they learn, stop, go on and are asked like any other run, by the picture alone."""

import json
import math
from dataclasses import replace
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.core.management import call_command

from annotate.models import Role, Vote
from modeling.cascade import choosing
from modeling.chat import Chat
from modeling.datasets.items import items
from modeling.datasets.recipe import Recipe
from modeling.evaluation import evaluating, predictors
from modeling.evaluation.folder import asked_how
from modeling.evaluation.predictors import Predictor
from modeling.models import Dataset, Evaluation, JobState, Run, RunState
from modeling.prelabelling import prelabelling
from modeling.training import bundle, estimates, results, run_folder, runner, starting, training_presets
from tests import run_folders
from tests.drawn_breeds import LABELS, QUICK, drawn, make_run
from tests.make import make_member, make_project
from tests.run_folders import receipt, told
from tests.test_dataset import freeze

from modeling.gpu import cpu_build  # isort: skip

cpu_build.prepare()
import torch  # noqa: E402
from PIL import Image, ImageChops  # noqa: E402
from safetensors.torch import load_file  # noqa: E402

from modeling.gpu import classifier, classifier_tiny, predict, train  # noqa: E402
from modeling.gpu.classifier_training import PictureTrainer, picture_loss  # noqa: E402
from modeling.gpu.config import Config  # noqa: E402
from modeling.gpu.hashing import hash_of  # noqa: E402
from modeling.gpu.picture_changes import changed, strongly_changed, thinned  # noqa: E402
from modeling.gpu.predict import NEVER  # noqa: E402
from modeling.gpu.progress import STOP, Progress  # noqa: E402

torch.set_num_threads(1)
FEW = LABELS[:3]


def few(folder: Path, **given: Any) -> Path:
    return make_run(folder, FEW, train=8, validation=4, **{"batch": 6, "max_steps": 6, "evaluate_every": 3, **given})


def fails(folder: Path) -> str:
    with pytest.raises(SystemExit):
        train.main(folder)
    assert not (folder / "receipt.json").exists()
    return str(told(folder, "failed")[-1]["error"])


def to_ask(folder: Path, posts: list[dict[str, Any]], **ask: Any) -> Path:
    """The folder as whoever asks writes it; answers are not in it."""
    asked = [{"number": n, **{k: v for k, v in post.items() if k not in ("answer", "label")}}
             for n, post in enumerate(posts, 1)]  # fmt: skip
    run_folders.write_posts(folder, "asked", asked)
    (folder / "ask.json").write_text(json.dumps(ask))
    return folder


def posts_of(folder: Path, split: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / f"posts/{split}.jsonl").read_text().splitlines()]


def asked(folder: Path) -> list[list[float]]:
    predict.main(folder)
    lines = map(json.loads, (folder / "predictions.jsonl").read_text().splitlines())
    return [line["scores"] for line in sorted(lines, key=lambda line: line["number"])]


# --- What it learns


def test_it_tells_sixty_seven_labels_apart_on_a_cpu(tmp_path):
    folder = make_run(tmp_path / "run", epochs=12)
    train.main(folder)
    best = max(line["accuracy"] for line in told(folder, "evaluation"))
    assert best > 20 / 67  # by chance one in 67
    held = posts_of(folder, "validation")
    rows = asked(to_ask(folder, held, adapter=str(folder / "adapter")))
    right = sum(LABELS[max(range(67), key=row.__getitem__)] == post["label"]
                for row, post in zip(rows, held, strict=True))  # fmt: skip
    assert right / len(held) == pytest.approx(best)
    assert all(sum(map(math.exp, row)) == pytest.approx(1, abs=1e-3) for row in rows)


def test_the_run_tells_what_any_other_tells(tmp_path):
    folder = few(tmp_path / "run")
    train.main(folder)
    assert [line["step"] for line in told(folder, "step")] == [1, 2, 3, 4, 5, 6]
    evaluation = told(folder, "evaluation")[0]
    assert evaluation.keys() >= {"step", "macro_f1", "accuracy", "loss"}
    said = receipt(folder)
    assert said["family"] == "classifier"
    assert said["posts"]["train"] == {"posts": 24, "labels": dict.fromkeys(FEW, 8), "without_picture": 0}
    assert said["parameters"]["trained"] == said["parameters"]["all"]
    names = {path.name for path in (folder / "adapter").iterdir()}
    assert names == {"config.json", "model.safetensors", "preprocessor_config.json", "classifier.json"}


@pytest.mark.parametrize("kind", ["ViT", "Swin", "Dinov2"])
def test_any_classifier_of_transformers_learns(kind, tmp_path):
    import transformers

    sizes = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32,
             "image_size": 32, "patch_size": 8}  # fmt: skip
    if kind == "Swin":
        sizes = {"image_size": 32, "patch_size": 2, "embed_dim": 8, "depths": [1, 1], "num_heads": [1, 2],
                 "window_size": 4}  # fmt: skip
    config = getattr(transformers, f"{kind}Config")(**sizes, num_labels=7)
    getattr(transformers, f"{kind}ForImageClassification")(config).save_pretrained(tmp_path / "base")
    transformers.ViTImageProcessor(size={"height": 32, "width": 32}).save_pretrained(tmp_path / "base")
    folder = few(tmp_path / "run", model=str(tmp_path / "base"), checkpointing=True)
    train.main(folder)
    assert told(folder, "done")
    rows = asked(to_ask(folder, posts_of(folder, "validation"), adapter=str(folder / "adapter")))
    assert {len(row) for row in rows} == {3}


def test_rare_labels_weigh_more_and_what_is_known_less():
    logits, labels = torch.tensor([[2.0, 0.0], [0.0, 2.0]]), torch.tensor([0, 0])
    plain = picture_loss(logits, labels, torch.ones(2), 0.0)
    assert plain == pytest.approx(float(torch.nn.functional.cross_entropy(logits, labels)))
    assert picture_loss(logits, labels, torch.tensor([1.0, 3.0]), 0.0) > plain
    assert picture_loss(logits, labels, torch.ones(2), 2.0) < plain


# --- Stopped, resumed, kept


def stop_after(step: int, monkeypatch: pytest.MonkeyPatch) -> None:
    write = Progress.write

    def watched(self: Progress, kind: str, **said: Any) -> None:
        write(self, kind, **said)
        if kind == "step" and said["step"] == step:
            (self.folder / STOP).touch()

    monkeypatch.setattr(Progress, "write", watched)


@pytest.mark.parametrize("after", [1, 2])  # before an evaluation that is due, and where it is
def test_stopped_and_resumed_it_ends_where_it_would_have(after, tmp_path, monkeypatch):
    whole, halved = (few(tmp_path / name, augment=True, accumulation=2) for name in ("whole", "halved"))
    train.main(whole)
    with monkeypatch.context() as patched:
        stop_after(after, patched)
        train.main(halved)
    assert told(halved)[-1]["kind"] == "stopped"
    (halved / STOP).unlink()
    train.main(halved)
    one, other = (load_file(folder / "adapter" / "model.safetensors") for folder in (whole, halved))
    assert all(torch.equal(one[name], other[name]) for name in one)
    losses = [[line["loss"] for line in told(folder, "step")] for folder in (whole, halved)]
    assert losses[0] == losses[1]
    assert receipt(whole)["best"] == receipt(halved)["best"]
    assert receipt(halved)["starts"] == 2


def test_what_is_kept_is_the_best_and_not_the_last(tmp_path, monkeypatch):
    real, scores = PictureTrainer.measure, iter([0.9, 0.1])
    monkeypatch.setattr(PictureTrainer, "measure", lambda self: {**real(self), "macro_f1": next(scores)})
    train.main(few(tmp_path / "long", schedule="constant"))
    scores = iter([0.9])
    train.main(few(tmp_path / "short", schedule="constant", max_steps=3))
    long, short = (load_file(tmp_path / name / "adapter" / "model.safetensors") for name in ("long", "short"))
    assert all(torch.equal(long[name], short[name]) for name in long)
    assert receipt(tmp_path / "long")["best"] == {"macro_f1": 0.9, "step": 3}


def test_it_stops_where_it_gets_no_better(tmp_path, monkeypatch):
    real = PictureTrainer.measure
    monkeypatch.setattr(PictureTrainer, "measure", lambda self: {**real(self), "macro_f1": 0.5})
    folder = few(tmp_path / "run", max_steps=30, patience=2)
    train.main(folder)
    assert receipt(folder)["steps"] == 9


def test_a_loss_that_is_no_number_ends_the_run(tmp_path, monkeypatch):
    folder = few(tmp_path / "run")
    real = classifier_tiny.build

    def broken(*given: Any) -> Path:
        path = real(*given)
        weights = load_file(path / "model.safetensors")
        from safetensors.torch import save_file

        save_file({name: weight * math.nan for name, weight in weights.items()}, path / "model.safetensors",
                  {"format": "pt"})  # fmt: skip
        return path

    monkeypatch.setattr(classifier_tiny, "build", broken)
    assert "not a number any more" in fails(folder)


# --- Posts without a picture


def without_pictures(folder: Path, split: str, every: int) -> None:
    posts = posts_of(folder, split)
    run_folders.write_posts(
        folder, split, [post | ({} if n % every else {"image": ""}) for n, post in enumerate(posts)]
    )


def test_posts_without_a_picture_are_left_out_and_told_how_common_each_label_was(tmp_path):
    folder = few(tmp_path / "run")
    posts = posts_of(folder, "train")
    run_folders.write_posts(folder, "train", [
        post | ({"image": ""} if n < 6 else {"label": FEW[0], "answer": FEW[0]}) for n, post in enumerate(posts)
    ])  # fmt: skip
    without_pictures(folder, "validation", 2)
    train.main(folder)
    said = receipt(folder)
    assert said["posts"]["train"]["posts"] == 18
    assert said["used"]["left out without a picture"] == 6
    blind = {**posts_of(folder, "validation")[0], "image": ""}
    [row] = asked(to_ask(folder, [blind], adapter=str(folder / "adapter")))
    assert [math.exp(value) for value in row] == pytest.approx([21 / 27, 3 / 27, 3 / 27], abs=1e-5)
    assert told(folder, "done")[-1]["used"]["without a picture"] == 1


def test_without_any_picture_there_is_nothing_to_learn(tmp_path):
    folder = few(tmp_path / "run")
    without_pictures(folder, "train", 1)
    assert fails(folder) == "No post to train on has a picture, and a classifier sees nothing else."


# --- Asked


def test_no_label_but_a_candidate_wins(tmp_path):
    folder = few(tmp_path / "run", model="tiny-picture")
    posts = [post | {"candidates": [FEW[2], FEW[1]]} for post in posts_of(folder, "validation")]
    rows = asked(to_ask(folder, posts))
    assert all(row[0] == NEVER and row[1] > NEVER and row[2] > NEVER for row in rows)


def saved(folder: Path, names: list[str]) -> Path:
    return classifier_tiny.build(folder, names)


def test_a_checkpoint_is_asked_as_it_is_by_the_names_of_its_classes(tmp_path):
    base = saved(tmp_path / "base", ["tabby", FEW[1].upper().replace(" ", "_"), FEW[0]])
    folder = few(tmp_path / "run", model=str(base))
    rows = asked(to_ask(folder, posts_of(folder, "validation")))
    assert all(row[2] == classifier.UNKNOWN for row in rows)
    assert all(0 < sum(map(math.exp, row)) < 1 for row in rows)  # what “tabby” got is nobody's


@pytest.mark.parametrize(("names", "sentence"), [
    (["tabby", "tiger"], "knows none of this project's 3 labels by name; it knows tabby, tiger"),
    (["tabby", FEW[0]], "knows 1 of this project's 3 labels"),
])  # fmt: skip
def test_a_checkpoint_of_other_labels_is_not_asked(names, sentence, tmp_path):
    folder = to_ask(few(tmp_path / "run", model=str(saved(tmp_path / "base", names))), [])
    with pytest.raises(SystemExit):
        predict.main(folder)
    assert sentence in told(folder, "failed")[-1]["error"]


def test_it_is_not_asked_as_models_that_read_are(tmp_path):
    folder = to_ask(few(tmp_path / "run"), [], bits=4)
    with pytest.raises(SystemExit):
        predict.main(folder)
    assert "with the bits that it has" in told(folder, "failed")[-1]["error"]


# --- Taken as it is


THEIRS = ["tabby", FEW[1].upper().replace(" ", "_"), FEW[0]]  # they do not know our third


def test_a_checkpoint_taken_as_it_is_answers_as_it_did(tmp_path):
    base = saved(tmp_path / "base", THEIRS)
    folder = few(tmp_path / "run", model=str(base), as_is=True)
    train.main(folder)
    one, other = (load_file(path / "model.safetensors") for path in (base, folder / "adapter"))
    assert one.keys() == other.keys()
    assert all(torch.equal(one[name], other[name]) for name in one)
    held = posts_of(folder, "validation")
    rows = asked(to_ask(folder, held, adapter=str(folder / "adapter")))
    assert rows == asked(to_ask(few(tmp_path / "plain", model=str(base)), held))
    assert all(row[2] == classifier.UNKNOWN for row in rows)
    [line] = told(folder, "evaluation")
    right = [FEW[max(range(3), key=row.__getitem__)] == post["label"] for row, post in zip(rows, held, strict=True)]
    assert (line["step"], line["accuracy"]) == (0, pytest.approx(sum(right) / len(right)))
    assert 0 < line["loss"] < 40  # also where the right label is one that it does not know


def test_the_receipt_says_that_nothing_was_trained(tmp_path):
    folder = few(tmp_path / "run", model=str(saved(tmp_path / "base", THEIRS)), as_is=True)
    train.main(folder)
    said = receipt(folder)
    assert said["method"] == "as it is, nothing was trained"
    assert (said["steps"], said["trained"], said["parameters"]["trained"]) == (0, {}, 0)
    assert said["parameters"]["all"] > 0
    assert said["adapter"] == hash_of(folder / "adapter")
    assert told(folder)[-1]["kind"] == "done"
    assert not told(folder, "step")
    names = {path.name for path in (folder / "adapter").iterdir()}
    assert names == {"config.json", "model.safetensors", "preprocessor_config.json", "classifier.json"}


def test_of_a_post_without_a_picture_it_says_how_common_each_label_is(tmp_path):
    folder = few(tmp_path / "run", model=str(saved(tmp_path / "base", THEIRS)), as_is=True)
    posts = posts_of(folder, "train")
    run_folders.write_posts(folder, "train", [post | {"label": FEW[0], "image": ""} for post in posts])
    run_folders.write_posts(folder, "validation", [])
    train.main(folder)
    assert not told(folder, "evaluation")
    assert receipt(folder)["best"] == {"macro_f1": None, "step": 0}
    [row] = asked(to_ask(folder, [{**posts[0], "image": ""}], adapter=str(folder / "adapter")))
    assert [math.exp(value) for value in row] == pytest.approx([25 / 27, 1 / 27, 1 / 27], abs=1e-5)


def test_what_a_run_made_elsewhere_sees_pictures_as_it_did_there(tmp_path):
    first = few(tmp_path / "first")
    train.main(first)
    second = few(tmp_path / "second", model=str(first / "adapter"), as_is=True)
    train.main(second)
    held = posts_of(first, "validation")
    rows = [asked(to_ask(folder, held, adapter=str(folder / "adapter"))) for folder in (first, second)]
    assert rows[0] == rows[1]


@pytest.mark.parametrize(("names", "sentence"), [
    (["tabby", "tiger"], "knows none of this project's 3 labels by name; it knows tabby, tiger"),
    (["tabby", FEW[0]], "knows 1 of this project's 3 labels"),
])  # fmt: skip
def test_a_checkpoint_of_other_labels_is_not_taken(names, sentence, tmp_path):
    assert sentence in fails(few(tmp_path / "run", model=str(saved(tmp_path / "base", names)), as_is=True))


def test_a_checkpoint_without_a_head_is_not_taken(tmp_path):
    """Drawn at random, its head would answer all the same."""
    base = saved(tmp_path / "base", list(FEW))
    from safetensors.torch import save_file

    weights = load_file(base / "model.safetensors")
    rest = {name: weight for name, weight in weights.items() if not name.startswith("classifier.")}
    save_file(rest, base / "model.safetensors", {"format": "pt"})
    assert "lacks 2 of the" in fails(few(tmp_path / "run", model=str(base), as_is=True))
    train.main(few(tmp_path / "trained", model=str(base)))  # which begins with a new one anyway


def test_asked_to_stop_it_stops_and_goes_on(tmp_path, monkeypatch):
    folder = few(tmp_path / "run", model=str(saved(tmp_path / "base", THEIRS)), as_is=True)
    (folder / STOP).touch()
    train.main(folder)
    assert told(folder)[-1]["kind"] == "stopped"
    assert not (folder / "receipt.json").exists()
    (folder / STOP).unlink()
    train.main(folder)
    assert told(folder)[-1]["kind"] == "done"


@pytest.mark.parametrize(("given", "sentence"), [
    ({"method": "lora", "model": "tiny"}, "Only an image classifier is taken as it is"),
    ({"cards": 2}, "takes one card"),
])  # fmt: skip
def test_only_a_classifier_is_taken_as_it_is(given, sentence):
    with pytest.raises(ValueError, match=sentence):
        Config.from_json({**QUICK, "as_is": True, **given})


# --- What is no classifier


def test_a_model_that_reads_is_no_classifier(tmp_path):
    (tmp_path / "base").mkdir()
    (tmp_path / "base/config.json").write_text(json.dumps({"model_type": "qwen2_5_vl"}))
    assert "is no image classifier that transformers knows (qwen2_5_vl)" in fails(
        few(tmp_path / "run", model=str(tmp_path / "base"))
    )


def test_code_of_others_is_run_with_consent_alone(tmp_path):
    (tmp_path / "base").mkdir()
    (tmp_path / "base/config.json").write_text(
        json.dumps({"model_type": "mine", "auto_map": {"AutoModelForImageClassification": "mine.Mine"}})
    )
    assert "allow remote code for this run" in fails(few(tmp_path / "run", model=str(tmp_path / "base")))


def test_a_pickle_is_never_loaded(tmp_path):
    base = saved(tmp_path / "base", list(FEW))
    torch.save(load_file(base / "model.safetensors"), base / "pytorch_model.bin")
    (base / "model.safetensors").unlink()
    assert "holds no model that could be loaded" in fails(few(tmp_path / "run", model=str(base)))


def test_the_file_of_another_model_is_not_taken_for_a_start(tmp_path):
    base = saved(tmp_path / "base", list(FEW))
    from safetensors.torch import save_file

    save_file({"something": torch.zeros(1)}, base / "model.safetensors", {"format": "pt"})
    assert "it is another model's file" in fails(few(tmp_path / "run", model=str(base)))


@pytest.mark.parametrize(("given", "sentence"), [
    ({"model": "tiny"}, "each goes with its own methods"), ({"method": "full"}, "each goes with its own methods"),
    ({"sharing": "fsdp"}, "let each card hold all of it"), ({"projector": "train"}, "has no projector"),
])  # fmt: skip
def test_settings_that_no_classifier_has_are_refused(given, sentence):
    with pytest.raises(ValueError, match=sentence):
        Config.from_json({**QUICK, **given})


# --- Labels that are a model's own


def difference(one: Image.Image, other: Image.Image) -> float:
    both = (one.resize((64, 64)), other.resize((64, 64)))
    return sum(ImageChops.difference(*both).convert("L").histogram()[32:]) / 64**2


def test_pictures_of_pseudo_labelled_posts_are_changed_more():
    from random import Random

    picture = drawn(FEW[0], 0, side=128)
    light, strong = (
        sum(difference(picture, change(picture, Random(n))) for n in range(40))
        for change in (changed, strongly_changed)
    )
    assert strong > 1.2 * light > 0
    assert strongly_changed(picture, Random(1)).tobytes() == strongly_changed(picture, Random(1)).tobytes()


def test_words_are_lost_where_there_are_enough():
    from random import Random

    text = "one two three four five\nsix seven"
    left = [thinned(text, Random(n)) for n in range(300)]
    kept = sum(len(words.split()) for words in left) / (7 * 300)
    assert 0.87 < kept < 0.93
    assert all("\n" in words for words in left)
    assert thinned("only three words", Random(1)) == "only three words"


def test_what_is_learnt_from_a_models_label_is_changed_and_counted(tmp_path):
    plain, pseudo = few(tmp_path / "plain"), few(tmp_path / "pseudo")
    posts = [post | {"by_model": n % 2 == 0} for n, post in enumerate(posts_of(pseudo, "train"))]
    run_folders.write_posts(pseudo, "train", posts)
    for folder in (plain, pseudo):
        train.main(folder)
    assert receipt(pseudo)["posts"]["train"]["by_model"] == 12
    assert "by_model" not in receipt(plain)["posts"]["train"]
    losses = [[line["loss"] for line in told(folder, "step")] for folder in (plain, pseudo)]
    assert losses[0] != losses[1]


def test_a_model_that_reads_sees_such_posts_changed_in_training_alone(tmp_path):
    from modeling.gpu.batches import Collator
    from modeling.gpu.encoders import encoder_of
    from modeling.gpu.load import load
    from tests import tiny_families

    folder = run_folders.make_run(tmp_path / "run", tiny_families.build("qwen2_5_vl", tmp_path / "base"), method="lora")
    loaded = load(Config.read(folder), folder)
    encoder = encoder_of(loaded.processor, folder, loaded.family)
    collate = Collator(encoder, {})
    post = run_folders.make_post(1, "images/1.png", by_model=True)
    many = [collate.shown({**post, "drawn": f"0 0 {n}"})["user"] for n in range(40)]
    assert len(set(many)) > 5
    assert collate.shown({**post, "by_model": False, "drawn": "0 0 1"})["user"] == post["user"]
    seen = encoder.picture(post)
    assert encoder.picture({**post, "drawn": "0 0 1"}).tobytes() != seen.tobytes()
    assert encoder.picture({**post, "by_model": False, "drawn": "0 0 1"}).tobytes() == seen.tobytes()
    pseudo = [post | {"by_model": True} for post in posts_of(folder, "train")]
    run_folders.write_posts(folder, "train", pseudo)
    train.main(folder)
    assert receipt(folder)["posts"]["train"]["by_model"] == 8


# --- The whole way, by the site


COLOURS = {"ginger": (230, 120, 40), "grey": (120, 125, 130), "siamese": (240, 230, 170)}


def painted(label: str, seed: int) -> Image.Image:
    """No two look alike but in their colour."""
    from random import Random

    from PIL import ImageDraw

    dice = Random(f"{label} {seed}")
    paper = Image.new("RGB", (72, 72), tuple(dice.randint(0, 90) for _ in range(3)))
    for _ in range(5):
        left, top = dice.randint(0, 50), dice.randint(0, 50)
        shade = tuple(min(255, value + dice.randint(-15, 15)) for value in COLOURS[label])
        ImageDraw.Draw(paper).rectangle((left, top, left + dice.randint(12, 40), top + dice.randint(12, 40)), shade)
    return paper


def bring_in(project: Any, folder: Path, name: str, each: int, **options: Any) -> None:
    (folder / name).mkdir(parents=True)
    rows = []
    for number in range(each):
        for label in COLOURS:
            painted(label, number + each).save(folder / name / f"{label}{number}.png")
            rows.append({"id": f"{name} {label} {number}", "image": f"{label}{number}.png", "label": label})
    if name == "cats":
        rows.append({"id": "blind", "text": "a cat, they say", "label": "grey"})
    (folder / name / "posts.jsonl").write_text("\n".join(map(json.dumps, rows)))
    call_command("import_posts", str(folder / name / "posts.jsonl"), project=project.slug, **options)


@pytest.fixture
def dataset(tmp_path, settings, db) -> Dataset:
    settings.VAR_DIR = tmp_path / "var"
    project = make_project("Cats", labels=tuple(COLOURS), audit_rate=0)
    bring_in(project, tmp_path, "cats", 24)
    bring_in(project, tmp_path, "held", 8, holdout=True)
    return freeze(project, recipe=Recipe(validation=0.2, test=0))


def trained(dataset: Dataset, **changes: Any) -> Run:
    config = training_presets.named("classifier-tiny").configured(**changes)
    run = runner.start(dataset.project, None, dataset, config, "classifier-tiny", queue=False)
    assert runner.carry_out(run)
    run.refresh_from_db()
    assert run.state == RunState.DONE, run.error
    return run


def evaluated(dataset: Dataset, predictor: Predictor) -> Evaluation:
    made = evaluating.ask(dataset.project, None, dataset, "holdout", predictor, "both", queue=False)
    assert evaluating.carry_out(made)
    made.refresh_from_db()
    return made


def test_the_whole_way_from_posts_to_a_measured_classifier(dataset, tmp_path):
    run = trained(dataset)
    assert run.receipt["posts"]["train"]["without_picture"] == 0
    assert results.fetched(run)
    asked = evaluated(dataset, predictors.named(dataset.project, f"run-{run.pk}"))
    assert asked.state == JobState.DONE, asked.error
    assert asked.measured["figures"]["accuracy"]["value"] > 0.7

    base = saved(tmp_path / "elsewhere", list(COLOURS))
    assert starting.usual_recipe(str(base)) == "classifier"
    as_it_is = evaluated(dataset, Predictor("base", model=str(base)))
    assert as_it_is.state == JobState.DONE, as_it_is.error
    named = Predictor("base", model="owner/name", recipe="classifier")  # a hub's name does not tell
    assert asked_how(as_it_is, named)[0].is_classifier
    with pytest.raises(predictors.Unknown, match="of a base model alone"):
        Predictor("run", run=run.pk, recipe="classifier")


def test_a_bundle_brings_a_classifier_home(dataset, tmp_path):
    """The trainer is started there by a real process, with nothing of ours around it."""
    import io
    import subprocess
    import sys
    import zipfile

    config = training_presets.named("classifier-tiny").configured(max_steps=2)
    run = runner.start(dataset.project, None, dataset, config, away=True)
    with zipfile.ZipFile(io.BytesIO(b"".join(bundle.pack(run)))) as archive:
        archive.extractall(tmp_path / "away")
    top = tmp_path / "away" / f"run-{run.pk}"
    there = [sys.executable, "-m", "modeling.gpu.many_cards", "run"]
    subprocess.run(there, cwd=top, check=True, capture_output=True, env=run_folders.environment())
    script = (top / "train.sh").read_text().partition("<<'END'\n")[2].partition("END\n")[0]
    subprocess.run([sys.executable, "-c", script], cwd=top, check=True, capture_output=True)
    bundle.bring_home(run, top / "result.zip")
    run.refresh_from_db()
    assert run.state == RunState.DONE
    assert (results.fetched(run) / "adapter" / classifier.OURS).exists()


def test_posts_say_whose_their_label_is(dataset):
    chat, item = Chat.of(dataset.facts), next(items(dataset, ["train"]))
    assert run_folder.told(chat, item)["by_model"] is False
    assert run_folder.told(chat, replace(item, label_source="model"))["by_model"] is True


def sent_by(form: Any) -> dict[str, Any]:
    """As a browser sends it: without the boxes that are not ticked."""
    shown = {field.html_name: field.value() for group in (form.base, *form.groups)
             for field in (*group.plain, *group.folded)}  # fmt: skip
    return {name: value for name, value in shown.items() if value not in ("false", None)}


def test_the_page_asks_nothing_about_words(dataset, client):
    client.force_login(make_member(dataset.project, Role.ADMIN, "ada"))
    new = f"/p/{dataset.project.slug}/runs/new"
    page = client.get(f"{new}?recipe=classifier-tiny").content.decode()
    assert 'name="rank"' not in page
    assert 'name="max_pixels"' not in page
    assert 'name="lr"' in page
    assert 'name="rank"' in client.get(f"{new}?recipe=tiny").content.decode()
    sent = sent_by(client.get(f"{new}?recipe=classifier-tiny").context["form"])
    answer = client.post(
        new, {**sent, "dataset": dataset.name, "recipe": "classifier-tiny", "whole": "1", "lr": "0.002"}
    )
    assert answer.status_code == 302, answer.context["form"].problems
    run = Run.objects.get()
    assert (run.config["method"], run.config["lr"], run.config["model"]) == ("classifier", 0.002, "tiny-picture")
    told = client.get(f"/p/{dataset.project.slug}/runs/{run.pk}").content.decode()
    assert "Classifier: a whole model" in told
    assert "What gets an adapter" not in told


def test_what_is_not_known_of_a_classifier_is_not_reckoned(dataset):
    told = estimates.told(training_presets.named("classifier").configured(), dataset)
    assert (told.made, told.cards, told.is_classifier) == (None, [], True)
    assert estimates.left_out(100, 90) == [
        "10 of 100 posts have no picture, and are left out: asked about such a post, it only knows how common each "
        "label was."
    ]


CATS = ["tabby", "GINGER_", "grey"]  # of ours it does not know siamese


def by_command(dataset: Dataset, base: Path) -> Run:
    call_command("train", project=dataset.project.slug, dataset=dataset.name, recipe="classifier", base=str(base),
                 set=["as_is=true"], stdout=StringIO())  # fmt: skip
    return Run.objects.latest("pk")


def bring_in_new(dataset: Dataset, folder: Path) -> None:
    """Without a label; the last without a picture."""
    (folder / "new").mkdir()
    painted("grey", 99).save(folder / "new/one.png")
    rows = [{"id": "new one", "image": "one.png"}, {"id": "new blind", "text": "no picture of it"}]
    (folder / "new/posts.jsonl").write_text("\n".join(map(json.dumps, rows)))
    call_command("import_posts", str(folder / "new/posts.jsonl"), project=dataset.project.slug)


def test_a_checkpoint_as_it_is_votes_and_begins_a_cascade(dataset, tmp_path):
    base = saved(tmp_path / "base", CATS)
    run = by_command(dataset, base)
    assert (run.state, run.step, run.steps, run.config["as_is"]) == (RunState.DONE, 0, 0, True), run.error
    assert run.scores["accuracy"] >= 0
    assert results.fetched(run)

    asked = evaluated(dataset, predictors.named(dataset.project, f"run-{run.pk}"))
    as_base = evaluated(dataset, Predictor("base", model=str(base), recipe="classifier"))
    assert (asked.state, as_base.state) == (JobState.DONE, JobState.DONE), asked.error + as_base.error
    ours, theirs = (list(one.predictions.order_by("item").values_list("item", "scores")) for one in (asked, as_base))
    assert len(ours) == 24 + run.receipt["posts"]["validation"]["posts"]  # the latter to calibrate on
    assert ours == theirs

    bring_in_new(dataset, tmp_path)
    made = prelabelling.ask(dataset.project, None, run, queue=False)
    assert prelabelling.carry_out(made)
    made.refresh_from_db()
    assert made.state == JobState.DONE, made.error
    votes = {vote.post.external_id: vote for vote in Vote.objects.filter(voter=made.voter).select_related("post")}
    assert (made.voter.name, votes.keys()) == (str(run), {"new one", "new blind"})
    for vote in votes.values():
        assert vote.probabilities.keys() == set(COLOURS)
        assert sum(vote.probabilities.values()) == pytest.approx(1, abs=1e-4)
    assert votes["new one"].probabilities["siamese"] == 0
    assert votes["new blind"].probabilities["siamese"] > 0
    assert run in [stage.stage for stage in choosing.firsts(dataset.project)]


def test_the_page_offers_it_of_classifiers_alone_and_reckons_no_training(dataset, client):
    client.force_login(make_member(dataset.project, Role.ADMIN, "ada"))
    new = f"/p/{dataset.project.slug}/runs/new"
    assert 'name="as_is"' not in client.get(f"{new}?recipe=tiny").content.decode()
    assert "As it is, without training" in client.get(f"{new}?recipe=classifier").content.decode()
    page = client.get(f"{new}?recipe=classifier-tiny&as_is=true").content.decode()
    assert "Nothing is trained" in page
    assert "about a minute" not in page
    refused = client.get(f"{new}?recipe=tiny&as_is=true").content.decode()
    assert "Only an image classifier is taken as it is" in refused
    sent = sent_by(client.get(f"{new}?recipe=classifier").context["form"])
    answer = client.post(new, {**sent, "dataset": dataset.name, "recipe": "classifier", "whole": "1", "as_is": "on"})
    assert answer.status_code == 302, answer.context["form"].problems
    run = Run.objects.get()
    assert run.config["as_is"] is True
    Run.objects.filter(pk=run.pk).update(state=RunState.DONE, receipt={"method": "as it is, nothing was trained"})
    told = client.get(f"/p/{dataset.project.slug}/runs/{run.pk}").content.decode()
    assert "as it is, nothing was trained" in told
    assert "data-curves" not in told


def test_of_what_is_taken_as_it_is_no_post_is_left_out(dataset):
    config = training_presets.named("classifier").configured(as_is=True)
    told = estimates.told(config, dataset)
    assert (told.is_as_it_is, told.made, told.cards) == (True, None, [])
    assert estimates.unseen(100, 90) == [
        "10 of 100 posts have no picture: asked about such a post, it only knows how common each label is."
    ]
