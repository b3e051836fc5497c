from typing import Self

from django.db import models
from django.db.models import Q
from django.urls import reverse

from annotate.models import Project, User

from .dataset import Dataset
from .evaluation import Evaluation
from .prelabelling import PreLabelling
from .run import Run


class RoundState(models.TextChoices):
    RUNNING = "running", "At work"
    WAITING = "waiting", "Waits for people"
    HELD_UP = "held up", "Held up"
    STOPPED = "stopped", "Stopped"
    KEPT = "kept", "Kept"
    ROLLED_BACK = "rolled back", "Rolled back"


class Needs(models.TextChoices):
    """What only people can do."""

    NOTHING = "", "Nothing"
    WORD = "word", "Somebody says whether to settle"
    REVIEW = "review", "Doubts and audits are answered"
    VERDICT = "verdict", "A lead decides whether it is kept"


OPEN = (RoundState.RUNNING, RoundState.WAITING, RoundState.HELD_UP, RoundState.STOPPED)


class RoundQuerySet(models.QuerySet["Round"]):
    def open(self) -> Self:
        return self.filter(state__in=OPEN)

    def moving(self) -> Self:
        """Something may happen to it without anybody's word."""
        return self.filter(state__in=[RoundState.RUNNING, RoundState.WAITING])

    def kept(self) -> Self:
        return self.filter(state=RoundState.KEPT)


class Round(models.Model):
    """Freeze, train, measure, compare, pre-label, review, audit; then it is kept, or rolled back."""

    project = models.ForeignKey(Project, on_delete=models.CASCADE, related_name="rounds")
    number = models.PositiveIntegerField()
    plan = models.JSONField(help_text="How each step is done, see plan.py.")
    dataset = models.ForeignKey(Dataset, on_delete=models.SET_NULL, null=True, blank=True, related_name="rounds")
    run = models.ForeignKey(Run, on_delete=models.SET_NULL, null=True, blank=True, related_name="rounds")
    evaluation = models.ForeignKey(Evaluation, on_delete=models.SET_NULL, null=True, blank=True, related_name="+")
    rival = models.ForeignKey(
        Evaluation, on_delete=models.SET_NULL, null=True, blank=True, related_name="+",
        help_text="The model of the best round that was kept, on the very same posts.",
    )  # fmt: skip
    prelabelling = models.ForeignKey(PreLabelling, on_delete=models.SET_NULL, null=True, blank=True, related_name="+")

    state = models.CharField(max_length=12, choices=RoundState, default=RoundState.RUNNING)
    needs = models.CharField(max_length=8, choices=Needs, default="", blank=True)
    enough = models.BooleanField(default=False, help_text="Somebody said to go on without the answers that are open.")
    why = models.TextField(blank=True, help_text="Why it was kept, rolled back or held up, in words.")
    told = models.JSONField(default=dict, help_text="What it came to, once it was over: labels, error, money, hours.")
    by = models.ForeignKey(User, on_delete=models.SET_NULL, null=True, blank=True, related_name="+")
    created = models.DateTimeField(auto_now_add=True)
    ended = models.DateTimeField(null=True, blank=True)

    objects = RoundQuerySet.as_manager()

    class Meta:
        ordering = ["-number"]
        constraints = [
            models.UniqueConstraint(fields=["project", "number"], name="round_by_number"),
            models.UniqueConstraint(fields=["project"], condition=Q(state__in=OPEN), name="one_open_round"),
        ]

    def __str__(self) -> str:
        return f"Round {self.number}"

    def get_absolute_url(self) -> str:
        return reverse("round", args=[self.project.slug, self.number])

    @property
    def is_over(self) -> bool:
        return self.state not in OPEN
