import re
from decimal import Decimal
from html.parser import HTMLParser

import pytest
from django.core.cache import cache
from django.core.exceptions import ValidationError
from django.core.management import CommandError, call_command
from django.urls import reverse
from django_q.models import OrmQ

from annotate import project_presets, tasks
from annotate.models import Disagreement, Event, Label, Membership, Project, Role
from annotate.project_presets import available, make_project

from .make import make_label, make_member, make_post, make_user, make_vote
from .make import make_project as some_project

pytestmark = pytest.mark.django_db

PRESET = """
name = "Weather"
question = "What weather does it show?"
guidelines = "Look at the *sky*."
asks_incongruous = true
[[labels]]
name = "sun"
meaning = "no cloud"
key = "s"
colour = "#b46a00"
[[labels]]
name = "rain"
"""


@pytest.fixture
def weather(tmp_path, monkeypatch):
    (tmp_path / "weather.toml").write_text(PRESET)
    monkeypatch.setattr(project_presets, "FOLDER", tmp_path)


@pytest.fixture
def admin(client):
    user = make_user("root", is_superuser=True, is_staff=True)
    client.force_login(user)
    return user


def log_in(client, project, role=Role.ADMIN):
    user = make_member(project, role)
    client.force_login(user)
    return user


def page(client, name, project, **query):
    return client.get(reverse(name, args=[project.slug]), query)


def settings_data(project, labels=None, **fields):
    """What a browser would send: every row that stands, then the two blank ones."""
    held = list(project.labels.all())
    rows = [{"id": label.pk, "name": label.name, "key": label.key, "colour": label.colour,
             "meaning": label.meaning, "position": label.position} for label in held]  # fmt: skip
    for number, change in (labels or {}).items():
        if number < len(rows):
            rows[number] |= change
        else:
            rows.append({"colour": "#6b6457", **change})
    data = {"name": project.name, "question": project.question, "guidelines": project.guidelines,
            "consensus": project.consensus, "audit_rate": f"{100 * project.audit_rate:g}",
            "votes_shown": project.votes_shown, "double_rate": f"{100 * project.double_rate:g}",
            "check_rate": f"{100 * project.check_rate:g}", **fields}  # fmt: skip
    data |= {"labels-TOTAL_FORMS": len(rows), "labels-INITIAL_FORMS": len(held)}
    return data | {f"labels-{n}-{field}": value for n, row in enumerate(rows) for field, value in row.items()}


def save(client, project, labels=None, **fields):
    return client.post(reverse("settings", args=[project.slug]), settings_data(project, labels, **fields))


class Seen(HTMLParser):
    """The tags and attributes that a browser would act on."""

    def __init__(self, html):
        super().__init__()
        self.tags, self.attributes = set(), {}
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        for name, value in attrs:
            self.attributes.setdefault(name, []).append(value)


class TestMaking:
    def test_a_preset_brings_its_question_guidelines_and_labels(self, weather):
        user = make_user()
        project = make_project("weather", "My skies", user)
        assert (project.slug, project.question, project.asks_incongruous) == (
            "my-skies", "What weather does it show?", True,
        )  # fmt: skip
        assert [(label.name, label.key) for label in project.labels.all()] == [("sun", "s"), ("rain", "")]
        assert user.role_in(project) == Role.ADMIN
        event = Event.objects.get(verb="project made")
        assert (event.user, event.project, event.data) == (user, project, {"preset": "weather"})

    def test_what_is_given_wins_over_the_preset(self, weather):
        project = make_project("weather", "Skies", None, question="Is it wet?", synthetic=True)
        assert (project.question, project.synthetic, project.created_by) == ("Is it wet?", True, None)

    def test_two_projects_may_have_one_name(self, weather):
        assert [make_project("weather", "Skies", None).slug for _ in range(3)] == ["skies", "skies-2", "skies-3"]

    def test_an_unknown_preset_is_refused_with_those_there_are(self, weather):
        with pytest.raises(ValidationError, match="There are: weather"):
            make_project("wether", "Skies", None)

    def test_a_project_needs_a_question_and_nothing_is_left_of_one_without(self):
        with pytest.raises(ValidationError):
            make_project(None, "Skies", None)
        assert not Project.objects.exists()

    def test_every_preset_that_ships_makes_a_project(self):
        for preset in available():
            project = make_project(preset.key, preset.name, None)
            for label in project.labels.all():
                label.full_clean()
            assert project.labels.count() > 1


