"""What a person or a program sees of cascades: all of them, a new one, one with its curve and the point in use."""

import json
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from annotate.models import Event, Role, Voter
from modeling.cascade import cascades
from modeling.models import Cascade, CascadeState, Evaluation

from .make import make_member, make_project
from .test_cascade import (
    evaluate,
    make_answers,
    make_cascade,
    make_ground,
    make_run,
)
from .test_cascade import (
    second as second,
)
from .test_run_pages import logged_in, words_of

pytestmark = pytest.mark.django_db
HERE = "/p/memes/cascades"


@pytest.fixture
def project():
    return make_ground()


@pytest.fixture
def dataset(project):
    return project.datasets.get(name="v1")


@pytest.fixture
def client(project):
    return logged_in(make_member(project, Role.ADMIN, "ada"))


@pytest.fixture
def lead(project):
    return logged_in(make_member(project, Role.LEAD, "lea"))


@pytest.fixture
def fitted(project, second):
    return make_cascade(project, second=second)


def page(client: Client, address: str = HERE) -> str:
    answer = client.get(address)
    assert answer.status_code == 200, address
    return words_of(answer)


def use(made: Cascade, threshold: float) -> None:
    cascades.use(made, threshold, None, queue=False)
    assert cascades.carry_out(made)


# --- All of them


class TestList:
    def test_it_says_what_comes_first(self):
        project = make_project("Memes")
        client = logged_in(make_member(project, Role.ADMIN))
        assert "A frozen dataset comes first" in page(client)
        assert "A frozen dataset comes first" in page(client, f"{HERE}/new")

    def test_a_first_stage_and_a_run_come_next(self, client, project, dataset):
        assert "A run comes first" in page(client)
        project.voters.all()[0].votes.update(probabilities=None)
        assert "A first stage comes first" in page(client)

    def test_then_it_offers_to_make_one(self, client, lead, second):
        assert "Make the first" in page(client)
        assert "Make the first" not in page(lead)

    def test_it_tells_the_point_that_is_used(self, client, fitted):
        assert "Choose one" in page(client)
        use(fitted, 0.6)
        told = page(client)
        assert f"ask below {fitted.threshold:g}" in told
        assert f"{cascades.nearest(cascades.curve_of(fitted), 0.6).saved:.1%}" in told

    def test_it_asks_the_database_as_much_for_many_as_for_one(self, client, project, second, fitted):
        counts = []
        for number in range(2):
            page(client)
            with CaptureQueriesContext(connection) as asked:
                page(client)
            counts.append(len(asked))
            for more in range(3):
                make_cascade(project, second=second, name=f"{number} {more}")
        assert counts[0] == counts[1]


# --- Used


def test_once_it_is_fitted_and_has_a_point_it_can_pre_label(client, fitted):
    there = f"/p/memes/prelabellings/new?cascade={fitted.pk}"
    assert there not in page(client, f"{HERE}/{fitted.pk}")
    use(fitted, 0.6)
    assert there in page(client, f"{HERE}/{fitted.pk}")
    assert f'value="cascade-{fitted.pk}" selected' in page(client, there)
    Cascade.objects.update(state=CascadeState.QUEUED)
    assert there not in page(client, f"{HERE}/{fitted.pk}")


# --- A new one


class TestNew:
    def test_an_admin_makes_one(self, client, project, second):
        answer = client.post(f"{HERE}/new", {"first": "topk", "second": f"run-{second.pk}", "k": 4, "dataset": "v1"})
        made = Cascade.objects.get()
        assert answer.url == f"{HERE}/{made.pk}"
        assert (made.voter.name, made.second, made.k, made.state) == ("topk", second, 4, CascadeState.QUEUED)
        assert made.by.username == "ada"

    @pytest.mark.parametrize(
        ("change", "why"),
        [({"k": 99}, "50"), ({"k": 20}, "From 2 to 12"), ({"first": "nobody"}, "not offered"), ({"k": "x"}, "whole")],
    )
    def test_what_cannot_be_is_told_at_its_place(self, client, second, change, why):
        told = {"first": "topk", "second": f"run-{second.pk}", "k": 4, "dataset": "v1"} | change
        answer = client.post(f"{HERE}/new", told)
        assert answer.status_code == 422
        assert why in words_of(answer)
        assert not Cascade.objects.exists()

    def test_only_who_says_how_likely_labels_are_is_offered(self, client, project, dataset, second):
        Voter.imported(project, "plain")
        classifier = make_run(dataset, "classifier")
        form = client.get(f"{HERE}/new").context["form"]
        assert [key for key, _ in form.fields["first"].choices] == [f"run-{classifier.pk}", "topk"]
        assert [key for key, _ in form.fields["second"].choices] == [f"run-{second.pk}"]

    def test_a_lead_looks_and_makes_none(self, lead, second):
        assert "An admin of this project can make it" in page(lead, f"{HERE}/new")
        assert lead.post(f"{HERE}/new", {}).status_code == 403


