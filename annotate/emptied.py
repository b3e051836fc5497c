"""When a project's review queue has become empty: noticed where its counts are folded, once a minute, so that no answer
of a reviewer costs anything more for it."""

from datetime import timedelta

from django.db import transaction
from django.utils import timezone

from .models import Event, Project, tally

EMPTY = "queue empty"
AT_MOST_EVERY = timedelta(minutes=10)  # while posts trickle in and are answered at once


def fold() -> None:
    """What became empty again so soon is told later, unless something waits by then."""
    with transaction.atomic():
        recent = Event.objects.filter(verb=EMPTY, at__gt=timezone.now() - AT_MOST_EVERY)
        told = list(recent.exclude(project=None).values_list("project", flat=True).distinct().order_by())
        for project in Project.objects.filter(pk__in=tally.fold(keep=told)):
            Event.record(EMPTY, project=project)
