"""Freezing: what is copied, that it stays, and that it is the same again."""

import hashlib
import json
from datetime import timedelta

import pytest
from django.core.exceptions import ValidationError
from django.db import IntegrityError, transaction
from django.utils import timezone

from annotate import deciding, quality
from annotate.audit import Span
from annotate.models import Event, Image, Post, Template
from modeling import tasks
from modeling.datasets import composition, dataset, items, previews
from modeling.datasets.recipe import Recipe
from modeling.models import Dataset, DatasetItem, DatasetState, Preview

from .make import make_member, make_post, make_project, make_vote, numbers
from .test_deciding import answer, say
from .test_queue import contested, seat

pytestmark = pytest.mark.django_db

NEITHER = Recipe(validation=0, test=0)


@pytest.fixture
def project():
    return make_project(audit_rate=0, double_rate=0)


def freeze(project, name="", recipe=NEITHER):
    frozen = dataset.ask(project, None, name or dataset.next_name(project), recipe, queue=False)
    assert dataset.carry_out(frozen)
    frozen.refresh_from_db()
    return frozen


def make_posts(project, n, **fields):
    labels = ("bearish", "neutral", "bullish")
    return [make_post(project, f"post number {next(numbers)}", label=labels[k % 3], **fields) for k in range(n)]


def content(frozen):
    return [(item.id, item.text, item.label, item.split) for item in items.items(frozen)]


class TestWhatIsCopied:
    def test_all_that_is_known_of_a_post(self, project):
        image = Image.objects.create(sha256="ab" * 32, format="jpeg", width=8, height=8, bytes=1, fingerprint=1)
        group = Template.objects.create(project=project, name="Wojak", size=1)
        person = seat(project)
        post = contested(project, text="gm", image=image, template=group, source="biz", meta={"likes": 3})
        answer(person, "bullish", note="sarcasm", incongruous=True)
        post.refresh_from_db()
        [item] = items.items(freeze(project))
        assert (item.id, item.text, item.image) == (post.external_id, "gm", f"{'ab' * 32}.jpg")
        assert (item.label, item.label_source, item.incongruous) == ("bullish", "review", True)
        assert (item.source, item.template, item.meta, item.at) == ("biz", "Wojak", {"likes": 3}, post.at)
        assert [(vote["voter"], vote["label"]) for vote in item.votes] == [
            ("voter 0", "bullish"), ("voter 1", "bearish"),
        ]  # fmt: skip
        [review] = item.reviews
        assert (review["reviewer"], review["label"], review["note"]) == (person.user.username, "bullish", "sarcasm")
        assert review["why"] == "split"

    def test_an_answer_that_was_taken_back_is_not_copied(self, project):
        person = seat(project)
        contested(project)
        taken_back = answer(person, "bullish")
        deciding.undo(person)
        say(person, taken_back.disagreement_id, "bearish")
        [item] = items.items(freeze(project))
        assert [review["label"] for review in item.reviews] == ["bearish"]

    def test_what_is_not_settled_is_left_alone(self, project):
        make_posts(project, 3)
        contested(project)
        make_post(project, "waits")
        assert len(content(freeze(project))) == 3

    def test_the_confidence_is_the_least_that_a_voter_for_the_label_stated(self, project):
        post = make_post(project, label="bullish")
        for voter, label, sure in (("a", "bullish", 0.9), ("b", "bullish", 0.7), ("c", "bearish", 0.1)):
            make_vote(post, voter, label, confidence=sure)
        [item] = items.items(freeze(project))
        assert item.confidence == 0.7

    def test_the_card_and_the_facts(self, project):
        person = seat(project)
        for _ in range(2):
            contested(project)
            answer(person, "bullish")
        frozen = freeze(project)
        assert frozen.facts["question"] == project.question
        assert [label["name"] for label in frozen.facts["labels"]] == ["bearish", "neutral", "bullish"]
        assert [voter["name"] for voter in frozen.facts["voters"]] == ["voter 0", "voter 1"]
        assert frozen.told["reviewers"] == [{"name": person.user.username, "reviews": 2}]
        assert frozen.told["agreement"][0]["both"] == 2

    def test_where_a_server_stands_is_not_told(self, project):
        post = make_post(project, label="bullish")
        vote = make_vote(post, "ours", "bullish")
        vote.voter.parameters = {"base_url": "http://10.0.0.7/v1", "temperature": 0}
        vote.voter.save()
        assert freeze(project).facts["voters"][0]["parameters"] == {"temperature": 0}


