"""A connection that is cut in the middle: whoever asked is told so and asks again, and nothing is there by half."""

import contextlib
import os
import subprocess
import sys
import threading
import time
import uuid
from collections import Counter
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from unittest import mock

import httpx
import psutil
import psycopg
import pytest
from django.db import OperationalError, connection
from django.test import Client

from annotate import away, broker, deciding, settling
from annotate.models import ApiToken, Disagreement, Event, Post, Review, Role
from modeling import tasks
from modeling.datasets import dataset
from modeling.datasets.recipe import Recipe
from modeling.models import DatasetItem
from tests.faults.site import ours
from tests.freezing import make_settled
from tests.make import make_member, make_project
from tests.ports import free_port
from tests.test_queue import contested
from tests.test_up import soon
from tests.test_voting_faults import database_url

pytestmark = pytest.mark.django_db(transaction=True)

ROOT = Path(__file__).resolve().parent.parent.parent
NAME = "the web server under test"
CUT = "SELECT count(*) FILTER (WHERE pg_terminate_backend(pid)) FROM pg_stat_activity WHERE application_name = %s"


def cut_me_off(*_: object, **__: object) -> None:
    """As an administrator does it, from another connection."""
    pid = connection.connection.info.backend_pid
    with psycopg.connect(database_url(), autocommit=True) as other:
        other.execute("SELECT pg_terminate_backend(%s)", [pid])


def then_cut_off(*_: object, **__: object) -> object:
    cut_me_off()
    return mock.DEFAULT  # and go on


@pytest.fixture
def client():
    """As a server runs it: what breaks becomes a page."""
    return Client(raise_request_exception=False)


class TestAnAnswer:
    @pytest.fixture
    def project(self):
        project = make_project()
        contested(project)
        return project

    @pytest.fixture
    def token(self, project):
        return {"Authorization": f"Bearer {ApiToken.issue(make_member(project), 'a')[1]}"}

    def answer(self, client, token, pk, key):
        return client.post(
            f"/api/disagreements/{pk}/review", {"label": "bullish"}, content_type="application/json",
            headers=token | {"Idempotency-Key": key},
        )  # fmt: skip

    def test_that_is_cut_off_between_its_statements_is_not_there_and_sent_again_counts_once(
        self, client, project, token
    ):
        """After the review is stored, and before the post is settled with it."""
        path = f"/api/projects/{project.slug}/queue/next"
        taken = client.post(path, {}, content_type="application/json", headers=token).json()
        pk, key = taken["cards"][0]["id"], uuid.uuid4().hex
        with mock.patch.object(deciding, "verdict", wraps=deciding.verdict, side_effect=then_cut_off):
            refused = self.answer(client, token, pk, key)
        assert (refused.status_code, refused.headers["Retry-After"]) == (503, str(away.SECONDS))
        assert refused.json() == {"detail": away.SENTENCE}
        connection.close()
        assert not Review.objects.exists()
        assert not Disagreement.objects.exclude(closed=None).exists()
        for _ in range(2):
            assert self.answer(client, token, pk, key).status_code == 200
        assert Review.objects.count() == 1

    def test_page_and_script_are_told_in_their_own_way(self, client, project):
        person = make_member(project)
        client.force_login(person)
        with mock.patch("annotate.views.review.seat_of", side_effect=lost):
            page = client.get(f"/p/{project.slug}/review")
            assert (page.status_code, page.headers["Refresh"]) == (503, str(away.SECONDS))
            assert "asks again by itself" in page.content.decode()
        with mock.patch("annotate.views.review_steps.seat_of", side_effect=lost):
            told = client.post(f"/p/{project.slug}/review/fill", {"holding": []}, content_type="application/json")
            assert told.status_code == 503
            assert "Refresh" not in told.headers
            assert "stored whole or not at all" in told.content.decode()

    def test_what_broke_for_another_reason_is_not_excused_by_the_database(self, client, project):
        client.force_login(make_member(project))
        with mock.patch("annotate.views.review.seat_of", side_effect=ValueError):
            assert client.get(f"/p/{project.slug}/review").status_code == 500


def lost(*_: object, **__: object) -> None:
    raise OperationalError("server closed the connection unexpectedly") from psycopg.OperationalError()


class TestAFreeze:
    def test_that_is_cut_off_leaves_nothing_says_so_and_goes_when_it_is_started_again(self, client):
        project = make_settled()
        admin = make_member(project, Role.ADMIN)
        client.force_login(admin)
        waiting = dataset.ask(project, admin, "v1", Recipe())
        real = dataset.copy

        def copied(*given):
            real(*given)
            cut_me_off()

        with mock.patch.object(dataset, "copy", copied), contextlib.suppress(OperationalError):
            tasks.freeze(waiting.pk)
        connection.close()
        waiting.refresh_from_db()
        assert not waiting.is_frozen
        if not waiting.is_over:  # not even that could be said: a minute later it is taken up
            type(waiting).objects.update(heartbeat=None)
        page = client.get(f"/p/{project.slug}/datasets/v1").content.decode()
        assert ("It broke off" in page) or ("Interrupted" in page)
        assert client.post(f"/p/{project.slug}/datasets/v1/again").status_code == 302
        again = project.datasets.get(name="v1")
        type(again).objects.filter(heartbeat=None, state="freezing").update(state="queued")
        tasks.freeze(again.pk)
        again.refresh_from_db()
        assert again.is_frozen, again.error
        assert DatasetItem.objects.count() == again.items.count() == 32
        assert Event.objects.filter(verb="dataset frozen").count() == 1


