"""Looks at the places where things lie: what is there, what may go, and it goes where somebody has said so.

A machine's own folder is seen by no other machine, so its own workers look after it, each asking at its heartbeat
whether that is due; what all share is a task of the queue. Whoever looks claims the place in the database, so that of
all workers of a machine, and of machines that share a folder, one does it.
"""

import logging
import secrets
import socket
import threading
from collections.abc import Collection
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import Any

from django.conf import settings
from django.db import connection, transaction
from django.db.models import F, Q
from django.db.models.functions import Coalesce, Now
from django_q.tasks import async_task

from annotate.kept import kept
from annotate.models import Place, User
from annotate.models.room import due

from . import measuring, pruning
from .measuring import SHARED
from .pruning import Found

LEASE = timedelta(minutes=10)  # after which whoever has claimed a place is taken for dead
A_DAY = timedelta(days=1)
GONE = timedelta(days=30)  # after which a machine that nobody has heard of holds nothing any more
NAMED = 5  # things of each rule that a page names
MARK = "place"  # a file in the folder, by which it is known again under whatever name its machine bears
log = logging.getLogger(__name__)


# --- Which place


def key_of_own() -> str:
    """Kept in the folder: a container has another name each time."""
    return kept(Path(settings.VAR_DIR) / MARK, lambda: secrets.token_hex(8))


def place_of(key: str) -> Place:
    return Place.objects.get_or_create(key=key)[0]


# --- When


def claim(key: str) -> Place | None:
    """Where it is due and nobody is at it."""
    free = Q(claimed=None) | ~Q(claimed__range=(Now() - LEASE, Now() + LEASE))
    if not Place.objects.filter(due(), free, key=place_of(key).key).update(claimed=Now()):
        return None
    return Place.objects.select_related("by").get(key=key)


def ask(by: User | None = None, rules: Collection[str] = ()) -> None:
    """All places, as soon as their machines are there; and what these rules find there goes."""
    place_of(SHARED)
    with transaction.atomic():
        places = list(Place.objects.select_for_update(no_key=True).order_by("pk"))
        for place in places:
            place.rules = sorted({*place.rules, *rules})
            place.by = by if rules else place.by
        Place.objects.bulk_update(places, ["rules", "by"])
        Place.objects.update(asked=Now())
    mind_what_is_shared()


def look_again() -> None:
    """Something was written here: its room is known to the next who asks for some."""
    keys = [SHARED]
    with suppress(OSError):
        keys.append(key_of_own())
    Place.objects.filter(key__in=keys).update(asked=Now())


# --- At each beat


def mind_own() -> None:
    """Beside whatever this worker is at: a training takes days."""
    try:
        place = claim(key_of_own())
    except OSError as error:
        log.warning("%s cannot be looked after: %s.", settings.VAR_DIR, error.strerror or error)
        return
    if place:
        threading.Thread(target=beside, args=[place], daemon=True, name="upkeep").start()


def beside(place: Place) -> None:
    try:
        look_after(place)
    except Exception:
        log.exception("%s could not be looked after; it is tried again.", settings.VAR_DIR)
    finally:
        connection.close()


def mind_what_is_shared() -> None:
    if claim(SHARED):
        async_task("annotate.tasks.look_after_what_is_shared", task_name="look after what is shared")


# --- Looking


def look_after(place: Place) -> None:
    """What goes by rule goes first, so that what is measured is what is left."""
    shared, by_itself = place.key == SHARED, sweeps_today(place)
    found = pruning.look(shared)
    going = [each for each in found if each.going and (by_itself or each.rule.key in place.rules)]
    if going:
        pruning.prune(going, place.by if place.rules else None, machine=socket.gethostname())
        found = pruning.look(shared)
    taken = measuring.measured(shared)
    measuring.keep(place, taken)
    note(place, {
        "machine": socket.gethostname()[:120], "claimed": None, "measured": Coalesce(F("claimed"), Now()),
        "taken": [told_of(one) for one in taken], "found": [found_told(each) for each in found],
        "free": measuring.free(shared),
    })  # fmt: skip
    if shared:
        Place.objects.exclude(key=SHARED).filter(measured__lt=Now() - GONE).delete()


def sweeps_today(place: Place) -> bool:
    """Only where whoever runs the site has said so, and whichever of several workers comes first."""
    yesterday = Q(swept=None) | ~Q(swept__range=(Now() - A_DAY, Now() + A_DAY))
    return bool(settings.PRUNE and Place.objects.filter(yesterday, pk=place.pk).update(swept=Now()))


def note(place: Place, told: dict[str, Any]) -> None:
    """What was asked for meanwhile is for the next look."""
    this = Place.objects.filter(pk=place.pk)
    this.update(**told)
    this.filter(Q(asked=place.asked) | Q(asked=None)).update(rules=[])


def told_of(taken: measuring.Taken) -> dict[str, Any]:
    return {name: getattr(taken, name) for name in ("what", "bytes", "count", "unit", "told")}


def found_told(found: Found) -> dict[str, Any]:
    few = [{"what": one.what, "bytes": one.bytes} for one in found.going[:NAMED]]
    return {"rule": found.rule.key, "count": len(found.going), "bytes": found.bytes, "few": few}
