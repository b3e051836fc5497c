"""Who looks at which post next."""

from collections import Counter
from datetime import timedelta

import pytest
from django.utils import timezone

from annotate import queue, settling
from annotate.models import Disagreement, Post, QueueTally, Role
from annotate.models.review import Stream, Why
from annotate.queue import Gone, Seat

from .make import make_member, make_post, make_project, make_vote

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _counted_now(monkeypatch):
    monkeypatch.setattr(queue, "open_in", queue.count_open)


def seat(project, role=Role.REVIEWER, tab="one"):
    return Seat(project, make_member(project, role), role, tab)


def contested(project, *votes, text="gm", **fields):
    """A post that two voters differ on, or as told: (label, confidence) each."""
    post = make_post(project, text=text, **fields)
    for number, (label, confidence) in enumerate(votes or (("bullish", 0.8), ("bearish", 0.8))):
        make_vote(post, f"voter {number}", label, confidence=confidence)
    settling.settle(project, [post.pk])
    return post


def waiting(post):
    return Disagreement.objects.get(post=post, closed=None)


def claimed_posts(who, n):
    return [Disagreement.objects.get(pk=queue.claim(who)).post for _ in range(n)]


class TestClaiming:
    def test_what_one_holds_another_does_not_get(self):
        project = make_project(audit_rate=0)
        for _ in range(3):
            contested(project)
        first, second = seat(project), seat(project)
        claims = [queue.claim(first), queue.claim(second), queue.claim(first)]
        assert len(set(claims)) == 3
        assert queue.claim(second) is None

    def test_two_tabs_of_one_person_are_not_given_the_same_post(self):
        project = make_project()
        contested(project)
        one = seat(project)
        other = Seat(project, one.user, one.role, "two")
        assert queue.claim(one)
        assert queue.claim(other) is None

    def test_a_lapsed_lease_is_taken_over(self):
        project = make_project()
        contested(project)
        first, second = seat(project), seat(project)
        pk = queue.claim(first)
        Disagreement.objects.update(held_until=timezone.now() - timedelta(seconds=1))
        assert queue.claim(second) == pk
        assert queue.renew(first, [pk]) == []

    def test_renewed_while_the_page_is_open(self):
        project = make_project()
        contested(project)
        who = seat(project)
        pk = queue.claim(who)
        Disagreement.objects.update(held_until=timezone.now() + timedelta(seconds=1))
        assert queue.renew(who, [pk]) == [pk]
        assert Disagreement.objects.get().held_until > timezone.now() + timedelta(minutes=4)

    def test_released_on_leaving(self):
        project = make_project()
        contested(project)
        first, second = seat(project), seat(project)
        pk = queue.claim(first)
        assert queue.release(first) == 1
        assert queue.claim(second) == pk

    def test_another_tab_releases_nothing_of_this_one(self):
        project = make_project()
        contested(project)
        one = seat(project)
        queue.claim(one)
        assert queue.release(Seat(project, one.user, one.role, "two")) == 0

    def test_a_reload_shows_what_is_held_in_the_same_order(self):
        project = make_project()
        for _ in range(5):
            contested(project)
        who = seat(project)
        claims = queue.fill(who)
        assert len(claims) == 3
        assert queue.held(who) == claims
        assert queue.fill(who, queue.held(who)) == claims

    def test_an_empty_queue_gives_nothing(self):
        assert queue.claim(seat(make_project())) is None

    def test_another_projects_posts_stay_there(self):
        contested(make_project())
        assert queue.claim(seat(make_project())) is None

    def test_votes_are_on_record_before_they_are_seen(self):
        project = make_project()
        contested(project)
        who = seat(project)
        pk = queue.claim(who)
        queue.show_votes(who, pk)
        assert Disagreement.objects.get().votes_shown

    def test_votes_of_a_post_that_went_to_somebody_else_are_not_shown(self):
        project = make_project()
        contested(project)
        pk = queue.claim(seat(project))
        with pytest.raises(Gone):
            queue.show_votes(seat(project), pk)

    def test_where_votes_are_shown_from_the_start_a_share_stays_blind(self):
        """Otherwise whoever sees no votes would know an audit by it."""
        project = make_project(votes_shown="start", double_rate=0.5, audit_rate=1, check_rate=0)
        for _ in range(30):
            contested(project)
        agreed = make_post(project)
        for voter in ("voter 0", "voter 1"):
            make_vote(agreed, voter, "bullish")
        settling.settle(project, [agreed.pk])
        who = seat(project)
        while queue.claim(who):
            pass
        shown = {(d.wanted, d.votes_shown) for d in Disagreement.objects.all()}
        assert shown == {(1, True), (2, False)}


