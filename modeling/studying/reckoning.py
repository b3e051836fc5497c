"""What all parts of a study would take together, for whoever is about to start it."""

from dataclasses import dataclass

from annotate.models import LabelSource
from modeling.gpu.config import Config
from modeling.models import Dataset, Split, StudyKind
from modeling.training import estimates, fitting
from modeling.training.fitting import Estimate, OnCard

from .parting import TENTHS
from .studies import Plan


@dataclass(frozen=True)
class Reckoned:
    learnt: list[int]  # posts, part by part; about as many, before they are drawn
    is_tiny: bool
    steps: int
    cards: list[OnCard]

    @property
    def parts(self) -> int:
        return len(self.learnt)

    @property
    def fewest(self) -> int:
        return min(self.learnt)

    @property
    def most(self) -> int:
        return max(self.learnt)


def reckon(config: Config, dataset: Dataset, plan: Plan) -> Reckoned:
    learnt = learnt_by(dataset, plan)
    made = [one for posts in learnt if (one := fitting.estimate(config, posts))]
    cards = [together(config, made, card) for card in estimates.cards()] if len(made) == len(learnt) else []
    return Reckoned(learnt, config.is_made_on_the_spot, sum(one.steps for one in made), cards)


def learnt_by(dataset: Dataset, plan: Plan) -> list[int]:
    splits = dataset.composition["splits"]
    posts = {name: split["posts"] for name, split in splits.items()}
    if plan.kind == StudyKind.CURVE:
        return [max(1, round(share * posts[Split.TRAIN])) for share in sorted(plan.shares)]
    by_model = splits[Split.TRAIN]["sources"].get(LabelSource.MODEL, 0)  # in every fold, and asked about in none
    pool = posts[Split.TRAIN] + posts[Split.VALIDATION] + posts[Split.TEST] - by_model
    validating = posts[Split.VALIDATION] or pool // TENTHS
    return [max(1, by_model + round((pool - validating) * (plan.folds - 1) / plan.folds))] * plan.folds


def together(config: Config, made: list[Estimate], card: fitting.Card) -> OnCard:
    each = [fitting.on_cards(one, config, [card])[0] for one in made]
    cost = sum(one.cost or 0 for one in each) if card.price is not None else None
    return OnCard(card, all(one.fits for one in each), sum(one.seconds for one in each), cost)
