"""What a prompt lends from people's decisions: near, spread over the labels, and never what is under test."""

import pytest

from annotate.models import Template
from labeling.asking import Writer
from labeling.examples import Examples, template_meanings
from labeling.voters import Makeup, create
from tests.make import make_post, make_project

pytestmark = pytest.mark.django_db


@pytest.fixture
def project():
    return make_project()


def decided(project, text: str, label: str, **fields):
    return make_post(project, text, label, **{"label_source": "review", **fields})


def test_the_nearest_of_each_label_come_in_turn(project):
    decided(project, "the chart goes to the moon", "bullish")
    decided(project, "my lunch was nice", "bullish")
    decided(project, "the chart goes to the floor", "bearish")
    near = Examples(project, 2).near(make_post(project, "this chart goes to the sky"))
    assert {label for _, label in near} == {"bullish", "bearish"}
    assert ("the chart goes to the moon", "bullish") in near


def test_the_test_set_machines_labels_and_the_post_itself_are_never_lent(project):
    decided(project, "locked", "bullish", holdout=True, label_source="import")
    decided(project, "agreed by machines", "bullish", label_source="consensus")
    itself = decided(project, "the post itself", "bullish")
    assert Examples(project, 5).near(itself) == ()


def test_the_same_template_is_nearer_than_any_words(project):
    group = Template.objects.create(project=project, name="Crying face")
    decided(project, "nothing alike", "bearish", template=group)
    decided(project, "exactly these words", "bearish")
    near = Examples(project, 1).near(make_post(project, "exactly other words", template=group))
    assert near == (("nothing alike", "bearish"),)


def test_a_named_template_tells_what_people_made_of_it(project):
    group = Template.objects.create(project=project, name="Crying face")
    for label in ("bearish", "bearish", "neutral"):
        decided(project, "x", label, template=group)
    decided(project, "locked", "bullish", template=group, holdout=True)
    Template.objects.create(project=project)
    told = "Crying face (people labelled 3 posts with it: 2 bearish, 1 neutral)"
    assert template_meanings(project) == {group.pk: told}


def test_they_reach_the_request_that_is_sent(project):
    decided(project, "the chart goes to the moon", "bullish")
    voter = create(project, None, Makeup.told("openai", "gpt", {"examples": 1}), "gpt")
    asked = Writer(voter).ask(make_post(project, "this chart goes up"))
    assert "the chart goes to the moon" in asked.prompt
