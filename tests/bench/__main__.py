"""`make bench`: every benchmark in turn, each in a process of its own."""

import subprocess
import sys
from pathlib import Path

NOT_A_BENCHMARK = {"__init__", "__main__", "ground", "bare_queue", "queue_ground", "gpu_child"}
BY_NAME_ALONE = {"gpu_train"}  # it wants a card, and takes it for nine minutes

names = sys.argv[1:] or sorted(
    {path.stem for path in Path(__file__).parent.glob("*.py")} - NOT_A_BENCHMARK - BY_NAME_ALONE
)
failed = []
for name in names:
    print(f"\n## {name}", flush=True)
    if subprocess.run([sys.executable, "-m", f"tests.bench.{name}"]).returncode:
        failed.append(name)
if failed:
    sys.exit(f"Did not finish: {', '.join(failed)}")
