"""Machines with cards that join a site: the queue as `make gpu-worker` starts it, the real trainer, and death."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest
from django.conf import settings
from django.test import Client
from django.utils import timezone
from django_q.models import OrmQ, Task
from django_q.signing import SignedPackage

from annotate.models import Event, Role
from annotate.models.importing import SILENCE
from modeling.datasets.recipe import Recipe
from modeling.gpu.hashing import hash_of
from modeling.models import Run, RunState
from modeling.training import results, runner, training_presets
from tests.exporting import stored
from tests.make import make_member, make_post, make_project
from tests.test_dataset import freeze
from tests.test_voting_faults import database_url

pytestmark = pytest.mark.django_db(transaction=True)

ROOT = Path(__file__).resolve().parent.parent.parent
STEPS, EVERY = 40, 4


@pytest.fixture
def site(settings, tmp_path):
    """This process serves the pages, and shares the database and the pictures with the others."""
    settings.VAR_DIR = tmp_path / "site"
    settings.MEDIA_ROOT = tmp_path / "pictures"
    return tmp_path


@pytest.fixture
def join(site) -> Iterator[Callable[..., psutil.Popen]]:
    """A machine by name: the same one where it was named before."""
    joined: list[psutil.Popen] = []

    def start(name: str, **environment: str) -> psutil.Popen:
        own = {
            "Q_CLUSTER_NAME": "gpu", "DATABASE_POOL": "0", "DATABASE_URL": database_url(), "LOG_LEVEL": "ERROR",
            "SECRET_KEY": settings.SECRET_KEY, "MEDIA_ROOT": str(settings.MEDIA_ROOT), "VAR_DIR": str(site / name),
            "OMP_NUM_THREADS": "1",
        }  # fmt: skip
        (site / name).mkdir(exist_ok=True)
        with (site / name / "said").open("ab") as said:
            cluster = psutil.Popen(
                [sys.executable, "manage.py", "qcluster"], cwd=ROOT, env=os.environ | own | environment,
                start_new_session=True, stdout=said, stderr=subprocess.STDOUT,
            )  # fmt: skip
        joined.append(cluster)
        return cluster

    yield start
    for cluster in joined:
        kill_all_of(cluster)


def kill_all_of(cluster: psutil.Popen) -> None:
    if cluster.poll() is None:
        os.killpg(cluster.pid, signal.SIGKILL)
        cluster.wait()


def make_run(**changes: object) -> Run:
    project = make_project("Memes", audit_rate=0)
    for n in range(16):
        make_post(project, f"words of post {n}", ("bearish", "bullish")[n % 2], image=stored(n), label_source="review")
    config = training_presets.named("tiny").configured(batch=2, **changes)
    return runner.start(project, None, freeze(project, recipe=Recipe(validation=0.25, test=0)), config)


def soon(what: Callable[[], object], within: float = 300) -> bool:
    deadline = time.monotonic() + within
    while not what():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


def is_over(run: Run) -> bool:
    run.refresh_from_db()
    return run.is_over


def saved(folder: Path) -> int:
    """The last step that a whole checkpoint is of."""
    return max((int(path.parent.name.rpartition("-")[2]) for path in folder.glob("checkpoints/*/trainer_state.json")),
               default=0)  # fmt: skip


def trainer_of(folder: Path, cluster: psutil.Popen) -> psutil.Process:
    [trainer] = [process for process in cluster.children(recursive=True) if str(folder) in process.cmdline()]
    return trainer


def is_alive(process: psutil.Process) -> bool:
    """Whoever is dead, and only waits for somebody to take note of it, keeps no card."""
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def told(folder: Path, doing: str) -> list[dict[str, object]]:
    lines = map(json.loads, (folder / "progress.jsonl").read_text().splitlines())
    return [line for line in lines if line.get("doing") == doing]


def taken_up_after_the_silence(run: Run) -> None:
    """As a minute later."""
    run.refresh_from_db()
    assert run.state == RunState.RUNNING, run.error
    Run.objects.filter(pk=run.pk).update(heartbeat=timezone.now() - 2 * SILENCE)
    runner.take_up()


def test_killed_outright_worker_first_and_then_all_of_it_a_run_comes_to_its_end_once(site, join):
    run = make_run(max_steps=STEPS, evaluate_every=EVERY)
    folder = site / "card" / "runs" / str(run.pk)
    cluster = join("card")
    for blow in ("the worker", "all of it"):
        before = saved(folder)
        assert soon(lambda: saved(folder) > before or is_over(run)), (site / "card" / "said").read_text()  # noqa: B023
        trainer = trainer_of(folder, cluster)
        if blow == "the worker":
            trainer.parent().kill()
        else:
            kill_all_of(cluster)
            cluster = join("card")
        assert soon(lambda: not is_alive(trainer), within=10)  # noqa: B023
        taken_up_after_the_silence(run)
    assert soon(lambda: is_over(run))
    assert (run.state, run.step, run.interruptions) == (RunState.DONE, STEPS, 2), run.error
    assert list(run.points.filter(kind="step").values_list("step", flat=True)) == list(range(1, STEPS + 1))
    assert [line["resumed"] is not None for line in told(folder, "training")] == [False, True, True]
    assert run.receipt["starts"] == 3
    assert Event.objects.filter(verb="training done").count() == 1


def test_delivered_to_two_machines_one_trains_and_all_have_its_log_and_its_result(site, join):
    run = make_run(max_steps=2)
    runner.enqueue(run)
    for name in ("card-1", "card-2"):
        join(name)
    assert soon(lambda: is_over(run) and Task.objects.count() == 2), (site / "card-1" / "said").read_text()
    assert run.state == RunState.DONE, run.error
    [folder] = site.glob("card-*/runs/*")
    assert len(told(folder, "reading the posts")) == 1
    log = (folder / "log.txt").read_text().strip().splitlines()
    assert log
    client = Client()
    client.force_login(make_member(run.project, Role.LEAD))
    page = client.get(f"/p/{run.project.slug}/runs/{run.pk}")
    assert page.context["run"].log.splitlines()[-1] == log[-1].rpartition("\r")[2]
    assert "It worked on another machine than this site" in page.content.decode()
    fetched = results.fetched(run)
    assert fetched.is_relative_to(site / "site")
    assert hash_of(fetched / "adapter") == run.receipt["adapter"]
    assert {path.name for path in (folder / "adapter").iterdir()} == {
        path.name for path in (fetched / "adapter").iterdir()
    }
    assert not told_of_posts(fetched)


def told_of_posts(folder: Path) -> list[str]:
    parts = [path for path in folder.rglob("*") if path.is_file()]
    assert len(parts) > 5
    return [path.name for path in parts if b"words of post" in path.read_bytes()]


def test_a_machine_without_the_sites_key_leaves_its_tasks_to_others(site, join):
    run = make_run(max_steps=2)
    join("card", SECRET_KEY="of another site")
    said = site / "card" / "said"
    assert soon(lambda: "start it with the site’s" in said.read_text())
    [task] = OrmQ.objects.all()
    assert SignedPackage.loads(task.payload)["args"] == (run.pk,)
