"""How wrong the settled labels are: what is read of people's decisions, and what is made of it."""

from collections import Counter

import pytest
from django.core.cache import cache
from django.db import connection
from django.test.utils import CaptureQueriesContext

from annotate import audit, deciding, judged, quality, queue, settling
from annotate.models import Disagreement, Post, Review, Role, Tally
from annotate.models.review import Stream, Why
from annotate.templatetags.quality import about

from .make import make_label, make_member, make_post, make_project, make_vote
from .test_deciding import agreed, answer, say
from .test_queue import seat

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _counted_now(monkeypatch):
    cache.clear()
    monkeypatch.setattr(queue, "open_in", queue.count_open)


def contested(project):
    """By the same voters as in `agreed`: consensus waits for all of a project's."""
    post = make_post(project)
    make_vote(post, "a", "bullish")
    make_vote(post, "b", "bearish")
    settling.settle(project, [post.pk])
    return post


def two_readers(project):
    return seat(project), seat(project)


def read_all(readers, label=""):
    """Until the queue has nothing left for any of them: as machines said, or a label of ours."""
    while pks := [(who, pk) for who in readers if (pk := queue.claim(who))]:
        for who, pk in pks:
            say(who, pk, label or Disagreement.objects.get(pk=pk).post.label.name)


def audits(project):
    return [one for _, one in quality.audits(project)]


def name(project, label):
    return make_label(project, label).pk


class TestAudits:
    def test_what_was_settled_who_read_it_and_what_they_said(self):
        project = make_project(audit_rate=1)
        post = agreed(project, "bullish")
        one, other = two_readers(project)
        answer(one, "bearish")
        answer(other, "bearish")
        bullish, bearish = name(project, "bullish"), name(project, "bearish")
        assert quality.audits(project) == [
            (post.pk, audit.Audited(bullish, "consensus", 1.0, (bearish, bearish), bearish, saw_votes=False))
        ]

    def test_those_that_are_alike_are_counted(self):
        project = make_project(audit_rate=1)
        for label in ("bullish", "bullish", "bearish"):
            agreed(project, label)
        read_all(two_readers(project), "bullish")
        assert quality.audits_alike(project) == Counter(audits(project))
        assert sorted(quality.audits_alike(project).values()) == [1, 2]

    def test_one_answer_counts_while_the_second_is_awaited(self):
        project = make_project(audit_rate=1)
        agreed(project, "bullish")
        one, _ = two_readers(project)
        assert audits(project) == []
        answer(one, "bearish")
        [found] = audits(project)
        assert (found.answers, found.verdict) == ((name(project, "bearish"),), None)
        assert quality.unanswered(project) == 0

    def test_a_leads_word_is_the_verdict_and_no_independent_answer(self):
        project = make_project(audit_rate=1)
        agreed(project, "bullish")
        one, other = two_readers(project)
        answer(one, "bearish")
        answer(other, "bullish")
        answer(seat(project, Role.LEAD), "neutral")
        [found] = audits(project)
        assert found.answers == (name(project, "bearish"), name(project, "bullish"))
        assert found.verdict == name(project, "neutral")

    def test_what_nobody_could_tell_is_no_answer(self):
        project = make_project(audit_rate=1)
        agreed(project)
        for who in two_readers(project):
            answer(who, instead="cannot_tell")
        [found] = audits(project)
        assert (found.answers, found.verdict) == ((None, None), None)
        assert quality.read(project).quality.unread == 1

    def test_votes_seen_before_are_on_record(self):
        project = make_project(audit_rate=1)
        agreed(project)
        one, other = two_readers(project)
        pk = queue.claim(one)
        queue.show_votes(one, pk)
        say(one, pk, "bullish")
        answer(other, "bullish")
        assert audits(project)[0].saw_votes

    def test_skipped_is_not_answered(self):
        project = make_project(audit_rate=1)
        agreed(project)
        one, _ = two_readers(project)
        answer(one, instead="skip")
        assert audits(project) == []
        assert quality.unanswered(project) == 1

    def test_taken_back_it_counts_no_more(self):
        project = make_project(audit_rate=1)
        agreed(project)
        one, other = two_readers(project)
        answer(one, "bearish")
        answer(other, "bearish")
        deciding.undo(other)
        deciding.undo(one)
        assert audits(project) == []
        assert quality.decided(project) == []

    def test_another_projects_audits_stay_there(self):
        project = make_project(audit_rate=1)
        agreed(project)
        read_all(two_readers(project), "bearish")
        assert audits(make_project()) == []

    def test_as_many_queries_for_fifty_as_for_five(self, django_assert_num_queries):
        project = make_project(audit_rate=1)
        for posts in (5, 45):
            for _ in range(posts):
                agreed(project)
            read_all(two_readers(project))
            with CaptureQueriesContext(connection) as asked:
                quality.read(project)
        with django_assert_num_queries(len(asked)):
            quality.read(project)
        assert len(asked) < 12


