"""An import is killed, cut off, doubled and raced, with real workers and connections: nothing double, nothing lost."""

import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import psycopg
import pytest
from django.conf import settings
from django.core.files.base import ContentFile
from django.core.files.storage import default_storage
from django.db import DatabaseError, OperationalError, connection, transaction
from django.urls import reverse
from django.utils import timezone
from django_q.models import OrmQ
from psycopg.conninfo import make_conninfo
from psycopg.errors import DeadlockDetected, ForeignKeyViolation

from annotate import heartbeat, tasks
from annotate.importing import doors, load, running
from annotate.models import ImportRun, Label, Post, Project, Tally, Vote, VoteTally, tally
from annotate.models.importing import SILENCE, ImportState
from tests.make import make_member, make_project, make_user
from tests.test_import import picture, zipped

pytestmark = pytest.mark.django_db(transaction=True)

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture
def project() -> Project:
    return make_project()


def table(rows: int, start: int = 0, votes: bool = True) -> bytes:
    """Every third post is contested, the others agreed on."""
    header = "id,text,gpt,gemini" if votes else "id,text"
    lines = (f"p{n},post number {n}" + (f",bullish,{'bearish' if n % 3 == 0 else 'bullish'}" if votes else "")
             for n in range(start, start + rows))  # fmt: skip
    return "\n".join([header, *lines]).encode()


def uploaded(project: Project, data: bytes, name: str = "posts.csv") -> ImportRun:
    return doors.receive(project, make_user(), ContentFile(data, name=name))


def started(project: Project, data: bytes, name: str = "posts.csv") -> ImportRun:
    run = uploaded(project, data, name)
    assert doors.begin(run)
    return run


def pictures(tmp_path: Path, count: int) -> bytes:
    files = {f"n{n}__png": picture(f"caption {n}", n % 40) for n in range(count)}
    return zipped(tmp_path / "pictures.zip", **files).read_bytes()


def soon(what: Callable[[], bool], seconds: float = 30) -> bool:
    deadline = time.monotonic() + seconds
    while not what():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


def database_url() -> str:
    return make_conninfo(settings.DATABASE_URL, dbname=connection.settings_dict["NAME"])


@contextmanager
def worker(var: Path, **environment: str) -> Iterator[subprocess.Popen[bytes]]:
    """A queue as `manage.py up` runs it, on this test's database and files."""
    own = {"DATABASE_URL": database_url(), "VAR_DIR": str(var), "QUEUE_WORKERS": "1", "LOG_LEVEL": "ERROR"} | {
        "SECRET_KEY": settings.SECRET_KEY
    }
    with subprocess.Popen(
        [sys.executable, "manage.py", "qcluster"], cwd=ROOT, env=os.environ | own | environment, start_new_session=True
    ) as cluster:
        try:
            yield cluster
        finally:
            killed(cluster)


def killed(cluster: subprocess.Popen[bytes]) -> None:
    if cluster.poll() is None:
        os.killpg(cluster.pid, signal.SIGKILL)
        cluster.wait()


def at_work(run: ImportRun) -> bool:
    run.refresh_from_db()
    assert run.state in {ImportState.QUEUED, ImportState.RUNNING}, f"{run.state}: too quick to be killed half-way"
    return run.imported > 0


def is_over(run: ImportRun) -> bool:
    run.refresh_from_db()
    return run.is_over


def silent(run: ImportRun) -> None:
    """As a minute later."""
    ImportRun.objects.filter(pk=run.pk).update(heartbeat=timezone.now() - 2 * SILENCE)


def at_once(*work: Callable[[], object]) -> list[BaseException]:
    """Each in a thread with a connection of its own; what went wrong in them."""
    failures: list[BaseException] = []
    gate = threading.Barrier(len(work))

    def one(do: Callable[[], object]) -> None:
        try:
            gate.wait(5)
            do()
        except BaseException as failure:
            failures.append(failure)
        finally:
            connection.close()

    threads = [threading.Thread(target=one, args=[do]) for do in work]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    return failures


def assert_tallies_are_true() -> None:
    counted = Counter((p.project_id, p.state, p.label_id, p.label_source, p.vote_count > 0, p.holdout)
                      for p in Post.objects.defer("search"))  # fmt: skip
    told: Counter[tuple[object, ...]] = Counter()
    for t in Tally.objects.all():
        told[(t.project_id, t.state, t.label_id, t.label_source, t.voted, t.holdout)] += t.posts
    assert {key: n for key, n in told.items() if n} == counted
    votes = Counter(Vote.objects.values_list("voter_id", "label_id"))
    told_votes: Counter[tuple[int, int | None]] = Counter()
    for v in VoteTally.objects.all():
        told_votes[(v.voter_id, v.label_id)] += v.votes
    assert {key: n for key, n in told_votes.items() if n} == votes


