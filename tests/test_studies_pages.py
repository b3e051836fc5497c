"""What a person or a program sees of studies: the form and what it reckons, one at work and afterwards."""

from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from annotate.models import Role
from modeling import tasks
from modeling.models import Card, Dataset, Evaluation, On, Run, Study, StudyState
from modeling.studying import studies, watching

from .make import make_member
from .test_studies import CURVE, FOLDS, again, begin, frozen, make_known, queued, quick, var, work

__all__ = ["queued", "quick", "var"]
pytestmark = pytest.mark.django_db
NEW = "/p/memes/studies/new"


@pytest.fixture
def dataset(queued):
    return frozen(make_known())


@pytest.fixture
def client(dataset):
    return logged_in(dataset, Role.ADMIN)


def logged_in(dataset: Dataset, role: Role) -> Client:
    client = Client()
    client.force_login(make_member(dataset.project, role))
    return client


def text(client: Client, address: str, **asked: Any) -> str:
    return client.get(address, asked).content.decode()


# --- Before


def test_time_and_money_of_all_parts_are_told_before_anything_starts(client):
    one = text(client, "/p/memes/runs/preview", recipe="qwen-qlora-24gb", max_steps=100, dataset="v1")
    five = text(client, "/p/memes/studies/preview", recipe="qwen-qlora-24gb", max_steps=100, dataset="v1")
    assert "Time of all" not in one
    assert "5 runs, one after the other" in five
    assert "Cost of all" in five
    assert not Study.objects.exists()


def test_cost_is_that_of_each_part_added_up(client, dataset):
    from modeling.studying import reckoning
    from modeling.training import estimates, fitting, training_presets

    config = training_presets.named("qwen-qlora-24gb").configured()
    reckoned = reckoning.reckon(config, dataset, FOLDS)
    train, test = (dataset.composition["splits"][name]["posts"] for name in ("train", "test"))
    assert reckoned.learnt == [round((train + test) * 2 / 3)] * 3
    single = fitting.estimate(config, reckoned.learnt[0])
    assert single is not None
    [card] = [one for one in estimates.cards() if one.name == "RTX 4090"]
    alone = fitting.on_cards(single, config, [card])[0]
    [all_three] = [one for one in reckoned.cards if one.card.name == "RTX 4090"]
    assert (all_three.seconds, all_three.cost) == (
        pytest.approx(3 * alone.seconds),
        pytest.approx(3 * (alone.cost or 0)),
    )
    assert reckoning.learnt_by(dataset, CURVE) == [round(train * share) for share in (0.25, 0.5, 1.0)]


def test_the_form_starts_what_it_says(client, queued):
    asked = {"recipe": "tiny", "dataset": "v1", "kind": "curve", "shares": "50%, 0.25 1", "draw": "7", "max_steps": "2"}
    shown = text(client, NEW, **asked)
    assert "50%, 0.25 1" in shown
    answer = client.post(NEW, form_of(client, asked))
    study = Study.objects.get()
    assert answer["Location"] == f"/p/memes/studies/{study.pk}"
    assert [part["share"] for part in study.parts] == [0.25, 0.5, 1]
    assert (study.seed, study.config["max_steps"], study.state) == (7, 2, StudyState.RUNNING)
    assert queued["study"] == [study.pk]
    again_like = client.get(f"{NEW}?like={study.pk}")
    assert "shares=0.25%2C+0.5%2C+1" in again_like["Location"]
    assert "draw=7" in again_like["Location"]
    assert "max_steps=2" in again_like["Location"]


def form_of(client: Client, asked: dict[str, str]) -> dict[str, str]:
    form = client.get(NEW, asked).context["form"]
    return {name: form[name].value() for name in form.fields if form[name].value() not in (None, "", "false")} | {
        "recipe": asked["recipe"], "whole": "1",
    }  # fmt: skip


@pytest.mark.parametrize(("changes", "why"), [
    ({"folds": "1"}, "greater than or equal to 2"), ({"kind": "curve", "shares": "half"}, "are no shares"),
    ({"kind": "curve", "shares": "1"}, "From 2 to 20 shares"), ({"folds": "20"}, "too few for 20 folds"),
    ({"kind": "loops"}, "not one of the available choices"), ({"draw": "x"}, "whole number"),
])  # fmt: skip
def test_what_cannot_be_is_told_beside_the_form_and_starts_nothing(client, changes, why):
    asked = {"recipe": "tiny", "dataset": "v1", "kind": "folds", "folds": "3", "draw": "0"}
    answer = client.post(NEW, form_of(client, asked) | changes)
    assert answer.status_code == 422
    assert why in answer.content.decode()
    assert not Study.objects.exists()


