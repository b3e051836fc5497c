import socket
from typing import Any, Self, TypeVar

from django.db import models
from django.db.models import Case, F, Q, When
from django.db.models.functions import Now

from annotate.heartbeat import is_unheard, unheard
from annotate.models import User
from annotate.models.importing import SILENCE


def this_machine() -> str:
    return socket.gethostname()[:120]


class JobState(models.TextChoices):
    QUEUED = "queued", "Waiting"
    RUNNING = "running", "Running"
    STOPPED = "stopped", "Stopped"
    INTERRUPTED = "interrupted", "Interrupted"
    FAILED = "failed", "Failed"
    DONE = "done", "Done"


T = TypeVar("T", bound=models.Model)


class JobQuerySet(models.QuerySet[T]):
    def claimable(self) -> Self:
        silent = Q(unheard(SILENCE), state=JobState.RUNNING)
        return self.filter(Q(state=JobState.QUEUED) | silent)


class Job(models.Model):
    """What a worker has at work, says that it lives while it does, and leaves for another where it dies."""

    state = models.CharField(max_length=12, choices=JobState, default=JobState.QUEUED)
    heartbeat = models.DateTimeField(null=True, blank=True)
    stop_asked = models.BooleanField(default=False)
    machine = models.CharField(max_length=120, blank=True)
    interruptions = models.PositiveSmallIntegerField(default=0)
    doing = models.CharField(max_length=80, blank=True)
    total = models.PositiveBigIntegerField(default=0)
    done = models.PositiveBigIntegerField(default=0)
    error = models.TextField(blank=True)
    by = models.ForeignKey(User, on_delete=models.SET_NULL, null=True, blank=True, related_name="+")
    created = models.DateTimeField(auto_now_add=True)
    started = models.DateTimeField(null=True, blank=True)
    ended = models.DateTimeField(null=True, blank=True)

    class Meta:
        abstract = True
        ordering = ["-id"]

    @property
    def is_over(self) -> bool:
        """Of what it is at; more may be asked of it later."""
        return self.state not in {JobState.QUEUED, JobState.RUNNING}

    @property
    def is_silent(self) -> bool:
        return self.state == JobState.RUNNING and is_unheard(self.heartbeat, SILENCE)

    @property
    def is_of_this_machine(self) -> bool:
        return self.machine == this_machine()

    def claim(self) -> bool:
        """A task delivered twice finds nothing to do; one whose worker died is taken up by another."""
        jobs: Any = type(self)._default_manager  # of each kind its own
        taken = jobs.claimable().filter(pk=self.pk)
        changed: int = taken.update(
            state=JobState.RUNNING, heartbeat=Now(), started=Now(), ended=None, error="", stop_asked=False, doing="",
            machine=this_machine(),
            interruptions=F("interruptions") + Case(When(state=JobState.RUNNING, then=1), default=0),
        )  # fmt: skip
        self.refresh_from_db()
        return changed == 1
