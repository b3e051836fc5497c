"""Which post is in which part of a study: whole groups, every label, the same again; nothing is trained here."""

from itertools import pairwise

import numpy as np
import pytest

from modeling.measures.baselines import TooFew
from modeling.studying import parting
from modeling.studying.parting import Drawn, Posts


def some_posts(n: int, seed: int, validation: bool = True, labels: int = 3, model: float = 0.0) -> Posts:
    """Groups of all sizes, each in one split, as a dataset has them; a model labelled this share of them."""
    rng = np.random.default_rng(seed)
    kin = rng.integers(1, max(2, int(n * rng.uniform(0.3, 1.5))), n)
    shares = [0.6, 0.15 if validation else 0.0, 0.15]
    split = rng.choice(4, kin.max() + 1, p=[*shares, 1 - sum(shares)])[kin]
    of_labels = rng.choice(labels, n, p=rng.dirichlet([5] * labels))
    return Posts(of_labels, kin, split == 0, split == 1, split == 3, rng.random(n) < model)


def kin_of(posts: Posts, positions: np.ndarray) -> set[int]:
    return set(posts.kin[positions - 1].tolist())


@pytest.mark.parametrize("seed", range(25))
@pytest.mark.parametrize("validation", [True, False])
def test_folds_share_no_group_with_what_their_run_saw(seed, validation, monkeypatch):
    if seed % 5 == 4:
        monkeypatch.setattr(parting, "EXACT", 10)  # as a very large dataset is dealt out
    posts = some_posts(60 + 40 * seed, seed, validation)
    count = 2 + seed % 6
    drawn = Drawn.of(parting.folds(posts, count, seed))
    asked = [drawn.asked(fold) for fold in range(count)]
    pool = np.flatnonzero(~posts.held) + 1
    assert sorted(np.concatenate(asked).tolist()) == pool.tolist()  # each once, the locked test set never
    for fold in range(count):
        learnt, validating = drawn.learnt(fold, True), drawn.validating(fold, True)
        assert len(learnt)
        assert len(validating)
        parts = [kin_of(posts, where) for where in (learnt, validating, asked[fold])]
        assert sum(map(len, parts)) == len(set.union(*parts))
        assert len(learnt) + len(validating) + len(asked[fold]) <= len(pool)
        rest = set(pool.tolist()) - set(learnt.tolist()) - set(asked[fold].tolist())
        assert set(validating.tolist()) == rest
        if validation:
            assert not posts.train[validating - 1].any()


@pytest.mark.parametrize("seed", range(25))
@pytest.mark.parametrize("validation", [True, False])
def test_what_a_model_labelled_is_learnt_from_and_never_asked_about_nor_validated_on(seed, validation, monkeypatch):
    if seed % 5 == 4:
        monkeypatch.setattr(parting, "EXACT", 10)
    posts, count = some_posts(120 + 40 * seed, seed, validation, model=0.3), 2 + seed % 4
    drawn = Drawn.of(parting.folds(posts, count, seed))
    asked = np.concatenate([drawn.asked(fold) for fold in range(count)])
    assert sorted(asked.tolist()) == (np.flatnonzero(~posts.held & ~posts.model) + 1).tolist()
    validates = set.union(*(set(drawn.validating(fold, True).tolist()) for fold in range(count)))
    by_model = np.flatnonzero(posts.model & ~posts.held & ~posts.validation) + 1
    assert not validates & set((np.flatnonzero(posts.model) + 1).tolist())
    kin_validating = kin_of(posts, np.array(sorted(validates)))
    for fold in range(count):
        learnt = set(drawn.learnt(fold, True).tolist())
        kept_from = kin_of(posts, drawn.asked(fold)) | kin_validating
        assert not kin_of(posts, drawn.learnt(fold, True)) & kept_from
        assert learnt & set(by_model.tolist()) == {n for n in by_model.tolist() if posts.kin[n - 1] not in kept_from}


def test_of_no_split_that_validates_the_tenth_is_of_labels_that_no_model_gave():
    flags = np.zeros(200, dtype=bool)
    posts = Posts(np.arange(200) % 2, np.arange(200), ~flags, flags, flags, np.arange(200) >= 100)
    drawn = Drawn.of(parting.folds(posts, 4, 0))
    validates = np.flatnonzero(drawn.validates)
    assert len(validates) == 10
    assert validates.max() < 100
    assert len(drawn.learnt(0, True)) >= 100 + 60  # all that a model labelled, and what is left of three folds


def test_no_model_labelled_what_a_curve_is_validated_on():
    posts = some_posts(400, 5, model=0.3)
    validating = Drawn.of(parting.curve(posts, [0.5, 1.0], 0)).validating(0, False)
    assert validating.tolist() == (np.flatnonzero(posts.validation & ~posts.model) + 1).tolist()