def test_shares_that_folds_do_not_need_are_not_looked_at(client):
    asked = {"recipe": "tiny", "dataset": "v1", "kind": "folds", "folds": "3", "shares": "half", "draw": "0"}
    assert client.post(NEW, form_of(client, asked)).status_code == 302


def test_leads_see_and_admins_start(dataset):
    lead = logged_in(dataset, Role.LEAD)
    assert "An admin of this project can start it." in text(lead, NEW, recipe="tiny")
    assert lead.post(NEW, {}).status_code == 403


# --- While it goes


def test_its_page_tells_part_step_and_time_left(client, dataset, queued, quick):
    study = begin(dataset, FOLDS)
    assert "drawing which post is in which part" in text(client, f"/p/memes/studies/{study.pk}")
    studies.advance(study.pk)
    assert "waiting for a card" in text(client, f"/p/memes/studies/{study.pk}/progress")
    first, second, _ = study.runs.order_by("pk")
    for kind in (tasks.train, tasks.evaluate):
        kind(first.pk if kind == tasks.train else study.evaluations.get().pk)
    now = timezone.now()
    Run.objects.filter(pk=first.pk).update(started=now - timedelta(seconds=130), ended=now - timedelta(seconds=10))
    Evaluation.objects.update(started=now, ended=now)
    assert second.claim()
    Run.objects.filter(pk=second.pk).update(step=1, steps=2)
    shown = text(client, f"/p/memes/studies/{study.pk}/progress")
    assert "part 2 of 3: step 1 of 2" in shown
    assert "1 of 3 parts done" in shown
    watch = watching.watch(again(study))
    sizes = [part["learnt"] for part in study.posts]
    assert watch.seconds_left == pytest.approx(120 * sum(sizes[1:]) / sizes[0], abs=3)
    assert watch.share == pytest.approx((1 + 0.45) / 3, abs=1e-3)
    assert f'fold 1 of 3 in <a href="/p/memes/studies/{study.pk}"' in text(client, f"/p/memes/runs/{first.pk}")
    assert f'in <a id="study-{first.pk}"' in text(client, "/p/memes/runs")


def test_what_was_spent_is_told_where_the_price_of_the_card_is_known(client, dataset, queued, quick):
    Card.objects.filter(name="RTX 4090").update(price="1.50")
    study = begin(dataset, FOLDS)
    work(queued)
    assert watching.watch(again(study)).spent == pytest.approx(3 * 36 / 3600 * 1.5)
    assert "$0.04" not in text(client, "/p/memes/studies")
    assert "of card time so far" in text(client, f"/p/memes/studies/{study.pk}")
    Card.objects.filter(name="RTX 4090").update(price=None)
    assert watching.watch(study).spent is None


@pytest.mark.parametrize(("name", "found"), [
    ("NVIDIA H100 80GB HBM3", "H100 80 GB"), ("NVIDIA A100-SXM4-40GB", "A100 40 GB"),
    ("NVIDIA A100-SXM4-80GB", "A100 80 GB"), ("NVIDIA GeForce RTX 4090", "RTX 4090"), ("NVIDIA T4", None),
])  # fmt: skip
def test_a_card_is_known_by_its_makers_name(name, found):
    cards = [watching.Card(card, 1, 1, price) for price, card in enumerate(
        ["RTX 4090", "A100 40 GB", "L40S", "A100 80 GB", "H100 80 GB"])]  # fmt: skip
    assert watching.price_of(name, cards) == next((card.price for card in cards if card.name == found), None)


def test_stop_and_resume_by_the_page(client, dataset, queued):
    study = begin(dataset, FOLDS)
    client.post(f"/p/memes/studies/{study.pk}/stop")
    assert again(study).state == StudyState.STOPPED
    shown = text(client, f"/p/memes/studies/{study.pk}")
    assert "Resume" in shown
    assert client.get(f"/p/memes/studies/{study.pk}/progress")["HX-Refresh"] == "true"
    client.post(f"/p/memes/studies/{study.pk}/resume")
    assert again(study).state == StudyState.RUNNING


