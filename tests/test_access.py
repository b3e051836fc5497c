"""Every address against every kind of person. An address that is not in the table below fails the test."""

import io

import pytest
from django.core.files.base import ContentFile
from django.core.files.storage import default_storage
from django.db import transaction
from django.test import Client
from django.urls import get_resolver, reverse
from PIL import Image as Picture

from annotate import images
from annotate.importing import doors
from annotate.models import Delivery, Disagreement, Image, Invitation, LabelStudioRun, Review, Role, Targeting, Template
from labeling import runs, voters
from labeling.voters import Makeup
from modeling.answering import questions
from modeling.datasets import dataset
from modeling.datasets.recipe import Recipe
from modeling.evaluation import evaluating
from modeling.evaluation.predictors import Predictor
from modeling.models import Cascade, PreLabelling, Round, Run, ServedCheck, Serving, Study

from .make import make_member, make_post, make_project, make_user, make_webhook

PEOPLE = ("nobody", "stranger", "reviewer", "lead", "admin", "root")

# For each of the PEOPLE a status, or `login` where they are sent to that page.
TABLE = """
GET  home                login  302  302  302  302  200
GET  project_new         login  403  403  403  403  200
POST project_new         login  403  403  403  403  422

GET  login                 200  302  302  302  302  302
POST login                 422  302  302  302  302  302
POST logout                302  302  302  302  302  302
GET  login_once            410  410  410  410  410  410
GET  invited               200  200  200  200  200  200
POST invited               422  302  302  200  200  200
GET  account             login  200  200  200  200  200
POST account             login  302  302  302  302  302
GET  password            login  302  302  302  302  302
POST password            login  422  422  422  422  422
GET  token_new           login  302  302  302  302  302
POST token_new           login  422  422  422  422  422
GET  review_keys         login  302  302  302  302  302
POST review_keys         login  302  302  302  302  302
POST token_revoke        login  404  404  404  404  404

GET  healthz               200  200  200  200  200  200
GET  readyz                503  503  503  503  503  503
GET  metrics               404  404  404  404  404  200

GET  people              login  404  403  403  200  200
GET  invite              login  404  403  403  302  302
POST invite              login  404  403  403  422  422
POST invitation_revoke   login  404  403  403  302  302
POST role_change         login  404  403  403  400  400
POST member_remove       login  404  403  403  302  302

GET  project             login  404  200  200  200  200
GET  settings            login  404  403  403  200  200
POST settings            login  404  403  403  422  422
GET  guidelines          login  404  200  200  200  200
GET  label_colours       login  404  200  200  200  200

GET  posts               login  404  200  200  200  200
GET  post                login  404  200  200  200  200
GET  post_remove         login  404  403  403  200  200
POST post_remove         login  404  403  403  422  422
GET  removals            login  404  403  403  200  200
GET  templates           login  404  200  200  200  200
GET  agreement           login  404  200  200  200  200
POST template_name       login  404  403  302  302  302
GET  image               login  404  200  200  200  200
GET  thumb               login  404  200  200  200  200

GET  review              login  404  200  200  200  200
POST review              login  404  422  422  422  422
POST review_decide       login  404  422  422  422  422
POST review_undo         login  404  422  422  422  422
POST review_votes        login  404  422  422  422  422
POST review_renew        login  404  422  422  422  422
POST review_fill         login  404  422  422  422  422
POST review_release      login  404  204  204  204  204
GET  quality             login  404  403  200  200  200
GET  quality_headline    login  404  403  200  200  200
GET  quality_decided     login  404  403  200  200  200
GET  quality_machines    login  404  403  200  200  200
GET  quality_riskiest    login  404  403  200  200  200
POST quality_riskiest    login  404  403  422  422  422
GET  quality_targeting   login  404  403  200  200  200
POST quality_ask         login  404  403  302  302  302
POST quality_discard     login  404  403  302  302  302
GET  reviewers           login  404  403  200  200  200
GET  reviewer            login  404  403  200  200  200
GET  reviewer_me         login  404  200  200  200  200

GET  imports             login  404  403  403  200  200
GET  import_new          login  404  403  403  200  200
POST import_new          login  404  403  403  422  422
GET  import              login  404  403  403  200  200
POST import_start        login  404  403  403  422  422
GET  import_progress     login  404  403  403  200  200
POST import_stop         login  404  403  403  302  302
GET  import_report       login  404  403  403  200  200

GET  label_studio        login  404  403  200  200  200
POST label_studio_push   login  404  403  403  302  302
POST label_studio_pull   login  404  403  403  302  302
POST label_studio_people login  404  403  403  302  302
POST label_studio_anew   login  404  403  403  302  302
GET  label_studio_progress login 404 403 200  200  200
POST label_studio_stop   login  404  403  403  302  302

GET  votes               login  404  200  200  200  200
GET  voter_new           login  404  403  403  200  200
POST voter_new           login  404  403  403  422  422
GET  voter               login  404  200  200  200  200
GET  voter_edit          login  404  403  403  200  200
POST voter_edit          login  404  403  403  422  422
POST voter_return        login  404  403  403  302  302
GET  voter_request       login  404  200  200  200  200
GET  voting_new          login  404  403  403  200  200
POST voting_new          login  404  403  403  422  422
GET  voting_run          login  404  200  200  200  200
GET  voting_progress     login  404  200  200  200  200
POST voting_pause        login  404  403  403  302  302
POST voting_resume       login  404  403  403  302  302
POST voting_cancel       login  404  403  403  302  302
POST voting_retry        login  404  403  403  302  302

GET  datasets            login  404  403  200  200  200
GET  dataset_new         login  404  403  200  200  200
POST dataset_new         login  404  403  403  422  422
GET  dataset_preview     login  404  403  200  200  200
GET  dataset             login  404  403  200  200  200
GET  dataset_progress    login  404  403  200  200  200
POST dataset_stop        login  404  403  403  302  302
POST dataset_again       login  404  403  403  302  302
GET  dataset_posts       login  404  403  200  200  200
GET  dataset_compare     login  404  403  200  200  200
GET  dataset_card        login  404  403  200  200  200
GET  dataset_download    login  404  403  403  302  302
GET  dataset_doubts      login  404  403  200  200  200
POST dataset_doubts      login  404  403  302  302  302
POST dataset_doubts_send login  404  403  302  302  302
POST dataset_doubts_stop login  404  403  302  302  302

GET  runs                login  404  403  200  200  200
GET  run_new             login  404  403  200  200  200
POST run_new             login  404  403  403  422  422
GET  run_preview         login  404  403  200  200  200
GET  run_compare         login  404  403  200  200  200
GET  run                 login  404  403  200  200  200
GET  run_progress        login  404  403  200  200  200
GET  run_points          login  404  403  200  200  200
GET  run_machine         login  404  403  200  200  200
POST run_stop            login  404  403  403  302  302
POST run_resume          login  404  403  403  302  302
GET  run_receipt         login  404  403  200  200  200
GET  run_bundle          login  404  403  403  200  200
POST run_result          login  404  403  403  302  302
GET  run_modules         login  404  403  404  404  404

GET  studies             login  404  403  200  200  200
GET  study_new           login  404  403  200  200  200
POST study_new           login  404  403  403  422  422
GET  study_preview       login  404  403  200  200  200
GET  study               login  404  403  200  200  200
GET  study_progress      login  404  403  200  200  200
POST study_stop          login  404  403  403  302  302
POST study_resume        login  404  403  403  302  302
POST study_doubts        login  404  403  302  302  302

GET  cascades            login  404  403  200  200  200
GET  cascade_new         login  404  403  200  200  200
POST cascade_new         login  404  403  403  422  422
GET  cascade             login  404  403  200  200  200
GET  cascade_progress    login  404  403  200  200  200
POST cascade_use         login  404  403  403  302  302
POST cascade_again       login  404  403  403  302  302
POST cascade_ask         login  404  403  403  302  302

GET  evaluations         login  404  403  200  200  200
GET  evaluations_export  login  404  403  200  200  200
GET  evaluation_new      login  404  403  200  200  200
POST evaluation_new      login  404  403  403  422  422
GET  evaluation_compare  login  404  403  200  200  200
GET  evaluation          login  404  403  200  200  200
GET  evaluation_export   login  404  403  200  200  200
GET  evaluation_progress login  404  403  200  200  200
POST evaluation_stop     login  404  403  403  302  302
POST evaluation_resume   login  404  403  403  302  302
POST evaluation_ways     login  404  403  403  302  302
GET  serving             login  404  403  200  200  200
POST serving             login  404  403  403  422  422
GET  serving_progress    login  404  403  404  404  404
POST serving_stop        login  404  403  403  302  302
POST serving_resume      login  404  403  403  302  302
POST serving_delete      login  404  403  403  302  302
POST serving_check       login  404  403  403  422  422
POST served_check_stop   login  404  403  403  302  302
POST served_check_resume login  404  403  403  302  302
GET  evaluation_posts    login  404  403  200  200  200
POST evaluation_doubt    login  404  403  302  302  302

GET  prelabellings       login  404  403  200  200  200
GET  prelabelling_new    login  404  403  200  200  200
POST prelabelling_new    login  404  403  403  422  422
GET  prelabelling_preview login 404 403  200  200  200
GET  prelabelling        login  404  403  200  200  200
GET  prelabelling_progress login 404 403 200  200  200
POST prelabelling_apply  login  404  403  403  302  302
POST prelabelling_take_back login 404 403 403 302  302
POST prelabelling_stop   login  404  403  403  302  302
POST prelabelling_resume login  404  403  403  302  302
GET  prelabelling_conflicts login 404 403 200 200  200
POST prelabelling_doubt  login  404  403  302  302  302
GET  rounds              login  404  403  200  200  200
GET  round_new           login  404  403  200  200  200
POST round_new           login  404  403  403  422  422
GET  round_preview       login  404  403  200  200  200
GET  round               login  404  403  200  200  200
GET  round_progress      login  404  403  200  200  200
POST round_settle        login  404  403  403  302  302
POST round_go_on         login  404  403  403  302  302
POST round_keep          login  404  403  302  302  302
POST round_roll_back     login  404  403  302  302  302
POST round_stop          login  404  403  403  302  302
POST round_resume        login  404  403  403  302  302

GET  playground          login  404  403  200  200  200
POST playground          login  404  403  422  422  422
GET  playground_question login  404  403  200  200  200

POST completions           401  401  401  401  401  401
GET  models                401  401  401  401  401  401
GET  model                 401  401  401  401  401  401

GET  api:api-root          404  404  404  404  404  404
GET  api:openapi-view    login  200  200  200  200  200
GET  api:openapi-json    login  200  200  200  200  200
GET  api:events            401  404  403  200  200  200
GET  api:webhooks          401  404  403  403  200  200
POST api:webhooks          401  400  400  400  400  400
DELETE api:webhook         401  404  403  403  204  204
GET  api:webhook_deliveries 401 404  403  403  200  200
POST api:webhook_test      401  404  403  403  202  202
GET  api:projects          401  200  200  200  200  200
GET  api:project           401  404  200  200  200  200
GET  api:posts             401  404  200  200  200  200
POST api:import_posts      401  404  403  403  202  202
GET  api:post              401  404  200  200  200  200
DELETE api:remove_post     401  404  403  403  422  422
GET  api:import_state      401  404  403  403  200  200
GET  api:image             401  404  200  200  200  200
GET  api:datasets          401  404  403  200  200  200
POST api:datasets          401  400  400  400  400  400
GET  api:dataset_preview   401  404  403  200  200  200
GET  api:dataset           401  404  403  200  200  200
GET  api:dataset_card      401  404  403  200  200  200
GET  api:dataset_download  401  404  403  403  422  422
GET  api:runs              401  404  403  200  200  200
POST api:runs              401  400  400  400  400  400
GET  api:run               401  404  403  200  200  200
GET  api:run_points        401  404  403  200  200  200
POST api:run_stop          401  404  403  403  202  202
POST api:run_resume        401  404  403  403  409  409
GET  api:studies           401  404  403  200  200  200
POST api:studies           401  400  400  400  400  400
GET  api:study             401  404  403  200  200  200
POST api:study_stop        401  404  403  403  202  202
POST api:study_resume      401  404  403  403  409  409
GET  api:cascades          401  404  403  200  200  200
POST api:cascades          401  400  400  400  400  400
GET  api:cascade           401  404  403  200  200  200
POST api:cascade_use       401  400  400  400  400  400
GET  api:evaluations       401  404  403  200  200  200
POST api:evaluations       401  400  400  400  400  400
GET  api:evaluation        401  404  403  200  200  200
GET  api:evaluation_predictions 401 404 403 200 200 200
POST api:evaluation_stop   401  404  403  403  409  409
POST api:evaluation_resume 401  404  403  403  409  409
GET  api:servings          401  404  403  200  200  200
POST api:servings          401  400  400  400  400  400
GET  api:serving           401  404  403  200  200  200
DELETE api:serving         401  404  403  403  409  409
POST api:serving_stop      401  404  403  403  409  409
POST api:serving_checks    401  400  400  400  400  400
GET  api:prelabellings     401  404  403  200  200  200
POST api:prelabellings     401  400  400  400  400  400
GET  api:prelabelling      401  404  403  200  200  200
POST api:prelabelling_apply 401 400  400  400  400  400
POST api:prelabelling_take_back 401 404 403 403 409 409
POST api:prelabelling_stop 401  404  403  403  409  409
POST api:prelabelling_resume 401 404 403  403  409  409
GET  api:rounds            401  404  403  200  200  200
POST api:rounds            401  400  400  400  400  400
GET  api:round             401  404  403  200  200  200
POST api:round_settle      401  400  400  400  400  400
POST api:round_go_on       401  404  403  403  409  409
POST api:round_keep        401  404  403  409  409  409
POST api:round_roll_back   401  404  403  202  202  202
POST api:round_stop        401  404  403  403  202  202
POST api:round_resume      401  404  403  403  409  409
POST api:classify          401  404  403  422  422  422
GET  api:answer            401  404  403  202  202  202
POST api:queue_next        401  400  400  400  400  400
POST api:queue_renew       401  400  400  400  400  400
POST api:queue_release     401  400  400  400  400  400
POST api:disagreement_votes 401 400  400  400  400  400
POST api:review            401  400  400  400  400  400
POST api:doubts            401  400  400  400  400  400
DELETE api:review          401  404  409  409  409  409

GET  events              login  404  403  200  200  200
GET  events_export       login  404  403  403  200  200
GET  site_events         login  403  403  403  403  200
GET  site_events_export  login  403  403  403  403  200
GET  storage             login  403  403  403  403  200
POST storage             login  403  403  403  403  302
GET  webhooks            login  404  403  403  200  200
POST webhooks            login  404  403  403  422  422
GET  webhook             login  404  403  403  200  200
POST webhook             login  404  403  403  422  422
GET  webhook_deliveries  login  404  403  403  200  200
POST webhook_again       login  404  403  403  302  302
POST webhook_test        login  404  403  403  302  302
POST webhook_pause       login  404  403  403  302  302
POST webhook_turn_on     login  404  403  403  302  302
POST webhook_secret      login  404  403  403  200  200
GET  webhook_delete      login  404  403  403  200  200
POST webhook_delete      login  404  403  403  302  302

GET  admin:index         login login login login login 200
GET  admin:login         login  403  403  403  403  302
"""

