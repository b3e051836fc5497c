"""Ask runs about posts, and wait for what they say. The page, the API and the OpenAI form all end up here."""

import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID, uuid4

from django.conf import settings
from django.db import transaction
from django.db.models import QuerySet
from django.db.models.functions import Now
from django_q.tasks import async_task

from annotate import images
from annotate.models import Project, User
from annotate.operating import limits
from modeling.models import Question, Reply, ReplyState, Run, RunState

from . import claims, folders

LONGEST_TEXT = 20_000  # characters
LONGEST_NAME = 200
MOST_AT_ONCE = 64  # posts
MOST_RUNS = 8
A_MINUTE: int = settings.ANSWERS_PER_MINUTE  # posts of one person
MOST_WAITING = 256  # posts of one person that nobody has answered yet: their pictures take room
KEPT = timedelta(hours=1)
PATIENCE = 25.0  # seconds that a request waits
FIRST_LOOK, LAST_LOOK = 0.02, 0.2  # seconds between two looks
# A request that waits holds one of the web server's few threads; the other half stays free for everybody's pages.
SEATS = threading.BoundedSemaphore(max(1, settings.WEB_THREADS // 2))


class Refused(Exception):
    """It cannot be asked so; the words are for whoever asked."""


@dataclass(frozen=True)
class Post:
    text: str
    picture: images.Inspected | None = None
    name: str = ""


# --- What is asked, and whom


def post_of(text: str, picture: bytes | None = None, name: str = "") -> Post:
    """As it comes from outside, checked. What no database can hold is taken out of the words."""
    words = cleaned(text)
    if len(words) > LONGEST_TEXT:
        raise Refused(f"The text has {len(words):,} characters, more than the {LONGEST_TEXT:,} allowed.")
    seen = None if picture is None else looked_at(picture)
    if not words.strip() and seen is None:
        raise Refused("There is nothing to ask about: give a text, a picture, or both.")
    return Post(words, seen, cleaned(name)[:LONGEST_NAME])


def cleaned(text: str) -> str:
    return text.replace("\0", "").encode("utf-8", "replace").decode("utf-8")


def looked_at(picture: bytes) -> images.Inspected:
    try:
        return images.inspect(picture, max_bytes=settings.IMAGE_MAX_BYTES, max_pixels=settings.IMAGE_MAX_PIXELS)
    except images.BadImage as problem:
        raise Refused(str(problem)) from problem


def too_large(size: int) -> str:
    """Said before the picture is read into memory; blank where it is not."""
    most = settings.IMAGE_MAX_BYTES
    if size <= most:
        return ""
    return f"The picture has {images.megabytes(size)}, more than the {images.megabytes(most)} allowed."


def askable(projects: QuerySet[Project]) -> QuerySet[Run]:
    """The latest first. A study's runs have learnt from a part alone: they are asked only where they are named."""
    done = Run.objects.filter(state=RunState.DONE, study=None, project__in=projects)
    return done.select_related("dataset", "project").order_by("project__name", "project", "-pk")


def askable_in(project: Project) -> QuerySet[Run]:
    return askable(Project.objects.filter(pk=project.pk))


def run_called(project: Project, name: str) -> Run:
    """As programs write it: run-3, or 3; blank: the latest."""
    if not name:
        if latest := askable_in(project).first():
            return latest
        raise Refused("This project has no run that is done, so there is nobody to ask.")
    number = name.removeprefix("run-")
    known = project.runs.select_related("dataset", "project")
    run = known.filter(pk=int(number)).first() if number.isdecimal() and int(number) < 2**63 else None
    if run is None:
        raise Refused(f"There is no run {number[:40]} in this project.")
    if run.state != RunState.DONE:
        raise Refused(f"{run} is not done ({run.get_state_display().lower()}): there is nobody to ask yet.")
    return run


# --- Asked


def ask(project: Project, by: User, posts: Sequence[Post], runs: Sequence[Run], by_page: bool = False) -> UUID:
    """All of it or nothing, under one name."""
    batch = uuid4()
    with transaction.atomic():
        use_limits(by, len(posts))
        asked = Question.objects.bulk_create([question_of(post, project, by, batch, by_page) for post in posts])
        Reply.objects.bulk_create([Reply(question=one, run=run) for one in asked for run in runs])
        if by_page:
            async_task("modeling.tasks.find_nearest", str(batch), task_name=f"nearest {batch}")
    claims.summon()
    return batch


def question_of(post: Post, project: Project, by: User, batch: UUID, by_page: bool) -> Question:
    seen = post.picture
    shown = {
        "picture": seen.data, "picture_format": seen.format, "fingerprint": seen.fingerprint,
        "thumbnail": seen.thumbnail if by_page else None,
    } if seen else {}  # fmt: skip
    return Question(project=project, by=by, batch=batch, text=post.text, name=post.name, by_page=by_page, **shown)


def heed_limits(by: User, posts: int) -> None:
    """Programs are held to them before their pictures are looked at, which is what takes long."""
    limits.heed(a_minute(), by.pk, posts)
    heed_waiting(by, posts)


def use_limits(by: User, posts: int) -> None:
    """One request of a person after the other, because the row of their limit is locked until it is stored."""
    limits.spend(a_minute(), by.pk, posts)
    heed_waiting(by, posts)


def a_minute() -> limits.Limit:
    return limits.Limit("posts to answer", A_MINUTE, limits.MINUTE, "posts")


def heed_waiting(by: User, posts: int) -> None:
    waiting = Question.objects.filter(by=by, replies__state=ReplyState.WAITING).distinct().count()
    if waiting + posts > MOST_WAITING:
        words = f"{waiting:,} of your posts wait for an answer still. Ask again when they are answered."
        raise limits.TooFast(words, 30)


# --- Waited for


@contextmanager
def seated() -> Iterator[bool]:
    """Whether there is room for one more request that waits."""
    has_seat = SEATS.acquire(blocking=False)
    try:
        yield has_seat
    finally:
        if has_seat:
            SEATS.release()


def wait(batch: UUID, patience: float | None = None) -> bool:
    """Whether all is over. By short looks, so that nothing is held open between them."""
    until = time.monotonic() + (PATIENCE if patience is None else patience)
    pause, summoned = FIRST_LOOK, time.monotonic()
    while not is_over(batch):
        if time.monotonic() >= until:
            return False
        if time.monotonic() - summoned > claims.LOOK_AFTER:
            claims.summon()
            summoned = time.monotonic()
        time.sleep(pause)
        pause = min(LAST_LOOK, 1.5 * pause)
    return True


def is_over(batch: UUID) -> bool:
    return not Reply.objects.filter(question__batch=batch, state=ReplyState.WAITING).exists()


def withdraw(batch: UUID) -> None:
    """Nobody waits for the answer any more. That somebody asked counts for the minute's limit: that much is kept."""
    with transaction.atomic():
        Reply.objects.filter(question__batch=batch).delete()
        Question.objects.filter(batch=batch).update(
            text="", name="", picture=None, picture_format="", thumbnail=None, fingerprint=None, near=None
        )


# --- Every minute


def take_up() -> None:
    Question.objects.filter(asked__lt=Now() - KEPT).delete()
    claims.forget_dead()
    folders.forget_left()
    claims.summon()
