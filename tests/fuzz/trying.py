"""One way to try a door for both: `make test` tries each a little and always alike, `make fuzz` long and anew."""

import os
from collections.abc import Callable
from typing import Any

from hypothesis import HealthCheck, Phase, given, seed, settings

from .doors import Door

CASES = int(os.environ.get("FUZZ_CASES") or 0)  # in all; 0: the quick selection
SEED = os.environ.get("FUZZ_SEED", "")


def cases_of(door: Door, shares: float) -> int:
    return max(1, round(CASES * door.share / shares if CASES else door.quick * door.share))


def attempts(door: Door, shares: float, record: Callable[[str, object], None]) -> None:
    """With the smallest input that shows it, where something is found."""
    tried = 0

    @settings(
        max_examples=cases_of(door, shares),
        derandomize=not CASES,
        database=None,
        deadline=None,
        print_blob=False,
        suppress_health_check=list(HealthCheck),
        phases=[Phase.generate, Phase.shrink],
        report_multiple_bugs=True,
    )
    @given(door.cases())
    def attempt(case: Any) -> None:
        nonlocal tried
        tried += 1
        try:
            door.attempt(case)
        except Exception as error:
            error.add_note(f"{door.name}: {case!r}"[:3000])
            raise

    found = 0
    try:
        (seed(int(SEED))(attempt) if SEED and CASES else attempt)()
    except BaseException as error:
        found = len(error.exceptions) if isinstance(error, BaseExceptionGroup) else 1
        raise
    finally:
        for name, value in (("door", door.name), ("tried", tried), ("found", found)):
            record(name, value)
