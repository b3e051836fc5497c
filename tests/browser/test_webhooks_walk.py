"""A webhook from its address to the message that arrived, by clicks and by keys."""

import pytest
from playwright.sync_api import expect

from annotate import tasks
from annotate.models import Delivery, Event, Webhook
from tests.browser.menus import by_more
from tests.make import make_project, make_user
from tests.receiver import receiving


@pytest.fixture
def receiver():
    with receiving() as server:
        yield server


def test_a_site_admin_has_a_program_told_and_reads_what_happened(page, login, live_server, receiver):
    project = make_project("Memes")
    login(page, make_user("ada", is_superuser=True, is_staff=True))
    page.goto(f"/p/{project.slug}/")
    by_more(page, "Webhooks")
    page.get_by_label("Address").fill(receiver.address)
    page.get_by_label("It is inside our own network").check()
    page.get_by_label("A dataset was frozen").check()
    page.keyboard.press("Enter")
    secret = page.get_by_role("textbox", name="Secret").input_value()
    assert secret.startswith("whsec_")

    page.get_by_role("button", name="Send a test").focus()
    page.keyboard.press("Enter")
    expect(page.get_by_text("A test is on its way.")).to_be_visible()
    expect(page.get_by_text("not tried yet")).to_be_visible()
    made = Webhook.objects.get()
    tasks.deliver_one(made.pk, Delivery.objects.get().pk)
    expect(page.get_by_text("Delivered")).to_be_visible()  # the page looks by itself
    expect(page.get_by_text("answered 204")).to_be_visible()
    expect(page.get_by_text(secret)).to_have_count(0)

    receiver.script = [410]
    Event.record("dataset frozen", project=project, dataset="v1.0", posts=3)
    tasks.deliver(made.pk)
    page.reload()
    expect(page.get_by_text("It answered 410")).to_be_visible()
    page.get_by_role("button", name="Turn it on").click()
    expect(page.get_by_text("It is on:")).to_be_visible()
    page.get_by_role("link", name="Delete").click()
    page.get_by_role("button", name="Delete it").click()
    expect(page.get_by_text("Nobody is told yet.")).to_be_visible()

    page.get_by_role("link", name="All that happened").click()
    page.get_by_label("What", exact=True).select_option("webhook switched off")
    page.get_by_role("button", name="Filter").click()
    expect(page.get_by_role("row")).to_have_count(2)
    assert page.url.endswith("/events?verb=webhook+switched+off")