class TestCommand:
    def test_it_makes_a_project_with_an_admin(self, weather, capsys):
        make_user("ann")
        call_command("make_project", "Skies", "--preset", "weather", "--slug", "sky", "--admin", "ann")
        project = Project.objects.get(slug="sky")
        assert project.memberships.get().user.username == "ann"
        assert "/p/sky/" in capsys.readouterr().out

    @pytest.mark.parametrize(
        ("arguments", "sentence"),
        [
            ([], "A project needs a question"),
            (["--preset", "nothing"], "There is no preset “nothing”"),
            (["--preset", "weather", "--admin", "bob"], "There is no user “bob”"),
            (["--preset", "weather", "--slug", "taken"], "already exists"),
            (["--preset", "weather", "--slug", "not a slug"], "--slug"),
        ],
    )
    def test_it_says_what_to_mend(self, weather, arguments, sentence):
        some_project("taken")
        with pytest.raises(CommandError, match=sentence):
            call_command("make_project", "Skies", *arguments)
        assert Project.objects.count() == 1


class TestNewPage:
    def test_it_shows_each_preset_with_its_labels(self, client, admin, weather):
        text = client.get("/projects/new").content.decode()
        assert "What weather does it show?" in text
        assert "</svg>sun" in text
        assert "light-dark(" in text

    def test_it_makes_a_project_from_a_preset(self, client, admin, weather):
        response = client.post("/projects/new", {"name": "Skies", "preset": "weather"}, follow=True)
        assert response.redirect_chain[-1][0] == "/p/skies/"
        assert "Skies is made" in response.content.decode()

    def test_a_blank_project_goes_on_to_its_labels(self, client, admin):
        response = client.post("/projects/new", {"name": "Skies", "preset": "", "question": "Wet?"})
        assert response.url == "/p/skies/settings"

    def test_a_blank_project_without_a_question_is_told_so(self, client, admin):
        response = client.post("/projects/new", {"name": "Skies", "preset": ""})
        assert response.status_code == 422
        assert "A blank project needs a question" in response.content.decode()
        assert not Project.objects.exists()

    def test_only_site_admins_may(self, client):
        log_in(client, some_project())
        assert client.get("/projects/new").status_code == 403
        assert client.post("/projects/new", {"name": "X", "preset": "", "question": "?"}).status_code == 403


class TestList:
    def test_a_member_of_one_project_goes_straight_there(self, client):
        project = some_project()
        some_project("Somebody else's")
        log_in(client, project)
        assert client.get("/").url == project.get_absolute_url()

    def test_a_member_of_two_sees_those_two(self, client):
        user = log_in(client, some_project("Mine"))
        Membership.objects.create(project=some_project("Ours"), user=user)
        some_project("Theirs")
        text = client.get("/").content.decode()
        assert "Mine" in text
        assert "Ours" in text
        assert "Theirs" not in text

    def test_it_tells_how_far_each_has_come(self, client, admin):
        project = some_project("Memes")
        make_vote(make_post(project, label="bullish"), cost=Decimal("3.41"))
        make_post(project, state="contested")
        text = client.get("/").content.decode()
        assert "2 imported" in text
        assert "1 contested" in text
        assert "$3.41" in text

    def test_without_projects_it_says_what_to_do(self, client, admin):
        assert "Make the first project" in client.get("/").content.decode()
        client.force_login(make_user("ann"))
        text = client.get("/").content.decode()
        assert "Ask the admin of a project for an invitation" in text
        assert reverse("project_new") not in text

    def test_strangers_log_in_first(self, client):
        assert "/login" in client.get("/").url