def assert_all_there(run: ImportRun, rows: int, votes: int = 0) -> None:
    run.refresh_from_db()
    assert (run.state, run.refused, run.imported + run.already) == (ImportState.DONE, 0, rows), run.error
    assert run.project.posts.count() == rows
    assert Vote.objects.count() == votes
    assert sum(t.posts for t in Tally.objects.filter(project=run.project)) == rows
    assert_tallies_are_true()


class TestAWorkerIsKilled:
    @pytest.mark.parametrize("kind", ["table", "pictures"])
    def test_half_way_and_the_sweep_has_another_finish(self, project, tmp_path, client, kind):
        rows = 8000 if kind == "table" else 600  # some batches of 1000, or 200: the kill comes after the first
        data, name = (table(rows), "posts.csv") if kind == "table" else (pictures(tmp_path, rows), "posts.zip")
        run = started(project, data, name)
        with worker(tmp_path) as cluster:
            assert soon(lambda: at_work(run))
            killed(cluster)
        run.refresh_from_db()
        assert 0 < project.posts.count() == run.imported < rows
        assert_tallies_are_true()

        silent(run)
        client.force_login(make_member(project, "admin"))
        assert "Interrupted" in client.get(run.get_absolute_url()).content.decode()
        with worker(tmp_path):
            tasks.every_minute()
            assert soon(lambda: is_over(run), 60)
        assert_all_there(run, rows, votes=2 * rows if kind == "table" else 0)
        assert run.already > 0

    def test_alone_and_the_queue_goes_on_with_a_new_one(self, project, tmp_path):
        run = started(project, table(8000))
        with worker(tmp_path):
            assert soon(lambda: at_work(run))
            reading(run).kill()
            silent(run)
            tasks.every_minute()
            assert soon(lambda: is_over(run), 60)
        assert_all_there(run, 8000, votes=16_000)


def reading(run: ImportRun) -> psutil.Process:
    """The process that has the upload open."""
    path = default_storage.path(run.path)
    mine = psutil.Process().children(recursive=True)
    return next(process for process in mine if path in {file.path for file in process.open_files()})


class TestAQueueStartedByHand:
    def test_works_whatever_the_environment_says_about_pools(self, project, tmp_path):
        """A pool does not survive the fork that makes a worker: a worker that had one would wait for ever."""
        runs = [started(project, table(10, start=10 * n)) for n in range(3)]
        with worker(tmp_path, DATABASE_POOL="8", QUEUE_WORKERS="2"):
            assert soon(lambda: all(is_over(run) for run in runs) or not tasks.take_up_imports())
            assert soon(lambda: all(is_over(run) for run in runs))
        assert project.posts.count() == 30


class TestTheDatabaseGoesAway:
    def test_in_the_middle_and_what_stands_can_be_gone_on_from(self, project):
        run = started(project, table(5000))

        def cut(current: ImportRun) -> None:
            if current.imported == 2000:
                with psycopg.connect(database_url(), autocommit=True) as other:
                    pid = connection.connection.info.backend_pid
                    other.execute("SELECT pg_terminate_backend(%s)", [pid])

        with pytest.raises(OperationalError):
            running.carry_out(run, progress=cut)
        connection.close()
        run.refresh_from_db()
        assert run.state == ImportState.FAILED
        assert "run again" in run.error
        assert project.posts.count() == 2000
        assert doors.begin(run)
        tasks.import_posts(run.pk)
        assert_all_there(run, 5000, votes=10_000)


class TestTheFileGoesAway:
    @pytest.mark.parametrize("name", ["posts.csv", "posts.zip"])
    def test_while_it_is_read_nothing_is_lost(self, project, tmp_path, name):
        rows = 3000 if name == "posts.csv" else 250
        data = table(rows, votes=False) if name == "posts.csv" else pictures(tmp_path, rows)
        run = started(project, data, name)
        running.carry_out(run, progress=lambda current: default_storage.delete(current.path))
        assert_all_there(run, rows)

    def test_before_it_is_read_the_run_says_so(self, project):
        run = started(project, table(10))
        default_storage.delete(run.path)
        tasks.import_posts(run.pk)
        run.refresh_from_db()
        assert run.state == ImportState.FAILED
        assert "No such file" in run.error
        assert not doors.begin(run)


