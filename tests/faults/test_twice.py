"""Every task of ours delivered twice, in two processes at the very same moment, and once more when all is over: it is
done once. That is why a task whose worker died may simply be delivered again."""

import os
import re
import sys
from collections import Counter
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from django.core.files.base import ContentFile
from django.db import connections
from django_q.models import OrmQ

import annotate.tasks
import labeling.tasks
import modeling.tasks
from annotate import queue, targeting
from annotate.importing import doors
from annotate.models import (
    AgreementSnapshot,
    Delivery,
    Disagreement,
    Event,
    LabelStudioRun,
    Post,
    Project,
    Targeting,
    Vote,
)
from annotate.models.label_studio import Way
from annotate.models.review import Stream
from annotate.webhooks import keeping
from labeling import runs
from labeling.models import VotingRun
from modeling.answering import questions, serving, speaker
from modeling.cascade import cascades
from modeling.datasets import dataset
from modeling.datasets.recipe import Recipe
from modeling.doubting import doubts
from modeling.evaluation import evaluating
from modeling.evaluation.predictors import Predictor
from modeling.models import (
    Dataset,
    Doubt,
    DoubtSearch,
    Evaluation,
    JobState,
    Prediction,
    Preview,
    Question,
    Run,
    RunState,
    Serving,
)
from modeling.prelabelling import asking, prelabelling
from modeling.rounds import rounds
from modeling.serving import checking, writing
from modeling.training import results, runner
from tests import (
    scripted_asking,
    scripted_training,
    test_answering,
    test_rounds,
    test_serving,
    test_serving_check,
    test_studies,
)
from tests.make import make_member, make_post, make_project, make_user, make_vote
from tests.receiver import receiving
from tests.test_dataset import freeze
from tests.test_evaluating import make_known
from tests.test_prelabelling import done_run, new_posts
from tests.test_run_pages import make_run
from tests.test_voting_faults import make_posts

pytestmark = pytest.mark.django_db(transaction=True)

A_SWEEP = "it comes again by itself: what it takes up is tried here"
# Not tried here, and why.
NOT_HERE = {
    "annotate.tasks": {
        "every_minute": A_SWEEP,
        "look_after_what_is_shared": A_SWEEP,
        "pull_from_label_studio": "tests/test_label_studio.py delivers it twice to a server of its own",
    },
    "labeling.tasks": {"every_minute": A_SWEEP},
    "modeling.tasks": {"every_minute": A_SWEEP},
}


def twice(task: Callable[..., None], *given: Any) -> None:
    """In two processes that let each other begin, and then once more."""
    connections.close_all()  # nobody inherits one
    ready, gate = os.pipe(), os.pipe()
    both = [fork(task, given, ready[1], gate[0]) for _ in range(2)]
    for _ in both:
        os.read(ready[0], 1)
    os.write(gate[1], b"gg")
    codes = [os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in both]
    for end in (*ready, *gate):
        os.close(end)
    assert codes == [0, 0], "one of the two fell over it; see above"
    task(*given)


def fork(task: Callable[..., None], given: Any, ready: int, gate: int) -> int:
    pid = os.fork()
    if pid:
        return pid
    try:
        Project.objects.exists()  # connected
        os.write(ready, b"r")
        os.read(gate, 1)
        task(*given)
        os._exit(0)
    except BaseException:
        sys.excepthook(*sys.exc_info())
        os._exit(1)


def events(verb: str) -> int:
    return Event.objects.filter(verb=verb).count()


@pytest.fixture
def var(settings, tmp_path):
    settings.VAR_DIR = tmp_path
    return tmp_path


# --- Posts and people


def test_an_import():
    project = make_project()
    lines = "\n".join(["id,text,gpt", *(f"p{n},post {n},bullish" for n in range(1500))])
    run = doors.receive(project, make_user(), ContentFile(lines.encode(), name="posts.csv"))
    assert doors.begin(run)
    twice(annotate.tasks.import_posts, run.pk)
    run.refresh_from_db()
    assert (run.state, run.imported, run.already, run.votes) == ("done", 1500, 0, 1500)
    assert events("posts imported") == 1


def test_a_project_settled_anew():
    project = make_project(audit_rate=0.5)
    for n in range(40):
        post = make_post(project, f"post {n}")
        make_vote(post, "gpt", "bullish", confidence=0.9)
        make_vote(post, "gem", "bullish" if n % 3 else "bearish", confidence=0.9)
    Post.objects.update(vote_count=2)
    twice(annotate.tasks.settle_project, project.pk)
    assert Counter(Post.objects.values_list("state", flat=True)) == {"settled": 26, "contested": 14}
    opened = Disagreement.objects.filter(closed=None).values_list("post", flat=True)
    assert len(opened) == len(set(opened))


