"""What goes by rule can be made again or is nobody's; what would go is shown first; and nothing else ever goes."""

import os
from datetime import timedelta
from pathlib import Path

import pytest
from django.core.files.base import ContentFile
from django.core.files.storage import default_storage
from django.core.management import call_command
from django.urls import reverse
from django.utils import timezone

from annotate import images
from annotate.models import Event, Image, ImportRun, Post
from annotate.models.importing import ImportState
from annotate.operating import pruning
from annotate.operating.pruning import prune
from modeling.models import Evaluation, JobState, RunState
from modeling.training import results, run_folder

from .freezing import freeze as frozen
from .freezing import make_settled
from .make import make_member, make_post, make_project
from .test_backup import make_picture

pytestmark = pytest.mark.django_db
LONG_AGO = timedelta(days=400)


@pytest.fixture(autouse=True)
def var(tmp_path, settings):
    settings.VAR_DIR = tmp_path / "var"
    return settings.VAR_DIR


def aged(path: Path):
    """As if nobody had touched it for long."""
    then = (timezone.now() - LONG_AGO).timestamp()
    for one in (*path.rglob("*"), path):
        os.utime(one, (then, then))


def written(folder: Path, *names: str):
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("x" * 1000)
    aged(folder)


def found():
    return {each.rule.key: [one.what for one in each.going] for each in pruning.look()}


def go():
    return prune(pruning.look())


def make_run(state=RunState.DONE, dataset=None, ended=LONG_AGO):
    dataset = dataset or frozen(make_settled())
    run = dataset.runs.create(
        project=dataset.project, config={"model": "tiny"}, state=state, ended=timezone.now() - ended
    )
    folder = run_folder.folder_of(run)
    written(
        folder, "checkpoints/checkpoint-4/model", "posts/train.jsonl", "images/a.png", "cache/x",
        "adapter/a.safetensors", "log.txt", "receipt.json",
    )  # fmt: skip
    (folder / run_folder.WRITTEN).write_text("0")
    return run


def test_a_done_run_keeps_its_result_its_log_and_its_receipt(var):
    run = make_run()
    default_storage.save(results.name_of(run), ContentFile(b"PK"))
    assert (found()["checkpoints"], found()["copies"]) == ([f"Run {run.pk} of Memes"], [f"Run {run.pk} of Memes"])
    assert (run_folder.folder_of(run) / "checkpoints").exists(), "looking removes nothing"
    assert go() == (2, 4000)
    left = sorted(path.name for path in run_folder.folder_of(run).iterdir())
    assert left == ["adapter", "log.txt", "receipt.json"]
    assert default_storage.exists(results.name_of(run))
    assert Event.objects.get(verb="storage pruned").data == {"megabytes": 0, "checkpoints": 1, "copies": 1}
    assert go() == (0, 0)


@pytest.mark.parametrize("state", [state for state in RunState if state != RunState.DONE])
def test_what_a_run_goes_on_from_stays_however_old(state):
    run = make_run(state)
    go()
    assert (run_folder.folder_of(run) / "checkpoints/checkpoint-4/model").exists()
    assert (run_folder.folder_of(run) / "posts/train.jsonl").exists()


def test_a_run_that_ended_just_now_is_left_alone(settings):
    run = make_run(ended=timedelta(days=settings.PRUNE_RUNS_DAYS - 1))
    default_storage.save(results.name_of(run), ContentFile(b"PK"))
    assert found()["checkpoints"] == []
    settings.PRUNE_RUNS_DAYS = 0
    assert found()["copies"] == [], "nought switches a rule off"


def test_checkpoints_stay_where_the_result_is_not_stored():
    run = make_run()
    assert found()["checkpoints"] == []
    go()
    assert (run_folder.folder_of(run) / "checkpoints").exists()


def test_a_run_that_is_taken_up_between_the_look_and_the_yes_loses_nothing():
    run = make_run()
    default_storage.save(results.name_of(run), ContentFile(b"PK"))
    looked = pruning.look()
    type(run).objects.filter(pk=run.pk).update(state=RunState.QUEUED)
    assert prune(looked) == (0, 0)
    assert (run_folder.folder_of(run) / "checkpoints").exists()


def test_folders_of_what_is_done_or_no_more_go_and_others_stay(var):
    dataset = frozen(make_settled())
    asked = {"project": dataset.project, "dataset": dataset, "split": "test", "predictor": {"kind": "voter"}}
    done, stopped = (
        Evaluation.objects.create(name=state, key=state, state=state, **asked)
        for state in (JobState.DONE, JobState.STOPPED)
    )
    for pk in (done.pk, stopped.pk, 999_999):
        written(var / "evaluations" / str(pk), "predictions.jsonl")
    written(var / "runs" / "999999", "checkpoints/checkpoint-1/model")
    written(var / "runs" / "notes", "mine.txt")
    assert found()["left"] == [f"evaluations/{done.pk}", "evaluations/999999", "runs/999999"]
    go()
    assert sorted(path.name for path in (var / "evaluations").iterdir()) == [str(stopped.pk)]
    assert sorted(path.name for path in (var / "runs").iterdir()) == ["notes"]


