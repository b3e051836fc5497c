"""What a person sees of pre-labellings: asking, what a threshold means, settling, what became of it, taking back."""

import re
from datetime import timedelta
from html import unescape
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from annotate import model_labels, queue
from annotate.model_labels import Said
from annotate.models import Disagreement, LabelSource, Post, Role, State, Voter
from annotate.models.review import Stream, Why
from modeling.models import Cascade, Goal, JobState, PreLabelling, RunState
from modeling.prelabelling import audited, candidates, feeding, outcome, report
from modeling.prelabelling import prelabelling as room

from .make import make_label, make_member, make_post, make_project, make_vote
from .test_deciding import say
from .test_evaluating import make_known
from .test_prelabelling import done_run, freeze, state
from .test_queue import seat
from .test_run_pages import logged_in, words_of

pytestmark = pytest.mark.django_db
HERE = "/p/memes/prelabellings"
NAMES = ("bearish", "neutral", "bullish")


@pytest.fixture(autouse=True)
def _alone(tmp_path, settings, monkeypatch):
    settings.VAR_DIR = tmp_path
    monkeypatch.setattr(queue, "open_in", queue.count_open)


@pytest.fixture
def project():
    return make_known(posts=30, held=3)


@pytest.fixture
def run(project):
    return done_run(freeze(project))


@pytest.fixture
def client(project):
    return logged_in(make_member(project, Role.ADMIN, "ada"))


@pytest.fixture
def lead(project):
    return logged_in(make_member(project, Role.LEAD, "lea"))


def page(client, address=HERE):
    answer = client.get(address)
    assert answer.status_code == 200, (address, answer.status_code)
    return shown(answer)


def shown(answer):
    """As somebody reads it, without the tags."""
    within = re.sub(r"</?(a|b|span)\b[^>]*>", "", words_of(answer))
    return unescape(" ".join(re.sub(r"<[^>]+>", " ", within).split()))


def said(post, label, chance):
    rest = (1 - chance) / 2
    return Said(post.pk, label, chance, {name: chance if name == label else rest for name in NAMES})


def asked(run, answers, posts=None, cascade=None, **fields: Any):
    """As it stands once the model has answered: of each post a label, and how sure."""
    made = room.ask(run.project, None, run, posts, queue=False, cascade=cascade)
    model_labels.cast(made.voter, [said(post, label, chance) for post, label, chance in answers])
    made.refresh_from_db()
    checked = [["bullish", 0.99, True]] * 24 + [["bullish", 0.95, False]]
    usual = {"state": JobState.DONE, "total": len(answers), "done": len(answers), "temperature": 1.2,
             "validation": checked, "meaning": candidates.count(made)}  # fmt: skip
    PreLabelling.objects.filter(pk=made.pk).update(**(usual | fields))
    made.refresh_from_db()
    return made


def waiting(project, number, label="bullish", chance=0.97):
    return [(make_post(project, f"post {n} {label} {chance}"), label, chance) for n in range(number)]


def carry_out(made):
    made.refresh_from_db()
    assert room.carry_out(made)
    made.refresh_from_db()
    return made


def settled(made, **how):
    assert room.apply(made, None, queue=False, **({"growth": 0} | how))
    return carry_out(made)


def address(made, more=""):
    return f"{HERE}/{made.pk}{more}"


# --- Asking


