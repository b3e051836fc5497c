"""A project that can be frozen, and frozen datasets of it; for the tests of their pages, card and programs."""

from typing import Any

from annotate.models import Project, User
from modeling.datasets import dataset
from modeling.datasets.recipe import Recipe
from modeling.models import Dataset

from .make import make_post, make_project, make_vote

LABELS = ("bearish", "neutral", "bullish")


def make_settled() -> Project:
    """Thirty posts in three labels, of which some came from people, and two of the locked test set."""
    project = make_project("Memes", asks_incongruous=True)
    for number in range(30):
        source = "review" if number % 5 == 0 else "consensus"
        post = make_post(
            project, f"post number {number}", LABELS[number % 3], label_source=source, incongruous=number % 10 == 0
        )
        make_vote(post, "gpt", LABELS[number % 3], confidence=0.5 + number / 100, cost="0.001")
    for number in range(2):
        make_post(project, f"known {number}", "bullish", label_source="import", holdout=True)
    return project


def freeze(project: Project, name: str = "v1", by: User | None = None, **recipe: Any) -> Dataset:
    made = dataset.ask(project, by, name, Recipe(**recipe), queue=False)
    dataset.carry_out(made)
    made.refresh_from_db()
    assert made.is_frozen, made.error
    return made
