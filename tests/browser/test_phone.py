"""On a phone, by finger."""

import pytest
from playwright.sync_api import expect

from annotate.models import ImportRun, Role
from tests.make import make_member, make_post, make_project

WIDTH = 390


@pytest.fixture
def screen():
    return {"viewport": {"width": WIDTH, "height": 844}, "has_touch": True, "is_mobile": True}


@pytest.fixture
def page(page, login, live_server):
    project = make_project("Memes", guidelines="# When in doubt\n\nA *rise*.")
    make_post(project, "post number 1", label="bullish", external_id="p1")
    make_post(project, "a word " + "that does not end " * 20, external_id="p2")
    ImportRun.objects.create(project=project, name="posts-of-the-last-year.csv", state="done", imported=1234)
    login(page, make_member(project, Role.ADMIN, "ada"))
    page.goto(f"/p/{project.slug}/")
    return page


def fits(page):
    return page.evaluate("document.documentElement.scrollWidth") <= WIDTH


def by_menu(page, name):
    page.get_by_text("Menu", exact=True).tap()
    page.get_by_role("link", name=name, exact=True).tap()


def test_the_menu_leads_everywhere(page):
    for name in ("Posts", "Templates", "Guidelines", "Imports", "Settings", "Home"):
        by_menu(page, name)
        expect(page.locator("nav[aria-label=Project]")).to_be_hidden()
        expect(page.locator("details.menu.only-phone a[aria-current=page]")).to_have_text(name)
        assert fits(page), name


def test_a_tap_elsewhere_closes_the_menu(page):
    page.get_by_text("Menu", exact=True).tap()
    expect(page.get_by_role("link", name="Templates")).to_be_visible()
    page.touchscreen.tap(4, page.viewport_size["height"] - 4)
    expect(page.get_by_role("link", name="Templates")).to_be_hidden()


def test_posts_are_filtered_and_read(page):
    by_menu(page, "Posts")
    page.locator("main").get_by_text("More", exact=True).tap()
    page.get_by_label("Order").select_option("oldest first")
    page.get_by_label("State").select_option("Settled")
    page.get_by_role("button", name="Filter").tap()
    expect(page.get_by_role("heading", name="Posts 1 match")).to_be_visible()
    assert fits(page)
    page.get_by_role("link", name="post number 1").tap()
    expect(page.get_by_role("heading", name="p1")).to_be_visible()
    assert fits(page)


def test_names_in_lists_stay_readable(page):
    by_menu(page, "Imports")
    assert page.get_by_role("link", name="posts-of-the-last-year.csv").bounding_box()["width"] > 80
    by_menu(page, "Posts")
    page.get_by_role("link", name="List").tap()
    assert page.get_by_role("link", name="post number 1").bounding_box()["width"] > 80
    assert fits(page)


def test_a_label_is_edited(page):
    by_menu(page, "Settings")
    page.get_by_role("button", name="Add a label").tap()
    row = page.locator(".label-rows > fieldset").last
    for name in ("Name", "Key", "Colour", "Meaning", "Order"):
        expect(row.get_by_text(name, exact=True)).to_be_visible()  # the table's heads are gone
    row.get_by_label("Name").fill("sarcastic")
    row.get_by_label("Meaning").fill("Says the opposite " * 8)
    assert fits(page)
    page.get_by_role("button", name="Save").tap()
    expect(page.get_by_text("Saved.")).to_be_visible()


def test_a_file_is_uploaded_and_mapped(page, tmp_path):
    path = tmp_path / "posts.csv"
    path.write_text(f"tweet,{'a-long-name-' * 8}\ngm,{'x' * 200}\n")
    by_menu(page, "Imports")
    page.get_by_role("link", name="Import posts").tap()
    page.get_by_label("A file with posts").set_input_files(path)
    page.get_by_role("button", name="Upload and preview").tap()
    expect(page.get_by_role("heading", name="The first rows")).to_be_visible()
    assert fits(page)
    page.get_by_role("button", name="Import", exact=True).tap()
    expect(page.get_by_role("heading", name="Waiting")).to_be_visible()
    assert fits(page)
