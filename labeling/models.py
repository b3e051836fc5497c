from datetime import timedelta
from decimal import Decimal
from typing import Any, Self

from django.db import models, transaction
from django.db.models import F, Sum
from django.urls import reverse
from django.utils import timezone

from annotate.models import Post, Project, User, Voter

# A worker that has not been heard of for this long is taken for dead, and its run can be taken up by another.
SILENCE = timedelta(seconds=30)
ZERO = Decimal(0)


class RunState(models.TextChoices):
    QUEUED = "queued", "Waiting"
    RUNNING = "running", "Running"
    PAUSED = "paused", "Paused"
    DONE = "done", "Done"
    CANCELLED = "cancelled", "Cancelled"
    FAILED = "failed", "Failed"


class Asked(models.TextChoices):
    NOTHING = "", "Nothing"
    PAUSE = "pause", "Pause"
    CANCEL = "cancel", "Cancel"


class VotingRunQuerySet(models.QuerySet["VotingRun"]):
    def claimable(self) -> Self:
        silent = models.Q(state=RunState.RUNNING, heartbeat__lt=timezone.now() - SILENCE)
        return self.filter(models.Q(state=RunState.QUEUED) | silent)

    def under_way(self) -> Self:
        return self.filter(state__in=[RunState.QUEUED, RunState.RUNNING, RunState.PAUSED])


class VotingRun(models.Model):
    project = models.ForeignKey(Project, on_delete=models.CASCADE, related_name="voting_runs")
    by = models.ForeignKey(User, on_delete=models.SET_NULL, null=True, blank=True, related_name="+")
    posts = models.JSONField(default=dict, blank=True, help_text="Which posts, as the filters in a list's address.")
    limit = models.PositiveIntegerField(null=True, blank=True, help_text="A pilot asks about so many posts only.")
    budget = models.DecimalField(max_digits=10, decimal_places=4, null=True, blank=True)
    # Money is granted in small portions, on record before it is spent: what a killed worker cannot account for
    # counts as spent, so that no number of crashes carries a run past its budget.
    granted = models.DecimalField(max_digits=20, decimal_places=8, default=0)
    written_off = models.DecimalField(max_digits=20, decimal_places=8, default=0)

    state = models.CharField(max_length=12, choices=RunState, default=RunState.QUEUED)
    asked = models.CharField(max_length=12, choices=Asked, default="", blank=True)
    error = models.TextField(blank=True)
    claim_number = models.PositiveIntegerField(default=0)
    heartbeat = models.DateTimeField(null=True, blank=True)
    created = models.DateTimeField(auto_now_add=True)
    started = models.DateTimeField(null=True, blank=True)
    ended = models.DateTimeField(null=True, blank=True)

    objects = VotingRunQuerySet.as_manager()

    class Meta:
        ordering = ["-id"]
        constraints = [
            models.CheckConstraint(
                condition=models.Q(budget__isnull=True) | models.Q(granted__lte=F("budget") - F("written_off")),
                name="no_run_is_granted_more_than_its_budget",
            )
        ]

    def __str__(self) -> str:
        return f"Voting run {self.pk}"

    def get_absolute_url(self) -> str:
        return reverse("voting_run", args=[self.project.slug, self.pk])

    @property
    def is_over(self) -> bool:
        return self.state in {RunState.DONE, RunState.CANCELLED, RunState.FAILED}

    @property
    def is_silent(self) -> bool:
        return self.state == RunState.RUNNING and (self.heartbeat is None or self.heartbeat < timezone.now() - SILENCE)

    @property
    def spent(self) -> Decimal:
        return self.parts.aggregate(total=Sum("cost"))["total"] or ZERO

    def claim(self) -> bool:
        """One UPDATE that must change one row; the number it takes marks everything this worker writes."""
        with transaction.atomic():
            now = timezone.now()
            changed = (
                VotingRun.objects.claimable()
                .filter(pk=self.pk)
                .update(state=RunState.RUNNING, heartbeat=now, ended=None, error="", claim_number=F("claim_number") + 1)
            )
            self.refresh_from_db()
            if changed:
                self.started = self.started or now
                spent = self.spent
                self.written_off += max(ZERO, self.granted - spent)
                self.granted = spent
                self.save(update_fields=["started", "written_off", "granted"])
        return changed == 1

    def ask_for(self, what: Asked) -> None:
        """A run at work obeys within a second; one that nobody works on is settled here."""
        VotingRun.objects.filter(pk=self.pk, state=RunState.RUNNING).update(asked=what)
        idle = RunState.PAUSED if what == Asked.PAUSE else RunState.CANCELLED
        waiting = [RunState.QUEUED] if what == Asked.PAUSE else [RunState.QUEUED, RunState.PAUSED]
        VotingRun.objects.filter(pk=self.pk, state__in=waiting).update(state=idle, ended=timezone.now())
        if self.is_silent:
            VotingRun.objects.filter(pk=self.pk, state=RunState.RUNNING).update(state=idle, ended=timezone.now())


class Part(models.Model):
    """One voter's part in a run."""

    run = models.ForeignKey(VotingRun, on_delete=models.CASCADE, related_name="parts")
    voter = models.ForeignKey(Voter, on_delete=models.PROTECT, related_name="parts")
    total = models.PositiveIntegerField(default=0)
    done = models.PositiveIntegerField(default=0)
    abstained = models.PositiveIntegerField(default=0)
    tokens_in = models.BigIntegerField(default=0)
    tokens_out = models.BigIntegerField(default=0)
    cost = models.DecimalField(max_digits=20, decimal_places=8, default=0)
    unpriced = models.PositiveIntegerField(default=0, help_text="Answers whose price is unknown, which is not nothing.")
    by_label = models.JSONField(default=dict)
    stopped = models.TextField(blank=True, help_text="Why this voter was stopped before its time.")

    class Meta:
        ordering = ["voter__name"]
        constraints = [models.UniqueConstraint(fields=["run", "voter"], name="one_part_per_run_and_voter")]

    def __str__(self) -> str:
        return f"{self.voter} in {self.run_id}"

    def add(self, **counts: Any) -> None:
        labels = counts.pop("by_label")
        for name, value in counts.items():
            setattr(self, name, getattr(self, name) + value)
        self.by_label = {name: self.by_label.get(name, 0) + labels.get(name, 0) for name in {*self.by_label, *labels}}


class Failure(models.Model):
    """A post that a voter could not be asked about, whatever was tried. Retrying takes it away."""

    part = models.ForeignKey(Part, on_delete=models.CASCADE, related_name="failures")
    post = models.ForeignKey(Post, on_delete=models.CASCADE, related_name="+")
    cause = models.CharField(max_length=200)
    created = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["part", "post"], name="one_failure_per_part_and_post")]

    def __str__(self) -> str:
        return self.cause
