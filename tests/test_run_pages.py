"""What a person or a program sees of runs: the form and its preview, one at work and afterwards, two side by side."""

import json
from datetime import timedelta
from itertools import pairwise

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from annotate.models import Role
from modeling import tasks
from modeling.forms.runs import like
from modeling.gpu.config import Config
from modeling.models import Run, RunPoint, RunState
from modeling.models.job import this_machine
from modeling.training import (
    nvidia,
    receipts,
    results,
    run_folder,
    run_settings,
    runner,
    starting,
    training_presets,
    watching,
)

from .freezing import LABELS, freeze, make_settled
from .make import make_member, make_project
from .scripted_training import program

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def var(tmp_path, settings, monkeypatch):
    settings.VAR_DIR = tmp_path
    monkeypatch.setattr(runner, "LOOK_EVERY", 0.02)
    return tmp_path


@pytest.fixture
def project():
    return make_settled()


@pytest.fixture
def dataset(project):
    return freeze(project)


@pytest.fixture
def client(project):
    return logged_in(make_member(project, Role.ADMIN, "ada"))


@pytest.fixture
def lead(project):
    return logged_in(make_member(project, Role.LEAD, "lea"))


def logged_in(user):
    client = Client()
    client.force_login(user)
    return client


def words_of(response):
    return " ".join(response.content.decode().split())


def make_run(dataset, state=RunState.QUEUED, **fields):
    config = training_presets.named("tiny").configured().as_json() | fields.pop("config", {})
    return Run.objects.create(
        project=dataset.project, dataset=dataset, recipe="tiny", config=config, state=state, **fields
    )


def at_work(dataset, **fields):
    now = timezone.now()
    return make_run(dataset, RunState.RUNNING, **{"started": now, "heartbeat": now, "doing": "training", **fields})


def told(client, run, action):
    return client.post(f"/p/memes/runs/{run.pk}/{action}")


def page_of(client, run):
    return words_of(client.get(f"/p/memes/runs/{run.pk}"))


# --- Before it starts


