"""The whole site with one of everything in it, asked in this process; whatever a case changes is undone after it."""

import csv
import io
import re
import tempfile
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from unittest import mock
from urllib.parse import parse_qs, urlsplit

from django.conf import settings
from django.core.signals import request_finished, request_started
from django.db import close_old_connections, connection, transaction
from django.db.models import Sum
from django.http import HttpResponse, QueryDict
from django.test import Client

from annotate import images
from annotate.importing import running
from annotate.models import ApiToken, Image, ImportRun, Post, Tally, User, Vote
from annotate.models.importing import ImportState
from modeling.answering import questions
from tests.test_access import ROWS, address_of

from .doors import TRACEBACK, is_sentence

# Who has which post on the screen: a page that refuses an answer shows a post again.
LEASE = "to_jsonb(t) - '{holder_id,tab,held_since,held_until}'::text[]"
# What may change although a request was refused: who is logged in, how often somebody tried, when a token was used.
RESTLESS = {
    "django_session",
    "axes_accessattempt",
    "axes_accessfailurelog",
    "axes_accesslog",
    "annotate_apitoken",
    "annotate_allowance",
}


@dataclass
class Form:
    """As a page holds it, with the values that it offers."""

    action: str
    is_post: bool
    fields: dict[str, list[str]] = field(default_factory=dict)  # by name what it begins with
    offered: dict[str, list[str]] = field(default_factory=dict)
    files: set[str] = field(default_factory=set)


