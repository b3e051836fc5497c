"""The riskiest of what machines settled: who is among them, what they should hold, and what people find there."""

import random

import pytest
from django.core.cache import cache
from django_q.models import OrmQ

from annotate import queue, targeting, tasks
from annotate.consensus import Weights
from annotate.models import Disagreement, Event, Post, Role, Targeting
from annotate.models.review import Stream, Why

from .make import EPOCH, make_label, make_member, make_post, make_project, make_vote
from .test_deciding import answer
from .test_queue import seat

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _counted_now(monkeypatch):
    cache.clear()
    monkeypatch.setattr(queue, "open_in", queue.count_open)


def settled(project, sure=0.9, label="bullish", **fields):
    """By two voters, of which the second is as sure as told."""
    post = make_post(project, label=label, **fields)
    make_vote(post, "a", label, confidence=0.95)
    make_vote(post, "b", label, confidence=sure)
    return post


def asked(project, posts=3):
    """Found, and not yet confirmed."""
    found = Targeting.objects.create(project=project, posts=posts, total=targeting.candidates_in(project))
    targeting.search(found)
    found.refresh_from_db()
    return found


def picked(found):
    return [post for post, _ in found.picked]


def audited(project, posts=150, seed=1):
    """Doubtful labels are wrong more often; people read these as audits."""
    rng = random.Random(seed)
    label, other = make_label(project, "bullish"), make_label(project, "bearish")
    for _ in range(posts):
        sure = rng.uniform(0.5, 0.99)
        wrong = rng.random() < 0.9 - 0.9 * sure
        post = settled(project, sure)
        Disagreement.objects.create(
            project=project,
            post=post,
            why=Why.AUDIT,
            stream=Stream.AUDIT,
            inclusion=0.5,
            answers=1,
            label=other if wrong else label,
            was_state="settled",
            was_label=label,
            was_source="consensus",
            closed=EPOCH,
        ).reviews.create(project=project, reviewer=READERS[0], key=f"{post.pk}", label=other if wrong else label)
        Post.objects.filter(pk=post.pk).update(label_source="review")


READERS = []


@pytest.fixture
def project():
    project = make_project("Memes", double_rate=0)
    READERS[:] = [make_member(project), make_member(project)]
    return project


