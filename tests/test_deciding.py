"""A person's answer, what follows from it, and how it is taken back."""

from datetime import timedelta

import pytest
from django.utils import timezone

from annotate import deciding, queue, settling
from annotate.deciding import Given
from annotate.models import Disagreement, Membership, Post, Review, Role, Tally, User
from annotate.models.review import Stream
from annotate.queue import Gone, Seat

from .make import make_label, make_member, make_post, make_project, make_user, make_vote
from .test_queue import contested, known, seat

pytestmark = pytest.mark.django_db
keys = iter(range(1_000_000))


@pytest.fixture(autouse=True)
def _counted_now(monkeypatch):
    monkeypatch.setattr(queue, "open_in", queue.count_open)


def say(who, pk, label="", key="", **given):
    chosen = make_label(who.project, label).pk if label else None
    return deciding.decide(who, pk, Given(label=chosen, **given), key or f"key {next(keys)}")


def answer(who, label="", **given):
    """Claims what comes next, and answers it."""
    pk = queue.claim(who)
    assert pk
    return say(who, pk, label, **given)


def now(post):
    post.refresh_from_db()
    return post.state, post.label.name if post.label else None, post.label_source


def agreed(project, label="bullish"):
    post = make_post(project)
    for voter in ("a", "b"):
        make_vote(post, voter, label)
    settling.settle(project, [post.pk])
    return post


def snapshot():
    """Every post as it stands, and the tallies beside them."""
    summed = {}
    for *cell, n in Tally.objects.values_list("state", "label_id", "label_source", "posts"):
        summed[tuple(cell)] = summed.get(tuple(cell), 0) + n
    fields = ("state", "label_id", "label_source", "incongruous")
    return list(Post.objects.order_by("pk").values_list("pk", *fields)), {k: n for k, n in summed.items() if n}


class TestOnePerson:
    def test_a_label_settles_the_post(self):
        project = make_project(double_rate=0)
        post = contested(project)
        review = answer(seat(project), "bearish", incongruous=True, note="look at the chart", seconds=4.2)
        assert now(post) == ("settled", "bearish", "review")
        assert post.incongruous is True
        stored = Disagreement.objects.get()
        assert stored.closed
        assert (stored.label.name, stored.was_state, stored.holder) == ("bearish", "contested", None)
        assert (review.note, review.seconds, review.saw) == ("look at the chart", 4.2, [])

    @pytest.mark.parametrize("flag", ["not_ours", "broken", "cannot_tell"])
    def test_a_flag_sets_the_post_aside(self, flag):
        project = make_project(double_rate=0)
        post = contested(project)
        answer(seat(project), instead=flag)
        assert now(post) == ("aside", None, "")
        assert Disagreement.objects.get().instead == flag

    def test_machines_never_overturn_a_person(self):
        project = make_project(double_rate=0, consensus="majority")
        labelled, aside = contested(project), contested(project)
        who = seat(project)
        say(who, queue.claim(who), "bearish")
        say(who, queue.claim(who), instead="broken")
        for post in (labelled, aside):
            make_vote(post, "voter 2", "bullish")
            settling.settle(project, [post.pk])
        assert {now(labelled), now(aside)} == {("settled", "bearish", "review"), ("aside", None, "")}

    def test_a_skipped_post_goes_to_others_and_not_to_the_same_person_again(self):
        project = make_project()
        post = contested(project)
        who = seat(project)
        answer(who, instead="skip", note="not my language")
        assert now(post)[0] == "contested"
        assert queue.claim(who) is None
        assert queue.claim(seat(project))

    def test_skipped_posts_can_be_taken_up_again(self):
        project = make_project()
        contested(project)
        who = seat(project)
        answer(who, instead="skip")
        assert queue.skipped_by(who) == 1
        assert queue.take_up_skipped(who) == 1
        assert queue.skipped_by(who) == 0
        assert queue.claim(who)

    def test_which_votes_were_seen_is_on_record_in_their_order(self):
        project = make_project(double_rate=0)
        contested(project)
        who = seat(project)
        pk = queue.claim(who)
        queue.show_votes(who, pk)
        voters = list(project.voters.values_list("pk", flat=True))
        assert say(who, pk, "bearish").saw == deciding.in_shuffled_order(who, pk, voters)

    def test_absurd_times_are_bounded(self):
        project = make_project(double_rate=0)
        for _ in range(2):
            contested(project)
        who = seat(project)
        assert answer(who, "bearish", seconds=-5.0).seconds == 0
        assert answer(who, "bearish", seconds=1e9).seconds == 3600


