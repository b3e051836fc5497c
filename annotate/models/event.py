from typing import Any

from django.contrib.postgres.indexes import GinIndex, OpClass
from django.db import models, transaction

from annotate.webhooks import telling

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
        ordering = ["-at", "-id"]
        indexes = [
            # The log is read in order of time, of a project or of the site, narrowed by what was done or by whom.
            models.Index(fields=["project", "at", "id"], name="event_of_project"),
            models.Index(fields=["project", "verb", "at", "id"], name="event_of_project_by_verb"),
            models.Index(fields=["project", "user", "at", "id"], name="event_of_project_by_person"),
            models.Index(fields=["at", "id"], name="event_by_time"),
            models.Index(fields=["verb", "at", "id"], name="event_by_verb"),
            models.Index(fields=["user", "at", "id"], name="event_by_person"),
            models.Index(fields=["post_id", "id"], name="event_by_post", condition=models.Q(post_id__isnull=False)),
            GinIndex(OpClass("data", "jsonb_path_ops"), name="event_by_object"),
        ]

    def __str__(self) -> str:
        return self.verb

    @classmethod
    def record(cls, verb: str, *, user: User | None = None, project: Project | None = None, **data: Any) -> None:
        """And told to whoever asked to be told, or neither."""
        with transaction.atomic(savepoint=False):
            event = cls.objects.create(verb=verb, user=user, project=project, data=data)
            if project is not None:
                telling.tell(event, project)
