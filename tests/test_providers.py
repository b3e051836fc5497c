import asyncio
import base64
import email.utils
import io
import json
import math
import time
from collections.abc import Iterator

import pytest
from PIL import Image, ImageDraw

from annotate.demo import draw_posts
from labeling.prompt import Prompt
from labeling.providers import PROVIDERS
from labeling.providers.contract import Answer, Ask, Failed, Later, Stop
from labeling.providers.logprobs import Token, label_probabilities
from labeling.providers.waiting import asked_to_wait, retry_delay
from tests import fakes

LABELS = (("bearish", "Falling prices"), ("neutral", ""), ("bullish", "Rising prices"))
PROMPT = Prompt("", "Which sentiment?", LABELS, asks_incongruous=True)
GIVEN = {
    "text_reading": "bullish", "image_reading": "none", "reason": "Rockets.",
    "label": "Bullish", "confidence": 0.9, "incongruous": False,
}  # fmt: skip
SAID = json.dumps(GIVEN)
MODELS = {"openai": "gpt-4o-mini", "gemini": "gemini-2.5-flash-lite"}
BOTH = pytest.mark.parametrize("provider", MODELS)


def png(paint: str = "white") -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (8, 8), paint).save(file, "PNG")
    return file.getvalue()


def ask(provider: str, asked: Ask | None = None, **parameters) -> Answer:
    async def once() -> Answer:
        connection = PROVIDERS[provider].connect(MODELS.get(provider, ""), parameters)
        try:
            return await connection.ask(asked or PROMPT.ask("to the moon"))
        finally:
            await connection.close()

    return asyncio.run(once())


@pytest.fixture
def server(monkeypatch) -> Iterator[fakes.Server]:
    """Speaks for both providers, with keys that are nobody's."""
    monkeypatch.delenv("GOOGLE_API_KEY", raising=False)
    with fakes.Server() as server:
        monkeypatch.setenv("OPENAI_BASE_URL", f"{server.url}/v1")
        monkeypatch.setenv("GOOGLE_GEMINI_BASE_URL", server.url)
        monkeypatch.setenv("OPENAI_API_KEY", "key-of-openai")
        monkeypatch.setenv("GEMINI_API_KEY", "key-of-gemini")
        yield server


# --- the real clients against a mock of the real APIs


@BOTH
def test_an_answer_arrives_whole(llmock, provider):
    llmock.reply(SAID)
    answer = ask(provider)
    assert (answer.label, answer.confidence, answer.reason, answer.raw) == ("bullish", 0.9, "Rockets.", SAID)
    assert (answer.text_reading, answer.image_reading, answer.incongruous) == ("bullish", "", False)
    assert answer.usage.tokens_in > 100
    assert answer.usage.tokens_out > 10


@BOTH
def test_the_schema_alone_makes_a_servers_answer_a_vote(llmock, provider):
    answer = ask(provider)
    assert answer.label in PROMPT.names
    assert answer.incongruous is not None


def test_openai_is_sent_the_picture_itself(llmock):
    picture = png()
    ask("openai", PROMPT.ask("hm", picture, "png"), detail="high")
    text, image = llmock.last_request.body["messages"][1]["content"]
    assert "hm" in text["text"]
    assert image["image_url"]["detail"] == "high"
    assert image["image_url"]["url"] == "data:image/png;base64," + base64.b64encode(picture).decode()


def test_gemini_is_sent_the_picture_itself(llmock):
    picture = png()
    ask("gemini", PROMPT.ask("hm", picture, "webp"))
    text, image = llmock.last_request.body["contents"][0]["parts"]
    assert "hm" in text["text"]
    assert "image/webp" in image["inlineData"].values()
    assert base64.urlsafe_b64decode(image["inlineData"]["data"]) == picture


def test_openai_is_sent_what_was_set(llmock):
    ask("openai", temperature=0.0, reasoning_effort="low", max_output_tokens=99, logprobs=50, extra={"seed": 7})
    body = llmock.last_request.body
    assert body["messages"][0]["content"] == PROMPT.system
    assert (body["temperature"], body["reasoning_effort"], body["seed"]) == (0.0, "low", 7)
    assert (body["max_completion_tokens"], body["logprobs"], body["top_logprobs"]) == (99, True, 20)
    assert body["response_format"]["json_schema"]["strict"] is True
    ask("openai")
    assert not {"temperature", "logprobs", "top_logprobs", "reasoning_effort"} & set(llmock.last_request.body)


