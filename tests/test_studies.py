"""Several runs of one recipe as one job, from its first part to its figures; with the real trainer at the end."""

import json
import re
from collections import Counter
from typing import Any

import numpy as np
import pytest
from django.core.management import CommandError, call_command
from django.utils import timezone

from annotate.models import Event, Project
from annotate.models.importing import SILENCE
from modeling import tasks
from modeling.datasets.recipe import Recipe
from modeling.evaluation import evaluating
from modeling.evaluation.predictors import Predictor
from modeling.models import (
    Dataset,
    Evaluation,
    JobState,
    On,
    Prediction,
    Run,
    RunState,
    Study,
    StudyState,
)
from modeling.studying import figures, out_of_fold, posts, studies
from modeling.studying.studies import Plan, Refused
from modeling.training import run_folder, runner, starting, training_presets

from .make import make_post, make_project
from .scripted_training import program
from .test_dataset import freeze

pytestmark = pytest.mark.django_db
WORDS = {"bearish": "rug dump scam", "neutral": "fees question wallet", "bullish": "moon pump green"}
NAMES = tuple(WORDS)


@pytest.fixture(autouse=True)
def var(tmp_path, settings, monkeypatch):
    settings.VAR_DIR = tmp_path
    for room in (runner, evaluating):
        monkeypatch.setattr(room, "LOOK_EVERY", 0.02)
    return tmp_path


@pytest.fixture
def queued(monkeypatch):
    """What waits in the queues, by what it is; nobody works on it."""
    waiting: dict[str, list[int]] = {"run": [], "evaluation": [], "study": []}
    monkeypatch.setattr(runner, "enqueue", lambda run: waiting["run"].append(run.pk))
    monkeypatch.setattr(evaluating, "enqueue", lambda one: waiting["evaluation"].append(one.pk))
    monkeypatch.setattr(studies, "enqueue", lambda study: waiting["study"].append(study.pk))
    return waiting


LEARN = """
sys.path.insert(0, os.getcwd())
from modeling.gpu.hashing import hash_of
read = lambda name: [json.loads(line) for line in (folder / "posts" / name).read_text().splitlines()]
learnt, validated = read("train.jsonl"), read("validation.jsonl")
if (folder / "break").exists():
    tell("failed", error="The card fell out."); sys.exit(1)
step(1, of=2); evaluate(2, 0.5)
(folder / "adapter").mkdir(exist_ok=True)
told = {"learnt": [[p["user"], p["label"]] for p in learnt], "validated": [p["id"] for p in validated]}
(folder / "adapter" / "adapter_model.safetensors").write_text(json.dumps(told))
counts = {"train": {"posts": len(learnt)}, "validation": {"posts": len(validated)}}
receipt = {"adapter": hash_of(folder / "adapter"), "posts": counts, "seconds": 36.0, "machine": {"cards": CARDS}}
(folder / "receipt.json").write_text(json.dumps(receipt))
tell("done", step=2, loss=0.1)
"""
ANSWER = """
ask = json.loads((folder / "ask.json").read_text())
learnt = json.loads((pathlib.Path(ask["adapter"]) / "adapter_model.safetensors").read_text())["learnt"]
names = [label["name"] for label in json.loads((folder / "labels.json").read_text())]
posts = [json.loads(line) for line in (folder / "posts" / "asked.jsonl").read_text().splitlines()]
seen = {user for user, _ in learnt}
with (folder / "predictions.jsonl").open("w") as file:
    for post in posts:
        alike = [sum(len(set(post["user"].split()) & set(user.split())) for user, label in learnt if label == name)
                 / max(1, sum(label == name for _, label in learnt)) for name in names]
        file.write(json.dumps({"number": post["number"], "scores": [one / 10 for one in alike]}) + "\\n")
used = {"device": "CPU", "seen": sum(post["user"] in seen for post in posts)}
tell("done", done=len(posts), asked=len(posts), seconds=1, memory=0, used=used)
"""


@pytest.fixture
def quick(monkeypatch, tmp_path):
    """Programs that stand where trainer and model would: one learns posts by heart, the other goes by common words."""
    for name in ("learn", "answer"):
        (tmp_path / name).mkdir()
    learn = program(tmp_path / "learn", LEARN.replace("CARDS", '["NVIDIA GeForce RTX 4090"]'))
    monkeypatch.setattr(runner, "PROGRAM", learn)
    monkeypatch.setattr(evaluating, "COMMAND", program(tmp_path / "answer", ANSWER))


