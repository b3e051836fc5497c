"""What a program gets of evaluations: the command, the files, the API."""

import csv
import io
import json
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from annotate.models import ApiToken, Event, Role
from modeling.evaluation import evaluating, told
from modeling.models import Evaluation, JobState

from .make import make_member, make_post
from .test_evaluating import evaluate, frozen, make_known
from .test_evaluating import var as var
from .test_evaluation_pages import at_work, logged_in, make_evaluation

pytestmark = pytest.mark.django_db
API = "/api/projects/memes/evaluations"


@pytest.fixture
def project():
    return make_known()


@pytest.fixture
def dataset(project):
    return frozen(project)


@pytest.fixture
def client(project):
    return logged_in(make_member(project, Role.ADMIN, "ada"))


@pytest.fixture
def lead(project):
    return logged_in(make_member(project, Role.LEAD, "lea"))


# --- Written


def test_words_name_each_figure_and_tell_the_others(dataset):
    low = evaluate(dataset, "majority")
    high = evaluate(dataset, "gpt")
    written = told.written(high, "words")
    assert written.startswith("gpt, on the locked test set of v1\n")
    assert "5 x 3 stratified folds" in written
    assert "gpt is better than Always the commonest label by" in written
    assert "gpt is better than Always the commonest label by" in told.written(low, "words")
    rows = [line.split() for line in written.splitlines()]
    assert ["bearish", "10", "0", "0"] in rows  # of the confusion


def test_json_holds_all_figures_and_what_they_are_of(dataset):
    evaluation = evaluate(dataset, "text")
    found = json.loads(told.written(evaluation, "json"))
    assert found["figures"] == evaluation.measured["figures"]
    assert (found["test_hash"], found["content_hash"]) == (evaluation.test_hash, dataset.content_hash)
    assert found["predictor"] == {"kind": "text"}


def test_csv_holds_a_row_a_post(dataset):
    evaluation = evaluate(dataset, "text")
    head, *rows = csv.reader(io.StringIO(told.written(evaluation, "csv")))
    assert head == ["id", "truth", "told", "confidence", "p bearish", "p neutral", "p bullish"]
    assert len(rows) == 30
    said = dict(evaluation.predictions.filter(to_calibrate=False).values_list("item__external_id", "label"))
    assert {row[0]: row[2] for row in rows} == said
    assert all(sum(map(float, row[4:])) == pytest.approx(1, abs=1e-5) for row in rows)


def test_csv_runs_nothing_in_a_spreadsheet(project):
    make_post(project, "moon", "bullish", label_source="import", holdout=True, external_id="=1+1")
    written = told.written(evaluate(frozen(project), "majority"), "csv")
    assert "'=1+1" in written


def test_markdown_is_a_table_whatever_names_are_in_it(project):
    label = project.labels.get(name="bearish")
    label.name = "bear|ish *x*"
    label.save()
    written = told.written(evaluate(frozen(project), "gpt"), "md")
    rows = [line for line in written.splitlines() if line.startswith("| bear")]
    assert rows
    assert all(line.startswith("| bear\\|ish \\*x\\* |") for line in rows)


def test_what_is_not_measured_cannot_be_written(dataset):
    with pytest.raises(told.NotMeasured, match="not measured yet"):
        told.written(make_evaluation(dataset), "words")


@pytest.mark.parametrize(("ending", "kind"), [("json", "application/json"), ("csv", "text/csv"),
                                             ("md", "text/markdown"), ("txt", "text/plain")])  # fmt: skip
def test_files_are_downloaded_as_the_command_prints_them(lead, dataset, ending, kind):
    evaluation = evaluate(dataset, "text")
    answer = lead.get(f"/p/memes/evaluations/{evaluation.pk}.{ending}")
    assert answer["Content-Type"].startswith(kind)
    key = next(key for key, one in told.ENDINGS.items() if one == ending)
    assert b"".join(answer.streaming_content).decode() == told.written(evaluation, key)
    assert lead.head(f"/p/memes/evaluations/{evaluation.pk}.{ending}").status_code == 200
    assert lead.get(f"/p/memes/evaluations/{evaluation.pk}.exe").status_code == 404


# --- By command


@pytest.mark.parametrize("format", told.FORMATS)
def test_the_command_prints_it(dataset, capsys, format):
    call_command("evaluate", project="memes", predictor="gpt", format=format)
    assert capsys.readouterr().out == told.written(Evaluation.objects.get(), format)


def test_the_command_says_why_it_came_to_nothing(project, dataset):
    with pytest.raises(CommandError, match="no such frozen dataset"):
        call_command("evaluate", project="memes", predictor="gpt", dataset="v9")
    with pytest.raises(CommandError, match="/nowhere/model"):
        call_command("evaluate", project="memes", predictor="base:/nowhere/model")


