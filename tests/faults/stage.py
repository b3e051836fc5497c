"""The project that all of it happens in, and what can be asked about it from outside. Needs Django, set up."""

import random
import threading
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path

import httpx
from django.core.files.storage import default_storage
from django.utils import timezone
from django_q.models import OrmQ, Task
from django_q.tasks import async_task

import annotate.tasks
import labeling.tasks
import modeling.tasks
from annotate import broker, heartbeat
from annotate.login_links import login_link
from annotate.models import ApiToken, ImportRun, Post, Role, User, Vote, Voter
from labeling.models import VotingRun
from modeling.models import Dataset, Evaluation, Goal, PreLabelling, Run
from tests.faults import people, promises
from tests.faults.load import Load
from tests.faults.people import Worker
from tests.faults.provider import EACH, LABELS, PRICES, Provider
from tests.faults.site import Site
from tests.make import make_member, make_project

FLYING = 8
PAUSE = 2.0
DEAD = timedelta(seconds=2.4 * heartbeat.BEAT)  # so long without a beat is no living worker's
LATELY = timedelta(seconds=20)
AT_WORK = {
    "importing": ImportRun, "voting": VotingRun, "freezing": Dataset, "training": Run, "evaluating": Evaluation,
}  # fmt: skip


class Stage:
    def __init__(self, site: Site, folder: Path, seed: int, over: threading.Event, reviewers: int, small: bool) -> None:
        self.site, self.folder, self.over = site, folder, over
        self.provider = Provider(seed)
        self.project = make_project("Soak", labels=LABELS, audit_rate=0.05, double_rate=0.2)
        admin = User.objects.filter(is_superuser=True).first() or make_member(self.project, Role.ADMIN)
        names = {"admin": admin} | {
            f"reviewer{n}": make_member(self.project, Role.LEAD if n == 0 else Role.REVIEWER, f"reviewer{n}")
            for n in range(reviewers)
        }  # fmt: skip
        self.project.memberships.get_or_create(user=admin, defaults={"role": Role.ADMIN})
        tokens = {name: ApiToken.issue(user, "soak")[1] for name, user in names.items()}
        self.token = tokens["admin"]
        self.reviewers = [name for name in names if name != "admin"]
        voters = [self.voter(name) for name in ("gpt", "gem")]
        labels = dict(self.project.labels.values_list("name", "pk"))
        self.load = Load(
            site.address, self.project.slug, tokens, login_link(admin), [voter.pk for voter in voters], labels, folder,
            over, rows=100 if small else 300, pictures=8 if small else 40, steps=4 if small else 9,
        )  # fmt: skip
        self.load.dice = random.Random(seed)

    def voter(self, name: str) -> Voter:
        return Voter.objects.create(
            project=self.project, name=name, provider="openai", model=name, fingerprint=name,
            parameters={"base_url": self.provider.url} | PRICES, limits={"concurrency": FLYING},
        )  # fmt: skip

    def workers(self, closing: threading.Event) -> list[Worker]:
        made = self.load.workers(PAUSE)
        for worker in made:
            worker.closing = closing
        return made

    # --- Looked at from outside

    def at_work(self) -> list[str]:
        found = [
            name for name, kind in AT_WORK.items() if kind.objects.filter(state__in=["running", "freezing"]).exists()
        ]
        goals = {Goal.ASK: "pre-labelling", Goal.APPLY: "settling by a model", Goal.TAKE_BACK: "taking labels back"}
        found += [goals[Goal(one.goal)] for one in PreLabelling.objects.filter(state="running")]
        doing = {worker.name for worker in threading.enumerate() if isinstance(worker, Worker) and worker.is_alive()}
        found += ["reviewing"] if doing & set(self.reviewers) else []
        return found + (["exporting"] if self.load.exporting else [])

    def pages_answer(self) -> bool:
        """One that looks into the database; several times, because several workers answer."""
        try:
            with httpx.Client(headers={"Authorization": f"Bearer {self.token}"}, timeout=10) as http:
                at = f"{self.site.address}/api/projects/{self.project.slug}"
                return all(http.get(at).status_code == 200 for _ in range(3))
        except httpx.HTTPError:
            return False

    def probe(self) -> Callable[[], bool]:
        """Whether a task that is asked for now is done; it is asked for as soon as that can be."""
        from tests.faults.soak import patient

        name = f"probe {time.monotonic()}"
        patient(lambda: async_task("annotate.tasks.forget_drafts", task_name=name))
        return lambda: bool(patient(Task.objects.filter(name=name).exists, tries=2))

    def broken(self, over: bool) -> list[str]:
        journals = [self.folder / name for name in self.reviewers]
        found = promises.broken(self.project, self.load.told, journals, self.provider, over)
        found += [f"a page broke: {page}" for page in people.broken_pages]
        return found + (self.at_last() if over else [])

    def at_last(self) -> list[str]:
        numbers = {
            (voter, int(external[1:]))
            for voter, external in Vote.objects.filter(
                post__project=self.project, voter__provider="openai"
            ).values_list("voter__model", "post__external_id")
        }
        lost = [f"{model}'s answer on {n} was paid for and is lost" for model, n in self.provider.billed
                if (model, n) not in numbers]  # fmt: skip
        return [*promises.files(), *lost[:10]]

    def no_task_is_left(self) -> bool:
        """What a dead worker had fetched is delivered again, as it is after five minutes; and it is soon done."""
        broker.redeliver(LATELY)
        return not OrmQ.objects.exists()

    def unfinished(self) -> list[str]:
        return promises.unfinished()

    # --- Done at the end

    def last_votes(self) -> None:
        """Every post that was imported meanwhile has its votes."""
        for _ in range(5):
            posts = Post.objects.filter(project=self.project)
            if all(not posts.exclude(votes__voter=voter).exists() for voter in self.load.voters):
                return
            self.load.voting()()

    def as_a_minute_later(self) -> None:
        """What is dead for certain is taken for dead at once, and the sweeps of the minute come now."""
        dead = timezone.now() - DEAD
        long_ago = timezone.now() - timedelta(minutes=3)
        for kind, state in [*((kind, "running") for kind in AT_WORK.values()), (Dataset, "freezing"),
                            (PreLabelling, "running")]:  # fmt: skip
            kind.objects.filter(state=state, heartbeat__lt=dead).update(heartbeat=long_ago)
        for sweep in (annotate.tasks, labeling.tasks, modeling.tasks):
            sweep.every_minute()

    def told(self) -> Iterator[str]:
        told = self.load.told
        runs = VotingRun.objects.filter(project=self.project)
        votes = Vote.objects.filter(voter__in=self.load.voters).count()
        asked = sum(self.provider.billed.values())
        yield f"Done: {dict(told.done)}"
        yield f"Pressed, after the page said what had happened: {dict(told.pressed)}"
        yield f"Requests: {dict(people.heard)}"
        yield (
            f"{votes} votes of {asked} answers that were paid for, {asked - votes} asked twice; "
            f"${asked * EACH} owed, ${sum(run.spent + run.written_off for run in runs)} accounted for"
        )
        yield f"{Post.objects.filter(project=self.project).count()} posts; files left over: {len(leftovers())}"


def leftovers() -> list[str]:
    root = Path(default_storage.location)  # type: ignore[attr-defined]
    return [str(path) for path in root.rglob("*.part")]
