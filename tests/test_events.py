"""The event log as admins read it: narrowed by its address, page by page, into a file, and never changed."""

import ast
import csv
import io
import json
from datetime import UTC, datetime, timedelta
from unittest import mock

import pytest
from django.core.management import CommandError, call_command
from django.db import DatabaseError, connection, transaction
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from django.utils.html import strip_tags

from annotate import event_words, events
from annotate.models import Event, Role
from annotate.webhooks import kinds
from modeling.prelabelling import prelabelling

from .make import make_member, make_post, make_project, make_user
from .test_structure import ROOMS, modules

pytestmark = pytest.mark.django_db
START = datetime(2025, 11, 14, 9, 0, tzinfo=UTC)


@pytest.fixture
def project():
    return make_project("Memes")


@pytest.fixture
def ada(client, project):
    user = make_member(project, Role.ADMIN, "ada")
    client.force_login(user)
    return user


def happen(verb, at=None, **named):
    """As if it had happened then."""
    with mock.patch.object(timezone, "now", return_value=at or timezone.now()):
        Event.record(verb, **named)


@pytest.fixture
def week(project, ada):
    """Two things a day, by two people and by itself."""
    kim = make_member(project, Role.LEAD, "kim")
    for day in range(7):
        at = START + timedelta(days=day)
        happen("voting done", at, project=project, run=day, votes=100 + day)
        happen("settings changed", at + timedelta(hours=1), user=kim if day % 2 else ada, project=project)
    return kim


def listed(client, project, **query):
    page = client.get(f"/p/{project.slug}/events", query)
    assert page.status_code == 200
    return [event for event, _ in page.context["rows"]]


def told_of(client, project, **query):
    return [(event.verb, event.at.day) for event in listed(client, project, **query)]


def test_it_is_narrowed_by_what_who_when_and_what_about(client, project, week, ada):
    assert len(listed(client, project)) == 14
    assert {event.verb for event in listed(client, project, verb="voting done")} == {"voting done"}
    assert told_of(client, project, who="kim") == [("settings changed", day) for day in (19, 17, 15)]
    assert len(listed(client, project, who=str(week.pk))) == 3
    assert {event.verb for event in listed(client, project, who="-")} == {"voting done"}
    assert told_of(client, project, since="2025-11-15", until="2025-11-15") == [
        ("settings changed", 15), ("voting done", 15)
    ]  # fmt: skip
    assert told_of(client, project, since="2025-11-20T09:30") == [("settings changed", 20)]
    assert told_of(client, project, until="2025-11-14T09:30Z") == [("voting done", 14)]
    assert told_of(client, project, about="run:3") == [("voting done", 17)]
    assert told_of(client, project, verb="settings changed", who="ada", since="2025-11-17", order="oldest") == [
        ("settings changed", 18), ("settings changed", 20)
    ]  # fmt: skip
    post = make_post(project)
    Event.objects.create(verb="post removed", project=project, post_id=post.pk, data={"reason": "asked"})
    assert [event.verb for event in listed(client, project, about=f"post:{post.pk}")] == ["post removed"]
    assert listed(client, make_project_of(ada), verb="voting done") == []


def make_project_of(user):
    other = make_project("Other")
    other.memberships.create(user=user, role=Role.ADMIN)
    return other


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ({"since": "yesterday"}, "write it as 2025-11-14"),
        ({"until": "2025-13-01"}, "write it as 2025-11-14"),
        ({"since": "0001-01-01T00:00+14:00"}, "write it as"),
        ({"who": "nobody-here"}, "Nobody is called"),
        ({"about": "run"}, "write it as run:12"),
        ({"about": "post:x"}, "by its number"),
    ],
)
def test_what_is_not_understood_is_said(client, project, ada, query, words):
    page = client.get(f"/p/{project.slug}/events", query)
    assert page.status_code == 200
    assert words in page.content.decode()
    assert client.get(f"/p/{project.slug}/events.csv", query).status_code == 400
    assert client.get(f"/api/projects/{project.slug}/events", query).status_code == 422


