"""Doors for words: what models answer, prompts, guidelines, settings and receipts of runs, requests of programs."""

import json
import math
import os
import re
from collections.abc import Callable
from typing import Any
from unittest import mock

import numpy as np
from hypothesis import strategies as st
from pydantic import ValidationError

from annotate import harmless, prose
from annotate.importing.cells import storable
from labeling import answers, pricing, prompt
from labeling.providers import PROVIDERS, gemini_batch, openai_batch
from labeling.providers.batching import Reply
from labeling.providers.contract import Answer, Ask
from modeling import chat, openai_form
from modeling.gpu.config import Config
from modeling.management.commands.train import setting
from modeling.training import receipts, run_settings
from modeling.training.starting import CONFIG, first_of

from . import wounds
from .doors import LABELS, Door, is_sentence, is_told, json_of
from .wounds import damaged, like, odd_values, values, words

# --- Answers of models

TOLD_VOTE = {
    "text_reading": "bullish",
    "image_reading": "none",
    "reason": "rockets",
    "label": "bullish",
    "confidence": 0.8,
    "incongruous": False,
}
FRAMES = [
    "{}", "```json\n{}\n```", "Sure! {} Hope it helps.", "<think>{{}}</think>{}", "{}{}", "[{}]", "\ufeff{}", '"{}"',
    "{} </think> {}", "{{",
]  # fmt: skip


def answers_given() -> st.SearchStrategy[str]:
    told = st.one_of(like([TOLD_VOTE]), st.dictionaries(st.sampled_from(list(TOLD_VOTE)), odd_values), odd_values).map(
        json.dumps
    )
    framed = st.builds(lambda frame, one: frame.replace("{}", one), st.sampled_from(FRAMES), told)
    cut = st.builds(lambda text, at: text[: int(at * len(text))], framed, wounds.places)
    broken = (
        framed.map(lambda text: text.encode("utf-8", "replace"))
        .flatmap(lambda data: damaged([data]))
        .map(lambda data: data.decode("utf-8", "surrogateescape"))
    )
    return st.one_of(framed, cut, broken, words)


def asks() -> st.SearchStrategy[Ask]:
    names = st.sampled_from(
        [LABELS, ("yes",), ("a", "A"), ("“x”", "x"), ("NaN", "null", "{}"), ("İ", "i̇"), ("none", "true")]
    )
    return st.builds(Ask, st.just(""), st.just(""), names, asks_incongruous=st.booleans(), bare=st.booleans())


def read_answer(case: tuple[str, Ask]) -> None:
    raw, ask = case
    check_answer(answers.read(raw, ask), ask)


def check_answer(answer: Answer, ask: Ask) -> None:
    assert answer.label is None or answer.label in ask.labels
    assert bool(answer.label) != bool(answer.abstained)
    assert answer.confidence is None or 0 <= answer.confidence <= 1
    assert answer.incongruous in (None, True, False)
    assert ask.asks_incongruous or answer.incongruous is None
    assert len(answer.text_reading) <= answers.LONGEST_READING
    assert isinstance(answer.reason, str)
    assert isinstance(answer.raw, str)
    if answer.probabilities is not None:
        assert all(0 <= share <= 1 for share in answer.probabilities.values())
        assert abs(sum(answer.probabilities.values()) - 1) < 1e-6
    for count in (answer.usage.tokens_in, answer.usage.tokens_out):
        assert count is None or (isinstance(count, int) and 0 <= count < 2**31), f"{count} tokens fit no column"


# --- Files of batches that come back

OPENAI_LINE = {
    "id": "x",
    "custom_id": "1",
    "error": None,
    "response": {
        "status_code": 200,
        "request_id": "r",
        "body": {
            "id": "c",
            "object": "chat.completion",
            "created": 1,
            "model": "gpt",
            "usage": {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15},
            "choices": [
                {
                    "index": 0,
                    "finish_reason": "stop",
                    "message": {"role": "assistant", "content": json.dumps(TOLD_VOTE), "refusal": None},
                    "logprobs": {
                        "content": [
                            {"token": '{"label": "', "logprob": -0.1, "top_logprobs": []},
                            {
                                "token": "bull",
                                "logprob": -0.1,
                                "top_logprobs": [{"token": "bull", "logprob": -0.1}, {"token": "bear", "logprob": -3}],
                            },
                        ]
                    },
                }
            ],
        },
    },
}
OPENAI_ERRORS = [
    {"custom_id": "1", "response": None, "error": {"code": "batch_expired", "message": "late"}},
    {
        "custom_id": "1",
        "response": {
            "status_code": 429,
            "body": {"error": {"message": "slow down", "code": "rate_limit", "type": "x"}},
        },
        "error": None,
    },
    {
        "custom_id": "1",
        "response": {"status_code": 400, "body": {"error": {"message": "no", "code": "content_filter"}}},
        "error": None,
    },
]
GEMINI_LINE = {
    "key": "1",
    "response": {
        "candidates": [
            {
                "content": {"parts": [{"text": json.dumps(TOLD_VOTE)}], "role": "model"},
                "finishReason": "STOP",
                "logprobsResult": {
                    "chosenCandidates": [{"token": "bull", "logProbability": -0.1}],
                    "topCandidates": [{"candidates": [{"token": "bear", "logProbability": -2}]}],
                },
            }
        ],
        "usageMetadata": {"promptTokenCount": 10, "candidatesTokenCount": 5, "thoughtsTokenCount": 1},
        "promptFeedback": {},
    },
}
GEMINI_ERRORS = [
    {
        "key": "1",
        "error": {
            "code": 8,
            "message": "slow",
            "status": "RESOURCE_EXHAUSTED",
            "details": [{"reason": "X", "metadata": {}}],
        },
    },
    {"key": "1", "status": {"code": 3, "message": "no", "details": ["[ORIGINAL ERROR] x"]}},
]
ASK = Ask("", "", LABELS, asks_incongruous=True)
KEY = {"OPENAI_API_KEY": "k", "GEMINI_API_KEY": "k"}


