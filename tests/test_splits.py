"""Nothing that is measured on was trained on: held for any posts, any history, any recipe."""

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modeling import words
from modeling.datasets.recipe import SOURCES, Recipe
from modeling.datasets.splits import (
    HOLDOUT,
    OUT,
    TEST,
    TRAIN,
    VALIDATION,
    WAS_TEST,
    WAS_TRAIN,
    WAS_VALIDATION,
    Choice,
    Known,
    choose,
    kin_of,
)

NAMES = ("bearish", "neutral", "bullish")


def known(posts, **columns):
    """Settled by consensus, unlike each other, never frozen before; what is named is otherwise."""
    numbers = np.arange(posts, dtype=np.int64)
    usual = {
        "ids": numbers + 1, "labels": numbers % 3, "sources": np.full(posts, SOURCES.index("consensus")),
        "incongruous": np.full(posts, -1), "confidence": np.full(posts, np.nan), "templates": np.zeros(posts, int),
        "words": np.zeros(posts, int), "lots": np.array([words.lot(f"p{n}") for n in numbers], dtype=np.int64),
        "pictures": np.ones(posts, bool), "holdout": np.zeros(posts, bool), "was": np.zeros(posts, int),
    }  # fmt: skip
    arrays = {name: np.asarray(columns.get(name, value)) for name, value in usual.items()}
    return Known(**arrays, label_names=NAMES)


def frozen_from(posts, chosen):
    """As they are known after this was frozen."""
    bit = np.array([WAS_TRAIN, WAS_VALIDATION, WAS_TEST, 0, 0])
    return replace(posts, was=posts.was | bit[chosen.splits])


@st.composite
def projects(draw, most=60):
    n = draw(st.integers(1, most))

    def column(values):
        return np.array(draw(st.lists(values, min_size=n, max_size=n)))

    holdout = column(st.sampled_from([False] * 9 + [True]))
    was = column(st.sampled_from([0, 0, 0, WAS_TRAIN, WAS_TRAIN, WAS_VALIDATION, WAS_TEST]))
    return known(
        n, labels=column(st.integers(-1, 2)), sources=column(st.integers(0, 3)), holdout=holdout,
        templates=column(st.integers(0, 12)), words=column(st.integers(0, 20)), was=np.where(holdout, 0, was),
        incongruous=column(st.integers(-1, 1)), confidence=column(st.sampled_from([float("nan"), 0.2, 0.6, 0.9])),
    )  # fmt: skip


recipes = st.builds(
    Recipe,
    sources=st.lists(st.sampled_from(SOURCES), min_size=1, unique=True).map(tuple),
    least_confidence=st.none() | st.sampled_from([0.5, 0.8]),
    one_per_group=st.booleans(),
    size=st.none() | st.integers(1, 40),
    validation=st.sampled_from([0, 0.1, 0.3]),
    test=st.sampled_from([0, 0.1, 0.3]),
    caps=st.dictionaries(st.sampled_from(NAMES), st.integers(0, 10)),
    incongruous=st.none() | st.sampled_from([0.2, 0.5]),
)


@settings(max_examples=400, deadline=None)
@given(projects(), recipes)
def test_no_two_splits_share_a_picture_or_words(posts, recipe):
    chosen = choose(posts, recipe)
    taken = chosen.splits != OUT
    for marks in (posts.templates, posts.words):
        for mark in np.unique(marks[taken & (marks != 0)]):
            assert len(set(chosen.splits[taken & (marks == mark)])) == 1


@settings(max_examples=400, deadline=None)
@given(projects(), recipes)
def test_what_was_ever_measured_on_is_never_trained_on(posts, recipe):
    chosen = choose(posts, recipe)
    assert not ((chosen.splits == TRAIN) & (posts.was & (WAS_TEST | WAS_VALIDATION) > 0)).any()
    assert not ((chosen.splits == VALIDATION) & (posts.was & WAS_TEST > 0)).any()
    assert not (np.isin(chosen.splits, (TEST, VALIDATION)) & (posts.was & WAS_TRAIN > 0)).any()