class TestEstimate:
    def test_from_the_audits_alone(self):
        """The contested queue is full of mistakes; it says nothing of what machines agree on."""
        project = make_project(audit_rate=0, double_rate=0)
        for _ in range(6):
            contested(project)
        read_all([seat(project)], "neutral")
        assert quality.read(project).overall is None
        project.audit_rate = 1
        project.save()
        for _ in range(4):
            agreed(project)
        read_all(two_readers(project))
        overall = quality.read(project).overall
        assert (overall.rate, overall.audits, overall.posts) == (0, 4, 4)

    def test_what_people_put_right_stays_in_what_machines_settled(self):
        project = make_project(audit_rate=1)
        for label in ("bullish", "bullish", "bearish"):
            agreed(project, label)
        read_all(two_readers(project), "bullish")
        read = quality.read(project)
        assert Post.objects.filter(label_source="review").count() == 3
        assert read.overall.posts == read.settled == 3
        assert read.corrected() == read.overall.wrong_seen == 1
        assert {part.name: part.standing for part in read.labels} == {"bearish": 0, "neutral": 0, "bullish": 0}
        assert read.left.value == pytest.approx(read.overall.wrong - 1)

    def test_what_was_read_and_what_stands_adds_up(self):
        project = make_project(audit_rate=0.5)
        posts = [agreed(project, ("bullish", "bearish")[n % 2]) for n in range(40)]
        read_all(two_readers(project), "bullish")
        read = quality.read(project)
        assert 0 < read.closed < len(posts)
        assert read.settled == len(posts)
        by_hand = Tally.objects.filter(project=project, state="settled", label_source="consensus")
        assert sum(part.standing for part in read.labels) == sum(by_hand.values_list("posts", flat=True))
        assert [part.name for part in read.sources] == ["Consensus of voters"]

    def test_single_eyes_where_there_is_one_reviewer_alone(self):
        project = make_project(audit_rate=1)
        for _ in range(3):
            agreed(project)
        read_all([seat(project)])
        read = quality.read(project)
        assert (read.quality.single, read.quality.audits, read.reviewers) == (3, 3, 1)
        assert read.eyes == {"one": 3, "two": 0, "lead": 0}

    def test_eyes_of_all_that_people_labelled(self):
        project = make_project(audit_rate=1, double_rate=0)
        contested(project)
        agreed(project)
        agreed(project)
        one, other, lead = seat(project), seat(project), seat(project, Role.LEAD)
        for pk in queue.fill(one, size=3):
            say(one, pk, "bullish")
        first, second = queue.fill(other, size=2)
        say(other, first, "bullish")
        say(other, second, "bearish")
        answer(lead, "neutral")
        assert quality.read(project).eyes == {"one": 1, "two": 1, "lead": 1}

    def test_few_answers_on_checks_are_not_taken_for_a_habit(self):
        project = make_project(audit_rate=0, check_rate=0.5)
        post = make_post(project, label="bullish", label_source="import", holdout=True, vote_count=2)
        queue.plant_checks(project)
        waiting = Disagreement.objects.get(post=post)
        for number in range(quality.ENOUGH_CHECKS):
            assert quality.checks(project) is None
            said = name(project, "bullish" if number % 3 else "bearish")
            Review.objects.create(
                project=project, disagreement=waiting, reviewer=make_member(project), key="one", label_id=said
            )
        found = quality.checks(project)
        assert (found.hits, found.of) == (20, 30)

    def test_a_label_that_machines_gave_to_the_test_set_checks_nobody(self):
        project = make_project()
        waiting = Disagreement.objects.create(
            project=project, post=make_post(project, label="bullish", holdout=True), why=Why.CHECK, stream=Stream.CHECK
        )
        label = name(project, "bearish")
        for _ in range(quality.ENOUGH_CHECKS):
            Review.objects.create(
                project=project, disagreement=waiting, reviewer=make_member(project), key="one", label_id=label
            )
        assert quality.checks(project) is None

    def test_how_many_more_and_what_share_would_draw_them(self):
        project = make_project(audit_rate=0.25)  # of sixty about fifteen; at a half it may be enough of them by chance
        for _ in range(60):
            agreed(project)
        read_all(two_readers(project), "bullish")
        read = quality.read(project)
        for plan in read.plans:
            expected = 0.25 + max(0, plan.more - read.waiting) / read.settled
            assert plan.rate == pytest.approx(min(1, expected))
        assert read.plans[-1].more > read.plans[0].more


