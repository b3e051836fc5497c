"""What the folds of a study say of posts that they had not seen, for whoever looks for labels that are wrong."""

import numpy as np
from django_q.tasks import async_task
from numpy.typing import NDArray

from annotate.models import User
from modeling.doubting import doubts
from modeling.evaluation.answers import label_names
from modeling.measures import calibration
from modeling.measures.baselines import OutOfFold
from modeling.models import DoubtSearch, On, Study, StudyState

WINDOW = 5000
LONGEST = 120  # letters of a name


def out_of_fold(study: Study) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Positions in the dataset, and beside each the chances of its labels, in their order."""
    pooled = study.evaluations.done().get(split=On.POOL)
    there = pooled.predictions.filter(item__removed=None, scores__isnull=False).order_by("item__position")
    rows = list(there.values_list("item__position", "scores").iterator(WINDOW))
    positions = np.array([position for position, _ in rows], dtype=np.int64)
    scores = np.array([scores for _, scores in rows], dtype=float).reshape(len(rows), -1)
    return positions, calibration.apply(scores, 1.0)


def may_doubt(study: Study) -> bool:
    return study.of_folds and study.state == StudyState.DONE


def ask_for_doubts(study: Study, by: User | None) -> None:
    by_whom = by.pk if by else None
    async_task("modeling.tasks.doubt_by_folds", study.pk, by_whom, task_name=f"doubts of study {study.pk}")


def find_doubts(study: Study, by: User | None) -> DoubtSearch:
    """Among labels that some post has: nobody can tell how sure a model usually is of the others."""
    positions, chances = out_of_fold(study)
    names = label_names(study.dataset)
    found = set(study.dataset.items.filter(removed=None).values_list("label", flat=True).distinct())
    kept = [number for number, name in enumerate(names) if name in found]
    some = chances[:, kept] / chances[:, kept].sum(axis=1, keepdims=True)
    source = f"{study.evaluations.get(split=On.POOL).name}"[:LONGEST]
    labels = tuple(names[number] for number in kept)
    return doubts.from_probabilities(
        study.dataset, by, source, positions.tolist(), labels, OutOfFold(some, len(study.parts), 1)
    )
