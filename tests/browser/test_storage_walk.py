"""A site admin reads what takes room on two machines, and says how much a project may hold."""

from datetime import timedelta

import pytest
from django.utils import timezone
from playwright.sync_api import expect

from annotate.models import Place
from annotate.operating import measuring, upkeep
from tests.make import make_post, make_project, make_user

from .test_accessibility import DESK, PHONE, WHAT_SPILLS_OVER

pytestmark = pytest.mark.django_db(transaction=True)
HELD = {
    "what": "Folders of runs",
    "bytes": 38 * 1024**3,
    "count": 14,
    "unit": "folder",
    "told": "And logs.",
}
MAY_GO = {"rule": "checkpoints", "count": 9, "bytes": 2**35, "few": [{"what": "Run 4 of Memes", "bytes": 2**32}]}


@pytest.fixture
def memes(page, login, settings, tmp_path):
    settings.VAR_DIR = tmp_path
    project = make_project("Memes")
    make_post(project)
    upkeep.look_after(upkeep.place_of(measuring.SHARED))
    upkeep.look_after(upkeep.place_of(upkeep.key_of_own()))
    Place.objects.create(
        key="away", machine="gpu-1.example.org", measured=timezone.now() - timedelta(days=2), free=[2**39],
        taken=[HELD], found=[MAY_GO],
    )  # fmt: skip
    login(page, make_user("root", is_superuser=True))
    return project


def test_what_a_project_may_hold_is_said_and_seen(page, memes, axe):
    page.goto("/site/storage")
    page.get_by_label("Posts it may hold, Memes").fill("1")
    page.get_by_role("button", name="Save Memes").click()
    expect(page.get_by_text("Saved for Memes.")).to_be_visible()
    expect(page.get_by_text("full", exact=True)).to_be_visible()
    page.set_viewport_size(PHONE)
    assert page.evaluate(WHAT_SPILLS_OVER) == []
    page.set_viewport_size(DESK)
    axe(page)
    page.get_by_role("link", name="0 bytes").click()
    expect(
        page.get_by_text("Memes is full: it takes no more posts; votes on those that are there are welcome.")
    ).to_be_visible()
    axe(page)


def test_figures_come_by_themselves_once_they_are_measured(page, memes):
    page.goto("/site/storage")
    page.get_by_role("button", name="Measure again").click()
    expect(page.get_by_text("Being measured.")).to_be_visible()
    Place.objects.get(key="away").delete()
    for place in Place.objects.all():
        upkeep.look_after(place)
    expect(page.get_by_text("Being measured.")).to_be_hidden(timeout=30_000)


def test_what_is_ticked_is_asked_of_every_machine_and_one_that_is_gone_is_forgotten(page, memes):
    page.goto("/site/storage")
    page.get_by_role("button", name="Remove what is ticked").click()
    expect(page.get_by_text("removed within a minute")).to_be_visible()
    assert {tuple(place.rules) for place in Place.objects.all()} == {("checkpoints",)}
    page.get_by_role("button", name="Forget it").click()
    expect(page.get_by_text("gpu-1.example.org")).to_be_hidden()
