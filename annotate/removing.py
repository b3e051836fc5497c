"""A post that has to go for good, with all that was said of it; and how it is known when it comes again.

Imports and removals keep out of each other's way by one lock: a batch of an import holds it with others, a removal
alone. So a picture is never deleted that an import is about to use, and no row slips in behind the removal of its post.
"""

import hashlib
from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime

from django.contrib.admin.models import LogEntry
from django.contrib.contenttypes.models import ContentType
from django.core.cache import cache
from django.core.files.storage import default_storage
from django.db import connection, transaction

from . import images
from .importing import leftovers
from .models import Event, Image, Place, Post, Project, Removal, Review, Targeting, Template, User
from .models.review import TargetingState

LONGEST = 300  # characters of a reason
LOCK = "SELECT {}(hashtext('posts come and go'))"


class NotRemoved(Exception):
    """The words are for whoever asked."""


def remove(post: Post, by: User | None, reason: str) -> Removal:
    """What is recorded as removed is gone: the picture's files go before the record is committed."""
    reason = checked(reason)
    with transaction.atomic():
        alone()
        found = Post.objects.filter(pk=post.pk, project=post.project_id).select_for_update()
        going = (
            found.select_related(None).only("external_id", "text", "content_hash", "image_id", "template_id").first()
        )
        if going is None:
            raise NotRemoved("This post is no longer in the project.")
        removal = record(post.project, going, by, reason)
        forget_number(post.project, going.pk)
        template, image = going.template_id, going.image_id
        going.delete()
        if template:
            count_template(template)
        if image:
            drop_picture(image)
    # Only now: a run that ends meanwhile looks for the removal after its report is there, so one of us finds the other.
    leftovers.forget(post.project, {removal.id_hash}, going.text)
    cache.delete_many([f"{figure}-{post.project_id}" for figure in ("queue", "quality", "quality-headline")])
    Place.objects.filter(key=Place.SHARED).look_again()  # or a full project is told so of what it holds no more
    return removal


@dataclass(frozen=True, slots=True)
class Held:
    """What goes with a post."""

    votes: int
    answers: int
    shared: int  # other posts, of this project or another, that show its picture


def held_by(post: Post) -> Held:
    return Held(
        votes=post.votes.count(),
        answers=Review.objects.filter(disagreement__post=post).count(),
        shared=Post.objects.filter(image=post.image_id).exclude(pk=post.pk).count() if post.image_id else 0,
    )


def checked(reason: str) -> str:
    reason = " ".join(reason.replace("\0", "").split())
    if not reason:
        raise NotRemoved("Say why it is removed; the reason stays on record.")
    if len(reason) > LONGEST:
        raise NotRemoved(f"The reason has {len(reason)} characters, more than the {LONGEST} there is room for.")
    return reason


def record(project: Project, going: Post, by: User | None, reason: str) -> Removal:
    Event.objects.create(verb="post removed", user=by, project=project, post_id=going.pk, data={"reason": reason})
    return Removal.objects.create(
        project=project, post_id=going.pk, by=by, reason=reason,
        content_hash=going.content_hash, id_hash=hash_of(going.external_id),
    )  # fmt: skip


def hash_of(external_id: str) -> str:
    return hashlib.sha256(external_id.encode()).hexdigest()


def forget_number(project: Project, pk: int) -> None:
    """Where it is named outside of what is deleted with it."""
    named = LogEntry.objects.filter(content_type=ContentType.objects.get_for_model(Post), object_id=str(pk))
    named.update(object_repr=f"Post {pk}, removed", change_message="")
    for found in Targeting.objects.filter(project=project, state=TargetingState.READY).select_for_update():
        found.picked = [[post, chance] for post, chance in found.picked if post != pk]
        found.posts = len(found.picked)
        found.save(update_fields=["picked", "posts"])


def count_template(pk: int) -> None:
    Template.objects.filter(pk=pk).update(size=Post.objects.filter(template=pk).count())


def drop_picture(pk: int) -> None:
    """Unless another post of any project shows it."""
    image = Image.objects.filter(pk=pk, posts=None).first()
    if image:
        image.delete()
        default_storage.delete(images.path_of(image.sha256, image.format))
        default_storage.delete(images.thumb_path_of(image.sha256))


# --- Beside imports and votes


def alone() -> None:
    """Until the transaction ends."""
    with connection.cursor() as cursor:
        cursor.execute(LOCK.format("pg_advisory_xact_lock"))


def nothing_removed_meanwhile() -> None:
    """For a batch of an import, from before it looks at what was removed until its transaction ends."""
    with connection.cursor() as cursor:
        cursor.execute(LOCK.format("pg_advisory_xact_lock_shared"))


def staying(posts: Collection[int]) -> set[int]:
    """Those that are there, and will be when the transaction ends: what is said of them may be stored."""
    if not posts:
        return set()
    with connection.cursor() as cursor:
        cursor.execute("SELECT id FROM annotate_post WHERE id = ANY(%s) ORDER BY id FOR KEY SHARE", [list(posts)])
        return {pk for (pk,) in cursor.fetchall()}


class Removed:
    """Which rows of a batch are posts that were removed. Asks nothing more where none ever was."""

    def __init__(self, project: Project, contents: Collection[str], external_ids: Collection[str]) -> None:
        self.by_content: dict[str, datetime] = {}
        self.by_id: dict[str, datetime] = {}
        ever = Removal.objects.filter(project=project)
        if not ever.exists():
            return
        ids = [hash_of(external_id) for external_id in external_ids]
        rows = ever.filter(content_hash__in=contents) | ever.filter(id_hash__in=ids)
        for content, id_hash, at in rows.order_by("at").values_list("content_hash", "id_hash", "at"):
            self.by_content[content], self.by_id[id_hash] = at, at

    def refusal(self, content_hash: str, external_id: str) -> str:
        """In words; blank where nothing of the kind was removed."""
        if not self.by_content:
            return ""
        at = self.by_content.get(content_hash) or self.by_id.get(hash_of(external_id))
        return f"this post was removed on request on {at:%-d %B %Y}, and stays out" if at else ""
