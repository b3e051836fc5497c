"""How far a model slides over rounds that are each a little worse, held against the last that was kept, and against the
best; and how often a round as good as those before it goes back. On a locked test set of 107 posts, with our own
comparison and our own rule."""

from collections.abc import Callable, Sequence
from statistics import NormalDist
from typing import NamedTuple

import numpy as np

from modeling.measures.comparison import compare
from modeling.measures.metrics import Answers
from modeling.rounds import guards

POSTS, ROUNDS, PROJECTS, SAMPLES = 107, 6, 150, 400
BEGIN = 0.85  # accuracy of the first that is kept
ALIKE = 0.65  # how far two models of a project find the same posts hard: the correlation of their errors
LABELS = ("a", "b", "c")


class Kept(NamedTuple):
    right: float  # in truth
    answers: Answers

    @property
    def measured(self) -> float:
        return float(np.mean(self.answers.told == self.answers.truth))


class Ended(NamedTuple):
    slid: float
    rolled_back: int


Rule = Callable[[Sequence[Kept]], Kept]
RULES: dict[str, Rule] = {
    "the last": lambda kept: kept[-1], "the best": lambda kept: max(kept, key=lambda one: one.measured),
}  # fmt: skip


def project(seed: int, drift: float, rule: Rule) -> Ended:
    rng = np.random.default_rng(seed)
    truth, hard, wrong = rng.choice(3, POSTS), rng.standard_normal(POSTS), rng.integers(1, 3, POSTS)

    def model(right: float) -> Kept:
        own = np.sqrt(ALIKE) * hard + np.sqrt(1 - ALIKE) * rng.standard_normal(POSTS)
        told = np.where(own < NormalDist().inv_cdf(right), truth, (truth + wrong) % 3)
        return Kept(right, Answers(LABELS, truth, told, np.arange(POSTS)))

    kept, rolled_back = [model(BEGIN)], 0
    for number in range(ROUNDS):
        new = model(kept[-1].right + drift)
        figure = compare(new.answers, rule(kept).answers, number, SAMPLES).macro_f1
        if guards.on_holdout(guards.Difference(figure.value, figure.low, figure.high)).verdict == "roll back":
            rolled_back += 1
        else:
            kept.append(new)
    return Ended(kept[-1].right - BEGIN, rolled_back)


def main() -> None:
    print(f"{PROJECTS} simulated projects of {ROUNDS} rounds, {POSTS} locked posts, errors correlated by {ALIKE}")
    for drift in (0.0, -0.02, -0.03):
        for name, rule in RULES.items():
            ended = [project(seed, drift, rule) for seed in range(PROJECTS)]
            back = sum(one.rolled_back for one in ended) / (PROJECTS * ROUNDS)
            print(
                f"  each round {100 * drift:+.0f} points, held against {name}: {back:.1%} go back, "
                f"the model ends {100 * np.mean([one.slid for one in ended]):+.1f} points"
            )


if __name__ == "__main__":
    main()
