"""In which words a voter was asked: the question, the labels and the guidelines change without making another voter."""

from collections import defaultdict
from dataclasses import dataclass
from datetime import datetime

from annotate.models import Project, Voter

from .models import Part, Wording
from .prompt import Prompt

Labels = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Change:
    """What a voter read before is not what it would read now."""

    since: datetime  # it was first asked in words that are not the present ones
    is_mixed: bool  # it has answered in the present words too


def labels_of(project: Project) -> Labels:
    return tuple(project.labels.values_list("name", "meaning"))


def prompt_of(voter: Voter, labels: Labels) -> Prompt:
    project = voter.project
    return Prompt(
        template=voter.prompt,
        question=project.question,
        labels=labels,
        guidelines=project.guidelines,
        asks_incongruous=project.asks_incongruous,
        words=voter.parameters.get("words", ""),
    )


def note(part: Part, prompt: Prompt) -> Wording:
    """Before anything is asked: kept once for as long as it stays the same."""
    latest = part.wordings.first()
    if latest and latest.hash == prompt.hash:
        return latest
    Voter.objects.filter(pk=part.voter_id).update(words=prompt.wording)
    return part.wordings.create(hash=prompt.hash, text=prompt.wording)


def kept(voter: Voter) -> list[Wording]:
    """The words it answered to, the latest first."""
    return list(Wording.objects.filter(part__voter=voter, part__done__gt=0).select_related("part__run__project"))


def changes(project: Project) -> dict[int, Change]:
    """By voter, for those whose votes were not all cast in the present words."""
    asked = Wording.objects.filter(part__voter__project=project, part__done__gt=0).order_by("since")
    told: defaultdict[int, list[tuple[str, datetime]]] = defaultdict(list)
    for pk, hash, since in asked.values_list("part__voter", "hash", "since"):
        told[pk].append((hash, since))
    labels = labels_of(project)
    found = {}
    for voter in Voter.objects.filter(pk__in=told).select_related("project"):
        now = prompt_of(voter, labels).hash
        if older := [since for hash, since in told[voter.pk] if hash != now]:
            found[voter.pk] = Change(older[0], len(older) < len(told[voter.pk]))
    return found
