import uuid
from typing import Self

from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.urls import reverse
from django.utils import timezone

from .people import User
from .project import Project

MOST = 20  # webhooks in a project: each thing that happens is told to all of them


class WebhookState(models.TextChoices):
    ON = "on", "On"
    PAUSED = "paused", "Paused"
    OFF = "off", "Switched off"


class Webhook(models.Model):
    """An address that is told what happens in a project. It never changes: a secret belongs to one address.

    The secret itself is nowhere: it follows from the seed and the site's SECRET_KEY, so what leaks from the database
    signs nothing. By its digest we notice that the site's key is another one by now.
    """

    project = models.ForeignKey(Project, on_delete=models.CASCADE, related_name="webhooks")
    address = models.CharField(max_length=500)
    note = models.CharField(max_length=120, blank=True)
    kinds = ArrayField(models.CharField(max_length=20), help_text="What it is told of.")
    private = models.BooleanField(default=False, help_text="A site admin allowed an address inside our own network.")
    state = models.CharField(max_length=8, choices=WebhookState, default=WebhookState.ON)
    why = models.TextField(blank=True, help_text="Why it was switched off.")
    failing_since = models.DateTimeField(null=True, blank=True)
    seed = models.CharField(max_length=64, editable=False)
    digest = models.CharField(max_length=64, editable=False)
    old_seed = models.CharField(max_length=64, blank=True, editable=False)
    old_until = models.DateTimeField(null=True, blank=True)
    by = models.ForeignKey(User, on_delete=models.SET_NULL, null=True, blank=True, related_name="+")
    created = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["id"]
        constraints = [
            models.CheckConstraint(condition=models.Q(kinds__len__gt=0), name="webhook_is_told_of_something"),
            models.CheckConstraint(condition=models.Q(state__in=WebhookState.values), name="webhook_state_is_known"),
        ]

    def __str__(self) -> str:
        return self.note or self.host

    def get_absolute_url(self) -> str:
        return reverse("webhook", args=[self.project.slug, self.pk])

    @property
    def host(self) -> str:
        """All that is ever written down elsewhere: what comes after it may be a secret of the receiver's."""
        return self.address.split("://", 1)[-1].split("/", 1)[0].split("?", 1)[0]

    @property
    def is_on(self) -> bool:
        return self.state == WebhookState.ON

    @property
    def has_old_secret(self) -> bool:
        return bool(self.old_seed) and self.old_until is not None and self.old_until > timezone.now()


class DeliveryState(models.TextChoices):
    WAITING = "waiting", "Waiting"
    DELIVERED = "delivered", "Delivered"
    FAILED = "failed", "Given up"


# A claim empties what was said of the try before; what waits for its next try bears an answer, or why there is none.
ON_ITS_WAY = models.Q(state=DeliveryState.WAITING, tries__gt=0, code=None, said="")


class DeliveryQuerySet(models.QuerySet["Delivery"]):
    def due(self) -> Self:
        heard = models.Q(webhook__state=WebhookState.ON) | models.Q(event=None)  # a test tells whether it would be
        return self.filter(heard, state=DeliveryState.WAITING, due__lte=timezone.now())


class Delivery(models.Model):
    """One message to one webhook. It is written in the transaction of what it tells of, and claimed by moving `due`
    ahead: a worker that dies leaves it to whoever looks after that moment."""

    webhook = models.ForeignKey(Webhook, on_delete=models.CASCADE, related_name="deliveries")
    mark = models.UUIDField(default=uuid.uuid4, unique=True, editable=False)
    event = models.BigIntegerField(null=True, help_text="Bare, as the log's own keys are; a test tells of none.")
    kind = models.CharField(max_length=60)
    body = models.TextField(help_text="As it is signed and sent, each time the same.")
    state = models.CharField(max_length=12, choices=DeliveryState, default=DeliveryState.WAITING)
    tries = models.PositiveSmallIntegerField(default=0)
    asked = models.DateTimeField(default=timezone.now, help_text="From then on it is tried for a day.")
    due = models.DateTimeField(default=timezone.now)
    tried = models.DateTimeField(null=True, blank=True)
    code = models.PositiveSmallIntegerField(null=True, blank=True)
    ms = models.PositiveIntegerField(null=True, blank=True)
    said = models.CharField(max_length=300, blank=True, help_text="What was answered, in short, or what went wrong.")
    created = models.DateTimeField(auto_now_add=True)

    objects = DeliveryQuerySet.as_manager()

    class Meta:
        ordering = ["-id"]
        verbose_name_plural = "deliveries"
        indexes = [
            models.Index(fields=["webhook", "-id"], name="delivery_by_webhook"),
            models.Index(fields=["webhook", "due"], name="delivery_due", condition=models.Q(state="waiting")),
            models.Index(fields=["created"], name="delivery_by_age"),
        ]

    def __str__(self) -> str:
        return self.message

    @property
    def message(self) -> str:
        """The same at each try, by which a receiver knows what it was told already."""
        return f"msg_{self.mark.hex}"

    @property
    def is_over(self) -> bool:
        return self.state != DeliveryState.WAITING

    @property
    def is_on_its_way(self) -> bool:
        return not self.is_over and self.tries > 0 and self.code is None and not self.said

    @property
    def is_test(self) -> bool:
        return self.event is None
