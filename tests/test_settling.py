import random
import threading

import pytest
from django.db import connection, transaction
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra.django import TestCase

from annotate import settling, weighing
from annotate.blindness import OVERSEER
from annotate.models import Disagreement, LabelSource, Post, State, Voter
from annotate.models.review import Why
from annotate.story import story_of
from tests.make import make_label, make_post, make_project, make_vote

pytestmark = pytest.mark.django_db


@pytest.fixture
def project():
    return make_project(audit_rate=0)


def settle(*posts: Post) -> None:
    with transaction.atomic():
        settling.settle(posts[0].project, [post.pk for post in posts])
    for post in posts:
        post.refresh_from_db()


def voted(project, *said: str, **fields) -> Post:
    post = make_post(project, **fields)
    for number, label in enumerate(said):
        make_vote(post, f"voter{number}", label)
    settle(post)
    return post


class TestVotesAndWhatFollows:
    def test_agreement_settles(self, project):
        post = voted(project, "bullish", "bullish")
        assert (post.state, post.label.name, post.label_source) == (State.SETTLED, "bullish", LabelSource.CONSENSUS)

    def test_disagreement_opens_and_says_why(self, project):
        post = voted(project, "bullish", "bearish")
        assert post.state == State.CONTESTED
        assert Disagreement.objects.get(post=post, closed=None).why == Why.SPLIT

    def test_a_later_vote_settles_what_was_contested(self):
        project = make_project(consensus="majority", audit_rate=0)
        post = voted(project, "bullish", "bearish")
        make_vote(post, "third", "bullish")
        settle(post)
        assert (post.state, post.label.name) == (State.SETTLED, "bullish")
        assert Disagreement.objects.get(post=post).closed

    def test_a_later_vote_reopens_what_was_settled(self, project):
        post = voted(project, "bullish", "bullish")
        make_vote(post, "third", "bearish")
        settle(post)
        assert (post.state, post.label) == (State.CONTESTED, None)

    def test_the_reason_follows_the_votes(self, project):
        post = voted(project, "bullish", "")
        make_vote(post, "third", "bearish")
        settle(post)
        assert Disagreement.objects.get(post=post, closed=None).why == Why.SPLIT

    def test_a_voter_that_is_not_required_is_not_waited_for(self, project):
        Voter.imported(project, "slow")
        Voter.objects.update(required=False)
        assert voted(project, "bullish", "bullish").state == State.SETTLED

    def test_a_required_voter_is_waited_for(self, project):
        Voter.imported(project, "slow")
        assert voted(project, "bullish", "bullish").state == State.WAITING


class TestPeopleWin(TestCase):
    @settings(max_examples=25, suppress_health_check=[HealthCheck.too_slow], deadline=None)
    @given(
        said=st.lists(st.sampled_from(["bearish", "neutral", "bullish", ""]), min_size=2, max_size=4),
        rule=st.sampled_from(["all", "majority", "weighted"]),
        source=st.sampled_from([LabelSource.REVIEW, LabelSource.IMPORT]),
    )
    def test_whatever_machines_say(self, said, rule, source):
        project = make_project(consensus=rule)
        post = voted(project, *said, label="neutral", label_source=source)
        assert (post.state, post.label.name, post.label_source) == (State.SETTLED, "neutral", source)
        assert post.vote_count == len(said)


