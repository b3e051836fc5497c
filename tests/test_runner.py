"""A run from its claim to its end, with a real process under it: short scripts where only the watching matters, and
the real trainer where a figure, a checkpoint or a death does."""

import json
import os
import signal
import subprocess
import sys
import textwrap
from contextlib import suppress
from datetime import timedelta
from pathlib import Path

import psutil
import pytest
from django.core.management import CommandError, call_command
from django.utils import timezone

from annotate.models import Event
from modeling import tasks
from modeling.datasets.recipe import Recipe
from modeling.gpu.config import Config
from modeling.models import RESUMES, Run, RunPoint, RunState
from modeling.training import results, run_folder, run_log, runner, training_presets

from .exporting import stored
from .make import make_post, make_project, make_vote
from .test_dataset import freeze, make_posts

pytestmark = pytest.mark.django_db
ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(autouse=True)
def var(tmp_path, settings, monkeypatch):
    settings.VAR_DIR = tmp_path
    monkeypatch.setattr(runner, "LOOK_EVERY", 0.02)
    return tmp_path


@pytest.fixture
def project():
    return make_project(audit_rate=0, double_rate=0)


def tiny(**changes):
    return training_presets.named("tiny").configured(**changes)


def make_run(project, recipe=None, **changes):
    make_posts(project, 12)
    return runner.start(project, None, freeze(project, recipe=recipe or Recipe()), tiny(**changes), queue=False)


def carry_out(run, **rest):
    done = runner.carry_out(run, **rest)
    run.refresh_from_db()
    return done


@pytest.fixture
def acts(monkeypatch, tmp_path):
    """A process that does as it is told here, in place of the trainer: `tell(kind, ...)` is its progress file."""

    def play(script):
        program = tmp_path / "program.py"
        program.write_text(textwrap.dedent(
            """
            import json, os, pathlib, signal, sys, time
            folder = pathlib.Path(sys.argv[1])
            def tell(kind, **told):
                with (folder / "progress.jsonl").open("a") as file:
                    file.write(json.dumps({"kind": kind, "at": 0, **told}) + "\\n")
            def step(n, of=4):
                tell("step", step=n, of=of, loss=1 / n, lr=0.1)
            """
        ) + textwrap.dedent(script))  # fmt: skip
        monkeypatch.setattr(runner, "PROGRAM", [sys.executable, str(program)])

    return play


