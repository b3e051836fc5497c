"""The review screen and the steps of its script: what they answer, and what they never tell."""

import json
import re
from datetime import timedelta

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from annotate import queue, settling
from annotate.models import Disagreement, Post, Review, Role
from annotate.models.review import Instead, Stream, Why

from .make import make_member, make_post, make_project, make_user, make_vote

pytestmark = pytest.mark.django_db
TAB = "one"


@pytest.fixture(autouse=True)
def _counted_now(monkeypatch):
    monkeypatch.setattr(queue, "open_in", queue.count_open)


def contested(project, text="gm", **fields):
    post = make_post(project, text=text, **fields)
    for voter, label in (("gpt", "bullish"), ("gemini", "bearish")):
        make_vote(post, voter, label, confidence=0.8, reason=f"{voter} says so", text_reading="bullish")
    settling.settle(project, [post.pk])
    return Disagreement.objects.get(post=post)


@pytest.fixture
def project():
    return make_project("Memes", audit_rate=0, double_rate=0, check_rate=0)


@pytest.fixture
def rae(client, project):
    rae = make_member(project, Role.REVIEWER, "rae")
    client.force_login(rae)
    return rae


@pytest.fixture
def send(client, project):
    def send(step, status=200, **sent):
        answer = client.post(
            f"/p/{project.slug}/review/{step}", json.dumps({"tab": TAB} | sent), content_type="application/json"
        )
        assert answer.status_code == status, answer.content
        return answer.json()

    return send


@pytest.fixture
def form(client, project):
    def form(**sent):
        return client.post(f"/p/{project.slug}/review", {"key": "k", "tab": ""} | sent)

    return form


def label(project, name="bullish"):
    return project.labels.get(name=name).pk


def see(client, project):
    return client.get(f"/p/{project.slug}/review")


class TestPage:
    def test_shows_a_post_and_claims_it(self, client, project, rae):
        waiting = contested(project, "to the moon")
        answer = see(client, project)
        assert "to the moon" in answer.text
        waiting.refresh_from_db()
        assert (waiting.holder, waiting.tab) == (rae, "")

    def test_a_reload_shows_the_same_post(self, client, project, rae):
        for n in range(5):
            contested(project, f"post {n}")
        assert see(client, project).context["card"] == see(client, project).context["card"]
        assert Disagreement.objects.filter(holder=rae).count() == 1

    def test_without_labels_it_says_so(self, client):
        project = make_project(labels=())
        client.force_login(make_member(project))
        assert "once the project has labels" in see(client, project).text
        client.force_login(make_user(is_superuser=True))
        assert "Add labels" in see(client, project).text

    def test_a_site_admin_reviews_without_being_a_member(self, client, project):
        contested(project)
        client.force_login(make_user(is_superuser=True))
        assert see(client, project).context["card"]["text"] == "gm"

    def test_the_end_says_what_was_done_and_what_was_skipped(self, client, project, rae, form):
        one, two = contested(project), contested(project)
        pks = {one.pk, two.pk}
        first = see(client, project).context["card"]["pk"]
        form(pk=first, label=label(project), key="a")
        form(pk=(pks - {first}).pop(), instead="skip", key="b")
        text = see(client, project).text
        assert "Nothing is left for you" in text
        assert "You answered 1 post today" in text
        assert "Take them up again" in text
        form(do="take_up")
        assert see(client, project).context["card"]["pk"] in pks

    def test_hostile_words_stay_words(self, client, project, rae):
        contested(project, "<script>alert(1)</script>{{ 1 }}</script>")
        text = see(client, project).text
        assert "<script>alert" not in text
        assert "&lt;script&gt;alert(1)&lt;/script&gt;" in text

    def test_the_badge_leads_to_it(self, client, project, rae):
        contested(project)
        text = client.get(f"/p/{project.slug}/posts").text
        assert "to review" in text
        assert f'href="/p/{project.slug}/review"' in text

    def test_incongruous_is_only_asked_where_the_project_asks_it(self, client, project, rae):
        contested(project)
        assert 'name="incongruous"' not in see(client, project).text
        project.asks_incongruous = True
        project.save()
        assert 'name="incongruous"' in see(client, project).text

    def test_two_who_differ_are_shown_to_a_lead_alone(self, client, project, rae, form):
        waiting = contested(project)
        Disagreement.objects.update(wanted=2)
        other, lead = make_member(project, username="kim"), make_member(project, Role.LEAD)
        for who, name in ((rae, "bullish"), (other, "bearish")):
            client.force_login(who)
            see(client, project)
            form(pk=waiting.pk, label=label(project, name), note=f"{name} because", key=name)
        client.force_login(lead)
        text = see(client, project).text
        for told in ("Two people differ", "rae", "kim", "bullish because", "bearish because"):
            assert told in text
        form(pk=waiting.pk, label=label(project, "bearish"), key="end")
        assert Post.objects.get().label.name == "bearish"


