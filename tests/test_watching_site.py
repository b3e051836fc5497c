"""What whoever runs the site can see: is it up, can it serve, how does it go. By real processes where they count."""

import json
import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import psutil
import pytest
from django.conf import settings
from django.db import connection
from django.db.migrations.recorder import MigrationRecorder
from django.db.models.functions import Now
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django_q.models import OrmQ
from django_q.tasks import async_task

from annotate.models import Disagreement, ImportRun, Review, Role
from annotate.operating import at_work, ended_counts, metrics, processes, readiness, shared_counts
from annotate.operating.briefly import Briefly
from labeling.models import VotingRun
from modeling.models import Dataset, Run
from tests.make import make_member, make_post, make_project, make_user, make_vote
from tests.ports import free_port
from tests.test_up import soon
from tests.test_voting_faults import database_url

pytestmark = pytest.mark.django_db

ROOT = Path(__file__).resolve().parent.parent
TOKEN = "a token for Prometheus"
BEARS = {"Authorization": f"Bearer {TOKEN}"}


@pytest.fixture(autouse=True)
def _seen_anew(settings, tmp_path) -> Iterator[None]:
    settings.VAR_DIR = tmp_path
    settings.METRICS_TOKEN = TOKEN
    readiness.PARTS.forget()
    metrics.TABLES.forget()
    yield
    readiness.PARTS.forget()
    metrics.TABLES.forget()


@pytest.fixture
def boss() -> Client:
    client = Client()
    client.force_login(make_user(is_superuser=True))
    return client


def parts(client: Client, query: str = "", **headers: str) -> dict[str, dict[str, object]]:
    readiness.PARTS.forget()
    return client.get(f"/readyz{query}", headers=headers).json()["parts"]


def told(client: Client) -> dict[str, float]:
    metrics.TABLES.forget()
    return read(client.get("/metrics", headers=BEARS).text)


def read(text: str) -> dict[str, float]:
    lines = [line.rpartition(" ") for line in text.splitlines() if not line.startswith("#")]
    return {name: float(value) for name, _, value in lines}


class TestDoors:
    def test_are_open_to_a_balancer_that_knows_neither_name_nor_certificate(self, client, settings):
        settings.SECURE_SSL_REDIRECT = True
        with CaptureQueriesContext(connection) as asked:
            answer = client.get("/healthz", headers={"Host": "10.0.0.9"})
        assert (answer.status_code, answer.json(), len(asked)) == (200, {"ok": True}, 0)
        assert client.get("/readyz", headers={"Host": "10.0.0.9"}).status_code == 503
        assert client.get("/metrics", headers=BEARS | {"Host": "10.0.0.9"}).status_code == 200
        assert client.head("/healthz").status_code == 200
        assert client.post("/healthz").status_code == 405
        assert client.get("/login").status_code == 301
        assert client.get("/healthz").cookies == {}

    def test_tell_strangers_which_part_is_well_and_no_more(self, client, boss):
        client.force_login(make_member(make_project(), Role.ADMIN))
        for who in (Client(), client):
            assert parts(who)["database"] == {"ok": True}
            assert who.get("/metrics").status_code == 404
            assert who.get("/metrics", headers={"Authorization": "Bearer wrong"}).status_code == 404
        assert "PostgreSQL answers" in str(parts(boss)["database"]["says"])
        assert "PostgreSQL answers" in str(parts(Client(), **BEARS)["database"]["says"])
        assert boss.get("/metrics").status_code == 200

    def test_without_a_token_in_the_settings_none_is_right(self, client, settings):
        settings.METRICS_TOKEN = ""
        for token in ("", " ", "Bearer", "Bearer "):
            assert client.get("/metrics", headers={"Authorization": token}).status_code == 404


