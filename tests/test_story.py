"""What a post's page tells, to whom."""

from datetime import timedelta

import pytest
from django.utils import timezone

from annotate import deciding, queue, settling
from annotate.blindness import Reader
from annotate.deciding import Given
from annotate.models import Disagreement, Review, Role
from annotate.models.review import Stream
from annotate.queue import Seat
from annotate.story import flag_of, story_of

from .make import make_label, make_member, make_post, make_project, make_vote
from .test_queue import contested

pytestmark = pytest.mark.django_db
LEAD, STRANGER = Reader(Role.LEAD), Reader(Role.REVIEWER)


def told(post, reader=LEAD):
    post.refresh_from_db()
    return [(chapter.title, chapter.detail) for chapter in story_of(post, reader)]


def answer(post, name, label="", role=Role.REVIEWER, **given):
    """As if it had come up next for this person."""
    user = make_member(post.project, role, name)
    waiting = Disagreement.objects.get(post=post, closed=None)
    Disagreement.objects.filter(pk=waiting.pk).update(
        holder=user, tab="", held_until=timezone.now() + timedelta(minutes=1)
    )
    chosen = make_label(post.project, label).pk if label else None
    seat = Seat(post.project, user, role)
    review = deciding.decide(seat, waiting.pk, Given(label=chosen, **given), f"{name} {post.pk}")
    # The database's clock stands still within a test's one transaction.
    Review.objects.filter(pk=review.pk).update(at=timezone.now())
    Disagreement.objects.filter(pk=waiting.pk, closed__isnull=False).update(closed=timezone.now())
    return seat


def agreed(**fields):
    post = make_post(make_project(audit_rate=1), **fields)
    for voter in ("a", "b"):
        make_vote(post, voter, "bullish")
    settling.settle(post.project, [post.pk])
    return post


def test_who_said_what_and_what_came_of_it():
    post = contested(make_project(double_rate=0))
    answer(post, "kim", "bearish", note="the chart falls")
    assert told(post, STRANGER)[-3:] == [
        ("Contested", "Voters differ."), ("kim answered", ""), ("Settled by people", "bearish."),
    ]  # fmt: skip
    review = story_of(post, STRANGER)[-2].review
    assert (review.label.name, review.note) == ("bearish", "the chart falls")


def test_set_aside_and_why():
    post = contested(make_project(double_rate=0))
    answer(post, "kim", instead="broken")
    assert told(post)[-1] == ("Set aside by people", "Broken image.")
    assert flag_of(post) == "Broken image"


def test_what_was_taken_back_stays_in_the_story():
    post = contested(make_project(double_rate=0))
    seat = answer(post, "kim", "bearish")
    deciding.undo(seat)
    assert told(post)[-1] == ("kim answered", "")
    assert story_of(post, LEAD)[-1].review.undone
    assert flag_of(post) == ""


def test_an_open_audit_is_told_to_nobody_even_half_answered():
    post = agreed()
    make_member(post.project)
    seat = answer(post, "kim", "bearish")
    for reader in (LEAD, STRANGER, Reader(Role.REVIEWER, seat.user)):
        assert [title for title, _ in told(post, reader)] == ["Imported", "Voted on", "Voted on", "Settled"]


def test_a_closed_audit_says_what_it_found():
    post = agreed()
    make_member(post.project)
    answer(post, "kim", "bearish")
    answer(post, "lee", "bearish")
    titles = [title for title, _ in told(post, STRANGER)]
    assert titles[-5:] == ["Settled", "Audited", "kim answered", "lee answered", "Settled by people"]
    assert told(post)[-1][1] == "bearish, and not bullish as it was."


def test_while_it_is_open_reviewers_are_not_told_what_others_said():
    post = contested(make_project(double_rate=1))
    make_member(post.project)
    seat = answer(post, "kim", "bearish")
    assert "kim answered" not in dict(told(post, STRANGER))
    assert "kim answered" in dict(told(post, LEAD))
    assert "kim answered" in dict(told(post, Reader(Role.REVIEWER, seat.user)))


def test_a_leads_word_ends_it():
    post = contested(make_project(double_rate=1))
    for name, label in (("kim", "bearish"), ("lee", "bullish")):
        make_member(post.project, Role.LEAD)
        answer(post, name, label)
    assert Disagreement.objects.get(post=post).stream == Stream.CONFLICT
    answer(post, "ada", "bullish", Role.LEAD)
    assert [title for title, _ in told(post, STRANGER)][-2:] == ["ada decided, as a lead", "Settled by people"]


def test_known_answers_are_told_to_leads_alone():
    project = make_project(check_rate=0.5)
    post = make_post(project, label="bullish", label_source="import", holdout=True, vote_count=2)
    queue.plant_checks(project)
    seat = answer(post, "kim", "bearish")
    assert [title for title, _ in told(post)] == ["Imported", "Slipped in as a check", "kim answered"]
    for reader in (STRANGER, Reader(Role.REVIEWER, seat.user)):
        assert [title for title, _ in told(post, reader)] == ["Imported"]
        assert "bullish" not in str(told(post, reader))


def test_a_page_tells_it(client):
    post = contested(make_project(double_rate=0))
    seat = answer(post, "kim", "bearish", note="the chart <falls>", seconds=2.4)
    client.force_login(seat.user)
    page = client.get(post.get_absolute_url()).content.decode()
    assert "the chart &lt;falls&gt;" in page
    assert "without seeing votes, in 2.4 s" in page
    deciding.undo(seat)
    answer(post, "lee", instead="not_ours")
    page = client.get(post.get_absolute_url()).content.decode()
    assert "Taken back" in page
    assert '<span class="chip aside">set aside</span>' in page
    assert "Not for this project" in page
