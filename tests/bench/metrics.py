"""Measuring 100,000 predictions with 1,000 resamples, comparing two, and how often an interval holds the truth.

Baseline: rows drawn anew and scikit-learn's f1_score of them, as most do it; a few resamples, scaled up to all. It
tells macro F1 alone, ours all figures of a page with log loss, calibration, folds and every label.
"""

import resource
import sys
import time
from collections.abc import Callable

import numpy as np
from sklearn.metrics import f1_score

from modeling.measures.comparison import compare
from modeling.measures.metrics import Answers, Lot, measure
from modeling.measures.resampling import FloatArray, IntArray

POSTS, SAMPLES, NAIVE = 100_000, 1000, 10
SIMULATIONS = 1000
PRIOR = np.array([0.2, 0.45, 0.35])


def made(n: int, labels: int, seed: int, groups: IntArray | None = None) -> Answers:
    """Some labels are rarer than others, and some posts harder."""
    rng = np.random.default_rng(seed)
    prior = np.arange(1, labels + 1) ** -0.7
    truth = rng.choice(labels, n, p=prior / prior.sum())
    scores = rng.normal(0, 1, (n, labels))
    scores[np.arange(n), truth] += 1 + np.sqrt(2 * np.log(labels))
    chances = np.exp(2 * scores) / np.exp(2 * scores).sum(axis=1, keepdims=True)
    names = tuple(str(k) for k in range(labels))
    return Answers(names, truth, chances.argmax(axis=1), np.arange(n) if groups is None else groups, chances)


def timed(work: Callable[[], object]) -> tuple[float, float]:
    """On the clock, and of one core: others may be at work on this machine, so that is what is compared."""
    started, spent = time.perf_counter(), time.process_time()
    work()
    return time.perf_counter() - started, time.process_time() - spent


def naive(answers: Answers, samples: int) -> FloatArray:
    rng, n = np.random.default_rng(0), len(answers)
    drawn = (rng.integers(n, size=n) for _ in range(samples))
    return np.array([f1_score(answers.truth[rows], answers.told[rows], average="macro") for rows in drawn])


def measuring() -> None:
    print(f"measure(): {POSTS:,} predictions, {SAMPLES:,} resamples")
    measure(made(1000, 3, 0))  # what it imports is loaded
    for labels in (3, 67):
        alone = made(POSTS, labels, 1)
        baseline = timed(lambda alone=alone: naive(alone, NAIVE))[1] * SAMPLES / NAIVE
        print(f"  {labels:2} labels  baseline, {NAIVE} resamples scaled up           {baseline:5.1f} s of one core")
        sizes = {"no two posts alike": None, "43,000 groups": np.random.default_rng(2).integers(0, 50_000, POSTS),
                 "500 groups": np.arange(POSTS) % 500}  # fmt: skip
        for name, groups in sizes.items():
            answers = made(POSTS, labels, 1, groups)
            took, spent = timed(lambda answers=answers: measure(answers, samples=SAMPLES))
            print(
                f"             {name:34} {took:6.1f} s, {spent:5.1f} s of one core, {baseline / spent:.0f} times less"
            )
    print(f"  peak memory {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MB")


def comparing() -> None:
    print("compare(): 2,000 resamples of both")
    for n, labels, times in ((107, 3, 50), (POSTS, 3, 1), (POSTS, 67, 1)):
        a, b = made(n, labels, 3), made(n, labels, 3)
        told = np.where(np.random.default_rng(4).random(n) < 0.1, 0, b.told)
        other = Answers(b.labels, b.truth, told, b.groups)
        took, spent = timed(lambda a=a, other=other, times=times: [compare(a, other, seed) for seed in range(times)])
        baseline = 2 * timed(lambda a=a: naive(a, NAIVE))[1] * 2000 / NAIVE
        print(
            f"  {n:7,} posts, {labels:2} labels  {1000 * took / times:8.1f} ms, {1000 * spent / times:.1f} ms of one "
            f"core; baseline, {NAIVE} resamples scaled up, {1000 * baseline:,.0f} ms"
        )


# --- Does it hold the truth?


def simulated(rng: np.random.Generator, n: int, right: float) -> Answers:
    truth = rng.choice(3, n, p=PRIOR)
    told = np.where(rng.random(n) < right, truth, (truth + rng.integers(1, 3, n)) % 3)
    return Answers(("a", "b", "c"), truth, told, np.arange(n))


def true_macro_f1(right: float) -> float:
    return float(np.mean(2 * right * PRIOR / (PRIOR + right * PRIOR + (1 - right) / 2 * (1 - PRIOR))))


def held(n: int, right: float) -> IntArray:
    """Of macro F1 and accuracy, how often our interval held the truth, and how often percentiles did."""
    rng, truths, hits = np.random.default_rng(5), (true_macro_f1(right), right), np.zeros((2, 2), dtype=int)
    for seed in range(SIMULATIONS):
        lot = Lot(simulated(rng, n, right))
        whole, drawn = lot.whole, lot.drawn(SAMPLES, seed)
        assert drawn
        for k, (name, truth) in enumerate(zip(("macro_f1", "accuracy"), truths, strict=True)):
            one = lot.figure(getattr(whole, name), getattr(drawn, name))
            low, high = np.quantile(getattr(drawn, name), [0.025, 0.975])
            hits[k] += [one.low <= truth <= one.high, low <= truth <= high]
    return hits


def covering() -> None:
    print(f"95% intervals that hold the truth, of {SIMULATIONS:,} simulated test sets (plain percentiles beside)")
    for n in (107, 30):
        for right in (0.6, 0.75, 0.9):
            (f1, f1_plain), (accuracy, accuracy_plain) = (100 * held(n, right) / SIMULATIONS).tolist()
            print(
                f"  {n:3} posts, accuracy {right:.2f}: macro F1 {f1:.1f}% ({f1_plain:.1f}%), "
                f"accuracy {accuracy:.1f}% ({accuracy_plain:.1f}%)"
            )
    for right in (0.75, 0.9):
        rng, called = np.random.default_rng(6), 0
        for seed in range(SIMULATIONS):
            one = simulated(rng, 107, right)
            rival = simulated(rng, 107, right)
            again = np.where(rng.random(107) < 0.7, one.told, (one.truth + rival.told - rival.truth) % 3)
            called += compare(one, Answers(one.labels, one.truth, again, one.groups), seed).distinguishable
        print(
            f"  two equally good, accuracy {right:.2f}, 107 posts: called different {100 * called / SIMULATIONS:.1f}%"
        )


if __name__ == "__main__":
    chosen = sys.argv[1:] or ["measuring", "comparing", "covering"]
    for part in (measuring, comparing, covering):
        if part.__name__ in chosen:
            part()
