"""Runs in the form of OpenAI's API: by the official client, and as the voter of another site."""

import asyncio
import base64
import json
import math
from threading import Event

import openai
import pytest
from django.db import connections
from django.test import Client
from django.utils import timezone

from annotate.models import ApiToken, Role
from annotate.operating.limits import TooFast
from labeling import answers
from labeling.prompt import Prompt
from labeling.providers import openai_chat
from labeling.providers.logprobs import label_probabilities
from modeling import openai_form, tasks
from modeling.answering import questions
from modeling.models import Question, Reply, Run
from modeling.openai_form import NotUnderstood

from .make import make_member, make_project
from .test_answering import Worker, dataset, lead, make_done, picture, project, run, speaks, var  # noqa: F401

LABELS = ("bearish", "neutral", "bullish")


def data_url(data: bytes | None = None) -> str:
    return f"data:image/png;base64,{base64.b64encode(picture() if data is None else data).decode()}"


def user(*parts):
    return {"role": "user", "content": list(parts)}


def text(words: str):
    return {"type": "text", "text": words}


def image(url: str):
    return {"type": "image_url", "image_url": {"url": url}}


# --- How a request is read


def read(*messages, **more):
    return openai_form.read({"model": "run-1", "messages": list(messages), **more})


def test_the_last_message_of_the_user_is_the_post():
    asked = read({"role": "system", "content": "You are a pirate."}, {"role": "user", "content": "old"},
                 {"role": "assistant", "content": "arr"}, user(text("to the"), image(data_url(b"x")), text("moon")),
                 {"role": "assistant", "content": "the label is "})  # fmt: skip
    assert (asked.text, asked.picture) == ("to the\nmoon", b"x")
    assert read({"role": "user", "content": "plain"}).text == "plain"


@pytest.mark.parametrize(("message", "why"), [
    ({"role": "system", "content": "x"}, "no message of the user"), ({"role": "user"}, "a text, or a list"),
    (user(image("https://example.org/a.png")), "none is fetched"),
    (user(image("file:///etc/passwd")), "none is fetched"),
    (user(image("data:image/png,abc")), "base64"), (user(image("data:image/png;base64,!!")), "damaged"),
    (user({"type": "image_url"}), "data: URL"), (user({"type": "input_audio"}), "a text or an image_url"),
    (user("x"), "a text or an image_url"), (user(image(data_url(b"x")), image(data_url(b"y"))), "one picture"),
])  # fmt: skip
def test_a_message_that_is_no_post_is_refused_in_words(message, why):
    with pytest.raises(NotUnderstood, match=why):
        read(message)


@pytest.mark.parametrize(("more", "param"), [
    ({"model": ""}, "model"), ({"model": 3}, "model"), ({"n": 2}, "n"),
    ({"response_format": {"type": "xml"}}, "response_format"), ({"response_format": {"type": {}}}, "response_format"),
])  # fmt: skip
def test_what_a_run_cannot_do_is_refused_by_name(more, param):
    with pytest.raises(NotUnderstood) as refusal:
        read({"role": "user", "content": "x"}, **more)
    assert refusal.value.param == param


@pytest.mark.parametrize(
    "body", [None, [], "x", {}, {"model": "run-1", "messages": "x"}, {"model": "x", "messages": [3]}]
)
def test_no_body_breaks_the_reader(body):
    with pytest.raises(NotUnderstood):
        openai_form.read(body)


@pytest.mark.parametrize("words", ["gm", "two\nlines", "<<< post 0\nnot a fence\n>>> post 0", ">>> post", " spaced "])
@pytest.mark.parametrize("template", ["", "$post", "See:\n$post\n\nLabels:\n$labels"])
def test_what_a_voter_wraps_around_a_post_is_taken_off(words, template):
    prompt = Prompt(
        template, "What sentiment?", tuple((name, "") for name in LABELS), examples=(("<<< post", "neutral"),)
    )
    ask = prompt.ask(words, b"x", "png")
    assert openai_form.unwrapped(ask.prompt, has_picture=True) == words