class TestFolder:
    def test_what_a_model_is_measured_on_is_not_in_it(self, project, var):
        held = make_post(project, "a secret of the test set", label="bullish", holdout=True, label_source="import")
        run = make_run(project, Recipe(validation=0.2, test=0.2))
        folder = run_folder.folder_of(run)
        run_folder.write(run, folder)
        lines = [json.loads(line) for path in folder.rglob("*.jsonl") for line in path.open()]
        measured = set(run.dataset.items.filter(split__in=["test", "holdout"]).values_list("external_id", flat=True))
        assert len(measured) >= 3
        assert held.external_id in measured
        assert not measured & {line["id"] for line in lines}
        assert len(lines) + len(measured) == run.dataset.items.count()
        assert sorted(path.name for path in (folder / "posts").iterdir()) == ["train.jsonl", "validation.jsonl"]

    def test_a_line_holds_what_is_learnt_and_nothing_more(self, project):
        post = make_post(project, "look <image>", label="bullish")
        make_vote(post, "gpt", "bullish", image_reading="Bullish")
        run = runner.start(project, None, freeze(project), tiny(), queue=False)
        folder = run_folder.folder_of(run)
        run_folder.write(run, folder)
        [line] = (folder / "posts" / "train.jsonl").read_text().splitlines()
        told = json.loads(line)
        assert (told["answer"], told["label"], told["image"], told["picture_tells"]) == ("bullish", "bullish", "", True)
        assert "<image>" not in told["user"]
        assert project.question in told["system"]

    def test_a_post_that_had_to_go_leaves_the_folders_of_runs_that_are_over(self, project, acts):
        acts("""tell("done", step=1, loss=0.1)""")
        run = make_run(project, Recipe(validation=0, test=0))
        carry_out(run)
        train = run_folder.folder_of(run) / "posts" / "train.jsonl"
        run_folder.forget_removed()
        assert train.exists()
        project.posts.get(external_id=json.loads(train.read_text().splitlines()[0])["id"]).delete()
        tasks.every_minute()
        assert not train.exists()
        run_folder.write(run, run_folder.folder_of(run))
        assert len(train.read_text().splitlines()) == 11

    def test_a_post_that_had_to_go_while_it_was_stopped_is_not_trained_on(self, project, acts):
        """On a machine of its own, where nobody sweeps, and whose clock may be wrong."""
        acts("""tell("stopped", step=1)""")
        run = make_run(project, Recipe(validation=0, test=0))
        carry_out(run)
        folder = run_folder.folder_of(run)
        os.utime(folder / run_folder.WRITTEN, (2**32, 2**32))
        train = folder / "posts" / "train.jsonl"
        gone = json.loads(train.read_text().splitlines()[0])["id"]
        project.posts.get(external_id=gone).delete()
        assert runner.resume(run)
        carry_out(run)
        assert len(train.read_text().splitlines()) == 11
        assert gone not in train.read_text()

    def test_a_machine_that_only_trains_forgets_it_too_when_it_trains_again(self, project, acts):
        acts("""tell("stopped", step=1)""")
        one = make_run(project, Recipe(validation=0, test=0))
        carry_out(one)
        train = run_folder.folder_of(one) / "posts" / "train.jsonl"
        project.posts.get(external_id=json.loads(train.read_text().splitlines()[0])["id"]).delete()
        other = runner.start(project, None, one.dataset, tiny(), queue=False)
        carry_out(other)
        assert not train.exists()
        assert (run_folder.folder_of(other) / "posts" / "train.jsonl").exists()

    def test_pictures_that_this_machine_does_not_see_fail_it_with_what_to_do(self, project, acts, settings, tmp_path):
        acts("""tell("done", step=1, loss=0.1)""")
        make_post(project, "look", label="bullish", image=stored(1))
        run = runner.start(project, None, freeze(project), tiny(), queue=False)
        media, settings.MEDIA_ROOT = settings.MEDIA_ROOT, tmp_path / "another"
        carry_out(run)
        assert run.state == RunState.FAILED
        assert run.error.startswith("This machine does not see the pictures: 1 is missing, images/")
        assert "MEDIA_ROOT" in run.error
        settings.MEDIA_ROOT = media
        assert runner.resume(run)
        carry_out(run)
        assert run.state == RunState.DONE, run.error
        assert len(list((run_folder.folder_of(run) / "images").iterdir())) == 1

    def test_weights_come_with_the_dataset_unless_the_run_has_its_own(self, project):
        make_posts(project, 4)
        weighted = freeze(project, recipe=Recipe(validation=0, test=0, weights={"bearish": 2.0}))
        assert runner.start(project, None, weighted, tiny()).config["weights"]["bearish"] == 2.0
        assert runner.start(project, None, weighted, tiny(weights={"bearish": 3.0})).config["weights"]["bearish"] == 3.0


