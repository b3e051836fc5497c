"""What a person or a program sees of datasets: the list, the recipe and its preview, the posts, the differences."""

import io
import json
import zipfile
from datetime import timedelta

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from annotate import removing
from annotate.models import Event, Role
from modeling import tasks
from modeling.datasets import comparing, dataset, listing
from modeling.datasets.recipe import Recipe
from modeling.forms.datasets import RecipeForm
from modeling.models import Dataset, DatasetState, Preview

from .freezing import LABELS, freeze, make_settled
from .make import make_label, make_member, make_post, make_project

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


def words_of(response):
    return " ".join(response.content.decode().split())


# --- The recipe and its preview


def test_the_preview_draws_what_the_recipe_gives_and_warns(client, project):
    page = client.get(f"/p/{project.slug}/datasets/new")
    drawing = page.context["drawing"]
    assert drawing.made.posts == 30
    assert [row.name for row in drawing.by_label] == list(LABELS)
    assert {row.name: row.posts for row in drawing.by_source} == {
        "Review by people": 6, "Consensus of voters": 24, "Known at import": 2,
    }  # fmt: skip
    assert "30 posts in all. Below about 3,000" in words_of(page)


def test_a_recipe_in_the_address_is_the_recipe(client, project):
    bullish = make_label(project, "bullish")
    asked = f"sources=consensus&size=20&validation=20&test=20&balanced=on&cap-{bullish.pk}=3"
    page = client.get(f"/p/{project.slug}/datasets/preview?{asked}", headers={"HX-Request": "true"})
    drawing = page.context["drawing"]
    assert drawing.recipe == Recipe(
        sources=("consensus",), size=20, validation=0.2, test=0.2, balanced=True, caps={"bullish": 3}
    )
    assert drawing.made.train.labels["bullish"] <= 3
    assert dict(drawing.left_out)["their label comes from a source that was not chosen"] == 6


def test_the_address_bar_follows_the_form(client, project):
    asked = "sources=review&validation=10&test=10&size=&name=v1"
    page = client.get(f"/p/{project.slug}/datasets/preview?{asked}", headers={"HX-Trigger": "recipe"})
    assert page["HX-Replace-Url"] == f"/p/{project.slug}/datasets/new?sources=review&validation=10&test=10"


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        ("validation=10&test=10", "Choose at least one source"),
        ("validation=60&test=60&sources=review", "something must be left to train on"),
        ("least_confidence=2", "Least confidence: Ensure this value is less than or equal to 1"),
        ("size=0", "Posts at most"),
        ("sources=oracle", "oracle"),
        ("incongruous=100", "A share of incongruous posts lies between 0 and 1"),
        ("size=nan&test=%00", "Test, in %"),
    ],
)
def test_a_recipe_that_cannot_be_is_told_in_words(client, project, asked, told):
    page = client.get(f"/p/{project.slug}/datasets/preview?{asked}")
    assert page.status_code == 200
    assert told in words_of(page)


@pytest.mark.parametrize("recipe", [
    Recipe(),
    Recipe(sources=("review",), least_confidence=0.85, one_per_group=True, size=12, validation=0.15, test=0.05),
    Recipe(caps={"bullish": 0}, weights={"bearish": 2.5}, incongruous=0.25),
    Recipe(balanced=True, test=0.0),
])  # fmt: skip
def test_a_recipe_comes_back_from_its_address(client, project, recipe):
    freeze(project, **recipe.as_json())
    address = client.get(f"/p/{project.slug}/datasets/new?like=v1").url
    assert client.get(address).context["form"].recipe.as_json() == recipe.as_json()


def test_what_an_address_leaves_out_is_as_usual(project, client):
    form: RecipeForm = client.get(f"/p/{project.slug}/datasets/new?size=5").context["form"]
    assert form.recipe == Recipe(size=5)


def test_a_large_project_is_counted_by_a_task(client, project, monkeypatch):
    monkeypatch.setattr("modeling.datasets.previews.FEW", 10)
    page = client.get(f"/p/{project.slug}/datasets/preview")
    assert page.context["counting"] == 32
    assert "Counting 32 posts" in words_of(page)
    tasks.count_preview(Preview.objects.get().pk)
    assert client.get(f"/p/{project.slug}/datasets/preview").context["drawing"].made.posts == 30


