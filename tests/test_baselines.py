"""What a model has to beat: the labels alone, and the words alone; and which labels the words make doubtful."""

import numpy as np
import pytest

from modeling.doubting import confident
from modeling.measures import baselines

LABELS = ("bearish", "neutral", "bullish")
WORDS = {
    "bearish": ["dump", "crash", "sell", "red", "down", "fear", "short", "rug"],
    "neutral": ["chart", "report", "meeting", "news", "volume", "data", "post", "table"],
    "bullish": ["moon", "pump", "buy", "green", "up", "rocket", "long", "hold"],
}
FILLER = ["the", "a", "market", "today", "coin", "we", "they", "it", "is", "was", "so", "gm", "ser", "bro", "lol"]


def made(posts, seed=5):
    """Texts that two of their words give away, and the labels that belong to them."""
    rng = np.random.default_rng(seed)
    labels = [LABELS[n] for n in rng.integers(0, 3, posts)]
    return [" ".join([*rng.choice(WORDS[label], 2), *rng.choice(FILLER, 6)]) for label in labels], labels


def flipped(labels, share, seed=5):
    """Another label on so many of them; and which these are."""
    rng = np.random.default_rng(seed)
    wrong = set(rng.choice(len(labels), round(share * len(labels)), replace=False).tolist())
    return [
        LABELS[(LABELS.index(label) + int(rng.integers(1, 3))) % 3] if n in wrong else label
        for n, label in enumerate(labels)
    ], wrong


def right(probabilities, labels, names=LABELS):
    return float(np.mean([names[n] == label for n, label in zip(probabilities.argmax(axis=1), labels, strict=True)]))


def are_probabilities(found, posts, labels=LABELS):
    assert found.shape == (posts, len(labels))
    assert (found > 0).all()
    np.testing.assert_allclose(found.sum(axis=1), 1)


class TestMajority:
    def test_the_shares_of_the_labels_for_every_post(self):
        found = baselines.majority(["bearish"] * 6 + ["bullish"] * 3, LABELS, 2)
        np.testing.assert_allclose(found, [[7 / 12, 1 / 12, 4 / 12]] * 2)

    def test_of_nothing_each_label_is_as_likely(self):
        np.testing.assert_allclose(baselines.majority([], LABELS, 1), [[1 / 3] * 3])


class TestText:
    def test_it_learns_what_words_tell(self):
        texts, labels = made(300)
        found = baselines.text(texts[:200], labels[:200], texts[200:], LABELS, seed=1)
        are_probabilities(found, 100)
        assert right(found, labels[200:]) > 0.9

    def test_the_same_seed_gives_the_same(self):
        texts, labels = made(60)
        once, again = (baselines.text(texts[:50], labels[:50], texts[50:], LABELS, seed=3) for _ in range(2))
        np.testing.assert_array_equal(once, again)

    def test_rare_labels_are_not_given_up(self):
        texts, labels = made(300)
        rare = [n for n, label in enumerate(labels) if label != "bullish"]
        few = [n for n, label in enumerate(labels) if label == "bullish"][:12]
        train = rare + few[:6]
        found = baselines.text([texts[n] for n in train], [labels[n] for n in train],
                               [texts[n] for n in few[6:]], LABELS, seed=1)  # fmt: skip
        assert right(found, ["bullish"] * 6) > 0.5

    def test_a_label_it_never_saw_is_unlikely_and_not_impossible(self):
        found = baselines.text(["moon", "moon", "dump", "dump"], ["bullish"] * 2 + ["bearish"] * 2, ["moon"], LABELS, 0)
        are_probabilities(found, 1)
        assert found[0].argmax() == LABELS.index("bullish")
        assert found[0, LABELS.index("neutral")] == pytest.approx(1 / 7)

    @pytest.mark.parametrize(
        ("texts", "labels"),
        [
            (["moon", "rocket"], ["bullish", "bullish"]),
            (["", ""], ["bullish", "bearish"]),
            (["moon", "dump"], ["bullish", "bearish"]),
            ([], []),
        ],
        ids=["one label", "no words", "no word twice", "nothing"],
    )
    def test_where_nothing_can_be_learned_the_labels_alone_speak(self, texts, labels):
        found = baselines.text(texts, labels, ["moon", ""], LABELS, seed=0)
        np.testing.assert_allclose(found, baselines.majority(labels, LABELS, 2))

    def test_a_post_without_words_is_asked_about_too(self):
        texts, labels = made(60)
        are_probabilities(baselines.text(texts, labels, ["", "moon pump"], LABELS, 0), 2)

    def test_of_nothing_asked_nothing_is_said(self):
        texts, labels = made(60)
        assert baselines.text(texts, labels, [], LABELS, 0).shape == (0, 3)

    def test_very_many_texts_are_learned_in_another_way_with_the_same_outcome(self, monkeypatch):
        texts, labels = made(400)
        monkeypatch.setattr(baselines, "FEW", 100)
        monkeypatch.setattr(baselines, "MOST", 200)
        found = baselines.text(texts[:300], labels[:300], texts[300:], LABELS, seed=1)
        are_probabilities(found, 100)
        assert right(found, labels[300:]) > 0.9


