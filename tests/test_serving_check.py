"""Whether what is served answers as the run did: read, compared, and asked of a server that really holds the model."""

import json
import math
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from django.core.management import CommandError, call_command
from PIL import Image as Picture

from annotate.models import Role, Vote, Voter
from labeling import answers as answers_room
from labeling.models import VotingRun
from labeling.providers.contract import Ask
from modeling.chat import Chat
from modeling.evaluation.predictors import Predictor
from modeling.models import Dataset, Evaluation, JobState, Prediction, Run, RunState, ServedCheck, Serving
from modeling.serving import asking, at_work, checking, likeness, writing
from modeling.serving.asking import Post, Server, Silent
from modeling.serving.likeness import After, Before
from modeling.serving.question import Words
from modeling.serving.reading import Read, Token, read
from modeling.training import runner, training_presets

from .make import make_member, make_user
from .run_folders import environment
from .test_evaluating import evaluate, frozen, make_known, trained
from .test_evaluating import var as var
from .test_run_pages import logged_in, make_run, words_of
from .test_serving import TOLD

LABELS = ("bearish", "bull", "bullish")


# --- Read


def token(text: str, chance: float, **others: float) -> Token:
    return Token(text.encode(), math.log(chance), tuple((k.encode(), math.log(p)) for k, p in others.items()))


@pytest.mark.parametrize(("content", "label"), [
    ("bullish", "bullish"), (" Bullish\n", "bullish"), ("**bull**.", "bull"), ("“bearish”", "bearish"),
    ("<think>bearish?</think>\nbullish", "bullish"), ("bullish\nReason: moon", "bullish"),
    ("", ""), ("to the moon", ""), ("slightly bullish", ""), ("bearish or bullish", ""),
])  # fmt: skip
def test_a_label_is_read_from_what_was_written(content, label):
    assert read(content, [], LABELS) == Read(label)


def test_probabilities_are_summed_over_the_tokens_of_a_label():
    tokens = [token("bu", 0.7, be=0.25, bu=0.7, x=0.05), token("ll", 1.0, ll=1.0), token("ish", 0.6, ish=0.6, END=0.4),
              token("", 1.0)]  # fmt: skip
    told = read(
        "bullish",
        [*tokens[:2], Token(b"ish", math.log(0.6), ((b"ish", math.log(0.6)), (b"<|im_end|>", math.log(0.4))))],
        LABELS,
    )
    assert told.chances is not None
    total = 0.25 + 0.7
    assert told.chances["bearish"] == pytest.approx(0.25 / total)
    assert told.chances["bull"] == pytest.approx(0.28 / total)
    assert told.chances["bullish"] == pytest.approx(0.42 / total)
    assert told.own == pytest.approx(0.42)


def test_a_label_that_is_the_beginning_of_another_ends_where_it_ends():
    tokens = [token("bull", 0.9, bull=0.9, be=0.1), token("<|im_end|>", 0.8, **{"<|im_end|>": 0.8, "ish": 0.2})]
    told = read("bull", tokens, LABELS)
    assert told.chances == pytest.approx({"bearish": 0.1, "bull": 0.72, "bullish": 0.18})


def test_only_the_written_label_is_known_where_a_server_tells_no_others():
    told = read("bearish", [token("bear", 0.5), token("ish", 0.8)], LABELS)
    assert (told.label, told.chances, told.own) == ("bearish", None, pytest.approx(0.4))


def test_what_could_have_become_one_label_or_another_is_not_shared_out():
    assert read("bearish", [token("bearish", 0.6, b=0.3, bearish=0.6)], LABELS).chances is None
    assert read("bearish", [token("bearish", 0.6, b=0.001, bearish=0.6)], LABELS).chances is not None


def test_a_token_may_be_half_of_a_letter():
    whole = "été".encode()
    tokens = [
        Token(whole[:1], 0.0, ((b"n", -9.0), (whole[:1], 0.0))),
        Token(whole[1:], math.log(0.5), ((whole[1:], math.log(0.5)),)),
    ]
    told = read("été", tokens, ("été", "neutre"))
    assert told.own == pytest.approx(0.5)
    assert told.chances is not None
    assert told.chances["été"] > 0.99


# --- Asked in its own words


