"""What a person sees of evaluations: the leaderboard, one of them, its posts, two beside each other, asking anew."""

from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from annotate.models import Event, Role
from modeling.evaluation import evaluating, leaderboard, posts, report
from modeling.evaluation.predictors import Predictor
from modeling.measures import comparison
from modeling.models import Comparison, Evaluation, JobState, Run, RunState

from .make import make_member, make_project
from .test_evaluating import evaluate, frozen, make_known
from .test_evaluating import var as var
from .test_run_pages import logged_in, words_of

pytestmark = pytest.mark.django_db
HERE = "/p/memes/evaluations"


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


def make_evaluation(dataset, state=JobState.QUEUED, **fields: Any) -> Evaluation:
    predictor = fields.pop("predictor", {"kind": "majority"})
    key = Evaluation.key_of(predictor, fields.get("sees", "both"))
    told = {"name": "Somebody", "split": "holdout", "key": key, "predictor": predictor} | fields
    return Evaluation.objects.create(project=dataset.project, dataset=dataset, state=state, **told)


def at_work(dataset, **fields: Any) -> Evaluation:
    now = timezone.now()
    told = {"started": now - timedelta(seconds=10), "heartbeat": now, "doing": "asking", "total": 30, "done": 10}
    return make_evaluation(dataset, JobState.RUNNING, **(told | fields))


def page(client: Client, address: str = HERE) -> str:
    answer = client.get(address)
    assert answer.status_code == 200, address
    return words_of(answer)


def groups(client: Client, query: str = "") -> dict[str, list[str]]:
    board = client.get(f"{HERE}?{query}").context["board"]
    return {group.title: [row.evaluation.name for row in group.rows] for group in board.groups}


# --- The leaderboard


