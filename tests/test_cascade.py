"""A cheap first stage and a costly second: the figures held against plain loops, and the tables they are read from."""

import json
from typing import Any

import numpy as np
import pytest
from django.core.management import CommandError, call_command
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import accuracy_score, balanced_accuracy_score, f1_score

from annotate.models import Event, Post, Project, Vote, Voter
from modeling import tasks
from modeling.cascade import asking, cascades, stages
from modeling.datasets.recipe import Recipe
from modeling.evaluation import evaluating, predictors
from modeling.evaluation.predictors import Predictor
from modeling.measures import calibration, cascade
from modeling.measures.cascade import ALWAYS, NEVER
from modeling.models import (
    Cascade,
    CascadeState,
    Dataset,
    Evaluation,
    JobState,
    On,
    Prediction,
    Run,
    RunState,
)

from .make import EPOCH, make_post, make_project, make_vote
from .test_dataset import freeze

NEAR = pytest.approx


def drawn(n: int, labels: int, seed: int = 0, sharp: float = 1.5) -> tuple[Any, Any, Any]:
    """A first stage that is as often right as it says, and a second that mostly knows the label."""
    rng = np.random.default_rng(seed)
    first = calibration.apply(sharp * rng.gumbel(0, 1, (n, labels)), 1.0)
    truth = (first.cumsum(axis=1) > rng.random((n, 1))).argmax(axis=1)
    second = rng.gumbel(0, 1, (n, labels))
    second[np.arange(n), truth] += 3
    return first, 2 * second, truth


SIZES = st.tuples(st.integers(1, 40), st.integers(2, 9), st.integers(0, 2**32 - 1))
SHARES = st.floats(0, 1)


# --- Probabilities of a few labels


class TestWhole:
    @given(SIZES, st.floats(0, 1))
    def test_rows_add_up_to_one_whatever_was_left_out(self, sizes, gone):
        n, labels, seed = sizes
        rng = np.random.default_rng(seed)
        stated = np.where(rng.random((n, labels)) < gone, np.nan, rng.random((n, labels)))
        found = cascade.whole(stated)
        assert found.sum(axis=1) == NEAR(np.ones(n))
        assert (found >= 0).all()

    def test_what_is_missing_is_spread_over_the_labels_that_were_not_named(self):
        assert cascade.whole([[0.6, 0.2, np.nan, np.nan]])[0] == NEAR([0.6, 0.2, 0.1, 0.1])

    def test_a_label_that_was_given_no_chance_keeps_none(self):
        assert cascade.whole([[0.5, 0.0, np.nan]])[0] == NEAR([0.5, 0, 0.5])

    def test_too_much_is_scaled_down_and_nothing_is_all_alike(self):
        assert cascade.whole([[1.0, 1.0, np.nan], [np.nan] * 3, [0.0] * 3]) == NEAR(
            np.array([[0.5, 0.5, 0], [1 / 3] * 3, [1 / 3] * 3])
        )


# --- Both stages together


