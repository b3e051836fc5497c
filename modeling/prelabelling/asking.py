"""Ask the model: first about the validation split, by which it is calibrated, then about posts without a label. Its
answers become votes while it goes on."""

import subprocess
import sys
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from annotate import model_labels
from annotate.model_labels import Said
from modeling.child import Told, child, ended, looks
from modeling.datasets.items import items
from modeling.datasets.renamed import was_called
from modeling.measures import calibration
from modeling.models import PreLabelling, Split

from . import feeding
from .feeding import Answer, Answers, Feed

COMMAND = [sys.executable, "-m", "modeling.gpu.predict"]
LOG = "log.txt"
LOOK_EVERY = 0.5  # seconds
PATIENCE = 30.0  # seconds that a process asked to stop may take to end the batch that it is at
DIGITS = 6
Beat = Callable[[], None]


def ask(prelabelling: PreLabelling, beat: Beat) -> tuple[str, str]:
    """How the process ended, and why. `beat` is called every now and then; it raises where we are to stop at once."""
    folder = feeding.prepare(prelabelling)
    feed, hearing = Feed.of(prelabelling, folder), Hearing(prelabelling)
    feed.fill()
    with (folder / LOG).open("ab") as log, child([*COMMAND, str(folder)], log) as process:
        return watch(prelabelling, feed, hearing, process, beat)


def watch(
    prelabelling: PreLabelling, feed: Feed, hearing: "Hearing", process: "subprocess.Popen[bytes]", beat: Beat
) -> tuple[str, str]:
    said, answers = Told(feed.folder), Answers(feed.folder)
    for _ in looks(process, feed.folder, lambda: prelabelling.stop_asked, LOOK_EVERY, PATIENCE):
        fresh = list(answers.fresh())
        hearing.hear(fresh)
        feed.answered({answer.number for answer in fresh})
        feed.fill()
        for line in said.fresh():
            heed(prelabelling, line)
        beat()
    return ended(said, process.returncode)


def heed(prelabelling: PreLabelling, line: dict[str, Any]) -> None:
    if line["kind"] == "state":
        prelabelling.doing = line.get("doing", "")
    elif line["kind"] == "asked":
        prelabelling.used = prelabelling.used | {"rate": line["rate"], "memory": line["memory"]}
    elif line["kind"] == "done":
        seconds = prelabelling.used.get("seconds", 0) + line["seconds"]
        prelabelling.used = prelabelling.used | line["used"] | {"seconds": round(seconds, 2)}


class Hearing:
    """Log-probabilities in, votes out; and, once all of the validation split is answered, the temperature."""

    def __init__(self, prelabelling: PreLabelling) -> None:
        self.prelabelling, dataset = prelabelling, prelabelling.run.dataset
        now = {was: name for name, was in was_called(dataset).items()}
        there = set(prelabelling.project.labels.values_list("name", flat=True))
        known = [label["name"] for label in dataset.facts["labels"]]
        self.labels = [name if (name := now.get(was, was)) in there else "" for was in known]
        number = {name: n for n, name in enumerate(known)}
        validation = [] if prelabelling.validation else items(dataset, [Split.VALIDATION])
        self.truth = {-item.position: number[item.label] for item in validation if item.label in number}
        self.known: dict[int, list[float]] = {}
        self.is_calibrated = not self.truth

    def hear(self, answers: Sequence[Answer]) -> None:
        """All of the validation split is asked about, and so answered, before any other post."""
        self.known |= {one.number: one.scores for one in answers if one.number in self.truth}
        if not self.is_calibrated and len(self.known) == len(self.truth):
            self.calibrate()
        posts = [one for one in answers if one.number > 0]
        if posts:
            chances = self.chances([one.scores for one in posts])
            said = [self.said(one.number, row) for one, row in zip(posts, chances, strict=True)]
            self.prelabelling.done += model_labels.cast(self.voter, said)

    @property
    def voter(self) -> Any:
        return self.prelabelling.voter

    def calibrate(self) -> None:
        numbers = sorted(self.truth, reverse=True)
        scores = np.array([self.known[number] for number in numbers])
        truth = np.array([self.truth[number] for number in numbers])
        self.prelabelling.temperature = calibration.temperature(scores, truth)
        told = self.chances(scores.tolist())
        first = told.argmax(axis=1)
        self.prelabelling.validation = [
            [self.labels[one], round(float(row[one]), DIGITS), bool(one == right)]
            for one, row, right in zip(first, told, truth, strict=True)
        ]
        self.is_calibrated = True

    def chances(self, scores: Sequence[Sequence[float]]) -> Any:
        return calibration.apply(np.array(scores), self.prelabelling.temperature or 1.0)

    def said(self, post: int, chances: Any) -> Said:
        first = int(chances.argmax())
        told = {name: round(float(p), DIGITS) for name, p in zip(self.labels, chances, strict=True) if name}
        return Said(post, self.labels[first], round(float(chances[first]), DIGITS), told)
