"""Posts that somebody asks trained models about, live. Nothing of it stays longer than an hour."""

import uuid
from datetime import timedelta
from typing import Self

from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models import Q
from django.db.models.functions import Now

from annotate.models import Project, User

from .job import this_machine
from .run import Run

LEASE = timedelta(seconds=30)  # after so long without a beat a worker is taken for dead


class ReplyState(models.TextChoices):
    WAITING = "waiting", "Waiting"
    ANSWERED = "answered", "Answered"
    FAILED = "failed", "Failed"


class Question(models.Model):
    """A post. Its picture lies here and not beside the others: the machine that answers may share nothing but the
    database with us, and what is deleted is gone at once."""

    project = models.ForeignKey(Project, on_delete=models.CASCADE, related_name="questions")
    batch = models.UUIDField(default=uuid.uuid4, editable=False, help_text="Shared by what was asked at once.")
    name = models.CharField(max_length=200, blank=True, help_text="As whoever asks calls it.")
    text = models.TextField(blank=True)
    picture = models.BinaryField(null=True, help_text="As it was cleaned; of a program’s question until the answer.")
    picture_format = models.CharField(max_length=8, blank=True)
    thumbnail = models.BinaryField(null=True, help_text="WebP, for the page.")
    fingerprint = models.BigIntegerField(null=True)
    by_page = models.BooleanField(default=False, help_text="Asked in the playground: a person looks at it again.")
    near = models.JSONField(null=True, help_text="The nearest training posts by dataset, once they are found.")
    by = models.ForeignKey(User, on_delete=models.CASCADE, db_index=False, related_name="+")
    asked = models.DateTimeField(db_default=Now())

    class Meta:
        ordering = ["id"]
        indexes = [
            models.Index(fields=["batch", "id"], name="question_by_batch"),
            models.Index(fields=["by", "asked"], name="question_by_asker"),
            models.Index(fields=["asked"], name="question_by_age"),
        ]

    def __str__(self) -> str:
        return f"Question {self.pk}"

    @property
    def has_picture(self) -> bool:
        return bool(self.picture_format)


class AnswererQuerySet(models.QuerySet["Answerer"]):
    def alive(self) -> Self:
        return self.filter(heartbeat__gt=Now() - LEASE)


class Answerer(models.Model):
    """A worker while it answers. What it has taken is its own as long as its heart beats."""

    machine = models.CharField(max_length=120, default=this_machine)
    heartbeat = models.DateTimeField(db_default=Now(), help_text="By the database’s clock.")
    loaded = ArrayField(models.BigIntegerField(), default=list, help_text="The runs whose models are ready.")

    objects = AnswererQuerySet.as_manager()

    def __str__(self) -> str:
        return f"Answerer on {self.machine}"


class Reply(models.Model):
    """What one run says of one question."""

    question = models.ForeignKey(Question, on_delete=models.CASCADE, db_index=False, related_name="replies")
    run = models.ForeignKey(Run, on_delete=models.CASCADE, related_name="+")
    state = models.CharField(max_length=8, choices=ReplyState, default=ReplyState.WAITING)
    scores = ArrayField(models.FloatField(), null=True, help_text="As a prediction holds them.")
    error = models.TextField(blank=True)
    taken_by = models.ForeignKey(Answerer, on_delete=models.SET_NULL, null=True, related_name="+")
    taken_at = models.DateTimeField(null=True)
    tries = models.PositiveSmallIntegerField(default=0, help_text="How often a worker took it.")
    ended = models.DateTimeField(null=True)

    class Meta:
        ordering = ["id"]
        constraints = [models.UniqueConstraint(fields=["question", "run"], name="reply_by_question_and_run")]
        indexes = [models.Index(fields=["run", "id"], name="reply_that_waits", condition=Q(state="waiting"))]

    def __str__(self) -> str:
        return f"Run {self.run_id} on question {self.question_id}"