def test_gemini_is_sent_what_was_set(llmock):
    ask("gemini", temperature=0.5, thinking_budget=0, max_output_tokens=99)
    body = llmock.last_request.body
    told = body["generationConfig"]
    assert body["systemInstruction"]["parts"][0]["text"] == PROMPT.system
    assert (told["temperature"], told["maxOutputTokens"], told["responseMimeType"]) == (0.5, 99, "application/json")
    assert list(told["thinkingConfig"].values()) == [0]
    assert told["responseSchema"]["properties"]["label"]["enum"] == list(PROMPT.names)
    assert told["responseSchema"]["property_ordering"][3] == "label"
    ask("gemini", thinking_level="low")
    assert list(llmock.last_request.body["generationConfig"]["thinkingConfig"].values()) == ["LOW"]


def test_gemini_is_asked_by_the_version_that_servers_speak(llmock):
    ask("gemini")
    assert llmock.last_request.path == "/gemini/v1beta/models/gemini-2.5-flash-lite:generateContent"


@BOTH
def test_too_many_requests_means_later_and_says_when(llmock, provider):
    llmock.rate_limit(retry_after=7)
    with pytest.raises(Later, match="too many requests") as caught:
        ask(provider)
    assert caught.value.after == 7
    assert len(llmock.requests) == 1  # the client itself did not try again


@BOTH
@pytest.mark.parametrize("status", [500, 502, 503, 504, 408])
def test_a_server_in_trouble_means_later(llmock, provider, status):
    llmock.fail(status)
    with pytest.raises(Later, match=f"server error {status}"):
        ask(provider)
    assert len(llmock.requests) == 1


@BOTH
def test_a_silent_server_means_later(llmock, provider):
    llmock.delay(0.5)
    with pytest.raises(Later, match="no answer in time"):
        ask(provider, timeout=0.1)


@BOTH
def test_a_server_that_is_not_there_means_later(llmock, monkeypatch, provider):
    monkeypatch.setenv("OPENAI_BASE_URL", "http://127.0.0.1:9/v1")
    monkeypatch.setenv("GOOGLE_GEMINI_BASE_URL", "http://127.0.0.1:9")
    with pytest.raises(Later, match="no connection"):
        ask(provider)


@BOTH
@pytest.mark.parametrize(
    ("status", "says"), [(401, "key"), (403, "forbids"), (404, "knows no model"), (402, "money|forbids")]
)
def test_what_cannot_be_mended_by_waiting_stops(llmock, provider, status, says):
    llmock.fail(status, message="Nope.")
    with pytest.raises(Stop, match=says):
        ask(provider)


@BOTH
@pytest.mark.parametrize("status", [400, 413, 422])
def test_a_request_that_is_refused_fails_alone(llmock, provider, status):
    llmock.fail(status)
    with pytest.raises(Failed, match=rf"refused \({status}\)"):
        ask(provider)


@BOTH
def test_a_prompt_too_long_fails_alone(llmock, provider):
    llmock.context_overflow()
    with pytest.raises(Failed, match="context_length_exceeded"):
        ask(provider)


@BOTH
@pytest.mark.parametrize(
    ("text", "abstained"),
    [(SAID[:60], "malformed"), ("I think bullish.", "malformed"), (SAID.replace("Bullish", "moonish"), "not a label")],
)
def test_an_answer_that_is_none_is_an_abstention(llmock, provider, text, abstained):
    llmock.reply(text)
    answer = ask(provider)
    assert (answer.label, answer.abstained, answer.raw) == (None, abstained, text)
    assert answer.usage.tokens_in


@BOTH
@pytest.mark.parametrize(("finish", "abstained"), [("length", "cut off"), ("content_filter", "blocked")])
def test_an_answer_cut_short_or_filtered_is_an_abstention(llmock, provider, finish, abstained):
    from llmock.scenarios import Reply

    llmock.add(Reply(text=SAID[:20], finish_reason=finish))
    answer = ask(provider)
    assert (answer.label, answer.abstained) == (None, abstained)
    assert answer.usage.tokens_out


# --- what that mock cannot say


def test_openai_refuses_in_a_field_of_its_own(server):
    server.says(fakes.openai_answer(None, refusal="I can't help with that."))
    answer = ask("openai")
    assert (answer.label, answer.abstained, answer.reason) == (None, "refused", "I can't help with that.")
    assert answer.usage.tokens_in == 100


@pytest.mark.parametrize("code", ["content_filter", "content_policy_violation"])
def test_openai_blocks_by_an_error(server, code):
    server.says(fakes.openai_error("Flagged.", code), status=400)
    assert ask("openai").abstained == "blocked"