def opened(name: str) -> Any:
    module = {"openai": openai_batch, "gemini": gemini_batch}[name]
    with mock.patch.dict(os.environ, KEY):
        return module.connect("gpt-4o-mini", PROVIDERS[name].filled({}))


def batch_line(name: str) -> Callable[[Any], None]:
    held: list[Any] = []

    def attempt(told: Any) -> None:
        if not held:
            held.append(opened(name))
        try:
            reply = held[0].read(json.dumps(told), ASK)
        except Exception:  # one that whoever collects passes over: see `collecting.replies`
            return
        assert isinstance(reply, Reply)
        assert (reply.answer is None) != (reply.error is None)
        if reply.answer:
            check_answer(reply.answer, ASK)
            usage = reply.answer.usage
            price = pricing.price_of(
                name,
                "gpt-4o-mini",
                usage.tokens_in,
                usage.tokens_out,
                {"price_in": "0.1", "price_out": 1e3},
                batch=True,
            )
            assert price is None or 0 <= price < 10**10
        else:
            assert is_sentence(str(reply.error).replace("\0", "")), reply.error

    return attempt


# --- Prompts


def prompts() -> st.SearchStrategy[tuple[Any, ...]]:
    templates = st.one_of(
        st.just(""),
        words,
        st.lists(
            st.sampled_from(
                [
                    "$post",
                    "${post}",
                    "$labels",
                    "$$",
                    "$",
                    "$question",
                    "{post}",
                    "\n",
                    "$examples",
                    "$templates",
                    "$guidelines",
                    "$x",
                    " a ",
                ]
            ),
            max_size=8,
        ).map("".join),
    )
    pairs = st.lists(st.tuples(words.filter(bool), words), min_size=1, max_size=4, unique_by=lambda pair: pair[0]).map(
        tuple
    )
    return st.tuples(
        templates,
        words,
        pairs,
        words,
        st.booleans(),
        st.lists(st.tuples(words, words), max_size=2).map(tuple),
        st.sampled_from(["", "trained", "trained in one turn"]),
        words,
        st.booleans(),
        words,
    )


def fill_prompt(case: tuple[Any, ...]) -> None:
    template, question, labels, guidelines, asks_incongruous, examples, how, text, has_picture, looks_like = case
    try:
        asking = prompt.Prompt(template, question, labels, guidelines, asks_incongruous, examples, how)
    except ValueError as refusal:
        is_told(ValueError(storable(str(refusal))))
        return
    ask = asking.ask(text, b"x" if has_picture else None, "png", looks_like)
    assert len(asking.hash) == 64
    assert ask.labels == tuple(name for name, _ in labels)
    json.dumps([ask.system, ask.prompt])
    if not how and text.strip() and "post" in (template or "$post"):
        fence = prompt.fenced("post", text)
        assert fence in ask.prompt
        assert ask.prompt.count(fence.rpartition("\n")[2]) == ask.prompt.count(fence), "a text ends its own fence"
    told = chat.Chat(question, labels)
    assert told.system is not None
    made = harmless.harmless(text)
    assert harmless.restored(made) == text
    assert not re.search(r"<image>|<\|im_end\|>|\[INST\]|\{\{image\}\}", made), made


# --- Guidelines

MARKS = [
    "# ", "## ", "###### ", "- ", "1. ", "999999999999. ", "> ", "```", "`", "**", "_", "[a](", ")", "![b](",
    "javascript:alert(1)", "http://x.example", "data:text/html,x", "<b>", "<script>alert(1)</script>",
    "<a href=javascript:x>", "|a|b|\n|-|-|\n", "---\n", "\n", "\n\n", "    ", "\\", "&lt;script&gt;",
    "&#106;avascript:", "<http://x.example>", "[x]: javascript:a\n", "\t", '" onmouseover="x', "vbscript:",
    "JAVASCRIPT:", "[a][x]", "*" * 30, "[" * 50, "<!--", "]]>",
]  # fmt: skip
TAG = re.compile(r"<(/?)([a-zA-Z0-9]+)((?:\s+[a-z]+=\"[^\"]*\")*)\s*/?>")


