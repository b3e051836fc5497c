"""What every importer yields: a row that can become a post, or a row that cannot and why."""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime


@dataclass(frozen=True, slots=True)
class Picture:
    """A picture that has not been read yet: importing 100,000 of them must not hold 100,000 in memory."""

    name: str
    read: Callable[[], bytes]


@dataclass(frozen=True, slots=True)
class RowVote:
    voter: str
    label: str  # as written in the file; blank is an abstention
    confidence: float | None = None
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Row:
    number: int  # as a person counts: the first record of the file is 1
    text: str = ""
    external_id: str = ""  # blank: the content hash becomes the id
    picture: Picture | None = None
    posted_at: datetime | None = None  # always aware
    source: str = ""
    label: str = ""
    incongruous: bool | None = None
    votes: tuple[RowVote, ...] = ()
    meta: dict[str, object] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Refused:
    number: int
    reason: str
    excerpt: str = ""


class Unreadable(Exception):
    """The file as a whole cannot be read; the message is shown to the user and says what to mend."""