class TestTwice:
    def test_the_same_key_again_is_the_same_answer(self):
        project = make_project(double_rate=0)
        contested(project)
        who = seat(project)
        pk = queue.claim(who)
        first = say(who, pk, "bearish", key="once")
        assert say(who, pk, "bearish", key="once") == first
        assert say(who, pk, "bullish", key="once") == first
        assert Review.objects.count() == 1

    def test_with_another_key_it_is_refused(self):
        project = make_project(double_rate=1)
        contested(project)
        make_member(project)
        who = seat(project)
        pk = queue.claim(who)
        say(who, pk, "bearish")
        with pytest.raises(Gone, match="already answered"):
            say(who, pk, "bullish")
        assert Review.objects.count() == 1

    def test_another_person_may_use_the_same_key(self):
        project = make_project(double_rate=1)
        contested(project)
        first, second = seat(project), seat(project)
        answer(first, "bearish", key="1")
        answer(second, "bearish", key="1")
        assert Review.objects.count() == 2


class TestLate:
    def test_what_went_to_somebody_else_is_refused(self):
        project = make_project()
        contested(project)
        late = seat(project)
        pk = queue.claim(late)
        Disagreement.objects.update(held_until=timezone.now() - timedelta(seconds=1))
        queue.claim(seat(project))
        with pytest.raises(Gone, match="somebody else"):
            say(late, pk, "bearish")
        assert not Review.objects.exists()

    def test_what_lapsed_and_nobody_took_is_accepted(self):
        """Whoever was offline for an hour loses nothing."""
        project = make_project(double_rate=0)
        post = contested(project)
        late = seat(project)
        pk = queue.claim(late)
        Disagreement.objects.update(held_until=timezone.now() - timedelta(hours=1))
        say(late, pk, "bearish")
        assert now(post)[1] == "bearish"

    def test_what_was_decided_meanwhile_is_refused(self):
        project = make_project(double_rate=0)
        contested(project)
        late = seat(project)
        pk = queue.claim(late)
        Disagreement.objects.update(held_until=timezone.now() - timedelta(seconds=1))
        answer(seat(project), "bullish")
        with pytest.raises(Gone, match="decided while"):
            say(late, pk, "bearish")

    def test_what_was_never_claimed_is_refused(self):
        project = make_project()
        post = contested(project)
        with pytest.raises(Gone):
            say(seat(project), Disagreement.objects.get(post=post).pk, "bearish")

    def test_another_projects_post_is_not_there(self):
        project = make_project()
        post = contested(project)
        with pytest.raises(Gone, match="no longer in the project"):
            say(seat(make_project()), Disagreement.objects.get(post=post).pk, "bearish")


