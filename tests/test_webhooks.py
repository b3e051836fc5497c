"""What happens is told to other programs: signed, until it arrives, and never into our own network by accident."""

import base64
import hashlib
import hmac
import json
import os
import signal
import subprocess
import sys
import threading
import time
from datetime import timedelta
from decimal import Decimal
from pathlib import Path

import pytest
from django.core.files.base import ContentFile
from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from django_q.models import OrmQ

from annotate import emptied, queue, tasks
from annotate.importing import doors, running
from annotate.label_studio import running as label_studio
from annotate.models import ApiToken, Delivery, Disagreement, Event, Role, Webhook
from annotate.models.review import Stream, Why
from annotate.models.webhook import DeliveryState, WebhookState
from annotate.webhooks import delivering, keeping, kinds, secret, sending, signing
from labeling import storing
from labeling.models import RunState, VotingRun
from modeling.cascade import cascades
from modeling.datasets import dataset
from modeling.datasets.recipe import Recipe
from modeling.models import JobState, RoundState
from modeling.prelabelling import prelabelling

from .make import make_member, make_post, make_project, make_user
from .receiver import receiving
from .test_voting_faults import database_url

pytestmark = pytest.mark.django_db
ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture
def project():
    return make_project("Memes")


@pytest.fixture
def admin(project):
    return make_member(project, Role.ADMIN, "ada")


@pytest.fixture
def root():
    return make_user("root", is_superuser=True, is_staff=True)


@pytest.fixture
def receiver():
    with receiving() as server:
        yield server


@pytest.fixture
def webhook(project, root, receiver):
    return listen(project, root, receiver.address)


def listen(project, by, address, *chosen, private=True):
    return keeping.add(project, by, address, chosen or ("voting", "round"), private=private)[0]


def happen(project, verb="voting done", **data):
    Event.record(verb, project=project, **data)


def tasks_waiting(func="annotate.tasks.deliver"):
    return [waiting.task for waiting in OrmQ.objects.all() if waiting.task["func"] == func]


def make_due(**which):
    """As if the time until the next try were over."""
    Delivery.objects.filter(**which).update(due=timezone.now() - timedelta(seconds=1))


# --- Signing


def test_signatures_are_those_of_the_specification():
    """Its published example."""
    told = signing.signature(
        "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, b'{"test": 2432232314}'
    )
    assert told == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


def verified(key, got):
    """As docs/webhooks.md tells receivers to check."""
    signed = f"{got.headers['webhook-id']}.{got.headers['webhook-timestamp']}.".encode() + got.body
    mac = hmac.new(base64.b64decode(key.removeprefix("whsec_")), signed, hashlib.sha256).digest()
    ours = "v1," + base64.b64encode(mac).decode()
    return any(hmac.compare_digest(ours, one) for one in got.headers["webhook-signature"].split())


def test_what_happens_is_told_with_a_signature_that_holds(project, root, receiver):
    webhook, key = keeping.add(project, root, receiver.address, ["voting"], private=True)
    happen(project, run=7, votes=120, spent="$1.2000", voters=["gpt"])
    (task,) = tasks_waiting()
    assert task["args"] == (webhook.pk,)
    tasks.deliver(*task["args"])

    (got,) = receiver.got
    event = Event.objects.get(verb="voting done")
    assert verified(key, got)
    assert abs(int(got.headers["webhook-timestamp"]) - time.time()) < 60
    assert got.told["type"] == "voting.done"
    assert got.told["timestamp"] == event.at.isoformat().replace("+00:00", "Z")
    assert got.told["data"] == {
        "id": event.pk, "verb": "voting done", "project": "memes", "run": 7, "votes": 120, "spent": "$1.2000",
        "address": "http://127.0.0.1:8000/p/memes/votes/7",
    }  # fmt: skip
    delivery = Delivery.objects.get()
    assert (delivery.state, delivery.code, delivery.tries) == (DeliveryState.DELIVERED, 204, 1)
    assert got.headers["webhook-id"] == delivery.message
    tasks.deliver(webhook.pk)
    assert len(receiver.got) == 1