@pytest.mark.parametrize(
    "query",
    [
        {"after": "x"}, {"before": "20251114T090000.000000Z-0"}, {"after": "99999999T000000.000000Z-1"},
        {"after": "20251114T090000.000000Z-" + "9" * 30}, {"who": "9" * 40}, {"about": "run:" + "9" * 40},
        {"verb": "\0"}, {"about": 'dataset:{"$ne": 1}'}, {"order": "sideways"}, {"end": "1", "after": "y"},
    ],
)  # fmt: skip
def test_whatever_stands_in_the_address_is_no_error(client, project, week, query):
    assert client.get(f"/p/{project.slug}/events", query).status_code == 200
    assert client.get(f"/p/{project.slug}/events.jsonl", query).status_code in (200, 400)


def test_its_pages_hold_each_event_once_from_both_ends(client, project, ada):
    Event.objects.bulk_create(
        Event(verb="voting done", project=project, data={"run": number}) for number in range(2 * events.PAGE + 7)
    )  # of one moment, nearly

    def walked(first, link):
        seen, query = [], first
        while True:
            page = client.get(f"/p/{project.slug}/events", query).context["page"]
            found = [event.pk for event in page.events]
            seen = seen + found if link == "after" else found + seen
            if not getattr(page, link):
                return seen
            query = {link: getattr(page, link)}

    wanted = list(project.events.order_by("-at", "-id").values_list("pk", flat=True))
    assert walked({}, "after") == wanted
    assert walked({"end": "1"}, "before") == wanted


def test_the_first_and_the_last_page_read_no_more_than_they_show(client, project, ada):
    """A million events are read as quickly: each question starts at a key of an index, and ends with its page."""
    Event.objects.bulk_create(
        Event(verb=f"verb {number % 40}", user=ada if number % 9 else None, project=project, data={"run": number})
        for number in range(20_000)
    )
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE annotate_event")
    far = events.write_key(project.events.order_by("at", "id")[200])
    for query in ({}, {"end": "1"}, {"after": far}, {"verb": "verb 7"}, {"who": "ada"}, {"about": "run:77"}):
        asked = events.Asked.of(query)
        for within in (project, None):
            with CaptureQueriesContext(connection) as done:
                events.page_of(events.matching(within, asked)[0], asked, query)
            for statement in (one["sql"] for one in done if '"annotate_event"' in one["sql"]):
                with connection.cursor() as cursor:
                    cursor.execute(f"EXPLAIN (ANALYZE, FORMAT JSON) {statement}")
                    plan = cursor.fetchone()[0][0]["Plan"]
                assert rows_read(plan) <= 4 * events.PAGE, (query, statement)
    assert events.verbs(project) == sorted(f"verb {number}" for number in range(40))
    assert events.people(None) == [ada]


def rows_read(plan):
    """Of the log, by whatever the plan does to it."""
    own = 0
    if plan.get("Relation Name") == "annotate_event":
        own = (plan["Actual Rows"] + plan.get("Rows Removed by Filter", 0)) * plan["Actual Loops"]
    return own + sum(rows_read(part) for part in plan.get("Plans", []))


def test_a_file_holds_what_the_page_shows_and_no_formula(client, project, week, ada):
    make_user("=1+1")
    happen("=cmd|calc", START + timedelta(days=8), project=project, user=ada, name="=2+5")
    answer = client.get(f"/p/{project.slug}/events.csv", {"since": "2025-11-19", "order": "oldest"})
    assert answer.headers["Content-Disposition"].startswith('attachment; filename="memes-events-')
    rows = list(csv.DictReader(io.StringIO(b"".join(answer.streaming_content).decode())))
    assert [row["verb"] for row in rows][:5] == ["voting done", "settings changed"] * 2 + ["'=cmd|calc"]
    assert json.loads(rows[0]["data"]) == {"run": 5, "votes": 105}
    assert rows[0]["address"].endswith("/p/memes/votes/5")
    assert (rows[0]["who"], rows[1]["who"]) == ("", "kim")

    lines = b"".join(client.get(f"/p/{project.slug}/events.jsonl", {"who": "kim"}).streaming_content).decode()
    assert [json.loads(line)["who"] for line in lines.splitlines()] == ["kim"] * 3


