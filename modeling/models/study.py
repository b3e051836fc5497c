from collections.abc import Mapping
from typing import Any, Self

from django.db import models
from django.urls import reverse

from annotate.models import Project, User

from .dataset import Dataset

MOST_PARTS = 20
PER_CENT = 100


class StudyKind(models.TextChoices):
    FOLDS = "folds", "Folds"
    CURVE = "curve", "Learning curve"


class StudyState(models.TextChoices):
    RUNNING = "running", "At work"
    STOPPED = "stopped", "Stopped"
    FAILED = "failed", "Held up"
    DONE = "done", "Done"


class StudyQuerySet(models.QuerySet["Study"]):
    def running(self) -> Self:
        return self.filter(state=StudyState.RUNNING)


class Study(models.Model):
    """Several runs of one recipe as one job: each leaves out another fold, or learns from another share."""

    project = models.ForeignKey(Project, on_delete=models.CASCADE, related_name="studies")
    dataset = models.ForeignKey(Dataset, on_delete=models.PROTECT, related_name="studies")
    kind = models.CharField(max_length=8, choices=StudyKind)
    recipe = models.CharField(max_length=60, blank=True, help_text="The preset it was started from.")
    config = models.JSONField(help_text="All that the trainer of each part is told.")
    parts = models.JSONField(help_text="As each of its runs has it.")
    seed = models.PositiveIntegerField(default=0, help_text="By which posts are drawn.")
    drawn = models.BinaryField(null=True, editable=False, help_text="Which post is in which part, see parting.py.")
    posts = models.JSONField(default=list, help_text="How many each part learns from, is validated on, is asked about.")
    state = models.CharField(max_length=8, choices=StudyState, default=StudyState.RUNNING)
    error = models.TextField(blank=True)
    measured = models.JSONField(default=dict, help_text="All figures, see measured.py.")
    by = models.ForeignKey(User, on_delete=models.SET_NULL, null=True, blank=True, related_name="+")
    created = models.DateTimeField(auto_now_add=True)
    ended = models.DateTimeField(null=True, blank=True)

    objects = StudyQuerySet.as_manager()

    class Meta:
        ordering = ["-id"]
        verbose_name_plural = "studies"

    def __str__(self) -> str:
        return f"Study {self.pk}"

    def get_absolute_url(self) -> str:
        return reverse("study", args=[self.project.slug, self.pk])

    @property
    def is_over(self) -> bool:
        return self.state != StudyState.RUNNING

    @property
    def of_folds(self) -> bool:
        return self.kind == StudyKind.FOLDS

    @property
    def title(self) -> str:
        if self.of_folds:
            return f"{len(self.parts)}-fold"
        return f"Learning curve, {len(self.parts)} shares"


def part_in_words(part: Mapping[str, Any]) -> str:
    if "fold" in part:
        return f"fold {part['fold']} of {part['of']}"
    if part.get("share") == 1:
        return "all of the posts"
    return f"{PER_CENT * part['share']:.3g}% of the posts" if part else ""
