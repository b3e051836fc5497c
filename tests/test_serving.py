"""A run written out for a server: by pages, command and API, stopped, killed, refused and deleted."""

import json
import os
import shlex
import signal
import subprocess
import sys
import time
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.utils import timezone

from annotate.models import ApiToken, Event, Role
from modeling import tasks
from modeling.gpu.config import Config
from modeling.models import Form, JobState, Run, RunState, Serving
from modeling.models.job import this_machine
from modeling.serving import at_work, commands, writing, written
from modeling.serving.commands import Written, rank_for
from modeling.serving.question import Words
from modeling.training import results

from .make import make_member
from .scripted_training import program
from .test_evaluating import frozen, make_known, trained
from .test_evaluating import var as var
from .test_run_pages import logged_in, make_run, words_of

pytestmark = pytest.mark.django_db
TOLD: dict[str, Any] = {
    "title": "Qwen2.5-VL", "by_chat": True, "takes_system": True, "template_kwargs": {}, "signs": ["<|im_end|>"],
    "answer_tokens": 4, "context": 4096, "pixels": {"min_pixels": 3136, "max_pixels": 12544}, "min_pixels": 3136,
    "max_pixels": 12544, "template": "{{ messages }}", "weights": "bfloat16", "bytes": 5, "libraries": {},
    "loader": "AutoModelForImageTextToText",
}  # fmt: skip
WRITES = f"""
import shutil
to = pathlib.Path(json.loads((folder / "form.json").read_text())["to"]) / "part"
shutil.rmtree(to, ignore_errors=True)
to.mkdir(parents=True)
(to / "model.safetensors").write_text("12345")
tell("state", doing="writing the weights", of=5)
WAIT
tell("done", told={TOLD!r})
"""


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(writing, "LOOK_EVERY", 0.02)


@pytest.fixture
def dataset():
    return frozen(make_known(posts=30, held=6))


@pytest.fixture
def run(dataset, monkeypatch, tmp_path):
    """Done, as far as anybody asks here: what it made is a folder of nothing."""
    made = tmp_path / "made"
    (made / "adapter").mkdir(parents=True)
    monkeypatch.setattr(results, "fetched", lambda _: made)
    return make_run(dataset, RunState.DONE, receipt={"adapter": "a" * 64, "family": "qwen2_5_vl"},
                    config={"method": "qlora", "model": "owner/model"})  # fmt: skip


@pytest.fixture
def scripted(monkeypatch, tmp_path):
    def script(wait: str = "", text: str = WRITES) -> None:
        monkeypatch.setattr(writing, "COMMAND", program(tmp_path, text.replace("WAIT", wait)))

    script()
    return script


def ask(run: Run, form: str = "merged", folder: str = "") -> Serving:
    return writing.ask(run.project, None, run, form, folder, queue=False)


def write(run: Run, form: str = "merged", folder: str = "") -> Serving:
    serving = ask(run, form, folder)
    assert writing.carry_out(serving)
    return serving


# --- Really


def test_a_run_is_written_out_by_a_process_of_its_own_and_its_folder_is_complete(var, dataset, tmp_path, capsys):
    run = trained(dataset.project, dataset)
    to = tmp_path / "wanted"
    call_command("write_out", project="memes", run=run.pk, form="merged", to=str(to))
    said = capsys.readouterr().out
    assert f"vllm serve {to}" in said
    serving = Serving.objects.get()
    assert (serving.state, serving.machine, serving.is_of_this_machine) == (JobState.DONE, this_machine(), True)
    there = {path.name for path in to.iterdir()}
    assert {"model.safetensors", "config.json", "tokenizer.json", "chat_template.jinja", "README.md"} <= there
    assert written.mark_in(to)["run"] == run.pk
    readme = (to / "README.md").read_text()
    for words in ("vllm serve", "--limit-mm-per-prompt '{\"image\": 1}'", "Answer with the label alone.",
                  "Its chat template", "vLLM was not run", f"check_served --project memes --run {run.pk}"):  # fmt: skip
        assert words in readme
    assert serving.told["bytes"] > 100_000
    call_command("write_out", project="memes", run=run.pk, form="8bit", to=str(to))  # ours: in its place
    assert written.mark_in(to)["form"] == "8bit"
    assert "quantization_config" in json.loads((to / "config.json").read_text())


