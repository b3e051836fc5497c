"""Plain builders: each makes one thing with sensible defaults and saves it."""

from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any

from annotate.models import Label, Membership, Post, Project, Role, User, Vote, Voter, Webhook
from annotate.models.people import digest
from annotate.webhooks import secret

PASSWORD = "correct horse battery"
EPOCH = datetime(2025, 11, 14, 9, 0, tzinfo=UTC)
numbers = count(1)


def make_user(username: str = "", **fields: Any) -> User:
    user = User(username=username or f"user{next(numbers)}", **fields)
    user.set_password(PASSWORD)
    user.save()
    return user


def make_project(name: str = "", labels: tuple[str, ...] = ("bearish", "neutral", "bullish"), **fields: Any) -> Project:
    name = name or f"Project {next(numbers)}"
    fields.setdefault("question", "What sentiment?")
    project = Project.objects.create(name=name, slug=Project.free_slug(name), **fields)
    Label.objects.bulk_create(
        Label(project=project, name=label, key=str(n + 1) if n < 9 else "", position=n)
        for n, label in enumerate(labels)
    )
    return project


def make_member(project: Project, role: Role = Role.REVIEWER, username: str = "", **fields: Any) -> User:
    user = make_user(username, **fields)
    Membership.objects.create(project=project, user=user, role=role)
    return user


def make_label(project: Project, name: str) -> Label:
    return project.labels.get_or_create(name=name)[0]


def make_post(project: Project, text: str = "gm", label: str = "", **fields: Any) -> Post:
    number = next(numbers)
    if label:
        fields = {"state": "settled", "label_source": "consensus", **fields, "label": make_label(project, label)}
    fields.setdefault("external_id", f"post-{number}")
    fields.setdefault("at", EPOCH + timedelta(minutes=number))
    return Post.objects.create(project=project, text=text, content_hash=f"{number:064x}", **fields)


def make_vote(post: Post, voter: str = "gpt", label: str = "", **fields: Any) -> Vote:
    chosen = make_label(post.project, label) if label else None
    return Vote.objects.create(post=post, voter=Voter.imported(post.project, voter), label=chosen, **fields)


def make_webhook(project: Project, address: str = "https://example.com/hook", **fields: Any) -> Webhook:
    seed = secret.new_seed()
    fields = {"kinds": ["voting", "queue"], "seed": seed, "digest": digest(secret.secret_of(seed)), **fields}
    return Webhook.objects.create(project=project, address=address, **fields)