# --- Over the API


def post(client: Any, address: str, **data: Any) -> Any:
    return client.post(address, data, content_type="application/json")


class TestApi:
    def test_one_is_asked_for_in_each_of_the_ways(self, client, dataset):
        answer = post(client, API, predictor="base:tiny", sees=["both", "text"], shots=2)
        assert answer.status_code == 202
        assert [one["sees"] for one in answer.json()] == ["both", "text"]
        assert answer.json()[0]["predictor"] == {"kind": "base", "model": "tiny", "shots": 2}
        assert Evaluation.objects.filter(state=JobState.QUEUED).count() == 2

    @pytest.mark.parametrize(("asked", "sentence"), [
        ({"predictor": "nobody"}, "is no predictor"), ({"predictor": "gpt", "dataset": "v9"}, "no frozen dataset v9"),
        ({"predictor": "gpt", "sees": ["both", "text"]}, "together"), ({"predictor": "base:a model"}, "owner/name"),
        ({"predictor": "base:tiny", "bits": 3}, "4, 8 or 16 bits"), ({"predictor": "gpt\0"}, ""),
        ({"predictor": "run-²"}, "is no predictor"), ({"predictor": f"run-{10**30}"}, "There is no run"),
        ({"predictor": "gpt", "dataset": "v9\0"}, "no frozen dataset v9"),
    ])  # fmt: skip
    def test_what_makes_no_sense_is_refused_and_nothing_is_asked(self, client, dataset, asked, sentence):
        answer = post(client, API, **asked)
        if sentence:
            assert answer.status_code == 422
            assert sentence in answer.json()["detail"]
            assert not Evaluation.objects.exists()

    def test_figures_predictions_and_comparisons_come_out(self, lead, dataset):
        low, high = evaluate(dataset, "majority"), evaluate(dataset, "text")
        found = lead.get(f"{API}/{low.pk}").json()
        assert found["measured"]["figures"]["n"] == 30
        assert found["compared"][0]["evaluation"] == high.pk
        assert found["compared"][0]["macro_f1"]["value"] < 0
        said = lead.get(f"{API}/{high.pk}/predictions").json()
        assert len(said) == 30
        assert all(sum(one["probabilities"].values()) == pytest.approx(1) for one in said)
        rest = lead.get(f"{API}/{high.pk}/predictions?after={said[9]['position']}").json()
        assert rest == said[10:]
        assert lead.get(f"{API}/{high.pk}/predictions?after=99999999999999").json() == []

    def test_who_was_given_the_labels_of_the_test_set_is_on_record(self, lead, dataset):
        evaluation = evaluate(dataset, "majority")
        lead.get(f"{API}/{evaluation.pk}/predictions")
        noted = Event.objects.get(verb="evaluation downloaded")
        assert noted.data["evaluation"] == evaluation.pk
        assert noted.user.username.startswith("lea")

    def test_the_list_tells_of_one_test_set_where_it_is_asked_for(self, lead, dataset):
        one, other = evaluate(dataset, "gpt"), evaluate(dataset, "majority", "test")
        assert [found["id"] for found in lead.get(API).json()] == [other.pk, one.pk]
        assert [found["id"] for found in lead.get(f"{API}?test_hash={one.test_hash}").json()] == [one.pk]
        assert [found["id"] for found in lead.get(f"{API}?before={other.pk}").json()] == [one.pk]
        assert lead.get(API).json()[1]["macro_f1"]["value"] == 1

    def test_it_is_stopped_and_resumed_once(self, client, lead, dataset, monkeypatch):
        monkeypatch.setattr(evaluating, "enqueue", lambda one: None)
        waiting = make_evaluation(dataset)
        assert lead.post(f"{API}/{waiting.pk}/stop").status_code == 403
        assert client.post(f"{API}/{waiting.pk}/stop").json()["state"] == "stopped"
        assert client.post(f"{API}/{waiting.pk}/stop").status_code == 409
        assert client.post(f"{API}/{waiting.pk}/resume").json()["state"] == "queued"
        assert client.post(f"{API}/{waiting.pk}/resume").status_code == 409

    def test_one_at_work_tells_how_far_it_is(self, lead, dataset):
        found = lead.get(f"{API}/{at_work(dataset).pk}").json()
        assert (found["state"], found["done"], found["total"], found["macro_f1"]) == ("running", 10, 30, None)

    def test_a_token_will_do(self, project, dataset, client):
        _, secret = ApiToken.issue(make_member(project, Role.LEAD), "laptop")
        evaluate(dataset, "gpt")
        client.logout()
        assert client.get(API, headers={"Authorization": f"Bearer {secret}"}).status_code == 200
