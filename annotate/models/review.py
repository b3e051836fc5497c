from django.db import models

from .post import Post


class Why(models.TextChoices):
    SPLIT = "split", "Voters differ"
    UNSURE = "unsure", "Voters are unsure"
    ABSTAINED = "abstained", "A voter abstained"
    AUDIT = "audit", "Blind audit"


class Disagreement(models.Model):
    """What the machines could not settle, until a person or a later vote does."""

    post = models.ForeignKey(Post, on_delete=models.CASCADE, related_name="disagreements")
    why = models.CharField(max_length=12, choices=Why)
    # The chance with which this post was drawn, for audits: without it no error rate can be weighed rightly.
    inclusion = models.FloatField(null=True, blank=True)
    opened = models.DateTimeField(auto_now_add=True)
    closed = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ["opened", "id"]
        constraints = [
            models.UniqueConstraint(
                fields=["post"], condition=models.Q(closed__isnull=True), name="one_open_disagreement_per_post"
            )
        ]

    def __str__(self) -> str:
        return f"{self.why} on {self.post_id}"
