"""Media in a bucket: a real S3 over HTTP (moto's server), and each way that a picture, upload or result goes."""

import io
import json
import logging
import zipfile
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import boto3
import pytest
from django.conf import settings as site
from django.core.files.base import ContentFile
from django.core.files.storage import default_storage
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client
from moto.server import ThreadedMotoServer

from annotate import bucket, first_start, images, removing, tasks
from annotate.importing import doors
from annotate.models import Image, ImportRun, Post, Role
from annotate.models.importing import ImportState
from annotate.operating import backup, restoring
from labeling.asking import picture_of
from modeling.evaluation import evaluating, folder
from modeling.evaluation.predictors import Predictor
from modeling.export import pictures
from modeling.models import Run, RunState
from modeling.training import results, run_folder, runner, training_presets

from .exporting import frozen, picture, stored
from .make import make_member, make_post, make_project
from .test_backup import elsewhere

pytestmark = pytest.mark.django_db(transaction=True)
NAME, PREFIX = "memes", "site"
SPLITS = ("train", "validation", "test")


@pytest.fixture(scope="module")
def s3() -> Iterator[str]:
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer("127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


def storages(address: str, prefix: str = PREFIX) -> dict[str, Any]:
    options = {"bucket_name": NAME, "endpoint_url": address, "region_name": "eu-central-1", "location": prefix}
    return {**site.STORAGES, "default": {"BACKEND": "annotate.bucket.Bucket", "OPTIONS": options}}


@pytest.fixture
def there(s3, settings, monkeypatch, tmp_path) -> Iterator[Any]:
    """The bucket as its owner sees it, while the product keeps its files there and finds no folder for them here."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    client = boto3.client("s3", endpoint_url=s3, region_name="eu-central-1")
    client.create_bucket(Bucket=NAME, CreateBucketConfiguration={"LocationConstraint": "eu-central-1"})
    settings.MEDIA_S3_BUCKET, settings.STORAGES = NAME, storages(s3)
    settings.VAR_DIR = tmp_path / "var"
    yield client
    for key in keys(client):
        client.delete_object(Bucket=NAME, Key=key)
    client.delete_bucket(Bucket=NAME)
    assert not settings.MEDIA_ROOT.exists(), "something was kept on the disk all the same"


def keys(client: Any, of: str = "") -> set[str]:
    listed = client.list_objects_v2(Bucket=NAME, Prefix=f"{PREFIX}/{of}" if of else "")
    return {one["Key"] for one in listed.get("Contents", [])}


def zipped(count: int) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for n in range(count):
            archive.writestr(f"{('bearish', 'bullish')[n % 2]}/{n}.png", picture(n))
    return packed.getvalue()


def logged_in(project: Any, role: Role) -> Client:
    client = Client()
    client.force_login(make_member(project, role))
    return client


def body(response: Any) -> bytes:
    return b"".join(response.streaming_content)


def imported(client: Client, slug: str, data: bytes, name: str = "memes.zip") -> ImportRun:
    """As somebody does it in the browser: sent, looked at, started; and a worker of another machine carries it out."""
    client.post(f"/p/{slug}/imports/new", {"file": SimpleUploadedFile(name, data)})
    run = ImportRun.objects.latest("pk")
    assert client.get(f"/p/{slug}/imports/{run.pk}").status_code == 200
    client.post(f"/p/{slug}/imports/{run.pk}/start", {"format": "", "columns": ""})
    tasks.import_posts(run.pk)
    run.refresh_from_db()
    assert run.state == ImportState.DONE, (run.state, run.error)
    return run


def test_a_picture_from_the_upload_to_its_removal(there):
    project = make_project("Memes", ("bearish", "bullish"), audit_rate=0)
    client = logged_in(project, Role.ADMIN)
    run = imported(client, project.slug, zipped(6) + b"")
    assert run.imported == 6
    assert len(keys(there, "images/")) == len(keys(there, "thumbs/")) == 6
    assert len(keys(there, "uploads/")) == 1

    report = body(client.get(f"/p/{project.slug}/imports/{run.pk}/report.csv")).decode("utf-8-sig")
    assert report.count("imported") == 6

    post = project.posts.select_related("image").earliest("pk")
    shown = client.get(f"/p/{project.slug}/images/{post.image.sha256}.png")
    assert (shown.status_code, shown["Content-Type"]) == (200, "image/png")
    assert images.inspect(body(shown)).width == post.image.width
    assert "immutable" in shown["Cache-Control"]
    small = client.get(f"/p/{project.slug}/thumbs/{post.image.sha256}.webp")
    assert body(small)[8:12] == b"WEBP"
    assert post.image.sha256 in client.get(f"/p/{project.slug}/posts").content.decode()
    assert Client().get(shown.wsgi_request.path).status_code == 302  # to the login: no address of the bucket is public
    assert picture_of(post.image)[1] == "png"  # as a voter is sent it

    removing.remove(post, None, "its author asked for it")
    assert not {key for key in keys(there) if post.image.sha256 in key}
    assert not keys(there, "uploads/")
    [report] = keys(there, "reports/")
    text = there.get_object(Bucket=NAME, Key=report)["Body"].read().decode("utf-8-sig")
    assert text.count("this post was removed since") == 1
    assert post.external_id not in text
    assert client.get(shown.wsgi_request.path).status_code == 404


def test_imported_again_it_is_known_and_an_upload_that_nobody_began_is_forgotten(there):
    project = make_project("Memes", ("bearish", "bullish"), audit_rate=0)
    client = logged_in(project, Role.ADMIN)
    imported(client, project.slug, zipped(3))
    again = imported(client, project.slug, zipped(3))
    assert (again.imported, again.already) == (0, 3)
    draft = doors.receive(project, make_member(project, Role.ADMIN), ContentFile(b"text\ngm\n", "posts.csv"))
    assert len(keys(there, "uploads/")) == 3
    ImportRun.objects.filter(pk=draft.pk).update(created="2020-01-01T00:00Z")
    tasks.forget_drafts()
    assert len(keys(there, "uploads/")) == 2


def with_pictures(posts: int = 24) -> Any:
    project = make_project("Memes", ("bearish", "bullish"), audit_rate=0)
    for n in range(posts):
        make_post(project, f"post {n}", ("bearish", "bullish")[n % 2], image=stored(n), label_source="review")
    return project


def test_a_dataset_goes_out_with_its_pictures_and_says_which_are_gone(there):
    project = with_pictures()
    dataset = frozen(project)
    client = logged_in(project, Role.ADMIN)
    got = client.get(
        f"/p/{project.slug}/datasets/v1/download", {"format": "sharegpt", "split": SPLITS, "pictures": "on"}
    )
    with zipfile.ZipFile(io.BytesIO(body(got))) as archive:
        names = [name for name in archive.namelist() if name.endswith(".png")]
        assert len(names) == 24
        assert images.inspect(archive.read(names[0])).format == "png"
        in_order = [name.rpartition("/")[2] for name in names]
    assert in_order == list(pictures.each_once(pictures.named(dataset, SPLITS)))
    lost = Image.objects.earliest("pk")
    default_storage.delete(images.path_of(lost.sha256, lost.format))
    members = {member.path: b"".join(member.chunks) for member in pictures.members(dataset, SPLITS)}
    assert lost.sha256 in members[pictures.MISSING].decode()
    assert len(members) == 24


def test_one_machine_trains_and_another_has_the_result(there, settings, tmp_path):
    """Two VAR_DIRs, one bucket, one database. The trainer itself is left out: what it leaves behind is written here."""
    project = with_pictures()
    config = training_presets.named("tiny").configured(max_steps=2)
    run = runner.start(project, None, frozen(project, validation=0.25, test=0), config, queue=False)
    settings.VAR_DIR = tmp_path / "card"
    here = run_folder.folder_of(run)
    run_folder.write(run, here)
    told = [json.loads(line) for line in (here / "posts" / "train.jsonl").read_text().splitlines()]
    assert told
    assert all((here / line["image"]).read_bytes()[:4] == b"\x89PNG" for line in told)
    (here / "adapter").mkdir()
    (here / "adapter" / "adapter.safetensors").write_bytes(bytes(range(256)) * 40_000)  # of two pieces
    (here / results.MODULES).write_text("q_proj\n")
    receipt = {"adapter": results.hash_of(here / "adapter")}
    (here / results.RECEIPT).write_text(json.dumps(receipt))
    results.keep(run, here)
    results.keep(run, here)  # as when it is resumed: in place of what is there
    Run.objects.filter(pk=run.pk).update(state=RunState.DONE, receipt=receipt, machine="card")
    run.refresh_from_db()
    assert keys(there, "runs/") == {f"{PREFIX}/runs/{run.pk}/result.zip"}

    settings.VAR_DIR = tmp_path / "site"
    assert results.are_at_hand(run)
    assert results.modules_of(run) == "q_proj\n"
    fetched = results.fetched(run)
    assert fetched.is_relative_to(tmp_path / "site")
    assert (fetched / "adapter" / "adapter.safetensors").read_bytes() == bytes(range(256)) * 40_000
    there.delete_object(Bucket=NAME, Key=f"{PREFIX}/runs/{run.pk}/result.zip")
    settings.VAR_DIR = tmp_path / "third"
    with pytest.raises(results.NoResult, match="or the same bucket"):
        results.fetched(run)


def test_an_evaluation_is_given_its_pictures(there, tmp_path):
    dataset = frozen(with_pictures())
    evaluation = evaluating.ask(dataset.project, None, dataset, "test", Predictor("base", model="tiny"), queue=False)
    folder.write(evaluation, tmp_path / "asked")
    lines = (tmp_path / "asked" / "posts" / "asked.jsonl").read_text().splitlines()
    asked = [json.loads(line) for line in lines]
    assert asked
    assert all((tmp_path / "asked" / line["image"]).read_bytes()[:4] == b"\x89PNG" for line in asked)


def test_what_is_there_is_backed_up_and_can_be_swept(there, tmp_path):
    project = with_pictures(3)
    doors.receive(project, make_member(project, Role.ADMIN), ContentFile(b"text\ngm\n", "posts.csv"))
    first = backup.make(tmp_path / "one", print)
    again = backup.make(tmp_path / "two", print)
    assert (first.files, again.files, again.taken_over) == (7, 7, 6)  # pictures are known by their names
    image = Image.objects.earliest("pk")
    name = images.path_of(image.sha256, image.format)
    with default_storage.open(name) as file:
        assert (tmp_path / "two" / "media" / name).read_bytes() == file.read()
    assert default_storage.listdir("images")[0] == sorted({one.sha256[:2] for one in Image.objects.all()})
    assert default_storage.get_modified_time(name) > datetime(2020, 1, 1, tzinfo=UTC)


def test_a_backup_comes_back_into_an_emptied_bucket(there, settings, tmp_path):
    first_start.migrate(print)
    with_pictures(3)
    default_storage.save("runs/7/result.zip", ContentFile(b"PK first"))
    backup.make(tmp_path / "one", print)
    held = {key: read(there, key) for key in keys(there)}
    for key in keys(there, "images/"):
        there.delete_object(Bucket=NAME, Key=key)
    there.put_object(Bucket=NAME, Key=f"{PREFIX}/runs/7/result.zip", Body=b"PK later, and longer")

    with elsewhere(settings, tmp_path):
        done = restoring.restore(tmp_path / "one")
        assert Image.objects.count() == 3
    assert (done.written, done.there_already, done.replaced) == (3, 3, ["runs/7/result.zip"])
    assert {key: read(there, key) for key in keys(there)} == held


def read(client: Any, key: str) -> bytes:
    return bytes(client.get_object(Bucket=NAME, Key=key)["Body"].read())


class TestAFileInABucket:
    def test_is_read_from_anywhere_whatever_its_length(self, there, monkeypatch):
        monkeypatch.setattr(bucket, "PIECE", 1000)
        held = bytes(n % 251 for n in range(4321))
        default_storage.save("uploads/long", ContentFile(held))
        with default_storage.open("uploads/long") as file:
            assert file.size == 4321
            assert file.read() == held
            file.seek(999)
            assert file.read(2) == held[999:1001]
            file.seek(-5, io.SEEK_END)
            assert file.read(100) == held[-5:]
            assert file.read(1) == b""
        assert b"".join(default_storage.open("uploads/long").chunks(700)) == held

    def test_may_be_empty(self, there):
        default_storage.save("uploads/empty", ContentFile(b""))
        with default_storage.open("uploads/empty") as file:
            assert (file.read(), file.size) == (b"", 0)

    def test_that_is_exchanged_while_it_is_read_is_not_read_as_one(self, there, monkeypatch):
        monkeypatch.setattr(bucket, "PIECE", 1000)
        default_storage.save("runs/1/result.zip", ContentFile(b"a" * 300_000))
        with default_storage.open("runs/1/result.zip") as file:
            file.read(10)
            default_storage.save("runs/1/result.zip", ContentFile(b"b" * 300_000))
            file.seek(290_000)
            with pytest.raises(OSError, match="PreconditionFailed"):
                file.read(10)

    def test_takes_one_question_to_read_and_one_to_write(self, there):
        asked: list[str] = []
        default_storage.client.meta.events.register("before-call.s3", lambda model, **_: asked.append(model.name))
        seen = images.inspect(picture(1))
        images.store(seen)
        with default_storage.open(images.path_of(seen.sha256, seen.format)) as file:
            file.read()
        assert asked == ["PutObject", "PutObject", "GetObject"]

    def test_lies_under_the_prefix_and_gets_no_way_out_of_it(self, there):
        default_storage.save("reports/x.csv", ContentFile(b"x"))
        assert keys(there) == {f"{PREFIX}/reports/x.csv"}
        with pytest.raises(Exception, match=r"denied|Detected path traversal"):
            default_storage.save("../other/x.csv", ContentFile(b"x"))


class TestWithoutTheBucket:
    @pytest.fixture
    def away(self, there, settings, monkeypatch):
        """Its server is off."""
        monkeypatch.setattr(
            bucket, "PATIENCE", {"connect_timeout": 1, "read_timeout": 1, "retries": {"max_attempts": 1}}
        )

        def leave() -> None:
            settings.STORAGES = storages("http://127.0.0.1:9")

        return leave

    def test_an_import_ends_with_a_sentence_and_can_be_run_again(self, there, away, settings, s3):
        project = make_project("Memes", ("bearish", "bullish"), audit_rate=0)
        run = doors.receive(project, make_member(project, Role.ADMIN), ContentFile(zipped(3), "memes.zip"))
        assert doors.begin(run)
        away()
        tasks.import_posts(run.pk)
        run.refresh_from_db()
        assert run.state == ImportState.FAILED
        assert "the bucket with the pictures cannot be reached" in run.error
        settings.STORAGES = storages(s3)
        assert doors.begin(run)
        tasks.import_posts(run.pk)
        run.refresh_from_db()
        assert (run.state, run.imported) == (ImportState.DONE, 3)

    def test_pages_still_come_and_only_the_pictures_fail(self, there, away):
        project = with_pictures(1)
        client = logged_in(project, Role.REVIEWER)
        away()
        assert client.get(f"/p/{project.slug}/posts").status_code == 200
        shown = client.get(f"/p/{project.slug}/images/{Post.objects.get().image.sha256}.png")
        assert shown.status_code == 503
        assert "Cache-Control" not in shown or "immutable" not in shown["Cache-Control"]

    def test_a_run_is_told_what_is_the_matter(self, there, away):
        project = with_pictures()
        config = training_presets.named("tiny").configured(max_steps=2)
        run = runner.start(project, None, frozen(project, validation=0.25, test=0), config, queue=False)
        away()
        assert runner.carry_out(run)
        run.refresh_from_db()
        assert run.state == RunState.FAILED
        assert "the bucket with the pictures cannot be reached" in run.error
