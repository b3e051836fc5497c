"""What stands in a folder that we wrote a model to, and by which it is known for ours again."""

import json
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

from modeling.gpu.config import Config

MARK = "written_out.json"
README = "README.md"


def mark_in(folder: Path) -> dict[str, Any] | None:
    """None where the folder is not ours, or its mark is not whole: somebody may have written it by hand."""
    try:
        told: dict[str, Any] = json.loads((folder / MARK).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return None
    return told if isinstance(told, dict) and is_whole(told) else None


def is_whole(told: dict[str, Any]) -> bool:
    """All that anybody reads of it."""
    least, most = told.get("min_pixels"), told.get("max_pixels")
    return (
        type(told.get("run")) is int and isinstance(told.get("form"), str) and are_names(told.get("files"))
        and type(least) is int and type(most) is int and 0 < least <= most
    )  # fmt: skip


def are_names(files: Any) -> bool:
    return isinstance(files, list) and all(isinstance(name, str) for name in files)


def files_in(mark: dict[str, Any]) -> list[str]:
    """What of the folder is ours. A name that leads out of it is none that we wrote."""
    return [name for name in (*mark["files"], MARK) if lies_within(name)]


def lies_within(name: str) -> bool:
    return name not in ("", ".", "..") and not {"/", os.sep, "\0"} & set(name)


def as_written(config: Config) -> Config:
    """A model that we wrote out is shown pictures as large as those that it was trained on."""
    told = mark_in(Path(config.model)) if Path(config.model).is_absolute() else None
    if told is None:
        return config
    return replace(config, min_pixels=told["min_pixels"], max_pixels=told["max_pixels"])
