import csv
import io
import zipfile
from datetime import timedelta
from pathlib import Path

import pytest
from django.core.files.storage import default_storage
from django.core.files.uploadedfile import SimpleUploadedFile
from django.core.management import CommandError, call_command
from django.utils import timezone
from django_q.models import OrmQ
from PIL import Image as Drawing
from PIL import ImageDraw

from annotate import tasks
from annotate.importing import doors, load, running
from annotate.importing.rows import Row
from annotate.models import Disagreement, Event, Image, ImportRun, LabelSource, Post, State, Tally, Template, Vote
from annotate.models.importing import ImportState
from tests.make import make_label, make_member, make_post, make_project, make_vote

pytestmark = pytest.mark.django_db


@pytest.fixture
def project():
    return make_project()


def write(folder: Path, *lines: str, name: str = "posts.csv") -> Path:
    path = folder / name
    path.write_text("\n".join(lines))
    return path


def bring_in(project, path, **options) -> ImportRun:
    call_command("import_posts", str(path), project=project.slug, stdout=io.StringIO(), **options)
    return project.imports.first()


def report_of(run) -> list[dict[str, str]]:
    with default_storage.open(run.report) as report:
        return list(csv.DictReader(io.StringIO(report.read().decode("utf-8-sig"))))


def picture(words: str = "", seed: int = 0, size: int = 200) -> bytes:
    drawing = (
        Drawing.effect_noise((size, size), 40).convert("RGB") if seed < 0 else Drawing.new("RGB", (size, size), "white")
    )
    pen = ImageDraw.Draw(drawing)
    for n in range(6):
        x, y = (37 * (n + 1) * (seed + 3)) % size, (53 * (n + 2) * (seed + 5)) % size
        pen.rectangle((x, y, x + 60, y + 40), fill=((seed * 67 + n * 40) % 255, (n * 90) % 255, (seed * 31) % 255))
    pen.text((10, 10), words, fill="black")
    out = io.BytesIO()
    drawing.save(out, "PNG")
    return out.getvalue()


def zipped(path: Path, **files: bytes) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in files.items():
            archive.writestr(name.replace("__", "."), data)
    return path


class TestRowsBecomePosts:
    def test_with_their_text_id_and_date(self, project, tmp_path):
        bring_in(project, write(tmp_path, "id,text,created_at", "a,to the moon,2025-11-14T10:00:00Z"))
        post = project.posts.get()
        assert (post.external_id, post.text, post.at.isoformat()) == ("a", "to the moon", "2025-11-14T10:00:00+00:00")
        assert post.state == State.WAITING

    def test_importing_twice_changes_nothing(self, project, tmp_path):
        path = write(tmp_path, "id,text,gpt,gemini", "a,one,bullish,bullish", "b,two,bullish,bearish")
        bring_in(project, path)
        before = list(Post.objects.values()), list(Vote.objects.values()), list(Disagreement.objects.values())
        run = bring_in(project, path)
        assert (run.imported, run.already, run.refused) == (0, 2, 0)
        assert before == (list(Post.objects.values()), list(Vote.objects.values()), list(Disagreement.objects.values()))

    def test_without_an_id_the_content_is_the_id(self, project, tmp_path):
        path = write(tmp_path, "text", "same words", "same words", "other words")
        run = bring_in(project, path)
        assert (run.imported, run.already) == (2, 1)

    def test_same_id_with_other_content_keeps_what_was_there_and_says_so(self, project, tmp_path):
        bring_in(project, write(tmp_path, "id,text", "a,first"))
        run = bring_in(project, write(tmp_path, "id,text", "a,second"))
        assert project.posts.get().text == "first"
        assert "other content" in report_of(run)[0]["detail"]

    def test_the_order_of_the_file_is_kept_where_nothing_is_dated(self, project, tmp_path):
        bring_in(project, write(tmp_path, "text", "one", "two", "three"))
        assert list(project.posts.order_by("at").values_list("text", flat=True)) == ["one", "two", "three"]

    def test_the_counts_on_the_home_page_follow(self, project, tmp_path):
        bring_in(project, write(tmp_path, "text", "one", "two"))
        assert sum(Tally.objects.filter(project=project).values_list("posts", flat=True)) == 2