class TestReady:
    def test_a_part_that_is_known_to_be_missing_can_be_left_out(self, client):
        assert client.get("/readyz").status_code == 503
        answer = client.get("/readyz?exclude=queue_short&exclude=queue_gpu")
        assert (answer.status_code, answer.json()["ready"]) == (200, True)

    def test_the_database_is_gone(self, client, monkeypatch, caplog):
        monkeypatch.setitem(connection.settings_dict, "HOST", "/no/such/folder")
        answer = parts(client, **BEARS)
        assert not any(answer[name]["ok"] for name in ("database", "migrations", "queue_short", "queue_gpu"))
        assert "does not answer: connection" in str(answer["database"]["says"])
        assert told(client)["casting_vote_database_up"] == 0
        assert client.get("/healthz").status_code == 200
        assert [line for line in caplog.messages if "PostgreSQL does not answer" in line]
        monkeypatch.undo()
        settings.METRICS_TOKEN = TOKEN
        assert parts(client)["database"]["ok"]

    def test_pictures_cannot_be_stored(self, client, settings, tmp_path):
        (tmp_path / "file").touch()
        settings.MEDIA_ROOT = tmp_path / "file" / "media"
        answer = parts(client, **BEARS)["media"]
        assert answer == {"ok": False, "says": f"{settings.MEDIA_ROOT} cannot be written to: Not a directory."}
        settings.MEDIA_ROOT = tmp_path / "media"
        assert parts(client)["media"]["ok"]
        assert list((tmp_path / "media").iterdir()) == []

    def test_a_machine_can_be_taken_out_before_it_ends(self, client, tmp_path):
        (tmp_path / "out-of-service").touch()
        answer = parts(client, **BEARS)["in_service"]
        assert not answer["ok"]
        assert "Remove it to take it in again." in str(answer["says"])

    @pytest.mark.django_db(transaction=True)
    def test_a_migration_is_missing(self, client):
        last = MigrationRecorder.Migration.objects.filter(app="labeling").latest("name")
        last.delete()
        try:
            answer = parts(client, **BEARS)["migrations"]
        finally:
            MigrationRecorder.Migration.objects.create(app=last.app, name=last.name)
        assert answer == {"ok": False, "says": f"Not applied: labeling.{last.name}. Run `manage.py prepare`."}
        assert parts(client)["migrations"]["ok"]

    def test_many_at_once_look_once_and_nobody_waits_for_a_database_that_hangs(self):
        looks, hangs, looking = [], threading.Event(), threading.Event()

        def look() -> int:
            looks.append(1)
            if len(looks) > 1:
                looking.set()
                hangs.wait(60)
            return len(looks)

        seen = Briefly(60, look)
        assert [seen(), seen(), seen()] == [1, 1, 1]
        seen.until = 0
        slow = threading.Thread(target=seen)
        slow.start()
        assert looking.wait(60)
        assert seen() == 1  # at once, while the other hangs
        hangs.set()
        slow.join(60)
        assert (seen(), len(looks)) == (2, 2)


class TestFigures:
    def test_of_the_tables(self, client, settings):
        before = told(client)
        project = make_project()
        post, other = make_post(project), make_post(project, label="bullish")
        make_vote(post, "gpt", "bullish", cost="0.25")
        make_vote(other, "gpt", "bearish", cost="0.5")
        ImportRun.objects.create(project=project, name="a", state="running", heartbeat="2020-01-01T00:00Z")
        VotingRun.objects.create(project=project, state="running", heartbeat="2020-01-01T00:00Z")
        VotingRun.objects.create(project=project, state="paused")
        waiting = Disagreement.objects.create(project=project, post=post, why="split")
        Review.objects.create(
            project=project, disagreement=waiting, reviewer=make_user(), key="1", label=post.project.labels.first()
        )
        OrmQ.objects.create(key="gpu", payload="x", lock="2020-01-01T00:00Z")
        after = told(client)
        provider = post.votes.get().voter.provider
        changed = {
            'casting_vote_posts{state="waiting"}': 1, 'casting_vote_posts{state="settled"}': 1,
            f'casting_vote_votes{{provider="{provider}"}}': 2, "casting_vote_reviews_total": 1,
            f'casting_vote_votes_dollars{{provider="{provider}"}}': 0.75,
            'casting_vote_open_disagreements{stream="contested"}': 1, "casting_vote_imports_silent": 1,
            'casting_vote_voting_runs{state="running"}': 1, 'casting_vote_voting_runs{state="paused"}': 1,
            "casting_vote_voting_runs_silent": 1, 'casting_vote_queue_waiting{queue="gpu"}': 1,
        }  # fmt: skip
        assert {name: after[name] - before.get(name, 0) for name in changed} == changed
        assert after["casting_vote_database_up"] == 1
        assert after['casting_vote_queue_waiting{queue="short"}'] == 0
        assert after['casting_vote_queue_oldest_seconds{queue="gpu"}'] > 365 * 24 * 3600

    def test_of_training_stand_by_machine_while_it_goes(self, client):
        project = make_project()
        frozen = Dataset.objects.create(project=project, name="v1", state="frozen")
        latest = {"memory": 8_000_000_000, "samples_per_second": 12.5, "loss": 0.5}
        common = {"project": project, "dataset": frozen, "config": {}, "state": "running", "latest": latest}
        Run.objects.create(machine="big", heartbeat=Now(), step=30, steps=120, **common)
        Run.objects.create(machine="dead", heartbeat="2020-01-01T00:00Z", step=30, steps=120, **common)
        seen = told(client)
        assert seen['casting_vote_gpu_memory_bytes{machine="big"}'] == 8e9
        assert seen['casting_vote_training_done_ratio{machine="big"}'] == 0.25
        assert not [name for name in seen if "dead" in name]
        states = seen['casting_vote_training_runs{state="running"}'], seen["casting_vote_training_runs_silent"]
        assert states == (2, 1)

    def test_no_table_that_grows_with_the_posts_is_counted(self):
        with CaptureQueriesContext(connection) as asked:
            metrics.gather()
        names = r"annotate_(post|vote|review|disagreement|event)|modeling_(datasetitem|prediction)"
        big = re.compile(rf'(FROM|JOIN) "?({names})"?\b')
        assert [query["sql"] for query in asked if big.search(query["sql"])] == []
        assert len(asked) < 40

    def test_requests_stand_by_the_names_of_routes(self, client):
        for path in ("/p/one/", "/p/two/posts?q=x", "/made/up", "/also/made/up", "/api/projects"):
            client.get(path)
        client.generic("MADEUP", "/login")
        counts = {name for name in told(client) if name.startswith("casting_vote_request_seconds_count")}
        assert 'casting_vote_request_seconds_count{method="GET",route="project",status="3xx"}' in counts
        assert 'casting_vote_request_seconds_count{method="GET",route="unknown",status="4xx"}' in counts
        assert 'casting_vote_request_seconds_count{method="GET",route="api:projects",status="4xx"}' in counts
        assert [name for name in counts if 'method="other",route="login"' in name]
        assert not [name for name in counts if "made" in name or "MADE" in name]


