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
class VoteDetail:
    """What no column of a table tells, and our own export does."""

    probabilities: dict[str, float] | None = None
    text_reading: str = ""
    image_reading: str = ""
    incongruous: bool | None = None
    at: datetime | None = None


@dataclass(frozen=True, slots=True)
class RowVote:
    voter: str
    label: str  # as written in the file
    confidence: float | None = None
    reason: str = ""
    detail: VoteDetail | None = None  # with it a blank label is an abstention; without, it is no vote

    @property
    def counts(self) -> bool:
        return self.detail is not None or bool(self.label.strip())

    @property
    def has_probabilities(self) -> bool:
        return self.detail is not None and bool(self.detail.probabilities)


@dataclass(frozen=True, slots=True)
class RowReview:
    """What a person answered elsewhere: a label, or something instead."""

    reviewer: str  # a user's name, or an e-mail address
    label: str = ""
    instead: str = ""
    why: str = ""
    note: str = ""
    incongruous: bool | None = None
    final: bool = False
    saw: tuple[str, ...] = ()  # voters
    seconds: float | None = None
    at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Past:
    """What a post went through before it came to us."""

    label_source: str = ""
    split: str = ""
    template: str = ""
    reviews: tuple[RowReview, ...] = ()


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
    past: Past | None = None

    @property
    def is_votes_alone(self) -> bool:
        """About a post that is in the project already."""
        return not self.text and self.picture is None and bool(self.votes)


@dataclass(frozen=True, slots=True)
class Refused:
    number: int
    reason: str
    excerpt: str = ""


class Unreadable(Exception):
    """The file as a whole cannot be read; the message is shown to the user and says what to mend."""
