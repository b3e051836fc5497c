"""What processes of the web server had counted before they ended."""

from collections import defaultdict
from pathlib import Path
from typing import Any

import psutil
from prometheus_client import mmap_dict, multiprocess

# Its package says nothing of types here.
MmapedDict: Any = mmap_dict.MmapedDict
forget_gauges: Any = multiprocess.mark_process_dead


def bury_the_dead(folder: Path) -> None:
    """What ended processes had counted is added up in one file, so that a server which replaces its workers for months
    reads no more of them than on its first day. What they held, as memory, ended with them."""
    for kind in ("counter", "histogram"):
        left = [path for path in folder.glob(f"{kind}_*.db") if is_of_the_dead(path)]
        if left:
            add_up(folder / f"{kind}_ended.db", left)
    for path in folder.glob("gauge_live*.db"):
        if is_of_the_dead(path):
            forget_gauges(process_of(path), str(folder))


def process_of(path: Path) -> int:
    told = path.stem.rpartition("_")[2]
    return int(told) if told.isdecimal() else 0


def is_of_the_dead(path: Path) -> bool:
    return bool(pid := process_of(path)) and not psutil.pid_exists(pid)


def add_up(total: Path, parts: list[Path]) -> None:
    """Written beside and put in place, so that a crash leaves either the parts or their sum."""
    sums: defaultdict[str, float] = defaultdict(float)
    for path in [*([total] if total.exists() else []), *parts]:
        for key, value, _, _ in MmapedDict.read_all_values_from_file(str(path)):
            sums[key] += value
    part = total.with_suffix(".part")
    part.unlink(missing_ok=True)
    written = MmapedDict(str(part))
    for key, value in sums.items():
        written.write_value(key, value, 0.0)
    written.close()
    part.replace(total)
    for path in parts:
        path.unlink(missing_ok=True)
