import pytest
from django.contrib import admin
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from annotate.admin import FirstPages
from annotate.models import (
    ApiToken,
    Delivery,
    Disagreement,
    Event,
    Holding,
    Image,
    ImportRun,
    Invitation,
    Label,
    LabelStudioAnnotation,
    LabelStudioPerson,
    LabelStudioProject,
    LabelStudioRun,
    LabelStudioTask,
    Membership,
    Place,
    Post,
    Project,
    QueueTally,
    Removal,
    Review,
    Role,
    Tally,
    Targeting,
    Template,
    User,
    Vote,
    Voter,
    VoteTally,
    Webhook,
)
from labeling.models import Batch, Failure, Part, Replacement, VotingRun, Wording
from modeling.models import (
    Card,
    Cascade,
    Comparison,
    Dataset,
    DatasetItem,
    Doubt,
    DoubtSearch,
    Evaluation,
    Prediction,
    PreLabel,
    PreLabelling,
    Preview,
    Round,
    Run,
    RunPoint,
    ServedCheck,
    Serving,
    Study,
)

from .make import make_label, make_member, make_post, make_project, make_user, make_vote, make_webhook, numbers

pytestmark = pytest.mark.django_db
OURS = [model for model in admin.site._registry if model._meta.app_label in {"annotate", "labeling", "modeling"}]


def make_one_of_each():
    """Every row with keys of its own, so that a query a row cannot hide behind one that was asked already."""
    number = next(numbers)
    project = make_project()
    member = make_member(project)
    image = Image.objects.create(sha256=f"{number:064x}", format="png", width=1, height=1, bytes=1, fingerprint=number)
    run = ImportRun.objects.create(project=project, by=member, name="posts.csv")
    template = Template.objects.create(project=project, size=2)
    post = make_post(project, label="bullish", image=image, template=template, import_run=run)
    vote = make_vote(post, f"gpt {number}", "bullish")
    part = Part.objects.create(run=VotingRun.objects.create(project=project, by=member), voter=vote.voter)
    Failure.objects.create(part=part, post=post, cause="too many requests")
    Batch.objects.create(part=part, number=1, wording=Wording.objects.create(part=part, hash="0" * 64, text="Is it?"))
    Replacement.objects.create(voter=Voter.imported(project, f"old {number}"), heir=vote.voter)
    waiting = Disagreement.objects.create(project=project, post=post, why="split", holder=member)
    Review.objects.create(project=project, disagreement=waiting, reviewer=member, key="one", label=post.label)
    Targeting.objects.create(project=project, by=member, posts=1, expected=0.5, low=0, high=1, method="by confidence")
    frozen = Dataset.objects.create(project=project, by=member, name="v1")
    DatasetItem.objects.create(dataset=frozen, position=1, post=post, external_id="1", at=post.at, kin=1)
    Preview.objects.create(project=project, key="0", recipe={})
    search = DoubtSearch.objects.create(dataset=frozen, by=member, source="a model of the words alone")
    Doubt.objects.create(search=search, rank=1, item=frozen.items.get(), suggested="bearish", chance=0.9)
    Card.objects.create(name=f"card {number}", gigabytes=24, teraflops=100)
    training = Run.objects.create(project=project, dataset=frozen, by=member, config={"model": "tiny"})
    RunPoint.objects.create(run=training, kind="step", step=1, told={"loss": 1})
    Study.objects.create(project=project, dataset=frozen, by=member, kind="folds", config={"model": "tiny"}, parts=[])
    asked = {"project": project, "dataset": frozen, "split": "test", "predictor": {"kind": "voter"}, "by": member}
    one, other = (Evaluation.objects.create(name=name, key=name, **asked) for name in ("gpt", "gemini"))
    Prediction.objects.create(evaluation=one, item=frozen.items.get(), label="bullish")
    Comparison.objects.create(first=one, second=other, told={})
    written = Serving.objects.create(project=project, run=training, form="merged", by=member)
    ServedCheck.objects.create(serving=written, way="server", split="test", by=member)
    settled = PreLabelling.objects.create(project=project, run=training, voter=vote.voter, by=member)
    PreLabel.objects.create(prelabelling=settled, post=post, label=post.label, chance=0.9)
    steps = {"dataset": frozen, "run": training, "evaluation": one, "prelabelling": settled}
    Round.objects.create(project=project, number=1, plan={}, by=member, **steps)
    Cascade.objects.create(
        project=project, name="two stages", dataset=frozen, voter=vote.voter, second=training, k=2, by=member
    )
    Removal.objects.create(project=project, post_id=number, by=member, reason="asked", id_hash="0", content_hash="0")
    link = LabelStudioProject.objects.create(project=project, address="https://studio.example.org", number=number)
    task = LabelStudioTask.objects.create(link=link, number=number, disagreement=waiting)
    person = LabelStudioPerson.objects.create(project=project, address=link.address, number=1, user=member)
    LabelStudioAnnotation.objects.create(task=task, number=1, person=person, outcome="applied")
    LabelStudioRun.objects.create(project=project, by=member, way="push")
    Invitation.issue(project, Role.LEAD, member)
    ApiToken.issue(member, "laptop")
    Event.record("joined", user=member, project=project)
    place = Place.objects.create(key=f"{number:016x}", machine="gpu-1")
    Holding.objects.create(place=place, project=project, what="Folders of runs", bytes=1)
    Delivery.objects.create(webhook=make_webhook(project, by=member), kind="webhook.test", body="{}")


