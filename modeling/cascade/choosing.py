"""What the two stages may be: whoever says how likely labels are, and a run that can be asked about a few of them."""

from typing import NamedTuple

from django.db.models import Exists, OuterRef, QuerySet

from annotate.models import Project, Vote, Voter
from modeling.evaluation.predictors import short
from modeling.models import Dataset, Run, RunState

LATEST = 50


class Stage(NamedTuple):
    key: str  # as commands and programs write it
    words: str
    stage: Voter | Run


def firsts(project: Project) -> list[Stage]:
    """Classifiers of ours, the latest first, then voters that have said how likely labels are."""
    runs = done(project).filter(config__method="classifier")[:LATEST]
    says = Vote.objects.filter(voter=OuterRef("pk"), probabilities__isnull=False)
    voters = Voter.objects.filter(Exists(says), project=project, retired=None)
    return [*(of_run(run) for run in runs), *(Stage(voter.name, f"{voter}, a voter", voter) for voter in voters)]


def seconds(project: Project) -> list[Stage]:
    return [of_run(run) for run in done(project).exclude(config__method="classifier")[:LATEST]]


def done(project: Project) -> QuerySet[Run]:
    return project.runs.filter(state=RunState.DONE, study=None).select_related("dataset").order_by("-pk")


def of_run(run: Run) -> Stage:
    return Stage(f"run-{run.pk}", f"{run}: {short(run.config['model'])} on {run.dataset.name}", run)


def datasets(project: Project) -> list[Dataset]:
    """The latest first, of those that have posts to fit on."""
    frozen = project.datasets.frozen().select_related("project").defer("told")
    return [one for one in frozen[:LATEST] if one.composition["splits"]["validation"]["posts"]]


def named(stages: list[Stage], key: str) -> Voter | Run | None:
    return next((one.stage for one in stages if one.key == key), None)
