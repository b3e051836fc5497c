"""A program that stands where the trainer would, where only the watching matters: it tells what it is told to tell."""

import sys
import textwrap
from pathlib import Path

BEGIN = """
import json, os, pathlib, signal, sys, time
folder = pathlib.Path(sys.argv[1])
def tell(kind, **told):
    with (folder / "progress.jsonl").open("a") as file:
        file.write(json.dumps({"kind": kind, "at": time.time(), **told}) + "\\n")
def step(n, of=4, **told):
    tell("step", step=n, of=of, **{"loss": 1 / n, "lr": 0.1 / n, "epoch": n / of, "memory": 2**30 + n, **told})
def evaluate(n, f1):
    tell("evaluation", step=n, macro_f1=f1, accuracy=f1, loss=1.0)
def wait_for(name):
    while not (folder / name).exists(): time.sleep(0.01)
"""


def program(folder: Path, script: str) -> list[str]:
    path = folder / "program.py"
    path.write_text(BEGIN + textwrap.dedent(script))
    return [sys.executable, str(path)]
