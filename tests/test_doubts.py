"""Labels of a frozen dataset that a model doubts: how they are found, listed and sent, and what people made of them."""

from datetime import timedelta
from io import StringIO

import numpy as np
import pytest
from django.core.cache import cache
from django.core.management import CommandError, call_command
from django.test import Client
from django.urls import reverse
from django.utils import timezone
from django_q.models import OrmQ

from annotate import queue, removing
from annotate.models import Disagreement, Post, Role
from annotate.models.review import Why
from modeling import tasks
from modeling.doubting import doubted, doubts
from modeling.measures import baselines
from modeling.measures.baselines import OutOfFold
from modeling.models import DoubtSearch

from .freezing import freeze
from .make import make_label, make_member, make_post, make_project
from .test_baselines import LABELS, flipped, made
from .test_deciding import answer, now
from .test_queue import seat

pytestmark = pytest.mark.django_db
POSTS, SHARE = 150, 0.1


@pytest.fixture(autouse=True)
def _counted_now(monkeypatch):
    cache.clear()
    monkeypatch.setattr(queue, "open_in", queue.count_open)


@pytest.fixture
def project():
    return make_project("Memes", double_rate=0, audit_rate=0, check_rate=0)


@pytest.fixture
def lead(project):
    return make_member(project, Role.LEAD, "lea")


@pytest.fixture
def client(lead):
    client = Client()
    client.force_login(lead)
    return client


@pytest.fixture
def flips(project):
    """Posts whose words give their label away, of which one in ten has another; which ones."""
    texts, labels = made(POSTS)
    given, wrong = flipped(labels, SHARE)
    for n, (text, label) in enumerate(zip(texts, given, strict=True)):
        make_post(project, text, label, external_id=f"p{n}")
    return {f"p{n}": labels[n] for n in wrong}


@pytest.fixture
def dataset(project, flips):
    return freeze(project)


@pytest.fixture
def search(dataset, lead):
    return looked_for(dataset, lead)


def looked_for(dataset, by=None):
    search = doubts.ask(dataset, by)
    doubts.carry_out(search)
    return search


def ids(search, **filters):
    return [one.item.external_id for one in doubted.matching(search, doubted.Filters(**filters)).order_by("rank")]


def people_say(project, post, label):
    """Whatever waits on it is decided by one person."""
    who = seat(project)
    Disagreement.objects.filter(post=post, closed=None).update(rank=-1)
    answer(who, label)


class TestFinding:
    def test_the_first_hold_most_of_what_was_flipped(self, search, flips):
        assert (search.state, search.posts, search.folds, search.repeats) == ("ready", POSTS, 5, 3)
        first = search.doubts.select_related("item")[: len(flips)]
        hits = [one for one in first if one.item.external_id in flips]
        assert len(hits) >= 10  # of 15; at random there would be one or two
        assert sum(one.suggested == flips[one.item.external_id] for one in hits) >= 9
        assert search.has_learned
        assert [one.rank for one in search.doubts.all()] == list(range(1, search.doubts.count() + 1))

    def test_the_locked_test_set_takes_no_part(self, project, flips, lead, monkeypatch):
        make_post(project, "moon pump moon pump", "bearish", holdout=True, label_source="import", external_id="locked")
        seen = []
        really = baselines.cross_validated
        monkeypatch.setattr(
            baselines,
            "cross_validated",
            lambda texts, *rest, **more: seen.extend(texts) or really(texts, *rest, **more),
        )
        search = looked_for(freeze(project))
        assert len(seen) == search.posts == POSTS
        assert "moon pump moon pump" not in seen
        assert "locked" not in ids(search)

    def test_posts_without_words_are_left_out_and_that_is_told(self, project, flips):
        for text in ("", "  "):
            make_post(project, text, "bearish")
        search = looked_for(freeze(project))
        assert (search.posts, search.wordless) == (POSTS, 2)

    def test_near_duplicates_do_not_tell_on_each_other(self, dataset, monkeypatch):
        groups = []
        really = baselines.cross_validated
        monkeypatch.setattr(
            baselines,
            "cross_validated",
            lambda texts, labels, names, kin, **more: groups.extend(kin) or really(texts, labels, names, kin, **more),
        )
        looked_for(dataset)
        assert groups == list(dataset.items.order_by("position").values_list("kin", flat=True))

    def test_one_label_alone_is_told_in_words(self, project):
        for n in range(4):
            make_post(project, f"post {n}", "bullish")
        search = looked_for(freeze(project))
        assert search.state == "failed"
        assert "Fewer than two labels" in search.error

    def test_what_broke_off_says_so_and_can_be_asked_for_again(self, dataset, monkeypatch):
        def broken(*args, **more):
            raise MemoryError

        monkeypatch.setattr(baselines, "cross_validated", broken)
        search = doubts.ask(dataset, None)
        with pytest.raises(MemoryError):
            doubts.carry_out(search)
        search.refresh_from_db()
        assert (search.state, search.error) == ("failed", "It broke off; look again.")
        monkeypatch.undo()
        assert looked_for(dataset).state == "ready"
        assert DoubtSearch.objects.count() == 1

    def test_a_model_that_has_learned_nothing_is_known_for_it(self, project):
        rng = np.random.default_rng(3)
        texts, _ = made(60)
        for text in texts:
            make_post(project, text, "bullish" if rng.random() < 0.9 else "bearish")
        assert not looked_for(freeze(project)).has_learned