def test_an_openai_account_without_money_stops_though_it_is_a_429(server):
    server.says(
        fakes.openai_error("You exceeded your current quota.", "insufficient_quota"), status=429, retry_after="1"
    )
    with pytest.raises(Stop, match=r"no money or quota left.*exceeded"):
        ask("openai")


def test_openai_tells_an_unknown_model_by_its_code_too(server):
    server.says(fakes.openai_error("No access to it.", "model_not_found"), status=403)
    with pytest.raises(Stop, match="knows no model 'gpt-4o-mini'"):
        ask("openai")


def test_a_retry_after_may_be_a_date(server):
    server.says(fakes.openai_error("Slow down."), status=429, retry_after=email.utils.formatdate(time.time() + 30))
    with pytest.raises(Later) as caught:
        ask("openai")
    assert 25 < caught.value.after <= 30


@BOTH
@pytest.mark.parametrize(
    "body", [b"<html>Welcome</html>", b'{"half": ', b"{}", b"null", b'{"error": {"message": "busy"}}']
)
@pytest.mark.parametrize("kind", ["application/json", "text/html"])
def test_what_is_no_answer_of_the_api_means_later(server, provider, body, kind):
    server.says(body, content_type=kind)
    with pytest.raises(Later, match="no"):
        ask(provider)


@BOTH
def test_a_connection_that_breaks_half_way_means_later(server, provider):
    server.says(b'{"choices": [', content_length="5000")
    with pytest.raises(Later, match="no connection"):
        ask(provider)


def test_gemini_blocks_without_an_error(server):
    server.says({"promptFeedback": {"blockReason": "PROHIBITED_CONTENT"}, "usageMetadata": {"promptTokenCount": 9}})
    answer = ask("gemini")
    assert (answer.label, answer.abstained, answer.reason) == (None, "blocked", "PROHIBITED_CONTENT")
    assert answer.usage.tokens_in == 9


@pytest.mark.parametrize("finish", ["SAFETY", "RECITATION", "PROHIBITED_CONTENT", "SPII"])
def test_gemini_stops_in_the_middle_without_an_error(server, finish):
    server.says({"candidates": [{"finishReason": finish, "index": 0}], "usageMetadata": {"promptTokenCount": 9}})
    assert ask("gemini").abstained == "blocked"


def test_gemini_thoughts_are_paid_for_and_no_answer(server):
    said = fakes.gemini_answer(SAID, thoughts=300)
    said["candidates"][0]["content"]["parts"].insert(0, {"text": '{"label": "bearish"}', "thought": True})
    server.says(said)
    answer = ask("gemini")
    assert (answer.label, answer.raw, answer.usage.tokens_out) == ("bullish", SAID, 320)


@pytest.mark.parametrize(
    ("code", "status", "message", "detail", "says"),
    [
        (400, "INVALID_ARGUMENT", "API key not valid.", {"reason": "API_KEY_INVALID"}, "does not accept the API key"),
        (400, "FAILED_PRECONDITION", "User location is not supported.", {}, "User location"),
        (429, "RESOURCE_EXHAUSTED", "Quota.", {"violations": [{"quotaId": "RequestsPerDayPerModel"}]}, "daily quota"),
    ],
)
def test_google_hides_what_cannot_be_mended_in_the_details(server, code, status, message, detail, says):
    server.says(fakes.gemini_error(code, status, message, {"@type": "x/ErrorInfo"} | detail), status=code)
    with pytest.raises(Stop, match=says):
        ask("gemini")


def test_google_says_in_the_body_when_to_try_again(server):
    delay = {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "7.5s"}
    server.says(fakes.gemini_error(429, "RESOURCE_EXHAUSTED", "Quota.", delay), status=429)
    with pytest.raises(Later) as caught:
        ask("gemini")
    assert caught.value.after == 7.5


def test_a_key_is_sent_to_its_provider_alone(server, monkeypatch):
    server.says(fakes.openai_answer(SAID))
    server.says(fakes.gemini_answer(SAID))
    ask("openai")
    ask("gemini")
    assert server.headers[0]["authorization"] == "Bearer key-of-openai"
    assert server.headers[1]["x-goog-api-key"] == "key-of-gemini"
    server.says(fakes.openai_answer(SAID))
    ask("openai", base_url=f"{server.url}/v1")
    assert "key-of-openai" not in str(server.headers[2])
    monkeypatch.setenv("COMPATIBLE_API_KEY", "key-of-another")
    server.says(fakes.openai_answer(SAID))
    ask("openai", base_url=f"{server.url}/v1")
    assert server.headers[3]["authorization"] == "Bearer key-of-another"


