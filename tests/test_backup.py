"""A backup is whole or not there, and a site restored from it is the site that was backed up."""

import io
import json
import os
import signal
import subprocess
import sys
import threading
from contextlib import closing, contextmanager

import pytest
from django.conf import settings as django_settings
from django.core.files.base import ContentFile
from django.core.files.storage import default_storage
from django.core.management import CommandError, call_command
from django.db import connection
from PIL import Image as Picture

from annotate import first_start, images, removing
from annotate.models import ApiToken, Event, Image, Post, Project, Removal, Role
from annotate.operating import backup, dumping, restoring
from annotate.operating.backup import NotBackedUp
from annotate.operating.restoring import NotRestored

from .make import make_member, make_post, make_project, make_vote

pytestmark = pytest.mark.django_db(transaction=True)


def make_picture(colour):
    out = io.BytesIO()
    Picture.effect_noise((64, 64), 20 + colour).save(out, "PNG")
    seen = images.inspect(out.getvalue())
    images.store(seen)
    return Image.objects.create(
        sha256=seen.sha256, format=seen.format, width=64, height=64, bytes=len(seen.data), fingerprint=seen.fingerprint
    )


@pytest.fixture
def site():
    first_start.migrate(print)  # which plans the sweeps
    project = make_project("Memes")
    lead = make_member(project, Role.LEAD, "lena")
    for number in range(3):
        post = make_post(project, f"gm “{number}”\n\t\\N", "bullish", image=make_picture(number), meta={"n": [number]})
        make_vote(post, "gpt", "bearish", confidence=0.1 + 0.2, probabilities={"bearish": 1 / 3})
    ApiToken.issue(lead, "laptop")
    Event.record("joined", user=lead, project=project)
    default_storage.save("uploads/abc.csv", ContentFile(b"text\ngm\n"))
    default_storage.save("runs/7/result.zip", ContentFile(b"PK..."))
    return project


@contextmanager
def elsewhere(settings, tmp_path):
    """A machine of its own: an empty database, and no media."""
    with dumping.throwaway(f"elsewhere_{os.getpid()}") as database, named(database.name):
        here, settings.MEDIA_ROOT = settings.MEDIA_ROOT, tmp_path / "elsewhere"
        yield database
        settings.MEDIA_ROOT = here


@contextmanager
def named(database):
    connection.close()
    before, connection.settings_dict["NAME"] = connection.settings_dict["NAME"], database
    try:
        yield
    finally:
        connection.close()
        connection.settings_dict["NAME"] = before


def everything():
    with dumping.Database().connect() as one:
        return dumping.measured(one)


def media():
    return {name: default_storage.open(name).read() for name in backup.names_in(default_storage)}


def test_what_was_backed_up_is_there_again_to_the_last_byte(site, settings, tmp_path, client):
    client.force_login(site.memberships.get().user)
    tables, files = everything(), media()
    assert client.session.session_key
    call_command("backup", tmp_path / "backups" / "monday")
    assert not list((tmp_path / "backups").glob(".*"))

    with elsewhere(settings, tmp_path):
        call_command("restore", tmp_path / "backups" / "monday")
        assert (everything(), media()) == (tables, files)
        assert make_post(Project.objects.get(), "the next number is free").pk > max(
            Post.objects.filter(text__startswith="gm").values_list("pk", flat=True)
        )
        with connection.cursor() as cursor:
            cursor.execute("SELECT count(*) FROM django_session")
            assert cursor.fetchone() == (0,), "whoever finds a backup must not be logged in"

    call_command("backup", tmp_path / "backups" / "monday", "--check")


def test_the_command_says_how_it_ended(site, tmp_path):
    def backed_up(*arguments):
        url = dumping.Database().conninfo
        return subprocess.run(
            [sys.executable, "manage.py", "backup", *arguments], capture_output=True, text=True,
            env=os.environ | {"DATABASE_URL": url, "MEDIA_ROOT": str(django_settings.MEDIA_ROOT)},
        )  # fmt: skip

    done = backed_up(tmp_path / "one")
    assert done.returncode == 0, done.stderr
    assert "Keep SECRET_KEY and .env elsewhere" in done.stdout
    again = backed_up(tmp_path / "one")
    assert again.returncode == 1
    assert again.stderr.startswith("CommandError: ")
    assert "is there already" in again.stderr


