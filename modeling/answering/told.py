"""What a reply comes to: a label, how likely each is, and whether that is calibrated."""

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple
from uuid import UUID

import numpy as np

from annotate.models import Project
from modeling.evaluation.answers import label_names
from modeling.evaluation.posts import Bar
from modeling.evaluation.predictors import Predictor, short
from modeling.measures import calibration
from modeling.models import Evaluation, Question, Reply, ReplyState, Run, Sees


class Heat(NamedTuple):
    """By what a run's scores are divided, and the evaluation that found it; 1 where none has."""

    temperature: float
    evaluation: int | None


@dataclass(frozen=True)
class Told:
    reply: Reply
    heat: Heat
    css: dict[str, str]

    @property
    def run(self) -> Run:
        return self.reply.run

    @property
    def base(self) -> str:
        return short(self.run.config["model"])

    @cached_property
    def probabilities(self) -> dict[str, float] | None:
        """In the dataset's order of labels."""
        if self.reply.scores is None:
            return None
        chances = calibration.apply(np.array([self.reply.scores]), self.heat.temperature)[0].tolist()
        return dict(zip(label_names(self.run.dataset), chances, strict=True))

    @property
    def label(self) -> str | None:
        chances = self.probabilities
        return max(chances, key=chances.__getitem__) if chances else None

    @property
    def confidence(self) -> float | None:
        return max(self.probabilities.values()) if self.probabilities else None

    @property
    def bars(self) -> list[Bar]:
        """The likeliest first."""
        chances = sorted((self.probabilities or {}).items(), key=lambda one: -one[1])
        return [Bar(name, self.css.get(name, ""), chance) for name, chance in chances]

    @property
    def seconds(self) -> float | None:
        """From the question to the answer."""
        ended = self.reply.ended
        return round((ended - self.reply.question.asked).total_seconds(), 3) if ended else None

    @property
    def is_waiting(self) -> bool:
        return self.reply.state == ReplyState.WAITING

    @property
    def doing(self) -> str:
        """While it waits: where it stands."""
        worker = self.reply.taken_by
        if worker is None:
            return "waits for a worker"
        return "is being asked" if self.run.pk in worker.loaded else "loads its model"

    def as_json(self) -> dict[str, Any]:
        return {
            "id": self.reply.question.name or str(self.reply.question.batch), "state": self.reply.state,
            "label": self.label, "confidence": self.confidence, "probabilities": self.probabilities,
            "calibrated": self.heat.evaluation is not None, "run": self.run.pk, "seconds": self.seconds,
            "error": self.reply.error,
        }  # fmt: skip


def replies_to(batch: UUID, project: Project | None = None) -> list[Reply]:
    found = Reply.objects.filter(question__batch=batch, **({"question__project": project} if project else {}))
    related = ("question", "run", "run__dataset__project", "run__project", "taken_by")
    heavy = ("question__picture", "question__thumbnail", "run__receipt", "run__log", "run__dataset__composition",
             "run__dataset__told")  # fmt: skip
    return list(found.select_related(*related).defer(*heavy).order_by("question", "run"))


def told(replies: Iterable[Reply], css: dict[str, str] | None = None) -> list[Told]:
    listed = list(replies)
    heats = heats_of({reply.run_id for reply in listed})
    return [Told(reply, heats[reply.run_id], css or {}) for reply in listed]


def heats_of(runs: Collection[int]) -> dict[int, Heat]:
    """Of each one's latest evaluation in which it was asked as it is here: as it was trained, and shown all of a
    post."""
    asked_so = [Evaluation.key_of(Predictor("run", run=run).as_json(), Sees.BOTH) for run in runs]
    found = Evaluation.objects.done().filter(run__in=runs, key__in=asked_so, measured__temperature__gt=0)
    latest = found.order_by("run", "-pk").distinct("run").values_list("run", "measured__temperature", "pk")
    heats = {run: Heat(float(temperature), pk) for run, temperature, pk in latest}
    return {run: heats.get(run, Heat(1.0, None)) for run in runs}


def question_in(project: Project, batch: UUID) -> Question | None:
    """Of the playground: one question alone bears the name."""
    return project.questions.filter(batch=batch, by_page=True).defer("picture").first()
