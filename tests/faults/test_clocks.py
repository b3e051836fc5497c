"""Clocks that differ, and clocks that jump: who is alive is told by the database's clock alone, and by no other's."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from unittest import mock

import pytest
from django.utils import timezone
from django_q.models import OrmQ, Schedule
from django_q.tasks import async_task

from annotate import broker, deciding, first_start, queue, tasks
from annotate.deciding import Given
from annotate.models import Disagreement, ImportRun, LabelStudioRun, Project
from annotate.models.label_studio import Way
from annotate.operating import measuring, upkeep
from labeling.models import Asked, VotingRun
from labeling.providers.waiting import asked_to_wait
from modeling.models import Cascade, Dataset, Evaluation, PreLabelling, Run
from tests.freezing import freeze, make_settled
from tests.make import make_project
from tests.test_queue import contested, seat

pytestmark = pytest.mark.django_db

DAY, HOUR = timedelta(days=1), timedelta(hours=1)
JUMPS = [pytest.param(-HOUR, id="an hour behind"), pytest.param(DAY, id="a day ahead")]


def by_a_clock(that_is: timedelta) -> Any:
    """This machine's clock, as another machine has it, or as it is after a jump."""
    real = timezone.now
    return mock.patch.object(timezone, "now", side_effect=lambda: real() + that_is)


# --- Whoever is at work


def rows() -> list[tuple[str, Callable[[Project, Dataset], Any]]]:
    def run(project: Project, dataset: Dataset) -> Run:
        return Run.objects.create(project=project, dataset=dataset, config={"model": "tiny"})

    return [
        ("import", lambda project, _: ImportRun.objects.create(project=project, name="a", path="a", state="queued")),
        ("label studio", lambda project, _: LabelStudioRun.objects.create(project=project, way=Way.PUSH)),
        ("voting", lambda project, _: VotingRun.objects.create(project=project)),
        ("dataset", lambda project, _: Dataset.objects.create(project=project, name="next")),
        ("training", run),
        ("evaluation", lambda project, dataset: Evaluation.objects.create(
            project=project, dataset=dataset, split="test", predictor={"kind": "consensus"}, name="c", key="c")),
        ("cascade", lambda project, dataset: Cascade.objects.create(
            project=project, dataset=dataset, name="c", k=2, voter=project.voters.first(),
            second=run(project, dataset))),
        ("pre-labelling", lambda project, dataset: PreLabelling.objects.create(
            project=project, run=run(project, dataset), voter=project.voters.first())),
    ]  # fmt: skip


@pytest.fixture
def made(request):
    project = make_settled()
    return request.param(project, freeze(project))


EACH = pytest.mark.parametrize("made", [pytest.param(make, id=name) for name, make in rows()], indirect=True)


def claimable(one: Any) -> bool:
    return type(one)._default_manager.claimable().filter(pk=one.pk).exists()


@EACH
@pytest.mark.parametrize("jump", JUMPS)
def test_whoever_claims_by_any_clock_has_it_alone_and_a_dead_one_loses_it(made, jump):
    with by_a_clock(jump):
        assert made.claim()
    assert not claimable(made), "another machine took it for dead at once"
    assert not type(made)._default_manager.get(pk=made.pk).claim()
    with by_a_clock(-jump):
        assert not claimable(made)
        assert not type(made)._default_manager.get(pk=made.pk).claim()
    type(made)._default_manager.update(heartbeat=timezone.now() - timedelta(minutes=2))
    with by_a_clock(jump):
        assert claimable(made), "its worker is dead, and nobody takes it up"


@EACH
def test_after_the_databases_clock_was_put_back_a_dead_worker_is_not_waited_for(made):
    """What was heard an hour from now was heard before that; a worker that lives is heard again in seconds."""
    assert made.claim()
    type(made)._default_manager.update(heartbeat=timezone.now() + HOUR)
    assert claimable(made)
    assert getattr(type(made)._default_manager.get(pk=made.pk), "is_silent", True)


@EACH
def test_after_it_was_put_forward_two_never_both_have_it(made):
    """All look dead for a moment. Whoever takes it over has it, and the first one finds out before it writes."""
    assert made.claim()
    type(made)._default_manager.update(heartbeat=timezone.now() - DAY)
    again = type(made)._default_manager.get(pk=made.pk)
    assert again.claim()
    token = "claim_number" if hasattr(made, "claim_number") else "started"
    assert getattr(made, token) != getattr(again, token)