class TestForm:
    def test_every_setting_has_its_place(self):
        """A new setting of the trainer that nobody can see would be one that nobody knows of."""
        assert {*run_settings.SETTINGS, run_settings.BY_LABEL} == set(Config(model="tiny").as_json())

    @pytest.mark.parametrize("given", [{"model": "a\0"}, {"targets": "\ud800"}, {"weights": {"\0": 1.0}}])
    def test_a_name_that_no_database_keeps_is_refused(self, given):
        with pytest.raises(ValueError, match="cannot be printed"):
            Config(**{"model": "tiny"} | given)

    @pytest.mark.parametrize("preset", training_presets.available(), ids=lambda preset: preset.key)
    def test_a_recipe_fills_it_in(self, client, dataset, preset):
        form = client.get(f"/p/memes/runs/new?dataset=v1&recipe={preset.key}").context["form"]
        assert not form.problems
        assert form.config == starting.as_recipe_says(preset, dataset)
        assert form.changes == []

    def test_what_differs_is_told_and_stands_in_the_address(self, client, dataset):
        page = client.get("/p/memes/runs/preview?recipe=tiny&lr=0.002&augment=true&weight-1=2")
        assert page["HX-Replace-Url"].startswith("/p/memes/runs/new?dataset=v1&recipe=tiny&lr=0.002&augment=true")
        form = page.context["form"]
        assert form.config.weights == {"bearish": 1.0, "neutral": 2.0, "bullish": 1.0}
        assert [title for title, _, _ in form.changes_in_words] == [
            "Learning rate",
            "Change pictures a little",
            "Weights",
        ]
        again = client.get(page["HX-Replace-Url"]).context["form"]
        assert again.config == form.config

    def test_a_box_that_was_unticked_stays_so(self, client, dataset):
        whole = client.get("/p/memes/runs/new?recipe=qwen-qlora-24gb").context["form"].data.dict()
        del whole["checkpointing"]
        page = client.get("/p/memes/runs/preview", whole | {"whole": "1"})
        assert page.context["form"].config.checkpointing is False
        assert "checkpointing=false" in page["HX-Replace-Url"]
        assert client.get(page["HX-Replace-Url"]).context["form"].config.checkpointing is False

    def test_rare_labels_weigh_more_where_the_recipe_wants_it(self, client, project):
        dataset = freeze(project, caps={"bullish": 3})
        form = client.get("/p/memes/runs/new?recipe=many-classes").context["form"]
        posts = dataset.composition["splits"]["train"]["labels"]
        assert set(form.config.weights) == set(posts)
        assert form.config.weights["bullish"] == pytest.approx(sum(posts.values()) / 3 / posts["bullish"], abs=1e-3)

    def test_weights_of_a_dataset_can_be_taken_back(self, client, project):
        weighted = freeze(project, weights={"bearish": 3.0})
        form = client.get("/p/memes/runs/new?recipe=tiny").context["form"]
        assert form.config.weights["bearish"] == 3.0
        form = client.get("/p/memes/runs/new?recipe=tiny&weight-0=1").context["form"]
        client.post("/p/memes/runs/new", form.data.dict())
        assert Run.objects.get().config["weights"] == {"bearish": 1.0, "neutral": 1.0, "bullish": 1.0}
        assert weighted.facts["weights"]["bearish"] == 3.0

    def test_another_dataset_brings_its_own_labels(self, client, project, dataset):
        freeze(project, "v2", weights={"bullish": 4.0})
        asked = "whole=1&recipe=tiny&dataset=v2&weights_of=v1&weight-0=9&weight-2="
        page = client.get(f"/p/memes/runs/preview?{asked}")
        assert 'id="by-label" hx-swap-oob="true"' in words_of(page)
        assert [weight.field.value() for weight in page.context["form"].weights] == ["1", "1", "4"]

    @pytest.mark.parametrize(
        ("name", "value", "problem"),
        [
            ("model", "not a model", "a name on the hub as owner/name"),
            ("lr", "0", "greater than or equal to"),
            ("lr", "nan", "Enter a number"),
            ("rank", "1.5", "whole number"),
            ("method", "magic", "Select a valid choice"),
            ("targets", "(", "This is no pattern"),
            ("min_pixels", "99999999", "No more than the most pixels"),
            ("dropout", "1", "less than or equal to"),
            ("weight-0", "-1", "greater than or equal to"),
            ("dataset", "v9", "no frozen dataset of this name"),
        ],
    )
    def test_what_is_wrong_stands_beside_its_field(self, client, dataset, name, value, problem):
        good = client.get("/p/memes/runs/new?recipe=tiny").context["form"].data.dict()
        page = client.post("/p/memes/runs/new", good | {name: value})
        assert page.status_code == 422
        assert problem in page.context["form"].errors[name][0]
        assert problem in words_of(page)
        assert not Run.objects.exists()

    def test_an_unknown_recipe_is_told(self, client, dataset):
        assert "There is no recipe “magic”" in words_of(client.get("/p/memes/runs/new?recipe=magic"))

    def test_only_a_site_admin_lets_the_code_of_others_run(self, client, project, dataset, django_user_model):
        good = client.get("/p/memes/runs/new?recipe=tiny").context["form"].data.dict()
        page = client.post("/p/memes/runs/new", good | {"trust_remote_code": "on"})
        assert "Only a site admin" in page.context["form"].errors["trust_remote_code"][0]
        root = logged_in(make_member(project, Role.ADMIN, "root", is_superuser=True))
        assert root.post("/p/memes/runs/new", good | {"trust_remote_code": "on"}).status_code == 302
        assert Run.objects.get().config["trust_remote_code"] is True

    def test_tiny_is_told_for_what_it_is(self, client, dataset):
        assert "Put no trust in its labels" in words_of(client.get("/p/memes/runs/new?recipe=tiny"))
        assert "Put no trust in its labels" not in words_of(client.get("/p/memes/runs/new"))

    def test_without_a_frozen_dataset_it_says_what_comes_first(self, client):
        for path in ("runs", "runs/new"):
            assert "A frozen dataset comes first" in words_of(client.get(f"/p/memes/{path}"))

    def test_a_dataset_with_nothing_to_train_on_is_not_offered(self, client, project):
        freeze(project, caps=dict.fromkeys(LABELS, 0))
        assert client.get("/p/memes/runs/new").context["form"].learns_from is None

    def test_started_it_waits_and_its_page_opens(self, client, dataset):
        good = client.get("/p/memes/runs/new?recipe=tiny&epochs=2").context["form"].data.dict()
        answer = client.post("/p/memes/runs/new", good)
        run = Run.objects.get()
        assert answer.url == f"/p/memes/runs/{run.pk}"
        assert (run.state, run.recipe, run.config["epochs"], run.by.username) == ("queued", "tiny", 2.0, "ada")
        page = page_of(client, run)
        assert "Waiting for a card" in page
        assert '<dt>Epochs</dt><dd><b>2</b> <span class="soft">not 9</span>' in page

    def test_another_like_it_is_filled_in_as_it_was(self, client, project, dataset):
        config = starting.configured(dataset, "tiny", "", {"lr": 0.25, "augment": True, "weights": {"bullish": 2.0}})
        run = starting.begin(project, make_member(project, Role.ADMIN), dataset, config, "tiny")
        answer = client.get(f"/p/memes/runs/new?like={run.pk}")
        assert answer.url.endswith(like(run))
        form = client.get(answer.url).context["form"]
        assert (form.config.lr, form.config.augment, form.config.weights["bullish"]) == (0.25, True, 2.0)

    def test_a_lead_may_look_and_not_start(self, lead, dataset):
        page = lead.get("/p/memes/runs/new?recipe=tiny")
        assert "An admin of this project can start it." in words_of(page)
        assert lead.post("/p/memes/runs/new", page.context["form"].data.dict()).status_code == 403


