"""What a list tells of each dataset: how large it is, how far, and what had to go from it since."""

from collections.abc import Sequence
from dataclasses import dataclass

from django.db.models import Count, Max, Min
from django.utils import timezone

from annotate.models import Project
from annotate.shares import Slice, split
from modeling.models import Dataset, DatasetItem

from .card_text import SPLIT_NAMES, Removed


@dataclass(frozen=True)
class Row:
    dataset: Dataset
    splits: list[Slice]
    removed: Removed | None

    @property
    def posts(self) -> int:
        return sum(part.posts for part in self.splits)


@dataclass(frozen=True)
class Pace:
    per_second: float
    seconds_left: int | None


def listed(project: Project) -> list[Row]:
    return rows(list(project.datasets.select_related("by", "project").defer("facts", "told")))


def rows(datasets: Sequence[Dataset]) -> list[Row]:
    removed = removed_from(datasets)
    return [Row(dataset, splits_of(dataset), removed.get(dataset.pk)) for dataset in datasets]


def splits_of(dataset: Dataset) -> list[Slice]:
    parts = dataset.composition.get("splits", {})
    named = ((title, f"split-{key}", parts[key]["posts"]) for key, title in SPLIT_NAMES.items() if key in parts)
    return split(*named)


def removed_from(datasets: Sequence[Dataset]) -> dict[int, Removed]:
    """Only what had to go has a blank id, and by the id there is an index."""
    gone = DatasetItem.objects.filter(dataset__in=datasets, external_id="", removed__isnull=False).order_by()
    told = gone.values_list("dataset").annotate(n=Count("pk"), first=Min("removed"), last=Max("removed"))
    return {pk: Removed(*rest) for pk, *rest in told}


def pace(dataset: Dataset) -> Pace | None:
    if not dataset.started or not dataset.done:
        return None
    spent = ((dataset.ended or timezone.now()) - dataset.started).total_seconds()
    return Pace(dataset.done / max(spent, 0.05), dataset.seconds_left)
