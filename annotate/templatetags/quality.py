"""How estimates are put into words: as exact as they are, and no more."""

from typing import Protocol

from django import template
from django.utils.http import urlencode

from annotate.quality import rate_words, span_words

register = template.Library()
NONE = "–"


class Ranged(Protocol):
    @property
    def rate(self) -> float | None: ...
    @property
    def low(self) -> float: ...
    @property
    def high(self) -> float: ...


@register.filter
def rate(of: Ranged) -> str:
    return NONE if of.rate is None else rate_words(of.rate, of.low, of.high)


@register.filter
def span(of: Ranged) -> str:
    return NONE if of.rate is None else span_words(of.low, of.high)


@register.filter
def about(value: float | None) -> str:
    """Two figures that mean something; what is below a hundred is whole."""
    if value is None:
        return NONE
    whole = round(value)
    digits = len(str(abs(whole)))
    return f"{round(value, min(0, 2 - digits)):,.0f}" if digits > 2 else f"{whole}"


@register.filter
def seconds(value: float | None) -> str:
    if value is None:
        return NONE
    return f"{value:.1f} s" if value < 10 else f"{value:,.0f} s"


@register.filter
def top_of(estimates: list[Ranged]) -> float:
    """Where the scale ends on which these are drawn."""
    highest = max((one.high for one in estimates), default=1.0)
    return next((end for end in (0.05, 0.1, 0.2, 0.3, 0.5) if highest <= end), 1.0)


@register.simple_tag
def querystring_of(**asked: str) -> str:
    return urlencode(asked)
