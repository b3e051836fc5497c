"""Labels that a model doubts: who is asked, what follows from the answer, and what none of it may touch."""

import json
from datetime import timedelta

import pytest
from django.core.cache import cache
from django.test import Client
from django.utils import timezone

from annotate import card, decided, deciding, doubting, judged, quality, queue, settling, targeting
from annotate.agreement import Share
from annotate.blindness import OVERSEER, Reader
from annotate.models import ApiToken, Disagreement, Event, Membership, Post, Role
from annotate.models.review import Stream, Why
from annotate.queue import Gone
from annotate.story import story_of

from .freezing import freeze
from .make import make_post, make_project, make_vote
from .test_deciding import agreed, answer, now, say, snapshot
from .test_queue import contested, known, seat

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _counted_now(monkeypatch):
    cache.clear()
    monkeypatch.setattr(queue, "open_in", queue.count_open)


@pytest.fixture
def project():
    return make_project("Memes", double_rate=0, audit_rate=0, check_rate=0)


@pytest.fixture
def lead(project):
    return seat(project, Role.LEAD)


def doubted(lead, *posts, chance=0.9):
    return doubting.doubt(lead.project, lead.user, dict.fromkeys([post.pk for post in posts], chance))


def waiting(post):
    return Disagreement.objects.get(post=post, closed=None)


def labelled(project, label="bullish", source="review", **fields):
    post = make_post(project, label=label, label_source=source, **fields)
    make_vote(post, "a", label)
    return post


class TestWhatIsAsked:
    @pytest.mark.parametrize("source", ["consensus", "model", "review", "import"])
    @pytest.mark.parametrize("holdout", [False, True])
    def test_any_settled_label_of_any_post(self, project, lead, source, holdout):
        post = make_post(project, label="bullish", label_source=source, holdout=holdout)
        assert doubted(lead, post, chance=0.75) == 1
        asked = waiting(post)
        assert (asked.why, asked.stream, asked.rank) == (Why.DOUBT, Stream.RISK, 0.25)
        assert asked.wanted == (2 if source in {"review", "import"} else 1)

    def test_what_has_no_label_waits_already_or_is_another_projects_is_left_out(self, project, lead):
        audit = agreed(project)
        Disagreement.objects.create(project=project, post=audit, why=Why.AUDIT, stream=Stream.AUDIT)
        elsewhere = make_post(make_project(), label="bullish")
        aside = make_post(project, state="aside")
        posts = [make_post(project), contested(project), audit, elsewhere, aside]
        assert doubted(lead, *posts) == 0
        assert not Disagreement.objects.filter(why=Why.DOUBT).exists()
        assert not Event.objects.filter(verb="labels doubted").exists()

    def test_twice_is_once_and_it_is_on_record_who_doubted(self, project, lead):
        post, other = agreed(project), agreed(project)
        assert doubted(lead, post) == 1
        assert doubted(lead, post, other) == 1
        events = Event.objects.filter(verb="labels doubted", user=lead.user, project=project)
        assert [event.data for event in events] == [{"posts": 1}, {"posts": 1}]

    def test_the_likeliest_to_be_wrong_come_first(self, project, lead):
        posts = {chance: agreed(project) for chance in (0.5, 0.9, 0.7)}
        doubting.doubt(project, lead.user, {post.pk: chance for chance, post in posts.items()})
        who = seat(project)
        order = [Disagreement.objects.get(pk=queue.claim(who)).post for _ in posts]
        assert order == [posts[0.9], posts[0.7], posts[0.5]]

    def test_a_share_is_read_twice_as_of_any_other(self, project, lead):
        project.double_rate = 1
        post = agreed(project)
        doubted(lead, post)
        assert waiting(post).wanted == 2


