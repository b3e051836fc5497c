"""A dataset's card in words."""

import pytest
from django.test import Client
from django.utils import timezone

from annotate import removing
from annotate.models import Disagreement, Review, Role
from annotate.prose import MARKDOWN
from modeling.datasets import card
from modeling.markdown import fenced, plain
from modeling.models import Dataset

from .freezing import freeze, make_settled
from .make import make_label, make_member, make_vote

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


# --- The card


def review(post, reviewer, label):
    decided = Disagreement.objects.create(
        project=post.project, post=post, why="split", closed=timezone.now(), was_state="contested", answers=1
    )
    Review.objects.create(
        project=post.project, disagreement=decided, reviewer=reviewer, key=f"{post.pk} {reviewer.pk}",
        label=make_label(post.project, label),
    )  # fmt: skip


def test_the_card_tells_a_stranger_what_it_is(project):
    for post in project.posts.filter(label_source="review"):
        review(
            post, make_member(project, username=f"kim{post.pk}") if not post.pk % 2 else project_kim(project), "bullish"
        )
    made = freeze(project, least_confidence=0.6, caps={"neutral": 5})
    told = card.markdown(made)
    for words in (
        "# Memes, dataset v1",
        "What sentiment?",
        "| bullish |",
        "Machines' labels only where every voter for it was at least 60% sure.",
        "At most 5 posts to train on labelled neutral.",
        "a group is never divided between splits",
        "Unknown: nobody has audited what the machines settled.",
        "It stays out of exports unless somebody asks for it",
        made.content_hash,
        "cat dataset.json posts.jsonl | sha256sum",
        "| kim |",
    ):
        assert words in told, words


def project_kim(project):
    seat = project.memberships.filter(user__username="kim").first()
    return seat.user if seat else make_member(project, username="kim")


def test_the_card_is_the_same_to_the_byte(project):
    made = freeze(project)
    assert card.markdown(made) == card.markdown(Dataset.objects.get(pk=made.pk))


def test_without_names_reviewers_are_numbered(project):
    review(project.posts.filter(label_source="review")[0], make_member(project, username="kim"), "bullish")
    made = freeze(project)
    assert "kim" in card.markdown(made)
    told = card.markdown(made, names=False)
    assert "kim" not in told
    assert "| reviewer 1 | 1 |" in told


def test_prices_that_nobody_knows_read_unknown(project):
    for post in project.posts.all():
        make_vote(post, "from a file", "bullish")
    made = freeze(project)
    told = card.markdown(made)
    assert r"They cost \$0.0300 in all, without 32 whose price is unknown." in told
    assert "| from a file | its votes came with an imported file | – | 32 | 0 | unknown |" in told


def test_the_card_tells_what_had_to_go(project, admin):
    made = freeze(project)
    before = card.markdown(made)
    removing.remove(made.items.get(position=1).post, admin, "Its author asked for it.")
    assert "had to go" not in before
    assert "1 post had to go on" in card.markdown(made)


NASTY = "a|b `c` <img src=x onerror=alert(1)> [d](javascript:e) **f** $g$ ![h](http://evil.example/i.png)"


def test_no_name_breaks_the_card(client, project):
    project.labels.filter(name="bullish").update(name="|`<b>", meaning=NASTY)
    project.question = f"# {NASTY}"
    project.guidelines = "```\n</pre><script>alert(1)</script>\n````\n# Not a heading of the card"
    project.save()
    for post in project.posts.all():
        make_vote(post, NASTY[:100], "bearish")
    made = freeze(project)
    told = card.markdown(made)
    assert "\n# Not a heading of the card" in told  # within its fence, which is longer than the writer's
    page = client.get(f"{made.get_absolute_url()}/card").content.decode()
    body = page[page.index("card-text") :]
    for harm in ("<img", "<script", "<b>", 'href="javascript', "<em>", 'http://evil.example/i.png"'):
        assert harm not in body
    assert "onerror=alert(1)" in body  # as words
    assert body.count("<h2>") == 1
    assert "<h3>Not a heading" not in body
    table = told[told.index("| Label |") :].split("\n\n")[0].split("\n")
    assert {line.replace("\\|", "").count("|") for line in table} == {3}


@pytest.mark.parametrize(
    "words", ["- item", "1. item", "# head", "> quote", "= line", "+ plus", "a\n\n# b", "<!-- x", "~~~"]
)
def test_words_in_a_line_stay_words(words):
    told = MARKDOWN.render(f"- {plain(words)}\n")
    assert told.count("<") == 4  # a list, its item, and nothing else
    assert " ".join(words.split()).replace("<", "&lt;").replace(">", "&gt;") in told


def test_a_fence_is_longer_than_any_within():
    assert fenced("a\n````\nb", "sh") == ["`````sh", "a", "````", "b", "`````"]