# --- While it works, and afterwards


class TestStates:
    @pytest.mark.parametrize(
        ("state", "fields", "words"),
        [
            ("queued", {}, ["Waiting for a card", "make gpu-worker"]),
            ("queued", {"stop_asked": True}, ["Waiting for a card", "Stop</button>"]),
            ("stopped", {"step": 3, "steps": 9}, ["Stopped at step 3", "Resume"]),
            ("interrupted", {"error": "The process ended without a word."}, ["ended without a word", "Resume"]),
            ("failed", {"error": "Memory was too small."}, ["Memory was too small", "Change it and start anew"]),
            ("done", {"step": 9, "steps": 9, "receipt": {"model": "tiny"}}, ["Done", "Receipt", "step 9 of 9"]),
            ("away", {}, ["On another machine", "from its bundle"]),
        ],
    )  # fmt: skip
    def test_each_says_what_it_is(self, client, dataset, state, fields, words):
        page = page_of(client, make_run(dataset, state, **fields))
        assert [word for word in words if word not in page] == []

    def test_who_stands_before_it(self, client, dataset):
        make_run(dataset)
        assert '<b class="num">1</b> run was asked for before it' in page_of(client, make_run(dataset))

    def test_at_work_it_says_how_far_and_how_fast(self, client, dataset):
        run = at_work(dataset, step=30, steps=100, latest={"loss": 0.5, "epoch": 1.5, "samples_per_second": 12.34})
        began = run.started.timestamp()
        for step in range(1, 31):
            RunPoint.objects.create(run=run, kind="step", step=step, told={"at": began + 10 * step, "loss": 1})
        watch = watching.watch(run)
        assert watch.steps_per_second == pytest.approx(0.1)
        assert watch.seconds_left == 700
        page = page_of(client, run)
        assert "step 30 of 100" in page
        assert "10.0 s a step" in page
        assert "12 min left" in page
        assert "12.3" in page

    def test_the_pace_forgets_the_time_before_it_was_resumed(self, dataset):
        run = at_work(dataset, step=3, steps=9)
        began = run.started.timestamp()
        for step, at in ((1, began - 9000), (2, began + 1), (3, began + 2)):
            RunPoint.objects.create(run=run, kind="step", step=step, told={"at": at})
        assert watching.pace(run) == pytest.approx(1.0)

    def test_silent_it_is_interrupted_and_can_be_taken_up_at_once(self, client, dataset):
        run = at_work(dataset, heartbeat=timezone.now() - timedelta(minutes=5))
        page = page_of(client, run)
        assert "Interrupted" in page
        assert "Nothing was heard of it for a minute" in page
        assert told(client, run, "resume").status_code == 302
        assert asked_for(run)

    def test_stopped_and_resumed(self, client, dataset):
        run = at_work(dataset)
        told(client, run, "stop")
        run.refresh_from_db()
        assert run.stop_asked
        assert "saves a checkpoint" in page_of(client, run)
        Run.objects.filter(pk=run.pk).update(state=RunState.STOPPED)
        told(client, run, "resume")
        run.refresh_from_db()
        assert run.state == RunState.QUEUED
        assert asked_for(run)

    def test_what_cannot_be_done_is_told(self, client, dataset):
        run = make_run(dataset, RunState.DONE)
        for action in ("stop", "resume"):
            assert "there is nothing to" in words_of(client.post(f"/p/memes/runs/{run.pk}/{action}", follow=True))

    def test_a_lead_sees_and_touches_nothing(self, lead, dataset):
        run = at_work(dataset)
        page = page_of(lead, run)
        assert "Stop</button>" not in page
        assert told(lead, run, "stop").status_code == 403

    def test_over_it_is_read_once_more_as_a_whole(self, client, dataset):
        run = make_run(dataset, RunState.DONE)
        assert client.get(f"/p/memes/runs/{run.pk}/progress")["HX-Refresh"] == "true"

    def test_a_run_of_another_project_is_none(self, client, dataset):
        other = make_member(make_project(), Role.ADMIN)
        run = make_run(dataset)
        assert logged_in(other).get(f"/p/{other.memberships.get().project.slug}/runs/{run.pk}").status_code == 404


