"""Whether two predictors can be told apart, held against statsmodels and pairs whose difference is known."""

import json
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import f1_score
from statsmodels.stats.contingency_tables import mcnemar
from statsmodels.stats.power import NormalIndPower

from modeling.measures.comparison import Difference, compare, needed, words
from modeling.measures.metrics import Answers
from modeling.measures.resampling import Figure

NEAR = pytest.approx
PRIOR = np.array([0.2, 0.45, 0.35])
NAMES = ("bearish", "neutral", "bullish")


@st.composite
def pairs(draw):
    k, n = draw(st.integers(1, 4)), draw(st.integers(1, 40))
    truth, a, b = (np.array(draw(st.lists(st.integers(least, k - 1), min_size=n, max_size=n))) for least in (0, -1, -1))
    groups = np.array(draw(st.lists(st.integers(0, n), min_size=n, max_size=n)))
    labels = tuple("abcd"[:k])
    return Answers(labels, truth, a, groups), Answers(labels, truth, b, groups)


def two(rng, n, right_a, right_b, same, alike=1):
    """Who answer the same on so many posts, and apart from each other on the rest; each post comes so many times."""
    truth = rng.choice(3, n, p=PRIOR)

    def tell(right):
        return np.where(rng.random(n) < right, truth, (truth + rng.integers(1, 3, n)) % 3)

    common = (right_a + right_b) / 2
    shared, apart = tell(common), rng.random(n) >= same
    answers = (
        np.where(apart, tell((right - same * common) / (1 - same)), shared) if same < 1 else shared
        for right in (right_a, right_b)
    )
    groups = np.repeat(np.arange(n), alike)
    return tuple(Answers(NAMES, truth[groups], told[groups], groups) for told in answers)


def true_difference(right_a, right_b, same):
    """Of macro F1, on all posts there are."""
    rng = np.random.default_rng(0)
    a, b = two(rng, 1_000_000, right_a, right_b, same)
    return macro_f1(a) - macro_f1(b)


def macro_f1(answers):
    return f1_score(answers.truth, answers.told, labels=np.unique(answers.truth), average="macro", zero_division=0)


class TestDifference:
    @given(pairs())
    def test_is_that_of_scikit_learns_figures(self, pair):
        a, b = pair
        found = compare(a, b, samples=50)
        assert found.macro_f1.value == NEAR(macro_f1(a) - macro_f1(b), abs=1e-9)
        assert found.accuracy.value == NEAR((a.told == a.truth).mean() - (b.told == b.truth).mean(), abs=1e-9)
        assert found.both_right + found.only_a + found.only_b + found.neither == found.n == len(a)

    @given(pairs())
    def test_lies_within_its_interval(self, pair):
        found = compare(*pair, samples=50)
        for one in (found.macro_f1, found.accuracy):
            assert -1 <= one.low <= one.value <= one.high <= 1

    @given(pairs())
    def test_of_a_predictor_from_itself_is_nought(self, pair):
        found = compare(pair[0], pair[0], samples=50)
        assert (found.macro_f1.value, found.accuracy.value, found.p) == (0, 0, 1)
        assert (found.distinguishable, found.needed, found.alike) == (False, None, found.n)

    @given(pairs())
    def test_does_not_mind_who_comes_first(self, pair):
        one, other = compare(*pair, samples=400), compare(*reversed(pair), samples=400).turned()
        assert one.macro_f1.value == NEAR(other.macro_f1.value, abs=1e-12)
        assert (one.p, one.only_a, one.only_b, one.alike) == (NEAR(other.p), other.only_a, other.only_b, other.alike)

    @given(pairs(), st.randoms())
    def test_does_not_mind_the_order_of_the_posts(self, pair, random):
        order = list(range(len(pair[0])))
        random.shuffle(order)
        assert compare(*pair, samples=50) == compare(*(one.only(order) for one in pair), samples=50)

    @given(pairs())
    def test_comes_back_from_json(self, pair):
        found = compare(*pair, samples=50)
        assert Difference.from_json(json.loads(json.dumps(found.as_json()))) == found

    def test_of_other_posts_is_none(self):
        a, b = two(np.random.default_rng(0), 30, 0.8, 0.7, 0.5)
        with pytest.raises(ValueError, match="the same posts"):
            compare(a, b.only(np.arange(29)))
        with pytest.raises(ValueError, match="the same posts"):
            compare(a, replace(b, truth=b.truth[::-1]))
        with pytest.raises(ValueError, match="nothing"):
            compare(a.only([]), b.only([]))


