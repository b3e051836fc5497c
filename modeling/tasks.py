"""Thin: each task names the function that does the work."""

from datetime import timedelta
from uuid import UUID

from django.utils import timezone

from annotate.models import User

from .answering import nearest, questions, serving
from .cascade import cascades
from .datasets import dataset, previews
from .doubting import doubts
from .evaluation import evaluating
from .models import Cascade, Dataset, DoubtSearch, Evaluation, PreLabelling, Preview, Run, ServedCheck, Serving, Study
from .prelabelling import prelabelling
from .rounds import rounds
from .serving import checking, writing
from .studying import out_of_fold, studies
from .training import run_folder, runner

KEPT = timedelta(hours=1)


def freeze(pk: int) -> None:
    waiting = Dataset.objects.select_related("project", "by").filter(pk=pk).first()
    if waiting and dataset.carry_out(waiting):
        take_up(waiting.project_id)
        rounds.moved(dataset=waiting)


def count_preview(pk: int) -> None:
    if preview := Preview.objects.select_related("project").filter(pk=pk).first():
        previews.count(preview)


def train(pk: int) -> None:
    if run := Run.objects.select_related("project", "dataset", "by").filter(pk=pk).first():
        runner.carry_out(run)
        studies.advance(run.study_id)
        rounds.moved(run=run)


def evaluate(pk: int) -> None:
    if waiting := Evaluation.objects.select_related("project", "dataset", "by").filter(pk=pk).first():
        evaluating.carry_out(waiting)
        studies.advance(waiting.study_id)
        rounds.moved(evaluation=waiting)
        cascades.advance(waiting)


def fit_cascade(pk: int) -> None:
    related = ("project", "dataset__project", "voter", "run", "second", "by")
    if made := Cascade.objects.select_related(*related).filter(pk=pk).first():
        cascades.carry_out(made)


def advance_study(pk: int) -> None:
    studies.advance(pk)


def doubt_by_folds(pk: int, by: int | None) -> None:
    if study := Study.objects.select_related("dataset").filter(pk=pk).first():
        out_of_fold.find_doubts(study, User.objects.filter(pk=by).first() if by else None)


def find_doubts(pk: int) -> None:
    if search := DoubtSearch.objects.select_related("dataset__project", "by").filter(pk=pk).first():
        doubts.carry_out(search)


def prelabel(pk: int) -> None:
    if waiting := PreLabelling.objects.select_related(*prelabelling.RELATED).filter(pk=pk).first():
        prelabelling.carry_out(waiting)
        rounds.moved(prelabelling=waiting)


def advance_round(pk: int) -> None:
    rounds.advance(pk)


def write_out(pk: int) -> None:
    related = ("project", "run__dataset", "run__project", "by")
    if waiting := Serving.objects.select_related(*related).filter(pk=pk).first():
        writing.carry_out(waiting)


def check_served(pk: int) -> None:
    related = ("serving__project", "serving__run__dataset", "serving__run__project", "against__dataset", "asked", "by")
    if waiting := ServedCheck.objects.select_related(*related).filter(pk=pk).first():
        checking.carry_out(waiting)


def answer() -> None:
    serving.serve()


def find_nearest(batch: str) -> None:
    nearest.find(UUID(batch))


def every_minute() -> None:
    take_up()
    runner.take_up()
    evaluating.take_up()
    studies.take_up()
    cascades.take_up()
    prelabelling.take_up()
    rounds.take_up()
    writing.take_up()
    checking.take_up()
    questions.take_up()
    run_folder.forget_removed()
    Preview.objects.filter(created__lt=timezone.now() - KEPT).delete()


def take_up(project: int | None = None) -> None:
    """What a dead worker left, and what waited for another of its project."""
    left = Dataset.objects.claimable()
    for waiting in left.filter(project=project) if project else left:
        dataset.enqueue(waiting)
