from django.db import models
from django.urls import reverse
from django.utils import timezone

from annotate.heartbeat import is_unheard
from annotate.models import User
from annotate.models.importing import SILENCE

from .dataset import Dataset, DatasetItem


class DoubtState(models.TextChoices):
    SEARCHING = "searching", "Being looked for"
    READY = "ready", "Found"
    FAILED = "failed", "Failed"


class DoubtSearch(models.Model):
    """A model was asked about labels of a dataset that it had not seen; those that it doubts hang on this."""

    dataset = models.ForeignKey(Dataset, on_delete=models.CASCADE, related_name="doubt_searches")
    by = models.ForeignKey(User, on_delete=models.SET_NULL, null=True, blank=True, related_name="+")
    source = models.CharField(max_length=120, help_text="Which model, in words.")
    state = models.CharField(max_length=12, choices=DoubtState, default=DoubtState.SEARCHING)
    done = models.PositiveIntegerField(default=0, help_text="Models that have learned and answered.")
    total = models.PositiveIntegerField(default=0)
    heartbeat = models.DateTimeField(null=True, blank=True)
    error = models.TextField(blank=True)
    created = models.DateTimeField(auto_now_add=True)
    ended = models.DateTimeField(null=True, blank=True)

    posts = models.PositiveIntegerField(default=0, help_text="Whose labels were looked at.")
    wordless = models.PositiveIntegerField(default=0, help_text="Left out: there was nothing to read.")
    folds = models.PositiveSmallIntegerField(default=0)
    repeats = models.PositiveSmallIntegerField(default=0)
    agreed = models.PositiveIntegerField(default=0, help_text="Labels that the model would have given too.")
    commonest = models.PositiveIntegerField(default=0, help_text="Posts with the label that most have.")

    class Meta:
        ordering = ["-id"]
        verbose_name_plural = "doubt searches"

    def __str__(self) -> str:
        return f"Doubts of {self.source}"

    def get_absolute_url(self) -> str:
        return reverse("dataset_doubts", args=[self.dataset.project.slug, self.dataset.name])

    @property
    def is_searching(self) -> bool:
        return self.state == DoubtState.SEARCHING

    @property
    def is_silent(self) -> bool:
        """Nobody has worked on it for a minute."""
        return self.is_searching and is_unheard(self.heartbeat or self.created, SILENCE)

    @property
    def has_learned(self) -> bool:
        """Whether it knows more than which label is the commonest, and not by the luck of a post or two."""
        differs = 2 * self.posts - self.agreed - self.commonest  # at most, on so many one alone is right
        return self.agreed > self.commonest and (self.agreed - self.commonest) ** 2 > 4 * differs

    @property
    def seconds_left(self) -> int | None:
        if not self.done:
            return None
        spent = (timezone.now() - self.created).total_seconds()
        return round(spent * (self.total - self.done) / self.done)


class Doubt(models.Model):
    """A label that looks wrong to a model. What people made of it stands with the post's disagreements."""

    search = models.ForeignKey(DoubtSearch, on_delete=models.CASCADE, db_index=False, related_name="doubts")
    rank = models.PositiveIntegerField(help_text="From 1, the likeliest to be wrong first.")
    item = models.ForeignKey(DatasetItem, on_delete=models.CASCADE, related_name="+")
    suggested = models.CharField(max_length=60)
    chance = models.FloatField(help_text="That the label is wrong, as the model has it.")

    class Meta:
        ordering = ["search", "rank"]
        constraints = [models.UniqueConstraint(fields=["search", "rank"], name="doubt_by_rank")]

    def __str__(self) -> str:
        return f"{self.item_id}: {self.suggested}"

    @property
    def left(self) -> float:
        """What the model leaves to the label as it is."""
        return 1 - self.chance