class TestRefusedRows:
    def test_are_told_by_number_and_reason_and_the_rest_go_in(self, project, tmp_path):
        run = bring_in(project, write(tmp_path, "text,label", "good,bullish", "bad,moonish", ",", "also good,"))
        assert (run.imported, run.refused) == (2, 2)
        refused = {line["row"]: line["detail"] for line in report_of(run) if line["outcome"] == "refused"}
        assert set(refused) == {"2", "3"}
        assert "moonish" in refused["2"]

    def test_the_report_is_safe_to_open_in_a_spreadsheet(self, project, tmp_path):
        run = bring_in(project, write(tmp_path, "id,text", "=HYPERLINK(1),x"))
        assert report_of(run)[0]["id"].startswith("'=")

    def test_a_text_beyond_all_bounds(self, project, tmp_path):
        run = bring_in(project, write(tmp_path, "text", "x" * (load.TEXT_LIMIT + 1), "fine"))
        assert (run.imported, run.refused) == (1, 1)

    def test_a_file_that_cannot_be_read_fails_with_a_sentence(self, project, tmp_path):
        path = tmp_path / "posts.parquet"
        path.write_bytes(b"PAR1 but not really")
        with pytest.raises(CommandError):
            bring_in(project, path)
        run = project.imports.get()
        assert run.state == ImportState.FAILED
        assert run.error


class TestKnownLabels:
    def test_settle_a_post(self, project, tmp_path):
        bring_in(project, write(tmp_path, "text,label", "one, Bullish "))
        post = project.posts.get()
        assert (post.state, post.label.name, post.label_source) == (State.SETTLED, "bullish", LabelSource.IMPORT)

    def test_are_never_overturned_by_votes(self, project, tmp_path):
        bring_in(project, write(tmp_path, "text,label,gpt,gemini", "one,bullish,bearish,bearish"))
        post = project.posts.get()
        assert (post.label.name, post.vote_count) == ("bullish", 2)


class TestHoldout:
    def test_marks_posts_with_their_labels(self, project, tmp_path):
        bring_in(project, write(tmp_path, "text,label", "one,bullish"), holdout=True)
        assert project.posts.get().holdout

    def test_needs_the_label_of_every_row(self, project, tmp_path):
        run = bring_in(project, write(tmp_path, "text,label", "one,bullish", "two,"), holdout=True)
        assert (run.imported, run.refused) == (1, 1)

    def test_locks_posts_that_were_imported_before(self, project, tmp_path):
        bring_in(project, write(tmp_path, "id,text,gpt,gemini", "a,one,bullish,bearish"))
        run = bring_in(project, write(tmp_path, "id,text,label", "a,one,bearish"), holdout=True)
        post = project.posts.get()
        assert (post.holdout, post.label.name, post.state) == (True, "bearish", State.SETTLED)
        assert not Disagreement.objects.filter(closed=None).exists()
        assert "test set" in report_of(run)[0]["detail"]


