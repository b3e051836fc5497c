from django.db import models
from django.urls import reverse

from annotate.models import Label, Post, Project, Voter

from .job import Job, JobQuerySet, JobState
from .run import Run


class Goal(models.TextChoices):
    """What is done to posts, one after the other, each on somebody's word."""

    ASK = "ask", "Ask the model"
    APPLY = "apply", "Settle what it is sure of"
    TAKE_BACK = "take back", "Take its labels back"


class PreLabelling(Job):
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
    used = models.JSONField(default=dict, help_text="By what it was asked: device, bits, pace.")

    temperature = models.FloatField(null=True, help_text="Fitted on the validation split; none: it has no posts.")
    validation = models.JSONField(default=list, help_text="Of its posts: label given, how sure, and whether right.")
    meaning = models.JSONField(default=dict, help_text="What each threshold would settle; see thresholds.py.")
    result = models.JSONField(default=dict, help_text="What was settled, and what was not and why.")
    applied = models.DateTimeField(null=True, blank=True)
    taken_back = models.DateTimeField(null=True, blank=True)

    objects = JobQuerySet["PreLabelling"].as_manager()

    class Meta(Job.Meta):
        abstract = False

    def __str__(self) -> str:
        return f"Pre-labelling {self.pk}"

    def get_absolute_url(self) -> str:
        return reverse("prelabelling", args=[self.project.slug, self.pk])

    @property
    def waits_for_a_word(self) -> bool:
        """The model was asked, and nothing is settled yet."""
        return self.goal == Goal.ASK and self.state == JobState.DONE

    @property
    def is_applied(self) -> bool:
        return self.goal == Goal.APPLY and self.state == JobState.DONE


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
