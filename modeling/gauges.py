"""What Prometheus is told of runs that train, evaluate and pre-label, and of the cards they work on."""

from collections.abc import Iterator
from typing import Any

from prometheus_client.metrics_core import Metric

from annotate.heartbeat import unheard
from annotate.models.importing import SILENCE
from annotate.operating.figures import by, by_state, one

from .models import Answerer, Evaluation, JobState, PreLabelling, Run, RunState

KINDS: dict[str, tuple[Any, list[str]]] = {
    "training_runs": (Run, RunState.values),
    "evaluations": (Evaluation, JobState.values),
    "prelabellings": (PreLabelling, JobState.values),
}
# What a step of training tells of its card, by the name it bears there.
OF_A_STEP = {
    "memory": ("casting_vote_gpu_memory_bytes", "The most that training has held of its card (or machine) so far."),
    "samples_per_second": ("casting_vote_training_posts_per_second", "Posts that training learns from in a second."),
    "loss": ("casting_vote_training_loss", "Its loss, as last told."),
}


def figures() -> Iterator[Metric]:
    for name, (model, states) in KINDS.items():
        words = name.replace("_", " ").capitalize()
        yield by_state(f"casting_vote_{name}", f"{words}.", model.objects.all(), states)
        silent = model.objects.filter(unheard(SILENCE), state="running").count()
        yield one(f"casting_vote_{name}_silent", f"{words} whose worker has not been heard of for a minute.", silent)
    yield from training()
    answering = Answerer.objects.alive().count()
    yield one("casting_vote_answerers", "Workers that answer questions to models now.", answering)


def training() -> Iterator[Metric]:
    """By machine: a card trains one run at a time, and runs come and go."""
    at_work = Run.objects.filter(state=RunState.RUNNING).exclude(unheard(SILENCE))
    told = list(at_work.values_list("machine", "latest", "step", "steps"))
    for key, (name, says) in OF_A_STEP.items():
        figures = {machine: latest[key] for machine, latest, *_ in told if latest.get(key) is not None}
        yield by(name, says, "machine", figures)
    share = {machine: step / steps for machine, _, step, steps in told if steps}
    yield by("casting_vote_training_done_ratio", "How far it is, of 1.", "machine", share)