def test_known_answers_planted():
    project = make_project(check_rate=0.1)
    for n in range(20):
        post = make_post(project, f"post {n}", "bullish", holdout=True, label_source="import")
        make_vote(post, "gpt", "bullish")
        Post.objects.filter(pk=post.pk).update(vote_count=1)
    twice(annotate.tasks.change_checks, project.pk)
    assert Disagreement.objects.filter(stream=Stream.CHECK, closed=None).count() == queue.unplanted().count() + 20


def test_agreement_counted():
    project = make_project()
    for n in range(20):
        post = make_post(project, f"post {n}")
        make_vote(post, "gpt", "bullish")
        make_vote(post, "gem", "bullish")
    twice(annotate.tasks.count_agreement, project.pk)
    assert AgreementSnapshot.objects.get().data


def test_the_riskiest_looked_for():
    project = make_project()
    for n in range(30):
        post = make_post(project, f"post {n}", "bullish")
        make_vote(post, "gpt", "bullish", confidence=0.5 + n / 100)
    found = Targeting.objects.create(project=project, posts=5, total=targeting.candidates_in(project))
    twice(annotate.tasks.find_riskiest, found.pk)
    found.refresh_from_db()
    assert (found.state, len(found.picked)) == ("ready", 5)


def test_a_push_to_a_label_studio_that_nobody_named():
    run = LabelStudioRun.objects.create(project=make_project(), way=Way.PUSH)
    twice(annotate.tasks.push_to_label_studio, run.pk)
    run.refresh_from_db()
    assert run.state == "failed"
    assert Event.objects.count() == 1


# --- Machines that vote


def test_a_voting_run():
    project = make_project(audit_rate=0)
    make_posts(project, 300)
    voter = project.voters.create(name="offline", provider="offline", model="keywords", fingerprint="offline")
    run = runs.start(project, None, [voter], queue=False, budget=Decimal(1))
    twice(labeling.tasks.vote, run.pk)
    run.refresh_from_db()
    assert (run.state, Vote.objects.count(), run.parts.get().done) == ("done", 300, 300)
    assert events("voting done") == 1


def test_the_vote_on_the_demo():
    project = make_project(synthetic=True, audit_rate=0)
    make_posts(project, 60)
    twice(labeling.tasks.vote_on_demo, project.pk)
    assert project.voters.count() == 2
    assert Vote.objects.count() == 120
    assert VotingRun.objects.count() == 1


# --- Machines that learn


def settled() -> Project:
    return make_known(posts=60, held=12)


def test_a_dataset_frozen():
    waiting = dataset.ask(settled(), None, "v1", Recipe(), queue=False)
    twice(modeling.tasks.freeze, waiting.pk)
    waiting.refresh_from_db()
    assert waiting.state == "frozen"
    assert waiting.items.count() == len(set(waiting.items.values_list("post", flat=True)))
    assert events("dataset frozen") == 1


def test_a_preview_counted():
    project = settled()
    preview = Preview.objects.create(project=project, key="k", recipe=Recipe().as_json())
    twice(modeling.tasks.count_preview, preview.pk)
    preview.refresh_from_db()
    assert preview.composition


def test_a_run_trained(var, monkeypatch):
    frozen = freeze(settled(), recipe=Recipe(validation=0.2, test=0.2))
    run = runner.start(frozen.project, None, frozen, training_config(), queue=False)
    trainer = scripted_training.program(
        var, "open(folder / 'began', 'a').write('x')\nfor n in range(1, 5): step(n)\ntime.sleep(0.5)\ntell('done')"
    )
    monkeypatch.setattr(runner, "PROGRAM", trainer)
    twice(modeling.tasks.train, run.pk)
    run.refresh_from_db()
    assert (run.state, run.step) == (RunState.DONE, 4), run.error
    assert (var / "runs" / str(run.pk) / "began").read_text() == "x"
    assert events("training done") == 1


def training_config() -> Any:
    from modeling.training import training_presets

    return training_presets.named("tiny").configured()


def test_an_evaluation():
    frozen = freeze(settled(), recipe=Recipe(test=0.4))
    asked = evaluating.ask(frozen.project, None, frozen, "test", Predictor("majority"), queue=False)
    twice(modeling.tasks.evaluate, asked.pk)
    asked.refresh_from_db()
    assert asked.state == JobState.DONE, asked.error
    assert Prediction.objects.filter(evaluation=asked).count() == asked.total
    assert events("evaluation done") == 1


