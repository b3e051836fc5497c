from django.db import models

from .people import User
from .project import Project


class Removal(models.Model):
    """A post that had to go for good. Nothing of it is kept but marks by which it is known if it comes again."""

    project = models.ForeignKey(Project, on_delete=models.CASCADE, related_name="removals")
    post_id = models.BigIntegerField(help_text="The number it had, by which its events are found.")
    content_hash = models.CharField(max_length=64)
    id_hash = models.CharField(max_length=64, help_text="Of its external id.")
    reason = models.CharField(max_length=300)
    by = models.ForeignKey(User, on_delete=models.SET_NULL, null=True, blank=True, related_name="+")
    at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["-id"]
        indexes = [
            models.Index(fields=["project", "content_hash"], name="removal_by_content"),
            models.Index(fields=["project", "id_hash"], name="removal_by_id"),
        ]

    def __str__(self) -> str:
        return f"Post {self.post_id}"
