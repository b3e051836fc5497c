"""What the very first start makes, so that a newcomer looks at a real project and not at an empty page."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from random import Random

from django.core.management import call_command
from django.db import connection, transaction
from django.db.migrations.executor import MigrationExecutor
from django_q.models import Schedule
from django_q.tasks import async_task

from .demo import draw_posts
from .importing.load import Loader, batches
from .importing.rows import Picture, Row
from .login_links import login_link
from .models import Event, ImportRun, Project, User
from .models.importing import ImportState
from .project_presets import make_project

Say = Callable[[str], None]
DEMO = "demo"
HOLDOUT = 107  # as small as the test sets this is built for
MOST_ALIKE, LOT = 17, 226
NO_MORE = ("modeling.tasks.every_day",)  # what earlier versions had planned
SWEEPS = ("annotate.tasks.every_minute", "labeling.tasks.every_minute", "modeling.tasks.every_minute")


def migrate(say: Say) -> None:
    executor = MigrationExecutor(connection)
    if executor.migration_plan(executor.loader.graph.leaf_nodes()):
        say("Preparing the database.")
        call_command("migrate", interactive=False, verbosity=0)
    for func in SWEEPS:
        minutely = {"func": func, "schedule_type": Schedule.MINUTES, "minutes": 1, "repeats": -1, "cluster": "short"}
        Schedule.objects.update_or_create(name=func, defaults=minutely)
    Schedule.objects.filter(name__in=NO_MORE).delete()


def make_demo(say: Say) -> None:
    """Only where nobody and nothing is yet: who deletes the demo project is not given it back."""
    if User.objects.exists():
        return
    say("First start: drawing a demo project of 400 posts.")
    with transaction.atomic():
        admin = User(username="admin", is_staff=True, is_superuser=True)
        admin.set_unusable_password()
        admin.save()
        project = make_project("crypto-sentiment", "Demo: synthetic memes", admin, slug=DEMO, synthetic=True)
        fill(project, admin)
        async_task("labeling.tasks.vote_on_demo", project.pk, task_name="vote on the demo")


def fill(project: Project, admin: User) -> None:
    """The locked test set knows its labels; of the rest the truth lies in `meta`, for whoever wants to compare."""
    rows = list(demo_rows())
    load(project, admin, "posts", [replace(row, label="", incongruous=None) for row in rows])
    apart = apart_from_the_rest(project)
    load(project, admin, "test set", [row for row in rows if row.external_id in apart])
    name_templates(project)
    Event.record("demo drawn", user=admin, project=project, posts=len(rows))


def load(project: Project, admin: User, name: str, rows: list[Row]) -> None:
    run = ImportRun.objects.create(
        project=project, by=admin, name=f"drawn {name}", holdout=name == "test set", state=ImportState.QUEUED
    )
    run.claim()
    loader = Loader(run)
    for batch in batches(rows):
        loaded = loader.load(batch)
        run.imported += loaded.count("imported")
        run.already += loaded.count("already there")
    run.state, run.ended = ImportState.DONE, run.started
    run.save()


def apart_from_the_rest(project: Project) -> set[str]:
    """Whole groups of look-alikes, because what looks like the locked test set is never trained on. By a lot under
    which each label, and what is incongruous, has about the share that it has in all."""
    groups: dict[int | None, list[str]] = {}
    for template, external_id in project.posts.order_by("at", "id").values_list("template", "external_id"):
        groups.setdefault(template, []).append(external_id)
    small = [members for members in groups.values() if len(members) <= MOST_ALIKE]
    Random(LOT).shuffle(small)  # noqa: S311 - no secret
    chosen: list[str] = []
    for members in small:
        if len(chosen) + len(members) <= HOLDOUT:
            chosen += members
    return set(chosen)


def name_templates(project: Project) -> None:
    """As a lead would: a group whose pictures were all drawn from one template gets its name."""
    drawn = project.posts.filter(template__size__gt=1).values_list("template_id", "meta__template").distinct()
    names: dict[int, list[str]] = {}
    for template, name in drawn:
        names.setdefault(template, []).append(name)
    for template, given in names.items():
        if len(given) == 1:
            project.templates.filter(pk=template).update(name=given[0])


def demo_rows() -> Iterator[Row]:
    for number, post in enumerate(draw_posts(), start=1):
        yield Row(
            number=number,
            text=post.text,
            external_id=post.external_id,
            picture=Picture(post.external_id, lambda data=post.picture: data),  # type: ignore[misc]
            posted_at=post.posted_at,
            source="drawn",
            label=post.label,
            incongruous=post.incongruous,
            meta={"drawn as": post.label, "incongruous": post.incongruous, "template": post.template},
        )


def link() -> str:
    """For the first site admin; shown only to whoever can start the server, who could make one anyway."""
    admin = User.objects.filter(is_superuser=True, is_active=True).order_by("pk").first()
    return login_link(admin) if admin else ""
