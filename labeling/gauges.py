"""What Prometheus is told of voting runs."""

from collections.abc import Iterator

from django.db.models import Sum
from prometheus_client.metrics_core import Metric

from annotate.operating.figures import by_state, one

from .models import Part, RunState, VotingRun


def figures() -> Iterator[Metric]:
    runs = VotingRun.objects.all()
    yield by_state("casting_vote_voting_runs", "Voting runs.", runs, RunState.values)
    yield one("casting_vote_voting_runs_silent", "Running, and not heard of for too long.", runs.silent().count())
    spent = Part.objects.aggregate(spent=Sum("cost"))["spent"] or 0
    gone = runs.aggregate(gone=Sum("written_off"))["gone"] or 0
    yield one("casting_vote_voting_spent_dollars", "What all voting runs have spent.", float(spent))
    yield one(
        "casting_vote_voting_written_off_dollars", "Granted to workers that died, and counted as spent.", float(gone)
    )