def asked_for(run):
    from django_q.models import OrmQ

    return any(task.func() == "modeling.tasks.train" and task.args() == (run.pk,) for task in OrmQ.objects.all())


class TestCurves:
    def make_points(self, run, steps, every=1, kind="step"):
        RunPoint.objects.bulk_create(
            RunPoint(run=run, kind=kind, step=step, told={"loss": 1 / step, "lr": 0.1, "macro_f1": 0.5})
            for step in range(every, steps + 1, every)
        )

    def test_a_short_run_is_told_step_by_step(self, client, dataset):
        run = at_work(dataset, step=20, steps=40)
        self.make_points(run, 20)
        self.make_points(run, 20, every=10, kind="evaluation")
        drawn = client.get(f"/p/memes/runs/{run.pk}/points").json()
        assert drawn["step"]["step"] == list(range(1, 21))
        assert drawn["step"]["loss"][:2] == [1.0, 0.5]
        assert drawn["evaluation"]["step"] == [10, 20]
        assert (drawn["stride"], drawn["at"], drawn["over"]) == (1, 20, False)

    def test_only_what_is_new_and_an_evaluation_that_came_late(self, client, dataset):
        run = at_work(dataset, step=20, steps=40)
        self.make_points(run, 20)
        self.make_points(run, 20, every=10, kind="evaluation")
        drawn = client.get(f"/p/memes/runs/{run.pk}/points?after=18").json()
        assert drawn["step"]["step"] == [19, 20]
        drawn = client.get(f"/p/memes/runs/{run.pk}/points?after=20").json()
        assert drawn["step"]["step"] == []
        assert drawn["evaluation"]["step"] == [20]

    @pytest.mark.parametrize("every", [1, 3, 10])
    def test_a_long_one_is_thinned_evenly(self, dataset, every):
        run = at_work(dataset, step=9000, steps=9000)
        self.make_points(run, 9000, every)
        steps = [point.step for point in watching.points(run, "step")]
        assert 500 <= len(steps) <= watching.MOST + 1
        gaps = [later - earlier for earlier, later in pairwise(steps)]
        assert max(gaps) <= 16 + 2 * every
        after = [point.step for point in watching.points(run, "step", steps[700])] if len(steps) > 700 else []
        assert after == steps[701:]

    def test_it_asks_as_much_of_the_database_for_a_long_run_as_for_a_short_one(self, dataset):
        """Told by the plan: each stretch of steps is one look into the index."""
        run = at_work(dataset, step=5000, steps=5000)
        self.make_points(run, 5000)
        with CaptureQueriesContext(connection) as asked:
            watching.points(run, "step")
        with connection.cursor() as cursor:
            cursor.execute("ANALYZE modeling_runpoint")
            cursor.execute("EXPLAIN (ANALYZE, FORMAT JSON) " + asked[0]["sql"])
            plan = json.dumps(cursor.fetchone()[0])
        assert len(asked) == 1
        assert "point_by_step" in plan
        assert '"Seq Scan"' not in plan

    @pytest.mark.parametrize("after", ["", "x", "-3", "9" * 30, "²"])
    def test_nonsense_in_the_address_is_the_whole_curve(self, client, dataset, after):
        run = at_work(dataset, step=3, steps=3)
        self.make_points(run, 3)
        assert client.get(f"/p/memes/runs/{run.pk}/points", {"after": after}).json()["step"]["step"] == [1, 2, 3]

    def test_the_table_tells_the_latest_without_scripts(self, client, dataset):
        run = at_work(dataset, step=12, steps=40, scores={"macro_f1": 0.5, "step": 10})
        self.make_points(run, 12)
        self.make_points(run, 10, every=10, kind="evaluation")
        page = client.get(f"/p/memes/runs/{run.pk}")
        assert [figure.step for figure in page.context["steps"]] == list(range(12, 4, -1))
        assert '<td class="num">10 <span class="badge">best</span></td><td class="num">0.500</td>' in words_of(page)


