"""Programs that review, and what nobody may learn from the API or the pages before the choice."""

import json

import pytest
from django.test import Client
from django.utils import timezone

from annotate import queue, settling
from annotate.models import ApiToken, Disagreement, Image, Post, Review, Role
from annotate.models.review import Stream
from tests.make import make_member, make_post, make_project, make_user, make_vote

from .test_queue import contested

pytestmark = pytest.mark.django_db
LETTERS = iter(f"key-{n}" for n in range(10_000))


@pytest.fixture(autouse=True)
def _counted_now(monkeypatch):
    monkeypatch.setattr(queue, "open_in", queue.count_open)


class Program:
    """A client with a token of its own."""

    def __init__(self, user):
        _, secret = ApiToken.issue(user, "program")
        self.user, self.client = user, Client(headers={"Authorization": f"Bearer {secret}"})

    def post(self, path, body=None, **headers):
        headers = {name.replace("_", "-"): value for name, value in headers.items()}
        data = None if body is None else json.dumps(body)
        return self.client.post(f"/api{path}", data, content_type="application/json", headers=headers)

    def next(self, project, **body):
        answer = self.post(f"/projects/{project.slug}/queue/next", body)
        assert answer.status_code == 200, answer.content
        return answer.json()

    def say(self, pk, key="", **body):
        return self.post(f"/disagreements/{pk}/review", body, Idempotency_Key=key or next(LETTERS))

    def undo(self, pk):
        return self.client.delete(f"/api/disagreements/{pk}/review")


@pytest.fixture
def project():
    return make_project(audit_rate=0, double_rate=0, check_rate=0)


@pytest.fixture
def program(project):
    return Program(make_member(project, Role.REVIEWER, "rae"))


def picture():
    return Image.objects.create(sha256="a" * 64, format="png", width=40, height=30, bytes=9, fingerprint=1)


class TestNext:
    def test_it_says_all_that_is_needed_to_decide(self, project, program):
        post = contested(project, text="to the moon", image=picture(), source="r/memes")
        answer = program.next(project)
        assert answer["question"] == project.question
        assert [label["name"] for label in answer["labels"]] == ["bearish", "neutral", "bullish"]
        assert answer["lease_seconds"] == queue.LEASE.total_seconds()
        (card,) = answer["cards"]
        assert (card["text"], card["facts"][0], card["votes"], card["answers"]) == (
            "to the moon",
            "r/memes",
            None,
            None,
        )
        assert card["id"] == Disagreement.objects.get(post=post).pk
        assert card["image"] == {
            "url": f"/api/projects/{project.slug}/images/{'a' * 64}.png", "width": 40, "height": 30,
        }  # fmt: skip

    def test_asked_again_it_gives_the_same_until_they_are_answered(self, project, program):
        for _ in range(5):
            contested(project)
        first = [card["id"] for card in program.next(project, n=2)["cards"]]
        assert [card["id"] for card in program.next(project, n=2)["cards"]] == first
        program.say(first[0], label="bullish")
        assert program.next(project, n=2)["cards"][0]["id"] == first[1]

    def test_another_tab_and_another_person_get_others(self, project, program):
        for _ in range(3):
            contested(project)
        other = Program(make_member(project))
        given = [program.next(project), program.next(project, tab="two"), other.next(project)]
        assert len({answer["cards"][0]["id"] for answer in given}) == 3

    def test_an_empty_queue_has_no_cards(self, project, program):
        assert program.next(project)["cards"] == []

    @pytest.mark.parametrize("body", [{"n": 0}, {"n": 11}, {"tab": ""}, {"tab": "x" * 37}])
    def test_what_makes_no_sense_is_refused(self, project, program, body):
        assert program.post(f"/projects/{project.slug}/queue/next", body).status_code == 422

    def test_nothing_in_it_tells_an_audit_or_a_known_answer_from_a_contested_post(self, project, program):
        project.audit_rate = 1
        project.save()
        contested(project, source="x")
        agreed = make_post(project, source="x")
        for voter in ("voter 0", "voter 1"):
            make_vote(agreed, voter, "bullish")
        settling.settle(project, [agreed.pk])
        make_post(project, label="bearish", label_source="import", holdout=True, vote_count=2, source="x")
        project.check_rate = 0.5
        queue.plant_checks(project)
        Disagreement.objects.update(stream=Stream.CONTESTED)  # so that all three come up
        cards = program.next(project, n=10)["cards"]
        assert len(cards) == 3
        told = [{**card, "id": 0, "facts": card["facts"][:1]} for card in cards]
        assert told[0] == told[1] == told[2]
        said = json.dumps(program.next(project, n=10))
        assert not [word for word in ("audit", "check", "contested", "settled", "holdout", "stream") if word in said]

    def test_only_a_lead_sees_what_people_said_where_they_differ(self, project, program):
        post = contested(project)
        waiting = Disagreement.objects.get(post=post)
        label = project.labels.get(name="bearish")
        Review.objects.create(
            project=project, disagreement=waiting, reviewer=make_member(project, username="kim"), key="k", label=label,
            note="the chart falls",
        )  # fmt: skip
        Disagreement.objects.update(stream=Stream.CONFLICT)
        assert program.next(project)["cards"] == []
        (card,) = Program(make_member(project, Role.LEAD)).next(project)["cards"]
        assert card["answers"] == [
            {"who": "kim", "label": "bearish", "instead": "", "incongruous": None, "note": "the chart falls"}
        ]


