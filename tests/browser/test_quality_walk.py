"""A lead asks how wrong the labels are, and looks where they are likeliest to be. By keyboard where it matters."""

import pytest
from playwright.sync_api import expect

from annotate import tasks
from annotate.models import Disagreement, Post, Review, Role, Targeting
from annotate.models.review import Stream, Why
from tests.make import EPOCH, make_label, make_member, make_post, make_project, make_vote


@pytest.fixture
def project(live_server):
    """Eight audits, two of them wrong, read by one person; and ten settled posts that nobody has looked at."""
    project = make_project("Memes")
    reader = make_member(project, Role.REVIEWER, "kim")
    label, other = make_label(project, "bullish"), make_label(project, "bearish")
    for number in range(18):
        post = make_post(project, f"post number {number}", label="bullish")
        make_vote(post, "gpt", "bullish", confidence=0.5 + number / 50)
        make_vote(post, "gemini", "bullish", confidence=0.9)
        if number < 8:
            said = other if number < 2 else label
            read = Disagreement.objects.create(
                project=project, post=post, why=Why.AUDIT, stream=Stream.AUDIT, inclusion=0.5, answers=1, label=said,
                closed=EPOCH, was_state="settled", was_label=label, was_source="consensus",
            )  # fmt: skip
            Review.objects.create(project=project, disagreement=read, reviewer=reader, key=f"{number}", label=said)
            Post.objects.filter(pk=post.pk).update(label=said, label_source="review")
    return project


@pytest.fixture
def page(page, login, project):
    login(page, make_member(project, Role.LEAD, "ada"))
    page.goto(f"/p/{project.slug}/quality")
    return page


def test_from_the_error_to_the_posts_behind_it(page):
    expect(page.get_by_text("25% of the 18 labels that machines settled are wrong")).to_be_visible()
    page.get_by_role("link", name="8 audits").click()
    expect(page.get_by_role("heading", name="Decided posts 8 match")).to_be_visible()
    page.get_by_label("Verdict").select_option("Machines were wrong")
    page.get_by_role("button", name="Filter").click()
    expect(page.get_by_role("heading", name="Decided posts 2 match")).to_be_visible()
    expect(page.get_by_role("row")).to_have_count(3)
    page.get_by_role("link", name="post number 1", exact=True).click()
    expect(page.get_by_role("main").get_by_text("post number 1", exact=True).first).to_be_visible()
    page.go_back()
    page.get_by_role("link", name="Clear").click()
    expect(page.get_by_role("heading", name="Decided posts 8")).to_be_visible()


def test_the_riskiest_by_keyboard(page, project):
    page.get_by_role("navigation", name="Quality").get_by_role("link", name="Riskiest").press("Enter")
    posts = page.get_by_label("How many posts")
    posts.fill("4")
    posts.press("Enter")
    expect(page.get_by_text("Waiting for a worker")).to_be_visible()
    tasks.find_riskiest(Targeting.objects.get().pk)  # as the queue's worker does
    expect(page.get_by_role("heading", name="What they should hold")).to_be_visible()  # by itself
    page.get_by_role("button", name="Put these 4 posts to people").press("Enter")
    expect(page.get_by_text("4 posts wait for people now.")).to_be_visible()
    expect(page.get_by_role("heading", name="What people found")).to_be_visible()
    assert Disagreement.objects.filter(why=Why.RISK, closed=None).count() == 4
    page.get_by_role("link", name="Look for more").press("Enter")
    row = page.get_by_role("row").nth(1)
    expect(row).to_contain_text("People look at them")


def test_a_search_can_be_stopped(page, project):
    page.goto(f"/p/{project.slug}/quality/riskiest")
    page.get_by_role("button", name="Look for the riskiest").click()
    page.get_by_role("button", name="Stop").click()
    expect(page.get_by_role("heading", name="Look for them")).to_be_visible()
    assert not Targeting.objects.exists()


def test_a_voter_and_the_squares_of_its_picture(page, project):
    page.goto(f"/p/{project.slug}/quality/machines")
    page.get_by_role("link", name="gpt", exact=True).click()
    expect(page.get_by_role("link", name="gpt", exact=True)).to_have_attribute("aria-current", "true")
    page.get_by_role("link", name="2 posts: people bearish, gpt bullish").press("Enter")
    expect(page.get_by_role("heading", name="Decided posts 2 match")).to_be_visible()


def test_people(page, project):
    Review.objects.update(seconds=4)
    page.goto(f"/p/{project.slug}/reviewers")
    page.get_by_role("link", name="kim").click()
    expect(page.get_by_role("heading", name="kim")).to_be_visible()
    page.get_by_role("link", name="see what they decided").click()
    expect(page.get_by_role("heading", name="Decided posts 8 match")).to_be_visible()