def test_what_processes_counted_before_they_ended_is_kept_in_one_file(tmp_path, monkeypatch):
    program = (
        "import os, sys; os.environ['PROMETHEUS_MULTIPROC_DIR'] = sys.argv[1]\n"
        "from prometheus_client import Counter, Gauge, Histogram\n"
        "Counter('done', 'd', ['of']).labels('x').inc(3); Histogram('took', 't', buckets=(1, 2)).observe(1.5)\n"
        "Gauge('held', 'h', multiprocess_mode='livesum').set(7)\n"
    )
    for _ in range(3):
        subprocess.run([sys.executable, "-c", program, str(tmp_path)], check=True)
    monkeypatch.setenv(shared_counts.CHOSEN, str(tmp_path))
    for _ in range(2):
        counted = read(metrics.counted().decode())
        assert counted['done_total{of="x"}'] == 9
        assert (counted['took_bucket{le="2.0"}'], counted["took_count"], counted["took_sum"]) == (3, 3, 4.5)
        assert "held" not in counted
    assert sorted(path.name for path in tmp_path.glob("*.db")) == ["counter_ended.db", "histogram_ended.db"]
    assert ended_counts.process_of(Path("histogram_ended.db")) == 0


def test_a_server_begins_with_an_empty_folder_and_clears_away_those_of_dead_ones(tmp_path, monkeypatch):
    monkeypatch.delenv(shared_counts.CHOSEN, raising=False)
    monkeypatch.setattr(sys, "modules", {name: m for name, m in sys.modules.items() if name != "prometheus_client"})
    mine = shared_counts.folder_of(tmp_path, os.getppid())
    dead = mine.with_name(mine.name + "1")
    elsewhere = mine.with_name("another-machine.7.1700000000")
    for folder in (dead, elsewhere):
        folder.mkdir(parents=True)
    shared_counts.choose(tmp_path)
    assert os.environ[shared_counts.CHOSEN] == str(mine)
    assert sorted(path.name for path in mine.parent.iterdir()) == sorted([mine.name, elsewhere.name])


# --- Real processes


@contextmanager
def started(command: list[str], folder: Path, **environment: str) -> Iterator[psutil.Popen]:
    own = {
        "DATABASE_URL": database_url(), "VAR_DIR": str(folder), "MEDIA_ROOT": str(folder / "media"),
        "SECRET_KEY": settings.SECRET_KEY, "LOG_FORMAT": "json", "LOG_LEVEL": "INFO", "OMP_NUM_THREADS": "1",
        "PYTHONWARNINGS": "ignore",
    }  # fmt: skip
    inherited = {name: value for name, value in os.environ.items() if name != shared_counts.CHOSEN}
    with (folder / "said").open("wb") as said:
        process = psutil.Popen(
            command, cwd=ROOT, env=inherited | own | environment, start_new_session=True, stdout=subprocess.DEVNULL,
            stderr=said,
        )  # fmt: skip
    try:
        yield process
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait(30)


