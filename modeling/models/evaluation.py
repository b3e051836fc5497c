import hashlib
import json
from typing import Self

from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.urls import reverse
from django.utils import timezone

from annotate.models import Project, Voter

from .dataset import Dataset, DatasetItem, Split
from .job import Job, JobQuerySet, JobState
from .run import Run
from .study import Study


class Sees(models.TextChoices):
    """What of a post is shown: the same model asked three ways tells what it leans on."""

    BOTH = "both", "Picture and words"
    TEXT = "text", "Words alone"
    PICTURE = "picture", "Picture alone"


class On(models.TextChoices):
    """What is measured on: a split of the dataset, or the posts that a study asks about."""

    TRAIN = Split.TRAIN.value, "Train"
    VALIDATION = Split.VALIDATION.value, "Validation"
    TEST = Split.TEST.value, "Test"
    HOLDOUT = Split.HOLDOUT.value, "Locked test set"
    FOLD = "fold", "Fold"
    POOL = "pool", "Folds"


class EvaluationQuerySet(JobQuerySet["Evaluation"]):
    def done(self) -> Self:
        return self.filter(state=JobState.DONE)

    def latest_of_each(self) -> Self:
        """Asked again, the last answer counts."""
        return self.done().order_by("test_hash", "key", "-id").distinct("test_hash", "key")


class Evaluation(Job):
    """What a predictor says of posts whose labels are known, and how right that is."""

    project = models.ForeignKey(Project, on_delete=models.CASCADE, db_index=False, related_name="evaluations")
    dataset = models.ForeignKey(Dataset, on_delete=models.CASCADE, related_name="evaluations")
    split = models.CharField(max_length=12, choices=On)
    predictor = models.JSONField(help_text="Who is asked, and how; see predictors.py.")
    name = models.CharField(max_length=200, help_text="The predictor in words.")
    key = models.CharField(max_length=64, editable=False, help_text="A hash of the predictor and of what it sees.")
    sees = models.CharField(max_length=8, choices=Sees, default=Sees.BOTH)
    run = models.ForeignKey(Run, on_delete=models.CASCADE, null=True, blank=True, related_name="evaluations")
    voter = models.ForeignKey(Voter, on_delete=models.CASCADE, null=True, blank=True, related_name="+")
    study = models.ForeignKey(Study, on_delete=models.CASCADE, null=True, blank=True, related_name="evaluations")
    test_hash = models.CharField(max_length=64, blank=True, help_text="Of the posts and labels that it is measured on.")

    measured = models.JSONField(default=dict, help_text="All figures, see measuring.py.")
    used = models.JSONField(default=dict, help_text="By what it was asked: device, bits, pace.")

    objects = EvaluationQuerySet.as_manager()

    class Meta(Job.Meta):
        abstract = False
        indexes = [
            models.Index(fields=["project", "test_hash", "key", "-id"], name="evaluation_by_test_set"),
        ]

    def __str__(self) -> str:
        return self.name

    def get_absolute_url(self) -> str:
        return reverse("evaluation", args=[self.project.slug, self.pk])

    @staticmethod
    def key_of(predictor: dict[str, object], sees: str) -> str:
        """However many posts it is asked about at once, it is the same."""
        told = {name: value for name, value in predictor.items() if name != "batch"}
        return hashlib.sha256(json.dumps([told, sees], sort_keys=True).encode()).hexdigest()

    @property
    def done_now(self) -> int:
        """Since it was started or resumed last: what was answered before took none of that time."""
        return max(0, self.done - int(self.used.get("before") or 0))

    @property
    def seconds_left(self) -> int | None:
        if not self.started or not self.done_now or self.is_over:
            return None
        spent = (timezone.now() - self.started).total_seconds()
        return round(spent * (self.total - self.done) / self.done_now)


class Prediction(models.Model):
    """What was said of one post. No label is an abstention, or votes that differ."""

    evaluation = models.ForeignKey(Evaluation, on_delete=models.CASCADE, db_index=False, related_name="predictions")
    item = models.ForeignKey(DatasetItem, on_delete=models.CASCADE, related_name="predictions")
    label = models.CharField(max_length=60, blank=True)
    scores = ArrayField(
        models.FloatField(), null=True, help_text="The log-probability of each label, in the dataset's order."
    )
    confidence = models.FloatField(null=True, help_text="In the label it gave, where it says no more than that.")
    to_calibrate = models.BooleanField(default=False, help_text="Of the validation split: not measured on.")

    class Meta:
        constraints = [models.UniqueConstraint(fields=["evaluation", "item"], name="prediction_by_item")]

    def __str__(self) -> str:
        return f"{self.label or 'no label'} for {self.item_id}"


class Comparison(models.Model):
    """Two predictors on the same posts, by a paired bootstrap; counted when the later of them was measured."""

    first = models.ForeignKey(Evaluation, on_delete=models.CASCADE, db_index=False, related_name="+")
    second = models.ForeignKey(Evaluation, on_delete=models.CASCADE, related_name="+")
    told = models.JSONField(help_text="First against second; see comparison.py.")

    class Meta:
        constraints = [models.UniqueConstraint(fields=["first", "second"], name="comparison_of_two")]

    def __str__(self) -> str:
        return f"{self.first_id} against {self.second_id}"
