from django.contrib.postgres.indexes import GinIndex
from django.contrib.postgres.search import SearchVector, SearchVectorField
from django.db import models
from django.urls import reverse

from .importing import ImportRun
from .project import Label, Project


class State(models.TextChoices):
    WAITING = "waiting", "Waiting for votes"
    SETTLED = "settled", "Settled"
    CONTESTED = "contested", "Contested"
    ASIDE = "aside", "Set aside by people"


class LabelSource(models.TextChoices):
    NONE = "", "No label"
    CONSENSUS = "consensus", "Consensus of voters"
    REVIEW = "review", "Review by people"
    MODEL = "model", "Tuned model"
    IMPORT = "import", "Known at import"


class Image(models.Model):
    """Stored once by the hash of the bytes that came in, whichever posts and projects use it."""

    sha256 = models.CharField(max_length=64, unique=True)
    format = models.CharField(max_length=8)
    width = models.PositiveIntegerField()
    height = models.PositiveIntegerField()
    bytes = models.PositiveIntegerField()
    fingerprint = models.BigIntegerField()
    created = models.DateTimeField(auto_now_add=True)

    def __str__(self) -> str:
        return f"{self.sha256[:12]} {self.width}x{self.height}"

    @property
    def file_name(self) -> str:
        return f"{self.sha256}.{self.format}"


class Template(models.Model):
    """A group of near-duplicate pictures; once named, a meme's template."""

    project = models.ForeignKey(Project, on_delete=models.CASCADE, related_name="templates")
    name = models.CharField(max_length=80, blank=True)
    size = models.PositiveIntegerField(default=0, editable=False)

    class Meta:
        indexes = [models.Index(fields=["project", "-size", "id"], name="template_by_size")]

    def __str__(self) -> str:
        return self.name or f"Group {self.pk}"


class Post(models.Model):
    project = models.ForeignKey(Project, on_delete=models.CASCADE, related_name="posts", db_index=False)
    external_id = models.CharField(max_length=200)
    text = models.TextField(blank=True)
    image = models.ForeignKey(Image, on_delete=models.PROTECT, null=True, blank=True, related_name="posts")
    template = models.ForeignKey(
        Template, on_delete=models.SET_NULL, null=True, blank=True, related_name="posts", db_index=False
    )
    source = models.CharField(max_length=120, blank=True)
    at = models.DateTimeField(help_text="When it was posted, or imported where that is unknown.")
    meta = models.JSONField(default=dict, blank=True)

    state = models.CharField(max_length=12, choices=State, default=State.WAITING)
    label = models.ForeignKey(Label, on_delete=models.PROTECT, null=True, blank=True, db_index=False, related_name="+")
    label_source = models.CharField(max_length=12, choices=LabelSource, default="", blank=True)
    incongruous = models.BooleanField(null=True, blank=True)
    holdout = models.BooleanField(default=False, help_text="In the locked test set: never trained on, never shown.")
    vote_count = models.PositiveSmallIntegerField(default=0, editable=False)

    content_hash = models.CharField(max_length=64, editable=False)
    import_run = models.ForeignKey(ImportRun, on_delete=models.SET_NULL, null=True, blank=True, related_name="posts")
    created = models.DateTimeField(auto_now_add=True)
    search = models.GeneratedField(
        expression=SearchVector("text", config="english"), output_field=SearchVectorField(), db_persist=True
    )

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["project", "external_id"], name="external_id_is_unique_in_a_project"),
            models.CheckConstraint(
                condition=~models.Q(state="settled") | models.Q(label__isnull=False), name="a_settled_post_has_a_label"
            ),
            models.CheckConstraint(
                condition=models.Q(label__isnull=True) | ~models.Q(label_source=""), name="a_label_has_a_source"
            ),
        ]
        # Every list is walked by (at, id); each filter has an index that already stands in that order.
        indexes = [
            models.Index(fields=["project", "at", "id"], name="post_by_time"),
            models.Index(fields=["project", "state", "at", "id"], name="post_by_state"),
            models.Index(fields=["project", "label", "at", "id"], name="post_by_label"),
            models.Index(fields=["project", "label_source", "at", "id"], name="post_by_source"),
            models.Index(fields=["project", "at", "id"], name="post_in_holdout", condition=models.Q(holdout=True)),
            models.Index(fields=["project", "at", "id"], name="post_voted_on", condition=models.Q(vote_count__gt=0)),
            models.Index(
                fields=["template", "at", "id"], name="post_by_template", condition=models.Q(template__isnull=False)
            ),
            GinIndex(fields=["search"], name="post_by_words"),
        ]

    def __str__(self) -> str:
        return self.external_id

    def get_absolute_url(self) -> str:
        return reverse("post", args=[self.project.slug, self.pk])