class TestLeaderboard:
    def test_without_a_dataset_it_says_what_comes_first(self):
        project = make_project("Memes")
        client = logged_in(make_member(project, Role.LEAD))
        assert "A frozen dataset comes first" in page(client)

    def test_without_anybody_it_offers_what_every_model_has_to_beat(self, client, dataset):
        assert f"{HERE}/new?predictor=majority&amp;predictor=text-cv" in page(client)

    def test_who_cannot_be_told_apart_from_the_best_stands_in_one_group(self, client, dataset):
        for name in ("gpt", "text", "majority"):
            evaluate(dataset, name)
        found = groups(client)
        assert set(found["Cannot be told apart from the best"]) == {"gpt", "Words alone, TF-IDF"}
        assert found["Worse than the best"] == ["Always the commonest label"]

    def test_each_is_told_against_the_best_the_right_way_round(self, client, dataset):
        first = evaluate(dataset, "majority")
        evaluate(dataset, "gpt")
        told = page(client)
        assert "worse by" in told
        assert "better by" not in told
        again = Comparison.objects.get(second=first)
        again.first, again.second = again.second, again.first
        again.told = comparison.Difference.from_json(again.told).turned().as_json()
        again.save()
        assert page(client).count("worse by") == told.count("worse by") == 1

    def test_who_was_asked_about_some_posts_alone_stands_in_no_order(self, client, dataset):
        for name in ("late", "majority"):
            evaluate(dataset, name)
        assert groups(client)["Asked about some of the posts"] == ["late"]
        assert groups(client)["The best"] == ["Always the commonest label"]

    def test_filters_stand_in_the_address(self, client, dataset):
        evaluate(dataset, "gpt")
        evaluate(dataset, "gpt")
        evaluate(dataset, "majority", "test")
        assert sum(map(len, groups(client).values())) == 1
        assert sum(map(len, groups(client, "which=all").values())) == 2
        assert groups(client, "kind=majority") == {}
        assert groups(client, "dataset=v1&split=test") == {"The best": ["Always the commonest label"]}
        test_hash = Evaluation.objects.get(split="test").test_hash
        assert groups(client, f"test={test_hash[:12]}") == {"The best": ["Always the commonest label"]}

    @pytest.mark.parametrize(("query", "sentence"), [
        ("kind=nobody", "“nobody” is not known as kind"), ("sees=all", "“all” is not known as sees"),
        ("dataset=v9&split=test", "Nothing was measured on the test of v9 yet"), ("test=abc", "on a test set abc"),
        ("kind=%00", ""),
    ])  # fmt: skip
    def test_what_cannot_be_understood_is_told(self, client, dataset, query, sentence):
        evaluate(dataset, "gpt")
        assert sentence in page(client, f"{HERE}?{query}")

    def test_what_is_not_measured_yet_shows_how_far_it_is(self, client, lead, dataset):
        at_work(dataset, name="gpt")
        make_evaluation(dataset, JobState.FAILED, name="tiny", error="The card's memory is too small.",
                        predictor={"kind": "base", "model": "tiny"})  # fmt: skip
        told = page(client)
        assert 'max="30" value="10"' in told
        assert "20 s" in told  # 10 in 10 seconds, and 20 are left
        assert "memory is too small" in told
        assert told.count("Stop<span") == told.count("Resume<span") == 1
        assert "hx-trigger" in told
        assert "Stop<span" not in page(lead)

    def test_a_failure_that_was_asked_again_is_told_no_more(self, client, dataset):
        make_evaluation(dataset, JobState.FAILED, name="Never the same", error="Broken.")
        assert "Broken." in page(client)
        evaluate(dataset, "majority")
        assert "Broken." not in page(client)

    def test_the_same_test_set_elsewhere_is_told_to_who_leads_there_too(self, lead, dataset):
        mine = evaluate(dataset, "gpt")
        other = make_project("Elsewhere")
        there = make_evaluation(frozen_in(other, dataset), JobState.DONE, name="Their model",
                                measured=mine.measured, test_hash=mine.test_hash, ended=timezone.now())  # fmt: skip
        assert "Their model" not in page(lead)
        person = other.memberships.create(user=dataset.project.memberships.get(user__username="lea").user, role="lead")
        assert "Their model" in page(lead)
        person.role = "reviewer"
        person.save()
        assert "Their model" not in page(lead)
        person.role = "admin"
        person.save()
        Evaluation.objects.filter(pk=there.pk).update(test_hash="0" * 64)
        assert "Their model" not in page(lead)

    def test_more_posts_to_learn_from_are_drawn_as_a_curve(self, client, project, dataset):
        mine = evaluate(dataset, "gpt")
        more = frozen(project, "v2")
        for of, trained_on in ((dataset, 20), (more, 40)):
            run = Run.objects.create(
                project=project, dataset=of, recipe="tiny", config={"model": "tiny"}, state=RunState.DONE,
                receipt={"posts": {"train": {"posts": trained_on}}},
            )  # fmt: skip
            make_evaluation(of, JobState.DONE, name=str(run), run=run, predictor={"kind": "run", "run": run.pk},
                            measured=mine.measured, test_hash=mine.test_hash, ended=timezone.now())  # fmt: skip
        learnt = client.get(HERE).context["learnt"]
        assert [(step.posts, step.dataset) for step in learnt.steps] == [(20, "v1"), (40, "v2")]
        xs = [point.x for point in learnt.drawn.points]
        assert xs == sorted(xs)
        assert "More posts to learn from" in page(client)

    def test_it_asks_as_much_of_the_database_for_many_as_for_few(self, client, dataset):
        one = evaluate(dataset, "gpt")
        queries_of(client, HERE)  # the first visit also fills caches
        few = queries_of(client, HERE)
        for number in range(12):
            make_evaluation(dataset, JobState.DONE, name=f"voter {number}", measured=one.measured,
                            predictor={"kind": "voter", "voter": number}, test_hash=one.test_hash,
                            ended=timezone.now())  # fmt: skip
            at_work(dataset, predictor={"kind": "voter", "voter": 100 + number})
        assert queries_of(client, HERE) == few

    @pytest.mark.parametrize("format", ["md", "csv", "json"])
    def test_it_goes_out_as_a_table(self, client, dataset, format):
        for name in ("gpt", "majority"):
            evaluate(dataset, name)
        answer = client.get(f"{HERE}.{format}")
        told = answer.content.decode()
        assert answer["Content-Disposition"].endswith(f'memes-evaluations.{format}"')
        assert told.index("gpt") < told.index("Always the commonest label")
        assert "worse by" in told
        assert client.get(f"{HERE}.exe").status_code == 404


def frozen_in(project, like):
    dataset = type(like).objects.get(pk=like.pk)
    dataset.pk, dataset.project, dataset._state.adding = None, project, True
    dataset.save()
    return dataset


def queries_of(client, address):
    with CaptureQueriesContext(connection) as asked:
        assert client.get(address).status_code == 200
    return len(asked)


# --- One of them