VOTER = ("voter", "voter_edit", "voter_return", "voter_request")
ANSWERS = ("api:review", "api:disagreement_votes")
RISKIEST = ("quality_targeting", "quality_ask", "quality_discard")
DATASET = [
    "dataset", *(f"dataset_{name}" for name in ("progress", "stop", "again", "posts", "compare", "card", "download")),
    *(f"dataset_doubts{name}" for name in ("", "_send", "_stop")),
    *(f"api:dataset{name}" for name in ("", "_card", "_download")),
]  # fmt: skip
TRAINING = [
    "run",
    *(
        f"run_{name}"
        for name in ("progress", "points", "machine", "stop", "resume", "receipt", "modules", "bundle", "result")
    ),
]
EVALUATION = [
    "evaluation",
    *(f"evaluation_{name}" for name in ("export", "progress", "stop", "resume", "ways", "posts", "doubt")),
]  # fmt: skip
CASCADE = ("cascade", *(f"cascade_{name}" for name in ("progress", "use", "again", "ask")))
STUDY = ("study", *(f"study_{name}" for name in ("progress", "stop", "resume", "doubts")))
PRELABELLING = [
    "prelabelling",
    *(f"prelabelling_{name}" for name in ("progress", "apply", "take_back", "stop", "resume", "conflicts", "doubt")),
]
SERVING = tuple(f"serving_{name}" for name in ("stop", "resume", "delete", "check"))
WEBHOOK = ("webhook", *(f"webhook_{name}" for name in (
    "deliveries", "again", "test", "pause", "turn_on", "secret", "delete")))  # fmt: skip