@pytest.fixture
def site_admin(client):
    user = make_user("root", is_superuser=True, is_staff=True)
    client.force_login(user)
    return user


def queries_of(client, address):
    assert client.get(address).status_code == 200, address  # the first visit also fills Django's cache of its models
    with CaptureQueriesContext(connection) as asked:
        client.get(address)
    return len(asked)


def address_of(model, kind, *args):
    return reverse(f"admin:{model._meta.app_label}_{model._meta.model_name}_{kind}", args=args)


def test_every_model_has_a_page():
    ours = {ApiToken, Disagreement, Event, Holding, Place, Image,
            ImportRun, Invitation, Label, Membership, Post, Project,
            LabelStudioAnnotation, LabelStudioPerson, LabelStudioProject, LabelStudioRun, LabelStudioTask,
            QueueTally, Removal, Review, Tally, Targeting, Template, User, Vote, Voter, VoteTally, VotingRun, Part,
            Failure, Batch, Wording, Replacement, Dataset, DatasetItem, Preview, Run, RunPoint, Card,
            Doubt, DoubtSearch, Evaluation, Prediction, Comparison, PreLabel,
            PreLabelling, Study, Round, Serving, ServedCheck, Cascade, Webhook, Delivery}  # fmt: skip
    assert set(OURS) == ours


@pytest.mark.parametrize("model", OURS, ids=lambda model: model.__name__)
def test_a_page_asks_as_much_of_the_database_for_twelve_rows_as_for_two(client, site_admin, model):
    costs = []
    for count in 2, 10:
        for _ in range(count):
            make_one_of_each()
        row = model.objects.latest("pk")
        pages = [address_of(model, "changelist"), address_of(model, "change", row.pk)]
        costs.append([queries_of(client, page) for page in pages])
    assert costs[0] == costs[1]


@pytest.mark.parametrize("model", OURS, ids=lambda model: model.__name__)
def test_every_search_and_filter_works(client, site_admin, model):
    make_one_of_each()
    site = admin.site.get_model_admin(model)
    queries = [f"?q={words}" for words in ("1", "gm", "two words") if site.search_fields]
    queries += [f"?{name}__exact=1" for name in site.list_filter if not model._meta.get_field(name).is_relation]
    for query in queries:
        assert client.get(address_of(model, "changelist") + query).status_code == 200, query


def test_posts_are_found_by_their_words_and_by_their_name_elsewhere(client, site_admin):
    make_post(make_project(), "the moon is near", external_id="t3_abc")
    make_post(make_project(), "nothing of the kind", external_id="t3_def")
    for words in "moons", "t3_abc":
        page = client.get(reverse("admin:annotate_post_changelist"), {"q": words})
        assert [post.external_id for post in page.context["cl"].result_list] == ["t3_abc"]


def test_nobody_writes_in_the_event_log(client, site_admin):
    Event.record("joined", user=site_admin)
    page = reverse("admin:annotate_event_change", args=[Event.objects.get().pk])
    assert client.post(page, {"verb": "left"}).status_code == 403
    for name in "add", "delete":
        args = [] if name == "add" else [Event.objects.get().pk]
        assert client.get(reverse(f"admin:annotate_event_{name}", args=args)).status_code == 403


def test_a_list_is_counted_only_so_far(monkeypatch):
    monkeypatch.setattr("annotate.admin.COUNT_AT_MOST", 3)
    for _ in range(5):
        make_label(make_project(labels=()), "x")
    assert FirstPages(Label.objects.all(), 2).count == 3


@pytest.mark.parametrize("flags", [{}, {"is_staff": True}, {"is_superuser": True}])
def test_only_site_admins_get_in(client, flags):
    client.force_login(make_user(**flags))
    assert client.get(reverse("admin:index"), follow=True).status_code == 403


def test_it_uses_the_login_page_of_the_site(client):
    asked = client.get(reverse("admin:index"), follow=True)
    assert asked.request["PATH_INFO"] == reverse("login")
    assert asked.request["QUERY_STRING"] == "next=%2Fadmin%2F"
