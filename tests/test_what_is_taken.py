"""What programs write is taken as they meant it, or refused in a sentence: no value slips by what the forms hold."""

import json

import pytest
from django.core.management import CommandError, call_command
from django.test import Client

from annotate.models import Role
from modeling.datasets import asking as recipes
from modeling.models import PreLabelling, Run, Study
from modeling.prelabelling import prelabelling
from modeling.rounds import rounds
from modeling.rounds.plan import Plan
from modeling.studying import studies
from modeling.training import run_settings, runner, starting

from .freezing import freeze
from .make import make_member
from .test_rounds import a_round, make_known, quick

__all__ = ["quick"]
pytestmark = pytest.mark.django_db
API, PAGE = "/api/projects/memes", "/p/memes/rounds/new"


@pytest.fixture
def project():
    return make_known()


@pytest.fixture
def client(project):
    client = Client()
    client.force_login(make_member(project, Role.ADMIN))
    return client


@pytest.fixture(autouse=True)
def nothing_begins(monkeypatch):
    for room in (rounds, runner, studies, prelabelling):
        monkeypatch.setattr(room, "enqueue", lambda _: None)


def post(client, way, body):
    """As a program sends it, with what JSON of other makes may hold."""
    written = body if isinstance(body, str) else json.dumps(body)
    return client.post(f"{API}/{way}", written, content_type="application/json")


def refused(answer, *words, status=422):
    assert answer.status_code == status, answer.content[:200]
    told = answer.json()["detail"]
    assert isinstance(told, str), told
    assert all(word in told for word in words), told


# --- The plan of a round


class TestPlans:
    @pytest.mark.parametrize(("frozen", "why"), [
        ({"size": 1.5}, "“size”"), ({"size": True}, "“size”"), ({"size": 10**12}, "1,000,000,000"),
        ({"caps": {"bullish": 1.5}}, "“caps.bullish”"), ({"caps": {"bullish": 10**12}}, "1,000,000,000"),
        ({"caps": 5}, "“caps”"), ({"caps": {"green": 5}}, "“green” is not a label"),
        ({"sources": "model"}, "“sources”"), ({"sources": [5]}, "“sources.0”"),
        ({"one_per_group": "yes"}, "“one_per_group”"), ({"balanced": {"a": 1}}, "“balanced”"),
        ({"validation": "0.2"}, "“validation”"),
        ({"vaildation": 0.5}, "“vaildation” is nothing that a recipe has; there are"), ({"\0": 1}, "is nothing"),
    ])  # fmt: skip
    def test_how_it_freezes_is_held_against_the_recipe(self, project, client, frozen, why):
        refused(post(client, "rounds", {"base": "tiny", "frozen": frozen}), why)
        assert not project.rounds.exists()

    @pytest.mark.parametrize(("given", "why"), [
        ({"rank": 2.5}, "“rank”"), ({"epochs": 1e308}, "“epochs” is from"), ({"revision": 1234567}, "“revision”"),
        ({"revision": None}, "“revision”"), ({"schedule": "no such"}, "“schedule” is one of cosine"),
        ({"weights": [1]}, "“weights”"), ({"weights": {"green": 2}}, "“green”"), ({"lrr": 1}, "“lrr” is nothing"),
    ])  # fmt: skip
    def test_so_is_how_it_trains(self, project, client, given, why):
        refused(post(client, "rounds", {"base": "tiny", "settings": given}), why)
        assert not project.rounds.exists()

    def test_what_can_be_is_taken(self, project, client):
        frozen = {"validation": 0, "size": 60, "caps": {"bullish": 20}, "sources": ["review"], "weights": {}}
        asked = {"base": "tiny", "frozen": frozen, "settings": {"max_steps": 3, "lr": 1, "weights": {"bullish": 2}}}
        assert post(client, "rounds", asked).status_code == 202
        assert project.rounds.get().plan["frozen"] == frozen

    def test_a_recipe_reads_alike_at_every_door(self, project):
        with pytest.raises(recipes.NotUnderstood, match="“test”"):
            recipes.recipe_of(project, "", {"test": float("nan")} | {"test": "0.1"})
        with pytest.raises(recipes.NotUnderstood, match="something must be left"):
            recipes.recipe_of(project, "", {"test": float("nan")})
        assert recipes.recipe_of(project, "", {"size": None}).size is None


