"""From a frozen dataset to a run that is watched, stopped and resumed; a short program stands for the trainer."""

from threading import Thread

import pytest
from django.db import connections
from playwright.sync_api import expect

from annotate.models import Role
from modeling import tasks
from modeling.models import Run, RunPoint, RunState
from modeling.training import run_folder, runner
from modeling.training.training_presets import named
from tests.freezing import freeze, make_settled
from tests.make import make_member
from tests.scripted_training import program

# Two steps, then one more each time it is allowed; asked to stop it saves, and resumed it goes on to its end.
SCRIPT = """
begun = folder / "begun"
first = 3 if begun.exists() else 1
begun.touch()
tell("state", doing="training")
for n in range(first, 7):
    step(n, of=6)
    if n % 2 == 0: evaluate(n, 0.1 * n)
    while n == 2 and not (folder / "stop").exists(): time.sleep(0.01)
    if (folder / "stop").exists():
        tell("stopped", step=n); raise SystemExit
(folder / "receipt.json").write_text('{"model": "tiny", "steps": 6}')
tell("done", step=6, loss=0.1)
"""


@pytest.fixture
def project(live_server, settings, tmp_path, monkeypatch):
    settings.VAR_DIR = tmp_path
    monkeypatch.setattr(runner, "LOOK_EVERY", 0.05)
    monkeypatch.setattr(runner, "PROGRAM", program(tmp_path, SCRIPT))
    project = make_settled()
    freeze(project)
    return project


@pytest.fixture
def page(page, login, project):
    login(page, make_member(project, Role.ADMIN, "ada"))
    page.goto(f"/p/{project.slug}/runs")
    return page


@pytest.fixture
def work(project):
    """As the worker of the gpu queue would, in a thread instead of a process."""
    workers = []

    def begin() -> Thread:
        def train() -> None:
            tasks.train(Run.objects.latest("pk").pk)
            connections.close_all()

        workers.append(Thread(target=train))
        workers[-1].start()
        return workers[-1]

    yield begin
    for run in Run.objects.filter(state=RunState.RUNNING):
        (run_folder.folder_of(run) / "stop").touch()
    for worker in workers:
        worker.join()


def start_tiny(page):
    page.get_by_role("link", name="Train the first").click()
    page.get_by_role("link", name="Tiny, on a CPU").click()
    page.get_by_role("button", name="Train", exact=True).click()
    expect(page.get_by_role("heading", name="Waiting for a card")).to_be_visible()


def test_it_is_started_watched_stopped_and_resumed(page, work):
    start_tiny(page)
    expect(page.locator("[data-curves]")).to_be_hidden()
    worker = work()
    expect(page.get_by_role("heading", name="Running")).to_be_visible()
    loss = page.locator("[data-chart=loss]")
    expect(loss.locator("[data-told]")).to_have_text("step 2: 0.500")  # without reloading
    expect(loss.locator("canvas")).to_be_visible()
    expect(page.locator("[data-chart=scores] [data-told]")).to_have_text("step 2: F1 0.200, accuracy 0.200")
    expect(page.locator("#figures").get_by_role("cell", name="0.5000")).to_be_visible()
    page.get_by_role("button", name="Stop").click()
    worker.join()
    expect(page.get_by_role("heading", name="Stopped")).to_be_visible()
    page.get_by_role("button", name="Resume").click()
    expect(page.get_by_role("heading", name="Waiting for a card")).to_be_visible()
    work().join()
    expect(page.get_by_role("heading", name="Done")).to_be_visible()
    expect(loss.locator("[data-told]")).to_have_text("step 6: 0.167")
    expect(page.get_by_role("heading", name="Receipt")).to_be_visible()
    with page.expect_download():
        page.get_by_role("link", name="Download as JSON").click()