class TestSearching:
    def test_it_never_happens_in_a_request(self, client, dataset):
        answered = client.post(reverse("dataset_doubts", args=["memes", "v1"]))
        assert answered.status_code == 302
        (search,) = DoubtSearch.objects.all()
        assert (search.state, search.heartbeat) == ("searching", None)
        (task,) = OrmQ.objects.filter(key="short")
        assert task.func() == "modeling.tasks.find_doubts"
        tasks.find_doubts(*task.args())
        assert DoubtSearch.objects.get().state == "ready"

    def test_delivered_twice_it_looks_once(self, search):
        assert not doubts.carry_out(search)

    def test_asked_twice_it_is_one_search_unless_its_worker_died(self, dataset, lead):
        first = doubts.ask(dataset, lead)
        assert doubts.ask(dataset, lead) == first
        DoubtSearch.objects.update(heartbeat=timezone.now() - timedelta(minutes=2))
        assert doubts.ask(dataset, lead) != first
        assert DoubtSearch.objects.count() == 1

    def test_stopped_it_leaves_what_was_found_before(self, dataset, search, monkeypatch):
        again = doubts.ask(dataset, None)
        progress = []

        def stop_soon(told):
            progress.append(told.done)
            doubts.stop(dataset)

        with pytest.raises(DoubtSearch.DoesNotExist):
            doubts.carry_out(again, stop_soon)
        assert progress == [0]
        assert doubts.latest(dataset) == search

    def test_a_new_search_takes_the_place_of_the_old(self, dataset, search):
        again = looked_for(dataset)
        assert list(DoubtSearch.objects.all()) == [again]

    def test_a_task_for_what_is_gone_does_nothing(self, dataset):
        tasks.find_doubts(0)


class TestOtherModels:
    def test_probabilities_of_any_model_are_taken(self, dataset, lead):
        items = list(dataset.items.order_by("-position"))
        rows = np.array([[0.8 if name == item.label else 0.1 for name in LABELS] for item in items])
        doubtful = items[7]
        other = next(name for name in LABELS if name != doubtful.label)
        rows[7] = [0.9 if name == other else 0.05 for name in LABELS]
        positions = [item.position for item in items]
        search = doubts.from_probabilities(dataset, lead, "run 7, in 5 folds", positions, LABELS, OutOfFold(rows, 5, 1))
        assert (search.state, search.posts, search.source) == ("ready", POSTS, "run 7, in 5 folds")
        assert search.agreed == POSTS - 1
        assert ids(search) == [doubtful.external_id]

    def test_the_locked_test_set_is_passed_over(self, project, flips, lead):
        locked = make_post(project, "moon", "bearish", holdout=True, label_source="import")
        dataset = freeze(project)
        items = list(dataset.items.order_by("position"))
        rows = np.array([[0.8 if name == item.label else 0.1 for name in LABELS] for item in items])
        rows[[item.post_id == locked.pk for item in items]] = [0.01, 0.01, 0.98]
        found = OutOfFold(rows, 5, 1)
        search = doubts.from_probabilities(dataset, lead, "run 7", [item.position for item in items], LABELS, found)
        assert search.posts == POSTS
        assert ids(search) == []


