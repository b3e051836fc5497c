"""People at work while their processes are killed and their connections cut: nothing twice, lost or settled wrongly."""

import os
import random
import sys
import time
from collections import Counter
from datetime import timedelta
from pathlib import Path

import psutil
import pytest
from django.db import connection

from annotate.models import Disagreement, Post, Review, Role
from annotate.models.review import Stream, Why
from tests.faults.books import broken
from tests.faults.journal import Journal
from tests.faults.reviewers import name_of
from tests.make import EPOCH, make_member, make_project
from tests.test_voting_faults import database_url

pytestmark = pytest.mark.django_db(transaction=True)

ROOT = Path(__file__).resolve().parent.parent.parent
LEASE = timedelta(seconds=0.5)
POSTS = 300


@pytest.fixture
def project():
    """A third of the contested want two people, as every audit does."""
    project = make_project()
    agreed = {"state": "settled", "label": project.labels.first(), "label_source": "consensus"}
    posts = Post.objects.bulk_create(
        Post(project=project, external_id=f"p{n}", text=str(n), at=EPOCH, content_hash=f"{n:064x}",
             **(agreed if n % 10 == 0 else {"state": "contested"}))
        for n in range(POSTS)
    )  # fmt: skip
    Disagreement.objects.bulk_create(
        Disagreement(project=project, post=post, why=Why.AUDIT, stream=Stream.AUDIT, wanted=2)
        if post.label_id
        else Disagreement(project=project, post=post, why=Why.SPLIT, wanted=1 + (n % 3 == 0))
        for n, post in enumerate(posts)
    )
    return project


@pytest.fixture
def people(project):
    roles = [Role.LEAD, Role.LEAD, *[Role.REVIEWER] * 6]
    return [make_member(project, role) for role in roles]


@pytest.fixture
def at_work(project, people, tmp_path):
    command = [sys.executable, "-m", "tests.faults.reviewers", str(tmp_path), str(project.pk)]
    command += [str(LEASE.total_seconds()), *(str(user.pk) for user in people)]
    environment = os.environ | {
        "DATABASE_URL": database_url(), "DATABASE_POOL": "0", "DJANGO_SETTINGS_MODULE": "annotate.settings"
    }  # fmt: skip
    process = psutil.Popen(command, cwd=ROOT, env=environment)
    yield process
    if process.is_running():
        for part in [*process.children(), process]:
            part.kill()
        process.wait()


def strike(journal: Path, person: int, dice: random.Random) -> str:
    """Where it hurts: something has just been sent, and nobody knows whether it arrived."""
    if not wait_until_sent(journal):
        return ""
    time.sleep(dice.uniform(0, 0.008))
    return kill(journal) if dice.random() < 0.5 else cut(person)


def wait_until_sent(journal: Path) -> bool:
    for _ in range(150):
        if journal.exists() and journal.read_bytes().rpartition(b"\n{")[2].startswith((b'"ask"', b'"undo"')):
            return True
        time.sleep(0.001)
    return False


def kill(journal: Path) -> str:
    pid = [line["sat"] for line in Journal(journal).lines if "sat" in line][-1]
    try:
        psutil.Process(pid).kill()
    except psutil.NoSuchProcess:
        return ""
    return "killed"


def cut(person: int) -> str:
    with connection.cursor() as cursor:
        cursor.execute(
            """SELECT count(*) FILTER (WHERE pg_terminate_backend(pid)) FROM pg_stat_activity
               WHERE application_name = %s""",
            [name_of(person)],
        )
        return "cut" if cursor.fetchone()[0] else ""


def test_killed_and_cut_off_in_the_middle_of_it_no_answer_is_lost_doubled_or_misread(
    project, people, at_work, tmp_path
):
    dice = random.Random(7)
    survived = Counter()
    while at_work.poll() is None and Review.objects.filter(undone=None).count() < POSTS:
        person = dice.choice(people).pk
        survived[strike(tmp_path / str(person), person, dice)] += 1
    assert at_work.wait(60) == 0
    journals = [Journal(tmp_path / str(user.pk)) for user in people]
    told = Counter(next(iter(line)) for journal in journals for line in journal.lines)
    print(f"survived {dict(survived)}; heard {dict(told)}; reviews {Review.objects.count()}")
    assert survived["killed"] > 2
    assert survived["cut"] > 2
    assert broken(project, journals, LEASE) == []
    assert Disagreement.objects.filter(closed__isnull=False).count() > POSTS / 2