class TestAStoreOfVotes:
    def test_that_is_cut_off_between_its_statements_is_stored_once_by_the_next_try(self):
        """Between the votes and what follows from them. The worker that holds the answers tries again."""
        from labeling import runs, storing, voting
        from tests.test_voting_faults import make_posts

        project = make_project(audit_rate=0)
        make_posts(project, 50)
        voter = project.voters.create(name="offline", provider="offline", model="keywords", fingerprint="offline")
        run = runs.start(project, None, [voter], queue=False)
        real, seen = settling.settle, Counter()

        def settle(*given, **more):
            seen["settled"] += 1
            if seen["settled"] == 1:
                cut_me_off()
            return real(*given, **more)

        with mock.patch.object(storing.settling, "settle", settle):
            assert voting.carry_out(run)
        run.refresh_from_db()
        assert seen["settled"] > 1
        assert (run.state, run.parts.get().done) == ("done", 50)
        assert Post.objects.filter(vote_count=1).count() == 50


@pytest.fixture
def web(settings, tmp_path) -> Iterator[str]:
    """A web server with its pools, as `manage.py up` starts it, on this test's database."""
    port = free_port()
    own = {
        "DATABASE_URL": database_url(), "DATABASE_POOL": "4", "PGAPPNAME": NAME, "VAR_DIR": str(tmp_path),
        "SECRET_KEY": settings.SECRET_KEY, "LOG_LEVEL": "CRITICAL",
    }  # fmt: skip
    command = [sys.executable, "-m", "annotate.offspring", "granian", "annotate.wsgi:application", "--interface",
               "wsgi", "--port", str(port), "--workers", "1", "--blocking-threads", "4", "--no-access-log",
               "--log-level", "error"]  # fmt: skip
    process = psutil.Popen(command, cwd=ROOT, env=os.environ | own)
    address = f"http://127.0.0.1:{port}"
    try:
        assert soon(lambda: is_there(address), 60)
        yield address
    finally:
        for part in [*ours(process), process]:
            part.kill()
        process.wait()


def is_there(address: str) -> bool:
    with contextlib.suppress(httpx.HTTPError):
        return httpx.get(f"{address}/healthz", timeout=5).status_code == 200
    return False


def test_after_all_its_connections_were_cut_a_web_server_answers_everybody_at_once(web):
    """As after PostgreSQL was started anew. Nobody is lent a dead connection, and nothing has to be started by hand."""
    project = make_project()
    token = ApiToken.issue(make_member(project), "a")[1]
    answers: list[int] = []

    def ask() -> None:
        with httpx.Client(headers={"Authorization": f"Bearer {token}"}, timeout=60) as http:
            answers.extend(http.get(f"{web}/api/projects/{project.slug}").status_code for _ in range(5))

    def everybody() -> None:
        threads = [threading.Thread(target=ask) for _ in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    everybody()
    with connection.cursor() as cursor:
        cursor.execute(CUT, [NAME])
        assert cursor.fetchone()[0] > 1
    everybody()
    assert Counter(answers) == {200: 60}


class TestAQueue:
    """What its guard does where a process of it dies with the lock of all of them in hand."""

    @pytest.fixture
    def cluster(self, settings, tmp_path) -> Iterator[psutil.Popen]:
        own = {
            "DATABASE_URL": database_url(), "VAR_DIR": str(tmp_path), "QUEUE_WORKERS": "2", "LOG_LEVEL": "ERROR",
            "SECRET_KEY": settings.SECRET_KEY, "DATABASE_POOL": "0",
        }  # fmt: skip
        cluster = psutil.Popen(
            [sys.executable, "manage.py", "qcluster"], cwd=ROOT, env=os.environ | own, start_new_session=True,
            stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
        )  # fmt: skip
        yield cluster
        with contextlib.suppress(ProcessLookupError):
            os.killpg(cluster.pid, 9)
        cluster.wait()

    def test_goes_on_whichever_of_its_processes_is_killed_while_it_waits(self, cluster):
        """Two workers, the monitor and the pusher, one after the other: of those that wait, one holds the lock."""
        from django_q.models import OrmQ, Task
        from django_q.tasks import async_task

        def done(name: str) -> bool:
            """Asked for once: what a dead process had fetched is handed out again at once, not after minutes."""
            async_task("annotate.tasks.forget_drafts", task_name=name)
            return soon(lambda: Task.objects.filter(name=name).exists(), 90)

        assert done("at first")
        for turn in range(4):
            [guard] = ours(cluster)
            assert soon(lambda: len(ours(guard)) == 4, 30)  # noqa: B023
            time.sleep(0.3)  # until they wait
            sorted(ours(guard), key=lambda one: one.create_time())[turn].kill()
            assert done(f"after {turn}"), "it waits for a lock that nobody lets go of any more"
        assert soon(lambda: broker.redeliver(timedelta(0)) == 0 and not OrmQ.objects.exists(), 60)
