"""Thin: each task names the function that does the work."""

from datetime import timedelta

from django.core.files.storage import default_storage
from django.utils import timezone

from . import ballots, settling, weighing
from .importing import doors
from .importing.running import carry_out
from .models import ImportRun, Project, tally
from .models.importing import ImportState
from .models.project import Rule


def import_posts(pk: int) -> None:
    run = ImportRun.objects.select_related("project", "by").get(pk=pk)
    if carry_out(run):
        take_up_imports(run.project_id)


def count_agreement(project: int) -> None:
    ballots.count_beforehand(Project.objects.get(pk=project))


def every_minute() -> None:
    tally.fold()
    take_up_imports()
    forget_drafts()


def take_up_imports(project: int | None = None) -> None:
    """Runs whose worker died, and runs that waited for another import into the same project."""
    left = ImportRun.objects.left_lying()
    for run in left.filter(project=project) if project else left:
        doors.enqueue(run)


def forget_drafts() -> None:
    for run in ImportRun.objects.filter(state=ImportState.DRAFT, created__lt=timezone.now() - timedelta(days=1)):
        gone, _ = ImportRun.objects.filter(pk=run.pk, state=ImportState.DRAFT).delete()
        if gone and run.path:  # somebody may have begun it this very moment
            default_storage.delete(run.path)


def settle_project(pk: int) -> None:
    project = Project.objects.get(pk=pk)
    if project.consensus == Rule.WEIGHTED:
        weighing.fit(project)
    settling.settle_all(project)
