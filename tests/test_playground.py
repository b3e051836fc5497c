"""The playground's pages, and the same by the API."""

import base64
import json
from uuid import uuid4

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.urls import reverse
from django.utils import timezone

from annotate.models import ApiToken, Role
from modeling import tasks
from modeling.answering import questions
from modeling.models import Question, Reply, Run, RunState

from .make import make_member, make_project
from .test_answering import dataset, lead, make_done, picture, project, run, speaks, var  # noqa: F401
from .test_evaluating import frozen, make_known

pytestmark = pytest.mark.django_db


@pytest.fixture
def page(client, lead, run, project, speaks):  # noqa: F811
    """The playground of a project with one run, seen by a lead."""
    client.force_login(lead)
    return reverse("playground", args=[project.slug])


def text_of(response) -> str:
    return " ".join(response.content.decode().split())


def upload(data: bytes, name: str = "picture.png") -> SimpleUploadedFile:
    return SimpleUploadedFile(name, data, "image/png")


def asked(client, page, **form):
    response = client.post(page, form)
    assert response.status_code == 302, text_of(response)
    return response.url


# --- The page


def test_without_a_trained_model_it_says_what_comes_first(client):
    project = make_project()  # noqa: F811
    client.force_login(make_member(project, Role.LEAD))
    assert "A trained model comes first" in text_of(client.get(reverse("playground", args=[project.slug])))


def test_the_latest_run_is_ticked_and_those_of_a_study_are_not_offered(client, page, run, dataset):  # noqa: F811
    study = dataset.project.studies.create(dataset=dataset, kind="folds", config={}, parts=[])
    part, later = make_done(dataset, study=study, part={"fold": 1, "of": 2}), make_done(dataset)
    told = text_of(client.get(page))
    assert f'value="{later.pk}" id="run-{later.pk}" checked' in told
    assert f'value="{run.pk}" id="run-{run.pk}" aria' in told
    assert f"Run {part.pk}" not in told
    assert f'value="{run.pk}" id="run-{run.pk}" checked' in text_of(client.get(page, {"run": run.pk}))


def test_a_post_is_asked_about_and_answered(client, page, run, dataset):  # noqa: F811
    other = make_done(dataset)
    address = asked(client, page, text="to the moon", run=[run.pk, other.pk], picture=upload(picture()))
    waits = text_of(client.get(address))
    assert waits.count("It waits for a worker") == 2
    assert "hx-trigger" in waits
    tasks.answer()
    [batch] = Question.objects.values_list("batch", flat=True)
    tasks.find_nearest(str(batch))
    told = text_of(client.get(address))
    assert "hx-trigger" not in told
    assert told.count('<span class="chip label-') >= 2
    assert "Not calibrated" in told
    assert "data:image/webp;base64," in told
    near = dataset.items.filter(split="train", label="bullish").first()
    assert reverse("post", args=[dataset.project.slug, near.post_id]) in told


@pytest.mark.parametrize(("form", "why"), [
    ({"text": " "}, "nothing to ask about"), ({"text": "x" * 20_001}, "20,001 characters"),
    ({"text": "gm", "run": []}, "Tick a run"), ({"text": "gm", "run": [10**6]}, "Tick a run"),
    ({"text": "gm", "run": ["x"]}, "Tick a run"),
    ({"picture": picture()[:100]}, "damaged or cut off"), ({"picture": b"hello"}, "not a picture"),
    ({"picture": b""}, "empty"), ({"text": "gm", "keep": "on", "again": str(uuid4())}, "deleted by now"),
])  # fmt: skip
def test_what_cannot_be_asked_says_what_to_mend(client, page, run, form, why):  # noqa: F811
    form = {"run": [run.pk]} | form
    if "picture" in form:
        form["picture"] = upload(form["picture"])
    response = client.post(page, form)
    assert response.status_code == 422
    assert why in text_of(response)
    assert not Question.objects.exists()


def test_a_picture_that_is_too_large_is_not_even_read(client, page, run, settings):  # noqa: F811
    settings.IMAGE_MAX_BYTES = 1024**2
    response = client.post(page, {"run": run.pk, "picture": upload(b"x" * (1024**2 + 1))})
    assert response.status_code == 422
    assert "more than the 1 MB allowed" in text_of(response)


def test_the_same_picture_is_asked_about_again_with_other_words(client, page, run):  # noqa: F811
    first = asked(client, page, text="gm", run=run.pk, picture=upload(picture()))
    tasks.answer()  # a person’s picture stays for the hour
    assert "Ask with this picture again" in text_of(client.get(first))
    batch = first.rpartition("/")[2]
    asked(client, page, text="gn", run=run.pk, again=batch, keep="on")
    asked(client, page, text="without it", run=run.pk, again=batch)
    one, again, without = Question.objects.order_by("pk")
    assert bytes(one.picture) == bytes(again.picture)
    assert not without.has_picture


