"""Webhooks as admins keep them. The page, the API and nobody else end up here; every change is in the event log."""

from collections.abc import Sequence
from datetime import timedelta

from django.db import transaction
from django.db.models import Q, QuerySet
from django.utils import timezone
from django_q.tasks import async_task

from annotate.models import Delivery, Event, Project, User, Webhook
from annotate.models.people import digest
from annotate.models.webhook import MOST, ON_ITS_WAY, DeliveryState, WebhookState

from . import kinds, secret, sending, telling

OLD_SECRET_LASTS = timedelta(days=1)


class Refused(Exception):
    """It cannot be so; the words are for whoever asked."""


@transaction.atomic
def add(
    project: Project, by: User, address: str, chosen: Sequence[str], note: str = "", private: bool = False
) -> tuple[Webhook, str]:
    """With its secret, which is told this once."""
    address = address.strip()
    if private and not by.is_superuser:
        raise Refused("Only a site admin may have an address inside our own network called.")
    if problem := sending.problem_with(address, private):
        raise Refused(problem)
    known_kinds = checked(chosen)
    Project.objects.select_for_update(no_key=True).get(pk=project.pk)
    if project.webhooks.count() >= MOST:
        raise Refused(f"A project has at most {MOST} webhooks: delete one that is not needed.")
    seed = secret.new_seed()
    shown = secret.secret_of(seed)
    webhook = Webhook.objects.create(
        project=project, address=address, note=cleaned(note), kinds=known_kinds, private=private, seed=seed,
        digest=digest(shown), by=by,
    )  # fmt: skip
    record("webhook added", webhook, by)
    return webhook, shown


def checked(chosen: Sequence[str]) -> list[str]:
    if unknown := sorted(set(chosen) - set(kinds.KINDS)):
        raise Refused(f"“{unknown[0][:40]}” is nothing that is told; there are {', '.join(kinds.KINDS)}.")
    if not chosen:
        raise Refused("Choose at least one thing that it is told of.")
    return [kind for kind in kinds.KINDS if kind in chosen]


def cleaned(note: str) -> str:
    return " ".join(note.replace("\0", "").split())[:120]


def change(webhook: Webhook, by: User, chosen: Sequence[str], note: str) -> None:
    with transaction.atomic():
        Webhook.objects.filter(pk=webhook.pk).update(kinds=checked(chosen), note=cleaned(note))
        record("webhook changed", webhook, by)


def record(verb: str, webhook: Webhook, by: User) -> None:
    Event.record(verb, user=by, project=webhook.project, webhook=webhook.pk, host=webhook.host)


def pause(webhook: Webhook, by: User) -> bool:
    return turn(webhook, by, [WebhookState.ON], WebhookState.PAUSED, "webhook paused")


def turn_on(webhook: Webhook, by: User) -> bool:
    """Paused or switched off; what waits is sent with the next minute."""
    return turn(webhook, by, [WebhookState.PAUSED, WebhookState.OFF], WebhookState.ON, "webhook turned on")


@transaction.atomic
def turn(webhook: Webhook, by: User, before: list[WebhookState], state: WebhookState, verb: str) -> bool:
    here = Webhook.objects.filter(pk=webhook.pk, state__in=before)
    changed = here.update(state=state, why="", failing_since=None)
    if changed:
        record(verb, webhook, by)
        if state == WebhookState.ON:
            telling.enqueue(webhook)
    webhook.refresh_from_db()
    return bool(changed)


@transaction.atomic
def delete(webhook: Webhook, by: User) -> None:
    """What was sent is forgotten with it; what happened stays in the log."""
    record("webhook deleted", webhook, by)
    Webhook.objects.filter(pk=webhook.pk).delete()


@transaction.atomic
def new_secret(webhook: Webhook, by: User) -> str:
    """The old one counts for a day more, so that the receiver can be changed at leisure; one before it no longer."""
    webhook = Webhook.objects.select_for_update(of=("self",)).select_related("project").get(pk=webhook.pk)
    webhook.old_seed, webhook.old_until = webhook.seed, timezone.now() + OLD_SECRET_LASTS
    webhook.seed = secret.new_seed()
    shown = secret.secret_of(webhook.seed)
    webhook.digest = digest(shown)
    webhook.save(update_fields=["seed", "digest", "old_seed", "old_until"])
    record("webhook secret changed", webhook, by)
    return shown


@transaction.atomic
def test(webhook: Webhook) -> Delivery:
    """Of nothing that happened; sent also where it is paused or switched off."""
    data: dict[str, object] = {"project": webhook.project.slug, "webhook": webhook.pk}
    body = telling.written(kinds.TEST, timezone.now(), data)
    made = Delivery.objects.create(webhook=webhook, kind=kinds.TEST, body=body)
    send_now(made)
    return made


@transaction.atomic
def send_again(delivery: Delivery) -> bool:
    """The same message with the same number, from the beginning. Not one that is on its way or about to go."""
    now = timezone.now()
    rests = ~Q(state=DeliveryState.WAITING) | Q(due__gt=now) & ~ON_ITS_WAY | ~Q(webhook__state=WebhookState.ON)
    changed = Delivery.objects.filter(rests, pk=delivery.pk).update(
        state=DeliveryState.WAITING, tries=0, asked=now, due=now, code=None, ms=None, said=""
    )
    if changed:
        send_now(delivery)
    return bool(changed)


def send_now(delivery: Delivery) -> None:
    webhook = delivery.webhook_id
    async_task("annotate.tasks.deliver_one", webhook, delivery.pk, task_name=f"webhook {webhook}, {delivery.pk}")


def recent(webhook: Webhook) -> QuerySet[Delivery]:
    return webhook.deliveries.order_by("-pk")


def waiting(webhook: Webhook) -> int:
    return webhook.deliveries.filter(state=DeliveryState.WAITING).count()