def make_known(count: int = 36, held: int = 6) -> Project:
    """Posts whose words tell their label, every second pair of them a repost; and a locked test set."""
    project = make_project("Memes", audit_rate=0, double_rate=0)
    for number in range(count):
        pair = number // 2
        name = NAMES[pair % 3]
        text = f"{WORDS[name]} {pair if pair % 2 else f'one {number}'}"
        make_post(project, text, name, label_source="review", external_id=f"p{number}")
    for number in range(held):
        name = NAMES[number % 3]
        make_post(project, f"{WORDS[name]} held {number}", name, label_source="import", holdout=True,
                  external_id=f"h{number}")  # fmt: skip
    return project


def frozen(project: Project, **recipe: Any) -> Dataset:
    return freeze(project, "v1", recipe=Recipe(**({"validation": 0.2, "test": 0.2} | recipe)))


def begin(dataset: Dataset, plan: Plan, queue: bool = True) -> Study:
    config = training_presets.named("tiny").configured(max_steps=2)
    return studies.start(dataset.project, None, dataset, config, "tiny", plan, queue=queue)


def again(study: Study) -> Study:
    study.refresh_from_db()
    return study


def advanced(study: Study) -> Study:
    studies.advance(study.pk)
    return again(study)


def work(queued: dict[str, list[int]], most: int = 100) -> None:
    """As the workers would, one task after the other; each is delivered twice."""
    tasks_of = {"study": tasks.advance_study, "run": tasks.train, "evaluation": tasks.evaluate}
    for _ in range(most):
        kind = next((kind for kind, waiting in queued.items() if waiting), None)
        if kind is None:
            return
        pk = queued[kind].pop(0)
        for _ in range(2):
            tasks_of[kind](pk)


FOLDS, CURVE = Plan("folds", folds=3), Plan("curve", shares=(0.25, 0.5, 1.0))


# --- Folds


@pytest.mark.parametrize("plan", [FOLDS, CURVE])
@pytest.mark.parametrize("of_dataset", [True, False])
def test_balanced_weights_are_counted_from_what_a_part_learns_from_alone(queued, plan, of_dataset):
    project = make_known()
    for number in range(9):
        make_post(project, f"rug alone {number}", "bearish", label_source="review", external_id=f"more{number}")
    dataset = frozen(project, balanced=of_dataset)
    config = starting.as_recipe_says(training_presets.named("many-classes"), dataset)
    study = studies.start(project, None, dataset, config, "many-classes", plan)
    advanced(study)
    counted = []
    for run in study.runs.order_by("pk"):
        labels = Counter(item.label for item in posts.learnt(run, "train"))
        balanced = {name: len_of / 3 / n for name, n in labels.items() if (len_of := labels.total())}
        assert run.config["weights"] == pytest.approx(balanced, abs=1e-4)
        counted.append(run.config["weights"])
    assert study.config["weights"] not in counted[:-1]


def test_weights_that_somebody_chose_are_those_of_each_part(queued):
    dataset = frozen(make_known())
    config = training_presets.named("tiny").configured(max_steps=2, weights={"bullish": 3.0})
    study = studies.start(dataset.project, None, dataset, config, "tiny", FOLDS)
    advanced(study)
    assert [run.config["weights"] for run in study.runs.all()] == [{"bullish": 3.0}] * 3


def test_every_post_is_asked_once_by_a_run_that_saw_nothing_alike(queued, quick):
    dataset = frozen(make_known())
    study = begin(dataset, FOLDS)
    work(queued)
    assert again(study).state == StudyState.DONE, study.error
    assert study.runs.count() == 3
    assert Evaluation.objects.count() == 4
    kin = dict(dataset.items.values_list("position", "kin"))
    pool = set(dataset.items.exclude(split="holdout").values_list("position", flat=True))
    asked: list[int] = []
    for run in study.runs.all():
        folder = run_folder.folder_of(run)
        seen = seen_in(dataset, folder)
        fold = Prediction.objects.filter(evaluation__run=run, to_calibrate=False)
        mine = list(fold.values_list("item__position", flat=True))
        asked += mine
        assert not {kin[position] for position in mine} & {kin[position] for position in seen}
        assert len(seen) + len(mine) == len(pool)
        assert fold.get(item__position=mine[0]).evaluation.used["seen"] == 0
    assert sorted(asked) == sorted(pool)
    pooled = study.evaluations.get(split=On.POOL)
    assert sorted(pooled.predictions.values_list("item__position", flat=True)) == sorted(pool)
    assert pooled.measured["asked"] == pooled.measured["of"] == len(pool)


