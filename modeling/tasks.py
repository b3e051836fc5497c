"""Thin: each task names the function that does the work."""

from datetime import timedelta

from django.utils import timezone

from . import dataset, previews, run_folder, runner
from .models import Dataset, Preview, Run

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


def every_minute() -> None:
    take_up()
    runner.take_up()
    run_folder.forget_removed()
    Preview.objects.filter(created__lt=timezone.now() - KEPT).delete()


def take_up(project: int | None = None) -> None:
    """What a dead worker left, and what waited for another of its project."""
    left = Dataset.objects.claimable()
    for waiting in left.filter(project=project) if project else left:
        dataset.enqueue(waiting)
