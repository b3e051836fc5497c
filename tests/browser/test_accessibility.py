"""Every page, with something on it: readable by everybody, in both colour schemes, and on a narrow phone.

A new page is one more line in PAGES; a new address without a page of its own is one more name in NO_PAGE.
"""

from collections.abc import Iterator
from datetime import timedelta
from itertools import islice
from typing import Any

import numpy as np
import pytest
from django.core.files.base import ContentFile
from django.core.files.storage import default_storage
from django.urls import URLPattern, URLResolver, get_resolver, reverse
from django.utils import timezone

from annotate import model_labels
from annotate.first_start import demo_rows
from annotate.importing.load import Loader
from annotate.model_labels import Said
from annotate.models import (
    ApiToken,
    Delivery,
    Disagreement,
    ImportRun,
    Invitation,
    LabelStudioAnnotation,
    LabelStudioPerson,
    LabelStudioProject,
    LabelStudioRun,
    LabelStudioTask,
    Post,
    Project,
    Review,
    Role,
    Targeting,
    User,
    Voter,
)
from labeling.models import Failure, Part, VotingRun
from labeling.voters import Makeup, create, revise
from modeling.answering import nearest, questions
from modeling.datasets import dataset
from modeling.datasets.recipe import Recipe
from modeling.evaluation import evaluating
from modeling.evaluation.predictors import Predictor
from modeling.measures import cascade
from modeling.models import (
    Cascade,
    Dataset,
    DoubtSearch,
    Evaluation,
    PreLabelling,
    Reply,
    Round,
    Run,
    RunPoint,
    ServedCheck,
    Serving,
    Study,
)
from modeling.models.job import this_machine
from modeling.prelabelling import candidates
from modeling.prelabelling import prelabelling as room
from modeling.training import training_presets
from tests.make import make_member, make_post, make_project, make_user, make_vote, make_webhook