def test_a_project_without_labels_says_what_to_do_first(client, admin):
    empty = make_project("Empty", labels=())
    empty.memberships.create(user=admin, role=Role.ADMIN)
    assert "Nothing to freeze yet" in words_of(client.get(f"/p/{empty.slug}/datasets/new"))
    assert "No dataset yet" in words_of(client.get(f"/p/{empty.slug}/datasets"))


# --- Freezing by the page


def test_it_is_frozen_by_the_page_and_a_worker(client, project, admin):
    asked = {"name": "v1", "sources": ["review"], "validation": "10", "test": "10"}
    answer = client.post(f"/p/{project.slug}/datasets/new", asked)
    made = Dataset.objects.get()
    assert answer.url == made.get_absolute_url() == f"/p/{project.slug}/datasets/v1"
    assert "Waiting for a worker" in words_of(client.get(answer.url))
    tasks.freeze(made.pk)
    assert client.get(f"{answer.url}/progress")["HX-Refresh"] == "true"
    page = words_of(client.get(answer.url))
    made.refresh_from_db()
    assert made.content_hash in page
    assert "Labels from people in review." in page
    assert (made.by, made.state) == (admin, DatasetState.FROZEN)


@pytest.mark.parametrize("name", ["", "a b", "../v1", "new", "preview", "v1", "é"])
def test_a_name_that_cannot_be_is_refused(client, project, name):
    freeze(project)
    answer = client.post(f"/p/{project.slug}/datasets/new", {"name": name})
    assert answer.status_code == 422
    assert answer.context["form"].errors["name"]
    assert Dataset.objects.count() == 1


def test_a_lead_previews_and_does_not_freeze(client, project):
    lead = make_member(project, Role.LEAD)
    client.force_login(lead)
    page = client.get(f"/p/{project.slug}/datasets/new")
    assert page.context["drawing"].made.posts == 30
    assert "Freeze it" not in words_of(page)
    assert client.post(f"/p/{project.slug}/datasets/new", {"name": "v1"}).status_code == 403


def test_what_failed_says_why_and_is_started_again(client, project):
    made = dataset.ask(project, None, "v1", Recipe(sources=("model",)), queue=False)
    dataset.carry_out(made)
    page = words_of(client.get(made.get_absolute_url()))
    assert "No post was left to be frozen" in page
    client.post(f"{made.get_absolute_url()}/again")
    again = Dataset.objects.get()
    assert again.state == DatasetState.QUEUED
    assert Recipe.from_json(again.recipe).sources == ("model",)


def test_it_is_stopped(client, project):
    made = dataset.ask(project, None, "v1", Recipe())
    client.post(f"{made.get_absolute_url()}/stop")
    made.refresh_from_db()
    assert made.state == DatasetState.CANCELLED
    assert "nothing of it was kept" in words_of(client.get(made.get_absolute_url()))


def test_one_whose_worker_died_is_told_as_interrupted_and_taken_up(client, project):
    made = dataset.ask(project, None, "v1", Recipe(), queue=False)
    long_ago = timezone.now() - timedelta(hours=1)
    Dataset.objects.update(state=DatasetState.FREEZING, heartbeat=long_ago, started=long_ago, total=30, done=10)
    page = words_of(client.get(made.get_absolute_url()))
    assert "Interrupted" in page
    assert "Start again" in page
    client.post(f"{made.get_absolute_url()}/again")
    assert Dataset.objects.get().pk == made.pk  # the same, not another of its name


# --- The list and a dataset's page


def test_the_list_tells_of_each_how_large_it_is_and_what_had_to_go(client, project, admin):
    first = freeze(project, by=admin)
    removing.remove(first.items.get(position=3).post, admin, "Its author asked for it.")
    freeze(project, "v2.0-rc_1")
    page = words_of(client.get(f"/p/{project.slug}/datasets"))
    assert "v2.0-rc_1" in page
    assert first.content_hash[:8] in page
    assert page.count("1 post removed since") == 1
    shown = words_of(client.get(first.get_absolute_url()))
    assert "1 post had to go since it was frozen" in shown
    assert "exports leave it out, and no longer have the hash below" in shown


def test_more_datasets_ask_no_more_of_the_database(client, project):
    costs = []
    for number in range(3):
        freeze(project, f"v{number}")
        client.get(f"/p/{project.slug}/datasets")
        with CaptureQueriesContext(connection) as asked:
            client.get(f"/p/{project.slug}/datasets")
        costs.append(len(asked))
    assert costs[0] == costs[2]


