"""A lead's data become a dataset: the recipe and its preview, the freezing, the posts behind a figure, the ways out."""

import zipfile
from threading import Thread

import pytest
from django.db import connections
from playwright.sync_api import expect

from annotate.models import Role
from modeling import tasks
from modeling.models import Dataset
from tests.freezing import freeze, make_settled
from tests.make import make_label, make_member, make_post


@pytest.fixture
def project(live_server):
    return make_settled()


@pytest.fixture
def page(page, login, project):
    login(page, make_member(project, Role.ADMIN, "ada"))
    page.goto(f"/p/{project.slug}/")
    return page


def work() -> None:
    """In a thread of its own, as a worker would be in a process of its own."""

    def carry_out() -> None:
        tasks.freeze(Dataset.objects.latest("pk").pk)
        connections.close_all()

    worker = Thread(target=carry_out)
    worker.start()
    worker.join()


def test_from_a_recipe_to_a_file(page, tmp_path):
    page.get_by_role("link", name="Datasets").click()
    page.get_by_role("link", name="Freeze the first").click()
    expect(page.get_by_role("heading", name="30 posts and 2 in the locked test set")).to_be_visible()
    page.get_by_label("Consensus of voters").uncheck()
    expect(page.get_by_role("heading", name="6 posts and 2 in the locked test set")).to_be_visible()  # by itself
    page.wait_for_url("**/datasets/new?sources=review&sources=model&sources=import&*")
    page.reload()
    expect(page.get_by_label("Consensus of voters")).not_to_be_checked()
    page.get_by_label("Consensus of voters").check()
    page.get_by_label("Most posts to train on, bullish").fill("4")
    expect(page.get_by_text("their label has enough")).to_be_visible()
    page.get_by_label("Name").fill("first.1")
    page.get_by_role("button", name="Freeze").click()
    expect(page.get_by_role("heading", name="Waiting")).to_be_visible()
    work()
    expect(page.get_by_role("heading", name="Download")).to_be_visible()  # without anybody reloading
    expect(page.get_by_role("checkbox", name="Locked test set")).not_to_be_checked()
    with page.expect_download() as download:
        page.get_by_role("button", name="Download JSON Lines").click()
    download.value.save_as(tmp_path / "posts.zip")
    with zipfile.ZipFile(tmp_path / "posts.zip") as archive:
        assert archive.testzip() is None
        assert b'"split": "holdout"' not in archive.read("posts.jsonl")


def test_by_keyboard_alone(page, project):
    page.get_by_role("link", name="Datasets").press("Enter")
    page.get_by_role("link", name="Freeze the first").press("Enter")
    page.get_by_label("Consensus of voters").press("Space")
    page.get_by_label("Posts at most").type("5")
    expect(page.get_by_role("heading", name="5 posts and 2 in the locked test set")).to_be_visible()
    expect(page.get_by_label("Posts at most")).to_be_focused()  # the preview takes nobody's place away
    page.get_by_role("button", name="Freeze").press("Enter")
    expect(page.get_by_role("heading", name="Waiting")).to_be_visible()
    page.get_by_role("button", name="Stop").press("Enter")
    expect(page.get_by_role("heading", name="Stopped")).to_be_visible()
    page.get_by_role("button", name="Start again").press("Enter")
    expect(page.get_by_role("heading", name="Waiting")).to_be_visible()
    work()
    expect(page.get_by_role("heading", name="Download")).to_be_visible()


def test_what_is_typed_before_the_page_listens_is_previewed(page, project):
    held = []
    page.route("**/htmx.min*.js", lambda route: held.append(route))
    page.goto(f"/p/{project.slug}/datasets/new", wait_until="commit")
    page.get_by_label("Posts at most").type("5")
    held.pop().continue_()
    expect(page.get_by_role("heading", name="5 posts and 2 in the locked test set")).to_be_visible()


def test_enter_in_a_field_previews_and_never_freezes(page, project):
    page.goto(f"/p/{project.slug}/datasets/new")
    page.get_by_label("Posts at most").fill("7")
    page.get_by_label("Posts at most").press("Enter")
    expect(page.get_by_role("heading", name="7 posts and 2 in the locked test set")).to_be_visible()
    page.get_by_label("Name").press("Enter")
    expect(page.get_by_role("heading", name="7 posts and 2 in the locked test set")).to_be_visible()
    assert "csrf" not in page.url
    assert not Dataset.objects.exists()


def test_posts_behind_a_figure(page, project):
    made = freeze(project)
    page.goto(made.get_absolute_url())
    page.get_by_role("row", name="Review by people").get_by_role("link").last.click()
    expect(page.get_by_role("heading", name="Posts of v1 6 match")).to_be_visible()
    page.get_by_label("Label", exact=True).select_option("bearish")
    page.get_by_role("button", name="Filter").click()
    expect(page.get_by_role("heading", name="Posts of v1 2 match")).to_be_visible()
    page.wait_for_url("**/posts?label=bearish&source=review")
    page.get_by_role("link", name="List").click()
    page.get_by_role("link", name="post number 0").click()
    expect(page.get_by_text("post number 0").first).to_be_visible()


def test_two_versions_beside_each_other(page, project):
    old = freeze(project)
    turned = old.items.filter(split="train", label="bearish")[0]
    project.posts.filter(pk=turned.post_id).update(label=make_label(project, "bullish"))
    make_post(project, "quite new", "neutral")
    new = freeze(project, "v2", balanced=True)
    page.goto(new.get_absolute_url())
    page.get_by_role("link", name="Compare").click()
    expect(page.get_by_role("heading", name="v2 beside v1")).to_be_visible()
    expect(page.get_by_text("Weights that balance the labels in training.")).to_be_visible()
    page.get_by_role("link", name="1 post from bearish to bullish").press("Enter")
    expect(page.get_by_role("heading", name="Posts of v2 1 match")).to_be_visible()
    expect(page.get_by_text("was bearish")).to_be_visible()
    page.go_back()
    page.get_by_role("link", name="1", exact=True).first.click()
    expect(page.get_by_text("quite new")).to_be_visible()


def test_the_hash_is_copied(page, project, context):
    context.grant_permissions(["clipboard-read", "clipboard-write"])
    made = freeze(project)
    page.goto(made.get_absolute_url())
    page.get_by_role("button", name="Copy").click()
    expect(page.get_by_role("button", name="Copied")).to_be_visible()
    assert page.evaluate("navigator.clipboard.readText()") == made.content_hash


class TestWithoutScripts:
    @pytest.fixture
    def screen(self):
        return {"java_script_enabled": False}

    def test_links_and_forms_do_all_of_it(self, page, project):
        page.goto(f"/p/{project.slug}/datasets/new")
        page.get_by_label("Consensus of voters").uncheck()
        page.get_by_role("button", name="Preview").click()
        expect(page.get_by_role("heading", name="6 posts and 2 in the locked test set")).to_be_visible()
        page.get_by_label("Name").fill("by-hand")
        page.get_by_role("button", name="Freeze").click()
        expect(page.get_by_role("heading", name="Waiting")).to_be_visible()
        work()
        page.get_by_role("link", name="Refresh the figures").click()
        expect(page.get_by_role("heading", name="Download")).to_be_visible()
        with page.expect_download() as download:
            page.get_by_role("button", name="Download CSV").click()
        assert download.value.suggested_filename == "memes-by-hand-csv.zip"
