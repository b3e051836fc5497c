"""Reviewing with two thumbs."""

import pytest
from playwright.sync_api import expect

from annotate.models import Disagreement, Label
from tests.make import make_member

from .reviewing import READ, contested, live, make_queue, picture, settled, start, text_of

WIDTH, HEIGHT = 390, 844


@pytest.fixture
def screen():
    return {"viewport": {"width": WIDTH, "height": HEIGHT}, "has_touch": True, "is_mobile": True}


@pytest.fixture
def project(live_server):
    project = make_queue(6, asks_incongruous=True)
    contested(project, "a post that has a lot to say " * 80, image=picture((1, 2, 3)))
    return project


@pytest.fixture
def page(page, login, project):
    login(page, make_member(project, username="rae"))
    start(page)
    return page


def tap(page, thing):
    page.wait_for_timeout(READ)
    thing.tap()


def swipe(page, by):
    """With one finger, as the browser's own input."""
    page.wait_for_timeout(READ)
    fingers = page.context.new_cdp_session(page)
    start, y = WIDTH / 2, 200
    fingers.send("Input.dispatchTouchEvent", {"type": "touchStart", "touchPoints": [{"x": start, "y": y}]})
    for step in range(1, 6):
        at = {"x": start + by * step / 5, "y": y}
        fingers.send("Input.dispatchTouchEvent", {"type": "touchMove", "touchPoints": [at]})
    fingers.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})


def fits(page):
    return page.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_every_label_is_under_the_thumbs_on_every_post(page, project):
    seen = set()
    while len(seen) < 6:
        seen.add(text_of(page))
        for name in ("bearish", "neutral", "bullish"):
            box = page.get_by_role("button", name=name).bounding_box()
            assert box["y"] > HEIGHT / 2
            assert box["y"] + box["height"] <= HEIGHT
            assert min(box["width"], box["height"]) >= 44
        assert fits(page)
        tap(page, page.get_by_role("button", name="bullish"))
        expect(page.locator("[data-text]")).not_to_have_text(list(seen)[-1] if len(seen) == 1 else "")
    settled(page, 6)


def test_the_picture_fills_the_width(page):
    while not page.locator("[data-stage] img").count():
        tap(page, page.get_by_role("button", name="bullish"))
        page.wait_for_timeout(100)
    assert page.locator("[data-stage] img").bounding_box()["width"] >= WIDTH - 2


def test_a_swipe_skips_and_undo_is_shown(page):
    text = text_of(page)
    swipe(page, -180)
    expect(page.locator("[data-text]")).not_to_have_text(text)
    expect(page.locator("[data-last-said]")).to_have_text("skipped")
    settled(page, 1)
    assert live().get().instead == "skip"
    undo = page.locator("[data-last]").get_by_role("button", name="Undo")
    expect(undo).to_be_in_viewport()
    undo.tap()
    expect(page.locator("[data-text]")).to_have_text(text)
    settled(page, 0)


def test_a_short_push_decides_nothing(page):
    text = text_of(page)
    swipe(page, 60)
    page.wait_for_timeout(200)
    assert text_of(page) == text
    assert not live().exists()


def test_every_tool_is_large_enough_for_a_finger(page):
    for tool in page.locator(".tools .tool:visible, .tools summary:visible").all():
        box = tool.bounding_box()
        assert min(box["width"], box["height"]) >= 44, tool.inner_text()


def test_note_flag_and_votes_by_finger(page):
    page.get_by_role("button", name="Show the votes").tap()
    expect(page.get_by_text("gpt has its reason")).to_be_visible()
    page.locator("summary", has_text="note").tap()
    page.get_by_label("Note").fill("on the bus")
    page.locator("summary", has_text="flag").tap()
    assert fits(page)
    tap(page, page.get_by_role("button", name="Cannot tell"))
    settled(page, 1)
    assert (live().get().instead, live().get().note) == ("cannot_tell", "on the bus")


def test_the_end_is_seen_at_once_and_the_last_answer_can_still_be_taken_back(page):
    Disagreement.objects.exclude(holder__isnull=False).delete()
    for _ in range(3):
        text = text_of(page)
        tap(page, page.get_by_role("button", name="bullish"))
    expect(page.get_by_role("heading", name="Nothing is left to review")).to_be_in_viewport()
    assert fits(page)
    tap(page, page.locator("[data-last]").get_by_role("button", name="Undo"))
    expect(page.locator("[data-text]")).to_have_text(text)
    settled(page, 2)


def test_many_labels_fit_too(page, project):
    Label.objects.bulk_create(Label(project=project, name=f"a breed with a long name {n}") for n in range(64))
    start(page)
    assert fits(page)
    page.get_by_label("Find a label").fill("name 63")
    tap(page, page.get_by_role("button", name="name 63"))
    settled(page, 1)
    assert live().get().label.name == "a breed with a long name 63"