def test_an_old_secret_counts_for_a_day_more(project, root, receiver):
    webhook, before = keeping.add(project, root, receiver.address, ["voting"], private=True)
    now = keeping.new_secret(webhook, root)
    assert now != before
    happen(project)
    tasks.deliver(webhook.pk)
    assert verified(before, receiver.got[0])
    assert verified(now, receiver.got[0])
    Webhook.objects.update(old_until=timezone.now())
    happen(project)
    tasks.deliver(webhook.pk)
    assert verified(now, receiver.got[1])
    assert not verified(before, receiver.got[1])


def test_neither_the_database_nor_the_log_holds_the_secret(project, root, receiver):
    webhook, key = keeping.add(project, root, f"{receiver.address}?token=theirs", ["voting"], private=True)
    stored = json.dumps(list(Webhook.objects.values()), default=str)
    assert key not in stored
    assert key.removeprefix("whsec_") not in stored
    keeping.pause(webhook, root)
    keeping.turn_on(webhook, root)
    keeping.new_secret(webhook, root)
    keeping.delete(webhook, root)
    logged = json.dumps(list(Event.objects.values_list("data", flat=True)))
    assert "theirs" not in logged
    assert "whsec" not in logged
    assert "127.0.0.1" in logged


def test_with_another_secret_key_nothing_is_signed_wrong(webhook, project, receiver, settings):
    settings.SECRET_KEY = "another" * 8
    happen(project)
    tasks.deliver(webhook.pk)
    assert receiver.got == []
    delivery = Delivery.objects.get()
    assert delivery.state == DeliveryState.WAITING
    assert "give it a new one" in delivery.said
    with pytest.raises(secret.AnotherKey):
        secret.valid_secrets(webhook)


# --- What is told


def test_only_what_was_chosen_of_this_project_while_it_is_on_is_told(webhook, project, root, receiver):
    happen(make_project("Other"))
    happen(project, "training done", run=1)
    happen(project, "voting started", run=1)
    keeping.pause(webhook, root)
    happen(project)
    assert not Delivery.objects.exists()
    keeping.turn_on(webhook, root)
    happen(project, "round waits for people", round=2, needs="review")
    tasks.deliver(webhook.pk)
    assert [got.told["type"] for got in receiver.got] == ["round.waiting"]
    assert receiver.got[0].told["data"]["address"].endswith("/p/memes/rounds/2")
    assert receiver.got[0].told["data"]["needs"] == "review"


def test_it_is_told_in_the_transaction_in_which_it_happens(webhook, project):
    def broken_off():
        with transaction.atomic():
            happen(project)
            raise RuntimeError

    with pytest.raises(RuntimeError):
        broken_off()
    assert not Event.objects.filter(verb="voting done").exists()
    assert not Delivery.objects.exists()
    assert tasks_waiting() == []


def test_nobodys_words_leave_the_house(project, root, receiver):
    """Notes, reasons and names of people stay, whatever an event holds."""
    webhook = listen(project, root, receiver.address, "people", "import")
    Event.record("invited", user=root, project=project, invitation=3, role="lead", note="ana@example.com")
    Event.record("posts imported", user=root, project=project, run=4, name="posts of Ana.csv", imported=9, refused=0)
    tasks.deliver(webhook.pk)
    sent = b"".join(got.body for got in receiver.got)
    assert len(receiver.got) == 2
    assert b"ana" not in sent.lower()
    assert receiver.got[1].told["data"]["imported"] == 9
    assert receiver.got[1].told["data"]["by"] == root.pk


def test_where_nobody_listens_it_costs_one_look_at_an_index(project):
    with CaptureQueriesContext(
        connection,
    ) as asked:
        happen(project)
        happen(project, "voting started")
    assert len(asked) == 3
    assert tasks_waiting() == []


