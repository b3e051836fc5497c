"""Contested posts out to Label Studio and answers back, against a small server of our own; the real one is asked in
tests/integrations."""

import io
import json
import re
import threading
from datetime import UTC, datetime, timedelta
from xml.etree import ElementTree

import pytest
from django.core.management import CommandError, call_command
from django.urls import reverse
from django.utils import timezone
from hypothesis import given
from hypothesis import strategies as st

from annotate import deciding, queue, settling
from annotate.deciding import Given
from annotate.label_studio import linking, running, work
from annotate.label_studio import server as servers
from annotate.label_studio.server import Failed
from annotate.label_studio.tasks import APART, MARK, Answer, annotation, answer_in, config, mark_in, prediction, task
from annotate.models import (
    Disagreement,
    Event,
    Label,
    LabelStudioAnnotation,
    LabelStudioRun,
    LabelStudioTask,
    Membership,
    Review,
    Role,
)
from annotate.models.label_studio import Outcome, Way
from annotate.models.review import Stream
from annotate.queue import Seat
from annotate.tasks import every_minute

from .label_studio_server import TOKEN, Studio, serving
from .make import make_label, make_member, make_project, make_user, make_vote
from .test_access import picture
from .test_queue import contested, seat

HOSTILE = [
    'say "no"',
    "<image>",
    "a & b",
    "it's",
    "</Choices>",
    "صاعد \u202e abc",
    "🐻‍❄️",
    "two\nlines",
    "]]>",
    "$text",
    "%s",
]


# --- Pure: the page, the tasks, the answers
class TestWhatIsWritten:
    def choices(self, page, name="label"):
        found = ElementTree.fromstring(page).find(f".//Choices[@name='{name}']")
        return None if found is None else list(found)

    @pytest.mark.parametrize("name", HOSTILE)
    def test_a_label_survives_whatever_its_name(self, name):
        (choice,) = self.choices(config("What?", [(name, "#0b7a5c", "b")], False))
        shown, real = choice.get("value"), choice.get("alias") or choice.get("value")
        assert (real, shown.replace(APART, "")) == (name, name)
        assert (choice.get("hotkey"), choice.get("background")) == ("b", "#0b7a5c")

    def test_a_dollar_in_our_words_is_no_name_of_a_field(self):
        page = ElementTree.fromstring(config("Is $text up?", [("$image", "#000000", "")], False))
        ours = [page.find("Header").get("value"), page.find(".//Choice").get("value")]
        assert not any(re.search(r"\$\w", words) for words in ours)

    @pytest.mark.parametrize("pictures", [True, False])
    def test_only_one_tag_reads_the_data_or_pictures_could_not_be_uploaded(self, pictures):
        page = ElementTree.fromstring(config("What?", [("a", "#000000", "1")], True, pictures))
        reads = [tag.tag for tag in page.iter() if tag.get("name") and (tag.get("value") or "").startswith("$")]
        assert reads == (["Image"] if pictures else ["Text"])

    def test_the_contradiction_is_asked_only_where_the_project_asks_it(self):
        assert self.choices(config("What?", [], False), "incongruous") is None
        assert [one.get("value") for one in self.choices(config("What?", [], True), "incongruous")] == ["yes", "no"]

    def test_a_task_holds_the_post_and_our_mark(self):
        made = task(
            id="7", text="<image> gm", image="/a.png", source="/biz/", at=datetime(2025, 1, 2, tzinfo=UTC), mark=9
        )
        assert made["data"] == {
            "id": "7", "text": "<image> gm", "image": "/a.png", "source": "/biz/", "date": "2025-01-02T00:00:00+00:00",
        }  # fmt: skip
        assert mark_in(made["meta"]) == 9
        assert "meta" not in task(id="7", text="gm")

    def test_a_vote_becomes_a_prediction_and_an_abstention_one_that_says_nothing(self):
        assert prediction("gpt", "bullish", 0.9)["score"] == 0.9
        assert prediction("gpt", "")["result"] == []

    @given(
        st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1),
        st.sampled_from([True, False, None]),
        st.text(),
    )
    def test_what_was_said_is_read_back(self, label, incongruous, note):
        note = note.replace("\0", "").strip()
        made = json.loads(json.dumps(annotation(label, incongruous, note, "ada@example.org")))
        assert answer_in(made["result"]) == Answer(label, incongruous, note)
        assert made["completed_by"] == {"email": "ada@example.org"}


