import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from annotate.consensus import Ballot, Outcome, Weights, decide, posterior_of

UP, DOWN, FLAT = 1, 2, 3
rules = st.sampled_from(["all", "majority", "weighted"])
labels = st.sampled_from([None, UP, DOWN, FLAT])
ballots = st.dictionaries(
    st.integers(1, 6), st.builds(Ballot, labels, st.none() | st.floats(0, 1)), min_size=0, max_size=6
)


def votes(*said: int | None) -> dict[int, Ballot]:
    return {voter: Ballot(label) for voter, label in enumerate(said, start=1)}


def reliable(voters: range, right: float = 0.9) -> Weights:
    row = {
        truth: {said: right if said == truth else (1 - right) / 2 for said in (UP, DOWN, FLAT)} for truth in (1, 2, 3)
    }
    return Weights(priors={UP: 1 / 3, DOWN: 1 / 3, FLAT: 1 / 3}, says=dict.fromkeys(voters, row))


@given(ballots, rules, st.none() | st.floats(0, 1), st.randoms())
def test_the_order_of_the_votes_never_matters(cast, rule, least, dice):
    shuffled = list(cast.items())
    dice.shuffle(shuffled)
    weights = reliable(range(1, 7))
    assert decide(cast, set(), rule, least, weights) == decide(dict(shuffled), set(), rule, least, weights)


@given(ballots, rules, st.none() | st.floats(0, 1))
def test_what_settles_is_a_label_that_somebody_named(cast, rule, least):
    outcome = decide(cast, set(), rule, least, reliable(range(1, 7)))
    if outcome.is_settled and rule != "weighted":
        assert outcome.label in {ballot.label for ballot in cast.values()}
    assert not (outcome.label and outcome.why)


@given(ballots, rules)
def test_nothing_is_decided_before_all_required_have_spoken(cast, rule):
    assert decide(cast, {*cast, 99}, rule) == Outcome()


class TestAllAgree:
    def test_two_that_agree_settle(self):
        assert decide(votes(UP, UP), {1, 2}) == Outcome(label=UP)

    def test_one_alone_does_not(self):
        assert decide(votes(UP), {1}) == Outcome()

    def test_two_that_differ_are_split(self):
        assert decide(votes(UP, DOWN), {1, 2}) == Outcome(why="split")

    def test_an_abstention_is_told_as_such(self):
        assert decide(votes(UP, None), {1, 2}) == Outcome(why="abstained")
        assert decide(votes(None, None), {1, 2}) == Outcome(why="abstained")

    def test_a_split_is_a_split_whoever_else_abstains(self):
        assert decide(votes(UP, DOWN, None), set()).why == "split"


class TestMajority:
    def test_more_than_half_settle(self):
        assert decide(votes(UP, UP, DOWN), set(), "majority") == Outcome(label=UP)

    def test_half_does_not(self):
        assert decide(votes(UP, UP, DOWN, FLAT), set(), "majority").why == "split"

    def test_abstentions_count_against(self):
        assert decide(votes(UP, UP, None, None), set(), "majority").why == "abstained"

    def test_two_voters_must_still_agree(self):
        assert decide(votes(UP, DOWN), set(), "majority").why == "split"


class TestLeastConfidence:
    def test_below_it_a_post_is_unsure(self):
        cast = {1: Ballot(UP, 0.9), 2: Ballot(UP, 0.5)}
        assert decide(cast, set(), least_confidence=0.6).why == "unsure"
        assert decide(cast, set(), least_confidence=0.5).is_settled

    def test_who_does_not_say_how_sure_it_is_is_not_held_to_it(self):
        assert decide(votes(UP, UP), set(), least_confidence=0.99).is_settled

    def test_the_outvoted_need_not_be_sure(self):
        cast = {1: Ballot(UP, 0.9), 2: Ballot(UP, 0.9), 3: Ballot(DOWN, 0.1)}
        assert decide(cast, set(), "majority", 0.8) == Outcome(label=UP)


class TestWeighted:
    def test_two_good_voters_outweigh_one(self):
        assert decide(votes(UP, UP, DOWN), set(), "weighted", weights=reliable(range(1, 4))).label == UP

    def test_a_very_good_voter_outweighs_two_that_guess(self):
        says = dict(reliable(range(1, 2), 0.99).says) | dict(reliable(range(2, 4), 0.34).says)
        weights = Weights(priors={UP: 1 / 3, DOWN: 1 / 3, FLAT: 1 / 3}, says=says)
        assert decide(votes(DOWN, UP, UP), set(), "weighted", weights=weights).label == DOWN

    def test_before_there_are_weights_the_majority_decides(self):
        assert decide(votes(UP, UP, DOWN), set(), "weighted").label == UP

    def test_a_posterior_is_a_distribution(self):
        posterior = posterior_of(votes(UP, DOWN, FLAT), reliable(range(1, 4)))
        assert sum(posterior.values()) == pytest.approx(1)

    def test_voters_the_fit_has_not_seen_say_nothing(self):
        assert posterior_of({9: Ballot(UP)}, reliable(range(1, 4))) == {}


def test_correlated_voters_agree_more_than_they_are_right():
    """The reason for audits: what two voters agree on is wrong more often than their agreement suggests."""
    dice = random.Random(1)
    agreed = wrong = 0
    for _ in range(4000):
        hard = dice.random() < 0.3
        said = [DOWN if hard and dice.random() < 0.7 else UP for _ in range(2)]
        outcome = decide(votes(*said), {1, 2})
        agreed += outcome.is_settled
        wrong += outcome.label == DOWN
    assert wrong / agreed > 0.1
