"""From a first login to a project with labels, guidelines and a second person, by clicks alone."""

import pytest
from playwright.sync_api import expect

from annotate.models import Project, Role
from tests.browser.menus import by_more
from tests.make import PASSWORD, make_member, make_post, make_project, make_user


@pytest.fixture
def project(live_server):
    return make_project("Memes", guidelines="# When in doubt\n\nA *rise*, or [hope](/).")


@pytest.fixture
def settings_page(page, login, project):
    login(page, make_member(project, Role.ADMIN, "ada"))
    page.goto(f"/p/{project.slug}/settings")
    return page


def row(page, number):
    return page.locator(".label-rows > fieldset").nth(number - 1)


def test_a_project_is_made_from_a_preset_and_a_second_person_joins(page, new_context, open_page, complaints):
    make_user("ada", is_superuser=True)
    page.goto("/")
    page.get_by_label("Username").fill("ada")
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Log in").click()
    page.get_by_role("link", name="Make the first project").click()
    page.get_by_label("Name", exact=True).fill("Coins")
    page.get_by_text("Crypto sentiment").click()
    page.get_by_role("button", name="Make the project").click()
    expect(page.get_by_role("heading", name="Coins")).to_be_visible()
    expect(page.get_by_role("link", name="bullish")).to_have_count(0)  # no posts, so no counts yet

    by_more(page, "Guidelines")
    expect(page.get_by_role("heading", name="When text and picture disagree")).to_be_visible()
    expect(page.get_by_role("listitem").filter(has_text="Sarcasm.").locator("strong")).not_to_have_count(0)

    by_more(page, "Settings")
    page.get_by_role("link", name="People in this project").click()
    page.get_by_label("For whom").fill("Kim")
    page.get_by_role("button", name="Make an invitation").click()
    link = page.get_by_label("Link of the invitation").input_value()

    newcomer = open_page(new_context())
    newcomer.goto(link)
    newcomer.get_by_label("Username").fill("kim")
    newcomer.get_by_label("Password", exact=True).fill("seven green candles")
    newcomer.get_by_label("The same again").fill("seven green candles")
    newcomer.get_by_role("button", name="Join").click()
    expect(newcomer.get_by_text("Welcome to Coins, kim. Your role is reviewer.")).to_be_visible()
    expect(newcomer.get_by_role("link", name="Settings")).to_have_count(0)

    page.goto(link)
    expect(page.get_by_role("heading", name="This invitation has been used")).to_be_visible()
    complaints.clear()  # the browser itself reports the status
    page.goto("/p/coins/people")
    expect(page.get_by_role("listitem").filter(has_text="kim")).to_contain_text("joined just now")


def test_a_row_is_added_by_the_button_and_is_there_after_saving(settings_page):
    page = settings_page
    page.get_by_role("button", name="Add a label").click()
    added = row(page, 6)
    expect(added.get_by_label("Name")).to_be_focused()
    page.keyboard.type("sarcastic")
    added.get_by_label("Key").fill("9")
    added.get_by_label("Meaning").fill("Says the opposite of what it means")
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_text("Saved.")).to_be_visible()
    expect(row(page, 4).get_by_label("Name")).to_have_value("sarcastic")
    by_more(page, "Guidelines")
    expect(page.locator(".meanings > div").last).to_contain_text("Says the opposite of what it means")


def test_two_labels_with_one_key_are_warned_of_at_once_and_not_saved(settings_page):
    page = settings_page
    row(page, 2).get_by_label("Key").fill("1")
    expect(page.get_by_text("Two labels have the key “1”.")).to_be_visible()
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_role("alert")).to_contain_text("Nothing is saved yet")
    expect(row(page, 1)).to_contain_text("Another label has the key “1”.")
    row(page, 2).get_by_label("Key").fill("2")
    expect(page.get_by_text("Two labels have the key")).to_have_count(0)
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_text("Saved.")).to_be_visible()


def test_a_label_is_removed_unless_a_post_carries_it(settings_page, project):
    page = settings_page
    make_post(project, label="bullish")
    for number in (2, 3):
        row(page, number).get_by_label("Remove").check()
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_text("“bullish” cannot be removed: it stands on 1 post. Rename it instead.")).to_be_visible()
    row(page, 3).get_by_label("Remove").uncheck()
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_text("Saved.")).to_be_visible()
    assert list(Project.objects.get().labels.values_list("name", flat=True)) == ["bearish", "bullish"]


def test_guidelines_are_shown_as_they_will_be_read(settings_page):
    page = settings_page
    page.get_by_label("What tells the labels apart").fill("## Hard cases\n\n- **Sarcasm** counts as bearish")
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_role("heading", name="Hard cases")).to_be_visible()
    by_more(page, "Guidelines")
    expect(page.locator(".prose strong")).to_have_text("Sarcasm")


def test_an_admin_leaves_by_the_menu_and_is_out(settings_page):
    page = settings_page
    page.locator("summary", has_text="ada").click()
    page.get_by_role("button", name="Log out").click()
    expect(page.get_by_role("heading", name="Log in")).to_be_visible()
    page.goto("/account")
    expect(page.get_by_role("heading", name="Log in")).to_be_visible()
