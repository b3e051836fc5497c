"""What we export we import: into an empty project with the same labels come the same posts."""

import json

import pytest
from django.core.files.storage import default_storage

from annotate.images import path_of
from annotate.importing.running import carry_out
from annotate.models import ImportRun, Review
from annotate.models.importing import ImportState
from modeling.datasets import items
from modeling.export.formats import Options, write_to

from .exporting import LABELS, frozen, hostile_project
from .make import make_project

pytestmark = pytest.mark.django_db

FORMATS = ("sharegpt", "llava", "jsonl", "csv", "label_studio")


@pytest.fixture
def dataset():
    return frozen(hostile_project())


@pytest.fixture(params=["folder", "out.zip"])
def imported(request, dataset, tmp_path):
    """A format in, the posts of a new project out."""

    def imported(key, options=Options()):  # noqa: B008
        out = tmp_path / f"{key} {request.param}"
        write_to(dataset, key, options, out)
        project = make_project(labels=LABELS, asks_incongruous=True)
        run = ImportRun.objects.create(project=project, name=out.name, state=ImportState.QUEUED)
        assert carry_out(run, out)
        run.refresh_from_db()
        assert (run.state, run.error) == (ImportState.DONE, "")
        return project

    return imported


def exported(dataset):
    return {item.id: item for item in items.items(dataset, items.TO_TRAIN_WITH)}


def posts(project):
    return {post.external_id: post for post in project.posts.select_related("image", "label").defer("search")}


@pytest.mark.parametrize("key", FORMATS)
def test_posts_come_back_whole(dataset, imported, key):
    came = posts(imported(key))
    assert set(came) == set(exported(dataset))
    for id, item in exported(dataset).items():
        post = came[id]
        assert (id, post.text) == (id, item.text)
        assert picture(path_of(post.image.sha256, post.image.format) if post.image else "") == picture(
            f"images/{item.image[:2]}/{item.image}" if item.image else ""
        )


def picture(path):
    """Its bytes and not its hash: that is of what came in first, before a camera's notes were taken out."""
    if not path:
        return b""
    with default_storage.open(path) as file:
        return file.read()


@pytest.mark.parametrize("key", FORMATS)
def test_labels_come_back(dataset, imported, key):
    came = posts(imported(key))
    labels = {id: item.label for id, item in exported(dataset).items()}
    assert {id: post.label.name if post.label else "" for id, post in came.items()} == labels


@pytest.mark.parametrize("key", ["jsonl", "csv", "label_studio"])
def test_votes_come_back(dataset, imported, key):
    project = imported(key)
    held = {
        (item.id, vote["voter"]): (vote.get("label"), vote.get("confidence"))
        for item in exported(dataset).values()
        for vote in item.votes
    }
    came = {
        (vote.post.external_id, vote.voter.name): (vote.label.name if vote.label else None, vote.confidence)
        for post in project.posts.all()
        for vote in post.votes.select_related("voter", "label", "post")
    }
    assert came == held


@pytest.mark.parametrize("key", ["jsonl", "label_studio"])
def test_what_people_said_comes_back(dataset, imported, key):
    project = imported(key)
    [review] = Review.objects.filter(project=project)
    assert (review.label.name, review.note, review.incongruous) == ("bullish", "=SARCASM() <image>", True)


def test_reasons_below_the_answers_are_no_part_of_the_labels(dataset, imported):
    came = posts(imported("sharegpt", Options(with_reason=True)))
    assert {id: post.label.name for id, post in came.items()} == {
        id: item.label for id, item in exported(dataset).items()
    }


def test_everything_but_the_names_of_people_comes_back_from_jsonl(dataset, imported):
    came = posts(imported("jsonl"))
    for id, item in exported(dataset).items():
        post = came[id]
        assert (post.at, post.source, json.dumps(post.meta, sort_keys=True)) == (
            item.at, item.source, json.dumps(item.meta, sort_keys=True),
        )  # fmt: skip
        assert (post.label_source, post.incongruous) == (item.label_source, item.incongruous)