class TestAsking:
    def test_without_a_run_it_says_what_comes_first(self, client):
        assert "A tuned model comes first" in page(client)
        assert "A tuned model comes first" in page(client, f"{HERE}/new")

    def test_with_a_run_it_offers_that_one(self, client, run):
        assert f"Pre-label with {run}" in page(client)
        assert "Pre-label with it" in page(client, f"/p/memes/runs/{run.pk}")

    def test_a_run_that_is_not_done_cannot_be_asked(self, client, run):
        type(run).objects.update(state=RunState.FAILED)
        assert "Pre-label with it" not in page(client, f"/p/memes/runs/{run.pk}")
        answer = client.post(f"{HERE}/new", {"run": run.pk})
        assert answer.status_code == 422

    def test_it_tells_how_many_posts_that_is_without_the_locked_test_set(self, client, project, run):
        waiting(project, 4)
        make_post(project, "locked", holdout=True)
        assert "4 posts in all" in page(client, f"{HERE}/preview")
        assert "34 posts in all" in page(client, f"{HERE}/preview?which=all")
        assert "1 post in all" in page(client, f"{HERE}/preview?which=list&address=/p/memes/posts?state=waiting%26q=0")

    def test_it_tells_how_many_it_was_asked_about_before(self, client, project, run):
        asked(run, waiting(project, 3))
        waiting(project, 1)
        assert "4 posts in all, of which it was asked about 3 before" in page(client, f"{HERE}/preview")

    def test_of_very_many_posts_only_some_are_looked_at_for_that(self, client, project, run, monkeypatch):
        monkeypatch.setattr("modeling.forms.prelabellings.LOOK_AT", 2)
        asked(run, waiting(project, 3))
        assert "3 posts in all, of which it was asked about at least 2 before" in page(client, f"{HERE}/preview")

    def test_where_nobody_has_voted_it_need_not_look(self, client, project, run):
        asked(run, [(make_post(project, "gm", state="contested"), "bullish", 0.9)])
        waiting(project, 4)
        with CaptureQueriesContext(connection) as queries:
            assert "4 posts in all." in page(client, f"{HERE}/preview")
        assert not [query for query in queries if 'annotate_vote"' in query["sql"]]

    def test_filters_of_a_list_come_along_in_the_address(self, client, project, run):
        text = client.get(f"{HERE}/new?run={run.pk}&state=waiting&q=moon").content.decode()
        assert "state=waiting&amp;q=moon" in text
        assert "checked" in text.split('value="list"')[1].split(">")[0]

    @pytest.mark.parametrize(("fields", "words"), [
        ({"threshold": "abc"}, "Enter a number"),
        ({"threshold": "0.2"}, "greater than or equal to 0.5"),
        ({"growth": "0.5"}, "from 1 to 100"),
        ({"which": "list", "address": "/posts?holdout=1"}, "not asked about the locked test set"),
        ({"which": "list", "address": "/posts?state=lost"}, "is not a state"),
        ({"which": "list", "address": ""}, "filters nothing"),
        ({"run": "999"}, "no run that could be asked"),
    ])  # fmt: skip
    def test_what_cannot_be_is_refused_in_words(self, client, run, fields, words):
        answer = client.post(f"{HERE}/new", {"run": run.pk, **fields})
        assert answer.status_code == 422
        assert words in shown(answer)
        assert not PreLabelling.objects.exists()

    def test_one_press_queues_it(self, client, run):
        answer = client.post(f"{HERE}/new", {"run": run.pk, "which": "contested", "threshold": "0.8", "growth": "2"})
        made = PreLabelling.objects.get()
        assert answer.url == address(made)
        assert (made.posts, made.threshold, made.growth, made.by.username) == ({"state": "contested"}, 0.8, 2, "ada")
        assert "Waits to be asked" in page(client, address(made))

    def test_leads_look_and_admins_ask(self, lead, run):
        assert "An admin of this project can ask it" in page(lead, f"{HERE}/new")
        assert lead.post(f"{HERE}/new", {"run": run.pk}).status_code == 403


def make_cascade(run, first=None, **fields: Any):
    """Fitted, and at a point; who answers first has voted on a post of the project."""
    if first is None:
        first = Voter.imported(run.project, "first")
    told = {"voter": first} if isinstance(first, Voter) else {"run": first}
    usual = {"project": run.project, "name": "Two stages", "k": 2, "state": "done"}
    usual |= {"threshold": 0.8, "weight": 0.5, "temperature": 1.0}
    made = Cascade.objects.create(dataset=run.dataset, second=run, **told, **(usual | fields))
    made.refresh_from_db()
    return made