class TestFates:
    def test_sent_looked_at_and_found_wrong_or_right(self, project, search, lead):
        first, second, third, *_ = search.doubts.select_related("item__post__label")
        assert doubted.send(search, lead, doubted.told(search), 3) == 3
        assert doubted.found_by(search).counts["waiting"] == 3
        people_say(project, first.item.post, first.suggested)
        people_say(project, second.item.post, second.item.label)
        found = doubted.found_by(search)
        assert (found.sent, found.decided, found.waiting) == (3, 2, 1)
        assert (found.wrong.hits, found.wrong.of) == (1, 2)
        assert ids(search, fate="wrong") == [first.item.external_id]
        assert ids(search, fate="right") == [second.item.external_id]
        assert ids(search, fate="waiting") == [third.item.external_id]
        assert found.open == found.all - 3

    def test_what_people_have_looked_at_is_not_sent_again(self, project, search, lead):
        first, second, *_ = search.doubts.select_related("item__post")
        doubted.send(search, lead, doubted.told(search), 1)
        people_say(project, first.item.post, first.item.label)
        assert doubted.send(search, lead, doubted.told(search), 1) == 1
        assert Disagreement.objects.get(closed=None).post == second.item.post

    def test_nor_what_has_another_label_by_now(self, project, search, lead):
        first, second, *_ = search.doubts.select_related("item__post")
        Post.objects.filter(pk=first.item.post_id).update(label=make_label(project, first.suggested))
        Post.objects.filter(pk=second.item.post_id).update(label=None, state="contested", label_source="")
        assert ids(search, fate="moot") == [first.item.external_id, second.item.external_id]
        assert doubted.send(search, lead, doubted.told(search).filter(rank__lt=3)) == 0

    def test_a_post_that_had_to_go_is_no_longer_listed(self, search, lead):
        first = search.doubts.select_related("item__post__project").first()
        gone = first.item.external_id
        removing.remove(first.item.post, lead, "asked for")
        assert gone not in ids(search)
        assert doubted.found_by(search).all == search.doubts.count() - 1

    def test_a_label_that_is_renamed_since_is_the_same_label_still(self, project, search, lead):
        right, still_open = search.doubts.select_related("item__post").filter(item__label="bearish")[:2]
        doubted.send(search, lead, doubted.told(search).filter(rank=right.rank))
        people_say(project, right.item.post, "bearish")
        before = doubted.found_by(search).counts
        project.labels.filter(name="bearish").update(name="down")
        assert doubted.found_by(search).counts == before
        assert ids(search, fate="right") == [right.item.external_id]
        assert still_open.item.external_id in ids(search, fate="open")

    def test_what_came_with_an_import_is_nobodys_verdict(self, project, search):
        item = search.doubts.select_related("item").first().item
        Disagreement.objects.create(
            project=project, post=item.post, why=Why.DOUBT, closed=timezone.now(), answers=1, label=item.post.label
        )
        assert doubted.found_by(search).decided == 0