class TestTheForm:
    """It is filled in as the last round was, whatever an older release took."""

    def after(self, project, **how):
        one = rounds.start(project, None, Plan(base="tiny"), queue=False)
        rounds.roll_back(one, None, queue=False)
        project.rounds.update(plan=Plan(base="tiny").as_json() | how)

    @pytest.mark.parametrize("how", [
        {"frozen": {"size": 1.5}}, {"frozen": {"caps": {"bullish": 1.5}}}, {"frozen": {"caps": {"long gone": 5}}},
        {"frozen": {"nothing": 1}}, {"frozen": 5}, {"settings": {"epochs": 1e308}}, {"settings": {"rank": 2.5}},
        {"settings": {"revision": "1234567"}}, {"settings": {"revision": None}}, {"settings": {"schedule": 5}},
        {"settings": {"a\nb": "c\nd"}}, {"settings": 5}, {"threshold": "much"}, {"threshold": 7}, {"unheard": 1},
    ])  # fmt: skip
    def test_it_opens_after_any_round(self, project, client, how):
        self.after(project, **how)
        for address in (PAGE, "/p/memes/rounds/preview"):
            assert client.get(address).status_code == 200
        assert client.post(PAGE, {"settings": "max_steps=3"}).status_code in (302, 422)

    def test_it_says_what_it_does_not_take_over(self, project, client):
        self.after(project, frozen={"size": 1.5}, threshold=0.8)
        shown = client.get(PAGE).content.decode()
        assert "How it was frozen is not taken over: “size”" in shown
        assert client.post(PAGE, {}).status_code == 302
        assert project.rounds.get(number=2).plan["frozen"] == {}
        assert project.rounds.get(number=2).plan["threshold"] == 0.8

    @pytest.mark.parametrize("revision", ["1234567", "null", "1e5", '"1234567"'])
    def test_a_word_stays_one_whatever_it_looks_like(self, project, client, revision):
        assert client.get("/p/memes/rounds/preview", {"settings": f"revision={revision}"}).status_code == 200
        assert client.post(PAGE, {"base": "tiny", "settings": f"revision={revision}"}).status_code == 302
        assert project.rounds.get().plan["settings"] == {"revision": revision.strip('"')}
        rounds.roll_back(project.rounds.get(), None, queue=False)
        assert client.post(PAGE, {}).status_code == 302
        assert project.rounds.get(number=2).plan["settings"] == {"revision": revision.strip('"')}

    @pytest.mark.parametrize("written", [
        "schedule=5", "targets=5(", "lr=NaN", "epochs=Infinity", "rank=2.5", "rank=true,", "epochs=1e308",
        "weights=[1]", "max_steps=-5", f"rank={'[' * 3000}", "base=1",
    ])  # fmt: skip
    def test_what_no_run_takes_is_told_in_it(self, project, client, written):
        asked = {"base": "tiny", "settings": written}
        assert "Nothing can be reckoned yet" in client.get("/p/memes/rounds/preview", asked).content.decode()
        assert client.post(PAGE, asked).status_code == 422
        assert not project.rounds.exists()


# --- Runs and studies


BEYOND = [
    ({"schedule": "no such"}, "“schedule” is one of cosine"), ({"seed": -1}, "“seed” is from 0"),
    ({"weight_decay": -1}, "“weight_decay”"), ({"clip": -1}, "“clip”"), ({"max_steps": -5}, "“max_steps”"),
    ({"evaluate_every": -3}, "“evaluate_every”"), ({"patience": -1}, "“patience”"), ({"cards": 100_000}, "“cards”"),
    ({"batch": 10**23}, "“batch” is from 1 to 4,096"), ({"weights": {"nolabel": 1}}, "“nolabel” is no label here"),
    ({"weights": {"bullish": 10**6}}, "“weights” are from"), ({"targets": "("}, "“targets”: This is no pattern"),
    ({"targets": "a{99999999999}"}, "“targets”: This is no pattern"), ({"targets": ""}, "“targets”"),
    ({"revision": "a" * 301}, "“revision” has more than 300"),
]  # fmt: skip


class TestRuns:
    @pytest.mark.parametrize("way", ["runs", "studies"])
    @pytest.mark.parametrize(("given", "why"), BEYOND)
    def test_no_program_sets_what_the_form_would_not_take(self, project, client, way, given, why):
        freeze(project)
        refused(post(client, way, {"base": "tiny", "settings": given}), why)
        assert not Run.objects.exists()
        assert not Study.objects.exists()

    def test_the_form_takes_no_pattern_either_that_cannot_be_compiled(self, project, client):
        freeze(project)
        page = client.get("/p/memes/runs/preview", {"recipe": "tiny", "targets": "a{99999999999}"})
        assert "This is no pattern" in page.content.decode()

    def test_bounds_themselves_are_taken(self, project):
        dataset = freeze(project)
        for name, setting in run_settings.SETTINGS.items():
            for value in (setting.least, setting.most):
                fits = value is not None and name not in ("dropout", "min_pixels", "max_pixels", "cards")
                if fits and run_settings.applies(name, "lora"):
                    made = starting.configured(dataset, "tiny", "", {name: value})
                    assert getattr(made, name) == value


