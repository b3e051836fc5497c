from typing import Self

from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models import Q
from django.db.models.functions import Now
from django.utils import timezone

from annotate.heartbeat import is_unheard, unheard

from .importing import SILENCE
from .people import User
from .project import Project
from .review import Disagreement, Review


class LabelStudioProject(models.Model):
    """Where our posts lie in Label Studio. Left for a new one, it stays on record."""

    project = models.ForeignKey(Project, on_delete=models.CASCADE, related_name="label_studio_projects")
    address = models.CharField(max_length=300, help_text="Of the server, as in LABEL_STUDIO_URL.")
    number = models.PositiveBigIntegerField(help_text="Of the project there.")
    config = models.TextField(blank=True, editable=False, help_text="Its labelling page, as last sent.")
    created = models.DateTimeField(auto_now_add=True)
    left = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ["-id"]
        constraints = [
            models.UniqueConstraint(
                fields=["project"], condition=Q(left=None), name="one_label_studio_project_at_a_time"
            )
        ]

    def __str__(self) -> str:
        return f"{self.address}/projects/{self.number}"

    @property
    def page(self) -> str:
        return f"{self}/data"


class LabelStudioPerson(models.Model):
    """Who annotates there, and who that is here; nothing of theirs counts until an admin has said so."""

    project = models.ForeignKey(Project, on_delete=models.CASCADE, related_name="label_studio_people")
    address = models.CharField(max_length=300)
    number = models.PositiveBigIntegerField()
    email = models.CharField(max_length=254, blank=True)
    name = models.CharField(max_length=200, blank=True)
    user = models.ForeignKey(User, on_delete=models.SET_NULL, null=True, blank=True, related_name="+")

    class Meta:
        ordering = ["email", "id"]
        constraints = [
            models.UniqueConstraint(fields=["project", "address", "number"], name="label_studio_person_is_known_once")
        ]

    def __str__(self) -> str:
        return self.name or self.email or f"User {self.number}"


class LabelStudioTask(models.Model):
    """A post that lies there, and what came with it."""

    link = models.ForeignKey(LabelStudioProject, on_delete=models.CASCADE, related_name="tasks")
    number = models.PositiveBigIntegerField(help_text="Of the task there.")
    disagreement = models.ForeignKey(
        Disagreement, on_delete=models.SET_NULL, null=True, blank=True, related_name="label_studio_tasks"
    )
    saw = ArrayField(models.BigIntegerField(), default=list, help_text="Whose votes lie beside it, in that order.")
    pushed = models.DateTimeField(auto_now_add=True)
    deleted_there = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ["-id"]
        constraints = [
            models.UniqueConstraint(fields=["link", "number"], name="label_studio_task_is_known_once"),
            models.UniqueConstraint(fields=["link", "disagreement"], name="label_studio_holds_a_post_once"),
        ]

    def __str__(self) -> str:
        return f"Task {self.number}"

    @property
    def page(self) -> str:
        return f"{self.link.page}?task={self.number}"


class Outcome(models.TextChoices):
    """What became of an annotation. Only the first two put a review here."""

    APPLIED = "applied", "Now a review here"
    SKIPPED = "skipped", "Skipped there, and so here"
    AGREES = "agrees", "Says the same as was decided here"
    CONFLICT = "conflict", "Says something else than was decided here"
    DIFFER = "differ", "People differ on the post here; a lead decides"
    TAKEN_BACK = "taken back", "Taken back here since"
    UNMAPPED = "unmapped", "Nobody said yet who this is here"
    STRANGER = "stranger", "Whoever this is here is not in this project any more"
    ON_SCREEN = "on screen", "Somebody has the post on the screen here; ask again later"
    EMPTY = "empty", "Holds no label"
    UNKNOWN_LABEL = "unknown label", "No label of this project has this name"
    POST_GONE = "post gone", "The post was deleted here; delete the task there, too"