class TestVotesComeAlong:
    def test_columns_become_voters_and_agreement_settles(self, project, tmp_path):
        run = bring_in(
            project,
            write(
                tmp_path,
                "id,text,gpt-4o-mini,gemini",
                "a,one,bullish,bullish",
                "b,two,bullish,bearish",
                "c,three,bullish,",
            ),
        )
        assert run.votes == 5
        assert list(project.voters.values_list("name", flat=True)) == ["gemini", "gpt-4o-mini"]
        states = dict(project.posts.values_list("external_id", "state"))
        assert states == {"a": State.SETTLED, "b": State.CONTESTED, "c": State.WAITING}
        assert Disagreement.objects.get().why == "split"

    def test_an_answer_outside_the_labels_is_an_abstention_with_its_words_kept(self, project, tmp_path):
        bring_in(
            project, write(tmp_path, "id,text,gpt,gemini", "a,one,slightly bullish,bullish", "b,two,bearish,bearish")
        )
        vote = Vote.objects.get(voter__name="gpt", post__external_id="a")
        assert vote.label is None
        assert "slightly bullish" in vote.reason
        assert vote.post.disagreements.get().why == "abstained"  # the other may be drawn for the audit

    def test_later_votes_reach_posts_that_are_there(self, project, tmp_path):
        bring_in(project, write(tmp_path, "id,text,gpt", "a,one,bullish"))
        assert project.posts.get().state == State.WAITING
        bring_in(project, write(tmp_path, "id,text,gemini", "a,one,bullish"))
        assert project.posts.get().state == State.SETTLED

    def test_a_late_voter_does_not_unsettle_what_others_left_waiting(self, project):
        post = make_post(project, label="bullish")
        make_vote(post, "gpt", "bullish")
        assert post.state == State.SETTLED


class TestPictures:
    def test_are_stored_once_and_shown_by_many(self, project, tmp_path):
        data = picture("gm", 1)
        bring_in(project, zipped(tmp_path / "a.zip", one__png=data, two__png=data))
        assert Image.objects.count() == 1
        image = Image.objects.get()
        assert default_storage.exists(f"thumbs/{image.sha256[:2]}/{image.sha256}.webp")

    def test_a_broken_one_costs_its_row_only(self, project, tmp_path):
        run = bring_in(project, zipped(tmp_path / "a.zip", good__png=picture("gm", 1), bad__png=b"\x89PNG not"))
        assert (run.imported, run.refused) == (1, 1)

    def test_look_alikes_become_a_group(self, project, tmp_path):
        files = {f"n{n}__png": picture(f"caption {n}", 4) for n in range(3)} | {"other__png": picture("x", 9)}
        bring_in(project, zipped(tmp_path / "a.zip", **files))
        assert sorted(Template.objects.values_list("size", flat=True)) == [1, 3]

    def test_a_second_import_joins_the_groups_of_the_first(self, project, tmp_path):
        bring_in(project, zipped(tmp_path / "a.zip", one__png=picture("a", 4)))
        bring_in(project, zipped(tmp_path / "b.zip", two__png=picture("b", 4)))
        assert Template.objects.get().size == 2

    def test_a_full_disk_ends_the_run_with_a_sentence_and_it_can_be_run_again(self, project, tmp_path, monkeypatch):
        path = zipped(tmp_path / "a.zip", one__png=picture("a", 4))

        def full(*args):
            raise OSError(28, "No space left on device")

        with monkeypatch.context() as patched:
            patched.setattr(load.images, "store", full)
            with pytest.raises(CommandError, match="The disk is full"):
                bring_in(project, path)
        assert not project.posts.exists()
        assert bring_in(project, path).imported == 1


