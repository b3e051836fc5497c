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
    """Those that need nothing come last: they are for trying the way, not for walking it."""
    found = [TrainingPreset(key=path.stem, **tomllib.loads(path.read_text())) for path in FOLDER.glob("*.toml")]
    return sorted(found, key=in_the_list)


def in_the_list(preset: TrainingPreset) -> tuple[bool, bool, bool, str]:
    config = preset.configured()
    return config.is_made_on_the_spot, config.is_classifier, config.method != "qlora", preset.key


def is_known(key: str) -> bool:
    return key in {path.stem for path in FOLDER.glob("*.toml")}


def named(key: str) -> TrainingPreset:
    presets = {preset.key: preset for preset in available()}
    if key not in presets:
        raise ValueError(f"There is no recipe “{key}”. There are: {', '.join(presets)}.")
    return presets[key]