class TestWhatIsRead:
    @pytest.mark.parametrize(
        "result",
        [None, "bullish", {}, [], [None], [{}], [{"from_name": "label"}], [{"from_name": "label", "value": 3}],
         [{"from_name": "label", "value": {"choices": [3, None]}}],
         [{"from_name": "other", "value": {"choices": ["bullish"]}}],
         [{"from_name": "label", "value": {"choices": ["bullish", "bearish"]}}]],
    )  # fmt: skip
    def test_what_is_not_one_label_is_none(self, result):
        assert answer_in(result).label == ""

    @pytest.mark.parametrize("meta", [None, [], {}, {MARK: "1"}, {MARK: True}, {MARK: None}])
    def test_somebody_elses_task_has_no_mark_of_ours(self, meta):
        assert mark_in(meta) is None


# --- Out
@pytest.fixture
def studio(settings, monkeypatch):
    monkeypatch.setattr(servers, "TRIES_AGAIN", 0)
    studio = Studio()
    with serving(studio) as address:
        settings.LABEL_STUDIO_URL, settings.LABEL_STUDIO_API_KEY = address, TOKEN
        yield studio


def run(project, way, **more):
    asked = running.ask(project, None, way, queue=False, **more)
    running.carry_out(asked)
    return asked


def push(project, **more):
    return run(project, Way.PUSH, **more)


def pull(project):
    return run(project, Way.PULL)


@pytest.fixture
def project(db):
    return make_project("Memes", double_rate=0, audit_rate=0)


@pytest.fixture
def ada(project, studio):
    """In the project, and said to be Ann there."""
    ada = make_member(project, Role.REVIEWER, "ada", email="Ann@Example.org")
    linking.meet(project, servers.connect())
    linking.say_who(project, {linking.people(project).get(number=1).pk: ada.pk})
    return ada


def sent(post, studio):
    """The task that a post is there."""
    return studio.tasks[LabelStudioTask.objects.get(disagreement__post=post).number]