class TestWatching:
    def test_what_it_tells_is_mirrored(self, project, acts):
        acts("""
            tell("state", doing="loading"); step(1); step(2)
            tell("evaluation", step=2, macro_f1=0.5, accuracy=0.6, loss=1.0)
            tell("evaluation", step=3, macro_f1=0.4, accuracy=0.6, loss=1.0)
            (folder / "receipt.json").write_text('{"seconds": 3}'); tell("done", step=4, loss=0.1)
        """)
        run = make_run(project)
        assert carry_out(run)
        assert (run.state, run.step, run.steps, run.scores["macro_f1"]) == (RunState.DONE, 2, 4, 0.5)
        assert run.receipt == {"seconds": 3}
        assert RunPoint.objects.filter(run=run).count() == 4
        assert list(Event.objects.filter(verb__startswith="training").values_list("verb", flat=True)) == [
            "training done", "training asked for",
        ]  # fmt: skip

    def test_delivered_twice_it_runs_once(self, project, acts):
        acts("""(folder / "starts").open("a").write("x"); tell("done", step=1, loss=0.1)""")
        run = make_run(project)
        tasks.train(run.pk)
        tasks.train(run.pk)
        assert (run_folder.folder_of(run) / "starts").read_text() == "x"

    def test_a_reason_it_gives_is_shown(self, project, acts):
        acts("""tell("failed", error="The card's memory was too small."); sys.exit(1)""")
        run = make_run(project)
        carry_out(run)
        assert (run.state, run.error) == (RunState.FAILED, "The card's memory was too small.")

    def test_killed_without_a_word_it_is_interrupted_and_resumes(self, project, acts):
        acts("""
            step(1)
            if not (folder / "again").exists():
                (folder / "again").touch(); os.kill(os.getpid(), signal.SIGKILL)
            tell("done", step=4, loss=0.1)
        """)
        run = make_run(project)
        carry_out(run)
        assert run.state == RunState.INTERRUPTED
        assert "signal 9" in run.error
        assert runner.resume(run)
        carry_out(run)
        assert run.state == RunState.DONE

    def test_asked_to_stop_it_may_save_first(self, project, acts):
        acts("""
            step(1)
            while not (folder / "stop").exists(): time.sleep(0.01)
            (folder / "saved").touch(); tell("stopped", step=1)
        """)
        run = make_run(project)
        carry_out(run, progress=lambda now: now.step and runner.stop(now))
        assert run.state == RunState.STOPPED
        assert (run_folder.folder_of(run) / "saved").exists()

    def test_what_does_not_heed_that_is_killed(self, project, acts, monkeypatch):
        monkeypatch.setattr(runner, "PATIENCE", 0.1)
        acts("step(1)\nwhile True: time.sleep(1)")
        run = make_run(project)
        carry_out(run, progress=lambda now: now.step and runner.stop(now))
        assert run.state == RunState.INTERRUPTED

    def test_stopped_while_it_waits(self, project, acts):
        acts("""tell("done", step=1, loss=0.1)""")
        run = make_run(project)
        assert runner.stop(run)
        assert not carry_out(run)

    def test_taken_over_by_another_it_lets_go(self, project, acts):
        """Ours was silent for so long that another claimed it: our process must not train beside theirs."""
        acts("""(folder / "pid").write_text(str(os.getpid())); step(1)\nwhile True: time.sleep(1)""")
        run = make_run(project)

        def taken_over(now):
            if now.step:
                Run.objects.filter(pk=now.pk).update(started=timezone.now() + timedelta(seconds=5))

        carry_out(run, progress=taken_over)
        assert run.state == RunState.RUNNING
        assert not psutil.pid_exists(int((run_folder.folder_of(run) / "pid").read_text()))

    def test_what_a_dead_worker_left_goes_on_by_itself_but_not_for_ever(self, project, acts):
        acts("""tell("done", step=1, loss=0.1)""")
        run = make_run(project)
        for n in range(RESUMES):
            assert run.claim()
            assert run.interruptions == n
            Run.objects.filter(pk=run.pk).update(heartbeat=timezone.now() - timedelta(minutes=2))
        runner.take_up()
        run.refresh_from_db()
        assert run.state == RunState.RUNNING
        assert run.claim()
        Run.objects.filter(pk=run.pk).update(heartbeat=timezone.now() - timedelta(minutes=2))
        runner.take_up()
        run.refresh_from_db()
        assert run.state == RunState.INTERRUPTED

    def test_what_it_was_asked_to_stop_does_not_go_on_when_its_worker_dies(self, project, acts):
        acts("""tell("done", step=1, loss=0.1)""")
        run = make_run(project)
        assert run.claim()
        assert runner.stop(run)
        Run.objects.filter(pk=run.pk).update(heartbeat=timezone.now() - timedelta(minutes=2))
        runner.take_up()
        run.refresh_from_db()
        assert run.state == RunState.STOPPED

    def test_a_full_disk_is_a_sentence(self, project, acts, monkeypatch):
        acts("pass")
        run = make_run(project)
        monkeypatch.setattr(run_folder, "write", lambda *_: (_ for _ in ()).throw(OSError(28, "No space left")))
        carry_out(run)
        assert run.state == RunState.FAILED
        assert "The disk is full" in run.error


