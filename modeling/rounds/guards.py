"""Pure: whether a round is kept, and whether another one would be worth it."""

from collections.abc import Sequence
from math import sqrt
from typing import Literal, NamedTuple

ENOUGH = 20  # audits of a round's own labels; fewer decide nothing, unless all there are were answered
AT_ONCE = 8  # audits after which what is plainly wrong need not wait for the others
GAIN = 0.01  # macro F1; what is less is nothing that users would notice
ROUNDS = 2  # in a row without a gain, and another is not worth it

PLAINLY = 3.0  # standard errors: looked at after every answer, two are reached by luck too often
Verdict = Literal["keep", "roll back", "wait", "ask"]


class Difference(NamedTuple):
    """Of macro F1, this round's model against the best that was kept, on the same posts."""

    value: float
    low: float | None  # too few posts tell no interval
    high: float | None


class Audited(NamedTuple):
    """How wrong the labels of this round's model are, as far as people have checked them blind."""

    rate: float
    low: float
    high: float
    audits: int
    waiting: int  # drawn, and answered by nobody yet


class Judgement(NamedTuple):
    verdict: Verdict
    words: str


def on_holdout(difference: Difference) -> Judgement:
    """Worse is what cannot be luck: on a hundred posts most differences can."""
    value, low, high = difference
    told = f"macro F1 {value:+.3f} against the best round that was kept"
    if low is None or high is None:
        return Judgement("ask", f"{told}, on too few posts to say whether that is luck: a lead decides.")
    told += f" (95%: {low:+.3f} to {high:+.3f})"
    if high < 0:
        return Judgement("roll back", f"It is worse on the locked test set: {told}, which is more than luck.")
    return Judgement("keep", f"It is not worse on the locked test set: {told}.")


def by_audit(audited: Audited | None, allowed: float, is_enough: bool = False, labels: int | None = None) -> Judgement:
    """`is_enough`: nobody will answer more; `labels`: so many there are.

    What is told counts, and not its interval: where a tenth is wrong and a twentieth is allowed, 20 audits let it pass
    4 times in 10, and 100 audits once in 17. Looked at again and again, only what is plainly too much goes back early.
    """
    if audited is None or not audited.audits:
        return Judgement("wait", "None of its labels was audited yet.")
    rate, low, high, audits, waiting = audited
    told = (
        f"{rate:.1%} of its labels are wrong (95%: {low:.1%} to {high:.1%}; {counted(audits)}), {allowed:.1%} allowed"
    )
    if audits >= AT_ONCE and wilson(rate, audits, PLAINLY)[0] > allowed:
        return Judgement("roll back", f"{told}: more than luck.")
    if waiting and not (is_enough and audits >= ENOUGH):
        return Judgement("wait", f"{told} so far; {waiting:,} more to be answered.")
    if audits < ENOUGH and (labels is None or audits < labels):
        return Judgement("ask", f"{told}. So few audits decide nothing: a lead does.")
    if rate <= allowed:
        return Judgement("keep", f"{told}.")
    return Judgement("roll back", f"{told}.")


def wilson(rate: float, n: int, z: float) -> tuple[float, float]:
    middle, spread = rate + z * z / (2 * n), z * sqrt(rate * (1 - rate) / n + z * z / (4 * n * n))
    return (middle - spread) / (1 + z * z / n), (middle + spread) / (1 + z * z / n)


def share_audited(asked: float, settles: int) -> float:
    """More than was asked for where few are settled: a verdict takes so many, and some will be answered by nobody."""
    return max(asked, min(1.0, 1.5 * ENOUGH / settles) if settles else 0.0)


def counted(audits: int) -> str:
    return "1 blind audit" if audits == 1 else f"{audits:,} blind audits"


class Past(NamedTuple):
    """A round that is over."""

    was_kept: bool
    gain: float | None  # of macro F1 against the best before it
    could_be_luck: bool
    settled: int  # posts, by its model


def worth(rounds: Sequence[Past], unlabelled: int) -> tuple[bool, str]:
    """`rounds`, the latest last; `unlabelled` posts that nobody has settled."""
    if rounds and not unlabelled:
        return False, "No post is left without a label: another round would learn nothing new. Import more first."
    if len(rounds) < ROUNDS:
        return True, ""
    lately = rounds[-ROUNDS:]
    if not any(one.was_kept for one in lately):
        return False, (
            f"The last {ROUNDS} rounds were rolled back. Look at what the model gets wrong before you start another: "
            "more of the same will not help."
        )
    if all(one.gain is not None and (one.gain < GAIN or one.could_be_luck) for one in lately):
        return False, (
            f"The last {ROUNDS} rounds gained nothing that could be told from luck. Reviewing what is contested, or "
            "posts of another kind, will teach more than another round."
        )
    if not any(one.settled for one in lately):
        return False, f"The model settled nothing in the last {ROUNDS} rounds."
    return True, ""