def test_a_label_that_was_renamed_since_is_shown_as_it_was(client, project):
    made = freeze(project)
    project.labels.filter(name="bullish").update(name="rising")
    page = client.get(made.get_absolute_url())
    assert [row.name for row in page.context["drawing"].by_label] == list(LABELS)
    listed = client.get(f"{made.get_absolute_url()}/posts?label=bullish")
    assert listed.context["count"] == 12
    assert "rising now" in words_of(listed)


# --- Its posts


def listed(client, made, query=""):
    page = client.get(f"{made.get_absolute_url()}/posts?{query}")
    return page.context["count"], [item.position for item in page.context["page"].items]


@pytest.mark.parametrize(("query", "found"), [
    ("", 32), ("split=holdout", 2), ("label=bullish", 12), ("source=review", 6), ("label=bullish&source=import", 2),
    ("incongruous=yes", 3), ("incongruous=no", 29), ("picture=yes", 0), ("picture=no", 32), ("label=no+such", 0),
])  # fmt: skip
def test_posts_are_filtered_by_the_address(client, project, query, found):
    count, shown = listed(client, freeze(project), query)
    assert count == len(shown) == found


def test_a_figure_opens_just_the_posts_that_it_counts(client, project):
    made = freeze(project)
    page = client.get(made.get_absolute_url())
    drawing = page.context["drawing"]
    for row in [*drawing.by_label, *drawing.by_source, *drawing.others]:
        for cell in row.cells:
            assert listed(client, made, cell.query)[0] == cell.posts
            assert not cell.posts or cell.query.replace("&", "&amp;") in page.content.decode()


@pytest.mark.parametrize("query", [
    "split=middle", "source=oracle", "group=x", "group=99999999999999", "incongruous=maybe", "change=added",
    "against=v9", "against=v1&change=vanished", "split=%00train%00x",
])  # fmt: skip
def test_a_filter_that_means_nothing_is_told(client, project, query):
    freeze(project)
    page = client.get(f"/p/{project.slug}/datasets/v1/posts?{query}")
    assert page.status_code == 200
    assert page.context["match"].mend
    assert page.context["count"] == 0


def test_pages_go_by_position_both_ways(project):
    made = freeze(project)
    found = listing.matching(made, listing.Filters()).items
    first = listing.page_of(found, {}, size=10)
    assert ([item.position for item in first.items], first.first, first.last) == ([*range(1, 11)], True, False)
    second = listing.page_of(found, {"after": str(first.after)}, size=10)
    assert [item.position for item in second.items] == [*range(11, 21)]
    back = listing.page_of(found, {"before": str(second.before)}, size=10)
    assert [item.position for item in back.items] == [*range(1, 11)]
    end = listing.page_of(found, {"end": "1"}, size=10)
    assert ([item.position for item in end.items], end.last) == ([*range(23, 33)], True)
    assert listing.page_of(found, {"after": "nonsense"}, size=10).first


def test_each_post_tells_where_it_stands_now(client, project):
    made = freeze(project)
    first, second = made.items.get(position=1), made.items.get(position=2)
    other = next(name for name in LABELS if name != first.label)
    project.posts.filter(pk=first.post_id).update(label=make_label(project, other))
    project.posts.filter(pk=second.post_id).update(label=None, label_source="", state="contested")
    page = words_of(client.get(f"{made.get_absolute_url()}/posts?as=list"))
    assert page.count(f"{other} now") == 1
    assert page.count("has no label now") == 1


def test_what_had_to_go_is_not_listed(client, project, admin):
    made = freeze(project)
    removing.remove(made.items.get(position=1).post, admin, "Its author asked for it.")
    assert listed(client, made) == (31, [*range(2, 33)])


# --- Two beside each other


@pytest.fixture
def two(project, admin):
    """v2 lost a post by its recipe and one for legal reasons, has one more, and one that people labelled anew."""
    old = freeze(project)
    turned = old.items.filter(split="train", label="bearish")[0]
    project.posts.filter(pk=turned.post_id).update(label=make_label(project, "bullish"), label_source="review")
    gone, left = old.items.filter(split="train", label="neutral")[:2]
    removing.remove(gone.post, admin, "Its author asked for it.")
    project.posts.filter(pk=left.post_id).update(state="contested", label=None, label_source="")
    fresh = make_post(project, "quite new", "neutral")
    project.labels.filter(name="neutral").update(meaning="No side.")
    return old, freeze(project, "v2", balanced=True), turned, left, fresh


