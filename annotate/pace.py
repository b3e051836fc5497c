"""How far a reviewer has come today, and how fast; for their own eyes."""

from typing import TypedDict

from django.db.models import Aggregate, Count, FloatField
from django.utils import timezone

from .models import Review
from .models.review import BROUGHT, Instead
from .queue import Seat


class Median(Aggregate):
    """Of seconds: one lunch does not spoil a morning."""

    function = "percentile_cont"
    template = "%(function)s(0.5) WITHIN GROUP (ORDER BY %(expressions)s)"
    output_field = FloatField()


class Today(TypedDict):
    n: int
    pace: float | None  # seconds


def today(seat: Seat) -> Today:
    midnight = timezone.localtime().replace(hour=0, minute=0, second=0, microsecond=0)
    mine = Review.objects.filter(~BROUGHT, project=seat.project, reviewer=seat.user, undone=None, at__gte=midnight)
    told = mine.exclude(instead=Instead.SKIP).aggregate(n=Count("pk"), pace=Median("seconds"))
    return Today(n=told["n"], pace=told["pace"])
