"""Two runs side by side: what they were told, what they learnt from, and what came out."""

from dataclasses import dataclass
from typing import Any, NamedTuple

from modeling.models import Run

from . import run_settings

SCORES = (("macro_f1", "Macro F1"), ("accuracy", "Accuracy"), ("loss", "Loss on validation"), ("step", "At step"))


class Row(NamedTuple):
    title: str
    one: str
    other: str


class Score(NamedTuple):
    title: str
    one: float | None
    other: float | None
    better: str  # which of the two, where one is


@dataclass(frozen=True)
class Beside:
    one: Run
    other: Run

    @property
    def same_posts(self) -> bool:
        """Only then are their scores those of one measure."""
        return self.one.dataset.content_hash == self.other.dataset.content_hash

    @property
    def settings(self) -> list[Row]:
        was, now = self.one.config, self.other.config
        names = run_settings.differing(was, now)
        return [Row(run_settings.title_of(name), told(name, was), told(name, now)) for name in names]

    @property
    def scores(self) -> list[Score]:
        return [self.score(name, title) for name, title in SCORES]

    def score(self, name: str, title: str) -> Score:
        one, other = self.one.scores.get(name), self.other.scores.get(name)
        if None in (one, other) or one == other or name == "step":
            return Score(title, one, other, "")
        return Score(title, one, other, "one" if (one > other) != (name == "loss") else "other")


def told(name: str, config: dict[str, Any]) -> str:
    return run_settings.in_words(name, config[name]) if name in config else "–"
