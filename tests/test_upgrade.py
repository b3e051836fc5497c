"""A database that the first release's migrations made, with data in it, comes up in this version with all of it.

Every table is filled when it appears, and again each time that a migration touches it, through the models as they were
at that moment; then each later migration has to carry those rows along.
"""

import json
import os
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import count
from pathlib import Path

import pytest
from django.contrib import admin
from django.core.files.base import ContentFile
from django.core.files.storage import default_storage
from django.core.management import call_command
from django.db import connection, models
from django.db.migrations.executor import MigrationExecutor
from django.urls import reverse

from annotate.models import Post, Project, User
from annotate.operating import backup, dumping, restoring

from .test_backup import named

OURS = ("annotate", "labeling", "modeling")
THEN = datetime(2025, 11, 14, 9, 0, tzinfo=UTC)
FROZEN = json.loads(Path(__file__).with_name("first_release.json").read_text())  # as that release had written it
LABELS = ("bearish", "neutral", "bullish")
# What a row needs besides being filled in: a table keeps these rules, or a page reads the inside of a JSON.
AS_IT_WAS = {
    "project": {"slug": "old{n}", "name": "Old {n}", "question": "What sentiment?"},
    "user": {"username": "user{n}", "is_superuser": False, "is_staff": False, "is_active": True},
    "label": {"colour": "#0b7a5c", "key": ""},
    "dataset": {**FROZEN["dataset"], "name": "v{n}", "state": "cancelled"},  # a frozen one takes no more rows
    "datasetitem": FROZEN["items"][0] | {"position": "{n}"},
    "run": {"config": {"model": "tiny"}, "state": "done", "recipe": "tiny", "receipt": {}},
    "votingrun": {"budget": None, "state": "done", "asked": ""},
    "importrun": {"state": "done", "options": {}},
    "post": {"state": "settled", "label_source": "consensus", "meta": {"n": 1}},
    "template": {"size": 2},
    "image": {"format": "png", "sha256": "{n:064d}"},
}
NUMBERS = count(100)
UNSAID = {
    "disagreement": {"closed": THEN}, "review": {"undone": None, "instead": ""}, "cascade": {"run": None},
    "webhook": {"kinds": ["run ended"], "state": "on", "url": "https://example.org/hook"},
}  # fmt: skip


def fill(model, apps, made):
    """One row, told by what its columns are; other tables' rows are made first where there are none."""
    name, number = model._meta.model_name, next(NUMBERS)
    given = AS_IT_WAS.get(name, {}) | UNSAID.get(name, {})
    values = {}
    for field in model._meta.concrete_fields:
        if field.primary_key or isinstance(field, models.GeneratedField):
            continue
        if field.name in given:
            value = given[field.name]
            told = value.format(n=number) if isinstance(value, str) else value
            values[field.name] = int(told) if isinstance(field, models.PositiveIntegerField) else told
        elif field.is_relation:
            values[field.attname] = pointed_at(field, apps, made)
        else:
            values[field.name] = plain(field, number)
    row = model._default_manager.create(**values)
    row.refresh_from_db()
    made[model._meta.label_lower, row.pk] = seen(row)
    return row.pk


def pointed_at(field, apps, made):
    target = field.remote_field.model
    if target is field.model:
        return None
    if field.unique or any(field.name in c.fields for c in field.model._meta.constraints if hasattr(c, "fields")):
        return fill(target, apps, made)  # one of its own
    found = target._default_manager.order_by("-pk").values_list("pk", flat=True).first()
    return found or fill(target, apps, made)


def plain(field, number):
    if field.choices:
        return field.choices[0][0] or field.choices[1][0]
    kinds = {
        models.BooleanField: True, models.FloatField: 0.5, models.DecimalField: Decimal("0.25"),
        models.DateTimeField: THEN + timedelta(minutes=number), models.JSONField: None, models.DurationField: None,
    }  # fmt: skip
    for kind, value in kinds.items():
        if isinstance(field, kind):
            return (field.get_default() if field.has_default() else {}) if kind is models.JSONField else value
    if isinstance(field, models.IntegerField):
        return number
    if hasattr(field, "base_field"):
        return []
    if isinstance(field, models.UUIDField):
        return field.get_default()
    if isinstance(field, models.BinaryField):
        return b"x"
    return f"{number}-{field.name}"[-(field.max_length or 100) :]