def markdown() -> st.SearchStrategy[str]:
    return st.lists(st.sampled_from(MARKS) | words, max_size=25).map("".join)


def render(text: str) -> None:
    html = prose.render(text.encode("utf-8", "replace").decode())  # as it comes out of the database
    assert "<h1" not in html
    for tag in TAG.finditer(html):
        assert tag[2] in prose.TAGS, tag[0]
        assert set(re.findall(r"([a-z]+)=", re.sub(r'"[^"]*"', "", tag[3]))) <= {"href", "title", "rel", "start"}, tag[
            0
        ]
        for address in re.findall(r'href="([^"]*)"', tag[3]):
            assert not re.match(r"\s*(javascript|data|vbscript)", address, re.IGNORECASE), address
    assert not re.search(r"<(?!/?[a-z][a-z0-9]*[\s/>])", html), html


# --- Settings of a run, receipts, and what programs ask


def run_config(told: Any) -> None:

    asked = Config(model="tiny").as_json() | (told if isinstance(told, dict) else {})
    try:
        config = CONFIG.validate_python(asked)
    except ValidationError as problem:
        is_told(ValueError(storable(first_of(problem))))
        return
    json_of(config.as_json())
    for name, value in run_settings.in_order(config.as_json()):
        assert isinstance(run_settings.in_words(name, value), str)


def settings_asked() -> st.SearchStrategy[Any]:
    names = st.sampled_from(list(Config(model="tiny").as_json()))
    odd = st.one_of(
        values, words, st.sampled_from(["lora", "full", "fsdp", "classifier", True, 0.5, 1, {"bullish": 0}])
    )
    said = st.builds(lambda name, value: f"{name}={value}", names, words)  # as after --set
    return st.one_of(
        st.dictionaries(names, odd, max_size=4), st.lists(said, max_size=3).map(lambda told: dict(map(setting, told)))
    )


RECEIPT = {
    "model": "tiny",
    "family": "tiny",
    "trained_for": {"run": 1},
    "posts": {"train": 3},
    "parameters": {"all": 10},
    "trained": {"a.b": 3},
    "machine": {"cpu": "x", "memory": 3},
    "libraries": {"torch": "2"},
    "seconds": 1.5,
    "scores": {"macro_f1": 0.3},
    "peak_memory": 1000,
    "config": {},
    "papers": ["a"],
    "adapter": "ab",
}


def tell_receipt(told: Any) -> None:
    if isinstance(told, dict):
        assert all(isinstance(line.said, list) for line in receipts.lines(told))


BODY = {
    "model": "memes/run-1",
    "messages": [
        {"role": "system", "content": "x"},
        {
            "role": "user",
            "content": [
                {"type": "text", "text": "gm"},
                {"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw0KGgo="}},
            ],
        },
    ],
    "logprobs": True,
    "stream": False,
    "n": 1,
    "response_format": {"type": "json_object"},
}
BODIES = [BODY, BODY | {"messages": [{"role": "user", "content": "gm"}]}]


def read_request(told: Any) -> None:
    try:
        asked = openai_form.read(told)
    except openai_form.NotUnderstood as refusal:
        is_told(refusal)
        return
    chances = dict(zip(LABELS, np.array([0.2, 0.8, 0.0]).tolist(), strict=True))
    answer = openai_form.Answer("k", 1, asked.model, chances)
    told_back = json.dumps(openai_form.completion(asked, answer), allow_nan=False)
    assert "bullish" in told_back or "neutral" in told_back
    assert b"".join(openai_form.stream(asked, answer)).endswith(b"[DONE]\n\n")
    assert math.isfinite(openai_form.log(0.0))


WORDS = [
    Door("answers of models", lambda: st.tuples(answers_given(), asks()), read_answer, 3),
    Door(
        "batch lines: OpenAI",
        lambda: st.one_of(like([OPENAI_LINE, OPENAI_LINE, *OPENAI_ERRORS]), odd_values),
        batch_line("openai"),
        2,
    ),
    Door(
        "batch lines: Gemini",
        lambda: st.one_of(like([GEMINI_LINE, GEMINI_LINE, *GEMINI_ERRORS]), odd_values),
        batch_line("gemini"),
        2,
    ),
    Door("prompts", prompts, fill_prompt, 2),
    Door("guidelines", markdown, render, 2),
    Door("settings of a run", settings_asked, run_config),
    Door("receipts", lambda: like([RECEIPT]), tell_receipt),
    Door("requests in OpenAI's form", lambda: st.one_of(like(BODIES), odd_values), read_request),
]