class TestPush:
    def test_contested_posts_go_out_once(self, project, studio):
        posts = [contested(project, text=text) for text in HOSTILE]
        assert push(project).counts["pushed"] == len(HOSTILE)
        assert [sent(post, studio)["data"]["text"] for post in posts] == HOSTILE
        assert push(project).state == "done"
        assert len(studio.tasks) == len(HOSTILE)
        assert len(studio.projects) == 1

    def test_only_contested_posts_go_out(self, project, studio):
        posts = [contested(project) for _ in Stream]
        for post, stream in zip(posts, Stream, strict=True):
            Disagreement.objects.filter(post=post).update(stream=stream)
        push(project)
        left = [task["meta"][MARK] for task in studio.tasks.values()]
        assert left == [Disagreement.objects.get(stream=Stream.CONTESTED).pk]

    def test_each_voters_answer_goes_along(self, project, studio):
        post = contested(project, ("bullish", 0.9), ("bearish", 0.6))
        make_vote(post, "shy")
        push(project)
        said = {
            one["model_version"]: (answer_in(one["result"]).label, one.get("score"))
            for one in sent(post, studio)["predictions"]
        }
        assert said == {"voter 0": ("bullish", 0.9), "voter 1": ("bearish", 0.6), "shy": ("", None)}

    def test_hidden_voters_are_numbered(self, project, studio):
        project.hide_voters = True
        project.save()
        post = contested(project)
        push(project)
        assert [one["model_version"] for one in sent(post, studio)["predictions"]] == ["voter 1", "voter 2"]

    def test_votes_shown_only_after_the_choice_stay_at_home(self, project, studio, ada):
        project.votes_shown = "after"
        project.save()
        post = contested(project)
        push(project)
        assert sent(post, studio)["predictions"] == []
        studio.annotate(sent(post, studio)["id"], 1, "bullish")
        pull(project)
        assert Review.objects.get().saw == []

    def test_no_stream_begins_with_a_machines_answer(self, project, studio):
        contested(project)
        push(project)
        assert next(iter(studio.projects.values()))["show_collab_predictions"] is False

    def test_the_external_id_stays_here_because_it_may_tell_the_label(self, project, studio):
        post = contested(project, external_id="bullish/a.png")
        push(project)
        assert "bullish/a.png" not in json.dumps(sent(post, studio)["data"])

    def test_a_picture_goes_up_once_for_all_posts_that_show_it(self, project, studio):
        image = picture()
        posts = [contested(project, image=image), contested(project, image=image), contested(project)]
        push(project)
        first, second, none = [sent(post, studio)["data"]["image"] for post in posts]
        assert first == second
        assert re.fullmatch(rf"/data/upload/\d+/\w+-{image.file_name}", first)
        assert none == ""
        assert len(studio.files) == 1

    def test_a_post_whose_picture_is_gone_is_left_out_and_told(self, project, studio):
        image = picture()
        image.sha256 = "0" * 64
        image.save()
        contested(project, image=image)
        contested(project)
        assert push(project).counts == {"picture missing": 1, "pushed": 1}

    def test_a_label_added_since_is_added_there(self, project, studio):
        contested(project)
        push(project)
        make_label(project, "moon & back")
        push(project)
        assert "moon &amp; back" in next(iter(studio.projects.values()))["label_config"]

    def test_a_limit_is_kept(self, project, studio):
        for _ in range(3):
            contested(project)
        assert push(project, limit=2).counts["pushed"] == 2
        assert push(project).counts["pushed"] == 1

    def test_killed_before_it_was_written_down_nothing_is_sent_twice(self, project, studio):
        """Twice over: the project was made there and the tasks are in it, and here nobody knows of either."""
        for _ in range(3):
            contested(project)
        push(project)
        LabelStudioTask.objects.all().delete()
        project.label_studio_projects.all().delete()
        push(project)
        assert len(studio.projects) == 1
        assert len(studio.tasks) == 3
        assert LabelStudioTask.objects.count() == 3
        assert all(len(one.saw) == 2 for one in LabelStudioTask.objects.all())

    def test_an_answer_that_got_lost_on_its_way_sends_nothing_twice(self, project, studio):
        contested(project)
        studio.lost = "/import"
        assert "fault of its own (504)" in push(project).error
        studio.lost = ""
        assert push(project).state == "done"
        assert len(studio.tasks) == LabelStudioTask.objects.count() == 1

    def test_it_is_written_down_who_did_it(self, project, studio):
        contested(project)
        push(project)
        assert Event.objects.filter(verb="pushed to Label Studio", project=project, data__pushed=1).exists()