def test_a_cascade_fitted(var):
    frozen = freeze(settled(), recipe=Recipe(validation=0.4, test=0.1))
    voter = frozen.project.voters.create(name="first", provider="import", model="first", fingerprint="first")
    made = cascades.make(frozen.project, None, frozen, voter, done_run(frozen), 2, queue=False)
    twice(modeling.tasks.fit_cascade, made.pk)
    made.refresh_from_db()
    assert made.state == "lacking"
    assert not Evaluation.objects.exists()


def test_doubts_looked_for():
    frozen = freeze(settled(), recipe=Recipe())
    search = doubts.ask(frozen, None, queue=False)
    twice(modeling.tasks.find_doubts, search.pk)
    search.refresh_from_db()
    assert search.state in ("ready", "failed"), search.error
    ranks = list(Doubt.objects.values_list("rank", flat=True))
    assert len(ranks) == len(set(ranks))


def test_a_pre_labelling_and_its_settling(var, monkeypatch):
    monkeypatch.setattr(asking, "COMMAND", scripted_asking.program(var))
    run = done_run(freeze(settled(), recipe=Recipe(validation=0.4, test=0.1)))
    new_posts(run.project, "bullish", 0.97, number=12)
    made = prelabelling.ask(run.project, None, run, growth=0, audit_rate=0.5, queue=False)
    twice(modeling.tasks.prelabel, made.pk)
    made.refresh_from_db()
    assert (made.state, Vote.objects.filter(voter=made.voter).count()) == (JobState.DONE, 12), made.error
    assert prelabelling.apply(made, None, queue=False)
    twice(modeling.tasks.prelabel, made.pk)
    made.refresh_from_db()
    assert sum(made.result["settled"].values()) == Post.objects.filter(label_source="model").count() > 0
    audits = list(Disagreement.objects.filter(closed=None).values_list("post", flat=True))
    assert len(audits) == len(set(audits))
    assert events("settling by a model done") == 1


def test_the_nearest_posts_of_a_question(var):
    run = done_run(freeze(settled(), recipe=Recipe()))
    person = make_member(run.project, "lead")
    batch = questions.ask(run.project, person, [questions.Post("to the moon")], [run], by_page=True)
    twice(modeling.tasks.find_nearest, str(batch))
    assert Question.objects.get().near is not None


def test_a_study_and_its_doubts(var, monkeypatch):
    """Each part is begun once, however often somebody looks what comes next."""
    frozen = test_studies.frozen(test_studies.make_known())
    for name, script in (("learn", test_studies.LEARN.replace("CARDS", "[]")), ("answer", test_studies.ANSWER)):
        (var / name).mkdir()
        program = scripted_training.program(var / name, script)
        monkeypatch.setattr(*((runner, "PROGRAM") if name == "learn" else (evaluating, "COMMAND")), program)
    study = test_studies.begin(frozen, test_studies.FOLDS, queue=False)
    twice(modeling.tasks.advance_study, study.pk)
    assert waiting_for("modeling.tasks.train") == [run.pk for run in study.runs.order_by("pk")]
    assert study.runs.count() == 3
    for run in study.runs.all():
        modeling.tasks.train(run.pk)
    twice(modeling.tasks.advance_study, study.pk)
    done: list[int] = []
    for folds in (3, 4):  # and then all of them together
        asked = waiting_for("modeling.tasks.evaluate")
        assert len(asked) == len(set(asked)) == study.evaluations.count() == folds
        for pk in asked[len(done) :]:
            modeling.tasks.evaluate(pk)
        done = asked
        twice(modeling.tasks.advance_study, study.pk)
    study.refresh_from_db()
    assert (study.state, study.evaluations.count(), events("study done")) == ("done", 4, 1), study.error
    twice(modeling.tasks.doubt_by_folds, study.pk, None)
    assert DoubtSearch.objects.get().state == "ready"


def waiting_for(func: str) -> list[int]:
    """What stands in the queue for it."""
    return [one.task["args"][0] for one in OrmQ.objects.order_by("pk") if one.task["func"] == func]


def test_a_round(var):
    one = rounds.start(test_rounds.make_known(), None, test_rounds.plan(), queue=False)
    twice(modeling.tasks.advance_round, one.pk)
    one.refresh_from_db()
    assert Dataset.objects.get() == one.dataset
    assert waiting_for("modeling.tasks.freeze") == [one.dataset.pk]


