"""What people look at next finds more wrong labels than chance does, and as many as was said beforehand."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from annotate.risk import ENOUGH_AUDITS, ENOUGH_ERRORS, Candidate, Layout, features, fit, riskiest

from .simulate import candidates, vote

NEAR = pytest.approx
REVIEWS = 400


@pytest.fixture(scope="module")
def hunts():
    """For so many audits, project by project: what so many further reviews found, and what had been announced."""
    return {audits: [hunt(np.random.default_rng(seed), audits) for seed in range(25)] for audits in (60, 150, 400)}


def hunt(rng, audits):
    voted = vote(rng, 6000)
    agreed = np.flatnonzero(voted.agreed)
    audited, rest = agreed[:audits], agreed[audits:]
    risk = fit(candidates(voted, audited), voted.wrong[audited].tolist())
    ranked = riskiest(risk, [(rest.tolist(), candidates(voted, rest))], REVIEWS)
    found = voted.wrong[[post for post, _ in ranked]].sum()
    expected = risk.expected([chance for _, chance in ranked])
    return risk, int(found), REVIEWS * voted.wrong[rest].mean(), expected


def of(hunts, what):
    return np.array([what(*one) for one in hunts], dtype=float)


class TestTargeting:
    @pytest.mark.parametrize("audits", [150, 400])
    def test_finds_at_least_twice_what_random_review_finds(self, hunts, audits):
        found, random = of(hunts[audits], lambda _, found, *__: found), of(hunts[audits], lambda *one: one[2])
        assert found.mean() > 2 * random.mean()
        assert (found > random).all()

    def test_the_model_finds_more_than_confidence_alone(self, hunts):
        assert {risk.kind for risk, *_ in hunts[400]} == {"model"}
        assert {risk.kind for risk, *_ in hunts[60]} == {"confidence"}
        by_model, by_confidence = (of(hunts[n], lambda _, found, *__: found).mean() for n in (400, 60))
        assert by_model > 1.2 * by_confidence

    def test_the_fallback_finds_more_than_random_review(self, hunts):
        found, random = of(hunts[60], lambda _, found, *__: found), of(hunts[60], lambda *one: one[2])
        assert found.mean() > 2 * random.mean()

    @pytest.mark.parametrize("audits", [60, 150, 400])
    def test_what_was_announced_is_what_is_found(self, hunts, audits):
        known = [one for one in hunts[audits] if one[3]]
        found, announced = of(known, lambda _, found, *__: found), of(known, lambda *one: one[3].found)
        assert announced.mean() == NEAR(found.mean(), rel=0.2)
        assert of(known, lambda _, found, __, said: said.low <= found <= said.high).mean() >= 0.84


class TestFallback:
    sure, unsure = Candidate(0, {1: 0.99, 2: 0.95}), Candidate(0, {1: 0.99, 2: 0.6})

    def test_asks_about_the_least_sure_first_and_announces_nothing_unheard(self):
        risk = fit([], [])
        assert risk.kind == "confidence"
        assert riskiest(risk, [([5, 6], [self.sure, self.unsure])], 1)[0][0] == 6
        assert risk.expected(risk.score([self.sure])) is None

    @pytest.mark.parametrize(
        ("audits", "errors", "kind"),
        [
            (ENOUGH_AUDITS, ENOUGH_ERRORS, "model"),
            (ENOUGH_AUDITS - 1, ENOUGH_ERRORS, "confidence"),
            (ENOUGH_AUDITS, ENOUGH_ERRORS - 1, "confidence"),
            (ENOUGH_AUDITS, ENOUGH_AUDITS, "confidence"),
        ],
    )
    def test_holds_until_there_is_enough_to_learn_from(self, audits, errors, kind):
        known = [self.unsure] * errors + [self.sure] * (audits - errors)
        risk = fit(known, [True] * errors + [False] * (audits - errors))
        assert (risk.kind, risk.audits, risk.errors) == (kind, audits, errors)
        sure, unsure = risk.score([self.sure, self.unsure])
        assert sure < unsure

    def test_no_errors_among_the_audits_announce_none(self):
        risk = fit([self.sure] * 50, [False] * 50)
        assert risk.expected(risk.score([self.sure] * 9)) is None


class TestModel:
    @pytest.mark.parametrize(
        "trait",
        [
            {"label": 1},
            {"incongruous": True},
            {"readings_differ": True},
            {"has_image": True},
            {"length": 900},
            {"posterior": 0.6},
            {"dissent": 2},
            {"confidences": {1: 0.9}},
            {"confidences": {1: 0.55, 2: 0.8}},
        ],
    )
    def test_learns_from_everything_that_is_known_of_a_post(self, trait):
        usual = Candidate(0, {1: 0.9, 2: 0.8}, length=50, posterior=0.95)
        odd = replace(usual, **trait)
        risk = fit([usual] * 150 + [odd] * 50, [False] * 145 + [True] * 35 + [False] * 20)
        assert risk.kind == "model"
        low, high = risk.score([usual, odd])
        assert high > 2 * low

    def test_takes_what_nobody_said_for_ordinary(self):
        """A voter, a label or a silence that no audit had."""
        known = [Candidate(k % 3, {1: 0.6 + 0.003 * k, 2: None}) for k in range(120)]
        risk = fit(known, [k % 9 == 0 for k in range(120)])
        scores = risk.score([Candidate(77, {}), Candidate(0, {9: 0.5}), Candidate(1, {1: None})])
        assert ((scores > 0) & (scores < 1)).all()

    def test_audits_count_by_how_many_posts_they_stand_for(self):
        sure, unsure = TestFallback.sure, TestFallback.unsure
        known = [sure] * 100 + [unsure] * 100
        wrong = [k % 10 == 0 for k in range(200)]
        even = fit(known, wrong).score([sure])[0]
        heavy = fit(known, wrong, [9.0 if one else 1.0 for one in wrong]).score([sure])[0]
        assert heavy > 2 * even

    def test_features_are_numbers_and_empty_chunks_are_fine(self):
        known = [Candidate(1, {1: 0.5}), Candidate(2, {})]
        assert features(known, Layout.of(known)).shape == (2, 16)
        assert fit([], []).score([]).shape == (0,)
        assert riskiest(fit([], []), [([], [])], 5) == []


somewhat_sure = st.one_of(st.none(), st.floats(0, 1))
some = st.builds(
    Candidate,
    label=st.integers(0, 3),
    confidences=st.dictionaries(st.integers(1, 3), somewhat_sure),
    dissent=st.integers(0, 2),
    incongruous=st.booleans(),
    length=st.integers(0, 2000),
    posterior=somewhat_sure,
)


class TestAlways:
    @given(st.lists(some, min_size=1, max_size=40), st.integers(0, 50), st.integers(1, 7))
    def test_the_riskiest_are_the_same_however_the_posts_come_in_chunks(self, posts, n, size):
        risk = fit(posts, [candidate.incongruous for candidate in posts])
        numbers = list(range(len(posts)))
        chunks = [(numbers[at : at + size], posts[at : at + size]) for at in range(0, len(posts), size)]
        whole, parted = riskiest(risk, [(numbers, posts)], n), riskiest(risk, chunks, n)
        assert [post for post, _ in whole] == [post for post, _ in parted]
        assert len(whole) == min(n, len(posts))
        scores = risk.score(posts)
        assert [chance for _, chance in whole] == NEAR(sorted(scores.tolist(), reverse=True)[:n])

    @settings(max_examples=15)
    @given(st.lists(some, min_size=120, max_size=160), st.randoms(use_true_random=False), st.floats(0.1, 50))
    def test_order_and_unit_of_weight_do_not_matter(self, posts, random, unit):
        wrong = [k % 7 == 0 for k in range(len(posts))]
        shuffled = random.sample(range(len(posts)), len(posts))
        one = fit(posts, wrong, [1.0] * len(posts))
        other = fit([posts[k] for k in shuffled], [wrong[k] for k in shuffled], [unit] * len(posts))
        assert one.kind == other.kind == "model"
        assert one.score(posts) == NEAR(other.score(posts), rel=1e-2, abs=1e-3)
        announced = one.expected(one.score(posts))
        assert 0 <= announced.low <= announced.found <= announced.high <= len(posts)