VOTING = ("voting_run", "voting_progress", "voting_pause", "voting_resume", "voting_cancel", "voting_retry")

ROWS = [line.split() for line in TABLE.splitlines() if line]


def patterns(resolver, namespace=""):
    for entry in resolver.url_patterns:
        if hasattr(entry, "url_patterns"):
            yield from patterns(entry, f"{namespace}{entry.namespace}:" if entry.namespace else namespace)
        else:
            yield f"{namespace}{entry.name}", entry.pattern


PATTERNS = list(patterns(get_resolver()))


@pytest.fixture
def world(db, settings, tmp_path):
    """One project with one of everything, and what the addresses need to name it."""
    settings.VAR_DIR = tmp_path
    project = make_project("Memes")
    boss = make_member(project, Role.ADMIN, "boss")
    image, template = picture(), Template.objects.create(project=project, size=2)
    run = doors.receive(project, boss, ContentFile(b"text\ngm\n", name="posts.csv"))
    run.report = default_storage.save("report.csv", ContentFile(b"row,why\n"))
    run.save()
    invitation, secret = Invitation.issue(project, Role.LEAD, boss)
    post = make_post(project, image=image, template=template)
    voter = voters.create(project, boss, Makeup.told("offline", "keywords", {}))
    waiting = Disagreement.objects.create(project=project, post=post, why="split")
    voting = runs.start(project, boss, [voter], queue=False)
    decided = Review.objects.create(project=project, disagreement=waiting, reviewer=boss, key="one", instead="skip")
    riskiest = Targeting.objects.create(project=project, by=boss, posts=1)
    make_post(project, label="bullish")
    make_post(project, "known from elsewhere", "bullish", label_source="import", holdout=True)
    frozen = dataset.ask(project, boss, "v1.0", Recipe(), queue=False)
    dataset.carry_out(frozen)
    frozen.refresh_from_db()
    training = Run.objects.create(project=project, dataset=frozen, config={"model": "tiny"}, receipt={"model": "tiny"})
    measured = evaluating.ask(project, boss, frozen, "holdout", Predictor("majority"), queue=False)
    evaluating.carry_out(measured)
    written = Serving.objects.create(project=project, run=training, form="merged", state="stopped")
    checked = ServedCheck.objects.create(serving=written, way="server", state="stopped", against=measured)
    study = Study.objects.create(project=project, dataset=frozen, kind="folds", config={"model": "tiny"},
                                 parts=[{"fold": 1, "of": 2}, {"fold": 2, "of": 2}])  # fmt: skip
    cascade = Cascade.objects.create(project=project, name="Two", dataset=frozen, voter=voter, second=training, k=2)
    asked = questions.ask(project, boss, [questions.post_of("gm")], [training], by_page=True)
    nothing: dict[str, object] = {"free": {}, "against": {}, "conflicts": {}, "known": {}, "labels": []}
    sure = PreLabelling.objects.create(project=project, run=training, voter=voter, state="done", meaning=nothing)
    Round.objects.create(project=project, number=1, plan={}, dataset=frozen, run=training, state="waiting")
    webhook = make_webhook(project)
    delivery = Delivery.objects.create(webhook=webhook, kind="webhook.test", body="{}", state="failed")
    pushing = LabelStudioRun.objects.create(project=project, by=boss, way="push")
    return {
        "people": {
            "stranger": make_member(make_project(), Role.ADMIN), "reviewer": make_member(project, Role.REVIEWER),
            "lead": make_member(project, Role.LEAD), "admin": make_member(project, Role.ADMIN),
            "root": make_user(is_superuser=True, is_staff=True),
        },
        "given": {
            "slug": project.slug, "uid": "1", "token": "spent", "secret": secret,
            "post_id": post.pk, "import_id": run.pk, "run_id": training.pk, "evaluation_id": measured.pk,
            "study_id": study.pk, "number": 1, "serving_id": written.pk, "prelabelling_id": sure.pk,
            "cascade_id": cascade.pk, "webhook_id": webhook.pk, "delivery": delivery.pk, "ending": "csv",
            "format": "json", "item": measured.predictions.get().item_id,
            "batch": asked, "answer_id": asked,
        },
        "pk": {
            "token_revoke": 1, "invitation_revoke": invitation.pk, "post": post.pk, "post_remove": post.pk,
            "template_name": template.pk,
            "reviewer": decided.reviewer_id,
            "role_change": boss.memberships.get().pk, "member_remove": boss.memberships.get().pk,
        } | dict.fromkeys(WEBHOOK, webhook.pk) | dict.fromkeys(ANSWERS, waiting.pk) | dict.fromkeys(VOTER, voter.pk)
        | dict.fromkeys(RISKIEST, riskiest.pk) | dict.fromkeys(VOTING, voting.pk) | dict.fromkeys(TRAINING, training.pk)
        | dict.fromkeys(("serving", "serving_progress"), training.pk) | dict.fromkeys(SERVING, written.pk)
        | dict.fromkeys(("served_check_stop", "served_check_resume"), checked.pk)
        | dict.fromkeys(EVALUATION, measured.pk) | dict.fromkeys(STUDY, study.pk) | dict.fromkeys(CASCADE, cascade.pk)
        | dict.fromkeys(PRELABELLING, sure.pk)
        | {"label_studio_progress": pushing.pk, "label_studio_stop": pushing.pk}
        | dict.fromkeys(("import", "import_start", "import_progress", "import_stop", "import_report"), run.pk),
        "name": {"image": image.file_name, "api:image": image.file_name, "thumb": f"{image.sha256}.webp"}
        | dict.fromkeys(DATASET, frozen.name),
    }  # fmt: skip