class TestAudits:
    def test_are_drawn_from_what_machines_settle_with_their_chance_on_record(self):
        project = make_project(audit_rate=1)
        post = voted(project, "bullish", "bullish")
        audit = Disagreement.objects.get(post=post)
        assert (audit.why, audit.inclusion, audit.closed) == (Why.AUDIT, 1.0, None)
        assert post.state == State.SETTLED

    def test_where_more_are_drawn_later_all_stand_for_as_many_posts(self):
        """Three that were drawn at 2% would else weigh as much as a hundred that were drawn at 60%."""
        project = make_project(audit_rate=0.3)
        for number in range(40):
            voted(project, "bullish", "bullish", text=f"post {number}")
        first = Disagreement.objects.order_by("pk").first()
        Disagreement.objects.filter(pk=first.pk).update(
            closed=first.opened, answers=2, was_state="settled", was_source="consensus"
        )
        Post.objects.filter(pk=first.post_id).update(label_source="review")
        before = Disagreement.objects.count()
        for rate, all_of in ((0.8, 0.8), (0.1, 0.8)):
            project.audit_rate = rate
            project.save()
            settling.settle_all(project)
            assert set(Disagreement.objects.values_list("inclusion", flat=True)) == {all_of}
        assert 0 < before < Disagreement.objects.count() < 40

    def test_are_not_drawn_twice(self):
        project = make_project(audit_rate=1)
        post = voted(project, "bullish", "bullish")
        Disagreement.objects.update(closed=post.created, was_state="settled", answers=2)
        settle(post)
        assert Disagreement.objects.count() == 1

    def test_come_at_their_rate(self):
        lots = [settling.lot("audit", 1, post) < 0.02 for post in range(50_000)]
        assert 0.018 < sum(lots) / len(lots) < 0.022

    def test_do_not_show_on_the_posts_page(self):
        project = make_project(audit_rate=1)
        titles = [chapter.title for chapter in story_of(voted(project, "bullish", "bullish"), OVERSEER)]
        assert "Contested" not in titles

    def test_survive_a_further_agreeing_vote(self):
        project = make_project(audit_rate=1)
        post = voted(project, "bullish", "bullish")
        make_vote(post, "third", "bullish")
        settle(post)
        assert Disagreement.objects.get(post=post).closed is None


class TestTheRuleChanges:
    def test_and_everything_is_settled_anew(self, project):
        posts = [voted(project, "bullish", "bullish", "bearish") for _ in range(3)]
        assert {post.state for post in posts} == {State.CONTESTED}
        project.consensus = "majority"
        project.save()
        assert settling.settle_all(project) == 3
        assert set(Post.objects.values_list("state", flat=True)) == {State.SETTLED}

    def test_weights_are_fitted_on_the_votes_and_kept(self, project):
        dice = random.Random(5)
        labels = ("bearish", "neutral", "bullish")
        for _ in range(60):
            truth = dice.choice(labels)
            post = make_post(project)
            for voter, right in (("good", 0.95), ("fair", 0.8), ("poor", 0.4)):
                make_vote(post, voter, truth if dice.random() < right else dice.choice(labels))
        assert weighing.fit(project)
        weights = weighing.from_json(project.weights)
        good, poor = (Voter.objects.get(name=name).pk for name in ("good", "poor"))
        up = make_label(project, "bullish").pk
        assert weights.says[good][up][up] > weights.says[poor][up][up]

    def test_two_voters_have_no_weights(self, project):
        voted(project, "bullish", "bearish")
        assert not weighing.fit(project)


@pytest.mark.django_db(transaction=True)
def test_a_decision_made_meanwhile_is_not_overturned():
    """A person decides between our reading the votes and our writing the outcome."""
    project = make_project(audit_rate=0)
    post = make_post(project)
    make_vote(post, "one", "bullish")
    make_vote(post, "two", "bullish")
    bearish = make_label(project, "bearish")
    decided, go_on = threading.Event(), threading.Event()

    def person() -> None:
        with transaction.atomic():
            locked = Post.objects.select_for_update().get(pk=post.pk)
            decided.set()
            go_on.wait(5)
            locked.state, locked.label, locked.label_source = State.SETTLED, bearish, LabelSource.REVIEW
            locked.save()
        connection.close()

    def machine() -> None:
        with transaction.atomic():
            settling.settle(project, [post.pk])
        connection.close()

    threads = [threading.Thread(target=person), threading.Thread(target=machine)]
    threads[0].start()
    decided.wait(5)
    threads[1].start()
    go_on.set()
    for thread in threads:
        thread.join(10)
    post.refresh_from_db()
    assert (post.label.name, post.label_source) == ("bearish", LabelSource.REVIEW)
