"""Each machine looks after its own folder and one of them after what all share; pages tell what was found there."""

import shutil
import threading
from datetime import timedelta
from pathlib import Path

import pytest
from django.core.files.base import ContentFile
from django.core.files.storage import default_storage
from django.db import connection, transaction
from django.db.models import F
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone
from django_q.models import OrmQ, Schedule

from annotate import broker, first_start, heartbeat, removing, tasks
from annotate.importing import doors
from annotate.models import Event, Holding, Image, ImportRun, Place, Post
from annotate.models.importing import ImportState
from annotate.models.room import PATIENCE, SILENCE
from annotate.operating import measuring, processes, pruning, room, storage, upkeep
from modeling import measuring as modeling_measuring
from modeling.models import JobState, RunState, Serving
from modeling.training import results, run_folder

from .freezing import freeze, make_settled
from .make import make_member, make_post, make_project, make_user
from .test_backup import make_picture
from .test_pruning import make_run, written
from .test_up import soon
from .test_watching_site import started

pytestmark = pytest.mark.django_db
DAYS_AGO = timedelta(days=3)


@pytest.fixture(autouse=True)
def own(tmp_path, settings):
    settings.VAR_DIR = tmp_path / "one"
    return settings.VAR_DIR


@pytest.fixture
def boss(client):
    root = make_user("root", is_superuser=True)
    client.force_login(root)
    return root


def look() -> None:
    """As this machine's workers would, at their next beat and at the next minute."""
    upkeep.mind_what_is_shared()
    for _ in range(OrmQ.objects.all().delete()[0]):
        tasks.look_after_what_is_shared()
    if place := upkeep.claim(upkeep.key_of_own()):
        upkeep.look_after(place)


def page(client) -> str:
    return client.get(reverse("storage")).content.decode()


def done_run(**more):
    run = make_run(**more)
    default_storage.save(results.name_of(run), ContentFile(b"PK"))
    return run


def checkpoints(run) -> Path:
    return run_folder.folder_of(run) / "checkpoints"


# --- Who looks, and when


def test_a_place_is_looked_at_when_it_is_an_hour_old_or_asked_for_and_by_one_at_a_time():
    key = upkeep.key_of_own()
    assert upkeep.key_of_own() == key
    place = upkeep.claim(key)
    assert place
    assert upkeep.claim(key) is None, "somebody is at it"
    upkeep.look_after(place)
    assert upkeep.claim(key) is None, "it was looked at just now"
    upkeep.look_again()
    assert upkeep.claim(key)
    Place.objects.update(heartbeat=timezone.now() - 2 * SILENCE)
    again = upkeep.claim(key)
    assert again, "whoever had it died"
    upkeep.look_after(again)
    Place.objects.update(measured=timezone.now() - timedelta(hours=2))
    assert upkeep.claim(key)


def test_what_was_asked_for_while_somebody_looked_is_for_the_next_look(monkeypatch):
    run = done_run()
    look()

    def slow(shared, place, measured=measuring.measured):
        if not shared and not asked:
            asked.append(upkeep.ask(None, ["checkpoints"]))
        return measured(shared, place)

    asked: list[None] = []
    upkeep.look_again()
    monkeypatch.setattr(measuring, "measured", slow)
    look()
    assert checkpoints(run).exists()
    look()
    assert not checkpoints(run).exists()
    assert Place.objects.get(key=upkeep.key_of_own()).rules == []