class TestHome:
    def test_every_number_leads_to_its_posts(self, client):
        project = some_project(labels=("up & away", "down"))
        log_in(client, project)
        make_vote(make_post(project, label="up & away"), "gpt 4", "down")
        make_vote(make_post(project, state="contested"), "gpt 4")
        make_post(project, label="down", label_source="review", holdout=True, vote_count=2)
        text = page(client, "project", project).content.decode()
        for query in ("state=settled", "state=contested", "state=waiting", "source=review", "holdout=1",
                      "label=up%20%26%20away", "label=down&amp;source=review", "voter=gpt%204",
                      "voter=gpt%204&amp;said=abstained"):  # fmt: skip
            assert (f"posts?{query}" in text) == (query != "state=waiting"), query

    def test_an_empty_project_says_what_to_do_next(self, client):
        project = some_project()
        log_in(client, project)
        text = page(client, "project", project).content.decode()
        assert reverse("import_new", args=[project.slug]) in text
        assert 'class="funnel"' not in text

    def test_a_reviewer_is_offered_nothing_that_only_admins_may_do(self, client):
        project = some_project()
        log_in(client, project, Role.REVIEWER)
        text = page(client, "project", project).content.decode()
        assert "An admin of this project can import some" in text
        assert reverse("import_new", args=[project.slug]) not in text

    def test_a_synthetic_project_says_so(self, client):
        project = some_project(synthetic=True)
        log_in(client, project)
        assert "synthetic demo" in page(client, "project", project).content.decode()

    def test_it_tells_what_happened_lately(self, client):
        project = some_project()
        user = log_in(client, project)
        Event.record("posts imported", user=user, project=project, run=7, name="memes.csv", imported=1200, refused=0)
        text = page(client, "project", project).content.decode()
        assert "Posts were imported" in text
        assert "memes.csv, 1,200 posts<" in text

    def test_an_event_outlives_its_user(self, client):
        project = some_project()
        log_in(client, project)
        gone = make_user("gone")
        Event.record("posts imported", user=gone, project=project)
        gone.delete()
        assert page(client, "project", project).status_code == 200

    def test_strangers_learn_nothing(self, client):
        project = some_project()
        client.force_login(make_user())
        for name in ("project", "settings", "guidelines", "label_colours"):
            assert page(client, name, project).status_code == 404


class TestQueries:
    def fill(self, project, times):
        for _ in range(times):
            make_label(project, f"label {times} {_}")
            make_vote(make_post(project, label="bullish"), f"voter {times} {_}", "bullish", cost=Decimal("0.01"))
            Event.record("posts imported", user=make_user(), project=project)

    def queries(self, client, url, django_assert_max_num_queries):
        cache.clear()
        with django_assert_max_num_queries(40) as captured:
            assert client.get(url).status_code == 200
        return len(captured)

    def test_home_does_not_grow_with_its_projects(self, client, admin, django_assert_max_num_queries):
        self.fill(some_project(), 1)
        few = self.queries(client, "/", django_assert_max_num_queries)
        for _ in range(3):
            self.fill(some_project(), 3)
        assert self.queries(client, "/", django_assert_max_num_queries) == few

    def test_a_project_does_not_grow_with_its_rows(self, client, admin, django_assert_max_num_queries):
        project = some_project()
        self.fill(project, 1)
        few = self.queries(client, project.get_absolute_url(), django_assert_max_num_queries)
        self.fill(project, 4)
        assert self.queries(client, project.get_absolute_url(), django_assert_max_num_queries) == few
        assert few < 12


