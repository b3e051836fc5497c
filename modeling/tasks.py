"""Thin: each task names the function that does the work."""

from datetime import timedelta

from django.utils import timezone

from annotate.models import User

from .datasets import dataset, previews
from .doubting import doubts
from .evaluation import evaluating
from .models import Dataset, DoubtSearch, Evaluation, PreLabelling, Preview, Run, Study
from .prelabelling import prelabelling
from .studying import out_of_fold, studies
from .training import run_folder, runner

KEPT = timedelta(hours=1)


def freeze(pk: int) -> None:
    waiting = Dataset.objects.select_related("project", "by").filter(pk=pk).first()
    if waiting and dataset.carry_out(waiting):
        take_up(waiting.project_id)


def count_preview(pk: int) -> None:
    if preview := Preview.objects.select_related("project").filter(pk=pk).first():
        previews.count(preview)


def train(pk: int) -> None:
    if run := Run.objects.select_related("project", "dataset", "by").filter(pk=pk).first():
        runner.carry_out(run)
        studies.advance(run.study_id)


def evaluate(pk: int) -> None:
    if waiting := Evaluation.objects.select_related("project", "dataset", "by").filter(pk=pk).first():
        evaluating.carry_out(waiting)
        studies.advance(waiting.study_id)


def advance_study(pk: int) -> None:
    studies.advance(pk)


def doubt_by_folds(pk: int, by: int | None) -> None:
    if study := Study.objects.select_related("dataset").filter(pk=pk).first():
        out_of_fold.find_doubts(study, User.objects.filter(pk=by).first() if by else None)


def find_doubts(pk: int) -> None:
    if search := DoubtSearch.objects.select_related("dataset__project", "by").filter(pk=pk).first():
        doubts.carry_out(search)


def prelabel(pk: int) -> None:
    if waiting := PreLabelling.objects.select_related("project", "run__dataset__project", "by").filter(pk=pk).first():
        prelabelling.carry_out(waiting)


def every_minute() -> None:
    take_up()
    runner.take_up()
    evaluating.take_up()
    studies.take_up()
    prelabelling.take_up()
    run_folder.forget_removed()
    Preview.objects.filter(created__lt=timezone.now() - KEPT).delete()


def take_up(project: int | None = None) -> None:
    """What a dead worker left, and what waited for another of its project."""
    left = Dataset.objects.claimable()
    for waiting in left.filter(project=project) if project else left:
        dataset.enqueue(waiting)
