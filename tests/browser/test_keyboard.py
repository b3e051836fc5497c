"""Everything without a mouse: where Tab goes, that one sees it, and that one gets out again."""

import pytest
from playwright.sync_api import expect

from annotate import tasks
from annotate.models import ImportRun, Role
from tests.make import make_member, make_post, make_project

# Where the focus is: in words, whether its ring can be seen, and whether something lies over it.
FOCUS = """() => {
  const one = document.activeElement;
  if (one === document.body) return null;
  const box = one.getBoundingClientRect();
  const at = document.elementFromPoint(box.x + box.width / 2, box.y + box.height / 2);
  const own = [one, ...(one.labels ?? [])];
  const seen = Boolean(at) && (at.contains(one) || own.some((part) => part.contains(at)));
  const style = getComputedStyle(one);
  const inside = one.type === "date"; // whose parts have rings of their own
  const ring = inside || (style.outlineStyle !== "none" && parseFloat(style.outlineWidth) >= 1);
  return {name: one.outerHTML.slice(0, 120), seen, ring};
}"""
PAGES = (
    "", "posts?as=list&order=oldest", "guidelines", "imports", "imports/new", "settings", "people",
    "votes", "voters/new",
)  # fmt: skip


@pytest.fixture
def project(live_server):
    project = make_project("Memes", guidelines="# When in doubt\n\nA *rise*, or [hope](/).")
    for number in range(3):
        make_post(project, f"post number {number}", label="bullish", external_id=f"p{number}")
    ImportRun.objects.create(project=project, name="posts.csv", state="done")
    return project


@pytest.fixture
def page(page, login, project):
    login(page, make_member(project, Role.ADMIN, "ada"))
    return page


def tab_through(page, most=120):
    """Every stop, up to the end of the page."""
    stops = []
    for _ in range(most):
        page.keyboard.press("Tab")
        focus = page.evaluate(FOCUS)
        if focus is None or (stops and focus["name"] == stops[0]["name"]):
            return stops
        stops.append(focus)
    raise AssertionError(f"Tab never leaves the page; it ended on {stops[-1]['name']}")


def tab_to(page, wanted, most=80):
    for _ in range(most):
        page.keyboard.press("Tab")
        if wanted.evaluate("(one) => one === document.activeElement"):
            return
    raise AssertionError(f"Tab does not reach {wanted}")


def test_tab_visits_everything_and_one_sees_where_one_is(page):
    for address in PAGES:
        page.goto(f"/p/memes/{address}")
        stops = tab_through(page)
        assert len(stops) > 5
        covered = [stop["name"] for stop in stops if not stop["seen"]]
        assert not covered, f"{page.url}: focus behind something else: {covered}"
        ringless = [stop["name"] for stop in stops if not stop["ring"]]
        assert not ringless, f"{page.url}: focus that nobody sees: {ringless}"


def test_the_first_stop_skips_the_menu(page):
    page.goto("/p/memes/posts")
    page.keyboard.press("Tab")
    skip = page.get_by_role("link", name="Skip to the content")
    expect(skip).to_be_focused()
    expect(skip).to_be_in_viewport()
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    expect(page.locator("main :focus")).to_have_count(1)


def test_a_menu_opens_closes_and_lets_go(page):
    page.goto("/p/memes/")
    menu = page.locator("summary", has_text="ada")
    tab_to(page, menu)
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Projects")).to_be_focused()
    page.keyboard.press("Escape")
    expect(menu).to_be_focused()
    expect(page.get_by_role("link", name="Projects")).to_be_hidden()
    page.keyboard.press("Enter")
    tab_to(page, page.get_by_role("button", name="Log out"))
    page.keyboard.press("Tab")
    expect(page.get_by_role("button", name="Log out")).to_be_hidden()


def test_a_file_is_imported(page, project, tmp_path):
    path = tmp_path / "posts.csv"
    path.write_text("tweet,mood\ngm,bullish\n")
    page.goto("/p/memes/imports")
    tab_to(page, page.get_by_role("link", name="Import posts"))
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="Import posts")).to_be_visible()
    tab_to(page, page.get_by_label("A file with posts"))
    with page.expect_file_chooser() as chooser:
        page.keyboard.press("Space")
    chooser.value.set_files(path)
    tab_to(page, page.get_by_role("button", name="Upload and preview"))
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="The first rows")).to_be_visible()
    tab_to(page, page.get_by_label("Known label"))
    page.keyboard.type("mood")
    tab_to(page, page.get_by_role("button", name="Import", exact=True))
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="Waiting")).to_be_visible()
    tasks.import_posts(ImportRun.objects.latest("pk").pk)
    tab_to(page, page.get_by_role("link", name="See the posts"))
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="Posts 4")).to_be_visible()
    assert project.posts.get(text="gm").label.name == "bullish"


def test_labels_are_edited(page):
    page.goto("/p/memes/settings")
    tab_to(page, page.get_by_role("button", name="Add a label"))
    page.keyboard.press("Enter")
    page.keyboard.type("sarcastic")
    page.keyboard.press("Tab")
    page.keyboard.type("9")
    page.keyboard.press("Enter")
    expect(page.get_by_text("Saved.")).to_be_visible()
    expect(page.locator("#id_labels-3-name")).to_have_value("sarcastic")


def test_posts_are_filtered_and_opened(page):
    page.goto("/p/memes/posts")
    tab_to(page, page.get_by_label("Words"))
    page.keyboard.type("number 2")
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="Posts 1 match")).to_be_visible()
    tab_to(page, page.locator("a.card"))
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="p2")).to_be_visible()


def test_j_and_k_are_letters_where_one_types(page):
    page.goto("/p/memes/posts")
    page.get_by_label("Words").click()
    page.keyboard.type("jk")
    expect(page.get_by_label("Words")).to_have_value("jk")
