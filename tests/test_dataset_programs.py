"""Datasets by command and over the API."""

import io

import pytest
from django.core.management import CommandError, call_command
from django.test import Client

from annotate.models import Role
from modeling import tasks
from modeling.datasets import card, dataset
from modeling.datasets.recipe import Recipe
from modeling.models import Dataset, DatasetState

from .freezing import freeze, make_settled
from .make import make_member

pytestmark = pytest.mark.django_db


@pytest.fixture
def project():
    return make_settled()


@pytest.fixture
def admin(project):
    return make_member(project, Role.ADMIN, "ada")


@pytest.fixture
def client(admin):
    client = Client()
    client.force_login(admin)
    return client


# --- By command


def run(*args):
    out = io.StringIO()
    call_command("freeze", *args, stdout=out, stderr=out)
    return out.getvalue()


def test_the_command_freezes_and_tells(project):
    told = run(
        "--project", "memes", "--name", "v1", "--sources", "review,consensus", "--least-confidence", "0.55",
        "--cap", "bullish=4", "--weight", "bearish=2", "--validation", "0.2",
    )  # fmt: skip
    made = Dataset.objects.get()
    assert Recipe.from_json(made.recipe) == Recipe(
        sources=("consensus", "review"), least_confidence=0.55, caps={"bullish": 4}, weights={"bearish": 2.0},
        validation=0.2,
    )  # fmt: skip
    assert made.content_hash in told
    assert "Thin:" in told
    assert "bearish" in told


def test_the_command_goes_by_an_earlier_recipe(project):
    freeze(project, sources=("review",), weights={"bearish": 2.0})
    run("--project", "memes", "--like", "v1", "--test", "0")
    assert Recipe.from_json(Dataset.objects.get(name="v2").recipe) == Recipe(
        sources=("review",), weights={"bearish": 2.0}, test=0.0
    )


def test_a_dry_run_freezes_nothing(project):
    told = run("--project", "memes", "--dry-run", "--size", "10")
    assert "Nothing was frozen." in told
    assert not Dataset.objects.exists()


@pytest.mark.parametrize(
    ("args", "told"),
    [
        (["--project", "nope"], "There is no project “nope”. Projects: memes"),
        (["--project", "memes", "--name", "a b"], "A name is letters"),
        (["--project", "memes", "--sources", "oracle"], "“oracle” is no source"),
        (["--project", "memes", "--cap", "bullish"], "write it as bullish=2"),
        (["--project", "memes", "--cap", "rising=3"], "“rising” is not a label of this project"),
        (["--project", "memes", "--like", "v9"], "There is no dataset “v9”"),
        (["--project", "memes", "--sources", "model"], "No post was left to be frozen"),
        (["--project", "memes", "--test", "2"], "something must be left to train on"),
    ],
)
def test_the_command_says_what_to_mend(project, args, told):
    with pytest.raises(CommandError, match=told):
        run(*args)
    assert not Dataset.objects.filter(state=DatasetState.FROZEN).exists()


def test_stopped_by_hand_it_leaves_nothing(project, monkeypatch):
    def stop(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("modeling.datasets.dataset.seal", stop)
    with pytest.raises(CommandError, match="nothing was frozen"):
        run("--project", "memes", "--name", "v1")
    assert not Dataset.objects.exists()


# --- By the API


@pytest.fixture
def api(client, project):
    return f"/api/projects/{project.slug}/datasets"


def test_a_program_freezes_and_reads(client, project, api):
    asked = {"name": "v1", "sources": ["consensus"], "weights": {"bearish": 2}}
    answer = client.post(api, asked, content_type="application/json")
    assert (answer.status_code, answer.json()["state"]) == (202, "queued")
    tasks.freeze(Dataset.objects.get().pk)
    told = client.get(f"{api}/v1").json()
    assert (told["state"], told["posts"]) == ("frozen", 26)
    assert told["recipe"]["weights"] == {"bearish": 2.0}
    assert told["warnings"]
    assert [one["name"] for one in client.get(api).json()] == ["v1"]
    assert client.get(f"{api}/v1/card").content.decode() == card.markdown(Dataset.objects.get())
    sheet = client.get(f"{api}/v1/download?format=csv&with_pictures=false&split=train")
    assert b"".join(sheet.streaming_content).count(b"\n") == 1 + told["composition"]["splits"]["train"]["posts"]


def test_a_program_previews(client, project, api, monkeypatch):
    told = client.get(f"{api}/preview?cap=bullish=2&cap=neutral=3&sources=consensus").json()
    assert told["composition"]["splits"]["train"]["labels"]["bullish"] == 2
    monkeypatch.setattr("modeling.datasets.previews.FEW", 0)
    answer = client.get(f"{api}/preview?size=7")
    assert (answer.status_code, answer.json()) == (202, {"counting": 32})


def test_a_program_is_told_what_to_mend(client, project, api):
    freeze(project)
    refused: list[tuple[dict[str, object], int]] = [
        ({"name": "v1"}, 409), ({"name": "a b"}, 422), ({"caps": {"rising": 1}}, 422), ({"like": "v9"}, 422),
        ({"validation": 0.9, "test": 0.5}, 422), ({"sources": []}, 422),
    ]  # fmt: skip
    for asked, status in refused:
        answer = client.post(api, asked, content_type="application/json")
        assert (answer.status_code, bool(answer.json()["detail"])) == (status, True)
    assert client.get(f"{api}/v1/download?format=tape").status_code == 422
    waiting = dataset.ask(project, None, "v2", Recipe(), queue=False)
    assert client.get(f"{api}/{waiting.name}/card").status_code == 409
