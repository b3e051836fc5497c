"""Pairs of voters to start from; one voter alone settles nothing."""

import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


@dataclass(frozen=True, slots=True)
class Suggested:
    name: str
    provider: str
    model: str
    parameters: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Pair:
    key: str
    title: str
    note: str
    voters: tuple[Suggested, ...]


def available() -> list[Pair]:
    held = tomllib.loads((Path(__file__).parent / "pairs.toml").read_text(encoding="utf-8"))
    return [Pair(**pair | {"voters": tuple(Suggested(**voter) for voter in pair["voters"])}) for pair in held["pairs"]]