class TestAnotherMachine:
    STOPPED_AT_3 = """
        step(1); step(2); step(3)
        tell("evaluation", step=3, macro_f1=0.5, accuracy=0.6, loss=1.0)
        (folder / "checkpoints" / "checkpoint-3").mkdir(parents=True)
        tell("stopped", step=3)
    """

    def on(self, machine, monkeypatch, settings, tmp_path):
        monkeypatch.setattr("modeling.models.run.this_machine", lambda: machine)
        settings.VAR_DIR = tmp_path / machine

    def told(self, run):
        return list(run.points.filter(kind="step").values_list("step", flat=True))

    def test_it_starts_from_the_beginning_and_says_so(self, project, acts, monkeypatch, settings, tmp_path):
        self.on("card-1", monkeypatch, settings, tmp_path)
        acts(self.STOPPED_AT_3)
        run = make_run(project)
        carry_out(run)
        assert (run.step, run.scores["macro_f1"]) == (3, 0.5)
        self.on("card-2", monkeypatch, settings, tmp_path)
        acts("""
            step(1)
            tell("evaluation", step=1, macro_f1=0.4, accuracy=0.6, loss=1.0)
            tell("stopped", step=1)
        """)
        assert runner.resume(run)
        words = "starting from the beginning: its checkpoint lies on card-1"
        said = []
        carry_out(run, progress=lambda now: said.append(now.doing))
        assert (run.machine, run.step, run.scores["macro_f1"], self.told(run)) == ("card-2", 1, 0.4, [1])
        assert words in said
        assert f"S{words[1:]}." in run.log
        assert Event.objects.get(verb="training starts from the beginning").data["checkpoint_on"] == "card-1"

    def test_back_where_it_was_it_goes_on_from_what_lies_there(self, project, acts, monkeypatch, settings, tmp_path):
        self.on("card-1", monkeypatch, settings, tmp_path)
        acts(self.STOPPED_AT_3)
        run = make_run(project)
        carry_out(run)
        self.on("card-2", monkeypatch, settings, tmp_path)
        acts("""
            for n in range(1, 9): step(n, of=9)
            tell("evaluation", step=8, macro_f1=0.9, accuracy=0.9, loss=1.0); tell("stopped", step=8)
        """)
        assert runner.resume(run)
        carry_out(run)
        assert self.told(run) == list(range(1, 9))
        self.on("card-1", monkeypatch, settings, tmp_path)
        acts("""step(4); tell("stopped", step=4)""")
        assert runner.resume(run)
        carry_out(run)
        assert (run.step, self.told(run), run.scores["macro_f1"]) == (4, [1, 2, 3, 4], 0.5)
        assert Event.objects.filter(verb="training starts from the beginning").count() == 1

    def test_what_was_not_begun_anywhere_is_no_news(self, project, acts, monkeypatch, settings, tmp_path):
        self.on("card-2", monkeypatch, settings, tmp_path)
        acts("""tell("stopped", step=0)""")
        run = make_run(project)
        Run.objects.filter(pk=run.pk).update(machine="card-1")
        run.refresh_from_db()
        carry_out(run)
        assert not Event.objects.filter(verb="training starts from the beginning").exists()

    def test_the_end_of_its_log_and_its_result_are_there_for_all(self, project, acts, monkeypatch, settings, tmp_path):
        self.on("card-1", monkeypatch, settings, tmp_path)
        acts("""
            print(*(f"line {n}" for n in range(300)), "\\x1b[31mred\\x1b[0m \\0<b>", "10%\\r50%\\r100%", sep="\\n")
            (folder / "adapter").mkdir(); (folder / "adapter" / "a.safetensors").write_text("weights")
            import hashlib
            digest = hashlib.sha256(b"a.safetensors" + b"weights").hexdigest()
            (folder / "receipt.json").write_text(json.dumps({"adapter": digest}))
            tell("done", step=4, loss=0.1)
        """)
        run = make_run(project)
        carry_out(run)
        self.on("site", monkeypatch, settings, tmp_path)
        assert run.log.splitlines()[-2:] == ["red <b>", "100%"]
        assert run.log.splitlines()[0] == "line 102"
        assert (results.fetched(run) / "adapter" / "a.safetensors").read_text() == "weights"

    def test_of_long_lines_as_much_as_there_is_room_for(self, tmp_path):
        for text, kept in (("x" * 20_000, 8 * 1024), ("\n".join(["y" * 1000] * 20), 8 * 1001 - 1)):
            (tmp_path / run_log.FILE).write_text(text)
            assert len(run_log.end_of(tmp_path / run_log.FILE)) == kept

    def test_it_counts_as_done_only_where_its_result_is_kept(self, project, acts, monkeypatch):
        acts("""tell("done", step=1, loss=0.1)""")
        run = make_run(project)
        monkeypatch.setattr(results, "put", lambda *_: (_ for _ in ()).throw(OSError(28, "No space left")))
        carry_out(run)
        assert run.state == RunState.FAILED
        assert "The disk is full" in run.error


