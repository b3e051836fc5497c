"""What is told to whom, so that the second pair of eyes stays blind and a known answer is worth asking for."""

from dataclasses import dataclass

from django.db.models import Q
from django.http import HttpRequest

from .access import me
from .models import Post, Role, User
from .models.review import Stream, Why

# Posts with a label that are looked at again: until that is over, nobody learns which they are.
UNTOLD = (Why.AUDIT, Why.RISK, Why.DOUBT, Why.CHECK)


@dataclass(frozen=True, slots=True)
class Reader:
    role: Role
    user: User | None = None

    @property
    def is_lead(self) -> bool:
        return self.role.covers(Role.LEAD)


OVERSEER = Reader(Role.ADMIN)  # where no page and no program reads, but the product itself


def reader_of(request: HttpRequest) -> Reader:
    """Behind `requires`, which has looked up the role."""
    return Reader(request.role, me(request))  # type: ignore[attr-defined]


def knows_label(reader: Reader, post: Post) -> bool:
    """Reviewers are measured on the locked test set: whoever could look its labels up would be no measure."""
    return reader.is_lead or not post.holdout


def told_reviews(reader: Reader) -> Q:
    """Of a Review: while a post is open, what others said of it is told to leads alone."""
    if reader.is_lead:
        return Q()
    return Q(disagreement__closed__isnull=False) | Q(reviewer=reader.user)


def told_disagreements(reader: Reader) -> Q:
    """Of a Disagreement: which ones a post's page may speak of."""
    open_and_blind = Q(closed=None, why__in=UNTOLD)
    if reader.is_lead:
        return ~open_and_blind | Q(stream=Stream.CONFLICT) | Q(why=Why.CHECK)
    return ~open_and_blind & ~Q(why=Why.CHECK)