class TestPage:
    def at(self, client, **query):
        return client.get(reverse("dataset_doubts", args=["memes", "v1"]), query)

    def send(self, client, **body):
        return client.post(reverse("dataset_doubts_send", args=["memes", "v1"]), body, follow=True)

    def told(self, answered):
        return [str(message) for message in answered.context["messages"]]

    def test_first_it_offers_to_look(self, client, dataset):
        assert "Look for doubts" in self.at(client).text
        assert reverse("dataset_doubts", args=["memes", "v1"]) in client.get(dataset.get_absolute_url()).text

    def test_then_it_tells_how_far_it_is(self, client, dataset):
        search = doubts.ask(dataset, None)
        assert "Waiting for a worker" in self.at(client).text
        DoubtSearch.objects.update(heartbeat=timezone.now(), done=4, total=15)
        page = self.at(client).text
        assert "4 of 15 models trained" in page
        assert 'hx-trigger="every 1s"' in page
        DoubtSearch.objects.update(heartbeat=timezone.now() - timedelta(minutes=2))
        assert "Interrupted" in self.at(client).text
        client.post(reverse("dataset_doubts_stop", args=["memes", "v1"]))
        assert not DoubtSearch.objects.filter(pk=search.pk).exists()

    def test_each_doubt_with_its_words_and_both_labels(self, client, search):
        one = search.doubts.select_related("item").first()
        page = self.at(client).text
        assert one.item.text in page
        assert reverse("post", args=["memes", one.item.post_id]) in page
        assert 'hx-trigger="every 1s"' not in page

    def test_filters_come_from_the_address(self, client, search):
        one = search.doubts.select_related("item").first()
        query = {"given": one.item.label, "suggested": one.suggested}
        lines = self.at(client, **query).context["lines"]
        assert lines
        assert {(line.item.label, line.suggested) for line, *_ in lines} == {(one.item.label, one.suggested)}
        assert "No doubt matches" in self.at(client, given="of no such label").text

    def test_pages_are_walked_by_rank(self, client, search, monkeypatch):
        monkeypatch.setattr(doubted.page_of, "__defaults__", (4,))
        total = search.doubts.count()
        assert total > 8
        first = self.at(client).context["page"]
        assert ([one.rank for one in first.doubts], first.before, first.after) == ([1, 2, 3, 4], None, 4)
        second = self.at(client, after=4).context["page"]
        assert ([one.rank for one in second.doubts], second.before, second.after) == ([5, 6, 7, 8], 5, 8)
        back = self.at(client, before=5).context["page"]
        assert ([one.rank for one in back.doubts], back.before) == ([1, 2, 3, 4], None)
        last = self.at(client, after=total - 1).context["page"]
        assert ([one.rank for one in last.doubts], last.after) == ([total], None)
        assert self.at(client, after="x").context["page"] == first

    def test_ticked_ones_are_sent(self, client, search):
        answered = self.send(client, search=search.pk, doubt=[2, 3])
        assert self.told(answered) == ["2 posts wait for people now."]
        asked = set(Disagreement.objects.filter(why=Why.DOUBT).values_list("post", flat=True))
        assert asked == {one.item.post_id for one in search.doubts.filter(rank__in=[2, 3]).select_related("item")}

    def test_the_first_of_those_that_match_are_sent(self, client, search):
        label = search.doubts.select_related("item").first().item.label
        answered = self.send(client, search=search.pk, first=2, given=label)
        assert self.told(answered) == ["2 posts wait for people now."]
        assert answered.redirect_chain[-1][0].endswith(f"?given={label}")
        expected = ids(search, given=label)[:2]
        assert sorted(Disagreement.objects.values_list("post__external_id", flat=True)) == sorted(expected)

    @pytest.mark.parametrize("body", [{}, {"first": "0"}, {"first": "many"}, {"doubt": "x"}, {"doubt": "99999"}])
    def test_nothing_chosen_sends_nothing(self, client, search, body):
        answered = self.send(client, search=search.pk, **body)
        assert self.told(answered) == ["Nothing was sent: tick some, or say how many of the first."]
        assert not Disagreement.objects.exists()

    def test_ticks_on_an_older_list_send_nothing(self, client, dataset, search):
        looked_for(dataset)
        answered = self.send(client, search=search.pk, doubt=[1])
        assert self.told(answered) == ["Nothing was sent: the list has been made anew since."]
        assert not Disagreement.objects.exists()

    def test_sent_twice_it_says_that_people_look_already(self, client, search):
        self.send(client, search=search.pk, doubt=[1])
        answered = self.send(client, search=search.pk, doubt=[1])
        assert self.told(answered) == ["None was sent: people look at them already, or have done so."]

    def test_it_tells_what_share_was_really_wrong(self, client, project, search, lead):
        first = search.doubts.select_related("item__post").first()
        doubted.send(search, lead, doubted.told(search), 1)
        people_say(project, first.item.post, first.suggested)
        page = self.at(client).text
        assert "100%" in page
        assert "1 of 1 label;" in page
        assert now(first.item.post) == ("settled", first.suggested, "review")

    def test_the_answers_of_people_are_shown_beside_the_doubt(self, client, project, search, lead):
        first = search.doubts.select_related("item__post").first()
        doubted.send(search, lead, doubted.told(search), 1)
        assert "waits for people" in self.at(client, fate="waiting").text
        people_say(project, first.item.post, first.suggested)
        assert "say people" in self.at(client, fate="wrong").text

    def test_it_asks_the_database_no_more_for_many(self, client, search, django_assert_max_num_queries):
        with django_assert_max_num_queries(20):
            self.at(client)


class TestCommand:
    def run(self, **options):
        out = StringIO()
        call_command("find_doubts", project="memes", dataset="v1", stdout=out, **options)
        return out.getvalue()

    def test_it_finds_and_tells(self, dataset):
        told = self.run()
        assert f"of {POSTS} labels doubted by a model of the words alone" in told
        one = DoubtSearch.objects.get().doubts.select_related("item").first()
        assert f"{one.item.label} -> {one.suggested}  {one.item.external_id}" in told
        assert not Disagreement.objects.exists()
        assert not OrmQ.objects.exists()

    def test_it_sends_the_first(self, dataset):
        assert "3 posts wait for people now." in self.run(send=3)
        assert Disagreement.objects.filter(why=Why.DOUBT).count() == 3

    def test_an_unknown_dataset_is_told_with_those_there_are(self, dataset):
        with pytest.raises(CommandError, match="There: v1"):
            call_command("find_doubts", project="memes", dataset="v9")

    def test_while_another_looks_it_waits_for_nobody(self, dataset):
        DoubtSearch.objects.filter(pk=doubts.ask(dataset, None).pk).update(heartbeat=timezone.now())
        with pytest.raises(CommandError, match="being looked for already"):
            self.run()