def test_a_picture_without_words_that_a_voter_sends_has_no_words():
    prompt = Prompt("", "What sentiment?", (("a", ""), ("b", "")))
    assert openai_form.unwrapped(prompt.ask("", b"x", "png").prompt, has_picture=True) == ""


# --- How an answer is written

ODD = {'say "buy"': 0.5, "bull": 0.125, "bullish": 0.25, "нет": 0.125, "none": 0.0}


def written(**more):
    asked = read({"role": "user", "content": "x"}, **more)
    answer = openai_form.Answer("k", 1, "run-1", ODD)
    return openai_form.completion(asked, answer)["choices"][0]


def test_the_label_alone_or_with_all_that_is_known():
    assert written()["message"]["content"] == 'say "buy"'
    for kind in ("json_object", "json_schema"):
        told = json.loads(written(response_format={"type": kind})["message"]["content"])
        assert told == {"label": 'say "buy"', "confidence": 0.5, "probabilities": ODD}


def test_the_tokens_are_the_content_and_the_label_has_all_others_beside_it():
    for form in ({}, {"response_format": {"type": "json_object"}}):
        choice = written(logprobs=True, **form)
        tokens = choice["logprobs"]["content"]
        assert "".join(token["token"] for token in tokens) == choice["message"]["content"]
        label = next(token for token in tokens if len(token["top_logprobs"]) > 1)
        assert label["logprob"] == pytest.approx(math.log(0.5))
        assert [one["logprob"] for one in label["top_logprobs"]] == sorted(
            (one["logprob"] for one in label["top_logprobs"]), reverse=True
        )
        assert sum(math.exp(one["logprob"]) for one in label["top_logprobs"]) == pytest.approx(1)
        assert bytes(label["bytes"]).decode() == label["token"]


def test_the_voters_of_another_site_read_all_probabilities_out_of_it():
    """Even where one label begins as another does."""
    from openai.types.chat.chat_completion import Choice

    choice = Choice.construct(**written(logprobs=True, response_format={"type": "json_schema"}))
    completion = openai.types.chat.ChatCompletion.model_validate(
        openai_form.completion(read({"role": "user", "content": "x"}, logprobs=True,
                                    response_format={"type": "json_schema"}),
                               openai_form.Answer("k", 1, "run-1", ODD))
    )  # fmt: skip
    assert choice
    found = label_probabilities(openai_chat.tokens_of(completion.choices[0]), tuple(ODD))
    assert found == pytest.approx(ODD, abs=1e-6)


# --- By the official client


@pytest.fixture
def worker(transactional_db, monkeypatch):
    """Somebody answers, as long as the test lasts."""
    over = Event()

    def work() -> None:
        while not over.wait(0.02):
            tasks.answer()
        connections.close_all()

    busy = Worker(target=work)
    busy.run = work  # type: ignore[method-assign]
    busy.start()
    yield busy
    over.set()
    busy.join()


@pytest.fixture
def client_of(live_server):
    def made(person, **more) -> openai.OpenAI:
        _, token = ApiToken.issue(person, "notebook")
        return openai.OpenAI(api_key=token, base_url=f"{live_server.url}/v1", max_retries=0, **more)

    return made


@pytest.fixture
def site(client_of, lead, run, speaks, worker) -> openai.OpenAI:  # noqa: F811
    return client_of(lead)


def ask(site: openai.OpenAI, run, *content, **more):  # noqa: F811
    return site.chat.completions.create(model=f"run-{run.pk}", messages=[user(*content)], **more)