class TestLeases:
    def test_renewed_and_released(self, project, program):
        contested(project)
        pk = program.next(project)["cards"][0]["id"]
        path = f"/projects/{project.slug}/queue"
        assert program.post(f"{path}/renew", {"ids": [pk, 2**70, -1]}).json()["ids"] == [pk]
        assert program.post(f"{path}/release", {"ids": []}).json() == {"released": 0}
        assert program.post(f"{path}/release").json() == {"released": 1}
        assert program.post(f"{path}/renew", {"ids": [pk]}).json()["ids"] == []


class TestAnswer:
    def test_a_label_by_its_name_settles_the_post(self, project, program):
        post = contested(project)
        pk = program.next(project)["cards"][0]["id"]
        answer = program.say(pk, label=" Bullish", note="look", seconds=2.5)
        assert answer.status_code == 200
        told = answer.json()
        assert (told["label"], told["note"], told["seconds"], told["undone"]) == ("bullish", "look", 2.5, None)
        post.refresh_from_db()
        assert (post.state, post.label.name, post.label_source) == ("settled", "bullish", "review")

    def test_or_something_in_its_place(self, project, program):
        post = contested(project)
        pk = program.next(project)["cards"][0]["id"]
        assert program.say(pk, instead="broken").json()["instead"] == "broken"
        assert Post.objects.get(pk=post.pk).state == "aside"

    def test_the_second_answer_is_asked_for_by_the_project_alone(self, project, program):
        for _ in range(2):
            contested(project)
        first, second = (card["id"] for card in program.next(project, n=2)["cards"])
        assert program.say(first, label="bullish", incongruous=True).json()["incongruous"] is None
        project.asks_incongruous = True
        project.save()
        assert program.say(second, label="bullish", incongruous=True).json()["incongruous"] is True

    def test_sent_again_it_counts_once(self, project, program):
        contested(project)
        pk = program.next(project)["cards"][0]["id"]
        answers = [program.say(pk, key="one", label="bullish").json() for _ in range(3)]
        answers.append(program.post(f"/disagreements/{pk}/review", {"label": "bullish", "key": "one"}).json())
        assert len({answer["id"] for answer in answers}) == 1
        assert Review.objects.count() == 1

    def test_a_key_is_for_one_post(self, project, program):
        for _ in range(2):
            contested(project)
        first, second = (card["id"] for card in program.next(project, n=2)["cards"])
        program.say(first, key="one", label="bullish")
        refused = program.say(second, key="one", label="bearish")
        assert (refused.status_code, Review.objects.count()) == (409, 1)
        assert "key" in refused.json()["detail"]

    def test_an_unknown_label_is_answered_with_the_known_ones(self, project, program):
        contested(project)
        pk = program.next(project)["cards"][0]["id"]
        refused = program.say(pk, label="moonish")
        assert refused.status_code == 422
        assert refused.json()["labels"] == ["bearish", "neutral", "bullish"]
        assert "moonish" in refused.json()["detail"]

    @pytest.mark.parametrize(
        "body", [{}, {"label": "bullish", "instead": "skip"}, {"instead": "meh"}, {"label": "bullish", "seconds": "x"}]
    )
    def test_what_makes_no_sense_is_refused(self, project, program, body):
        contested(project)
        pk = program.next(project)["cards"][0]["id"]
        assert program.say(pk, **body).status_code == 422
        assert not Review.objects.exists()

    @pytest.mark.parametrize("key", ["", "x" * 65])
    def test_without_a_key_nothing_is_stored(self, project, program, key):
        contested(project)
        pk = program.next(project)["cards"][0]["id"]
        assert program.post(f"/disagreements/{pk}/review", {"label": "bullish", "key": key}).status_code == 422
        assert not Review.objects.exists()

    def test_too_late_is_told_in_a_sentence(self, project, program):
        contested(project)
        pk = program.next(project)["cards"][0]["id"]
        Disagreement.objects.update(held_until=timezone.now() - queue.LEASE)
        Program(make_member(project)).next(project)
        refused = program.say(pk, label="bullish")
        assert refused.status_code == 409
        assert refused.json()["detail"].endswith(".")

    def test_taken_back_it_can_be_answered_anew(self, project, program):
        post = contested(project)
        pk = program.next(project)["cards"][0]["id"]
        program.say(pk, key="one", label="bullish")
        answer = program.undo(pk).json()
        assert (answer["held"], answer["review"]["undone"] is None) == (True, False)
        assert Post.objects.get(pk=post.pk).state == "contested"
        assert program.say(pk, key="one", label="bullish").json()["undone"]  # the old answer, which counts no more
        assert program.say(pk, key="two", label="bearish").json()["label"] == "bearish"

    def test_there_is_nothing_to_take_back_twice(self, project, program):
        contested(project)
        pk = program.next(project)["cards"][0]["id"]
        program.say(pk, label="bullish")
        assert [program.undo(pk).status_code for _ in range(2)] == [200, 409]