# --- One of them


class TestOne:
    def test_it_shows_the_curve_in_a_table_that_needs_no_script(self, client, fitted):
        answer = client.get(fitted.get_absolute_url())
        told = answer.content.decode()
        for point in cascades.curve_of(fitted):
            assert f'data-threshold="{point.threshold:g}"' in told
            assert f"{point.saved:.1%}" in told
        assert "?at=0.5#point" in told
        assert answer.context["page"].shown.threshold == fitted.told["best"]
        assert "no more than 0.5 points less accurate" in words_of(answer)

    @pytest.mark.parametrize(("at", "shown"), [("0.5", 0.5), ("0,5", 0.5), ("1.01", 1.01), ("0", 0.0)])
    def test_an_address_holds_the_point(self, client, fitted, at, shown):
        answer = client.get(f"{fitted.get_absolute_url()}?at={at}")
        assert answer.context["page"].shown.threshold == shown

    @pytest.mark.parametrize("at", ["x", "-1", "nan", "9e9", "%00"])
    def test_an_address_that_makes_no_sense_is_told_so(self, client, fitted, at):
        answer = client.get(f"{fitted.get_absolute_url()}?at={at}")
        assert answer.status_code == 200
        assert ("is no threshold" in words_of(answer)) == (at != "%00")
        assert answer.context["page"].shown.threshold == fitted.told["best"]

    def test_a_point_is_used_and_what_it_is_worth_elsewhere_is_told(self, client, fitted, dataset):
        before = page(client, fitted.get_absolute_url())
        assert "On the test split, as it is used" not in before
        answer = client.post(f"{fitted.get_absolute_url()}/use", {"threshold": "0.6"}, follow=True)
        assert "It is used so now: ask below" in words_of(answer)
        fitted.refresh_from_db()
        assert cascades.carry_out(fitted)
        told = page(client, fitted.get_absolute_url())
        assert "On the test split, as it is used" in told
        assert "Put it on the leaderboard" in told
        evaluate(fitted)
        assert "All figures and posts" in page(client, fitted.get_absolute_url())
        assert Event.objects.get(verb="cascade's point chosen").user.username == "ada"

    def test_figures_of_a_point_that_is_no_longer_used_are_gone(self, client, fitted):
        use(fitted, 0.6)
        cascades.use(fitted, 0.2, None, queue=False)
        assert "as it is used" not in page(client, fitted.get_absolute_url())

    def test_a_threshold_that_is_none_changes_nothing(self, client, fitted):
        answer = client.post(f"{fitted.get_absolute_url()}/use", {"threshold": "much"}, follow=True)
        assert "Nothing was changed" in words_of(answer)
        fitted.refresh_from_db()
        assert fitted.threshold is None

    def test_a_lead_looks_and_uses_none(self, lead, fitted):
        assert "Use this point" not in page(lead, fitted.get_absolute_url())
        for verb in ("use", "again", "ask"):
            assert lead.post(f"{fitted.get_absolute_url()}/{verb}", {"threshold": "0.5"}).status_code == 403

    def test_what_is_missing_is_asked_for_by_one_press(self, client, project, dataset):
        made = make_cascade(project)
        told = client.get(made.get_absolute_url())
        assert "Evaluate it on the test split" in words_of(told)
        answer = client.post(f"{made.get_absolute_url()}/ask", {"run": made.second_id, "on": "test"}, follow=True)
        asked = Evaluation.objects.get()
        assert f"{asked.name} is asked" in words_of(answer)
        assert "It is being asked" in words_of(answer)
        again = client.post(f"{made.get_absolute_url()}/ask", {"run": made.second_id, "on": "test"}, follow=True)
        assert "is being asked already" in words_of(again)
        assert "Nothing is missing there" in words_of(
            client.post(f"{made.get_absolute_url()}/ask", {"run": "x", "on": "train"}, follow=True)
        )

    def test_while_it_is_fitted_it_is_polled_and_then_the_page_is_fresh(self, client, fitted):
        assert client.get(f"{fitted.get_absolute_url()}/progress").headers["HX-Refresh"] == "true"
        client.post(f"{fitted.get_absolute_url()}/again")
        assert b"hx-trigger" in client.get(f"{fitted.get_absolute_url()}/progress").content
        fitted.refresh_from_db()
        assert cascades.carry_out(fitted)

    def test_of_another_project_it_is_not_there(self, fitted):
        other = make_project("Other")
        boss = logged_in(make_member(other, Role.ADMIN, "bob"))
        assert boss.get(f"/p/other/cascades/{fitted.pk}").status_code == 404

    def test_sixty_seven_labels_are_a_page_as_well(self):
        project = make_ground(tuple(f"label {n}" for n in range(67)), posts=200, held=0, named=5, name="Many")
        run = make_run(project.datasets.get())
        make_answers(run, run.dataset)
        made = make_cascade(project, k=5, second=run)
        told = page(logged_in(make_member(project, Role.LEAD)), made.get_absolute_url())
        assert "5.0 of 67 a post" in told


