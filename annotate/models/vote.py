import hashlib
import json

from django.db import models

from .post import Post
from .project import Label, Project


class Voter(models.Model):
    """Provider, model, parameters and prompt; editing any of them makes a new voter, so old votes keep their author."""

    project = models.ForeignKey(Project, on_delete=models.CASCADE, related_name="voters")
    name = models.CharField(max_length=120)
    provider = models.CharField(max_length=40)
    model = models.CharField(max_length=120, blank=True)
    parameters = models.JSONField(default=dict, blank=True)
    prompt = models.TextField(blank=True)
    words = models.TextField(blank=True, editable=False, help_text="All that it read beside the post, when last asked.")
    fingerprint = models.CharField(max_length=64, editable=False)
    # Not part of what a voter is: how fast it may be asked, and whether consensus waits for it.
    limits = models.JSONField(default=dict, blank=True)
    required = models.BooleanField(default=True, help_text="Consensus waits until this voter has spoken.")
    heard = models.BooleanField(
        default=True, editable=False, help_text="By consensus. A model of ours settles by pre-labelling, or not at all."
    )
    retired = models.DateTimeField(null=True, blank=True, help_text="Replaced; consensus no longer hears its votes.")
    created = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["name", "id"]
        constraints = [
            models.UniqueConstraint(fields=["project", "fingerprint"], name="voter_is_unique_in_a_project"),
            models.UniqueConstraint(fields=["project", "name"], name="voter_name_is_unique_in_a_project"),
        ]

    def __str__(self) -> str:
        return self.name

    @staticmethod
    def fingerprint_of(provider: str, model: str, parameters: dict[str, object], prompt: str) -> str:
        parts = json.dumps([provider, model, parameters, prompt], sort_keys=True)
        return hashlib.sha256(parts.encode()).hexdigest()

    @classmethod
    def imported(cls, project: Project, name: str, required: bool = True) -> "Voter":
        """A voter known only by the name of its column in an imported file."""
        fingerprint = cls.fingerprint_of("import", name, {}, "")
        defaults = {"provider": "import", "model": name, "fingerprint": fingerprint, "required": required}
        voter, _ = cls.objects.get_or_create(project=project, name=name, defaults=defaults)
        return voter


class Vote(models.Model):
    post = models.ForeignKey(Post, on_delete=models.CASCADE, related_name="votes", db_index=False)
    voter = models.ForeignKey(Voter, on_delete=models.PROTECT, related_name="votes", db_index=False)
    # No label is an abstention; `reason` then says why.
    label = models.ForeignKey(Label, on_delete=models.PROTECT, null=True, blank=True, db_index=False, related_name="+")
    confidence = models.FloatField(null=True, blank=True)
    probabilities = models.JSONField(null=True, blank=True)
    reason = models.TextField(blank=True)
    text_reading = models.CharField(max_length=200, blank=True)
    image_reading = models.CharField(max_length=200, blank=True)
    incongruous = models.BooleanField(null=True, blank=True)
    raw = models.TextField(blank=True)
    tokens_in = models.PositiveIntegerField(null=True, blank=True)
    tokens_out = models.PositiveIntegerField(null=True, blank=True)
    cost = models.DecimalField(max_digits=12, decimal_places=8, null=True, blank=True)
    latency_ms = models.PositiveIntegerField(null=True, blank=True)
    created = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["post", "voter"], name="one_vote_per_post_and_voter"),
            models.CheckConstraint(
                condition=models.Q(confidence__isnull=True) | models.Q(confidence__gte=0, confidence__lte=1),
                name="confidence_is_a_probability",
            ),
        ]
        indexes = [
            models.Index(fields=["voter", "label", "post"], name="vote_by_voter_and_label"),
            # Few voters say them, and of the others it takes no look at each of a million votes to know.
            models.Index(
                fields=["voter"], name="vote_with_probabilities", condition=models.Q(probabilities__isnull=False)
            ),
        ]

    def __str__(self) -> str:
        return f"{self.voter_id} on {self.post_id}"