def test_a_file_of_many_is_read_in_parts_and_whole(client, project, ada, monkeypatch):
    monkeypatch.setattr(events, "CHUNK", 7)
    Event.objects.bulk_create(Event(verb="voting done", project=project, data={"run": n}) for n in range(50))
    answer = client.get(f"/p/{project.slug}/events.jsonl", {"verb": "voting done"})
    lines = b"".join(answer.streaming_content).decode().splitlines()
    assert sorted(json.loads(line)["data"]["run"] for line in lines) == list(range(50))


def test_reading_is_no_event_and_exporting_is(client, project, ada):
    client.get(f"/p/{project.slug}/events")
    client.get(f"/api/projects/{project.slug}/events")
    client.head(f"/p/{project.slug}/events.csv")
    assert not Event.objects.filter(verb="events exported").exists()
    client.get(f"/p/{project.slug}/events.csv", {"verb": "joined"})
    noted = Event.objects.get(verb="events exported")
    assert (noted.user, noted.project, noted.data) == (ada, project, {"format": "csv", "filter": "verb=joined"})


def test_site_admins_read_all_projects_and_what_belongs_to_none(client, project, week, ada):
    root = make_user("root", is_superuser=True)
    happen("token made", user=root, name="laptop")
    happen("voting done", project=make_project("Other"), run=1)
    Event.objects.create(verb="voting done", project_id=999_999, user_id=888_888)
    client.force_login(root)
    page = client.get("/site/events")
    assert page.status_code == 200
    assert len(page.context["rows"]) == 17
    assert "one that is gone" in page.content.decode()
    assert len(client.get("/site/events", {"project": "memes"}).context["rows"]) == 14
    assert client.get("/site/events", {"project": "no-such"}).context["rows"] == []
    told = b"".join(client.get("/site/events.jsonl", {"who": "888888"}).streaming_content)
    assert json.loads(told)["who"] == "888888"


def test_programs_read_it_page_by_page(client, project, week, ada):
    address, seen, after = f"/api/projects/{project.slug}/events", [], ""
    while True:
        told = client.get(address, {"limit": 5, "after": after, "order": "oldest"}).json()
        seen += told["events"]
        after = told["after"]
        if not after:
            break
    assert [event["at"] for event in seen] == sorted(event["at"] for event in seen)
    assert len(seen) == 14
    assert seen[0] | {"id": 0} == {
        "id": 0, "at": "2025-11-14T09:00:00+00:00", "verb": "voting done", "who": "", "project": "memes", "post": None,
        "address": "http://127.0.0.1:8000/p/memes/votes/0", "data": {"run": 0, "votes": 100},
    }  # fmt: skip


def test_a_lead_reads_it_without_what_admins_noted_of_people(client, project, week, ada):
    happen("invited", project=project, user=ada, role="lead", note="ana@example.com")
    for user, knows in ((ada, True), (week, False)):
        client.force_login(user)
        told = client.get(f"/api/projects/{project.slug}/events").content.decode()
        assert ("ana@example.com" in told) is knows
        assert "ana@example.com" not in client.get(f"/p/{project.slug}/events").content.decode()


def test_the_command_writes_it_out(project, week, capsys):
    call_command("events", "--project", project.slug, "--since", "2025-11-20")
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [line["verb"] for line in lines] == ["voting done", "settings changed"]
    call_command("events", "--site", "--verb", "voting done", "--format", "csv")
    assert len(capsys.readouterr().out.splitlines()) == 8
    assert Event.objects.filter(verb="events exported").count() == 2
    with pytest.raises(CommandError, match="There is no project"):
        call_command("events", "--project", "none")
    with pytest.raises(CommandError, match="write it as"):
        call_command("events", "--project", project.slug, "--since", "soon")


def test_nothing_in_it_is_ever_changed_or_deleted(project, week):
    """Kept by the database itself, also from who writes SQL; and it outlives its project."""
    for statement in ("UPDATE annotate_event SET verb = 'nothing'", "DELETE FROM annotate_event"):
        with pytest.raises(DatabaseError, match="append only"), transaction.atomic(), connection.cursor() as cursor:
            cursor.execute(statement)
    before = Event.objects.count()
    project.delete()
    assert Event.objects.count() == before