class TestCrossValidated:
    def test_each_post_is_judged_by_models_that_did_not_learn_from_it(self):
        """Labels that have nothing to do with the words cannot be told, however often."""
        texts, _ = made(300)
        rng = np.random.default_rng(1)
        labels = [LABELS[n] for n in rng.integers(0, 3, 300)]
        found = baselines.cross_validated(texts, labels, LABELS, range(300), seed=1)
        assert (found.folds, found.repeats) == (5, 3)
        assert right(found.probabilities, labels) < 0.45
        assert right(baselines.text(texts, labels, texts, LABELS, 1), labels) > 0.9

    def test_nor_from_any_of_its_group(self):
        """A hundred posts, each there three times with a label that only its copies could tell."""
        rng = np.random.default_rng(2)
        texts = [" ".join(rng.choice(FILLER, 8)) + f" id{n}" for n in range(100)] * 3
        labels = [LABELS[n] for n in rng.integers(0, 3, 100)] * 3
        apart = baselines.cross_validated(texts, labels, LABELS, list(range(100)) * 3, seed=1)
        leaking = baselines.cross_validated(texts, labels, LABELS, list(range(300)), seed=1)
        assert right(apart.probabilities, labels) < 0.5
        assert right(leaking.probabilities, labels) > 0.9

    def test_it_learns_what_words_tell(self):
        texts, labels = made(300)
        found = baselines.cross_validated(texts, labels, LABELS, range(300), seed=1)
        are_probabilities(found.probabilities, 300)
        assert right(found.probabilities, labels) > 0.9

    @pytest.mark.parametrize(("rare", "folds"), [(8, 5), (3, 3), (2, 2), (1, 5)])
    def test_a_rare_label_makes_for_fewer_folds_and_that_is_told(self, rare, folds):
        texts = [f"moon {n}" for n in range(20)] + [f"dump {n}" for n in range(rare)]
        labels = ["bullish"] * 20 + ["bearish"] * rare
        found = baselines.cross_validated(texts, labels, LABELS, range(20 + rare), repeats=1)
        assert (found.folds, found.repeats) == (folds, 1)
        are_probabilities(found.probabilities, 20 + rare)

    def test_posts_that_are_alike_make_for_no_more_folds_than_there_are_of_them(self):
        groups = [0, 0, 0, 1, 1, 1, *range(2, 22)]
        texts, labels = [f"post {n}" for n in range(26)], ["bearish"] * 6 + ["bullish"] * 20
        assert baselines.cross_validated(texts, labels, LABELS, groups, repeats=1).folds == 2

    @pytest.mark.parametrize("groups", [[], [1], [4, 4, 4]])
    def test_posts_that_are_all_alike_cannot_be_set_apart(self, groups):
        with pytest.raises(baselines.TooFew):
            baselines.cross_validated(["moon"] * len(groups), ["bullish"] * len(groups), LABELS, groups)

    def test_it_says_how_far_it_is(self):
        texts, labels = made(60)
        told = []
        baselines.cross_validated(texts, labels, LABELS, range(60), 3, 2, beat=lambda done, of: told.append((done, of)))
        assert told == [(n, 6) for n in range(7)]


class TestSuspects:
    def test_labels_flipped_on_purpose_come_first(self):
        texts, labels = made(600)
        given, wrong = flipped(labels, 0.1)
        found = baselines.cross_validated(texts, given, LABELS, range(600), seed=1)
        suspects = confident.suspects([LABELS.index(label) for label in given], found.probabilities)
        first = suspects[: len(wrong)]
        hits = [one for one in first if one.row in wrong]
        assert len(hits) > 45  # of 60; at random there would be 6
        assert all(LABELS[one.suggested] == labels[one.row] for one in hits[:30])
        assert [one.chance for one in suspects] == sorted((one.chance for one in suspects), reverse=True)
        assert all(given[one.row] != LABELS[one.suggested] for one in suspects)

    def test_labels_that_a_model_agrees_with_are_not_doubted(self):
        sure = np.array([[0.9, 0.1], [0.1, 0.9]] * 20)
        assert confident.suspects([0, 1] * 20, sure) == []

    def test_with_one_label_there_is_nothing_to_doubt(self):
        assert confident.suspects([0, 0], np.array([[0.1, 0.9]] * 2)) == []

    def test_a_label_that_no_post_has_may_stand_among_the_columns(self):
        rows = np.array([[0.8, 0.1, 0.1], [0.1, 0.8, 0.1]] * 20)
        given = [0, 1] * 20
        given[0] = 1
        (one,) = confident.suspects(given, rows)
        assert (one.row, one.suggested) == (0, 0)
        assert one.chance == pytest.approx(0.9)