class LabelStudioAnnotation(models.Model):
    """One person's annotation of a task there, by its number, and what it came to here."""

    task = models.ForeignKey(LabelStudioTask, on_delete=models.CASCADE, related_name="annotations")
    number = models.PositiveBigIntegerField()
    person = models.ForeignKey(LabelStudioPerson, on_delete=models.CASCADE, related_name="annotations")
    said = models.CharField(max_length=200, blank=True, help_text="The label's name as it stood there when read.")
    here = models.CharField(max_length=200, blank=True, help_text="What was decided here meanwhile, where it was.")
    outcome = models.CharField(max_length=16, choices=Outcome)
    review = models.ForeignKey(Review, on_delete=models.SET_NULL, null=True, blank=True, related_name="+")
    says_now = models.CharField(max_length=200, blank=True, help_text="Changed there since it became a review.")
    deleted_there = models.DateTimeField(null=True, blank=True)
    read = models.DateTimeField(auto_now=True)

    class Meta:
        ordering = ["-id"]
        constraints = [models.UniqueConstraint(fields=["task", "number"], name="label_studio_annotation_is_known_once")]

    def __str__(self) -> str:
        return f"Annotation {self.number}"


class Way(models.TextChoices):
    PUSH = "push", "Push"
    PULL = "pull", "Pull"


class LabelStudioState(models.TextChoices):
    QUEUED = "queued", "Waiting"
    RUNNING = "running", "Running"
    DONE = "done", "Done"
    FAILED = "failed", "Failed"
    STOPPED = "stopped", "Stopped"


OPEN = [LabelStudioState.QUEUED, LabelStudioState.RUNNING]


class LabelStudioRunQuerySet(models.QuerySet["LabelStudioRun"]):
    def claimable(self) -> Self:
        silent = Q(unheard(SILENCE), state=LabelStudioState.RUNNING)
        return self.filter(Q(state=LabelStudioState.QUEUED) | silent)


class LabelStudioRun(models.Model):
    """One push or pull: asked for on the page or by command, carried out by whoever claims it."""

    project = models.ForeignKey(Project, on_delete=models.CASCADE, related_name="label_studio_runs")
    by = models.ForeignKey(User, on_delete=models.SET_NULL, null=True, blank=True, related_name="+")
    way = models.CharField(max_length=8, choices=Way)
    limit = models.PositiveIntegerField(null=True, blank=True, help_text="Posts to push at most.")
    state = models.CharField(max_length=12, choices=LabelStudioState, default=LabelStudioState.QUEUED)
    heartbeat = models.DateTimeField(null=True, blank=True)
    stop_asked = models.BooleanField(default=False)
    total = models.PositiveIntegerField(null=True, blank=True)
    done = models.PositiveIntegerField(default=0)
    # pushed: how many; pulled: how many of each outcome.
    counts = models.JSONField(default=dict, blank=True)
    error = models.TextField(blank=True)
    created = models.DateTimeField(auto_now_add=True)
    started = models.DateTimeField(null=True, blank=True)
    ended = models.DateTimeField(null=True, blank=True)

    objects = LabelStudioRunQuerySet.as_manager()

    class Meta:
        ordering = ["-id"]
        constraints = [
            models.UniqueConstraint(
                fields=["project"], condition=Q(state__in=OPEN), name="one_open_label_studio_run_in_a_project"
            )
        ]

    def __str__(self) -> str:
        return f"{self.way} {self.pk}"

    @property
    def is_over(self) -> bool:
        return self.state not in OPEN

    @property
    def is_silent(self) -> bool:
        """Nobody has worked on it for a minute."""
        heard = self.heartbeat or self.started or self.created
        return self.state == LabelStudioState.RUNNING and is_unheard(heard, SILENCE)

    @property
    def came_to(self) -> list[tuple[int, str]]:
        """How many of what, in words."""
        labels = dict(Outcome.choices)
        return [(n, str(labels.get(what, what)).lower()) for what, n in self.counts.items() if n]

    @property
    def left_out(self) -> int:
        """Posts whose picture is gone from the storage."""
        return int(self.counts.get("picture missing", 0))

    @property
    def seconds_left(self) -> int | None:
        if not (self.started and self.total and self.done):
            return None
        spent = (timezone.now() - self.started).total_seconds()
        return round(spent * max(self.total - self.done, 0) / self.done)

    def claim(self) -> bool:
        """Of two workers with one run, the row changes for one."""
        changed = (
            LabelStudioRun.objects.claimable()
            .filter(pk=self.pk)
            .update(
                state=LabelStudioState.RUNNING, heartbeat=Now(), started=Now(), ended=None, error="", total=None,
                done=0, counts={},
            )
        )  # fmt: skip
        self.refresh_from_db()
        return changed == 1