class TestOrder:
    def test_split_then_unsure_then_abstained(self):
        project = make_project(least_confidence=0.6, audit_rate=0)
        abstained = contested(project, ("", None), ("bullish", 0.9))
        unsure = contested(project, ("bullish", 0.5), ("bullish", 0.9))
        split = contested(project)
        assert claimed_posts(seat(project), 3) == [split, unsure, abstained]

    def test_within_each_the_most_informative_first(self):
        project = make_project()
        lukewarm = contested(project, ("bullish", 0.5), ("bearish", 0.6))
        sure = contested(project, ("bullish", 0.9), ("bearish", 0.95))
        assert claimed_posts(seat(project), 2) == [sure, lukewarm]

    def test_one_of_a_near_duplicate_group_before_its_twins(self):
        project = make_project()
        group = project.templates.create(size=3)
        first = contested(project, ("bullish", 0.9), ("bearish", 0.9), template=group)
        twin = contested(project, ("bullish", 0.95), ("bearish", 0.95), template=group)
        alone = contested(project, ("bullish", 0.5), ("bearish", 0.5))
        assert claimed_posts(seat(project), 3) == [first, alone, twin]

    def test_of_twins_that_come_together_the_most_informative_goes_first(self):
        project = make_project()
        group = project.templates.create(size=2)
        posts = [make_post(project, template=group) for _ in range(2)]
        for post, sure in zip(posts, (0.6, 0.9), strict=True):
            make_vote(post, "a", "bullish", confidence=sure)
            make_vote(post, "b", "bearish", confidence=sure)
        settling.settle(project, [post.pk for post in posts])
        assert claimed_posts(seat(project), 2) == [posts[1], posts[0]]

    def test_what_people_differ_on_goes_to_leads_first_and_to_nobody_else(self):
        project = make_project()
        contested(project)
        conflict = contested(project, ("bullish", 0.1), ("bearish", 0.1))
        Disagreement.objects.filter(post=conflict).update(stream=Stream.CONFLICT)
        assert claimed_posts(seat(project, Role.LEAD), 1) == [conflict]
        reviewer = seat(project)
        assert len(queue.fill(reviewer)) == 1
        assert queue.claim(reviewer) is None

    def test_audits_are_mixed_in_by_how_many_there_are(self):
        project = make_project(check_rate=0)
        waiting_now = {Stream.CONTESTED: 90, Stream.AUDIT: 10}
        who = seat(project)
        firsts = Counter(queue.streams_for(who, waiting_now)[0] for _ in range(5000))
        assert 400 < firsts[Stream.AUDIT] < 600
        assert sum(firsts.values()) == firsts[Stream.AUDIT] + firsts[Stream.CONTESTED]

    def test_when_one_stream_is_empty_for_this_person_the_next_serves(self):
        project = make_project(audit_rate=1)
        agreed = make_post(project)
        for voter in ("a", "b"):
            make_vote(agreed, voter, "bullish")
        settling.settle(project, [agreed.pk])
        assert claimed_posts(seat(project), 1) == [agreed]


def known(project, **fields):
    return make_post(project, label="bullish", **{"label_source": "import", "holdout": True, "vote_count": 2, **fields})


class TestKnownAnswers:
    def test_the_locked_test_set_is_slipped_in_once_for_everybody(self):
        project = make_project(check_rate=0.5)
        for number in range(4):
            known(project, holdout=number < 3)
        assert queue.plant_checks(project) == 3
        assert queue.plant_checks(project) == 0

    def test_a_label_that_machines_gave_is_no_known_answer(self):
        project = make_project(check_rate=0.5)
        known(project, label_source="consensus")
        assert queue.plant_checks(project) == 0

    def test_a_post_that_no_machine_voted_on_would_give_itself_away(self):
        project = make_project(check_rate=0.5)
        known(project, vote_count=0)
        assert queue.plant_checks(project) == 0

    def test_alone_they_are_no_work(self):
        project = make_project(check_rate=0.5)
        known(project)
        queue.plant_checks(project)
        assert [queue.claim(seat(project)) for _ in range(20)] == [None] * 20
        assert queue.waiting_for(project, Role.ADMIN) == 0

    def test_switched_off_they_are_taken_away(self):
        project = make_project(check_rate=0.5)
        known(project)
        queue.plant_checks(project)
        project.check_rate = 0
        queue.plant_checks(project)
        assert queue.count_open(project) == {}


class TestCounts:
    def test_what_waits_is_counted_as_it_comes_and_goes(self):
        project = make_project()
        posts = [contested(project) for _ in range(3)]
        assert queue.count_open(project) == {Stream.CONTESTED: 3}
        make_vote(posts[0], "voter 2", "bullish")
        project.consensus = "majority"
        settling.settle(project, [posts[0].pk])
        assert queue.count_open(project) == {Stream.CONTESTED: 2}
        Post.objects.filter(pk=posts[1].pk).delete()
        assert queue.count_open(project) == {Stream.CONTESTED: 1}
        Disagreement.objects.update(closed=timezone.now())
        assert queue.count_open(project) == {}

    def test_a_lease_counts_nothing(self):
        project = make_project()
        contested(project)
        before = QueueTally.objects.count()
        queue.claim(seat(project))
        assert QueueTally.objects.count() == before

    def test_reviewers_are_not_told_of_what_waits_for_leads(self):
        project = make_project()
        contested(project)
        Disagreement.objects.update(stream=Stream.CONFLICT)
        assert queue.waiting_for(project, Role.REVIEWER) == 0
        assert queue.waiting_for(project, Role.LEAD) == 1


class TestVotesThatComeLater:
    def test_what_is_on_a_screen_is_left_to_the_person(self):
        project = make_project(consensus="majority")
        post = contested(project)
        pk = queue.claim(seat(project))
        make_vote(post, "voter 2", "bullish")
        settling.settle(project, [post.pk])
        assert Disagreement.objects.get(pk=pk).closed is None

    def test_a_replaced_voter_is_no_longer_heard(self):
        project = make_project()
        post = contested(project)
        make_vote(post, "heir", "bullish")
        project.voters.filter(name="voter 1").update(retired=timezone.now(), required=False)
        settling.settle(project, [post.pk])
        post.refresh_from_db()
        assert (post.state, post.label.name) == ("settled", "bullish")
        assert post.vote_count == 3

    def test_the_reason_follows_the_votes(self):
        project = make_project()
        post = contested(project, ("", None), ("bullish", 0.9))
        assert waiting(post).why == Why.ABSTAINED
        make_vote(post, "voter 2", "bearish")
        settling.settle(project, [post.pk])
        assert waiting(post).why == Why.SPLIT
        assert waiting(post).rank < 2
