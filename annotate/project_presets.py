"""Projects to start from, each a file in presets/, and the one way a project is made."""

import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from django.core.exceptions import ValidationError
from django.db import transaction

from .models import Event, Label, Membership, Project, Role, User

FOLDER = Path(__file__).parent / "presets"


@dataclass(frozen=True, slots=True)
class PresetLabel:
    name: str
    meaning: str = ""
    key: str = ""
    colour: str = "#6b6457"


@dataclass(frozen=True, slots=True)
class Preset:
    key: str
    name: str
    question: str
    guidelines: str
    asks_incongruous: bool
    labels: tuple[PresetLabel, ...]

    @classmethod
    def read(cls, path: Path) -> Self:
        held = tomllib.loads(path.read_text())
        return cls(
            key=path.stem,
            name=held["name"],
            question=held["question"],
            guidelines=held.get("guidelines", ""),
            asks_incongruous=held.get("asks_incongruous", False),
            labels=tuple(PresetLabel(**label) for label in held.get("labels", [])),
        )


BLANK = Preset(key="", name="Blank", question="", guidelines="", asks_incongruous=False, labels=())


def available() -> list[Preset]:
    """The simplest first."""
    return sorted(map(Preset.read, FOLDER.glob("*.toml")), key=lambda preset: (len(preset.labels), preset.name))


def preset_for(key: str | None) -> Preset:
    if not key:
        return BLANK
    presets = {preset.key: preset for preset in available()}
    if key not in presets:
        raise ValidationError({"preset": f"There is no preset “{key}”. There are: {', '.join(presets) or 'none'}."})
    return presets[key]


def make_project(preset_key: str | None, name: str, by: User | None, **overrides: Any) -> Project:
    """All of it or nothing; a ValidationError says what to mend. `overrides` are fields of the project."""
    preset = preset_for(preset_key)
    fields = {
        "slug": Project.free_slug(name),
        "question": preset.question,
        "guidelines": preset.guidelines,
        "asks_incongruous": preset.asks_incongruous,
    }
    given = {key: value for key, value in overrides.items() if value not in ("", None)}
    project = Project(name=name, created_by=by, **fields | given)
    project.full_clean()
    return found(project, preset, by)


@transaction.atomic
def found(project: Project, preset: Preset, by: User | None) -> Project:
    project.save()
    Label.objects.bulk_create(
        Label(project=project, name=label.name, meaning=label.meaning, key=label.key, colour=label.colour, position=n)
        for n, label in enumerate(preset.labels, 1)
    )
    if by:
        Membership.objects.create(project=project, user=by, role=Role.ADMIN)
    Event.record("project made", user=by, project=project, preset=preset.key)
    return project
