from datetime import datetime, timedelta
from typing import Self

from django.db import models
from django.db.models import F, Q
from django.db.models.functions import Coalesce, Greatest, Now

from annotate.heartbeat import is_unheard, unheard

from .people import User
from .project import Project

HOURLY = timedelta(hours=1)
STALE = 2 * HOURLY
# Whoever looks and has not been heard of for this long is taken for dead, and another looks.
SILENCE = timedelta(seconds=60)
# So long a look that was ordered is waited for, and so long one that failed is not tried again.
PATIENCE = timedelta(minutes=10)


class PlaceQuerySet(models.QuerySet["Place"]):
    def left(self) -> Self:
        """Where nobody looks, and nobody is about to."""
        not_begun = Q(heartbeat=None) & ~Q(claimed__range=(Now() - PATIENCE, Now() + PATIENCE))
        return self.filter(Q(claimed=None) | not_begun | unheard(SILENCE))

    def lost(self, silence: timedelta) -> Self:
        """Of which no machine was heard for so long. What is of times to come was heard before a clock was put back."""
        heard = Coalesce(Greatest("measured", "claimed", "heartbeat"), "asked")
        found = self.exclude(key=Place.SHARED).alias(heard=heard)
        return found.filter(Q(heard__lt=Now() - silence) | Q(heard__gt=Now() + silence))

    def look_again(self) -> None:
        """Something came or went there. Many times over costs little: one look that is to come is enough."""
        begun = Coalesce("claimed", "measured")
        self.filter(Q(asked=None) | Q(asked__lte=begun)).update(asked=Now())


class Place(models.Model):
    """Where things of ours lie: one machine's own folder, or the media that all machines share. What was found there
    stands here, because to walk it takes longer than anybody waits for a page."""

    SHARED = "shared"  # the key of what all machines share

    key = models.CharField(max_length=40, unique=True, help_text="As it stands in the folder, or “shared”.")
    machine = models.CharField(max_length=120, blank=True, help_text="That looked last.")
    asked = models.DateTimeField(null=True, blank=True, help_text="When somebody wanted it looked at anew.")
    rules = models.JSONField(default=list, help_text="By which rules of clean-up it is to be cleaned up at that.")
    by = models.ForeignKey(User, on_delete=models.SET_NULL, null=True, blank=True, related_name="+")
    claimed = models.DateTimeField(null=True, blank=True, help_text="Since when one looks, or is to; empty: none does.")
    heartbeat = models.DateTimeField(null=True, blank=True, help_text="Of whoever looks; empty: it has not begun.")
    measured = models.DateTimeField(null=True, blank=True, help_text="When a look that was finished had begun.")
    swept = models.DateTimeField(null=True, blank=True, help_text="When the rules were last carried out by themselves.")
    taken = models.JSONField(default=list, help_text="What takes how much room.")
    found = models.JSONField(default=list, help_text="What may go by which rule, with a few by name.")
    free = models.JSONField(default=list, help_text="Bytes that are free on its disks.")

    objects = PlaceQuerySet.as_manager()

    class Meta:
        ordering = ["machine", "id"]

    def __str__(self) -> str:
        return self.machine or self.key

    @property
    def is_shared(self) -> bool:
        return self.key == self.SHARED

    @property
    def is_stale(self) -> bool:
        """No machine looks after it any more, or its workers are down."""
        return is_unheard(self.heard, STALE)

    @property
    def heard(self) -> datetime | None:
        """The last sign of whoever looks after it; of one that never came, since when it is waited for."""
        return max(filter(None, [self.measured, self.claimed, self.heartbeat]), default=self.asked)

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
    old = Q(measured=None) | Q(measured__lt=Now() - HOURLY) | Q(measured__gt=Now())
    return old | Q(asked__gt=F("measured"))
