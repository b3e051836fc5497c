"""What a project may hold: told at each door before anything is written, and in the midst of an import."""

import io
import json
from pathlib import Path

import pytest
from django.core.files.base import ContentFile
from django.core.files.storage import default_storage
from django.core.files.uploadedfile import SimpleUploadedFile
from django.core.management import CommandError, call_command
from django.urls import reverse

from annotate.importing import doors, running
from annotate.importing.rows import Unreadable
from annotate.models import ApiToken, Event, Holding, Image, ImportRun, Role, Voter
from annotate.models.importing import ImportState
from annotate.operating import backup, measuring, quotas, room, upkeep
from annotate.operating.quotas import GB, Stand
from modeling import measuring as modeling_measuring
from modeling.datasets import dataset as datasets
from modeling.datasets.recipe import Recipe
from modeling.export.formats import NotExported, Options, stream, write_to
from modeling.models import Dataset, DatasetState, PreLabelling, Run, RunState, Serving, Study
from modeling.serving import at_work, writing
from modeling.studying import studies
from modeling.training import runner, training_presets

from .freezing import freeze, make_settled
from .make import make_member, make_post, make_project, make_user
from .test_disk_full import noisy
from .test_import import zipped
from .test_pruning import make_run, written

pytestmark = pytest.mark.django_db
MB = 1024**2


@pytest.fixture(autouse=True)
def var(tmp_path, settings):
    settings.VAR_DIR = tmp_path / "var"
    return settings.VAR_DIR


def full(project, gigabytes: float = 1.0):
    """As if so much had been measured."""
    measuring.came_in(project, "Folders of runs", round(gigabytes * GB))
    project.quota_gb = gigabytes
    project.save()
    return project


def rows(folder: Path, count: int, first: int = 1) -> Path:
    path = folder / f"{count}-from-{first}.csv"
    path.write_text("\n".join(["id,text", *(f"{n},gm {n}" for n in range(first, first + count))]))
    return path


def bring_in(project, path: Path) -> ImportRun:
    run = ImportRun.objects.create(project=project, name=path.name, state=ImportState.QUEUED)
    running.carry_out(run, path)
    run.refresh_from_db()
    return run


# --- The judge


def test_it_says_what_is_full_how_full_and_who_can_mend_it():
    held = Stand("Memes", bytes=10 * GB, posts=1000, most_bytes=10 * GB, most_posts=1000)
    assert quotas.problem_with_disk(held) == (
        "Memes is full: it holds 10.0 GB of the 10.0 GB that it may. "
        "A site admin can allow it more, or make room, at Storage."
    )
    assert quotas.problem_with_posts(held) == (
        "Memes is full: it holds 1,000 posts of the 1,000 that it may. "
        "A site admin can allow it more, or make room, at Storage."
    )
    nearly = Stand("Memes", bytes=9 * GB, posts=999, most_bytes=10 * GB, most_posts=1000)
    assert quotas.problem_with_disk(nearly) == quotas.problem_with_posts(nearly) == ""
    assert quotas.problem_with_disk(nearly, GB) == ""
    assert quotas.problem_with_disk(nearly, 2 * GB).startswith("These 2.0 GB do not fit: Memes holds 9.0 GB of the")
    assert (nearly.posts_left, nearly.is_full, held.is_full) == (1, False, True)
    endless = Stand("Memes", bytes=10**18, posts=10**9, most_bytes=0, most_posts=0)
    assert (endless.posts_left, endless.is_full) == (None, False)


def test_what_a_site_admin_said_goes_before_the_settings(settings):
    settings.PROJECT_QUOTA_GB, settings.PROJECT_QUOTA_POSTS = 2.5, 10
    usual, own, endless = (
        make_project(),
        make_project(quota_gb=1, quota_posts=3),
        make_project(quota_gb=0, quota_posts=0),
    )
    told = [(stand.most_bytes, stand.most_posts) for stand in map(room.stand, (usual, own, endless))]
    assert told == [(int(2.5 * GB), 10), (GB, 3), (0, 0)]


# --- Imports


def test_an_import_stops_in_the_middle_at_the_last_post_that_fits(tmp_path):
    project = make_project("Small", quota_posts=25)
    run = bring_in(project, rows(tmp_path, 40))
    assert (run.state, run.imported, project.posts.count()) == (ImportState.FAILED, 25, 25)
    assert run.error == (
        "Small is full: it holds 25 posts of the 25 that it may. "
        "A site admin can allow it more, or make room, at Storage. What was imported stands."
    )
    with default_storage.open(run.report) as report:
        assert report.read().count(b"imported") == 25
    project.quota_posts = 30
    project.save()
    again = bring_in(project, rows(tmp_path, 40))
    assert (again.already, again.imported, project.posts.count()) == (25, 5, 30)


