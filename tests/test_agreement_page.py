import html
import re
from datetime import timedelta
from itertools import combinations

import krippendorff
import numpy as np
import pytest
from django.utils import timezone
from django_q.models import OrmQ
from sklearn.metrics import cohen_kappa_score

from annotate import ballots
from annotate.agreement import Share
from annotate.agreement_pictures import heat_map, line
from annotate.models import AgreementSnapshot, Template, Voter
from annotate.tasks import count_agreement
from annotate.voter_pairs import Voters, last_day

from .make import EPOCH, make_member, make_post, make_project, make_vote

pytestmark = pytest.mark.django_db
LINK = re.compile(r'<a[^>]*href="([^"]*/posts\?[^"]*)"[^>]*>(.*?)</a>', re.DOTALL)
SAID = ["bullish", "bearish", "neutral", ""]


@pytest.fixture
def project():
    return make_project("Memes")


@pytest.fixture
def reader(client, project):
    client.force_login(make_member(project))
    return client


def voter(project, name, model="", prompt=""):
    return Voter.objects.create(
        project=project, name=name, provider="openai", model=model, prompt=prompt, fingerprint=name
    )


def fill(project, voters=("gpt", "gemini"), posts=40):
    """Every pair of answers occurs, over ten weeks, some within a template; not every voter votes on all."""
    rocket = Template.objects.create(project=project, name="Rocket", size=posts)
    for n in range(posts):
        post = make_post(project, f"post {n}", at=EPOCH + timedelta(days=2 * n), template=rocket if n % 2 else None)
        for place, name in enumerate(voters):
            if (n + place) % 13:
                make_vote(post, name, SAID[(n // 4**place + place * (n % 3 == 0)) % 4])


def page_of(reader, project, query=""):
    response = reader.get(f"/p/{project.slug}/agreement{query}")
    assert response.status_code == 200
    return response.content.decode()


def words_of(fragment):
    return re.sub(r"<title>.*?</title>|<[^>]+>", " ", fragment, flags=re.DOTALL)


def figures_with_addresses(page):
    """What each link says, and the posts it leads to."""
    for address, inner in LINK.findall(page):
        if found := re.match(r"\s*([\d,]+)", words_of(inner)):
            yield int(found[1].replace(",", "")), html.unescape(address)


def posts_behind(reader, address):
    shown = reader.get(address).context
    assert shown["mend"] == []
    assert not shown["count"].more
    return shown["count"].number


def vote_of(post, one):
    return next((vote.label_id for vote in post.votes.all() if vote.voter_id == one.pk), None)


class TestFigures:
    def test_every_figure_opens_as_many_posts_as_it_says(self, reader, project):
        fill(project)
        links = set(figures_with_addresses(page_of(reader, project)))
        assert len(links) > 40
        assert {address: posts_behind(reader, address) for _, address in links} == {a: n for n, a in links}

    def test_so_does_every_point_over_time(self, reader, project):
        fill(project, posts=20)
        points = re.findall(r'href="([^"]*)" tabindex="-1"><title>.*? of ([\d,]+) posts', page_of(reader, project))
        assert points
        for address, posts in points:
            assert posts_behind(reader, html.unescape(address)) == int(posts)

    def test_names_with_odd_letters_keep_their_links(self, reader):
        project = make_project("Odd", labels=("a & b", "c+d", 'e"f'))
        reader.force_login(make_member(project))
        for said, other in (("a & b", "c+d"), ('e"f', 'e"f'), ("c+d", "a & b")):
            post = make_post(project)
            make_vote(post, "gpt & co", said)
            make_vote(post, "x=y?", other)
        for figure, address in figures_with_addresses(page_of(reader, project)):
            assert posts_behind(reader, address) == figure

    def test_three_voters_are_paired_as_asked(self, reader, project):
        fill(project, ("gpt", "gemini", "keywords"))
        page = page_of(reader, project, "?voter=keywords&other=gpt")
        assert "keywords and gpt</h2>" in page
        assert "all 3 voters" in page
        for figure, address in figures_with_addresses(page):
            assert posts_behind(reader, address) == figure

    def test_a_pair_that_nobody_knows_is_the_one_with_most_to_compare(self, reader, project):
        fill(project)
        make_vote(make_post(project), "keywords", "bullish")
        assert "gemini and gpt</h2>" in page_of(reader, project, "?voter=nobody&other=gpt")

    def test_prompts_and_models_that_pairs_share_are_told(self, reader, project):
        for name, model, prompt in (("a", "x", "long"), ("b", "x", "short"), ("c", "y", "short"), ("d", "z", "")):
            voter(project, name, model, prompt)
        fill(project, ("a", "b", "c", "d"))
        table = page_of(reader, project).split('id="by-prompt"')[1]
        assert [words_of(row).split()[:4] for row in re.findall(r"<tr>(.*?)</tr>", table, re.DOTALL)[1:]] == [
            ["model", "a", "and", "b"], ["prompt", "b", "and", "c"],
        ]  # fmt: skip


class TestCounts:
    def test_from_the_database_give_what_a_row_a_post_would(self, project):
        fill(project, ("a", "b", "c"), posts=50)
        voters = Voters(project, list(project.voters.all()), ballots.read(project).ballots)
        rows = [[vote_of(post, one) for one in voters.all] for post in project.posts.all()]
        alpha = krippendorff.alpha(reliability_data=np.array(rows, float).T, level_of_measurement="nominal")
        assert voters.alpha == pytest.approx(alpha, abs=1e-9)
        for pair, (one, other) in zip(voters.pairs, combinations(zip(*rows, strict=True), 2), strict=True):
            both = [said for said in zip(one, other, strict=True) if None not in said]
            assert pair.agreed == Share(sum(a == b for a, b in both), len(both))
            assert pair.kappa == pytest.approx(cohen_kappa_score(*zip(*both, strict=True)), abs=1e-9)

    def test_of_another_project_stay_there(self, project):
        fill(project)
        fill(make_project(), ("gpt", "gemini"))
        assert sum(posts for *_, posts in ballots.read(project).ballots.rows) <= 40


class TestEmptiness:
    def test_one_voter_is_told_to_find_another(self, reader, project):
        assert "Nobody has voted yet" in page_of(reader, project)
        make_vote(make_post(project), "gpt", "bullish")
        voter(project, "silent")
        assert "Only one has voted" in page_of(reader, project)

    def test_two_who_never_met_have_nothing_to_compare(self, reader, project):
        make_vote(make_post(project), "gpt", "bullish")
        make_vote(make_post(project), "gemini", "bullish")
        assert "Nothing to compare" in page_of(reader, project)

    def test_two_who_met_only_where_one_abstained_neither(self, reader, project):
        post = make_post(project)
        make_vote(post, "gpt", "bullish")
        make_vote(post, "gemini")
        assert "Nothing to compare" in page_of(reader, project)

    def test_one_label_alone_says_why_there_is_no_kappa(self, reader, project):
        for _ in range(3):
            post = make_post(project)
            make_vote(post, "gpt", "bullish")
            make_vote(post, "gemini", "bullish")
        assert page_of(reader, project).count("All answers are one label") == 2


class TestCost:
    def test_many_posts_and_voters_ask_as_much_as_few(self, reader, project, django_assert_max_num_queries):
        fill(project, ("a", "b", "c", "d", "e"), posts=60)
        with django_assert_max_num_queries(16):
            page_of(reader, project)

    def test_strangers_do_not_learn_of_it(self, client, project):
        client.force_login(make_member(make_project()))
        assert client.get(f"/p/{project.slug}/agreement").status_code == 404


class TestBeforehand:
    @pytest.fixture(autouse=True)
    def _large(self, monkeypatch):
        monkeypatch.setattr(ballots, "FEW", 1)

    def test_a_large_project_is_counted_by_a_task_asked_for_once(self, reader, project):
        fill(project)
        assert "Being counted" in page_of(reader, project)
        assert "Being counted" in page_of(reader, project)
        assert OrmQ.objects.count() == 1
        count_agreement(project.pk)
        page = page_of(reader, project)
        assert "gemini and gpt</h2>" in page
        assert "are being counted" not in page
        for figure, address in figures_with_addresses(page):
            assert posts_behind(reader, address) == figure

    def test_what_was_counted_is_what_a_small_project_shows(self, project):
        fill(project, ("gpt", "gemini", "keywords"))
        count_agreement(project.pk)
        beforehand = ballots.read(project).ballots
        at_once = ballots.count(project, ballots.votes_cast(project))
        assert beforehand.pairs == at_once.pairs
        assert beforehand.all_voters == at_once.all_voters
        one, other = project.voters.values_list("pk", flat=True)[:2]
        assert beforehand.over_time(one, other) == at_once.over_time(other, one)
        assert beforehand.by_template(one, other) == at_once.by_template(other, one)

    def test_new_votes_are_counted_again_while_the_old_count_shows(self, reader, project):
        fill(project)
        count_agreement(project.pk)
        make_vote(make_post(project), "gpt", "bullish")
        page = page_of(reader, project)
        assert "are being counted" in page
        assert "gemini and gpt</h2>" in page
        assert OrmQ.objects.count() == 1

    def test_it_is_asked_for_again_where_no_worker_came(self, reader, project):
        fill(project)
        page_of(reader, project)
        AgreementSnapshot.objects.update(asked_at=timezone.now() - timedelta(minutes=2))
        page_of(reader, project)
        assert OrmQ.objects.count() == 2

    def test_a_task_that_comes_twice_counts_once(self, project):
        fill(project)
        count_agreement(project.pk)
        first = AgreementSnapshot.objects.get().made_at
        count_agreement(project.pk)
        assert AgreementSnapshot.objects.get().made_at == first

    def test_a_day_old_count_is_made_anew(self, project):
        fill(project)
        count_agreement(project.pk)
        AgreementSnapshot.objects.update(made_at=timezone.now() - timedelta(days=2))
        assert ballots.read(project).under_way


class TestTime:
    @pytest.mark.parametrize(("days", "unit"), [(0, "day"), (30, "day"), (300, "week"), (900, "month"), (4000, "year")])
    def test_the_longer_the_span_the_wider_the_step(self, project, days, unit):
        make_post(project, at=EPOCH)
        make_post(project, at=EPOCH + timedelta(days=days))
        assert ballots.unit_for(project) == unit

    @pytest.mark.parametrize(
        ("unit", "last"),
        [("day", "2024-02-01"), ("week", "2024-02-07"), ("month", "2024-02-29"), ("year", "2024-12-31")],
    )
    def test_a_step_ends_the_day_before_the_next(self, unit, last):
        assert last_day(EPOCH.date().replace(2024, 2, 1), unit).isoformat() == last

    def test_a_line_lies_within_its_frame(self):
        first = EPOCH.date()
        drawn = line([(first, Share(1, 9)), (first + timedelta(7), Share(8, 9)), (first + timedelta(70), Share(5, 5))])
        assert [point.x for point in drawn.points] == [2, 11.6, 98]
        assert all(0 <= point.high <= point.y <= point.low <= 100 for point in drawn.points)
        assert (drawn.ticks[0], drawn.scale[0], drawn.scale[-1]) == (1, 0, 100)

    def test_an_empty_confusion_has_no_squares(self):
        assert heat_map([], {}).squares == []
