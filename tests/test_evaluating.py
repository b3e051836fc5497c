"""A predictor is asked and measured: voters and baselines here and now, models by a real process."""

import json
import math
from datetime import timedelta
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import transaction
from django.utils import timezone

from annotate.models import Event, Project
from annotate.removing import remove
from labeling.examples import Examples
from modeling.datasets.recipe import Recipe
from modeling.evaluation import answers, asked, evaluating, folder, measuring, predictors
from modeling.evaluation.predictors import Predictor
from modeling.models import Comparison, Dataset, Evaluation, JobState, Prediction, Run, RunState
from modeling.training import run_folder, runner, training_presets

from .make import make_post, make_project, make_vote
from .test_dataset import freeze

pytestmark = pytest.mark.django_db
WORDS = {"bearish": "rug dump scam", "neutral": "fees question wallet", "bullish": "moon pump green"}
NAMES = tuple(WORDS)


@pytest.fixture(autouse=True)
def var(tmp_path, settings, monkeypatch):
    settings.VAR_DIR = tmp_path
    monkeypatch.setattr(runner, "LOOK_EVERY", 0.02)
    monkeypatch.setattr(evaluating, "LOOK_EVERY", 0.02)
    return tmp_path


def make_known(posts: int = 60, held: int = 30, flipped: bool = False) -> Project:
    """Posts whose words tell their label, and a test set of the same kind, whose labels may be swapped around."""
    project = make_project("Memes", audit_rate=0, double_rate=0)
    for number in range(posts):
        name = NAMES[number % 3]
        make_post(project, f"{WORDS[name]} {number}", name, label_source="review", external_id=f"p{number}")
    for number in range(held):
        name = NAMES[number % 3]
        label = NAMES[(number + 1) % 3] if flipped else name
        post = make_post(project, f"{WORDS[name]} held {number}", label, label_source="import", holdout=True,
                         external_id=f"h{number}", incongruous=number % 2 == 0)  # fmt: skip
        make_vote(post, "gpt", name, confidence=0.9)
        make_vote(post, "gemini", name if number % 5 else "", confidence=0.6)
        if number < 6:
            make_vote(post, "late", "bullish", probabilities={"bullish": 0.5, "neutral": 0.5, "bearish": 0.0})
    return project


def frozen(project: Project, name: str = "v1") -> Dataset:
    return freeze(project, name, recipe=Recipe(validation=0.3, test=0.2))


def evaluate(dataset: Dataset, name: str | Predictor, split: str = "holdout", sees: str = "both") -> Evaluation:
    predictor = name if isinstance(name, Predictor) else predictors.named(dataset.project, name)
    evaluation = evaluating.ask(dataset.project, None, dataset, split, predictor, sees, queue=False)
    assert evaluating.carry_out(evaluation)
    evaluation.refresh_from_db()
    return evaluation


def figures(evaluation: Evaluation) -> dict[str, Any]:
    assert evaluation.state == JobState.DONE, evaluation.error
    return evaluation.measured["figures"]


def said(evaluation: Evaluation) -> dict[str, str]:
    return dict(evaluation.predictions.filter(to_calibrate=False).values_list("item__external_id", "label"))


# --- Those that need no model


def test_a_voter_is_measured_on_what_it_voted():
    dataset = frozen(make_known())
    evaluation = evaluate(dataset, "gpt")
    assert figures(evaluation)["accuracy"]["value"] == 1
    assert (evaluation.measured["asked"], evaluation.measured["of"]) == (30, 30)
    assert evaluation.name == "gpt"
    assert Event.objects.filter(verb="evaluation done").count() == 1


def test_an_abstention_is_wrong_and_told_apart():
    evaluation = evaluate(frozen(make_known()), "gemini")
    assert figures(evaluation)["accuracy"]["value"] == pytest.approx(24 / 30)
    assert figures(evaluation)["unanswered"] == 6


def test_who_was_asked_about_some_posts_is_measured_on_those_and_it_is_told():
    evaluation = evaluate(frozen(make_known()), "late")
    assert (evaluation.measured["asked"], evaluation.measured["of"]) == (6, 30)
    assert figures(evaluation)["log_loss"] is not None  # it said how likely each label is


def test_what_is_voted_after_the_freeze_counts_too():
    project = make_known()
    dataset = frozen(project)
    make_vote(project.posts.get(external_id="h29"), "late", "bullish")
    assert evaluate(dataset, "late").measured["asked"] == 7


def test_the_consensus_gives_no_label_where_voters_differ():
    project = make_known()
    project.voters.filter(name="late").update(required=False)
    told = said(evaluate(frozen(project), "consensus"))
    assert (told["h7"], told["h1"], told["h10"]) == ("neutral", "", "")


