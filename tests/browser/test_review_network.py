"""The network drops, the server is away, the session ends: every answer arrives, and each of them once."""

import json
from datetime import timedelta

import pytest
from django.contrib.sessions.models import Session
from django.utils import timezone
from playwright.sync_api import expect

from annotate.models import Disagreement, Post, Review, Role
from tests.make import make_member

from .reviewing import decide, live, make_queue, press, ready, settled, start, text_of


@pytest.fixture
def project(live_server):
    return make_queue(9)


@pytest.fixture
def rae(project):
    return make_member(project, Role.REVIEWER, "rae")


@pytest.fixture
def page(page, login, rae, complaints):
    login(page, rae)
    start(page)
    yield page
    complaints.clear()  # the browser itself reports what it could not reach


def quiet(page):
    return page.locator("[data-quiet]")


def test_without_a_network_it_goes_on_with_the_posts_at_hand_and_sends_each_answer_once(page, context):
    context.set_offline(True)
    decided = [decide(page, "1"), decide(page, "3")]
    expect(quiet(page)).to_have_text("2 answers wait for the network.")
    last = text_of(page)
    press(page, "2")
    expect(page.locator("[data-waiting]")).to_be_visible()
    expect(quiet(page)).to_have_text("3 answers wait for the network. So does the next post.")
    assert not Review.objects.exists()
    context.set_offline(False)
    settled(page, 3)
    expect(quiet(page)).to_be_hidden()
    expect(page.locator("[data-text]")).to_be_visible()
    assert [review.disagreement.post.text for review in live().order_by("pk")] == [*decided, last]
    assert [review.label.name for review in live().order_by("pk")] == ["bearish", "bullish", "neutral"]
    decide(page, "1")
    settled(page, 4)


def test_an_answer_whose_reply_is_lost_counts_once(page):
    heard = []

    def lose_the_reply(route):
        heard.append(route.fetch().status)
        route.abort() if len(heard) == 1 else route.continue_()

    page.route("**/review/decide", lose_the_reply)
    text = decide(page, "3")
    expect(quiet(page)).to_have_text("1 answer waits for the network.")
    expect(quiet(page)).to_be_hidden()
    assert heard[0] == 200
    assert len(heard) >= 2
    assert Review.objects.get().disagreement.post.text == text
    decide(page, "1")
    decide(page, "1")
    settled(page, 3)


def test_a_server_that_fails_is_asked_again(page):
    page.route("**/review/decide", lambda route: route.fulfill(status=502, body="Bad gateway"))
    decide(page, "1")
    decide(page, "2")
    expect(quiet(page)).to_have_text("2 answers wait for the network.")
    page.unroute_all()
    settled(page, 2)


def test_a_reload_sends_what_was_not_sent(page):
    page.route("**/review/decide", lambda route: route.abort())
    texts = [decide(page, "1"), decide(page, "3")]
    expect(quiet(page)).to_have_text("2 answers wait for the network.")
    page.unroute_all()
    start(page)
    settled(page, 2)
    expect(page.locator("[data-text]")).to_be_visible()
    assert text_of(page) not in texts
    assert {review.disagreement.post.text for review in live()} == set(texts)


def test_what_a_closed_tab_left_unsent_the_next_one_sends(page, context, open_page):
    other = open_page(context)
    start(other)
    other.route("**/review/decide", lambda route: route.abort())
    text = decide(other, "3")
    expect(quiet(other)).to_have_text("1 answer waits for the network.")
    other.close()
    start(page)
    settled(page, 1)
    assert live().get().disagreement.post.text == text


def test_an_answer_is_taken_back_before_and_after_it_could_have_arrived(page, context):
    context.set_offline(True)
    texts = [decide(page, "1"), decide(page, "1")]
    for text in reversed(texts):
        page.keyboard.press("u")
        expect(page.locator("[data-text]")).to_have_text(text)
        expect(page.get_by_text("You said bearish. Taken back.")).to_be_visible()
    decide(page, "3")
    context.set_offline(False)
    for _ in range(50):
        if page.evaluate("localStorage.length") == 0:
            break
        page.wait_for_timeout(100)
    assert live().get().label.name == "bullish"
    assert live().get().disagreement.post.text == texts[0]
    assert Post.objects.filter(state="settled").count() == 1


