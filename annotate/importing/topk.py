"""Votes with probabilities, in whatever shape a classifier left them: columns of its first guesses, or objects.

`convnext_top1, convnext_p1, convnext_top2, convnext_p2, …` is one voter and its probabilities; so are `pred_1, prob_1`,
a list of `{"label": …, "score": …}`, and `"votes": {"convnext": {"label": …, "probabilities": {…}}}`.
"""

import json
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from .cells import as_text, storable
from .rows import RowVote, VoteDetail

MOST = 100  # guesses of one voter, and voters of one cell
MOST_LABELS = 1000  # of which one object tells the probability
ROUNDING = 1.02  # what probabilities may add up to
UNNAMED = "classifier"
NAME = 120  # characters of a voter's name
SAYS_LABEL = ("top", "pred", "prediction", "class", "label", "name")
SAYS_PROBABILITY = ("p", "prob", "probability", "score", "conf", "confidence")
SAYS = "|".join(sorted((*SAYS_LABEL, *SAYS_PROBABILITY), key=len, reverse=True))
BEFORE, APART = r"^(?:(?P<voter>.+?)[\s_.:-]+)?", r"[\s_.:-]"
RANKED = re.compile(rf"{BEFORE}(?P<says>{SAYS}){APART}*(?P<rank>\d{{1,3}})$", re.IGNORECASE)  # convnext_p1
RANKED_FIRST = re.compile(rf"{BEFORE}top{APART}*(?P<rank>\d{{1,3}}){APART}+(?P<says>{SAYS})$", re.IGNORECASE)  # top1_p
VOTES = frozenset({"votes"})  # a cell with a voter a key
NAMELESS = frozenset({"predictions", "prediction", "probabilities", "probs", "scores", "topk", "top_k", "classifier"})
SURE = ("score", "probability", "prob", "confidence", "p")

Guesses = list[tuple[str, object]]  # a label as it is written, and how likely it is said to be


@dataclass(frozen=True, slots=True)
class Ranking:
    voter: str  # blank where its columns name none
    pairs: tuple[tuple[str, str], ...]  # columns of a label and of its probability, the first guess first

    @property
    def key(self) -> str:
        """By its first column a person ticks it."""
        return self.pairs[0][0]

    @property
    def columns(self) -> list[str]:
        return [column for pair in self.pairs for column in pair]


def rankings(headers: Iterable[str]) -> list[Ranking]:
    """One for each voter whose guesses are numbered without a gap, from 1 or from 0."""
    found: dict[str, dict[str, dict[int, str]]] = {}
    for header in headers:
        if told := RANKED_FIRST.match(header[:NAME].strip()) or RANKED.match(header[:NAME].strip()):
            ranks = found.setdefault((told["voter"] or "").strip(), {}).setdefault(told["says"].lower(), {})
            ranks.setdefault(int(told["rank"]), header)
    paired = ((voter, pairs_of(said)) for voter, said in found.items())
    return [Ranking(storable(voter), tuple(pairs)) for voter, pairs in paired if pairs]


def pairs_of(said: Mapping[str, Mapping[int, str]]) -> list[tuple[str, str]]:
    labels = next((said[word] for word in SAYS_LABEL if word in said), {})
    sure = next((said[word] for word in SAYS_PROBABILITY if word in said), {})
    pairs = []
    for rank in range(0 if 0 in labels else 1, MOST + 1):
        if rank not in labels or rank not in sure:
            break
        pairs.append((labels[rank], sure[rank]))
    return pairs


# --- Cells with objects


def is_told_by(header: str, value: object) -> bool:
    """Whether such a cell holds votes with probabilities."""
    value = opened(value)
    if plain(header) in VOTES:
        return isinstance(value, Mapping) and any(is_vote(one) for one in value.values())
    return bool(guesses_in(value)) and (not is_bare_mapping(value) or plain(header) in NAMELESS)


def is_vote(value: object) -> bool:
    return (isinstance(value, Mapping) and "label" in value) or bool(guesses_in(value))


def is_bare_mapping(value: object) -> bool:
    return isinstance(value, Mapping) and "label" not in value and "probabilities" not in value


def plain(header: str) -> str:
    return re.sub(r"[\W_]+", "_", header.strip()).strip("_").lower()


def opened(value: object) -> object:
    """JSON in a cell of text; and the list in a list that a pipeline gives for one picture."""
    if isinstance(value, str) and value[:1] in {"[", "{"}:
        try:
            value = json.loads(value)
        except (ValueError, RecursionError):
            return None
    while isinstance(value, (list, tuple)) and len(value) == 1 and isinstance(value[0], (list, tuple)):
        value = value[0]
    return value