class TestBlended:
    @given(SIZES, st.integers(1, 12), SHARES, SHARES, st.floats(0.05, 20))
    @settings(max_examples=300)
    def test_it_is_a_probability_and_leaves_other_labels_as_they_are(self, sizes, k, threshold, weight, temperature):
        first, second, _ = drawn(*sizes)
        found = cascade.answered(first, second, k, threshold, weight, temperature)
        assert found.sum(axis=1) == NEAR(np.ones(len(first)))
        assert (found >= 0).all()
        sure = first.max(axis=1) >= threshold
        assert (found[sure] == first[sure]).all()
        places, counted = cascade.candidates(first, k)
        others = np.ones(first.shape, dtype=bool)
        np.put_along_axis(others, places, ~counted, 1)
        assert (found[others] == first[others]).all()
        assert not others[np.arange(len(found)), found.argmax(axis=1)].any()

    @given(SIZES, st.integers(2, 12))
    def test_with_all_the_weight_the_second_decides_among_candidates(self, sizes, k):
        first, second, _ = drawn(*sizes)
        told = cascade.blended(first, second, k, 1.0, 1.0).argmax(axis=1)
        for row, one in enumerate(told):
            likeliest = np.argsort(-first[row], kind="stable")[:k]
            assert one == likeliest[second[row, likeliest].argmax()]

    @given(SIZES, st.integers(1, 12))
    def test_with_none_the_first_stage_stands(self, sizes, k):
        first, second, _ = drawn(*sizes)
        assert cascade.blended(first, second, k, 0.0, 1.0) == NEAR(first, abs=k * cascade.LEAST)  # each raised to it

    def test_it_is_the_formula(self):
        first, second = np.array([[0.5, 0.3, 0.15, 0.05]]), np.array([[1.0, 2.0, 3.0, 9.0]])
        told = np.exp([1.0 / 2, 2.0 / 2, 3.0 / 2])
        among = first[0, :3] ** 0.4 * (told / told.sum()) ** 0.6
        wanted = [*(0.95 * among / among.sum()), 0.05]
        assert cascade.blended(first, second, 3, 0.6, 2.0)[0] == NEAR(wanted)

    def test_only_candidates_need_be_scored(self):
        first, second, _ = drawn(30, 8)
        places, _ = cascade.candidates(first, 3)
        for unknown in (-1e9, -np.inf, np.nan):
            some = np.full_like(second, unknown)
            np.put_along_axis(some, places, np.take_along_axis(second, places, 1), 1)
            whole, part = (cascade.blended(first, scores, 3, 0.7, 1.3) for scores in (second, some))
            assert whole == NEAR(part)

    def test_where_the_second_said_nothing_the_first_stands(self):
        first, second, _ = drawn(5, 8)
        assert cascade.blended(first, np.full_like(second, np.nan), 3, 0.7, 1.3) == NEAR(first)

    def test_a_label_is_no_candidate_by_its_place_alone(self):
        """Of a file with two labels a post, the third candidate would be whichever comes first."""
        first = cascade.whole(
            [[np.nan, np.nan, 0.5, 0.3, np.nan, np.nan], [np.nan, 0.4, np.nan, np.nan, np.nan, np.nan]]
        )
        asked = [places[counted].tolist() for places, counted in zip(*cascade.candidates(first, 4), strict=True)]
        assert asked[0] == [2, 3]
        assert len(asked[1]) == 2
        assert asked[1][0] == 1

    def test_more_candidates_than_labels_are_all_labels(self):
        first, _, _ = drawn(4, 3)
        assert cascade.candidates(first, 50).places.shape == (4, 3)


# --- Fitted


class TestFit:
    def test_it_finds_how_much_too_sure_the_second_is(self):
        """A first stage that knows nothing leaves all to the second, which is twice as sure as it should be."""
        chances, _, truth = drawn(4000, 4)
        second = 2 * np.log(chances)
        fit = cascade.fit(np.full((4000, 4), 0.25), second, truth, 4)
        assert fit.temperature / fit.weight == NEAR(2, rel=0.1)
        assert fit.temperature / fit.weight == NEAR(calibration.temperature(second, truth), rel=1e-3)

    @given(SIZES, st.integers(1, 6))
    @settings(max_examples=25)
    def test_no_weight_and_temperature_that_are_tried_lose_less(self, sizes, k):
        n, labels, seed = sizes
        first, second, truth = drawn(n + 60, labels, seed)
        fit = cascade.fit(first, second, truth, k)
        if fit.note:
            return
        assert fit.log_loss is not None
        for weight, temperature in ((1.0, 1.0), (0.5, 1.0), (0.0, 1.0)):
            other = calibration.losses(cascade.blended(first, second, k, weight, temperature), truth).mean()
            assert fit.log_loss <= other + 1e-6

    def test_it_is_the_same_every_time(self):
        told = drawn(200, 9)
        assert cascade.fit(*told, 3) == cascade.fit(*told, 3)

    def test_of_a_few_posts_nothing_is_learnt_and_it_is_said(self):
        first, second, truth = drawn(19, 5)
        fit = cascade.fit(first, second, truth, 3)
        assert (fit.weight, fit.temperature) == (1, 1)
        assert "fewer than 20" in fit.note
        assert cascade.fit(first[:0], second[:0], truth[:0], 3).log_loss is None

    def test_never_wrong_is_no_reason_to_be_as_sure_as_can_be(self):
        first, second, _ = drawn(100, 5)
        places, _ = cascade.candidates(first, 3)
        best = np.take_along_axis(second, places, 1).argmax(axis=1)
        truth = places[np.arange(100), best]
        assert cascade.fit(first, second, truth, 3).temperature == 1