def test_while_a_part_is_still_stopping_it_is_not_resumed(client, dataset, queued):
    study = begin(dataset, FOLDS)
    studies.advance(study.pk)
    run = study.runs.order_by("pk").first()
    assert run.claim()
    studies.stop(study)
    shown = text(client, f"/p/memes/studies/{study.pk}/progress")
    assert "Stopping" in shown
    assert "Resume" not in shown
    assert not studies.resume(study)
    Run.objects.filter(pk=run.pk).update(state="stopped", ended=timezone.now())
    queued["run"].clear()
    assert studies.resume(study)
    assert queued["run"] == sorted(study.runs.values_list("pk", flat=True))
    assert [part.seconds for part in watching.watch(again(study)).parts] == [0, 0, 0]


# --- Afterwards


def test_folds_that_are_done_show_all_together_and_offer_doubts(client, dataset, queued, quick, monkeypatch):
    study = begin(dataset, FOLDS)
    work(queued)
    shown = text(client, f"/p/memes/studies/{study.pk}")
    pooled = study.evaluations.get(split=On.POOL)
    assert f"/p/memes/evaluations/{pooled.pk}" in shown
    assert "over the runs" in shown
    assert f"Runs like tiny on v1, 3-fold (study {study.pk})" in text(client, "/p/memes/evaluations")
    assert "fold 1 of 3" not in text(client, "/p/memes/evaluations").split("<table")[-1]
    called: list[Any] = []
    monkeypatch.setattr("modeling.studying.out_of_fold.async_task", lambda *args, **_: called.append(args))
    answer = client.post(f"/p/memes/studies/{study.pk}/doubts")
    assert answer["Location"] == "/p/memes/datasets/v1/doubts"
    assert called[0][:2] == ("modeling.tasks.doubt_by_folds", study.pk)


def test_a_curve_that_is_done_is_drawn_and_told_in_words(client, queued, quick, dataset):
    study = begin(dataset, CURVE)
    work(queued)
    shown = text(client, f"/p/memes/studies/{study.pk}")
    assert again(study).measured["holdout"]["words"] in shown
    assert shown.count('class="spread"') == 6
    answer = client.post(f"/p/memes/studies/{study.pk}/doubts", follow=True)
    assert "Only folds that are done" in answer.content.decode()


# --- By programs


def test_programs_start_watch_stop_and_resume(client, dataset, queued):
    address = "/api/projects/memes/studies"
    asked = {"base": "tiny", "kind": "folds", "folds": 3, "settings": {"max_steps": 2}}
    made = client.post(address, asked, content_type="application/json")
    assert made.status_code == 202
    told = made.json()
    assert (told["kind"], told["of"], told["done"], told["state"]) == ("folds", 3, 0, "running")
    assert told["parts"][0] == {
        "part": "fold 1 of 3",
        "run": None,
        "state": "not begun",
        "posts": {},
        "evaluations": [],
    }
    assert [one["id"] for one in client.get(address).json()] == [told["id"]]
    one = f"{address}/{told['id']}"
    assert client.get(one).json()["config"]["max_steps"] == 2
    assert client.post(f"{one}/stop").json()["state"] == "stopped"
    assert client.post(f"{one}/stop").status_code == 409
    assert client.post(f"{one}/resume").json()["state"] == "running"


@pytest.mark.parametrize(("asked", "why"), [
    ({"kind": "curve", "shares": [0.5]}, "From 2 to 20 shares"), ({"folds": 19}, "too few for 19 folds"),
    ({"base": "no model"}, "Write a name on the hub"), ({"settings": {"speed": 3}}, "speed"),
])  # fmt: skip
def test_programs_are_told_what_cannot_be(client, dataset, asked, why):
    answer = client.post("/api/projects/memes/studies", {"base": "tiny", **asked}, content_type="application/json")
    assert answer.status_code == 422
    assert why in answer.json()["detail"]
    assert not Study.objects.exists()


# --- Many


@pytest.mark.parametrize("address", ["/p/memes/studies", "/api/projects/memes/studies"])
def test_a_list_asks_as_much_of_the_database_for_many_as_for_few(client, dataset, address):
    def make() -> None:
        study = begin(dataset, FOLDS)
        tasks.advance_study(study.pk)
        assert again(study).runs.count() == 3

    def asked() -> int:
        with CaptureQueriesContext(connection) as found:
            assert client.get(address).status_code == 200
        return len(found)

    make()
    asked()
    few = asked()
    make()
    make()
    assert asked() == few
