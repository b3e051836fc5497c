from typing import Self

from django.db import models
from django.db.models import Case, F, Q, When
from django.db.models.functions import Now

from annotate.heartbeat import is_unheard, unheard
from annotate.models import Project, User
from annotate.models.importing import SILENCE

from .dataset import Dataset
from .job import this_machine
from .study import Study, part_in_words


class RunState(models.TextChoices):
    QUEUED = "queued", "Waiting for a card"
    RUNNING = "running", "Running"
    STOPPED = "stopped", "Stopped"
    INTERRUPTED = "interrupted", "Interrupted"
    AWAY = "away", "On another machine"
    FAILED = "failed", "Failed"
    DONE = "done", "Done"


RESUMES = 3  # by itself, after a worker died; then somebody should look


class RunQuerySet(models.QuerySet["Run"]):
    def claimable(self) -> Self:
        silent = Q(unheard(SILENCE), state=RunState.RUNNING)
        return self.filter(Q(state=RunState.QUEUED) | silent)


class Run(models.Model):
    """A fine-tuning of a base model on a dataset. Its folder on the machine that trains is a copy of what is here."""

    project = models.ForeignKey(Project, on_delete=models.CASCADE, related_name="runs")
    dataset = models.ForeignKey(Dataset, on_delete=models.PROTECT, related_name="runs")
    recipe = models.CharField(max_length=60, blank=True, help_text="The preset it was started from.")
    config = models.JSONField(help_text="All that the trainer is told, as its config.json.")
    study = models.ForeignKey(Study, on_delete=models.CASCADE, null=True, blank=True, related_name="runs")
    part = models.JSONField(default=dict, blank=True, help_text="Of its study: a fold to leave out, or a share.")
    state = models.CharField(max_length=12, choices=RunState, default=RunState.QUEUED)
    heartbeat = models.DateTimeField(null=True, blank=True)
    stop_asked = models.BooleanField(default=False)
    machine = models.CharField(max_length=120, blank=True, help_text="Whose worker has it, or had it last.")
    interruptions = models.PositiveSmallIntegerField(default=0)
    doing = models.CharField(max_length=80, blank=True)
    step = models.PositiveIntegerField(default=0)
    steps = models.PositiveIntegerField(default=0)
    latest = models.JSONField(default=dict, help_text="Loss, learning rate, pace and memory, as last told.")
    scores = models.JSONField(default=dict, help_text="Of the best evaluation on the validation split.")
    receipt = models.JSONField(default=dict)
    log = models.TextField(blank=True, help_text="The last lines of its log, as its machine told them.")
    error = models.TextField(blank=True)
    by = models.ForeignKey(User, on_delete=models.SET_NULL, null=True, blank=True, related_name="+")
    created = models.DateTimeField(auto_now_add=True)
    started = models.DateTimeField(null=True, blank=True)
    ended = models.DateTimeField(null=True, blank=True)

    objects = RunQuerySet.as_manager()

    class Meta:
        ordering = ["-id"]

    def __str__(self) -> str:
        return f"Run {self.pk}"

    @property
    def part_in_words(self) -> str:
        return part_in_words(self.part)

    @property
    def is_of_this_machine(self) -> bool:
        return self.machine == this_machine()

    @property
    def is_over(self) -> bool:
        return self.state not in {RunState.QUEUED, RunState.RUNNING}

    @property
    def is_silent(self) -> bool:
        return self.state == RunState.RUNNING and is_unheard(self.heartbeat, SILENCE)

    def claim(self) -> bool:
        """A task delivered twice finds nothing to do; one whose worker died is taken up by another."""
        taken = Run.objects.claimable().filter(pk=self.pk)
        changed = taken.update(
            state=RunState.RUNNING, heartbeat=Now(), started=Now(), ended=None, error="", stop_asked=False, doing="",
            machine=this_machine(),
            interruptions=F("interruptions") + Case(When(state=RunState.RUNNING, then=1), default=0),
        )  # fmt: skip
        self.refresh_from_db()
        return changed == 1


class RunPoint(models.Model):
    """One point of a run's charts: what its progress file told at a step."""

    run = models.ForeignKey(Run, on_delete=models.CASCADE, db_index=False, related_name="points")
    kind = models.CharField(max_length=12)
    step = models.PositiveIntegerField()
    told = models.JSONField()

    class Meta:
        ordering = ["run", "kind", "step"]
        constraints = [models.UniqueConstraint(fields=["run", "kind", "step"], name="point_by_step")]

    def __str__(self) -> str:
        return f"{self.kind} {self.step} of {self.run_id}"


class Card(models.Model):
    """A card that people rent, and for how much: to be edited, because prices change by the month."""

    name = models.CharField(max_length=60, unique=True)
    gigabytes = models.PositiveSmallIntegerField()
    teraflops = models.FloatField(help_text="At its peak in bf16, without sparsity.")
    price = models.DecimalField(
        max_digits=6, decimal_places=2, null=True, blank=True, help_text="An hour, in dollars; blank: unknown."
    )

    class Meta:
        ordering = ["gigabytes", "teraflops"]

    def __str__(self) -> str:
        return self.name
