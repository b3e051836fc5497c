"""What programs write is taken as they meant it, or refused in a sentence: no value slips by what the forms hold."""

import json

import pytest
from django.test import Client

from annotate.models import Role
from modeling.datasets import asking as recipes
from modeling.prelabelling import prelabelling
from modeling.rounds import rounds
from modeling.rounds.plan import Plan
from modeling.studying import studies
from modeling.training import runner

from .make import make_member
from .test_rounds import make_known, quick

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
