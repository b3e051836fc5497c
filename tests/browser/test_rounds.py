"""A whole round by clicks: begun, watched, its word given, its doubts and audits answered at the keys, kept; and gone
back on."""

import re
from threading import Thread
from typing import Any

import pytest
from django.core.cache import cache
from django.db import connections
from playwright.sync_api import Page, expect

from annotate.models import Role
from modeling.models import Round, RoundState
from modeling.rounds import rounds
from tests.make import make_member
from tests.test_rounds import NAMES, QUIET, WORDS, answer_all, by_model, make_known, people, quick

from .reviewing import READ, ready

__all__ = ["quick"]
KEYS = {WORDS[name]: str(number) for number, name in enumerate(NAMES, 1)}


@pytest.fixture
def project(live_server, monkeypatch):
    cache.clear()
    monkeypatch.setattr(rounds, "enqueue", lambda _: None)
    return make_known(known=60, held=30, waiting=24)


@pytest.fixture
def page(page, login, project):
    login(page, make_member(project, Role.ADMIN, "ada"))
    page.goto("/p/memes/rounds")
    return page


def work() -> None:
    """In a thread of its own, as workers would be in processes of their own."""

    def carry_out() -> None:
        for one in Round.objects.select_related(*rounds.RELATED):
            rounds.carry_out(one, QUIET)
        connections.close_all()

    worker = Thread(target=carry_out)
    worker.start()
    worker.join()


def answer_at_the_keys(page: Page) -> int:
    """What each post is stands in its words."""
    page.goto("/p/memes/review")
    ready(page)
    answered = 0
    while page.locator("[data-text]").is_visible():
        text = page.locator("[data-text]").text_content() or ""
        page.wait_for_timeout(READ)
        page.keyboard.press(KEYS[text.rpartition(" ")[0]])
        expect(page.locator("[data-text]:visible", has_text=re.compile(f"^{text}$"))).to_have_count(0)
        answered += 1
    page.wait_for_load_state("networkidle")
    return answered


def begin(page: Page) -> None:
    page.get_by_role("link", name="Begin round 1").click()
    page.get_by_label("Base model").fill("tiny")
    expect(page.get_by_text("About a minute on any computer")).to_be_visible()
    page.get_by_role("button", name="Begin round 1").click()
    expect(page.get_by_role("heading", name="At work")).to_be_visible()


def settle(page: Page) -> None:
    expect(page.get_by_role("heading", name="Your word: settle what its model is sure of?")).to_be_visible()
    page.get_by_role("button", name="Settle 24 posts").click()
    expect(page.get_by_role("heading", name="At work")).to_be_visible()


def test_from_the_first_click_to_the_verdict(page, project):
    begin(page)
    work()
    settle(page)  # without reloading
    work()
    expect(page.get_by_role("heading", name="People answer")).to_be_visible()
    assert len(by_model(project)) == 24
    assert answer_at_the_keys(page) >= 20
    answer_all(people(project))  # what one person alone does not decide
    rounds.advance(project.rounds.get().pk)
    page.goto("/p/memes/rounds/1")
    expect(page.get_by_role("heading", name="Kept")).to_be_visible()
    expect(page.get_by_text("0.0% of its labels are wrong").first).to_be_visible()
    page.get_by_role("link", name="All rounds").click()
    expect(page.get_by_role("cell", name="Round 1 Kept")).to_be_visible()
    expect(page.get_by_text("No post is left without a label")).to_be_visible()


def test_rolled_back_its_labels_go_back(page, project, login):
    begin(page)
    work()
    settle(page)
    work()
    expect(page.get_by_role("heading", name="People answer")).to_be_visible()
    page.get_by_text("Give it up, and roll it back").click()
    page.get_by_role("button", name="Roll back, and take 24 labels back").click()
    expect(page.get_by_role("heading", name="Rolled back")).to_be_visible()
    take_back(project)
    expect(page.get_by_text("24 labels were taken back")).to_be_visible()  # without reloading
    assert by_model(project) == set()


def take_back(project: Any) -> None:
    one = project.rounds.get()
    assert one.state == RoundState.ROLLED_BACK
    work()
