"""One push or pull from being asked for to its end. The page's task and the command both end up in `carry_out`."""

from collections.abc import Callable

from django.db import IntegrityError, transaction
from django.utils import timezone
from django_q.tasks import async_task

from annotate.heartbeat import heartbeat
from annotate.models import Event, LabelStudioRun, Project, User
from annotate.models.label_studio import LabelStudioState, Way

from . import server as servers
from .pulling import pull
from .pushing import push
from .server import Failed
from .work import LostClaim, Stopped, Work, still_ours

TASKS = {Way.PUSH: "annotate.tasks.push_to_label_studio", Way.PULL: "annotate.tasks.pull_from_label_studio"}
DOES = {Way.PUSH: push, Way.PULL: pull}
VERBS = {Way.PUSH: "pushed to Label Studio", Way.PULL: "pulled from Label Studio"}


def ask(project: Project, by: User | None, way: Way, limit: int | None = None, queue: bool = True) -> LabelStudioRun:
    """In one transaction with its task: a run never waits for a task that nobody wrote."""
    if sentence := servers.problem():
        raise Failed(sentence)
    try:
        with transaction.atomic():
            run = LabelStudioRun.objects.create(project=project, by=by, way=way, limit=limit)
            if queue:
                enqueue(run)
    except IntegrityError:
        raise Failed("A push or pull of this project is under way already; wait for it, or stop it.") from None
    return run


def enqueue(run: LabelStudioRun) -> None:
    async_task(TASKS[Way(run.way)], run.pk, task_name=f"label studio {run.way} {run.pk}")


def carry_out(run: LabelStudioRun, tell: Callable[[LabelStudioRun], None] | None = None) -> bool:
    """False when somebody else has the run, or took it over."""
    if not run.claim():
        return False
    state, error = LabelStudioState.DONE, ""
    with heartbeat(lambda: still_ours(run), f"Label Studio run {run.pk}"):
        try:
            DOES[Way(run.way)](Work(run, servers.connect(), tell))
        except LostClaim:
            return False
        except Stopped:
            state = LabelStudioState.STOPPED
        except Failed as failure:
            state, error = LabelStudioState.FAILED, str(failure)
        except BaseException:
            finish(run, LabelStudioState.FAILED, "It broke off. What is done stands; run it again for the rest.")
            raise
        return finish(run, state, error)


def finish(run: LabelStudioRun, state: LabelStudioState, error: str) -> bool:
    run.state, run.error, run.ended = state, error, timezone.now()
    with transaction.atomic():
        if not still_ours(run).update(state=state, error=error, ended=run.ended):
            return False
        run.refresh_from_db(fields=["counts", "done", "total"])
        Event.record(VERBS[Way(run.way)], user=run.by, project=run.project, run=run.pk, ended=state.value, **run.counts)
    return True


def stop(run: LabelStudioRun) -> None:
    """A run at work stops after its batch; one that nobody works on is stopped at once."""
    LabelStudioRun.objects.filter(pk=run.pk, state=LabelStudioState.RUNNING).update(stop_asked=True)
    idle = LabelStudioRun.objects.claimable().filter(pk=run.pk)
    idle.update(state=LabelStudioState.STOPPED, ended=timezone.now())


def take_up() -> None:
    """Runs whose worker died, and runs whose task got lost."""
    for run in LabelStudioRun.objects.claimable():
        enqueue(run)
