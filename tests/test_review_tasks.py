"""What happens every minute, so that nothing waits for somebody who is not there."""

from datetime import timedelta

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from annotate import deciding, tasks
from annotate.deciding import Given
from annotate.models import Disagreement, Membership, Post, Role
from annotate.models.review import Stream
from annotate.queue import Seat

from .make import make_label, make_member, make_post, make_project
from .test_queue import contested

pytestmark = pytest.mark.django_db


def known(project):
    return make_post(project, label="bullish", label_source="import", holdout=True, vote_count=2)


def checks(project):
    return Disagreement.objects.filter(project=project, stream=Stream.CHECK, closed=None).count()


def half_answered(project, user, times=1):
    posts = [contested(project) for _ in range(times)]
    waiting = Disagreement.objects.filter(post__in=posts)
    waiting.update(holder=user, wanted=2, held_until=timezone.now() + timedelta(minutes=1))
    seat = Seat(project, user, Role.REVIEWER)
    for pk in waiting.values_list("pk", flat=True):
        deciding.decide(seat, pk, Given(label=make_label(project, "bullish").pk), f"key {pk}")
    return posts


def queries(work):
    with CaptureQueriesContext(connection) as asked:
        work()
    return len(asked)


def test_posts_that_came_into_the_locked_test_set_are_slipped_in():
    project = make_project(check_rate=0.1)
    known(project)
    tasks.every_minute()
    assert checks(project) == 1
    known(project)
    tasks.every_minute()
    assert checks(project) == 2


def test_where_nobody_wants_them_they_are_not():
    project = make_project(check_rate=0)
    known(project)
    tasks.every_minute()
    assert checks(project) == 0


def test_planting_asks_one_thing_where_nothing_came():
    for _ in range(4):
        known(make_project(check_rate=0.1))
    tasks.plant_checks()
    assert queries(tasks.plant_checks) == 1


def test_when_the_second_person_leaves_the_first_answer_stands():
    project = make_project()
    first, second = make_member(project), make_member(project)
    (post,) = half_answered(project, first)
    tasks.every_minute()
    assert Post.objects.get(pk=post.pk).state == "contested"
    Membership.objects.filter(user=second).delete()
    tasks.every_minute()
    post.refresh_from_db()
    assert (post.state, post.label.name, post.label_source) == ("settled", "bullish", "review")


def test_when_the_only_lead_leaves_whoever_is_lead_next_may_decide():
    project = make_project()
    contested(project)
    lead, party = make_member(project, Role.LEAD), make_member(project)
    Disagreement.objects.update(stream=Stream.CONFLICT, answers=2, passed=[party.pk])
    tasks.every_minute()
    assert Disagreement.objects.get().passed == [party.pk]
    Membership.objects.filter(user=lead).delete()
    tasks.every_minute()
    assert Disagreement.objects.get().passed == []


def test_many_that_wait_for_a_second_person_cost_what_one_does():
    project = make_project()
    first, _ = make_member(project), make_member(project)
    half_answered(project, first)
    few = queries(tasks.let_stand)
    half_answered(project, first, times=5)
    assert queries(tasks.let_stand) == few
    assert not Disagreement.objects.filter(closed__isnull=False).exists()
