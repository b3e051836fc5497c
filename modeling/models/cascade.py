from typing import Self

from django.db import models
from django.db.models import Q
from django.db.models.functions import Now
from django.urls import reverse

from annotate.heartbeat import unheard
from annotate.models import Project, User, Voter
from annotate.models.importing import SILENCE

from .dataset import Dataset
from .run import Run


class CascadeState(models.TextChoices):
    QUEUED = "queued", "Waiting"
    RUNNING = "running", "Being fitted"
    LACKING = "lacking", "Answers are missing"
    FAILED = "failed", "Failed"
    DONE = "done", "Fitted"


class CascadeQuerySet(models.QuerySet["Cascade"]):
    def claimable(self) -> Self:
        silent = Q(unheard(SILENCE), state=CascadeState.RUNNING)
        return self.filter(Q(state=CascadeState.QUEUED) | silent)

    def usable(self) -> Self:
        """Fitted, and somebody has chosen its point."""
        return self.filter(threshold__isnull=False, weight__isnull=False)


class Cascade(models.Model):
    """A cheap first stage answers where it is sure; where it is not, a run is asked about its likeliest labels."""

    project = models.ForeignKey(Project, on_delete=models.CASCADE, related_name="cascades")
    name = models.CharField(max_length=120)
    dataset = models.ForeignKey(
        Dataset, on_delete=models.CASCADE, related_name="cascades", help_text="On whose validation split it is fitted."
    )
    voter = models.ForeignKey(
        Voter, on_delete=models.CASCADE, null=True, blank=True, related_name="+", help_text="The first stage, or:"
    )
    run = models.ForeignKey(Run, on_delete=models.CASCADE, null=True, blank=True, related_name="+")
    second = models.ForeignKey(Run, on_delete=models.CASCADE, related_name="cascades")
    k = models.PositiveSmallIntegerField(help_text="Candidates: so many of the first stage’s likeliest labels.")

    threshold = models.FloatField(null=True, blank=True, help_text="As sure the first stage must be; none chosen yet.")
    chosen = models.DateTimeField(null=True, blank=True)
    weight = models.FloatField(null=True, blank=True, help_text="Of the second stage where both are blended.")
    temperature = models.FloatField(null=True, blank=True, help_text="Of the second stage’s scores.")
    heat = models.FloatField(default=1.0, help_text="Of the first stage’s scores, where it is a run.")
    fitted_on = models.PositiveIntegerField(default=0, help_text="Validation posts that both stages answered.")
    told = models.JSONField(default=dict, help_text="The fit, the curve, and the chosen point elsewhere.")

    state = models.CharField(max_length=12, choices=CascadeState, default=CascadeState.QUEUED)
    heartbeat = models.DateTimeField(null=True, blank=True)
    error = models.TextField(blank=True)
    by = models.ForeignKey(User, on_delete=models.SET_NULL, null=True, blank=True, related_name="+")
    created = models.DateTimeField(auto_now_add=True)
    started = models.DateTimeField(null=True, blank=True)
    ended = models.DateTimeField(null=True, blank=True)

    objects = CascadeQuerySet.as_manager()

    class Meta:
        ordering = ["-id"]
        constraints = [
            models.UniqueConstraint(fields=["project", "name"], name="cascade_name_is_unique_in_a_project"),
            models.CheckConstraint(
                condition=Q(voter__isnull=False, run__isnull=True) | Q(voter__isnull=True, run__isnull=False),
                name="first_stage_is_a_voter_or_a_run",
            ),
        ]

    def __str__(self) -> str:
        return self.name

    def get_absolute_url(self) -> str:
        return reverse("cascade", args=[self.project.slug, self.pk])

    @property
    def first(self) -> Voter | Run:
        """The database holds one or the other."""
        return self.voter or self.run  # type: ignore[return-value]

    @property
    def is_over(self) -> bool:
        return self.state not in {CascadeState.QUEUED, CascadeState.RUNNING}

    @property
    def is_usable(self) -> bool:
        return self.threshold is not None and self.weight is not None and self.temperature is not None

    def claim(self) -> bool:
        """A task delivered twice finds nothing to do; one whose worker died is taken up by another."""
        taken = Cascade.objects.claimable().filter(pk=self.pk)
        changed = taken.update(state=CascadeState.RUNNING, heartbeat=Now(), started=Now(), ended=None, error="")
        self.refresh_from_db()
        return changed == 1