class TestByACascade:
    def test_it_is_offered_beside_the_runs_once_it_has_a_point(self, client, run):
        made = make_cascade(run)
        form = client.get(f"{HERE}/new").content.decode()
        assert "Two stages: ask below 0.8" in form
        assert f'value="{run.pk}" selected' in form
        assert f'value="cascade-{made.pk}" selected' in client.get(f"{HERE}/new?cascade={made.pk}").content.decode()
        Cascade.objects.update(threshold=None)
        assert "Two stages" not in client.get(f"{HERE}/new").content.decode()

    def test_those_of_another_project_are_not(self, client, run):
        made = make_cascade(run, project=make_project("Others"))
        assert "Two stages" not in client.get(f"{HERE}/new").content.decode()
        answer = client.post(f"{HERE}/new", {"run": f"cascade-{made.pk}"})
        assert (answer.status_code, PreLabelling.objects.exists()) == (422, False)
        assert "no run that could be asked" in shown(answer)

    def test_one_press_queues_it_and_its_page_and_the_list_name_it(self, client, run):
        made = make_cascade(run)
        answer = client.post(f"{HERE}/new", {"run": f"cascade-{made.pk}", "threshold": "0.85"})
        found = PreLabelling.objects.get()
        assert answer.url == address(found)
        assert (found.cascade, found.run, found.threshold) == (made, run, 0.85)
        for where in (HERE, address(found)):
            assert f"Two stages, which asks {run}" in page(client, where)
            assert f'href="/p/memes/cascades/{made.pk}"' in client.get(where).content.decode()

    def test_what_it_lacks_is_said_in_the_form(self, client, run):
        first = done_run(run.dataset)
        made = make_cascade(run, first)
        answer = client.post(f"{HERE}/new", {"run": f"cascade-{made.pk}"})
        assert (answer.status_code, PreLabelling.objects.exists()) == (422, False)
        assert f"{first} has not voted on posts of the project yet: pre-label with it first" in shown(answer)
        assert "has not voted" in page(client, f"{HERE}/preview?cascade={made.pk}")

    def test_it_tells_how_many_it_was_asked_about_at_this_very_point(self, client, project, run):
        made = make_cascade(run)
        asked(run, waiting(project, 3), cascade=made)
        preview = f"{HERE}/preview?run=cascade-{made.pk}"
        assert "3 posts in all, of which it was asked about 3 before" in page(client, preview)
        assert "before" not in page(client, f"{HERE}/preview?run={run.pk}")
        Cascade.objects.update(threshold=0.7)
        assert "before" not in page(client, preview)

    def test_it_says_on_what_its_chances_were_fitted(self, client, project, run):
        made = asked(run, waiting(project, 3), cascade=make_cascade(run))
        assert "fitted, and its point was chosen, on those same posts" in page(client, address(made))
        plain = asked(run, [])
        assert "those same posts" not in page(client, address(plain))

    def test_leads_look_at_it_and_admins_ask(self, lead, run):
        made = make_cascade(run)
        assert "An admin of this project can ask it" in page(lead, f"{HERE}/new?cascade={made.pk}")
        assert lead.post(f"{HERE}/new", {"run": f"cascade-{made.pk}"}).status_code == 403

    def test_the_list_asks_the_database_as_much_for_many_as_for_one(self, client, run):
        counts = []
        for number in range(2):
            for more in range(1 + 3 * number):
                made = make_cascade(run, name=f"{number} {more}")
                room.ask(run.project, None, run, queue=False, cascade=made)
            page(client)
            with CaptureQueriesContext(connection) as queries:
                page(client)
            counts.append(len(queries))
        assert counts[0] == counts[1]

    @pytest.mark.parametrize("number", ["0", "x", "9" * 30, "1\0"])
    def test_an_address_that_names_none_is_told_so(self, client, run, number):
        assert "no run that could be asked" in page(client, f"{HERE}/preview?cascade={number}")


class TestProgress:
    def test_the_time_left_is_reckoned_by_the_pace_since_it_was_started(self, client, project, run):
        now = timezone.now()
        made = asked(run, [], total=1000, done=900, used={"rate": 2.0}, started=now, heartbeat=now, doing="asking")
        PreLabelling.objects.update(state=JobState.RUNNING)
        text = page(client, address(made, "/progress"))
        assert "900 of 1,000 posts" in text
        assert "2.0 posts a second" in text
        assert "50 s left" in text

    def test_stopped_it_can_be_resumed(self, client, run):
        made = room.ask(run.project, None, run, queue=False)
        assert client.post(address(made, "/stop"), {"from": "list"}).url == HERE
        assert "Stopped before its first post" in page(client, address(made))
        client.post(address(made, "/resume"))
        made.refresh_from_db()
        assert made.state == JobState.QUEUED

    def test_a_silent_one_is_called_interrupted(self, client, run):
        made = room.ask(run.project, None, run, queue=False)
        long_ago = timezone.now() - timedelta(minutes=5)
        PreLabelling.objects.update(state=JobState.RUNNING, heartbeat=long_ago)
        assert "Interrupted" in page(client, address(made))
        assert "Interrupted" in page(client)

    def test_a_failure_says_why_and_shows_the_log(self, client, run):
        made = room.ask(run.project, None, run, queue=False)
        PreLabelling.objects.update(state=JobState.FAILED, error="The card is full.", machine=report.this_machine())
        folder = feeding.folder_of(made)
        folder.mkdir(parents=True)
        (folder / "log.txt").write_text("CUDA out of memory\n")
        text = page(client, address(made))
        assert "The card is full." in text
        assert "CUDA out of memory" in text
        assert "Resume" in text