class TestVotes:
    def test_they_are_shown_on_record_and_stored_with_the_answer(self, project, program):
        contested(project)
        pk = program.next(project)["cards"][0]["id"]
        votes = program.post(f"/disagreements/{pk}/votes").json()["votes"]
        assert {(vote["voter"], vote["label"]) for vote in votes} == {("voter 0", "bullish"), ("voter 1", "bearish")}
        assert program.next(project)["cards"][0]["votes"] == votes
        program.say(pk, label="bullish")
        assert len(Review.objects.get().saw) == 2

    def test_names_are_hidden_where_the_project_says_so(self, project, program):
        project.hide_voters = True
        project.save()
        contested(project)
        pk = program.next(project)["cards"][0]["id"]
        votes = program.post(f"/disagreements/{pk}/votes").json()["votes"]
        assert {vote["voter"] for vote in votes} == {"Voter A", "Voter B"}

    def test_after_the_choice_where_the_project_says_so(self, project, program):
        project.votes_shown = "after"
        project.save()
        contested(project)
        pk = program.next(project)["cards"][0]["id"]
        assert program.post(f"/disagreements/{pk}/votes").status_code == 409
        assert not Disagreement.objects.get().votes_shown
        assert len(program.say(pk, label="bullish").json()["votes"]) == 2

    def test_of_a_post_that_somebody_else_has_they_are_not_shown(self, project, program):
        contested(project)
        pk = program.next(project)["cards"][0]["id"]
        assert Program(make_member(project)).post(f"/disagreements/{pk}/votes").status_code == 409