class TestWhoIsAsked:
    def test_neither_who_doubts_nor_who_gave_the_label(self, project, lead):
        post = contested(project)
        first = seat(project)
        answer(first, "bullish")
        second, third = seat(project), seat(project)
        doubted(lead, post)
        assert queue.claim(first) is None
        assert queue.claim(lead) is None
        assert queue.claim(second)
        assert queue.claim(third) is None  # it is on the second's screen

    def test_where_there_are_too_few_others_everybody_is(self, project, lead):
        post = contested(project)
        first = seat(project)
        answer(first, "bullish")
        doubted(lead, post)
        answer(first, "bullish")
        answer(lead, "bullish")
        assert now(post) == ("settled", "bullish", "review")
        assert Disagreement.objects.get(why=Why.DOUBT).closed

    def test_who_was_kept_out_stays_out_when_an_answer_is_taken_back(self, project, lead):
        post = contested(project)
        first, second, third = seat(project), seat(project), seat(project)
        answer(first, "bullish")
        doubted(lead, post)
        answer(second, "bearish")
        deciding.undo(second)
        assert set(waiting(post).passed) == {first.user.pk, lead.user.pk}
        assert queue.claim(first) is None
        assert queue.held(second)
        assert queue.claim(third) is None

    def test_from_the_command_line_nobody_in_particular_is_kept_out(self, project, lead):
        post = agreed(project)
        assert doubting.doubt(project, None, {post.pk: 0.8}) == 1
        assert queue.claim(lead)


class TestBlind:
    def test_votes_are_hidden_even_where_they_are_shown_from_the_start(self, project, lead):
        project.votes_shown = "start"
        project.save()
        who = seat(project)
        doubtful, risky = agreed(project), agreed(project)
        doubted(lead, doubtful)
        (shown,) = card.cards(who, [queue.claim(who)])
        assert shown["votes"] is None
        Disagreement.objects.create(project=project, post=risky, why=Why.RISK, stream=Stream.RISK)
        (shown,) = card.cards(who, [queue.claim(who)])
        assert shown["votes"] is not None

    def test_its_card_tells_no_more_than_any_other(self, project, lead):
        who = seat(project)
        doubted(lead, agreed(project))
        (doubt,) = card.cards(who, [queue.claim(who)])
        Disagreement.objects.create(project=project, post=make_post(project), why=Why.SPLIT)
        (other,) = card.cards(who, [queue.claim(who)])
        same = ("text", "image", "votes", "answers", "was")
        assert {name: doubt[name] for name in same} == {name: other[name] for name in same}

    def test_nobody_reads_of_it_while_it_is_open_and_everybody_afterwards(self, project, lead):
        post, who = agreed(project), seat(project)
        doubted(lead, post)
        for reader in (Reader(Role.REVIEWER, who.user), Reader(Role.LEAD, lead.user), OVERSEER):
            assert "Looked at again" not in [chapter.title for chapter in story_of(post, reader)]
        answer(who, "bearish")
        post.refresh_from_db()
        told = [(chapter.title, chapter.detail) for chapter in story_of(post, Reader(Role.REVIEWER, who.user))]
        assert ("Settled", "The voters agree on bullish.") in told
        assert ("Looked at again", "A model that had not seen its label would have given another.") in told
        assert ("Settled by people", "bearish, and not bullish as it was.") in told


class TestWhatFollows:
    def test_a_machines_label_is_decided_by_one(self, project, lead):
        post = agreed(project)
        doubted(lead, post)
        answer(seat(project), "bearish")
        assert now(post) == ("settled", "bearish", "review")
        assert targeting.found_by([]) == {}

    @pytest.mark.parametrize("source", ["review", "import"])
    def test_a_label_of_people_takes_two_who_agree(self, project, lead, source):
        post = labelled(project, source=source)
        doubted(lead, post)
        one, other = seat(project), seat(project)
        answer(one, "bearish")
        assert now(post) == ("settled", "bullish", source)
        answer(other, "bearish")
        assert now(post) == ("settled", "bearish", "review")

    def test_where_they_differ_a_lead_settles_it(self, project, lead):
        post = labelled(project)
        doubting.doubt(project, None, {post.pk: 0.9})
        answer(seat(project), "bearish")
        answer(seat(project), "bullish")
        assert now(post) == ("settled", "bullish", "review")
        assert waiting(post).stream == Stream.CONFLICT
        answer(lead, "bullish")
        assert Disagreement.objects.get(post=post).closed
        assert now(post) == ("settled", "bullish", "review")

    def test_machines_do_not_overturn_what_people_are_asked_of(self, project, lead):
        post = labelled(project)
        doubted(lead, post)
        for voter in ("a", "b"):
            post.votes.filter(voter__name=voter).delete()
            make_vote(post, voter, "bearish")
        settling.settle(project, [post.pk])
        assert now(post) == ("settled", "bullish", "review")
        assert waiting(post).why == Why.DOUBT

    def test_a_frozen_dataset_never_changes(self, project, lead):
        post = agreed(project)
        frozen = freeze(project)
        before = (frozen.content_hash, list(frozen.items.values_list("label", "label_source")))
        doubted(lead, post)
        answer(seat(project), "bearish")
        frozen.refresh_from_db()
        assert (frozen.content_hash, list(frozen.items.values_list("label", "label_source"))) == before

    def test_reviews_of_a_next_dataset_say_why(self, project, lead):
        post = agreed(project)
        doubted(lead, post)
        answer(seat(project), "bearish")
        assert freeze(project, "v2").items.get(post=post).reviews[0]["why"] == "doubt"