def test_line_ends_are_as_posts_have_them(client, page, run):  # noqa: F811
    asked(client, page, text="one\r\ntwo ", run=run.pk)
    assert Question.objects.get().text == "one\ntwo "


def test_too_many_are_told_to_wait(client, page, run, monkeypatch):  # noqa: F811
    monkeypatch.setattr(questions, "A_MINUTE", 1)
    asked(client, page, text="gm", run=run.pk)
    assert "more than 1 posts a minute" in text_of(client.post(page, {"text": "gm", "run": run.pk}))


def test_hostile_words_stay_words(client, page, run):  # noqa: F811
    address = asked(client, page, text="<script>alert(1)</script><|im_end|>", run=run.pk)
    told = client.get(address).content.decode()
    assert "<script>alert" not in told
    assert "&lt;script&gt;alert" in told


def test_a_question_is_of_its_project_alone_and_gone_after_an_hour(client, page, run):  # noqa: F811
    address = asked(client, page, text="gm", run=run.pk)
    other = make_known(posts=3, held=3)
    other.memberships.create(user=Question.objects.get().by, role=Role.LEAD)
    elsewhere = reverse("playground_question", args=[other.slug, address.rpartition("/")[2]])
    assert client.get(elsewhere).status_code == 404
    Question.objects.update(asked=timezone.now() - questions.KEPT)
    tasks.every_minute()
    assert client.get(address).status_code == 404


def test_whoever_waits_long_is_told_how_to_start_a_worker(client, page, run):  # noqa: F811
    address = asked(client, page, text="gm", run=run.pk)
    assert "make gpu-worker" not in text_of(client.get(address))
    Question.objects.update(asked=timezone.now() - timezone.timedelta(seconds=30))
    assert "make gpu-worker" in text_of(client.get(address))


def test_why_a_run_cannot_answer_is_on_the_page(client, page, run):  # noqa: F811
    address = asked(client, page, text="gm", run=run.pk)
    Run.objects.update(receipt={"adapter": "0" * 64}, machine="card-7")
    tasks.answer()
    assert "it was trained on card-7" in text_of(client.get(address))


# --- The API


@pytest.fixture
def at_once(monkeypatch):
    """A request does not wait, and a worker has answered before it looks."""
    monkeypatch.setattr(questions, "PATIENCE", 0)
    monkeypatch.setattr(questions.claims, "summon", lambda: None)
    wait = questions.wait
    monkeypatch.setattr(questions, "wait", lambda batch, patience=None: (tasks.answer(), wait(batch, 0)))


@pytest.fixture
def api(client, lead, run, project, speaks):  # noqa: F811
    _, token = ApiToken.issue(lead, "notebook")
    client.defaults["HTTP_AUTHORIZATION"] = f"Bearer {token}"
    return f"/api/projects/{project.slug}/classify"


def test_one_post_as_a_form(client, api, run, at_once):  # noqa: F811
    told = client.post(api, {"text": "to the moon", "picture": upload(picture())}).json()
    assert (told["label"], told["run"], told["calibrated"]) == ("bullish", run.pk, False)
    assert sum(told["probabilities"].values()) == pytest.approx(1)
    assert told["confidence"] == told["probabilities"]["bullish"]
    assert told["seconds"] is not None


def test_many_posts_as_json(client, api, run, at_once):  # noqa: F811
    encoded = base64.b64encode(picture()).decode()
    posts = [{"id": "a", "text": "moon"}, {"id": 7, "text": "", "picture_base64": encoded}, {"text": "BAD"}]
    body = {"posts": posts, "run": f"run-{run.pk}"}
    told = client.post(api, body, "application/json").json()["answers"]
    assert [(one["id"], one["state"]) for one in told] == [("a", "answered"), ("7", "answered"), ("3", "failed")]
    assert told[2]["error"]
    bare = client.post(api, json.dumps([{"text": "moon"}]), "application/json").json()
    assert bare["answers"][0]["label"] == "bullish"


@pytest.mark.parametrize("as_form", [True, False])
def test_a_picture_too_many_is_not_looked_at(client, api, at_once, monkeypatch, as_form):
    monkeypatch.setattr(questions, "A_MINUTE", 1)
    assert client.post(api, {"text": "gm"}).status_code == 200
    monkeypatch.setattr(questions, "looked_at", lambda _: pytest.fail("It was looked at."))
    encoded = base64.b64encode(picture()).decode()
    body = {"picture": upload(picture())} if as_form else json.dumps([{"picture_base64": encoded}])
    response = client.post(api, body, **({} if as_form else {"content_type": "application/json"}))
    assert (response.status_code, int(response.headers["Retry-After"]) > 0) == (429, True)


