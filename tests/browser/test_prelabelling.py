"""Pre-labelling by hand: ask a model, move the threshold, settle, take back, and send a conflict to people; then
without a script."""

import re

import pytest
from playwright.sync_api import Page, expect

from annotate.models import Disagreement, LabelSource, Post, Project, Role
from annotate.models.review import Why
from modeling.models import JobState, PreLabelling
from modeling.prelabelling import prelabelling as room
from tests.make import make_member, make_post
from tests.test_dataset import freeze
from tests.test_evaluating import make_known
from tests.test_prelabelling import done_run
from tests.test_prelabelling_pages import asked, waiting

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def project(tmp_path, settings) -> Project:
    settings.VAR_DIR = tmp_path
    return make_known(posts=30, held=3)


@pytest.fixture
def run(project):
    return done_run(freeze(project))


@pytest.fixture
def admin(project, page: Page, login):
    user = make_member(project, Role.ADMIN, "ada")
    login(page, user)
    return user


def carried_out() -> PreLabelling:
    """As a worker would."""
    made = PreLabelling.objects.select_related("project", "run__dataset__project", "voter").get()
    assert room.carry_out(made)
    return made


def test_from_the_run_to_labels_and_back(project, run, admin, page: Page) -> None:
    posts = waiting(project, 4) + waiting(project, 3, "neutral", 0.6)
    page.goto(f"/p/memes/runs/{run.pk}")
    page.get_by_role("link", name="Pre-label with it").click()
    expect(page.get_by_role("status")).to_contain_text("7 posts in all")
    page.get_by_role("radio", name="Those of a list").check()
    page.get_by_label("Address of that list").fill("/posts?state=waiting&q=neutral")
    expect(page.locator("#so-many")).to_contain_text("3 posts in all")
    page.get_by_role("radio", name="Those that wait").check()
    page.get_by_role("button", name="Ask the model").click()
    expect(page.get_by_role("heading", name="Waits to be asked")).to_be_visible()

    PreLabelling.objects.all().delete()
    made = asked(run, posts)  # as that comes to, once the model has answered
    page.goto(made.get_absolute_url())
    page.get_by_label("Growth of a label").fill("0")
    settle = page.get_by_role("button", name="Settle")
    expect(settle).to_have_text("Settle 4 posts")
    expect(page.locator("[data-chart=settled] canvas")).to_be_visible()
    page.get_by_label("Share that is audited").fill("1")
    slider = page.get_by_label("Threshold, as a slider")
    slider.fill("0.55")
    expect(settle).to_have_text("Settle 7 posts")
    expect(page).to_have_url(re.compile("threshold=0.55"))
    expect(page.get_by_label("Share that is audited")).to_have_value("1")
    expect(page.locator("[data-chart=settled] [data-told]")).to_have_text("at 0.55: 7")
    slider.fill("0.9")
    expect(settle).to_have_text("Settle 4 posts")
    settle.click()

    expect(page.get_by_role("heading", name="Waits to settle")).to_be_visible()
    carried_out()
    expect(page.get_by_role("heading", name="Settled just now at 0.9")).to_be_visible()
    page.get_by_role("row", name="bullish").get_by_role("link").click()
    expect(page.get_by_role("heading", name="Posts")).to_contain_text("4 match")
    page.go_back()
    page.get_by_text("Take its labels back").click()
    page.get_by_role("button", name="Take all 4 labels back").click()
    expect(page.get_by_role("heading", name="Waits to take its labels back")).to_be_visible()
    carried_out()
    expect(page.get_by_text("4 labels were taken back")).to_be_visible()
    assert not Post.objects.filter(label_source=LabelSource.MODEL).exists()


def test_a_conflict_is_sent_to_people_by_a_key(project, run, admin, page: Page) -> None:
    posts = [make_post(project, f"labelled {n}", "bearish", label_source="review") for n in range(3)]
    made = asked(run, [(post, "bullish", 0.95) for post in posts], posts={})
    page.goto(made.get_absolute_url())
    page.get_by_role("link", name="3 posts").click()
    expect(page.locator("[data-keys]")).to_be_visible()  # the keys are listened to
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("d")
    expect(page.get_by_text("Waits for review")).to_be_visible()
    assert Disagreement.objects.get(why=Why.DOUBT).post == posts[1]
    page.get_by_role("button", name="Send all on this page").click()
    expect(page.get_by_text("2 labels wait for people now")).to_be_visible()


class TestWithoutScripts:
    @pytest.fixture
    def screen(self):
        return {"java_script_enabled": False}

    def test_the_threshold_is_a_form_and_taking_back_two_presses(self, project, run, admin, page: Page) -> None:
        made = asked(run, waiting(project, 4) + waiting(project, 3, "neutral", 0.6))
        page.goto(made.get_absolute_url())
        expect(page.get_by_label("Threshold, as a slider")).to_be_hidden()
        page.get_by_label("Threshold", exact=True).fill("0.55")
        page.get_by_label("Growth of a label").fill("0")
        page.get_by_role("button", name="Reckon").click()
        page.get_by_role("button", name="Settle 7 posts").click()
        expect(page.get_by_role("link", name="Refresh the figures")).to_be_visible()
        carried_out()
        page.get_by_role("link", name="Refresh the figures").click()
        page.get_by_text("Take its labels back").click()
        page.get_by_role("button", name="Take all 7 labels back").click()
        made.refresh_from_db()
        assert (made.goal, made.state) == ("take back", JobState.QUEUED)
