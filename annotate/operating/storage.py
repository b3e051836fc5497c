"""As workers last told: what lies where, what may go, and what each project holds. Nothing is walked for it."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.db.models import Min, Sum
from django.utils import timezone

from annotate.models import Holding, Place, Project

from . import pruning, room
from .measuring import SHARED
from .pruning import Rule
from .quotas import Stand, problem_with_disk
from .upkeep import NAMED

AWAITED = timedelta(minutes=2)  # a machine that is off by then is not waited for


@dataclass(frozen=True, slots=True)
class MayGo:
    """By one rule, in all places."""

    rule: Rule
    count: int
    bytes: int
    few: list[dict[str, Any]]

    @property
    def more(self) -> bool:
        return self.count > len(self.few)


def places() -> list[Place]:
    """What all share comes first."""
    return sorted(Place.objects.all(), key=lambda place: (place.key != SHARED, place.machine))


def are_awaited(places: Sequence[Place]) -> bool:
    now = timezone.now()
    return any(place.is_awaited and place.asked and now - place.asked < AWAITED for place in places)


def may_go(places: Sequence[Place]) -> list[MayGo]:
    found = [(place, told) for place in places for told in place.found]
    return [of_rule(rule, [one for one in found if one[1]["rule"] == rule.key]) for rule in pruning.rules()]


def of_rule(rule: Rule, found: list[tuple[Place, dict[str, Any]]]) -> MayGo:
    several = len({place.pk for place, told in found if told["count"]}) > 1
    few = [one | {"machine": place.machine if several else ""} for place, told in found for one in told["few"]]
    return MayGo(rule, sum(told["count"] for _, told in found), sum(told["bytes"] for _, told in found), few[:NAMED])


@dataclass(frozen=True, slots=True)
class Held:
    """By one project."""

    stand: Stand
    kinds: list[tuple[str, int]]
    measured: datetime | None  # the oldest of the looks that it is told by

    @property
    def disk_is_full(self) -> bool:
        return bool(problem_with_disk(self.stand))


def held_by(project: Project) -> Held:
    kinds = (
        Holding.objects.filter(project=project).values_list("what").annotate(n=Sum("bytes"), at=Min("place__measured"))
    )
    told = list(kinds.order_by("-n", "what"))
    return Held(
        room.stand(project), [(what, n) for what, n, _ in told], min((at for *_, at in told if at), default=None)
    )
