"""Who votes. A voter is its provider, model, parameters and prompt: whoever changes one of them makes another voter."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

from django.db import transaction
from django.utils import timezone
from django_q.tasks import async_task

from annotate.models import Event, Project, User, Voter

from . import prompt as prompts
from .models import Replacement
from .pairs import Pair
from .providers import PROVIDERS

NUMBERED = re.compile(r" v\d+$")
LONGEST_NAME = 120


@dataclass(frozen=True, slots=True)
class Makeup:
    """In one way of writing, so that the same voter is known by its fingerprint however it was told."""

    provider: str
    model: str
    parameters: dict[str, Any]
    prompt: str

    @classmethod
    def told(cls, provider: str, model: str, parameters: Mapping[str, Any], prompt: str = "") -> Self:
        written = tidy(prompt) or tidy(prompts.DEFAULT)
        return cls(provider, model.strip(), without_defaults(provider, parameters), written)

    @classmethod
    def of(cls, voter: Voter) -> Self:
        return cls.told(voter.provider, voter.model, voter.parameters, voter.prompt)

    @property
    def fingerprint(self) -> str:
        return Voter.fingerprint_of(self.provider, self.model, self.parameters, self.prompt)

    @property
    def is_ours(self) -> bool:
        """Asked in the words of a training here, it learnt from the voters that consensus hears. Heard beside them, it
        would say once more what they said, and label what models are measured on."""
        return bool(self.parameters.get("words"))


def tidy(text: str) -> str:
    """Browsers send line ends of their own."""
    return "\n".join(line.rstrip() for line in text.splitlines()).strip()


def without_defaults(provider: str, parameters: Mapping[str, Any]) -> dict[str, Any]:
    known = PROVIDERS[provider].parameters
    written = {
        name: float(value) if name in known and known[name].kind is float and type(value) is int else value
        for name, value in parameters.items()
    }
    return {name: value for name, value in written.items() if name not in known or value != known[name].default}


def twin(project: Project, makeup: Makeup) -> Voter | None:
    return project.voters.filter(fingerprint=makeup.fingerprint).first()


def free_name(project: Project, wanted: str) -> str:
    stem = NUMBERED.sub("", wanted)[: LONGEST_NAME - 8]
    taken = set(project.voters.filter(name__startswith=stem).values_list("name", flat=True))
    numbered = (f"{stem} v{n}" for n in range(2, len(taken) + 3))
    return next(name for name in (wanted, *numbered) if name not in taken)


@transaction.atomic
def create(
    project: Project,
    by: User | None,
    makeup: Makeup,
    name: str = "",
    *,
    required: bool = True,
    limits: Mapping[str, int] | None = None,
) -> Voter:
    """Asked for twice, it is the one that is there, and asked for after it was replaced it comes back."""
    voter, is_new = stored(project, makeup, name, required, limits)
    if is_new:
        Event.record("voter added", user=by, project=project, name=voter.name)
    else:
        bring_back(voter, by, required=required)
    return voter


def stored(
    project: Project, makeup: Makeup, name: str, required: bool, limits: Mapping[str, int] | None
) -> tuple[Voter, bool]:
    Project.objects.select_for_update(no_key=True).get(pk=project.pk)  # two at once would take the same name
    if there := twin(project, makeup):
        return there, False
    voter = Voter.objects.create(
        project=project, name=free_name(project, name or makeup.model), provider=makeup.provider, model=makeup.model,
        parameters=makeup.parameters, prompt=makeup.prompt, fingerprint=makeup.fingerprint,
        required=required and not makeup.is_ours, heard=not makeup.is_ours, limits=dict(limits or {}),
    )  # fmt: skip
    return voter, True


@transaction.atomic
def revise(
    voter: Voter, by: User | None, makeup: Makeup, name: str, *, required: bool, limits: Mapping[str, int]
) -> Voter:
    """Its name, limits and whether it is required change in place; with anything else a new voter takes its seat, or
    one that was replaced before comes back to it."""
    if makeup.fingerprint == Makeup.of(voter).fingerprint:
        return change(voter, by, name, required, limits)
    heir, is_new = stored(voter.project, makeup, name, required, limits)
    if not is_new and heir.retired:
        seat_again(heir, required, limits)
    retire(voter, heir)
    Event.record("voter replaced", user=by, project=voter.project, name=f"{voter.name} by {heir.name}")
    return heir


def retire(voter: Voter, heir: Voter) -> None:
    """Its votes are kept and heard no more: two votes of one seat would settle or split what nobody contests."""
    Voter.objects.filter(pk=voter.pk).update(required=False, retired=timezone.now())
    Replacement.objects.update_or_create(voter=voter, defaults={"heir": heir})
    settle_anew(voter)


def seat_again(voter: Voter, required: bool, limits: Mapping[str, int]) -> None:
    heard = is_heard(voter)
    new = {"required": required and heard, "heard": heard, "limits": dict(limits), "retired": None}
    Voter.objects.filter(pk=voter.pk).update(**new)
    Replacement.objects.filter(voter=voter).delete()
    voter.refresh_from_db()


@transaction.atomic
def bring_back(voter: Voter, by: User | None, *, required: bool = False) -> bool:
    """Its votes are heard again, beside those of whoever replaced it. False where nobody had. It is not required
    unless told: the posts that came meanwhile would all wait for it."""
    if not Voter.objects.filter(pk=voter.pk, retired__isnull=False).exists():
        return False
    seat_again(voter, required, voter.limits)
    Event.record("voter brought back", user=by, project=voter.project, name=voter.name)
    settle_anew(voter)
    return True


def is_heard(voter: Voter) -> bool:
    """Who was heard before this was known of it is no longer, once it is changed or brought back."""
    return voter.heard and not voter.parameters.get("words")


def settle_anew(voter: Voter) -> None:
    async_task("annotate.tasks.settle_project", voter.project_id)


def change(voter: Voter, by: User | None, name: str, required: bool, limits: Mapping[str, int]) -> Voter:
    heard = is_heard(voter)
    required = required and heard and not voter.retired
    new = {"name": name, "required": required, "heard": heard, "limits": dict(limits)}
    changed = [field for field, value in new.items() if getattr(voter, field) != value]
    if not changed:
        return voter
    Voter.objects.filter(pk=voter.pk).update(**{field: new[field] for field in changed})
    Event.record("voter changed", user=by, project=voter.project, name=name, changed=changed)
    if "heard" in changed or ("required" in changed and not required):  # posts may have waited for this voter alone
        settle_anew(voter)
    voter.refresh_from_db()
    return voter


@transaction.atomic
def add_pair(project: Project, by: User | None, pair: Pair) -> list[Voter]:
    return [
        create(project, by, Makeup.told(suggested.provider, suggested.model, suggested.parameters), suggested.name)
        for suggested in pair.voters
    ]