# --- Among evaluations


def test_it_is_offered_where_others_are_asked(client, fitted):
    use(fitted, 0.6)
    told = client.get(f"/p/memes/evaluations/new?predictor=cascade-{fitted.pk}&on=v1:test")
    offer = next(one for one in told.context["form"].others if one.key == f"cascade-{fitted.pk}")
    assert (offer.name, offer.ticked) == (fitted.name, True)
    answer = client.post("/p/memes/evaluations/new", {"predictor": offer.key, "on": "v1:test", "sees": "both"})
    assert answer.status_code == 302
    assert Evaluation.objects.get(predictor__kind="cascade").name.startswith(fitted.name)


def test_its_receipt_tells_what_it_saves(client, fitted):
    use(fitted, 0.6)
    done = evaluate(fitted)
    told = page(client, done.get_absolute_url())
    assert done.used["calls_saved"] in told
    assert "Calls saved" in told


# --- The API


def api(client: Client, method: str, path: str, body: Any = None) -> Any:
    answer = client.generic(method, f"/api/projects/memes/cascades{path}", json.dumps(body), "application/json")
    return answer.status_code, answer.json()


class TestApi:
    def test_it_makes_lists_and_uses_one(self, client, second):
        status, told = api(client, "POST", "", {"first": "topk", "second": f"run-{second.pk}", "k": 3})
        assert (status, told["state"], told["missing"]) == (202, "queued", told["missing"])
        made = Cascade.objects.get(pk=told["id"])
        cascades.carry_out(made)
        status, told = api(client, "GET", f"/{made.pk}")
        assert (status, told["first"], told["second"], len(told["told"]["curve"]) > 20) == (
            200, "topk", f"run-{second.pk}", True,
        )  # fmt: skip
        status, told = api(client, "POST", f"/{made.pk}/point", {"threshold": 0.7})
        assert status == 202
        assert told["threshold"] == pytest.approx(0.7, abs=0.05)
        assert [one["id"] for one in api(client, "GET", "")[1]] == [made.pk]

    @pytest.mark.parametrize(
        ("change", "why"),
        [({"first": "nobody"}, "no first stage"), ({"second": "topk"}, "no run that is done"), ({"k": 40}, "From 2 to"),
         ({"dataset": "v9"}, "no frozen dataset")],
    )  # fmt: skip
    def test_what_cannot_be_is_refused(self, client, second, change, why):
        status, told = api(client, "POST", "", {"first": "topk", "second": f"run-{second.pk}"} | change)
        assert status == 422
        assert why in told["detail"]

    def test_without_a_curve_no_point_is_chosen(self, client, project):
        made = make_cascade(project)
        status, told = api(client, "POST", f"/{made.pk}/point", {"threshold": 0.7})
        assert (status, "not fitted yet" in told["detail"]) == (409, True)
        assert "Evaluate it on the test split" in api(client, "GET", f"/{made.pk}")[1]["missing"][0]
