"""What stands in a folder that we wrote a model to, and by which it is known for ours again."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

from modeling.gpu.config import Config

MARK = "written_out.json"
README = "README.md"


def mark_in(folder: Path) -> dict[str, Any] | None:
    """None where the folder is not ours."""
    try:
        told: dict[str, Any] = json.loads((folder / MARK).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return told if isinstance(told, dict) and "run" in told else None


def as_written(config: Config) -> Config:
    """A model that we wrote out is shown pictures as large as those that it was trained on."""
    told = mark_in(Path(config.model)) if Path(config.model).is_absolute() else None
    if told is None:
        return config
    return replace(config, min_pixels=told["min_pixels"], max_pixels=told["max_pixels"])