def test_the_preview_follows_the_form(page):
    page.goto("/p/memes/runs/new?recipe=tiny")
    page.get_by_label("Epochs").fill("3")
    expect(page.locator("#beside")).to_contain_text("3 not 9")
    assert page.url.endswith("/runs/new?dataset=v1&recipe=tiny&epochs=3")
    page.get_by_label("Epochs").fill("0")
    expect(page.get_by_role("alert")).to_contain_text("Epochs: Ensure this value is greater than")
    expect(page.get_by_label("Epochs")).to_be_focused()
    page.get_by_role("button", name="Train", exact=True).click()
    expect(page.get_by_text("Nothing has started.")).to_be_visible()
    page.get_by_label("Base model").fill("Qwen/Qwen2.5-VL-3B-Instruct")
    page.get_by_label("Epochs").fill("2")
    expect(page.locator("#beside")).to_contain_text("Qwen2.5-VL, ")


def test_by_keys_alone(page, work):
    page.get_by_role("link", name="Train the first").focus()
    page.keyboard.press("Enter")
    page.get_by_role("link", name="Tiny, on a CPU").focus()
    page.keyboard.press("Enter")
    expect(page.get_by_label("Base model")).to_have_value("tiny")
    page.get_by_label("Epochs").focus()
    page.keyboard.press("Enter")  # reads the form again, and starts nothing
    expect(page.get_by_role("heading", name="Train a model")).to_be_visible()
    assert not Run.objects.exists()
    page.get_by_role("button", name="Train", exact=True).focus()
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="Waiting for a card")).to_be_visible()
    worker = work()
    loss = page.locator("[data-chart=loss]")
    told = loss.locator("[data-told]")
    expect(told).to_have_text("step 2: 0.500")
    loss.locator("[data-plot]").focus()
    for key, words in (("ArrowLeft", "step 2: 0.500"), ("ArrowLeft", "step 1: 1.000"), ("ArrowLeft", "step 1: 1.000"),
                       ("End", "step 2: 0.500"), ("Home", "step 1: 1.000")):  # fmt: skip
        page.keyboard.press(key)
        expect(told).to_have_text(words)
    expect(told).to_have_attribute("aria-live", "polite")
    stop = page.get_by_role("button", name="Stop")
    stop.focus()
    with page.expect_response("**/progress"):
        pass  # the figures changed under it
    expect(stop).to_be_focused()
    page.keyboard.press("Enter")
    worker.join()
    expect(page.get_by_role("heading", name="Stopped")).to_be_visible()


def test_two_beside_each_other(page, project):
    dataset = project.datasets.get()
    for lr in (0.1, 0.2):
        config = named("tiny").configured(lr=lr).as_json()
        run = Run.objects.create(
            project=project, dataset=dataset, recipe="tiny", config=config, state=RunState.DONE, step=4, steps=4
        )
        for step in range(1, 5):
            RunPoint.objects.create(run=run, kind="step", step=step, told={"loss": lr / step})
    page.reload()
    page.get_by_role("link", name="Compare two").click()
    expect(page.locator("[data-chart=loss] [data-told]")).to_have_text(
        f"step 4: run {run.pk} 0.050, run {run.pk - 1} 0.025"
    )
    expect(page.get_by_role("row", name="Learning rate 0.2 0.1")).to_be_visible()


class TestWithoutScripts:
    @pytest.fixture
    def screen(self):
        return {"java_script_enabled": False}

    def test_the_table_tells_what_the_curves_would(self, page, work):
        start_tiny(page)
        worker = work()
        refresh = page.get_by_role("link", name="Refresh the figures")
        cell = page.locator("#figures").get_by_role("cell", name="0.5000")
        for _ in range(100):
            refresh.click()
            if cell.is_visible():
                break
        expect(cell).to_be_visible()
        expect(page.locator("[data-curves]")).to_be_hidden()
        page.get_by_role("button", name="Stop").click()
        worker.join()
        refresh.click()
        expect(page.get_by_role("heading", name="Stopped")).to_be_visible()
