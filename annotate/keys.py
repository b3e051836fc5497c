"""Pure: which key does what on the review screen. Labels come first: they are what people press all day."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

# action -> its usual key, and what it does
ACTIONS = {
    "votes": ("v", "Show the votes"),
    "incongruous": ("s", "Picture and text contradict each other"),
    "note": ("n", "Write a note"),
    "undo": ("u", "Take the last answer back"),
    "skip": ("k", "Skip the post"),
    "flag": ("f", "Say what is wrong with the post"),
    "zoom": ("z", "See the picture at its actual size"),
    "guidelines": ("g", "Read the question and the guidelines"),
    "find": ("/", "Find a label by typing, where there are many"),
    "help": ("?", "List the keys"),
}
DIGITS = 9  # more labels than this are found by typing


@dataclass(frozen=True, slots=True)
class Keys:
    labels: dict[int, str]
    actions: dict[str, str]  # an action whose key a label has taken has none
    lost: dict[str, int]  # and these are they, with the label


def keys_for(chosen: Mapping[str, str], labels: Sequence[tuple[int, str]]) -> Keys:
    """`labels` in their order, each with the key of its own, if any."""
    of_labels = label_keys(labels)
    by_key = {key.lower(): pk for pk, key in of_labels.items() if key}
    wanted = wanted_keys(chosen)
    lost = {action: by_key[key] for action, key in wanted.items() if key in by_key}
    return Keys(of_labels, {action: "" if action in lost else key for action, key in wanted.items()}, lost)


def wanted_keys(chosen: Mapping[str, str]) -> dict[str, str]:
    return {action: chosen.get(action) or usual for action, (usual, _) in ACTIONS.items()}


def label_keys(labels: Sequence[tuple[int, str]]) -> dict[int, str]:
    taken = {key for _, key in labels if key}
    digits = [str(n) if len(labels) <= DIGITS and str(n) not in taken else "" for n in range(1, len(labels) + 1)]
    return {pk: key or digit for (pk, key), digit in zip(labels, digits, strict=True)}


def refused(chosen: Mapping[str, str]) -> dict[str, str]:
    """What is wrong with a person's own keys: for each action at fault a sentence."""
    faults: dict[str, str] = {}
    used: dict[str, str] = {}
    for action, key in wanted_keys(chosen).items():
        if len(key) != 1 or not key.isprintable() or key.isspace():
            faults[action] = "A key is one letter or sign."
        elif key.isdigit():
            faults[action] = "Digits choose labels."
        elif key in used:
            faults[action] = f"“{key}” is already the key for: {ACTIONS[used[key]][1].lower()}."
        used.setdefault(key, action)
    return faults