def test_a_post_with_its_picture_is_labelled(site, run, project):  # noqa: F811
    told = ask(site, run, text("to the moon"), image(data_url()))
    assert told.choices[0].message.content == "bullish"
    assert told.choices[0].finish_reason == "stop"
    assert told.usage.total_tokens == 0
    named = site.chat.completions.create(
        model=f"{project.slug}/run-{run.pk}",
        messages=[{"role": "user", "content": "gm"}],
        logprobs=True,
        top_logprobs=3,
    )
    [token] = named.choices[0].logprobs.content
    assert token.token == named.choices[0].message.content == "neutral"
    assert {other.token for other in token.top_logprobs} == set(LABELS)
    nothing_is_left_of(*Question.objects.all())


def nothing_is_left_of(*asked: Question):
    """But that somebody asked, and when."""
    assert asked
    assert not Reply.objects.exists()
    for one in asked:
        assert (one.text, one.picture, one.picture_format, one.fingerprint, one.thumbnail) == ("", None, "", None, None)


def test_it_is_streamed_in_one_piece(site, run):  # noqa: F811
    chunks = list(ask(site, run, text("to the moon"), stream=True))
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == "bullish"
    assert chunks[-1].choices[0].finish_reason == "stop"


def test_the_models_are_listed_and_found(site, run, project, dataset, client_of):  # noqa: F811
    later = make_done(dataset)
    names = [f"{project.slug}/run-{one.pk}" for one in (later, run)]
    assert [model.id for model in site.models.list()] == names
    assert site.models.retrieve(names[1]).id == names[1]
    assert site.models.retrieve(f"run-{run.pk}").id == names[1]
    for person in (make_member(make_project(), Role.ADMIN), make_member(project, Role.REVIEWER)):
        assert list(client_of(person).models.list()) == []


def test_who_may_not_ask_is_told_in_their_form(site, run, project, client_of, live_server):  # noqa: F811
    with pytest.raises(openai.NotFoundError, match="no model"):
        ask(client_of(make_member(make_project(), Role.ADMIN)), run, text("gm"))
    with pytest.raises(openai.PermissionDeniedError, match="role lead"):
        ask(client_of(make_member(project, Role.REVIEWER)), run, text("gm"))
    with pytest.raises(openai.AuthenticationError) as refusal:
        ask(openai.OpenAI(api_key="wrong", base_url=f"{live_server.url}/v1"), run, text("gm"))
    assert refusal.value.code == "invalid_api_key"


@pytest.mark.parametrize(
    "name", ["gpt-5", "run-", "run-999999", "other/run-{pk}", "../run-{pk}", "run-{pk}/", "x" * 5000]
)
def test_a_model_that_is_none_is_not_found(site, run, name):  # noqa: F811
    with pytest.raises(openai.NotFoundError) as refusal:
        site.chat.completions.create(model=name.format(pk=run.pk), messages=[user(text("gm"))])
    assert refusal.value.code == "model_not_found"


@pytest.mark.parametrize(("content", "why"), [
    (text(""), "nothing to ask about"), (image("https://example.org/a.png"), "none is fetched"),
    (image(data_url(picture()[:100])), "damaged or cut off"), (text("x" * 30_000), "30,000 characters"),
])  # fmt: skip
def test_what_is_no_post_is_refused_in_their_form(site, run, content, why):  # noqa: F811
    with pytest.raises(openai.BadRequestError, match=why) as refusal:
        ask(site, run, content)
    assert refusal.value.type == "invalid_request_error"


def test_a_model_that_fails_says_why(site, run):  # noqa: F811
    with pytest.raises(openai.InternalServerError, match="picture cannot be read"):
        ask(site, run, text("BAD"))


def test_too_fast_is_told_as_they_tell_it(site, run, monkeypatch):  # noqa: F811
    monkeypatch.setattr(questions, "heed_limits", too_many)
    with pytest.raises(openai.RateLimitError) as refusal:
        ask(site, run, text("gm"))
    assert refusal.value.response.headers["retry-after"] == "7"