def seen(row):
    return {
        field.attname: getattr(row, field.attname)
        for field in row._meta.concrete_fields
        if not isinstance(field, models.GeneratedField)
    }


def told(apps):
    return [model for model in apps.get_models() if model._meta.app_label in OURS]


def by_hand(apps):
    """A project of the first release that its pages can be looked at with."""
    get = apps.get_model
    root = get("annotate", "User").objects.create(username="root", is_superuser=True, is_staff=True, is_active=True)
    project = get("annotate", "Project").objects.create(
        name="Memes", slug="memes", question="What sentiment?", created_by_id=root.pk
    )
    for position, name in enumerate(LABELS):
        get("annotate", "Label").objects.create(
            project_id=project.pk, name=name, key=str(position + 1), position=position
        )
    get("annotate", "Membership").objects.create(project_id=project.pk, user_id=root.pk, role="admin")
    run = get("annotate", "ImportRun").objects.create(
        project_id=project.pk,
        by_id=root.pk,
        name="posts.csv",
        state="done",
        total=6,
        imported=6,
        started=THEN,
        ended=THEN,
        path=default_storage.save("uploads/first.csv", ContentFile(b"text\ngm\n")),
    )
    labels = list(get("annotate", "Label").objects.filter(project=project.pk))
    voters = [
        get("annotate", "Voter").objects.create(project_id=project.pk, name=name, provider="import", fingerprint=name)
        for name in ("gpt", "gemini")
    ]
    for number in range(6):
        contested = number >= 4
        post = get("annotate", "Post").objects.create(
            project_id=project.pk,
            external_id=f"first-{number}",
            text=f"gm number {number}",
            at=THEN,
            import_run_id=run.pk,
            content_hash=f"{number:064x}",
            meta={"board": "biz"},
            vote_count=2,
            state="contested" if contested else "settled",
            label_id=None if contested else labels[0].pk,
            label_source="" if contested else "consensus",
        )
        for index, voter in enumerate(voters):
            get("annotate", "Vote").objects.create(
                post_id=post.pk,
                voter_id=voter.pk,
                label_id=labels[index if contested else 0].pk,
                confidence=0.75,
                reason="it says so",
                raw='{"label": "bearish"}',
                tokens_in=100,
                tokens_out=20,
                cost=Decimal("0.00012345"),
            )
        if contested:
            get("annotate", "Disagreement").objects.create(post_id=post.pk, why="split")


def frozen_by_hand(apps):
    get = apps.get_model
    project = get("annotate", "Project").objects.get(slug="memes")
    dataset = get("modeling", "Dataset").objects.create(project_id=project.pk, ended=THEN, **FROZEN["dataset"])
    for item in FROZEN["items"]:
        get("modeling", "DatasetItem").objects.create(dataset_id=dataset.pk, at=THEN, **item)


def walk():
    """Each of our migrations in turn, and rows as of then. Returns what was made."""
    executor = MigrationExecutor(connection)
    plan = [migration for migration, _ in executor.migration_plan(executor.loader.graph.leaf_nodes())]
    state, made = executor._create_project_state(with_applied_migrations=True), {}
    for migration in plan:
        state = executor.apply_migration(state, migration)
        if migration.app_label not in OURS:
            continue
        key = (migration.app_label, migration.name.partition("_")[0])
        if key == ("annotate", "0001"):
            by_hand(state.apps)
        if key == ("modeling", "0001"):
            frozen_by_hand(state.apps)
        touched = {
            str(getattr(operation, "model_name", getattr(operation, "name", ""))).lower()
            for operation in migration.operations
        }
        for model in told(state.apps):
            fresh = model._meta.app_label == migration.app_label and model._meta.model_name in touched
            if fresh or not model._default_manager.exists():
                fill(model, state.apps, made)
    return made


