"""Which posts a voter has still to be asked about, and the exact request for each."""

import io
from dataclasses import dataclass, replace
from functools import cached_property

from django.core.files.storage import default_storage
from django.db.models import Exists, OuterRef, QuerySet
from PIL import Image as Picture

from annotate import images
from annotate.browse import Filters, matching
from annotate.models import Image, Post, Vote, Voter

from . import wording
from .examples import Examples, template_meanings
from .models import OPEN, BatchPost, Failure, Part, VotingRun
from .providers import PROVIDERS
from .providers.contract import Ask

PAGE = 128
SIDE = 1024  # the longest side sent: providers bill by size, and read captions well at this one


@dataclass(frozen=True, slots=True)
class Pending:
    post: int
    ask: Ask


class Questions:
    """Walks the posts once, by id, in pages: memory stays flat, and what was asked in this walk is not asked again."""

    def __init__(self, run: VotingRun, part: Part) -> None:
        self.run, self.part = run, part
        self.after = 0
        self.left = None if run.limit is None else max(0, run.limit - part.done)

    def next_page(self) -> list[Pending]:
        size = PAGE if self.left is None else min(PAGE, self.left)
        posts = list(
            pending_posts(self.run, self.part).filter(pk__gt=self.after).order_by("pk").select_related("image")[:size]
        )
        page = [pending for post in posts if (pending := self.pending(post))]
        if posts:  # only now: a page that could not be read is read again
            self.after = posts[-1].pk
        if self.left is not None:
            self.left -= len(posts)
        return page if page or not posts else self.next_page()

    def pending(self, post: Post) -> Pending | None:
        try:
            return Pending(post.pk, self.writer.ask(post))
        except FileNotFoundError:
            if Post.objects.filter(pk=post.pk).exists():
                raise
            return None  # it was removed since the page was read, and its picture with it

    @cached_property
    def writer(self) -> "Writer":
        return Writer(self.part.voter)


def pending_posts(run: VotingRun, part: Part) -> QuerySet[Post]:
    """Not what failed, and not what lies in a batch at the provider, whichever run put it there."""
    failed = Failure.objects.filter(part=part, post=OuterRef("pk"))
    waiting = BatchPost.objects.filter(batch__part__voter=part.voter, batch__state__in=OPEN, post=OuterRef("pk"))
    posts = unvoted(run, part.voter).filter(~Exists(failed), ~Exists(waiting))
    return posts.defer("search", "meta")


def unvoted(run: VotingRun, voter: Voter) -> QuerySet[Post]:
    asked = matching(run.project, Filters.from_query(run.posts)).posts
    return asked.filter(~Exists(Vote.objects.filter(voter=voter, post=OuterRef("pk"))))


class Writer:
    """Writes the request for a post: what a person sees beforehand is word for word what is sent."""

    def __init__(self, voter: Voter) -> None:
        project, parameters = voter.project, voter.parameters
        self.sees = PROVIDERS[voter.provider].vision and not parameters.get("blind")
        self.examples = Examples(project, int(parameters.get("examples") or 0))
        self.meanings = template_meanings(project) if parameters.get("templates") else {}
        self.prompt = wording.prompt_of(voter, wording.labels_of(project))

    def ask(self, post: Post) -> Ask:
        data, format = picture_of(post.image) if post.image and self.sees else (None, "")
        near = self.examples.near(post)
        written = replace(self.prompt, examples=near) if near else self.prompt
        looks_like = self.meanings.get(post.template_id or 0, "")
        return written.ask(post.text, image=data, image_format=format, looks_like=looks_like)


def picture_of(image: Image) -> tuple[bytes, str]:
    with default_storage.open(images.path_of(image.sha256, image.format)) as file:
        data: bytes = file.read()
    if max(image.width, image.height) <= SIDE:
        return data, image.format
    return smaller(data), "jpeg"


def smaller(data: bytes) -> bytes:
    picture = images.on_white(Picture.open(io.BytesIO(data)))
    picture.thumbnail((SIDE, SIDE))
    out = io.BytesIO()
    picture.save(out, "JPEG", quality=88)
    return out.getvalue()
