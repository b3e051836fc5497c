"""What answers are worth, held against scikit-learn, SciPy and statsmodels, and against posts whose truth is known."""

import json
import warnings
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import bootstrap
from sklearn.metrics import (
    accuracy_score,
    balanced_accuracy_score,
    brier_score_loss,
    confusion_matrix,
    f1_score,
    log_loss,
    precision_recall_fscore_support,
)
from sklearn.model_selection import RepeatedStratifiedKFold
from statsmodels.stats.proportion import proportion_confint

from modeling.measures.calibration import apply, losses
from modeling.measures.metrics import Answers, Lot, Measured, Slice, measure, slice_figures
from modeling.measures.resampling import Figure

NEAR = pytest.approx
NAMES = ("bearish", "neutral", "bullish")
PRIOR = np.array([0.2, 0.45, 0.35])
CASES = [(0.6, "alike"), (0.75, "alike"), (0.9, "alike"), (0.9, "commonest")]


@st.composite
def answers(draw, unanswered=True, least_labels=1):
    k, n = draw(st.integers(least_labels, 5)), draw(st.integers(1, 60))
    truth = np.array(draw(st.lists(st.integers(0, k - 1), min_size=n, max_size=n)))
    told = np.array(draw(st.lists(st.integers(-1 if unanswered else 0, k - 1), min_size=n, max_size=n)))
    groups = np.array(draw(st.lists(st.integers(0, n), min_size=n, max_size=n)))
    chances = np.random.default_rng(draw(st.integers(0, 1000))).dirichlet(np.full(k, 0.5), n)
    return Answers(tuple("abcde"[:k]), truth, told, groups, chances)


def chances_of(right, mistakes):
    """Of each true label and each told one."""
    table = np.zeros((3, 3))
    for k in range(3):
        others = PRIOR * (np.arange(3) != k) if mistakes == "commonest" else (np.arange(3) != k) * 1.0
        table[k] = PRIOR[k] * (1 - right) * others / others.sum()
        table[k, k] = PRIOR[k] * right
    return table