class TestTheSame:
    def test_frozen_twice_it_has_one_hash(self, project):
        make_posts(project, 30)
        first, second = freeze(project, recipe=Recipe()), freeze(project, recipe=Recipe())
        assert first.content_hash == second.content_hash
        assert len(first.content_hash) == 64

    def test_another_label_or_weight_is_another_hash(self, project):
        posts = make_posts(project, 30)
        first = freeze(project)
        weighted = freeze(project, recipe=Recipe(validation=0, test=0, weights={"bearish": 2.0}))
        Post.objects.filter(pk=posts[0].pk).update(label=posts[1].label)
        third = freeze(project)
        assert len({first.content_hash, weighted.content_hash, third.content_hash}) == 3

    def test_whoever_has_the_files_can_check_the_hash(self, project):
        make_posts(project, 10)
        frozen = freeze(project)
        told = items.facts_file(frozen) + b"".join(map(items.line, items.items(frozen)))
        assert hashlib.sha256(told).hexdigest() == frozen.content_hash

    def test_what_changes_later_changes_nothing_in_it(self, project):
        make_posts(project, 10)
        frozen = freeze(project)
        before = [items.line(item) for item in items.items(frozen)]
        project.posts.update(text="other", source="elsewhere", incongruous=True, meta={"a": 1})
        project.labels.update(meaning="another")
        assert [items.line(item) for item in items.items(frozen)] == before
        assert items.hash_of(Dataset.objects.get(pk=frozen.pk)) == frozen.content_hash

    @pytest.mark.parametrize("attempt", [
        lambda frozen: frozen.items.update(label="bearish"),
        lambda frozen: frozen.items.update(text=""),
        lambda frozen: DatasetItem.objects.create(
            dataset=frozen, position=99, external_id="x", at=timezone.now(), label="x", split="train", kin=1
        ),
    ])  # fmt: skip
    def test_the_database_refuses_to_change_it(self, project, attempt):
        make_posts(project, 3)
        frozen = freeze(project)
        with pytest.raises(IntegrityError, match="never changes"), transaction.atomic():
            attempt(frozen)

    def test_a_line_leaves_out_what_is_unknown(self, project):
        make_post(project, "سوق 🚀 <image>\u2028", label="bullish", external_id="x")
        [item] = items.items(freeze(project))
        line = items.line(item)
        assert json.loads(line) == {
            "id": "x", "text": "سوق 🚀 <image>\u2028", "label": "bullish", "label_source": "consensus",
            "split": "train", "group": 1, "at": item.at.isoformat(),
        }  # fmt: skip
        assert "سوق".encode() in line