@settings(max_examples=200, deadline=None)
@given(projects(), recipes)
def test_the_locked_test_set_is_whole_and_alone(posts, recipe):
    chosen = choose(posts, recipe)
    known_otherwise = posts.sources != SOURCES.index("model")
    assert ((chosen.splits == HOLDOUT) == (posts.holdout & (posts.labels >= 0) & known_otherwise)).all()


@settings(max_examples=200, deadline=None)
@given(projects(), recipes)
def test_what_a_model_labelled_is_only_ever_trained_on(posts, recipe):
    by_model = posts.sources == SOURCES.index("model")
    assert set(choose(posts, recipe).splits[by_model]) <= {OUT, TRAIN}


def test_what_a_model_labelled_takes_no_room_from_what_is_measured_on():
    sources = np.where(np.arange(300) < 100, SOURCES.index("review"), SOURCES.index("model"))
    chosen = choose(known(300, sources=sources), Recipe(validation=0.2, test=0.2))
    without = choose(known(100), Recipe(validation=0.2, test=0.2))
    assert chosen.splits[:100].tolist() == without.splits.tolist()
    assert set(chosen.splits[100:]) == {TRAIN}


@settings(max_examples=200, deadline=None)
@given(projects(), recipes)
def test_every_post_is_taken_or_left_out_for_a_reason(posts, recipe):
    chosen = choose(posts, recipe)
    could = ~posts.holdout & (posts.labels >= 0)
    assert int((could & (chosen.splits == OUT)).sum()) == chosen.left_out.total()
    assert sorted(chosen.order) == sorted(np.flatnonzero(chosen.splits != OUT))


@settings(max_examples=100, deadline=None)
@given(projects(), recipes)
def test_frozen_again_nothing_moves(posts, recipe):
    once = choose(posts, recipe)
    again = choose(frozen_from(posts, once), recipe)
    both = (once.splits != OUT) & (again.splits != OUT)
    assert (once.splits[both] == again.splits[both]).all()


@settings(max_examples=100, deadline=None)
@given(projects(most=40), projects(most=20), recipes)
def test_through_three_versions_of_a_growing_project(first, later, recipe):
    """New posts may bridge what was apart: even then nobody is measured on what was trained on."""
    grown = known(len(first.ids) + len(later.ids), **{
        name: np.concatenate([getattr(first, name), getattr(later, name)])
        for name in ("labels", "sources", "templates", "words", "incongruous", "confidence", "holdout")
    })  # fmt: skip
    seen = np.zeros(len(grown.ids), dtype=np.int64)
    for posts in (replace(first, was=seen[: len(first.ids)]), grown, grown):
        posts = replace(posts, was=seen[: len(posts.ids)])
        seen[: len(posts.ids)] = frozen_from(posts, choose(posts, recipe)).was
    trained, measured = seen & WAS_TRAIN > 0, seen & (WAS_TEST | WAS_VALIDATION) > 0
    assert not (trained & measured).any()


class TestShares:
    def test_each_label_is_split_as_asked(self):
        chosen = choose(known(3000), Recipe(validation=0.1, test=0.2))
        for label in range(3):
            counts = Counter(chosen.splits[np.arange(3000) % 3 == label].tolist())
            assert counts == {TRAIN: 700, VALIDATION: 100, TEST: 200}

    def test_a_rare_label_is_in_every_split(self):
        labels = np.where(np.arange(500) < 10, 2, np.arange(500) % 2)
        chosen = choose(known(500, labels=labels), Recipe())
        assert Counter(chosen.splits[labels == 2].tolist()) == {TRAIN: 8, VALIDATION: 1, TEST: 1}

    def test_large_groups_are_trained_on(self):
        templates = np.where(np.arange(100) < 60, 7, 0)
        chosen = choose(known(100, templates=templates), Recipe())
        assert set(chosen.splits[:60]) == {TRAIN}
        assert (chosen.splits == TEST).sum() == pytest.approx(10, abs=1)

    def test_posts_fall_alike_whatever_their_numbers_in_the_table(self):
        one = choose(known(200), Recipe())
        other = choose(known(200, ids=np.arange(200) + 5000), Recipe())
        assert (one.splits == other.splits).all()
        assert (one.order == other.order).all()

    def test_a_smaller_dataset_of_the_same_posts_keeps_its_splits(self):
        """A size keeps the first lots; they must not all have gone to train."""
        posts = known(136)
        posts = frozen_from(posts, choose(posts, Recipe()))
        counts = Counter(choose(posts, Recipe(size=60)).splits.tolist())
        assert counts[VALIDATION] >= 4
        assert counts[TEST] >= 4