# --- The curve


class TestCurve:
    def test_each_point_is_what_scikit_learn_makes_of_its_answers(self):
        first, second, truth = drawn(300, 6)
        groups = np.arange(300)
        for point in cascade.curve(first, second, truth, groups, 3, 0.6, 1.5, samples=50):
            told = cascade.answered(first, second, 3, point.threshold, 0.6, 1.5).argmax(axis=1)
            assert point.accuracy.value == NEAR(accuracy_score(truth, told))
            assert point.balanced_accuracy == NEAR(balanced_accuracy_score(truth, told))
            assert point.macro_f1 == NEAR(f1_score(truth, told, average="macro", labels=np.unique(truth)))
            assert point.asked == (first.max(axis=1) < point.threshold).sum()

    @given(SIZES, st.integers(1, 12))
    @settings(max_examples=30)
    def test_it_goes_from_never_to_always_and_asks_ever_more(self, sizes, k):
        first, second, truth = drawn(*sizes)
        points = cascade.curve(first, second, truth, np.arange(len(truth)) // 2, k, samples=20)
        assert (points[0].threshold, points[0].asked) == (NEVER, 0)
        assert (points[-1].threshold, points[-1].asked) == (ALWAYS, len(truth))
        assert points[-1].behind.value == 0
        asked = [point.asked for point in points]
        assert asked == sorted(asked)
        for point in points:
            assert point.accuracy.low is not None
            assert point.accuracy.low <= point.accuracy.value <= point.accuracy.high
            assert type(point).from_json(json.loads(json.dumps(point.as_json()))) == point

    def test_posts_that_are_alike_make_it_less_sure(self):
        first, second, truth = drawn(60, 4)
        alone = cascade.curve(first, second, truth, np.arange(60), 3)
        five = [np.repeat(one, 5, axis=0) for one in (first, second, truth)]
        together = cascade.curve(*five, np.repeat(np.arange(60), 5), 3, at=[point.threshold for point in alone])
        apart = cascade.curve(*five, np.arange(300), 3, at=[point.threshold for point in alone])
        for one, other, wrong in zip(alone, together, apart, strict=True):
            wide, same, narrow = (one.accuracy.high - one.accuracy.low for one in (one, other, wrong))
            assert same == NEAR(wide, rel=0.15)
            assert narrow < 0.7 * wide

    def test_minority_recall_is_of_the_labels_below_the_middle(self):
        counts = [50, 40, 10, 5, 20]
        assert cascade.minority(counts).tolist() == [False, False, True, True, False]
        assert not cascade.minority([7, 7, 7]).any()
        first = np.eye(5)[[0, 0, 2, 3, 3, 4]]
        point = cascade.curve(first, np.log(first + 1e-3), np.array([0, 1, 2, 3, 2, 4]), np.arange(6), 2, at=[0],
                              counts=counts)[0]  # fmt: skip
        assert point.minority_recall == NEAR((1 / 2 + 1) / 2)

    def test_it_tells_the_seconds_that_a_post_takes(self):
        first, second, truth = drawn(100, 4)
        points = cascade.curve(first, second, truth, np.arange(100), 2, seconds=(0.1, 2.0), at=[NEVER, 0.5, ALWAYS])
        assert [point.seconds for point in points] == NEAR([0.1, 0.1 + 2 * points[1].asked / 100, 2.1])
        assert cascade.curve(first, second, truth, np.arange(100), 2, at=[0.5])[0].seconds is None

    def test_the_cheapest_that_is_as_good_as_always_asking(self):
        first, second, truth = drawn(3000, 12, sharp=3)
        points = cascade.curve(first, second, truth, np.arange(3000), 4, samples=100)
        found = cascade.cheapest_as_good(points, 0.005)
        assert found.behind.value >= -0.005
        assert all(point.asked >= found.asked for point in points if point.behind.value >= -0.005)
        assert found.saved > 0.1
        assert cascade.cheapest_as_good(points, 1).asked == 0

    def test_sixty_seven_labels_with_more_labels_than_posts(self):
        first, second, truth = drawn(30, 67)
        fit = cascade.fit(first, second, truth, 5)
        points = cascade.curve(first, second, truth, np.arange(30), 5, fit.weight, fit.temperature)
        assert len(points) >= 30
        assert cascade.curve(first[:0], second[:0], truth[:0], truth[:0], 5) == []

    @pytest.mark.parametrize("n", [1, 2])
    def test_a_post_or_two_do_not_break_it(self, n):
        first, second, truth = drawn(n, 67)
        points = cascade.curve(first, second, truth, np.arange(n), 5)
        assert cascade.cheapest_as_good(points) in points


# --- Tables


LABELS = tuple(f"technique {n:02}" for n in range(12))


def make_ground(
    labels: tuple[str, ...] = LABELS, posts: int = 240, held: int = 60, named: int = 4, name: str = "Memes"
) -> Project:
    """Posts on which a classifier from elsewhere has voted with its likeliest labels, and a frozen dataset v1."""
    project = make_project(name, labels, audit_rate=0, double_rate=0)
    voter = Voter.imported(project, "topk")
    rng = np.random.default_rng(1)
    posts_made, votes = list[Post](), list[Vote]()
    keys = {label.name: label for label in project.labels.all()}
    for number in range(posts + held):
        truth = number % len(labels)
        scores = rng.normal(0, 1, len(labels))
        scores[truth] += rng.normal(2.5, 1.5)
        chances = calibration.apply([scores], 0.7)[0]
        source = {"label_source": "import", "holdout": True} if number >= posts else {"label_source": "review"}
        posts_made.append(Post(
            project=project, text=f"post {number}", external_id=f"p{number}", content_hash=f"{number:064x}", at=EPOCH,
            state="settled", label=keys[labels[truth]], **source,
        ))  # fmt: skip
        told = {labels[n]: round(float(chances[n]), 4) for n in np.argsort(-chances)[:named]}
        votes.append(Vote(
            post=posts_made[-1], voter=voter, label=keys[max(told, key=told.__getitem__)], probabilities=told,
            confidence=max(told.values()),
        ))  # fmt: skip
    Post.objects.bulk_create(posts_made)
    Vote.objects.bulk_create(votes)
    freeze(project, "v1", recipe=Recipe(validation=0.4, test=0.2))
    return project


def make_run(dataset: Dataset, method: str = "qlora") -> Run:
    return Run.objects.create(
        project=dataset.project, dataset=dataset, config={"model": "tiny", "method": method}, state=RunState.DONE
    )


def make_answers(run: Run, dataset: Dataset, split: str = "test", seed: int = 2, right: float = 4) -> Evaluation:
    """As an evaluation of it leaves them: of what it is measured on, and of validation besides."""
    names = stages.label_names(dataset)
    predictor = Predictor("run", run=run.pk).as_json()
    evaluation = Evaluation.objects.create(
        project=dataset.project, dataset=dataset, split=split, predictor=predictor, name=str(run), run=run,
        key=Evaluation.key_of(predictor, "both"), state=JobState.DONE, test_hash=split, ended=timezone.now(),
        used={"seconds": 30.0, "asked": 60}, measured={"temperature": 1.0},
    )  # fmt: skip
    rng = np.random.default_rng(seed)
    there = dataset.items.filter(split__in={split, "validation"}, removed=None)
    made = []
    for item in there.order_by("position"):
        scores = rng.normal(0, 1, len(names))
        scores[names.index(item.label)] += right
        chances = np.log(calibration.apply([scores], 0.5)[0])
        made.append(Prediction(evaluation=evaluation, item=item, label=names[int(chances.argmax())],
                               scores=chances.tolist(), to_calibrate=item.split != split))  # fmt: skip
    Prediction.objects.bulk_create(made)
    return evaluation


def make_cascade(project: Project, k: int = 3, first: Voter | Run | None = None, **fields: Any) -> Cascade:
    dataset = project.datasets.get(name="v1")
    second = fields.pop("second", None) or make_run(dataset)
    first = first or project.voters.get(name="topk")
    made = cascades.make(project, None, dataset, first, second, k, queue=False, **fields)
    assert cascades.carry_out(made)
    return made


@pytest.fixture
def project(db):
    return make_ground()


@pytest.fixture
def dataset(project):
    return project.datasets.get(name="v1")


@pytest.fixture
def second(dataset):
    run = make_run(dataset)
    make_answers(run, dataset)
    return run


class TestMade:
    def test_it_is_fitted_on_validation_from_what_is_known(self, project, dataset, second):
        made = make_cascade(project, second=second)
        assert made.state == CascadeState.DONE, made.error
        assert made.fitted_on == dataset.items.filter(split="validation").count()
        points = cascades.curve_of(made)
        assert points[-1].accuracy.value > points[0].accuracy.value
        assert 0 < made.told["fit"]["weight"] <= 1
        assert made.told["seconds"] == [None, 0.5]
        assert made.told["elsewhere"] == {}
        assert Event.objects.get(verb="cascade made").data["second"] == str(second)

    def test_reading_it_asks_the_database_a_few_times_however_many_thresholds(self, project, second):
        made = cascades.make(project, None, second.dataset, project.voters.get(), second, 3, queue=False)
        with CaptureQueriesContext(connection) as asked:
            assert cascades.carry_out(made)
        assert len(asked) < 40

    def test_the_second_stage_is_read_as_evaluating_asks_it(self, project, dataset, second):
        asked = evaluating.ask(project, None, dataset, "test", Predictor("run", run=second.pk), queue=False)
        assert asked.key == stages.key_of(second)

    def test_votes_of_a_few_labels_and_of_none(self, project, dataset, second):
        voter, posts = project.voters.get(), dataset.items.filter(split="validation").values("post")
        first, *others = Vote.objects.filter(voter=voter, post__in=posts)
        Vote.objects.filter(pk=first.pk).update(probabilities=None)
        made = make_cascade(project, second=second)
        assert made.fitted_on == len(others)
        assert made.told["of"] == len(others) + 1
        assert made.told["named"] == 4

    def test_a_label_that_was_renamed_since_is_the_same(self, project, dataset, second):
        before = make_cascade(project, second=second).told["curve"]
        project.labels.filter(name=LABELS[0]).update(name="renamed")
        for vote in Vote.objects.filter(voter__name="topk"):
            vote.probabilities = {"renamed" if name == LABELS[0] else name: p for name, p in vote.probabilities.items()}
            vote.save()
        assert make_cascade(project, second=second, name="again").told["curve"] == before

    def test_a_classifier_of_ours_may_be_the_first_stage(self, project, dataset, second):
        first = make_run(dataset, "classifier")
        make_answers(first, dataset, seed=5, right=2)
        made = make_cascade(project, first=first, second=second)
        assert made.state == CascadeState.DONE, made.error
        assert made.heat != 1
        assert made.told["named"] is None
        assert made.told["seconds"] == [0.5, 0.5]

    @pytest.mark.parametrize(("k", "why"), [(1, "From 2 to 12"), (13, "From 2 to 12")])
    def test_so_many_candidates_there_must_be(self, project, dataset, second, k, why):
        with pytest.raises(cascades.Refused, match=why):
            cascades.make(project, None, dataset, project.voters.get(), second, k, queue=False)

    def test_what_cannot_be_is_refused(self, project, dataset, second):
        voter, make = project.voters.get(), cascades.make
        running = Run.objects.create(project=project, dataset=dataset, config={"model": "tiny"})
        fold = Run.objects.create(project=project, dataset=dataset, config={"model": "tiny"}, state=RunState.DONE,
                                  part={"fold": 1, "of": 2})  # fmt: skip
        for first, last, why in [
            (second, second, "the same run"),
            (voter, running, "not done"),
            (voter, fold, "a fold"),
        ]:
            with pytest.raises(cascades.Refused, match=why):
                make(project, None, dataset, first, last, 3, queue=False)
        make(project, None, dataset, voter, second, 3, queue=False)
        with pytest.raises(cascades.Refused, match="already"):
            make(project, None, dataset, voter, second, 3, queue=False)

    def test_delivered_twice_it_is_fitted_once(self, project, second):
        made = make_cascade(project, second=second)
        assert not cascades.carry_out(made)

    def test_what_a_dead_worker_left_is_taken_up(self, project, second, monkeypatch):
        made = make_cascade(project, second=second)
        Cascade.objects.update(state=CascadeState.RUNNING, heartbeat=made.created - timezone.timedelta(hours=1))
        queued = []
        monkeypatch.setattr(cascades, "enqueue", queued.append)
        cascades.take_up()
        assert queued == [made]
        assert cascades.carry_out(made)
        assert made.state == CascadeState.DONE

    def test_sixty_seven_labels_and_fewer_posts_than_labels(self, db):
        project = make_ground(tuple(f"label {n}" for n in range(67)), posts=67, held=0)
        dataset = project.datasets.get()
        run = make_run(dataset)
        make_answers(run, dataset)
        made = make_cascade(project, k=5, second=run)
        assert made.state == CascadeState.DONE, made.error


class TestMissing:
    def test_a_second_stage_that_was_never_asked_is_told_with_what_mends_it(self, project, dataset):
        made = make_cascade(project)
        assert made.state == CascadeState.LACKING
        assert cascades.curve_of(made) == []
        lacks = cascades.lacks(made)
        assert [(lack.run, lack.split) for lack in lacks] == [(made.second, "test"), (made.second, "holdout")]
        assert f"Evaluate it on the {stages.named(On.TEST)}" in lacks[0].words
        asked = cascades.ask_for(made, None, made.second.pk, "test")
        assert (asked.predictor, asked.split) == ({"kind": "run", "run": made.second.pk}, "test")
        assert cascades.lacks(made)[0].at_work == asked
        for split in ("test", "validation", "train"):
            with pytest.raises(cascades.Refused):
                cascades.ask_for(made, None, made.second.pk, split)

    def test_it_goes_on_by_itself_when_the_answers_come(self, project, dataset, monkeypatch):
        made = make_cascade(project)
        evaluation = make_answers(made.second, dataset)
        queued = []
        monkeypatch.setattr(cascades, "enqueue", queued.append)
        tasks.evaluate(evaluation.pk)
        assert queued == [made]
        tasks.fit_cascade(made.pk)
        made.refresh_from_db()
        assert made.state == CascadeState.DONE

    def test_a_voter_without_probabilities_cannot_be_the_first(self, project, dataset, second):
        make_vote(project.posts.first(), "plain", LABELS[0])
        made = make_cascade(project, first=project.voters.get(name="plain"), second=second)
        assert made.state == CascadeState.LACKING
        assert "import its probabilities" in cascades.lacks(made)[0].words

    def test_where_nothing_was_said_of_the_same_post_it_fails_in_words(self, project, dataset, second):
        said = dataset.items.filter(split="validation").order_by("position").first()
        Vote.objects.filter(voter__name="topk").exclude(post=said.post_id).delete()
        Prediction.objects.filter(item=said).delete()
        made = make_cascade(project, second=second)
        assert (made.state, "both stages" in made.error) == (CascadeState.FAILED, True)


class TestUsed:
    def test_the_chosen_point_is_told_on_posts_that_it_was_not_fitted_on(self, project, dataset, second):
        made = make_cascade(project, second=second)
        point = cascades.use(made, 0.62, None, queue=False)
        assert abs(point.threshold - 0.62) == min(abs(one.threshold - 0.62) for one in cascades.curve_of(made))
        assert cascades.carry_out(made)
        found = made.told["elsewhere"]
        assert list(found) == ["test"]  # nobody was asked about the locked test set
        assert found["test"]["chosen"]["threshold"] == made.threshold == point.threshold
        assert found["test"]["never"]["asked"] == 0
        assert found["test"]["always"]["saved"] == 0
        assert Event.objects.get(verb="cascade's point chosen").data["threshold"].startswith("ask below")

    def test_no_curve_is_ever_drawn_of_the_locked_test_set(self, project, dataset, second):
        make_answers(second, dataset, "holdout", seed=3)
        made = make_cascade(project, second=second)
        cascades.use(made, 0.5, None, queue=False)
        cascades.carry_out(made)
        holdout = made.told["elsewhere"]["holdout"]
        assert {name for name, told in holdout.items() if isinstance(told, dict)} == {"never", "chosen", "always"}
        held = dataset.items.filter(split="holdout").count()
        assert holdout["chosen"]["posts"] == held
        assert {point.posts for point in cascades.curve_of(made)} == {made.fitted_on}

    def test_labels_of_the_locked_test_set_change_nothing_that_is_fitted(self, project, dataset, second):
        make_answers(second, dataset, "holdout", seed=3)
        one = make_cascade(project, second=second)
        cascades.use(one, 0.5, None, queue=False)
        cascades.carry_out(one)
        before = (one.weight, one.temperature, one.told["curve"], one.told["best"])
        Prediction.objects.filter(evaluation__split="holdout", to_calibrate=False).update(scores=[0.0] * len(LABELS))
        cascades.again(one, queue=False)
        cascades.carry_out(one)
        assert (one.weight, one.temperature, one.told["curve"], one.told["best"]) == before

    def test_without_a_curve_there_is_nothing_to_choose(self, project):
        with pytest.raises(cascades.Refused, match="not fitted yet"):
            cascades.use(make_cascade(project), 0.5, None)

    def test_while_it_is_being_fitted_nobody_chooses(self, project, second):
        made = make_cascade(project, second=second)
        Cascade.objects.update(state=CascadeState.RUNNING)
        with pytest.raises(cascades.Refused, match="wait a moment"):
            cascades.use(made, 0.5, None)


# --- Among other predictors


def evaluate(made: Cascade, split: str = "test") -> Evaluation:
    asked = evaluating.ask(made.project, None, made.dataset, split, Predictor("cascade", cascade=made.pk), queue=False)
    assert evaluating.carry_out(asked)
    return asked


@pytest.fixture
def used(project, second):
    made = make_cascade(project, second=second)
    cascades.use(made, 0.6, None, queue=False)
    assert cascades.carry_out(made)
    return made


class TestPredictor:
    def test_it_stands_on_the_leaderboard_with_what_it_saves(self, used, dataset):
        done = evaluate(used)
        assert done.state == JobState.DONE, done.error
        chosen = used.told["elsewhere"]["test"]["chosen"]
        assert done.measured["figures"]["accuracy"]["value"] == NEAR(chosen["accuracy"]["value"])
        assert done.measured["figures"]["macro_f1"]["value"] == NEAR(chosen["macro_f1"])
        assert done.used["calls_saved"] == f"{chosen['saved']:.1%}"
        assert done.measured["figures"]["log_loss"] is not None
        assert f"asked below {used.threshold:g}" in done.name

    def test_where_the_first_stage_is_sure_nobody_else_need_have_been_asked(self, used, dataset):
        cascades.use(used, NEVER, None, queue=False)
        cascades.carry_out(used)
        done = evaluate(used, "holdout")
        assert done.state == JobState.DONE, done.error
        assert done.used["calls_saved"] == "100.0%"

    def test_where_it_is_not_it_says_which_evaluation_is_needed(self, used):
        failed = evaluate(used, "holdout")
        assert failed.state == JobState.FAILED
        assert f"Evaluate it on the {stages.named(On.HOLDOUT)}" in failed.error
        assert str(used.second) in failed.error

    def test_it_is_named_and_offered_like_the_others(self, project, used):
        assert predictors.named(project, f"cascade-{used.pk}") == Predictor("cascade", cascade=used.pk)
        assert Predictor("cascade", cascade=used.pk) in predictors.offered(project)
        with pytest.raises(predictors.Unknown):
            predictors.named(project, "cascade-0")

    def test_it_is_not_measured_on_what_it_was_fitted_on(self, used):
        with pytest.raises(evaluating.Refused, match="fitted on the validation split"):
            evaluate(used, "validation")

    def test_without_a_point_it_is_nobody(self, project, second):
        made = make_cascade(project, second=second)
        assert Predictor("cascade", cascade=made.pk) not in predictors.offered(project)
        with pytest.raises(evaluating.Refused, match="no point yet"):
            evaluate(made)

    def test_other_predictors_keep_their_keys(self):
        assert Predictor("run", run=3).as_json() == {"kind": "run", "run": 3}


# --- For whoever asks about posts of the project


class TestAsking:
    def test_posts_are_split_by_how_sure_the_first_stage_is(self, project, used):
        posts = list(project.posts.order_by("pk").values_list("pk", flat=True))
        silent = make_post(project, "nobody has voted on me").pk
        answered, unsure = asking.split(used, [*posts, silent])
        assert answered.keys() | unsure.keys() == {*posts, silent}
        assert not answered.keys() & unsure.keys()
        assert unsure[silent] == []
        said = dict(Vote.objects.filter(voter=used.voter).values_list("post_id", "probabilities"))
        for post, chances in answered.items():
            assert max(said[post].values()) >= used.threshold
            assert list(chances) == list(stages.label_names(used.dataset))
            assert sum(chances.values()) == NEAR(1)
        for post, names in unsure.items():
            if post != silent:
                assert max(said[post].values()) < used.threshold
                assert names == sorted(said[post], key=said[post].__getitem__, reverse=True)[: used.k]

    def test_it_blends_as_the_curve_was_reckoned(self, project, used, dataset):
        said = stages.read(used, dataset, "test")
        first = stages.chances(used, said.stated, used.heat)
        wanted = cascade.blended(first, said.second, used.k, used.weight, used.temperature)
        for row in range(5):
            told = dict(zip(said.labels, first[row].tolist(), strict=True))
            asked = asking.candidates(used, told)
            scores = {
                name: said.second[row, said.labels.index(name)] if name in asked else -1e9 for name in said.labels
            }
            for some in (scores, {name: scores[name] for name in asked}):
                assert list(asking.blend(used, told, some).values()) == NEAR(wanted[row])

    def test_where_the_first_stage_said_nothing_the_second_answers_alone(self, used):
        scores = dict.fromkeys(LABELS, -5.0) | {LABELS[3]: -0.1}
        found = asking.blend(used, {}, scores)
        assert max(found, key=found.__getitem__) == LABELS[3]
        assert sum(found.values()) == NEAR(1)

    def test_a_run_that_has_not_voted_is_told_so(self, project, dataset, second):
        first = make_run(dataset, "classifier")
        make_answers(first, dataset, seed=5, right=2)
        made = make_cascade(project, first=first, second=second)
        cascades.use(made, 0.5, None, queue=False)
        with pytest.raises(stages.Lacking, match="pre-label with it first"):
            asking.split(made, [1])

    def test_without_a_point_nothing_is_split(self, project, second):
        with pytest.raises(stages.Lacking, match="no point yet"):
            asking.split(make_cascade(project, second=second), [1])


# --- By command


def command(**options: Any) -> str:
    from io import StringIO

    out = StringIO()
    call_command("cascade", stdout=out, **options)
    return out.getvalue()


class TestCommand:
    def test_it_prints_the_curve_and_takes_a_point(self, project, second):
        told = command(project="memes", first="topk", second=f"run-{second.pk}", k=3)
        assert "Ask below" in told
        assert "calls saved" in told.lower()
        assert "Test" not in told
        told = command(project="memes", first="topk", second=f"run-{second.pk}", k=3, threshold=0.6)
        assert "On the test split" in told
        assert Cascade.objects.get().threshold == NEAR(0.6, abs=0.05)

    def test_it_says_what_is_missing(self, project, dataset):
        run = make_run(dataset)
        with pytest.raises(CommandError, match="Evaluate it on the test split"):
            command(project="memes", first="topk", second=f"run-{run.pk}")

    @pytest.mark.parametrize(
        ("change", "why"),
        [
            ({"project": "none"}, "no project"),
            ({"first": "nobody"}, "no first stage"),
            ({"second": "topk"}, "run-N"),
            ({"k": 99}, "From 2 to 12"),
            ({"dataset": "v9"}, "no such frozen dataset"),
        ],
    )
    def test_what_cannot_be_is_told(self, project, second, change, why):
        told = {"project": "memes", "first": "topk", "second": f"run-{second.pk}", "k": 3} | change
        with pytest.raises(CommandError, match=why):
            command(**told)