def test_the_consensus_waits_for_voters_that_it_requires():
    told = said(evaluate(frozen(make_known()), "consensus"))
    assert sorted(told) == [f"h{n}" for n in range(6)]


def test_who_never_voted_cannot_be_measured():
    project = make_known()
    dataset = frozen(project)
    make_vote(make_post(project), "newcomer", "bullish")
    evaluation = evaluate(dataset, "newcomer")
    assert evaluation.state == JobState.FAILED
    assert "said nothing of these posts" in evaluation.error


def test_words_beat_the_commonest_label_where_words_tell():
    dataset = frozen(make_known())
    majority, text, crossed = (figures(evaluate(dataset, name)) for name in ("majority", "text", "text-cv"))
    assert majority["macro_f1"]["value"] < 0.3
    assert min(text["macro_f1"]["value"], crossed["macro_f1"]["value"]) > 0.9


def test_a_baseline_is_calibrated_on_the_validation_split_alone():
    dataset = frozen(make_known())
    evaluation = evaluate(dataset, "text")
    held = dataset.items.filter(split="validation").count()
    assert evaluation.measured["calibrated_on"] == held > 0
    assert evaluation.predictions.filter(to_calibrate=True).count() == held
    assert evaluation.measured["figures"]["n"] == 30


def test_slices_tell_who_is_too_few_to_be_judged():
    measured = evaluate(frozen(make_known()), "gpt").measured
    by = {one["by"]: {part["name"]: part for part in one["parts"]} for one in measured["slices"]}
    assert by["Text and picture"]["pull apart"]["n"] == 15
    assert by["Label from"] == {}  # all from one place: nothing to tell apart
    assert not by["Text and picture"]["pull apart"]["enough"]


def test_predictors_are_compared_on_the_posts_that_both_spoke_of():
    dataset = frozen(make_known())
    one, other = evaluate(dataset, "gpt"), evaluate(dataset, "majority")
    told = Comparison.objects.get(first=other, second=one).told
    assert told["n"] == 30
    assert told["distinguishable"]
    late = evaluate(dataset, "late")
    assert Comparison.objects.get(first=late, second=one).told["n"] == 6


def test_the_same_test_set_in_another_version_is_the_same_test_set():
    project = make_known()
    first = evaluate(frozen(project), "gpt")
    make_post(project, "one more, green and moon", "bullish", label_source="review")
    second = evaluate(frozen(project, "v2"), "majority")
    assert first.test_hash == second.test_hash
    assert Comparison.objects.filter(first=second, second=first).exists()


def test_asked_again_the_last_answer_counts():
    dataset = frozen(make_known())
    evaluate(dataset, "gpt")
    again = evaluate(dataset, "gpt")
    assert list(Evaluation.objects.latest_of_each()) == [again]


@pytest.mark.parametrize(("name", "split", "sees", "why"), [
    ("gpt", "train", "both", "is measured on"), ("gpt", "holdout", "text", "together"),
    ("majority", "holdout", "picture", "Only a model"),
])  # fmt: skip
def test_what_makes_no_sense_is_refused_in_words(name, split, sees, why):
    dataset = frozen(make_known())
    with pytest.raises(evaluating.Refused, match=why):
        evaluate(dataset, name, split, sees)


def test_an_unknown_predictor_is_told_what_there_is():
    project = make_known()
    with pytest.raises(predictors.Unknown, match="run-N, base:MODEL"):
        predictors.named(project, "nobody")
    with pytest.raises(predictors.Unknown, match="no run 77"):
        predictors.named(project, "run-77")


# --- Those that are loaded and asked


def trained(project: Project, dataset: Dataset, **changes: Any) -> Run:
    config = training_presets.named("tiny").configured(max_steps=3, warmup=0.0, **changes)
    run = runner.start(project, None, dataset, config, "tiny", queue=False)
    runner.carry_out(run)
    assert run.state == RunState.DONE, run.error
    return run


def test_a_run_is_asked_by_a_process_of_its_own_and_leaves_no_folder(var):
    project = make_known(posts=30, held=9)
    dataset = frozen(project)
    run = trained(project, dataset)
    evaluation = evaluate(dataset, f"run-{run.pk}")
    assert figures(evaluation)["n"] == 9
    assert evaluation.run == run
    assert f"Run {run.pk}" in evaluation.name
    assert evaluation.predictions.count() == 9 + dataset.items.filter(split="validation").count()
    assert evaluation.used["device"] == "CPU"
    assert evaluation.used["seconds"] > 0
    assert not folder.folder_of(evaluation).exists()
    told = Prediction.objects.filter(evaluation=evaluation).first()
    assert told is not None
    assert told.scores is not None
    assert len(told.scores) == 3

    words = evaluate(dataset, f"run-{run.pk}", sees="text")
    assert words.key != evaluation.key
    assert "words alone" in words.name


