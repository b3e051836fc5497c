"""Pure: reads a text by keywords, and says which it found."""

import re
import tomllib
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Literal

Side = Literal["up", "down", "flat"]

HELD = tomllib.loads((Path(__file__).parent / "words.toml").read_text(encoding="utf-8"))
NAMES: dict[Side, list[str]] = HELD["names"]
WORDS: dict[Side, list[str]] = HELD["words"]
DULL = frozenset(HELD["dull"])
OWN_NAME = 2  # a label's own name in the text says more than a word of its meaning


@dataclass(frozen=True, slots=True)
class Reading:
    label: str | None
    confidence: float = 0.0
    reason: str = ""
    found: tuple[str, ...] = ()


def sides(labels: Collection[str]) -> dict[Side, str]:
    """Which labels mean that prices rise, fall or stand still, as far as their names tell."""
    found: dict[Side, str] = {}
    for side, names in NAMES.items():
        meant = [label for label in labels if set(re.findall(r"\w+", label.casefold())) & set(names)]
        if meant:
            found[side] = min(meant, key=len)
    return found if {"up", "down"} <= set(found) else {}


def read(text: str, meanings: dict[str, str]) -> Reading:
    """`meanings` holds every label, and what it stands for."""
    if not text.strip():
        return Reading(None, reason="There are no words to read.")
    words = words_for(tuple(meanings.items()))
    found = {label: sorted({match.group().casefold() for match in pattern.finditer(text)}) for label, pattern in words}
    scores = {label: sum(weight(word, label) for word in hits) for label, hits in found.items()}
    ranked = sorted(scores, key=lambda label: -scores[label])
    best, second = ranked[0], scores[ranked[1]] if len(ranked) > 1 else 0
    hits = tuple(found[best])
    if asks(text) and (flat := sides(meanings).get("flat")):
        return Reading(flat, 0.7, "It asks a question.", hits)
    if scores[best] == second:
        told = "Its words point to more than one label." if second else "None of its words points to a label."
        return Reading(None, reason=told)
    return Reading(
        best, round((scores[best] + 1) / (scores[best] + second + 2), 2), f"It says {', '.join(hits)}.", hits
    )


def weight(word: str, label: str) -> int:
    return OWN_NAME if word == label.casefold() else 1


def asks(text: str) -> bool:
    return re.search(r"\?\W*$", text) is not None


@lru_cache(maxsize=64)
def words_for(meanings: tuple[tuple[str, str], ...]) -> list[tuple[str, re.Pattern[str]]]:
    market = {label: WORDS[side] for side, label in sides([label for label, _ in meanings]).items()}
    return [(label, pattern([label, *market.get(label, hints(meaning))])) for label, meaning in meanings]


def hints(meaning: str) -> list[str]:
    return [word for word in re.findall(r"[^\W\d_]{4,}", meaning.casefold()) if word not in DULL]


def pattern(words: Iterable[str]) -> re.Pattern[str]:
    return re.compile("|".join(map(bounded, sorted(words, key=len, reverse=True))), re.IGNORECASE)


def bounded(word: str) -> str:
    """Emoji stand anywhere, also glued to each other; $MOON is a name and no word."""
    stem = re.escape(word.removesuffix("*")) + (r"\w*" if word.endswith("*") else "")
    return rf"(?<![\w$]){stem}(?!\w)" if word[0].isalnum() else stem