def test_every_type_has_a_kind_and_every_kind_a_type():
    told = {name.partition(".")[0] for name in kinds.TYPES.values()}
    assert told == set(kinds.KINDS)
    assert all(len(verb) <= 40 for verb in kinds.TYPES)
    assert len(set(kinds.TYPES.values())) == len(kinds.TYPES)


# --- Until it arrives


def test_what_fails_is_tried_again_and_bears_the_same_number(webhook, project, receiver):
    receiver.script = [(500, {}, b"<b>out of\ncoffee</b>\0"), "reset", 503]
    happen(project)
    tasks.deliver(webhook.pk)
    delivery = Delivery.objects.get()
    assert (delivery.state, delivery.code, delivery.said) == (DeliveryState.WAITING, 500, "<b>out of coffee</b>")
    wait = delivery.due - timezone.now()
    assert timedelta(seconds=40) < wait < timedelta(seconds=75)

    OrmQ.objects.all().delete()
    tasks.every_minute()
    assert tasks_waiting() == []  # not yet
    waits = [wait]
    for _ in range(3):
        make_due()
        tasks.every_minute()
        (task,) = tasks_waiting()
        OrmQ.objects.all().delete()
        tasks.deliver(*task["args"], **task["kwargs"])
        waits.append(Delivery.objects.get().due - timezone.now())
    assert waits[0] < waits[1] < waits[2]
    delivery.refresh_from_db()
    assert (delivery.state, delivery.code, delivery.tries) == (DeliveryState.DELIVERED, 204, 4)
    assert len({got.headers["webhook-id"] for got in receiver.got}) == 1
    assert len({got.body for got in receiver.got}) == 1
    webhook.refresh_from_db()
    assert webhook.failing_since is None


def test_after_about_a_day_it_is_given_up(webhook, project, receiver):
    receiver.script = [500] * 50
    happen(project)
    waited = timedelta()
    while (delivery := Delivery.objects.get()).state == DeliveryState.WAITING:
        waited += max(delivery.due - timezone.now(), timedelta())
        make_due()
        tasks.deliver(webhook.pk, again=True)
    assert delivery.state == DeliveryState.FAILED
    assert delivery.tries == len(receiver.got) == 8
    assert timedelta(hours=16) < waited < timedelta(hours=32)
    make_due()
    tasks.deliver(webhook.pk, again=True)
    assert len(receiver.got) == 8


def test_the_receiver_may_ask_for_more_time(webhook, project, receiver):
    receiver.script = [(429, {"Retry-After": "3600"}, b"")]
    happen(project)
    tasks.deliver(webhook.pk)
    assert Delivery.objects.get().due - timezone.now() > timedelta(minutes=55)


def test_one_that_hangs_is_left_after_its_time(webhook, project, receiver, monkeypatch):
    monkeypatch.setattr(sending, "TIMEOUT", 0.5)
    receiver.script = ["hang"]
    happen(project)
    happen(project)
    tasks.deliver(webhook.pk)
    first, second = Delivery.objects.order_by("pk")
    assert "did not answer within" in first.said
    assert first.code is None
    assert second.tries == 0  # a worker is held up by one message, not by all of them
    OrmQ.objects.all().delete()
    happen(project)
    assert tasks_waiting() == []  # and what comes now waits for the minute
    tasks.deliver(webhook.pk)
    assert len(receiver.got) == 1
    tasks.deliver(webhook.pk, again=True)
    assert len(receiver.got) == 3  # it answers again: all that is due goes
    assert Webhook.objects.get().failing_since is None


def test_redirects_are_not_followed(webhook, project, receiver):
    receiver.script = [(302, {"Location": "/elsewhere"}, b"")]
    happen(project)
    tasks.deliver(webhook.pk)
    delivery = Delivery.objects.get()
    assert (delivery.state, delivery.code) == (DeliveryState.WAITING, 302)
    assert "redirects are not followed" in delivery.said
    assert [got.path for got in receiver.got] == ["/hook"]


