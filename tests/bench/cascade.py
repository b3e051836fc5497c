"""A cascade of 67 labels, simulated: what it saves at equal accuracy, and how long a curve over 100,000 posts takes.

Some labels are fifty times as common as others. The first stage is right about 70% of the posts and has the label among
its first five for about 93%, and is roughly as often right as it says; it tells its five likeliest labels and no more.
The second is right about 88% of those whose label is among the candidates. Weight, temperature and threshold are fitted
on the one set, as they would be on validation, and the figures are of the other, which stands for the test split.
"""

import resource
import time

import numpy as np

from modeling.measures import calibration, cascade
from modeling.measures.cascade import Point
from modeling.measures.resampling import FloatArray, IntArray

LABELS, K = 67, 5
POSTS, MANY = 5000, 100_000
SECONDS = (0.004, 0.25)  # a post: a small classifier, and a model of 7 billion weights on a rented card


def simulated(n: int, seed: int) -> tuple[FloatArray, FloatArray, IntArray]:
    """The label is drawn by what the first stage says, which so is as often right as it says; what it tells of that is
    its likeliest alone. Hard posts are hard for both, and the second is twice as sure as it should be."""
    rng = np.random.default_rng(seed)
    sharp = rng.lognormal(0.92, 0.5, n)[:, None]
    scores = sharp * (rng.gumbel(0, 1, (n, LABELS)) - 0.9 * np.log(np.arange(1, LABELS + 1)))
    chances = calibration.apply(scores, 1.0)
    truth = (chances.cumsum(axis=1) > rng.random((n, 1))).argmax(axis=1)
    of_truth = np.clip(chances[np.arange(n), truth], 1e-3, 1)
    second = rng.gumbel(0, 1, (n, LABELS))
    second[np.arange(n), truth] += 3.75 + 0.5 * np.log(of_truth)
    return cascade.whole(top(chances, K)), 2 * second, truth


def top(chances: FloatArray, k: int) -> FloatArray:
    """As a classifier's file has it: the likeliest alone, and of the others nothing."""
    least = np.sort(chances, axis=1)[:, -k][:, None]
    return np.where(chances >= least, np.round(chances, 4), np.nan)


def said(name: str, point: Point) -> str:
    rare = "–" if point.minority_recall is None else f"{point.minority_recall:.3f}"
    return (
        f"  {name:26} {point.accuracy.value:.3f} ({point.accuracy.low:.3f} to {point.accuracy.high:.3f})  "
        f"{point.balanced_accuracy:8.3f}  {point.macro_f1:8.3f}  {rare:>8}  {100 * point.saved:5.1f}%  "
        f"{1000 * (point.seconds or 0):6.0f} ms"
    )


def saving() -> None:
    fitting, testing = simulated(POSTS, 1), simulated(POSTS, 2)
    first, second, truth = testing
    among = (cascade.candidates(first, K).places == truth[:, None]).any(axis=1)
    masked = cascade.blended(first, second, K, 1, 1).argmax(axis=1)
    print(f"{LABELS} labels, {POSTS:,} posts to fit on and as many to measure on, candidates {K}")
    alone, right = (first.argmax(axis=1) == truth).mean(), (masked == truth)[among].mean()
    print(f"  the first stage is right about {alone:.1%} and has the label among its {K} for {among.mean():.1%}; the")
    print(f"  second is right about {right:.1%} of these")
    bins = calibration.reliability(first.max(axis=1), first.argmax(axis=1) == truth)
    print(f"  expected calibration error of the first: {calibration.ece(bins):.3f}")
    fit = cascade.fit(*fitting, K)
    groups = np.arange(POSTS)
    drawn = cascade.curve(*fitting, groups, K, fit.weight, fit.temperature, seconds=SECONDS)
    chosen = cascade.cheapest_as_good(drawn)
    print(f"  fitted: weight {fit.weight:.2f}, temperature {fit.temperature:.2f}, threshold {chosen.threshold:.3f}")
    at = [cascade.NEVER, chosen.threshold, cascade.ALWAYS]
    told = cascade.curve(*testing, groups, K, fit.weight, fit.temperature, at=at, seconds=SECONDS)
    print(f"  {'':26} {'accuracy':22}  {'balanced':>8}  {'macro F1':>8}  {'minority':>8}  {'saved':>6}  {'a post':>9}")
    for name, point in zip(("first stage alone", "cascade", "always asking, blended"), told, strict=True):
        print(said(name, point))
    plain = cascade.curve(*testing, groups, K, at=[cascade.ALWAYS], seconds=SECONDS)[0]
    print(said("always asking, second alone", plain))
    behind = told[1].behind
    print(f"  cascade less always asking: {100 * behind.value:+.2f} points ({100 * (behind.low or 0):+.2f} to "
          f"{100 * (behind.high or 0):+.2f})")  # fmt: skip


def drawing() -> None:
    first, second, truth = simulated(MANY, 3)
    for groups, words in ((np.arange(MANY), "no two alike"), (np.arange(MANY) // 2, "in pairs")):
        began, spent = time.perf_counter(), time.process_time()
        fit = cascade.fit(first, second, truth, K)
        fitted = time.perf_counter() - began
        points = cascade.curve(first, second, truth, groups, K, fit.weight, fit.temperature)
        took, spent = time.perf_counter() - began, time.process_time() - spent
        print(
            f"  {MANY:,} posts x {LABELS} labels, {words}: fitted in {fitted:.1f} s, {len(points)} thresholds with "
            f"intervals in {took - fitted:.1f} s; {spent:.1f} s of one core in all"
        )
    print(f"  peak memory {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MB")


if __name__ == "__main__":
    saving()
    drawing()