def test_a_base_is_asked_as_it_is_and_with_examples(var):
    dataset = frozen(make_known(posts=30, held=6))
    bare = evaluate(dataset, Predictor("base", model="tiny"))
    shown = evaluate(dataset, Predictor("base", model="tiny", shots=2))
    assert figures(bare)["n"] == figures(shown)["n"] == 6
    assert shown.used["shown"] == 6
    assert "2 examples a label" in shown.name
    one, other = (list(e.predictions.order_by("item").values_list("scores", flat=True)) for e in (bare, shown))
    assert one != other


@pytest.mark.parametrize(("asked", "why"), [
    ({"bits": 8, "merged": True}, "quantise it afterwards"), ({"batch": 0}, "one post at least"),
    ({"kind": "base", "run": 0, "model": "tiny", "merged": True}, "Only what a run has made"),
])  # fmt: skip
def test_what_no_model_can_be_asked_is_refused_before_it_is_asked(asked, why):
    dataset = frozen(make_known(posts=12, held=3))
    run = Run.objects.create(project=dataset.project, dataset=dataset, config={"model": "tiny"}, state=RunState.DONE)
    predictor = Predictor(**({"kind": "run", "run": run.pk} | asked))
    with pytest.raises(evaluating.Refused, match=why):
        evaluating.ask(dataset.project, None, dataset, "holdout", predictor, queue=False)


def test_examples_are_promised_only_where_there_are_posts_to_show():
    project = make_known(posts=1, held=3)
    dataset = freeze(project, "v1")
    remove(project.posts.get(external_id="p0"), None, "asked for")
    base, text = Predictor("base", model="tiny", shots=1), Predictor("text")
    for predictor in (base, text):
        with pytest.raises(evaluating.Refused, match="no train split"):
            evaluating.check(project, dataset, "holdout", predictor, "both")
    run = Run.objects.create(project=project, dataset=dataset, config={"model": "tiny"}, state=RunState.DONE)
    evaluating.check(project, dataset, "holdout", Predictor("run", run=run.pk), "both")  # it has learnt elsewhere


def test_a_model_that_is_not_there_fails_in_words(var):
    evaluation = evaluate(frozen(make_known(posts=12, held=3)), Predictor("base", model="/nowhere/model"))
    assert evaluation.state == JobState.FAILED
    assert evaluation.error == "There is no folder /nowhere/model on this machine."


def test_stopped_it_keeps_what_was_answered_and_goes_on(var, monkeypatch):
    dataset = frozen(make_known(posts=30, held=9))
    predictor = Predictor("base", model="tiny", batch=1)
    evaluation = evaluating.ask(dataset.project, None, dataset, "holdout", predictor, queue=False)

    def ask_to_stop(now: Evaluation) -> None:
        if now.doing == "asking":
            evaluating.stop(now)

    evaluating.carry_out(evaluation, ask_to_stop)
    assert evaluation.state == JobState.STOPPED
    before = len((folder.folder_of(evaluation) / "predictions.jsonl").read_bytes().splitlines())
    assert evaluating.resume(evaluation)
    evaluating.carry_out(evaluation)
    evaluation.refresh_from_db()
    assert figures(evaluation)["n"] == 9
    assert evaluation.used["asked"] == evaluation.total - before
    assert evaluation.used["batch"] == 1
    assert evaluation.key == Evaluation.key_of(Predictor("base", model="tiny").as_json(), "both")


def test_delivered_twice_it_is_done_once_and_what_a_dead_worker_left_is_taken_up(monkeypatch):
    dataset = frozen(make_known())
    evaluation = evaluating.ask(
        dataset.project, None, dataset, "holdout", predictors.named(dataset.project, "gpt"), queue=False
    )
    assert evaluation.claim()
    assert not evaluating.carry_out(Evaluation.objects.get(pk=evaluation.pk))
    Evaluation.objects.update(heartbeat=timezone.now() - timedelta(minutes=2))
    queued: list[int] = []
    monkeypatch.setattr(evaluating, "enqueue", lambda one: queued.append(one.pk))
    evaluating.take_up()
    assert queued == [evaluation.pk]
    assert evaluating.carry_out(evaluation)
    assert evaluation.state == JobState.DONE
    assert evaluation.interruptions == 1
    evaluating.take_up()
    assert queued == [evaluation.pk]