def test_410_switches_it_off_at_once(webhook, project, root, receiver):
    other = listen(project, root, receiver.address, "webhook")
    receiver.script = [410]
    happen(project)
    happen(project)
    tasks.deliver(webhook.pk)
    webhook.refresh_from_db()
    assert webhook.state == WebhookState.OFF
    assert "410" in webhook.why
    assert Delivery.objects.filter(webhook=webhook).latest("-pk").state == DeliveryState.FAILED
    event = Event.objects.get(verb="webhook switched off")
    assert event.data["webhook"] == webhook.pk
    tasks.deliver(other.pk)
    assert receiver.got[-1].told["type"] == "webhook.switched_off"
    happen(project)
    tasks.every_minute()
    assert Delivery.objects.filter(webhook=webhook).count() == 2  # nothing more is written down for it

    keeping.turn_on(webhook, root)
    tasks.deliver(webhook.pk)
    assert Delivery.objects.filter(webhook=webhook, state=DeliveryState.DELIVERED).count() == 1


def test_days_of_failures_switch_it_off(webhook, project, receiver):
    receiver.script = [500] * 3
    happen(project)
    tasks.deliver(webhook.pk)
    Webhook.objects.update(failing_since=timezone.now() - timedelta(days=4, hours=23))
    make_due()
    tasks.deliver(webhook.pk, again=True)
    assert Webhook.objects.get().state == WebhookState.ON
    Webhook.objects.update(failing_since=timezone.now() - timedelta(days=5, hours=1))
    make_due()
    tasks.deliver(webhook.pk, again=True)
    webhook.refresh_from_db()
    assert webhook.state == WebhookState.OFF
    assert webhook.why == "Nothing arrived for 5 days. The last answer: 500."


def test_what_waited_too_long_is_given_up_and_old_ones_are_forgotten(webhook, project, root):
    happen(project)
    happen(project)
    first, second = Delivery.objects.order_by("pk")
    Delivery.objects.filter(pk=first.pk).update(asked=timezone.now() - timedelta(days=2))
    keeping.pause(webhook, root)
    tasks.every_minute()
    first.refresh_from_db()
    second.refresh_from_db()
    assert (first.state, second.state) == (DeliveryState.FAILED, DeliveryState.WAITING)
    Delivery.objects.update(created=timezone.now() - timedelta(days=31))
    tasks.every_minute()
    assert list(Delivery.objects.all()) == [second]


def test_a_message_that_was_claimed_is_claimed_by_nobody_else(webhook, project):
    happen(project)
    assert delivering.claim(webhook.pk)
    assert delivering.claim(webhook.pk) is None
    make_due()
    again = delivering.claim(webhook.pk)
    assert again.tries == 2


def test_who_was_silent_for_too_long_says_nothing_more_unless_it_arrived(webhook, project):
    happen(project)
    slow = delivering.claim(webhook.pk)
    make_due()
    delivering.claim(webhook.pk)
    delivering.missed(slow, sending.Outcome(500, 3))
    assert Delivery.objects.get().code is None
    delivering.arrived(slow, sending.Outcome(200, 3))
    assert Delivery.objects.get().state == DeliveryState.DELIVERED


def test_a_test_is_sent_whatever_the_state_and_tried_once(webhook, project, root, receiver):
    keeping.pause(webhook, root)
    receiver.script = [500]
    for expected in (DeliveryState.FAILED, DeliveryState.DELIVERED):
        made = keeping.test(webhook)
        (task,) = tasks_waiting("annotate.tasks.deliver_one")
        OrmQ.objects.all().delete()
        tasks.deliver_one(*task["args"])
        made.refresh_from_db()
        assert (made.state, made.kind) == (expected, "webhook.test")
    assert Webhook.objects.get().failing_since is None
    assert receiver.got[0].told["data"] == {"project": "memes", "webhook": webhook.pk}


