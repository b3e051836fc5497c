from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models import F, Func, Q
from django.urls import reverse
from django.utils import timezone

from annotate.heartbeat import is_unheard

from .importing import SILENCE
from .people import User
from .post import Post
from .project import Label, Project


class Why(models.TextChoices):
    SPLIT = "split", "Voters differ"
    UNSURE = "unsure", "Voters are unsure"
    ABSTAINED = "abstained", "A voter abstained"
    AUDIT = "audit", "Blind audit"
    RISK = "risk", "Looked at for its risk"
    CHECK = "check", "Its label is known"
    DOUBT = "doubt", "A model doubts its label"
    MODEL = "model", "A tuned model is unsure"


class Stream(models.IntegerChoices):
    """Where a disagreement waits. A reviewer is served from several at once and cannot tell which."""

    CONFLICT = 0, "People differ"
    CONTESTED = 1, "Contested"
    AUDIT = 2, "Audits"
    RISK = 3, "Riskiest"
    CHECK = 4, "Known answers"


class Instead(models.TextChoices):
    """What a person may say of a post in place of a label."""

    NONE = "", "A label"
    NOT_OURS = "not_ours", "Not for this project"
    BROKEN = "broken", "Broken image"
    CANNOT_TELL = "cannot_tell", "Cannot tell"
    SKIP = "skip", "Skipped"


# Of a Disagreement: nobody here decided it, and yet it is over and answered. Nothing that happens here brings that
# about: it came with an import. BROUGHT, of a Review, is the same; such answers count in no figure, and are nobody's
# last decision.
BROUGHT_ALONG = Q(closed__isnull=False, was_state="", answers__gt=0)
BROUGHT = Q(disagreement__closed__isnull=False, disagreement__was_state="", disagreement__answers__gt=0)

FLAGS = (Instead.NOT_OURS, Instead.BROKEN, Instead.CANNOT_TELL)


class TargetingState(models.TextChoices):
    SEARCHING = "searching", "Being looked for"
    READY = "ready", "To be confirmed"
    ASKED = "asked", "People look at them"
    FAILED = "failed", "Failed"


class Targeting(models.Model):
    """A lead asked for the posts most likely to be wrong, and was told how many errors that should find."""

    project = models.ForeignKey(Project, on_delete=models.CASCADE, related_name="targetings")
    by = models.ForeignKey(User, on_delete=models.SET_NULL, null=True, related_name="+")
    created = models.DateTimeField(auto_now_add=True)
    posts = models.PositiveIntegerField()
    # How many of these are wrong; unknown where too few audits tell.
    expected = models.FloatField(null=True)
    low = models.FloatField(null=True)
    high = models.FloatField(null=True)
    by_chance = models.FloatField(null=True, help_text="How many wrong ones are among as many at random.")
    method = models.CharField(max_length=80)

    state = models.CharField(max_length=12, choices=TargetingState, default=TargetingState.SEARCHING)
    looked_at = models.PositiveIntegerField(default=0)
    total = models.PositiveIntegerField(default=0)
    heartbeat = models.DateTimeField(null=True)
    error = models.TextField(blank=True)
    picked = models.JSONField(default=list, help_text="Until they are asked for: posts, and each one's chance.")
    asked_at = models.DateTimeField(null=True)

    class Meta:
        ordering = ["-id"]

    def __str__(self) -> str:
        return f"{self.posts} riskiest"

    def get_absolute_url(self) -> str:
        return reverse("quality_targeting", args=[self.project.slug, self.pk])

    @property
    def is_silent(self) -> bool:
        """Nobody has worked on it for a minute."""
        heard = self.heartbeat or self.created
        return self.state == TargetingState.SEARCHING and is_unheard(heard, SILENCE)

    @property
    def seconds_left(self) -> int | None:
        spent = (timezone.now() - self.created).total_seconds()
        return round(spent * (self.total - self.looked_at) / self.looked_at) if self.looked_at else None


