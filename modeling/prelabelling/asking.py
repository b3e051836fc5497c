"""Ask the model: first about the validation split, by which it is calibrated, then about posts without a label. Its
answers become votes while it goes on."""

import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any

import numpy as np

from annotate import model_labels
from annotate.model_labels import Said
from annotate.models import Voter
from modeling.cascade import answering as cascaded
from modeling.cascade import asking as cascading
from modeling.cascade.stages import Lacking
from modeling.child import Told, child, ended, looks
from modeling.datasets.items import items
from modeling.datasets.renamed import was_called
from modeling.measures import calibration
from modeling.models import PreLabelling, Split

from . import feeding
from .feeding import Answer, Answers, Asked, Feed

COMMAND = [sys.executable, "-m", "modeling.gpu.predict"]
LOG = "log.txt"
LOOK_EVERY = 0.5  # seconds
PATIENCE = 30.0  # seconds that a process asked to stop may take to end the batch that it is at
DIGITS = 6
Beat = Callable[[], None]


def ask(prelabelling: PreLabelling, beat: Beat) -> tuple[str, str]:
    """How the process ended, and why. `beat` is called every now and then; it raises where we are to stop at once."""
    folder = feeding.prepare(prelabelling)
    hearing = Cascaded(prelabelling) if prelabelling.cascade else Hearing(prelabelling)
    feed = Feed.of(prelabelling, folder, hearing.sift)
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
        self.names = [label["name"] for label in dataset.facts["labels"]]
        self.labels = [name if (name := now.get(was, was)) in there else "" for was in self.names]
        number = {name: n for n, name in enumerate(self.names)}
        is_known = prelabelling.validation or prelabelling.cascade
        validation = [] if is_known else items(dataset, [Split.VALIDATION])
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
            self.cast({one.number: row for one, row in zip(posts, self.chances_of(posts), strict=True)})

    def cast(self, chances: Mapping[int, Any]) -> None:
        said = [self.said(post, row) for post, row in chances.items()]
        self.prelabelling.done += model_labels.cast(self.voter, said)

    def chances_of(self, posts: Sequence[Answer]) -> Any:
        return self.chances([one.scores for one in posts])

    @property
    def voter(self) -> Voter:
        return self.prelabelling.voter

    def sift(self, asked: list[Asked]) -> list[Asked]:
        """A model by itself is asked about all."""
        return asked

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


class Cascaded(Hearing):
    """A first stage has voted: what it is sure of needs no model, and of the rest the model is asked about its
    likeliest labels alone. Both were weighed against each other on the validation split when the cascade was fitted."""

    def __init__(self, prelabelling: PreLabelling) -> None:
        super().__init__(prelabelling)
        assert prelabelling.cascade
        self.cascade, self.first = prelabelling.cascade, dict[int, cascading.Chances]()
        cascading.check_voter(self.cascade, prelabelling.voter)
        prelabelling.temperature = self.cascade.temperature
        if not prelabelling.validation:
            with suppress(Lacking):  # answers that it was fitted on are gone: then nothing is known of the threshold
                prelabelling.validation = list(self.checked())

    def checked(self) -> Iterator[list[Any]]:
        """What the cascade says of the validation split, from what both stages have said of it."""
        dataset, named = self.cascade.dataset, dict(zip(self.names, self.labels, strict=True))
        truth = {item.position: item.label for item in items(dataset, [Split.VALIDATION])}
        rows, _ = cascaded.answers(self.cascade, dataset, Split.VALIDATION, lambda _: None)
        for position, label, logs in rows:
            chance = round(float(np.exp(max(logs))), DIGITS)
            yield [named.get(label, ""), chance, label == truth.get(position)]

    def sift(self, asked: list[Asked]) -> list[Asked]:
        sure, unsure = cascading.split(self.cascade, [one.number for one in asked])
        if sure:
            self.cast({post: self.row(chances) for post, chances in sure.items()})
        self.first |= dict(cascading.first_said(self.cascade, list(unsure)))
        return [one._replace(candidates=tuple(unsure[one.number])) for one in asked if one.number in unsure]

    def chances_of(self, posts: Sequence[Answer]) -> Any:
        return [self.row(self.blended(one)) for one in posts]

    def blended(self, one: Answer) -> cascading.Chances:
        scores = dict(zip(self.names, one.scores, strict=True))
        return cascading.blend(self.cascade, self.first.pop(one.number, {}), scores)

    def row(self, chances: Mapping[str, float]) -> Any:
        return np.array([chances.get(name, 0.0) for name in self.names])
