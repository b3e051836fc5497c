"""A post's whole story, in the order it happened."""

from dataclasses import dataclass, field
from datetime import datetime

from .models import Disagreement, ImportRun, LabelSource, Post, Vote
from .models.review import Why


@dataclass(frozen=True, slots=True)
class Chapter:
    at: datetime
    title: str
    detail: str = ""
    votes: list[Vote] = field(default_factory=list)
    run: ImportRun | None = None


def story_of(post: Post) -> list[Chapter]:
    return sorted([imported(post), *voted(post), *contested(post)], key=lambda chapter: chapter.at)


def imported(post: Post) -> Chapter:
    known = ""
    if post.label and post.label_source == LabelSource.IMPORT:
        known = f"Its label, {post.label.name}, was known."
    if post.holdout:
        known += " It belongs to the locked test set: never trained on, never shown as an example."
    return Chapter(post.created, "Imported", known.strip(), run=post.import_run)


def voted(post: Post) -> list[Chapter]:
    """Votes that came in together are told together."""
    votes = list(post.votes.select_related("voter", "label").order_by("created", "voter__name"))
    moments = dict.fromkeys(vote.created for vote in votes)
    return [Chapter(at, "Voted on", votes=[v for v in votes if v.created == at]) for at in moments]


def contested(post: Post) -> list[Chapter]:
    chapters = []
    for disagreement in Disagreement.objects.filter(post=post).exclude(why=Why.AUDIT):  # blind means blind
        chapters.append(Chapter(disagreement.opened, "Contested", disagreement.get_why_display() + "."))
        if disagreement.closed:
            chapters.append(Chapter(disagreement.closed, "Settled after all", f"{post.get_label_source_display()}."))
    if not chapters and post.label and post.label_source == LabelSource.CONSENSUS:
        last = post.votes.order_by("-created").values_list("created", flat=True).first()
        chapters.append(Chapter(last or post.created, "Settled", f"The voters agree on {post.label.name}."))
    return chapters
