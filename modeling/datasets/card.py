"""What a dataset's card tells of how it came about: read when it is frozen, because all of that goes on changing.

`card_text` puts it into words.
"""

import json
from collections import defaultdict
from typing import Any

from django.db import connection

from annotate.agreement import Answer, Counts, cohens_kappa, observed
from modeling.models import Dataset

from . import card_text, marks
from .card_text import Removed

WHERE_MOST = 20  # sources of posts that are told by name
PRIVATE = ("base_url",)  # of a voter's parameters: where a server stands is nobody's business who reads a dataset

VOTERS = """
SELECT voter.name, voter.provider, voter.model, voter.parameters, voter.prompt, voter.words, count(*),
  count(vote.label_id), sum(vote.cost), count(vote.cost)
FROM modeling_datasetitem AS item JOIN annotate_vote AS vote ON vote.post_id = item.post_id
JOIN annotate_voter AS voter ON voter.id = vote.voter_id
WHERE item.dataset_id = %s GROUP BY voter.id ORDER BY voter.name
"""

PAIRS = """
SELECT one.name, other.name, a.label_id, b.label_id, count(*)
FROM modeling_datasetitem AS item JOIN annotate_vote AS a ON a.post_id = item.post_id
JOIN annotate_vote AS b ON b.post_id = item.post_id
JOIN annotate_voter AS one ON one.id = a.voter_id JOIN annotate_voter AS other ON other.id = b.voter_id
WHERE item.dataset_id = %s AND one.name < other.name GROUP BY 1, 2, 3, 4
"""

REVIEWERS = """
SELECT person.username, count(*)
FROM modeling_datasetitem AS item JOIN annotate_disagreement AS d ON d.post_id = item.post_id
JOIN annotate_review AS review ON review.disagreement_id = d.id AND review.undone IS NULL AND review.instead <> 'skip'
JOIN annotate_user AS person ON person.id = review.reviewer_id
WHERE item.dataset_id = %s GROUP BY 1 ORDER BY 2 DESC, 1
"""

WHEN = """
SELECT min(at), max(at), count(*) FILTER (WHERE jsonb_array_length(reviews) > 1), count(*) FILTER (WHERE image <> '')
FROM modeling_datasetitem WHERE dataset_id = %s
"""

WHERE = """
SELECT source, count(*) FROM modeling_datasetitem WHERE dataset_id = %s GROUP BY 1 ORDER BY 2 DESC, 1 LIMIT %s
"""


def asked(statement: str, *values: int) -> list[tuple[Any, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(statement, values)
        found: list[tuple[Any, ...]] = cursor.fetchall()
    return found


def voters_of(dataset: Dataset) -> list[dict[str, Any]]:
    """Part of what is hashed: who labelled is part of what the labels are."""
    return [
        {"name": name, "provider": provider, "model": model, "prompt": prompt, "words": words,
         "parameters": {key: value for key, value in json.loads(parameters).items() if key not in PRIVATE}}
        for name, provider, model, parameters, prompt, words, *_ in asked(VOTERS, dataset.pk)
    ]  # fmt: skip


def told_of(dataset: Dataset) -> dict[str, Any]:
    ((first, last, read_twice, pictures),) = asked(WHEN, dataset.pk)
    return {
        "project": dataset.project.name,
        "votes": [
            {"voter": name, "votes": votes, "labels": labels, "cost": str(cost) if priced else None,
             "unpriced": votes - priced}
            for name, *_, votes, labels, cost, priced in asked(VOTERS, dataset.pk)
        ],
        "reviewers": [{"name": name, "reviews": n} for name, n in asked(REVIEWERS, dataset.pk)],
        "agreement": agreement_in(dataset),
        "sources": [{"name": name, "posts": n} for name, n in asked(WHERE, dataset.pk, WHERE_MOST)],
        "first": first.isoformat() if first else None,
        "last": last.isoformat() if last else None,
        "read_twice": read_twice,
        "pictures": pictures,
    }  # fmt: skip


def agreement_in(dataset: Dataset) -> list[dict[str, Any]]:
    """On these posts alone: what is still contested is not among them, so it is higher than in the whole project."""
    pairs: defaultdict[tuple[str, str], dict[tuple[Answer, Answer], int]] = defaultdict(dict)
    for one, other, said, other_said, posts in asked(PAIRS, dataset.pk):
        pairs[one, other][said, other_said] = posts
    return [told_pair(one, other, counts) for (one, other), counts in sorted(pairs.items())]


def told_pair(one: str, other: str, counts: Counts) -> dict[str, Any]:
    same = observed(counts)
    return {"one": one, "other": other, "both": same.of, "same": same.hits, "kappa": cohens_kappa(counts)}


# --- The card itself


def markdown(dataset: Dataset, names: bool = True) -> str:
    """The same bytes for the same dataset, until a post has to go. Without names, reviewers are numbered."""
    return card_text.write(dataset, removed_from(dataset), names)


def removed_from(dataset: Dataset) -> Removed | None:
    return marks.removed_from([dataset]).get(dataset.pk)