def pre_labelled(project: Project, count: int = 12) -> None:
    """Every third of them reads like a post that people labelled."""
    for number in range(count):
        name = NAMES[number % 3]
        text = f"{WORDS[name]} {number % 36 // 2 * 2 + 1}" if number % 3 == 0 else f"{WORDS[name]} of a model {number}"
        make_post(project, text, name, label_source="model", external_id=f"m{number}")


def test_what_a_model_labelled_is_measured_on_in_no_study(queued, quick):
    project = make_known(60)
    pre_labelled(project)
    dataset = frozen(project, validation=0, test=0)
    by_model = set(dataset.items.filter(label_source="model").values_list("position", flat=True))
    assert len(by_model) == 12
    study = begin(dataset, FOLDS)
    work(queued)
    assert again(study).state == StudyState.DONE, study.error
    kin = dict(dataset.items.values_list("position", "kin"))
    learnt = set()
    for run in study.runs.all():
        asked = {item.position for item in posts.asked(run)}
        mine = {item.position for item in posts.learnt(run, "train")}
        assert not by_model & (asked | {item.position for item in posts.learnt(run, "validation")})
        assert not {kin[one] for one in asked} & {kin[one] for one in mine}
        assert {one for one in by_model if not any(kin[one] == kin[other] for other in kin if other != one)} <= mine
        learnt |= mine & by_model
    assert learnt
    pooled = study.evaluations.get(split=On.POOL)
    assert pooled.measured["asked"] == pooled.measured["of"] == pooled.total == 60
    assert not pooled.predictions.filter(item__label_source="model").exists()
    words = evaluating.ask(dataset.project, None, dataset, "pool", Predictor("text-cv"), queue=False)
    evaluating.carry_out(words)
    assert words.test_hash == pooled.test_hash
    assert (words.measured["asked"], words.measured["of"]) == (60, 60)


def test_a_study_drawn_before_asks_about_no_models_label_either(queued):
    """As it was kept then: each post in one fold, whoever labelled it."""
    project = make_known(36)
    pre_labelled(project)
    dataset = frozen(project, validation=0, test=0)
    study = begin(dataset, FOLDS)
    advanced(study)
    kept = bytes(one % 3 if split != "holdout" else 0x7F
                 for one, split in dataset.items.order_by("position").values_list("kin", "split"))  # fmt: skip
    Study.objects.filter(pk=study.pk).update(drawn=kept)
    asked = [item for run in study.runs.all() for item in posts.asked(run)]
    assert {item.label_source for item in asked} == {"review"}
    assert len(asked) == 36
    assert sum(posts.count_at(dataset, posts.positions_asked(run)) for run in study.runs.all()) == 36


def test_models_labels_do_not_make_up_for_posts_that_are_missing(queued):
    project = make_known(8)
    pre_labelled(project, 30)
    dataset = frozen(project, validation=0, test=0)
    with pytest.raises(Refused, match="that are not alike and that no model labelled: too few for 5 folds"):
        begin(dataset, Plan("folds", folds=5))


def seen_in(dataset: Dataset, folder: Any) -> set[int]:
    lines = [json.loads(line) for path in (folder / "posts").iterdir() for line in path.read_text().splitlines()]
    return set(dataset.items.filter(external_id__in=[line["id"] for line in lines]).values_list("position", flat=True))


def test_folds_are_measured_together_and_each_by_itself(queued, quick):
    study = begin(frozen(make_known()), FOLDS)
    work(queued)
    told = again(study).measured
    assert told["pooled"]["macro_f1"]["value"] > 0.9
    assert told["pooled"]["macro_f1"]["low"] <= told["pooled"]["macro_f1"]["value"]
    each = [one.measured["figures"]["accuracy"]["value"] for one in study.evaluations.filter(split=On.FOLD)]
    assert told["over_folds"]["accuracy"]["mean"] == pytest.approx(np.mean(each))
    assert told["over_folds"]["accuracy"]["deviation"] == pytest.approx(np.std(each, ddof=1))
    pooled = study.evaluations.get(split=On.POOL)
    assert pooled.name.endswith(f"on v1, 3-fold (study {study.pk})")
    verbs = Event.objects.filter(verb__startswith="study").order_by("pk").values_list("verb", flat=True)
    assert list(verbs) == ["study asked for", "study done"]


