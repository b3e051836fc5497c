"""What a provider is asked, what it answers, and the three ways in which it can fail."""

from dataclasses import dataclass, field
from typing import Literal, Protocol

Abstention = Literal["", "refused", "blocked", "cut off", "malformed", "not a label", "cannot tell"]


@dataclass(frozen=True, slots=True)
class Ask:
    system: str
    prompt: str
    labels: tuple[str, ...]
    image: bytes | None = None
    image_format: str = "jpeg"  # jpeg, png or webp
    asks_incongruous: bool = False
    bare: bool = False  # in the words of a model's training: the post alone, picture first, and a label for an answer


@dataclass(frozen=True, slots=True)
class Usage:
    tokens_in: int | None = None
    tokens_out: int | None = None


@dataclass(frozen=True, slots=True)
class Answer:
    label: str | None  # exactly as the project writes it; None is an abstention
    abstained: Abstention = ""
    confidence: float | None = None
    probabilities: dict[str, float] | None = None
    reason: str = ""
    text_reading: str = ""
    image_reading: str = ""
    incongruous: bool | None = None
    raw: str = ""  # what came back, word for word
    usage: Usage = field(default_factory=Usage)


class Stop(Exception):
    """No further ask of this voter can succeed: wrong key, no quota, unknown model. The message is a sentence."""


class Later(Exception):
    """Worth another try: too many requests, an overloaded or silent server. `after` is what the server asked for."""

    def __init__(self, cause: str, after: float | None = None) -> None:
        super().__init__(cause)
        self.cause, self.after = cause, after


class Failed(Exception):
    """This ask cannot succeed as it is (the server refuses this request). The message is a short cause to group by."""


class Connection(Protocol):
    async def ask(self, ask: Ask) -> Answer: ...

    async def close(self) -> None: ...