# --- What a threshold means


class TestMeaning:
    def test_before_anything_is_settled_it_says_what_would_be_and_how_wrong(self, client, project, run):
        made = asked(run, waiting(project, 6, chance=0.97) + waiting(project, 4, "neutral", 0.6))
        text = page(client, address(made, "?growth=0"))
        assert "Settle 6 posts" in text
        assert "Wrong, by its own chances 3%" in text
        assert "1 of 25 as sure" in text
        assert "of 4 less sure" in text
        assert not Post.objects.filter(label_source=LabelSource.MODEL).exists()

    def test_another_threshold_by_address_alone(self, client, project, run):
        made = asked(run, waiting(project, 6, chance=0.97) + waiting(project, 4, "neutral", 0.6))
        assert "Settle 10 posts" in page(client, address(made, "?threshold=0.6&growth=0"))
        assert "Settle 10 posts" in page(client, address(made, "?threshold=0,6&growth=0"))
        assert "Settle none" in page(client, address(made, "?threshold=1&growth=0"))

    def test_what_a_quota_holds_back_is_told(self, client, project, run):
        made = asked(run, waiting(project, 50))
        meaning = report.Meaning(made, report.Wanted.from_query({"growth": "1.2"}, made))
        assert meaning.reckoning.held_back > 0
        assert f"{meaning.reckoning.held_back} are held back" in page(client, address(made, "?growth=1.2"))

    @pytest.mark.parametrize("query", ["threshold=abc", "threshold=nan", "threshold=0.1", "growth=-1", "growth=1e9",
                                       "most_doubts=-3", "audit_rate=x", "growth=many"])  # fmt: skip
    def test_what_cannot_be_understood_is_told_and_the_usual_stands_in(self, client, project, run, query):
        made = asked(run, waiting(project, 2))
        assert "This is for" in page(client, address(made, f"?{query}"))

    def test_it_warns_where_nothing_was_calibrated(self, client, project, run):
        made = asked(run, waiting(project, 2), temperature=None, validation=[])
        text = page(client, address(made))
        assert "Its chances were not set right" in text
        assert "none there is as sure" in text

    def test_it_warns_where_few_are_as_sure(self, client, project, run):
        made = asked(run, waiting(project, 2), validation=[["bullish", 0.99, True]] * 3)
        assert "Only 3 posts of the validation split are as sure" in page(client, address(made))
        assert "says so" not in page(client, address(made))

    def test_the_curves_fall_as_the_threshold_rises(self, project, run):
        made = asked(run, waiting(project, 3, chance=0.97) + waiting(project, 3, chance=0.6))
        thresholds, posts, wrong, checked = report.Meaning(made, report.Wanted.from_query({"growth": "0"}, made)).curve
        assert (thresholds[0], thresholds[-1], posts[0], posts[-1]) == (50, 100, 6, 0)
        assert posts == sorted(posts, reverse=True)
        assert wrong[-1] is None
        assert checked[0] == pytest.approx(4)

    def test_leads_look_and_admins_settle(self, lead, project, run):
        made = asked(run, waiting(project, 2))
        assert "An admin of this project can settle them" in page(lead, address(made))
        assert lead.post(address(made, "/apply")).status_code == 403


HOW = {"threshold": "0.9", "growth": "0", "audit_rate": "1", "most_doubts": "10"}


