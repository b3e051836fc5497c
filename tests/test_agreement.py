from collections import Counter
from itertools import combinations

import krippendorff
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest
from sklearn.metrics import cohen_kappa_score

from annotate.agreement import Share, answered, by_label, cohens_kappa, confusion, krippendorffs_alpha, observed

NEAR = pytest.approx
answers = st.one_of(st.none(), st.integers(1, 4))


def votes_of(voters: st.SearchStrategy[int]) -> st.SearchStrategy[list[list[int | None]]]:
    """Rows are posts, columns are voters."""
    return voters.flatmap(lambda n: st.lists(st.lists(answers, min_size=n, max_size=n), max_size=60))


def counts_of(rows):
    return Counter((one, other) for one, other in rows)


def ballots_of(rows):
    """As the database counts them: each pair of voters, and how many labels the post got."""
    pairs = ((*pair, sum(answer is not None for answer in row)) for row in rows for pair in combinations(row, 2))
    return Counter(pairs)


class TestKappa:
    @given(votes_of(st.just(2)))
    def test_is_what_scikit_learn_says(self, rows):
        compared = [row for row in rows if None not in row]
        ours = cohens_kappa(counts_of(rows))
        if not compared or len({answer for row in compared for answer in row}) == 1:
            assert ours is None
        else:
            assert ours == NEAR(cohen_kappa_score(*zip(*compared, strict=True)), abs=1e-9)

    @given(votes_of(st.just(2)))
    def test_does_not_mind_who_comes_first(self, rows):
        assert cohens_kappa(counts_of(rows)) == NEAR(cohens_kappa(counts_of([(b, a) for a, b in rows])))

    def test_of_a_thousandfold_is_the_same(self):
        counts = {(1, 1): 40, (1, 2): 9, (2, 1): 11, (2, 2): 30, (None, 1): 5}
        many = {pair: 1000 * posts for pair, posts in counts.items()}
        assert cohens_kappa(many) == NEAR(cohens_kappa(counts))

    def test_of_two_who_never_say_the_same_word_is_nought(self):
        assert cohens_kappa({(1, 2): 7}) == 0


class TestAlpha:
    @given(votes_of(st.integers(2, 5)))
    def test_is_what_krippendorff_says(self, rows):
        ours = krippendorffs_alpha(ballots_of(rows))
        paired = [row for row in rows if sum(answer is not None for answer in row) > 1]
        if len({answer for row in paired for answer in row} - {None}) < 2:
            assert ours is None
        else:
            table = np.array(rows, dtype=float).T
            theirs = krippendorff.alpha(reliability_data=table, level_of_measurement="nominal")
            assert ours == NEAR(theirs, abs=1e-9)

    def test_of_krippendorffs_own_example(self):
        """Four observers and twelve units, from "Computing Krippendorff's Alpha-Reliability" (2011), section C."""
        said = ["123321412000", "123322412503", "033323422510", "123324412510"]
        rows = [[int(answer) or None for answer in unit] for unit in zip(*said, strict=True)]
        assert krippendorffs_alpha(ballots_of(rows)) == NEAR(0.743, abs=0.0005)

    @pytest.mark.parametrize("rows", [[], [(1, None)], [(1, 1), (1, 1)]])
    def test_is_unknown_where_nothing_varies(self, rows):
        assert krippendorffs_alpha(ballots_of(rows)) is None


class TestShare:
    @given(st.integers(1, 5000).flatmap(lambda of: st.tuples(st.integers(0, of), st.just(of))))
    def test_has_wilsons_interval(self, pair):
        theirs = binomtest(*pair).proportion_ci(method="wilson")
        ours = Share(*pair)
        assert (ours.low, ours.high) == NEAR((theirs.low, theirs.high), abs=1e-9)
        assert 0 <= ours.low <= ours.rate <= ours.high <= 1

    def test_of_nothing_knows_nothing(self):
        assert (Share(0, 0).rate, Share(0, 0).low, Share(0, 0).high) == (None, 0, 1)


class TestTables:
    counts = {(1, 1): 6, (1, 2): 2, (2, 1): 1, (2, 2): 3, (None, 2): 4, (None, None): 1}

    def test_abstentions_are_no_answers_to_compare(self):
        assert observed(self.counts) == Share(9, 12)

    def test_each_label_counts_both_ways(self):
        first, second, unsaid = by_label(self.counts, [1, 2, 3])
        assert (first.one, first.other, first.both, first.agreed) == (8, 7, 6, Share(6, 9))
        assert (second.one, second.other, second.both) == (4, 5, 3)
        assert unsaid.agreed == Share(0, 0)

    def test_a_confusion_shows_who_abstained_last(self):
        table = confusion(self.counts, [1, 2])
        assert [[cell.posts for cell in row] for row in table] == [[6, 2, 0], [1, 3, 0], [0, 4, 1]]
        assert [cell.share for cell in table[0]] == [0.75, 0.25, 0]

    def test_a_confusion_without_abstentions_shows_none(self):
        assert [[cell.posts for cell in row] for row in confusion({(1, 2): 1, (2, None): 0}, [1, 2])] == [
            [0, 1],
            [0, 0],
        ]

    @given(votes_of(st.just(2)))
    def test_nothing_is_lost(self, rows):
        counts = counts_of(rows)
        cells = [cell for row in confusion(counts, [1, 2, 3, 4]) for cell in row]
        assert sum(cell.posts for cell in cells) == len(rows)
        shares = by_label(counts, [1, 2, 3, 4])
        assert (
            sum(share.one for share in shares) == sum(share.other for share in shares) == sum(answered(counts).values())
        )
        assert sum(share.both for share in shares) == observed(counts).hits