def test_a_simple_server_is_asked_for_nothing_that_it_may_not_know(server, monkeypatch):
    monkeypatch.delenv("OPENAI_API_KEY")
    server.says(fakes.openai_answer(f"```json\n{SAID}\n```"))
    assert ask("openai", base_url=f"{server.url}/v1", answer_format="text").label == "bullish"
    asked = server.requests[0]
    assert set(asked) - {"path"} == {"model", "messages", "max_tokens"}


def test_openai_tells_probabilities(server):
    server.says(fakes.openai_answer(SAID, logprobs={"content": in_tokens(bull=0.6, bear=0.3)}))
    assert ask("openai", logprobs=3).probabilities == pytest.approx({"bullish": 2 / 3, "bearish": 1 / 3, "neutral": 0})


def in_tokens(**shares: float) -> list[dict]:
    start, end = SAID.split("Bull")
    alternatives = [{"token": word, "logprob": math.log(share), "bytes": None} for word, share in shares.items()]
    certain = [{"token": "x", "logprob": 0.0, "bytes": None, "top_logprobs": []}]
    label = {"token": "Bull", "logprob": math.log(shares["bull"]), "bytes": None, "top_logprobs": alternatives[1:]}
    return [certain[0] | {"token": start}, label, certain[0] | {"token": end}]


# --- probabilities


def tokens(*written: tuple[str, dict[str, float]]) -> list[Token]:
    return [Token(text, tuple((word, math.log(share)) for word, share in chances.items())) for text, chances in written]


def test_a_quote_may_belong_to_the_labels_first_token():
    told = tokens(('{"label": ', {}), ('"bull', {'"bull': 0.5, '"bear': 0.25, "x": 0.25}), ('ish"}', {}))
    assert label_probabilities(told, ("bullish", "bearish")) == pytest.approx({"bullish": 2 / 3, "bearish": 1 / 3})


def test_labels_that_begin_alike_are_told_apart_further_on():
    told = tokens(('{"label": "', {}), ("very", {"very": 0.8, "neutral": 0.2}), (" up", {" up": 0.5, " down": 0.5}))
    labels = ("very up", "very down", "neutral")
    assert label_probabilities(told, labels) == pytest.approx({"very up": 0.4, "very down": 0.4, "neutral": 0.2})


def test_a_label_that_begins_another_is_told_by_its_end():
    told = tokens(('{"label":"', {}), ("up", {"up": 1.0, "down": 0.001}), ('"}', {'"}': 0.7, "per": 0.3}))
    found = label_probabilities(told, ("up", "upper", "down"))
    assert found is not None
    assert found["up"] == pytest.approx(0.7, abs=0.01)


@pytest.mark.parametrize(
    "told",
    [
        [],
        tokens(('{"reason": "x"}', {"x": 1.0})),
        tokens(('{"label": "', {}), ("b", {"b": 0.6, "be": 0.3, "bu": 0.1}), ("ull", {"ull": 0.5, "ear": 0.5})),
        tokens(('{"label": "', {}), ("bull", {"bull": 1.0}), ('ish"}', {'ish"}': 1.0})),
        tokens(('{"label": "', {})),
    ],
)
def test_what_cannot_be_told_is_unknown(told):
    assert label_probabilities(told, ("bearish", "beaming", "bullish")) is None


# --- waiting


@pytest.mark.parametrize(
    ("headers", "after"),
    [
        ({"retry-after": "3"}, 3), ({"retry-after": "0.5"}, 0.5), ({"retry-after-ms": "250", "retry-after": "1"}, 0.25),
        ({"retry-after": "Thu, 01 Jan 1970 00:01:40 GMT"}, 60), ({"retry-after": "Thu, 01 Jan 1970 00:00:00 GMT"}, 0),
        ({"retry-after": "-5"}, 0), ({"retry-after": "soon"}, None), ({"retry-after": "nan"}, None), ({}, None),
    ],
)  # fmt: skip
def test_it_understands_every_way_to_say_when(headers, after):
    assert asked_to_wait(headers, now=40) == after


@pytest.mark.parametrize("body", [None, [], {}, {"error": "x"}, {"error": {"details": ["x", {"@type": "RetryInfo"}]}}])
def test_an_odd_error_names_no_time(body):
    assert retry_delay(body) is None


# --- before anything starts