class TestUndo:
    @pytest.mark.parametrize("source", ["consensus", "review", "import"])
    @pytest.mark.parametrize("holdout", [False, True])
    def test_everything_goes_back(self, project, lead, source, holdout):
        post = labelled(project, source=source, holdout=holdout, incongruous=True)
        before = snapshot()
        doubted(lead, post)
        people = [seat(project), seat(project)]
        for who in people[: waiting(post).wanted]:
            answer(who, "bearish", incongruous=False)
        assert now(post) == ("settled", "bearish", "review")
        last = people[0] if source == "consensus" else people[1]
        deciding.undo(last)
        assert snapshot() == before
        assert waiting(post).why == Why.DOUBT
        assert waiting(post).stream == Stream.RISK

    def test_what_was_decided_anew_since_stays(self, project, lead):
        post = contested(project)
        first = seat(project)
        answer(first, "bullish")
        doubted(lead, post)
        with pytest.raises(Gone, match="looked at anew"):
            deciding.undo(first)
        for _ in range(2):
            answer(seat(project), "bullish")
        with pytest.raises(Gone, match="decided anew"):
            deciding.undo(first)
        assert now(post) == ("settled", "bullish", "review")


class TestLockedTestSet:
    @pytest.fixture
    def checked(self, project):
        project.check_rate = 0.5
        project.save()
        post = known(project)
        queue.plant_checks(project)
        return post

    def test_a_check_gives_way_and_the_post_stays_in_it(self, project, lead, checked):
        assert doubted(lead, checked) == 1
        assert waiting(checked).why == Why.DOUBT
        for _ in range(2):
            answer(seat(project), "bearish")
        assert now(checked) == ("settled", "bearish", "review")
        assert checked.holdout

    def test_what_is_on_a_screen_as_a_check_is_left_alone(self, project, lead, checked):
        held = Disagreement.objects.filter(post=checked, closed=None)
        held.update(holder=lead.user, held_until=timezone.now() + timedelta(minutes=1))
        assert doubted(lead, checked) == 0
        assert waiting(checked).why == Why.CHECK

    def test_afterwards_it_is_a_check_again_for_whoever_has_not_met_it(self, project, lead, checked):
        met = seat(project)
        say_check(met, checked, "bearish")
        doubted(lead, checked)
        doubters = [seat(project), seat(project)]
        for who in doubters:
            answer(who, "bearish")
        assert queue.plant_checks(project) == 1
        assert set(waiting(checked).passed) == {met.user.pk, *(who.user.pk for who in doubters)}

    def test_answers_to_the_check_are_held_against_the_label_as_it_is_now(self, project, lead, checked, monkeypatch):
        monkeypatch.setattr(quality, "ENOUGH_CHECKS", 1)
        say_check(seat(project), checked, "bearish")
        assert quality.checks(project) == Share(0, 1)
        doubted(lead, checked)
        for _ in range(2):
            answer(seat(project), "bearish")
        assert quality.checks(project) == Share(1, 1)

    def test_an_answer_is_taken_back_although_the_check_was_planted_again(self, project, lead, checked):
        doubted(lead, checked)
        one, other = seat(project), seat(project)
        answer(one, "bearish")
        answer(other, "bearish")
        queue.plant_checks(project)
        deciding.undo(other)
        assert now(checked) == ("settled", "bullish", "import")
        assert waiting(checked).why == Why.DOUBT