class TestOne:
    def test_each_figure_is_named_for_what_it_is(self, lead, dataset):
        evaluation = evaluate(dataset, "text")
        told = page(lead, f"{HERE}/{evaluation.pk}")
        figures = evaluation.measured["figures"]
        folds = figures["folds"]["macro_f1"]
        assert "5 x 3 stratified folds" in told
        assert f"{folds['mean']:.2f} ± {folds['deviation']:.2f}" in told
        assert f"95% interval, bootstrap: {figures['macro_f1']['low']:.2f}" in told
        assert f"{evaluation.measured['calibrated_on']} validation posts" in told
        assert evaluation.test_hash in told

    def test_every_square_and_bar_opens_its_posts(self, lead, dataset):
        evaluation = evaluate(dataset, "gemini")
        shown = lead.get(f"{HERE}/{evaluation.pk}").context["report"]
        here = f"{HERE}/{evaluation.pk}/posts"
        for link in shown.squares:
            if link.square.cell.posts:
                assert lead.get(f"{here}?{link.query}").context["count"] == link.square.cell.posts
        for row in shown.labels:
            assert lead.get(f"{here}?{row.query}").context["count"] == row.told.support
        for cut in shown.cuts:
            for part in cut.parts:
                assert lead.get(f"{here}?{part.query}").context["count"] == part.told.n
        for one in shown.curve.bins:
            count = lead.get(f"{here}?above={one.told.low}&upto={one.told.high}&answered=yes").context["count"]
            assert count == one.told.n

    def test_bars_of_a_calibrated_model_open_their_posts_too(self, lead, dataset):
        evaluation = evaluate(dataset, "text")
        Evaluation.objects.filter(pk=evaluation.pk).update(measured=evaluation.measured | {"temperature": 0.5})
        evaluation.refresh_from_db()
        chances = list(posts.measured(evaluation).values_list("sure", flat=True))
        assert all(1 / 3 <= chance <= 1 for chance in chances)
        evaluation = evaluate(dataset, "text")
        for one in lead.get(f"{HERE}/{evaluation.pk}").context["report"].curve.bins:
            query = f"above={one.told.low}&upto={one.told.high}"
            assert lead.get(f"{HERE}/{evaluation.pk}/posts?{query}").context["count"] == one.told.n

    def test_the_others_are_told_in_words_from_this_one(self, lead, dataset):
        low, high = evaluate(dataset, "majority"), evaluate(dataset, "gpt")
        assert "worse by" in page(lead, f"{HERE}/{low.pk}")
        assert "better by" in page(lead, f"{HERE}/{high.pk}")

    def test_what_was_asked_again_leads_to_the_latest(self, lead, dataset):
        first, again = evaluate(dataset, "gpt"), evaluate(dataset, "gpt")
        told = page(lead, f"{HERE}/{first.pk}")
        assert "asked again since" in told
        assert f'href="{HERE}/{again.pk}"' in told
        assert "asked again since" not in page(lead, f"{HERE}/{again.pk}")

    def test_a_page_asks_as_much_of_the_database_beside_many_as_beside_few(self, lead, dataset):
        evaluate(dataset, "majority")
        one = evaluate(dataset, "gpt")
        address = f"{HERE}/{one.pk}"
        queries_of(lead, address)
        few = queries_of(lead, address)
        for number in range(12):
            make_evaluation(dataset, JobState.DONE, name=f"voter {number}", measured=one.measured,
                            predictor={"kind": "voter", "voter": number}, test_hash=one.test_hash,
                            ended=timezone.now())  # fmt: skip
        assert queries_of(lead, address) == few

    def test_a_model_shows_what_it_leans_on(self, client, dataset):
        done = evaluate(dataset, "gpt")
        ways = [
            make_evaluation(dataset, JobState.DONE, name=f"tiny {sees}", sees=sees, measured=done.measured,
                            predictor={"kind": "base", "model": "tiny"}, test_hash=done.test_hash,
                            ended=timezone.now())
            for sees in ("both", "text")
        ]  # fmt: skip
        told = page(client, f"{HERE}/{ways[0].pk}")
        assert "What it leans on" in told
        assert "Ask it with picture alone" in told
        client.post(f"{HERE}/{ways[0].pk}/ways")
        assert Evaluation.objects.filter(sees="picture", state=JobState.QUEUED).count() == 1
        assert "being asked" in page(client, f"{HERE}/{ways[0].pk}")
        client.post(f"{HERE}/{ways[0].pk}/ways")
        assert Evaluation.objects.filter(sees="picture").count() == 1
        assert "What it leans on" not in page(client, f"{HERE}/{done.pk}")


