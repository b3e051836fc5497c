from datetime import timedelta
from typing import Any, Self

from django.core.validators import RegexValidator
from django.db import models, transaction
from django.db.models import Q
from django.db.models.functions import Now
from django.urls import reverse
from django.utils import timezone

from annotate.heartbeat import is_unheard, unheard
from annotate.models import LabelSource, Post, Project, User
from annotate.models.importing import SILENCE

NAME = RegexValidator(
    r"\A[A-Za-z0-9][A-Za-z0-9._-]*\Z", "A name is letters, digits, dots, dashes and underscores, such as v1."
)


class Split(models.TextChoices):
    TRAIN = "train", "Train"
    VALIDATION = "validation", "Validation"
    TEST = "test", "Test"
    HOLDOUT = "holdout", "Locked test set"


class DatasetState(models.TextChoices):
    QUEUED = "queued", "Waiting"
    FREEZING = "freezing", "Being frozen"
    FROZEN = "frozen", "Frozen"
    FAILED = "failed", "Failed"
    CANCELLED = "cancelled", "Stopped"


class DatasetQuerySet(models.QuerySet["Dataset"]):
    def alive(self) -> Self:
        return self.filter(~unheard(SILENCE), state=DatasetState.FREEZING)

    def claimable(self) -> Self:
        silent = Q(unheard(SILENCE), state=DatasetState.FREEZING)
        return self.filter(Q(state=DatasetState.QUEUED) | silent)

    def frozen(self) -> Self:
        return self.filter(state=DatasetState.FROZEN)


class Dataset(models.Model):
    """A copy of what was known, which never changes; a trigger refuses it. Only a post that had to go leaves it."""

    project = models.ForeignKey(Project, on_delete=models.CASCADE, related_name="datasets")
    name = models.CharField(max_length=60, validators=[NAME])
    recipe = models.JSONField(default=dict, help_text="What was asked for.")
    facts = models.JSONField(
        default=dict, help_text="Question, labels, weights: what a trainer reads beside the posts."
    )
    composition = models.JSONField(default=dict, help_text="How many of what, and what was left out.")
    told = models.JSONField(default=dict, help_text="For the card: voters, reviewers, agreement, error, as they were.")
    content_hash = models.CharField(max_length=64, blank=True)

    state = models.CharField(max_length=12, choices=DatasetState, default=DatasetState.QUEUED)
    heartbeat = models.DateTimeField(null=True, blank=True)
    stop_asked = models.BooleanField(default=False)
    total = models.PositiveIntegerField(default=0)
    done = models.PositiveIntegerField(default=0)
    error = models.TextField(blank=True)
    by = models.ForeignKey(User, on_delete=models.SET_NULL, null=True, blank=True, related_name="+")
    created = models.DateTimeField(auto_now_add=True)
    started = models.DateTimeField(null=True, blank=True)
    ended = models.DateTimeField(null=True, blank=True)

    objects = DatasetQuerySet.as_manager()

    class Meta:
        ordering = ["-id"]
        constraints = [
            models.UniqueConstraint(fields=["project", "name"], name="dataset_name_is_unique_in_a_project"),
        ]

    def __str__(self) -> str:
        return self.name

    def get_absolute_url(self) -> str:
        return reverse("dataset", args=[self.project.slug, self.name])

    @property
    def is_frozen(self) -> bool:
        return self.state == DatasetState.FROZEN

    @property
    def is_over(self) -> bool:
        return self.state in {DatasetState.FROZEN, DatasetState.FAILED, DatasetState.CANCELLED}

    @property
    def is_silent(self) -> bool:
        return self.state == DatasetState.FREEZING and is_unheard(self.heartbeat, SILENCE)

    @property
    def seconds_left(self) -> int | None:
        if not self.started or not self.done or self.is_over:
            return None
        spent = (timezone.now() - self.started).total_seconds()
        return round(spent * (self.total - self.done) / self.done)

    def claim(self) -> bool:
        """A task delivered twice finds nothing to do; and one by one, because each heeds what was ever in test."""
        with transaction.atomic():
            Project.objects.select_for_update(no_key=True).get(pk=self.project_id)
            if Dataset.objects.alive().filter(project=self.project_id).exclude(pk=self.pk).exists():
                return False
            taken = Dataset.objects.claimable().filter(pk=self.pk)
            changed = taken.update(
                state=DatasetState.FREEZING,
                heartbeat=Now(),
                started=Now(),
                ended=None,
                error="",
                done=0,
                stop_asked=False,
            )
        self.refresh_from_db()
        return changed == 1


class DatasetItem(models.Model):
    """One post as it was. `post` leads to what it is now, and is empty once it had to go."""

    dataset = models.ForeignKey(Dataset, on_delete=models.CASCADE, db_index=False, related_name="items")
    position = models.PositiveIntegerField()
    post = models.ForeignKey(Post, on_delete=models.DO_NOTHING, db_constraint=False, null=True, related_name="+")
    external_id = models.CharField(max_length=200)
    text = models.TextField(blank=True)
    image = models.CharField(max_length=80, blank=True, help_text="The picture's hash and ending.")
    source = models.CharField(max_length=120, blank=True)
    at = models.DateTimeField()
    template = models.CharField(max_length=80, blank=True)
    meta = models.JSONField(default=dict)

    label = models.CharField(max_length=60)
    label_source = models.CharField(max_length=12, choices=LabelSource)
    incongruous = models.BooleanField(null=True)
    confidence = models.FloatField(null=True, help_text="The least that a voter for this label stated.")
    split = models.CharField(max_length=12, choices=Split)
    kin = models.PositiveIntegerField(help_text="Posts alike in picture or words share this number, and a split.")
    votes = models.JSONField(default=list)
    reviews = models.JSONField(default=list)
    removed = models.DateTimeField(null=True, help_text="The post had to go; of it nothing is left here.")

    class Meta:
        ordering = ["dataset", "position"]
        constraints = [models.UniqueConstraint(fields=["dataset", "position"], name="item_by_position")]
        indexes = [
            models.Index(fields=["dataset", "split", "position"], name="item_by_split"),
            models.Index(fields=["dataset", "external_id"], name="item_by_external_id"),
        ]

    def __str__(self) -> str:
        return self.external_id


AGAIN = timedelta(minutes=1)  # asked for no more often, however many look


class Preview(models.Model):
    """What a recipe would give in a large project, counted by a task, because that takes longer than a page may."""

    project = models.ForeignKey(Project, on_delete=models.CASCADE, related_name="previews")
    key = models.CharField(max_length=64, help_text="A hash of the recipe and of the project's tallies.")
    recipe = models.JSONField()
    composition = models.JSONField(null=True)
    asked = models.DateTimeField(null=True)
    created = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["project", "key"], name="preview_by_key")]

    def __str__(self) -> str:
        return self.key[:8]

    def claim(self) -> bool:
        """True for one asker alone."""
        due: Any = Preview.objects.filter(Q(asked=None) | Q(asked__lt=Now() - AGAIN), pk=self.pk, composition=None)
        return bool(due.update(asked=Now()) == 1)
