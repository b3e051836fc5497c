"""Who answers what: taken by one worker alone, for as long as its heart beats, and by another after that."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta

from django.db import connection, transaction
from django.db.models import Exists, Min, OuterRef, QuerySet
from django.db.models.functions import Now
from django_q.models import OrmQ
from django_q.tasks import async_task

from annotate.broker import fetched_within, waiting
from modeling.models import Answerer, Evaluation, JobState, Question, Reply, ReplyState, Run, RunState
from modeling.models.answering import LEASE

TASK, CLUSTER = "modeling.tasks.answer", "gpu"
MOST_TRIES = 3
GAVE_UP = (
    f"A worker took it {MOST_TRIES} times and died over it each time: look at its log. Perhaps the model is too large "
    "for that machine’s memory."
)
LOOK_AFTER = 2.0  # seconds that somebody waits before it is seen to again that anybody answers
LONG_DEAD = timedelta(minutes=5)


# --- Somebody is needed


def summon() -> None:
    """A worker of the gpu queue, unless one answers already, or is on its way."""
    if free().exists() and not Answerer.objects.alive().exists() and not is_on_its_way():
        async_task(TASK, task_name="answer questions", cluster=CLUSTER)


def is_on_its_way() -> bool:
    return any(task.func() == TASK for task in queued().filter(waiting()))


def others_wait(since: float) -> bool:
    """Whether anything else wants this worker. What was fetched from the queue since we began waits behind us, in the
    memory of the cluster."""
    behind = queued().filter(waiting() | fetched_within(since))
    return (
        any(task.func() != TASK for task in behind)
        or Run.objects.filter(state=RunState.QUEUED).exists()
        or Evaluation.objects.filter(state=JobState.QUEUED).exists()
    )


def queued() -> QuerySet[OrmQ]:
    found: QuerySet[OrmQ] = OrmQ.objects.filter(key=CLUSTER)
    return found


# --- A worker that answers


@contextmanager
def on_duty() -> Iterator[Answerer]:
    """What it holds when it goes is free again at once."""
    me = Answerer.objects.create()
    try:
        yield me
    finally:
        me.delete()


def beat(me: Answerer) -> None:
    Answerer.objects.filter(pk=me.pk).update(heartbeat=Now(), loaded=me.loaded)


def forget_dead() -> None:
    Answerer.objects.filter(heartbeat__lt=Now() - LONG_DEAD).delete()


def free() -> QuerySet[Reply]:
    held = Answerer.objects.alive().filter(pk=OuterRef("taken_by"))
    return Reply.objects.filter(~Exists(held), state=ReplyState.WAITING)


def runs_waiting() -> list[int]:
    """Whose question waits longest first."""
    waiting = free().order_by().values("run").annotate(first=Min("pk")).order_by("first")
    return [row["run"] for row in waiting]


CLAIM = """
UPDATE modeling_reply SET taken_by_id = %s, taken_at = statement_timestamp(), tries = tries + 1 WHERE id IN (
  SELECT reply.id FROM modeling_reply AS reply
  WHERE reply.state = 'waiting' AND reply.run_id = %s AND NOT EXISTS (
    SELECT FROM modeling_answerer AS other
    WHERE other.id = reply.taken_by_id AND other.heartbeat > statement_timestamp() - make_interval(secs => %s))
  ORDER BY reply.id LIMIT %s FOR UPDATE SKIP LOCKED)
RETURNING id
"""


def claim(me: Answerer, run: int, most: int) -> list[Reply]:
    """The oldest first. Whatever killed its worker again and again is not tried once more."""
    free().filter(run=run, tries__gte=MOST_TRIES).update(state=ReplyState.FAILED, error=GAVE_UP, ended=Now())
    with connection.cursor() as cursor:
        cursor.execute(CLAIM, [me.pk, run, LEASE.total_seconds(), most])
        taken = [pk for (pk,) in cursor.fetchall()]
    return list(Reply.objects.filter(pk__in=taken).select_related("question"))


def let_go(replies: Iterable[Reply]) -> None:
    held = [reply.pk for reply in replies]
    Reply.objects.filter(pk__in=held, state=ReplyState.WAITING).update(taken_by=None)


# --- Answered


def answered(reply: Reply, scores: Sequence[float]) -> None:
    end(reply, state=ReplyState.ANSWERED, scores=list(scores))


def failed(reply: Reply, error: str) -> None:
    end(reply, state=ReplyState.FAILED, error=error)


def end(reply: Reply, **told: object) -> None:
    """Only while it is ours. A program's picture goes with the last answer; a person may ask again."""
    with transaction.atomic():
        ours = Reply.objects.filter(pk=reply.pk, taken_by=reply.taken_by_id, state=ReplyState.WAITING)
        if ours.update(ended=Now(), **told):
            waits = Reply.objects.filter(question=OuterRef("pk"), state=ReplyState.WAITING)
            Question.objects.filter(~Exists(waits), pk=reply.question_id, by_page=False).update(picture=None)


def fail_all(run: int, error: str) -> None:
    """Of those that nobody has taken: the model cannot be asked here, so each would meet the same."""
    free().filter(run=run).update(state=ReplyState.FAILED, error=error, ended=Now())
