"""What programs do with rounds: begin one, follow it step by step, and say what people are asked for."""

import pytest
from django.test import Client

from annotate.models import Role
from modeling.models import Goal, Round, RoundState
from modeling.rounds import rounds

from .make import make_member
from .test_rounds import SWAPPED, a_round, answer_all, by_model, kept, make_known, people, plan, quick

__all__ = ["quick"]
pytestmark = pytest.mark.django_db
HERE = "/api/projects/memes/rounds"


@pytest.fixture
def project():
    return make_known()


@pytest.fixture
def client(project):
    return logged_in(project, Role.ADMIN)


def logged_in(project, role):
    client = Client()
    client.force_login(make_member(project, role))
    return client


def post(client, way="", **told):
    return client.post(f"{HERE}{way}", told, content_type="application/json")


def test_begun_with_what_is_left_out_as_usual(project, client, monkeypatch):
    monkeypatch.setattr(rounds, "enqueue", lambda _: None)
    answer = post(client, base="tiny", threshold=0.8, settings={"max_steps": 3})
    assert answer.status_code == 202
    assert answer.json()["number"] == 1
    one = project.rounds.get()
    assert (one.plan["base"], one.plan["threshold"], one.plan["doubts"]) == ("tiny", 0.8, 200)
    assert one.plan["settings"] == {"max_steps": 3}
    assert post(client, base="tiny").status_code == 422  # one at a time


@pytest.mark.parametrize(("told", "why"), [
    ({"threshold": 0.1}, "from 0.5 to 1"), ({"recipe": "nope"}, "no recipe"), ({"frozen": {"test": 3}}, "left"),
])  # fmt: skip
def test_a_plan_that_cannot_be_is_refused_in_words(project, client, told, why):
    answer = post(client, **told)
    assert answer.status_code == 422
    assert why in answer.json()["detail"]
    assert not project.rounds.exists()


def test_followed_step_by_step(project, client):
    one = a_round(project)
    told = client.get(f"{HERE}/1").json()
    assert (told["state"], told["needs"]) == ("waiting", "word")
    states = {step["step"]: step["state"] for step in told["steps"]}
    assert states == {
        "freeze": "done", "train": "done", "measure": "done", "compare": "done", "pre-label": "people",
        "review": "to come", "audit": "to come",
    }  # fmt: skip
    assert (told["dataset"], told["run"]) == ("round-1", one.run_id)
    assert [row["number"] for row in client.get(HERE).json()] == [1]
    assert client.get(HERE, {"before": 1}).json() == []
    assert client.get(f"{HERE}/99999999999").status_code == 404


def test_settled_at_a_threshold_once(project, client):
    one = a_round(project)
    assert post(client, "/1/settle", threshold=0.2).status_code == 422
    assert post(client, "/1/settle", threshold=0.7).status_code == 202
    one.prelabelling.refresh_from_db()
    assert (one.prelabelling.goal, one.prelabelling.threshold) == (Goal.APPLY, 0.7)
    assert post(client, "/1/settle").status_code == 409


def test_gone_on_without_open_answers_once(project, client):
    a_round(project, unattended=True)
    assert post(client, "/1/go-on").status_code == 202
    answer = post(client, "/1/go-on")
    assert answer.status_code == 409
    assert "does not wait for answers, or was told so already" in answer.json()["detail"]


def test_a_lead_keeps_or_rolls_back(project):
    lead = logged_in(project, Role.LEAD)
    one = a_round(project, unattended=True, by_rule=False)
    answer_all(people(project), lambda post: SWAPPED[post.external_id.rpartition("-")[2]])
    rounds.advance(one.pk, queue=False)
    assert client_needs(lead) == ("verdict", len(by_model(project)))
    assert post(lead, "/1/keep").json()["state"] == "kept"
    assert post(lead, "/1/keep").status_code == 409
    assert post(lead, "/1/roll-back").json()["state"] == "rolled back"
    assert post(lead, "/1/roll-back").status_code == 409


def client_needs(client):
    told = client.get(f"{HERE}/1").json()
    return told["needs"], told["labels_back"]


def test_stopped_and_resumed(project, client, monkeypatch):
    monkeypatch.setattr(rounds, "enqueue", lambda _: None)
    rounds.start(project, None, plan(), queue=False)
    assert post(client, "/1/stop").json()["state"] == "stopped"
    assert post(client, "/1/stop").status_code == 409
    assert post(client, "/1/resume").json()["state"] == "running"
    assert post(client, "/1/resume").status_code == 409


def test_what_it_came_to_is_told_and_why_another_is_not_worth_it(project, client):
    one = kept(project)
    told = client.get(f"{HERE}/1").json()
    assert (told["state"], told["told"]["settled"]) == ("kept", one.told["settled"])
    assert "No post is left without a label" in told["another"]
    assert Round.objects.get().state == RoundState.KEPT