def test_sent_again_it_is_the_same_message(webhook, project, receiver):
    happen(project)
    tasks.deliver(webhook.pk)
    delivery = Delivery.objects.get()
    assert keeping.send_again(delivery)
    assert not keeping.send_again(delivery)  # it is about to go
    tasks.deliver_one(webhook.pk, delivery.pk)
    first, second = receiver.got
    assert (first.headers["webhook-id"], first.body) == (second.headers["webhook-id"], second.body)


@pytest.mark.parametrize("dice", [0.8, 1.2])
def test_what_waits_for_its_next_try_is_sent_again_when_asked_but_not_while_it_is_on_its_way(
    webhook, project, receiver, client, admin, monkeypatch, dice
):
    """However soon the next try is: the first wait may be shorter than a worker's lease."""
    monkeypatch.setattr(delivering.CHANCE, "uniform", lambda low, high: dice)
    receiver.script = [500]
    happen(project)
    claimed = delivering.claim(webhook.pk)
    assert claimed
    assert not keeping.send_again(claimed)
    client.force_login(admin)
    page = client.get(f"{webhook.get_absolute_url()}/deliveries").content.decode()
    assert "1 try, on its way" in page
    assert "Send again" not in page
    delivering.attempt(claimed)
    assert keeping.send_again(claimed)
    tasks.deliver_one(webhook.pk, claimed.pk)
    assert Delivery.objects.get().state == DeliveryState.DELIVERED


@pytest.mark.django_db(transaction=True)
def test_of_two_workers_one_sends(project, root, receiver):
    webhook = listen(project, root, receiver.address)
    for _ in range(12):
        happen(project)
    start = threading.Barrier(4)

    def work():
        start.wait()
        tasks.deliver(webhook.pk)
        connection.close()

    workers = [threading.Thread(target=work) for _ in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert len(receiver.got) == 12
    assert len({got.headers["webhook-id"] for got in receiver.got}) == 12


@pytest.mark.django_db(transaction=True)
def test_a_worker_killed_while_it_sends_loses_nothing(project, root, receiver):
    webhook = listen(project, root, receiver.address)
    happen(project)
    receiver.script = ["hang"]
    code = f"import django; django.setup(); from annotate import tasks; tasks.deliver({webhook.pk})"
    surroundings = os.environ | {"DATABASE_URL": database_url(), "DJANGO_SETTINGS_MODULE": "annotate.settings"}
    process = subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, env=surroundings)
    try:
        deadline = time.monotonic() + 60
        while not receiver.got:
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.02)
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    delivery = Delivery.objects.get()
    assert (delivery.state, delivery.tries) == (DeliveryState.WAITING, 1)
    tasks.deliver(webhook.pk)
    assert len(receiver.got) == 1  # the dead worker's lease still runs
    make_due()
    OrmQ.objects.all().delete()
    tasks.every_minute()
    (task,) = tasks_waiting()
    tasks.deliver(*task["args"], **task["kwargs"])
    delivery.refresh_from_db()
    assert (delivery.state, delivery.tries) == (DeliveryState.DELIVERED, 2)
    assert len({got.headers["webhook-id"] for got in receiver.got}) == 1


# --- Not into our own network


@pytest.mark.parametrize(
    "address",
    [
        "http://127.0.0.1/hook", "http://localhost/hook", "http://[::1]/hook", "http://10.1.2.3/", "http://192.168.0.1/",
        "http://169.254.169.254/latest/meta-data/", "http://[::ffff:10.0.0.1]/", "http://hooks.localhost/",
        "https://user:word@example.com/", "ftp://example.com/", "file:///etc/passwd", "example.com", "http://",
        "http://example.com:25/", "http://example.com:6\x00/", "https://example.com/" + "x" * 500,
    ],
)  # fmt: skip
def test_such_an_address_is_refused_when_it_is_named(project, admin, address):
    with pytest.raises(keeping.Refused):
        keeping.add(project, admin, address, ["voting"])


