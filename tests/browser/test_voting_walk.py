"""From no voter at all to posts that machines have settled; with the voters that need no key."""

from threading import Thread

import pytest
from django.db import connections
from django.utils import timezone
from playwright.sync_api import expect

from annotate.models import Role
from labeling import runs, voters
from labeling.models import RunState, VotingRun
from labeling.pairs import available
from labeling.voting import carry_out
from tests.make import make_member, make_post, make_project


@pytest.fixture
def project(live_server):
    project = make_project("Memes", audit_rate=0)
    for number in range(3):
        make_post(project, f"to the moon {number}")
    return project


@pytest.fixture
def page(page, login, project):
    login(page, make_member(project, Role.ADMIN, "ada"))
    page.goto(f"/p/{project.slug}/")
    return page


def work(run: VotingRun) -> None:
    """In a thread of its own, as a worker would be in a process of its own."""

    def vote() -> None:
        carry_out(run)
        connections.close_all()

    worker = Thread(target=vote)
    worker.start()
    worker.join()


def begin(project) -> VotingRun:
    offline = next(pair for pair in available() if pair.key == "offline")
    return runs.start(project, None, voters.add_pair(project, None, offline), queue=False)


def test_from_the_home_to_votes(page, project):
    page.get_by_role("link", name="Start voting").first.click()
    page.get_by_role("link", name="Add voters").click()
    page.get_by_role("button", name="Add Keywords and chart").click()
    page.get_by_role("link", name="Start voting").first.click()
    page.get_by_role("button", name="Start voting").click()
    expect(page.get_by_role("heading", name="Waiting")).to_be_visible()
    work(VotingRun.objects.get())
    expect(page.get_by_role("heading", name="Done")).to_be_visible()  # without reloading
    page.get_by_role("link", name="bullish 3").first.click()
    expect(page.get_by_role("heading", name="Posts 3 match")).to_be_visible()


def test_the_sum_follows_the_choice(page, project):
    run = begin(project)
    run.ask_for("cancel")
    voters.create(project, None, voters.Makeup.told("openai", "gpt-4o-mini", {}))
    page.goto(f"/p/{project.slug}/votes/new")
    together = page.locator("[data-together]")
    expect(together).to_have_text("$0.00")
    page.get_by_label("gpt-4o-mini").check()
    expect(together).to_have_text("unknown")
    page.get_by_label("gpt-4o-mini").uncheck()
    expect(together).to_have_text("$0.00")


def test_focus_stays_on_a_button_while_the_figures_change(page, project):
    run = begin(project)
    now = timezone.now()
    VotingRun.objects.filter(pk=run.pk).update(state=RunState.RUNNING, heartbeat=now)
    page.goto(run.get_absolute_url())
    page.get_by_role("button", name="Pause").focus()
    run.parts.filter(voter__name="chart").update(done=2, by_label={"bullish": 2})
    expect(page.get_by_role("link", name="bullish 2")).to_be_visible()
    expect(page.get_by_role("button", name="Pause")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="Pausing")).to_be_visible()


class TestWithoutScripts:
    @pytest.fixture
    def screen(self):
        return {"java_script_enabled": False}

    def test_the_figures_are_refreshed_by_a_link(self, page, project):
        run = begin(project)
        page.goto(run.get_absolute_url())
        expect(page.get_by_role("heading", name="Waiting")).to_be_visible()
        work(run)
        page.get_by_role("link", name="Refresh the figures").click()
        expect(page.get_by_role("heading", name="Done")).to_be_visible()
