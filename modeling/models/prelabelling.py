import socket
from typing import Self

from django.db import models
from django.db.models import Case, F, Q, When
from django.urls import reverse
from django.utils import timezone

from annotate.models import Label, Post, Project, User, Voter
from annotate.models.importing import SILENCE

from .run import Run


class Goal(models.TextChoices):
    """What is done to posts, one after the other, each on somebody's word."""

    ASK = "ask", "Ask the model"
    APPLY = "apply", "Settle what it is sure of"
    TAKE_BACK = "take back", "Take its labels back"


class PreLabellingState(models.TextChoices):
    QUEUED = "queued", "Waiting"
    RUNNING = "running", "At work"
    STOPPED = "stopped", "Stopped"
    INTERRUPTED = "interrupted", "Interrupted"
    FAILED = "failed", "Failed"
    DONE = "done", "Done"


class PreLabellingQuerySet(models.QuerySet["PreLabelling"]):
    def claimable(self) -> Self:
        silent = Q(state=PreLabellingState.RUNNING, heartbeat__lt=timezone.now() - SILENCE)
        return self.filter(Q(state=PreLabellingState.QUEUED) | silent)


class PreLabelling(models.Model):
    """A run's model asked about posts without a label; what it is sure of may settle them, and may be taken back."""

    project = models.ForeignKey(Project, on_delete=models.CASCADE, related_name="prelabellings")
    run = models.ForeignKey(Run, on_delete=models.RESTRICT, related_name="prelabellings")
    cascade = models.ForeignKey(
        "Cascade", on_delete=models.RESTRICT, null=True, blank=True, related_name="+",
        help_text="Where a first stage answers what it is sure of, and the run is asked about the rest.",
    )  # fmt: skip
    voter = models.ForeignKey(Voter, on_delete=models.RESTRICT, related_name="+", help_text="As which the model votes.")
    posts = models.JSONField(default=dict, blank=True, help_text="Which posts, as the filters in a list's address.")
    bits = models.PositiveSmallIntegerField(default=0)
    batch = models.PositiveSmallIntegerField(default=16)

    threshold = models.FloatField(default=0.9, help_text="How likely a label must be to settle a post.")
    growth = models.FloatField(
        default=1.5, help_text="How many times its share before a label may come to have of all; 0: any."
    )
    audit_rate = models.FloatField(default=0.1, help_text="The share of what it settles that people check blind.")
    most_doubts = models.PositiveIntegerField(default=200, help_text="So many of its doubts go to people at most.")

    goal = models.CharField(max_length=12, choices=Goal, default=Goal.ASK)
    state = models.CharField(max_length=12, choices=PreLabellingState, default=PreLabellingState.QUEUED)
    heartbeat = models.DateTimeField(null=True, blank=True)
    stop_asked = models.BooleanField(default=False)
    machine = models.CharField(max_length=120, blank=True)
    interruptions = models.PositiveSmallIntegerField(default=0)
    doing = models.CharField(max_length=80, blank=True)
    total = models.PositiveIntegerField(default=0)
    done = models.PositiveIntegerField(default=0)
    error = models.TextField(blank=True)
    used = models.JSONField(default=dict, help_text="By what it was asked: device, bits, pace.")

    temperature = models.FloatField(null=True, help_text="Fitted on the validation split; none: it has no posts.")
    validation = models.JSONField(default=list, help_text="Of its posts: label given, how sure, and whether right.")
    meaning = models.JSONField(default=dict, help_text="What each threshold would settle; see thresholds.py.")
    result = models.JSONField(default=dict, help_text="What was settled, and what was not and why.")
    by = models.ForeignKey(User, on_delete=models.SET_NULL, null=True, blank=True, related_name="+")
    created = models.DateTimeField(auto_now_add=True)
    started = models.DateTimeField(null=True, blank=True)
    ended = models.DateTimeField(null=True, blank=True)
    applied = models.DateTimeField(null=True, blank=True)
    taken_back = models.DateTimeField(null=True, blank=True)

    objects = PreLabellingQuerySet.as_manager()

    class Meta:
        ordering = ["-id"]

    def __str__(self) -> str:
        return f"Pre-labelling {self.pk}"

    def get_absolute_url(self) -> str:
        return reverse("prelabelling", args=[self.project.slug, self.pk])

    @property
    def is_over(self) -> bool:
        """Of what it is at; not of all that may yet be asked of it."""
        return self.state not in {PreLabellingState.QUEUED, PreLabellingState.RUNNING}

    @property
    def is_silent(self) -> bool:
        return self.state == PreLabellingState.RUNNING and (
            self.heartbeat is None or self.heartbeat < timezone.now() - SILENCE
        )

    @property
    def waits_for_a_word(self) -> bool:
        """The model was asked, and nothing is settled yet."""
        return self.goal == Goal.ASK and self.state == PreLabellingState.DONE

    @property
    def is_applied(self) -> bool:
        return self.goal == Goal.APPLY and self.state == PreLabellingState.DONE

    def claim(self) -> bool:
        """A task delivered twice finds nothing to do; one whose worker died is taken up by another."""
        now = timezone.now()
        taken = PreLabelling.objects.claimable().filter(pk=self.pk)
        changed = taken.update(
            state=PreLabellingState.RUNNING, heartbeat=now, started=now, ended=None, error="", stop_asked=False,
            doing="", machine=socket.gethostname()[:120],
            interruptions=F("interruptions") + Case(When(state=PreLabellingState.RUNNING, then=1), default=0),
        )  # fmt: skip
        self.refresh_from_db()
        return changed == 1


class PreLabel(models.Model):
    """What one pre-labelling did to one post: it settled it, or sent it to people (then there is no label)."""

    prelabelling = models.ForeignKey(PreLabelling, on_delete=models.CASCADE, db_index=False, related_name="labels")
    post = models.ForeignKey(Post, on_delete=models.CASCADE, related_name="+")
    label = models.ForeignKey(Label, on_delete=models.CASCADE, null=True, db_index=False, related_name="+")
    chance = models.FloatField(help_text="Of the label; of a doubt, how much an answer would teach.")
    taken_back = models.BooleanField(default=False)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["prelabelling", "post"], name="one_prelabel_of_a_post")]
        indexes = [models.Index(fields=["prelabelling", "label", "post"], name="prelabel_by_label")]

    def __str__(self) -> str:
        return f"{self.label_id or 'a doubt'} for {self.post_id}"