# url name, what of `things` it shows, who looks at it
PAGES = [
    ("home", "nothing", "admin"),
    ("home", "nothing", "stranger"),
    ("login", "nothing", "nobody"),
    ("invited", "invitation", "nobody"),
    ("invited", "invitation", "stranger"),
    ("account", "nothing", "admin"),
    ("people", "project", "admin"),
    ("project_new", "nothing", "admin"),
    ("project", "project", "admin"),
    ("project", "project", "reviewer"),
    ("project", "empty project", "admin"),
    ("settings", "project", "admin"),
    ("guidelines", "project", "admin"),
    ("guidelines", "empty project", "reviewer"),
    ("posts", "project", "admin"),
    ("posts", "empty project", "admin"),
    ("post", "settled post", "admin"),
    ("post", "contested post", "reviewer"),
    ("post_remove", "settled post", "admin"),
    ("removals", "project", "admin"),
    ("removals", "empty project", "admin"),
    ("templates", "project", "admin"),
    ("agreement", "project", "reviewer"),
    ("agreement", "empty project", "admin"),
    ("votes", "project", "admin"),
    ("votes", "empty project", "reviewer"),
    ("voter_new", "project", "admin"),
    ("voter", "asked voter", "reviewer"),
    ("voter", "imported voter", "admin"),
    ("voter", "replaced voter", "admin"),
    ("voter_edit", "asked voter", "admin"),
    ("voter_request", "asked voter", "admin"),
    ("voting_new", "project", "admin"),
    ("voting_new", "empty project", "admin"),
    ("voting_run", "running votes", "admin"),
    ("voting_run", "paused votes", "admin"),
    ("voting_run", "failed votes", "reviewer"),
    ("review", "project", "reviewer"),
    ("review", "empty project", "reviewer"),
    ("quality", "project", "admin"),
    ("quality", "empty project", "admin"),
    ("quality_decided", "project", "admin"),
    ("quality_decided", "empty project", "admin"),
    ("quality_machines", "project", "admin"),
    ("quality_machines", "empty project", "admin"),
    ("quality_riskiest", "project", "admin"),
    ("quality_riskiest", "empty project", "admin"),
    ("quality_targeting", "searching riskiest", "admin"),
    ("quality_targeting", "ready riskiest", "admin"),
    ("quality_targeting", "asked riskiest", "admin"),
    ("quality_targeting", "failed riskiest", "admin"),
    ("reviewers", "project", "admin"),
    ("reviewers", "empty project", "admin"),
    ("reviewer", "person", "admin"),
    ("reviewer_me", "project", "reviewer"),
    ("reviewer_me", "empty project", "reviewer"),
    ("datasets", "project", "admin"),
    ("datasets", "empty project", "admin"),
    ("dataset_new", "project", "admin"),
    ("dataset_new", "empty project", "admin"),
    ("dataset", "frozen dataset", "admin"),
    ("dataset", "queued dataset", "admin"),
    ("dataset", "freezing dataset", "admin"),
    ("dataset", "failed dataset", "admin"),
    ("dataset_posts", "frozen dataset", "admin"),
    ("dataset_compare", "frozen dataset", "admin"),
    ("dataset_card", "frozen dataset", "admin"),
    ("dataset_doubts", "frozen dataset", "admin"),
    ("dataset_doubts", "searched dataset", "admin"),
    ("dataset_doubts", "doubted dataset", "admin"),
    ("dataset_doubts", "unread dataset", "admin"),
    ("runs", "project", "admin"),
    ("runs", "empty project", "admin"),
    ("run_new", "project", "admin"),
    ("run_new", "empty project", "admin"),
    ("run", "queued run", "admin"),
    ("run", "running run", "admin"),
    ("run", "interrupted run", "admin"),
    ("run", "failed run", "admin"),
    ("run", "done run", "admin"),
    ("serving", "done run", "admin"),
    ("serving", "served run", "admin"),
    ("run_compare", "project", "admin"),
    ("run_compare", "empty project", "admin"),
    ("studies", "project", "admin"),
    ("studies", "empty project", "admin"),
    ("study_new", "project", "admin"),
    ("study_new", "empty project", "admin"),
    ("study", "running study", "admin"),
    ("study", "failed study", "admin"),
    ("study", "done study", "admin"),
    ("study", "curve study", "admin"),
    ("cascades", "project", "admin"),
    ("cascades", "empty project", "admin"),
    ("cascade_new", "project", "admin"),
    ("cascade_new", "empty project", "admin"),
    ("cascade", "fitted cascade", "admin"),
    ("cascade", "lacking cascade", "admin"),
    ("cascade", "failed cascade", "admin"),
    ("evaluations", "project", "admin"),
    ("evaluations", "empty project", "admin"),
    ("evaluation_new", "project", "admin"),
    ("evaluation_new", "empty project", "admin"),
    ("evaluation", "done evaluation", "admin"),
    ("evaluation", "queued evaluation", "admin"),
    ("evaluation", "running evaluation", "admin"),
    ("evaluation", "failed evaluation", "admin"),
    ("evaluation_posts", "done evaluation", "admin"),
    ("evaluation_compare", "project", "admin"),
    ("evaluation_compare", "empty project", "admin"),
    ("prelabellings", "project", "admin"),
    ("prelabellings", "empty project", "admin"),
    ("prelabelling_new", "project", "admin"),
    ("prelabelling_new", "empty project", "admin"),
    ("prelabelling", "asked pre-labelling", "admin"),
    ("prelabelling", "running pre-labelling", "admin"),
    ("prelabelling", "failed pre-labelling", "admin"),
    ("prelabelling", "settled pre-labelling", "admin"),
    ("prelabelling_conflicts", "asked pre-labelling", "admin"),
    ("prelabelling_conflicts", "settled pre-labelling", "admin"),
    ("rounds", "project", "admin"),
    ("rounds", "empty project", "admin"),
    ("round_new", "project", "admin"),
    ("round_new", "empty project", "admin"),
    ("round_new", "project with a round", "admin"),
    ("round", "kept round", "admin"),
    ("round", "rolled back round", "admin"),
    ("round", "round at work", "admin"),
    ("round", "round that waits for a word", "admin"),
    ("round", "round that waits for answers", "admin"),
    ("round", "round that waits for a verdict", "admin"),
    ("round", "round held up", "admin"),
    ("playground", "project", "admin"),
    ("playground", "empty project", "admin"),
    ("playground_question", "asked question", "admin"),
    ("playground_question", "answered question", "admin"),
    ("label_studio", "project", "admin"),
    ("label_studio", "empty project", "admin"),
    ("events", "project", "admin"),
    ("events", "empty project", "admin"),
    ("site_events", "nothing", "admin"),
    ("storage", "nothing", "admin"),
    ("webhooks", "project", "admin"),
    ("webhooks", "empty project", "admin"),
    ("webhook", "webhook", "admin"),
    ("webhook", "webhook switched off", "admin"),
    ("webhook_delete", "webhook", "admin"),
    ("imports", "project", "admin"),
    ("imports", "empty project", "admin"),
    ("import_new", "project", "admin"),
    ("import", "draft import", "admin"),
    ("import", "running import", "admin"),
    ("import", "done import", "admin"),
    ("import", "failed import", "admin"),
]
# Actions, fragments and files: what they answer is no page, or the page of another name.
NO_PAGE = {
    "healthz", "readyz", "metrics",
    "review_decide", "review_undo", "review_votes", "review_renew", "review_release", "review_fill", "review_keys",
    "logout", "login_once", "password", "token_new", "token_revoke",
    "invite", "invitation_revoke", "role_change", "member_remove",
    "label_colours", "image", "thumb", "template_name",
    "voter_return", "voting_progress", "voting_pause", "voting_resume", "voting_cancel", "voting_retry",
    "quality_ask", "quality_discard", "quality_headline",
    "dataset_preview", "dataset_progress", "dataset_stop", "dataset_again", "dataset_download",
    "dataset_doubts_send", "dataset_doubts_stop",
    "run_preview", "run_progress", "run_points", "run_machine", "run_stop", "run_resume", "run_receipt", "run_modules",
    "run_bundle", "run_result",
    "serving_progress", "serving_stop", "serving_resume", "serving_delete", "serving_check", "served_check_stop",
    "served_check_resume",
    "study_preview", "study_progress", "study_stop", "study_resume", "study_doubts",
    "cascade_progress", "cascade_use", "cascade_again", "cascade_ask",
    "evaluations_export", "evaluation_export", "evaluation_progress", "evaluation_stop", "evaluation_resume",
    "evaluation_ways", "evaluation_doubt",
    "prelabelling_preview", "prelabelling_progress", "prelabelling_apply", "prelabelling_take_back",
    "prelabelling_stop", "prelabelling_resume", "prelabelling_doubt",
    "round_preview", "round_progress", "round_settle", "round_go_on", "round_keep", "round_roll_back", "round_stop",
    "round_resume",
    "label_studio_push", "label_studio_pull", "label_studio_people", "label_studio_anew", "label_studio_progress",
    "label_studio_stop",
    "completions", "models", "model",
    "events_export", "site_events_export",
    "webhook_deliveries", "webhook_again", "webhook_test", "webhook_pause", "webhook_turn_on", "webhook_secret",
    "import_start", "import_progress", "import_stop", "import_report",
}  # fmt: skip
# address -> its status; the reviewer looks
TURNED_AWAY = {
    "/no-such-page": 404,
    "/p/no-such-project/": 404,
    "/p/memes/settings": 403,
    "/login/MQ/spent-link": 410,
    "/invited/no-such-secret": 404,
}
NOT_OURS = {"admin", "api"}  # namespaces whose pages come with a library
DESK, PHONE = {"width": 1280, "height": 720}, {"width": 320, "height": 640}
# Nothing while the page fits; what scrolls in a box of its own does not count.
WHAT_SPILLS_OVER = """() => {
  if (document.documentElement.scrollWidth <= innerWidth) return [];
  const wide = [...document.body.querySelectorAll("*")].filter((one) => one.getBoundingClientRect().right > innerWidth);
  return wide.map((one) => one.cloneNode().outerHTML);
}"""