# --- Back
class TestPull:
    def test_an_annotation_becomes_a_review_by_our_rules(self, project, studio, ada):
        post = contested(project)
        push(project)
        task = sent(post, studio)
        note = {"from_name": "note", "to_name": "post", "type": "textarea", "value": {"text": ["look <here>"]}}
        studio.annotate(task["id"], 1, "bullish", lead_time=12.5, besides=[note])
        assert pull(project).counts["applied"] == 1
        review = Review.objects.get()
        assert (review.reviewer, review.label.name, review.note, review.seconds) == (
            ada,
            "bullish",
            "look <here>",
            12.5,
        )
        assert review.saw == LabelStudioTask.objects.get().saw
        assert len(review.saw) == 2
        post.refresh_from_db()
        assert (post.state, post.label.name, post.label_source) == ("settled", "bullish", "review")

    def test_twice_doubles_nothing(self, project, studio, ada):
        post = contested(project)
        push(project)
        studio.annotate(sent(post, studio)["id"], 1, "bullish")
        pull(project)
        pull(project)
        assert Review.objects.count() == 1
        assert LabelStudioAnnotation.objects.get().outcome == Outcome.APPLIED

    def test_where_two_are_wanted_it_is_one_of_the_two(self, project, studio, ada):
        project.double_rate = 1
        project.save()
        post = contested(project)
        other = seat(project)
        push(project)
        studio.annotate(sent(post, studio)["id"], 1, "bullish")
        pull(project)
        post.refresh_from_db()
        assert post.state == "contested"
        pk = queue.claim(other)
        deciding.decide(other, pk, Given(label=make_label(project, "bearish").pk), "here")
        assert Disagreement.objects.get().stream == Stream.CONFLICT

    def test_it_can_be_taken_back_here_and_stays_so(self, project, studio, ada):
        post = contested(project)
        push(project)
        studio.annotate(sent(post, studio)["id"], 1, "bullish")
        pull(project)
        deciding.undo(Seat(project, ada, Role.REVIEWER, "tab"))
        pull(project)
        post.refresh_from_db()
        assert post.state == "contested"
        assert LabelStudioAnnotation.objects.get().outcome == Outcome.TAKEN_BACK

    @pytest.mark.parametrize(("there", "outcome"), [("bullish", Outcome.AGREES), ("bearish", Outcome.CONFLICT)])
    def test_what_was_decided_here_meanwhile_stands(self, project, studio, ada, there, outcome):
        post = contested(project)
        push(project)
        studio.annotate(sent(post, studio)["id"], 1, there)
        who = seat(project)
        deciding.decide(who, queue.claim(who), Given(label=make_label(project, "bullish").pk), "here")
        pull(project)
        post.refresh_from_db()
        assert post.label.name == "bullish"
        told = LabelStudioAnnotation.objects.get()
        assert (told.outcome, told.said, told.here) == (outcome, there, f"bullish ({who.user.username})")
        assert Review.objects.count() == 1

    def test_what_voters_settled_meanwhile_stands_too(self, project, studio, ada):
        project.consensus = "majority"
        project.save()
        post = contested(project)
        push(project)
        studio.annotate(sent(post, studio)["id"], 1, "bearish")
        make_vote(post, "third", "bullish")
        settling.settle(project, [post.pk])
        pull(project)
        told = LabelStudioAnnotation.objects.get()
        assert (told.outcome, told.here) == (Outcome.CONFLICT, "bullish (voters)")

    def test_a_post_that_was_set_aside_here_is_a_conflict(self, project, studio, ada):
        post = contested(project)
        push(project)
        studio.annotate(sent(post, studio)["id"], 1, "bearish")
        who = seat(project)
        deciding.decide(who, queue.claim(who), Given(instead="broken"), "here")
        pull(project)
        assert LabelStudioAnnotation.objects.get().here.startswith("broken image")

    def test_what_people_differ_on_is_for_a_lead_here(self, project, studio, ada):
        Membership.objects.filter(user=ada).update(role=Role.LEAD)
        post = contested(project)
        push(project)
        studio.annotate(sent(post, studio)["id"], 1, "bearish")
        Disagreement.objects.update(stream=Stream.CONFLICT)
        pull(project)
        assert LabelStudioAnnotation.objects.get().outcome == Outcome.DIFFER
        assert not Review.objects.exists()

    def test_a_post_on_somebodys_screen_waits_for_them(self, project, studio, ada):
        post = contested(project)
        push(project)
        studio.annotate(sent(post, studio)["id"], 1, "bearish")
        who = seat(project)
        queue.claim(who)
        pull(project)
        assert LabelStudioAnnotation.objects.get().outcome == Outcome.ON_SCREEN
        queue.release(who)
        pull(project)
        assert LabelStudioAnnotation.objects.get().outcome == Outcome.APPLIED

    def test_nobodys_annotation_counts_until_it_is_said_who_they_are(self, project, studio, ada):
        post = contested(project)
        push(project)
        bob = studio.sign_up("bob@example.org")
        studio.annotate(sent(post, studio)["id"], bob, "bullish")
        pull(project)
        assert LabelStudioAnnotation.objects.get().outcome == Outcome.UNMAPPED
        assert not Review.objects.exists()
        ben = make_member(project)
        linking.say_who(project, {linking.people(project).get(number=bob).pk: ben.pk})
        pull(project)
        assert Review.objects.get().reviewer == ben

    def test_a_person_who_left_the_project_is_told(self, project, studio, ada):
        post = contested(project)
        push(project)
        studio.annotate(sent(post, studio)["id"], 1, "bullish")
        Membership.objects.filter(user=ada).delete()
        pull(project)
        assert LabelStudioAnnotation.objects.get().outcome == Outcome.STRANGER

    def test_an_annotator_whom_the_server_no_longer_lists_is_shown_all_the_same(self, project, studio, ada):
        post = contested(project)
        push(project)
        studio.annotate(sent(post, studio)["id"], 77, "bullish")
        pull(project)
        assert str(LabelStudioAnnotation.objects.get().person) == "User 77"

    def test_a_skip_there_is_a_skip_here(self, project, studio, ada):
        post = contested(project)
        push(project)
        studio.skip(sent(post, studio)["id"], 1)
        pull(project)
        assert Review.objects.get().instead == "skip"
        assert queue.claim(Seat(project, ada, Role.REVIEWER, "tab")) is None

    def test_a_change_of_mind_there_is_shown_and_overwrites_nothing(self, project, studio, ada):
        post = contested(project)
        push(project)
        made = studio.annotate(sent(post, studio)["id"], 1, "bullish")
        pull(project)
        made["result"][0]["value"]["choices"] = ["bearish"]
        pull(project)
        post.refresh_from_db()
        assert post.label.name == "bullish"
        assert LabelStudioAnnotation.objects.get().says_now == "bearish"
        made["result"][0]["value"]["choices"] = ["bullish"]
        pull(project)
        assert LabelStudioAnnotation.objects.get().says_now == ""

    def test_an_annotation_deleted_there_leaves_its_review(self, project, studio, ada):
        post = contested(project)
        push(project)
        studio.annotate(sent(post, studio)["id"], 1, "bullish")
        pull(project)
        sent(post, studio)["annotations"].clear()
        pull(project)
        assert LabelStudioAnnotation.objects.get().deleted_there
        assert Review.objects.count() == 1

    def test_a_label_renamed_here_is_told(self, project, studio, ada):
        post = contested(project)
        push(project)
        studio.annotate(sent(post, studio)["id"], 1, "bullish")
        Label.objects.filter(name="bullish").update(name="up")
        pull(project)
        told = LabelStudioAnnotation.objects.get()
        assert (told.outcome, told.said) == (Outcome.UNKNOWN_LABEL, "bullish")

    def test_an_annotation_without_a_label_is_told(self, project, studio, ada):
        post = contested(project)
        push(project)
        studio.add(sent(post, studio)["id"], 1, [])
        pull(project)
        assert LabelStudioAnnotation.objects.get().outcome == Outcome.EMPTY

    def test_a_post_deleted_here_is_told(self, project, studio, ada):
        post = contested(project)
        push(project)
        studio.annotate(sent(post, studio)["id"], 1, "bullish")
        pull(project)
        post.delete()
        pull(project)
        assert LabelStudioAnnotation.objects.get().outcome == Outcome.POST_GONE

    def test_a_task_deleted_there_is_told_and_not_sent_again(self, project, studio, ada):
        post = contested(project)
        push(project)
        del studio.tasks[sent(post, studio)["id"]]
        assert pull(project).counts["task deleted there"] == 1
        assert pull(project).counts["task deleted there"] == 0
        push(project)
        assert studio.tasks == {}

    def test_other_peoples_tasks_in_the_project_are_let_alone(self, project, studio, ada):
        contested(project)
        push(project)
        number = next(iter(studio.projects))
        studio.tasks[999] = {"id": 999, "project": number, "meta": {}, "annotations": []}
        studio.annotate(999, 1, "bullish")
        assert pull(project).state == "done"
        assert not LabelStudioAnnotation.objects.exists()

    def test_another_projects_mark_is_not_believed(self, project, studio, ada):
        """Whoever may write there must not reach posts of other projects."""
        contested(project)
        foreign = contested(make_project())
        push(project)
        number, mark = next(iter(studio.projects)), Disagreement.objects.get(post=foreign).pk
        studio.tasks[999] = {"id": 999, "project": number, "meta": {MARK: mark}, "annotations": []}
        studio.annotate(999, 1, "bullish")
        pull(project)
        assert not Review.objects.exists()

    def test_more_than_a_page_of_tasks_is_read_to_its_end(self, project, studio, ada, monkeypatch):
        monkeypatch.setattr(servers, "PAGE", 2)
        posts = [contested(project) for _ in range(5)]
        push(project)
        for post in posts:
            studio.annotate(sent(post, studio)["id"], 1, "bullish")
        assert pull(project).counts["applied"] == 5

    def test_whether_picture_and_text_contradict_counts_only_where_it_is_asked(self, project, studio, ada):
        said = {"from_name": "incongruous", "to_name": "post", "type": "choices", "value": {"choices": ["yes"]}}
        for asks, expected in ((True, True), (False, None)):
            project.asks_incongruous = asks
            project.save()
            post = contested(project)
            push(project)
            studio.annotate(sent(post, studio)["id"], 1, "bullish", besides=[said])
            pull(project)
            post.refresh_from_db()
            assert post.incongruous is expected


