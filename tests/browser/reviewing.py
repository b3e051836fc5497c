"""What the tests of the review screen share: posts that wait, and a hand on the keys."""

import io
from typing import Any

from django.core.cache import cache
from PIL import Image as Picture
from playwright.sync_api import Page, expect

from annotate import images, settling
from annotate.models import Image, Post, Project, Review
from tests.make import make_post, make_project, make_vote

READ = 270  # milliseconds: sooner than that a press is taken for the second half of a double one


def picture(colour: tuple[int, int, int]) -> Image:
    file = io.BytesIO()
    Picture.new("RGB", (640, 480), colour).save(file, "png")
    seen = images.inspect(file.getvalue())
    images.store(seen)
    return Image.objects.create(
        sha256=seen.sha256, format=seen.format, width=seen.width, height=seen.height,
        bytes=len(seen.data), fingerprint=seen.fingerprint,
    )  # fmt: skip


def contested(project: Project, text: str, **fields: Any) -> Post:
    post = make_post(project, text, **fields)
    for voter, label in (("gpt", "bullish"), ("gemini", "bearish")):
        make_vote(post, voter, label, confidence=0.8, reason=f"{voter} has its reason")
    settling.settle(project, [post.pk])
    return post


def make_queue(posts: int, **fields: Any) -> Project:
    """Some posts with a picture, some without; nothing slipped in and nobody asked twice."""
    cache.clear()
    project = make_project("Memes", **{"audit_rate": 0, "double_rate": 0, "check_rate": 0} | fields)
    for number in range(posts):
        contested(project, f"post number {number}", image=picture((20 * number, 90, 90)) if number % 3 else None)
    return project


def start(page: Page) -> None:
    page.goto("/p/memes/review")
    ready(page)


def ready(page: Page) -> None:
    """The script runs, and the next two posts are at hand."""
    expect(page.locator("#review [name=tab]")).not_to_have_value("")
    page.wait_for_load_state("networkidle")


def text_of(page: Page) -> str:
    return page.locator("[data-text]").text_content() or ""


def press(page: Page, key: str) -> None:
    """As somebody who has read the post."""
    page.wait_for_timeout(READ)
    page.keyboard.press(key)


def decide(page: Page, key: str) -> str:
    """Returns the text of the post that was decided, once another is on the screen."""
    before = text_of(page)
    press(page, key)
    expect(page.locator("[data-text]")).not_to_have_text(before)
    return before


def live() -> Any:
    return Review.objects.filter(undone=None)


def settled(page: Page, answers: int) -> None:
    """Once the server has heard of all the answers."""
    for _ in range(80):
        if live().count() == answers:
            break
        page.wait_for_timeout(100)
    assert live().count() == answers