class TestMachine:
    def here(self, dataset, **fields):
        run = at_work(dataset, machine=this_machine(), **fields)
        run_folder.folder_of(run).mkdir(parents=True)
        return run

    def test_the_end_of_its_log_wherever_it_works(self, client, dataset):
        run = at_work(dataset, machine="card-1", log="gm <b>")
        page = words_of(client.get(f"/p/memes/runs/{run.pk}/machine"))
        assert "<pre>gm &lt;b&gt;</pre>" in page
        assert "on <b>card-1</b>" in page
        assert f"<code>runs/{run.pk}/log.txt</code>" in page

    def test_on_the_processor_it_says_so(self, client, dataset, monkeypatch, tmp_path):
        monkeypatch.setenv("PATH", str(tmp_path))
        assert "no NVIDIA card" in page_of(client, self.here(dataset))

    @pytest.mark.parametrize("state", [RunState.STOPPED, RunState.INTERRUPTED, RunState.FAILED, RunState.QUEUED])
    def test_what_was_saved_elsewhere_is_said_before_it_goes_on(self, client, dataset, state):
        elsewhere = make_run(dataset, state, machine="card-1", step=3, steps=9)
        assert "What it saved lies on <b>card-1</b>" in page_of(client, elsewhere)

    def test_what_was_saved_here_is_no_news(self, client, dataset):
        run = self.here(dataset, step=3, steps=9)
        Run.objects.filter(pk=run.pk).update(state=RunState.STOPPED)
        assert "What it saved" not in page_of(client, run)

    def test_what_uses_the_card(self, client, dataset, monkeypatch, tmp_path):
        run = self.here(dataset)
        smi(tmp_path, monkeypatch, """
            case "$1" in
            --query-gpu*) echo "GPU-1, NVIDIA L4, 20000, 23034, 97"; echo "GPU-2, NVIDIA L4, [N/A], [N/A], [N/A]";;
            *) echo "GPU-1, 4242, /usr/bin/python3, 19000"; echo "GPU-9, 1, x, 1";;
            esac
        """)  # fmt: skip
        monkeypatch.setattr(nvidia, "works_in", lambda pid, folder: pid == 4242)
        page = page_of(client, run)
        assert "NVIDIA L4" in page
        assert "97% busy" in page
        assert "<b>This run</b>, process 4242: 18.6 GB" in page
        assert "No process holds memory of it." in page

    def test_a_driver_that_does_not_answer(self, client, dataset, monkeypatch, tmp_path):
        run = self.here(dataset)
        smi(tmp_path, monkeypatch, "exit 9")
        assert "does not answer" in page_of(client, run)


def smi(folder, monkeypatch, script):
    """Stands where the driver's program would, on machines without a card."""
    path = folder / "nvidia-smi"
    path.write_text(f"#!/bin/sh\n{script}")
    path.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")