def test_what_a_killed_worker_left_is_begun_anew(var, run, scripted):
    """The child is killed with its worker, halfway through; the row says that it runs until it was silent too long."""
    scripted("(folder / 'pid').write_text(str(os.getpid())); wait_for('go')")
    serving = ask(run)
    here = writing.work_folder(serving)
    here.mkdir(parents=True)
    writing.prepare(serving, here, writing.folder_of(serving), Path("/made"), Config(model="owner/model"))
    child = subprocess.Popen([*writing.COMMAND, str(here)])
    while not (here / "pid").exists():
        time.sleep(0.01)
    child.send_signal(signal.SIGKILL)
    child.wait()
    assert (writing.folder_of(serving) / "part").exists()

    Serving.objects.update(state=JobState.RUNNING, heartbeat=timezone.now() - timedelta(minutes=2))
    queued: list[int] = []
    at_work.take_up(Serving, lambda one: queued.append(one.pk), writing.end)
    assert queued == [serving.pk]
    scripted()
    tasks.write_out(serving.pk)
    serving.refresh_from_db()
    assert (serving.state, serving.interruptions) == (JobState.DONE, 1)
    assert not (writing.folder_of(serving) / "part").exists()


def test_a_worker_that_dies_takes_its_child_along(tmp_path):
    """The rule of every child, seen with this one: the parent is killed, and the process that writes is gone."""
    script = f"""
import sys; sys.path.insert(0, {str(Path(__file__).parent.parent)!r})
from modeling.child import child
sleep = [sys.executable, "-c", "import time; time.sleep(60)"]
with open({str(tmp_path / "log")!r}, "wb") as log, child(sleep, log) as p:
    print(p.pid, flush=True); p.wait()
"""
    parent = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    pid = int(parent.stdout.readline())
    parent.kill()
    parent.wait()
    while is_there(pid):
        time.sleep(0.01)


