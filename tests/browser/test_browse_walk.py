"""Looking through posts: filters, pages, one post after the other. Who looks is a reviewer."""

from datetime import timedelta
from itertools import islice
from urllib.parse import parse_qs, urlsplit

import pytest
from playwright.sync_api import expect

from annotate.first_start import demo_rows
from annotate.importing.load import Loader
from annotate.models import Disagreement, ImportRun, Post, Role
from tests.make import EPOCH, make_member, make_project, make_vote


@pytest.fixture
def project(live_server):
    """Two pages and a bit: the newest is post 130."""
    project = make_project("Memes")
    settled = {"label": project.labels.get(name="bullish"), "label_source": "consensus", "state": "settled"}
    Post.objects.bulk_create(
        Post(
            project=project,
            text=f"post number {number}",
            external_id=f"p{number}",
            content_hash=f"{number:064x}",
            at=EPOCH + timedelta(minutes=number),
            **(settled if number % 10 == 0 else {}),
        )
        for number in range(1, 131)
    )
    return project


@pytest.fixture
def page(page, login, project):
    login(page, make_member(project, Role.REVIEWER, "rae"))
    page.goto(f"/p/{project.slug}/posts")
    return page


def shown(page):
    return page.locator(".cards .words").all_inner_texts()


def numbers(*span):
    return [f"post number {number}" for number in range(*span)]


def asked(page):
    """What the address says, less what was left blank."""
    return {name: values[0] for name, values in parse_qs(urlsplit(page.url).query).items()}


def test_pages_go_forth_and_back_and_to_the_end(page):
    assert shown(page) == numbers(130, 70, -1)
    page.get_by_role("link", name="Next").click()
    expect(page.get_by_text("post number 70", exact=True)).to_be_visible()
    assert shown(page) == numbers(70, 10, -1)
    page.get_by_role("link", name="Last").click()
    expect(page.get_by_text("post number 1", exact=True)).to_be_visible()
    expect(page.get_by_role("link", name="Next")).to_have_count(0)
    page.get_by_role("link", name="Previous").click()
    expect(page.get_by_text("post number 100", exact=True)).to_be_visible()
    page.get_by_role("link", name="First").click()
    expect(page.get_by_text("post number 130", exact=True)).to_be_visible()
    page.go_back()
    expect(page.get_by_text("post number 100", exact=True)).to_be_visible()


def test_a_filter_is_in_the_address_and_survives_the_pages(page):
    page.get_by_label("Label").select_option("bullish")
    page.get_by_role("button", name="Filter").click()
    expect(page.get_by_role("heading", name="Posts 13 match")).to_be_visible()
    assert asked(page) == {"label": "bullish"}
    expect(page.get_by_label("Label")).to_have_value("bullish")
    page.get_by_role("link", name="List").click()
    expect(page.get_by_role("row")).to_have_count(14)
    page.get_by_role("link", name="post number 120").click()
    page.get_by_role("link", name="All that match").click()
    expect(page.get_by_role("heading", name="Posts 13 match")).to_be_visible()
    page.get_by_role("link", name="Clear").click()
    expect(page.get_by_role("heading", name="Posts 130")).to_be_visible()


def test_words_and_what_lies_under_more(page):
    page.get_by_label("Words").fill("number 77")
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="Posts 1 match")).to_be_visible()
    page.get_by_label("Words").fill("")
    page.locator("main").get_by_text("More", exact=True).click()
    page.get_by_label("Order").select_option("oldest first")
    page.get_by_role("button", name="Filter").click()
    expect(page.locator(".cards .words").first).to_have_text("post number 1")
    expect(page.get_by_label("Order")).to_be_visible()  # what is in force is not hidden


def test_an_address_with_nonsense_says_what_to_mend(page):
    page.goto("/p/memes/posts?state=perhaps&since=yesterday")
    expect(page.get_by_text("“perhaps” is not a state; there are waiting, settled, contested, aside.")).to_be_visible()
    expect(page.get_by_text("“yesterday” is not a date; write it as 2025-11-14.")).to_be_visible()
    page.get_by_role("link", name="see all posts").click()
    expect(page.get_by_role("heading", name="Posts 130")).to_be_visible()


def test_from_post_to_post_by_key(page):
    page.get_by_role("link", name="post number 129").click()
    expect(page.get_by_role("heading", name="p129")).to_be_visible()
    forth = page.get_by_role("link", name="Next").locator("kbd").inner_text()
    back = page.get_by_role("link", name="Previous").locator("kbd").inner_text()
    for key, number in ((forth, 128), (forth, 127), (back, 128), (back, 129), (back, 130)):
        page.wait_for_load_state()  # the keys listen from then on
        page.keyboard.press(key)
        expect(page.get_by_role("heading", name=f"p{number}")).to_be_visible()
    page.wait_for_load_state()
    page.keyboard.press(back)  # there is none before it
    expect(page.get_by_role("heading", name="p130")).to_be_visible()


def test_a_post_tells_its_story_and_opens_its_picture(page, project, complaints):
    drawn = ImportRun.objects.create(project=project, name="drawn posts", state="queued")
    drawn.claim()
    Loader(drawn).load(list(islice(demo_rows(), 1)))
    post = project.posts.exclude(image=None).get()
    post.state, post.label, post.label_source = "contested", None, ""
    post.save()
    Disagreement.objects.create(project=post.project, post=post, why="split")
    make_vote(post, "gpt", "bullish", confidence=0.8, reason="Rockets.")
    make_vote(post, "gemini", "bearish")
    page.goto(f"/p/memes/posts/{post.pk}")
    expect(page.get_by_text("Rockets.")).to_be_visible()
    expect(page.get_by_text("contested", exact=True).first).to_be_visible()
    picture = page.get_by_role("img", name="The post's picture")
    assert picture.evaluate("(img) => img.decode().then(() => img.naturalWidth)") == post.image.width
    with page.expect_response("**/images/**") as answer:
        picture.click()
    assert answer.value.headers["content-type"].startswith("image/")
    page.go_back()
    expect(picture).to_be_visible()
    complaints.clear()  # the browser's own viewer is denied its scripts and styles, like all that comes with a picture


def test_a_figure_of_the_home_page_leads_to_its_posts(page):
    page.goto("/p/memes/")
    page.get_by_role("link", name="Settled 13").click()
    expect(page.get_by_role("heading", name="Posts 13 match")).to_be_visible()
