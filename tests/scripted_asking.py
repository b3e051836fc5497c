"""A program that stands where a model would be asked, where only what is done with its answers matters: it tells the
label by a post's words, as sure as the post says (`sure=0.97`), and takes posts at once or in portions as the real one
does. `HOLD` in the folder keeps it from answering more."""

import sys
from pathlib import Path

PROGRAM = """
import json, math, pathlib, sys, time
folder = pathlib.Path(sys.argv[1])
names = [label["name"] for label in json.loads((folder / "labels.json").read_text())]
WORDS = {"bearish": "rug", "neutral": "fees", "bullish": "moon"}
def tell(kind, **told):
    with (folder / "progress.jsonl").open("a") as file:
        file.write(json.dumps({"kind": kind, "at": time.time(), **told}) + "\\n")
def answer(post):
    words = post["user"].split()
    sure = next((float(word[5:]) for word in words if word.startswith("sure=")), 0.9)
    first = next((n for n, name in enumerate(names) if WORDS.get(name, name) in words), 0)
    rest = (1 - sure) / (len(names) - 1)
    return [math.log(sure if n == first else rest) for n in range(len(names))]
def portions():
    at_once = folder / "posts" / "asked.jsonl"
    if at_once.exists():
        yield at_once
        return
    number = 1
    while True:
        path = folder / "posts" / f"asked-{number:06}.jsonl"
        while not path.exists():
            if (folder / "posts" / "end").exists() or (folder / "stop").exists(): return
            time.sleep(0.01)
        yield path
        number += 1
done = 0
tell("state", doing="asking", done=0, of=0)
with (folder / "predictions.jsonl").open("a") as file:
    for path in portions():
        for line in path.read_text().splitlines():
            if (folder / "stop").exists(): break
            post = json.loads(line)
            assert not post["image"] or (folder / post["image"]).exists(), post["image"]
            file.write(json.dumps({"number": post["number"], "scores": answer(post)}) + "\\n")
            file.flush()
            done += 1
            WAIT
        tell("asked", done=done, of=0, rate=1.0, memory=None)
if (folder / "stop").exists():
    tell("stopped", done=done)
else:
    tell("done", done=done, used={"device": "CPU"}, seconds=1.0, asked=done, memory=None)
"""


def program(folder: Path, wait: str = "pass") -> list[str]:
    """`wait` is done after each answer."""
    path = folder / "asked_by_words.py"
    path.write_text(PROGRAM.replace("WAIT", wait))
    return [sys.executable, str(path)]