class Forms(HTMLParser):
    """Every form of a page, and every address that it links to."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.page, self.forms, self.links = page, [], []  # type: ignore[var-annotated]
        self.form: Form | None = None
        self.by_id: dict[str, Form] = {}
        self.select = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        told = {name: value or "" for name, value in attrs}
        if tag == "a" and told.get("href", "").startswith(("/", "?")):
            self.links.append(told["href"])
        if tag == "form":
            address = told.get("action") or self.page
            self.form = Form(
                address if address.startswith("/") else self.page, told.get("method", "").lower() == "post"
            )
            self.forms.append(self.form)
            self.by_id[told.get("id", "")] = self.form
        form = self.by_id.get(told.get("form", ""), self.form) if "form" in told else self.form
        name = told.get("name", "")
        if form is None:
            return
        if tag == "option" and self.select:
            form.offered.setdefault(self.select, []).append(told.get("value", ""))
            if "selected" in told:
                form.fields.setdefault(self.select, []).append(told.get("value", ""))
        elif tag == "select" and name:
            self.select = name
            form.offered.setdefault(name, [])
        elif tag in {"input", "textarea", "button"} and name and name != "csrfmiddlewaretoken":
            self.take(form, name, told)

    def take(self, form: Form, name: str, told: dict[str, str]) -> None:
        if told.get("type") == "file":
            form.files.add(name)
            return
        value = told.get("value", "on" if told.get("type") == "checkbox" else "")
        form.offered.setdefault(name, []).append(value)
        if told.get("type") not in {"checkbox", "radio"} or "checked" in told:
            form.fields.setdefault(name, []).append(value)

    def handle_endtag(self, tag: str) -> None:
        if tag == "form":
            self.form = None
        if tag == "select":
            self.select = ""


class Site:
    """Built once for a door; then each case begins from the same tables and the same files."""

    def __init__(self, world: dict[str, Any], folder: Path) -> None:
        self.world = world
        self.slug: str = world["given"]["slug"]
        self.people: dict[str, User] = world["people"]
        self.temporary = folder / "temporary"
        self.temporary.mkdir()
        tempfile.tempdir = str(self.temporary)
        settings.FILE_UPLOAD_TEMP_DIR = str(self.temporary)
        questions.PATIENCE = 0.0  # nobody answers here
        self.clients = {}
        for name, person in self.people.items():
            self.clients[name] = Client(raise_request_exception=True)
            self.clients[name].force_login(person)
        self.tokens = {name: ApiToken.issue(person, "fuzz")[1] for name, person in self.people.items()}
        self.tables = [name for name in connection.introspection.table_names() if name not in RESTLESS]
        self.files = self.stored()

    # --- Undone, and compared

    @contextmanager
    def undone(self) -> Iterator[None]:
        for signal in (request_started, request_finished):  # which would close a connection in mid-transaction
            signal.disconnect(close_old_connections)
        try:
            with transaction.atomic():
                try:
                    yield
                finally:
                    transaction.set_rollback(True)
            assert not list(self.temporary.iterdir()), "a temporary file was left behind"
        finally:
            for path in self.stored() - self.files:
                path.unlink()
            for path in self.temporary.glob("*"):
                path.unlink() if path.is_file() else None

    def stored(self) -> set[Path]:
        root = Path(settings.MEDIA_ROOT)
        return {path for path in root.rglob("*") if path.is_file()}

    def state(self) -> dict[str, str]:
        """Of every table a digest of all its rows."""
        row = {name: f"({LEASE if name == 'annotate_disagreement' else 't'})::text" for name in self.tables}
        parts = [
            f"SELECT '{name}', count(*) || md5(coalesce(string_agg({row[name]}, '|' ORDER BY {row[name]}), '')) "
            f'FROM "{name}" t'
            for name in self.tables
        ]
        with connection.cursor() as cursor:
            cursor.execute(" UNION ALL ".join(parts))
            return dict(cursor.fetchall())

    @contextmanager
    def unchanged_if_refused(self) -> Iterator[list[Any]]:
        """What is put into the list is the response."""
        before, files, held = self.state(), self.stored(), []  # type: ignore[var-annotated]
        yield held
        [response] = held
        if 400 <= response.status_code < 500:
            after = self.state()
            changed = [name for name in self.tables if after[name] != before[name]]
            assert not changed, f"refused ({response.status_code}), and yet written: {changed}"
            assert self.stored() == files, "refused, and yet a file was left"

    # --- Addresses

    def address(self, name: str) -> str:
        return address_of(name, self.world)

    def pages(self, method: str = "GET") -> list[str]:
        """The names of all pages; the way out is left alone."""
        return [
            row[1]
            for row in ROWS
            if row[0] == method and row[1] not in {"logout", "admin:login", "admin:index"} and ":" not in row[1]
        ]


def check_response(response: HttpResponse) -> None:
    assert response.status_code < 500 or response.status_code == 503, response.status_code
    if response.streaming:
        b"".join(response.streaming_content)  # type: ignore[attr-defined]
        return
    text = response.content.decode("utf-8", "replace")
    assert TRACEBACK not in text
    if 300 <= response.status_code < 400:
        there = urlsplit(response["Location"].replace("\\", "/"))
        assert (there.scheme, there.netloc) == ("", ""), response["Location"]
        assert "\n" not in response["Location"]
    kind = response.headers.get("Content-Type", "")
    if kind.startswith("text/html"):
        assert not re.search(r"<script>alert|<img src=x", text), "somebody's script stands in the page"


# --- What pages can be asked


@contextmanager
def recorded(names: set[str]) -> Iterator[None]:
    """Which names a request looks at."""

    def noting(method: str) -> Any:
        original = getattr(QueryDict, method, None) or getattr(dict, method)

        def noted(self: Any, key: Any, *rest: Any) -> Any:
            if isinstance(key, str):
                names.add(key)
            return original(self, key, *rest)

        return mock.patch.object(QueryDict, method, noted)

    with noting("__getitem__"), noting("get"), noting("getlist"), noting("__contains__"):
        yield


@dataclass
class Known:
    """By page the names that it looks at in the query, and values that mean something under each name."""

    asked: dict[str, list[str]]
    values: dict[str, list[str]]
    forms: list[Form]


def known(site: Site) -> Known:
    asked: dict[str, set[str]] = defaultdict(set)
    values: dict[str, set[str]] = defaultdict(set)
    forms: dict[tuple[str, frozenset[str]], Form] = {}
    for page in site.pages():
        address = site.address(page)
        for _ in range(2):
            with site.undone():
                names: set[str] = set()
                query = dict.fromkeys(asked[page], "1")
                with recorded(names):
                    response = site.clients["root"].get(address, query)
                asked[page] |= names
            if response.streaming or not response.headers.get("Content-Type", "").startswith("text/html"):
                continue
            read = Forms(address)
            read.feed(response.content.decode())
            for link in read.links:
                for name, told in parse_qs(urlsplit(link).query).items():
                    values[name].update(told)
            for form in read.forms:
                for name, told in form.offered.items():
                    values[name].update(told)
                if form.is_post and not form.action.startswith(("/logout", "/admin")):
                    forms.setdefault((form.action, frozenset(form.offered)), form)
                elif not form.is_post:
                    asked[page] |= set(form.offered)
    for page in site.pages("POST"):
        posted: set[str] = set()
        address = site.address(page)
        with site.undone(), recorded(posted):
            site.clients["root"].post(address, {"sent": "1"})
        bare = Form(address, True, {name: [""] for name in posted - {"csrfmiddlewaretoken"}})
        forms.setdefault((address, frozenset(bare.fields)), bare)
    return Known(
        {page: sorted(names) for page, names in asked.items()},
        {name: sorted(told) for name, told in values.items()},
        list(forms.values()),
    )


# --- An import, from its file to its report


def carried_out(run: ImportRun) -> None:
    """Its figures, its report, the tables and the files tell one story."""
    project, before = run.project, (Post.objects.count(), Vote.objects.count())
    assert running.carry_out(run)
    run.refresh_from_db()
    assert run.state in {ImportState.DONE, ImportState.FAILED}, run.state
    assert (run.state == ImportState.FAILED) == bool(run.error)
    assert not run.error or is_sentence(run.error), run.error
    assert run.report, "no report"
    with (Path(settings.MEDIA_ROOT) / run.report).open(encoding="utf-8-sig", newline="") as file:
        header, *lines = csv.reader(io.StringIO(file.read(), newline=""))
    assert header == ["row", "id", "outcome", "detail"]
    outcomes = [line[2] for line in lines]
    counted = tuple(outcomes.count(name) for name in ("imported", "already there", "refused"))
    assert counted == (run.imported, run.already, run.refused), f"{counted} in the report"
    assert Post.objects.count() - before[0] == run.imported == Post.objects.filter(import_run=run).count()
    assert Vote.objects.count() - before[1] == run.votes
    assert (Tally.objects.filter(project=project).aggregate(n=Sum("posts"))["n"] or 0) == project.posts.count()
    assert all(detail for _, _, outcome, detail in lines if outcome == "refused")
    stored = {path.name for path in Path(settings.MEDIA_ROOT).rglob("*")}
    assert not [name for name in stored if name.endswith(".part")]
    wanted = {Path(images.path_of(image.sha256, image.format)).name for image in Image.objects.all()}
    lost = wanted - stored
    assert not lost, f"pictures in the table that lie nowhere: {lost}"