class TestManyAtOnce:
    def test_two_workers_on_one_run_do_it_once(self, project):
        run = started(project, table(3000))
        assert at_once(*[lambda: tasks.import_posts(run.pk)] * 3) == []
        assert_all_there(run, 3000, votes=6000)
        assert (run.imported, run.already) == (3000, 0)

    def test_two_imports_into_one_project_take_turns(self, project):
        runs = [started(project, table(2000, start=start)) for start in (0, 1000)]
        OrmQ.objects.all().delete()
        assert at_once(*[lambda pk=run.pk: tasks.import_posts(pk) for run in runs]) == []
        left = list(ImportRun.objects.left_lying())
        assert len(left) == 1
        assert OrmQ.objects.count() == 1, "the one that ended calls for the one that waits"
        tasks.import_posts(left[0].pk)
        assert project.posts.count() == 3000
        assert Vote.objects.count() == 6000
        assert_tallies_are_true()

    def test_two_projects_that_bring_the_same_pictures_never_wait_for_each_other_in_a_ring(self, tmp_path, monkeypatch):
        """One brings them in the order in which the other brings them backwards, at the same moment."""
        names = [f"n{n:03}__png" for n in range(300)]
        files = [picture(f"{n}", n, size=40) for n in range(300)]
        there = zipped(tmp_path / "there.zip", **dict(zip(names, files, strict=True))).read_bytes()
        back = zipped(tmp_path / "back.zip", **dict(zip(names, reversed(files), strict=True))).read_bytes()
        runs = [started(make_project(), data, "p.zip") for data in (there, back)]
        meet, create = threading.Barrier(2), type(load.Image.objects).bulk_create

        def create_together(manager: Any, *args: Any, **kwargs: Any) -> Any:
            if manager.model is load.Image:
                meet.wait(30)
            return create(manager, *args, **kwargs)

        monkeypatch.setattr(load, "PICTURE_BATCH", 300)
        monkeypatch.setattr(running, "DEADLOCKS_BORNE", 0)
        monkeypatch.setattr(type(load.Image.objects), "bulk_create", create_together)
        assert at_once(*[lambda pk=run.pk: tasks.import_posts(pk) for run in runs]) == []
        assert [run.project.posts.count() for run in runs] == [300, 300]
        assert load.Image.objects.count() == 300

    def test_a_worker_taken_for_dead_cannot_tell_how_the_run_of_another_ended(self, project):
        run = started(project, table(3000))

        def taken_over_and_out_of_disk(current: ImportRun) -> None:
            silent(current)
            assert ImportRun.objects.get(pk=current.pk).claim()
            raise OSError(28, "No space left on device")

        assert running.carry_out(run, progress=taken_over_and_out_of_disk) is False
        run = ImportRun.objects.get(pk=run.pk)
        assert (run.state, run.error, run.report) == (ImportState.RUNNING, "", "")

    def test_a_batch_that_takes_minutes_is_not_taken_for_dead(self, project, monkeypatch):
        """As when two hundred pictures are collected at one a second."""
        monkeypatch.setattr(heartbeat, "BEAT", 0.05)
        run = started(project, table(1000))
        seen: list[bool] = []

        def slow(current: ImportRun) -> None:
            silent(current)
            time.sleep(0.5)
            seen.append(ImportRun.objects.get(pk=current.pk).is_silent)

        assert running.carry_out(run, progress=slow)
        assert seen == [False]


@pytest.mark.parametrize("seed", range(3))
def test_tallies_are_true_after_everything_at_once(monkeypatch, seed):
    """Imports, edits, deletions and folding race each other; at the end each count is what counting would give."""
    monkeypatch.setattr(load, "BATCH", 400)
    project = make_project()
    dice = random.Random(seed)
    labels = list(Label.objects.filter(project=project))
    first = started(project, table(800))
    tasks.import_posts(first.pk)
    again, more = started(project, table(1200, start=200)), started(make_project(), table(800))
    over = threading.Event()

    def importing(run: ImportRun) -> None:
        while not is_over(run):
            tasks.import_posts(run.pk)
            time.sleep(0.01)

    def both() -> None:
        try:
            importing(again)
            importing(more)
        finally:
            over.set()

    def shaking(change: Callable[[list[int]], object]) -> Callable[[], None]:
        def go() -> None:
            while not over.is_set():
                some = list(Post.objects.order_by("?").values_list("pk", flat=True)[:50])
                try:
                    with transaction.atomic():
                        change(some)
                except DatabaseError as error:  # of two that wait for each other one gives way; what it did is undone
                    if not isinstance(error.__cause__, DeadlockDetected | ForeignKeyViolation):
                        raise

        return go

    def settled(some: list[int]) -> None:
        Post.objects.filter(pk__in=some).update(
            state="settled", label=dice.choice(labels), label_source="review", holdout=dice.random() < 0.5
        )

    def folding() -> None:
        while not over.is_set():
            tally.fold()

    failures = at_once(
        both,
        shaking(settled),
        shaking(lambda some: Post.objects.filter(pk__in=some[:10]).delete()),
        shaking(lambda some: Vote.objects.filter(post__in=some[:20]).delete()),
        folding,
        folding,
    )
    assert failures == []
    assert_tallies_are_true()
    tally.fold()
    assert_tallies_are_true()


def test_the_page_of_a_run_tells_what_the_table_holds(project, client):
    run = started(project, table(1500))
    client.force_login(make_member(project, "admin"))
    seen: list[bool] = []

    def look(current: ImportRun) -> None:
        page = client.get(reverse("import_progress", args=[project.slug, run.pk])).content.decode()
        seen.append(f"{project.posts.count():,}".replace(",", "") in page.replace(",", "").replace("\u202f", ""))

    running.carry_out(run, progress=look)
    assert seen == [True, True]