class TestReceipt:
    TOLD = {
        "model": "tiny", "revision": None, "posts": {"train": {"posts": 1100, "labels": {"bullish": 4}}},
        "trained": {f"layer_{n}.lora_A": 2 for n in range(12)}, "peak_memory": 2**30, "something_new": 1.5,
    }  # fmt: skip

    def test_it_is_told_in_words_with_what_is_not_known_by_name(self):
        lines = {line.title: line for line in receipts.lines(self.TOLD)}
        assert lines["Posts"].said == ["train: labels (bullish 4), posts 1,100"]
        assert lines["Peak memory"].said == ["1.0\xa0GB"]
        assert lines["Something new"].said == ["1.5"]
        assert lines["Trained"].is_long
        assert "Revision" not in lines

    def test_a_number_larger_than_any_memory_is_told_as_a_number(self):
        [line] = receipts.lines({"peak_memory": 10**400})
        assert line.said[0].startswith("10,000,000")

    def test_it_is_downloaded_whole(self, client, dataset):
        run = make_run(dataset, RunState.DONE, receipt=self.TOLD)
        answer = client.get(f"/p/memes/runs/{run.pk}/receipt.json")
        assert answer.json() == self.TOLD
        assert answer["Content-Disposition"].endswith(f'"memes-run-{run.pk}-receipt.json"')
        assert client.get(f"/p/memes/runs/{make_run(dataset).pk}/receipt.json").status_code == 404

    def test_the_list_of_modules_from_this_machine_or_from_the_storage(self, client, dataset, settings, tmp_path):
        run = make_run(dataset, RunState.DONE, receipt=self.TOLD)
        address = f"/p/memes/runs/{run.pk}/modules"
        assert client.get(address).status_code == 404
        assert address not in page_of(client, run)
        folder = run_folder.folder_of(run)
        folder.mkdir(parents=True)
        (folder / "trained_modules.txt").write_text("a\nb\n")
        assert client.get(address).content == b"a\nb\n"
        results.keep(run, folder)
        settings.VAR_DIR = tmp_path / "elsewhere"
        assert client.get(address).content == b"a\nb\n"
        assert address in page_of(client, run)


class TestList:
    def test_it_tells_of_each(self, client, dataset):
        make_run(dataset, RunState.DONE, step=9, steps=9, scores={"macro_f1": 0.875})
        at_work(dataset, step=1, steps=9)
        page = words_of(client.get("/p/memes/runs"))
        assert "0.875" in page
        assert "Tiny, on a CPU, on" in page
        assert page.index("Running") < page.index("Done")

    def test_it_goes_on_to_the_older_ones(self, client, dataset):
        runs = [make_run(dataset) for _ in range(51)]
        page = client.get("/p/memes/runs")
        assert page.context["older"] == runs[1].pk
        page = client.get("/p/memes/runs", {"before": runs[1].pk})
        assert [watch.run for watch in page.context["watched"]] == [runs[0]]

    def test_it_asks_as_much_of_the_database_for_many_as_for_two(self, client, dataset):
        costs = []
        for count in (2, 10):
            for _ in range(count):
                make_run(dataset)
            client.get("/p/memes/runs")
            with CaptureQueriesContext(connection) as asked:
                client.get("/p/memes/runs")
            costs.append(len(asked))
        assert costs[0] == costs[1]


class TestCompare:
    def test_what_differs_and_which_is_better(self, client, dataset):
        one = make_run(dataset, RunState.DONE, scores={"macro_f1": 0.5, "loss": 0.2, "step": 3})
        other = make_run(dataset, RunState.DONE, scores={"macro_f1": 0.7, "loss": 0.9, "step": 4}, config={"lr": 0.5})
        page = client.get(f"/p/memes/runs/compare?one={one.pk}&other={other.pk}")
        beside = page.context["beside"]
        assert [(row.title, row.one, row.other) for row in beside.settings] == [("Learning rate", "0.001", "0.5")]
        assert [(score.title, score.better) for score in beside.scores] == [
            ("Macro F1", "other"), ("Accuracy", ""), ("Loss on validation", "one"), ("At step", ""),
        ]  # fmt: skip
        assert beside.same_posts

    def test_measured_on_different_posts_it_warns(self, client, project, dataset):
        other = make_run(freeze(project, "v2", size=12))
        page = words_of(client.get(f"/p/memes/runs/compare?one={make_run(dataset).pk}&other={other.pk}"))
        assert "were measured on different posts" in page

    def test_left_open_it_takes_the_latest(self, client, dataset):
        runs = [make_run(dataset) for _ in range(3)]
        beside = client.get("/p/memes/runs/compare").context["beside"]
        assert (beside.one, beside.other) == (runs[2], runs[1])

    def test_one_alone_says_what_is_needed(self, client, dataset):
        make_run(dataset)
        assert "It takes two runs" in words_of(client.get("/p/memes/runs/compare"))

    @pytest.mark.parametrize("one", ["x", "0", "9" * 40])
    def test_one_that_is_not_there(self, client, dataset, one):
        assert client.get(f"/p/memes/runs/compare?one={one}").status_code == 404