class TestFormsAlone:
    def test_a_label_decides_and_the_next_post_comes(self, client, project, rae, form):
        contested(project, "one")
        contested(project, "two")
        card = see(client, project).context["card"]
        answer = form(pk=card["pk"], label=label(project), note="clear")
        assert answer.status_code == 302
        assert see(client, project).context["card"]["pk"] != card["pk"]
        review = Review.objects.get()
        assert (review.label.name, review.note, review.saw) == ("bullish", "clear", [])

    def test_sent_twice_it_counts_once(self, client, project, rae, form):
        contested(project)
        pk = see(client, project).context["card"]["pk"]
        assert [form(pk=pk, label=label(project), key="same").status_code for _ in range(2)] == [302, 302]
        assert Review.objects.count() == 1

    def test_the_back_button_decides_nothing_again(self, client, project, rae, form):
        contested(project)
        pk = see(client, project).context["card"]["pk"]
        form(pk=pk, label=label(project), key="first")
        answer = form(pk=pk, label=label(project, "bearish"), key="second", note="my dear note")
        assert answer.status_code == 409
        for told in ("already answered", "bearish", "my dear note"):
            assert told in answer.text
        assert Post.objects.get().label.name == "bullish"

    def test_skipped_for_a_reason(self, client, project, rae, form):
        pk = contested(project).pk
        see(client, project)
        form(pk=pk, instead="skip", reason="Not now", note="tired")
        assert Review.objects.get().note == "Not now: tired"
        assert Disagreement.objects.get().closed is None

    @pytest.mark.parametrize("flag", ["not_ours", "broken", "cannot_tell"])
    def test_flagged(self, client, project, rae, form, flag):
        pk = contested(project).pk
        see(client, project)
        form(pk=pk, instead=flag)
        assert Post.objects.get().state == "aside"
        assert Review.objects.get().instead == Instead(flag)

    def test_votes_are_shown_on_record_and_the_note_stays(self, client, project, rae, form):
        pk = contested(project).pk
        assert "gpt says so" not in see(client, project).text
        answer = form(pk=pk, do="votes", note="half a tho")
        assert "gpt says so" in answer.text
        assert "half a tho" in answer.text
        form(pk=pk, label=label(project))
        assert len(Review.objects.get().saw) == 2

    def test_taken_back_one_by_one(self, client, project, rae, form):
        for n in range(3):
            contested(project, f"post {n}")
        decided = []
        for n in range(3):
            decided.append(see(client, project).context["card"]["pk"])
            form(pk=decided[-1], label=label(project), key=f"answer {n}", note=f"note {n}")
        for n in (2, 1, 0):
            last = see(client, project).context["last"]
            assert last["key"] == f"answer {n}"
            form(do="undo", undo=last["key"])
            answer = see(client, project)
            assert answer.context["card"]["pk"] == decided[n]
            assert "You said bullish" in answer.text
            assert f"note {n}" in answer.text
        assert Review.objects.filter(undone=None).count() == 0

    def test_an_undo_sent_twice_takes_back_one(self, client, project, rae, form):
        for n in range(2):
            contested(project)
            form(pk=see(client, project).context["card"]["pk"], label=label(project), key=f"{n}")
        for _ in range(2):
            form(do="undo", undo="1")
        assert Review.objects.filter(undone=None).get().key == "0"

    def test_nonsense_is_refused_in_a_sentence_and_the_note_stays(self, client, project, rae, form):
        pk = contested(project).pk
        see(client, project)
        answer = form(pk=pk, label=label(make_project()), note="kept")
        assert answer.status_code == 422
        assert "no such label" in answer.text
        assert "kept" in answer.text

    def test_an_unknown_flag_is_no_server_error(self, client, project, rae, form):
        pk = contested(project).pk
        see(client, project)
        assert form(pk=pk, instead="nonsense").status_code == 422


