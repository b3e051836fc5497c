"""What a provider's batch API is asked and answers: the requests go there in a file, answers come back in others."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Literal, Protocol

from .contract import Answer, Ask
from .provider import Parameters

MEGABYTE = 1_000_000
PATIENCE = 600.0  # seconds for a file of requests to go up

Stage = Literal["open", "cancelling", "done", "expired", "failed", "cancelled"]


@dataclass(frozen=True, slots=True)
class Look:
    stage: Stage
    files: tuple[str, ...] = ()  # an expired or cancelled batch has some too
    error: str = ""
    queue_full: bool = False  # the provider took none of it, and says that it would later

    @property
    def is_over(self) -> bool:
        return self.stage not in {"open", "cancelling"}


@dataclass(frozen=True, slots=True)
class Reply:
    """One line that came back: an answer, or the Later, Failed or Stop that asking one by one would have raised."""

    key: str
    answer: Answer | None = None
    error: Exception | None = None


class BatchConnection(Protocol):
    """Raises Stop, Later and Failed as asking one by one does."""

    def line(self, key: str, ask: Ask) -> str: ...

    async def upload(self, path: Path, mark: str) -> str: ...

    async def create(self, file_id: str, mark: str) -> str: ...

    async def find(self, mark: str, since: datetime) -> str: ...

    async def look(self, batch_id: str) -> Look: ...

    async def download(self, file_id: str, path: Path) -> None: ...

    async def remove(self, file_id: str) -> None: ...

    async def cancel(self, batch_id: str) -> None: ...

    async def close(self) -> None: ...

    def read(self, line: str, ask: Ask) -> Reply: ...


@dataclass(frozen=True, slots=True)
class Batching:
    """What one batch may hold, below the provider's own limits; and how to speak of batches to it."""

    open: Callable[[str, Parameters], BatchConnection]
    requests: int
    bytes: int