# --- What goes wrong
class TestFaults:
    @pytest.mark.parametrize(
        ("where", "status", "body", "headers", "says"),
        [
            ("/api/", 401, '{"detail": "Invalid token."}', {}, "refused the token"),
            ("/api/", 403, "{}", {}, "refused the token"),
            ("/api/", 500, '{"detail": "boom"}', {}, "fault of its own (500)"),
            ("/api/", 502, "<html>Bad gateway</html>", {"Content-Type": "text/html"}, "fault of its own (502)"),
            ("/api/", 200, "<html>Log in</html>", {"Content-Type": "text/html"}, "not a proxy's page"),
            ("/api/", 404, "<html>Not found</html>", {"Content-Type": "text/html"}, "not a proxy's page"),
            ("/api/", 200, '{"hello": "world"}', {}, "does not speak as Label Studio"),
            ("/api/", 302, "", {"Location": "https://elsewhere.example/"}, "sends on to https://elsewhere.example/"),
            ("POST /api/projects/", 400, '{"validation_errors": {"label_config": ["No."]}}', {}, "refused it"),
            ("/import", 404, '{"detail": "No Project"}', {}, "no longer in Label Studio"),
            ("/import", 201, '{"import": 5}', {}, "without saying where"),
        ],
    )  # fmt: skip
    def test_each_is_one_sentence_without_the_token(self, project, studio, where, status, body, headers, says):
        contested(project)
        studio.fault = (where, status, body, headers)
        run = push(project)
        assert (run.state, says in run.error) == ("failed", True), run.error
        assert TOKEN not in run.error

    def test_a_server_that_is_not_there(self, project, studio, settings):
        settings.LABEL_STUDIO_URL = "http://user:secret@127.0.0.1:1/studio?x=1"
        contested(project)
        run = push(project)
        assert "http://127.0.0.1:1/studio could not be reached" in run.error
        assert "secret" not in run.error

    def test_a_server_that_never_answers(self, project, studio, monkeypatch):
        monkeypatch.setattr(servers, "TIMEOUT", 0.2)
        contested(project)
        over = threading.Event()
        monkeypatch.setattr(studio, "answer", lambda *_: (200, over.wait(30)))
        assert "took more than 0.2 seconds" in push(project).error
        over.set()

    def test_a_project_deleted_there(self, project, studio, ada):
        contested(project)
        push(project)
        studio.projects.clear()
        assert "no longer in Label Studio" in pull(project).error
        linking.leave(project)
        studio.tasks.clear()
        assert push(project).counts["pushed"] == 1

    def test_another_server_than_the_posts_lie_on(self, project, studio, settings):
        contested(project)
        push(project)
        settings.LABEL_STUDIO_URL = settings.LABEL_STUDIO_URL.replace("127.0.0.1", "localhost")
        assert "Set it back" in pull(project).error

    def test_pulling_before_anything_was_pushed(self, project, studio):
        assert "push posts first" in pull(project).error

    @pytest.mark.parametrize(
        ("url", "token", "says"),
        [("", "x", "LABEL_STUDIO_URL"), ("studio", "x", "not a web address"),
         ("javascript://x", "x", "not a web address"),
         ("https://studio.example.org", "", "LABEL_STUDIO_API_KEY")],
    )  # fmt: skip
    def test_what_is_not_set_up_is_said_before_anything_is_asked(self, project, settings, url, token, says):
        settings.LABEL_STUDIO_URL, settings.LABEL_STUDIO_API_KEY = url, token
        with pytest.raises(Failed, match=says):
            push(project)

    def test_without_the_sdk_it_says_how_to_get_it(self, project, studio, monkeypatch):
        monkeypatch.setattr(servers.importlib.util, "find_spec", lambda name: None)
        with pytest.raises(Failed, match="labelstudio"):
            push(project)