class TestMcNemar:
    @given(st.integers(0, 60), st.integers(0, 60))
    def test_is_what_statsmodels_says(self, only_a, only_b):
        truth = np.zeros(only_a + only_b + 1, dtype=int)
        a = np.array([0] * only_a + [1] * only_b + [0])
        one, other = (Answers(("a", "b"), truth, told, np.arange(len(truth))) for told in (a, 1 - a))
        found = compare(one, other, samples=2)
        assert (found.only_a, found.only_b) == (only_a + 1, only_b)
        assert found.p == NEAR(mcnemar([[0, only_a + 1], [only_b, 0]], exact=True).pvalue, abs=1e-9)


class TestTheInterval:
    @pytest.mark.parametrize("pair", [(0.75, 0.75, 0.0), (0.75, 0.75, 0.7), (0.9, 0.9, 0.7)])
    def test_calls_at_most_one_in_twenty_better_that_is_not(self, pair):
        rng = np.random.default_rng(1)
        called = [compare(*two(rng, 107, *pair), samples=300).distinguishable for _ in range(300)]
        assert np.mean(called) <= 0.06  # of 300 simulations, a few call 6 in a hundred by luck

    def test_holds_the_true_difference(self):
        pair = (0.8, 0.7, 0.5)
        rng, truth, held = np.random.default_rng(2), true_difference(*pair), 0
        for _ in range(300):
            found = compare(*two(rng, 107, *pair), samples=300).macro_f1
            held += found.low <= truth <= found.high
        assert 0.93 <= held / 300 <= 0.985

    def test_is_wider_by_the_root_where_each_post_came_four_times(self):
        rng = np.random.default_rng(3)
        a, b = two(rng, 100, 0.85, 0.75, 0.4, alike=4)
        apart = np.arange(400)
        alone = compare(replace(a, groups=apart), replace(b, groups=apart)).macro_f1
        found = compare(a, b).macro_f1
        assert (found.high - found.low) / (alone.high - alone.low) == NEAR(2, rel=0.1)


class TestNeeded:
    @given(st.integers(20, 5000), st.floats(0.2, 2.5), st.sampled_from([0.8, 0.95]))
    def test_is_what_statsmodels_says(self, n, spreads, power):
        error = 0.03
        theirs = NormalIndPower(ddof=0).solve_power(spreads / np.sqrt(n), alpha=0.05, power=power, ratio=0)
        assert needed(n, spreads * error, error, power) == NEAR(theirs, abs=2.01, rel=1e-4)

    def test_so_many_tell_them_apart_four_times_in_five(self):
        pair, rng = (0.8, 0.7, 0.5), np.random.default_rng(4)
        asked = [compare(*two(rng, 4000, *pair), samples=300).needed for _ in range(5)]
        enough = round(np.mean(asked))
        told = [compare(*two(rng, enough, *pair), samples=300).distinguishable for _ in range(300)]
        assert 0.74 <= np.mean(told) <= 0.86

    def test_nobody_can_tell_where_there_is_no_difference(self):
        assert needed(100, 0, 0.1) is None


class TestWords:
    better = Difference(
        n=107, groups=107, macro_f1=Figure(0.04, 0.01, 0.07), accuracy=Figure(0.03, 0.0, 0.06), p=0.03,
        both_right=70, only_a=10, only_b=3, neither=24, alike=90, distinguishable=True, needed=90,
    )  # fmt: skip

    def test_name_the_better_one_first(self):
        said = "tuned is better than GPT by 4 points (95%: 1 to 7)"
        assert words(self.better, "tuned", "GPT") == said
        assert words(self.better.turned(), "GPT", "tuned") == said

    def test_show_a_decimal_where_whole_points_would_say_nothing(self):
        close = replace(self.better, macro_f1=Figure(0.012, 0.003, 0.021))
        assert words(close, "A", "B") == "A is better than B by 1.2 points (95%: 0.3 to 2.1)"

    @pytest.mark.parametrize(
        ("many", "said"),
        [(604, "about 600"), (12_345, "about 12,000"), (108, "about 110"), (2_000_000, "more than a million")],
    )
    def test_tell_how_many_posts_it_would_take(self, many, said):
        close = replace(self.better, distinguishable=False, needed=many)
        assert words(close, "A", "B") == f"A and B cannot be told apart on 107 posts; {said} would be needed"

    def test_tell_apart_the_same_answers_and_the_same_score(self):
        even = replace(self.better, macro_f1=Figure(0.0, -0.1, 0.1), distinguishable=False, needed=None)
        assert words(even, "A", "B") == "A and B come out the same on 107 posts"
        assert words(replace(even, alike=107), "A", "B") == "A and B said the same of all 107 posts"