def test_fetched_results_go_unless_somebody_may_be_reading_them(var):
    run = make_run()
    default_storage.save(results.name_of(run), ContentFile(b"PK"))
    other = make_run(dataset=run.dataset)  # whose result is on no storage
    for one in (run, other):
        written(var / "results" / f"{one.pk}-abc", "adapter/a.safetensors")
    assert found()["results"] == [f"{run.pk}-abc"]
    asked = Evaluation.objects.create(
        project=run.project, dataset=run.dataset, split="test", predictor={}, name="x", key="x", state=JobState.RUNNING
    )
    go()
    assert (var / "results" / f"{run.pk}-abc").exists()
    asked.delete()
    go()
    assert [path.name for path in (var / "results").iterdir()] == [f"{other.pk}-abc"]


def test_pictures_go_that_no_post_and_no_dataset_shows():
    project = make_project()
    shown, lost, named, fresh = (make_picture(number) for number in range(4))
    make_post(project, image=shown)
    settled = make_settled()
    told = make_post(settled, "with a picture", "bullish", image=named)
    frozen(settled)
    Post.objects.filter(pk=told.pk).update(image=None)  # now the dataset alone has it
    Image.objects.exclude(pk=fresh.pk).update(created=timezone.now() - LONG_AGO)
    stray = default_storage.save(f"images/ab/{'ab' * 32}.png", ContentFile(b"x"))
    young = default_storage.save(f"images/cd/{'cd' * 32}.png", ContentFile(b"x"))
    half = default_storage.save("images/ab/abc.png.1234.part", ContentFile(b"x"))
    for name in (stray, half):
        aged(Path(default_storage.path(name)))
    gone = images.path_of(lost.sha256, lost.format)
    assert found()["orphans"] == [gone, stray]
    assert found()["halves"] == [half]
    go()
    assert set(Image.objects.values_list("pk", flat=True)) == {shown.pk, named.pk, fresh.pk}
    assert not any(default_storage.exists(name) for name in (gone, images.thumb_path_of(lost.sha256), stray, half))
    for image in (shown, named, fresh):
        assert default_storage.exists(images.path_of(image.sha256, image.format))
        assert default_storage.exists(images.thumb_path_of(image.sha256))
    assert default_storage.exists(young)


def test_the_storage_is_gone_through_once_for_all_rules(monkeypatch):
    for number in range(3):
        make_picture(number)
    asked = []

    def counted(path, size=default_storage.size):
        asked.append(path)
        return size(path)

    monkeypatch.setattr(default_storage._wrapped, "size", counted)
    pruning.look(shared=True)
    assert len(asked) == 6
    assert len(set(asked)) == 6


def test_a_file_sent_for_an_import_is_no_half_of_one_whatever_it_is_called():
    path = default_storage.save("uploads/a.part", ContentFile(b"text\ngm\n"))
    ImportRun.objects.create(project=make_project(), name="posts.part", path=path, state=ImportState.FAILED)
    aged(Path(default_storage.path(path)))
    go()
    assert default_storage.exists(path)


def test_an_orphan_that_an_import_brings_again_meanwhile_stays():
    lost = make_picture(1)
    Image.objects.update(created=timezone.now() - LONG_AGO)
    looked = pruning.look()
    make_post(make_project(), image=lost)
    assert prune(looked) == (0, 0)
    assert default_storage.exists(images.path_of(lost.sha256, lost.format))


@pytest.mark.parametrize("state", ImportState.values)
def test_of_the_files_sent_only_those_of_imports_that_are_done_go(state):
    project = make_project()
    path = default_storage.save("uploads/a.csv", ContentFile(b"text\ngm\n"))
    ImportRun.objects.create(
        project=project, name="a.csv", path=path, state=state, ended=timezone.now() - LONG_AGO,
        report=default_storage.save("reports/import-1.csv", ContentFile(b"row\n")),
    )  # fmt: skip
    go()
    assert default_storage.exists(path) == (state != ImportState.DONE)
    assert default_storage.exists("reports/import-1.csv")


def test_whoever_is_killed_over_a_fetched_result_leaves_no_half_of_it(var, monkeypatch):
    """What bears its name is taken for whole."""
    run = make_run()
    default_storage.save(results.name_of(run), ContentFile(b"PK"))
    written(var / "results" / f"{run.pk}-abc", "adapter/a.safetensors")

    def killed(path):
        raise KeyboardInterrupt

    looked = [each for each in pruning.look() if each.rule.key == "results"]
    with monkeypatch.context() as patched:
        patched.setattr("modeling.pruning.shutil.rmtree", killed)
        with pytest.raises(KeyboardInterrupt):
            prune(looked)
    assert [path.name for path in (var / "results").iterdir()] == [f"{run.pk}-abc.going"]
    aged(var / "results" / f"{run.pk}-abc.going")
    go()
    assert list((var / "results").iterdir()) == []


def test_the_command_shows_and_only_a_yes_removes(capsys):
    run = make_run()
    default_storage.save(results.name_of(run), ContentFile(b"PK"))
    call_command("prune")
    told = capsys.readouterr().out
    assert "Checkpoints of runs that are done, after 14 days: 1, " in told
    assert f"Run {run.pk} of Memes" in told
    assert told.endswith("Nothing was removed: --yes removes it.\n")
    assert (run_folder.folder_of(run) / "checkpoints").exists()
    call_command("prune", "--yes")
    assert "Removed: 2, " in capsys.readouterr().out
    assert not (run_folder.folder_of(run) / "checkpoints").exists()


def test_the_page_is_for_site_admins(client):
    client.force_login(make_member(make_project(), "admin"))
    assert client.get(reverse("storage")).status_code == 403
    assert client.post(reverse("storage"), {"do": "remove", "rule": ["checkpoints"]}).status_code == 403