@pytest.fixture
def people(live_server: Any) -> dict[str, User | None]:
    return make_people()


def make_people() -> dict[str, User | None]:
    project = make_project("Memes", question="What sentiment?", guidelines="# Bullish\n\nA *rise*, or [hope](/).")
    empty = make_project("Empty", labels=())
    admin = make_user("ada", is_superuser=True)
    reviewer = make_member(project, Role.REVIEWER, "rae")
    empty.memberships.create(user=reviewer)
    return {"admin": admin, "reviewer": reviewer, "stranger": make_user("sam"), "nobody": None}


@pytest.fixture
def things(people: dict[str, User | None], settings: Any) -> dict[str, dict[str, Any]]:
    return make_things(people, settings)


def make_things(people: dict[str, User | None], settings: Any) -> dict[str, dict[str, Any]]:
    """What the pages show: by name, the arguments of its address."""
    project, admin = Project.objects.get(slug="memes"), people["admin"]
    assert admin is not None
    fill(project)
    make_label_studio(project, settings)
    ApiToken.issue(admin, "notebook")
    _, secret = Invitation.issue(project, Role.REVIEWER, admin, note="for Kim")
    runs = {f"{state} import": run.pk for state, run in make_imports(project, admin).items()}
    asked, votes = make_votes(project)
    runs |= {"asked voter": asked.pk, "imported voter": project.voters.get(name="gemini").pk} | votes
    posts = {"settled post": project.posts.filter(state="settled")[0].pk}
    posts |= {"contested post": project.posts.get(state="contested").pk}
    posts |= make_decided(project, people["reviewer"], admin)
    return (
        {
            "nothing": {},
            "project": {"slug": project.slug},
            "empty project": {"slug": "empty"},
            "invitation": {"secret": secret},
        }
        | {name: {"slug": project.slug, "pk": pk} for name, pk in (runs | posts).items()}
        | make_evaluations(project)
        | make_doubts(project)
        | make_datasets(project)
        | make_runs(project)
        | make_studies(project)
        | make_questions(project, admin)
        | make_cascades(project)
        | make_prelabellings(project)
        | make_rounds(project)
        | make_servings(project)
        | make_webhooks(project, admin)
    )


def make_webhooks(project: Project, admin: User) -> dict[str, dict[str, Any]]:
    good = make_webhook(project, "https://hooks.example.com/casting-vote/" + "a" * 60, note="The chat", by=admin)
    refused = make_webhook(project, "http://10.0.0.7/hook", state="off", why="It answered 410.", private=True)
    now = timezone.now()
    sent = {"webhook": good, "body": "{}", "tries": 1, "tried": now, "ms": 31}
    Delivery.objects.create(**sent, event=1, kind="voting.done", state="delivered", code=204)
    Delivery.objects.create(**sent, event=2, kind="queue.empty", code=503, said="x" * 200, due=now + timedelta(hours=2))
    Delivery.objects.create(**sent, kind="webhook.test", state="failed", said="It did not answer within 10 seconds.")
    slug = {"slug": project.slug}
    return {"webhook": slug | {"pk": good.pk}, "webhook switched off": slug | {"pk": refused.pk}}


