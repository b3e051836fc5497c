"""The exact request for a post, for people to read. A provider adds its key to it, which is nowhere here."""

import base64
import json
import random
from dataclasses import dataclass

from django.db.models import Exists, Max, Min, OuterRef, QuerySet

from annotate.models import Post, Project, State, Vote, Voter

from . import answers
from .asking import Writer
from .providers.contract import Ask


@dataclass(frozen=True, slots=True)
class Shown:
    post: Post
    ask: Ask
    vote: Vote | None  # what came of it, where it was asked already
    after: Post | None

    @property
    def schema(self) -> str:
        held = answers.schema(self.ask.labels, self.ask.asks_incongruous)
        return json.dumps(held, indent=2, ensure_ascii=False)

    @property
    def picture(self) -> str:
        """The very bytes that are sent."""
        if self.ask.image is None:
            return ""
        return f"data:image/{self.ask.image_format};base64,{base64.b64encode(self.ask.image).decode()}"

    @property
    def picture_size(self) -> int:
        return len(self.ask.image or b"")


def shown(voter: Voter, post: Post) -> Shown:
    vote = post.votes.filter(voter=voter).select_related("label").first()
    after = posts_of(voter.project).filter(pk__gt=post.pk).order_by("pk").first()
    return Shown(post, Writer(voter).ask(post), vote, after)


def posts_of(project: Project) -> QuerySet[Post]:
    return project.posts.select_related("image").defer("search")


def waiting_post(voter: Voter) -> Post | None:
    """One that the voter is going to be asked about, or any."""
    posts = posts_of(voter.project).order_by("pk")
    unvoted = posts.filter(~Exists(Vote.objects.filter(voter=voter, post=OuterRef("pk"))), state=State.WAITING)
    return unvoted.first() or posts.first()


def random_post(project: Project) -> Post | None:
    ends = project.posts.aggregate(first=Min("pk"), last=Max("pk"))
    if ends["first"] is None:
        return None
    drawn = random.randint(ends["first"], ends["last"])  # noqa: S311
    return posts_of(project).filter(pk__gte=drawn).order_by("pk").first()