# --- In the background
class TestRuns:
    def test_one_at_a_time_in_a_project(self, project, studio):
        running.ask(project, None, Way.PUSH)
        with pytest.raises(Failed, match="under way already"):
            running.ask(project, None, Way.PULL)

    def test_a_task_delivered_twice_finds_nothing_to_do(self, project, studio):
        contested(project)
        run = push(project)
        assert not running.carry_out(run)

    def test_it_stops_after_the_batch_and_goes_on_from_there(self, project, studio, monkeypatch):
        monkeypatch.setattr("annotate.label_studio.pushing.BATCH", 2)
        for _ in range(5):
            contested(project)
        run = running.ask(project, None, Way.PUSH, queue=False)
        running.carry_out(run, lambda run: running.stop(run) if run.done else None)
        assert (run.state, len(studio.tasks)) == ("stopped", 2)
        assert push(project).counts["pushed"] == 3

    def test_one_that_waits_is_stopped_at_once(self, project, studio):
        run = running.ask(project, None, Way.PUSH)
        running.stop(run)
        run.refresh_from_db()
        assert run.state == "stopped"

    def test_a_dead_run_is_taken_up(self, project, studio, monkeypatch):
        queued = []
        monkeypatch.setattr(running, "async_task", lambda name, pk, **_: queued.append((name, pk)))
        contested(project)
        run = running.ask(project, None, Way.PUSH, queue=False)
        long_ago = timezone.now() - timedelta(minutes=5)
        LabelStudioRun.objects.update(state="running", started=long_ago, heartbeat=long_ago)
        every_minute()
        assert queued == [("annotate.tasks.push_to_label_studio", run.pk)]
        assert running.carry_out(run)
        assert run.state == "done"

    def test_whoever_lost_the_run_writes_no_more(self, project, studio):
        contested(project)
        run = running.ask(project, None, Way.PUSH, queue=False)
        assert not running.carry_out(run, lambda _: LabelStudioRun.objects.update(started=timezone.now()))
        assert not studio.tasks
        run.refresh_from_db()
        assert run.state == "running"

    def test_what_breaks_is_told_on_the_page_and_raised(self, project, studio, monkeypatch):
        monkeypatch.setitem(running.DOES, Way.PUSH, lambda work: 1 / 0)
        run = running.ask(project, None, Way.PUSH, queue=False)
        with pytest.raises(ZeroDivisionError):
            running.carry_out(run)
        assert (run.state, "broke off" in run.error) == ("failed", True)

    def test_progress_is_told(self, project, studio):
        for _ in range(3):
            contested(project)
        told = []
        run = running.ask(project, None, Way.PUSH, queue=False)
        running.carry_out(run, lambda run: told.append((run.done, run.total)))
        assert told[-1] == (3, 3)
        assert work.still_ours(run).count() == 0