class TestVersions:
    def test_what_was_in_test_is_never_trained_on_later(self, project):
        make_posts(project, 60)
        first = freeze(project, recipe=Recipe(validation=0.2, test=0.2))
        make_posts(project, 60)
        second = freeze(project, recipe=Recipe(validation=0.2, test=0.2))
        was, now = ({item.id: item.split for item in items.items(one)} for one in (first, second))
        assert len(now) == 120
        assert {name: now[name] for name in was} == was
        assert sum(split == "test" for split in now.values()) == 24

    def test_look_alikes_stay_together(self, project):
        group = Template.objects.create(project=project)
        for post in make_posts(project, 40)[:9]:
            Post.objects.filter(pk=post.pk).update(template=group)
        frozen = freeze(project, recipe=Recipe(validation=0.2, test=0.2))
        alike = DatasetItem.objects.filter(dataset=frozen, post__template=group)
        assert len({(item.split, item.kin) for item in alike}) == 1

    def test_a_dataset_that_failed_counts_for_nothing(self, project):
        make_posts(project, 3)
        failed = dataset.ask(project, None, "v1", NEITHER, queue=False)
        Dataset.objects.filter(pk=failed.pk).update(state=DatasetState.FAILED)
        assert freeze(project, "v1").state == "frozen"
        assert Dataset.objects.count() == 1

    def test_a_name_that_is_taken_is_refused_in_words(self, project):
        make_posts(project, 3)
        freeze(project, "v1")
        with pytest.raises(dataset.Refused, match="v1 already"):
            dataset.ask(project, None, "v1", NEITHER)
        with pytest.raises(ValidationError):
            dataset.ask(project, None, "../v1", NEITHER)


class TestRemoved:
    def test_a_post_that_had_to_go_leaves_every_dataset(self, project):
        gone, *_ = make_posts(project, 5)
        frozen = [freeze(project), freeze(project)]
        gone.delete()
        for one in frozen:
            assert gone.external_id not in {item.id for item in items.items(one)}
            [left] = one.items.exclude(removed=None)
            assert (left.text, left.external_id, left.post_id, left.votes) == ("", "", None, [])
            assert one.items.count() == 5
            assert items.hash_of(one) != one.content_hash