class TestSteps:
    def test_fill_brings_three_and_takes_over_what_the_page_came_with(self, client, project, rae, send):
        for n in range(5):
            contested(project, f"post {n}")
        shown = see(client, project).context["card"]["pk"]
        answer = send("fill", holding=[shown])
        assert answer["held"][0] == shown
        assert len(answer["cards"]) == 2
        assert shown not in [card["pk"] for card in answer["cards"]]
        assert set(Disagreement.objects.filter(holder=rae).values_list("tab", flat=True)) == {TAB}

    def test_another_tab_gets_other_posts(self, project, rae, send):
        for _ in range(6):
            contested(project)
        one, two = send("fill")["held"], send("fill", tab="two")["held"]
        assert len({*one, *two}) == 6

    def test_a_decision_brings_what_is_lacking(self, project, rae, send):
        for _ in range(5):
            contested(project)
        first, *rest = send("fill")["held"]
        answer = send("decide", pk=first, key="a", label=label(project), holding=rest, seconds=4.5, note="n")
        assert [card["pk"] for card in answer["cards"]] == answer["held"][2:]
        assert answer["held"][:2] == rest
        assert answer["votes"] is None
        review = Review.objects.get()
        assert (review.seconds, review.note, review.label.name) == (4.5, "n", "bullish")

    def test_an_answer_whose_reply_was_lost_is_answered_alike(self, project, rae, send):
        for _ in range(5):
            contested(project)
        first, *rest = send("fill")["held"]
        sent = {"pk": first, "key": "a", "label": label(project), "holding": rest}
        assert send("decide", **sent) == send("decide", **sent)
        assert Review.objects.count() == 1

    def test_a_post_that_went_to_somebody_else_is_refused_in_a_sentence(self, project, rae, send):
        for _ in range(2):
            contested(project)
        pk, other = send("fill")["held"]
        Disagreement.objects.filter(pk=pk).update(holder=make_member(project))
        answer = send("decide", 409, pk=pk, key="a", label=label(project), holding=[other])
        assert "somebody else" in answer["gone"]
        assert answer["held"] == [other]
        assert not Review.objects.exists()

    @pytest.mark.parametrize(
        ("sent", "told"),
        [
            ({"key": ""}, "key of 1 to 64"),
            ({"key": None}, "key of 1 to 64"),
            ({"key": "x" * 65}, "key of 1 to 64"),
            ({"key": 5}, "is a text"),
            ({"label": 0}, "no such label"),
            ({"label": "bullish"}, "should be a number"),
            ({"label": True}, "should be a number"),
            ({"label": -1}, "should be a number"),
            ({"label": 2**70}, "should be a number"),
            ({"label": None}, "Choose one label"),
            ({"instead": "skip"}, "Choose one label"),
            ({"label": None, "instead": "maybe"}, "no such answer"),
            ({"pk": None}, "which post"),
            ({"pk": [1]}, "should be a number"),
            ({"note": "x" * 4001}, "at most 4,000"),
            ({"note": {"a": 1}}, "is a text"),
            ({"tab": "x" * 37}, "at most 36"),
            ({"holding": "1,2"}, "list of numbers"),
        ],
    )
    def test_nonsense_is_refused_in_a_sentence(self, project, rae, send, sent, told):
        contested(project)
        pk = send("fill")["held"][0]
        good = {"pk": pk, "key": "a", "label": label(project)}
        assert told in send("decide", 422, **good | sent)["error"]
        assert not Review.objects.exists()

    @pytest.mark.parametrize("body", [b"", b"nonsense", b"[]", b"3", b"\xff", b"[" * 100_000])
    @pytest.mark.parametrize("step", ["decide", "undo", "votes", "renew", "fill"])
    def test_what_is_no_json_object_is_refused(self, client, project, rae, step, body):
        answer = client.post(f"/p/{project.slug}/review/{step}", body, content_type="application/json")
        assert answer.status_code == 422
        assert answer.json()["error"]

    def test_another_projects_post_is_out_of_reach(self, client, project, rae, send):
        theirs = contested(make_project())
        assert "no longer in the project" in send("decide", 409, pk=theirs.pk, key="a", label=label(project))["gone"]
        send("votes", 409, pk=theirs.pk)
        assert send("renew", holding=[theirs.pk])["held"] == []

    def test_odd_numbers_and_zero_bytes_do_no_harm(self, project, rae, send):
        contested(project)
        pk = send("fill")["held"][0]
        send("decide", pk=pk, key="a\0", label=label(project), note="a\0b", seconds=float("inf"))
        review = Review.objects.get()
        assert (review.key, review.note, review.seconds) == ("a", "ab", None)

    def test_incongruous_counts_only_where_it_is_asked(self, project, rae, send):
        contested(project)
        contested(project)
        one, two = send("fill")["held"]
        send("decide", pk=one, key="a", label=label(project), incongruous=True)
        project.asks_incongruous = True
        project.save()
        send("decide", pk=two, key="b", label=label(project), incongruous=True)
        assert [r.incongruous for r in Review.objects.order_by("pk")] == [None, True]

    def test_undo_brings_the_post_back_with_what_was_said(self, project, rae, send):
        contested(project, "to the moon")
        pk = send("fill")["held"][0]
        send("decide", pk=pk, key="a", label=label(project), note="n")
        for _ in range(2):
            answer = send("undo", key="a")
            assert answer["card"]["pk"] == pk
            assert answer["card"]["was"]["said"] == "bullish"
            assert answer["card"]["was"]["note"] == "n"
            assert answer["last"] is None
        assert Review.objects.filter(undone=None).count() == 0

    def test_undo_of_nothing_says_so(self, project, rae, send):
        assert send("undo", 409, key="a")["gone"] == "There is nothing to take back."

    def test_nobody_takes_back_what_somebody_else_said(self, client, project, rae, send):
        contested(project)
        send("decide", pk=send("fill")["held"][0], key="a", label=label(project))
        client.force_login(make_member(project))
        send("undo", 409, key="a")
        assert Review.objects.filter(undone=None).count() == 1

    def test_a_renewed_lease_says_what_is_still_held(self, project, rae, send):
        for _ in range(2):
            contested(project)
        one, two = send("fill")["held"]
        Disagreement.objects.filter(pk=one).update(holder=make_member(project))
        assert send("renew", holding=[one, two])["held"] == [two]

    def test_left_posts_are_free_in_a_moment_and_a_reload_finds_them_until_then(self, client, project, rae, send):
        contested(project)
        pk = send("fill")["held"][0]
        answer = client.post(f"/p/{project.slug}/review/release", {"tab": TAB, "pks": str(pk)})
        assert answer.status_code == 204
        until = Disagreement.objects.get().held_until
        assert until < timezone.now() + timedelta(seconds=30)
        assert send("fill")["held"] == [pk]
        assert Disagreement.objects.get().held_until > timezone.now() + timedelta(minutes=4)

    def test_what_is_not_named_is_not_left(self, client, project, rae, send):
        for _ in range(2):
            contested(project)
        one, two = send("fill")["held"]
        client.post(f"/p/{project.slug}/review/release", {"tab": TAB, "pks": f"{one},"})
        assert Disagreement.objects.get(pk=two).held_until > timezone.now() + timedelta(minutes=4)

    def test_somebody_elses_answers_are_not_sent_in_ones_own_name(self, project, rae, send):
        contested(project)
        pk = send("fill")["held"][0]
        answer = send("decide", 403, pk=pk, key="a", label=label(project), user=rae.pk + 1)
        assert "logged in as rae" in answer["error"]
        assert not Review.objects.exists()

    def test_progress_counts_answers_of_today_and_no_skips(self, project, rae, send):
        for _ in range(4):
            contested(project)
        held = send("fill")["held"]
        for n, seconds in enumerate((2, 4, 60)):
            send("decide", pk=held[n], key=str(n), label=label(project), seconds=seconds)
        send("decide", pk=send("fill")["held"][0], key="skip", instead="skip", seconds=99)
        Review.objects.filter(key="2").update(at=timezone.now() - timedelta(days=2))
        answer = send("fill")
        assert answer["today"] == {"n": 2, "pace": 3}
        assert answer["skipped"] == 1

    def test_a_reviewer_who_was_removed_is_told_nothing(self, project, client, rae):
        project.memberships.all().delete()
        answer = client.post(f"/p/{project.slug}/review/fill", b"{}", content_type="application/json")
        assert answer.status_code == 404


