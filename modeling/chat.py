"""Pure: a project's facts and a post -> the words that a model is trained on and asked with. The only copy of them.

The user's turn is the post and nothing else, so that what we export can be imported again; question and labels are the
system's. A model without a system turn is given both as one by its template.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from annotate.harmless import harmless

IMAGE = "<image>"
REASON = "Reason: "
REASON_LENGTH = 300


@dataclass(frozen=True)
class Chat:
    question: str
    labels: tuple[tuple[str, str], ...]  # name and meaning
    with_reason: bool = False

    @classmethod
    def of(cls, facts: dict[str, Any], with_reason: bool = False) -> "Chat":
        """As a dataset holds them, or a project: see `dataset.facts_of`."""
        labels = tuple((label["name"], label.get("meaning", "")) for label in facts["labels"])
        return cls(facts["question"], labels, with_reason)

    @cached_property
    def system(self) -> str:
        told = ((name, harmless(" ".join(meaning.split()))) for name, meaning in self.labels)
        labels = "\n".join(f"- {name}: {meaning}".rstrip(" :") for name, meaning in told)
        how = "the label, and below it a brief reason" if self.with_reason else "the label alone"
        return f"{harmless(self.question)}\n\nThe labels:\n{labels}\n\nAnswer with {how}."

    def user(self, text: str, has_image: bool) -> str:
        return "\n".join(filter(None, [IMAGE if has_image else "", harmless(text)]))

    def answer(self, label: str, reason: str = "") -> str:
        return f"{label}\n{REASON}{harmless(reason)}" if self.with_reason and reason else label


def reason_for(label: str, votes: Sequence[dict[str, Any]], reviews: Sequence[dict[str, Any]]) -> str:
    """Of those who said this label: a person's note before a machine's reason, and of machines the surest one's."""
    notes = [review.get("note", "") for review in reviews if review.get("label") == label]
    sure = sorted(votes, key=lambda vote: (-vote.get("confidence", 0.0), vote["voter"]))
    reasons = [vote.get("reason", "") for vote in sure if vote.get("label") == label]
    given = next(filter(None, (" ".join(words.split()) for words in [*notes, *reasons])), "")
    return given if len(given) <= REASON_LENGTH else given[: REASON_LENGTH - 1].rstrip() + "…"
