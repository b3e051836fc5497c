"""Real processes, really killed: no answer that is stored is asked for again, and none is lost."""

import os
import random
import subprocess
import sys
import time
from collections import Counter
from datetime import timedelta
from pathlib import Path

import pytest
from django.db import connection
from django.utils import timezone

from annotate.models import Post, Vote, Voter
from labeling import batch, collecting
from labeling.models import Batch, RunState, VotingRun
from tests.batch_server import BatchServer, gemini_line, openai_error_line, openai_line
from tests.make import EPOCH, make_project
from tests.ports import free_port

pytestmark = pytest.mark.django_db(transaction=True)

ROOT = Path(__file__).resolve().parent.parent
FLYING = 8


@pytest.fixture
def log(tmp_path):
    return tmp_path / "asked"


@pytest.fixture
def server(log, tmp_path):
    """The port is the system's choice, written down by the server itself once it listens."""
    port = free_port()
    process = subprocess.Popen([sys.executable, "-m", "tests.model_server", str(port), "0.02", str(log)], cwd=ROOT)
    wait_until_open(port)
    yield f"http://127.0.0.1:{port}/v1"
    process.kill()
    process.wait()


def wait_until_open(port: int) -> None:
    import socket

    for _ in range(200):
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            return
        except OSError:
            time.sleep(0.05)
    raise RuntimeError("the model server did not start")


def database_url() -> str:
    settings = connection.settings_dict
    login = f"{settings['USER']}:{settings['PASSWORD']}@" if settings["USER"] else ""
    host = f"?host={settings['HOST']}" if settings["HOST"].startswith("/") else ""
    place = "" if host else settings["HOST"] + (f":{settings['PORT']}" if settings["PORT"] else "")
    return f"postgresql://{login}{place}/{settings['NAME']}{host}"


@pytest.fixture
def vote(settings):
    """Starts `manage.py vote` as a process of its own on this test's database."""
    started = []

    def start(slug: str, *options: str) -> subprocess.Popen:
        environment = os.environ | {
            "DATABASE_URL": database_url(), "DATABASE_POOL": "0", "MEDIA_ROOT": str(settings.MEDIA_ROOT)
        }  # fmt: skip
        command = [sys.executable, "manage.py", "vote", "--project", slug, *options]
        process = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.wait()


def make_posts(project, count: int) -> None:
    Post.objects.bulk_create(
        Post(project=project, external_id=f"p{n}", text=f"post #{n}# to the moon", at=EPOCH, content_hash=f"{n:064x}")
        for n in range(count)
    )


def make_voter(project, address: str, name: str = "one") -> Voter:
    return Voter.objects.create(
        project=project, name=name, provider="openai", model="m", fingerprint=name,
        parameters={"base_url": address, "price_in": 0.1, "price_out": 0.4}, limits={"concurrency": FLYING},
    )  # fmt: skip


def until(condition, seconds: float = 30) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it never came to that"
        time.sleep(0.02)


def presume_dead() -> None:
    """What half a minute of silence does, without waiting for it."""
    VotingRun.objects.filter(state=RunState.RUNNING).update(heartbeat=timezone.now() - timedelta(minutes=5))


def test_killed_again_and_again_it_asks_for_nothing_that_is_stored(server, vote, log):
    project = make_project(audit_rate=0)
    make_posts(project, 400)
    make_voter(project, server)
    dice = random.Random(4)
    stored_when_killed: list[set[str]] = []
    asked_when_killed: list[Counter[str]] = []
    for _ in range(3):
        process = vote(project.slug)
        goal = Vote.objects.count() + dice.randint(20, 90)
        until(lambda goal=goal: Vote.objects.count() >= goal)
        process.kill()
        process.wait()
        asked_when_killed.append(Counter(log.read_text().split()))
        stored_when_killed.append(set(Vote.objects.values_list("post__text", flat=True)))
        presume_dead()
    last = vote(project.slug)
    assert last.wait(60) == 0, last.stdout.read().decode()
    asked = Counter(log.read_text().split())
    assert Vote.objects.count() == 400
    assert set(asked) == {str(n) for n in range(400)}
    for stored, before in zip(stored_when_killed, asked_when_killed, strict=True):
        again = {n for n in asked if asked[n] > before[n] > 0 and f"post #{n}# to the moon" in stored}
        assert not again, "an answer that was stored was paid for twice"
    # Only what was in the air, or not yet written down, when a worker was killed may have been asked twice.
    assert asked.total() - 400 <= 3 * (FLYING + 60)


def test_two_processes_on_one_run_do_not_both_ask(server, vote, log):
    project = make_project(audit_rate=0)
    make_posts(project, 3000)  # enough to be at it still when the second has started
    make_voter(project, server)
    first = vote(project.slug)
    until(lambda: Vote.objects.exists())
    second = vote(project.slug)
    assert second.wait(30) == 1
    assert b"another process" in second.stdout.read()
    assert first.wait(90) == 0
    assert max(Counter(log.read_text().split()).values()) == 1


def test_a_lost_database_connection_loses_no_answer(server, vote, log):
    project = make_project(audit_rate=0)
    make_posts(project, 200)
    make_voter(project, server)
    process = vote(project.slug)
    until(lambda: Vote.objects.count() > 20)
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity "
            "WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
    assert process.wait(60) == 0, process.stdout.read().decode()
    assert Vote.objects.count() == 200
    assert max(Counter(log.read_text().split()).values()) == 1