class TestTheRun:
    @pytest.fixture
    def run(self, project):
        file = SimpleUploadedFile("posts.csv", b"id,text\n" + b"".join(b"p%d,text %d\n" % (n, n) for n in range(2500)))
        return doors.receive(project, make_member(project, "admin"), file)

    def test_waits_until_somebody_has_seen_the_first_rows(self, run):
        assert run.state == ImportState.DRAFT
        assert doors.preview(run)[0].rows[0]["text"] == "text 0"

    def test_is_carried_out_by_the_task(self, run, project):
        doors.begin(run)
        tasks.import_posts(run.pk)
        run.refresh_from_db()
        assert (run.state, run.imported, run.total) == (ImportState.DONE, 2500, 2500)
        assert Event.objects.filter(verb="posts imported", project=project).count() == 1

    def test_delivered_twice_runs_once(self, run):
        doors.begin(run)
        tasks.import_posts(run.pk)
        tasks.import_posts(run.pk)
        run.refresh_from_db()
        assert (run.imported, run.already) == (2500, 0)

    def test_begun_twice_it_is_queued_once_and_when_done_not_again(self, run):
        second_tab = ImportRun.objects.get(pk=run.pk)
        assert doors.begin(run)
        assert not doors.begin(second_tab)
        tasks.import_posts(run.pk)
        assert not doors.begin(second_tab)
        assert OrmQ.objects.count() == 1

    def test_broken_off_half_way_it_can_be_run_again(self, run, project, monkeypatch):
        doors.begin(run)
        original = load.Loader.insert

        def breaks(loader, candidates, loaded):
            if candidates and candidates[0].row.number > 1000:
                raise RuntimeError("the plug was pulled")
            original(loader, candidates, loaded)

        with monkeypatch.context() as patched:
            patched.setattr(load.Loader, "insert", breaks)
            with pytest.raises(RuntimeError):
                tasks.import_posts(run.pk)
        run.refresh_from_db()
        assert (run.state, project.posts.count()) == (ImportState.FAILED, 1000)
        assert doors.begin(run)
        tasks.import_posts(run.pk)
        run.refresh_from_db()
        assert (run.state, run.imported, run.already) == (ImportState.DONE, 1500, 1000)
        assert project.posts.count() == 2500

    def test_stops_after_its_batch_when_asked(self, run, project, monkeypatch):
        doors.begin(run)
        original = running.record

        def record(current, loaded):
            doors.ask_to_stop(current)
            original(current, loaded)

        monkeypatch.setattr(running, "record", record)
        tasks.import_posts(run.pk)
        run.refresh_from_db()
        assert (run.state, run.imported) == (ImportState.CANCELLED, 1000)
        assert len(report_of(run)) == 1000

    def test_of_a_dead_worker_is_taken_up_by_the_sweep(self, run, project):
        doors.begin(run)
        assert run.claim()
        ImportRun.objects.filter(pk=run.pk).update(heartbeat=timezone.now() - timedelta(minutes=2))
        run.refresh_from_db()
        assert run.is_silent
        assert run in ImportRun.objects.left_lying()
        tasks.import_posts(run.pk)
        assert project.posts.count() == 2500

    def test_a_worker_taken_for_dead_gives_way(self, run):
        doors.begin(run)
        assert run.claim()
        ImportRun.objects.filter(pk=run.pk).update(started=timezone.now())
        with pytest.raises(running.LostClaim):
            running.record(run, load.Loaded())

    def test_a_project_takes_one_import_at_a_time(self, run, project):
        doors.begin(run)
        assert run.claim()
        second = doors.receive(project, run.by, SimpleUploadedFile("b.csv", b"text\nhello\n"))
        doors.begin(second)
        tasks.import_posts(second.pk)
        second.refresh_from_db()
        assert second.state == ImportState.QUEUED
        assert second in ImportRun.objects.left_lying()

    def test_from_the_command_line_is_not_taken_up_by_a_worker(self, project):
        ImportRun.objects.create(project=project, name="posts.csv", state=ImportState.QUEUED)
        assert not ImportRun.objects.left_lying().exists()

    def test_drafts_are_forgotten_after_a_day(self, run):
        ImportRun.objects.filter(pk=run.pk).update(created=timezone.now() - timedelta(days=2))
        tasks.every_minute()
        assert not ImportRun.objects.exists()
        assert not default_storage.exists(run.path)


def test_the_command_names_the_projects_there_are(project, tmp_path):
    with pytest.raises(CommandError, match=project.slug):
        call_command("import_posts", str(tmp_path), project="nowhere")


def test_undated_rows_are_stored_with_the_label_known_by_any_case(project):
    run = ImportRun.objects.create(project=project, name="rows", state=ImportState.QUEUED)
    assert run.claim()
    load.Loader(run).load([Row(number=1, text="x", label="“BULLISH”")])
    assert project.posts.get().label == make_label(project, "bullish")
