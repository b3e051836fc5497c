from .dataset import NAME, Dataset, DatasetItem, DatasetState, Preview, Split
from .doubt import Doubt, DoubtSearch, DoubtState
from .evaluation import Comparison, Evaluation, EvaluationQuerySet, EvaluationState, On, Prediction, Sees
from .prelabelling import Goal, PreLabel, PreLabelling, PreLabellingQuerySet, PreLabellingState
from .run import RESUMES, Card, Run, RunPoint, RunQuerySet, RunState
from .study import MOST_PARTS, Study, StudyKind, StudyState, part_in_words

__all__ = [
    "MOST_PARTS",
    "NAME",
    "RESUMES",
    "Card",
    "Comparison",
    "Dataset",
    "DatasetItem",
    "DatasetState",
    "Doubt",
    "DoubtSearch",
    "DoubtState",
    "Evaluation",
    "EvaluationQuerySet",
    "EvaluationState",
    "Goal",
    "On",
    "PreLabel",
    "PreLabelling",
    "PreLabellingQuerySet",
    "PreLabellingState",
    "Prediction",
    "Preview",
    "Run",
    "RunPoint",
    "RunQuerySet",
    "RunState",
    "Sees",
    "Split",
    "Study",
    "StudyKind",
    "StudyState",
    "part_in_words",
]
