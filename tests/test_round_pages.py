"""What a person sees of rounds: what one will cost, how far it is, what it needs of people, and how it ended."""

import re
from html import unescape
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from annotate.models import Review, Role, State
from modeling.models import Goal, Needs, Round, RoundState, RunState
from modeling.prelabelling import prelabelling
from modeling.rounds import drawing, report, rounds, told
from modeling.rounds.drawing import Column
from modeling.rounds.plan import Plan
from modeling.training import runner

from .make import make_member, make_post, make_project
from .test_rounds import SWAPPED, a_round, answer_all, by_model, carried, kept, make_known, people, plan, quick, stream

__all__ = ["quick"]
pytestmark = pytest.mark.django_db
HERE = "/p/memes/rounds"


@pytest.fixture
def project():
    return make_known()


@pytest.fixture
def client(project):
    return logged_in(project, Role.ADMIN)


@pytest.fixture
def lead(project):
    return logged_in(project, Role.LEAD)


def logged_in(project, role):
    client = Client()
    client.force_login(make_member(project, role))
    return client


def page(client, address=HERE, **asked):
    answer = client.get(address, asked)
    assert answer.status_code == 200, (address, answer.status_code)
    return words(answer)


def words(answer):
    """As somebody reads it, without the tags."""
    within = re.sub(r"</?(a|b|span)\b[^>]*>", "", answer.content.decode())
    return unescape(" ".join(re.sub(r"<[^>]+>", " ", within).split()))


def now(one):
    one.refresh_from_db()
    return Round.objects.select_related(*rounds.RELATED).get(pk=one.pk)


def form(**changes):
    return {"base": "tiny", "recipe": "", "settings": "", "threshold": "0.9", "growth": "1.5", "doubts": "200",
            "audit_rate": "0.3", "error_allowed": "0.05", "word": "ask", "judged": "rule"} | changes  # fmt: skip


# --- Before the first