# --- Which posts a model is asked about


class TestFilters:
    @pytest.fixture
    def run(self, project):
        return a_round(project).run

    @pytest.mark.parametrize(("posts", "why"), [
        ({"status": "waiting"}, "Posts cannot be chosen by status; there are state, label"),
        ({"state": "waiting", "order": "oldest"}, "cannot be chosen by order"), ({"q": "\0"}, "“q”"),
        ({"state": "waiting", "q": " "}, "“q”"), ({"state": "waiting", "q": "moon " * 60}, "“q”"),
        ({"state": "waiting", "said": "bullish"}, "“said”"), ({"state": ""}, "choose nothing"),
        ({"state": "nope"}, "not a state"),
    ])  # fmt: skip
    def test_what_is_not_understood_asks_about_no_post(self, client, run, posts, why):
        before = PreLabelling.objects.count()
        refused(post(client, "prelabellings", {"run": run.pk, "posts": posts}), why)
        assert PreLabelling.objects.count() == before

    @pytest.mark.parametrize(("written", "why"), [
        ("status=waiting", "cannot be chosen by status"), ("waiting", "write it as state=waiting&q=moon"),
        ("state=waiting&q=%00", "“q”"), ("state=", "choose nothing"),
    ])  # fmt: skip
    def test_nor_by_command(self, run, written, why):
        before = PreLabelling.objects.count()
        with pytest.raises(CommandError, match=why):
            call_command("prelabel", project="memes", posts=written)
        assert PreLabelling.objects.count() == before

    def test_what_is_understood_is_taken_and_blanks_of_an_address_are_left_out(self, client, run):
        asked = {"run": run.pk, "posts": {"state": "waiting", "q": " moon ", "label": ""}}
        assert post(client, "prelabellings", asked).json()["posts"] == {"state": "waiting", "q": "moon"}
        assert post(client, "prelabellings", {"run": run.pk, "posts": {}}).json()["posts"] == {}
        assert post(client, "prelabellings", {"run": run.pk}).json()["posts"] == {"state": "waiting"}


# --- JSON that no database holds


class TestBodies:
    @pytest.mark.parametrize("way", ["rounds", "runs", "studies", "datasets", "evaluations", "prelabellings"])
    @pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e400"])
    def test_a_number_that_is_none_is_refused_wherever_it_stands(self, client, way, number):
        for body in ('{"settings":{"lr":%s}}', '{"frozen":{"validation":[%s]}}', '{"weights":{"bullish":%s}}'):
            refused(post(client, way, body % number), "NaN and infinity", status=400)

    @pytest.mark.parametrize(("way", "body"), [
        ("prelabellings", '{"posts":{"q":"\\ud800"}}'), ("prelabellings", '{"posts":{"\\ud800":"x"}}'),
        ("evaluations", '{"predictor":"consensus","dataset":"\\ud800"}'), ("datasets", '{"like":"\\udfff"}'),
        ("rounds", '{"frozen":{"\\ud800":1}}'), ("runs", '{"settings":{"revision":"\\ud800"}}'),
        ("webhooks", '{"url":"https://x.example/\\ud800"}'),
    ])  # fmt: skip
    def test_so_is_half_a_sign(self, client, way, body):
        refused(post(client, way, body), "half of a surrogate pair", status=400)

    def test_a_whole_one_is_none_of_these(self, client):
        refused(post(client, "datasets", '{"like":"\\ud83d\\ude80"}'), "There is no dataset “🚀”")

    @pytest.mark.parametrize("body", ["{", "[" * 5000, "\\xff", '{"like": 1' + "0" * 5000 + "}"])
    def test_what_is_no_json_says_no_more_than_before(self, client, body):
        refused(post(client, "datasets", body), "Cannot parse request body", status=400)

    @pytest.mark.parametrize("threshold", ["1e308", "-1e308", "0.4", "1.01"])
    def test_a_round_settles_at_a_chance(self, project, client, threshold):
        a_round(project)
        refused(post(client, "rounds/1/settle", f'{{"threshold":{threshold}}}'), "a chance from 0.5 to 1")
