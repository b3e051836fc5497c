"""How figures, money, shares and moments are written everywhere."""

from datetime import datetime
from decimal import Decimal

from django import template
from django.utils import timezone
from django.utils.formats import date_format

from annotate import colours, event_words
from annotate.agreement import Share
from annotate.models import Event

register = template.Library()
register.filter("shades", colours.shades)
register.filter("sentence_of", event_words.sentence_of)

NONE = "–"
SPANS = [(60, "min", 60), (3600, "h", 24), (86400, "day", 14)]


@register.filter
def number(value: float | None) -> str:
    return NONE if value is None else f"{value:,}"


@register.filter
def brief(value: float | None) -> str:
    """Many thousands at a glance."""
    if value is None:
        return NONE
    for size, unit in ((1_000_000, "M"), (1000, "k")):
        if value >= 10 * size:
            return f"{value / size:,.0f}{unit}"
    return f"{value:,.0f}"


@register.filter
def money(value: Decimal | float | None) -> str:
    """An unknown price is not a price of nothing, and a small one is not rounded to nothing."""
    if value is None:
        return "unknown"
    if 0 < value < 0.0001:
        return "under $0.0001"
    return f"${value:,.4f}" if 0 < value < 0.1 else f"${value:,.2f}"


@register.filter
def percent(part: float, whole: float) -> str:
    """Only nothing is 0% and only everything is 100%."""
    if not whole:
        return NONE
    share = 100 * part / whole
    if 0 < share < 1:
        return "<1%"
    return ">99%" if 99 < share < 100 else f"{share:.0f}%"


@register.filter
def coefficient(value: float | None) -> str:
    return NONE if value is None else f"{round(value, 2) + 0:.2f}".replace("-", "−")


@register.filter
def spread(share: Share) -> str:
    """Both ends of the interval, with as many places as tell them apart."""
    places = sum(share.high - share.low < width for width in (0.02, 0.002))
    return f"{100 * share.low:.{places}f}–{100 * share.high:.{places}f}%"


@register.filter
def ago(moment: datetime | None) -> str:
    if moment is None:
        return "never"
    seconds = int((timezone.now() - moment).total_seconds())
    if seconds < 60:
        return "just now"
    for size, unit, most in SPANS:
        if seconds < size * most:
            count = seconds // size
            return f"{count} {unit}{'s' if unit == 'day' and count > 1 else ''} ago"
    return date_format(timezone.localtime(moment), "j M Y")


@register.filter
def lasts(seconds: int) -> str:
    for size, unit in ((3600, "h"), (60, "min")):
        if seconds >= 2 * size:
            return f"{round(seconds / size)} {unit}"
    return f"{seconds} s"


@register.filter
def in_words(event: Event) -> tuple[str, str]:
    """What happened, and what the event noted of it."""
    return event_words.told(event.verb, event.data)
