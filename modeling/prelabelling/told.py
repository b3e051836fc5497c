"""What a pre-labelling would settle, and what it did, in sentences: for the command, and for whoever reads a log."""

from collections.abc import Iterator

from django.conf import settings

from annotate.agreement import Share
from modeling.models import PreLabelling

from . import thresholds
from .thresholds import Reckoning


def reckoned(prelabelling: PreLabelling, threshold: float | None = None) -> Reckoning:
    return thresholds.reckon(
        prelabelling.meaning, prelabelling.validation, threshold or prelabelling.threshold, prelabelling.growth
    )


def address(prelabelling: PreLabelling) -> str:
    return f"{settings.SITE_URL}{prelabelling.get_absolute_url()}"


def meaning(prelabelling: PreLabelling) -> Iterator[str]:
    yield calibrated(prelabelling)
    yield ""
    yield f"{'threshold':>9} {'settles':>9} {'expected wrong':>15}  on the validation split"
    for threshold in sorted({*thresholds.OFFERED, prelabelling.threshold}):
        found = reckoned(prelabelling, threshold)
        mark = "  <-" if threshold == prelabelling.threshold else ""
        yield f"{threshold:>9.3g} {found.settled:>9,} {share(found.wrong_share):>15}  {checked(found)}{mark}"
    yield ""
    found = reckoned(prelabelling)
    for row in found.rows:
        held = f", {row.held_back:,} more held back by its quota" if row.held_back else ""
        wrong = share(row.wrong / row.settled if row.settled else None)
        yield f"{row.label}: {row.settled:,} at {found.threshold:g}, expected wrong {wrong}{held}"
    yield f"Less sure: {found.unsure:,}. Sure, but voters say otherwise: {found.against:,}."
    if found.conflicts:
        yield f"Sure, but the post has another label: {found.conflicts:,}. They are listed, never changed."


def calibrated(prelabelling: PreLabelling) -> str:
    if prelabelling.temperature is None:
        return "Not calibrated: the dataset has no validation split, so its chances are as the model says them."
    return (
        f"Calibrated on {len(prelabelling.validation):,} posts of the validation split "
        f"(temperature {prelabelling.temperature:.2f})."
    )


def checked(found: Reckoning) -> str:
    told: Share | None = found.on_validation
    if told is None:
        return "none as sure"
    return f"{told.hits:,} of {told.of:,} wrong (95%: {told.low:.0%} to {told.high:.0%})"


def share(value: float | None) -> str:
    return "-" if value is None else f"{value:.1%}"


def result(prelabelling: PreLabelling) -> Iterator[str]:
    found = prelabelling.result
    if prelabelling.taken_back:
        yield f"{int(found.get('freed', 0)):,} labels were taken back; what people or voters said since stands."
        return
    settled = found.get("settled", {})
    told = ", ".join(f"{n:,} {label}" for label, n in sorted(settled.items(), key=lambda item: -item[1]))
    yield f"{sum(settled.values()):,} posts were settled{f': {told}' if told else ''}."
    yield f"{int(found.get('doubts', 0)):,} doubts wait for people."