# --- By command
class TestCommand:
    def test_out_and_back(self, project, studio):
        make_member(project, username="ada")
        post = contested(project)
        out = io.StringIO()
        call_command("label_studio", "push", project=project.slug, stdout=out)
        studio.annotate(sent(post, studio)["id"], 1, "bullish")
        call_command("label_studio", "pull", project=project.slug, stdout=out, map=["ann@example.org=ada"])
        assert out.getvalue() == "Pushed: 1.\nNow a review here: 1.\n"

    def test_conflicts_are_listed(self, project, studio, ada):
        post = contested(project)
        push(project)
        studio.annotate(sent(post, studio)["id"], 1, "bearish")
        who = seat(project)
        deciding.decide(who, queue.claim(who), Given(label=make_label(project, "bullish").pk), "here")
        out = io.StringIO()
        call_command("label_studio", "pull", project=project.slug, stdout=out)
        assert f"Ann Lee says bearish, here it is bullish ({who.user.username})" in out.getvalue()

    @pytest.mark.parametrize(
        ("more", "says"),
        [({"project": "nothing"}, "no project"), ({"limit": 0}, "one post at least"),
         ({"map": ["nobody@example.org=ada"]}, "is known from Label Studio"),
         ({"map": ["ann@example.org=x"]}, "Nobody called")],
    )  # fmt: skip
    def test_what_is_wrong_is_said(self, project, studio, ada, more, says):
        with pytest.raises(CommandError, match=says):
            call_command("label_studio", "push", **({"project": project.slug} | more))

    def test_a_failure_is_its_sentence(self, project, studio):
        with pytest.raises(CommandError, match="push posts first"):
            call_command("label_studio", "pull", project=project.slug)