class TestTwoPeople:
    def test_a_share_of_posts_gets_two(self):
        project = make_project(double_rate=0.3)
        for _ in range(200):
            contested(project)
        double = Disagreement.objects.filter(wanted=2).count()
        assert 35 < double < 85

    def test_both_agree_and_it_stands(self):
        project = make_project(double_rate=1)
        post = contested(project)
        first, second = seat(project), seat(project)
        answer(first, "bearish")
        assert now(post)[0] == "contested"
        assert queue.claim(first) is None
        answer(second, "bearish")
        assert now(post) == ("settled", "bearish", "review")

    def test_where_they_differ_a_lead_settles_it(self):
        project = make_project(double_rate=1)
        post = contested(project)
        lead = seat(project, Role.LEAD)
        for who, label in ((seat(project), "bearish"), (seat(project), "bullish")):
            answer(who, label)
        stored = Disagreement.objects.get()
        assert stored.stream == Stream.CONFLICT
        assert now(post)[0] == "contested"
        word = answer(lead, "neutral")
        assert word.final
        assert now(post) == ("settled", "neutral", "review")

    def test_a_reviewer_cannot_settle_what_people_differ_on(self):
        project = make_project(double_rate=1)
        contested(project)
        third = seat(project)
        for who, label in ((seat(project), "bearish"), (seat(project), "bullish")):
            answer(who, label)
        assert queue.claim(third) is None
        with pytest.raises(Gone, match="a lead decides"):
            say(third, Disagreement.objects.get().pk, "bearish")

    def test_a_lead_who_is_a_party_is_asked_where_there_is_no_other(self):
        project = make_project(double_rate=1)
        post = contested(project)
        lead, other = seat(project, Role.LEAD), seat(project)
        answer(lead, "bearish")
        answer(other, "bullish")
        assert answer(lead, "bullish").final
        assert now(post)[1] == "bullish"

    def test_a_lead_who_is_a_party_leaves_it_to_the_other_lead(self):
        project = make_project(double_rate=1)
        contested(project)
        lead, other = seat(project, Role.LEAD), seat(project, Role.LEAD)
        answer(lead, "bearish")
        answer(seat(project), "bullish")
        assert queue.claim(lead) is None
        assert queue.claim(other)

    def test_nothing_waits_for_a_second_person_who_does_not_exist(self):
        project = make_project(double_rate=1)
        post = contested(project)
        answer(seat(project), "bearish")
        assert now(post) == ("settled", "bearish", "review")
        assert Disagreement.objects.get().answers == 1

    def test_an_admin_who_never_looks_at_posts_is_not_waited_for(self):
        project = make_project(double_rate=1)
        post = contested(project)
        make_member(project, Role.ADMIN)
        answer(seat(project), "bearish")
        assert now(post)[0] == "settled"

    def test_when_the_second_person_leaves_the_first_answer_stands(self):
        project = make_project(double_rate=1)
        post = contested(project)
        first, second = seat(project), seat(project)
        answer(first, "bearish")
        assert deciding.let_stand(project.pk) == 0
        Membership.objects.filter(user=second.user).delete()
        assert deciding.let_stand(project.pk) == 1
        assert now(post) == ("settled", "bearish", "review")

    def test_when_the_only_lead_leaves_the_next_one_may_decide_even_as_a_party(self):
        project = make_project(double_rate=1)
        contested(project)
        lead, first, second = seat(project, Role.LEAD), seat(project), seat(project)
        answer(first, "bearish")
        answer(second, "bullish")
        Membership.objects.filter(user=lead.user).delete()
        heir = Seat(project, first.user, Role.LEAD)
        assert queue.claim(heir) is None
        deciding.let_stand(project.pk)
        assert queue.claim(heir)

    def test_a_deactivated_colleague_is_not_waited_for(self):
        project = make_project(double_rate=1)
        post = contested(project)
        User.objects.filter(pk=make_member(project).pk).update(is_active=False)
        answer(seat(project), "bearish")
        assert now(post)[0] == "settled"


class TestAudits:
    def test_the_machines_label_is_kept_beside_what_people_found(self):
        project = make_project(audit_rate=1)
        post = agreed(project, "bullish")
        for who in (seat(project), seat(project)):
            answer(who, "bearish")
        audit = Disagreement.objects.get()
        assert (audit.why, audit.inclusion, audit.was_label.name, audit.was_source) == (
            "audit",
            1,
            "bullish",
            "consensus",
        )
        assert audit.label.name == "bearish"
        assert now(post) == ("settled", "bearish", "review")

    def test_an_audit_that_people_differ_on_stays_an_audit(self):
        project = make_project(audit_rate=1)
        agreed(project)
        for who, label in ((seat(project), "bearish"), (seat(project), "bullish")):
            answer(who, label)
        audit = Disagreement.objects.get()
        assert (audit.why, audit.stream) == ("audit", Stream.CONFLICT)

    def test_a_known_answer_is_compared_and_changes_nothing(self):
        project = make_project(check_rate=0.5)
        post = known(project)
        queue.plant_checks(project)
        check = Disagreement.objects.get()
        for who in (seat(project), seat(project)):
            Disagreement.objects.update(holder=who.user, tab=who.tab, held_until=timezone.now() + queue.LEASE)
            say(who, check.pk, "bearish")
        check.refresh_from_db()
        assert now(post) == ("settled", "bullish", "import")
        assert check.closed is None
        assert len(check.passed) == 2