def say_check(who, post, label):
    """As if it had been slipped in."""
    pk = waiting(post).pk
    Disagreement.objects.filter(pk=pk).update(holder=who.user, tab=who.tab, held_until=timezone.now())
    say(who, pk, label)


class TestFigures:
    def test_no_doubt_counts_as_an_audit_or_tells_of_a_voter(self, project, lead):
        for _ in range(3):
            agreed(project)
        post = agreed(project)
        before = quality.read(project)
        doubted(lead, post)
        answer(seat(project), "bearish")
        after = quality.read(project)
        assert quality.audits(project) == []
        assert (after.quality, after.closed, after.waiting) == (before.quality, 0, 0)
        assert after.settled == before.settled == 4
        assert (after.corrected(), after.corrected(why=Why.DOUBT)) == (1, 1)
        assert judged.read(project).posts == 0

    def test_an_audit_reads_the_same_after_its_post_was_doubted(self, project, lead):
        project.audit_rate = 1
        project.save()
        agreed(project)
        for _ in range(2):
            answer(seat(project), "bullish")
        before = quality.audits(project)
        post = Post.objects.get()
        doubted(lead, post)
        for _ in range(2):
            answer(seat(project), "bearish")
        assert now(post) == ("settled", "bearish", "review")
        assert quality.audits(project) == before
        assert quality.read(project).count(outcome="changed") == 1
        assert quality.read(project).corrected() == 0

    def test_what_people_made_of_peoples_labels_is_a_list_of_its_own(self, project, lead):
        kept, changed, machines = labelled(project), labelled(project, source="import"), agreed(project)
        for post in (kept, changed, machines):
            doubting.doubt(project, None, {post.pk: 0.9})
        for post in (kept, changed):
            for _ in range(2):
                who = seat(project)
                Disagreement.objects.filter(post=post, closed=None).update(holder=who.user, tab=who.tab)
                say(who, waiting(post).pk, "bullish" if post == kept else "bearish")
        answer(seat(project), "bearish")

        def listed(**filters):
            found, mend = decided.matching(project, decided.Filters(**filters))
            assert not mend
            return [one.post for one in found.order_by("pk")]

        assert listed(why="doubt") == [kept, changed, machines]
        assert listed(verdict="kept") == [kept]
        assert listed(verdict="changed") == [changed]
        assert listed(verdict="wrong") == [machines]
        assert listed(verdict="new") == []


class TestOverTheApi:
    @pytest.fixture
    def program(self, lead):
        _, secret = ApiToken.issue(lead.user, "program")
        return Client(headers={"Authorization": f"Bearer {secret}"})

    def sent(self, program, project, *posts):
        body = {"posts": [{"id": name, "chance": chance} for name, chance in posts]}
        return program.post(f"/api/projects/{project.slug}/doubts", json.dumps(body), content_type="application/json")

    def test_it_tells_what_became_of_each(self, project, program):
        post, bare = agreed(project), make_post(project)
        told = self.sent(program, project, (post.external_id, 0.9), (bare.external_id, 0.9), ("nowhere", 0.5))
        assert told.status_code == 200
        assert told.json() == {"opened": 1, "left_out": 1, "unknown": ["nowhere"]}
        assert waiting(post).rank == pytest.approx(0.1)

    @pytest.mark.parametrize("chance", [-0.1, 1.1, None, "often"])
    def test_a_chance_is_between_0_and_1(self, project, program, chance):
        assert self.sent(program, project, (agreed(project).external_id, chance)).status_code == 422

    def test_an_empty_list_is_refused(self, project, program):
        assert self.sent(program, project).status_code == 422

    def test_reviewers_may_not(self, project, lead, program):
        Membership.objects.filter(user=lead.user).update(role=Role.REVIEWER)
        assert self.sent(program, project, (agreed(project).external_id, 0.9)).status_code == 403
        assert not Disagreement.objects.exists()