LINES = {"openai": openai_line, "gemini": gemini_line}
MODELS = {"openai": "gpt-4o-mini", "gemini": "gemini-2.5-flash-lite"}
UPLOAD = {"openai": "POST /v1/files", "gemini": "POST /receive"}
CREATE = {"openai": "POST /v1/batches", "gemini": "POST /v1beta/models/gemini-2.5-flash-lite:batchGenerateContent"}


@pytest.fixture
def provider_server(monkeypatch):
    monkeypatch.delenv("GOOGLE_API_KEY", raising=False)
    with BatchServer() as server:
        told = {"OPENAI_BASE_URL": f"{server.url}/v1", "GOOGLE_GEMINI_BASE_URL": server.url,
                "OPENAI_API_KEY": "key-of-openai", "GEMINI_API_KEY": "key-of-gemini"}  # fmt: skip
        for name, value in told.items():
            monkeypatch.setenv(name, value)
        yield server


def make_batch_voter(project, provider: str, size: int) -> Voter:
    return Voter.objects.create(
        project=project, name=provider, provider=provider, model=MODELS[provider], fingerprint=provider,
        limits={"requests_a_batch": size},
    )  # fmt: skip


def kill_at(server: BatchServer, call: str, nth: int, before: bool, process: list[subprocess.Popen]) -> None:
    """The provider itself kills whoever asks, so that it always happens at the very same moment."""
    seen: Counter[str] = Counter()

    def fault(asked: str, is_before: bool) -> int:
        if asked != call or is_before != before:
            return 0
        seen[call] += 1
        if seen[call] != nth:
            return 0
        process[0].kill()
        return -1

    server.fault = fault


def killed(vote, server: BatchServer, slug: str, call: str, nth: int, before: bool) -> None:
    process: list[subprocess.Popen] = []
    kill_at(server, call, nth, before, process)
    process.append(vote(slug, "--batch"))
    assert process[0].wait(60) == -9, process[0].stdout.read().decode()
    server.fault = lambda call, before: 0
    presume_dead()
    VotingRun.objects.update(waits_until=None)
    Batch.objects.update(created=timezone.now() - collecting.GRACE - timedelta(seconds=1))


def look_again(run: VotingRun) -> VotingRun:
    VotingRun.objects.filter(waits_until__isnull=False).update(waits_until=timezone.now())
    run.refresh_from_db()
    assert batch.carry_out(run)
    run.refresh_from_db()
    return run


def answer_all(server: BatchServer, provider: str) -> None:
    for job in server.jobs:
        job.end(output=[LINES[provider](key) for key in job.keys])


def assert_asked_once(server: BatchServer, run: VotingRun) -> None:
    asked = Counter(key for job in server.jobs for key in job.keys)
    assert set(asked) == {str(pk) for pk in Post.objects.values_list("pk", flat=True)}
    assert set(asked.values()) == {1}, "a post was paid for twice"
    part = run.parts.get()
    assert (run.state, Vote.objects.count(), part.done) == (RunState.DONE, len(asked), len(asked))
    assert part.cost == run.granted == sum(Vote.objects.values_list("cost", flat=True))


@pytest.mark.parametrize(
    ("provider", "step", "before"),
    [
        pytest.param("openai", UPLOAD, True, id="before the file is there"),
        pytest.param("openai", UPLOAD, False, id="once the file is there"),
        pytest.param("openai", CREATE, True, id="before the batch is there"),
        pytest.param("openai", CREATE, False, id="once the batch is there"),
        pytest.param("gemini", CREATE, False, id="once Gemini has the batch"),
    ],
)
def test_killed_while_it_submits_it_submits_everything_once(provider_server, vote, provider, step, before):
    project = make_project(audit_rate=0)
    make_posts(project, 50)
    make_batch_voter(project, provider, 20)
    killed(vote, provider_server, project.slug, step[provider], 2, before)
    again = vote(project.slug, "--batch")
    assert again.wait(60) == 0, again.stdout.read().decode()
    assert sorted(len(job.keys) for job in provider_server.jobs) == [10, 20, 20]
    answer_all(provider_server, provider)
    assert_asked_once(provider_server, look_again(VotingRun.objects.get()))


def test_killed_while_it_collects_it_keeps_what_is_stored_and_fetches_the_rest(provider_server, vote):
    """Between the file of answers, which are stored by then, and the file of errors."""
    project = make_project(audit_rate=0)
    count = collecting.AT_ONCE
    make_posts(project, count + 2)
    make_batch_voter(project, "openai", count + 1)
    assert vote(project.slug, "--batch").wait(60) == 0
    first, second = provider_server.jobs
    first.end(
        output=map(openai_line, first.keys[:count]), errors=[openai_error_line(first.keys[count], "batch_expired")]
    )
    second.end(output=map(openai_line, second.keys))
    provider_server.as_openai(first)
    errors = provider_server.answers(first, first.errors)
    VotingRun.objects.update(waits_until=timezone.now())
    killed(vote, provider_server, project.slug, f"GET /v1/files/{errors}/content", 1, True)
    assert Vote.objects.count() == count
    assert Batch.objects.open().count() == 2
    run = look_again(VotingRun.objects.get())
    assert Vote.objects.count() == count + 1
    assert [job.keys for job in provider_server.jobs[2:]] == [[first.keys[count]]]  # the one without an answer, again
    provider_server.jobs[2].end(output=map(openai_line, provider_server.jobs[2].keys))
    look_again(run)
    part = run.parts.get()
    run.refresh_from_db()
    assert (run.state, part.done, Vote.objects.count()) == (RunState.DONE, count + 2, count + 2)
    assert part.cost == run.granted == sum(Vote.objects.values_list("cost", flat=True))
