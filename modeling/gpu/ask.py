"""How a model is to be asked: `ask.json` in the folder. Read here and by the site, so it needs no torch."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, Self

BITS = (0, 4, 8, 16)  # 0: as it was trained
MOST_SHOWN = 32
PREDICTIONS = "predictions.jsonl"
END = "end"  # beside portions of posts: there are no more to come


def portion_at(folder: Path, number: int) -> Path:
    return folder / "posts" / f"asked-{number:06}.jsonl"


@dataclass(frozen=True)
class Ask:
    adapter: str = ""  # the folder with what training made; blank: the base model as it is
    bits: int = 0
    merged: bool = False  # the adapter added to the weights before anything is asked
    batch: int = 16

    def __post_init__(self) -> None:
        if self.bits not in BITS:
            raise ValueError("A weight is asked for with 4, 8 or 16 bits, or as it was trained (0).")
        if self.batch < 1:
            raise ValueError("A batch is one post at least.")
        if self.merged and (self.bits not in (0, 16) or not self.adapter):
            raise ValueError("What is merged is an adapter, into a model of 16 bits: quantise it afterwards.")

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> Self:
        known = {f.name for f in fields(cls)}
        if unknown := sorted(set(stored) - known):
            raise ValueError(f"“{unknown[0]}” is nothing that can be set; there are {', '.join(sorted(known))}.")
        return cls(**stored)

    @classmethod
    def read(cls, folder: Path) -> Self:
        path = folder / "ask.json"
        return cls.from_json(json.loads(path.read_text(encoding="utf-8"))) if path.exists() else cls()

    def as_json(self) -> dict[str, Any]:
        return asdict(self)