def picture():
    file = io.BytesIO()
    Picture.new("RGB", (40, 30), "teal").save(file, "png")
    seen = images.inspect(file.getvalue())
    images.store(seen)
    return Image.objects.create(
        sha256=seen.sha256, format=seen.format, width=seen.width, height=seen.height,
        bytes=len(seen.data), fingerprint=seen.fingerprint,
    )  # fmt: skip


def address_of(name, world):
    pattern = next(pattern for known, pattern in PATTERNS if known == name)
    given = world["given"] | {kind: world[kind].get(name) for kind in ("pk", "name")}
    return reverse(name, kwargs={key: given[key] for key in pattern.regex.groupindex})


def status_for(person, world, method, address):
    """As if it had never been asked: whatever the request changed is rolled back."""
    client = Client(raise_request_exception=False)
    with transaction.atomic():
        if person != "nobody":
            client.force_login(world["people"][person])
        response = client.generic(method, address, "sent=1", "application/x-www-form-urlencoded")
        transaction.set_rollback(True)
    asks = response.status_code == 302 and response.url.startswith((reverse("login") + "?", reverse("admin:login")))
    return "login" if asks else str(response.status_code)


@pytest.mark.parametrize(("method", "name", "expected"), [(row[0], row[1], row[2:]) for row in ROWS])
def test_an_address_answers_each_person_as_the_table_says(world, method, name, expected):
    address = address_of(name, world)
    answers = {person: status_for(person, world, method, address) for person in PEOPLE}
    assert answers == dict(zip(PEOPLE, expected, strict=True))


def test_every_address_is_in_the_table():
    known = {name for _, name, *_ in ROWS}
    asked = {name for name, _ in PATTERNS if not name.startswith("admin:")}
    assert asked - known == set()
    assert known - asked == {"admin:index", "admin:login"}


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_a_page_does_only_what_the_table_says(world, method):
    rows = {(row[0], row[1]) for row in ROWS}
    silent = [name for name, _ in PATTERNS if ":" not in name and (method, name) not in rows]
    answers = {name: status_for("root", world, method, address_of(name, world)) for name in silent}
    assert set(answers.values()) == {"405"}, answers


@pytest.mark.parametrize("person", ["nobody", "admin"])
def test_no_page_of_the_site_administration_is_open_to_others(world, person):
    entrances = {"admin:login", "admin:logout", "admin:None"}
    for name, pattern in PATTERNS:
        if name.startswith("admin:") and name not in entrances:
            keys = {key: "annotate" if key == "app_label" else "1" for key in pattern.regex.groupindex}
            assert status_for(person, world, "GET", reverse(name, kwargs=keys)) == "login", name
