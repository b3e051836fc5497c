"""Labels of a frozen dataset that look wrong to a model which had not seen them. A task finds them, never a request.

The locked test set takes no part: nothing may learn from it, so nothing here has anything to say of it. Whoever doubts
one of its labels sends that post back by itself; see annotate/doubting.py.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from typing import NamedTuple

from django.db import transaction
from django.db.models import QuerySet
from django.db.models.functions import Now
from django.utils import timezone
from django_q.tasks import async_task

from annotate.heartbeat import heartbeat
from annotate.models import User
from modeling import words
from modeling.datasets.items import TO_TRAIN_WITH
from modeling.measures import baselines
from modeling.measures.baselines import OutOfFold, Probabilities
from modeling.models import Dataset, Doubt, DoubtSearch, DoubtState

from . import confident

TEXT = "a model of the words alone"
REPEATS = 3
MANY = 20_000  # posts; of more, one round of folds is enough
MOST = 20_000  # doubts that are kept, the likeliest
Progress = Callable[[DoubtSearch], None]


class Stopped(Exception):
    """Somebody stopped it while we looked."""


class Known(NamedTuple):
    """What the dataset says of a post."""

    item: int
    text: str
    label: str
    kin: int
    position: int


def known_in(dataset: Dataset) -> list[Known]:
    found = dataset.items.filter(split__in=TO_TRAIN_WITH, removed=None).order_by("position")
    return [Known(*row) for row in found.values_list("pk", "text", "label", "kin", "position").iterator()]


def latest(dataset: Dataset) -> DoubtSearch | None:
    return dataset.doubt_searches.select_related("by", "dataset__project").first()


def ask(dataset: Dataset, by: User | None, queue: bool = True) -> DoubtSearch:
    """Whoever asks while it is being looked for gets the same search. By command it is carried out there and then."""
    with transaction.atomic():
        Dataset.objects.select_for_update(no_key=True).get(pk=dataset.pk)
        last = latest(dataset)
        if last and last.is_searching and not last.is_silent:
            return last
        dataset.doubt_searches.exclude(state=DoubtState.READY).delete()
        search = DoubtSearch.objects.create(dataset=dataset, by=by, source=TEXT)
        if queue:
            async_task("modeling.tasks.find_doubts", search.pk, task_name=f"doubts {search.pk}")
    return search


def stop(dataset: Dataset) -> bool:
    """What was found before comes back into sight."""
    gone, _ = dataset.doubt_searches.exclude(state=DoubtState.READY).delete()
    return bool(gone)


def carry_out(search: DoubtSearch, progress: Progress = lambda _: None) -> bool:
    """Delivered twice, it looks once."""
    begun = DoubtSearch.objects.filter(pk=search.pk, state=DoubtState.SEARCHING, heartbeat=None)
    if not begun.update(heartbeat=Now()):
        return False
    try:
        with heartbeat(lambda: searching(search), f"Doubts {search.pk}"):
            find(search, progress)
    except Stopped:
        pass
    except baselines.TooFew as refusal:
        fail(search, str(refusal))
    except BaseException:
        fail(search, "It broke off; look again.")
        raise
    search.refresh_from_db()
    return True


def fail(search: DoubtSearch, error: str) -> None:
    searching(search).update(state=DoubtState.FAILED, error=error, ended=timezone.now())


def searching(search: DoubtSearch) -> QuerySet[DoubtSearch]:
    return DoubtSearch.objects.filter(pk=search.pk, state=DoubtState.SEARCHING)


def find(search: DoubtSearch, progress: Progress) -> None:
    def beat(done: int, of: int) -> None:
        search.done, search.total = done, of
        if not searching(search).update(done=done, total=of, heartbeat=Now()):
            raise Stopped
        progress(search)

    known = known_in(search.dataset)
    with_words = [one for one in known if words.plain(one.text)]  # the others would all be doubted alike, for nothing
    search.wordless = len(known) - len(with_words)
    given = [one.label for one in with_words]
    names = tuple(sorted(set(given)))
    if len(names) < 2:
        raise baselines.TooFew("Fewer than two labels have posts with words: there is nothing to be told apart.")
    texts, kin = [one.text for one in with_words], [one.kin for one in with_words]
    repeats = REPEATS if len(with_words) <= MANY else 1
    found = baselines.cross_validated(texts, given, names, kin, repeats=repeats, beat=beat)
    store(search, with_words, names, found)


def from_probabilities(
    dataset: Dataset, by: User | None, source: str, positions: Sequence[int], labels: tuple[str, ...],
    found: OutOfFold,
) -> DoubtSearch:  # fmt: skip
    """Of any other model, asked about posts that it had not learned from: a row for each of the dataset's positions,
    a column for each label. Posts of the locked test set are passed over."""
    row_of = {position: row for row, position in enumerate(positions)}
    told = [one for one in known_in(dataset) if one.position in row_of]
    rows = [row_of[one.position] for one in told]
    with transaction.atomic():
        search = DoubtSearch.objects.create(dataset=dataset, by=by, source=source, heartbeat=Now())
        store(search, told, labels, found._replace(probabilities=found.probabilities[rows]))
    search.refresh_from_db()
    return search


def store(search: DoubtSearch, known: Sequence[Known], names: tuple[str, ...], found: OutOfFold) -> None:
    number = {name: n for n, name in enumerate(names)}
    given = [number[one.label] for one in known]
    suspects = confident.suspects(given, found.probabilities)[:MOST]
    with transaction.atomic():
        ready = searching(search).update(
            state=DoubtState.READY, ended=timezone.now(), posts=len(given), wordless=search.wordless,
            folds=found.folds, repeats=found.repeats, agreed=agreed(given, found.probabilities),
            commonest=max(Counter(given).values(), default=0),
        )  # fmt: skip
        if not ready:
            raise Stopped
        Doubt.objects.bulk_create(
            [
                Doubt(search=search, rank=n, item_id=known[one.row].item, suggested=names[one.suggested],
                      chance=one.chance)
                for n, one in enumerate(suspects, start=1)
            ],
            batch_size=2000,
        )  # fmt: skip
        search.dataset.doubt_searches.filter(pk__lt=search.pk).delete()


def agreed(given: Sequence[int], probabilities: Probabilities) -> int:
    return int((probabilities.argmax(axis=1) == given).sum())
