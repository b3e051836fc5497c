"""The estimate of what is still wrong, held against projects whose truth is known."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from annotate.agreement import Share
from annotate.audit import Audited, Estimate, estimate, mistakes_of, more_needed, quality, read

from .simulate import ALONE, PERFECT, People, audit, mixed, settle

NEAR = pytest.approx
LABELS = 3
FALLIBLE = People(errs=0.05, lead_errs=0.025)


def covered(
    seed, errors, audits, people=PERFECT, projects=700, posts=4000, labels=LABELS, later=None, worse=1.0, read=1.0
):
    """The share of the projects whose true error lies within the interval, and how far off the estimates are."""
    rng, held, off = np.random.default_rng(seed), 0, []
    for _ in range(projects):
        settled = settle(rng, posts, rng.uniform(*errors), labels, worse)
        audited = audit(rng, settled, mixed(posts, audits, later) if later else audits / posts, people)
        audited = [one for one in audited if rng.random() < read] if read < 1 else audited
        found = estimate(audited, settled.population, mistakes_of(audited, labels))
        held += found.low <= settled.error <= found.high
        off.append(found.rate - settled.error)
    return held / projects, float(np.mean(off))


class TestTheInterval:
    """95% of them should hold the truth. Of 700 projects, one in twenty runs would fall outside .934-.966 by luck."""

    @pytest.mark.parametrize(
        ("errors", "audits"), [((0.02, 0.05), 100), ((0.02, 0.2), 50), ((0.05, 0.12), 200), ((0.1, 0.2), 800)]
    )
    def test_holds_the_truth_in_95_of_100_projects(self, errors, audits):
        held, off = covered(1, errors, audits)
        assert 0.93 <= held <= 0.97
        assert abs(off) < 0.003

    @pytest.mark.parametrize("audits", [60, 300])
    def test_holds_it_when_the_rate_of_auditing_was_raised_midway(self, audits):
        assert 0.93 <= covered(2, (0.02, 0.2), audits, later=3)[0] <= 0.97

    def test_holds_it_when_later_labels_are_worse_and_weigh_more(self):
        held, off = covered(3, (0.02, 0.15), 400, later=0.5, worse=2)
        assert 0.93 <= held <= 0.97
        assert abs(off) < 0.003

    def test_holds_it_when_of_many_that_were_drawn_few_are_read_yet(self):
        assert 0.93 <= covered(7, (0.02, 0.2), 2800, read=0.3)[0] <= 0.97

    @pytest.mark.parametrize(("people", "labels"), [(FALLIBLE, 3), (FALLIBLE, 2), (People(0.05, 0.025, led=0.5), 3)])
    def test_holds_it_when_people_err(self, people, labels):
        assert 0.93 <= covered(4, (0.03, 0.2), 200, people, labels=labels)[0] <= 0.97

    @pytest.mark.parametrize("twice", [0.3, 0.6])
    def test_holds_it_when_most_audits_have_one_reader(self, twice):
        held, off = covered(5, (0.05, 0.2), 400, People(0.05, 0.025, twice=twice))
        assert 0.93 <= held <= 0.97
        assert abs(off) < 0.004

    def test_holds_it_for_each_label_and_source(self):
        rng, held = np.random.default_rng(6), []
        for _ in range(250):
            settled = settle(rng, 4000, rng.uniform(0.03, 0.15))
            found = quality(audit(rng, settled, 0.1, PERFECT), settled.population, LABELS)
            held += [e.low <= settled.wrong[settled.was == k].mean() <= e.high for k, e in found.by_label.items()]
            held += [
                found.by_source[name].low <= settled.wrong[settled.source == k].mean() <= found.by_source[name].high
                for k, name in enumerate(("consensus", "model"))
            ]
        assert 0.92 <= np.mean(held) <= 0.98

    def test_one_reader_alone_would_have_said_half_as_much_again(self):
        """What the facts say of one reader who errs on 5%: 13.5% where 9.1% is true. Read twice, it says 9.1%."""
        rng = np.random.default_rng(7)
        settled = settle(rng, 60_000, 0.091)
        once = estimate(audit(rng, settled, 1, People(0.05, twice=0)), settled.population)
        pair = audit(rng, settled, 1, People(0.05, 0.025, twice=0.5))
        both = estimate(pair, settled.population, mistakes_of(pair, LABELS))
        assert once.rate == NEAR(0.135, abs=0.005)
        assert both.rate == NEAR(settled.error, abs=0.004)


class TestWidth:
    def test_is_what_the_facts_say(self):
        for n, width in ((200, 0.080), (400, 0.057), (800, 0.040)):
            audits = [Audited(1, "c", 0.0001, (k >= 0.091 * n,) * 2) for k in range(n)]
            found = estimate(audits, {(1, "c"): 10**6})
            assert found.high - found.low == NEAR(width, abs=0.003)

    def test_tells_how_many_more_would_narrow_it(self):
        def sample(n):
            return [Audited(0, "c", 0.01, (int(k % 10 == 0),) * 2) for k in range(n)]

        now = estimate(sample(200), {(0, "c"): 10**6})
        reached, *others = more_needed(now, (0.05, 0.03, 0.02))
        assert reached.more == 0
        for needed in others:
            then = estimate(sample(200 + needed.more), {(0, "c"): 10**6})
            assert then.half_width == NEAR(needed.half_width, rel=0.05)

    def test_there_are_never_more_to_read_than_posts(self):
        now = estimate([Audited(0, "c", 0.5, (k % 5, k % 5)) for k in range(20)], {(0, "c"): 40})
        assert more_needed(now, (0.0001,))[0].more == 20

    def test_nothing_is_uncertain_once_all_is_read(self):
        found = estimate([Audited(0, "c", 1.0, (int(k < 7),) * 2) for k in range(100)], {(0, "c"): 100})
        assert (found.low, found.rate, found.high) == NEAR((0.07, 0.07, 0.07), abs=1e-4)
        assert found.left(corrected=7).value == NEAR(0, abs=1e-6)


class TestReadings:
    @pytest.mark.parametrize(
        ("answers", "verdict", "said", "kind"),
        [
            ((1,), 1, 1, "one"),
            ((1,), None, 1, "one"),
            ((), 1, 1, "one"),
            ((1, None), 1, 1, "one"),
            ((1, 1), 1, 1, "agreed"),
            ((1, 1), None, 1, "agreed"),
            ((1, 2), 2, 2, "lead"),
            ((1,), 2, 2, "lead"),
            ((2, 1), None, 2, "torn"),
        ],
    )
    def test_what_people_make_of_it_and_how(self, answers, verdict, said, kind):
        assert read(Audited(0, "c", 0.1, answers, verdict)) == (said, kind)

    @pytest.mark.parametrize("answers", [(), (None,), (None, None)])
    def test_what_nobody_could_tell_is_not_read(self, answers):
        assert read(Audited(0, "c", 0.1, answers)) is None


class TestQuality:
    def test_no_audits_are_no_estimate_rather_than_no_errors(self):
        found = quality([Audited(0, "c", 0.1), Audited(0, "c", 0.1, (None,))], {(0, "c"): 100}, LABELS)
        assert (found.overall, found.unseen, found.by_label, found.by_source) == (None, None, {}, {})
        assert (found.audits, found.unread) == (0, 2)

    def test_no_errors_found_are_not_no_errors(self):
        found = quality([Audited(0, "c", 0.1, (0, 0))] * 50, {(0, "c"): 500}, LABELS).overall
        assert found.rate == found.low == 0
        assert 0.03 < found.high < 0.09

    def test_says_what_rests_on_one_pair_of_eyes(self):
        audits = [Audited(0, "c", 0.1, (0,), 0)] * 30 + [Audited(0, "c", 0.1, (1,), 1)] * 3
        found = quality(audits, {(0, "c"): 330}, LABELS)
        assert (found.audits, found.single, found.corrected, found.mistakes) == (33, 33, False, None)
        assert found.overall.rate == NEAR(3 / 33)

    def test_a_lone_readers_mistakes_are_known_from_the_locked_test_set(self):
        rng = np.random.default_rng(8)
        settled = settle(rng, 20_000, 0.09)
        audits = audit(rng, settled, 0.5, People(0.05, twice=0))
        alone = quality(audits, settled.population, LABELS)
        checked = quality(audits, settled.population, LABELS, checks=Share(1900, 2000))
        assert alone.overall.rate == NEAR(0.133, abs=0.01)
        assert checked.corrected
        assert checked.mistakes.from_checks
        assert checked.overall.low < settled.error < checked.overall.high
        assert checked.overall.half_width > alone.overall.half_width

    def test_what_was_read_twice_tells_how_often_one_errs(self):
        rng = np.random.default_rng(9)
        settled = settle(rng, 20_000, 0.09)
        known = mistakes_of(audit(rng, settled, 0.5, FALLIBLE), LABELS)
        assert known.rate == NEAR(0.05, abs=0.005)
        assert known.low < 0.05 < known.high
        assert mistakes_of(audit(rng, settled, 0.1, ALONE), LABELS) is None

    def test_audits_that_are_alike_may_come_counted(self):
        rng = np.random.default_rng(10)
        settled = settle(rng, 20_000, 0.09)
        audits = audit(rng, settled, 0.5, FALLIBLE)
        counted = Counter(audits)
        assert len(counted) < len(audits) / 50
        assert quality(counted, settled.population, LABELS) == quality(audits, settled.population, LABELS)

    def test_sets_those_apart_who_saw_the_votes(self):
        blind = [Audited(0, "c", 0.1, (int(k < 4),) * 2) for k in range(40)]
        anchored = [Audited(0, "c", 0.1, (0, 0), saw_votes=True)] * 40
        found = quality(blind + anchored, {(0, "c"): 800}, LABELS)
        assert found.saw_votes == 40
        assert found.mistakes.of == 40
        assert found.overall.rate == NEAR(0.05)
        assert found.unseen.rate == NEAR(0.1)
        assert quality(anchored, {(0, "c"): 800}, LABELS).unseen is None

    def test_weighs_each_audit_by_its_chance(self):
        rare = [Audited(0, "c", 0.01, (1, 1))] * 10
        often = [Audited(0, "c", 0.1, (0, 0))] * 100
        assert estimate(rare + often, {}).rate == NEAR(0.5)

    def test_labels_count_by_how_many_posts_have_them(self):
        """Whatever share of each was read so far."""
        audits = [Audited(0, "c", 0.1, (0, 0))] * 90 + [Audited(1, "c", 0.1, (0, 0))] * 10
        found = quality(audits, {(0, "c"): 500, (1, "c"): 500}, LABELS)
        assert found.overall.rate == NEAR(0.5)
        assert {label: one.posts for label, one in found.by_label.items()} == {0: 500, 1: 500}
        assert found.by_label[1].wrong == NEAR(500)

    def test_what_was_put_right_is_no_longer_wrong(self):
        found = estimate([Audited(0, "c", 0.1, (int(k < 5),) * 2) for k in range(50)], {(0, "c"): 500})
        assert found.left(30).value == NEAR(20)
        assert found.left(10_000) == (0, 0, 0)


answers = st.lists(st.one_of(st.none(), st.integers(0, 2)), max_size=3).map(tuple)
audited = st.builds(
    Audited,
    was=st.integers(0, 2),
    source=st.sampled_from(["consensus", "model"]),
    inclusion=st.sampled_from([0.02, 0.1, 0.5, 1.0]),
    answers=answers,
    verdict=st.one_of(st.none(), st.integers(0, 2)),
    saw_votes=st.booleans(),
)
populations = st.dictionaries(
    st.tuples(st.integers(0, 2), st.sampled_from(["consensus", "model"])), st.integers(0, 10_000)
)


def figures(found: Estimate):
    return (found.rate, found.low, found.high)


class TestAlways:
    @given(st.lists(audited, max_size=60), populations)
    def test_the_rate_is_a_share_within_its_interval(self, audits, population):
        found = quality(audits, population, LABELS)
        ones = [found.overall, found.unseen, *found.by_label.values(), *found.by_source.values()]
        for one in filter(None, ones):
            assert 0 <= one.low <= one.rate <= one.high <= 1
            assert one.effective > 0
            assert all(needed.more >= 0 for needed in more_needed(one))

    @given(st.lists(audited, min_size=1, max_size=60), populations, st.randoms(use_true_random=False))
    def test_the_order_of_the_audits_does_not_matter(self, audits, population, random):
        one = quality(audits, population, LABELS).overall
        other = quality(random.sample(audits, len(audits)), population, LABELS).overall
        assert (one is None) == (other is None)
        if one and other:
            assert figures(one) == NEAR(figures(other), abs=1e-9)

    @given(st.lists(audited, min_size=1, max_size=60))
    def test_only_how_the_chances_compare_matters_for_the_rate(self, audits):
        halved = [Audited(a.was, a.source, a.inclusion / 2, a.answers, a.verdict, a.saw_votes) for a in audits]
        one, other = estimate(audits, {}), estimate(halved, {})
        if one and other:
            assert one.rate == NEAR(other.rate, abs=1e-9)