def test_only_a_site_admin_may_have_our_own_network_called(project, admin, root):
    with pytest.raises(keeping.Refused, match="site admin"):
        keeping.add(project, admin, "http://10.0.0.7/hook", ["voting"], private=True)
    assert keeping.add(project, root, "http://10.0.0.7/hook", ["voting"], private=True)
    with pytest.raises(keeping.Refused):
        keeping.add(project, root, "http://10.0.0.7/hook", ["voting"])


def test_a_name_that_leads_inside_is_found_out_when_it_is_called(project, admin, receiver, monkeypatch):
    """Whatever it led to when it was named; and what was checked is what is connected to."""
    asked = []

    def resolve(host, port, *more, **how):
        asked.append(host) if host == "hooks.example" else None
        return [(2, 1, 6, "", ("127.0.0.1", receiver.server_address[1]))]

    port = receiver.server_address[1]
    webhook = keeping.add(project, admin, f"http://hooks.example:{port}/hook", ["voting"])[0]
    monkeypatch.setattr(sending.socket, "getaddrinfo", resolve)
    happen(project)
    tasks.deliver(webhook.pk)
    assert receiver.got == []
    assert "private network" in Delivery.objects.get().said
    assert asked == ["hooks.example"]
    Webhook.objects.update(private=True)
    make_due()
    tasks.deliver(webhook.pk, again=True)
    assert len(receiver.got) == 1
    assert receiver.got[0].headers["host"] == f"hooks.example:{port}"


# --- What ends by itself is told


def open_one(project, stream=Stream.CONTESTED, why=Why.SPLIT):
    return Disagreement.objects.create(project=project, post=make_post(project), why=why, stream=stream, rank=1)


def close(*disagreements):
    for one in disagreements:
        Disagreement.objects.filter(pk=one.pk).update(closed=timezone.now())


def told_empty(project):
    return Event.objects.filter(verb="queue empty", project=project).count()


def test_an_empty_queue_is_told_once_when_the_last_post_is_decided(project):
    other = make_project("Other")
    first, second, check = open_one(project), open_one(project), open_one(project, Stream.CHECK, Why.CHECK)
    open_one(other)
    emptied.fold()
    close(first)
    emptied.fold()
    assert told_empty(project) == 0
    close(second)
    emptied.fold()
    assert told_empty(project) == 1
    emptied.fold()
    close(check)  # known answers wait for everybody, and are no work
    emptied.fold()
    assert (told_empty(project), told_empty(other)) == (1, 0)


def test_one_that_differs_moves_to_leads_and_still_waits(project):
    one = open_one(project)
    emptied.fold()
    Disagreement.objects.filter(pk=one.pk).update(stream=Stream.CONFLICT)
    emptied.fold()
    assert told_empty(project) == 0
    close(one)
    emptied.fold()
    assert told_empty(project) == 1


def test_a_trickle_of_posts_does_not_ring_at_each_of_them_but_at_the_last(project, monkeypatch):
    for _ in range(4):
        close(open_one(project))
        emptied.fold()
    assert told_empty(project) == 1
    monkeypatch.setattr(emptied, "AT_MOST_EVERY", timedelta(0))  # as if time had passed
    emptied.fold()
    assert told_empty(project) == 2
    emptied.fold()
    assert told_empty(project) == 2
    assert queue.count_open(project) == {}


def test_the_queue_of_a_project_that_is_gone_is_nobodys(project):
    close(open_one(project))
    project.posts.all().delete()
    project.delete()
    emptied.fold()
    assert not Event.objects.filter(verb="queue empty").exists()


def test_a_budget_that_is_reached_is_told_beside_the_run_that_rests(project, root):
    run = VotingRun.objects.create(project=project, by=root, budget=Decimal("0.05"), state=RunState.RUNNING)
    storing.finish(run, RunState.PAUSED, storing.used_up(run.budget))
    assert set(Event.objects.values_list("verb", "data__run")) == {
        ("voting paused", run.pk),
        ("budget reached", run.pk),
    }
    storing.finish(run, RunState.PAUSED, "It broke off; every answer until then is stored. Resume it.")
    assert Event.objects.filter(verb="budget reached").count() == 1


