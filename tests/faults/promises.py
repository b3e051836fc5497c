"""What must hold whatever died: in one snapshot of the database, and of the files beside it."""

import hashlib
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from decimal import Decimal
from pathlib import Path

from django.core.files.storage import default_storage
from django.db import connection, transaction
from django.db.models import Count, F, Sum

from annotate import images
from annotate.models import Event, Image, ImportRun, Post, Project, Vote, Voter, VoteTally
from annotate.models.importing import ImportState
from labeling.models import Part, RunState, VotingRun
from modeling.datasets import items
from modeling.models import Dataset, DatasetState, Evaluation, JobState, PreLabelling, Run
from modeling.models import RunState as Training
from modeling.training import results
from tests.faults import books
from tests.faults.journal import Journal
from tests.faults.load import Told
from tests.faults.provider import Provider

LEASE = timedelta(minutes=5)
CENT = Decimal("0.00001")


@contextmanager
def snapshot() -> Iterator[None]:
    """All that is read inside is of one moment."""
    with transaction.atomic():
        with connection.cursor() as cursor:
            cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
        yield


def broken(project: Project, told: Told, journals: list[Path], provider: Provider, over: bool) -> list[str]:
    """`over`: nobody is at work any more."""
    done = dict(told.imports.copy().items())
    lines = [Journal(path) for path in journals]  # before the snapshot: what they tell must be in it
    owed = provider.owed
    with snapshot():
        found = [
            *reviews(project, lines, over), *imports(project, done), *votes(project), *money(owed),
            *datasets(project), *models(project), *events(project),
        ]  # fmt: skip
    return [*found, *told.wrong]


def reviews(project: Project, journals: list[Journal], over: bool) -> Iterator[str]:
    told = [line for journal in journals for line in journal.lines]
    if not over:  # what is on its way may be stored or not
        heard = {line.get("kept") or line.get("refused") for line in told}
        told = [line for line in told if "ask" not in line or line["ask"] in heard]
        yield from (line for line in books.answers_kept(project, told) if "nobody sent it" not in line)
    else:
        yield from books.answers_kept(project, told)
    yield from books.answered_once(project)
    yield from books.settled_rightly(project)
    yield from books.leases_run_out(project, LEASE)
    yield from books.tallies_add_up(project)


def imports(project: Project, acknowledged: dict[int, list[str]]) -> Iterator[str]:
    runs = ImportRun.objects.filter(project=project).in_bulk()
    there = set(Post.objects.filter(project=project).values_list("external_id", flat=True))
    for pk, ids in acknowledged.items():
        run = runs.get(pk)
        if run is None:
            yield f"import {pk} was acknowledged and is lost"
        elif run.state == ImportState.DONE:
            if missing := set(ids) - there:
                yield f"import {pk} is done, and {len(missing)} of its posts are not there"
            if run.imported + run.already + run.refused != len(ids) or run.refused:
                yield f"import {pk} of {len(ids)} rows counts {run.imported}, {run.already}, {run.refused}"
    for run in runs.values():
        if run.state == ImportState.FAILED and not run.error:
            yield f"import {run.pk} failed and does not say why"


def votes(project: Project) -> Iterator[str]:
    twice = Vote.objects.filter(post__project=project).values("post", "voter").annotate(n=Count("pk")).filter(n__gt=1)
    yield from (f"post {row['post']} has {row['n']} votes of {row['voter']}" for row in twice)
    counted = dict(Vote.objects.filter(post__project=project).order_by().values_list("voter").annotate(Count("pk")))
    tallied = VoteTally.objects.filter(voter_id__in=counted).order_by().values_list("voter_id").annotate(Sum("votes"))
    if counted != {voter: n for voter, n in tallied if n}:
        yield f"there are {counted} votes, and the tally says {dict(tallied)}"
    done = dict(Part.objects.filter(voter__project=project).order_by().values_list("voter").annotate(Sum("done")))
    for voter, parts in done.items():
        if counted.get(voter, 0) != parts:
            yield f"voter {voter} has cast {counted.get(voter, 0)} votes, and its runs tell of {parts}"
    wrong = Post.objects.filter(project=project).annotate(n=Count("votes")).exclude(n=F("vote_count"))
    yield from (f"post {post.pk} tells of {post.vote_count} votes and has {post.n}" for post in wrong[:5])


def money(owed: Decimal) -> Iterator[str]:
    """Nothing is spent that was not put on record before, and what votes cost is what the runs tell."""
    runs = VotingRun.objects.filter(budget__isnull=False)
    covered = sum((max(run.granted, run.spent) + run.written_off for run in runs), Decimal(0))
    if owed > covered + CENT:
        yield f"the provider is owed ${owed}, and the runs account for ${covered}"
    for voter in Voter.objects.filter(parts__isnull=False, provider="openai").distinct():
        cost = voter.votes.aggregate(total=Sum("cost"))["total"] or Decimal(0)
        told = voter.parts.aggregate(total=Sum("cost"))["total"] or Decimal(0)
        if abs(cost - told) > CENT:
            yield f"the votes of {voter} cost ${cost}, and its runs tell ${told}"
    for run in runs:
        if run.spent + run.written_off > run.budget:
            yield f"voting run {run.pk} has gone past its budget"