def lines_of(folder: Path) -> list[dict[str, object]]:
    """Whole ones: the last may still be on its way."""
    return [json.loads(line) for line in (folder / "said").read_text().splitlines(keepends=True) if line.endswith("\n")]


def answers(what: Callable[[], httpx.Response]) -> bool:
    try:
        return what().status_code == 200
    except httpx.HTTPError:
        return False


@pytest.mark.django_db(transaction=True)
def test_a_site_of_several_processes_counts_every_request_once_and_logs_no_secret(tmp_path):
    port, secret = free_port(), "cv_neverInAnyLog0123456789"
    command = processes.web_server("127.0.0.1", port, 2, 2)
    with (
        started(command, tmp_path, METRICS_TOKEN=TOKEN, DATABASE_POOL="2") as server,
        httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=60, headers={"Connection": "close"}) as site,
    ):
        bearer = {"Authorization": f"Bearer {secret}"}
        assert soon(lambda: answers(lambda: site.get("/healthz")), 90)

        def ask(times: int) -> None:
            for _ in range(times):
                assert site.get(f"/api/projects?token={secret}", headers=bearer).status_code == 401

        def counted(name: str) -> float:
            return read(site.get("/metrics", headers=BEARS).text).get(name, 0)

        requests = 'casting_vote_request_seconds_count{method="GET",route="api:projects",status="4xx"}'
        ask(30)
        assert counted(requests) == 30
        killed = server.children()[0]
        killed.kill()
        assert soon(lambda: not killed.is_running() and len(server.children()) == 2, 60)
        assert soon(lambda: answers(lambda: site.get("/healthz")), 60)
        ask(30)
        assert counted(requests) == 60
        assert soon(lambda: answers(lambda: site.get("/healthz")) and counted("casting_vote_web_workers") == 2, 60)

        # Nothing was collected for this site, so that its pages break, and that of errors too.
        broken = site.get(f"/login?token={secret}", headers=bearer | {"X-Request-ID": "from-our-proxy"})
        assert broken.status_code == 500
        assert broken.headers["X-Request-ID"] == "from-our-proxy"
        assert "the number from-our-proxy" in broken.text
        assert site.get("/readyz?exclude=queue_short&exclude=queue_gpu").status_code == 200
        lines = lines_of(tmp_path)
    ours = [line for line in lines if line.get("request_id") == "from-our-proxy"]
    assert [line["route"] for line in ours if line["logger"] == "annotate.requests"] == ["login"]
    assert any("Missing staticfiles manifest entry" in str(line.get("exception")) for line in ours)
    access = [line for line in lines if line["logger"] == "annotate.requests"]
    assert len([line for line in access if line["route"] == "api:projects"]) == 60
    assert not [line for line in access if line["route"] in {"healthz", "readyz", "metrics"}]
    assert secret not in json.dumps(lines)
    assert TOKEN not in json.dumps(lines)


@pytest.mark.django_db(transaction=True)
def test_a_queue_is_heard_and_its_lines_tell_task_and_run(tmp_path, client):
    with at_work.at(at_work.Task("asked", "1", None, "a-request")):
        async_task("annotate.tasks.find_riskiest", 0, task_name="find")
    async_task("annotate.tasks.import_posts", 7, task_name="import 7")
    own = {"Q_CLUSTER_NAME": "short", "QUEUE_WORKERS": "2", "DATABASE_POOL": "0"}
    with started(processes.queue(), tmp_path, **own):
        assert soon(lambda: parts(client, **BEARS)["queue_short"]["ok"], 90)
        assert soon(lambda: len([line for line in lines_of(tmp_path) if line["logger"] == "annotate.tasks"]) == 2, 60)
        assert soon(lambda: workers_of("short", client) == 2, 60)
        found, failed = sorted(
            (line for line in lines_of(tmp_path) if line["logger"] == "annotate.tasks"), key=lambda line: line["level"],
            reverse=True,
        )  # fmt: skip
    assert (found["task"], found["run_id"], found["request_id"]) == ("annotate.tasks.find_riskiest", 0, "a-request")
    assert (failed["task"], failed["run_id"], failed["level"]) == ("annotate.tasks.import_posts", 7, "ERROR")
    assert "failed after" in str(failed["message"])
    assert "matching query does not exist" in str(failed["message"])
    assert len(str(failed["task_id"])) == 32
    assert soon(lambda: workers_of("short", client) == 0, 60)


def workers_of(queue: str, client: Client) -> float:
    named = f'queue="{queue}"'
    seen = told(client).items()
    return sum(value for name, value in seen if name.startswith("casting_vote_queue_workers") and named in name)
