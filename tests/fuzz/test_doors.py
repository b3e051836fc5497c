"""Every door from outside, tried with damaged files, hostile words and numbers that fit nowhere. More: `make fuzz`."""

import tempfile
from collections.abc import Iterator

import pytest
from django.core.signals import request_finished, request_started
from django.db import close_old_connections

from modeling.models import Run
from tests.test_access import world as world

from .doors import FILES, Door
from .site import Site
from .site_doors import SITE, SiteDoor
from .trying import attempts
from .word_doors import WORDS

SHARES = sum(door.share for door in [*FILES, *WORDS]) + sum(door.share for door in SITE)


@pytest.mark.parametrize("door", [*FILES, *WORDS], ids=lambda door: door.name)
def test_whatever_comes_in_is_read_or_refused_in_words(door: Door, record_property) -> None:
    attempts(door, SHARES, record_property)


@pytest.fixture
def site(world, tmp_path, settings, monkeypatch) -> Iterator[Site]:
    settings.DEBUG_PROPAGATE_EXCEPTIONS = True  # with its place, instead of a page that says sorry
    settings.ALLOWED_HOSTS = ["*"]
    Run.objects.create(
        project=Run.objects.get(pk=world["given"]["run_id"]).project,
        dataset=Run.objects.get(pk=world["given"]["run_id"]).dataset,
        config={"model": "tiny"},
        state="done",
        receipt={"model": "tiny", "adapter": "ab"},
    )
    monkeypatch.setattr(tempfile, "tempdir", tempfile.gettempdir())
    monkeypatch.setattr("modeling.answering.questions.PATIENCE", 0.0)
    yield Site(world, tmp_path)
    for signal in (request_started, request_finished):
        signal.connect(close_old_connections)


@pytest.mark.parametrize("door", SITE, ids=lambda door: door.name)
def test_the_site_answers_or_refuses_and_writes_nothing_by_half(site: Site, door: SiteDoor, record_property) -> None:
    attempts(door.of(site), SHARES, record_property)
