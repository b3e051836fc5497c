"""A run's receipt in words. What is not known here by name is told all the same, under its own."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from django.template.defaultfilters import filesizeformat

from . import run_settings

TITLES = {
    "model": "Base model", "revision": "Revision", "family": "Family", "dataset": "Dataset",
    "trained_for": "Trained for", "papers": "Papers", "posts": "Posts", "parameters": "Parameters",
    "trained": "Trained", "frozen": "Frozen", "used": "Used", "machine": "Machine", "libraries": "Libraries",
    "code": "Code", "steps": "Steps", "seconds": "Seconds", "best": "Best", "scores": "Scores", "metrics": "Scores",
    "peak_memory": "Peak memory", "energy": "Energy", "cost": "Cost", "adapter": "Hash of the adapter",
}  # fmt: skip
APART = {"config"}  # the settings have a place of their own on the page
BYTES = {"peak_memory", "memory"}
CODE = {"trained", "frozen", "adapter", "revision"}
LONG = 8  # lines, from which on they are folded


class Line(NamedTuple):
    title: str
    said: list[str]
    is_code: bool = False

    @property
    def is_long(self) -> bool:
        return len(self.said) > LONG


def lines(receipt: Mapping[str, Any]) -> list[Line]:
    order = [name for name in TITLES if name in receipt]
    order += [name for name in receipt if name not in TITLES and name not in APART]
    told = ((name, said(name, receipt[name])) for name in order)
    return [Line(title_of(name), words, name in CODE) for name, words in told if words]


def title_of(name: str) -> str:
    return TITLES.get(name) or plain(run_settings.title_of(name)).capitalize()


def plain(name: str) -> str:
    return name.replace("_", " ")


def said(name: str, value: Any) -> list[str]:
    """Line by line."""
    if isinstance(value, Mapping):
        parts = ((key, in_short(key, of)) for key, of in sorted(value.items()))
        return [f"{key if name in CODE else plain(key)}: {words}" for key, words in parts if words]
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [words for one in value if (words := in_short(name, one))]
    return [words] if (words := in_short(name, value)) else []


def in_short(name: str, value: Any) -> str:
    """In a line, whatever it holds."""
    if value is None or value == "":
        return ""
    if isinstance(value, Mapping):
        parts = [f"{plain(key)} {words}" for key, of in sorted(value.items()) if (words := bracketed(key, of))]
        return ", ".join(parts)
    if isinstance(value, Sequence) and not isinstance(value, str):
        return ", ".join(words for one in value if (words := in_short(name, one)))
    if name in BYTES and isinstance(value, int) and abs(value) < 2**63:
        return str(filesizeformat(value))
    if isinstance(value, float):
        return f"{value:,.4g}" if abs(value) < 1000 else f"{value:,.0f}"
    return run_settings.in_words("", value)


def bracketed(name: str, value: Any) -> str:
    words = in_short(name, value)
    return f"({words})" if words and isinstance(value, Mapping) else words
