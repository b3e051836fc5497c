"""What people said of a post -> what stands."""

from hypothesis import given
from hypothesis import strategies as st

from annotate.verdict import OPEN, Answer, Verdict, verdict

answers = st.builds(
    Answer,
    label=st.sampled_from([1, 2, None]),
    incongruous=st.sampled_from([True, False, None]),
).map(lambda a: a if a.label else Answer(instead="cannot_tell", incongruous=a.incongruous))


def test_nobody_has_answered():
    assert verdict([], 1) == OPEN


def test_one_is_enough_where_one_is_wanted():
    assert verdict([Answer(1, incongruous=True)], 1) == Verdict(1, incongruous=True)


def test_where_two_are_wanted_one_waits_for_the_other():
    assert verdict([Answer(1)], 2) == OPEN
    assert verdict([Answer(1), Answer(1)], 2) == Verdict(1)


def test_two_who_differ_need_a_lead_even_where_one_was_wanted():
    assert verdict([Answer(1), Answer(2)], 2).differ
    assert verdict([Answer(1), Answer(instead="cannot_tell")], 1).differ


def test_what_was_said_instead_of_a_label_stands_too():
    assert verdict([Answer(instead="broken"), Answer(instead="broken")], 2) == Verdict(instead="broken")


def test_two_who_differ_on_the_second_answer_alone_settle_the_label():
    settled = verdict([Answer(1, incongruous=True), Answer(1, incongruous=False)], 2)
    assert (settled.label, settled.incongruous) == (1, None)


@given(st.lists(answers, max_size=4), st.integers(1, 2), st.randoms())
def test_the_order_of_the_answers_does_not_matter(given_answers, wanted, chance):
    shuffled = list(given_answers)
    chance.shuffle(shuffled)
    assert verdict(given_answers, wanted) == verdict(shuffled, wanted)


@given(st.lists(answers, max_size=4), answers, st.integers(1, 2))
def test_a_lead_always_has_the_last_word(given_answers, word, wanted):
    final = Answer(word.label, word.instead, word.incongruous, final=True)
    settled = verdict([*given_answers, final], wanted)
    assert settled.stands
    assert (settled.label, settled.instead) == word.said