class TestBefore:
    def test_an_empty_page_says_what_a_round_is_and_that_nothing_is_missing(self, client):
        shown = page(client)
        assert "A round freezes what is labelled, trains a model on it and measures that" in shown
        assert "There is a locked test set: 45 posts" in shown
        assert "60 wait" in shown
        assert "Begin round 1" in shown

    def test_it_says_what_is_missing(self, project, client):
        project.posts.filter(holdout=True).delete()
        project.posts.filter(state=State.WAITING).delete()
        shown = page(client)
        assert "A locked test set is missing." in shown
        assert "No post waits for a label." in shown
        assert "Begin round 1" not in shown
        assert "A locked test set is missing." in page(client, f"{HERE}/new")

    def test_each_step_tells_what_it_will_do_and_cost(self, project, client):
        shown = page(client, f"{HERE}/new", base="tiny", audit_rate="0.3")
        assert re.search(r"Freeze \d+ posts to learn from", shown)
        assert "About a minute on any computer, and no money." in shown
        assert "45 posts of the locked test set" in shown
        assert "It is asked about the 60 posts that wait. How long that takes is known once" in shown
        assert "Up to 60 doubts for people." in shown
        assert "Up to 30 blind audits, if it is sure of all." in shown
        dear = page(client, f"{HERE}/new", base="", threshold="0.8")
        assert "GB of a card’s memory" in dear
        assert "RTX 4090" in dear

    def test_time_is_reckoned_by_what_was_measured_here(self, project, client):
        one = kept(project)
        prelabelling.PreLabelling.objects.filter(pk=one.prelabelling_id).update(used={"rate": 0.5})
        Review.objects.update(seconds=10)
        stream(project, 40, "x")
        shown = page(client, f"{HERE}/new")
        assert "Filled in as Round 1 was" in shown
        assert f"the 40 posts that wait: about 80 s at the pace of {one.run}" in shown
        assert "Up to 40 doubts for people: about 7 min." in shown
        assert f"so is the model of {one}" in shown

    def test_begun_as_the_form_says(self, project, client, monkeypatch):
        queued = []
        monkeypatch.setattr(rounds, "enqueue", lambda one: queued.append(one.pk))
        told = form(threshold="0.85", word="unattended", judged="lead", settings="max_steps=3\nlr=1e-4")
        answer = client.post(f"{HERE}/new", told)
        one = project.rounds.get()
        assert answer["Location"] == f"{HERE}/1"
        assert Plan.from_json(one.plan) == Plan(
            base="tiny", threshold=0.85, audit_rate=0.3, by_rule=False, unattended=True,
            settings={"max_steps": 3, "lr": 1e-4},
        )  # fmt: skip
        assert queued == [one.pk]
        assert "Round 1 is not over yet." in page(client, f"{HERE}/new")

    @pytest.mark.parametrize(("changes", "why"), [
        ({"threshold": "0.2"}, "greater than or equal to 0.5"), ({"growth": "0.5"}, "from 1 to 100"),
        ({"base": "no such model"}, "owner/name"), ({"settings": "lr"}, "write it as lr=1e-4"),
        ({"settings": "lrr=1"}, "lrr"), ({"recipe": "nope"}, "no such recipe"), ({"judged": ""}, "required"),
    ])  # fmt: skip
    def test_what_cannot_be_is_told_in_the_form_and_begins_nothing(self, project, client, changes, why):
        answer = client.post(f"{HERE}/new", form(**changes))
        assert answer.status_code == 422
        assert why in words(answer)
        assert not project.rounds.exists()

    def test_a_refusal_is_a_sentence_in_the_form(self, project, client):
        project.posts.filter(holdout=True).delete()
        answer = client.post(f"{HERE}/new", form())
        assert answer.status_code == 422
        assert "Rounds are judged on the locked test set" in words(answer)

    def test_the_next_is_frozen_as_the_last_was(self, project, client, monkeypatch):
        monkeypatch.setattr(rounds, "enqueue", lambda _: None)
        first = rounds.start(project, None, plan(frozen={"validation": 0.2}), queue=False)
        rounds.roll_back(first, None, queue=False)
        assert "otherwise than usual: validation 0.2" in page(client, f"{HERE}/new")
        client.post(f"{HERE}/new", form())
        assert project.rounds.get(number=2).plan["frozen"] == {"validation": 0.2}

    def test_leads_see_and_admins_begin(self, lead):
        assert "An admin of this project can begin it." in page(lead, f"{HERE}/new")
        assert lead.post(f"{HERE}/new", form()).status_code == 403

    def test_the_preview_is_the_same_and_the_address_follows(self, client):
        answer = client.get(f"{HERE}/preview", form(threshold="0.7"))
        assert "What it will do, and cost" in words(answer)
        assert answer["HX-Replace-Url"] == f"{HERE}/new?base=tiny&threshold=0.7&audit_rate=0.3"
        assert "Nothing can be reckoned yet." in words(client.get(f"{HERE}/preview", {"threshold": "9"}))


# --- While it goes


