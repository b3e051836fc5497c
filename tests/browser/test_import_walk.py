"""A file's way from the disk to the posts, and every way in which it goes wrong. Who imports is an admin."""

import csv
from datetime import timedelta
from pathlib import Path

import pytest
from django.utils import timezone
from django_q.models import OrmQ
from playwright.sync_api import expect

from annotate import tasks
from annotate.importing.running import carry_out
from annotate.models import ImportRun, Role
from tests.make import make_member, make_project

TABLE = "id,tweet,mood,gpt-4o-mini,gemini-pro\n1,gm,bullish,bullish,bullish\n2,ngmi,bearish,bearish,bullish\n"
DROP = """(files) => {
  const held = new DataTransfer();
  for (const [name, text] of files) held.items.add(new File([text], name));
  const dropped = new DragEvent("drop", {dataTransfer: held, bubbles: true, cancelable: true});
  document.querySelector("main").dispatchEvent(dropped);
}"""


@pytest.fixture
def project(live_server):
    return make_project("Memes")


@pytest.fixture
def page(page, login, project):
    login(page, make_member(project, Role.ADMIN, "ada"))
    page.goto(f"/p/{project.slug}/imports/new")
    return page


@pytest.fixture
def upload(page, tmp_path):
    def send(content: str | bytes = TABLE, name: str = "posts.csv") -> None:
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        with page.expect_file_chooser() as chooser:
            page.get_by_label("A file with posts").click()
        chooser.value.set_files(path)
        page.get_by_role("button", name="Upload and preview").click()

    return send


@pytest.fixture
def long_import(page, upload):
    """One of three batches, up to the click that starts it."""
    upload("text\n" + "".join(f"text {n}\n" for n in range(2500)))
    start(page)
    expect(page.get_by_role("heading", name="Waiting")).to_be_visible()
    return ImportRun.objects.get()


def start(page):
    page.get_by_role("button", name="Import", exact=True).click()


def work_off():
    """What the queue's worker does."""
    for run in ImportRun.objects.filter(state="queued"):
        tasks.import_posts(run.pk)


def figure(page, name):
    return page.locator(".figures > div").filter(has=page.get_by_text(name, exact=True)).locator("dd")


def test_a_table_becomes_posts(page, upload, project):
    upload()
    expect(page.get_by_text("Read as CSV, about 2 rows.")).to_be_visible()
    expect(page.get_by_label("Text")).to_have_value("tweet")
    expect(page.get_by_label("Id", exact=True)).to_have_value("id")
    expect(page.get_by_label("gpt-4o-mini")).to_be_checked()
    page.get_by_label("Known label").select_option("mood")
    page.get_by_label("mood").uncheck()
    start(page)
    expect(page.get_by_role("heading", name="Waiting")).to_be_visible()
    work_off()
    expect(page.get_by_role("heading", name="Done")).to_be_visible()  # the page asks by itself
    expect(figure(page, "Imported")).to_have_text("2")
    expect(figure(page, "Votes that came along")).to_have_text("4")
    page.get_by_role("link", name="See the posts").click()
    expect(page.get_by_role("heading", name="Posts 2")).to_be_visible()
    assert set(project.posts.values_list("text", "label__name")) == {("gm", "bullish"), ("ngmi", "bearish")}


def test_a_file_is_dropped_anywhere_on_the_page(page):
    page.evaluate(DROP, [["dropped.csv", TABLE]])
    page.get_by_role("button", name="Upload and preview").click()
    expect(page.get_by_role("heading", name="dropped.csv")).to_be_visible()


def test_of_two_dropped_files_none_is_taken_in_silence(page):
    page.evaluate(DROP, [["one.csv", TABLE], ["two.csv", TABLE]])
    expect(page.get_by_text("One file at a time, please.")).to_be_visible()