def drawn(rng, n, table):
    cells = rng.choice(9, n, p=table.ravel())
    return Answers(NAMES, cells // 3, cells % 3, np.arange(n))


def macro_f1_of(table):
    return float(np.mean(2 * table.diagonal() / (table.sum(axis=0) + table.sum(axis=1))))


def plain(n=200, seed=0, right=0.75, groups=None):
    found = drawn(np.random.default_rng(seed), n, chances_of(right, "alike"))
    return found if groups is None else replace(found, groups=groups)


class TestFigures:
    @given(answers())
    def test_are_what_scikit_learn_says(self, asked):
        found = measure(asked, samples=20)
        seen = np.unique(asked.truth)
        macro_f1 = f1_score(asked.truth, asked.told, labels=seen, average="macro", zero_division=0)
        assert found.macro_f1.value == NEAR(macro_f1, abs=1e-9)
        assert found.accuracy.value == NEAR(accuracy_score(asked.truth, asked.told), abs=1e-9)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that some was told which no post has
            balanced = balanced_accuracy_score(asked.truth, asked.told)
        assert found.balanced_accuracy.value == NEAR(balanced, abs=1e-9)

    @given(answers())
    def test_of_each_label_are_what_scikit_learn_says(self, asked):
        k = len(asked.labels)
        theirs = precision_recall_fscore_support(
            asked.truth, asked.told, labels=range(k), zero_division=np.nan, average=None
        )
        for one, precision, recall, f1, support in zip(measure(asked, samples=20).labels, *theirs, strict=True):
            assert one.support == support
            assert one.precision == (None if np.isnan(precision) else NEAR(precision, abs=1e-9))
            assert one.recall == (None if np.isnan(recall) else NEAR(recall, abs=1e-9))
            assert (one.f1.value if one.f1 else None) == (NEAR(f1, abs=1e-9) if support else None)

    @given(answers())
    def test_confusion_is_what_scikit_learn_says(self, asked):
        k = len(asked.labels)
        table = confusion_matrix(asked.truth, asked.told, labels=[*range(k), -1])
        assert measure(asked, samples=0).confusion == table[:k].tolist()
        assert measure(asked, samples=0).unanswered == table[:, k].sum()

    @given(answers(least_labels=2))
    def test_losses_are_what_scikit_learn_says(self, asked):
        found, labels = measure(asked, samples=20), range(len(asked.labels))
        theirs = log_loss(asked.truth, asked.probabilities, labels=labels)
        assert found.log_loss.value == NEAR(theirs, abs=1e-9)
        theirs = brier_score_loss(asked.truth, asked.probabilities, labels=labels, scale_by_half=False)
        assert found.brier == NEAR(theirs, abs=1e-9)

    def test_a_label_said_of_a_post_costs_no_more_where_no_post_has_it(self):
        rare = Answers.of("abc", "aabb", "aabc")
        assert measure(rare).macro_f1.value == NEAR((1 + 2 / 3) / 2)

    def test_a_loss_has_an_end_even_where_the_truth_was_held_to_be_impossible(self):
        asked = Answers.of("ab", "ab" * 10, "ba" * 10, probabilities=[[0, 1], [1, 0]] * 10)
        found = measure(asked)
        assert found.log_loss.value == NEAR(36.04, abs=0.01)
        assert (found.brier, found.ece, found.log_loss.low, found.log_loss.high) == NEAR((2, 1, 36.04, 36.04), abs=0.01)


class TestProperties:
    @given(answers(), st.randoms())
    def test_the_order_of_the_posts_changes_nothing(self, asked, random):
        order = list(range(len(asked)))
        random.shuffle(order)
        one, other = measure(asked, samples=50), measure(asked.only(order), samples=50)
        told = ("macro_f1", "accuracy", "balanced_accuracy", "folds", "labels", "confusion", "groups")
        assert all(getattr(one, name) == getattr(other, name) for name in told)
        assert (one.ece, one.brier, one.log_loss.value) == NEAR((other.ece, other.brier, other.log_loss.value))

    @given(answers(), st.randoms())
    def test_the_order_of_the_labels_changes_no_figure(self, asked, random):
        order = list(range(len(asked.labels)))
        random.shuffle(order)
        place = np.append(np.argsort(order), -1)
        other = Answers(
            tuple(asked.labels[k] for k in order), place[asked.truth], place[asked.told], asked.groups,
            asked.probabilities[:, order],
        )  # fmt: skip
        one, other = measure(asked, samples=0), measure(other, samples=0)
        for name in ("macro_f1", "accuracy", "balanced_accuracy", "log_loss"):
            assert getattr(one, name).value == NEAR(getattr(other, name).value, abs=1e-12)
        assert (one.brier, one.ece) == NEAR((other.brier, other.ece))
        assert {of.label: of.right for of in one.labels} == {of.label: of.right for of in other.labels}

    @given(answers())
    def test_an_interval_holds_its_value(self, asked):
        found = measure(asked, samples=50)
        shares = [found.macro_f1, found.accuracy, found.balanced_accuracy, *(of.f1 for of in found.labels if of.f1)]
        assert all(0 <= one.low <= one.value <= one.high <= 1 for one in shares)
        assert all(one.low < one.high for one in shares)
        if found.log_loss.low is not None:
            assert 0 <= found.log_loss.low <= found.log_loss.value <= found.log_loss.high

    @given(answers(), st.data())
    def test_no_answer_never_helps(self, asked, data):
        silent = np.array(data.draw(st.lists(st.booleans(), min_size=len(asked), max_size=len(asked))))
        before = measure(asked, samples=0)
        any_other = measure(replace(asked, told=np.where(silent, -1, asked.told)), samples=0)
        assert any_other.accuracy.value <= before.accuracy.value
        assert any_other.balanced_accuracy.value <= before.balanced_accuracy.value + 1e-12
        right = silent & (asked.told == asked.truth)
        known = measure(replace(asked, told=np.where(right, -1, asked.told)), samples=0)
        assert known.macro_f1.value <= before.macro_f1.value + 1e-12

    @given(answers())
    def test_comes_back_from_json(self, asked):
        found = measure(asked, samples=50)
        assert Measured.from_json(json.loads(json.dumps(found.as_json()))) == found

    @given(answers(), st.integers(0, 2**32 - 1))
    def test_the_same_seed_gives_the_same_figures(self, asked, seed):
        assert measure(asked, seed, samples=50) == measure(asked, seed, samples=50)


class TestTheInterval:
    """95% of them should hold the truth. Of 1,000 simulations, one run in twenty falls outside .936-.964 by luck."""

    @pytest.mark.parametrize(("right", "mistakes"), CASES)
    def test_holds_the_true_macro_f1_and_accuracy(self, right, mistakes):
        rng, table = np.random.default_rng(1), chances_of(right, mistakes)
        held = np.zeros(2)
        for _ in range(1000):
            (found,) = slice_figures(drawn(rng, 107, table), {"all": np.arange(107)}, samples=200)
            for k, (one, truth) in enumerate(((found.macro_f1, macro_f1_of(table)), (found.accuracy, right))):
                held[k] += one.low <= truth <= one.high
        print(f"{right:.2f}, mistakes {mistakes}: macro F1 {held[0] / 1000:.1%}, accuracy {held[1] / 1000:.1%}")
        assert (held >= 930).all()
        assert (held <= 970).all()

    def test_of_each_label_holds_its_true_f1(self):
        rng, table, held = np.random.default_rng(2), chances_of(0.75, "commonest"), []
        truth = 2 * table.diagonal() / (table.sum(axis=0) + table.sum(axis=1))
        for _ in range(300):
            found = measure(drawn(rng, 107, table), samples=200).labels
            held += [one.f1.low <= true <= one.f1.high for one, true in zip(found, truth, strict=True)]
        assert 0.93 <= np.mean(held) <= 0.97

    @pytest.mark.parametrize("too_sure", [1, 2])
    def test_holds_the_true_log_loss(self, too_sure):
        def said(rng, n):
            scores = rng.normal(0, 2, (n, 3))
            truth = (apply(scores, 1).cumsum(axis=1) > rng.random((n, 1))).argmax(axis=1)
            return truth, apply(scores, 1 / too_sure)

        truth, chances = said(np.random.default_rng(0), 500_000)
        true, rng, held = losses(chances, truth).mean(), np.random.default_rng(3), 0
        for _ in range(150):
            truth, chances = said(rng, 107)
            found = measure(Answers(NAMES, truth, truth, np.arange(107), chances), samples=200).log_loss
            held += found.low <= true <= found.high
        assert 0.92 <= held / 150 <= 0.98

    def test_holds_the_truth_of_posts_that_come_in_groups(self):
        rng, held, alone = np.random.default_rng(4), 0, 0
        for _ in range(300):
            groups = np.repeat(np.arange(120), 1 + rng.poisson(1, 120))
            found = drawn(rng, 120, chances_of(0.75, "alike")).only(groups)
            held += self.holds(replace(found, groups=groups))
            alone += self.holds(replace(found, groups=np.arange(len(found))))
        assert 0.92 <= held / 300 <= 0.98
        assert alone / 300 < 0.9  # as if each were news

    def holds(self, found):
        (one,) = slice_figures(found, {"all": np.arange(len(found))}, samples=200)
        return one.accuracy.low <= 0.75 <= one.accuracy.high

    def test_of_accuracy_is_wilsons_where_no_post_is_like_another(self):
        asked = plain(400)
        found = measure(asked, samples=4000).accuracy
        theirs = proportion_confint(round(found.value * 400), 400, method="wilson")
        assert (found.low, found.high) == NEAR(theirs, abs=0.003)

    def test_of_an_accuracy_of_one_is_exactly_wilsons(self):
        asked = replace(plain(107), told=plain(107).truth)
        found = measure(asked)
        theirs = proportion_confint(107, 107, method="wilson")
        assert (found.accuracy.low, found.accuracy.high) == NEAR(theirs, abs=1e-9)
        assert (found.macro_f1.low, found.macro_f1.high) == NEAR(theirs, abs=1e-9)

    def test_of_one_label_is_wilsons_for_the_posts_that_it_concerns(self):
        """The posts that have it or were told it are a plain share; F1 grows with that share."""
        asked = plain(400)
        found = measure(asked, samples=4000).labels[0]
        low, high = proportion_confint(found.right, found.support + found.told - found.right, method="wilson")
        assert (found.f1.low, found.f1.high) == NEAR((2 * low / (1 + low), 2 * high / (1 + high)), abs=0.01)

    def test_resamples_spread_as_scipys_do(self):
        asked = plain(107)
        ours = Lot(asked).drawn(20_000, seed=0)

        def macro_f1(rows, axis):
            truth, told = asked.truth[rows], asked.told[rows]
            both = [((truth == k) & (told == k)).sum(axis) for k in range(3)]
            either = [(truth == k).sum(axis) + (told == k).sum(axis) for k in range(3)]
            return np.mean([2 * right / of for right, of in zip(both, either, strict=True)], axis=0)

        theirs = bootstrap((np.arange(107),), macro_f1, n_resamples=20_000, method="percentile", rng=0)
        assert ours.macro_f1.std(ddof=1) == NEAR(theirs.standard_error, rel=0.03)
        assert np.quantile(ours.macro_f1, [0.025, 0.975]) == NEAR(list(theirs.confidence_interval), abs=0.004)
        right = (asked.told == asked.truth).astype(float)
        theirs = bootstrap((right,), np.mean, n_resamples=20_000, method="percentile", rng=0)
        assert ours.accuracy.std(ddof=1) == NEAR(theirs.standard_error, rel=0.03)

    def test_is_as_wide_for_posts_that_came_four_times_as_for_one_of_each(self):
        once = plain(150)
        again = once.only(np.repeat(np.arange(150), 4))
        assert measure(again).macro_f1 == measure(once).macro_f1
        apart = measure(replace(again, groups=np.arange(600))).macro_f1
        whole = measure(once).macro_f1
        assert (whole.high - whole.low) / (apart.high - apart.low) == NEAR(2, rel=0.1)

    def test_of_one_group_knows_next_to_nothing(self):
        found = measure(plain(100, groups=np.zeros(100, dtype=int))).accuracy
        assert found.high - found.low > 0.75

    def test_is_not_told_where_nothing_is_drawn(self):
        found = measure(plain(), samples=0)
        assert (found.macro_f1.low, found.labels[0].f1.high) == (None, None)
        assert str(found.macro_f1) == f"{found.macro_f1.value:.2f}"

    def test_is_written_beside_the_value(self):
        assert str(Figure(0.7512, 0.6849, 0.806)) == "0.75 (0.68 to 0.81)"


class TestSureness:
    def test_is_unknown_where_nobody_said(self):
        found = measure(plain())
        assert (found.log_loss, found.brier, found.ece, found.ece_by_chance, found.bins) == (None,) * 5
        assert found.sure == 0

    def test_may_be_known_of_the_told_label_alone(self):
        asked = Answers.of("ab", "aabb", ["a", "b", "b", None], confidence=[0.9, 0.9, 0.3, None])
        found = measure(asked)
        assert (found.log_loss, found.brier, found.sure) == (None, None, 3)
        assert [(one.n, one.accuracy) for one in found.bins] == [(1, 1.0), (2, 0.5)]
        assert found.ece == NEAR((0.7 + 2 * 0.4) / 3)

    def test_may_be_known_of_some_posts_only(self):
        gaps = [[0.5, 0.5], [np.nan, np.nan], [0.2, 0.8], [0.9, 0.1]]
        found = measure(Answers.of("ab", "aabb", "aabb", probabilities=gaps))
        assert found.sure == 3
        assert found.log_loss.value == NEAR(-np.log([0.5, 0.8, 0.1]).mean())
        nowhere = Answers.of("ab", "aabb", "aabb", probabilities=[[np.nan] * 2] * 4)
        assert measure(nowhere).log_loss is None

    def test_tells_no_interval_of_a_few_losses(self):
        asked = Answers.of("ab", "aabb", "aabb", probabilities=[[0.5, 0.5]] * 4)
        assert (measure(asked).log_loss.low, measure(asked).log_loss.high) == (None, None)


class TestFolds:
    def test_say_what_scikit_learns_do(self):
        asked, found = plain(1000), []
        for _, rows in RepeatedStratifiedKFold(n_splits=5, n_repeats=40, random_state=0).split(
            asked.truth, asked.truth
        ):
            found.append(f1_score(asked.truth[rows], asked.told[rows], average="macro"))
        ours = [measure(asked, seed, samples=0).folds.macro_f1 for seed in range(14)]
        assert np.mean([one.mean for one in ours]) == NEAR(np.mean(found), abs=0.002)
        assert np.mean([one.deviation for one in ours]) == NEAR(np.std(found, ddof=1), rel=0.1)

    def test_hold_about_as_much_of_each_label(self):
        """With all labels told as one, the accuracy of a fold is the share of that label: it hardly moves."""
        asked = plain(500)
        found = measure(replace(asked, told=np.ones(500, dtype=int)), samples=0).folds
        assert found.accuracy.deviation < 0.005

    def test_keep_groups_whole(self):
        groups = np.repeat(np.arange(20), 50)
        truth = np.zeros(1000, dtype=int)
        asked = Answers(("a", "b"), truth, np.repeat(np.arange(20) % 2, 50), groups)
        assert measure(asked, samples=0).folds.accuracy.deviation > 0.15
        assert measure(replace(asked, groups=np.arange(1000)), samples=0).folds.accuracy.deviation < 0.06

    def test_are_written_with_their_deviation(self):
        found = measure(plain(), samples=0).folds
        assert str(found.macro_f1) == f"{found.macro_f1.mean:.2f} ± {found.macro_f1.deviation:.2f}"
        assert (found.folds, found.repeats) == (5, 3)

    def test_need_some_groups(self):
        assert measure(plain(9), samples=0).folds is None
        assert measure(plain(90, groups=np.arange(90) % 9), samples=0).folds is None


class TestSlices:
    def test_are_measured_as_the_whole_is(self):
        asked = plain(200)
        half = np.arange(200) < 90
        masked, placed = slice_figures(asked, {"mask": half, "places": np.arange(90)})
        alone = measure(asked.only(half))
        assert (masked.macro_f1, masked.accuracy) == (alone.macro_f1, alone.accuracy)
        assert (placed.macro_f1, placed.n, placed.enough) == (masked.macro_f1, 90, True)

    def test_say_so_where_they_are_too_small(self):
        few, none = slice_figures(plain(), {"few": np.arange(19), "none": np.zeros(200, dtype=bool)})
        assert few == Slice("few", 19, None, None, enough=False)
        assert (none.n, none.enough) == (0, False)

    def test_come_back_from_json(self):
        for one in slice_figures(plain(), {"few": [1, 2], "many": np.arange(100)}):
            assert Slice.from_json(json.loads(json.dumps(one.as_json()))) == one


class TestAnswers:
    def test_are_made_from_names(self):
        asked = Answers.of(NAMES, ["bullish", "neutral"], ["bullish", None], confidence=[None, 0.5])
        assert (asked.truth.tolist(), asked.told.tolist(), asked.groups.tolist()) == ([2, 1], [2, -1], [0, 1])

    @pytest.mark.parametrize(
        ("changed", "why"),
        [
            ({"told": np.zeros(3, dtype=int)}, "a group"),
            ({"told": np.full(200, 3)}, "its place"),
            ({"told": np.full(200, -2)}, "its place"),
            ({"truth": np.full(200, -1)}, "its place"),
            ({"probabilities": np.full((200, 2), 0.5)}, "for each label"),
            ({"probabilities": np.full((200, 3), 0.5)}, "add up to 1"),
            ({"confidence": np.zeros(3)}, "a confidence"),
        ],
    )
    def test_must_fit_together(self, changed, why):
        with pytest.raises(ValueError, match=why):
            replace(plain(), **changed)

    def test_of_nothing_cannot_be_measured(self):
        with pytest.raises(ValueError, match="nothing"):
            measure(plain().only([]))
