from datetime import timedelta

from django.db import models
from django.db.models import F, Q
from django.db.models.functions import Now
from django.utils import timezone

from .people import User
from .project import Project

HOURLY = timedelta(hours=1)


class Place(models.Model):
    """Where things of ours lie: one machine's own folder, or the media that all machines share. What was found there
    stands here, because to walk it takes longer than anybody waits for a page."""

    key = models.CharField(max_length=40, unique=True, help_text="As it stands in the folder, or “shared”.")
    machine = models.CharField(max_length=120, blank=True, help_text="That looked last.")
    asked = models.DateTimeField(null=True, blank=True, help_text="When somebody wanted it looked at anew.")
    rules = models.JSONField(default=list, help_text="By which rules of clean-up it is to be cleaned up at that.")
    by = models.ForeignKey(User, on_delete=models.SET_NULL, null=True, blank=True, related_name="+")
    claimed = models.DateTimeField(null=True, blank=True, help_text="Since when a machine looks; empty: none does.")
    measured = models.DateTimeField(null=True, blank=True, help_text="When a look that was finished had begun.")
    swept = models.DateTimeField(null=True, blank=True, help_text="When the rules were last carried out by themselves.")
    taken = models.JSONField(default=list, help_text="What takes how much room.")
    found = models.JSONField(default=list, help_text="What may go by which rule, with a few by name.")
    free = models.JSONField(default=list, help_text="Bytes that are free on its disks.")

    class Meta:
        ordering = ["machine", "id"]

    def __str__(self) -> str:
        return self.machine or self.key

    @property
    def is_stale(self) -> bool:
        """No machine looks after it any more, or its workers are down."""
        return self.measured is not None and timezone.now() - self.measured > 2 * HOURLY

    @property
    def holds_nothing(self) -> bool:
        return bool(self.taken) and not any(one["count"] for one in self.taken)

    @property
    def is_awaited(self) -> bool:
        """Somebody wants figures that are not there yet."""
        return self.asked is not None and (self.measured is None or self.asked > self.measured)


class Holding(models.Model):
    """What a project holds of one kind in one place, as last measured; imports add to it as they go."""

    place = models.ForeignKey(Place, on_delete=models.CASCADE, related_name="holdings", db_index=False)
    project = models.ForeignKey(Project, on_delete=models.CASCADE, related_name="holdings")
    what = models.CharField(max_length=40, help_text="As pages call it.")
    bytes = models.BigIntegerField()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["place", "project", "what"], name="holding_of_a_kind_in_a_place"),
        ]

    def __str__(self) -> str:
        return f"{self.what} of {self.project_id}"


def due() -> Q:
    """Asked for, or an hour old; or measured in times to come, before the clock was put back."""
    old = Q(measured=None) | Q(measured__lt=Now() - HOURLY) | Q(measured__gt=Now() + HOURLY)
    return old | Q(asked__gt=F("measured"))