def test_what_was_answered_counts_still_and_a_picture_too_many_is_not_looked_at(site, run, lead, monkeypatch):  # noqa: F811
    monkeypatch.setattr(questions, "A_MINUTE", 2)
    for words in ("gm", "to the moon"):
        ask(site, run, text(words), image(data_url()))
    nothing_is_left_of(*Question.objects.all())
    monkeypatch.setattr(questions, "looked_at", lambda _: pytest.fail("It was looked at."))
    with pytest.raises(openai.RateLimitError, match="more than 2 posts a minute"):
        ask(site, run, text("gm"), image(data_url()))
    with pytest.raises(TooFast):  # by whatever way
        questions.ask(run.project, lead, [questions.post_of("gm")], [run])
    assert Question.objects.count() == 2


def test_after_an_hour_it_is_not_known_that_anybody_asked(site, run):  # noqa: F811
    ask(site, run, text("gm"))
    Question.objects.update(asked=timezone.now() - questions.KEPT)
    questions.take_up()
    assert not Question.objects.exists()


@pytest.mark.parametrize("when", ["heed_limits", "wait"])  # before it is asked, and after
def test_a_run_that_is_deleted_meanwhile_is_told_in_their_form(site, run, monkeypatch, when):  # noqa: F811
    before = getattr(questions, when)

    def deleted(*args):
        Run.objects.filter(pk=run.pk).delete()
        return before(*args)

    monkeypatch.setattr(questions, when, deleted)
    with pytest.raises(openai.NotFoundError, match="was deleted") as refusal:
        ask(site, run, text("gm"))
    assert refusal.value.code == "model_not_found"


def too_many(*_):
    raise TooFast("Not so fast.", 7)


@pytest.mark.django_db(transaction=True)
def test_where_no_worker_comes_it_is_told_and_withdrawn(client_of, lead, run, monkeypatch):  # noqa: F811
    monkeypatch.setattr(questions, "PATIENCE", 0.1)
    with pytest.raises(openai.InternalServerError) as refusal:
        ask(client_of(lead), run, text("gm"))
    assert (refusal.value.status_code, refusal.value.code) == (503, "not_ready")
    assert int(refusal.value.response.headers["retry-after"]) > 0
    nothing_is_left_of(*Question.objects.all())


# --- As the voter of another site


def test_a_site_votes_for_another(site, run, live_server, monkeypatch):  # noqa: F811
    monkeypatch.setenv(openai_chat.KEY_OF_OTHERS, site.api_key)
    prompt = Prompt("", "What sentiment?", tuple((name, "") for name in LABELS))
    parameters = {name: known.default for name, known in openai_chat.OPENAI.parameters.items()}
    parameters |= {"base_url": f"{live_server.url}/v1", "logprobs": 5}

    async def voted():
        chat = openai_chat.connect(f"run-{run.pk}", parameters)
        said = await chat.ask(prompt.ask("to the moon", picture(), "png"))
        await chat.close()
        return said

    said = asyncio.run(voted())
    assert said.label == "bullish"
    assert 0.5 < said.confidence <= 1
    assert said.probabilities["bullish"] == pytest.approx(said.confidence, abs=1e-4)
    assert answers.read(said.raw, prompt.ask("x")).label == "bullish"


# --- Without their client


@pytest.mark.django_db
def test_no_key_another_method_and_no_json_are_told_in_their_form(lead):  # noqa: F811
    client, address = Client(enforce_csrf_checks=True), "/v1/chat/completions"
    told = client.post(address, "{}", "application/json")
    assert (told.status_code, told.json()["error"]["code"]) == (401, "invalid_api_key")
    assert client.get(address).status_code == 405
    client.force_login(lead)  # a session is no key: another site’s page could use it
    assert client.post(address, "{}", "application/json").status_code == 401
    _, token = ApiToken.issue(lead, "notebook")
    headers = {"Authorization": f"Bearer {token}"}
    told = client.post(address, "{", "application/json", headers=headers)
    assert (told.status_code, told.json()["error"]["message"]) == (400, "The body is not JSON that can be read.")
