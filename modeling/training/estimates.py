"""What a run would need and cost, for whoever is about to start it."""

from dataclasses import dataclass

from modeling.gpu import tiny
from modeling.gpu.config import Config
from modeling.models import Card, Dataset

from . import fitting
from .fitting import Estimate, OnCard


@dataclass(frozen=True)
class Told:
    is_tiny: bool
    made: Estimate | None  # None: a model whose shape we do not know
    cards: list[OnCard]
    warnings: list[str]

    @property
    def parts(self) -> list[tuple[str, float, float]]:
        """Name, gigabytes, and the share of the whole."""
        if self.made is None:
            return []
        whole = self.made.bytes
        return [(name, part / fitting.GB, part / whole) for name, part in self.made.parts.items() if part]

    @property
    def gigabytes(self) -> float:
        return self.made.bytes / fitting.GB if self.made else 0.0


def cards() -> list[fitting.Card]:
    return [
        fitting.Card(card.name, card.gigabytes, card.teraflops, None if card.price is None else float(card.price))
        for card in Card.objects.all()
    ]


def told(config: Config, dataset: Dataset) -> Told:
    made = fitting.estimate(config, dataset.composition["splits"]["train"]["posts"])
    on_cards = fitting.on_cards(made, config, cards()) if made else []
    warned = fitting.warnings(made, config, on_cards) if made else []
    return Told(config.model == tiny.NAME, made, on_cards, warned)
