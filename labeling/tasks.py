"""Thin: each task names the function that does the work."""

from django_q.tasks import async_task

from . import runs
from .models import VotingRun
from .voting import carry_out


def vote(pk: int) -> None:
    run = VotingRun.objects.select_related("project", "by").get(pk=pk)
    if carry_out(run) and run.project.consensus == "weighted":
        async_task("annotate.tasks.settle_project", run.project_id)


def every_minute() -> None:
    """Runs whose worker died are taken up by another."""
    for run in VotingRun.objects.claimable():
        runs.enqueue(run)