def test_logged_out_nothing_is_lost(page, context, login, rae):
    Session.objects.all().delete()
    text = decide(page, "3")
    expect(quiet(page)).to_contain_text("1 answer waits")
    expect(quiet(page).get_by_role("link", name="log in again in another tab")).to_be_visible()
    login(page, rae)
    page.evaluate("dispatchEvent(new Event('online'))")
    settled(page, 1)
    expect(quiet(page)).to_be_hidden()
    assert live().get().disagreement.post.text == text


def test_answers_are_not_sent_in_the_name_of_whoever_logs_in_next(page, project, login):
    page.route("**/review/decide", lambda route: route.abort())
    decide(page, "3")
    expect(quiet(page)).to_have_text("1 answer waits for the network.")
    login(page, make_member(project, username="kim"))
    page.unroute_all()
    page.evaluate("dispatchEvent(new Event('online'))")
    expect(quiet(page)).to_contain_text("You are logged in as kim by now.")
    start(page)
    page.wait_for_timeout(500)
    assert not Review.objects.exists()


def test_a_refused_answer_stays_on_the_screen_until_it_is_dismissed(page, project):
    text = text_of(page)
    Disagreement.objects.filter(post__text=text).update(holder=make_member(project))
    page.keyboard.press("n")
    page.keyboard.type("my <b>dear</b> note")
    page.keyboard.press("Escape")
    decide(page, "3")
    for _ in range(2):
        told = page.locator(".refused")
        for words in ("given to somebody else", text, "You had said: bullish.", "my <b>dear</b> note"):
            expect(told).to_contain_text(words)
        start(page)
    page.get_by_role("button", name="Dismiss").click()
    expect(page.locator(".refused")).to_have_count(0)
    start(page)
    expect(page.locator(".refused")).to_have_count(0)
    assert not Review.objects.exists()


def test_a_post_that_went_to_somebody_else_leaves_the_screen_and_its_note_stays(page, project):
    text = text_of(page)
    page.keyboard.press("n")
    page.keyboard.type("half a thought")
    Disagreement.objects.filter(post__text=text).update(holder=make_member(project))
    page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
    expect(page.locator("[data-text]")).not_to_have_text(text)
    expect(page.locator(".refused")).to_contain_text("went to somebody else while you were away")
    expect(page.locator(".refused")).to_contain_text("half a thought")


def test_on_leaving_the_posts_are_free_again_in_a_moment(page):
    page.goto("/p/memes/posts")
    for _ in range(50):
        if not Disagreement.objects.filter(held_until__gt=soon()).exists():
            break
        page.wait_for_timeout(100)
    assert Disagreement.objects.filter(holder__isnull=False).count() == 3
    assert not Disagreement.objects.filter(held_until__gt=soon()).exists()


def soon():
    return timezone.now() + timedelta(seconds=30)


def test_a_new_post_comes_to_an_empty_screen_by_itself(page, project):
    held = list(Disagreement.objects.filter(holder__isnull=False).values_list("pk", flat=True))
    Disagreement.objects.exclude(pk__in=held).update(held_until=soon())
    for key in "12":
        decide(page, key)
    press(page, "3")
    expect(page.get_by_role("heading", name="Nothing is left for you")).to_be_visible()
    Disagreement.objects.filter(closed=None).update(held_until=None)
    page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
    expect(page.locator("[data-text]")).to_be_visible()
    expect(page.get_by_role("heading", name="Nothing is left")).to_be_hidden()
    decide(page, "1")
    settled(page, 4)


def test_a_removed_reviewer_is_told_and_the_answers_stay_in_the_browser(page, project, rae):
    project.memberships.filter(user=rae).delete()
    decide(page, "1")
    expect(quiet(page)).to_contain_text("You can no longer review in this project.")
    assert json.loads(page.evaluate("JSON.stringify(Object.keys(localStorage).length)")) == 1
    project.memberships.create(user=rae, role="reviewer")
    start(page)
    ready(page)
    settled(page, 1)