def test_an_import_and_a_dataset_that_fail_are_told_as_that(project, root):
    run = doors.receive(project, root, ContentFile(b"PAR1 and nothing else", name="posts.parquet"))
    doors.begin(run)
    tasks.import_posts(run.pk)
    dataset.carry_out(dataset.ask(project, root, "v1.0", Recipe(), queue=False))
    assert list(Event.objects.order_by("id").values_list("verb", flat=True)) == ["import failed", "freezing failed"]


def test_however_work_ends_its_verb_is_one_that_is_told():
    """The rooms that record them are not known to the one that tells them."""
    ends = (RunState.DONE, RunState.FAILED, RunState.PAUSED, RunState.CANCELLED)
    verbs = [f"voting {state.label.lower()}" for state in ends]
    jobs = ("training", "evaluation", "writing out", "check of a served model", *prelabelling.VERBS.values())
    job_ends = (JobState.DONE, JobState.FAILED, JobState.INTERRUPTED, JobState.STOPPED)
    verbs += [f"{job} {state.label.lower()}"[:40] for job in jobs for state in job_ends]
    verbs += [f"round {state.label.lower()}" for state in (RoundState.KEPT, RoundState.ROLLED_BACK)]
    verbs += [*cascades.ENDED.values(), *running.VERBS.values(), *label_studio.VERBS.values(), emptied.EMPTY]
    assert [verb for verb in verbs if verb not in kinds.TYPES] == []


# --- As admins and programs keep them


def test_an_admin_adds_one_and_sees_its_secret_once(client, project, admin):
    client.force_login(admin)
    page = client.post(
        "/p/memes/webhooks", {"address": "https://example.com/hook", "kinds": ["voting", "queue"], "note": "Chat"}
    )
    made = Webhook.objects.get()
    shown = page.context["secret"]
    assert shown == secret.secret_of(made.seed)
    assert shown in page.content.decode()
    assert page.headers["Cache-Control"].startswith("max-age=0")
    for address in ("/p/memes/webhooks", made.get_absolute_url(), "/p/memes/events"):
        assert shown not in client.get(address).content.decode()
    assert (made.kinds, made.note, made.by, made.private) == (["voting", "queue"], "Chat", admin, False)
    page = client.post(f"{made.get_absolute_url()}/secret")
    assert page.context["secret"] not in (shown, "")


@pytest.mark.parametrize(
    ("sent", "words"),
    [
        ({"address": "http://192.168.1.1/", "kinds": ["voting"]}, "inside a private network"),
        ({"address": "http://192.168.1.1/", "kinds": ["voting"], "private": "on"}, "inside a private network"),
        ({"address": "https://example.com/", "kinds": []}, "Choose at least one"),
        ({"address": "https://example.com/", "kinds": ["nothing"]}, "not one of the available choices"),
        ({"address": "", "kinds": ["voting"]}, "required"),
    ],
)
def test_what_cannot_be_is_said_beside_the_field(client, project, admin, sent, words):
    client.force_login(admin)
    page = client.post("/p/memes/webhooks", sent)
    assert page.status_code == 422
    assert words in page.content.decode()
    assert not Webhook.objects.exists()