def test_a_file_that_cannot_be_read_says_what_to_do(page, upload):
    upload(b"%PDF-1.7 and so on", "posts.pdf")
    expect(page.get_by_role("heading", name="This file cannot be imported")).to_be_visible()
    expect(page.get_by_text("This is a PDF. Export the posts as CSV or JSON.")).to_be_visible()
    page.get_by_role("link", name="Choose another file").click()
    upload()
    expect(page.get_by_role("heading", name="The first rows")).to_be_visible()


def test_an_empty_or_missing_file_is_refused_on_the_spot(page, upload):
    page.get_by_label("A file with posts").evaluate("(input) => input.required = false")  # the browser asks first
    page.get_by_role("button", name="Upload and preview").click()
    expect(page.get_by_text("Choose a file first.")).to_be_visible()
    upload(b"")
    expect(page.get_by_text("That file is empty.")).to_be_visible()
    upload()
    expect(page.get_by_role("heading", name="The first rows")).to_be_visible()


def test_a_mapping_without_text_or_picture_is_sent_back(page, upload):
    upload()
    page.get_by_label("Text").select_option("none")
    page.get_by_label("Id", exact=True).select_option("from the content")  # with ids, votes alone would be enough
    start(page)
    expect(page.get_by_role("alert")).to_contain_text("Say which column holds the text or the picture")
    expect(page.get_by_label("gpt-4o-mini")).to_be_checked()  # what was chosen stays chosen
    page.get_by_label("Text").select_option("tweet")
    start(page)
    expect(page.get_by_role("heading", name="Waiting")).to_be_visible()


def test_broken_rows_cost_themselves_and_are_in_the_report(page, upload):
    upload("id,text,date\n1,gm,2025-11-14\n2,,\n3,wen,the day after\n4,hodl,2025-11-14\n")
    start(page)
    work_off()
    expect(figure(page, "Imported")).to_have_text("2")
    expect(figure(page, "Refused")).to_have_text("2")
    expect(page.get_by_text("2 rows could not be imported; the report gives the reason for each.")).to_be_visible()
    with page.expect_download() as download:
        page.get_by_role("link", name="Report, row by row").click()
    with Path(download.value.path()).open(encoding="utf-8-sig") as file:
        lines = {line["id"] or line["row"]: line for line in csv.DictReader(file)}
    assert [line["outcome"] for line in lines.values()].count("refused") == 2
    assert any("neither text nor a picture" in line["detail"] for line in lines.values())


def test_where_no_row_is_any_good_the_reasons_come_first(page, upload):
    upload('[{"image": "far-away.png", "id": 1}]', "posts.json")
    expect(page.get_by_role("heading", name="The first rows")).to_be_visible()
    start(page)
    work_off()
    expect(page.get_by_text("No row could be imported; the report gives the reason for each.")).to_be_visible()


def test_a_connection_that_breaks_says_so_and_the_file_can_be_sent_again(page, upload, complaints):
    page.context.set_offline(True)
    upload()
    expect(page.get_by_text("The connection broke. Nothing was imported; try again.")).to_be_visible()
    page.context.set_offline(False)
    page.get_by_role("button", name="Upload and preview").click()
    expect(page.get_by_role("heading", name="The first rows")).to_be_visible()
    assert ImportRun.objects.count() == 1
    complaints.clear()  # the browser itself reports what it could not reach


def test_a_click_too_many_starts_it_once(page, upload):
    upload()
    page.get_by_role("button", name="Import", exact=True).dblclick()
    expect(page.get_by_role("heading", name="Waiting")).to_be_visible()
    expect(page.locator(".notices")).to_have_count(0)
    assert OrmQ.objects.count() == 1


def test_a_second_tab_does_not_start_it_again(page, upload, open_page):
    upload()
    expect(page.get_by_role("heading", name="The first rows")).to_be_visible()
    other = open_page(page.context)
    other.goto(page.url)
    start(page)
    expect(page.get_by_role("heading", name="Waiting")).to_be_visible()
    work_off()
    start(other)
    expect(other.get_by_role("heading", name="Done")).to_be_visible()
    expect(figure(other, "Imported")).to_have_text("2")
    assert OrmQ.objects.count() == 1


