"""What is made up once and kept in a file: whole from its first moment, and of all who begin at once one's."""

import secrets
from collections.abc import Callable
from pathlib import Path


def kept(path: Path, made: Callable[[], str]) -> str:
    """For us alone. A link, unlike a rename, does not replace what another process wrote in the same instant."""
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_name(f"{path.name}.{secrets.token_hex(4)}")
        part.touch(mode=0o600)
        part.write_text(made())
        try:
            path.hardlink_to(part)
        except FileExistsError:
            pass
        except OSError:  # some file systems know no links; there the last of two wins
            part.replace(path)
        part.unlink(missing_ok=True)
    return path.read_text()