@pytest.mark.django_db(transaction=True)
def test_of_many_workers_of_a_machine_one_looks():
    upkeep.place_of(upkeep.key_of_own())
    claimed, gate = [], threading.Barrier(4)

    def worker():
        gate.wait()
        claimed.append(upkeep.claim(upkeep.key_of_own()))
        connection.close()

    threads = [threading.Thread(target=worker) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len([place for place in claimed if place]) == 1


@pytest.mark.django_db(transaction=True)
def test_a_worker_looks_after_its_machines_folder_as_it_starts(tmp_path, settings):
    """A real one, of the queue that trains, which nothing else on its machine would sweep."""
    settings.VAR_DIR = tmp_path  # where `started` has it
    run = done_run()
    with started(processes.queue(), tmp_path, Q_CLUSTER_NAME="gpu", DATABASE_POOL="0", PRUNE="true",
                 MEDIA_ROOT=str(settings.MEDIA_ROOT)):  # fmt: skip
        assert soon(lambda: Place.objects.filter(measured__isnull=False).exists(), 90)
    assert not checkpoints(run).exists()
    assert Event.objects.filter(verb="storage pruned").count() == 1


def test_what_all_share_is_a_task_of_the_queue():
    upkeep.mind_what_is_shared()
    upkeep.mind_what_is_shared()
    assert OrmQ.objects.count() == 1
    tasks.look_after_what_is_shared()
    tasks.look_after_what_is_shared()  # delivered twice
    assert Place.objects.get(key=measuring.SHARED).measured
    OrmQ.objects.all().delete()
    upkeep.mind_what_is_shared()
    assert OrmQ.objects.count() == 0


def a_shared_look(monkeypatch, meanwhile):
    """The task begins, and while it goes through the storage something happens, once."""
    looked = []

    def slow(shared=None, look=pruning.look):
        looked.append(shared)
        if len(looked) == 1:
            meanwhile()
        return look(shared)

    monkeypatch.setattr(pruning, "look", slow)
    upkeep.mind_what_is_shared()
    tasks.look_after_what_is_shared()
    return looked


def test_delivered_again_while_it_is_carried_out_a_look_ends_at_once(monkeypatch):
    def delivered_again():
        OrmQ.objects.update(lock=timezone.now() + broker.FETCHED - broker.LOST - timedelta(seconds=5))
        assert broker.redeliver() == 1
        upkeep.mind_what_is_shared()
        assert OrmQ.objects.count() == 1, "and none is ordered beside it"
        tasks.look_after_what_is_shared()

    assert a_shared_look(monkeypatch, delivered_again) == [True]
    assert Place.objects.get(key=measuring.SHARED).measured


def test_a_look_that_was_ordered_waits_in_the_queue_as_long_as_it_must():
    upkeep.mind_what_is_shared()
    Place.objects.update(claimed=timezone.now() - PATIENCE / 2)
    upkeep.mind_what_is_shared()
    assert OrmQ.objects.count() == 1
    Place.objects.update(claimed=timezone.now() - 2 * PATIENCE)  # the task may be lost
    upkeep.mind_what_is_shared()
    assert OrmQ.objects.count() == 2
    for _ in range(2):
        tasks.look_after_what_is_shared()
    assert Place.objects.get().claimed is None


@pytest.mark.django_db(transaction=True)
def test_whoever_looks_says_that_it_lives_and_is_left_to_it_however_long_it_takes(monkeypatch):
    monkeypatch.setattr(heartbeat, "BEAT", 0.05)
    key = upkeep.key_of_own()

    def long(shared=None, look=pruning.look):
        Place.objects.update(claimed=F("claimed") - timedelta(days=1), heartbeat=timezone.now() - timedelta(days=1))
        place.refresh_from_db()
        assert soon(Place.objects.filter(heartbeat__gt=just_now).exists, 10)
        assert upkeep.claim(key) is None
        return look(shared)

    just_now = timezone.now() - SILENCE
    place = upkeep.claim(key)
    monkeypatch.setattr(pruning, "look", long)
    upkeep.look_after(place)
    told = Place.objects.get(key=key)
    assert (told.claimed, told.heartbeat, bool(told.measured)) == (None, None, True)


def test_one_that_died_over_it_is_taken_over_after_a_minute():
    upkeep.mind_what_is_shared()
    assert upkeep.claim(measuring.SHARED, ordered=True)
    upkeep.mind_what_is_shared()
    assert OrmQ.objects.count() == 1
    Place.objects.update(heartbeat=timezone.now() - SILENCE - timedelta(seconds=5))
    upkeep.mind_what_is_shared()
    assert OrmQ.objects.count() == 2
    tasks.look_after_what_is_shared()
    assert Place.objects.get().measured


def test_whoever_has_lost_its_claim_removes_and_writes_nothing_more(monkeypatch):
    first, second = done_run(), done_run()
    upkeep.place_of(upkeep.key_of_own())
    Place.objects.update(rules=["checkpoints"])
    place = upkeep.claim(upkeep.key_of_own())
    Holding.objects.create(place=place, project=first.project, what="Folders of runs", bytes=5)

    def taken_over(*args, record=Event.record, **more):
        removed.append(more)
        record(*args, **more)

    def removed_one(path, rmtree=shutil.rmtree):
        rmtree(path)
        Place.objects.update(claimed=timezone.now(), heartbeat=timezone.now())

    removed: list[dict] = []
    with monkeypatch.context() as patched:
        patched.setattr("modeling.pruning.shutil.rmtree", removed_one)
        patched.setattr(Event, "record", taken_over)
        upkeep.look_after(place)
    assert (checkpoints(first).exists(), checkpoints(second).exists()) == (False, True)
    assert [told["checkpoints"] for told in removed] == [1], "what went is on record all the same"
    told = Place.objects.get()
    assert (told.measured, told.rules, bool(told.claimed)) == (None, ["checkpoints"], True)
    assert Holding.objects.get().bytes == 5


def test_whoever_loses_its_claim_while_it_measures_keeps_nothing_of_it(monkeypatch):
    project = make_project()
    measuring.came_in(project, measuring.PICTURES, 100)

    def taken_over(place, taken, keep=measuring.keep):
        keep(place, taken)
        Place.objects.update(claimed=timezone.now())

    monkeypatch.setattr(measuring, "keep", taken_over)
    tasks.look_after_what_is_shared()
    assert Holding.objects.get().bytes == 100
    assert Place.objects.get().measured is None


def test_a_look_that_failed_is_tried_again_after_a_while(monkeypatch):
    def away(shared=None):
        raise OSError("the bucket cannot be reached")

    with monkeypatch.context() as patched:
        patched.setattr(pruning, "look", away)
        with pytest.raises(OSError, match="cannot be reached"):
            tasks.look_after_what_is_shared()
    upkeep.mind_what_is_shared()
    assert OrmQ.objects.count() == 0
    Place.objects.update(claimed=F("claimed") - PATIENCE - timedelta(seconds=5))
    upkeep.mind_what_is_shared()
    assert OrmQ.objects.count() == 1
    tasks.look_after_what_is_shared()
    assert Place.objects.get().measured


@pytest.mark.parametrize("ahead", [timedelta(minutes=30), timedelta(days=1)])
def test_what_was_asked_for_before_the_clock_was_put_back_is_looked_at_once(ahead):
    look()
    Place.objects.update(asked=timezone.now() + ahead)
    place = upkeep.claim(measuring.SHARED)
    assert place
    upkeep.look_after(place)
    assert upkeep.claim(measuring.SHARED) is None
    assert not Place.objects.get(key=measuring.SHARED).is_awaited
    Place.objects.update(measured=timezone.now() + ahead)
    upkeep.look_again()
    assert upkeep.claim(measuring.SHARED), "and nobody waits until what was measured in times to come is old"


# --- Every day


def test_every_machine_sweeps_its_own_folder_once_a_day(settings, tmp_path):
    """Two machines on one database, with media that both see."""
    settings.PRUNE = True
    runs, folders = [], [tmp_path / name for name in ("one", "two")]
    for folder in folders:
        settings.VAR_DIR = folder
        runs.append(done_run())
    uploaded = default_storage.save("uploads/a.csv", ContentFile(b"text\ngm\n"))
    long_ago = timezone.now() - timedelta(days=400)
    ImportRun.objects.create(
        project=runs[0].project, name="a.csv", path=uploaded, state=ImportState.DONE, ended=long_ago
    )
    settings.VAR_DIR = folders[0]
    look()
    assert not checkpoints(runs[0]).exists()
    assert not default_storage.exists(uploaded)
    settings.VAR_DIR = folders[1]
    assert checkpoints(runs[1]).exists(), "the first saw nothing of the second"
    look()
    assert not checkpoints(runs[1]).exists()
    told = Event.objects.filter(verb="storage pruned").order_by("pk").values_list("data", flat=True)
    assert [sorted(data.keys() - {"megabytes", "machine"}) for data in told] == [
        ["uploads"], ["checkpoints", "copies"], ["checkpoints", "copies"],
    ]  # fmt: skip

    run = done_run()
    upkeep.look_again()
    look()
    assert checkpoints(run).exists(), "it swept today"
    Place.objects.update(swept=timezone.now() - timedelta(days=1, minutes=1))
    upkeep.look_again()
    look()
    assert not checkpoints(run).exists()


def test_nothing_goes_by_itself_unless_somebody_said_so(settings):
    run = done_run()
    look()
    assert checkpoints(run).exists()
    assert Place.objects.filter(swept=None).count() == 2


def test_what_earlier_versions_had_planned_for_every_day_is_planned_no_more():
    Schedule.objects.create(name="modeling.tasks.every_day", func="modeling.tasks.every_day")
    first_start.migrate(print)
    assert set(Schedule.objects.values_list("name", flat=True)) == set(first_start.SWEEPS)


# --- What is measured


def test_everything_is_measured_for_the_project_that_holds_it(own):
    project, other = make_settled(), make_project("Other")
    first, second = make_picture(1), make_picture(2)
    for name in ("a", "b"):
        make_post(project, name, image=first)
    make_post(other, "c", image=first)
    make_post(other, "d", image=second)
    uploaded = default_storage.save("uploads/a.csv", ContentFile(b"x" * 500))
    ImportRun.objects.create(project=project, name="a.csv", path=uploaded)
    default_storage.save("uploads/nobodys.csv", ContentFile(b"x" * 70))
    run = make_run(RunState.STOPPED, dataset=freeze(project))
    default_storage.save(results.name_of(run), ContentFile(b"x" * 300))
    written(own / "results" / f"{run.pk}-abc", "a.safetensors")
    made = {"project": project, "run": run, "form": "merged"}
    written(own / "serving" / str(Serving.objects.create(**made).pk), "model")
    Serving.objects.create(**made, folder="/models/mine", state=JobState.DONE, told={"bytes": 12_000})
    look()
    held = dict(storage.held_by(project).kinds)
    datasets = modeling_measuring.datasets().held[project.pk]
    assert datasets > 0
    run_size = next(one["bytes"] for one in Place.objects.get(key=upkeep.key_of_own()).taken if one["bytes"])
    assert held == {
        "Pictures": first.bytes, "Files sent for imports": 500, "Datasets": datasets, "Results of runs": 300,
        "Models written to folders of your choice": 12_000, "Folders of runs": run_size,
        "Results fetched for a machine": 1000, "Written-out models": 1000,
    }  # fmt: skip
    assert dict(storage.held_by(other).kinds) == {"Pictures": first.bytes + second.bytes}
    assert room.stand(project).bytes == sum(held.values())
    shutil.rmtree(own / "serving")
    Post.objects.filter(project=project).update(image=None)
    upkeep.look_again()
    look()
    assert {"Pictures", "Written-out models"}.isdisjoint(dict(storage.held_by(project).kinds))


def test_a_machine_that_nobody_has_heard_of_for_a_month_holds_nothing():
    gone = Place.objects.create(key="gone", machine="gpu-9", measured=timezone.now() - timedelta(days=31))
    away = Place.objects.create(key="away", machine="gpu-8", measured=timezone.now() - timedelta(days=29))
    for place in (gone, away):
        Holding.objects.create(place=place, project=make_project(), what="Folders of runs", bytes=5)
    look()
    assert list(Holding.objects.values_list("place__key", flat=True)) == ["away"]


def test_what_comes_in_while_it_is_measured_stays(monkeypatch):
    """Or an import would go on for up to an hour where it is full."""
    project, other = make_project(), make_project("Other")
    shown = make_picture(1)
    make_post(project, image=shown)
    look()
    assert room.stand(project).bytes == shown.bytes

    def slow(*args, pictures=measuring.pictures_by_project):
        held = pictures(*args)
        measuring.came_in(project, measuring.PICTURES, 500)
        measuring.came_in(other, measuring.PICTURES, 70)
        measuring.came_in(other, measuring.UPLOADS, 7)
        return held

    upkeep.look_again()
    with monkeypatch.context() as patched:
        patched.setattr(measuring, "pictures_by_project", slow)
        look()
    assert (room.stand(project).bytes, room.stand(other).bytes) == (shown.bytes + 500, 77)
    upkeep.look_again()
    look()
    assert (room.stand(project).bytes, room.stand(other).bytes) == (shown.bytes, 0), "of it there was nothing to see"


@pytest.mark.django_db(transaction=True)
def test_what_a_batch_adds_that_is_not_committed_yet_is_not_lost():
    project, place = make_project(), upkeep.place_of(measuring.SHARED)
    measuring.came_in(project, measuring.PICTURES, 100)
    added, gate = threading.Event(), threading.Event()

    def batch():
        with transaction.atomic():
            measuring.came_in(project, measuring.PICTURES, 20)
            added.set()
            gate.wait(10)
        connection.close()

    thread = threading.Thread(target=batch)
    thread.start()
    assert added.wait(10)
    [taken] = measuring.with_what_stood(place, [measuring.Taken(measuring.PICTURES, 0, 0, "picture")])
    threading.Timer(0.3, gate.set).start()
    measuring.keep(place, [taken])
    thread.join()
    assert room.stand(project).bytes == 20


def test_a_project_that_goes_meanwhile_is_no_trouble():
    taken = measuring.Taken("Folders of runs", 5, 1, "folder", held={2**40: 5})
    measuring.keep(upkeep.place_of("here"), [taken])
    assert not Holding.objects.exists()


# --- The page


def test_the_page_walks_no_folder_and_asks_no_more_for_more(client, boss, monkeypatch):
    done_run()
    look()
    page(client)
    with CaptureQueriesContext(connection) as few:
        page(client)
    for number in range(5):
        make_project(f"More {number}")
        Place.objects.create(key=str(number), machine=f"gpu-{number}", measured=timezone.now())

    def walked(*args):
        raise AssertionError("a folder is walked for a page")

    for name in ("files_in", "size_of", "each_in"):
        monkeypatch.setattr(f"annotate.operating.pruning.{name}", walked)
    with CaptureQueriesContext(connection) as more:
        page(client)
    assert len(more) == len(few)


def test_the_page_shows_what_was_found_and_whats_ticked_goes(client, boss):
    run = done_run()
    assert "Nothing is measured yet" in page(client)
    look()
    shown = page(client)
    assert f"Run {run.pk} of Memes" in shown
    assert "Results of runs" in shown
    assert "Nothing goes by itself" in shown
    answer = client.post(reverse("storage"), {"do": "remove", "rule": ["checkpoints", "nonsense"]}, follow=True)
    assert "removed within a minute" in answer.content.decode()
    assert "Being measured" in answer.content.decode()
    look()
    assert not checkpoints(run).exists()
    assert (run_folder.folder_of(run) / "posts").exists(), "it was not ticked"
    told = Event.objects.get(verb="storage pruned")
    assert (told.user, told.data["checkpoints"]) == (boss, 1)
    assert "Being measured" not in page(client)


def test_the_button_measures_again(client, boss, own):
    look()
    written(own / "serving" / "9", "model")
    assert "1,000" not in page(client)
    assert client.post(reverse("storage"), {"do": "measure"}).status_code == 302
    look()
    assert "1000\xa0bytes" in page(client)


def forget(client, place) -> str:
    posted = {"do": "forget", "place": place if isinstance(place, str) else place.pk}
    return client.post(reverse("storage"), posted, follow=True).content.decode()


def test_a_machine_that_is_gone_can_be_forgotten(client, boss):
    place = Place.objects.create(key="gone", machine="gpu-9", measured=timezone.now() - DAYS_AGO)
    assert "Only on gpu-9" in page(client)
    assert "Nothing was forgotten" not in forget(client, place)
    assert "gpu-9" not in page(client)
    assert "Nothing was forgotten" in forget(client, place)
    assert "Nothing was forgotten" in forget(client, "9" * 30)


def test_what_all_share_is_never_forgotten(client, boss):
    """Or a full project were free with one click, while the workers are down."""
    project = make_project(quota_gb=1)
    measuring.came_in(project, measuring.PICTURES, 2 * 1024**3)
    Place.objects.update(measured=timezone.now() - DAYS_AGO)
    shown = page(client)
    assert "Forget it" not in shown
    assert "Nobody has looked for a while" in shown
    assert "Nothing was forgotten" in forget(client, Place.objects.get())
    assert room.problem_with_project(project)
    Place.objects.update(measured=timezone.now() - timedelta(days=90))
    assert not Place.objects.lost(upkeep.GONE).exists()


def test_a_machine_that_never_told_anything_can_be_forgotten_and_is_after_a_month(client, boss):
    claimed = Place.objects.create(key="claimed", claimed=timezone.now() - DAYS_AGO)
    awaited = Place.objects.create(key="awaited")
    upkeep.ask()
    shown = page(client)
    assert shown.count("a machine that has not told yet") == 2
    assert shown.count("Forget it") == 1, "the other may come yet"
    forget(client, claimed)
    assert list(Place.objects.exclude(key=measuring.SHARED)) == [awaited]
    Place.objects.update(asked=timezone.now() - timedelta(days=31))
    Place.objects.create(key="died", claimed=timezone.now() - timedelta(days=31), asked=timezone.now())
    Place.objects.create(key="away", claimed=timezone.now() - timedelta(days=29))
    tasks.look_after_what_is_shared()
    assert sorted(Place.objects.values_list("key", flat=True)) == ["away", measuring.SHARED]


def test_a_machine_that_looks_for_hours_is_not_gone(client, boss):
    ago = timezone.now() - DAYS_AGO
    place = Place.objects.create(key="slow", machine="gpu-9", measured=ago, claimed=ago, heartbeat=timezone.now())
    assert "Forget it" not in page(client)
    assert "Nothing was forgotten" in forget(client, place)
    assert Place.objects.filter(key="slow").exists()


# --- What is removed


def full_of_one_picture():
    project = make_project(quota_gb=1e-9)
    post = make_post(project, image=make_picture(1))
    look()
    assert room.problem_with_project(project)
    return project, post


def test_a_project_is_not_told_that_it_is_full_of_what_was_removed():
    project, post = full_of_one_picture()
    removing.remove(post, None, "asked for")
    look()
    assert room.problem_with_project(project) == ""


def test_of_many_removals_one_asks_for_a_look():
    project = make_project()
    posts = [make_post(project, f"number {number}") for number in range(3)]
    look()
    asked = []
    for post in posts:
        removing.remove(post, None, "asked for")
        asked.append(Place.objects.get(key=measuring.SHARED).asked)
    assert asked[0]
    assert set(asked) == {asked[0]}
    place = upkeep.claim(measuring.SHARED)
    Place.objects.filter(key=measuring.SHARED).look_again()
    upkeep.look_after(place)
    assert upkeep.claim(measuring.SHARED), "what goes while somebody looks is for the next look"


def test_an_upload_that_nobody_began_makes_room_once_it_is_forgotten():
    project = make_project(quota_gb=1e-9)
    run = doors.receive(project, make_user("x"), ContentFile(b"x", "a.csv"))
    look()
    assert room.stand(project).bytes == 1
    ImportRun.objects.filter(pk=run.pk).update(created=timezone.now() - DAYS_AGO)
    tasks.forget_drafts()
    look()
    assert room.stand(project).bytes == 0
    asked = Place.objects.get(key=measuring.SHARED).asked
    tasks.forget_drafts()
    assert Place.objects.get(key=measuring.SHARED).asked == asked, "there was none"


def test_a_picture_that_one_project_shows_and_another_imports_is_counted_at_once():
    project = make_project()
    measuring.came_in(project, measuring.PICTURES, 100)
    measuring.came_in(project, measuring.PICTURES, 20)
    assert room.stand(project).bytes == 120
    look()
    assert room.stand(project).bytes == 0, "measured, there was none"
    assert not Image.objects.exists()


def test_the_settings_of_a_project_tell_what_it_holds_and_only_site_admins_change_it(client):
    project = make_project("Small")
    client.force_login(make_member(project, "admin"))
    shown = client.get(reverse("settings", args=[project.slug])).content.decode()
    assert "A site admin changes what it may" in shown
    refused = {"do": "allow", "project": project.pk, f"{project.pk}-quota_posts": 5}
    assert client.post(reverse("storage"), refused).status_code == 403
    project.refresh_from_db()
    assert project.quota_posts is None
