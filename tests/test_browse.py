from datetime import UTC, datetime

import pytest
from django.utils import timezone

from annotate.blindness import Reader
from annotate.browse import Count, Filters, matching, page_of, read_key, write_key
from annotate.models import Disagreement, Review, Role, Template, User
from tests.make import make_member, make_post, make_project, make_vote

pytestmark = pytest.mark.django_db


@pytest.fixture
def project():
    return make_project()


def make_decided(project, text, label="", instead=""):
    stands = {"label": label, "label_source": "review"} if label else {"state": "aside"}
    post = make_post(project, text, **stands)
    Disagreement.objects.create(
        project=project, post=post, why="split", closed=timezone.now(), was_state="contested", instead=instead,
        label=post.label,
    )  # fmt: skip
    return post


def make_answer(post, name):
    user = User.objects.filter(username=name).first() or make_member(post.project, username=name)
    label = post.project.labels.get(name="bullish")
    Review.objects.create(
        project=post.project, disagreement=post.disagreements.get(), reviewer=user, key=f"{post.pk}", label=label
    )


def found(project, **filters: str) -> list[str]:
    match = matching(project, Filters(**filters))
    assert match.count().number == match.posts.count()
    return sorted(match.posts.values_list("text", flat=True))


def complaints(project, **filters: str) -> list[str]:
    return matching(project, Filters(**filters)).mend


class TestFilters:
    def test_by_state(self, project):
        make_post(project, "waits")
        make_post(project, "contested", state="contested")
        assert found(project, state="contested") == ["contested"]

    def test_by_label_in_any_case(self, project):
        make_post(project, "up", "bullish")
        make_post(project, "down", "bearish")
        assert found(project, label="Bullish") == ["up"]

    def test_by_where_the_label_came_from(self, project):
        make_post(project, "agreed", "bullish")
        make_post(project, "known", "bullish", label_source="import")
        assert found(project, source="import") == ["known"]

    def test_by_voter_and_what_it_said(self, project):
        for text, said in (("one", "bullish"), ("two", "bearish"), ("three", "")):
            make_vote(make_post(project, text), "gpt", said)
        make_post(project, "not asked")
        assert found(project, voter="gpt") == ["one", "three", "two"]
        assert found(project, voter="gpt", said="bullish") == ["one"]
        assert found(project, voter="gpt", said="abstained") == ["three"]

    def test_by_two_voters_and_what_each_said(self, project):
        for text, one, other in (
            ("agree", "bullish", "bullish"),
            ("differ", "bullish", "bearish"),
            ("shy", "", "bullish"),
        ):
            post = make_post(project, text)
            make_vote(post, "gpt", one)
            make_vote(post, "gemini", other)
        make_vote(make_post(project, "alone"), "gpt", "bullish")
        both = {"voter": "gpt", "other": "gemini"}
        assert found(project, other="gemini") == found(project, **both) == ["agree", "differ", "shy"]
        assert found(project, **both, said="bullish", other_said="bearish") == ["differ"]
        assert found(project, **both, said="abstained", other_said="bullish") == ["shy"]
        assert found(project, **both, answers="both") == ["agree", "differ"]
        assert found(project, **both, answers="same") == ["agree"]
        assert found(project, **both, answers="different") == ["differ"]
        assert found(project, voter="gpt", other_said="bearish") == ["agree", "alone", "differ", "shy"]

    def test_by_whether_anybody_voted(self, project):
        make_post(project, "voted", vote_count=2)
        make_post(project, "not")
        assert found(project, voted="1") == ["voted"]

    def test_by_template(self, project):
        group = Template.objects.create(project=project)
        make_post(project, "in", template=group)
        make_post(project, "out")
        assert found(project, template=str(group.pk)) == ["in"]

    def test_by_day_both_ends_included(self, project):
        for day in (13, 14, 15):
            make_post(project, str(day), at=datetime(2025, 11, day, 23, 59, tzinfo=UTC))
        assert found(project, since="2025-11-14", until="2025-11-14") == ["14"]

    def test_by_words_stemmed_quoted_and_excluded(self, project):
        make_post(project, "mooning hard")
        make_post(project, "the moon is a rug")
        make_post(project, "nothing")
        assert found(project, q="moon") == ["mooning hard", "the moon is a rug"]
        assert found(project, q="moon -rug") == ["mooning hard"]

    def test_by_the_locked_test_set(self, project):
        make_post(project, "locked", holdout=True)
        make_post(project, "free")
        assert found(project, holdout="1") == ["locked"]

    def test_by_why_people_set_it_aside(self, project):
        for text, flag in (("torn", "broken"), ("foreign", "not_ours")):
            make_decided(project, text, instead=flag)
        make_decided(project, "kept", label="bullish")
        assert found(project, state="aside") == ["foreign", "torn"]
        assert found(project, flag="broken") == ["torn"]

    def test_by_who_answered_as_long_as_it_was_not_taken_back(self, project):
        first, second = make_decided(project, "one", label="bullish"), make_decided(project, "two", label="bullish")
        for post, name in ((first, "kim"), (second, "kim"), (second, "lee")):
            make_answer(post, name)
        Review.objects.filter(disagreement__post=first).update(undone=timezone.now())
        make_answer(first, "ada")
        assert found(project, reviewer="kim") == ["two"]
        assert found(project, reviewer="ada") == ["one"]

    def test_reviewers_find_answers_of_others_only_where_all_have_spoken(self, project):
        done, half = make_decided(project, "done", label="bullish"), make_post(project, "half", state="contested")
        Disagreement.objects.create(project=project, post=half, why="split", wanted=2, answers=1)
        for post in (done, half):
            make_answer(post, "kim")
        kim, other = User.objects.get(username="kim"), make_member(project)
        asked = Filters(reviewer="kim")

        def seen(reader):
            return sorted(matching(project, asked, reader).posts.values_list("text", flat=True))

        assert seen(Reader(Role.REVIEWER, other)) == ["done"]
        assert seen(Reader(Role.REVIEWER, kim)) == seen(Reader(Role.LEAD, other)) == ["done", "half"]

    def test_never_reach_into_another_project(self, project):
        other = make_project()
        group = Template.objects.create(project=other)
        make_post(other, "theirs", template=group)
        assert found(project) == []
        assert complaints(project, template=str(group.pk))

    @pytest.mark.parametrize(
        "asked",
        [
            {"state": "asleep"}, {"label": "moonish"}, {"source": "hearsay"}, {"voter": "nobody"},
            {"template": "x"}, {"template": "9" * 40}, {"since": "yesterday"}, {"until": "2025-02-31"},
            {"other": "nobody"}, {"voter": "gpt", "other": "gemini", "other_said": "moonish"},
            {"voter": "gpt", "other": "gemini", "answers": "loud"}, {"other": "gemini", "answers": "same"},
            {"voter": "gpt", "answers": "same"}, {"flag": "meh"}, {"reviewer": "nobody"},
        ],
    )  # fmt: skip
    def test_that_make_no_sense_say_so(self, project, asked):
        post = make_post(project)
        make_vote(post, "gpt", "bullish")
        make_vote(post, "gemini", "bullish")
        assert complaints(project, **asked)