class TestSettings:
    def test_an_admin_changes_them(self, client):
        project = some_project()
        user = log_in(client, project)
        assert save(client, project, name="Renamed", asks_incongruous="on").status_code == 302
        project.refresh_from_db()
        assert (project.name, project.asks_incongruous) == ("Renamed", True)
        event = Event.objects.get(verb="settings changed")
        assert (event.user, event.data["changed"]) == (user, ["name", "asks_incongruous"])

    def test_guidelines_that_nobody_touched_stay_as_they_are_however_a_browser_ends_their_lines(self, client):
        project = some_project()
        project.guidelines = "Sarcasm counts as what is meant.\n\n- so\n- and so\n"
        project.save()
        log_in(client, project)
        save(client, project, guidelines=project.guidelines.replace("\n", "\r\n"), audit_rate="7")
        assert Event.objects.get(verb="settings changed").data["changed"] == ["audit_rate"]
        assert Project.objects.get(pk=project.pk).guidelines == project.guidelines

    @pytest.mark.parametrize("stored", ["So.\r\n- and so\r\n", "So.\n- and so\r\n", "So.\r- and so", " \r\n"])
    def test_guidelines_stored_with_other_line_ends_stay_to_the_sign_until_somebody_touches_them(self, client, stored):
        project = some_project(guidelines=stored)
        log_in(client, project)
        sent = stored.replace("\r\n", "\n").replace("\r", "\n").replace("\n", "\r\n")  # as a browser has it
        save(client, project, guidelines=sent)
        assert not Event.objects.filter(verb="settings changed").exists()
        assert Project.objects.get(pk=project.pk).guidelines == stored
        save(client, project, guidelines=f"{sent}New.\r\n")
        assert Event.objects.get(verb="settings changed").data["changed"] == ["guidelines"]
        assert "\r" not in Project.objects.get(pk=project.pk).guidelines

    @pytest.mark.parametrize(
        ("field", "written", "stored"),
        [("consensus", "majority", "majority"), ("least_confidence", "0.7", 0.7), ("audit_rate", "7", 0.07)],
    )
    def test_when_the_rule_changes_every_voted_post_is_looked_at_again(self, client, field, written, stored):
        project = some_project()
        log_in(client, project)
        save(client, project, guidelines="New.")
        assert not OrmQ.objects.exists()
        save(client, project, **{field: written})
        project.refresh_from_db()
        assert getattr(project, field) == stored
        assert OrmQ.objects.get().task["func"] == "annotate.tasks.settle_project"

    @pytest.mark.parametrize(
        ("field", "written"), [("audit_rate", "101"), ("audit_rate", "x"), ("least_confidence", "2"), ("consensus", "")]
    )
    def test_a_rule_that_cannot_be_is_refused(self, client, field, written):
        project = some_project()
        log_in(client, project)
        assert save(client, project, **{field: written}).status_code == 422

    @pytest.mark.parametrize(
        ("field", "written", "stored"),
        [("votes_shown", "after", "after"), ("hide_voters", "on", True), ("double_rate", "25", 0.25)],
    )
    def test_how_people_review(self, client, field, written, stored):
        project = some_project()
        log_in(client, project)
        assert save(client, project, **{field: written}).status_code == 302
        assert getattr(Project.objects.get(pk=project.pk), field) == stored
        assert not OrmQ.objects.exists()

    def test_known_answers_are_planted_and_taken_away_as_their_share_changes(self, client):
        project = some_project()
        log_in(client, project)
        make_post(project, label="bullish", label_source="import", holdout=True, vote_count=2)
        for written, waiting in (("5", 1), ("0", 0)):
            assert save(client, project, check_rate=written).status_code == 302
            tasks.change_checks(project.pk)
            assert Disagreement.objects.filter(project=project, closed=None).count() == waiting
        assert {queued.task["func"] for queued in OrmQ.objects.all()} == {"annotate.tasks.change_checks"}

    def test_at_most_half_of_what_one_sees_is_known(self, client):
        project = some_project()
        log_in(client, project)
        refused = save(client, project, check_rate="51")
        assert refused.status_code == 422
        assert "at most 50%" in refused.content.decode()

    def test_saving_what_stands_changes_and_tells_nothing(self, client):
        project = some_project()
        log_in(client, project)
        assert save(client, project).status_code == 302
        assert not Event.objects.exists()
        assert [label.name for label in project.labels.all()] == ["bearish", "neutral", "bullish"]

    @pytest.mark.parametrize("role", [Role.REVIEWER, Role.LEAD])
    def test_others_may_not(self, client, role):
        project = some_project()
        log_in(client, project, role)
        assert page(client, "settings", project).status_code == 403
        assert save(client, project, name="Mine").status_code == 403

    def test_a_label_is_added_and_blank_rows_are_left_out(self, client):
        project = some_project()
        log_in(client, project)
        save(client, project, {3: {"name": "sideways", "key": "S"}, 4: {}})
        added = project.labels.last()
        assert [project.labels.count(), added.name, added.key] == [4, "sideways", "s"]

    def test_rows_go_in_the_order_asked_for(self, client):
        project = some_project()
        log_in(client, project)
        save(client, project, {0: {"position": 9}, 3: {"name": "last"}})
        assert [label.name for label in project.labels.all()] == ["neutral", "bullish", "bearish", "last"]

    def test_two_labels_can_swap_their_keys_and_names(self, client):
        project = some_project()
        log_in(client, project)
        before = {label.pk: label.name for label in project.labels.all()}
        save(client, project, {0: {"name": "neutral", "key": "2"}, 1: {"name": "bearish", "key": "1"}})
        after = {label.pk: (label.name, label.key) for label in project.labels.all()}
        assert list(before) == list(after)
        assert list(after.values()) == [("neutral", "2"), ("bearish", "1"), ("bullish", "3")]

    @pytest.mark.parametrize(
        ("change", "sentence"),
        [
            ({3: {"name": "Bullish"}}, "Another label has the name “Bullish”"),
            ({3: {"name": "new", "key": "1"}}, "Another label has the key “1”"),
            ({0: {"name": ""}}, "This field is required"),
            ({0: {"colour": "red"}}, "A colour is # and six hexadecimal digits"),
        ],
    )
    def test_it_says_what_to_mend_and_saves_nothing(self, client, change, sentence):
        project = some_project()
        log_in(client, project)
        response = save(client, project, change, name="Not saved")
        assert response.status_code == 422
        text = response.content.decode()
        assert sentence in text
        assert "Nothing is saved yet" in text
        assert Project.objects.get().name == project.name
        assert project.labels.count() == 3

    def test_it_minds_a_label_that_somebody_else_has_just_added(self, client):
        project = some_project()
        log_in(client, project)
        data = settings_data(project, {3: {"name": "sideways"}})
        make_label(project, "Sideways")
        response = client.post(reverse("settings", args=[project.slug]), data)
        assert "Another label has the name “sideways”" in response.content.decode()

    def test_an_unused_label_is_removed(self, client):
        project = some_project()
        log_in(client, project)
        assert save(client, project, {1: {"DELETE": "on"}}).status_code == 302
        assert [label.name for label in project.labels.all()] == ["bearish", "bullish"]

    def test_its_name_can_be_given_to_another_in_the_same_save(self, client):
        project = some_project()
        log_in(client, project)
        save(client, project, {1: {"DELETE": "on"}, 3: {"name": "neutral", "key": "2"}})
        assert [label.name for label in project.labels.all()] == ["bearish", "bullish", "neutral"]

    @pytest.mark.parametrize("carrier", ["post", "vote"])
    def test_a_label_in_use_cannot_be_removed(self, client, carrier):
        project = some_project()
        log_in(client, project)
        if carrier == "post":
            make_post(project, label="neutral")
        else:
            make_vote(make_post(project), label="neutral")
        response = save(client, project, {1: {"DELETE": "on"}})
        assert response.status_code == 422
        assert f"“neutral” cannot be removed: it stands on 1 {carrier}." in response.content.decode()
        assert project.labels.count() == 3

    def test_a_label_of_another_project_cannot_be_taken_over(self, client):
        project, other = some_project(), some_project("Other")
        log_in(client, project)
        theirs = other.labels.first()
        response = save(client, project, {0: {"id": theirs.pk, "name": "mine now"}})
        assert response.status_code == 422
        theirs.refresh_from_db()
        assert (theirs.project, theirs.name) == (other, "bearish")

    def test_it_shows_the_guidelines_as_saved(self, client):
        project = some_project(guidelines="Mind the *irony*.")
        log_in(client, project)
        assert "<em>irony</em>" in page(client, "settings", project).content.decode()