class TestAccess:
    def test_strangers_do_not_learn_that_it_exists(self, project, program):
        contested(project)
        pk = program.next(project)["cards"][0]["id"]
        stranger = Program(make_user())
        for path in (f"/projects/{project.slug}/queue/{step}" for step in ("next", "renew", "release")):
            assert stranger.post(path, {"ids": []}).status_code == 404
        answers = [stranger.say(one, label="bullish") for one in (pk, pk + 1000, 2**70)]
        assert {(answer.status_code, answer.content) for answer in answers} == {(404, answers[0].content)}
        assert stranger.post(f"/disagreements/{pk}/votes").status_code == 404
        assert stranger.undo(pk).status_code == 404

    def test_a_browser_needs_its_own_token_against_forged_requests(self, project, program):
        contested(project)
        pk = program.next(project)["cards"][0]["id"]
        browser = Client(enforce_csrf_checks=True)
        browser.force_login(program.user)
        body = json.dumps({"label": "bullish", "key": "one"})
        refused = browser.post(f"/api/disagreements/{pk}/review", body, content_type="application/json")
        assert (refused.status_code, Review.objects.count()) == (403, 0)

    def test_a_token_opens_the_picture(self, project, program, tmp_path, settings):
        from annotate import images

        settings.MEDIA_ROOT = tmp_path
        make_post(project, image=picture())
        file = tmp_path / images.path_of("a" * 64, "png")
        file.parent.mkdir(parents=True)
        file.write_bytes(b"\x89PNG")
        path = f"/api/projects/{project.slug}/images/{'a' * 64}.png"
        assert b"".join(program.client.get(path).streaming_content) == b"\x89PNG"
        assert Program(make_user()).client.get(path).status_code == 404
        assert Client().get(path).status_code == 401

    def test_the_key_is_documented_as_a_header(self, client):
        client.force_login(make_user())
        told = client.get("/api/openapi.json").json()["paths"]
        names = [one["name"] for one in told["/api/disagreements/{pk}/review"]["post"]["parameters"]]
        assert "Idempotency-Key" in names

    def test_every_operation_tells_how_it_refuses(self, client):
        client.force_login(make_user())
        paths = client.get("/api/openapi.json").json()["paths"].values()
        refusals = [operation["responses"]["4XX"] for operations in paths for operation in operations.values()]
        forms = [told["content"]["application/json"]["schema"] for told in refusals]
        assert all(form["required"] == ["detail"] for form in forms)

    def test_fields_at_fault_are_named_as_the_description_says(self, client, project):
        client.force_login(make_member(project))
        address = "/api/disagreements/{pk}/review"
        answer = client.post(address.format(pk=1), {"seconds": "long"}, "application/json")
        assert answer.status_code == 422
        assert [fault["loc"][-1] for fault in answer.json()["detail"]] == ["seconds"]
        told = client.get("/api/openapi.json").json()
        form = told["components"]["schemas"]["UnknownLabel"]["properties"]["detail"]
        assert {one["type"] for one in form["anyOf"]} == {"string", "array"}


class TestTheLockedTestSet:
    """Reviewers are measured on it, so they cannot look its labels up."""

    @pytest.fixture
    def known(self, project):
        return make_post(
            project,
            "known",
            "bullish",
            label_source="import",
            holdout=True,
            vote_count=2,
            incongruous=True,
            state="settled",
        )

    def told(self, program, project, query=""):
        return program.client.get(f"/api/projects/{project.slug}/posts?{query}").json()

    def test_the_api_tells_its_labels_to_leads_alone(self, project, program, known):
        (post,) = self.told(program, project)["posts"]
        assert (post["label"], post["label_source"], post["incongruous"], post["holdout"]) == (None, "", None, True)
        lead = Program(make_member(project, Role.LEAD))
        (post,) = self.told(lead, project)["posts"]
        assert (post["label"], post["label_source"], post["incongruous"]) == ("bullish", "import", True)

    def test_and_no_filter_tells_them(self, project, program, known):
        make_post(project, "open", "bullish")
        assert [post["text"] for post in self.told(program, project, "label=bullish")["posts"]] == ["open"]
        assert self.told(program, project, "source=import")["posts"] == []
        assert "test set" in self.told(program, project, "label=bullish&holdout=1")["detail"]
        lead = Program(make_member(project, Role.LEAD))
        assert len(self.told(lead, project, "label=bullish")["posts"]) == 2

    def test_nor_does_a_page(self, project, program, known, client):
        pages = [f"/p/{project.slug}/posts", f"/p/{project.slug}/posts/{known.pk}", f"/p/{project.slug}/posts?as=list"]
        chip = f'label-{known.label_id}">bullish'
        client.force_login(program.user)
        assert not any(chip in client.get(page).content.decode() for page in pages)
        own = client.get(pages[1]).content.decode()
        assert "was known" not in own
        assert "drawn as" not in own
        assert program.client.get(f"/api{pages[1].replace('/p/', '/projects/')}").json()["meta"] == {}
        client.force_login(make_member(project, Role.LEAD))
        assert all(chip in client.get(page).content.decode() for page in pages)

    def test_the_home_page_counts_what_its_links_show(self, project, program, known, client):
        client.force_login(program.user)
        assert sum(row.posts for row in client.get(f"/p/{project.slug}/").context["table"].rows) == 0