def guesses_in(value: object) -> Guesses:
    """Of `[{"label": …, "score": …}]`, of one of these, of `{"probabilities": {…}}`, or of `{label: probability}`."""
    value = opened(value)
    if isinstance(value, (list, tuple)):
        return [guess for one in value[:MOST_LABELS] if isinstance(one, Mapping) and (guess := guess_in(one))]
    if not isinstance(value, Mapping):
        return []
    inside = opened(value.get("probabilities"))
    if isinstance(inside, (list, tuple)):
        return guesses_in(inside)
    if guess := guess_in(value):
        return [guess]
    shares = inside if isinstance(inside, Mapping) else value
    listed = [(as_text(label), sure) for label, sure in list(shares.items())[:MOST_LABELS] if sure is not None]
    return listed if listed and all(number_in(sure) is not None for _, sure in listed) else []


def guess_in(value: Mapping[str, object]) -> tuple[str, object] | None:
    sure = next((value[name] for name in SURE if value.get(name) is not None), None)
    label = as_text(value.get("label")).strip() if not isinstance(value.get("label"), (Mapping, list)) else ""
    return (label, sure) if label and sure is not None else None


# --- Votes


def of_ranking(record: Mapping[str, object], ranking: Ranking, unnamed: str) -> list[RowVote]:
    guesses = [(as_text(record.get(label)).strip(), record.get(sure)) for label, sure in ranking.pairs]
    vote = vote_of(ranking.voter or unnamed, guesses)
    return [vote] if vote else []


def of_cell(header: str, value: object, unnamed: str) -> list[RowVote]:
    value = opened(value)
    if plain(header) in VOTES and isinstance(value, Mapping):
        told = ((as_text(name).strip(), opened(one)) for name, one in list(value.items())[:MOST])
        votes = [of_object(name, one) for name, one in told if name]
    else:
        votes = [of_object(unnamed if plain(header) in NAMELESS else header.strip(), value)]
    return [vote for vote in votes if vote]


def of_object(voter: str, value: object) -> RowVote | None:
    """What says its label itself is believed; else the likeliest is its label."""
    guesses = guesses_in(value)
    if not isinstance(value, Mapping):
        return vote_of(voter, guesses) if guesses else named(voter, as_text(value))
    said = "label" in value
    sure = next((value[name] for name in SURE if value.get(name) is not None), None)
    label = as_text(value.get("label")).strip() if said else None
    return vote_of(voter, guesses, label, sure, as_text(value.get("reason")).strip())


def named(voter: str, label: str) -> RowVote | None:
    """A bare name, as a column of votes has it."""
    return RowVote(name_of(voter), label.strip()) if label.strip() else None


def vote_of(
    voter: str, guesses: Guesses, label: str | None = None, sure: object = None, reason: str = ""
) -> RowVote | None:
    """None where nothing is said. Whatever is no label of the project keeps its share, so that none of it goes to
    others; what adds up to more than everything is no probability, and is left out with a word."""
    guesses = [(name, said) for name, said in guesses if name.strip()]
    if not guesses and label is None:
        return None
    read = shares(guesses)
    best = label if label is not None else first_of(read, guesses)
    confidence = one_share(sure) if sure is not None else read.get(best)
    whole = sum(read.values())
    if whole > ROUNDING:
        too_much = f"its probabilities add up to {whole:.2f}, and were left out"
        return RowVote(name_of(voter), best, confidence, "; ".join(filter(None, [reason, too_much])), VoteDetail())
    return RowVote(name_of(voter), best, confidence, reason, VoteDetail(read or None))


def name_of(voter: str) -> str:
    return storable(voter.strip())[:NAME]


def first_of(read: Mapping[str, float], guesses: Guesses) -> str:
    """The likeliest; of equals the first, and the first of all where none says how likely."""
    return max(read, key=read.__getitem__) if read else guesses[0][0]


def shares(guesses: Guesses) -> dict[str, float]:
    """Percentages where one of them can be nothing else. What is no number says nothing."""
    numbers = [(storable(label), number_in(sure)) for label, sure in guesses]
    percent = any("%" in as_text(sure) for _, sure in guesses) or is_percent([n for _, n in numbers if n is not None])
    read: dict[str, float] = {}
    for label, number in numbers:
        share = None if number is None else number / 100 if percent else number
        if share is not None and 0 <= share <= 1:
            read.setdefault(label, share)
    return read


def is_percent(numbers: Sequence[float]) -> bool:
    """Probabilities that were rounded up are not hundredths of one."""
    return any(number > ROUNDING for number in numbers) and all(0 <= number <= 100 for number in numbers)


def one_share(sure: object) -> float | None:
    found = shares([("it", sure)])
    return found.get("it")


def number_in(value: object) -> float | None:
    if isinstance(value, (bool, bytes, Mapping, list, tuple)) or value is None:
        return None
    try:
        number = float(value.strip()[:40].removesuffix("%")) if isinstance(value, str) else float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None
