"""Pure: how many labels a model may give of each kind, so that its favourite does not swamp the others."""

from collections.abc import Mapping


def allowed(sure: Mapping[str, int], known: Mapping[str, int], growth: float) -> dict[str, int]:
    """No label's share of all labelled posts becomes more than `growth` times what it was among those `known` before.

    Each limit depends on how many are settled in all, so the limits fall until none is broken any more. A label that
    nobody has given yet gets none: the model cannot know it. Where nothing is known, there is nothing to hold it to.
    """
    before = sum(known.values())
    if growth <= 0 or not before:
        return dict(sure)
    settled = dict(sure)
    while True:
        whole = before + sum(settled.values())
        limits = {
            label: max(0, int(growth * known.get(label, 0) / before * whole + 1e-9) - known.get(label, 0))
            for label in settled
        }
        lowered = {label: min(n, limits[label]) for label, n in settled.items()}
        if lowered == settled:
            return settled
        settled = lowered