class TestPages:
    def walk(self, project, step: str, **filters: str) -> list[list[str]]:
        asked = Filters(**filters)
        posts = matching(project, asked).posts
        page = page_of(posts, asked, {} if step == "after" else {"end": "1"}, size=2)
        pages = [[post.text for post in page.posts]]
        while key := getattr(page, step):
            page = page_of(posts, asked, {step: key}, size=2)
            pages.append([post.text for post in page.posts])
        return pages

    def test_go_forth_newest_first(self, project):
        for n in range(5):
            make_post(project, str(n))
        assert self.walk(project, "after") == [["4", "3"], ["2", "1"], ["0"]]

    def test_go_back_from_the_last(self, project):
        for n in range(5):
            make_post(project, str(n))
        assert self.walk(project, "before") == [["1", "0"], ["3", "2"], ["4"]]

    def test_go_oldest_first_when_asked(self, project):
        for n in range(3):
            make_post(project, str(n))
        assert self.walk(project, "after", order="oldest") == [["0", "1"], ["2"]]

    def test_lose_nothing_among_posts_of_one_moment(self, project):
        moment = datetime(2025, 11, 14, tzinfo=UTC)
        for n in range(5):
            make_post(project, str(n), at=moment)
        assert [text for page in self.walk(project, "after") for text in page] == ["4", "3", "2", "1", "0"]

    def test_know_where_the_ends_are(self, project):
        for n in range(3):
            make_post(project, str(n))
        asked = Filters()
        posts = matching(project, asked).posts
        first = page_of(posts, asked, {}, size=2)
        last = page_of(posts, asked, {"after": first.after}, size=2)
        assert (first.first, first.last, last.first, last.last) == (True, False, False, True)

    def test_start_over_with_a_key_that_somebody_made_up(self, project):
        make_post(project, "only")
        for key in ("x", "%%%", "bnVsbA", "WyJ4IiwxXQ", "[" * 500):
            assert read_key(key) is None
            assert page_of(matching(project, Filters()).posts, Filters(), {"after": key}).posts

    def test_keys_come_back_as_they_went(self, project):
        post = make_post(project)
        assert read_key(write_key(post)) == (post.at, post.pk)

    def test_count_only_so_far(self, project, monkeypatch):
        monkeypatch.setattr("annotate.browse.COUNT_UP_TO", 2)
        for _ in range(3):
            make_post(project, "gm")
        assert matching(project, Filters(q="gm")).count() == Count(2, more=True)
        assert matching(project, Filters()).count() == Count(3)

    def test_of_a_few_matches_are_the_same_as_of_many(self, project):
        for n in range(5):
            make_post(project, f"gm {n}")
        asked = Filters(q="gm")
        match = matching(project, asked)
        assert page_of(match.posts, asked, {}, size=2, count=match.count()) == page_of(match.posts, asked, {}, size=2)


