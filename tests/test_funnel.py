from datetime import timedelta
from decimal import Decimal

import pytest
from django.utils import timezone

from annotate.agreement import Share
from annotate.funnel import funnel_of, held_by, read, what_next
from annotate.models import Disagreement, LabelSource, Role, Voter
from annotate.models.review import Stream
from annotate.models.tally import fold
from annotate.shares import label_table, split
from annotate.templatetags.shapes import ago, coefficient, money, number, percent, spread

from .make import make_label, make_member, make_post, make_project, make_vote


def make_voter(project, name, provider="openai"):
    return Voter.objects.create(project=project, name=name, provider=provider, fingerprint=name)


@pytest.fixture
def project():
    return make_project()


@pytest.mark.django_db
class TestFunnel:
    def test_it_counts_posts_by_what_became_of_them(self, project):
        make_post(project)
        make_post(project, label="bullish", vote_count=2)
        make_post(project, label="bullish", label_source="review", holdout=True, vote_count=2)
        make_post(project, state="contested", vote_count=2)
        make_post(project, state="aside", vote_count=2)
        make_post(make_project(), label="bearish")
        seen, bullish = funnel_of(project), make_label(project, "bullish").pk
        assert (seen.imported, seen.voted, seen.waiting, seen.settled, seen.contested) == (5, 4, 1, 2, 1)
        assert (seen.aside, seen.reviewed, seen.holdout, seen.labelled) == (1, 1, 1, 2)
        assert seen.by_label == {bullish: {"consensus": 1, "review": 1}}
        assert seen.by_label_told == {bullish: {"consensus": 1}}
        assert sum(part.posts for part in seen.states) == 5

    def test_it_follows_a_post_that_changes_or_goes(self, project):
        post, gone = make_post(project), make_post(project)
        post.label, post.label_source, post.state = make_label(project, "neutral"), "review", "settled"
        post.save()
        gone.delete()
        assert (funnel_of(project).imported, funnel_of(project).waiting, funnel_of(project).reviewed) == (1, 0, 1)

    def test_folding_the_tallies_changes_no_number(self, project):
        make_vote(make_post(project, label="bullish"), "a", "bullish", cost=Decimal("0.5"))
        make_vote(make_post(project), "a").delete()
        before = funnel_of(project)
        fold()
        assert funnel_of(project) == before

    def test_it_counts_each_voters_votes_abstentions_and_cost(self, project):
        make_voter(project, "gpt")
        for label in ("bullish", "neutral", ""):
            make_vote(make_post(project), "gpt", label, cost=Decimal("0.25"))
        seen = funnel_of(project)
        (gpt,) = seen.voters
        assert (gpt.name, gpt.votes, gpt.abstentions, gpt.cost) == ("gpt", 3, 1, Decimal("0.75"))
        assert seen.spent == Decimal("0.75")

    def test_what_an_imported_vote_cost_is_unknown_and_not_nothing(self, project):
        make_vote(make_post(project), "from a file", "bullish")
        assert funnel_of(project).voters[0].cost is None
        assert funnel_of(project).spent is None
        make_voter(project, "local")
        make_vote(make_post(project), "local", "bullish", cost=Decimal(0))
        seen = funnel_of(project)
        assert (seen.spent, seen.unpriced) == (0, True)

    def test_nothing_is_nothing(self, project):
        seen = funnel_of(project)
        assert (seen.imported, seen.spent, seen.voters, seen.by_label) == (0, 0, (), {})

    def test_many_projects_take_two_queries(self, django_assert_num_queries):
        projects = [make_project() for _ in range(4)]
        for n, project in enumerate(projects):
            for _ in range(n):
                make_vote(make_post(project), "gpt", "bullish")
        with django_assert_num_queries(2):
            seen = read(projects)
        assert [seen[project.pk].imported for project in projects] == [0, 1, 2, 3]
        assert [sum(v.votes for v in seen[project.pk].voters) for project in projects] == [0, 1, 2, 3]

    def test_it_says_what_holds_a_label(self, project):
        label = make_label(project, "bullish")
        assert held_by(label) == ""
        make_vote(make_post(project, label="bullish"), "a", "bullish")
        make_vote(make_post(project), "a", "bullish")
        assert held_by(label) == "1 post and 2 votes"