class TestOnTheWay:
    def test_before_a_worker_has_taken_it(self, project, client):
        rounds.start(project, None, plan(), queue=False)
        shown = page(client, f"{HERE}/1")
        assert "Seven steps 0 done" in shown
        assert "Freeze Waits for a worker" in shown
        assert "Train Not begun" in shown
        assert "It has settled nothing, so no label goes back." in shown

    def test_at_work_it_shows_how_far_a_step_is(self, project, client):
        one = rounds.start(project, None, plan(), queue=False)
        rounds.advance(one.pk, queue=False)
        one = now(one)
        rounds.carry_out_a_step(one, dict.fromkeys(("dataset", "run"), lambda _: None))
        rounds.advance(one.pk, queue=False)
        one = now(one)
        one.run.state, one.run.step, one.run.steps, one.run.heartbeat = RunState.RUNNING, 3, 8, timezone.now()
        one.run.started = timezone.now()
        one.run.save()
        shown = page(client, f"{HERE}/1")
        assert "Freeze Frozen round-1" in shown
        assert "3 of 8" in shown
        answer = client.get(f"{HERE}/1/progress", {"as": "running.."})
        assert "3 of 8" in words(answer)
        assert client.get(f"{HERE}/1/progress", {"as": "waiting.word"})["HX-Refresh"] == "true"

    def test_a_word_is_given_at_the_threshold_that_was_on_the_screen(self, project, client):
        one = a_round(project)
        shown = page(client, f"{HERE}/1")
        assert "Your word: settle what its model is sure of?" in shown
        settles = re.search(r"Settle (\d+) posts", shown)
        assert settles
        assert "Settle none, and send doubts" in page(client, f"{HERE}/1", threshold="1")
        assert "is not a number" in page(client, f"{HERE}/1", threshold="much")
        assert client.post(f"{HERE}/1/settle", {"threshold": "0.6"}).status_code == 302
        one = now(one)
        assert (one.prelabelling.goal, one.prelabelling.threshold) == (Goal.APPLY, 0.6)
        assert "Your word" not in page(client, f"{HERE}/1")
        again = client.post(f"{HERE}/1/settle", {"threshold": "0.6"}, follow=True)
        assert "it does not wait for a word any more" in words(again)

    def test_a_threshold_that_cannot_be_settles_nothing(self, project, client):
        one = a_round(project)
        assert "from 0.5 to 1" in words(client.post(f"{HERE}/1/settle", {"threshold": "0.1"}, follow=True))
        assert now(one).prelabelling.goal == Goal.ASK

    def test_settled_on_the_page_of_the_prelabelling_it_goes_on(self, project, client):
        one = a_round(project)
        made = now(one).prelabelling
        assert prelabelling.apply(made, None, 0.7, queue=False)
        assert "At work" in page(client, f"{HERE}/1")
        rounds.advance(one.pk)
        assert (now(one).state, now(one).needs) == (RoundState.RUNNING, Needs.NOTHING)
        carried(one)
        assert one.needs == Needs.REVIEW

    def test_settled_there_without_audits_a_lead_decides(self, project, client):
        one = a_round(project)
        assert prelabelling.apply(now(one).prelabelling, None, 0.7, queue=False, audit_rate=0)
        carried(one)
        assert (one.state, one.needs) == (RoundState.WAITING, Needs.VERDICT)
        assert "None of its labels was audited" in page(client, f"{HERE}/1")

    def test_people_are_told_what_is_open_and_may_be_gone_on_without(self, project, client):
        one = a_round(project, unattended=True)
        shown = page(client, f"{HERE}/1")
        assert re.search(r"\d+ answers are open: \d+ blind audits and \d+ doubt", shown)
        assert "A verdict takes 20 audits, or all there are: 20 more." in shown
        client.post(f"{HERE}/1/go-on")
        assert now(one).enough
        assert "It goes on without the answers that are open, as soon as that is possible." in page(client, f"{HERE}/1")

    def test_held_up_it_says_why_and_resumed_it_goes_on(self, project, client, monkeypatch):
        right = runner.PROGRAM
        monkeypatch.setattr(runner, "PROGRAM", [right[0], "-c", "raise SystemExit(3)"])
        one = a_round(project)
        assert "was interrupted" in page(client, f"{HERE}/1")
        client.post(f"{HERE}/1/resume")
        assert now(one).state == RoundState.RUNNING

    def test_stopped_and_resumed(self, project, client):
        one = rounds.start(project, None, plan(), queue=False)
        client.post(f"{HERE}/1/stop")
        assert "What is done stands." in page(client, f"{HERE}/1")
        client.post(f"{HERE}/1/resume")
        assert now(one).state == RoundState.RUNNING

    def test_a_lead_says_whether_it_is_kept(self, project, lead):
        one = a_round(project, unattended=True, by_rule=False)
        answer_all(people(project), lambda post: SWAPPED[post.external_id.rpartition("-")[2]])
        rounds.advance(one.pk, queue=False)
        labels = len(by_model(project))
        shown = page(lead, f"{HERE}/1")
        assert "A lead decides: is it kept?" in shown
        assert f"Roll back, and take {labels} labels back" in shown
        lead.post(f"{HERE}/1/keep")
        assert now(one).state == RoundState.KEPT
        lead.post(f"{HERE}/1/roll-back")
        assert now(one).state == RoundState.ROLLED_BACK
        assert "Rolled back" in page(lead, f"{HERE}/1")


# --- Afterwards


