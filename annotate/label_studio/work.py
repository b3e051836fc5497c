"""A run while it is at work: it says that it lives, how far it is, and stops when asked to."""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

from django.db.models import QuerySet
from django.db.models.functions import Now

from annotate.models import LabelStudioRun
from annotate.models.label_studio import LabelStudioState

from .server import Server


class Stopped(Exception):
    """Somebody asked for it."""


class LostClaim(Exception):
    """Another worker took this run over while we were silent."""


@dataclass
class Work:
    run: LabelStudioRun
    server: Server
    tell: Callable[[LabelStudioRun], None] | None = None
    counts: Counter[str] = field(default_factory=Counter)

    def step(self, done: int, total: int | None = None) -> None:
        """So many more are done. Raises where it is time to stop."""
        self.run.done += done
        self.run.total = self.run.total if total is None else total
        kept = still_ours(self.run).update(
            heartbeat=Now(), done=self.run.done, total=self.run.total, counts=dict(self.counts)
        )
        if not kept:
            raise LostClaim
        if self.tell:
            self.tell(self.run)
        self.run.refresh_from_db(fields=["stop_asked"])
        if self.run.stop_asked:
            raise Stopped


def still_ours(run: LabelStudioRun) -> QuerySet[LabelStudioRun]:
    return LabelStudioRun.objects.filter(pk=run.pk, started=run.started, state=LabelStudioState.RUNNING)