class TestWhatIsNotThere:
    """No index knows where a word is missing: every post has to be read, and a page reads only so many."""

    @pytest.fixture(autouse=True)
    def _few(self, monkeypatch):
        monkeypatch.setattr("annotate.browse.READ_UP_TO", 3)

    def within(self, project, **filters):
        match = matching(project, Filters(**filters)).within_reach(Filters(**filters))
        assert match.count().number == match.posts.count()
        return sorted(match.posts.values_list("text", flat=True)), match.told

    def test_is_sought_among_the_newest(self, project):
        for text in ("old gm", "old", "gm", "new", "newer gm"):
            make_post(project, text)
        texts, told = self.within(project, q="-gm")
        assert texts == ["new"]
        assert told.startswith("Only the newest 3 of these posts were looked through")
        assert found(project, q="-gm") == ["new", "old"]  # by whoever has the time, such as a voting run

    def test_is_sought_among_the_oldest_where_these_come_first(self, project):
        for text in ("old gm", "old", "gm", "new"):
            make_post(project, text)
        texts, told = self.within(project, q="-gm", order="oldest")
        assert (texts, told.split(" of ")[0]) == (["old"], "Only the oldest 3")

    def test_of_posts_of_one_moment_no_more_are_read(self, project):
        moment = datetime(2025, 11, 14, tzinfo=UTC)
        for n in range(5):
            make_post(project, str(n), at=moment)
        assert self.within(project, q="-gm")[0] == ["2", "3", "4"]

    @pytest.mark.parametrize(
        ("words", "told"),
        [("-gm", True), ("-gm -moon", True), ("moon or -gm", True), ("moon -gm", False), ("moon", False),
         ('"gm-moon"', False), ("-the", False), ("--", False), ("", False)],
    )  # fmt: skip
    def test_only_a_search_that_names_no_word_that_is_there_is_cut_short(self, project, words, told):
        for n in range(5):
            make_post(project, f"moon {n}")
        assert bool(self.within(project, q=words)[1]) == told

    def test_is_sought_among_all_where_other_filters_leave_few(self, project):
        for n in range(5):
            make_post(project, f"{n}", state="waiting" if n else "aside")
        assert self.within(project, q="-gm", state="aside") == (["0"], "")
        assert self.within(project, q="-gm", state="waiting")[1]

    def test_the_page_says_so(self, client, project):
        client.force_login(make_member(project))
        posts = [make_post(project, text) for text in ("old", "gm 1", "new", "gm 2")]
        page = client.get(f"/p/{project.slug}/posts?q=-gm").content.decode()
        assert "Only the newest 3 of these posts were looked through" in page
        assert "1 match" in page
        assert client.get(f"/p/{project.slug}/posts/{posts[2].pk}?q=-gm").status_code == 200
        assert "looked through" not in client.get(f"/p/{project.slug}/posts?q=gm").content.decode()


class TestThePage:
    @pytest.fixture
    def reader(self, client, project):
        client.force_login(make_member(project))
        return client

    def test_shows_posts_with_their_labels(self, reader, project):
        make_post(project, "to the moon", "bullish")
        page = reader.get(f"/p/{project.slug}/posts").content.decode()
        assert "to the moon" in page
        assert "bullish" in page

    def test_escapes_what_strangers_wrote(self, reader, project):
        post = make_post(project, "<script>alert(1)</script>")
        for url in (
            f"/p/{project.slug}/posts",
            f"/p/{project.slug}/posts?as=list",
            f"/p/{project.slug}/posts/{post.pk}",
        ):
            assert "<script>alert" not in reader.get(url).content.decode()

    def test_asks_as_much_of_the_database_for_many_posts_as_for_few(
        self, reader, project, django_assert_max_num_queries
    ):
        for n in range(40):
            make_vote(make_post(project, str(n), "bullish"), "gpt", "bullish")
        for url in ("", "?as=list", "?voter=gpt&said=bullish"):
            with django_assert_max_num_queries(13):
                reader.get(f"/p/{project.slug}/posts{url}")

    def test_of_one_post_tells_its_story_in_order(self, reader, project):
        post = make_post(project, "gm", "bullish")
        make_vote(post, "gpt-4o-mini", "bullish", confidence=0.81, reason="rocket")
        page = reader.get(f"/p/{project.slug}/posts/{post.pk}").content.decode()
        assert page.index("Imported") < page.index("gpt-4o-mini") < page.index("The voters agree")

    def test_of_one_post_leads_to_its_neighbours_in_the_list_one_came_from(self, reader, project):
        first, between, last = (make_post(project, text, label) for text, label in
                                (("a", "bullish"), ("b", "bearish"), ("c", "bullish")))  # fmt: skip
        page = reader.get(f"/p/{project.slug}/posts/{first.pk}?label=bullish").content.decode()
        assert f"/posts/{last.pk}?label=bullish" in page
        assert f"/posts/{between.pk}?" not in page

    def test_of_a_post_in_another_project_is_not_found(self, reader, project):
        assert reader.get(f"/p/{project.slug}/posts/{make_post(make_project()).pk}").status_code == 404
