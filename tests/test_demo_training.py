"""The demo project is learnt by the tiny model, the whole way: so that anyone can walk it without a card."""

from collections import Counter

import pytest

from annotate import first_start
from annotate.models import Project
from modeling.datasets.recipe import Recipe
from modeling.models import RunState
from modeling.training import runner, training_presets

from .test_dataset import freeze

pytestmark = pytest.mark.django_db


def test_the_tiny_model_learns_the_demo(tmp_path, settings):
    settings.VAR_DIR = tmp_path
    first_start.make_demo(lambda _: None)
    project = Project.objects.get()
    labels = {label.name: label for label in project.labels.all()}
    for post in project.posts.filter(holdout=False):
        post.label, post.state, post.label_source = labels[post.meta["drawn as"]], "settled", "review"
        post.save(update_fields=["label", "state", "label_source"])
    frozen = freeze(project, recipe=Recipe(validation=0.25, test=0))
    run = runner.start(project, None, frozen, training_presets.named("tiny").configured(), queue=False)
    runner.carry_out(run)
    assert run.state == RunState.DONE, run.error
    assert run.scores["macro_f1"] > by_majority(frozen) + 0.15


def by_majority(frozen):
    """The macro F1 of saying the commonest label of all: that label's own F1, and nothing for the others."""
    counts = Counter(frozen.composition["splits"]["validation"]["labels"])
    share = max(counts.values()) / counts.total()
    return 2 * share / (1 + share) / len(counts)