class Disagreement(models.Model):
    """A post that waits for people: what machines could not settle, or a settled one that is looked at again."""

    project = models.ForeignKey(Project, on_delete=models.CASCADE, db_index=False, related_name="disagreements")
    post = models.ForeignKey(Post, on_delete=models.CASCADE, related_name="disagreements")
    why = models.CharField(max_length=12, choices=Why)
    # The chance with which this post was drawn, for audits: without it no error rate can be weighed rightly.
    inclusion = models.FloatField(null=True, blank=True)
    targeting = models.ForeignKey(Targeting, on_delete=models.SET_NULL, null=True, blank=True, related_name="asked")
    opened = models.DateTimeField(auto_now_add=True)
    closed = models.DateTimeField(null=True, blank=True)

    stream = models.PositiveSmallIntegerField(choices=Stream, default=Stream.CONTESTED)
    rank = models.FloatField(default=0, help_text="The lower, the sooner within its stream.")
    wanted = models.PositiveSmallIntegerField(default=1, help_text="How many people, blind to each other.")
    answers = models.PositiveSmallIntegerField(default=0, editable=False)
    passed = ArrayField(models.BigIntegerField(), default=list, editable=False)  # who has answered or skipped it

    # The lease: while it lasts, this post is on this person's screen.
    holder = models.ForeignKey(
        User, on_delete=models.SET_NULL, null=True, blank=True, db_index=False, related_name="held"
    )
    tab = models.CharField(max_length=36, blank=True)
    held_since = models.DateTimeField(null=True, blank=True)
    held_until = models.DateTimeField(null=True, blank=True)
    votes_shown = models.BooleanField(default=False, help_text="To the holder, before the choice.")

    # What people made of it, and what stood before: an audit compares the two, an undo puts the second back.
    label = models.ForeignKey(Label, on_delete=models.PROTECT, null=True, blank=True, db_index=False, related_name="+")
    instead = models.CharField(max_length=12, choices=Instead, default="", blank=True)
    was_state = models.CharField(max_length=12, default="", blank=True)
    was_label = models.ForeignKey(
        Label, on_delete=models.PROTECT, null=True, blank=True, db_index=False, related_name="+"
    )
    was_source = models.CharField(max_length=12, default="", blank=True)
    was_incongruous = models.BooleanField(null=True, blank=True)

    class Meta:
        ordering = ["opened", "id"]
        constraints = [
            models.UniqueConstraint(
                fields=["post"], condition=Q(closed__isnull=True), name="one_open_disagreement_per_post"
            )
        ]
        indexes = [
            models.Index(fields=["project", "stream", "rank", "id"], name="queue", condition=Q(closed=None)),
            models.Index(fields=["holder"], name="held_by", condition=Q(closed=None, holder__isnull=False)),
            models.Index(fields=["project"], name="half_answered", condition=Q(closed=None, answers__gt=0)),
            models.Index(
                fields=["project", "why", "closed"], name="decided_by_people", condition=~Q(was_state="")
            ),
            models.Index(
                fields=["project", "instead", "post"], name="set_aside_by_people",
                condition=~Q(instead="") & ~Q(was_state=""),
            ),
            # All that quality.DECIDED counts by lies in it, so that it need not look up as many rows.
            models.Index(
                fields=["project", "closed", "id"], name="decided_by_time", condition=~Q(was_state=""),
                include=["why", "was_source", "was_label", "label", "stream", "answers"],
            ),
            # As judged.JUDGED draws them.
            models.Index(
                F("project"), F("why"), Func(F("id"), function="hashint8"), F("id"), name="decided_by_lot",
                condition=~Q(was_state="") & Q(label__isnull=False),
            ),
        ]  # fmt: skip

    def __str__(self) -> str:
        return f"{self.why} on {self.post_id}"

    @property
    def was_brought(self) -> bool:
        """As BROUGHT_ALONG has it."""
        return self.closed is not None and not self.was_state and self.answers > 0


class Review(models.Model):
    """One person's answer. Taken back it stays on record, undone."""

    project = models.ForeignKey(Project, on_delete=models.CASCADE, db_index=False, related_name="reviews")
    disagreement = models.ForeignKey(Disagreement, on_delete=models.CASCADE, related_name="reviews")
    reviewer = models.ForeignKey(User, on_delete=models.PROTECT, db_index=False, related_name="reviews")
    # Chosen by whoever asks, so that an answer that is sent again counts once.
    key = models.CharField(max_length=64)
    label = models.ForeignKey(Label, on_delete=models.PROTECT, null=True, blank=True, db_index=False, related_name="+")
    instead = models.CharField(max_length=12, choices=Instead, default="", blank=True)
    note = models.TextField(blank=True)
    incongruous = models.BooleanField(null=True, blank=True)
    final = models.BooleanField(default=False, help_text="A lead's word, where people differ.")
    saw = ArrayField(
        models.BigIntegerField(), default=list, help_text="Whose votes were visible before the choice, in that order."
    )
    seconds = models.FloatField(null=True, blank=True)
    at = models.DateTimeField(auto_now_add=True)
    undone = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ["-id"]
        constraints = [
            models.UniqueConstraint(fields=["reviewer", "key"], name="an_answer_counts_once"),
            models.UniqueConstraint(
                fields=["disagreement", "reviewer", "final"],
                condition=Q(undone=None),
                name="one_live_review_per_disagreement_and_reviewer",
            ),
            models.CheckConstraint(
                condition=Q(label__isnull=False, instead="") | (Q(label=None) & ~Q(instead="")),
                name="a_review_says_one_thing",
            ),
        ]
        indexes = [
            models.Index(F("project"), F("reviewer"), F("id").desc(), name="review_by_reviewer"),
            models.Index(fields=["project", "at"], name="review_by_time"),
        ]

    def __str__(self) -> str:
        return f"{self.reviewer_id} on {self.disagreement_id}"
