from typing import Any

from django.db import models

from .people import User
from .project import Project


class Event(models.Model):
    """Who did what, when. Append only: a trigger refuses changes, so the keys are bare and outlive what they name."""

    at = models.DateTimeField(auto_now_add=True)
    user = models.ForeignKey(User, models.DO_NOTHING, null=True, db_constraint=False, related_name="+")
    project = models.ForeignKey(Project, models.DO_NOTHING, null=True, db_constraint=False, related_name="events")
    post_id = models.BigIntegerField(null=True)
    verb = models.CharField(max_length=40)
    data = models.JSONField(default=dict)

    class Meta:
        ordering = ["-id"]
        indexes = [
            models.Index(fields=["project", "-id"], name="event_by_project"),
            models.Index(fields=["post_id", "id"], name="event_by_post", condition=models.Q(post_id__isnull=False)),
        ]

    def __str__(self) -> str:
        return self.verb

    @classmethod
    def record(cls, verb: str, *, user: User | None = None, project: Project | None = None, **data: Any) -> None:
        cls.objects.create(verb=verb, user=user, project=project, data=data)