class TestSettling:
    def test_a_press_settles_just_what_was_on_the_screen(self, client, project, run):
        made = asked(run, waiting(project, 3) + waiting(project, 2, "neutral", 0.6))
        assert client.post(address(made, "/apply"), HOW | {"threshold": "0.95"}).url == address(made)
        carry_out(made)
        assert (made.threshold, made.growth, made.audit_rate, made.most_doubts) == (0.95, 0, 1, 10)
        text = page(client, address(made))
        assert "Settled just now at 0.95" in text
        assert "0 of 3 answered" in text
        assert "0 of 2 answered" in text
        assert "Settled" in page(client)

    @pytest.mark.parametrize("wrong", [{"threshold": "abc"}, {"growth": "0.5"}, {"audit_rate": "7"}, {"threshold": ""}])
    def test_what_cannot_be_settles_nothing(self, client, project, run, wrong):
        made = asked(run, waiting(project, 3))
        answer = client.post(address(made, "/apply"), HOW | wrong, follow=True)
        assert "Nothing was settled." in shown(answer)
        made.refresh_from_db()
        assert made.goal == Goal.ASK

    def test_of_two_who_press_one_settles(self, client, project, run):
        made = asked(run, waiting(project, 3))
        client.post(address(made, "/apply"), HOW)
        assert "somebody has settled it already" in shown(client.post(address(made, "/apply"), HOW, follow=True))
        carry_out(made)
        assert "somebody has settled it already" in shown(client.post(address(made, "/apply"), HOW, follow=True))
        assert made.labels.count() == 3

    def test_each_number_opens_the_posts_behind_it(self, client, project, run):
        made = settled(asked(run, waiting(project, 3)))
        one = next(one for one in outcome.read(made).labels if one.label.name == "bullish")
        found = client.get(f"/p/memes/posts?{one.query}").context["count"]
        assert (one.settled, one.stands, found.number) == (3, 3, 3)

    def test_stopped_half_way_it_can_be_resumed_or_taken_back(self, client, project, run):
        made = settled(asked(run, waiting(project, 3)))
        PreLabelling.objects.update(state=JobState.STOPPED)
        text = page(client, address(made))
        assert "Stopped half-way" in text
        assert "Resume" in text
        client.post(address(made, "/take-back"))
        carry_out(made)
        assert not Post.objects.filter(label_source=LabelSource.MODEL).exists()

    def test_given_up_before_it_settled_anything_its_pages_say_so(self, client, project, run):
        made = asked(run, waiting(project, 3))
        assert room.give_up(made, None, queue=False)
        carry_out(made)
        assert "0 taken back" in page(client, "/p/memes/prelabellings")
        assert "0 labels were taken back" in page(client, address(made))
        PreLabelling.objects.update(result={})  # as an older version left it
        assert "0 taken back" in page(client, "/p/memes/prelabellings")
        assert "0 labels were taken back" in page(client, address(made))


class TestOutcome:
    def test_its_audits_alone_tell_how_wrong_it_is(self, client, project, run):
        made = settled(asked(run, waiting(project, 12)), audit_rate=1)
        make_member(project)
        readers = (seat(project), seat(project))
        for number in range(4):
            told = "bearish" if number == 0 else "bullish"
            for reader in readers:
                say(reader, queue.claim(reader), told)
        found = audited.read(made)
        assert (found.drawn, found.told, found.wrong) == (12, found.told, found.wrong)
        assert found.told >= 4
        assert found.wrong >= 1
        assert found.estimate.posts == 12
        assert found.estimate.low <= found.wrong / found.told <= found.estimate.high
        assert f"{found.told} of 12 answered" in page(client, address(made))

    def test_audits_of_what_voters_agreed_on_are_none_of_its(self, project, run):
        other = make_post(project, "agreed", "bullish")
        Disagreement.objects.create(
            project=project, post=other, why=Why.AUDIT, stream=Stream.AUDIT, inclusion=1, wanted=1
        )
        reader = seat(project)
        say(reader, queue.claim(reader), "bearish")
        made = settled(asked(run, waiting(project, 3)), audit_rate=0)
        found = audited.read(made)
        assert (found.drawn, found.told, found.estimate) == (0, 0, None)

    def test_doubts_are_counted_until_people_have_answered_them(self, project, run):
        made = settled(asked(run, waiting(project, 3, "neutral", 0.6)))
        assert outcome.doubts(made) == (3, 3, 0)
        reader = seat(project)
        say(reader, queue.claim(reader), "bearish")
        assert outcome.doubts(made) == (3, 2, 1)

    def test_what_people_said_since_no_longer_stands_as_its(self, client, project, run):
        posts = waiting(project, 3)
        made = settled(asked(run, posts))
        Post.objects.filter(pk=posts[0][0].pk).update(
            label=make_label(project, "bearish"), label_source=LabelSource.REVIEW
        )
        assert "2 stand as it settled them" in page(client, address(made))

    def test_taken_back_it_says_what_was_freed(self, client, project, run):
        posts = waiting(project, 3)
        made = settled(asked(run, posts))
        assert "Take all 3 labels back" in page(client, address(made))
        client.post(address(made, "/take-back"))
        carry_out(made)
        text = page(client, address(made))
        assert "3 labels were taken back" in text
        assert "Take all" not in text
        assert [state(post)[0] for post, _, _ in posts] == [State.WAITING] * 3
        answer = client.post(address(made, "/take-back"), follow=True)
        assert "There is nothing to take back" in shown(answer)
        assert "3 taken back" in page(client)