def test_it_is_changed_paused_turned_on_and_deleted(client, project, admin, webhook):
    client.force_login(admin)
    client.post(webhook.get_absolute_url(), {"kinds": ["training"], "note": "New", "address": "http://elsewhere/"})
    before = webhook.address
    webhook.refresh_from_db()
    assert (webhook.kinds, webhook.note, webhook.address) == (["training"], "New", before)
    for step, state in (("pause", "paused"), ("turn-on", "on")):
        client.post(f"{webhook.get_absolute_url()}/{step}")
        webhook.refresh_from_db()
        assert webhook.state == state
    client.post(f"{webhook.get_absolute_url()}/test")
    asked = client.get(f"{webhook.get_absolute_url()}/delete").content.decode()
    assert "1 message that waits will not be sent" in asked
    assert Webhook.objects.exists()
    client.post(f"{webhook.get_absolute_url()}/delete")
    assert not Webhook.objects.exists()
    verbs = list(Event.objects.filter(verb__startswith="webhook").order_by("id").values_list("verb", flat=True))
    assert verbs == [
        "webhook added", "webhook changed", "webhook paused", "webhook turned on", "webhook deleted"
    ]  # fmt: skip


def test_its_page_tells_what_became_of_each_message(client, project, admin, webhook, receiver):
    client.force_login(admin)
    receiver.script = [(500, {}, b"<script>alert(1)</script>")]
    happen(project, run=3)
    tasks.deliver(webhook.pk)
    page = client.get(webhook.get_absolute_url()).content.decode()
    assert "voting.done" in page
    assert "answered 500" in page
    assert "tried again at" in page
    assert "&lt;script&gt;alert(1)" in page
    assert 'hx-trigger="every 3s"' in page
    delivery = Delivery.objects.get()
    client.post(f"{webhook.get_absolute_url()}/deliveries/{delivery.pk}/again")
    tasks.deliver_one(webhook.pk, delivery.pk)
    part = client.get(f"{webhook.get_absolute_url()}/deliveries").content.decode()
    assert "answered 204" in part
    assert "hx-trigger" not in part  # nothing moves any more
    other = make_project("Other")
    assert client.get(f"/p/{other.slug}/webhooks/{webhook.pk}").status_code == 404


def test_programs_add_list_test_and_delete_them(client, project, admin):
    token = {"HTTP_AUTHORIZATION": f"Bearer {ApiToken.issue(admin, 'laptop')[1]}"}
    address = "/api/projects/memes/webhooks"

    def post(body):
        return client.post(address, body, content_type="application/json", **token)

    made = post({"address": "https://example.com/hook", "kinds": ["queue", "voting"]})
    assert made.status_code == 201
    told = made.json()
    assert told["secret"] == secret.secret_of(Webhook.objects.get().seed)
    (listed,) = client.get(address, **token).json()
    assert listed == {name: value for name, value in told.items() if name != "secret"}
    assert client.post(f"{address}/{told['id']}/test", **token).status_code == 202
    (sent,) = client.get(f"{address}/{told['id']}/deliveries", **token).json()
    assert (sent["type"], sent["state"], sent["tries"]) == ("webhook.test", "waiting", 0)
    for wrong in (
        {"address": "http://10.0.0.1/", "kinds": ["voting"]}, {"address": "https://example.com/", "kinds": ["x"]},
        {"address": "http://10.0.0.1/", "kinds": ["voting"], "private": True},
        {"address": "https://example.com/\0", "kinds": ["voting"]},
    ):  # fmt: skip
        assert post(wrong).status_code == 422
    assert client.delete(f"{address}/{told['id']}", **token).status_code == 204
    assert client.get(address, **token).json() == []
    assert client.delete(f"{address}/{2**70}", **token).status_code == 404


def test_a_project_has_so_many_and_no_more(project, root, monkeypatch):
    monkeypatch.setattr(keeping, "MOST", 2)
    for _ in range(2):
        listen(project, root, "http://10.0.0.1/")
    with pytest.raises(keeping.Refused, match="at most 2"):
        listen(project, root, "http://10.0.0.1/")


def test_reviewers_learn_of_no_address_on_the_projects_page(client, project, root, receiver):
    listen(project, root, "https://hooks.example.com/secret-path", private=False)
    for role in (Role.REVIEWER, Role.LEAD):
        client.force_login(make_member(project, role))
        assert "hooks.example.com" not in client.get("/p/memes/").content.decode()