def test_the_next_backup_takes_no_room_for_what_did_not_change(site, tmp_path):
    first = backup.make(tmp_path / "monday")
    default_storage.delete("runs/7/result.zip")
    default_storage.save("runs/7/result.zip", ContentFile(b"PK,,,"))  # as long, and another one
    make_post(site, "gm", image=make_picture(9))
    second = backup.make(tmp_path / "tuesday")
    assert (first.files, first.taken_over) == (8, 0)
    assert (second.files, second.taken_over) == (10, 7)
    one, two = (tmp_path / day / "media" for day in ("monday", "tuesday"))
    assert (one / "uploads/abc.csv").samefile(two / "uploads/abc.csv")
    assert (two / "runs/7/result.zip").read_bytes() == b"PK,,,"
    assert (one / "runs/7/result.zip").read_bytes() == b"PK..."
    assert backup.tried(tmp_path / "tuesday", print).files == 10


def test_it_holds_all_that_its_database_names_while_others_write_and_remove(site, settings, tmp_path):
    over = threading.Event()
    project = site.pk

    def write():
        with closing(connection):
            number = 100
            while not over.is_set():
                number += 1
                make_post(Project.objects.get(pk=project), f"gm {number}", image=make_picture(number))
                if number % 3 == 0:
                    removing.remove(Post.objects.filter(text__startswith="gm ").latest("pk"), None, "asked")

    writer = threading.Thread(target=write)
    writer.start()
    try:
        for day in range(4):
            backup.make(tmp_path / f"day{day}")
    finally:
        over.set()
        writer.join()
    for day in range(4):
        manifest = backup.tried(tmp_path / f"day{day}", print)
        assert manifest.missing == 0
    with elsewhere(settings, tmp_path):
        restored = restoring.restore(tmp_path / "day3")
        stored = [images.path_of(*image) for image in Image.objects.values_list("sha256", "format")]
        lacking = [name for name in stored if not default_storage.exists(name)]
        assert len(lacking) == restored.manifest.gone_meanwhile


def test_a_backup_that_was_killed_is_nobodys_and_goes_with_the_next(site, tmp_path):
    program = (
        "import os, signal, django; django.setup()\n"
        "from pathlib import Path\n"
        "from annotate.operating import backup\n"
        "backup.not_there = lambda names: os.kill(os.getpid(), signal.SIGKILL)\n"  # all is written but the manifest
        f"backup.make(Path({str(tmp_path / 'bk' / 'monday')!r}))"
    )
    url = dumping.Database().conninfo
    killed = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True,
        env=os.environ | {"DATABASE_URL": url, "MEDIA_ROOT": str(django_settings.MEDIA_ROOT),
                          "DJANGO_SETTINGS_MODULE": "annotate.settings"},
    )  # fmt: skip
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    (left,) = (tmp_path / "bk").iterdir()
    with pytest.raises(NotBackedUp, match="no whole backup"):
        backup.tried(left, print)
    made = backup.make(tmp_path / "bk" / "tuesday")
    assert made.taken_over == 0
    assert [path.name for path in (tmp_path / "bk").iterdir()] == ["tuesday"]


def flip(path):
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


@pytest.mark.parametrize("what", ["database.dump", "media/uploads/abc.csv", "SHA256SUMS", "gone", "manifest.json"])
def test_a_damaged_backup_is_told_before_anything_is_touched(site, tmp_path, what):
    backup.make(tmp_path / "bk")
    if what == "gone":
        (tmp_path / "bk/media/uploads/abc.csv").unlink()
    elif what == "manifest.json":
        (tmp_path / "bk" / what).write_text('{"tables": ')
    else:
        flip(tmp_path / "bk" / what)
    tables, files = everything(), media()
    with pytest.raises(NotRestored, match=r"damaged|cannot be read"):
        restoring.restore(tmp_path / "bk", replace=True)
    with pytest.raises(NotBackedUp, match=r"damaged|cannot be read"):
        backup.tried(tmp_path / "bk", print)
    assert (everything(), media()) == (tables, files)