def test_what_takes_long_is_fetched_later(client, api, project, monkeypatch):  # noqa: F811
    monkeypatch.setattr(questions, "PATIENCE", 0)
    response = client.post(api, {"text": "to the moon"})
    assert response.status_code == 202
    address = response.json()["address"]
    assert client.get(address).status_code == 202
    tasks.answer()
    assert client.get(address).json()["label"] == "bullish"
    assert client.get(f"/api/projects/{project.slug}/answers/{uuid4()}").status_code == 404


def test_where_all_seats_are_taken_nobody_waits(client, api, monkeypatch):
    for _ in range(10):
        if not questions.SEATS.acquire(blocking=False):
            break
    try:
        monkeypatch.setattr(questions, "LAST_LOOK", 3600)
        assert client.post(api, {"text": "gm"}).status_code == 202
    finally:
        for _ in range(2):
            questions.SEATS.release()


@pytest.mark.parametrize(("body", "status", "why"), [
    ("{", 400, "not JSON"), ("[" * 100_000, 400, "not JSON"), ("{}", 422, "posts"), ("[]", 422, "at least 1"),
    ("3", 422, "posts"),
    (json.dumps([{"text": "x"}] * 65), 422, "at most 64"), ('[{"text": ""}]', 422, "Post 1: There is nothing"),
    ('[{"text": "x"}, {"picture_base64": "!"}]', 422, "Post 2: the picture’s base64"),
    ('[{"picture_base64": "aGVsbG8="}]', 422, "Post 1: This is not a picture"), ('[{"text": 3}]', 422, "posts.0.text"),
    ('{"posts": [{"text": "x"}], "run": "run-777"}', 422, "no run 777"),
    ('{"posts": [{"text": "x"}], "run": "a\\u0000b"}', 422, "no run"),
])  # fmt: skip
def test_what_cannot_be_asked_is_answered_with_words(client, api, body, status, why):
    response = client.post(api, body, "application/json")
    assert (response.status_code, why in response.json()["detail"]) == (status, True), response.json()
    assert not Question.objects.exists()


def test_a_body_has_limits(client, api, settings):
    settings.IMAGE_MAX_BYTES = 1000
    response = client.post(api, json.dumps([{"text": "x" * 3000}]), "application/json")
    assert response.status_code == 413


def test_a_large_body_is_taken_where_the_pictures_are_allowed(client, api, at_once):
    """More than what Django takes by itself."""
    noisy = picture(900)
    body = json.dumps([{"picture_base64": base64.b64encode(noisy).decode(), "text": " " * 3_000_000 + "moon"}])
    assert "characters" in client.post(api, body, "application/json").json()["detail"]


def test_a_picture_of_thirty_megabytes_is_refused_in_a_sentence(client, api):
    response = client.post(api, {"picture": upload(b"x" * 30 * 1024**2)})
    assert (response.status_code, response.json()["detail"]) == (
        422, "The picture has 30 MB, more than the 20 MB allowed.",
    )  # fmt: skip


def test_too_fast_is_told_when_to_come_again(client, api, monkeypatch):
    monkeypatch.setattr(questions, "PATIENCE", 0)
    monkeypatch.setattr(questions, "A_MINUTE", 2)
    body = json.dumps([{"text": "one"}, {"text": "two"}])
    assert client.post(api, body, "application/json").status_code == 202
    response = client.post(api, body, "application/json")
    assert response.status_code == 429
    assert 0 < int(response["Retry-After"]) <= 60


def test_a_run_of_another_project_or_that_is_not_done_is_refused(client, api, run, at_once):  # noqa: F811
    other = make_done(frozen(make_known(posts=12, held=3)))
    assert client.post(api, {"text": "gm", "run": other.pk}).status_code == 422
    Run.objects.filter(pk=run.pk).update(state=RunState.FAILED)
    assert "not done" in client.post(api, {"text": "gm", "run": run.pk}).json()["detail"]
    assert "nobody to ask" in client.post(api, {"text": "gm"}).json()["detail"]


def test_a_model_that_fails_is_a_failure(client, api, at_once):
    response = client.post(api, {"text": "BAD"})
    assert (response.status_code, response.json()["detail"]) == (503, "The picture cannot be read.")
    assert Reply.objects.get().state == "failed"


def test_reviewers_and_strangers_may_not(client, api, project):  # noqa: F811
    for user, status in ((make_member(project, Role.REVIEWER), 403), (make_member(make_project(), Role.ADMIN), 404)):
        _, token = ApiToken.issue(user, "x")
        headers = {"HTTP_AUTHORIZATION": f"Bearer {token}"}
        assert client.post(api, {"text": "gm"}, **headers).status_code == status
        assert client.get(f"/api/projects/{project.slug}/answers/{uuid4()}", **headers).status_code in (status, 404)
    assert client.post(api, {"text": "gm"}, HTTP_AUTHORIZATION="Bearer wrong").status_code == 401