class TestRefused:
    def test_what_cannot_be_trained_on(self, project):
        make_posts(project, 3)
        frozen = freeze(project)
        frozen.items.all().delete()
        with pytest.raises(runner.Refused, match="no post to train on"):
            runner.start(project, None, frozen, tiny())

    @pytest.mark.parametrize("changes", [{"lr": -1}, {"method": "magic"}, {"no_such": 1}, {"batch": 0}])
    def test_what_cannot_be_set(self, changes):
        with pytest.raises(ValueError, match=r"[a-z].+\."):
            tiny(**changes)

    def test_every_preset_can_be_configured(self):
        assert all(isinstance(preset.configured(), Config) for preset in training_presets.available())


def test_no_process_outlives_the_worker(tmp_path):
    """Killed outright, a worker cannot end what it started: the kernel does."""
    program = tmp_path / "program.py"
    program.write_text("import time; time.sleep(60)")
    worker = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(f"""
            import os, sys
            os.environ["DJANGO_SETTINGS_MODULE"] = "annotate.settings"
            import django; django.setup()
            from modeling.child import child
            with child([sys.executable, {str(program)!r}], open(os.devnull, "wb")) as process:
                print(process.pid, flush=True); process.wait()
        """)],
        cwd=ROOT, stdout=subprocess.PIPE, text=True, env=os.environ | {"VAR_DIR": str(tmp_path)},
    )  # fmt: skip
    assert worker.stdout
    child = psutil.Process(int(worker.stdout.readline()))
    worker.send_signal(signal.SIGKILL)
    worker.wait()
    with suppress(psutil.NoSuchProcess):
        child.wait(timeout=10)
    assert not child.is_running()


class TestForReal:
    """The tiny model and the trainer itself: about fifteen seconds, most of it imports."""

    def test_stopped_and_resumed_it_takes_as_many_steps_as_at_one_go(self, project):
        run = make_run(project, Recipe(validation=0.2, test=0), max_steps=12, batch=2)
        carry_out(run, progress=lambda now: now.step >= 3 and runner.stop(now))
        assert run.state == RunState.STOPPED, run.error
        stopped_at = run.step
        assert 3 <= stopped_at < 12
        assert runner.resume(run)
        carry_out(run)
        assert run.state == RunState.DONE, run.error
        steps = RunPoint.objects.filter(run=run, kind="step").values_list("step", flat=True)
        assert list(steps) == list(range(1, 13))
        assert run.receipt["steps"] == 12
        assert list((run_folder.folder_of(run) / "adapter").glob("*.safetensors"))

    def test_by_command(self, project, capsys):
        make_posts(project, 6)
        freeze(project)
        call_command("train", project=project.slug, base="tiny", set=["max_steps=2", "batch=2"])
        told = capsys.readouterr().out
        assert "Done in" in told
        assert Run.objects.get().state == RunState.DONE

    def test_by_command_what_is_wrong_is_a_sentence(self, project):
        with pytest.raises(CommandError, match="Which project"):
            call_command("train", project="nowhere")
        with pytest.raises(CommandError, match="no frozen dataset"):
            call_command("train", project=project.slug)
        make_posts(project, 3)
        freeze(project)
        with pytest.raises(CommandError, match="no recipe"):
            call_command("train", project=project.slug, recipe="magic")
        with pytest.raises(CommandError, match="There is no folder"):
            call_command("train", project=project.slug, base="/nowhere/at/all", recipe="tiny")
