"""`make soak`, small: each kind of process is killed, twice where time allows, on a whole site that is hard at work."""

import os
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent


def test_whatever_dies_nothing_is_lost_doubled_or_stuck(tmp_path):
    command = [sys.executable, "-m", "tests.faults.soak", "--small", "--minutes", "1.2", "--seed", "7"]
    with (tmp_path / "journal").open("w+") as journal:
        ended = subprocess.run(
            [*command, "--var", str(tmp_path)], cwd=ROOT, stdout=journal, stderr=subprocess.STDOUT, timeout=900,
            env={name: value for name, value in os.environ.items() if name not in {"DATABASE_URL", "TEST_DB"}},
        )  # fmt: skip
        journal.seek(0)
        told = journal.read()
    print(told[-6000:])
    assert ended.returncode == 0, told[-6000:]
    faults = re.search(r"(\d+) faults, (\d+) checks", told)
    assert faults
    assert int(faults[1]) >= 5
    assert int(faults[2]) >= 1
