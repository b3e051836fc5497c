"""What a run would need and cost, for whoever is about to start it."""

from dataclasses import dataclass

from modeling.gpu.config import Config
from modeling.models import Card, Dataset

from . import fitting
from .fitting import Estimate, OnCard


@dataclass(frozen=True)
class Told:
    is_tiny: bool
    is_classifier: bool
    is_as_it_is: bool  # nothing is trained
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
    train = dataset.composition["splits"]["train"]
    made = fitting.estimate(config, train["posts"])
    on_cards = fitting.on_cards(made, config, cards()) if made else []
    warned = fitting.warnings(made, config, on_cards) if made else []
    blind = (unseen if config.as_is else left_out)(train["posts"], train["pictures"]) if config.is_classifier else []
    return Told(
        config.is_made_on_the_spot, config.is_classifier, config.as_is, made, on_cards, [*blind, *warned]
    )  # fmt: skip


def left_out(posts: int, pictures: int) -> list[str]:
    """Of posts without a picture a classifier learns nothing."""
    if not pictures:
        return ["No post of the train split has a picture: a classifier cannot learn from it."]
    without = posts - pictures
    told = f"{without:,} of {posts:,} posts have no picture, and are left out: asked about such a post, it only knows"
    return [f"{told} how common each label was."] if without else []


def unseen(posts: int, pictures: int) -> list[str]:
    """What is taken as it is learns from none, so that none is left out."""
    without = posts - pictures
    told = f"{without:,} of {posts:,} posts have no picture: asked about such a post, it only knows how common each"
    return [f"{told} label is."] if without else []