def test_a_file_that_just_fits_is_imported_to_its_end(tmp_path):
    project = make_project(quota_posts=40)
    assert bring_in(project, rows(tmp_path, 40)).state == ImportState.DONE
    run = bring_in(project, rows(tmp_path, 1, first=41))
    assert (run.state, run.imported, project.posts.count()) == (ImportState.FAILED, 0, 40)


def test_what_brings_no_new_post_is_taken_at_the_limit_too(tmp_path):
    project = make_project("Small", quota_posts=5)
    run = bring_in(project, rows(tmp_path, 5))
    assert (run.state, run.imported) == (ImportState.DONE, 5)
    voted = tmp_path / "votes.csv"
    voted.write_text("\n".join(["id,gpt-4o-mini", *(f"{n},bullish" for n in range(1, 6))]))
    assert (bring_in(project, voted).votes, bring_in(project, rows(tmp_path, 5)).already) == (5, 5)
    sent = doors.receive(project, make_member(project, Role.ADMIN), ContentFile(voted.read_bytes(), name="v.csv"))
    assert sent.pk
    mixed = tmp_path / "mixed.csv"
    mixed.write_text("id,text\n4,gm 4\n5,gm 5\n6,gm 6\n1,gm 1\n")
    run = bring_in(project, mixed)
    assert (run.state, run.already, run.imported) == (ImportState.FAILED, 2, 0), "up to the first that is one too many"
    assert run.error.startswith("Small is full: it holds 5 posts of the 5")


def test_near_the_limit_it_asks_the_database_as_often_as_far_from_it(tmp_path, django_assert_max_num_queries):
    project = make_project("Small", quota_posts=101)
    bring_in(project, rows(tmp_path, 100))
    with django_assert_max_num_queries(60):
        assert bring_in(project, rows(tmp_path, 100)).already == 100


def test_rows_that_are_refused_take_no_place_from_those_that_follow(tmp_path):
    project = make_project("Small", quota_posts=2)
    path = tmp_path / "a.csv"
    path.write_text("id,text,label\n1,gm,bullish\n2,gm gm,nonsense\n3,gn,bullish\n")
    run = bring_in(project, path)
    assert (run.state, run.imported, run.refused) == (ImportState.DONE, 2, 1), run.error


def test_raised_while_an_import_goes_on_it_goes_on(tmp_path):
    project = make_project(quota_posts=1)
    run = ImportRun.objects.create(project=project, name="a.csv", state=ImportState.QUEUED)
    raised = lambda _: type(project).objects.filter(pk=project.pk).update(quota_posts=None)  # noqa: E731
    running.carry_out(run, rows(tmp_path, 5), raised)
    assert (run.state, project.posts.count()) == (ImportState.DONE, 5)


def test_pictures_are_counted_as_they_come_in_and_stop_the_import(tmp_path, monkeypatch):
    monkeypatch.setattr("annotate.importing.load.PICTURE_BATCH", 2)
    project = make_project()
    path = zipped(tmp_path / "pictures.zip", **{f"{n}.png": noisy(n) for n in range(10)})
    size = len(noisy(1))
    project.quota_gb = 3 * size / GB
    project.save()
    run = bring_in(project, path)
    assert run.state == ImportState.FAILED
    assert run.error.startswith(f"{project.name} is full: it holds ")
    assert project.posts.count() == 4, "what it began with ends: a batch"
    held = Holding.objects.get(project=project, what=measuring.PICTURES).bytes
    assert held == sum(Image.objects.values_list("bytes", flat=True))


def test_a_picture_that_many_posts_show_counts_once(tmp_path, monkeypatch):
    monkeypatch.setattr("annotate.importing.load.PICTURE_BATCH", 20)
    data = noisy(1)
    project = make_project(quota_gb=3 * len(data) / GB)
    table = "\n".join(["id,text,image", *(f"{n},caption {n},a.png" for n in range(60))])
    run = bring_in(project, zipped(tmp_path / "a.zip", **{"posts.csv": table.encode(), "a.png": data}))
    assert (run.state, run.imported) == (ImportState.DONE, 60), run.error
    held = Holding.objects.get(project=project, what=measuring.PICTURES).bytes
    assert held == Image.objects.get().bytes == measuring.pictures_by_project()[project.pk]


