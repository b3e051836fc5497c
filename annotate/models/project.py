import hashlib
from functools import cached_property
from typing import Self

from django.core.validators import MaxValueValidator, MinValueValidator, RegexValidator
from django.db import models
from django.db.models.functions import Lower
from django.urls import reverse
from django.utils.text import slugify

from .people import Membership, Role, User

COLOUR = RegexValidator(r"\A#[0-9a-fA-F]{6}\Z", "A colour is # and six hexadecimal digits, such as #0b7a5c.")


MOST_GB = 1_000_000  # a petabyte


class Rule(models.TextChoices):
    ALL = "all", "All required voters agree"
    MAJORITY = "majority", "The majority of three or more"
    WEIGHTED = "weighted", "Weighted by how reliable each voter is"


class VotesShown(models.TextChoices):
    ASKED = "asked", "When asked for with a key"
    START = "start", "From the start"
    AFTER = "after", "After the choice"


class ProjectQuerySet(models.QuerySet["Project"]):
    def seen_by(self, user: User) -> Self:
        if user.is_superuser:
            return self
        return self.filter(pk__in=Membership.objects.filter(user=user).values("project"))

    def led_by(self, user: User) -> Self:
        if user.is_superuser:
            return self
        leading = [role for role in Role if role.covers(Role.LEAD)]
        return self.filter(pk__in=Membership.objects.filter(user=user, role__in=leading).values("project"))


class Project(models.Model):
    name = models.CharField(max_length=80)
    slug = models.SlugField(max_length=60, unique=True)
    question = models.CharField(max_length=300)
    guidelines = models.TextField(blank=True)
    asks_incongruous = models.BooleanField(
        "ask whether the picture contradicts the text",
        default=False,
        help_text="A second answer beside the label: is the post sarcastic, or do picture and text disagree?",
    )
    consensus = models.CharField(
        max_length=12,
        choices=Rule,
        default=Rule.ALL,
        help_text="Majority and weighted need three voters or more; with fewer, all must agree.",
    )
    least_confidence = models.FloatField(
        null=True,
        blank=True,
        validators=[MinValueValidator(0), MaxValueValidator(1)],
        help_text="A voter that says how sure it is and is less sure than this counts as unsure. Blank: never.",
    )
    audit_rate = models.FloatField(
        default=0.02,
        validators=[MinValueValidator(0), MaxValueValidator(1)],
        help_text="The share of settled posts that people check blind. It tells how wrong the settled labels are.",
    )
    votes_shown = models.CharField(
        max_length=8,
        choices=VotesShown,
        default=VotesShown.ASKED,
        help_text="Whoever sees the machines' answer first tends to follow it.",
    )
    hide_voters = models.BooleanField("hide the names of voters from reviewers", default=False)
    double_rate = models.FloatField(
        default=0.1,
        validators=[MinValueValidator(0), MaxValueValidator(1)],
        help_text="The share of contested posts that two people decide, blind to each other. Audits always want two.",
    )
    check_rate = models.FloatField(
        default=0.02,
        validators=[MinValueValidator(0), MaxValueValidator(0.5)],
        help_text="The share of posts slipped in whose label is known, from the locked test set.",
    )
    quota_gb = models.FloatField(
        "GB it may hold",
        null=True,
        blank=True,
        validators=[MinValueValidator(0), MaxValueValidator(MOST_GB)],
        help_text="Pictures, datasets, runs and models. Blank: as the site’s settings say. 0: no limit.",
    )
    quota_posts = models.PositiveBigIntegerField(
        "posts it may hold",
        null=True,
        blank=True,
        help_text="Blank: as the site’s settings say. 0: no limit.",
    )
    weights = models.JSONField(null=True, blank=True, editable=False)
    synthetic = models.BooleanField(default=False, editable=False)
    created = models.DateTimeField(auto_now_add=True)
    created_by = models.ForeignKey(User, on_delete=models.SET_NULL, null=True, blank=True, related_name="+")

    objects = ProjectQuerySet.as_manager()

    class Meta:
        ordering = ["name"]

    def __str__(self) -> str:
        return self.name

    def get_absolute_url(self) -> str:
        return reverse("project", args=[self.slug])

    @cached_property
    def colours_version(self) -> str:
        """In the address of the project's style sheet, so that browsers may keep that for ever."""
        told = ";".join(f"{label.pk}{label.colour}" for label in self.labels.all())
        return hashlib.sha256(told.encode()).hexdigest()[:10]

    @staticmethod
    def free_slug(name: str) -> str:
        stem = slugify(name)[:50] or "project"
        taken = set(Project.objects.filter(slug__startswith=stem).values_list("slug", flat=True))
        numbered = (f"{stem}-{n}" for n in range(2, len(taken) + 3))
        return next(slug for slug in (stem, *numbered) if slug not in taken)


class Label(models.Model):
    project = models.ForeignKey(Project, on_delete=models.CASCADE, related_name="labels")
    name = models.CharField(max_length=60)
    meaning = models.TextField(blank=True)
    key = models.CharField(max_length=1, blank=True)
    colour = models.CharField(max_length=7, default="#6b6457", validators=[COLOUR])
    position = models.PositiveSmallIntegerField(default=0)

    class Meta:
        ordering = ["position", "id"]
        constraints = [
            models.UniqueConstraint(models.F("project"), Lower("name"), name="label_name_is_unique"),
            models.UniqueConstraint(fields=["project", "key"], condition=~models.Q(key=""), name="label_key_is_unique"),
        ]

    def __str__(self) -> str:
        return self.name