@pytest.fixture
def upgraded(transactional_db, settings, tmp_path):
    with dumping.throwaway(f"upgraded_{os.getpid()}") as database, named(database.name):
        yield walk()


def test_a_database_of_the_first_release_comes_up_with_all_of_its_data(upgraded, client, tmp_path):
    now = MigrationExecutor(connection).loader.project_state().apps
    lost, changed = [], []
    for (label, pk), values in upgraded.items():
        try:
            model = now.get_model(label)
        except LookupError:
            lost.append(label)
            continue
        row = model._default_manager.filter(pk=pk).first()
        if row is None:
            lost.append(f"{label} {pk}")
            continue
        kept = seen(row)
        changed += [f"{label}.{name}" for name, value in values.items() if name in kept and kept[name] != value]
    assert lost == []
    assert sorted(set(changed)) == sorted(set(changed) & CHANGED_ON_PURPOSE)
    assert len({label for label, _ in upgraded}) == len(told(now)), "a table had no row"
    call_command("makemigrations", "--check", "--dry-run", verbosity=0)

    pages_answer(client)
    backup_goes_along(tmp_path)


CHANGED_ON_PURPOSE = {"annotate.voter.words"}  # filled in for voters of before, by labeling.0004


def pages_answer(client):
    client.force_login(User.objects.get(username="root"))
    project = Project.objects.get(slug="memes")
    assert project.posts.count() == 6
    assert project.posts.filter(state="contested").count() == 2
    addresses = [reverse("home"), reverse("account"), *(reverse(name, args=["memes"]) for name in LISTS)]
    addresses += [
        reverse("post", args=["memes", project.posts.first().pk]),
        reverse("import", args=["memes", project.imports.get().pk]),
        reverse("voter", args=["memes", project.voters.first().pk]),
        *(reverse(name, args=["memes", "v1"]) for name in ("dataset", "dataset_posts", "dataset_card")),
    ]
    for model, _ in admin.site._registry.items():
        if model._meta.app_label in OURS:
            addresses.append(reverse(f"admin:{model._meta.app_label}_{model._meta.model_name}_changelist"))
    failed = {address: code for address in addresses if (code := client.get(address).status_code) != 200}
    assert failed == {}
    shown = client.get(reverse("post", args=["memes", project.posts.first().pk])).content.decode()
    assert "gm number 0" in shown
    assert "it says so" in shown
    answer = client.get(reverse("review", args=["memes"])).content.decode()
    assert "gm number" in answer


LISTS = (
    "project", "settings", "guidelines", "posts", "templates", "agreement", "people", "imports", "removals", "review",
    "quality", "quality_decided", "quality_machines", "quality_riskiest", "reviewers", "votes", "voting_new",
    "datasets", "dataset_new", "runs", "run_new", "evaluations", "studies", "prelabellings", "rounds", "cascades",
    "label_studio",
)  # fmt: skip


def backup_goes_along(tmp_path):
    """What was carried here can be carried on."""
    manifest = backup.make(tmp_path / "bk")
    assert manifest.rows["annotate_vote"] >= 12
    assert backup.tried(tmp_path / "bk", print).rows == manifest.rows


def test_a_backup_of_an_older_version_is_brought_up_to_this_one(transactional_db, tmp_path):
    with dumping.throwaway(f"older_{os.getpid()}") as database, named(database.name):
        executor = MigrationExecutor(connection)
        executor.migrate([("annotate", "0001_initial"), ("admin", "0003_logentry_add_action_flag_choices")])
        executor = MigrationExecutor(connection)
        by_hand(executor.loader.project_state([("annotate", "0001_initial")]).apps)
        backup.make(tmp_path / "bk")
    with dumping.throwaway(f"newer_{os.getpid()}") as database, named(database.name):
        restoring.restore(tmp_path / "bk")
        executor = MigrationExecutor(connection)
        assert executor.migration_plan(executor.loader.graph.leaf_nodes()) == []
        assert Post.objects.filter(project__slug="memes", text__startswith="gm").count() == 6
        assert default_storage.open(Project.objects.get(slug="memes").imports.get().path).read() == b"text\ngm\n"