class TestUndo:
    def test_the_last_decisions_go_back_one_by_one_with_all_they_changed(self):
        project = make_project(double_rate=0)
        for _ in range(3):
            contested(project)
        before = snapshot()
        who = seat(project)
        for label in ("bearish", "neutral"):
            answer(who, label)
        answer(who, instead="broken")
        backs = [deciding.undo(who) for _ in range(3)]
        assert [back.review.label and back.review.label.name for back in backs] == [None, "neutral", "bearish"]
        assert snapshot() == before
        assert queue.count_open(project) == {Stream.CONTESTED: 3}
        with pytest.raises(Gone, match="nothing to take back"):
            deciding.undo(who)

    def test_what_was_taken_back_is_on_the_screen_first(self):
        project = make_project(double_rate=0)
        for _ in range(4):
            contested(project)
        who = seat(project)
        held = queue.fill(who)
        say(who, held[0], "bearish")
        back = deciding.undo(who)
        assert back.held
        assert queue.held(who)[0] == held[0]
        say(who, held[0], "bullish")
        assert Review.objects.filter(undone=None).get().label.name == "bullish"

    def test_an_audit_goes_back_to_what_the_machines_said(self):
        project = make_project(audit_rate=1)
        post = agreed(project, "bullish")
        who = seat(project)
        answer(who, "bearish")
        deciding.undo(who)
        assert now(post) == ("settled", "bullish", "consensus")
        assert Disagreement.objects.get(closed=None).was_state == ""

    def test_of_two_answers_the_other_stays(self):
        project = make_project(double_rate=1)
        post = contested(project)
        first, second = seat(project), seat(project)
        answer(first, "bearish")
        answer(second, "bearish")
        deciding.undo(first)
        stored = Disagreement.objects.get()
        assert (stored.answers, stored.closed, stored.passed) == (1, None, [second.user.pk])
        assert now(post)[0] == "contested"
        say(first, stored.pk, "bearish")
        assert now(post)[0] == "settled"

    def test_a_difference_that_is_taken_back_is_no_longer_one(self):
        project = make_project(double_rate=1)
        contested(project)
        first, second = seat(project), seat(project)
        answer(first, "bearish")
        answer(second, "bullish")
        deciding.undo(second)
        assert Disagreement.objects.get().stream == Stream.CONTESTED

    def test_a_leads_word_taken_back_leaves_the_difference(self):
        project = make_project(double_rate=1)
        post = contested(project)
        lead = seat(project, Role.LEAD)
        for who, label in ((seat(project), "bearish"), (seat(project), "bullish")):
            answer(who, label)
        answer(lead, "neutral")
        assert deciding.undo(lead).held
        assert Disagreement.objects.get().stream == Stream.CONFLICT
        assert now(post)[0] == "contested"
        say(lead, Disagreement.objects.get().pk, "bullish")
        assert now(post)[1] == "bullish"

    def test_what_a_lead_has_settled_since_stays(self):
        project = make_project(double_rate=1)
        contested(project)
        lead, first = seat(project, Role.LEAD), seat(project)
        answer(first, "bearish")
        answer(seat(project), "bullish")
        answer(lead, "neutral")
        with pytest.raises(Gone, match="lead has decided"):
            deciding.undo(first)

    def test_a_skip_is_taken_back_too(self):
        project = make_project()
        contested(project)
        who = seat(project)
        pk = queue.claim(who)
        say(who, pk, instead="skip")
        assert deciding.undo(who).held
        assert queue.held(who) == [pk]

    def test_a_skip_of_what_others_settled_since_changes_nothing(self):
        project = make_project(double_rate=0)
        post = contested(project)
        who = seat(project)
        answer(who, instead="skip")
        answer(seat(project), "bearish")
        assert not deciding.undo(who).held
        assert now(post) == ("settled", "bearish", "review")

    def test_what_somebody_else_looks_at_now_is_not_taken_from_them(self):
        project = make_project(double_rate=1)
        contested(project)
        first, second = seat(project), seat(project)
        answer(first, "bearish")
        queue.claim(second)
        assert not deciding.undo(first).held
        assert Disagreement.objects.get().holder == second.user

    def test_a_label_given_since_by_hand_stays(self):
        project = make_project(double_rate=0)
        post = contested(project)
        who = seat(project)
        answer(who, "bearish")
        Post.objects.update(label=make_label(project, "neutral"))
        deciding.undo(who)
        assert now(post)[1] == "neutral"

    def test_nobody_takes_back_what_another_person_decided(self):
        project = make_project(double_rate=0)
        contested(project)
        answer(seat(project), "bearish")
        with pytest.raises(Gone):
            deciding.undo(seat(project))

    def test_a_site_admin_without_a_seat_in_the_project_may_review_and_undo(self):
        project = make_project(double_rate=1)
        post = contested(project)
        boss = make_user(is_superuser=True)
        who = Seat(project, boss, Role.ADMIN)
        answer(who, "bearish")
        assert now(post)[0] == "settled"
        assert deciding.undo(who).held
