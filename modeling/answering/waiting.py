"""Why nobody has answered yet, in words for whoever waits."""

from collections.abc import Sequence
from typing import NamedTuple

from django.conf import settings
from django.utils import timezone

from modeling.models import Answerer, Question, Run, RunState

from .questions import PATIENCE
from .told import Told


class Waits(NamedTuple):
    """Worth a word: nobody has taken it, and it has waited long."""

    runs_at_work: list[Run]
    has_queue_here: bool


def told(question: Question, said: Sequence[Told]) -> Waits | None:
    untaken = [one for one in said if one.is_waiting and one.reply.taken_by is None]
    waited = (timezone.now() - question.asked).total_seconds()
    if not untaken or waited < PATIENCE or Answerer.objects.alive().exists():
        return None
    at_work = Run.objects.filter(state=RunState.RUNNING, project=question.project_id)
    return Waits([run for run in at_work if not run.is_silent], settings.GPU_QUEUE)
