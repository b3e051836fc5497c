"""Disks that are really full: a sentence to whoever asked, nothing half that is taken for whole, and on it goes once
there is room. A small file system of its own where we may mount one, and elsewhere a limit that the kernel keeps."""

import csv
import io
import json
import os
import resource
import shutil
import subprocess
from contextlib import contextmanager
from pathlib import Path

import pytest
from django.core.files.base import ContentFile
from django.core.files.storage import default_storage
from django.core.files.uploadedfile import SimpleUploadedFile
from django.urls import reverse
from PIL import Image as Picture

from annotate import images
from annotate.importing import doors, running
from annotate.importing.rows import Unreadable
from annotate.models import Image, ImportRun, Role
from annotate.models.importing import ImportState
from annotate.operating import backup, room
from modeling.export.formats import NotExported, Options, write_to
from modeling.gpu import checkpoints, full_disk
from modeling.gpu.progress import FILE, Progress, whole_lines
from modeling.models import RunState
from modeling.training import run_folder, runner, training_presets

from .freezing import freeze, make_settled
from .make import make_member, make_post, make_project, make_user
from .test_backup import make_picture
from .test_import import zipped

pytestmark = pytest.mark.django_db
MB = 1024**2


@pytest.fixture
def disk(tmp_path, settings):
    """A file system of the size that is asked for, which can be made larger."""
    settings.LEAST_FREE_MB = 0
    mounted = []

    def mount(megabytes: float) -> Path:
        size = f"size={int(megabytes * MB)}"
        if mounted:
            subprocess.run(["mount", "-o", f"remount,{size}", str(mounted[0])], check=True)
            return mounted[0]
        folder = tmp_path / "disk"
        folder.mkdir()
        try:
            subprocess.run(["mount", "-t", "tmpfs", "-o", size, "tmpfs", str(folder)], check=True, capture_output=True)
        except (OSError, subprocess.CalledProcessError):
            pytest.skip("only root may mount a small disk")
        mounted.append(folder)
        return folder

    yield mount
    for folder in mounted:
        subprocess.run(["umount", "-l", str(folder)], check=True)


