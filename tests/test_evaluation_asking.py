"""The form by which predictors are asked: one press queues all of it, or nothing."""

from typing import Any

import pytest

from annotate.models import Role
from modeling.models import Evaluation, On, Run, RunState, Study, StudyKind

from .make import make_member, make_vote
from .test_evaluating import frozen, make_known
from .test_evaluating import var as var
from .test_evaluation_pages import HERE, page, queries_of
from .test_run_pages import logged_in, words_of

pytestmark = pytest.mark.django_db


@pytest.fixture
def project():
    return make_known()


@pytest.fixture
def dataset(project):
    return frozen(project)


@pytest.fixture
def client(project):
    return logged_in(make_member(project, Role.ADMIN, "ada"))


@pytest.fixture
def lead(project):
    return logged_in(make_member(project, Role.LEAD, "lea"))


class TestAsking:
    def ask(self, client, **data: Any):
        return client.post(f"{HERE}/new", {"on": "v1:holdout", "sees": ["both"], "bits": "0", "shots": "0"} | data)

    def test_one_press_queues_all(self, client, dataset):
        answer = self.ask(client, predictor=["majority", "text-cv"], model="tiny", sees=["both", "text"])
        assert answer.url == HERE
        asked = Evaluation.objects.order_by("pk").values_list("predictor__kind", "sees")
        assert list(asked) == [("majority", "both"), ("text-cv", "both"), ("base", "both"), ("base", "text")]
        assert set(Evaluation.objects.values_list("state", flat=True)) == {"queued"}

    def test_one_alone_leads_to_its_page(self, client, dataset):
        assert self.ask(client, predictor=["majority"]).url == f"{HERE}/{Evaluation.objects.get().pk}"

    @pytest.mark.parametrize(("data", "sentence"), [
        ({}, "Tick somebody to ask"), ({"predictor": ["nobody"]}, "“nobody” is not offered here"),
        ({"predictor": ["majority"], "on": "v9:holdout"}, "No frozen dataset has such posts"),
        ({"model": "a model"}, "Write a name on the hub"), ({"model": "tiny", "sees": []}, "Say what a model sees"),
        ({"model": "tiny", "shots": "99"}, "less than or equal to"),
    ])  # fmt: skip
    def test_refusals_are_sentences_in_the_form(self, client, dataset, data, sentence):
        answer = self.ask(client, **data)
        assert answer.status_code == 422
        assert sentence in words_of(answer)
        assert not Evaluation.objects.exists()

    def test_with_one_refused_nobody_is_asked(self, client, dataset):
        assert self.ask(client, predictor=["majority", "nobody"]).status_code == 422
        assert not Evaluation.objects.exists()

    def test_a_model_with_code_of_its_own_is_for_site_admins(self, client, dataset):
        told = words_of(self.ask(client, model="owner/name", trust_remote_code="on"))
        assert "Only a site admin" in told
        assert not Evaluation.objects.exists()

    def test_nobody_is_asked_twice_at_once(self, client, dataset):
        self.ask(client, predictor=["majority"])
        assert "is being asked about these already" in words_of(self.ask(client, predictor=["majority"]))

    def test_what_a_run_learnt_is_merged_into_sixteen_bits_alone(self, client, project, dataset):
        run = Run.objects.create(project=project, dataset=dataset, config={"model": "tiny"}, state=RunState.DONE)
        told = words_of(self.ask(client, predictor=[f"run-{run.pk}"], merged="on", bits="4"))
        assert "quantise it afterwards" in told
        assert self.ask(client, predictor=[f"run-{run.pk}"], merged="on", bits="16").status_code == 302

    def test_leads_see_who_could_be_asked_and_ask_nobody(self, lead, dataset):
        assert "Ask them" not in page(lead, f"{HERE}/new")
        assert self.ask(lead, predictor=["majority"]).status_code == 403

    def test_the_form_asks_as_much_of_the_database_for_many_as_for_few(self, client, project, dataset):
        Run.objects.create(project=project, dataset=dataset, config={"model": "tiny"}, state=RunState.DONE)
        queries_of(client, f"{HERE}/new")
        few = queries_of(client, f"{HERE}/new")
        post = project.posts.all()[0]
        for number in range(8):
            make_vote(post, f"voter {number}", "bullish")
            Run.objects.create(project=project, dataset=dataset, config={"model": "tiny"}, state=RunState.DONE)
        assert queries_of(client, f"{HERE}/new") == few

    def test_it_says_how_many_posts_and_who_needs_a_card(self, client, project, dataset):
        Run.objects.create(project=project, dataset=dataset, config={"model": "tiny"}, state=RunState.DONE)
        told = page(client, f"{HERE}/new")
        assert "v1, locked test set: 30 posts" in told
        assert "each needs a card, or time" in told

    def test_whoever_has_not_learnt_from_them_is_asked_about_the_folds_of_a_study(self, client, project, dataset):
        assert "all folds" not in words_of(client.get(f"{HERE}/new"))
        Study.objects.create(project=project, dataset=dataset, kind=StudyKind.FOLDS, parts=[0, 1], config={})
        assert "all folds of its studies: 60 posts" in words_of(client.get(f"{HERE}/new"))
        self.ask(client, predictor=["text-cv"], on="v1:pool")
        assert Evaluation.objects.get().split == On.POOL
        answer = self.ask(client, predictor=["text"], on="v1:pool")
        assert "cannot be measured on it" in words_of(answer)