def test_each_event_leads_to_what_it_is_about(client, project, ada):
    happen("voting done", project=project, run=5)
    happen("dataset frozen", project=project, dataset="v1.0", posts=3)
    happen("freezing failed", project=project, dataset="no page/has this")
    happen("settings changed", project=project, user=ada)
    happen("demo drawn", project=project)
    places = {event.verb: place for event, place in client.get(f"/p/{project.slug}/events").context["rows"]}
    assert places["voting done"] == "/p/memes/votes/5"
    assert places["dataset frozen"] == "/p/memes/datasets/v1.0"
    assert places["freezing failed"] == ""
    assert places["settings changed"] == "/p/memes/settings"
    assert places["demo drawn"] == ""


# --- In words


def test_it_is_told_in_sentences_to_people_and_in_verbs_to_programs(client, project, ada):
    make_member(project, Role.REVIEWER, "rio")
    happen("labels doubted", project=project, user=ada, posts=12)
    happen("evaluation done", project=project, evaluation=4, predictor="Run 1", dataset="v1", split="holdout")
    happen("round waits for people", project=project, round=3, needs="review")
    happen("voting started", project=project, run=7, voters=["gpt", "gem"])
    happen("settings changed", project=project, user=ada, changed=["audit_rate", "labels"])
    happen("joined", project=project, user=ada, invitation=5, role="lead")
    for page in (f"/p/{project.slug}/", f"/p/{project.slug}/events"):
        text = " ".join(strip_tags(client.get(page).content.decode()).split())
        for sentence in (
            "Labels that a model doubts were sent to people: 12 posts", "Somebody joined: as lead",
            "An evaluation is done: Run 1, the locked test set of v1", "A voting run was started: gpt, gem",
            "A round waits for people: number 3, doubts and audits are to be answered",
            "The settings were changed: audit rate, labels",
        ):  # fmt: skip
            assert sentence in text, page
    assert client.get(f"/api/projects/{project.slug}/events").json()["events"][0]["verb"] == "joined"
    assert '<option value="labels doubted">' in client.get(f"/p/{project.slug}/events").content.decode()


def test_a_verb_of_another_release_is_told_as_it_is():
    told = event_words.told("teapot filled", {"run": 5, "name": "blue", "cups": 1200, "note": "for ana@example.com"})
    assert told == ("Teapot filled", "blue, 1,200 cups")
    assert event_words.told("dataset frozen", {}) == ("A dataset was frozen", "")


def test_what_was_noted_leaves_out_keys_of_rows_and_nothings():
    data = {"run": 3, "name": "a.csv", "imported": 1200, "refused": 0, "changed": ["name", "labels"], "ok": True}
    assert event_words.told("posts imported", data)[1] == "a.csv, 1,200 posts"
    assert event_words.told("a verb of another release", data)[1] == "a.csv, name, labels, 1,200 imported"


def test_every_verb_in_use_has_words():
    goals = {*prelabelling.VERBS.values()}  # of which each begins a verb, and what is written there ends it
    steps = {step for path in modules("modeling") if "prelabelling" in path.parts for step in verbs_in(path)} - goals
    used = {verb for path in modules(*ROOMS) if "prelabelling" not in path.parts for verb in verbs_in(path)}
    used |= {*kinds.TYPES, *(f"{goal} {step}" for goal in goals for step in steps)}
    assert {"voting started", "labels doubted", "site admin no more", "cascade fitted", "pre-labelling resumed"} <= used
    assert used - set(event_words.SENTENCES) == set()
    assert {verb for verb in used if event_words.sentence_of(verb).lower() == verb} == set()


def verbs_in(path):
    """What is written there for the log: given to what records, put by as `verb`, or in a table of verbs."""
    if "gpu" in path.parts:
        return
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Call):
            records = ast.unparse(node.func).rpartition(".")[2] in {"record", "note", "turn"}
            named = [word.value for word in node.keywords if word.arg == "verb"]
            yield from words_in([*node.args, *named] if records else named)
        elif isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) in {"verb", "VERBS", "ENDED"}:
            yield from words_in([node.value])


def words_in(nodes):
    for node in nodes:
        match node:
            case ast.Constant(value=str(word)):
                yield word
            case ast.IfExp(body=body, orelse=orelse):
                yield from words_in([body, orelse])
            case ast.Dict(values=values):
                yield from words_in(values)