def test_two_that_are_measured_at_the_same_time_are_compared_once():
    dataset = frozen(make_known())
    one, other = (
        evaluating.ask(dataset.project, None, dataset, "holdout", predictors.named(dataset.project, name), queue=False)
        for name in ("gpt", "majority")
    )
    for evaluation in (one, other):
        assert evaluation.claim()
        evaluation.test_hash = asked.hash_of(asked.measured_items(evaluation))
        evaluating.heard(evaluation)
        evaluating.store(evaluation, answers.of(evaluation, lambda _: None))
        measuring.measure(evaluation)
    for evaluation in (one, other):  # neither of them is done yet
        measuring.compare_with_others(evaluation)
    assert [{pair.first_id, pair.second_id} for pair in Comparison.objects.all()] == [{one.pk, other.pk}]


# --- Labels that bear another name now


def rename(project: Project, old: str, new: str) -> None:
    assert project.labels.filter(name=old).update(name=new)


@pytest.mark.parametrize("name", ["gpt", "consensus"])
def test_who_voted_for_a_label_that_is_renamed_since_is_as_right_as_before(name):
    project = make_known()
    project.voters.filter(name="late").update(required=False)
    dataset = frozen(project)
    before = figures(evaluate(dataset, name))["accuracy"]
    rename(project, "bullish", "up")
    assert figures(evaluate(dataset, name))["accuracy"] == before


def test_how_likely_labels_are_is_told_by_the_names_of_the_dataset():
    assert answers.scores_of({"a": 0.75, "b": 0.25}, ("a", "b")) == pytest.approx([math.log(0.75), math.log(0.25)])
    assert answers.scores_of({"a": 0.75, "b": 0.2, "new": 0.05}, ("a", "b")) is not None
    assert answers.scores_of({"a": 0.25, "of old": 0.75}, ("a", "b")) is None  # how likely b is, nobody can tell


# --- The labels of the test set stay where they are


def test_the_labels_of_the_test_set_reach_no_training_no_prompt_and_no_calibration():
    """All of them are swapped around; nothing but what is measured differs by a byte."""
    project = make_known()
    before = behind_the_doors(project)
    for post in project.posts.filter(holdout=True):
        post.label = project.labels.get(name=NAMES[(NAMES.index(post.label.name) + 1) % 3])
        post.save()
    after = behind_the_doors(project)
    for door, found in before.items():
        assert (found != after[door]) == (door == "accuracy"), door


def behind_the_doors(project: Project) -> dict[str, Any]:
    with transaction.atomic():
        dataset = frozen(project)
        run = runner.start(project, None, dataset, training_presets.named("tiny").configured(), "tiny", queue=False)
        shown = Predictor("base", model="tiny", shots=2)
        base = evaluating.ask(project, None, dataset, "holdout", shown, queue=False)
        text, crossed, majority, gpt = (evaluate(dataset, name) for name in ("text", "text-cv", "majority", "gpt"))
        asks = Examples(project, 4)
        held = project.posts.filter(holdout=True).first()
        found = {
            "training": {m.path: b"".join(m.chunks) for m in run_folder.members(run) if m.path != "run.json"},
            "prompt": {m.path: b"".join(m.chunks) for m in folder.members(base, shown)},
            "words": scores(text), "commonest": scores(majority), "temperature": text.measured["temperature"],
            "calibration": text.predictions.filter(to_calibrate=True).count(),
            "weights": dataset.facts["weights"], "examples of voters": asks.near(held), "splits": splits_of(dataset),
            "accuracy": [figures(one)["accuracy"] for one in (gpt, text, crossed, majority)],
        }  # fmt: skip
        transaction.set_rollback(True)
    return found


def scores(evaluation: Evaluation) -> list[Any]:
    return list(evaluation.predictions.order_by("item__position").values_list("scores", flat=True))


def splits_of(dataset: Dataset) -> list[Any]:
    return list(dataset.items.values_list("external_id", "split"))


def test_what_is_asked_says_nothing_of_the_answer():
    dataset = frozen(make_known())
    base = evaluating.ask(dataset.project, None, dataset, "holdout", Predictor("base", model="tiny"), queue=False)
    members = {m.path: b"".join(m.chunks) for m in folder.members(base, Predictor("base", model="tiny"))}
    lines = [json.loads(line) for line in members["posts/asked.jsonl"].splitlines()]
    assert {tuple(line) for line in lines} == {("number", "id", "system", "user", "image")}
    assert len(lines) == 30 + dataset.items.filter(split="validation").count()


# --- By command


def test_the_command_asks_measures_and_tells(capsys):
    dataset = frozen(make_known())
    call_command("evaluate", project=dataset.project.slug, predictor="gpt", on="holdout")
    assert "1.00" in capsys.readouterr().out
    with pytest.raises(CommandError, match="is no predictor"):
        call_command("evaluate", project=dataset.project.slug, predictor="nobody")
    with pytest.raises(CommandError, match="no project"):
        call_command("evaluate", project="nowhere", predictor="gpt")
