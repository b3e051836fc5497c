"""Thin: each task names the function that does the work."""

from django.db import transaction
from django_q.tasks import async_task

from annotate.models import Project

from . import batch, pairs, runs, voters, voting
from .models import Mode, RunState, VotingRun


def vote(pk: int) -> None:
    run = VotingRun.objects.select_related("project", "by").get(pk=pk)
    carry_out = batch.carry_out if run.mode == Mode.BATCH else voting.carry_out
    if carry_out(run) and run.state != RunState.RUNNING and run.project.consensus == "weighted":
        async_task("annotate.tasks.settle_project", run.project_id)


def vote_on_demo(project_pk: int) -> None:
    """The pair that needs no key, so that a first look shows agreement and disagreement, also on a plane."""
    with transaction.atomic():
        project = Project.objects.select_for_update(no_key=True).get(pk=project_pk)
        if not project.synthetic or project.voters.exists():
            return
        offline = next(pair for pair in pairs.available() if pair.key == "offline")
        run = runs.start(project, None, voters.add_pair(project, None, offline), queue=False)
    vote(run.pk)


def every_minute() -> None:
    """Runs whose worker died are taken up by another, and those with batches at a provider are looked at."""
    for run in VotingRun.objects.claimable():
        runs.enqueue(run)