def fill(project: Project) -> None:
    drawn = ImportRun.objects.create(project=project, name="drawn posts", state="queued", holdout=True)
    drawn.claim()
    drawn.imported = Loader(drawn).load(list(islice(demo_rows(), 6))).count("imported")
    drawn.state, drawn.ended = "done", drawn.started
    drawn.save()
    post = make_post(project, "to the moon, they said", state="contested")
    Disagreement.objects.create(project=post.project, post=post, why="split")
    make_vote(post, "gpt", "bullish", confidence=0.8, reason="Rockets.", cost="0.0004")
    make_vote(post, "gemini", "bearish", confidence=0.6, reason="Sarcasm.")
    make_vote(post, "keywords", reason="Nothing matched.")
    make_post(project, "wagmi", label="bullish")
    make_post(project, "gm")


def make_label_studio(project: Project, settings: Any) -> None:
    """A push that runs, a pull that failed, and an answer of each kind that looks different."""
    settings.LABEL_STUDIO_URL, settings.LABEL_STUDIO_API_KEY = "https://studio.example.org", "not asked for"
    link = LabelStudioProject.objects.create(project=project, address=settings.LABEL_STUDIO_URL, number=7)
    person = LabelStudioPerson.objects.create(project=project, address=link.address, number=1, email="ann@example.org")
    waiting = Disagreement.objects.filter(project=project, closed=None).first()
    for number, outcome in enumerate(["conflict", "unmapped", "applied", "post gone"]):
        task = LabelStudioTask.objects.create(link=link, number=number, disagreement=None if number else waiting)
        LabelStudioAnnotation.objects.create(
            task=task,
            number=1,
            person=person,
            said="bullish",
            here="bearish (voters)",
            outcome=outcome,
            says_now="neutral",
        )
    LabelStudioRun.objects.create(project=project, way="pull", state="failed", error="Label Studio refused the token.")
    now = timezone.now()
    LabelStudioRun.objects.create(
        project=project, way="push", state="running", started=timezone.now(), heartbeat=now, total=9, done=4
    )


def make_votes(project: Project) -> tuple[Voter, dict[str, int]]:
    """Voters of which one lacks its key and ends soon, and runs in every state that looks different."""
    asked = create(project, None, Makeup.told("openai", "gpt-4o-mini", {"temperature": 0.0}))
    states = {
        "running": {"heartbeat": timezone.now()},
        "paused": {"budget": "0.5", "written_off": "0.01", "error": "The budget of $0.50 is used up: raise it."},
        "failed": {"error": "The server does not accept the API key.", "limit": 20},
    }
    runs = {f"{state} votes": make_voting(project, asked, state, **fields) for state, fields in states.items()}
    replaced = create(project, None, Makeup.told("openai", "gpt-4o-mini", {}), "mini of old")
    revise(replaced, None, Makeup.of(asked), asked.name, required=True, limits={})
    return asked, {name: run.pk for name, run in runs.items()} | {"replaced voter": replaced.pk}


def make_voting(project: Project, voter: Voter, state: str, **fields: Any) -> VotingRun:
    run = VotingRun.objects.create(project=project, state=state, started=timezone.now(), **fields)
    counts = {"done": 4, "abstained": 1, "by_label": {"bullish": 2, "bearish": 1}, "cost": "0.02", "unpriced": 1}
    part = Part.objects.create(run=run, voter=voter, total=9, tokens_in=20_000, tokens_out=300, **counts)
    part.wordings.create(hash=f"{run.pk:064x}", text="What sentiment?\n\n[the post]")
    Failure.objects.create(part=part, post=project.posts.first(), cause="refused (400): invalid_image_url")
    return run


def make_decided(project: Project, one: User | None, other: User) -> dict[str, int]:
    """Audits that two people read, and the riskiest posts in every state that looks different."""
    assert one is not None
    wrong, label = project.labels.first(), project.labels.last()
    figures = {
        "expected": 1.2,
        "low": 0.4,
        "high": 2,
        "by_chance": 0.3,
        "method": "a model of 150 audits, 20 of them wrong",
    }
    found = {
        "searching": {"total": 900, "looked_at": 300, "heartbeat": timezone.now()},
        "ready": figures,
        "asked": figures,
        "failed": {"error": "It broke off; ask for them again."},
    }
    riskiest = {
        state: Targeting.objects.create(project=project, by=other, posts=3, state=state, **fields)
        for state, fields in found.items()
    }
    for number in range(6):
        post = make_post(project, f"read by two, number {number}", label="bullish", label_source="review")
        make_vote(post, "gpt", "bullish", confidence=0.9)
        make_vote(post, "gemini", "bullish", confidence=0.7)
        read = Disagreement.objects.create(
            project=project, post=post, why="audit" if number else "risk", stream=2 if number else 3, inclusion=0.5,
            targeting=None if number else riskiest["asked"], answers=2, closed=timezone.now(), was_state="settled",
            was_label=label, was_source="consensus", label=label if number else wrong,
        )  # fmt: skip
        for reader in (one, other):
            review = read.reviews.create(
                project=project, reviewer=reader, key=f"read {number}", label=read.label, seconds=4, saw=[1][number:]
            )
            Review.objects.filter(pk=review.pk).update(at=timezone.now() - timedelta(days=1 + 7 * number))
    return {f"{state} riskiest": asked.pk for state, asked in riskiest.items()} | {"person": one.pk}


