"""A lead tries a trained model: a text, a picture, and the answers as they come."""

import sys
import textwrap
from threading import Thread

import pytest
from django.db import connections
from playwright.sync_api import expect

from annotate.models import Role
from modeling import tasks
from modeling.answering import serving, speaker
from modeling.models import Question
from tests.make import make_member
from tests.test_answering import SPEAKER, make_done, picture
from tests.test_evaluating import frozen, make_known


@pytest.fixture
def project(live_server, settings, tmp_path, monkeypatch):
    """A short program stands where the models would."""
    settings.VAR_DIR = tmp_path
    program = tmp_path / "speaker.py"
    program.write_text(textwrap.dedent(SPEAKER))
    monkeypatch.setattr(speaker, "COMMAND", [sys.executable, str(program)])
    monkeypatch.setattr(serving, "IDLE", 0.2)
    project = make_known(posts=30, held=3)
    dataset = frozen(project)
    for _ in range(2):
        make_done(dataset)
    return project


@pytest.fixture
def page(page, login, project):
    login(page, make_member(project, Role.LEAD, "lea"))
    page.goto(f"/p/{project.slug}/runs")
    page.get_by_role("link", name="Playground").first.click()
    return page


def work() -> None:
    """In a thread of its own, as the workers would be in processes of their own."""

    def carry_out() -> None:
        tasks.answer()
        for batch in Question.objects.filter(near__isnull=True).values_list("batch", flat=True):
            tasks.find_nearest(str(batch))
        connections.close_all()

    worker = Thread(target=carry_out)
    worker.start()
    worker.join()


def test_two_runs_are_asked_and_their_answers_come_by_themselves(page):
    page.get_by_label("Text").fill("to the moon")
    for box in page.get_by_role("checkbox").all():
        box.check()
    page.get_by_role("button", name="Ask", exact=True).click()
    expect(page.get_by_text("It waits for a worker…")).to_have_count(2)
    page.get_by_label("Text").fill("the next one")  # what is written meanwhile is not lost
    work()
    answers = page.get_by_role("region", name="What they say")
    expect(answers.get_by_text("bullish")).to_have_count(4)  # without reloading
    expect(page.get_by_label("Text")).to_have_value("the next one")
    page.get_by_role("region", name="The nearest training posts").get_by_role(
        "link", name="moon pump green"
    ).first.click()
    page.wait_for_url("**/posts/*")


def test_a_picture_is_chosen_seen_taken_away_and_asked_about_again(page):
    file = {"name": "meme.png", "mimeType": "image/png", "buffer": picture()}
    page.set_input_files("input[type=file]", files=[file])
    expect(page.get_by_alt_text("The chosen picture")).to_be_visible()
    page.get_by_role("button", name="Take the picture away").click()
    expect(page.get_by_alt_text("The chosen picture")).to_be_hidden()
    page.set_input_files("input[type=file]", files=[file])
    page.get_by_label("Text").press("Control+Enter")
    expect(page.get_by_alt_text("The picture of the question below")).to_be_visible()
    page.get_by_label("Text").fill("the same, with words")
    page.get_by_role("button", name="Ask", exact=True).click()
    expect(page.get_by_text("of “the same, with words”")).to_be_visible()
    assert [question.has_picture for question in Question.objects.all()] == [True, True]
    work()
    expect(page.get_by_text("It waits for a worker…")).to_have_count(0)


def test_what_cannot_be_asked_is_said_above_the_form(page):
    page.get_by_role("button", name="Ask", exact=True).click()
    expect(page.get_by_role("alert")).to_contain_text("There is nothing to ask about")


class TestWithoutJavaScript:
    @pytest.fixture
    def screen(self):
        return {"java_script_enabled": False}

    def test_it_works_as_a_form_does(self, page):
        page.get_by_label("Text").fill("to the moon")
        page.get_by_role("button", name="Ask", exact=True).click()
        work()
        page.get_by_role("link", name="Look again").click()
        expect(page.get_by_role("region", name="What they say").get_by_text("bullish")).to_have_count(2)
        expect(page.get_by_role("link", name="Look again")).to_have_count(0)
