"""How far voters and people can be trusted, held against projects whose truth is known."""

from collections import Counter

import krippendorff
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from annotate.agreement import Share
from annotate.reliability import (
    Judged,
    drift,
    people_alpha,
    reliabilities,
    shared_mistakes,
)

from .reviewers_by_hand import Decision, reviewers
from .simulate import judged, vote

NEAR = pytest.approx
LABELS = (0, 1, 2)


class TestVoters:
    def test_intervals_hold_the_truth_in_95_of_100_projects(self):
        rng = np.random.default_rng(1)
        accuracy, recall, naive = [], [], []
        for _ in range(300):
            voted = vote(rng, 3000)
            sample = judged(rng, voted, audits=0.08, reviews=0.5)
            right = voted.said == voted.truth[:, None]
            for found in reliabilities(sample, LABELS):
                true = right[:, found.voter].mean()
                accuracy.append(found.accuracy.low <= true <= found.accuracy.high)
                naive.append(np.mean([one.votes[found.voter] == one.truth for one in sample]) - true)
                of_truth = (right[voted.truth == label, found.voter].mean() for label in LABELS)
                recall += [
                    one.low <= true <= one.high for one, true in zip(found.recall.values(), of_truth, strict=True)
                ]
        assert 0.93 <= np.mean(accuracy) <= 0.97
        assert 0.93 <= np.mean(recall) <= 0.97
        assert np.mean(naive) < -0.1  # what the queue alone would have said of them

    def test_confusion_is_weighted_and_counts_are_not(self):
        often = [Judged({1: 0}, 0, weight=1)] * 30
        rare = [Judged({1: 1}, 0, weight=10)] * 2 + [Judged({1: None}, 0, weight=10)]
        found = reliabilities(often + rare, (0, 1))[0]
        assert [(cell.other, cell.posts, cell.share) for cell in found.confusion[0]] == [
            (0, 30, NEAR(0.5)),
            (1, 2, NEAR(1 / 3)),
            (None, 1, NEAR(1 / 6)),
        ]
        assert found.accuracy.rate == NEAR(0.6)
        assert found.abstained.rate == NEAR(1 / 6)
        assert (found.accuracy.posts, found.abstained.posts) == (32, 33)

    def test_a_label_that_was_never_true_has_no_recall(self):
        found = reliabilities([Judged({1: 0}, 0)], (0, 1))[0].recall[1]
        assert (found.rate, found.low, found.high, found.posts) == (None, 0, 1, 0)

    def test_calibration_holds_what_it_says_against_how_often_it_is_right(self):
        sure = [Judged({1: int(k < 60)}, 1, confidences={1: 0.97}) for k in range(100)]
        unsure = [Judged({1: int(k < 55)}, 1, confidences={1: 0.55}) for k in range(100)]
        silent = [Judged({1: 0}, 1)]
        low, high = reliabilities(sure + unsure + silent, LABELS)[0].calibration
        assert (low.confidence, low.right.rate) == NEAR((0.55, 0.55))
        assert (high.low, high.high, high.confidence, high.right.rate) == NEAR((0.95, 1, 0.97, 0.6))


class TestSharedMistakes:
    def test_voters_who_fail_together_are_told_from_those_who_do_not(self):
        rng = np.random.default_rng(2)
        alike, apart = [], []
        for _ in range(100):
            for bag, correlation in ((alike, 0.7), (apart, 0.0)):
                voted = vote(rng, 1500, alike=correlation, plain=True)
                bag += shared_mistakes(judged(rng, voted, audits=0.2, reviews=0.5), LABELS)
        assert np.mean([pair.more_than_chance for pair in alike]) > 0.95
        assert np.mean([pair.more_than_chance for pair in apart]) < 0.06
        assert np.mean([pair.phi_low <= 0 <= pair.phi_high for pair in apart]) > 0.9

    def test_the_interval_of_their_correlation_holds_it(self):
        rng, held = np.random.default_rng(7), []
        for _ in range(500):
            voted = vote(rng, 2000)
            wrong = voted.said != voted.truth[:, None]
            pair = shared_mistakes(judged(rng, voted, audits=0.15, reviews=0.5), LABELS)[0]
            held.append(pair.phi_low <= np.corrcoef(wrong.T)[0, 1] <= pair.phi_high)
        assert 0.93 <= np.mean(held) <= 0.97

    def test_can_be_told_in_words(self):
        """When one errs, the other says the same wrong thing on 3 of 5; by chance it would on 1 of 4."""
        said = [(0, 0)] * 12 + [(1, 1)] * 3 + [(1, 0)] * 2 + [(0, 1)] * 3
        pair = shared_mistakes([Judged({7: one, 9: other}, 0) for one, other in said], (0, 1))[0]
        assert (pair.one, pair.other, pair.posts) == (7, 9, 20)
        assert pair.together.rate == NEAR(3 / 20)
        assert pair.when_one_errs.rate == NEAR(3 / 5)
        assert pair.when_one_errs_by_chance == NEAR(6 / 20)
        assert pair.when_other_errs.rate == NEAR(3 / 6)
        assert pair.when_other_errs_by_chance == NEAR(5 / 20)

    def test_a_label_hard_for_both_is_no_shared_mistake(self):
        rng = np.random.default_rng(4)
        truth = rng.integers(0, 2, 4000)
        wrong = rng.random((4000, 2)) < np.where(truth == 1, 0.4, 0.02)[:, None]
        posts = [Judged({1: int(t ^ a), 2: int(t ^ b)}, int(t)) for t, (a, b) in zip(truth, wrong, strict=True)]
        pair = shared_mistakes(posts, (0, 1))[0]
        assert pair.phi_low > 0.1
        assert not pair.more_than_chance

    def test_those_who_never_err_have_nothing_in_common(self):
        pair = shared_mistakes([Judged({1: 0, 2: 0}, 0)] * 20, LABELS)[0]
        assert (pair.together.rate, pair.by_chance, pair.phi, pair.when_one_errs.rate) == (0, 0, None, None)
        assert pair.when_one_errs_by_chance is None

    def test_voters_without_a_post_in_common_are_no_pair(self):
        assert shared_mistakes([Judged({1: 0}, 0), Judged({2: 0, 1: None}, 0)], LABELS) == []