def make_datasets(project: Project) -> dict[str, dict[str, Any]]:
    """In every state that looks different; of the frozen ones the later has lost a post since."""
    for name in ("v1", "v2"):
        frozen = dataset.ask(project, None, name, Recipe(weights={"bullish": 2}), queue=False)
        dataset.carry_out(frozen)
    gone = frozen.items.filter(post__holdout=False)[0]
    Post.objects.filter(pk=gone.post_id).delete()
    soon = timezone.now()
    states: dict[str, dict[str, Any]] = {
        "queued": {},
        "freezing": {"total": 900, "done": 300, "heartbeat": soon, "started": timezone.now()},
        "failed": {"error": "No post was left to be frozen."},
    }
    for state, fields in states.items():
        Dataset.objects.create(project=project, name=state, recipe=Recipe().as_json(), state=state, **fields)
    names = {"frozen": "v2"} | {state: state for state in states}
    return {f"{state} dataset": {"slug": project.slug, "name": name} for state, name in names.items()}


def make_doubts(project: Project) -> dict[str, dict[str, Any]]:
    """Being looked for, found, and failed; of those found one waits, and people have decided one."""
    states: dict[str, dict[str, Any]] = {
        "searched": {"total": 15, "done": 4, "heartbeat": timezone.now()},
        "unread": {"state": "failed", "error": "Fewer than two labels have posts with words."},
        "doubted": {"state": "ready", "posts": 9, "agreed": 5, "commonest": 6, "wordless": 1, "folds": 5, "repeats": 3,
                    "ended": timezone.now()},
    }  # fmt: skip
    for name, fields in states.items():
        frozen = dataset.ask(project, None, name, Recipe(), queue=False)
        assert dataset.carry_out(frozen)
        DoubtSearch.objects.create(dataset=frozen, source="a model of the words alone", **fields)
    search = frozen.doubt_searches.get()
    for rank, item in enumerate(frozen.items.exclude(split="holdout")[:5], start=1):
        search.doubts.create(rank=rank, item=item, suggested="bearish", chance=1 - rank / 10)
        if rank < 3:
            wrong = project.labels.first()
            over = {"closed": timezone.now(), "was_state": "settled", "label": wrong, "answers": 1} if rank == 1 else {}
            Disagreement.objects.filter(post=item.post, closed=None).delete()
            Disagreement.objects.create(project=project, post=item.post, why="doubt", stream=3, **over)
    return {f"{name} dataset": {"slug": project.slug, "name": name} for name in states}


def make_runs(project: Project) -> dict[str, dict[str, Any]]:
    """In every state that looks different, with curves where there are any."""
    far = {"step": 3, "steps": 9, "latest": {"loss": 0.5, "epoch": 1, "memory": 2**30, "samples_per_second": 9.5}}
    soon = timezone.now()
    states: dict[str, dict[str, Any]] = {
        "queued": {},
        "running": far | {"heartbeat": soon, "started": timezone.now(), "doing": "training"},
        "interrupted": far | {"error": "The process ended without a word. Look at the log, then resume it."},
        "failed": far | {"error": "The card's memory was too small. Try a batch of 1."},
        "done": far | {"scores": {"macro_f1": 0.5, "step": 3}, "receipt": {"model": "tiny", "papers": ["LoRA"]}},
    }
    config = training_presets.named("tiny").configured().as_json()
    made = {}
    for state, fields in states.items():
        run = Run.objects.create(
            project=project, dataset=project.datasets.get(name="v2"), recipe="tiny", config=config | {"lr": 0.1},
            state=state, **fields,
        )  # fmt: skip
        for step in range(1, 1 + fields.get("step", 0)):
            RunPoint.objects.create(
                run=run, kind="step", step=step, told={"loss": 1 / step, "lr": 0.1, "memory": 2**30}
            )
            RunPoint.objects.create(run=run, kind="evaluation", step=step, told={"macro_f1": 0.1, "accuracy": 0.2})
        made[f"{state} run"] = {"slug": project.slug, "pk": run.pk}
    return made