class TestAtWork:
    def test_it_shows_how_far_it_is(self, client, dataset):
        evaluation = at_work(dataset)
        told = page(client, f"{HERE}/{evaluation.pk}")
        assert "10 of 30 posts" in told
        assert "1.0 posts a second" in told
        assert "20 s left" in told
        assert page(client, f"{HERE}/{evaluation.pk}/progress").startswith('<section class="sheet stack" id="progress"')

    def test_once_over_the_page_is_loaded_anew(self, client, dataset):
        evaluation = make_evaluation(dataset, JobState.FAILED)
        assert client.get(f"{HERE}/{evaluation.pk}/progress")["HX-Refresh"] == "true"

    def test_it_is_stopped_and_resumed_from_its_page_and_from_the_list(self, client, dataset, monkeypatch):
        monkeypatch.setattr(evaluating, "enqueue", lambda one: None)
        evaluation = make_evaluation(dataset)
        assert client.post(f"{HERE}/{evaluation.pk}/stop").url == f"{HERE}/{evaluation.pk}"
        assert "Stopped" in page(client, f"{HERE}/{evaluation.pk}")
        assert client.post(f"{HERE}/{evaluation.pk}/resume", {"from": "list"}).url == HERE
        evaluation.refresh_from_db()
        assert evaluation.state == JobState.QUEUED

    def test_what_cannot_be_stopped_or_resumed_says_so(self, client, dataset):
        done = evaluate(dataset, "gpt")
        assert "nothing to stop" in words_of(client.post(f"{HERE}/{done.pk}/stop", follow=True))
        assert "nothing to resume" in words_of(client.post(f"{HERE}/{done.pk}/resume", follow=True))

    def test_a_failure_shows_its_sentence_and_the_end_of_its_log(self, client, dataset, settings):
        from modeling.evaluation import folder
        from modeling.models.job import this_machine

        evaluation = make_evaluation(dataset, JobState.FAILED, error="It is too large.",
                                     machine=this_machine(), predictor={"kind": "base", "model": "tiny"})  # fmt: skip
        folder.folder_of(evaluation).mkdir(parents=True)
        (folder.folder_of(evaluation) / evaluating.LOG).write_text("loading\nout of memory\n")
        told = page(client, f"{HERE}/{evaluation.pk}")
        assert "It is too large." in told
        assert "out of memory" in told
        Evaluation.objects.update(machine="another")
        assert "out of memory" not in page(client, f"{HERE}/{evaluation.pk}")


def test_what_was_downloaded_is_noted(lead, dataset):
    evaluation = evaluate(dataset, "gpt")
    lead.get(f"{HERE}/{evaluation.pk}.csv")
    assert Event.objects.filter(verb="evaluation downloaded").count() == 1


def test_intervals_share_an_axis(dataset):
    low, high = evaluate(dataset, "majority"), evaluate(dataset, "gpt")
    figures = [one.measured["figures"]["macro_f1"] for one in (low, high)]
    axis = leaderboard.Axis.around(figures)
    marks = [axis.mark(one) for one in figures]
    assert 0 <= marks[0].starts <= marks[0].at <= marks[0].ends <= 100
    assert marks[0].at < marks[1].at
    assert axis.ticks[0] == axis.low
    assert axis.ticks[-1] == axis.high


def test_a_predictor_that_gives_no_sureness_is_drawn_no_curve(lead, dataset):
    evaluation = evaluate(dataset, Predictor("consensus"))
    assert "does not say how sure" in page(lead, f"{HERE}/{evaluation.pk}")


def test_what_was_answered_before_it_was_resumed_makes_nothing_look_quicker(project):
    dataset = frozen(project)
    asked = evaluating.ask(project, None, dataset, "holdout", Predictor("base", model="tiny"), queue=False)
    Evaluation.objects.filter(pk=asked.pk).update(
        state="running", started=timezone.now() - timedelta(seconds=10), heartbeat=timezone.now(), total=100, done=60,
        used={"before": 50},
    )  # fmt: skip
    asked.refresh_from_db()
    assert 39 <= asked.seconds_left <= 45
    assert report.watch(asked).pace == "1.0 posts a second"
