"""A full disk is met by libraries in their own words, or in none; here it is told from all else that may go wrong."""

import errno
import shutil
from pathlib import Path

WORDS = "The disk is full. Make room, then resume it: what was saved before stands."
FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
# Of safetensors, of the system, and of torch, which names no reason.
SAID = ("No space left", "File too large", "Disk quota exceeded", "PytorchStreamWriter failed writing")
NOTHING = 256 * 1024  # bytes


def told(error: OSError, folder: Path) -> str:
    if is_reason(error, folder):
        return WORDS
    return f"The disk did not play along: {error.strerror or error}. Make room, and resume."


def is_reason(error: BaseException, folder: Path) -> bool:
    """Also where it is the reason of what was said."""
    seen: BaseException | None = error
    while seen is not None:
        if getattr(seen, "errno", None) in FULL or any(words in str(seen) for words in SAID):
            return True
        seen = seen.__cause__ or seen.__context__
    return has_no_room(folder)


def has_no_room(folder: Path) -> bool:
    try:
        return shutil.disk_usage(folder).free < NOTHING
    except OSError:
        return False