def test_models_labels_alone_make_no_folds():
    flags = np.zeros(40, dtype=bool)
    with pytest.raises(TooFew, match="Take fewer"):
        parting.folds(Posts(np.arange(40) % 2, np.arange(40), ~flags, flags, flags, np.arange(40) >= 2), 4, 0)
    with pytest.raises(TooFew):
        parting.folds(Posts(np.arange(40) % 2, np.arange(40), ~flags, flags, flags, ~flags), 4, 0)


def test_what_was_drawn_before_models_labels_were_set_apart_reads_as_it_did():
    """A byte each: fold 0, fold 1, fold 19, one of fold 1 that validates, the locked test set."""
    drawn = Drawn.of(bytes([0, 1, 19, 0x81, 0x7F]))
    assert [drawn.asked(fold).tolist() for fold in (0, 1, 19)] == [[1], [2, 4], [3]]
    assert [drawn.learnt(fold, True).tolist() for fold in (0, 1, 19)] == [[2, 3], [1, 3], [1, 2]]
    assert [drawn.validating(fold, True).tolist() for fold in (0, 1, 19)] == [[4], [], [4]]
    curve = Drawn.of(bytes([0, 2, 1, 0xFF, 0x7F]))
    assert [curve.learnt(number, False).tolist() for number in range(3)] == [[1], [1, 3], [1, 2, 3]]
    assert curve.validating(0, False).tolist() == [4]


@pytest.mark.parametrize("exact", [True, False])
def test_folds_are_about_alike_in_size_and_labels(exact, monkeypatch):
    monkeypatch.setattr(parting, "EXACT", 10**6 if exact else 10)
    posts = some_posts(3000, 1)
    drawn = Drawn.of(parting.folds(posts, 5, 0))
    shares = np.array([np.bincount(posts.labels[drawn.asked(fold) - 1], minlength=3) for fold in range(5)])
    whole = np.bincount(posts.labels[~posts.held], minlength=3) / 5
    assert np.abs(shares - whole).max() < 0.12 * whole.min()


def test_the_same_seed_draws_the_same_and_another_does_not():
    posts = some_posts(300, 3)
    assert parting.folds(posts, 4, 7) == parting.folds(posts, 4, 7) != parting.folds(posts, 4, 8)
    shares = [0.2, 0.5, 1.0]
    assert parting.curve(posts, shares, 7) == parting.curve(posts, shares, 7) != parting.curve(posts, shares, 8)


def test_more_folds_than_there_are_posts_that_differ_are_refused():
    flags = np.zeros(12, dtype=bool)
    alike = Posts(np.arange(12) % 2, np.arange(12) % 3, ~flags, flags, flags, flags)
    with pytest.raises(TooFew, match="Take fewer"):
        parting.folds(alike, 4, 0)
    assert len(Drawn.of(parting.folds(alike, 3, 0)).asked(2)) == 4


@pytest.mark.parametrize("seed", range(25))
def test_shares_are_nested_of_whole_groups_and_hold_each_label(seed):
    posts = some_posts(40 + 60 * seed, seed)
    shares = [0.1, 0.25, 0.5, 1.0]
    drawn = Drawn.of(parting.curve(posts, shares, seed))
    learnt = [drawn.learnt(number, False) for number in range(4)]
    assert learnt[3].tolist() == (np.flatnonzero(posts.train) + 1).tolist()
    for fewer, more in pairwise(learnt):
        assert set(fewer.tolist()) <= set(more.tolist())
    for share, positions in zip(shares, learnt, strict=True):
        there = np.isin(posts.kin, posts.kin[positions - 1]) & posts.train
        assert (np.flatnonzero(there) + 1).tolist() == positions.tolist()
        largest = np.bincount(posts.kin[posts.train]).max()
        assert abs(len(positions) - share * posts.train.sum()) <= 3 * (largest + 1)
        assert drawn.validating(0, False).tolist() == (np.flatnonzero(posts.validation) + 1).tolist()
    commonest = set(posts.labels[posts.train].tolist())
    if len(np.unique(posts.kin[posts.train])) == posts.train.sum():
        assert set(posts.labels[learnt[0] - 1].tolist()) == commonest


def test_every_label_is_in_the_smallest_share():
    flags = np.zeros(400, dtype=bool)
    labels = np.array([0] * 390 + [1] * 8 + [2] * 2)
    drawn = Drawn.of(parting.curve(Posts(labels, np.arange(400), ~flags, flags, flags, flags), [0.05, 1.0], 0))
    assert np.bincount(labels[drawn.learnt(0, False) - 1]).tolist() == [20, 1, 1]
    half = Drawn.of(parting.curve(Posts(labels, np.arange(400), ~flags, flags, flags, flags), [0.25, 0.5], 0))
    assert np.bincount(labels[half.learnt(1, False) - 1]).tolist() == [195, 4, 1]
    assert len(half.learnt(1, False)) == 200