def datasets(project: Project) -> Iterator[str]:
    for dataset in Dataset.objects.filter(project=project):
        held = dataset.items.count()
        if dataset.state == DatasetState.FROZEN:
            if held != sum(split["posts"] for split in dataset.composition["splits"].values()):
                yield f"{dataset} has {held} posts, and is told to have others"
            if items.hash_of(dataset, lambda: None) != dataset.content_hash:
                yield f"{dataset} is not what its hash says"
        elif dataset.is_over and held:
            yield f"{dataset} is {dataset.state} and holds {held} posts"
        if dataset.state == DatasetState.FAILED and not dataset.error:
            yield f"{dataset} failed and does not say why"


def models(project: Project) -> Iterator[str]:
    for run in Run.objects.filter(project=project):
        if run.state == Training.DONE:
            yield from result_of(run)
        elif run.state in (Training.FAILED, Training.INTERRUPTED) and not run.error:
            yield f"{run} is {run.state} and does not say why"
    for evaluation in Evaluation.objects.filter(project=project, state=JobState.DONE):
        told = evaluation.predictions.aggregate(n=Count("pk"), items=Count("item", distinct=True))
        if not evaluation.measured or not told["n"] or told["n"] != told["items"]:
            yield f"evaluation {evaluation.pk} is done, with {told} and measured: {bool(evaluation.measured)}"
    for made in PreLabelling.objects.filter(project=project):
        if made.state in (JobState.FAILED, JobState.INTERRUPTED) and not made.error:
            yield f"{made} is {made.state} and does not say why"


def result_of(run: Run) -> Iterator[str]:
    steps = run.points.filter(kind="step").count()
    if steps != run.steps or run.step != run.steps:
        yield f"{run} is done after {run.step} of {run.steps} steps, with {steps} points"
    try:
        with results.archive_of(run) as archive:
            if bad := archive.testzip():
                yield f"the result of {run} is damaged: {bad}"
        results.fetched(run)
    except (results.NoResult, zipfile.BadZipFile) as error:
        yield f"the result of {run}: {error}"


ONCE = {
    "training done": (Run, "run", Training.DONE), "evaluation done": (Evaluation, "evaluation", JobState.DONE),
}  # fmt: skip


def events(project: Project) -> Iterator[str]:
    """What ended is told of once."""
    for verb, (kind, name, state) in ONCE.items():
        told = [event.data[name] for event in Event.objects.filter(project=project, verb=verb)]
        ended = sorted(kind.objects.filter(project=project, state=state).values_list("pk", flat=True))
        if sorted(told) != ended:
            yield f"“{verb}” is told of {sorted(told)}, and {ended} have"
    frozen = sorted(Dataset.objects.filter(project=project, state="frozen").values_list("name", flat=True))
    told = sorted(e.data["dataset"] for e in Event.objects.filter(project=project, verb="dataset frozen"))
    if frozen != told:
        yield f"“dataset frozen” is told of {told}, and {frozen} are"
    for run in ImportRun.objects.filter(project=project, state=ImportState.DONE):
        told = [e for e in Event.objects.filter(project=project, verb="posts imported") if e.data["run"] == run.pk]
        if sum(e.data["imported"] + e.data["already_there"] == run.imported + run.already for e in told) != 1:
            yield f"import {run.pk} is done, and its end is told {len(told)} times"


def files() -> Iterator[str]:
    """Every picture is there, and is what its name says."""
    for image in Image.objects.all():
        found = images.path_of(image.sha256, image.format)
        if not default_storage.exists(found):
            yield f"the picture {image.file_name} is not there"
            continue
        with default_storage.open(found) as file:
            if hashlib.sha256(file.read()).hexdigest() != image.sha256:
                yield f"the picture {image.file_name} is not what its name says"


def unfinished() -> list[str]:
    """What is not over, and waits for nobody."""
    left = [f"import {run.pk} is {run.state}" for run in ImportRun.objects.filter(state__in=["queued", "running"])]
    voting = VotingRun.objects.filter(state__in=[RunState.QUEUED, RunState.RUNNING])
    left += [f"voting run {run.pk} is {run.state}" for run in voting]
    left += [f"dataset {one} is {one.state}" for one in Dataset.objects.filter(state__in=["queued", "freezing"])]
    left += [f"{run} is {run.state}" for run in Run.objects.filter(state__in=["queued", "running"])]
    left += [f"evaluation {e.pk} is {e.state}" for e in Evaluation.objects.filter(state__in=["queued", "running"])]
    return left + [f"{one} is {one.state}" for one in PreLabelling.objects.filter(state__in=["queued", "running"])]
