from .answering import Answerer, Question, Reply, ReplyState
from .cascade import Cascade, CascadeQuerySet, CascadeState
from .dataset import NAME, Dataset, DatasetItem, DatasetState, Preview, Split
from .doubt import Doubt, DoubtSearch, DoubtState
from .evaluation import Comparison, Evaluation, EvaluationQuerySet, EvaluationState, On, Prediction, Sees
from .prelabelling import Goal, PreLabel, PreLabelling, PreLabellingQuerySet, PreLabellingState
from .round import Needs, Round, RoundQuerySet, RoundState
from .run import RESUMES, Card, Run, RunPoint, RunQuerySet, RunState
from .serving import Form, Job, ServedCheck, Serving, ServingState, Way
from .study import MOST_PARTS, Study, StudyKind, StudyState, part_in_words

__all__ = [
    "MOST_PARTS",
    "NAME",
    "RESUMES",
    "Answerer",
    "Card",
    "Cascade",
    "CascadeQuerySet",
    "CascadeState",
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
    "Form",
    "Goal",
    "Job",
    "Needs",
    "On",
    "PreLabel",
    "PreLabelling",
    "PreLabellingQuerySet",
    "PreLabellingState",
    "Prediction",
    "Preview",
    "Question",
    "Reply",
    "ReplyState",
    "Round",
    "RoundQuerySet",
    "RoundState",
    "Run",
    "RunPoint",
    "RunQuerySet",
    "RunState",
    "Sees",
    "ServedCheck",
    "Serving",
    "ServingState",
    "Split",
    "Study",
    "StudyKind",
    "StudyState",
    "Way",
    "part_in_words",
]