class TestAfterwards:
    def test_a_round_that_was_kept_says_why_and_what_it_came_to(self, project, client):
        one = kept(project)
        shown = page(client, f"{HERE}/1")
        assert "Kept just now" in shown
        assert "of its labels are wrong" in shown
        assert "Seven steps 7 done" in shown
        assert "Begin round 2" in shown
        board = page(client)
        assert f"Round {one.number} Kept" in board
        assert "No post is left without a label" in board

    def test_rolled_back_later_it_still_tells_what_it_came_to_then(self, project):
        one = kept(project)
        was, ended = one.told, one.ended
        make_post(project, "voted since", "bullish")
        rounds.roll_back(one, None, queue=False)
        one.refresh_from_db()
        assert (one.told, one.ended) == (was, ended)

    def test_every_number_leads_to_what_it_counts(self, project, client):
        one = kept(project)
        content = client.get(HERE).content.decode()
        for address in (
            one.dataset.get_absolute_url(), one.evaluation.get_absolute_url(), one.prelabelling.get_absolute_url(),
            f"/p/memes/runs/{one.run_id}", "/p/memes/posts?source=model", "/p/memes/votes", "/p/memes/reviewers",
        ):  # fmt: skip
            assert f'href="{address}"' in content, address

    def test_as_many_queries_for_twelve_rounds_as_for_two(self, project, client):
        one = kept(project)
        costs = []
        for number in (2, 12):
            for further in range(project.rounds.count() + 1, number + 1):
                Round.objects.create(
                    project=project, number=further, plan=one.plan, dataset=one.dataset, run=one.run,
                    evaluation=one.evaluation, prelabelling=one.prelabelling, state=RoundState.KEPT, told=one.told,
                    ended=timezone.now(),
                )  # fmt: skip
            with CaptureQueriesContext(connection) as asked:
                page(client)
            costs.append(len(asked))
        assert costs[0] == costs[1]

    def test_more_than_a_page_goes_on_on_the_next(self, project, client):
        for number in range(1, report.SHOWN + 3):
            Round.objects.create(project=project, number=number, plan={}, state="kept", ended=timezone.now())
        assert "Older" in page(client)
        older = client.get(HERE, {"before": "3"}).context["board"]
        assert [row.one.number for row in older.rows] == [2, 1]

    def test_another_is_not_worth_it_once_two_gained_nothing(self, project):
        for number in (1, 2):
            Round.objects.create(project=project, number=number, plan={}, state="rolled back", ended=timezone.now())
        assert "The last 2 rounds were rolled back." in told.another(project)[1]


class TestDrawing:
    def columns(self, *figures: dict[str, Any]):
        return [Column(n, f"/{n}", "Kept", "kept", one) for n, one in enumerate(figures, 1)]

    def test_bars_end_on_a_round_figure_and_stack_up(self):
        columns = self.columns({"labels": {"review": 60, "model": 30}}, {"labels": {"review": 90, "model": 90}})
        labels = drawing.panels(columns)[0]
        assert labels.ticks == ["200", "100", "0"]
        first, second = (one.bars for one in labels.drawn)
        assert [(bar.css, bar.top, bar.height) for bar in first] == [
            ("source-review", 70, 30), ("source-model", 55, 15),
        ]  # fmt: skip
        assert sum(bar.height for bar in second) == 90
        assert labels.drawn[1].words == "90 review, 90 model"

    def test_what_is_not_known_is_not_drawn_as_nothing(self):
        money = drawing.panels(self.columns({"money": None}, {"money": 0.0}, {"money": 1.5}))[3]
        assert [one.words for one in money.drawn] == ["not known", "$0", "$1.5"]
        assert [len(one.bars) for one in money.drawn] == [0, 0, 1]
        assert drawing.panels(self.columns({"money": None}))[3].empty == "not known yet"
        assert drawing.panels(self.columns({"money": 0.0}))[3].empty == "nothing so far"

    def test_intervals_stay_within_their_panel(self):
        figure = {"value": 0.02, "low": 0.004, "high": 0.07}
        panel = drawing.panels(self.columns({"wrong": figure}, {}))[1]
        assert panel.ticks == ["10%", "5%", "0%"]
        drawn, missing = panel.drawn
        assert (drawn.at, drawn.low, drawn.high) == (80, 96, 30)
        assert missing.at is None
        assert drawn.words == "2%, 95%: 0.4% to 7%"


def test_a_project_of_others_is_not_told_of(client):
    make_project("Others")
    assert client.get("/p/others/rounds").status_code == 404