class TestHoldout:
    def test_what_looks_or_reads_like_it_is_left_out(self):
        chosen = choose(
            known(6, holdout=[True] + [False] * 5, templates=[4, 4, 0, 0, 9, 9], words=[8, 0, 8, 0, 0, 0]), Recipe()
        )
        assert chosen.splits.tolist()[:3] == [HOLDOUT, OUT, OUT]
        assert chosen.left_out == {"holdout": 2}

    def test_what_is_only_linked_over_others_stays(self):
        """Two memes that say `gm` are alike; what shares a picture with the second says nothing of the first."""
        chosen = choose(known(3, holdout=[True, False, False], templates=[1, 2, 2], words=[5, 5, 6]), Recipe())
        assert chosen.splits.tolist()[1] == OUT
        assert chosen.splits.tolist()[2] != OUT


class TestBridges:
    def test_a_newcomer_that_joins_test_and_train_is_measured_on_and_what_was_trained_on_leaves(self):
        chosen = choose(known(3, templates=[1, 1, 2], words=[0, 3, 3], was=[WAS_TEST, 0, WAS_TRAIN]), Recipe())
        assert chosen.splits.tolist() == [TEST, TEST, OUT]
        assert chosen.left_out == {"trained": 1}

    def test_the_twin_of_a_test_post_that_lost_its_label_is_not_trained_on(self):
        chosen = choose(known(2, labels=[-1, 0], templates=[1, 1], was=[WAS_TEST, 0]), Recipe())
        assert chosen.splits.tolist() == [OUT, TEST]


class TestShape:
    def test_sources_and_confidence(self):
        posts = known(4, sources=[0, 1, 1, 1], confidence=[np.nan, 0.9, 0.4, np.nan])
        chosen = choose(posts, Recipe(sources=("review", "consensus"), least_confidence=0.8))
        assert (chosen.splits != OUT).tolist() == [True, True, False, False]
        assert chosen.left_out == {"confidence": 2}
        assert choose(posts, Recipe(sources=("review",))).left_out == {"source": 3}

    def test_one_of_each_group_people_before_machines_then_the_surer(self):
        chosen = choose(
            known(5, sources=[1, 0, 1, 1, 1], templates=[1, 1, 2, 2, 0], confidence=[0.99, np.nan, 0.5, 0.8, 0.1]),
            Recipe(one_per_group=True, validation=0, test=0),
        )
        assert (chosen.splits != OUT).tolist() == [False, True, False, True, True]
        assert chosen.left_out == {"twins": 2}

    def test_a_surer_model_displaces_no_consensus_and_so_no_group_that_is_measured_is_lost(self):
        sources = [SOURCES.index(one) for one in ("consensus", "model", "consensus", "model", "model")]
        posts = known(
            5, sources=sources, templates=[1, 1, 2, 2, 2], confidence=[0.6, 0.99, np.nan, 0.9, 0.95],
            was=[0, 0, WAS_TEST, 0, 0],
        )  # fmt: skip
        chosen = choose(posts, Recipe(one_per_group=True, validation=0, test=0.3))
        assert (chosen.splits != OUT).tolist() == [True, False, True, False, False]
        assert chosen.splits[2] == TEST
        assert chosen.left_out == {"twins": 3}

    @settings(max_examples=200, deadline=None)
    @given(projects(), recipes)
    def test_no_model_is_taken_where_another_of_its_group_could_be(self, posts, recipe):
        recipe, posts = replace(recipe, one_per_group=True), replace(posts, was=np.zeros_like(posts.was))
        choice = Choice(posts, recipe)
        choice.leave_out_unwanted()
        choice.leave_out_like_holdout()
        kin, before = kin_of(posts.templates, posts.words, choice.open), choice.open.copy()
        choice.leave_out_twins(kin)
        by_model = posts.sources == SOURCES.index("model")
        assert not set(kin[choice.open & by_model]) & set(kin[before & ~by_model])

    def test_the_one_of_a_group_that_was_taken_before_is_taken_again(self):
        chosen = choose(known(2, sources=[1, 0], templates=[1, 1], was=[WAS_TRAIN, 0]), Recipe(one_per_group=True))
        assert chosen.splits.tolist() == [TRAIN, OUT]

    def test_a_cap_holds_where_is_trained_and_nowhere_else(self):
        free, capped = choose(known(300), Recipe()), choose(known(300), Recipe(caps={"bullish": 20}))
        bullish = np.arange(300) % 3 == 2
        assert (capped.splits[bullish] == TRAIN).sum() == 20
        assert (free.splits[bullish] == TEST).sum() == (capped.splits[bullish] == TEST).sum() == 10
        assert capped.left_out == {"cap": 60}

    @pytest.mark.parametrize(("odd", "share"), [(30, 0.25), (200, 0.25), (30, 0.5)])
    def test_the_share_of_incongruous_posts_comes_out(self, odd, share):
        posts = known(300, incongruous=(np.arange(300) < odd).astype(int))
        train = choose(posts, Recipe(incongruous=share)).splits == TRAIN
        assert (posts.incongruous[train] == 1).mean() == pytest.approx(share, abs=0.01)

    def test_without_any_incongruous_posts_nothing_is_thrown_away(self):
        assert choose(known(30), Recipe(incongruous=0.25)).left_out == {}

    def test_size(self):
        chosen = choose(known(100, holdout=np.arange(100) < 10), Recipe(size=50))
        assert Counter((chosen.splits != OUT).tolist())[True] == 60

    def test_nothing_at_all(self):
        assert len(choose(known(0), Recipe()).order) == 0