def test_back_from_the_preview_another_file_can_be_sent(page, upload):
    upload()
    expect(page.get_by_role("heading", name="The first rows")).to_be_visible()
    page.go_back()
    upload(name="other.csv")
    expect(page.get_by_role("heading", name="other.csv")).to_be_visible()


def test_back_from_the_progress_is_no_second_start(page, upload):
    upload()
    start(page)
    expect(page.get_by_role("heading", name="Waiting")).to_be_visible()
    work_off()
    page.go_back()
    expect(page.get_by_role("heading", name="Done")).to_be_visible()
    expect(page.get_by_role("button", name="Import", exact=True)).to_have_count(0)


def test_progress_is_shown_batch_by_batch_and_stops_when_told(page, long_import):
    shown = []

    def watch(run):
        expect(figure(page, "Imported")).to_have_text(f"{run.imported:,}")
        expect(page.get_by_role("progressbar", name="Rows done")).to_have_attribute("value", str(run.done))
        shown.append(run.imported)
        if not run.stop_asked:
            page.get_by_role("button", name="Stop").click()
            expect(page.get_by_role("button", name="Stopping")).to_be_disabled()

    carry_out(long_import, progress=watch)
    assert shown == [1000, 2000]
    expect(page.get_by_role("heading", name="Stopped")).to_be_visible()

    page.get_by_role("button", name="Run it again").click()
    expect(page.get_by_role("heading", name="Waiting")).to_be_visible()
    work_off()
    expect(page.get_by_role("heading", name="Done")).to_be_visible()
    expect(figure(page, "Imported")).to_have_text("500")
    expect(figure(page, "Already there")).to_have_text("2,000")


def test_one_that_waits_is_stopped_at_once(page, long_import):
    page.get_by_role("button", name="Stop").click()
    expect(page.get_by_role("heading", name="Stopped")).to_be_visible()


def test_the_stop_button_outlives_the_pages_questions(page, long_import):
    """The focus stays on it, and a press that spans a question counts."""
    stop = page.get_by_role("button", name="Stop")
    stop.focus()
    with page.expect_response("**/progress") as answer:
        pass
    answer.value.finished()
    expect(stop).to_be_focused()
    stop.hover()
    page.mouse.down()
    with page.expect_response("**/progress"):
        pass
    page.mouse.up()
    expect(page.get_by_role("heading", name="Stopped")).to_be_visible()


def test_a_run_that_nobody_works_on_can_be_taken_up_by_hand(page, long_import):
    long_import.claim()
    ImportRun.objects.update(heartbeat=timezone.now() - timedelta(minutes=5))
    expect(page.get_by_role("heading", name="Interrupted")).to_be_visible()
    page.get_by_role("button", name="Run it again").click()
    expect(page.get_by_role("heading", name="Waiting")).to_be_visible()


def test_a_page_that_asks_in_vain_says_so(page, long_import, complaints):
    page.route("**/progress", lambda route: route.abort())
    expect(page.get_by_text("The server cannot be reached. This page keeps trying.")).to_be_visible()
    page.unroute("**/progress")
    expect(page.get_by_text("The server cannot be reached.")).to_be_hidden()
    complaints.clear()


def test_who_is_logged_out_meanwhile_comes_back_after_logging_in(page, long_import, login):
    address = page.url
    page.context.clear_cookies()
    expect(page.get_by_role("heading", name="Log in")).to_be_visible()
    login(page, long_import.by)
    page.reload()
    expect(page).to_have_url(address)
    expect(page.get_by_role("heading", name="Waiting")).to_be_visible()


def test_the_list_of_imports_leads_to_each(page, long_import):
    work_off()
    page.get_by_role("link", name="All imports").click()
    expect(page.get_by_role("row").filter(has_text="posts.csv")).to_contain_text("2,500")
    page.get_by_role("link", name="posts.csv").click()
    expect(page.get_by_role("heading", name="Done")).to_be_visible()
