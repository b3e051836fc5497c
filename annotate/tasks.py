"""Thin: each task names the function that does the work."""

from datetime import timedelta

from django.core.files.storage import default_storage
from django.utils import timezone

from . import ballots, broker, deciding, emptied, queue, settling, targeting, weighing
from .importing import doors
from .importing.running import carry_out
from .label_studio import running as label_studio
from .models import Disagreement, ImportRun, LabelStudioRun, Project, Role, Targeting
from .models.importing import ImportState
from .models.project import Rule
from .models.review import Stream
from .operating import limits, upkeep
from .webhooks import delivering


def import_posts(pk: int) -> None:
    run = ImportRun.objects.select_related("project", "by").get(pk=pk)
    if carry_out(run):
        take_up_imports(run.project_id)


def count_agreement(project: int) -> None:
    ballots.count_beforehand(Project.objects.get(pk=project))


def find_riskiest(pk: int) -> None:
    if asked := Targeting.objects.select_related("project").filter(pk=pk).first():
        targeting.search(asked)


def push_to_label_studio(pk: int) -> None:
    label_studio.carry_out(LabelStudioRun.objects.select_related("project", "by").get(pk=pk))


def pull_from_label_studio(pk: int) -> None:
    label_studio.carry_out(LabelStudioRun.objects.select_related("project", "by").get(pk=pk))


def deliver(pk: int, again: bool = False) -> None:
    delivering.deliver(pk, again)


def deliver_one(webhook: int, pk: int) -> None:
    delivering.deliver_one(webhook, pk)


def look_after_what_is_shared() -> None:
    upkeep.look_after_what_is_shared()


def every_minute() -> None:
    broker.redeliver()
    emptied.fold()
    delivering.take_up()
    take_up_imports()
    label_studio.take_up()
    forget_drafts()
    limits.forget()
    upkeep.mind_what_is_shared()
    plant_checks()
    let_stand()


def take_up_imports(project: int | None = None) -> None:
    """Runs whose worker died, and runs that waited for another import into the same project."""
    left = ImportRun.objects.left_lying()
    for run in left.filter(project=project) if project else left:
        doors.enqueue(run)


def forget_drafts() -> None:
    made_room = False
    for run in ImportRun.objects.filter(state=ImportState.DRAFT, created__lt=timezone.now() - timedelta(days=1)):
        gone, _ = ImportRun.objects.filter(pk=run.pk, state=ImportState.DRAFT).delete()
        if gone and run.path:  # somebody may have begun it this very moment
            default_storage.delete(run.path)
            made_room = True
    if made_room:
        upkeep.look_again()


def settle_project(pk: int) -> None:
    project = Project.objects.get(pk=pk)
    if project.consensus == Rule.WEIGHTED:
        weighing.fit(project)
    settling.settle_all(project)


def plant_checks() -> None:
    """One question for all projects: which have a post in their locked test set that waits for nobody yet."""
    for project in Project.objects.filter(check_rate__gt=0, pk__in=queue.unplanted().values("project")):
        queue.plant_checks(project)


def change_checks(pk: int) -> None:
    """After the settings changed: planted, or taken away."""
    queue.plant_checks(Project.objects.get(pk=pk))


def let_stand() -> None:
    """Whoever is asked for a second opinion may have left. A few sets of people stand for any number of posts."""
    half_answered = Disagreement.objects.filter(closed=None, answers__gt=0).exclude(passed=[])
    parties = list(half_answered.order_by().values_list("project", "passed", "stream").distinct())
    projects = Project.objects.in_bulk({project for project, *_ in parties})
    needed = {Stream.CONFLICT: Role.LEAD}
    alone = {
        pk
        for pk, passed, stream in parties
        if not queue.somebody_else(projects[pk], passed, needed.get(Stream(stream), Role.REVIEWER))
    }
    for pk in alone:
        deciding.let_stand(pk)