def make_questions(project: Project, admin: User) -> dict[str, dict[str, Any]]:
    """One that waits, and one that was answered, with its nearest posts; one run could not be asked."""
    done, failed = (project.runs.filter(state=state, study=None).earliest("pk") for state in ("done", "failed"))
    made = {}
    for name in ("asked", "answered"):
        batch = questions.ask(project, admin, [questions.post_of("to the moon")], [done, failed], by_page=True)
        made[f"{name} question"] = {"slug": project.slug, "batch": batch}
    nearest.find(batch)
    replies = Reply.objects.filter(question__batch=batch)
    replies.filter(run=done).update(state="answered", scores=[-1.0, -2.0, -3.0], ended=timezone.now())
    replies.filter(run=failed).update(state="failed", error="The result of run 4 is not in the storage.")
    return made


def make_studies(project: Project) -> dict[str, dict[str, Any]]:
    """Folds at work, held up and done, and a learning curve."""
    frozen = project.datasets.get(name="v2")
    config = training_presets.named("tiny").configured().as_json()
    figures = {name: {"value": 0.7, "low": 0.6, "high": 0.8} for name in ("macro_f1", "accuracy", "balanced_accuracy")}
    pooled = {"evaluation": 1, "posts": 90, **figures}
    over = {name: {"mean": 0.7, "deviation": 0.05} for name in figures}
    points = [{"evaluation": 1, "posts": posts, **figures} for posts in (10, 50, 100)]
    words = "More posts still help: macro F1 is higher by 4 points (95%: 1 to 7)."
    folds, shares = [{"fold": n, "of": 2} for n in (1, 2)], [{"share": share} for share in (0.1, 0.5, 1)]
    told: dict[str, dict[str, Any]] = {
        "running": {"parts": folds}, "failed": {"parts": folds, "error": "Part 2 of 2 (run 9) failed. The card fell."},
        "done": {"parts": folds, "measured": {"pooled": pooled, "over_folds": over}},
        "curve": {"parts": shares, "state": "done", "kind": "curve",
                  "measured": {"holdout": {"asked": 40, "points": points, "words": words}}},
    }  # fmt: skip
    made = {}
    for name, fields in told.items():
        study = Study.objects.create(
            **{"project": project, "dataset": frozen, "config": config, "kind": "folds", "state": name,
               "recipe": "tiny", **fields,
               "posts": [{"learnt": 60, "validation": 9, "asked": 30}] * len(fields["parts"])}
        )  # fmt: skip
        run = Run.objects.create(project=project, dataset=frozen, config=config, study=study, part=study.parts[0],
                                 state="done", started=timezone.now(), ended=timezone.now())  # fmt: skip
        run.evaluations.create(
            project=project, dataset=frozen, split="fold" if study.of_folds else "holdout", name=f"Run {run.pk}",
            predictor={"kind": "run", "run": run.pk}, key=name, study=study, state="done", test_hash=name,
            measured={"figures": figures, "asked": 30, "of": 30},
        )  # fmt: skip
        made[f"{name} study"] = {"slug": project.slug, "pk": study.pk}
    return made


def make_servings(project: Project) -> dict[str, dict[str, Any]]:
    """One written out and checked, and one that is being written."""
    frozen = project.datasets.get(name="v2")
    config = training_presets.named("tiny").configured().as_json()
    run = Run.objects.create(project=project, dataset=frozen, config=config, state="done", started=timezone.now(),
                             ended=timezone.now())  # fmt: skip
    predictor: dict[str, object] = {"kind": "run", "run": run.pk}
    against = run.evaluations.create(
        project=project, dataset=frozen, split="holdout", name=f"Run {run.pk}", predictor=predictor,
        key=Evaluation.key_of(predictor, "both"), state="done", test_hash="served",
        measured=project.evaluations.exclude(measured={}).first().measured,
    )  # fmt: skip
    told = {
        "title": "Qwen2.5-VL", "by_chat": True, "takes_system": True, "template_kwargs": {}, "signs": [], "pixels": {},
        "answer_tokens": 4, "context": 4096, "min_pixels": 3136, "max_pixels": 3136, "template": "", "bytes": 10**9,
        "weights": "4 bits, the language model alone", "libraries": {}, "loader": "AutoModelForImageTextToText",
    }  # fmt: skip
    plain = {"project": project, "run": run}
    served = Serving.objects.create(**plain, form="4bit", state="done", told=told, machine=this_machine())
    now = timezone.now()
    Serving.objects.create(
        **plain, form="merged", state="running", heartbeat=now, doing="writing the weights", total=10**9, done=10**8
    )
    Serving.objects.create(**plain, form="8bit", state="failed", error="It takes 16.6 GB, and 3 GB are free.")
    row = {"id": "p1", "before": "bullish", "after": "", "truth": "neutral", "content": "moon", "refused": "",
           "sure_before": 0.7, "sure_after": None}  # fmt: skip
    figure = {"value": 0.7, "low": 0.6, "high": 0.8}
    figures = {"n": 40, "same": 39, "low": 0.87, "high": 1.0, "bar": [0.9, 0.1], "agrees": True, "known": 39,
               "own_alone": 1, "mean": 0.01, "largest": 0.2, "no_label": 1, "refused": 1, "why_refused": "too long",
               "before": figure, "after": figure, "differ": [row], "furthest": row | {"apart": 0.2}}  # fmt: skip
    about = {"serving": served, "split": "holdout", "against": against, "model": "run-9", "url": "http://localhost/v1"}
    for way in ("folder", "server"):
        ServedCheck.objects.create(**about, way=way, state="done", told=figures)
    return {"served run": {"slug": project.slug, "pk": run.pk}}