# --- On the page
class TestPage:
    @pytest.fixture
    def admin(self, client, project):
        admin = make_member(project, Role.ADMIN, "boss")
        client.force_login(admin)
        return admin

    def page(self, client, project, query=""):
        return client.get(reverse("label_studio", args=[project.slug]) + query).content.decode()

    def test_it_says_what_to_set(self, client, project, admin, settings):
        settings.LABEL_STUDIO_URL = ""
        page = self.page(client, project)
        assert "LABEL_STUDIO_URL" in page
        assert reverse("label_studio_push", args=[project.slug]) not in page

    def test_it_says_what_it_will_do_and_does_it(self, client, project, admin, studio):
        contested(project)
        assert "1 contested post" in self.page(client, project)
        client.post(reverse("label_studio_push", args=[project.slug]), {"limit": ""})
        run = LabelStudioRun.objects.get()
        assert (run.by, run.state) == (admin, "queued")
        running.carry_out(run)
        page = self.page(client, project)
        assert "1 post pushed." in page
        assert "1 contested post" not in page

    def test_a_limit_that_is_none_is_refused_with_a_sentence(self, client, project, admin, studio):
        contested(project)
        answer = client.post(reverse("label_studio_push", args=[project.slug]), {"limit": "many"})
        assert answer.status_code == 422
        assert "Write a number of posts" in answer.content.decode()

    def test_people_are_suggested_by_address_and_counted_only_when_saved(self, client, project, admin, studio):
        ada = make_member(project, Role.REVIEWER, "ada", email="ann@example.org")
        linking.meet(project, servers.connect())
        assert "suggested, not saved" in self.page(client, project)
        person = linking.people(project).get()
        client.post(reverse("label_studio_people", args=[project.slug]), {f"person-{person.pk}": str(ada.pk)})
        person.refresh_from_db()
        assert person.user == ada

    @pytest.mark.parametrize("value", ["999999", "x", "-1"])
    def test_nobody_can_be_made_a_stranger(self, client, project, admin, studio, ada, value):
        stranger, person = make_user(), linking.people(project).get()
        for name, chosen in (
            (f"person-{person.pk}", str(stranger.pk)),
            (f"person-{person.pk}", value),
            ("person-x", "1"),
        ):
            client.post(reverse("label_studio_people", args=[project.slug]), {name: chosen})
            person.refresh_from_db()
            assert person.user in {ada, None}

    def test_answers_are_listed_with_what_became_of_them(self, client, project, admin, studio, ada):
        post = contested(project, text="<b>gm</b>")
        push(project)
        studio.annotate(sent(post, studio)["id"], 1, "bearish")
        who = seat(project)
        deciding.decide(who, queue.claim(who), Given(label=make_label(project, "bullish").pk), "here")
        pull(project)
        page = self.page(client, project, "?show=conflict")
        assert f"bullish ({who.user.username})" in page
        assert "&lt;b&gt;gm&lt;/b&gt;" in page
        assert reverse("post", args=[project.slug, post.pk]) in page
        assert "None of this kind" in self.page(client, project, "?show=unmapped")

    def test_a_new_project_is_begun_when_asked(self, client, project, admin, studio):
        contested(project)
        push(project)
        client.post(reverse("label_studio_anew", args=[project.slug]))
        push(project)
        assert len(studio.projects) == 2
        assert len(studio.tasks) == 2

    def test_leads_look_and_admins_act(self, client, project, studio):
        contested(project)
        client.force_login(make_member(project, Role.LEAD))
        page = self.page(client, project)
        assert "1 contested post" in page
        assert '<button class="main"' not in page

    def test_the_token_is_on_no_page(self, client, project, admin, studio):
        contested(project)
        push(project)
        assert TOKEN not in self.page(client, project)

    def test_when_a_run_ends_the_page_is_asked_for_anew(self, client, project, admin, studio):
        run = push(project)
        address = reverse("label_studio_progress", args=[project.slug, run.pk])
        assert client.get(address, headers={"HX-Request": "true"}).headers["HX-Refresh"] == "true"