def test_the_question_is_the_one_of_training_whatever_the_post_says():
    words = Words("What?", signs=("<|im_end|>", "<image>"))
    told = words.messages("<|im_end|> <image> moon", "data:x")
    assert told[0] == {"role": "system", "content": [{"type": "text", "text": "What?"}]}
    assert [part["type"] for part in told[1]["content"]] == ["image_url", "text"]
    assert told[1]["content"][1]["text"] == "<\u2060|im_end|> <\u2060image> moon"
    one = Words("What?", takes_system=False).messages("moon")
    assert one == [{"role": "user", "content": [{"type": "text", "text": "What?\n\nmoon"}]}]
    assert Words("", takes_system=False).messages("moon")[0]["content"][0]["text"] == "moon"


def test_a_picture_is_sent_as_training_saw_it():
    def sent(picture: Picture.Image, format: str) -> str:
        import io

        file = io.BytesIO()
        picture.save(file, format)
        return asking.data_url(Post(1, "", file.getvalue(), format.lower()))

    assert sent(Picture.new("RGB", (9, 9), "red"), "JPEG").startswith("data:image/jpeg;base64,")
    assert sent(Picture.new("RGBA", (9, 9), (255, 0, 0, 0)), "PNG").startswith("data:image/png;base64,")
    flat = Picture.new("RGBA", (9, 9), (255, 0, 0, 0)).convert("RGB")
    assert sent(Picture.new("RGBA", (9, 9), (255, 0, 0, 0)), "PNG") == sent(flat, "PNG")


# --- Compared


def before(scores: list[list[float]]) -> Before:
    found = np.log(np.array(scores))
    n = len(scores)
    truth = np.zeros(n, dtype=np.int64)
    return Before(("a", "b"), [f"p{k}" for k in range(n)], truth, found.argmax(1), np.arange(n), found)


def test_the_same_answers_agree_and_each_difference_is_told():
    was = before([[0.9, 0.1], [0.8, 0.2], [0.3, 0.7]])
    same = {f"p{k}": After("ab"[k == 2], {"a": a, "b": 1 - a}) for k, a in enumerate((0.9, 0.8, 0.3))}
    told = likeness.figures(was, same, likeness.EXACT)
    assert (told["agrees"], told["same"], told["n"], told["known"]) == (True, 3, 3, 3)
    assert told["largest"] == pytest.approx(0, abs=1e-9)
    assert told["low"] < 0.5 < told["high"] == 1.0
    other = likeness.figures(was, same | {"p2": After("a", {"a": 0.9, "b": 0.1})}, likeness.EXACT)
    assert (other["agrees"], other["same"]) == (False, 2)
    assert other["differ"] == [{
        "id": "p2", "before": "b", "after": "a", "truth": "a", "content": "", "refused": "", "sure_before": 0.7,
        "sure_after": 0.9,
    }]  # fmt: skip
    assert other["furthest"]["id"] == "p2"
    assert other["largest"] == pytest.approx(0.6)


def test_the_same_labels_with_other_probabilities_do_not_agree():
    was = before([[0.9, 0.1]] * 30)
    after = {f"p{k}": After("a", {"a": 0.6, "b": 0.4}) for k in range(30)}
    assert not likeness.figures(was, after, likeness.ROUNDED)["agrees"]
    assert likeness.figures(was, {f"p{k}": After("a") for k in range(30)}, likeness.EXACT)["agrees"]


def test_what_is_refused_or_no_label_counts_as_another_answer():
    was = before([[0.9, 0.1]] * 3)
    told = likeness.figures(
        was,
        {"p0": After("a"), "p1": After("", content="moon"), "p2": After("", refused="400: too long")},
        likeness.ROUNDED,
    )
    assert (told["same"], told["no_label"], told["refused"], told["why_refused"]) == (1, 1, 1, "400: too long")
    assert not told["agrees"]


def test_where_only_the_written_label_is_known_it_is_compared_as_a_whole():
    told = likeness.figures(before([[0.5, 0.1]]), {"p0": After("a", None, 0.45)}, likeness.EXACT)
    assert (told["own_alone"], told["largest"]) == (1, pytest.approx(0.05))


# --- Servers of every kind


class Waiting(ThreadingHTTPServer):
    request_queue_size = 64  # as many knock at once


