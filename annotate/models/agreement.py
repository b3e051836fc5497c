from datetime import timedelta

from django.db import models
from django.db.models import Q
from django.db.models.functions import Now
from django.utils import timezone

from .project import Project

AGAIN = timedelta(minutes=1)  # asked for no more often, however many look
FOR_LONG = timedelta(days=1)


class AgreementSnapshot(models.Model):
    """How a large project's voters answered, counted by a task, because that takes longer than a page may."""

    project = models.OneToOneField(Project, on_delete=models.CASCADE, related_name="agreement_snapshot")
    votes = models.CharField(max_length=64, blank=True, help_text="Which votes it tells of: a hash of their tallies.")
    data = models.JSONField(default=dict)
    made_at = models.DateTimeField(null=True)
    asked_at = models.DateTimeField(null=True)

    def __str__(self) -> str:
        return f"agreement in {self.project_id}"

    def tells_of(self, votes: str) -> bool:
        """Two answers that swap leave every tally as it was, so nothing is believed for long."""
        return self.made_at is not None and self.votes == votes and self.made_at > timezone.now() - FOR_LONG

    def claim(self) -> bool:
        """True for one asker alone."""
        due = AgreementSnapshot.objects.filter(Q(asked_at=None) | Q(asked_at__lt=Now() - AGAIN), pk=self.pk)
        return due.update(asked_at=Now()) == 1