@pytest.mark.django_db
class TestNext:
    def buttons(self, project, role=Role.ADMIN):
        return [step.button for step in what_next(project, funnel_of(project), role)]

    def test_an_empty_project_wants_labels_posts_and_guidelines(self):
        assert self.buttons(make_project(labels=())) == ["Add labels", "Import posts", "Write guidelines"]

    def test_others_are_not_sent_where_they_may_not_go(self):
        assert self.buttons(make_project(labels=()), Role.LEAD) == []

    def test_what_is_to_be_reviewed_comes_before_what_waits_for_votes(self):
        project = make_project(guidelines="Look.")
        make_post(project)
        Disagreement.objects.create(project=project, post=make_post(project, state="contested"), why="split")
        assert self.buttons(project) == ["Review", "Start voting"]
        assert self.buttons(project, Role.REVIEWER) == ["Review", "See the waiting"]
        assert what_next(project, funnel_of(project), Role.REVIEWER)[0].url == f"/p/{project.slug}/review"

    def test_what_people_differ_on_is_work_for_leads_alone(self, client):
        project = make_project(guidelines="Look.")
        post = make_post(project, state="contested")
        Disagreement.objects.create(project=project, post=post, why="split", stream=Stream.CONFLICT)
        assert self.buttons(project, Role.LEAD) == ["Review"]
        assert self.buttons(project, Role.REVIEWER) == []
        client.force_login(make_member(project))
        assert "is for leads" in client.get(f"/p/{project.slug}/").content.decode()

    def test_a_settled_project_wants_nothing(self):
        project = make_project(guidelines="Look.")
        make_post(project, label="bullish")
        assert self.buttons(project) == []


class TestShares:
    def test_slices_lie_side_by_side_and_fill_the_bar(self):
        slices = split(("a", "x", 1), ("none", "y", 0), ("b", "z", 3))
        assert [(s.name, s.x, s.width) for s in slices] == [("a", 0, 25), ("b", 25, 75)]

    def test_nothing_has_no_slices(self):
        assert split() == split(("a", "x", 0)) == []

    @pytest.mark.django_db
    def test_the_table_shows_every_label_and_only_sources_that_gave_one(self):
        project = make_project(labels=("up", "down"))
        up, down = project.labels.all()
        table = label_table([up, down], {up.pk: {"import": 3, "review": 1}})
        assert table.sources == [LabelSource.REVIEW, LabelSource.IMPORT]
        assert [(row.label, row.posts, [n for _, n in row.by_source]) for row in table.rows] == [
            (up, 4, [1, 3]), (down, 0, [0, 0]),
        ]  # fmt: skip


class TestShapes:
    @pytest.mark.parametrize(
        ("amount", "written"),
        [(None, "unknown"), (0, "$0.00"), (Decimal("3.414"), "$3.41"), (1234.5, "$1,234.50"),
         (Decimal("0.0123"), "$0.0123"), (0.00001, "under $0.0001")],
    )  # fmt: skip
    def test_money(self, amount, written):
        assert money(amount) == written

    @pytest.mark.parametrize(
        ("part", "whole", "written"),
        [(0, 0, "–"), (0, 9, "0%"), (1, 1000, "<1%"), (84, 100, "84%"), (999, 1000, ">99%"), (5, 5, "100%")],
    )
    def test_percent(self, part, whole, written):
        assert percent(part, whole) == written

    @pytest.mark.parametrize(
        ("share", "written"),
        [(Share(8, 10), "49–94%"), (Share(8000, 10000), "79.2–80.8%"), (Share(8 * 10**6, 10**7), "79.98–80.02%"),
         (Share(0, 3), "0–56%"), (Share(3, 3), "44–100%")],
    )  # fmt: skip
    def test_an_interval_has_as_many_places_as_tell_its_ends_apart(self, share, written):
        assert spread(share) == written

    @pytest.mark.parametrize(("value", "written"), [(None, "–"), (-0.001, "0.00"), (-0.126, "−0.13"), (1, "1.00")])
    def test_coefficient(self, value, written):
        assert coefficient(value) == written

    @pytest.mark.parametrize(
        ("before", "written"),
        [(timedelta(seconds=5), "just now"), (timedelta(minutes=3), "3 min ago"), (timedelta(hours=5), "5 h ago"),
         (timedelta(days=1), "1 day ago"), (timedelta(days=3), "3 days ago")],
    )  # fmt: skip
    def test_ago(self, before, written):
        assert ago(timezone.now() - before) == written

    def test_long_ago_is_a_date(self):
        assert ago(timezone.now() - timedelta(days=400))[-4:].isdecimal()

    def test_numbers_have_thousands(self):
        assert [number(1234567), number(None)] == ["1,234,567", "–"]