@pytest.mark.parametrize("jump", JUMPS)
def test_a_voting_run_at_work_elsewhere_is_asked_to_pause_and_not_taken_for_dead(jump):
    run = VotingRun.objects.create(project=make_project())
    assert run.claim()
    with by_a_clock(jump):
        assert run.ask_for(Asked.PAUSE)
    run.refresh_from_db()
    assert (run.state, run.asked) == ("running", "pause")


def test_a_look_at_a_provider_is_due_though_the_clock_was_put_back():
    run = VotingRun.objects.create(project=make_project(), state="running", waits_until=timezone.now() + HOUR)
    assert claimable(run)


# --- Whoever reviews


@pytest.mark.parametrize("jump", JUMPS)
def test_a_post_on_somebodys_screen_is_theirs_by_any_clock(jump):
    project = make_project()
    one, other = seat(project), seat(project)
    contested(project)
    pk = queue.claim(one)
    with by_a_clock(jump):
        assert queue.claim(other) is None
        queue.step_out(one, [pk])
    held = Disagreement.objects.get().held_until
    assert timezone.now() < held < timezone.now() + timedelta(minutes=1)
    with by_a_clock(jump):
        deciding.decide(one, pk, Given(label=project.labels.first().pk), "a key")
        deciding.undo(one, pk)
    held = Disagreement.objects.get().held_until
    assert timezone.now() < held < timezone.now() + timedelta(minutes=6)


def test_a_post_that_was_taken_before_the_clock_was_put_back_waits_for_nobody():
    project = make_project()
    one, other = seat(project), seat(project)
    contested(project)
    pk = queue.claim(one)
    Disagreement.objects.update(held_until=timezone.now() + HOUR)
    assert queue.claim(other) == pk


# --- Tasks


@pytest.fixture
def short():
    return broker.Broker("short")


@pytest.mark.parametrize("jump", JUMPS)
def test_a_task_is_delivered_at_once_and_once_by_any_clock(short, jump):
    with by_a_clock(jump):
        async_task("annotate.tasks.forget_drafts", task_name="one")
    with by_a_clock(-jump):
        assert len(short.fetch()) == 1
    with by_a_clock(jump):
        assert short.fetch() == []
        assert broker.redeliver() == 0


def test_one_that_was_asked_for_before_the_clock_was_put_back_is_not_waited_for(short):
    async_task("annotate.tasks.forget_drafts", task_name="one")
    OrmQ.objects.update(lock=timezone.now() + HOUR)
    assert len(short.fetch()) == 1


@pytest.mark.parametrize("ago", [timedelta(minutes=6), DAY, -HOUR])
def test_one_whose_worker_died_with_it_is_delivered_again(short, ago):
    """Also where it was fetched an hour from now, which was before the clock was put back."""
    upkeep.claim(measuring.SHARED)  # or the minute's sweep would ask for it
    async_task("annotate.tasks.forget_drafts", task_name="one")
    assert len(short.fetch()) == 1
    tasks.every_minute()
    assert short.fetch() == []
    OrmQ.objects.update(lock=timezone.now() + broker.FETCHED - ago)
    tasks.every_minute()
    assert len(short.fetch()) == 1


def test_what_is_done_every_minute_is_not_put_off_until_tomorrow(short):
    """By a clock that was a day ahead, for a moment, when it was done last."""
    for func in first_start.SWEEPS:
        Schedule.objects.update_or_create(
            name=func, defaults={"func": func, "schedule_type": "I", "minutes": 1, "next_run": timezone.now() + DAY}
        )
    short.mind_the_sweeps()
    assert not Schedule.objects.filter(next_run__gt=timezone.now() + timedelta(minutes=1)).exists()


# --- Providers


def test_an_hour_that_a_provider_names_is_read_by_its_own_clock():
    there = datetime(2031, 5, 1, 12, 0, tzinfo=UTC)
    headers = {"date": "Thu, 01 May 2031 12:00:00 GMT", "retry-after": "Thu, 01 May 2031 12:00:07 GMT"}
    assert there.year != timezone.now().year
    assert asked_to_wait(headers) == 7
