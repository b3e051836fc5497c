"""What a form or a script sends as an answer, read and checked. A refusal is a sentence for whoever sent it."""

import math
from collections.abc import Mapping
from typing import Any

from annotate.deciding import Given
from annotate.models import Project
from annotate.models.review import FLAGS, Instead

LONGEST_KEY, LONGEST_NOTE, LONGEST_TAB = 64, 4000, 36
INSTEAD = {*FLAGS, Instead.SKIP}
REASONS = ("Too hard for me", "I cannot read it", "It needs somebody who knows the subject", "Not now")
LARGEST = 2**63


class NotAnAnswer(ValueError):
    """The words are for whoever sent it."""


def read_answer(sent: Mapping[str, Any], project: Project) -> tuple[int, Given, str]:
    """Which disagreement, what was chosen, and the key under which that counts once."""
    label, instead = number(sent.get("label")), words(sent, "instead")
    if (label is None) == (not instead):
        raise NotAnAnswer("Choose one label, or say what is wrong with the post.")
    if instead and instead not in INSTEAD:
        raise NotAnAnswer("There is no such answer.")
    if label is not None and not project.labels.filter(pk=label).exists():
        raise NotAnAnswer("This project has no such label; reload the page to see those it has.")
    return read_post(sent), Given(
        label=label,
        instead=instead,
        incongruous=read_incongruous(sent, project, instead),
        note=read_note(sent, instead),
        seconds=read_seconds(sent.get("seconds")),
    ), read_key(sent)  # fmt: skip


def read_post(sent: Mapping[str, Any]) -> int:
    pk = number(sent.get("pk"))
    if pk is None:
        raise NotAnAnswer("It is not said which post this answers.")
    return pk


def read_key(sent: Mapping[str, Any]) -> str:
    key = words(sent, "key")
    if not 0 < len(key) <= LONGEST_KEY:
        raise NotAnAnswer(f"An answer needs a key of 1 to {LONGEST_KEY} characters, so that it counts once.")
    return key


def read_tab(sent: Mapping[str, Any]) -> str:
    tab = words(sent, "tab")
    if len(tab) > LONGEST_TAB:
        raise NotAnAnswer(f"The name of a tab has at most {LONGEST_TAB} characters.")
    return tab


def read_holding(sent: Mapping[str, Any]) -> list[int]:
    listed = sent.get("holding", [])
    if not isinstance(listed, list):
        raise NotAnAnswer("The posts at hand are a list of numbers.")
    return [pk for pk in map(number, listed[:50]) if pk is not None]


def read_note(sent: Mapping[str, Any], instead: str) -> str:
    """Of a skip it is the reason: one of the list, in words of one's own, or both."""
    note = words(sent, "note").strip()
    if instead == Instead.SKIP and (reason := words(sent, "reason").strip()):
        note = f"{reason}: {note}" if note else reason
    if len(note) > LONGEST_NOTE:
        raise NotAnAnswer(f"A note has at most {LONGEST_NOTE:,} characters; this one has {len(note):,}.")
    return note


def read_incongruous(sent: Mapping[str, Any], project: Project, instead: str) -> bool | None:
    """Asked beside a label, where the project asks it at all; then a box that is not ticked is a no."""
    if instead or not project.asks_incongruous:
        return None
    told = sent.get("incongruous", False)
    if told not in (True, False, "on", ""):
        raise NotAnAnswer("Whether picture and text contradict each other is yes or no.")
    return bool(told)


def read_seconds(told: Any) -> float | None:
    try:
        seconds = float(told)
    except (TypeError, ValueError, OverflowError):
        return None
    return seconds if math.isfinite(seconds) else None


def words(sent: Mapping[str, Any], name: str) -> str:
    told = sent.get(name) or ""
    if not isinstance(told, str):
        raise NotAnAnswer(f"“{name}” is a text.")
    return told.replace("\0", "")


def number(told: Any) -> int | None:
    """As JSON or as a form sends it."""
    if told is None or told == "":
        return None
    if isinstance(told, str) and told.isascii() and told.isdecimal() and len(told) < 20:
        told = int(told)
    if type(told) is not int or not 0 <= told < LARGEST:
        raise NotAnAnswer("What should be a number is none.")
    return told