def test_no_file_is_kept_that_would_not_fit(client, tmp_path):
    project = make_project("Small", quota_gb=0.001)
    admin = make_member(project, Role.ADMIN)
    client.force_login(admin)
    data = b"text\n" + b"x" * 2 * MB
    sent = {"door": "file", "file": SimpleUploadedFile("a.csv", data)}
    page = client.post(reverse("import_new", args=[project.slug]), sent)
    assert page.status_code == 422
    assert "do not fit: Small holds 0 bytes of the" in page.content.decode()
    _, token = ApiToken.issue(admin, "laptop")
    lines = "\n".join(json.dumps({"text": "x" * 1000}) for _ in range(1500))
    answer = client.post(
        f"/api/projects/{project.slug}/posts", lines, content_type="application/x-ndjson",
        headers={"Authorization": f"Bearer {token}"},
    )  # fmt: skip
    assert answer.status_code == 507
    assert "do not fit: Small holds" in answer.json()["detail"]
    assert list(backup.names_in(default_storage)) == []
    assert not ImportRun.objects.exists()


def test_a_full_project_takes_no_import_by_any_door(client, tmp_path):
    project = make_project("Small", quota_posts=1)
    make_post(project)
    client.force_login(make_member(project, Role.ADMIN))
    page = client.post(reverse("import_new", args=[project.slug]), {"door": "board", "board": "biz", "threads": 1})
    assert page.status_code == 422
    assert "Small is full: it holds 1 post of the 1 that it may." in page.content.decode()
    assert not ImportRun.objects.exists()
    with pytest.raises(CommandError, match="Small is full"):
        call_command("import_posts", str(rows(tmp_path, 3)), project=project.slug, stdout=io.StringIO())
    assert project.posts.count() == 1


def test_a_file_that_was_sent_counts_at_once():
    project = make_project(quota_gb=1)
    doors.receive(project, make_member(project, Role.ADMIN), ContentFile(b"x" * 700, name="a.csv"))
    assert room.stand(project).bytes == 700
    project.quota_gb = 700 / GB
    project.save()
    with pytest.raises(Unreadable, match="is full"):
        doors.receive(project, make_member(project, Role.ADMIN), ContentFile(b"x", name="b.csv"))


# --- Datasets, runs, models


def test_a_full_project_takes_no_dataset_run_study_or_model_and_says_why(tmp_path):
    project = make_settled()
    made = freeze(project)
    done = make_run(dataset=made)
    done.config = {"method": "qlora", "model": "owner/model"}
    done.save()
    full(project)
    said = "Memes is full: it holds 1.0 GB of the 1.0 GB"
    with pytest.raises(datasets.Refused, match=said):
        datasets.ask(project, None, "v2", Recipe())
    config = training_presets.named("tiny").configured()
    with pytest.raises(runner.Refused, match=said):
        runner.start(project, None, made, config)
    with pytest.raises(studies.Refused, match=said):
        studies.start(project, None, made, config, "tiny", studies.Plan("folds", folds=2))
    with pytest.raises(at_work.Refused, match=said):
        writing.ask(project, None, done, "merged")
    with pytest.raises(NotExported, match=said):
        write_to(made, "csv", Options(with_pictures=False), tmp_path / "out.csv")
    assert (Dataset.objects.count(), Run.objects.count()) == (1, 1)
    assert not Study.objects.exists()
    assert not Serving.objects.exists()
    assert not (tmp_path / "out.csv").exists()
    assert b"post number" in b"".join(stream(made, "csv", Options(with_pictures=False)).chunks), "a download keeps none"


def test_pages_and_api_say_it_too(client):
    project = full(make_settled(), 0.5)
    client.force_login(make_member(project, Role.ADMIN))
    page = client.post(reverse("dataset_new", args=[project.slug]), {"name": "v1", "sources": ["consensus"]})
    assert (page.status_code, "Memes is full: it holds 512.0 MB" in page.content.decode()) == (422, True)
    answer = client.post(f"/api/projects/{project.slug}/datasets", {}, content_type="application/json")
    assert (answer.status_code, "Memes is full" in answer.json()["detail"]) == (409, True)


def test_posts_that_are_too_many_keep_nobody_from_training():
    project = make_settled()
    project.quota_posts = 1
    project.save()
    assert runner.start(project, None, freeze(project), training_presets.named("tiny").configured(), queue=False)


def test_what_has_begun_may_end():
    project = make_settled()
    made = freeze(project)
    run = runner.start(project, None, made, training_presets.named("tiny").configured(), queue=False)
    full(project)
    Run.objects.filter(pk=run.pk).update(state=RunState.INTERRUPTED)
    assert runner.resume(run)
    run.refresh_from_db()
    assert run.state == RunState.QUEUED


