from datetime import timedelta
from typing import Self

from django.db import models, transaction
from django.db.models.functions import Now
from django.urls import reverse

from annotate.heartbeat import is_unheard, unheard

from .people import User
from .project import Project

# A worker that has not been heard of for this long is taken for dead, and its run can be started again.
SILENCE = timedelta(seconds=60)
FROM_NOTHING = {"stop_asked": False, "imported": 0, "already": 0, "refused": 0, "votes": 0}


class ImportState(models.TextChoices):
    DRAFT = "draft", "Not started"
    QUEUED = "queued", "Waiting"
    RUNNING = "running", "Running"
    DONE = "done", "Done"
    FAILED = "failed", "Failed"
    CANCELLED = "cancelled", "Stopped"


class ImportRunQuerySet(models.QuerySet["ImportRun"]):
    def alive(self) -> Self:
        return self.filter(~unheard(SILENCE), state=ImportState.RUNNING)

    def claimable(self) -> Self:
        silent = models.Q(unheard(SILENCE), state=ImportState.RUNNING)
        return self.filter(models.Q(state=ImportState.QUEUED) | silent)

    def left_lying(self) -> Self:
        """What a worker can take up by itself: a run from the command line has its file on that person's disk."""
        return self.claimable().exclude(path="", options__board__isnull=True)


class ImportRun(models.Model):
    project = models.ForeignKey(Project, on_delete=models.CASCADE, related_name="imports")
    by = models.ForeignKey(User, on_delete=models.SET_NULL, null=True, blank=True, related_name="+")
    name = models.CharField(max_length=255)
    path = models.CharField(max_length=500, blank=True, help_text="Where the upload lies in the media storage.")
    options = models.JSONField(default=dict, blank=True)
    holdout = models.BooleanField(default=False)
    state = models.CharField(max_length=12, choices=ImportState, default=ImportState.DRAFT)
    heartbeat = models.DateTimeField(null=True, blank=True)
    stop_asked = models.BooleanField(default=False)

    total = models.PositiveIntegerField(null=True, blank=True)
    imported = models.PositiveIntegerField(default=0)
    already = models.PositiveIntegerField(default=0)
    refused = models.PositiveIntegerField(default=0)
    votes = models.PositiveIntegerField(default=0)
    report = models.CharField(max_length=500, blank=True)
    error = models.TextField(blank=True)

    created = models.DateTimeField(auto_now_add=True)
    started = models.DateTimeField(null=True, blank=True)
    ended = models.DateTimeField(null=True, blank=True)

    objects = ImportRunQuerySet.as_manager()

    class Meta:
        ordering = ["-id"]

    def __str__(self) -> str:
        return self.name

    def get_absolute_url(self) -> str:
        return reverse("import", args=[self.project.slug, self.pk])

    @property
    def done(self) -> int:
        return self.imported + self.already + self.refused

    @property
    def is_over(self) -> bool:
        return self.state in {ImportState.DONE, ImportState.FAILED, ImportState.CANCELLED}

    @property
    def is_silent(self) -> bool:
        return self.state == ImportState.RUNNING and is_unheard(self.heartbeat, SILENCE)

    @property
    def can_begin(self) -> bool:
        return self.is_silent or self.state not in {ImportState.QUEUED, ImportState.RUNNING, ImportState.DONE}

    def claim(self) -> bool:
        """A task delivered twice finds nothing to do, and a project takes one import at a time."""
        with transaction.atomic():
            Project.objects.select_for_update(no_key=True).get(pk=self.project_id)
            if ImportRun.objects.alive().filter(project=self.project_id).exclude(pk=self.pk).exists():
                return False
            changed = (
                ImportRun.objects.claimable()
                .filter(pk=self.pk)
                .update(state=ImportState.RUNNING, heartbeat=Now(), started=Now(), ended=None, error="", **FROM_NOTHING)
            )
        self.refresh_from_db()
        return changed == 1