class TestWords:
    def test_nothing_is_known_before_the_first_audit(self):
        assert quality.headline(make_project()) == ""

    def test_one_sentence_for_the_home_page(self):
        project = make_project(audit_rate=1)
        for _ in range(8):
            agreed(project)
        read_all(two_readers(project))
        said = quality.headline(project)
        assert said.startswith("About 0% of the 8 labels that machines settled are wrong (95%: 0")
        assert said.endswith("from 8 blind audits.")

    @pytest.mark.parametrize(
        ("rate", "low", "high", "told"),
        [
            (0.09, 0.06, 0.13, "9%, 6 to 13%"),
            (0.089, 0.08, 0.098, "8.9%, 8.0 to 9.8%"),
            (0, 0, 0.02, "0%, 0.0 to 2.0%"),
        ],
    )
    def test_as_exact_as_it_is_known(self, rate, low, high, told):
        assert f"{quality.rate_words(rate, low, high)}, {quality.span_words(low, high)}" == told

    @pytest.mark.parametrize(
        ("value", "told"), [(None, "–"), (0.4, "0"), (64.4, "64"), (757, "760"), (1234, "1,200"), (99.6, "100")]
    )
    def test_numbers_that_nobody_counted_are_round(self, value, told):
        assert about(value) == told

    def test_very_many_audits_are_not_weighed_at_every_glance(self, monkeypatch):
        project = make_project(audit_rate=1)
        agreed(project)
        monkeypatch.setattr(quality, "MANY", 0)
        read_all(two_readers(project))
        assert quality.read(project).minutes_kept == quality.MINUTES
        agreed(project)
        read_all(two_readers(project))
        assert quality.read(project).quality.audits == 1
        cache.clear()
        assert quality.read(project).quality.audits == 2


class TestJudged:
    def test_each_stands_for_as_many_as_are_like_it(self):
        project = make_project(audit_rate=0.3, double_rate=0)
        for _ in range(30):
            agreed(project)
        for _ in range(8):
            contested(project)
        readers = two_readers(project)
        for pk in queue.fill(readers[0], size=12):
            say(readers[0], pk, "bullish")
        read_all(readers[1:], "bullish")
        rows = judged.judged_rows(project)
        weighed = judged.weigh(
            rows, 30, judged.contested_ever(quality.decided(project), judged.still_contested(project))
        )
        sums = {kind: sum(one.weight for one in weighed if one.stratum == kind) for kind in ("audit", "split")}
        assert sums == {"audit": pytest.approx(30), "split": pytest.approx(8)}

    def test_of_very_many_some_of_each_kind_are_read_the_same_ones_every_time(self, monkeypatch):
        project = make_project(audit_rate=1, double_rate=0)
        for _ in range(4):
            agreed(project)
            contested(project)
        read_all([seat(project)], "bullish")
        everything = judged.judged_rows(project)
        monkeypatch.setattr(judged, "MOST", 3)
        some = judged.judged_rows(project)
        assert Counter(row.why for row in everything) == {"audit": 4, "split": 4}
        assert Counter(row.why for row in some) == {"audit": 3, "split": 3}
        assert sorted(map(str, some)) == sorted(map(str, judged.judged_rows(project)))

    def test_the_riskiest_are_no_sample_of_anything(self):
        project = make_project(audit_rate=0)
        post = agreed(project)
        Disagreement.objects.create(project=project, post=post, why=Why.RISK, stream=Stream.RISK)
        read_all([seat(project)], "bearish")
        assert judged.judged_rows(project) == []
        assert quality.read(project).corrected() == 1

    def test_how_often_each_voter_is_right(self):
        project = make_project(audit_rate=0, double_rate=0)
        for _ in range(4):
            contested(project)
        read_all([seat(project)], "bullish")
        trust = judged.read(project)
        assert {row.voter.name: row.reliability.accuracy.rate for row in trust.voters} == {"a": 1, "b": 0}
        assert (trust.audits, trust.contested, trust.still_contested) == (0, 4, 0)


def test_settling_anew_keeps_what_people_read():
    """A post whose label people took from machines still belongs to what machines had settled."""
    project = make_project(audit_rate=1)
    post = agreed(project)
    read_all(two_readers(project), "bearish")
    make_vote(post, "c", "bullish")
    settling.settle(project, [post.pk])
    assert quality.read(project).settled == 1
    assert len(audits(project)) == 1