def test_a_site_is_replaced_only_on_a_word_and_what_had_to_go_stays_gone(site, tmp_path):
    gone = site.posts.first()
    picture = images.path_of(gone.image.sha256, gone.image.format)
    backup.make(tmp_path / "bk")
    removing.remove(gone, None, "a court asked")
    site.posts.filter(text__contains="1").update(text="spoilt")
    default_storage.delete("uploads/abc.csv")
    default_storage.delete("runs/7/result.zip")
    default_storage.save("runs/7/result.zip", ContentFile(b"of another life"))

    with pytest.raises(CommandError, match="say --replace"):
        call_command("restore", tmp_path / "bk")
    assert site.posts.filter(text="spoilt").exists()

    call_command("restore", tmp_path / "bk", "--replace")
    assert not Post.objects.filter(text="spoilt").exists()
    assert list(Removal.objects.values_list("id_hash", "reason")) == [
        (removing.hash_of(gone.external_id), "a court asked")
    ]
    assert Post.objects.count() == 2
    assert not default_storage.exists(picture)
    assert default_storage.open("runs/7/result.zip").read() == b"PK..."


def test_whatever_breaks_the_restoring_off_leaves_the_database_as_it_was(site, tmp_path):
    backup.make(tmp_path / "bk")
    told = json.loads((tmp_path / "bk/manifest.json").read_text())
    told["tables"]["annotate_post"]["rows"] += 1  # what PostgreSQL loads will not be what was promised
    (tmp_path / "bk/manifest.json").write_text(json.dumps(told))
    make_post(site, "written since")
    tables = everything()
    with pytest.raises(NotRestored, match=r"annotate_post came with 3 rows.*as it was"):
        restoring.restore(tmp_path / "bk", replace=True)
    assert everything() == tables
    with pytest.raises(NotBackedUp, match="cannot be restored"):
        backup.tried(tmp_path / "bk", print)


def test_a_backup_of_a_newer_version_is_refused(site, tmp_path):
    backup.make(tmp_path / "bk")
    told = json.loads((tmp_path / "bk/manifest.json").read_text())
    told["migrations"]["modeling"].append("0999_of_next_year")
    (tmp_path / "bk/manifest.json").write_text(json.dumps(told))
    with pytest.raises(NotRestored, match=r"newer version \(modeling.0999_of_next_year"):
        restoring.restore(tmp_path / "bk", replace=True)


def test_a_running_site_is_not_pulled_from_under_its_workers(site, tmp_path):
    backup.make(tmp_path / "bk")
    with dumping.Database().connect(), pytest.raises(NotRestored, match="1 connection is open"):
        restoring.restore(tmp_path / "bk", replace=True)


def test_tables_of_others_are_never_dropped(site, tmp_path):
    backup.make(tmp_path / "bk")
    with dumping.throwaway(f"elsewhere_{os.getpid()}") as other:
        with other.connect() as one:
            one.execute("CREATE TABLE wiki_page (id int)")
        with named(other.name), pytest.raises(NotRestored, match=r"not ours \(wiki_page\)"):
            restoring.restore(tmp_path / "bk", replace=True)


def test_a_password_stands_in_no_command_line(settings):
    settings.DATABASE_URL = "postgresql://site:p%40ss@db.example.org/site?sslmode=require"
    database = dumping.Database("site")
    assert "p@ss" not in database.conninfo
    assert "sslmode=require" in database.conninfo
    assert database.environment()["PGPASSWORD"] == "p@ss"


def test_a_server_newer_than_every_pg_dump_here_is_told():
    with pytest.raises(dumping.NotDumped, match=r"The server is PostgreSQL 99.*install postgresql-client-99"):
        dumping.programs(99)


def test_another_secret_key_is_told(site, settings, tmp_path, capsys):
    backup.make(tmp_path / "bk")
    settings.SECRET_KEY = "another"
    call_command("restore", tmp_path / "bk", "--replace")
    assert "another SECRET_KEY" in capsys.readouterr().err


def test_where_a_bucket_keeps_the_media_the_database_goes_alone(site, tmp_path):
    call_command("backup", tmp_path / "bk", "--without-media")
    assert not (tmp_path / "bk/media").exists()
    Post.objects.update(text="spoilt")
    files = media()
    call_command("restore", tmp_path / "bk", "--replace")
    assert not Post.objects.filter(text="spoilt").exists()
    assert media() == files


def test_the_backup_lies_not_among_what_it_backs_up(site, settings):
    with pytest.raises(NotBackedUp, match="among the media"):
        backup.make(settings.MEDIA_ROOT / "backups" / "one")


def test_an_empty_database_is_told(settings, tmp_path):
    with elsewhere(settings, tmp_path), pytest.raises(NotBackedUp, match="no site in this database yet"):
        backup.make(tmp_path / "bk")
    assert list(tmp_path.glob("bk*")) == []
