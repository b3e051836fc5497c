"""Pure: what a server wrote -> a label, and how likely each label was, where the log-probabilities tell.

A label may be several tokens. What was written is followed token by token; wherever another label could have gone on
instead, its first other token is counted for the whole of it. That is a little too much for labels that were not
written, by what their later tokens would have cost; for the label that was written it is exact.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

AMBIGUOUS = 0.01  # that could still have become one label or another


@dataclass(frozen=True, slots=True)
class Token:
    """A token as it was written, and what else could have stood there, each with its log-probability."""

    text: bytes
    chance: float
    others: tuple[tuple[bytes, float], ...] = ()


@dataclass(frozen=True, slots=True)
class Read:
    label: str  # blank: no label was written
    chances: Mapping[str, float] | None = None  # of every label, adding up to 1
    own: float | None = None  # of the label that was written, as a whole; also where no other is known


def plain(words: str) -> str:
    return " ".join(words.strip().strip("\"'“”*`.").split()).casefold()


def label_in(content: str, labels: Sequence[str]) -> str:
    """Thoughts before it and quotes around it are passed over; the first line counts."""
    told = content.rpartition("</think>")[2].strip()
    first = told.splitlines()[0].strip() if told else ""
    for said in (told, first):
        if said in labels:
            return said
        meant = [label for label in labels if plain(label) == plain(said)]
        if len(meant) == 1:
            return meant[0]
    return ""


def read(content: str, tokens: Sequence[Token], labels: Sequence[str]) -> Read:
    label = label_in(content, labels)
    if not label or not tokens:
        return Read(label)
    own = math.exp(sum(token.chance for token in tokens))
    masses = followed(tokens, {name: name.encode() for name in labels}, label)
    if masses is None:
        return Read(label, None, own)
    total = sum(masses.values())
    return Read(label, {name: mass / total for name, mass in masses.items()}, own)


def followed(tokens: Sequence[Token], labels: Mapping[str, bytes], written: str) -> dict[str, float] | None:
    """How likely each label was. None where a server tells no alternatives, or too much of them is ambiguous."""
    masses, left, begun = dict.fromkeys(labels, 0.0), 1.0, b""
    told_any = False
    for token in tokens:
        for other, chance in token.others:
            if other == token.text:
                continue
            told_any = True
            meant = meanings(begun + other, labels)
            if len(meant) > 1 and left * math.exp(chance) > AMBIGUOUS:
                return None
            if len(meant) == 1:
                masses[meant[0]] += left * math.exp(chance)
        begun += token.text
        left *= math.exp(token.chance)
        meant = meanings(begun, labels)
        if len(meant) < 2 and not any(is_open(begun, name) for name in labels.values()):
            break
    if not told_any or left <= 0 or meanings(begun, labels) != [written]:
        return None
    masses[written] += left
    return masses


def meanings(begun: bytes, labels: Mapping[str, bytes]) -> list[str]:
    """Which labels it could become; of one that is whole already, the longest that it is."""
    told = begun.lstrip()
    if not told:
        return []
    coming = [name for name, whole in labels.items() if whole.startswith(told)]
    if coming:
        exact = [name for name in coming if labels[name] == told]
        return exact or coming
    whole = [name for name, letters in labels.items() if told.startswith(letters) and ends(told[len(letters) :])]
    return [max(whole, key=lambda name: len(labels[name]))] if whole else []


def ends(rest: bytes) -> bool:
    """What stands behind a label is no part of a longer word."""
    return not rest[:1].isalnum() and rest[:1] < b"\x80"


def is_open(begun: bytes, whole: bytes) -> bool:
    """It has begun and is not whole, or is whole and may go on."""
    told = begun.lstrip()
    return not told or (whole.startswith(told) and len(whole) > len(told))