def is_there(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return "Z" not in Path(f"/proc/{pid}/stat").read_text().split(")")[1].split()[0]


# --- Watched


def test_it_is_told_how_far_it_is_and_lands_as_a_whole(var, run, scripted):
    seen: list[tuple[str, int]] = []
    serving = ask(run)
    writing.carry_out(serving, lambda now: seen.append((now.doing, now.done)))
    assert serving.state == JobState.DONE, serving.error
    assert seen[0][0] == "fetching what the run made"
    assert serving.told["title"] == "Qwen2.5-VL"
    folder = writing.folder_of(serving)
    assert sorted(path.name for path in folder.iterdir()) == ["README.md", "model.safetensors", "written_out.json"]
    verbs = set(Event.objects.values_list("verb", flat=True))
    assert {"writing out asked for", "writing out done"} <= verbs
    assert not writing.carry_out(Serving.objects.get(pk=serving.pk)), "delivered twice"


def test_asked_to_stop_it_leaves_nothing_behind_and_may_be_resumed(var, run, scripted, monkeypatch):
    scripted("wait_for('stop'); tell('stopped'); raise SystemExit")
    serving = ask(run)
    writing.carry_out(serving, lambda now: writing.stop(now) if now.doing == "writing the weights" else None)
    assert serving.state == JobState.STOPPED, serving.error
    assert not (writing.folder_of(serving) / "part").exists()
    scripted()
    monkeypatch.setattr(writing, "enqueue", lambda _: None)
    assert writing.resume(serving)
    assert writing.carry_out(serving)
    assert serving.state == JobState.DONE
    assert not writing.resume(serving)
    assert not writing.stop(serving)


def test_one_that_will_not_stop_is_ended(var, run, scripted, monkeypatch):
    scripted("time.sleep(600)")
    monkeypatch.setattr(writing, "PATIENCE", 0.05)
    serving = ask(run)
    writing.carry_out(serving, lambda now: writing.stop(now) if now.doing == "writing the weights" else None)
    assert (serving.state, serving.error) == (JobState.STOPPED, "")


def test_what_the_process_says_is_told(var, run, scripted):
    scripted(text='tell("failed", error="There is no folder /models/x on this machine."); raise SystemExit(1)')
    serving = write(run)
    assert (serving.state, serving.error) == (JobState.FAILED, "There is no folder /models/x on this machine.")
    scripted(text="raise SystemExit(3)")
    serving = write(run)
    assert serving.state == JobState.INTERRUPTED
    assert "exit code 3" in serving.error


def test_what_dies_again_and_again_is_let_be(var, run):
    serving = ask(run)
    long_ago = timezone.now() - timedelta(minutes=2)
    Serving.objects.update(state=JobState.RUNNING, heartbeat=long_ago, started=long_ago, interruptions=3)
    writing.take_up()
    serving.refresh_from_db()
    assert (serving.state, "again and again" in serving.error) == (JobState.INTERRUPTED, True)


# --- Refused


@pytest.mark.parametrize(("form", "config", "why"), [
    ("lora", {"method": "full"}, "there is no adapter"), ("lora", {"projector": "lora"}, "trained the projector too"),
    ("lora", {"projector": "train"}, "Write it out merged"), ("lora", {"rank": 1024}, "up to rank 512"),
    ("merged", {"method": "classifier"}, "writes no answers"), ("16bit", {}, "is no form"),
])  # fmt: skip
def test_what_cannot_be_served_so_is_refused_in_words(dataset, form, config, why):
    run = make_run(dataset, RunState.DONE, config={"method": "lora", "projector": "frozen", **config})
    with pytest.raises(at_work.Refused, match=why):
        ask(run, form)


@pytest.mark.parametrize(("family", "why"), [("florence2", "for transformers"), ("phi3_v", "no code is written out")])
def test_a_family_that_cannot_is_refused_with_an_adapter(dataset, family, why):
    run = make_run(dataset, RunState.DONE, config={"method": "lora"}, receipt={"family": family})
    with pytest.raises(at_work.Refused, match=why):
        ask(run, "lora")


def test_a_run_that_is_not_done_or_written_out_already_is_refused(run, scripted):
    with pytest.raises(at_work.Refused, match="not done"):
        ask(make_run(run.dataset))
    ask(run)
    with pytest.raises(at_work.Refused, match="being written out so already"):
        ask(run)
    Serving.objects.all().delete()
    write(run)
    with pytest.raises(at_work.Refused, match="Delete that first"):
        ask(run)
    ask(run, "4bit")


def test_a_folder_of_somebody_else_s_is_left_alone(var, run, scripted, tmp_path):
    full = tmp_path / "full"
    full.mkdir()
    (full / "thesis.txt").write_text("mine")
    assert "thesis.txt lies there" in write(run, folder=str(full)).error
    assert [path.name for path in full.iterdir()] == ["thesis.txt"]
    (tmp_path / "file").write_text("")
    assert "is a file" in write(run, folder=str(tmp_path / "file")).error
    assert "cannot be a folder" in write(run, folder=str(tmp_path / "file" / "below")).error
    other = tmp_path / "other"
    other.mkdir()
    (other / written.MARK).write_text(json.dumps(mark_of(run.pk + 1)))
    assert f"what run {run.pk + 1} made lies there" in write(run, folder=str(other)).error
    assert "from the root" in write(run, folder="models/here").error
    assert "cannot be made" in write(run, folder="/proc/nowhere").error


@pytest.mark.skipif(os.getuid() == 0, reason="root may write anywhere")
def test_a_folder_without_the_right_to_write_is_told(var, run, scripted, tmp_path):
    locked = tmp_path / "locked"
    locked.mkdir(mode=0o500)
    assert "may not write" in write(run, folder=str(locked)).error


# --- Deleted


def test_deleted_the_folder_goes_and_what_is_known_stays(var, run, scripted):
    serving = write(run)
    folder = writing.folder_of(serving)
    writing.delete(serving)
    serving.refresh_from_db()
    assert not folder.exists()
    assert serving.deleted
    assert serving.told["bytes"] == 5


def test_in_a_folder_of_one_s_own_only_what_is_ours_goes(var, run, scripted, tmp_path):
    serving = write(run, folder=str(tmp_path / "own"))
    (tmp_path / "own" / "notes.txt").write_text("mine")
    writing.delete(serving)
    assert [path.name for path in (tmp_path / "own").iterdir()] == ["notes.txt"]


def mark_of(run: int, **more: Any) -> dict[str, Any]:
    return {"run": run, "form": "merged", "files": [], "min_pixels": 1, "max_pixels": 2, **more}


@pytest.mark.parametrize("named", ["..", ".", "", "../beside", "/", "sub/..", "../own", "below/notes.txt", "\0"])
def test_a_mark_that_names_what_lies_elsewhere_deletes_nothing_of_it(var, run, scripted, tmp_path, named):
    own, beside = tmp_path / "room" / "own", tmp_path / "room" / "beside"
    serving = write(run, folder=str(own))
    for folder in (beside, own / "below"):
        folder.mkdir()
        (folder / "notes.txt").write_text("mine")
    (own / "linked").symlink_to(beside)
    mark = json.loads((own / written.MARK).read_text())
    (own / written.MARK).write_text(json.dumps(mark | {"files": [named, "linked", *mark["files"]]}))
    writing.delete(serving)
    assert (beside / "notes.txt").exists()
    assert [path.name for path in own.rglob("*")] == ["below", "notes.txt"]


@pytest.mark.parametrize("damage", [
    {"run": "3"}, {"run": None}, {"form": 3}, {"files": "README.md"}, {"files": [3]}, {"files": None},
    {"min_pixels": None}, {"max_pixels": "many"}, {"min_pixels": 3}, {"min_pixels": 0}, {"max_pixels": True},
])  # fmt: skip
def test_a_mark_that_is_not_whole_is_none(tmp_path, damage):
    asked = Config(model=str(tmp_path))
    (tmp_path / written.MARK).write_text(json.dumps(mark_of(3)))
    assert written.mark_in(tmp_path)["run"] == 3
    assert written.as_written(asked).max_pixels == 2
    (tmp_path / written.MARK).write_text(json.dumps(mark_of(3) | damage))
    assert written.mark_in(tmp_path) is None
    assert written.as_written(asked) == asked
    for key in damage:
        (tmp_path / written.MARK).write_text(json.dumps({k: v for k, v in mark_of(3).items() if k != key}))
        assert written.mark_in(tmp_path) is None


@pytest.mark.parametrize("form", ["8bit", "merged"])
def test_deleting_what_was_written_over_leaves_what_lies_there_now(var, run, scripted, tmp_path, form):
    own = tmp_path / "own"
    older, newer = write(run, folder=str(own)), write(run, form, folder=str(own))
    writing.delete(older)
    assert written.mark_in(own)["form"] == form
    assert (own / "model.safetensors").exists()
    writing.delete(newer)
    assert not own.exists()


def test_what_lies_elsewhere_or_is_at_work_is_not_deleted(var, run, scripted):
    serving = write(run)
    Serving.objects.update(machine="another")
    serving.refresh_from_db()
    with pytest.raises(at_work.Refused, match="It lies on another"):
        writing.delete(serving)
    with pytest.raises(at_work.Refused, match="stop it first"):
        writing.delete(ask(run, "8bit"))


# --- The commands


def known(form: str = "merged", **given: Any) -> Written:
    told = {**TOLD, **given.pop("told", {})}
    plain = {"run": 3, "folder": "/models/my run", "base": "owner/model", "revision": "", "rank": 24, "method": "lora"}
    return Written(form=form, told=told, words=Words.of("What?", told), **{**plain, **given})


@pytest.mark.parametrize("form", Form.values)
def test_a_command_is_one_that_a_shell_takes(form):
    words = shlex.split(commands.serve(known(form)).replace("\\\n", " "))
    assert words[:2] == ["vllm", "serve"]
    flags = {word for word in words if word.startswith("--")}
    assert {"--limit-mm-per-prompt", "--max-model-len", "--chat-template-content-format"} <= flags
    assert json.loads(words[words.index("--limit-mm-per-prompt") + 1]) == {"image": 1}
    assert ("--quantization" in flags) == (form in ("8bit", "4bit"))
    if form == "lora":
        assert words[2] == "owner/model"
        assert "run-3=/models/my run" in words
        assert words[words.index("--max-lora-rank") + 1] == "32"
        assert json.loads(words[words.index("--mm-processor-kwargs") + 1]) == TOLD["pixels"]
    else:
        assert words[2:5] == ["/models/my run", "--served-model-name", "run-3"]


def test_the_rank_is_one_that_vllm_lets_one_ask_for():
    assert [rank_for(rank) for rank in (1, 2, 8, 9, 64, 300, 512)] == [1, 8, 8, 16, 64, 320, 512]


def test_what_has_no_chat_template_is_loaded_by_transformers_alone():
    no_chat = known(told={"by_chat": False, "title": "Florence-2"})
    assert commands.serve(no_chat) == ""
    assert "no chat template" in " ".join(commands.notes(no_chat))
    assert "from_pretrained('/models/my run'" in commands.transformers(no_chat)
    assert "vllm serve" not in commands.readme(no_chat, "", "check")


def test_the_question_to_copy_is_json_and_python_that_can_be_read():
    text = commands.curl(known(told={"template_kwargs": {"enable_thinking": False}}))
    asked = json.loads(text.partition("<<'EOF'\n")[2].removesuffix("\nEOF"))
    assert asked["chat_template_kwargs"] == {"enable_thinking": False}
    assert [turn["role"] for turn in asked["messages"]] == ["system", "user"]
    assert (asked["temperature"], asked["top_logprobs"]) == (0, 20)
    compile(commands.python(known(told={"template_kwargs": {"enable_thinking": False}})), "python", "exec")
    for form in Form.values:
        compile(commands.transformers(known(form)), "python", "exec")


# --- Pages and programs


@pytest.fixture
def client(run):
    return logged_in(make_member(run.project, Role.ADMIN, "ada"))


def address(run: Run, what: str = "") -> str:
    return f"/p/memes/runs/{run.pk}/serving{what}"


def test_the_page_offers_what_can_be_had_and_says_why_not(client, run):
    assert address(run) in client.get(f"/p/memes/runs/{run.pk}").content.decode()
    Run.objects.update(config=run.config | {"projector": "lora"})
    page = words_of(client.get(address(run)))
    assert "It is not written out yet" in page
    assert "trained the projector too" in page
    assert 'value="lora" id="form-lora" disabled' in page
    refused = client.post(address(run), {"form": "lora"})
    assert refused.status_code == 422
    assert "trained the projector too" in words_of(refused)
    assert client.post(address(run), {}).status_code == 422


def test_the_page_writes_watches_stops_and_deletes(client, run, scripted):
    assert client.post(address(run), {"form": "merged"}).status_code == 302
    serving = Serving.objects.get()
    part = client.get(address(run, f"/progress?serving={serving.pk}"))
    assert "The next worker of the gpu queue" in words_of(part)
    client.post(f"/p/memes/servings/{serving.pk}/stop")
    assert client.get(address(run, f"/progress?serving={serving.pk}"))["HX-Refresh"] == "true"
    assert "Resume" in words_of(client.get(address(run)))
    client.post(f"/p/memes/servings/{serving.pk}/resume")
    serving.refresh_from_db()
    writing.carry_out(serving)
    page = words_of(client.get(address(run)))
    assert f"vllm serve {writing.folder_of(serving)}" in page
    assert 'data-copy="serve-' in page
    assert "Evaluate the run first" in page
    client.post(f"/p/memes/servings/{serving.pk}/delete")
    page = words_of(client.get(address(run)))
    assert "1 deleted since" in page
    assert "vllm serve" not in page


def test_a_lead_looks_and_touches_nothing(run, scripted):
    write(run)
    lead = logged_in(make_member(run.project, Role.LEAD, "lea"))
    page = words_of(lead.get(address(run)))
    assert "vllm serve" in page
    assert "Write it out" not in page
    assert "Delete" not in page
    assert lead.post(address(run), {"form": "4bit"}).status_code == 403


def test_programs_do_the_same(client, run, scripted):
    _, secret = ApiToken.issue(make_member(run.project, Role.ADMIN, "prog"), "t")
    keys = {"Authorization": f"Bearer {secret}"}
    api = "/api/projects/memes/servings"
    made = client.post(api, {"run": run.pk, "form": "merged"}, content_type="application/json", headers=keys)
    assert made.status_code == 202, made.content
    writing.carry_out(Serving.objects.get())
    found = client.get(f"{api}?run={run.pk}", headers=keys).json()
    assert (found[0]["state"], found[0]["bytes"], found[0]["checks"]) == ("done", 5, [])
    assert found[0]["command"].startswith("vllm serve")
    asked = {"run": run.pk, "form": "merged"}
    again = client.post(api, asked, content_type="application/json", headers=keys)
    assert (again.status_code, "Delete that first" in again.json()["detail"]) == (422, True)
    assert client.delete(f"{api}/{made.json()['id']}", headers=keys).json()["deleted"]
    assert client.get(f"{api}/{2**70}", headers=keys).status_code in (404, 422)


def test_the_command_says_what_it_does_not_find(run):
    with pytest.raises(CommandError, match="no project nowhere"):
        call_command("write_out", project="nowhere", run=1)
    with pytest.raises(CommandError, match="no run 99999"):
        call_command("write_out", project="memes", run=99999)