class TestGroups:
    def test_kin_share_a_number_and_numbers_follow_the_order(self):
        chosen = choose(known(6, templates=[1, 1, 0, 0, 2, 2], words=[0, 5, 5, 0, 0, 0]), Recipe())
        kin = chosen.kin.tolist()
        assert kin[0] == kin[1] == kin[2]
        assert kin[4] == kin[5]
        assert len({kin[0], kin[3], kin[4]}) == 3
        firsts = list(dict.fromkeys(chosen.kin[chosen.order].tolist()))
        assert firsts == sorted(firsts)


class TestWords:
    @pytest.mark.parametrize(("one", "other"), [
        ("To the MOON!!! 🚀", "to the moon"),
        ("rug pull  again", "Rug\npull… again"),
        ("look https://x.co/1", "look https://x.co/2"),
        ("ＢＵＹ ﬁne", "buy fine"),
        ("السوق ينهار", "السوق  ينهار!"),
    ])  # fmt: skip
    def test_the_same_words(self, one, other):
        assert words.mark(one) == words.mark(other) != 0

    @pytest.mark.parametrize(("one", "other"), [("buy", "sell"), ("🚀🚀", "📉📉"), ("gm 1", "gm 2")])
    def test_other_words(self, one, other):
        assert words.mark(one) != words.mark(other)

    def test_no_words(self):
        assert words.mark("") == words.mark(" \n") == 0
        assert words.mark("🚀") != 0


class TestRecipe:
    def test_it_comes_back_from_the_table_as_it_was(self):
        recipe = Recipe(sources=("consensus",), caps={"bullish": 3}, weights={"bearish": 2.0}, incongruous=0.25)
        assert Recipe.from_json(recipe.as_json() | {"unknown": 1}) == recipe

    @pytest.mark.parametrize("wrong", [
        {"sources": ()}, {"sources": ("gossip",)}, {"validation": 0.6, "test": 0.5}, {"test": -0.1}, {"size": 0},
        {"least_confidence": 1.5}, {"incongruous": 0.0}, {"incongruous": 1}, {"caps": {"a": -1}}, {"weights": {"a": 0}},
    ])  # fmt: skip
    def test_what_cannot_be_is_refused_in_words(self, wrong):
        with pytest.raises(ValueError, match=r"[a-z].+\."):
            Recipe(**wrong)
