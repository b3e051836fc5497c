import socket
from typing import Self

from django.db import models
from django.db.models import Case, F, Q, When
from django.urls import reverse
from django.utils import timezone

from annotate.models import Project, User
from annotate.models.importing import SILENCE

from .evaluation import Evaluation, On
from .run import Run, this_machine


class ServingState(models.TextChoices):
    QUEUED = "queued", "Waiting"
    RUNNING = "running", "Running"
    STOPPED = "stopped", "Stopped"
    INTERRUPTED = "interrupted", "Interrupted"
    FAILED = "failed", "Failed"
    DONE = "done", "Done"


class Form(models.TextChoices):
    """How what a run made is written out."""

    MERGED = "merged", "Merged, 16 bits"
    EIGHT = "8bit", "Merged, 8 bits"
    FOUR = "4bit", "Merged, 4 bits"
    LORA = "lora", "Adapter alone"


class Way(models.TextChoices):
    """How what was written out is asked."""

    SERVER = "server", "A server"
    FOLDER = "folder", "The folder itself"


class AtWork(models.QuerySet):  # type: ignore[type-arg]  # of either of the two below
    def claimable(self) -> Self:
        silent = Q(state=ServingState.RUNNING, heartbeat__lt=timezone.now() - SILENCE)
        return self.filter(Q(state=ServingState.QUEUED) | silent)


class Job(models.Model):
    """What a worker has at work, says that it lives while it does, and leaves for another where it dies."""

    state = models.CharField(max_length=12, choices=ServingState, default=ServingState.QUEUED)
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

    objects = AtWork.as_manager()

    class Meta:
        abstract = True
        ordering = ["-id"]

    @property
    def is_over(self) -> bool:
        return self.state not in {ServingState.QUEUED, ServingState.RUNNING}

    @property
    def is_silent(self) -> bool:
        return self.state == ServingState.RUNNING and (
            self.heartbeat is None or self.heartbeat < timezone.now() - SILENCE
        )

    @property
    def is_of_this_machine(self) -> bool:
        return self.machine == this_machine()

    def claim(self) -> bool:
        """A task delivered twice finds nothing to do; one whose worker died is taken up by another."""
        now, kind = timezone.now(), type(self)
        taken = kind.objects.claimable().filter(pk=self.pk)
        changed: int = taken.update(
            state=ServingState.RUNNING, heartbeat=now, started=now, ended=None, error="", stop_asked=False, doing="",
            done=0, total=0, machine=socket.gethostname()[:120],
            interruptions=F("interruptions") + Case(When(state=ServingState.RUNNING, then=1), default=0),
        )  # fmt: skip
        self.refresh_from_db()
        return changed == 1


class Serving(Job):
    """What a run made, written out as a folder that a server loads."""

    project = models.ForeignKey(Project, on_delete=models.CASCADE, related_name="servings")
    run = models.ForeignKey(Run, on_delete=models.CASCADE, related_name="servings")
    form = models.CharField(max_length=8, choices=Form)
    folder = models.CharField(max_length=400, blank=True, help_text="Where it was wanted; blank: among our data.")
    told = models.JSONField(default=dict, help_text="How it is asked, in the words that it was trained on.")
    deleted = models.DateTimeField(null=True, blank=True, help_text="Its folder is gone since.")

    class Meta(Job.Meta):
        abstract = False

    def __str__(self) -> str:
        return f"{self.run} as {self.get_form_display().lower()}"

    def get_absolute_url(self) -> str:
        return f"{reverse('serving', args=[self.project.slug, self.run_id])}#form-{self.pk}"


class ServedCheck(Job):
    """Whether what was written out answers as the run did, post by post."""

    serving = models.ForeignKey(Serving, on_delete=models.CASCADE, related_name="checks")
    way = models.CharField(max_length=8, choices=Way)
    url = models.CharField(max_length=400, blank=True, help_text="Of a server.")
    model = models.CharField(max_length=200, blank=True, help_text="As the server calls it.")
    split = models.CharField(max_length=12, choices=On)
    against = models.ForeignKey(
        Evaluation, on_delete=models.CASCADE, null=True, blank=True, related_name="+", help_text="Of the run itself."
    )
    asked = models.ForeignKey(
        Evaluation, on_delete=models.CASCADE, null=True, blank=True, related_name="+", help_text="Of the folder."
    )
    told = models.JSONField(default=dict, help_text="All figures, see likeness.py.")

    class Meta(Job.Meta):
        abstract = False

    def __str__(self) -> str:
        return f"Check {self.pk}"