@contextmanager
def no_file_larger_than(size: int):
    """Kept by the kernel for each process, whoever runs it."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def noisy(seed: int) -> bytes:
    out = io.BytesIO()
    Picture.effect_noise((160, 160), 40 + seed).convert("RGB").save(out, "PNG")
    return out.getvalue()


def imported(run: ImportRun) -> ImportRun:
    if run.state == ImportState.DRAFT:
        run.state = ImportState.QUEUED
        run.save()
    else:
        assert doors.begin(run)
    assert running.carry_out(run)
    run.refresh_from_db()
    return run


def every_picture_is_whole():
    for folder in ("images", "thumbs"):
        for name in backup.names_in(default_storage, f"{folder}/"):
            with default_storage.open(name) as file:
                Picture.open(file).load()
    for image in Image.objects.all():
        assert default_storage.size(images.path_of(image.sha256, image.format)) == image.bytes


def test_an_import_on_a_disk_that_fills_goes_on_once_there_is_room(disk, settings, tmp_path, client):
    settings.MEDIA_ROOT = disk(0.25)
    project = make_project()
    admin = make_member(project, Role.ADMIN)
    path = zipped(tmp_path / "pictures.zip", **{f"p{number:02}.png": noisy(number) for number in range(12)})
    run = ImportRun.objects.create(project=project, by=admin, name="pictures.zip", state=ImportState.QUEUED)
    assert running.carry_out(run, path)
    run.refresh_from_db()
    assert (run.state, run.error) == (ImportState.FAILED, room.FULL_WORDS)
    every_picture_is_whole()
    assert list(settings.MEDIA_ROOT.rglob("*.part")) == []
    client.force_login(admin)
    assert "The disk is full." in client.get(run.get_absolute_url()).content.decode()

    disk(20)
    again = ImportRun.objects.create(project=project, by=admin, name="pictures.zip", state=ImportState.QUEUED)
    assert running.carry_out(again, path)
    again.refresh_from_db()
    assert (again.state, project.posts.count(), Image.objects.count()) == (ImportState.DONE, 12, 12)
    every_picture_is_whole()


def test_a_picture_that_cannot_be_written_whole_is_not_there(settings, tmp_path):
    settings.LEAST_FREE_MB = 0
    project = make_project()
    path = zipped(tmp_path / "pictures.zip", **{"small.png": noisy(1), "large.png": large()})
    run = ImportRun.objects.create(project=project, name="pictures.zip", state=ImportState.QUEUED)
    with no_file_larger_than(200_000):
        assert running.carry_out(run, path)
    run.refresh_from_db()
    assert (run.state, run.error) == (ImportState.FAILED, room.FULL_WORDS)
    every_picture_is_whole()
    assert list(settings.MEDIA_ROOT.rglob("*.part")) == []
    again = ImportRun.objects.create(project=project, name="pictures.zip", state=ImportState.QUEUED)
    assert running.carry_out(again, path)
    assert project.posts.count() == 2


def large() -> bytes:
    out = io.BytesIO()
    Picture.effect_noise((1000, 1000), 90).save(out, "PNG")
    return out.getvalue()


def test_an_upload_that_does_not_fit_is_told_and_leaves_nothing(settings, client):
    settings.LEAST_FREE_MB = 0
    settings.FILE_UPLOAD_MAX_MEMORY_SIZE = 10 * MB
    project = make_project()
    client.force_login(make_member(project, Role.ADMIN))
    rows = io.StringIO()
    csv.writer(rows).writerows([["text"], *([f"gm {number}"] for number in range(30_000))])
    file = SimpleUploadedFile("posts.csv", rows.getvalue().encode())
    with no_file_larger_than(100_000):
        page = client.post(reverse("import_new", args=[project.slug]), {"door": "file", "file": file})
    assert page.status_code == 422
    assert "The disk is full, so the file could not be kept." in page.content.decode()
    assert list(backup.names_in(default_storage)) == []
    assert not ImportRun.objects.exists()


def test_what_would_not_fit_does_not_begin(settings, client, tmp_path):
    settings.LEAST_FREE_MB = 10**9
    project = make_settled()
    admin = make_member(project, Role.ADMIN)
    client.force_login(admin)
    with pytest.raises(Unreadable, match="MB are kept free"):
        doors.receive(project, admin, ContentFile(b"text\ngm\n", name="a.csv"))
    run = ImportRun.objects.create(project=project, by=admin, name="a.csv", state=ImportState.QUEUED)
    (tmp_path / "a.csv").write_text("text\ngm\n")
    running.carry_out(run, tmp_path / "a.csv")
    assert "MB are kept free" in client.get(run.get_absolute_url()).content.decode()
    made = freeze(project)
    with pytest.raises(NotExported, match="MB are kept free"):
        write_to(made, "csv", Options(with_pictures=False), tmp_path / "out.csv")
    training = runner.start(project, admin, made, training_presets.named("tiny").configured(), queue=False)
    settings.VAR_DIR = tmp_path
    assert runner.carry_out(training)
    training.refresh_from_db()
    assert training.state == RunState.FAILED
    assert "MB are kept free" in client.get(reverse("run", args=[project.slug, training.pk])).content.decode()


def test_a_quota_of_pictures_stops_imports_with_a_sentence(settings, tmp_path):
    settings.MEDIA_QUOTA_MB = 1
    project = make_project()
    Image.objects.create(sha256="0" * 64, format="png", width=1, height=1, bytes=MB - 1, fingerprint=1)
    (tmp_path / "one.csv").write_text("id,text\na,gm\n")
    run = ImportRun.objects.create(project=project, name="one.csv", state=ImportState.QUEUED)
    running.carry_out(run, tmp_path / "one.csv")
    assert project.posts.count() == 1
    Image.objects.update(bytes=MB)
    again = ImportRun.objects.create(project=project, name="two.csv", state=ImportState.QUEUED)
    running.carry_out(again, tmp_path / "one.csv")
    again.refresh_from_db()
    assert (again.state, "MEDIA_QUOTA_MB allows 1 MB" in again.error) == (ImportState.FAILED, True)


def test_an_export_onto_a_full_disk_leaves_nothing_and_works_once_there_is_room(disk):
    folder = disk(0.25)
    project = make_settled()
    for number in range(6):
        make_post(project, f"seen {number}", "bullish", image=make_noisy(number))
    made = freeze(project)
    with pytest.raises(NotExported, match="The disk is full"):
        write_to(made, "imagefolder", Options(), folder / "out")
    assert list(folder.iterdir()) == []
    disk(10)
    assert write_to(made, "imagefolder", Options(), folder / "out").missing == 0


def make_noisy(number: int) -> Image:
    seen = images.inspect(noisy(number))
    images.store(seen)
    return Image.objects.create(
        sha256=seen.sha256, format=seen.format, width=160, height=160, bytes=len(seen.data), fingerprint=number
    )


# --- Backups


@pytest.mark.django_db(transaction=True)
def test_a_backup_onto_a_full_disk_leaves_nothing_and_works_once_there_is_room(disk):
    folder = disk(0.9)
    for number in range(12):
        make_noisy(number)
    with pytest.raises(backup.NotBackedUp, match="is full; nothing was left there"):
        backup.make(folder / "bk")
    assert list(folder.iterdir()) == []
    disk(0.1)
    with pytest.raises(backup.NotBackedUp, match="is full; nothing was left there"):
        backup.make(folder / "bk")  # not even the database fits
    assert list(folder.iterdir()) == []
    disk(20)
    assert backup.make(folder / "bk").files == 24


@pytest.mark.django_db(transaction=True)
def test_a_backup_that_may_write_no_more_leaves_nothing(tmp_path):
    make_picture(1)
    with no_file_larger_than(50_000), pytest.raises(backup.NotBackedUp, match=r"(signal|full).*nothing was left"):
        backup.make(tmp_path / "bk" / "one")
    assert list((tmp_path / "bk").iterdir()) == []


# --- Training


def test_a_run_on_a_disk_that_fills_goes_on_from_its_last_whole_checkpoint(disk, settings, client, monkeypatch):
    pytest.importorskip("torch")
    project = make_settled()
    settings.VAR_DIR = disk(400)
    monkeypatch.setattr(runner, "LOOK_EVERY", 0.02)
    config = training_presets.named("tiny").configured(epochs=60, evaluate_every=1)  # longer than the disk lasts
    run = runner.start(project, None, freeze(project), config, queue=False)
    folder = run_folder.folder_of(run)

    def fill_up(now):
        """Once the first checkpoint is there, somebody else takes the rest of the disk."""
        if any(checkpoints.is_whole(path) for path in (folder / "checkpoints").glob("checkpoint-*")):
            with suppress_full(), (settings.VAR_DIR / "somebody-elses").open("ab", buffering=0) as file:
                while True:
                    file.write(bytes(64 * 1024))

    assert runner.carry_out(run, fill_up)
    run.refresh_from_db()
    assert (run.state, run.error) == (RunState.FAILED, full_disk.WORDS)
    client.force_login(make_user("root", is_superuser=True))
    assert "The disk is full." in client.get(reverse("run", args=[project.slug, run.pk])).content.decode()
    assert run.step > 0

    (settings.VAR_DIR / "somebody-elses").unlink()
    half = folder / "checkpoints" / "checkpoint-999"  # what a kill in the midst of saving leaves
    shutil.copytree(next((folder / "checkpoints").glob("checkpoint-*")), half)
    (half / "trainer_state.json").write_text('{"global_st')
    with (folder / FILE).open("a") as file:
        file.write('{"kind": "ste')
    saved = run.step
    assert runner.resume(run)
    assert runner.carry_out(run, lambda now: now.step > saved and runner.stop(now))
    run.refresh_from_db()
    assert (run.state, run.error) == (RunState.STOPPED, "")
    assert not half.exists()
    resumed = [json.loads(line).get("resumed") for line in (folder / FILE).read_text().splitlines()]
    assert any(resumed), "it began from the beginning"


@contextmanager
def suppress_full():
    try:
        yield
    except OSError as error:
        if error.errno not in full_disk.FULL:
            raise


def test_half_a_line_of_progress_is_no_line(tmp_path):
    progress = Progress(tmp_path)
    progress.write("state", doing="training")
    with (tmp_path / FILE).open("a") as file:
        file.write('{"kind": "step", "st')
    at = whole_lines(tmp_path / FILE)
    Progress(tmp_path).write("step", step=1)
    told = (tmp_path / FILE).read_bytes()
    assert [json.loads(line)["kind"] for line in told.splitlines()] == ["state", "step"]
    assert json.loads(told[at:])["step"] == 1, "who watches from there reads whole lines alone"


def test_of_checkpoints_the_last_whole_one_counts(tmp_path):
    for step, state in ((2, '{"global_step": 2}'), (10, '{"global_step": 10}'), (12, '{"glob'), (14, None)):
        folder = tmp_path / "checkpoints" / f"checkpoint-{step}"
        folder.mkdir(parents=True)
        if state:
            (folder / "trainer_state.json").write_text(state)
    assert checkpoints.last_whole(tmp_path, is_main=False).endswith("checkpoint-10")
    assert len(list((tmp_path / "checkpoints").iterdir())) == 4, "only the first of several processes clears up"
    assert checkpoints.last_whole(tmp_path, is_main=True).endswith("checkpoint-10")
    assert sorted(os.listdir(tmp_path / "checkpoints")) == ["checkpoint-10", "checkpoint-2"]
    assert checkpoints.last_whole(tmp_path / "nowhere", is_main=True) is None