def test_differences_are_counted_and_open_their_posts(client, two):
    old, new, turned, left, fresh = two
    found = comparing.compare(old, new)
    assert (found.added, found.removed, found.relabelled, found.moved, found.kept) == (1, 1, 1, 0, 30)
    assert found.labels["bearish", "bullish"] == 1
    for change, wanted in {
        "added": fresh.external_id,
        "removed": left.external_id,
        "relabelled": turned.external_id,
    }.items():
        page = client.get(f"{new.get_absolute_url()}/posts?against=v1&change={change}")
        assert [item.external_id for item in page.context["page"].items] == [wanted]
    cell = client.get(f"{new.get_absolute_url()}/posts?against=v1&change=relabelled&was=bearish&label=bullish")
    assert cell.context["count"] == 1
    assert "was bearish" in words_of(cell)


def test_the_page_tells_what_else_differs(client, two):
    _, new, *_ = two
    page = client.get(f"{new.get_absolute_url()}/compare?with=v1")
    told = {change.name: change for change in page.context["found"].turned}
    assert told["Recipe"].now == ["Weights that balance the labels in training."]
    assert told["Labels"].now == ["neutral: No side."]
    assert set(told) == {"Recipe", "Labels", "Weights in training"}
    assert 'aria-label="1 post from bearish to bullish"' in page.content.decode()


def test_without_another_it_says_what_to_do(client, project):
    made = freeze(project)
    assert "Nothing to compare with" in words_of(client.get(f"{made.get_absolute_url()}/compare"))
    assert (
        client.get(f"{made.get_absolute_url()}/compare?with=v9").status_code == 404 if freeze(project, "v2") else None
    )


def test_what_moved_between_splits_is_listed(client, project):
    old = freeze(project)
    new = freeze(project, "v2", validation=0.0)
    found = comparing.compare(old, new)
    for move in found.moves:
        query = f"against=v1&change=moved&was_split={move.was}&split={move.now}"
        assert listed(client, new, query)[0] == move.posts
    assert found.moved == listed(client, new, "against=v1&change=moved")[0]


def test_a_post_that_moved_is_found_from_both_of_its_splits(client, project):
    """The rules keep posts where they were, so a moved one is made by hand before anything is frozen."""
    old = freeze(project)
    new = dataset.ask(project, None, "v2", Recipe(), queue=False)
    first = old.items.filter(split="train")[0]
    new.items.create(position=1, external_id=first.external_id, at=first.at, label=first.label, split="test", kin=1)
    Dataset.objects.filter(pk=new.pk).update(
        state="frozen", composition=old.composition, facts=old.facts, told=old.told, content_hash="0" * 64
    )
    new.refresh_from_db()
    (move,) = comparing.compare(old, new).moves
    assert (move.was, move.now, move.posts) == ("train", "test", 1)
    page = client.get(f"{new.get_absolute_url()}/posts?against=v1&change=moved&was_split=train&split=test")
    assert page.context["count"] == 1
    assert "was in train" in words_of(page)


# --- The ways out


def test_a_download_is_a_file_and_noted(client, project, admin):
    made = freeze(project, by=admin)
    answer = client.get(f"{made.get_absolute_url()}/download?format=jsonl&split=train&split=test")
    assert answer["Content-Disposition"].startswith('attachment; filename="memes-v1-jsonl.zip"')
    with zipfile.ZipFile(io.BytesIO(b"".join(answer.streaming_content))) as archive:
        rows = [json.loads(line) for line in archive.read("posts.jsonl").splitlines()]
    assert {row["split"] for row in rows} <= {"train", "test"}
    noted = Event.objects.get(verb="dataset downloaded")
    assert (noted.user, noted.data["dataset"], noted.data["format"]) == (admin, "v1", "jsonl")


def test_the_locked_test_set_is_not_ticked_beforehand(client, project):
    made = freeze(project)
    ticked = {key: is_ticked for key, _, is_ticked in client.get(made.get_absolute_url()).context["splits"]}
    assert ticked == {"train": True, "validation": True, "test": True, "holdout": False}


def test_a_download_that_cannot_be_says_why(client, project):
    made = freeze(project)
    for query in ("format=tape&split=train", "format=csv"):
        page = client.get(f"{made.get_absolute_url()}/download?{query}", follow=True)
        assert page.redirect_chain
        assert [message.level_tag for message in page.context["messages"]] == ["error"]
    assert not Event.objects.filter(verb="dataset downloaded").exists()