@contextmanager
def serving_by(answer: Any) -> Iterator[str]:
    """`answer` gets what was posted, and gives a status, a body and headers."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.reply(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))

        def do_GET(self) -> None:
            self.reply(None)

        def reply(self, asked: Any) -> None:
            status, body, headers = answer(asked)
            data = body if isinstance(body, bytes) else json.dumps(body).encode()
            self.send_response(status)
            for name, value in {"Content-Type": "application/json", **headers}.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *_: Any) -> None:
            pass

    server = Waiting(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/v1"
    finally:
        server.shutdown()
        server.server_close()


def completion(content: Any, logprobs: Any = None) -> dict[str, Any]:
    choice = {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": content},
              "logprobs": logprobs}  # fmt: skip
    return {"id": "x", "object": "chat.completion", "created": 1, "model": "m", "choices": [choice]}


def said_by(answer: Any, posts: int = 3) -> list[asking.Said]:
    with serving_by(answer) as url:
        server = Server(url, "m", Words("What?"), LABELS)
        return [one for window in server.answers(Post(n, f"post {n}") for n in range(posts)) for one in window]


MODELS = {"object": "list", "data": [{"id": "run-7", "object": "model", "created": 1, "owned_by": "x"}]}


@pytest.fixture
def hasty(monkeypatch):
    monkeypatch.setattr(asking, "RETRIES", 0)


def test_every_post_is_asked_once_with_a_limit_on_how_many_at_a_time(hasty):
    lock, at_once, most, seen = threading.Lock(), [0], [0], []

    def answer(asked: Any) -> Any:
        with lock:
            at_once[0] += 1
            most[0] = max(most[0], at_once[0])
            seen.append(asked["messages"][1]["content"][0]["text"])
        time.sleep(0.01)
        with lock:
            at_once[0] -= 1
        return 200, completion("bullish"), {}

    said = said_by(answer, 150)
    assert [one.position for one in said] == list(range(150))
    assert sorted(seen) == sorted(f"post {n}" for n in range(150))
    assert 1 < most[0] <= asking.AT_ONCE
    assert {one.read.label for one in said} == {"bullish"}


def test_a_server_that_gives_no_probabilities_is_asked_without(hasty):
    def answer(asked: Any) -> Any:
        if asked.get("logprobs"):
            return 400, {"error": {"message": "logprobs is not supported"}}, {}
        return 200, completion("bullish"), {}

    assert [one.read for one in said_by(answer)] == [Read("bullish")] * 3


def test_a_post_that_is_refused_is_noted_and_the_others_are_asked(hasty):
    def answer(asked: Any) -> Any:
        if "post 1" in json.dumps(asked):
            return 400, {"error": {"message": "This model's maximum context length is 12 tokens"}}, {}
        return 200, completion("bull"), {}

    said = said_by(answer)
    assert [bool(one.refused) for one in said] == [False, True, False]
    assert "maximum context length" in said[1].refused


@pytest.mark.parametrize(("answer", "why"), [
    (lambda _: (200, b"<html>hello</html>", {"Content-Type": "text/html"}), "does not speak chat completions"),
    (lambda _: (200, {"error": "no"}, {}), "does not speak chat completions"),
    (lambda _: (200, b"{", {}), "does not speak chat completions"),
    (lambda _: (200, completion(None), {}), "does not speak chat completions"),
    (lambda _: (401, {"error": {"message": "key"}}, {}), "COMPATIBLE_API_KEY"),
    (lambda _: (302, b"", {"Location": "http://169.254.169.254/"}), "sends us elsewhere"),
    (lambda _: (500, {"error": {"message": "CUDA out of memory"}}, {}), "CUDA out of memory"),
    (lambda asked: (200, MODELS, {}) if asked is None else (404, {"error": {"message": "no"}}, {}),
     "knows no model “m”; there are: run-7"),
])  # fmt: skip
def test_what_is_no_such_server_is_told_in_words(hasty, answer, why):
    with pytest.raises(Silent, match=why):
        said_by(answer)


def test_a_server_that_hangs_is_told(hasty, monkeypatch):
    monkeypatch.setattr(asking, "TIMEOUT", 0.2)
    over = threading.Event()
    try:
        with pytest.raises(Silent, match="does not answer"):
            said_by(lambda _: (over.wait(60), (200, completion("bull"), {}))[1])
    finally:
        over.set()


def test_a_server_that_is_not_there_is_told(hasty):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with pytest.raises(Silent, match="Nothing that could be asked answers"):
        list(Server(f"http://127.0.0.1:{port}/v1", "m", Words("What?"), LABELS).answers([Post(1, "x")]))


# --- A check


@pytest.fixture
def dataset(db, var):
    return frozen(make_known(posts=30, held=6))


@pytest.fixture
def serving(dataset):
    run = make_run(dataset, RunState.DONE, receipt={"adapter": "a" * 64}, config={"method": "full"})
    return Serving.objects.create(project=dataset.project, run=run, form="merged", state=JobState.DONE, told=TOLD)


@pytest.fixture
def evaluated(serving):
    return as_if_evaluated(serving)


def as_if_evaluated(serving: Serving) -> Evaluation:
    """The run itself, as if it had been asked: right about every post."""
    dataset, predictor = serving.run.dataset, Predictor("run", run=serving.run_id).as_json()
    from modeling.evaluation import asked

    made = Evaluation.objects.create(
        project=serving.project, dataset=dataset, split="holdout", predictor=predictor, name="Run", run=serving.run,
        key=Evaluation.key_of(predictor, "both"), state="done",
    )  # fmt: skip
    made.test_hash = asked.hash_of(asked.measured_items(made))
    made.save()
    names = [label["name"] for label in dataset.facts["labels"]]
    Prediction.objects.bulk_create(
        Prediction(evaluation=made, item=item, label=item.label,
                   scores=[math.log(0.8 if name == item.label else 0.1) for name in names])
        for item in dataset.items.filter(split="holdout")
    )  # fmt: skip
    return made


def rightly(asked: Any) -> Any:
    """By the words that the posts of `make_known` hold."""
    text = asked["messages"][-1]["content"][-1]["text"]
    label = {"rug": "bearish", "fees": "neutral", "moon": "bullish"}[text.split()[0]]
    others = [{"token": name, "logprob": math.log(0.8 if name == label else 0.1), "bytes": None}
              for name in ("bearish", "neutral", "bullish")]  # fmt: skip
    return 200, completion(label, {"content": [others[0] | {"token": label, "logprob": math.log(0.8),
                                                           "top_logprobs": others}]}), {}  # fmt: skip


def check(serving: Serving, url: str, **given: Any) -> ServedCheck:
    made = checking.ask(serving, None, "server", "holdout", url, queue=False, **given)
    assert checking.carry_out(made)
    return made


def test_a_server_that_answers_as_the_run_did_agrees(evaluated, serving):
    with serving_by(rightly) as url:
        made = check(serving, url)
    assert made.state == JobState.DONE, made.error
    assert (made.told["agrees"], made.told["same"], made.told["known"]) == (True, 6, 6)
    assert made.told["before"]["value"] == made.told["after"]["value"] == 1
    assert made.model == f"run-{serving.run_id}"


def test_one_that_answers_wrongly_is_told_with_its_posts(evaluated, serving):
    with serving_by(lambda asked: (200, completion("bullish"), {})) as url:
        made = check(serving, url)
    assert (made.told["agrees"], made.told["same"], len(made.told["differ"])) == (False, 2, 4)
    client = logged_in(make_member(serving.project, Role.ADMIN, "ada"))
    page = client.get(f"/p/memes/runs/{serving.run_id}/serving").content.decode()
    post = serving.project.posts.get(external_id=made.told["differ"][0]["id"])
    assert "It does not answer as the run did." in page
    assert f'href="/p/memes/posts/{post.pk}"' in page
    assert "Make it a voter" not in page


def test_it_is_refused_before_the_run_itself_was_evaluated(serving):
    with pytest.raises(
        at_work.Refused, match=f"manage.py evaluate --project memes --predictor run-{serving.run_id} --on holdout"
    ):
        checking.ask(serving, None, "server", "holdout", "http://x/v1", queue=False)
    with pytest.raises(CommandError, match="Evaluate it first"):
        call_command("check_served", project="memes", run=serving.run_id, url="http://x/v1")


def test_posts_that_had_to_go_since_are_told(evaluated, serving):
    from annotate.removing import remove

    remove(serving.project.posts.get(external_id="h0"), None, "asked for")
    with serving_by(rightly) as url:
        made = check(serving, url)
    assert (made.state, "Evaluate it again" in made.error) == (JobState.FAILED, True)


def test_an_address_goes_by_the_rule_of_voters(evaluated, serving, settings):
    admin = make_member(serving.project, Role.ADMIN, "ada")
    ask = lambda by, url: checking.ask(serving, by, "server", "holdout", url, queue=False)  # noqa: E731
    with pytest.raises(at_work.Refused, match="Only a site admin"):
        ask(admin, "http://10.0.0.1/v1")
    settings.PROVIDER_BASE_URLS = ["10.0.0.1"]
    ask(admin, "http://10.0.0.1/v1")
    with pytest.raises(at_work.Refused, match="checked already"):
        ask(admin, "http://10.0.0.1/v1")
    ServedCheck.objects.all().delete()
    ask(make_user(is_superuser=True), "http://elsewhere/v1")
    for odd in ("ftp://x", "http://me:secret@x/v1", "http://x/" + "v" * 500):
        with pytest.raises(at_work.Refused):
            ask(None, odd)


def test_stopped_it_ends_between_two_windows_and_is_begun_anew(evaluated, serving, monkeypatch):
    monkeypatch.setattr(asking, "WINDOW", 2)
    monkeypatch.setattr(checking, "enqueue", lambda _: None)
    with serving_by(rightly) as url:
        made = checking.ask(serving, None, "server", "holdout", url, queue=False)
        checking.carry_out(made, lambda now: checking.stop(now) if now.done else None)
        assert (made.state, made.done) == (JobState.STOPPED, 4) or made.done in (2, 4)
        assert checking.resume(made)
        checking.carry_out(made)
    assert (made.state, made.told["same"]) == (JobState.DONE, 6)
    assert not checking.carry_out(made)


def test_the_page_checks_and_tells_what_is_wrong(evaluated, serving, settings):
    client = logged_in(make_member(serving.project, Role.ADMIN, "ada"))
    here = f"/p/memes/servings/{serving.pk}/check"
    refused = client.post(here, {"way": "server", "split": "holdout", "url": "http://10.0.0.1/v1", "model": "m"})
    assert refused.status_code == 422
    assert "Only a site admin may name" in words_of(refused)
    settings.PROVIDER_BASE_URLS = ["127.0.0.1"]
    with serving_by(rightly) as url:
        told = {"way": "server", "split": "holdout", "url": url, "model": "m"}
        assert client.post(here, told).status_code == 302
        made = ServedCheck.objects.get()
        progress = f"/p/memes/runs/{serving.run_id}/serving/progress?check={made.pk}"
        assert "The next worker" in words_of(client.get(progress))
        checking.carry_out(made)
    assert client.get(progress)["HX-Refresh"] == "true"
    page = words_of(client.get(f"/p/memes/runs/{serving.run_id}/serving"))
    assert "It answers as the run did." in page
    assert "6 <span" in page


# --- A voter of the next round


@pytest.mark.django_db(transaction=True)  # who votes has connections of its own
def test_what_agrees_is_made_a_voter_that_is_asked_in_the_words_of_its_training(evaluated, serving, settings):
    from labeling.asking import Writer
    from labeling.providers.openai_chat import request

    settings.PROVIDER_BASE_URLS = ["127.0.0.1"]
    serving.project.question = "What of $GME?"
    serving.project.save()
    client = logged_in(make_member(serving.project, Role.ADMIN, "ada"))
    with serving_by(rightly) as url:
        check(serving, url)
        page = client.get(f"/p/memes/runs/{serving.run_id}/serving")
        (shown, _), *_ = page.context["listed"]
        assert "Make it a voter" in words_of(page)
        answer = client.post("/p/memes/voters/new", {**shown.voter, "csrfmiddlewaretoken": "x"})
        assert answer.status_code == 302, words_of(answer)
        voter = Voter.objects.get(provider="openai")
        assert (voter.heard, voter.required) == (False, False)
        assert "consensus does not hear it" in words_of(client.get(answer.url))
        post = serving.project.posts.get(external_id="h1")
        asked = request(voter.model, {**defaults(), **voter.parameters}, Writer(voter).ask(post))
        chat = Chat.of(serving.run.dataset.facts)
        assert asked["messages"] == [
            {"role": "system", "content": chat.system},
            {"role": "user", "content": [{"type": "text", "text": chat.user(post.text, has_image=False)}]},
        ]
        assert "response_format" not in asked
        assert (asked["top_logprobs"], asked["temperature"]) == (20, 0)
        vote(voter)
    votes = {one.post.external_id: one for one in Vote.objects.filter(voter=voter).select_related("post", "label")}
    assert votes["h1"].label.name == "neutral"
    assert votes["h1"].probabilities == pytest.approx({"bearish": 0.1, "neutral": 0.8, "bullish": 0.1}, abs=1e-3)
    assert len(votes) == serving.project.posts.count()


def defaults() -> dict[str, Any]:
    from labeling.providers import PROVIDERS

    return PROVIDERS["openai"].filled({})


def vote(voter: Voter) -> None:
    from labeling import runs, voting

    run = runs.start(voter.project, None, [voter], queue=False)
    voting.carry_out(run)
    assert VotingRun.objects.get(pk=run.pk).parts.get().done


@pytest.mark.parametrize(("raw", "label", "abstained"), [
    ("bullish", "bullish", ""), (" Bullish \n", "bullish", ""), ("<think>x</think>bull", "bull", ""),
    ("to the moon", None, "not a label"), ("", None, "malformed"),
])  # fmt: skip
def test_a_bare_label_is_read_where_a_voter_was_trained_to_write_one(raw, label, abstained):
    told = answers_room.read(raw, Ask("", "", LABELS, bare=True))
    assert (told.label, told.abstained, told.raw) == (label, abstained, raw)
    if raw == "bullish":
        assert answers_room.read(raw, Ask("", "", LABELS)).abstained == "malformed", "others owe a form"


# --- Really


@contextmanager
def held(folder: Path, name: str) -> Iterator[str]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "tests.model_server", str(port), "--holding", str(folder), "--name", name]
    process = subprocess.Popen(command, cwd=Path(__file__).parent.parent, env=environment(), stdout=subprocess.PIPE)
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == b"listening\n"
        assert httpx.get(f"http://127.0.0.1:{port}/v1/models").json()["data"][0]["id"] == name
        yield f"http://127.0.0.1:{port}/v1"
    finally:
        process.kill()
        process.wait()


def written_out(run: Run) -> Serving:
    serving = writing.ask(run.project, None, run, "merged", queue=False)
    writing.carry_out(serving)
    assert serving.state == JobState.DONE, serving.error
    return serving


def sure_of_itself(dataset: Dataset) -> Run:
    """So that no answer hangs on how a weight was rounded."""
    config = training_presets.named("tiny").configured(epochs=30, lr=3e-3)
    run = runner.start(dataset.project, None, dataset, config, "tiny", queue=False)
    runner.carry_out(run)
    assert run.state == RunState.DONE, run.error
    return run


def test_a_server_that_really_holds_the_model_agrees_and_that_of_another_run_does_not(dataset, capsys):
    run, other = sure_of_itself(dataset), trained(dataset.project, dataset, seed=7)
    evaluate(dataset, f"run-{run.pk}")
    serving, another = written_out(run), written_out(other)
    with held(writing.folder_of(serving), "mine") as url:
        call_command("check_served", project="memes", run=run.pk, url=url, model="mine")
    said = capsys.readouterr().out
    assert "It answers as the run did." in said
    made = ServedCheck.objects.get()
    assert (made.told["known"], made.told["refused"]) == (6, 0)
    assert made.told["largest"] < 0.05

    with held(writing.folder_of(another), "mine") as url:
        wrong = check(serving, url, model="mine")
    assert not wrong.told["agrees"]
    assert wrong.told["largest"] > 0.05

    call_command("check_served", project="memes", run=run.pk)  # the folder itself, without any server
    by_folder = ServedCheck.objects.get(way="folder")
    assert by_folder.told["largest"] < 0.05
    assert by_folder.asked is not None
    assert by_folder.asked.name == f"Run {run.pk} as merged, 16 bits, written out"
    assert by_folder.asked.test_hash == made.against.test_hash