class TestConflicts:
    @pytest.fixture
    def made(self, project, run):
        posts = [make_post(project, f"labelled {n}", "bearish", label_source="review") for n in range(3)]
        sure = zip(posts, (0.99, 0.95, 0.6), strict=True)
        return asked(run, [(post, "bullish", chance) for post, chance in sure], posts={})

    def test_the_surest_first_and_no_less_sure_than_asked(self, client, made):
        text = page(client, address(made, "/conflicts"))
        assert text.index("labelled 0") < text.index("labelled 1")
        assert "labelled 2" not in text
        assert "labelled 2" in page(client, address(made, "/conflicts?threshold=0.5"))
        assert "2 posts have another label" in page(client, address(made))

    def test_page_by_page(self, client, made, monkeypatch):
        monkeypatch.setattr(outcome, "PAGE", 1)
        first = client.get(address(made, "/conflicts"))
        after = first.context["page"].after
        assert "labelled 1" in page(client, address(made, f"/conflicts?after={after}"))
        assert "labelled 0" in page(client, address(made, "/conflicts?after=rubbish"))

    def test_a_lead_sends_those_that_look_wrong_to_people(self, lead, made):
        post = Post.objects.get(text="labelled 0")
        answer = lead.post(address(made, "/doubt"), {"post": post.pk}, headers={"HX-Request": "true"})
        assert "Waits for review" in shown(answer)
        assert Disagreement.objects.get(post=post).why == Why.DOUBT
        assert state(post)[1] == "bearish"
        assert "None was sent" in shown(lead.post(address(made, "/doubt"), {"post": post.pk}, follow=True))

    def test_what_is_no_conflict_cannot_be_sent(self, lead, project, made):
        unsure, other = Post.objects.get(text="labelled 2"), make_post(project, "right", "bullish")
        elsewhere = make_post(make_project(), "elsewhere", "bearish")
        given = {"post": [unsure.pk, other.pk, elsewhere.pk, "x", 10**30]}
        assert "None was sent" in shown(lead.post(address(made, "/doubt"), given, follow=True))
        assert not Disagreement.objects.filter(why=Why.DOUBT).exists()

    def test_nothing_of_the_locked_test_set_is_shown_or_sent(self, client, project, run):
        locked = make_post(project, "locked away", "bearish", label_source="import", holdout=True)
        made = asked(run, [(locked, "bullish", 0.99)], posts={})
        assert "locked away" not in page(client, address(made, "/conflicts"))
        client.post(address(made, "/doubt"), {"post": locked.pk})
        assert not Disagreement.objects.filter(post=locked, why=Why.DOUBT).exists()

    def test_where_only_waiting_posts_were_asked_about_it_says_how_to_get_some(self, client, project, run):
        made = asked(run, waiting(project, 1))
        assert "Ask it about all" in page(client, address(made, "/conflicts"))


def test_what_people_made_of_its_doubts_is_a_list_of_its_own(client, project, run):
    settled(asked(run, waiting(project, 1, "neutral", 0.6)))
    reader = seat(project)
    say(reader, queue.claim(reader), "bearish")
    text = page(client, "/p/memes/quality/decided?why=model")
    assert "post 0 neutral 0.6" in text


def test_reviewers_see_nothing_of_it(project, run):
    made = asked(run, waiting(project, 1))
    reviewer = logged_in(make_member(project, Role.REVIEWER))
    for more in ("", "/progress", "/conflicts"):
        assert reviewer.get(address(made, more)).status_code == 403
    assert "prelabellings" not in reviewer.get("/p/memes/").content.decode()


def test_a_list_of_many_asks_as_much_of_the_database_as_of_few(client, project, run, django_assert_max_num_queries):
    for number in range(12):
        settled(asked(run, waiting(project, 1, chance=0.96 + number / 1000)))
    make_vote(make_post(project), "gpt", "bullish")
    with django_assert_max_num_queries(12):
        page(client)