def make_cascades(project: Project) -> dict[str, dict[str, Any]]:
    """One that is used at a point, one whose stages have not answered, and one that failed."""
    frozen, voter = project.datasets.get(name="v2"), project.voters.get(name="gpt")
    second = project.runs.filter(state="done", study=None)[0]
    first = np.array([[0.5, 0.3, 0.2], [0.1, 0.8, 0.1], [0.2, 0.2, 0.6], [0.4, 0.3, 0.3]])
    truth, kin = np.array([1, 1, 2, 0]), np.arange(4)
    points = [point.as_json() for point in cascade.curve(first, np.log(first[:, ::-1]), truth, kin, 2)]
    fit = cascade.fit(first, np.log(first), truth, 2).as_json()
    used = {"of": 4, "never": points[0], "chosen": points[12], "always": points[-1]}
    told = {"fit": fit, "curve": points, "of": 5, "best": points[9]["threshold"], "margin": 0.005, "rare": ["bullish"],
            "seconds": [None, None], "named": 3.0, "elsewhere": {"test": used}}  # fmt: skip
    fitted = {"state": "done", "weight": 1.0, "temperature": 1.0, "threshold": points[12]["threshold"], "told": told,
              "chosen": timezone.now(), "fitted_on": 4}  # fmt: skip
    states: dict[str, dict[str, Any]] = {
        "fitted": fitted, "lacking": {"state": "lacking"},
        "failed": {"state": "failed", "error": "There is no post of the validation split that both have spoken of."},
    }  # fmt: skip
    parts = {"project": project, "dataset": frozen, "voter": voter, "second": second, "k": 2}
    made = {name: Cascade.objects.create(name=f"{name} cascade", **parts, **fields) for name, fields in states.items()}
    return {f"{name} cascade": {"slug": project.slug, "pk": one.pk} for name, one in made.items()}


def make_evaluations(project: Project) -> dict[str, dict[str, Any]]:
    """Two that are measured, and one in every state that looks different."""
    known = make_post(project, "known from elsewhere", "bullish", label_source="import", holdout=True)
    vote = make_vote(known, "gpt", "bearish", confidence=0.7)
    frozen = dataset.ask(project, None, "v3", Recipe(), queue=False)
    dataset.carry_out(frozen)
    frozen.refresh_from_db()
    for predictor in (Predictor("voter", voter=vote.voter_id), Predictor("majority")):
        done = evaluating.ask(project, None, frozen, "holdout", predictor, queue=False)
        evaluating.carry_out(done)
        assert done.state == "done", done.error
    soon = timezone.now()
    far = {"total": 9, "done": 3, "started": timezone.now(), "heartbeat": soon, "doing": "asking"}
    states: dict[str, dict[str, Any]] = {
        "queued": {}, "running": far, "failed": {"error": "The card's memory is too small.", "total": 9, "done": 3},
    }  # fmt: skip
    made = {"done": done.pk}
    for state, fields in states.items():
        model = {"kind": "base", "model": state}
        made[state] = Evaluation.objects.create(
            project=project, dataset=frozen, split="holdout", predictor=model, name=f"{state} model", key=state,
            state=state, **fields,
        ).pk  # fmt: skip
    return {f"{state} evaluation": {"slug": project.slug, "pk": pk} for state, pk in made.items()}


def make_prelabellings(project: Project) -> dict[str, dict[str, Any]]:
    """One that waits for a word, with a conflict; one that has settled; and one in every other state."""
    run = project.runs.filter(state="done", study=None)[0]
    checked = [["bullish", 0.97, True]] * 30 + [["neutral", 0.8, False]] * 4
    made = {}
    for name, posts in (("settled", {"state": "waiting"}), ("asked", {})):
        one = room.ask(project, None, run, posts, queue=False, growth=0, audit_rate=1)
        told = [Said(make_post(project, f"{name} {n}").pk, "bullish", 0.99 - n / 9, {"bullish": 0.6, "neutral": 0.4})
                for n in range(4)]  # fmt: skip
        contradicted = make_post(project, f"{name} otherwise", "neutral", label_source="review")
        model_labels.cast(one.voter, [*told, Said(contradicted.pk, "bullish", 0.95, {"bullish": 0.95})])
        PreLabelling.objects.filter(pk=one.pk).update(
            state="done", total=5, done=5, temperature=1.3, validation=checked, meaning=candidates.count(one)
        )
        made[name] = one
    room.apply(made["settled"], None, queue=False)
    assert room.carry_out(made["settled"])
    soon = timezone.now()
    far: dict[str, Any] = {"total": 90, "done": 30, "started": timezone.now(), "heartbeat": soon, "used": {"rate": 4.2}}
    states: dict[str, dict[str, Any]] = {"running": far, "failed": {"error": "The card's memory is too small."}}
    for state, fields in states.items():
        made[state] = PreLabelling.objects.create(project=project, run=run, voter=one.voter, state=state, **fields)
    return {f"{name} pre-labelling": {"slug": project.slug, "pk": one.pk} for name, one in made.items()}


