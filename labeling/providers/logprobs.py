"""Pure: the probabilities of an answer's tokens -> the probabilities of the labels."""

import json
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass

LABEL = re.compile(r'"label"\s*:\s*"')
NEGLIGIBLE = 0.01


@dataclass(frozen=True, slots=True)
class Token:
    """A token as it was written, and what else could have stood there, each with its log probability."""

    text: str
    alternatives: tuple[tuple[str, float], ...]


def label_probabilities(
    tokens: Sequence[Token], labels: tuple[str, ...], bare: bool = False
) -> dict[str, float] | None:
    """None where it cannot be told: no such place in the answer, or tokens that could begin more than one label."""
    told = "".join(token.text for token in tokens)
    if bare:
        begins = len(told) - len(told.lstrip())
        masses = walk(*from_place(tokens, begins), {label: label.casefold() for label in labels})
    else:
        place = LABEL.search(told)
        if place is None:
            return None
        masses = walk(*from_place(tokens, place.end()), {label: written(label) for label in labels})
    total = sum(masses.values()) if masses else 0.0
    return {label: masses[label] / total for label in labels} if masses and total > 0 else None


def written(label: str) -> str:
    """As it stands in the JSON, with the quote that ends it."""
    return json.dumps(label, ensure_ascii=False)[1:].casefold()


def from_place(tokens: Sequence[Token], place: int) -> tuple[Sequence[Token], str]:
    """The tokens from the one in which the label begins, and what that token holds before it: often the quote."""
    start = 0
    for number, token in enumerate(tokens):
        if start + len(token.text) > place:
            return tokens[number:], token.text[: place - start]
        start += len(token.text)
    return [], ""


def walk(tokens: Sequence[Token], before: str, labels: dict[str, str]) -> dict[str, float] | None:
    """Follows the answer while what is written could still become more than one label."""
    masses, left, begun = dict.fromkeys(labels, 0.0), 1.0, ""
    for token in tokens:
        shares = shares_of(token, before, begun)
        if {text for text, _ in token.alternatives} <= {token.text}:
            return None  # a server that tells no alternatives
        chosen = begun + token.text.removeprefix(before)
        goes_on = is_open(chosen, labels)
        followed = shares.pop(chosen, 0.0) if goes_on else 0.0
        if sum(share for told, share in shares.items() if is_open(told, labels)) > NEGLIGIBLE:
            return None
        for told, share in shares.items():
            for label in meanings(told, labels)[:1]:
                masses[label] += left * share
        if not goes_on:
            return masses
        left, begun, before = left * followed, chosen, ""
    return None


def shares_of(token: Token, before: str, begun: str) -> dict[str, float]:
    """How likely each beginning of a label was at this token."""
    return {
        begun + text.removeprefix(before): math.exp(min(0.0, logprob))
        for text, logprob in token.alternatives
        if text.startswith(before)
    }


def is_open(begun: str, labels: dict[str, str]) -> bool:
    return len(meanings(begun, labels)) > 1


def meanings(begun: str, labels: dict[str, str]) -> list[str]:
    told = begun.casefold()
    return [label for label, whole in labels.items() if told and (whole.startswith(told) or told.startswith(whole))]