class TestUnderWay:
    def test_delivered_twice_it_is_frozen_once(self, project):
        make_posts(project, 3)
        asked = dataset.ask(project, None, "v1", NEITHER)
        tasks.freeze(asked.pk)
        before = Event.objects.filter(verb="dataset frozen").count()
        tasks.freeze(asked.pk)
        assert Event.objects.filter(verb="dataset frozen").count() == before == 1

    def test_one_at_a_time(self, project):
        make_posts(project, 3)
        first, second = (dataset.ask(project, None, name, NEITHER) for name in ("v1", "v2"))
        assert first.claim()
        assert not dataset.carry_out(second)
        Dataset.objects.filter(pk=first.pk).update(heartbeat=timezone.now() - timedelta(minutes=2))
        assert dataset.carry_out(second)

    def test_what_a_dead_worker_left_is_begun_anew(self, project, monkeypatch):
        make_posts(project, 5)
        asked = dataset.ask(project, None, "v1", NEITHER)
        monkeypatch.setattr(dataset, "WINDOW", 2)
        with monkeypatch.context() as dying:
            dying.setattr(dataset, "end", lambda *_: None)
            dying.setattr(dataset, "seal", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
            with pytest.raises(KeyboardInterrupt):
                dataset.carry_out(asked)
        assert asked.items.count() == 5
        assert not dataset.carry_out(asked)
        Dataset.objects.update(heartbeat=timezone.now() - timedelta(minutes=2))
        assert dataset.carry_out(asked)
        asked.refresh_from_db()
        assert (asked.state, asked.items.count()) == ("frozen", 5)

    def test_stopped_nothing_of_it_is_left(self, project, monkeypatch):
        make_posts(project, 6)
        monkeypatch.setattr(dataset, "WINDOW", 2)
        asked = dataset.ask(project, None, "v1", NEITHER)
        assert dataset.carry_out(asked, lambda now: now.done >= 2 and dataset.stop(now))
        asked.refresh_from_db()
        assert (asked.state, asked.items.count()) == ("cancelled", 0)

    def test_stopped_while_it_waits(self, project):
        make_posts(project, 3)
        asked = dataset.ask(project, None, "v1", NEITHER)
        assert dataset.stop(asked)
        assert not dataset.carry_out(asked)

    def test_with_nothing_to_freeze_it_says_why(self, project):
        make_post(project, "waits")
        asked = dataset.ask(project, None, "v1", NEITHER, queue=False)
        dataset.carry_out(asked)
        asked.refresh_from_db()
        assert asked.state == "failed"
        assert "No post was left" in asked.error

    def test_a_crash_leaves_nothing_and_says_so(self, project, monkeypatch):
        make_posts(project, 3)
        monkeypatch.setattr(dataset, "seal", lambda *_: 1 / 0)
        asked = dataset.ask(project, None, "v1", NEITHER, queue=False)
        with pytest.raises(ZeroDivisionError):
            dataset.carry_out(asked)
        asked.refresh_from_db()
        assert (asked.state, asked.items.count()) == ("failed", 0)
        assert "Start it again" in asked.error


class TestPreview:
    def test_it_is_what_is_frozen_then(self, project):
        make_posts(project, 40)
        make_posts(project, 4, holdout=True, label_source="import")
        made = previews.read(project, Recipe())
        frozen = freeze(project, recipe=Recipe())
        assert made is not None
        assert made.as_json() == frozen.composition
        assert made.posts == 40
        assert made.splits["holdout"].posts == 4
        counts = dict.fromkeys(("train", "validation", "test", "holdout"), 0)
        for _, _, _, split in content(frozen):
            counts[split] += 1
        assert counts == {name: part.posts for name, part in made.splits.items()}

    def test_many_posts_are_counted_by_a_task(self, project, monkeypatch):
        make_posts(project, 5)
        monkeypatch.setattr(previews, "FEW", 4)
        assert previews.read(project, NEITHER) is None
        assert previews.read(project, NEITHER) is None
        tasks.count_preview(Preview.objects.get().pk)
        made = previews.read(project, NEITHER)
        assert made
        assert made.posts == 5
        make_posts(project, 1)
        assert previews.read(project, NEITHER) is None

    def test_the_error_is_the_quality_pages_for_as_many_labels(self, project, monkeypatch):
        make_posts(project, 10)
        overview = quality.read(project)
        told = type("Told", (), {"now": overview.now, "left": Span(2, 1, 4), "overall": type("E", (), {"audits": 9})})
        monkeypatch.setattr(quality, "read", lambda _: told)
        made = previews.read(project, Recipe(size=5))
        assert made is not None
        assert made.wrong == composition.Wrong(1.0, 0.5, 2.0, 5, 9)


class TestThin:
    def told(self, project, recipe=NEITHER):
        made = previews.read(project, recipe)
        assert made is not None
        return " ".join(composition.thin(made, recipe))

    def test_what_is_thin_is_told(self):
        project = make_project(asks_incongruous=True)
        make_post(project, "a", label="bearish")
        told = self.told(project)
        for words in ("Only 1 post to train on is labelled bearish", "No post to train on is labelled bullish",
                      "1 post in all", "marked incongruous", "no locked test set"):  # fmt: skip
            assert words in told

    def test_nothing_at_all(self, project):
        assert "Nothing is left" in self.told(project)

    def test_a_group_that_is_most_of_it(self, project):
        group = Template.objects.create(project=project)
        make_posts(project, 10)
        make_posts(project, 10, template=group)
        assert "10 posts (50%) look or read alike" in self.told(project)

    def test_weights(self, project):
        make_posts(project, 9)
        make_post(project, "one more", label="bearish")
        made = previews.read(project, Recipe(validation=0, test=0, balanced=True))
        assert made is not None
        assert made.weights == {"bearish": 0.8333, "neutral": 1.1111, "bullish": 1.1111}


def test_whoever_froze_it_is_on_record(project):
    lead = make_member(project)
    make_posts(project, 3)
    asked = dataset.ask(project, lead, "v1", NEITHER, queue=False)
    dataset.carry_out(asked)
    event = Event.objects.get(verb="dataset frozen")
    assert (event.user, event.data["dataset"]) == (lead, "v1")