votes = st.dictionaries(st.integers(1, 3), st.one_of(st.none(), st.sampled_from(LABELS)))
posts = st.lists(
    st.builds(
        Judged,
        votes=votes,
        truth=st.sampled_from(LABELS),
        weight=st.sampled_from([0.5, 1, 3, 40]),
        stratum=st.sampled_from(["audit", "review"]),
    ),
    max_size=40,
)


def shares(found):
    return [found.accuracy, found.abstained, *found.recall.values()]


class TestAlways:
    @given(posts)
    def test_each_rate_lies_within_its_interval(self, posts):
        for one in [share for found in reliabilities(posts, LABELS) for share in shares(found)]:
            assert 0 <= one.low <= one.high <= 1
            assert one.rate is None or one.low <= one.rate <= one.high
        for pair in shared_mistakes(posts, LABELS):
            assert pair.phi is None or pair.phi_low <= pair.phi <= pair.phi_high
            assert 0 <= pair.by_chance <= 1

    @given(posts, st.randoms(use_true_random=False))
    def test_order_and_unit_of_weight_do_not_matter(self, posts, random):
        other = [Judged(one.votes, one.truth, one.weight * 8, one.stratum) for one in random.sample(posts, len(posts))]
        for one, same in zip(reliabilities(posts, LABELS), reliabilities(other, LABELS), strict=True):
            for mine, theirs in zip(shares(one), shares(same), strict=True):
                assert mine[1:] == NEAR(theirs[1:], abs=1e-9)
        ours, theirs = shared_mistakes(posts, LABELS), shared_mistakes(other, LABELS)
        assert Counter((p.one, p.other) for p in ours) == Counter((p.one, p.other) for p in theirs)


class TestPeople:
    @given(st.lists(st.lists(st.one_of(st.none(), st.integers(0, 3)), max_size=5), max_size=40))
    def test_alpha_is_krippendorffs(self, answers):
        ours = people_alpha(answers)
        given_ = [[answer for answer in of if answer is not None] for of in answers]
        if len({answer for of in given_ if len(of) > 1 for answer in of}) < 2:
            assert ours is None
        else:
            table = np.array([of + [None] * (5 - len(of)) for of in answers], dtype=float).T
            theirs = krippendorff.alpha(reliability_data=table, level_of_measurement="nominal")
            assert ours == NEAR(theirs, abs=1e-9)

    def test_each_persons_work_is_told_in_all_and_by_week(self):
        decisions = [
            Decision(2, 1, said=0, seconds=4, others=(0, 1)),
            Decision(2, 1, said=None, seconds=30, others=(0,), check=1),
            Decision(2, 2, said=1, seconds=2, check=1),
            Decision(1, 1, said=1),
        ]
        idle, busy = reviewers(decisions)
        assert (idle.reviewer, busy.reviewer) == (1, 2)
        assert idle.whole.pace is None
        assert (busy.whole.decisions, busy.whole.pace) == (3, 4)
        assert (busy.whole.with_others, busy.whole.on_checks) == (Share(1, 2), Share(1, 1))
        assert {week: work.decisions for week, work in busy.weeks.items()} == {1: 2, 2: 1}
        assert busy.weeks[1].with_others == Share(1, 2)
        assert busy.drifts == []

    def test_drift_is_told_in_words_only_where_chance_would_not_do_it(self):
        told = drift("others", [Share(180, 200), Share(190, 200), Share(60, 100)])
        assert told.words.startswith("Agreed with other people on 60% of 100 in the last week, 92% of 400 before")
        assert drift("others", [Share(180, 200), Share(85, 100)]).words == ""

    def test_a_week_without_anything_to_compare_is_passed_over(self):
        told = drift("checks", [Share(9, 10), Share(4, 8), Share(0, 0)])
        assert (told.before, told.last) == (Share(9, 10), Share(4, 8))
        assert drift("checks", [Share(0, 0), Share(4, 8)]) is None
        assert drift("checks", []) is None

    def test_steady_people_are_hardly_ever_said_to_drift(self):
        rng = np.random.default_rng(5)
        weeks = rng.binomial(60, 0.9, (400, 6))
        assert np.mean([drift("others", [Share(int(n), 60) for n in row]).distinguishable for row in weeks]) <= 0.01