# --- By program


class TestApi:
    ADDRESS = "/api/projects/memes/runs"

    def post(self, client, address="", **sent):
        return client.post(self.ADDRESS + address, json.dumps(sent), content_type="application/json")

    def test_from_start_to_points(self, client, dataset, monkeypatch, tmp_path):
        monkeypatch.setattr(runner, "PROGRAM", program(tmp_path, """
            for n in range(1, 5): step(n)
            evaluate(4, 0.75)
            (folder / "receipt.json").write_text('{"steps": 4}'); tell("done", step=4, loss=0.1)
        """))  # fmt: skip
        answer = self.post(client, recipe="tiny", settings={"lr": 0.001, "weights": {"bullish": 2}})
        assert answer.status_code == 202, answer.content
        run = answer.json()
        assert (run["state"], run["base"], run["dataset"], run["config"]["lr"]) == ("queued", "tiny", "v1", 0.001)
        tasks.train(run["id"])
        run = client.get(f"{self.ADDRESS}/{run['id']}").json()
        assert (run["state"], run["scores"]["macro_f1"], run["receipt"]) == ("done", 0.75, {"steps": 4})
        points = client.get(f"{self.ADDRESS}/{run['id']}/points").json()
        assert points["step"]["step"] == [1, 2, 3, 4]
        assert points["over"] is True
        assert [one["id"] for one in client.get(self.ADDRESS).json()] == [run["id"]]

    def test_a_figure_that_is_no_number_ends_nothing(self, client, dataset, monkeypatch, tmp_path):
        """A gradient's norm may be NaN at one step; PostgreSQL takes no such JSON."""
        monkeypatch.setattr(runner, "PROGRAM", program(tmp_path, """
            step(1, norm=float("nan"), loss=float("inf")); step(2); tell("done", step=2, loss=0.1)
        """))  # fmt: skip
        run = make_run(dataset)
        tasks.train(run.pk)
        run.refresh_from_db()
        assert (run.state, run.error) == ("done", "")
        assert client.get(f"{self.ADDRESS}/{run.pk}/points").json()["step"]["loss"] == [None, 0.5]

    @pytest.mark.parametrize(
        ("sent", "problem"),
        [
            ({"recipe": "magic"}, "There is no recipe"),
            ({"base": "tiny", "settings": {"rank": "many"}}, "“rank”"),
            ({"base": "tiny", "settings": {"batch": 2.5}}, "“batch”"),
            ({"base": "tiny", "settings": {"lr": -1}}, "Learning rates"),
            ({"base": "tiny", "settings": {"no_such": 1}}, "“no_such” is nothing that can be set"),
            ({"base": "what is this"}, "owner/name"),
            ({"base": "tiny", "settings": {"trust_remote_code": True}}, "Only a site admin"),
            ({"dataset": "v9"}, "There are: v1."),
        ],
    )
    def test_what_is_wrong_is_a_sentence(self, client, dataset, sent, problem):
        answer = self.post(client, **sent)
        assert answer.status_code == 422
        assert problem in answer.json()["detail"]
        assert not Run.objects.exists()

    def test_stop_and_resume(self, client, dataset):
        run = at_work(dataset)
        assert self.post(client, f"/{run.pk}/stop").status_code == 202
        assert self.post(client, f"/{run.pk}/stop").status_code == 409
        Run.objects.filter(pk=run.pk).update(state=RunState.STOPPED)
        assert self.post(client, f"/{run.pk}/resume").json()["state"] == "queued"
        Run.objects.filter(pk=run.pk).update(state=RunState.DONE)
        assert "done" in self.post(client, f"/{run.pk}/resume").json()["detail"]

    def test_a_lead_reads_and_starts_nothing(self, lead, dataset):
        run = make_run(dataset)
        assert lead.get(f"{self.ADDRESS}/{run.pk}").status_code == 200
        for address in ("", f"/{run.pk}/stop", f"/{run.pk}/resume"):
            assert self.post(lead, address).status_code == 403
