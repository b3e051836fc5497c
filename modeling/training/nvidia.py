"""What uses the NVIDIA cards of this machine, as their own program tells it."""

import shutil
import subprocess
from dataclasses import dataclass, field
from pathlib import Path

PATIENCE = 5  # seconds
OF_CARDS = ["--query-gpu=uuid,name,memory.used,memory.total,utilization.gpu", "--format=csv,noheader,nounits"]
OF_PROCESSES = ["--query-compute-apps=gpu_uuid,pid,process_name,used_memory", "--format=csv,noheader,nounits"]
MIB = 1024 * 1024


@dataclass(frozen=True)
class Process:
    pid: int
    name: str
    memory: int | None  # bytes
    is_ours: bool


@dataclass
class CardInUse:
    name: str
    used: int | None
    total: int | None
    busy: int | None  # per cent
    processes: list[Process] = field(default_factory=list)


class Silent(Exception):
    """The driver does not answer."""


def cards(folder: Path) -> list[CardInUse]:
    """None at all where this machine has none. A process that works in this folder is the run's own."""
    if shutil.which("nvidia-smi") is None:
        return []
    told = asked(OF_CARDS, 5)
    found = {uuid: CardInUse(name, mib(used), mib(total), whole(busy)) for uuid, name, used, total, busy in told}
    for uuid, pid, name, memory in asked(OF_PROCESSES, 4):
        if uuid in found and (number := whole(pid)) is not None:
            found[uuid].processes.append(Process(number, Path(name).name, mib(memory), works_in(number, folder)))
    return list(found.values())


def asked(question: list[str], columns: int) -> list[list[str]]:
    command = ["nvidia-smi", *question]  # wherever the driver has put it
    try:
        ran = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, check=True)
    except (OSError, subprocess.SubprocessError) as error:
        raise Silent from error
    rows = ([part.strip() for part in line.split(",")] for line in ran.stdout.splitlines())
    return [row for row in rows if len(row) == columns]


def whole(told: str) -> int | None:
    """Some of it no card knows of itself: [N/A]."""
    return int(told) if told.isdecimal() else None


def mib(told: str) -> int | None:
    number = whole(told)
    return None if number is None else number * MIB


def works_in(pid: int, folder: Path) -> bool:
    try:
        return str(folder).encode() in Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except OSError:
        return False