def test_a_fold_is_calibrated_by_what_its_run_was_validated_on(queued, quick):
    dataset = frozen(make_known())
    study = begin(dataset, FOLDS)
    work(queued)
    for run in study.runs.all():
        evaluation = run.evaluations.get()
        names = set(evaluation.predictions.filter(to_calibrate=True).values_list("item__external_id", flat=True))
        lines = (run_folder.folder_of(run) / "posts" / "validation.jsonl").read_text().splitlines()
        assert names == {json.loads(line)["id"] for line in lines}
        assert evaluation.measured["calibrated_on"] == len(names) > 0
    assert dataset.items.filter(split="validation", predictions__to_calibrate=False).exists()


def test_where_no_post_validates_a_tenth_of_them_does(queued):
    study = begin(frozen(make_known(60), validation=0, test=0), FOLDS)
    advanced(study)
    runs = list(study.runs.all())
    held = [{item.position for item in posts.learnt(run, "validation")} for run in runs]
    assert 2 <= len(set.union(*held)) <= 12
    for run in runs:
        assert not {item.position for item in posts.learnt(run, "train")} & set.union(*held)


def test_a_post_that_had_to_go_moves_no_other_to_another_fold(queued, quick):
    dataset = frozen(make_known())
    study = begin(dataset, FOLDS)
    advanced(study)
    first = study.runs.order_by("pk").first()
    before = [item.position for item in posts.asked(first)]
    queued["run"].remove(first.pk)
    tasks.train(first.pk)
    gone = dataset.items.get(position=before[0])
    gone.post.delete()
    work(queued)
    assert again(study).state == StudyState.DONE, study.error
    assert [item.position for item in posts.asked(first)] == before[1:]
    assert study.measured["pooled"]["posts"] == dataset.items.exclude(split="holdout").count() - 1


def test_labels_of_what_is_asked_reach_no_folder_of_its_run(queued):
    """Those of one fold are dealt anew among its posts; not a byte of what its run learns from is another."""
    dataset = frozen(make_known())
    study = begin(dataset, FOLDS)
    advanced(study)
    before = {run.pk: bytes_of(run) for run in study.runs.all()}
    run = study.runs.order_by("pk").first()
    mine = list(dataset.items.filter(position__in=posts.positions_asked(run).tolist()).order_by("position"))
    labels = [item.label for item in mine]
    Dataset.objects.update(state="freezing")
    for item, label in zip(mine, labels[1:] + labels[:1], strict=True):
        dataset.items.filter(pk=item.pk).update(label=label)
    Dataset.objects.update(state="frozen")
    for one in Run.objects.filter(study=study):
        assert (bytes_of(one) == before[one.pk]) == (one.pk == run.pk)


def bytes_of(run: Run) -> dict[str, bytes]:
    return {member.path: b"".join(member.chunks) for member in run_folder.members(run)}


def test_the_locked_test_set_is_in_no_fold(queued):
    study = begin(frozen(make_known()), FOLDS)
    advanced(study)
    for run in study.runs.all():
        told = b"".join(bytes_of(run).values())
        assert b" held " not in told
        assert not [item for item in posts.asked(run) if item.split == "holdout"]


def test_a_run_of_a_fold_is_measured_on_nothing_that_it_learnt_from(queued, quick):
    dataset = frozen(make_known())
    study = begin(dataset, FOLDS)
    work(queued)
    run = study.runs.first()
    predictor = Predictor("run", run=run.pk)
    for split in ("test", "validation"):
        with pytest.raises(evaluating.Refused, match="has learnt from all but fold"):
            evaluating.ask(dataset.project, None, dataset, split, predictor, queue=False)
    assert evaluating.ask(dataset.project, None, dataset, "holdout", predictor, queue=False)
    with pytest.raises(evaluating.Refused, match="may be among the examples"):
        evaluating.check(dataset.project, dataset, "fold", Predictor("run", run=run.pk, shots=1), "both")
    with pytest.raises(evaluating.Refused, match="learnt from the train split"):
        evaluating.ask(dataset.project, None, dataset, "pool", Predictor("text"), queue=False)
    with pytest.raises(evaluating.Refused, match="about nothing else"):
        evaluating.ask(dataset.project, None, dataset, "test", Predictor("folds", study=study.pk), queue=False)
    words = evaluating.ask(dataset.project, None, dataset, "pool", Predictor("text-cv"), queue=False)
    evaluating.carry_out(words)
    assert words.test_hash == study.evaluations.get(split=On.POOL).test_hash