class TestGuidelines:
    def shown(self, client, markdown):
        project = some_project(guidelines=markdown)
        log_in(client, project, Role.REVIEWER)
        text = page(client, "guidelines", project).content.decode()
        text = text.partition('class="sheet prose break">')[2].partition("</main>")[0]
        return text.rsplit("</div>", 2)[0]

    def test_markdown_becomes_prose_below_the_title_of_the_page(self, client):
        shown = self.shown(client, "# Bullish\n\n- up\n- *only*\n\n| a | b |\n|---|---|\n| 1 | 2 |")
        assert "<h2>Bullish</h2>" in shown
        assert "<em>only</em>" in shown
        assert "<td>1</td>" in shown

    def test_headings_skip_no_level_whatever_the_first_one_is(self, client):
        shown = self.shown(client, "### Bullish\n\n#### Irony\n\n### Bearish")
        assert re.findall(r"<h\d>\w+", shown) == ["<h2>Bullish", "<h3>Irony", "<h2>Bearish"]

    def test_links_lead_out_without_a_recommendation(self, client):
        shown = self.shown(client, "[rules](https://example.org/?a=1&b=2)")
        assert '<a href="https://example.org/?a=1&amp;b=2" rel="nofollow noopener">rules</a>' in shown

    @pytest.mark.parametrize(
        "hostile",
        [
            "<script>alert(1)</script>",
            "<img src=x onerror=alert(1)>",
            "![x](https://evil.example/pixel.png)",
            "![x](javascript:alert(1))",
            "[x](javascript:alert(1))",
            "[x](JaVaScRiPt&colon;alert(1))",
            "[x](data:text/html;base64,PHNjcmlwdD4=)",
            "<javascript:alert(1)>",
            '<a href="#" onclick="alert(1)">x</a>',
            '<div style="position:fixed;inset:0">x</div>',
            "<iframe src=https://evil.example></iframe>",
            '[x](https://a.example "onmouseover=alert(1)")',
            '[x](https://a.example/"onmouseover="alert(1))',
            "```<svg/onload=alert(1)>\n</div><script>alert(1)</script>\n```",
            "</div><form action=https://evil.example><input name=password>",
            "<style>*{display:none}</style>",
            '[x]: https://a.example "\'><script>alert(1)</script>"\n\n[x]',
        ],
    )
    def test_hostile_markdown_does_nothing(self, client, hostile):
        seen = Seen(self.shown(client, hostile))
        assert seen.tags <= {"p", "a", "pre", "code"}
        assert set(seen.attributes) <= {"href", "title", "rel"}
        assert all(url.startswith("https://") for url in seen.attributes.get("href", []))

    def test_without_guidelines_it_says_who_can_write_them(self, client):
        project = some_project()
        log_in(client, project, Role.REVIEWER)
        assert "An admin of this project can write them" in page(client, "guidelines", project).content.decode()


class TestLabelColours:
    def test_each_label_has_one_for_light_and_one_for_dark(self, client):
        project = some_project(labels=("bearish",))
        log_in(client, project, Role.REVIEWER)
        project.labels.update(colour="#b4233a")
        response = page(client, "label_colours", project)
        assert response["Content-Type"] == "text/css; charset=utf-8"
        label = project.labels.get()
        assert response.content.decode().startswith(f".label-{label.pk}{{--c:light-dark(#b4233a,#")

    def test_the_current_version_is_kept_for_ever_and_no_other(self, client):
        project = some_project()
        log_in(client, project)
        current = page(client, "label_colours", project, v=project.colours_version)
        assert current["Cache-Control"] == "private, max-age=31536000, immutable"
        assert "no-cache" in page(client, "label_colours", project, v="older")["Cache-Control"]

    def test_a_new_colour_is_a_new_version(self):
        project = some_project()
        before = project.colours_version
        Label.objects.filter(project=project, name="neutral").update(colour="#123456")
        assert Project.objects.get(pk=project.pk).colours_version != before