def make_rounds(project: Project) -> dict[str, dict[str, Any]]:
    """Two that are over, and in projects of their own, because only one is open at a time, the others."""
    asked, settled = (PreLabelling.objects.get(project=project, goal=goal, state="done") for goal in ("ask", "apply"))
    evaluation = project.evaluations.done().first()
    figure = {"value": 0.06, "low": 0.02, "high": 0.11}
    told = {"labels": {"review": 40, "consensus": 90, "model": 30}, "wrong": figure, "macro_f1": figure, "settled": 30,
            "money": 0.12, "machine_hours": 0.6, "people_hours": 0.2}  # fmt: skip
    steps = {"dataset": settled.run.dataset, "run": settled.run, "evaluation": evaluation, "prelabelling": settled}
    over = {"told": told, "ended": timezone.now(), "why": "4% of its labels are wrong.", "plan": {}, **steps}
    made = {}
    for number, state in enumerate(("kept", "rolled back"), 1):
        made[f"{state} round"] = Round.objects.create(project=project, number=number, state=state, **over)
    first = {"number": 1, "plan": {}}
    states: dict[str, dict[str, Any]] = {
        "round at work": {"state": "running", "dataset": settled.run.dataset, "run": settled.run},
        "round that waits for a word": {"state": "waiting", "needs": "word", **steps, "prelabelling": asked},
        "round that waits for answers": {"state": "waiting", "needs": "review", **steps},
        "round that waits for a verdict": {"state": "waiting", "needs": "verdict", "why": "9% are wrong.", **steps},
        "round held up": {"state": "held up", "why": "Run 3 failed. The card's memory is too small."},
    }  # fmt: skip
    for name, fields in states.items():
        made[name] = Round.objects.create(project=make_project(name), **first, **fields)
    there = {name: {"slug": one.project.slug, "number": one.number} for name, one in made.items()}
    return there | {"project with a round": {"slug": made["round at work"].project.slug}}


def make_imports(project: Project, admin: User) -> dict[str, ImportRun]:
    path = default_storage.save("uploads/posts.csv", ContentFile(b"id,text,label\n1,gm,bullish\n2,ngmi,bearish\n"))
    figures = {
        "draft": {},
        "running": {"total": 900, "imported": 300, "already": 5},
        "done": {"total": 900, "imported": 890, "already": 4, "refused": 6, "votes": 1700},
        "failed": {"error": "The file ends in the middle of a row.", "imported": 12},
    }
    return {state: make_import(project, admin, path, state, numbers) for state, numbers in figures.items()}


def make_import(project: Project, by: User, path: str, state: str, figures: dict[str, Any]) -> ImportRun:
    times = {} if state == "draft" else {"started": timezone.now(), "heartbeat": timezone.now()}
    if state in {"done", "failed"}:
        times["ended"] = timezone.now()
    return ImportRun.objects.create(
        project=project, by=by, name="posts.csv", path=path, state=state, **times, **figures
    )


@pytest.mark.parametrize("who", dict.fromkeys(who for _, _, who in PAGES))
def test_everybody_can_read_it(page, login, people, things, axe, subtests, who):
    """WCAG 1.4.10, too: at 320 pixels nobody scrolls sideways to read a line."""
    if user := people[who]:
        login(page, user)
    for name, thing in [(name, thing) for name, thing, looks in PAGES if looks == who]:
        address = reverse(name, kwargs=things[thing])
        with subtests.test(f"{name} {thing}"):
            page.set_viewport_size(PHONE)
            page.goto(address)
            spilt = page.evaluate(WHAT_SPILLS_OVER)
            assert not spilt, "Wider than the screen:\n" + "\n".join(spilt)
        with subtests.test(f"{name} {thing}"):
            page.set_viewport_size(DESK)
            assert page.goto(address).status == 200
            axe(page)


def test_everybody_can_read_why_they_are_turned_away(page, login, people, axe, complaints, subtests):
    login(page, people["reviewer"])
    for address, status in TURNED_AWAY.items():
        with subtests.test(address):
            answer = page.goto(address)
            assert answer.status == status
            axe(page)
    complaints.clear()  # the browser itself reports the status


def test_every_address_is_listed():
    listed = {name for name, _, _ in PAGES} | NO_PAGE
    assert listed == set(addresses(get_resolver()))


def addresses(resolver: URLResolver, namespace: str = "") -> Iterator[str]:
    for entry in resolver.url_patterns:
        if isinstance(entry, URLPattern) and entry.name:
            yield f"{namespace}{entry.name}"
        elif isinstance(entry, URLResolver) and entry.namespace not in NOT_OURS:
            yield from addresses(entry, f"{namespace}{entry.namespace}:" if entry.namespace else namespace)