@pytest.mark.parametrize("provider", MODELS)
def test_a_missing_key_is_told_beforehand(monkeypatch, provider):
    for name in ("OPENAI_API_KEY", "GEMINI_API_KEY", "GOOGLE_API_KEY"):
        monkeypatch.delenv(name, raising=False)
    row = PROVIDERS[provider]
    assert row.keys[0] in row.missing({})
    with pytest.raises(Stop, match=row.keys[0]):
        row.connect("m", {})
    monkeypatch.setenv(row.keys[-1], "x")
    assert row.missing({}) == ""


def test_a_server_of_ones_own_and_offline_voters_need_no_key(monkeypatch):
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    assert PROVIDERS["openai"].missing({"base_url": "http://localhost:8000/v1"}) == ""
    assert PROVIDERS["offline"].missing({}) == ""


@pytest.mark.parametrize(
    ("model", "parameters", "says"),
    [
        ("m", {}, ""),
        ("", {}, "which model"),
        ("m", {"temprature": 0}, "no parameter 'temprature'"),
        ("m", {"temperature": "0"}, "must be a number"),
        ("m", {"temperature": -1}, "at least 0"),
        ("m", {"temperature": None, "price_in": 1}, ""),
        ("m", {"logprobs": True}, "a whole number"),
        ("m", {"detail": "huge"}, "one of 'low', 'high', 'auto'"),
        ("m", {"base_url": "file:///etc/passwd"}, "http://"),
        ("m", {"extra": [1]}, "a JSON object"),
    ],
)
def test_a_parameter_that_cannot_be_is_told_in_a_sentence(model, parameters, says):
    problem = PROVIDERS["openai"].problem_with(model, parameters)
    assert says in problem
    assert bool(says) == bool(problem)


# --- the voters that need nobody


def offline(model: str, asked: Ask) -> Answer:
    return asyncio.run(PROVIDERS["offline"].connect(model, {}).ask(asked))


@pytest.mark.parametrize(
    ("text", "label"),
    [
        ("To the MOON 🚀🚀", "bullish"), ("rug pull, sold everything", "bearish"),
        ("What does bullish mean? 🤔", "neutral"), ("$MOON", None), ("gm", None), ("", None), ("pump or dump", None),
    ],
)  # fmt: skip
def test_keywords_reads_words_and_abstains_where_they_say_nothing(text, label):
    answer = offline("keywords", PROMPT.ask(text))
    assert answer.label == label
    assert answer.text_reading == (label or "")
    assert answer.abstained == ("" if label else "cannot tell")
    assert answer.reason


def test_keywords_reads_other_labels_by_their_names_and_meanings():
    cats = Prompt("", "Which breed?", (("Manx", "Round all over and tailless"), ("Sphynx", "Hairless and wrinkled")))
    assert offline("keywords", cats.ask("my hairless friend")).label == "Sphynx"
    assert offline("keywords", cats.ask("a manx, I think")).label == "Manx"
    assert offline("keywords", cats.ask("cute")).label is None


def drawn(colour: str, *ends: tuple[int, int]) -> bytes:
    picture, file = Image.new("RGB", (300, 300), "white"), io.BytesIO()
    ImageDraw.Draw(picture).line(ends, fill=colour, width=8)
    picture.save(file, "PNG")
    return file.getvalue()


@pytest.mark.parametrize(
    ("picture", "label"),
    [
        (drawn("#16a34a", (10, 280), (290, 20)), "bullish"), (drawn("#dc2626", (10, 20), (290, 280)), "bearish"),
        (drawn("#808080", (10, 150), (290, 150)), "neutral"), (b"no picture", None), (None, None),
    ],
)  # fmt: skip
def test_chart_reads_colours_and_direction(picture, label):
    answer = offline("chart", PROMPT.ask("sell everything", picture, "png"))
    assert (answer.label, answer.abstained) == (label, "" if label else "cannot tell")
    assert answer.image_reading == (label or "")


def test_chart_abstains_where_labels_are_about_something_else():
    cats = Prompt("", "Which breed?", (("Manx", ""), ("Sphynx", "")))
    assert offline("chart", cats.ask("", drawn("green", (10, 280), (290, 20)), "png")).label is None


def test_the_offline_pair_agrees_on_many_demo_posts_and_is_mostly_right_there():
    posts = list(draw_posts(80))
    asked = [PROMPT.ask(post.text, post.picture, "png") for post in posts]
    votes = [(offline("keywords", ask).label, offline("chart", ask).label) for ask in asked]
    agreed = [
        (words, post.label) for (words, chart), post in zip(votes, posts, strict=True) if words and words == chart
    ]
    assert 20 < len(agreed) < 70
    assert sum(label == truth for label, truth in agreed) > 0.9 * len(agreed)
