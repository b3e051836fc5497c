"""`make soak`, small: each kind of process is killed, twice where time allows, on a whole site that is hard at work."""

import os
import re
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
PATIENCE = 1200  # seconds; every wait in it has an end of its own, and all of them together come to less
TO_SAY_WHERE, TO_END = 5, 90


def test_whatever_dies_nothing_is_lost_doubled_or_stuck(tmp_path):
    command = [sys.executable, "-m", "tests.faults.soak", "--small", "--minutes", "1.2", "--seed", "7"]
    with (tmp_path / "journal").open("w+") as journal:
        soak = subprocess.Popen(
            [*command, "--var", str(tmp_path)], cwd=ROOT, stdout=journal, stderr=subprocess.STDOUT,
            env={name: value for name, value in os.environ.items() if name not in {"DATABASE_URL", "TEST_DB"}},
        )  # fmt: skip
        ended = code_of(soak)
        journal.seek(0)
        told = journal.read()
    print(told[-12000:])
    assert ended == 0, told[-12000:]
    faults = re.search(r"(\d+) faults, (\d+) checks", told)
    assert faults
    assert int(faults[1]) >= 5
    assert int(faults[2]) >= 1


def code_of(soak: subprocess.Popen[bytes]) -> int | None:
    """None where it hung: it says where, and ends its site, as it does after Ctrl-C."""
    with suppress(subprocess.TimeoutExpired):
        return soak.wait(PATIENCE)
    for last, patience in ((signal.SIGUSR1, TO_SAY_WHERE), (signal.SIGINT, TO_END), (signal.SIGKILL, TO_END)):
        soak.send_signal(last)
        with suppress(subprocess.TimeoutExpired):
            soak.wait(patience)
    return None