def test_what_they_said_of_posts_unseen_tells_which_labels_look_wrong(queued, quick):
    project = make_known(60)
    wrong = project.posts.get(external_id="p0")
    wrong.label = project.labels.get(name="bullish")
    wrong.save()
    dataset = frozen(project)
    study = begin(dataset, FOLDS)
    work(queued)
    positions, chances = out_of_fold.out_of_fold(again(study))
    assert positions.tolist() == sorted(dataset.items.exclude(split="holdout").values_list("position", flat=True))
    assert np.allclose(chances.sum(axis=1), 1)
    tasks.doubt_by_folds(study.pk, None)
    search = dataset.doubt_searches.get()
    assert (search.folds, search.posts) == (3, len(positions))
    first = search.doubts.first()
    assert (first.item.external_id, first.suggested) == ("p0", "bearish")


# --- A learning curve


def test_a_curve_learns_from_more_and_more_and_is_measured_on_the_same(queued, quick):
    dataset = frozen(make_known(60))
    study = begin(dataset, CURVE)
    work(queued)
    assert again(study).state == StudyState.DONE, study.error
    learnt = [{item.position for item in posts.learnt(run, "train")} for run in study.runs.order_by("pk")]
    assert (
        learnt[0] < learnt[1] < learnt[2] == set(dataset.items.filter(split="train").values_list("position", flat=True))
    )
    for run in study.runs.all():
        held = [item.position for item in posts.learnt(run, "validation")]
        assert held == list(dataset.items.filter(split="validation").values_list("position", flat=True))
    assert set(study.measured) == {"test", "holdout"}
    for on in ("test", "holdout"):
        told = study.measured[on]
        assert [point["posts"] for point in told["points"]] == [len(one) for one in learnt]
        assert all(point["macro_f1"]["low"] <= point["macro_f1"]["value"] for point in told["points"])
        hashes = study.evaluations.filter(split=on).values_list("test_hash", flat=True)
        assert len(set(hashes)) == 1
        assert told["difference"]["n"] == dataset.items.filter(split=on).count()
        assert told["words"]


@pytest.mark.parametrize(("right", "words"), [
    ((100, 20), r"More posts still help: with all of the posts rather than 50% of the posts, macro F1 is higher by"),
    ((20, 100), r"More posts did not help: .* lower by"),
    ((62, 60), r"cannot be told: .* not distinguishable on 120 posts; about [\d,]+ would be needed"),
    ((60, 60), r"says the same of all 120 posts"),
])  # fmt: skip
def test_whether_more_posts_help_is_told_in_words(right, words):
    from modeling.measures import comparison
    from modeling.measures.metrics import Answers

    truth = np.arange(120) % 3
    more, fewer = (Answers(NAMES, truth, np.where(np.arange(120) < n, truth, (truth + 1) % 3), np.arange(120))
                   for n in right)  # fmt: skip
    told = figures.in_words(comparison.compare(more, fewer), "50% of the posts", "all of the posts")
    assert re.search(words, told), told


# --- What goes wrong


def test_delivered_twice_and_swept_every_minute_nothing_is_done_twice(queued, quick):
    study = begin(frozen(make_known()), Plan("folds", folds=2))
    for _ in range(3):
        studies.advance(study.pk)
        studies.take_up()
    assert study.runs.count() == len(queued["run"]) == 2
    work(queued)
    for _ in range(3):
        studies.take_up()
        studies.advance(study.pk)
    assert again(study).state == StudyState.DONE
    assert (study.runs.count(), study.evaluations.count(), queued["run"]) == (2, 3, [])
    assert Event.objects.filter(verb="study done").count() == 1


def test_a_worker_that_dies_before_it_says_so_is_no_end(queued, quick):
    """A run is done, and nobody called; a part is silent, and is taken up."""
    study = begin(frozen(make_known()), Plan("folds", folds=2))
    advanced(study)
    one, other = study.runs.order_by("pk")
    runner.carry_out(one)
    assert not study.evaluations.exists()
    assert other.claim()
    Run.objects.filter(pk=other.pk).update(heartbeat=timezone.now() - 2 * SILENCE)
    queued["run"].clear()
    tasks.every_minute()
    assert study.evaluations.count() == 1
    assert queued["run"] == [other.pk]
    work(queued)
    assert again(study).state == StudyState.DONE