def done_for_nothing(monkeypatch, folder: Path) -> Run:
    """What it made is a folder of nothing."""
    (folder / "made" / "adapter").mkdir(parents=True)
    monkeypatch.setattr(results, "fetched", lambda _: folder / "made")
    receipt = {"adapter": "a" * 64, "family": "qwen2_5_vl"}
    frozen = freeze(settled(), recipe=Recipe())
    return make_run(frozen, "done", receipt=receipt, config={"method": "qlora", "model": "owner/model"})


def test_a_model_written_out(var, monkeypatch):
    run = done_for_nothing(monkeypatch, var)
    program = scripted_training.program(
        var, test_serving.WRITES.replace("WAIT", f"open({str(var / 'began')!r}, 'a').write('x'); time.sleep(0.5)")
    )
    monkeypatch.setattr(writing, "COMMAND", program)
    serving = writing.ask(run.project, None, run, "merged", "", queue=False)
    twice(modeling.tasks.write_out, serving.pk)
    serving.refresh_from_db()
    assert (serving.state, (var / "began").read_text()) == (JobState.DONE, "x"), serving.error
    assert events("writing out done") == 1


def test_a_served_model_checked(var):
    frozen = test_serving.frozen(make_known(posts=30, held=6))
    run = make_run(frozen, "done", receipt={"adapter": "a" * 64}, config={"method": "full"})
    serving = Serving.objects.create(
        project=run.project, run=run, form="merged", state=JobState.DONE, told=test_serving.TOLD
    )
    test_serving_check.as_if_evaluated(serving)
    asked: list[str] = []

    def answer(question: Any) -> Any:
        if question:
            asked.append(question["messages"][-1]["content"][-1]["text"])
        return test_serving_check.rightly(question)

    with test_serving_check.serving_by(answer) as url:
        check = checking.ask(serving, None, "server", "holdout", url, queue=False)
        twice(modeling.tasks.check_served, check.pk)
    check.refresh_from_db()
    assert (check.state, check.told["same"]) == (JobState.DONE, 6), check.error
    assert Counter(asked).most_common(1)[0][1] == 1
    assert events("check of a served model done") == 1


def test_live_answers(var, monkeypatch):
    run = test_answering.make_done(freeze(settled(), recipe=Recipe()))
    note = 'words = post["user"]; (folder.parent / "asked").open("a").write(f"{post[\'number\']}\\n")'
    program = var / "speaker.py"
    program.write_text(test_answering.SPEAKER.replace('words = post["user"]', note))
    monkeypatch.setattr(speaker, "COMMAND", [sys.executable, str(program)])
    monkeypatch.setattr(serving, "IDLE", 0.5)
    batch = test_answering.ask(make_member(run.project, "lead"), *(f"moon {n}" for n in range(40)), runs=[run])
    twice(modeling.tasks.answer)
    assert test_answering.said(batch) == [("answered", "bullish")] * 40
    asked = "".join(path.read_text() for path in (var / "answering").rglob("asked")).split()
    assert len(asked) == len(set(asked)) == 40


# --- Other programs that are told


def test_messages_to_a_webhook():
    project, root = make_project(), make_user("root", is_superuser=True)
    with receiving() as receiver:
        webhook, _ = keeping.add(project, root, receiver.address, ["voting"], private=True)
        for run in range(20):
            Event.record("voting done", project=project, run=run)
        twice(annotate.tasks.deliver, webhook.pk)
        tried = keeping.test(webhook)
        twice(annotate.tasks.deliver_one, webhook.pk, tried.pk)
        numbers = [got.headers["webhook-id"] for got in receiver.got]
    assert len(numbers) == len(set(numbers)) == 21
    assert set(Delivery.objects.values_list("state", "tries")) == {("delivered", 1)}


# --- All of them


def test_no_task_is_left_out():
    """Whoever adds a task tries it here, or says where it is tried. Read and not counted: workers share the tests."""
    tried = set(re.findall(r" twice\((\w+\.tasks)\.(\w+)", Path(__file__).read_text()))
    for room in (annotate.tasks, labeling.tasks, modeling.tasks):
        known = {name for place, name in tried if place == room.__name__}
        assert tasks_in(room) - known == set(NOT_HERE[room.__name__])


def tasks_in(room: ModuleType) -> set[str]:
    own = {name: one for name, one in vars(room).items() if getattr(one, "__module__", "") == room.__name__}
    steps = {"take_up", "take_up_imports", "forget_drafts", "plant_checks", "let_stand"}  # of the sweeps
    return {name for name, one in own.items() if callable(one)} - steps
