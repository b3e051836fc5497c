"""From what was said of posts to the figures that a page shows: loaded once, measured by the pure rooms, stored."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from django.db import connection, transaction
from django.db.models import Q
from numpy.typing import NDArray

from modeling.measures import calibration, comparison, metrics
from modeling.measures.metrics import Answers
from modeling.models import Comparison, Evaluation, JobState

from . import asked
from .answers import label_names

MOST_RIVALS = 100
MOST_PARTS = 12  # of a slice that has many, the largest
LEAST_PART = 2  # posts; a template shown once is no group
LENGTHS = ((0, "no words"), (1, "1 to 40 letters"), (41, "41 to 140 letters"), (141, "more than 140 letters"))
SOURCES = {
    "consensus": "Voters agreed",
    "review": "People decided",
    "model": "A tuned model",
    "import": "Known at import",
}


class NothingSaid(Exception):
    """There is nothing to measure; the words are for whoever asked."""


@dataclass(frozen=True)
class Measured:
    """All that was said of an evaluation's posts, row by row, in the order of the dataset."""

    labels: tuple[str, ...]
    ids: NDArray[np.str_]
    truth: NDArray[np.int64]
    told: NDArray[np.int64]
    kin: NDArray[np.int64]
    scores: NDArray[np.float64]  # log-probabilities; minus infinity throughout where nothing is known
    confidence: NDArray[np.float64]
    slices: dict[str, list[str | None]] = field(default_factory=dict)

    def answers(self, temperature: float = 1.0) -> Answers:
        chances = calibration.apply(self.scores, temperature)
        return Answers(self.labels, self.truth, self.told, self.kin, chances, self.confidence)

    def at(self, rows: NDArray[np.int64]) -> "Measured":
        return Measured(
            self.labels, self.ids[rows], self.truth[rows], self.told[rows], self.kin[rows], self.scores[rows],
            self.confidence[rows],
        )  # fmt: skip


READ = """
SELECT item.external_id, item.label, item.kin, said.label, said.scores, said.confidence, item.incongruous,
  item.label_source, item.template, item.source, char_length(item.text), item.image <> '',
  (SELECT count(DISTINCT review ->> 'reviewer') FROM jsonb_array_elements(item.reviews) AS review)
FROM modeling_prediction AS said JOIN modeling_datasetitem AS item ON item.id = said.item_id
WHERE said.evaluation_id = %s AND said.to_calibrate = %s AND item.removed IS NULL ORDER BY item.position
"""


def read(evaluation: Evaluation, to_calibrate: bool = False) -> Measured:
    labels = label_names(evaluation.dataset)
    number = {name: n for n, name in enumerate(labels)}
    with connection.cursor() as cursor:
        cursor.execute(READ, [evaluation.pk, to_calibrate])
        rows = [row for row in cursor.fetchall() if row[1] in number]
    columns: list[Sequence[Any]] = list(zip(*rows, strict=True)) if rows else [()] * 13
    ids, truth, kin, told, scores, confidence, odd, source, template, origin, length, picture, people = columns
    unknown = [-np.inf] * len(labels)
    return Measured(
        labels, np.array(ids, dtype=str), np.array([number[name] for name in truth], dtype=np.int64),
        np.array([number.get(name, -1) for name in told], dtype=np.int64), np.array(kin, dtype=np.int64),
        np.array([one or unknown for one in scores], dtype=float).reshape(len(rows), len(labels)),
        np.array(confidence, dtype=float),
        {
            "Text and picture": ["pull apart" if one else None if one is None else "go together" for one in odd],
            "Label from": [SOURCES.get(one, one) for one in source],
            "Looked at by": [looked_at(n) for n in people],
            "Picture": ["with a picture" if one else "without one" for one in picture],
            "Words": [length_of(n) for n in length],
            "Source": [one or None for one in origin], "Template": [one or None for one in template],
        },
    )  # fmt: skip


def looked_at(people: int) -> str:
    return ("nobody", "one person")[people] if people < 2 else "two people or more"


def length_of(letters: int) -> str:
    return next(title for least, title in reversed(LENGTHS) if letters >= least)


# --- Measured


def measure(evaluation: Evaluation) -> None:
    """One temperature, fitted on the validation split and never on what is measured."""
    said = read(evaluation)
    if not len(said.truth):
        raise NothingSaid(f"{evaluation.name} has said nothing of these posts. Ask it first, then measure it.")
    known = read(evaluation, to_calibrate=True)
    heat = calibration.temperature(known.scores, known.truth) if len(known.truth) else None
    answers = said.answers(heat or 1.0)
    evaluation.measured = {
        "figures": metrics.measure(answers).as_json(), "temperature": heat, "calibrated_on": len(known.truth),
        "as_said": metrics.measure(said.answers(), samples=0).as_json() if heat else None,
        "slices": [{"by": by, "parts": sliced(answers, parts)} for by, parts in said.slices.items()],
        "asked": len(said.truth), "of": asked.count(evaluation),
    }  # fmt: skip
    evaluation.save(update_fields=["measured"])


def sliced(answers: Answers, parts: Sequence[str | None]) -> list[dict[str, Any]]:
    """The largest, where there are many; and none, where all posts are alike in this."""
    found = np.array([one or "" for one in parts])
    names, counts = np.unique(found[found != ""], return_counts=True)
    largest = sorted(zip(counts.tolist(), names.tolist(), strict=True), reverse=True)[:MOST_PARTS]
    chosen = {name: found == name for count, name in largest if count >= LEAST_PART}
    if len(names) < 2 and not (found == "").any():
        return []
    return [one.as_json() for one in metrics.slice_figures(answers, chosen)]


# --- Held against others


def compare_with_others(evaluation: Evaluation) -> None:
    """With all that were measured on the very same posts, so that no page needs to count. One after the other: of two
    that were measured at the same time, the later finds the earlier."""
    said = read(evaluation)
    with transaction.atomic():
        alone_on(evaluation.test_hash)
        Comparison.objects.filter(Q(first=evaluation) | Q(second=evaluation)).delete()
        made = []
        for rival in rivals(evaluation):
            if difference := compared(said, read(rival)):
                made.append(Comparison(first=evaluation, second=rival, told=difference))
        Comparison.objects.bulk_create(made)


def alone_on(test_hash: str) -> None:
    """Until the transaction ends."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(hashtext(%s))", [f"compared on {test_hash}"])


def rivals(evaluation: Evaluation) -> list[Evaluation]:
    """The latest of each; and what is measured already, but not yet done, because it is being compared too."""
    there = Evaluation.objects.filter(project=evaluation.project_id, test_hash=evaluation.test_hash)
    latest = there.latest_of_each().values("pk")
    measured = there.filter(state=JobState.RUNNING).exclude(measured={}).values("pk")
    found = Evaluation.objects.filter(Q(pk__in=latest) | Q(pk__in=measured)).exclude(key=evaluation.key)
    return list(found.select_related("dataset").defer("measured").order_by("-pk")[:MOST_RIVALS])


def compared(one: Measured, other: Measured) -> dict[str, Any] | None:
    """On the posts that both spoke of, wherever these stand in another version of the dataset."""
    if one.labels != other.labels:
        return None
    both, ours, theirs = np.intersect1d(one.ids, other.ids, return_indices=True)
    if not len(both):
        return None
    return comparison.compare(one.at(ours).answers(), other.at(theirs).answers()).as_json()
