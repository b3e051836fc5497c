"""Where `up` serves the site of a folder, for commands that are run beside it and print links."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

NAME = "address"


@contextmanager
def told(folder: Path, address: str) -> Iterator[None]:
    path = folder / NAME
    with suppress(OSError):
        path.write_text(address)
    try:
        yield
    finally:
        path.unlink(missing_ok=True)


def found(folder: Path) -> str:
    """Blank where none is up. Whoever was killed leaves its address behind, until the next start."""
    with suppress(OSError):
        return (folder / NAME).read_text().strip()
    return ""
