"""Links and forms do all of it; scripts only make it quicker."""

import pytest
from playwright.sync_api import expect

from annotate import tasks
from annotate.models import ImportRun, Role
from tests.browser.menus import by_more
from tests.make import make_member, make_post, make_project


@pytest.fixture
def screen():
    return {"java_script_enabled": False}


@pytest.fixture
def project(live_server):
    project = make_project("Memes")
    make_post(project, "post number 1", label="bullish", external_id="p1")
    make_post(project, "post number 2", external_id="p2")
    return project


@pytest.fixture
def page(page, login, project):
    login(page, make_member(project, Role.ADMIN, "ada"))
    page.goto(f"/p/{project.slug}/")
    return page


def upload(page, tmp_path, content):
    path = tmp_path / "posts.csv"
    path.write_text(content)
    by_more(page, "Imports")
    page.get_by_role("link", name="Import posts").click()
    page.get_by_label("A file with posts").set_input_files(path)
    page.get_by_role("button", name="Upload and preview").click()


def test_a_file_is_imported_and_followed(page, project, tmp_path):
    upload(page, tmp_path, "tweet,mood\ngm,bullish\n,\n")
    page.get_by_label("Known label").select_option("mood")
    page.get_by_role("button", name="Import", exact=True).click()
    expect(page.get_by_role("heading", name="Waiting")).to_be_visible()
    tasks.import_posts(ImportRun.objects.get().pk)
    page.get_by_role("link", name="Refresh the figures").click()
    expect(page.get_by_role("heading", name="Done")).to_be_visible()
    expect(page.get_by_role("link", name="Refresh the figures")).to_have_count(0)
    expect(page.get_by_text("1 row could not be imported")).to_be_visible()
    with page.expect_download():
        page.get_by_role("link", name="Report, row by row").click()
    assert project.posts.get(text="gm").label.name == "bullish"


def test_an_import_is_stopped_and_run_again(page, tmp_path):
    upload(page, tmp_path, "tweet\ngm\n")
    page.get_by_role("button", name="Import", exact=True).click()
    page.get_by_role("button", name="Stop").click()
    expect(page.get_by_role("heading", name="Stopped")).to_be_visible()
    page.get_by_role("button", name="Run it again").click()
    expect(page.get_by_role("heading", name="Waiting")).to_be_visible()


def test_an_empty_file_is_refused_in_words(page, tmp_path):
    upload(page, tmp_path, "")
    expect(page.get_by_text("That file is empty.")).to_be_visible()


def test_labels_are_added_and_removed(page, project):
    by_more(page, "Settings")
    expect(page.get_by_role("button", name="Add a label")).to_be_hidden()
    row = page.locator(".label-rows > fieldset")
    row.nth(3).get_by_label("Name").fill("sarcastic")
    row.nth(3).get_by_label("Key").fill("1")
    row.nth(1).get_by_label("Remove").check()
    page.get_by_role("button", name="Save").click()
    expect(row.nth(0)).to_contain_text("Another label has the key “1”.")
    row.nth(3).get_by_label("Key").fill("9")
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_text("Saved.")).to_be_visible()
    assert list(project.labels.values_list("name", flat=True)) == ["bearish", "bullish", "sarcastic"]
    expect(row).to_have_count(5)  # there are always two more to fill in


def test_posts_are_filtered_and_walked_through(page):
    page.get_by_role("link", name="Posts", exact=True).click()
    page.get_by_role("link", name="post number 2").click()
    page.get_by_role("link", name="Next").click()
    expect(page.get_by_role("heading", name="p1")).to_be_visible()
    page.get_by_role("link", name="All", exact=True).click()
    page.locator("main").get_by_text("More", exact=True).click()
    page.get_by_label("Order").select_option("oldest first")
    page.get_by_label("State").select_option("Settled")
    page.get_by_role("button", name="Filter").click()
    expect(page.get_by_role("heading", name="Posts 1 match")).to_be_visible()


def test_an_invitation_is_made_and_withdrawn_and_one_logs_out(page):
    page.goto("/p/memes/people")
    page.get_by_label("For whom").fill("Kim")
    page.get_by_role("button", name="Make an invitation").click()
    expect(page.get_by_label("Link of the invitation")).to_be_visible()
    expect(page.get_by_role("button", name="Copy")).to_be_hidden()
    page.get_by_role("button", name="Withdraw the invitation for Kim").click()
    expect(page.get_by_text("The invitation is withdrawn")).to_be_visible()
    page.locator("header summary", has_text="ada").click()
    page.get_by_role("button", name="Log out").click()
    expect(page.get_by_role("heading", name="Log in")).to_be_visible()
