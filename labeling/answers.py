"""Pure: the form that an answer is asked in, and what a model wrote -> a vote, or an abstention that says why."""

import json
import math
from dataclasses import replace
from typing import Any

from annotate.settling import plain

from .providers.contract import Answer, Ask, Usage

NOTHING = "none"  # what a reading says where there is nothing to read
LONGEST_READING = 200
WORDS = {"yes": True, "true": True, "no": False, "false": False}


def told_to_models(labels: tuple[str, ...], asks_incongruous: bool) -> str:
    keys = {
        "text_reading": f'what the words say alone, the picture ignored: one of the labels, or "{NOTHING}"',
        "image_reading": f'what the picture says alone, the words ignored: one of the labels, or "{NOTHING}"',
        "reason": "one short sentence on words and picture together",
        "label": "one of " + ", ".join(map(quoted, labels)),
        "confidence": "a number from 0 to 1: how likely it is that careful people choose this label",
    }
    if asks_incongruous:
        keys["incongruous"] = "true if the words, taken at their word, deny what the picture shows, otherwise false"
    return "\n".join(f'"{key}": {meaning}' for key, meaning in keys.items())


def schema(labels: tuple[str, ...], asks_incongruous: bool) -> dict[str, Any]:
    """JSON Schema in the part of it that every provider understands: bounds on numbers, for one, are not."""
    keys: dict[str, Any] = {key: {"type": "string"} for key in ("text_reading", "image_reading", "reason")}
    keys["label"] = {"type": "string", "enum": list(labels)}
    keys["confidence"] = {"type": "number"}
    if asks_incongruous:
        keys["incongruous"] = {"type": "boolean"}
    return {"type": "object", "properties": keys, "required": list(keys), "additionalProperties": False}


def quoted(name: str) -> str:
    return json.dumps(name, ensure_ascii=False)


def read(raw: str, ask: Ask) -> Answer:
    """Whatever the text, this never raises."""
    if ask.bare:
        return bare(raw, ask.labels)
    given = parsed(raw)
    if given is None:
        return Answer(None, "malformed", raw=raw)
    label = label_of(given.get("label"), ask.labels)
    return Answer(
        label=label,
        abstained="" if label else "not a label",
        confidence=confidence_of(given.get("confidence")),
        reason=text_of(given.get("reason")),
        text_reading=reading_of(given.get("text_reading"), ask.labels),
        image_reading=reading_of(given.get("image_reading"), ask.labels),
        incongruous=truth_of(given.get("incongruous")) if ask.asks_incongruous else None,
        raw=raw,
    )


def bare(raw: str, labels: tuple[str, ...]) -> Answer:
    """Of a model that was trained to write the label and nothing else."""
    told = raw.rpartition("</think>")[2].strip()
    label = label_of(told, labels)
    return Answer(label, "" if label else "not a label" if told else "malformed", raw=raw)


def parsed(raw: str) -> dict[str, Any] | None:
    """Thoughts before it, a code fence or a sentence around it are what servers without a schema add."""
    told = raw.rpartition("</think>")[2].strip()
    for candidate in (told, told[told.find("{") : told.rfind("}") + 1]):
        try:
            given = json.loads(candidate)
        except (ValueError, RecursionError):
            continue
        if isinstance(given, dict):
            return given
    return None


def label_of(given: Any, labels: tuple[str, ...]) -> str | None:
    """The label that was meant: only case, quotes and spaces may differ. "Slightly bullish" is not one."""
    if not isinstance(given, str):
        return None
    if given in labels:
        return given
    meant = [label for label in labels if plain(label) == plain(given)]
    return meant[0] if len(meant) == 1 else None


def confidence_of(given: Any) -> float | None:
    share = 100 if isinstance(given, str) and given.strip().endswith("%") else 1
    try:
        told = float(given.strip().rstrip("%") if isinstance(given, str) else given) / share
    except (TypeError, ValueError, OverflowError):
        return None
    return told if not isinstance(given, bool) and math.isfinite(told) and 0 <= told <= 1 else None


def reading_of(given: Any, labels: tuple[str, ...]) -> str:
    told = text_of(given)
    label = label_of(told, labels)
    return label or ("" if plain(told) == NOTHING else told[:LONGEST_READING])


def truth_of(given: Any) -> bool | None:
    return given if isinstance(given, bool) else WORDS.get(plain(text_of(given)))


def text_of(given: Any) -> str:
    return given.strip() if isinstance(given, str) else ""


def completed(answer: Answer, usage: Usage, probabilities: dict[str, float] | None) -> Answer:
    return replace(answer, usage=usage, probabilities=probabilities if answer.label else None)
