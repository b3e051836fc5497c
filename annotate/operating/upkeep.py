"""Looks at the places where things lie: what is there, what may go, and it goes where somebody has said so.

A machine's own folder is seen by no other machine, so its own workers look after it, each asking at its heartbeat
whether that is due; what all share is a task of the queue. Whoever looks claims the place in the database and says
that it lives, so that of all workers of a machine, of machines that share a folder, and of a task that is delivered
twice because it takes long, one does it. Whoever has lost its claim removes and writes nothing more.
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
from django.db import DatabaseError, InterfaceError, connection, transaction
from django.db.models import Case, F, Q, When
from django.db.models.functions import Coalesce, Now
from django_q.tasks import async_task

from annotate.heartbeat import heartbeat
from annotate.kept import kept
from annotate.models import Place, User
from annotate.models.room import STALE, PlaceQuerySet, due

from . import measuring, pruning
from .measuring import SHARED
from .pruning import Found

A_DAY = timedelta(days=1)
GONE = timedelta(days=30)  # after which a machine that nobody has heard of holds nothing any more
NAMED = 5  # things of each rule that a page names
MARK = "place"  # a file in the folder, by which it is known again under whatever name its machine bears
log = logging.getLogger(__name__)


class LostClaim(Exception):
    """Another looks by now, while we were silent; or the place was forgotten."""


# --- Which place


def key_of_own() -> str:
    """Kept in the folder: a container has another name each time."""
    return kept(Path(settings.VAR_DIR) / MARK, lambda: secrets.token_hex(8))


def place_of(key: str) -> Place:
    return Place.objects.get_or_create(key=key)[0]


# --- When


def claim(key: str, ordered: bool = False) -> Place | None:
    """Where it is due and nobody is at it. Whoever comes because it was ordered need not wait for whoever was to come.
    A wish from times to come is of before the clock was put back: this look is its answer."""
    free = Place.objects.left()
    if ordered:
        free |= Place.objects.filter(heartbeat=None)
    asked = Case(When(asked__gt=Now(), then=Now()), default=F("asked"))
    here = free.filter(due(), key=place_of(key).key)
    if not here.update(claimed=Now(), heartbeat=Now(), asked=asked):
        return None
    return Place.objects.select_related("by").get(key=key)


def still_ours(place: Place) -> PlaceQuerySet:
    """No row of it once another has claimed it."""
    return Place.objects.filter(pk=place.pk, claimed=place.claimed)


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
    """Something was written or removed here: its room is known to the next who asks for some."""
    keys = [SHARED]
    with suppress(OSError):
        keys.append(key_of_own())
    Place.objects.filter(key__in=keys).look_again()


def forget(pk: int) -> bool:
    """Only of a machine that is gone: what all share is there as long as the site, and one that is heard of counts."""
    gone, _ = Place.objects.lost(STALE).filter(pk=pk).delete()
    return bool(gone)


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
    """Ordered with its task in one transaction, and once however long that waits: whoever fetches it claims."""
    with transaction.atomic():
        if Place.objects.left().filter(due(), key=place_of(SHARED).key).update(claimed=Now(), heartbeat=None):
            async_task("annotate.tasks.look_after_what_is_shared", task_name="look after what is shared")


def look_after_what_is_shared() -> None:
    """Delivered again while another is at it, or after it is done, this ends at once."""
    if place := claim(SHARED, ordered=True):
        look_after(place)


# --- Looking


def look_after(place: Place) -> None:
    """One that failed is tried again after a while: of a bucket that is away nobody has to be told every minute."""
    try:
        with heartbeat(lambda: still_ours(place), f"The look at {place}"):
            look(place)
    except LostClaim:
        log.warning("%s is looked after by another by now: what was found there is not kept.", place)
    except Exception:
        with suppress(DatabaseError, InterfaceError):
            still_ours(place).update(claimed=Now(), heartbeat=None)
        raise


def look(place: Place) -> None:
    """What goes by rule goes first, so that what is measured is what is left."""
    by_itself = sweeps_today(place)
    found = pruning.look(place.is_shared)
    going = [each for each in found if each.going and (by_itself or each.rule.key in place.rules)]
    if going:
        ours = still_ours(place).exists
        pruning.prune(going, place.by if place.rules else None, machine=socket.gethostname(), goes_on=ours)
        if not ours():
            raise LostClaim
        found = pruning.look(place.is_shared)
    taken = measuring.measured(place.is_shared, place)
    told = {
        "machine": socket.gethostname()[:120], "claimed": None, "heartbeat": None,
        "measured": Coalesce(F("claimed"), Now()), "taken": [told_of(one) for one in taken],
        "found": [found_told(each) for each in found], "free": measuring.free(place.is_shared),
    }  # fmt: skip
    with transaction.atomic():
        measuring.keep(place, taken)
        note(place, told)
    if place.is_shared:
        Place.objects.lost(GONE).delete()


def sweeps_today(place: Place) -> bool:
    """Only where whoever runs the site has said so, and whichever of several workers comes first."""
    yesterday = Q(swept=None) | ~Q(swept__range=(Now() - A_DAY, Now() + A_DAY))
    return bool(settings.PRUNE and Place.objects.filter(yesterday, pk=place.pk).update(swept=Now()))


def note(place: Place, told: dict[str, Any]) -> None:
    """Only while it is still ours. What was asked for meanwhile is for the next look."""
    if not still_ours(place).update(**told):
        raise LostClaim
    Place.objects.filter(Q(asked=place.asked) | Q(asked=None), pk=place.pk).update(rules=[])


def told_of(taken: measuring.Taken) -> dict[str, Any]:
    return {name: getattr(taken, name) for name in ("what", "bytes", "count", "unit", "told")}


def found_told(found: Found) -> dict[str, Any]:
    few = [{"what": one.what, "bytes": one.bytes} for one in found.going[:NAMED]]
    return {"rule": found.rule.key, "count": len(found.going), "bytes": found.bytes, "few": few}