def test_nobody_is_charged_for_what_others_freeze():
    mine, other = make_settled(), make_settled()
    made = freeze(mine)
    before = modeling_measuring.datasets()
    assert 0 < before.held[mine.pk] < before.bytes
    freezing = Dataset.objects.create(project=other, name="v1", state=DatasetState.FREEZING)
    items = list(made.items.all())
    for number in range(20 * len(items)):
        item = items[number % len(items)]
        item.pk, item.dataset, item.position = None, freezing, number
        item.save()
    after = modeling_measuring.datasets()
    assert after.held == before.held
    assert after.bytes > before.bytes


def test_whatever_lies_in_a_folder_of_ours_is_measured(var):
    run = make_run()
    voter = Voter.imported(run.project, "model")
    made = PreLabelling.objects.create(project=run.project, run=run, voter=voter)
    written(var, f"prelabelling/{made.pk}/log.txt", f"evaluations/{made.pk}/log.txt", "answering/1/x", "results/1/x")
    for shared in (True, False):
        assert all(len(taken.what) <= 40 for taken in measuring.measured(shared))
    upkeep.look_after(upkeep.place_of(upkeep.key_of_own()))
    assert Holding.objects.filter(project=made.project, what__startswith="Pre-labellings").exists()


def test_what_a_run_left_is_measured_once_it_is_over():
    run = make_run(RunState.QUEUED)
    upkeep.look_after(upkeep.place_of(upkeep.key_of_own()))
    assert upkeep.claim(upkeep.key_of_own()) is None
    run.claim()
    runner.end(run, RunState.STOPPED)
    assert upkeep.claim(upkeep.key_of_own())


# --- Who says how much


def test_a_site_admin_sets_what_a_project_may_hold_and_it_is_on_record(client):
    project = make_project("Memes")
    root = make_user("root", is_superuser=True)
    client.force_login(root)
    asked = {"do": "allow", "project": project.pk, f"{project.pk}-quota_gb": "2.5", f"{project.pk}-quota_posts": "5000"}
    page = client.post(reverse("storage"), asked, follow=True).content.decode()
    assert "Saved for Memes." in page
    assert "of 2.5\xa0GB" in page
    assert "of 5,000" in page
    project.refresh_from_db()
    assert (project.quota_gb, project.quota_posts) == (2.5, 5000)
    told = Event.objects.get(verb="quota changed")
    assert (told.user, told.project, told.data) == (root, project, {"room": "2.5 GB", "posts": "5,000 posts"})
    blank = asked | {f"{project.pk}-quota_gb": "", f"{project.pk}-quota_posts": "0"}
    client.post(reverse("storage"), blank)
    project.refresh_from_db()
    assert (project.quota_gb, project.quota_posts) == (None, 0)
    client.post(reverse("storage"), blank)
    assert Event.objects.filter(verb="quota changed").count() == 2, "nothing changed"


NONSENSE = [{"quota_gb": value} for value in ("-1", "nan", "1e300", "many")] + [
    {"quota_posts": value} for value in ("1.5", "9" * 30)
]


@pytest.mark.parametrize("given", NONSENSE)
def test_what_cannot_be_is_said_beside_it_and_changes_nothing(client, given):
    project = make_project("Memes", quota_posts=7)
    client.force_login(make_user("root", is_superuser=True))
    asked = {"do": "allow", "project": project.pk} | {f"{project.pk}-{name}": value for name, value in given.items()}
    page = client.post(reverse("storage"), asked)
    assert (page.status_code, "errorlist" in page.content.decode()) == (422, True)
    project.refresh_from_db()
    assert (project.quota_gb, project.quota_posts) == (None, 7)


def test_a_project_that_is_no_more_is_not_found(client):
    client.force_login(make_user("root", is_superuser=True))
    for number in ("0", "x", "9" * 40, ""):
        assert client.post(reverse("storage"), {"do": "allow", "project": number}).status_code == 404


def test_the_settings_page_says_how_full_a_project_is(client):
    project = full(make_project("Memes", quota_posts=2), 2)
    make_post(project)
    client.force_login(make_member(project, Role.ADMIN))
    page = client.get(reverse("settings", args=[project.slug])).content.decode()
    assert "Memes is full: it takes no more imports, datasets, runs or models." in page
    assert "2.0\xa0GB of 2.0\xa0GB" in page
    assert "of 2" in page
    assert "Folders of runs" in page
