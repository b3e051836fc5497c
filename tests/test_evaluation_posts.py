"""The posts behind an evaluation's figures: listed, sent to people, and those on which two of them differ."""

import pytest

from annotate.models import Disagreement, Role
from annotate.removing import remove
from modeling.evaluation import posts
from modeling.models import Prediction

from .make import make_member, make_post
from .test_evaluating import evaluate, frozen, make_known, rename
from .test_evaluating import var as var
from .test_evaluation_pages import HERE, at_work, page, queries_of
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


class TestPosts:
    @pytest.mark.parametrize("order", ["", "confidence", "unsure", "mistakes"])
    def test_pages_show_each_post_once(self, lead, dataset, order, monkeypatch):
        evaluation = evaluate(dataset, "text" if order != "mistakes" else "majority")
        filters = posts.Filters(order=order)
        seen: list[int] = []
        after = ""
        for _ in range(30):
            found = posts.page_of(evaluation, filters, {"after": after}, size=4)
            seen += [told.item.pk for told in found.posts]
            after = found.after
            if not after:
                break
        wrong = Prediction.objects.filter(evaluation=evaluation, to_calibrate=False)
        expected = 20 if order == "mistakes" else 30
        assert len(seen) == len(set(seen)) == expected
        assert wrong.count() == 30

    def test_the_surest_come_first(self, dataset):
        evaluation = evaluate(dataset, "text")
        sure = [told.sure for told in posts.page_of(evaluation, posts.Filters(order="confidence"), {}).posts]
        assert sure == sorted(sure, reverse=True)
        for told in posts.page_of(evaluation, posts.Filters(), {}).posts:
            assert max(bar.chance for bar in told.bars) == pytest.approx(told.sure)

    def test_a_list_asks_as_much_of_the_database_for_thirty_as_for_one(self, lead, dataset):
        evaluation = evaluate(dataset, "gpt")
        address = f"{HERE}/{evaluation.pk}/posts"
        queries_of(lead, address)
        assert queries_of(lead, f"{address}?slice=Text and picture/pull apart&truth=bullish") == queries_of(
            lead, address
        )

    @pytest.mark.parametrize(("query", "sentence"), [
        ("right=maybe", "“maybe” is not known as right"), ("slice=Moon/full", "“Moon” is no way to cut them"),
        ("above=much", "“much” is not a number"), ("order=best", "“best” is no order"),
        ("slice=Picture/blue", "“blue” is not known of “Picture”"), ("after=x_y", ""), ("truth=%00", ""),
    ])  # fmt: skip
    def test_what_cannot_be_understood_is_told(self, lead, dataset, query, sentence):
        evaluation = evaluate(dataset, "gpt")
        assert sentence in page(lead, f"{HERE}/{evaluation.pk}/posts?{query}")

    def test_a_removed_post_shows_as_removed_and_nothing_of_it(self, client, project, dataset):
        evaluation = evaluate(dataset, "gpt")
        remove(project.posts.get(external_id="h0"), None, "asked to")
        told = page(client, f"{HERE}/{evaluation.pk}/posts")
        assert "Removed from the project since." in told
        assert "held 0" not in told

    def test_nothing_is_listed_before_it_is_measured(self, lead, dataset):
        assert lead.get(f"{HERE}/{at_work(dataset).pk}/posts").status_code == 404


