"""Messages on their way. A message is sent until it arrives, for about a day; one that arrived may arrive again, and
bears the same number then."""

import random
import time
from datetime import timedelta

from django.db import connection, transaction
from django.utils import timezone
from django_q.tasks import async_task

from annotate.models import Delivery, Event, Webhook
from annotate.models.webhook import DeliveryState, WebhookState

from . import secret, sending, signing, telling
from .sending import Outcome

LEASE = timedelta(seconds=60)  # in which a worker sends one message and writes down what became of it
# Between one try and the next, give or take a fifth: about a day in all.
WAITS = tuple(timedelta(minutes=minutes) for minutes in (1, 5, 30, 120, 300, 480, 480))
SPREAD = 0.2
PATIENCE = timedelta(hours=26)
BORNE = timedelta(days=5)  # of nothing but failures; after that nobody is told any more
KEPT = timedelta(days=30)  # on the page
AT_ONCE = 30  # seconds that one task goes on: other work waits in the same queue
CHANCE = random.Random()  # noqa: S311 - of nothing secret

# MATERIALIZED, because a sub-select that locks must not be run again for every row it is joined to.
CLAIM = """
WITH next AS MATERIALIZED (
  SELECT d.id FROM annotate_delivery AS d JOIN annotate_webhook AS w ON w.id = d.webhook_id
  WHERE d.webhook_id = %(webhook)s AND d.state = 'waiting' AND d.due <= clock_timestamp()
    AND (d.id = %(only)s OR %(only)s::bigint IS NULL AND (w.state = 'on' OR d.event IS NULL))
  ORDER BY d.due, d.id LIMIT 1 FOR NO KEY UPDATE OF d SKIP LOCKED
)
UPDATE annotate_delivery AS d SET due = clock_timestamp() + %(lease)s * interval '1 second',
  tried = clock_timestamp(), tries = d.tries + 1, code = NULL, ms = NULL, said = ''
FROM next WHERE d.id = next.id RETURNING d.id
"""


def take_up() -> None:
    """Every minute: what is to be tried again, and what a dead worker left."""
    give_up_old()
    for webhook in Delivery.objects.due().order_by().values_list("webhook", flat=True).distinct():
        async_task("annotate.tasks.deliver", webhook, again=True, task_name=f"webhook {webhook}")


def give_up_old() -> None:
    """What waited behind others that failed, or at a webhook that rests; and what nobody will look at any more."""
    now = timezone.now()
    Delivery.objects.filter(state=DeliveryState.WAITING, asked__lt=now - PATIENCE).update(state=DeliveryState.FAILED)
    Delivery.objects.filter(created__lt=now - KEPT).exclude(state=DeliveryState.WAITING).delete()


def deliver(pk: int, again: bool = False) -> None:
    """All that is due at one webhook, up to the first that does not arrive: one that hangs holds up a worker once a
    minute, and no more."""
    if not again and Webhook.objects.filter(pk=pk, failing_since__isnull=False).exists():
        return
    until = time.monotonic() + AT_ONCE
    while delivery := claim(pk):
        if not attempt(delivery):
            return
        if time.monotonic() > until:
            telling.enqueue(delivery.webhook)
            return


def deliver_one(webhook: int, pk: int) -> None:
    """Somebody waits for this one, and it goes whatever state the webhook is in."""
    if delivery := claim(webhook, only=pk):
        attempt(delivery)


def claim(webhook: int, only: int | None = None) -> Delivery | None:
    """One statement, of two workers for one; who dies now leaves it to whoever looks after the lease."""
    with connection.cursor() as cursor:
        cursor.execute(CLAIM, {"webhook": webhook, "only": only, "lease": LEASE.total_seconds()})
        row = cursor.fetchone()
    return Delivery.objects.select_related("webhook__project").get(pk=row[0]) if row else None


def attempt(delivery: Delivery) -> bool:
    outcome = sent(delivery)
    with transaction.atomic():
        (arrived if outcome.arrived else missed)(delivery, outcome)
    return outcome.arrived


def sent(delivery: Delivery) -> Outcome:
    webhook, body = delivery.webhook, delivery.body.encode()
    try:
        secrets = secret.valid_secrets(webhook)
    except secret.AnotherKey as refusal:
        return Outcome(None, 0, str(refusal))
    signed = signing.headers(secrets, delivery.message, int(time.time()), body)
    return sending.post(webhook.address, signed, body, webhook.private)


def arrived(delivery: Delivery, outcome: Outcome) -> None:
    note(delivery, outcome, state=DeliveryState.DELIVERED)
    Webhook.objects.filter(pk=delivery.webhook_id, failing_since__isnull=False).update(failing_since=None)


def missed(delivery: Delivery, outcome: Outcome) -> None:
    """A test is tried once, and says nothing of the webhook: somebody is looking."""
    now = timezone.now()
    wait = next_wait(delivery.tries, outcome)
    over = delivery.is_test or wait is None or outcome.code == sending.GONE or now + wait > delivery.asked + PATIENCE
    told = {"state": DeliveryState.FAILED} if over or wait is None else {"due": now + wait}
    if not note(delivery, outcome, **told) or delivery.is_test:
        return
    webhook = Webhook.objects.select_for_update(of=("self",)).select_related("project").get(pk=delivery.webhook_id)
    webhook.failing_since = webhook.failing_since or now
    webhook.save(update_fields=["failing_since"])
    if outcome.code == sending.GONE:
        switch_off(webhook, "It answered 410: the receiver is gone for good.")
    elif webhook.failing_since < now - BORNE:
        switch_off(webhook, f"Nothing arrived for {BORNE.days} days. The last answer: {told_last(outcome)}")


def next_wait(tries: int, outcome: Outcome) -> timedelta | None:
    """None after the last try. What the receiver asks for is heard, where it is longer."""
    if tries > len(WAITS):
        return None
    wait = WAITS[tries - 1] * CHANCE.uniform(1 - SPREAD, 1 + SPREAD)
    return max(wait, timedelta(seconds=min(outcome.wait or 0, PATIENCE.total_seconds())))


def note(delivery: Delivery, outcome: Outcome, **told: object) -> bool:
    """Only while the try is still ours: a worker that was silent for too long has nothing to say any more, unless that
    it arrived, which no later try can undo."""
    this = Delivery.objects.filter(pk=delivery.pk)
    ours = this if outcome.arrived else this.filter(tries=delivery.tries, state=DeliveryState.WAITING)
    return bool(ours.update(code=outcome.code, ms=outcome.ms, said=outcome.said[:300], **told))


def told_last(outcome: Outcome) -> str:
    return f"{outcome.code}." if outcome.code else outcome.said


def switch_off(webhook: Webhook, why: str) -> None:
    if webhook.state == WebhookState.OFF:
        return
    Webhook.objects.filter(pk=webhook.pk).update(state=WebhookState.OFF, why=why)
    Event.record("webhook switched off", project=webhook.project, webhook=webhook.pk, host=webhook.host, why=why)