class TestVotes:
    def test_shown_when_asked_for_and_on_record(self, project, rae, send):
        contested(project)
        pk = send("fill")["held"][0]
        votes = send("votes", pk=pk)["votes"]
        assert {vote["said"] for vote in votes} == {"bullish", "bearish"}
        assert {vote["voter"] for vote in votes} == {"gpt", "gemini"}
        assert votes[0]["confidence"] == 0.8
        send("decide", pk=pk, key="a", label=label(project))
        assert len(Review.objects.get().saw) == 2

    def test_names_can_be_hidden(self, project, rae, send):
        project.hide_voters = True
        project.save()
        contested(project)
        votes = send("votes", pk=send("fill")["held"][0])["votes"]
        assert [vote["voter"] for vote in votes] == ["Voter A", "Voter B"]

    def test_the_order_differs_from_post_to_post_and_is_the_same_again(self, project, rae, send):
        for _ in range(3):
            contested(project)
        orders = []
        for _ in range(12):
            contested(project)
            pk = send("fill")["held"][0]
            order = [vote["voter"] for vote in send("votes", pk=pk)["votes"]]
            assert order == [vote["voter"] for vote in send("votes", pk=pk)["votes"]]
            orders.append(order)
            send("decide", pk=pk, key=f"{pk}", label=label(project))
        assert ["gpt", "gemini"] in orders
        assert ["gemini", "gpt"] in orders

    def test_from_the_start(self, client, project, rae, send):
        project.votes_shown = "start"
        project.save()
        contested(project)
        assert len(see(client, project).context["card"]["votes"]) == 2
        pk = send("fill")["held"][0]
        send("decide", pk=pk, key="a", label=label(project))
        assert len(Review.objects.get().saw) == 2

    def test_after_the_choice_and_not_before(self, project, rae, send):
        project.votes_shown = "after"
        project.save()
        contested(project)
        pk = send("fill")["held"][0]
        assert "after the choice" in send("votes", 422, pk=pk)["error"]
        answer = send("decide", pk=pk, key="a", label=label(project))
        assert {vote["said"] for vote in answer["votes"]} == {"bullish", "bearish"}
        assert Review.objects.get().saw == []

    def test_whoever_takes_back_after_seeing_them_has_seen_them(self, project, rae, send):
        project.votes_shown = "after"
        project.save()
        contested(project)
        pk = send("fill")["held"][0]
        send("decide", pk=pk, key="a", label=label(project))
        assert len(send("undo", key="a")["card"]["votes"]) == 2
        send("decide", pk=pk, key="b", label=label(project))
        assert len(Review.objects.get(undone=None).saw) == 2

    def test_of_a_post_that_went_to_somebody_else_none_are_shown(self, project, rae, send):
        contested(project)
        pk = send("fill")["held"][0]
        Disagreement.objects.update(holder=make_member(project))
        assert "votes" not in send("votes", 409, pk=pk)


