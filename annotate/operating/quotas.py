"""Pure: how much a project holds of what it may, and the sentence for whoever would make it more."""

from dataclasses import dataclass

from django.template.defaultfilters import filesizeformat

GB = 1024**3
WHO = "A site admin can allow it more, or make room, at Storage."


@dataclass(frozen=True, slots=True)
class Stand:
    """Of one project. Where it may hold 0, there is no limit."""

    name: str
    bytes: int
    posts: int
    most_bytes: int
    most_posts: int

    @property
    def posts_left(self) -> int | None:
        return max(self.most_posts - self.posts, 0) if self.most_posts else None

    @property
    def is_full(self) -> bool:
        return bool(problem_with_disk(self) or problem_with_posts(self))


def problem_with_disk(stand: Stand, coming: int = 0) -> str:
    """A sentence, or nothing where it may still hold more, and what is coming fits."""
    if not stand.most_bytes or (stand.bytes < stand.most_bytes and stand.bytes + coming <= stand.most_bytes):
        return ""
    held = f"{size(stand.bytes)} of the {size(stand.most_bytes)} that it may"
    if stand.bytes < stand.most_bytes:
        return f"These {size(coming)} do not fit: {stand.name} holds {held}. {WHO}"
    return f"{stand.name} is full: it holds {held}. {WHO}"


def problem_with_posts(stand: Stand) -> str:
    if stand.posts_left != 0:
        return ""
    held = f"{stand.posts:,} post{'' if stand.posts == 1 else 's'}"
    return f"{stand.name} is full: it holds {held} of the {stand.most_posts:,} that it may. {WHO}"


def size(count: int) -> str:
    return filesizeformat(count).replace("\xa0", " ")
