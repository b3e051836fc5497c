"""Whether a model is as often right as it says, held against scikit-learn, SciPy and models whose truth is known."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import minimize_scalar
from sklearn.calibration import calibration_curve
from sklearn.metrics import log_loss
from statsmodels.stats.proportion import proportion_confint

from modeling.measures import calibration

NEAR = pytest.approx


def said(n, temperature=1.0, labels=3, seed=0):
    """Scores of a model that would be right if it were cooled or heated so."""
    rng = np.random.default_rng(seed)
    scores = rng.normal(0, 2, (n, labels))
    chances = calibration.apply(scores, 1.0)
    truth = (chances.cumsum(axis=1) > rng.random((n, 1))).argmax(axis=1)
    return scores * temperature, truth


class TestTemperature:
    @pytest.mark.parametrize("true", [0.3, 1.0, 2.5, 6.0])
    def test_finds_how_much_too_sure_a_model_is(self, true):
        assert calibration.temperature(*said(20_000, true)) == NEAR(true, rel=0.03)

    @pytest.mark.parametrize(("n", "true"), [(60, 0.5), (200, 2.0), (2000, 4.0)])
    def test_no_other_gives_a_lower_log_loss(self, n, true):
        scores, truth = said(n, true, seed=n)

        def loss(temperature):
            return log_loss(truth, calibration.apply(scores, temperature), labels=range(3))

        found = calibration.temperature(scores, truth)
        best = minimize_scalar(loss, bounds=(0.05, 20), method="bounded", options={"xatol": 1e-10})
        assert loss(found) == NEAR(best.fun, abs=1e-9)
        assert found == NEAR(best.x, rel=1e-4)

    @given(st.integers(20, 60), st.floats(0.05, 20), st.integers(2, 5), st.integers(0, 2**32 - 1))
    def test_never_makes_it_worse_nor_changes_an_answer(self, n, true, labels, seed):
        scores, truth = said(n, true, labels, seed)
        found = calibration.temperature(scores, truth)
        before, after = calibration.apply(scores, 1.0), calibration.apply(scores, found)
        assert calibration.COLDEST <= found <= calibration.HOTTEST
        assert calibration.losses(after, truth).mean() <= calibration.losses(before, truth).mean()
        assert (scores.argmax(axis=1) == calibration.apply(scores, max(found, 0.5)).argmax(axis=1)).all()

    def test_is_not_learned_from_a_few_posts(self):
        scores, truth = said(19, 5)
        assert calibration.temperature(scores, truth) == 1

    def test_is_not_learned_where_nothing_was_wrong(self):
        """Else it would be as sure as can be, and the first mistake would cost all."""
        scores, _ = said(50)
        assert calibration.temperature(scores, scores.argmax(axis=1)) == 1

    @pytest.mark.parametrize("truth", [np.zeros(40, dtype=int), np.arange(40) % 2])
    def test_is_not_learned_from_scores_that_say_nothing(self, truth):
        assert calibration.temperature(np.zeros((40, 2)), truth) == 1

    def test_heats_a_model_that_is_always_wrong_as_far_as_it_goes(self):
        scores = np.tile([5.0, 0.0], (40, 1))
        assert calibration.temperature(scores, np.ones(40, dtype=int)) == NEAR(20, rel=0.01)

    def test_leaves_out_posts_without_scores(self):
        scores, truth = said(500, 3)
        gaps = np.vstack([scores, np.full((30, 3), -np.inf), np.full((30, 3), np.nan)])
        assert calibration.temperature(gaps, np.append(truth, np.zeros(60, dtype=int))) == NEAR(
            calibration.temperature(scores, truth)
        )


class TestApply:
    @given(st.integers(1, 20), st.integers(1, 5), st.floats(0.05, 20), st.floats(-700, 700))
    def test_chances_add_up_whatever_the_scores_add_up_to(self, n, labels, temperature, shift):
        scores, _ = said(n, labels=labels)
        chances = calibration.apply(scores + shift, temperature)
        assert chances.sum(axis=1) == NEAR(1)
        assert chances == NEAR(calibration.apply(scores, temperature), abs=1e-9)

    def test_a_label_that_cannot_be_stays_so(self):
        assert calibration.apply([[0.0, -np.inf, 0.0]], 7).tolist() == [[0.5, 0, 0.5]]

    def test_a_post_without_scores_has_no_chances(self):
        assert np.isnan(calibration.apply([[-np.inf, -np.inf]], 1)).all()


confidences = st.lists(
    st.tuples(st.one_of(st.floats(0, 1), st.sampled_from(calibration.EDGES.tolist())), st.booleans()), min_size=1
)


class TestReliability:
    @given(confidences)
    def test_is_what_scikit_learn_draws(self, posts):
        sure, right = (np.array(column) for column in zip(*posts, strict=True))
        bins = calibration.reliability(sure, right)
        theirs = calibration_curve(right, sure, n_bins=15)
        assert [one.accuracy for one in bins] == NEAR(theirs[0].tolist(), abs=1e-9)
        assert [one.confidence for one in bins] == NEAR(theirs[1].tolist(), abs=1e-9)

    @given(confidences)
    def test_error_is_what_its_definition_says(self, posts):
        off = 0.0
        for k in range(15):
            low, high = calibration.EDGES[k : k + 2]
            inside = [(sure, right) for sure, right in posts if low < sure <= high or (k == 0 and sure == 0)]
            if inside:
                sure, right = (sum(column) / len(inside) for column in zip(*inside, strict=True))
                off += len(inside) / len(posts) * abs(sure - right)
        bins = calibration.reliability(*(np.array(column) for column in zip(*posts, strict=True)))
        assert calibration.ece(bins) == NEAR(off, abs=1e-9)
        assert sum(one.n for one in bins) == len(posts)

    @given(confidences)
    def test_bins_have_wilsons_interval(self, posts):
        for one in calibration.reliability(*(np.array(column) for column in zip(*posts, strict=True))):
            theirs = proportion_confint(round(one.accuracy * one.n), one.n, method="wilson")
            assert (one.accuracy_low, one.accuracy_high) == NEAR(theirs, abs=1e-9)
            assert one.low <= one.confidence <= one.high + 1e-12

    @pytest.mark.parametrize("n", [30, 107, 2000])
    def test_a_calibrated_model_shows_about_what_chance_would(self, n):
        rng, shown, expected = np.random.default_rng(n), [], []
        for _ in range(200):
            sure = rng.beta(4, 1, n)
            bins = calibration.reliability(sure, rng.random(n) < sure)
            shown.append(calibration.ece(bins))
            expected.append(calibration.ece_by_chance(bins))
        assert np.mean(shown) == NEAR(np.mean(expected), rel=0.05)