ORIGINS = {
    "contested": (Why.SPLIT, Stream.CONTESTED, 1),
    "contested for two": (Why.SPLIT, Stream.CONTESTED, 2),
    "audit": (Why.AUDIT, Stream.AUDIT, 2),
    "risk": (Why.RISK, Stream.RISK, 1),
    "check": (Why.CHECK, Stream.CHECK, 1),
}


class TestBlindness:
    """Contested, audit, risk and known answer cannot be told apart by anything that is sent."""

    @pytest.fixture
    def seen(self, client, project, rae, send):
        """For each origin of one and the same post: the page, and all that the steps say."""
        for _ in range(5):
            contested(project)

        def look(why, stream, wanted):
            post = make_post(project, "gm", label="bullish", external_id="p", holdout=stream == Stream.CHECK)
            make_vote(post, "gpt", "bullish", confidence=0.9)
            disagreement = Disagreement.objects.create(
                project=project, post=post, why=why, stream=stream, wanted=wanted, inclusion=0.5, holder=rae,
                held_since=timezone.now(), held_until=timezone.now() + queue.LEASE,
            )  # fmt: skip
            page = see(client, project).text
            told = [send("fill"), send("votes", pk=disagreement.pk)]
            told.append(send("decide", pk=disagreement.pk, key=f"{why}{wanted}", label=label(project)))
            told.append(send("undo", key=f"{why}{wanted}"))
            Review.objects.all().delete()
            post.votes.all().delete()
            disagreement.delete()
            post.delete()
            Disagreement.objects.update(**queue.FREE)
            return page, told

        return look

    def test_pages_and_steps_differ_in_nothing_but_numbers(self, seen):
        looks = {name: seen(*origin) for name, origin in ORIGINS.items()}
        pages = {name: shape_of_page(page) for name, (page, _) in looks.items()}
        steps = {name: json.dumps(shape(told), sort_keys=True) for name, (_, told) in looks.items()}
        assert len(set(pages.values())) == 1
        assert len(set(steps.values())) == 1

    def test_no_telling_word(self, seen):
        for name, origin in ORIGINS.items():
            page, told = seen(*origin)
            everything = json.dumps(told) + page[page.index("<main") :]
            for word in ("audit", "split", "stream", "rank", "wanted", "inclusion", "holdout", "test set", "settled"):
                assert word not in everything.lower(), (name, word)


def shape_of_page(page):
    return re.sub(r"[0-9a-f]{32}|csrfmiddlewaretoken\" value=\"\w+|X-CSRFToken\": \"\w+|\d+", "#", page)


def shape(told):
    """Everything but numbers, which are of rows, times and counts."""
    if isinstance(told, dict):
        return {key: shape(value) for key, value in told.items()}
    if isinstance(told, list):
        return [shape(value) for value in told]
    return "#" if isinstance(told, int | float) and not isinstance(told, bool) else told


class TestThrift:
    def test_no_card_costs_a_question_of_its_own(self, project, rae, send):
        for _ in range(9):
            contested(project)
        asked = []
        for holding_back in (0, 2):
            first, *rest = send("fill")["held"]
            with CaptureQueriesContext(connection) as counted:
                answer = send("decide", pk=first, key=f"{first}", label=label(project), holding=rest[holding_back:])
            assert len(answer["cards"]) == 1 + holding_back
            asked.append(len(counted))
        assert asked[0] == asked[1]
