from .answering import Answerer, Question, Reply, ReplyState
from .cascade import Cascade, CascadeQuerySet, CascadeState
from .dataset import NAME, Dataset, DatasetItem, DatasetState, Preview, Split
from .doubt import Doubt, DoubtSearch, DoubtState
from .evaluation import Comparison, Evaluation, EvaluationQuerySet, On, Prediction, Sees
from .job import Job, JobQuerySet, JobState
from .prelabelling import Goal, PreLabel, PreLabelling
from .round import Needs, Round, RoundQuerySet, RoundState
from .run import RESUMES, Card, Run, RunPoint, RunQuerySet, RunState
from .serving import Form, ServedCheck, Serving, Way
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
    "Form",
    "Goal",
    "Job",
    "JobQuerySet",
    "JobState",
    "Needs",
    "On",
    "PreLabel",
    "PreLabelling",
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
    "Split",
    "Study",
    "StudyKind",
    "StudyState",
    "Way",
    "part_in_words",
]
