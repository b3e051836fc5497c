"""Pure: how many labels a model may give of each kind, so that its favourite does not swamp the others."""

from collections.abc import Mapping

NONE: Mapping[str, int] = {}


def allowed(
    sure: Mapping[str, int], known: Mapping[str, int], growth: float, standing: Mapping[str, int] = NONE
) -> dict[str, int]:
    """No label's share of all labelled posts becomes more than `growth` times what it is among those `known` from
    people and voters. What models have given already, and is `standing`, has used up some of that.

    Each limit depends on how many are settled in all, so the limits fall until none is broken any more. A label that
    nobody has given yet gets none: the model cannot know it. Where nothing is known, there is nothing to hold it to.
    """
    before = sum(known.values())
    if growth <= 0 or not before:
        return dict(sure)
    settled = dict(sure)
    while True:
        whole = before + sum(standing.values()) + sum(settled.values())
        limits = {
            label: max(0, int(growth * known.get(label, 0) / before * whole + 1e-9) - there(label, known, standing))
            for label in settled
        }
        lowered = {label: min(n, limits[label]) for label, n in settled.items()}
        if lowered == settled:
            return settled
        settled = lowered


def there(label: str, *counts: Mapping[str, int]) -> int:
    return sum(one.get(label, 0) for one in counts)
