from .dataset import NAME, Dataset, DatasetItem, DatasetState, Preview, Split
from .run import RESUMES, Card, Run, RunPoint, RunQuerySet, RunState

__all__ = [
    "NAME",
    "RESUMES",
    "Card",
    "Dataset",
    "DatasetItem",
    "DatasetState",
    "Preview",
    "Run",
    "RunPoint",
    "RunQuerySet",
    "RunState",
    "Split",
]
