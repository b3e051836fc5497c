"""Ways to train that are known to work, each a file in presets/ with its source."""

import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from modeling.gpu.config import Config

FOLDER = Path(__file__).parent / "presets"


@dataclass(frozen=True)
class TrainingPreset:
    key: str
    title: str
    what: str
    source: str
    model: str
    config: dict[str, Any] = field(default_factory=dict)
    balanced_weights: bool = False

    def configured(self, model: str = "", **changes: Any) -> Config:
        return Config.from_json({"model": model or self.model, **self.config, **changes})


def available() -> list[TrainingPreset]:
    """The one that needs nothing comes last: it is for trying the way, not for walking it."""
    found = [TrainingPreset(key=path.stem, **tomllib.loads(path.read_text())) for path in FOLDER.glob("*.toml")]
    return sorted(found, key=lambda preset: (preset.model == "tiny", preset.config["method"] != "qlora", preset.key))


def named(key: str) -> TrainingPreset:
    presets = {preset.key: preset for preset in available()}
    if key not in presets:
        raise ValueError(f"There is no recipe “{key}”. There are: {', '.join(presets)}.")
    return presets[key]
