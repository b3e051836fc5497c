"""Pure: OpenAI's chat completions, as a request is read and an answer is written in their form.

A run was trained with one question and one set of labels, and is asked so again: of the messages the last one of the
user alone counts, as the post. What a voter of another site sends wraps the post in words of its own, between two lines
that carry the same mark; those are taken off.
"""

import base64
import binascii
import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

LEAST = -9999.0  # the log-probability that OpenAI gives to what is next to impossible
MODEL = re.compile(r"(?:(?P<slug>[-a-zA-Z0-9_]+)/)?run-(?P<run>[0-9]{1,18})")
WRAPPED = re.compile(r"^<<< post ([0-9a-f]{16})\n(.*?)\n>>> post \1$", re.DOTALL | re.MULTILINE)
WORDLESS = "The post has no words.\nIts picture is attached."
FORMATS = {"text": False, "json_object": True, "json_schema": True}


class NotUnderstood(Exception):
    """The words are for whoever asked; `param` says which part of the request is meant."""

    def __init__(self, words: str, param: str = "") -> None:
        super().__init__(words)
        self.param = param


@dataclass(frozen=True)
class Asked:
    model: str
    text: str
    picture: bytes | None
    as_json: bool = False  # with all probabilities, instead of the label alone
    logprobs: bool = False
    stream: bool = False


# --- Read


def read(body: Any) -> Asked:
    if not isinstance(body, dict):
        raise NotUnderstood("The body is not an object with a model and messages.")
    model = body.get("model")
    if not isinstance(model, str) or not model:
        raise NotUnderstood("Say which model: see /v1/models.", "model")
    if body.get("n") not in (None, 1):
        raise NotUnderstood("A run says the same each time it is asked, so n is 1.", "n")
    text, picture = post_in(body.get("messages"))
    return Asked(
        model, text, picture, is_json(body.get("response_format")), bool(body.get("logprobs")), bool(body.get("stream"))
    )


def is_json(wanted: Any) -> bool:
    if wanted is None:
        return False
    kind = wanted.get("type") if isinstance(wanted, dict) else wanted
    if not isinstance(kind, str) or kind not in FORMATS:
        raise NotUnderstood(f"A response_format is one of {', '.join(FORMATS)}.", "response_format")
    return FORMATS[kind]


def post_in(messages: Any) -> tuple[str, bytes | None]:
    said = messages if isinstance(messages, list) else []
    last = next((one for one in reversed(said) if isinstance(one, dict) and one.get("role") == "user"), None)
    if last is None:
        raise NotUnderstood("There is no message of the user, which is the post that is asked about.", "messages")
    content = last.get("content")
    if isinstance(content, str):
        return unwrapped(content), None
    if not isinstance(content, list):
        raise NotUnderstood("A message’s content is a text, or a list of parts.", "messages")
    texts, pictures = parts_in(content)
    if len(pictures) > 1:
        raise NotUnderstood("A post has one picture, or none.", "messages")
    return unwrapped("\n".join(texts), bool(pictures)), pictures[0] if pictures else None


def parts_in(content: Sequence[Any]) -> tuple[list[str], list[bytes]]:
    texts, pictures = [], []
    for part in content:
        kind = part.get("type") if isinstance(part, dict) else None
        if kind == "text" and isinstance(part.get("text"), str):
            texts.append(part["text"])
        elif kind == "image_url":
            pictures.append(picture_in(part.get("image_url")))
        else:
            raise NotUnderstood("A part of a message is a text or an image_url.", "messages")
    return texts, pictures


def picture_in(told: Any) -> bytes:
    """Never fetched: whoever asks could have this machine call anybody."""
    url = told.get("url") if isinstance(told, dict) else told
    if not isinstance(url, str) or not url.startswith("data:"):
        raise NotUnderstood("A picture comes as a data: URL, with its bytes in base64; none is fetched.", "messages")
    head, _, data = url.partition(",")
    if not head.endswith(";base64"):
        raise NotUnderstood("A picture’s data: URL holds its bytes in base64.", "messages")
    return decoded(data)


def decoded(data: str) -> bytes:
    try:
        return base64.b64decode(data.encode(), validate=True)
    except (binascii.Error, ValueError) as error:
        raise NotUnderstood("The picture’s base64 is damaged or cut off.", "messages") from error


def unwrapped(text: str, has_picture: bool = False) -> str:
    if found := WRAPPED.search(text):
        return found[2]
    return "" if has_picture and WORDLESS in text else text


# --- Written


@dataclass(frozen=True)
class Answer:
    key: str
    created: int
    model: str
    probabilities: Mapping[str, float]

    @property
    def label(self) -> str:
        return max(self.probabilities, key=self.probabilities.__getitem__)


def completion(asked: Asked, answer: Answer) -> dict[str, Any]:
    """No token was written, so none is counted: all labels were weighed at once."""
    message = {"role": "assistant", "content": content(asked, answer), "refusal": None}
    choice = {"index": 0, "message": message, "logprobs": logprobs(asked, answer), "finish_reason": "stop"}
    usage = {"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0}
    return {**head(answer, "chat.completion"), "choices": [choice], "usage": usage}


def stream(asked: Asked, answer: Answer) -> Iterator[bytes]:
    """All of it in one piece, because it is there at once."""
    delta = {"role": "assistant", "content": content(asked, answer)}
    choice = {"index": 0, "delta": delta, "logprobs": logprobs(asked, answer), "finish_reason": "stop"}
    told = {**head(answer, "chat.completion.chunk"), "choices": [choice]}
    yield b"data: " + json.dumps(told).encode() + b"\n\n"
    yield b"data: [DONE]\n\n"


def head(answer: Answer, kind: str) -> dict[str, Any]:
    return {"id": f"chatcmpl-{answer.key}", "object": kind, "created": answer.created, "model": answer.model}


def content(asked: Asked, answer: Answer) -> str:
    return "".join(token for token, _ in tokens(asked, answer))


def tokens(asked: Asked, answer: Answer) -> list[tuple[str, bool]]:
    """What is written, and which piece of it is the label: with the quote that ends it where there is one, so that no
    label is the beginning of another."""
    if not asked.as_json:
        return [(answer.label, True)]
    chances = {name: round(chance, 6) for name, chance in answer.probabilities.items()}
    told = json.dumps({"confidence": chances[answer.label], "probabilities": chances}, ensure_ascii=False)
    return [('{"label": "', False), (quoted(answer.label), True), (f", {told[1:]}", False)]


def quoted(label: str) -> str:
    return json.dumps(label, ensure_ascii=False)[1:]


def logprobs(asked: Asked, answer: Answer) -> dict[str, Any] | None:
    if not asked.logprobs:
        return None
    written = quoted if asked.as_json else str
    found = sorted(((log(chance), written(name)) for name, chance in answer.probabilities.items()), reverse=True)
    labels = [token(name, chance) for chance, name in found]
    told = []
    for text, is_label in tokens(asked, answer):
        own = next((one["logprob"] for one in labels if is_label and one["token"] == text), 0.0)
        told.append(token(text, own) | {"top_logprobs": labels if is_label else [token(text, own)]})
    return {"content": told, "refusal": None}


def token(text: str, logprob: float) -> dict[str, Any]:
    return {"token": text, "logprob": logprob, "bytes": list(text.encode())}


def log(chance: float) -> float:
    return max(LEAST, math.log(chance)) if chance > 0 else LEAST


def error(words: str, kind: str, code: str, param: str = "") -> dict[str, Any]:
    return {"error": {"message": words, "type": kind, "param": param or None, "code": code}}