def test_a_part_that_fails_is_named_holds_the_others_and_goes_on_when_resumed(queued, quick):
    study = begin(frozen(make_known()), FOLDS)
    advanced(study)
    first, second, third = study.runs.order_by("pk")
    broken = run_folder.folder_of(second)
    broken.mkdir(parents=True)
    (broken / "break").touch()
    work(queued)
    assert again(study).state == StudyState.FAILED
    assert study.error == f"Part 2 of 3 (run {second.pk}) failed. The card fell out."
    third.refresh_from_db()
    assert third.state == RunState.STOPPED
    assert Event.objects.filter(verb="study held up").count() == 1
    (broken / "break").unlink()
    assert studies.resume(study)
    assert not studies.resume(study)
    work(queued)
    assert again(study).state == StudyState.DONE, study.error
    first.refresh_from_db()
    assert first.evaluations.count() == 1


def test_stopped_nothing_of_it_goes_on_until_it_is_resumed(queued, quick):
    study = begin(frozen(make_known()), Plan("folds", folds=2))
    advanced(study)
    one, other = study.runs.order_by("pk")
    tasks.train(one.pk)
    assert studies.stop(study)
    assert not studies.stop(study)
    work(queued)
    assert again(study).state == StudyState.STOPPED
    other.refresh_from_db()
    assert other.state == RunState.STOPPED
    assert study.evaluations.get().state == JobState.STOPPED
    assert studies.resume(study)
    work(queued)
    assert again(study).state == StudyState.DONE, study.error
    verbs = set(Event.objects.filter(verb__startswith="study").values_list("verb", flat=True))
    assert verbs == {"study asked for", "study stopped", "study resumed", "study done"}


def test_an_evaluation_that_fails_is_told_and_asked_again(queued, quick, monkeypatch):
    study = begin(frozen(make_known()), Plan("folds", folds=2))
    with monkeypatch.context() as patched:
        patched.setattr(evaluating, "COMMAND", ["false"])
        work(queued)
    assert again(study).state == StudyState.FAILED
    assert re.match(r"Asking Run \d+ .* was interrupted", study.error)
    studies.resume(study)
    work(queued)
    assert again(study).state == StudyState.DONE, study.error


@pytest.mark.parametrize(("plan", "why"), [
    ({"kind": "folds", "folds": 1}, "From 2 to 20"), ({"kind": "curve", "shares": (0.5, 0.5)}, "each another one"),
    ({"kind": "curve", "shares": (0.5, 1.5)}, "A share is from"), ({"kind": "loops"}, "no kind of study"),
])  # fmt: skip
def test_what_cannot_be_is_refused_in_words(plan, why):
    with pytest.raises(Refused, match=why):
        Plan(**plan)


def test_a_dataset_that_is_too_small_or_has_nothing_to_measure_on_is_refused(queued):
    dataset = frozen(make_known(12, held=0), test=0)
    with pytest.raises(Refused, match="too few for 9 folds"):
        begin(dataset, Plan("folds", folds=9))
    with pytest.raises(Refused, match="neither a test split nor a locked test set"):
        begin(dataset, CURVE)


def test_folds_that_cannot_be_drawn_fail_it_in_words(queued):
    study = begin(frozen(make_known(24)), Plan("folds", folds=9))
    studies.advance(study.pk)
    assert again(study).state == StudyState.FAILED
    assert "Take fewer" in study.error
    assert not study.runs.exists()


# --- With the real trainer, by command


def test_the_command_walks_it_all_with_real_runs(capsys):
    project = make_known(24, held=0)
    frozen(project)
    call_command("study", project=project.slug, base="tiny", recipe="tiny", folds=2, set=["max_steps=2"])
    study = Study.objects.get()
    assert study.state == StudyState.DONE
    assert [run.receipt["posts"]["train"]["posts"] for run in study.runs.order_by("pk")] == [
        part["learnt"] for part in study.posts
    ]
    told = capsys.readouterr().out
    assert "2-fold" in told
    assert "±" in told
    assert study.evaluations.get(split=On.POOL).measured["figures"]["n"] == 24


def test_the_command_says_what_it_needs():
    project = make_known(24, held=0)
    frozen(project)
    with pytest.raises(CommandError, match="--folds N or --shares"):
        call_command("study", project=project.slug, base="tiny")
    with pytest.raises(CommandError, match="shares"):
        call_command("study", project=project.slug, base="tiny", shares="half")
