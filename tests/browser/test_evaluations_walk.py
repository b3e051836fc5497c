"""A lead's question, is it better: asked, watched, measured, its mistakes looked at, a label sent to people."""

from threading import Thread

import pytest
from django.db import connections
from playwright.sync_api import expect

from annotate.models import Disagreement, Role
from modeling import tasks
from modeling.models import Evaluation, JobState
from tests.make import make_member
from tests.test_evaluating import evaluate, frozen, make_known


@pytest.fixture
def dataset(live_server, settings, tmp_path):
    settings.VAR_DIR = tmp_path
    return frozen(make_known())


@pytest.fixture
def page(page, login, dataset):
    login(page, make_member(dataset.project, Role.ADMIN, "ada"))
    page.goto(f"/p/{dataset.project.slug}/evaluations")
    return page


def work() -> None:
    """In a thread of its own, as a worker would be in a process of its own."""

    def carry_out() -> None:
        for pk in Evaluation.objects.filter(state=JobState.QUEUED).order_by("pk").values_list("pk", flat=True):
            tasks.evaluate(pk)
        connections.close_all()

    worker = Thread(target=carry_out)
    worker.start()
    worker.join()


def test_from_a_question_to_an_answer(page):
    page.get_by_role("link", name="Ask the first").click()
    expect(page.get_by_label("Always the commonest label")).to_be_checked()
    expect(page.get_by_label("Words alone, cross-validated on these posts")).to_be_checked()
    page.get_by_label("Consensus of the voters").uncheck()
    page.get_by_role("button", name="Ask them").click()
    expect(page.get_by_text("2 are asked, one after the other.")).to_be_visible()
    expect(page.get_by_role("button", name="Stop")).to_have_count(2)
    work()
    expect(page.get_by_role("heading", name="Locked test set of v1, 30 posts")).to_be_visible()  # without reloading
    expect(page.get_by_text("worse by")).to_be_visible()
    page.get_by_role("link", name="Words alone, cross-validated on these posts").click()
    expect(page.get_by_text("5 x 3 stratified folds")).to_be_visible()
    expect(page.get_by_text("better by")).to_be_visible()
    page.get_by_role("link", name="10 posts: bearish, said bearish").click()
    expect(page.get_by_role("heading", name="Posts 10 match")).to_be_visible()


def test_it_is_watched_and_stopped_on_its_page(page):
    page.get_by_role("link", name="Ask the first").click()
    for name in ("Always the commonest label", "Consensus of the voters"):
        page.get_by_label(name).uncheck()
    page.get_by_role("button", name="Ask them").click()
    expect(page.get_by_role("heading", name="Waiting")).to_be_visible()
    page.get_by_role("button", name="Stop").click()
    expect(page.get_by_role("heading", name="Stopped")).to_be_visible()
    page.get_by_role("button", name="Resume").click()
    expect(page.get_by_role("heading", name="Waiting")).to_be_visible()
    work()
    expect(page.get_by_role("heading", name="By label")).to_be_visible()  # by itself


def test_by_keyboard_alone(page, dataset):
    """From the leaderboard to the surest mistakes, and a wrong-looking label to review."""
    evaluate(dataset, "majority")
    page.reload()
    page.get_by_role("link", name="Always the commonest label").press("Enter")
    page.get_by_role("link", name="Surest mistakes").press("Enter")
    expect(page.get_by_role("heading", name="Surest mistakes 20 match")).to_be_visible()
    page.wait_for_load_state()  # keys are heard once the page's scripts have run
    page.keyboard.press("?")
    expect(page.get_by_role("dialog")).to_be_visible()
    page.keyboard.press("Escape")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowRight")
    second = page.get_by_role("listitem").and_(page.locator("[data-gallery] > li")).nth(1)
    expect(second).to_be_focused()
    page.keyboard.press("d")
    expect(second.get_by_text("Waits for review")).to_be_visible()
    expect(second).to_be_focused()
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("d")
    expect(page.get_by_text("Waits for review")).to_have_count(2)
    assert Disagreement.objects.filter(why="doubt").count() == 2
    page.keyboard.press("Enter")
    page.wait_for_url("**/posts/*")


def test_two_are_compared(page, dataset):
    evaluate(dataset, "majority")
    evaluate(dataset, "gpt")
    page.reload()
    page.get_by_role("link", name="Compare two").click()
    expect(page.get_by_text("gpt is better than Always the commonest label by")).to_be_visible()
    page.get_by_role("link", name="20", exact=True).click()
    expect(page.get_by_role("row")).to_have_count(4 + 3 + 21)