class TestSearch:
    def test_the_least_sure_come_first_while_audits_are_few(self, project):
        posts = {sure: settled(project, sure) for sure in (0.9, 0.4, 0.7, 0.6)}
        found = asked(project, 2)
        assert picked(found) == [posts[0.4].pk, posts[0.6].pk]
        assert (found.state, found.expected, found.posts) == ("ready", None, 2)
        assert found.method == "least confidence, with 0 audits, 0 of them wrong"

    def test_the_test_set_what_waits_and_what_people_labelled_are_left_out(self, project):
        plain = settled(project)
        settled(project, holdout=True)
        settled(project, label_source="review")
        settled(project, label_source="import")
        contested = make_post(project, state="contested")
        audit = settled(project)
        for post, why in ((contested, Why.SPLIT), (audit, Why.AUDIT)):
            Disagreement.objects.create(project=project, post=post, why=why)
        settled(make_project())
        assert picked(asked(project, 50)) == [plain.pk]

    def test_what_was_waited_for_once_may_be_asked_again(self, project):
        post = settled(project)
        Disagreement.objects.create(project=project, post=post, why=Why.SPLIT, closed=EPOCH)
        assert picked(asked(project)) == [post.pk]

    def test_what_a_tuned_model_settled_counts_too(self, project):
        posts = {settled(project).pk, settled(project, label_source="model").pk}
        assert set(picked(asked(project))) == posts

    @pytest.mark.parametrize("size", [1, 2, 7])
    def test_in_chunks_none_is_missed_or_met_twice(self, project, monkeypatch, size):
        posts = {settled(project, at=EPOCH).pk for _ in range(7)}  # all of one moment
        monkeypatch.setattr(targeting, "CHUNK", size)
        found = asked(project, 50)
        assert sorted(picked(found)) == sorted(posts)
        assert found.looked_at == found.total == 7

    def test_with_enough_audits_a_model_finds_and_announces(self, project):
        audited(project)
        for number in range(40):
            settled(project, 0.5 + number / 90)
        found = asked(project, 10)
        assert found.method.startswith("a model of 150 audits, ")
        assert found.low < found.expected < found.high <= 10
        assert found.expected > found.by_chance > 0
        assert set(picked(found)) == set(picked(asked(project, 10)))

    def test_replaced_voters_are_not_heard(self, project):
        post = settled(project, 0.9)
        vote = make_vote(post, "old", "bearish", confidence=0.1)
        assert vote.voter_id in targeting.votes_on([post.pk])[post.pk].ballots
        project.voters.filter(pk=vote.voter_id).update(retired=EPOCH)
        assert vote.voter_id not in targeting.votes_on([post.pk])[post.pk].ballots

    def test_what_is_known_of_a_post(self, project):
        label = make_label(project, "bullish")
        post = make_post(project, "to the moon", label="bullish")
        one = make_vote(post, "a", "bullish", confidence=0.8, incongruous=True)
        other = make_vote(post, "b", "bullish", text_reading="hope", image_reading="despair")
        make_vote(post, "c", "bearish", confidence=0.6)
        make_vote(post, "d")
        priors = {label.pk: 0.5, make_label(project, "bearish").pk: 0.5}
        weights = Weights(priors, {one.voter_id: {label.pk: {label.pk: 1}}})
        [known] = targeting.describe([targeting.Settled(post.pk, label.pk, False, 11)], weights)
        assert known.confidences == {one.voter_id: 0.8, other.voter_id: None}
        assert (known.dissent, known.incongruous, known.readings_differ) == (2, True, True)
        assert (known.has_image, known.length) == (False, 11)
        assert known.posterior > 0.99

    def test_delivered_twice_it_looks_once(self, project):
        settled(project)
        found = asked(project)
        Targeting.objects.filter(pk=found.pk).update(picked=[])
        targeting.search(found)
        tasks.find_riskiest(found.pk)
        found.refresh_from_db()
        assert found.picked == []

    def test_discarded_while_it_looks_it_stops(self, project, monkeypatch):
        settled(project)
        found = Targeting.objects.create(project=project, posts=3)
        learn = targeting.learn
        monkeypatch.setattr(targeting, "learn", lambda project: (targeting.discard(found), learn(project))[1])
        targeting.search(found)
        assert not Targeting.objects.exists()

    def test_broken_off_it_says_so(self, project, monkeypatch):
        found = Targeting.objects.create(project=project, posts=3)
        monkeypatch.setattr(targeting, "learn", lambda project: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            targeting.search(found)
        found.refresh_from_db()
        assert (found.state, found.error) == ("failed", "It broke off; ask for them again.")


class TestPutToPeople:
    def test_they_wait_in_the_queue_the_riskiest_first(self, project):
        posts = {sure: settled(project, sure) for sure in (0.9, 0.4, 0.7)}
        found, lead = asked(project, 2), make_member(project, Role.LEAD)
        assert targeting.put_to_people(found, lead) == 2
        waiting = Disagreement.objects.filter(targeting=found).order_by("rank")
        assert [one.post_id for one in waiting] == [posts[0.4].pk, posts[0.7].pk]
        assert {(one.why, one.stream, one.wanted) for one in waiting} == {("risk", Stream.RISK, 1)}
        assert Event.objects.get(project=project).data == {"posts": 2}
        who = seat(project)
        assert Disagreement.objects.get(pk=queue.claim(who)).post == posts[0.4]

    def test_as_often_twice_as_any_other_post(self, project):
        project.double_rate = 1
        project.save()
        settled(project)
        targeting.put_to_people(asked(project), make_member(project))
        assert Disagreement.objects.get().wanted == 2

    def test_confirmed_twice_they_wait_once(self, project):
        settled(project)
        found = asked(project)
        assert [targeting.put_to_people(found, READERS[0]) for _ in range(2)] == [1, 0]
        assert Disagreement.objects.count() == 1

    def test_what_changed_since_is_left_out(self, project):
        posts = [settled(project) for _ in range(4)]
        found = asked(project, 4)
        Post.objects.filter(pk=posts[0].pk).update(label_source="review")
        Post.objects.filter(pk=posts[1].pk).update(state="contested", label=None, label_source="")
        Disagreement.objects.create(project=project, post=posts[2], why=Why.AUDIT)
        assert targeting.put_to_people(found, READERS[0]) == 1
        assert Disagreement.objects.get(targeting=found).post == posts[3]

    def test_what_it_found_so_far(self, project):
        for sure in (0.4, 0.5, 0.6, 0.9):
            settled(project, sure)
        found = asked(project, 4)
        targeting.put_to_people(found, READERS[0])
        who = seat(project)
        answer(who, "bearish")
        answer(who, "bullish")
        answer(who, instead="not_ours")
        so_far = targeting.found_by([found])[found.pk]
        assert so_far[:4] == (4, 3, 1, 1)
        assert so_far.waiting == 1
        done = Disagreement.objects.filter(targeting=found).exclude(was_state="")
        assert so_far.expected == pytest.approx(sum(1 - one.rank for one in done))

    def test_a_wrong_label_found_is_put_right_and_never_found_again(self, project):
        post = settled(project, 0.4)
        targeting.put_to_people(asked(project), READERS[0])
        answer(seat(project), "bearish")
        post.refresh_from_db()
        assert (post.label.name, post.label_source) == ("bearish", "review")
        assert asked(project).picked == []


@pytest.fixture
def lead(client, project):
    client.force_login(make_member(project, Role.LEAD))
    return client


class TestPages:
    def test_asking_starts_the_search_in_the_background(self, lead, project):
        settled(project)
        answered = lead.post(f"/p/{project.slug}/quality/riskiest", {"posts": 3})
        found = Targeting.objects.get()
        assert answered.url == f"/p/{project.slug}/quality/riskiest/{found.pk}"
        assert OrmQ.objects.count() == 1
        assert "Waiting for a worker" in lead.get(answered.url).content.decode()
        tasks.find_riskiest(found.pk)
        page = lead.get(answered.url).content.decode()
        assert "Put this post to people" in page
        assert "cannot be said yet" in page

    @pytest.mark.parametrize("posts", ["", "0", "20001", "many"])
    def test_a_number_that_makes_no_sense_is_refused(self, lead, project, posts):
        settled(project)
        assert lead.post(f"/p/{project.slug}/quality/riskiest", {"posts": posts}).status_code == 422
        assert not Targeting.objects.exists()

    def test_confirm_and_see_what_was_found(self, lead, project):
        settled(project, 0.4)
        found = asked(project)
        page = lead.post(f"/p/{project.slug}/quality/riskiest/{found.pk}/ask", follow=True).content.decode()
        assert "1 post waits for people now." in page
        answer(seat(project), "bearish")
        page = lead.get(found.get_absolute_url()).content.decode()
        assert f"?targeting={found.pk}&amp;verdict=wrong" in page
        shown = lead.get(f"/p/{project.slug}/quality/decided?targeting={found.pk}&verdict=wrong")
        assert shown.context["count"].number == 1

    def test_what_people_look_at_cannot_be_discarded(self, lead, project):
        settled(project)
        found = asked(project)
        targeting.put_to_people(found, READERS[0])
        page = lead.post(f"/p/{project.slug}/quality/riskiest/{found.pk}/discard", follow=True).content.decode()
        assert "cannot be discarded" in page
        assert Targeting.objects.exists()

    def test_a_preview_can_be_discarded(self, lead, project):
        found = asked(project)
        lead.post(f"/p/{project.slug}/quality/riskiest/{found.pk}/discard")
        assert not Targeting.objects.exists()

    def test_another_projects_are_nobodys_business(self, lead, project):
        found = asked(make_project())
        for page in ("", "/ask", "/discard"):
            address = f"/p/{project.slug}/quality/riskiest/{found.pk}{page}"
            assert (lead.post(address) if page else lead.get(address)).status_code == 404
        found.refresh_from_db()
        assert found.state == "ready"

    def test_previews_that_nobody_confirmed_are_forgotten_in_time(self, project):
        old, kept = asked(project), asked(project)
        targeting.put_to_people(kept, READERS[0])
        Targeting.objects.update(created=EPOCH)
        targeting.ask(project, READERS[0], 5)
        assert not Targeting.objects.filter(pk=old.pk).exists()
        assert Targeting.objects.filter(pk=kept.pk).exists()