class TestDoubts:
    def mistakes(self, dataset):
        return evaluate(dataset, "majority")

    def test_a_label_that_looks_wrong_goes_to_people(self, lead, project, dataset):
        evaluation = self.mistakes(dataset)
        first = lead.get(f"{HERE}/{evaluation.pk}/posts?order=mistakes").context["page"].posts[0]
        answer = lead.post(f"{HERE}/{evaluation.pk}/posts/{first.item.pk}/doubt", {"order": "mistakes"})
        assert answer.url == f"{HERE}/{evaluation.pk}/posts?order=mistakes"
        waits = Disagreement.objects.get(why="doubt")
        assert waits.post_id == first.item.post_id
        assert waits.rank == pytest.approx(1 - first.sure)
        told = words_of(lead.get(answer.url))
        assert "waits for people now" in told
        assert told.count("Waits for review") == 1

    def test_over_htmx_its_button_alone_is_served_again(self, lead, dataset):
        evaluation = self.mistakes(dataset)
        item = lead.get(f"{HERE}/{evaluation.pk}/posts?order=mistakes").context["page"].posts[0].item
        answer = lead.post(f"{HERE}/{evaluation.pk}/posts/{item.pk}/doubt", headers={"HX-Request": "true"})
        assert "Waits for review" in answer.content.decode()
        assert "<html" not in answer.content.decode()

    def test_what_it_got_right_is_not_sent(self, lead, dataset):
        evaluation = evaluate(dataset, "gpt")
        item = dataset.items.filter(split="holdout")[0]
        answer = lead.post(f"{HERE}/{evaluation.pk}/posts/{item.pk}/doubt", follow=True)
        assert "It was not sent" in words_of(answer)
        assert not Disagreement.objects.exists()

    def test_a_label_that_people_have_changed_since_is_not_doubted_for_what_it_was(self, lead, project, dataset):
        evaluation = self.mistakes(dataset)
        wrong = dataset.items.filter(split="holdout").exclude(label=evaluation.predictions.first().label)
        one, other = wrong[:2]
        one.post.label = project.labels.exclude(name=one.label)[0]
        one.post.save()
        answer = lead.post(f"{HERE}/{evaluation.pk}/posts/{one.pk}/doubt", follow=True)
        assert "has another label now" in words_of(answer)
        assert not Disagreement.objects.exists()
        rename(project, other.label, "of another name")  # which is the same label still
        lead.post(f"{HERE}/{evaluation.pk}/posts/{other.pk}/doubt")
        assert Disagreement.objects.get().post_id == other.post_id


# --- Two of them


class TestCompare:
    def test_it_takes_two(self, lead, dataset):
        assert "It takes two" in page(lead, f"{HERE}/compare")
        evaluate(dataset, "gpt")
        assert "It takes two" in page(lead, f"{HERE}/compare")

    def test_it_says_in_words_who_is_better_either_way_round(self, lead, dataset):
        low, high = evaluate(dataset, "majority"), evaluate(dataset, "gpt")
        for first, second in ((low, high), (high, low)):
            told = page(lead, f"{HERE}/compare?first={first.pk}&second={second.pk}")
            assert "gpt is better than Always the commonest label by" in told

    @pytest.mark.parametrize(("which", "count"), [("", 20), ("first", 0), ("second", 20), ("neither", 0)])
    def test_it_lists_the_posts_on_which_they_differ(self, lead, dataset, which, count):
        low, high = evaluate(dataset, "majority"), evaluate(dataset, "gpt")
        shown = lead.get(f"{HERE}/compare?first={low.pk}&second={high.pk}&which={which}").context
        assert len(shown["page"].posts) == count
        told = shown["pair"].told
        assert (told.only_a, told.only_b) == (0, 20)

    def test_posts_are_matched_across_versions_of_a_dataset(self, lead, project, dataset):
        low = evaluate(dataset, "majority")
        make_post(project, "one more, green and moon", "bullish", label_source="review")
        high = evaluate(frozen(project, "v2"), "gpt")
        assert low.test_hash == high.test_hash
        assert len(lead.get(f"{HERE}/compare?first={low.pk}&second={high.pk}").context["page"].posts) == 20

    def test_different_posts_are_not_held_against_each_other(self, lead, dataset):
        one, other = evaluate(dataset, "gpt"), evaluate(dataset, "majority", "test")
        told = page(lead, f"{HERE}/compare?first={one.pk}&second={other.pk}")
        assert "measured on different posts" in told
        assert "Who is right where" not in told

    def test_an_unknown_one_is_not_found(self, lead, dataset):
        evaluate(dataset, "gpt")
        assert lead.get(f"{HERE}/compare?first=999999").status_code == 404
