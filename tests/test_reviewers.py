"""People's pace and agreement: counted in the database as reliability counts it, and told to the right people."""

import random
from datetime import UTC, datetime, time, timedelta

import pytest
from django.utils import timezone

from annotate import deciding, queue, reliability, reviewers
from annotate.models import Disagreement, Review, Role
from annotate.models.review import Stream, Why

from . import reviewers_by_hand
from .make import make_label, make_member, make_post, make_project, make_user
from .reviewers_by_hand import Decision
from .test_deciding import agreed, answer
from .test_queue import seat

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _counted_now(monkeypatch):
    monkeypatch.setattr(queue, "open_in", queue.count_open)


@pytest.fixture
def project():
    return make_project("Memes", audit_rate=1)


def said(project, waiting, user, label="", days=1, **fields):
    chosen = make_label(project, label) if label else None
    fields.setdefault("instead", "" if label else "cannot_tell")
    review = Review.objects.create(
        project=project, disagreement=waiting, reviewer=user, key=f"{waiting.pk} {fields.get('final')}",
        label=chosen, **fields,
    )  # fmt: skip
    Review.objects.filter(pk=review.pk).update(at=ago(days))
    return review


def ago(days):
    """At noon, so that no test depends on when it runs; today's may be to come, and is just now then."""
    now = timezone.now().astimezone(UTC)
    return min(now, datetime.combine(now - timedelta(days=days), time(12), UTC))


def double(project):
    return Disagreement.objects.create(project=project, post=make_post(project), why=Why.SPLIT, wanted=2, answers=2)


def check(project, label="bullish", source="import"):
    post = make_post(project, label=label, label_source=source, holdout=True)
    return Disagreement.objects.create(project=project, post=post, why=Why.CHECK, stream=Stream.CHECK)


def person(project, user):
    return reviewers.one(project, user)


class TestFigures:
    def test_the_same_as_reliability_counts(self, project):
        rng, people = random.Random(3), [make_member(project) for _ in range(3)]
        labels = ["bullish", "bearish", "neutral", ""]
        decisions = []
        for _ in range(60):
            days, one, other = rng.randrange(1, 60), *rng.sample(people, 2)
            waiting, answers = double(project), [rng.choice(labels) for _ in range(2)]
            for who, label, against in zip((one, other), answers, reversed(answers), strict=True):
                seconds = rng.choice([None, rng.uniform(1, 20)])
                said(project, waiting, who, label, days, seconds=seconds)
                decisions.append(self.decision(project, who, days, label, seconds, others=(against,)))
        for _ in range(30):
            days, who, label = rng.randrange(1, 60), rng.choice(people), rng.choice(labels)
            said(project, check(project), who, label, days, seconds=4)
            decisions.append(self.decision(project, who, days, label, 4, check="bullish"))
        expected = {one.reviewer: one for one in reviewers_by_hand.reviewers(decisions)}
        for found in reviewers.everybody(project).people:
            by_hand = expected[found.user.pk]
            assert found.whole == by_hand.whole
            worked = {week.first.toordinal(): week.work for week in found.weeks if week.decisions}
            assert worked == by_hand.weeks
            assert found.drifts == [drift.words for drift in by_hand.drifts if drift.words]

    def decision(self, project, who, days, label, seconds, others=(), check=""):
        day = ago(days).date()
        known = {name: make_label(project, name).pk for name in ("bullish", "bearish", "neutral")} | {"": None}
        return Decision(
            who.pk, (day - timedelta(days=day.weekday())).toordinal(), known[label], seconds,
            tuple(known[other] for other in others), known[check],
        )  # fmt: skip

    def test_skipped_and_taken_back_are_no_decisions(self, project):
        for _ in range(3):
            agreed(project)
        who = seat(project)
        seat(project)
        answer(who, "bullish")
        answer(who, instead="skip")
        answer(who, "bullish")
        deciding.undo(who)
        assert person(project, who.user).whole.decisions == 1

    def test_a_leads_word_is_not_held_against_anybody(self, project):
        one, other, lead = make_member(project), make_member(project), make_member(project, Role.LEAD)
        waiting = double(project)
        said(project, waiting, one, "bullish")
        said(project, waiting, other, "bearish")
        said(project, waiting, lead, "neutral", final=True)
        whole = {found.user: found.whole.with_others for found in reviewers.everybody(project).people}
        assert whole[one] == whole[other] == reliability.Share(0, 1)
        assert whole[lead].of == 0

    def test_a_label_that_machines_gave_is_no_check(self, project):
        who = make_member(project)
        said(project, check(project, source="consensus"), who, "bearish")
        assert person(project, who).whole.on_checks.of == 0

    def test_how_often_the_votes_were_seen(self, project):
        who = make_member(project)
        said(project, double(project), who, "bullish", saw=[1, 2])
        said(project, double(project), who, "bullish")
        assert person(project, who).saw == reliability.Share(1, 2)

    def test_alpha_among_people(self, project):
        one, other = make_member(project), make_member(project)
        for mine, theirs in (("bullish", "bullish"), ("bearish", "bearish"), ("bullish", "bearish")):
            waiting = double(project)
            said(project, waiting, one, mine)
            said(project, waiting, other, theirs)
        room = reviewers.everybody(project)
        assert room.compared == 3
        assert room.alpha == pytest.approx(1 - 5 * 2 / (2 * 3 * 3))

    def test_drift_is_told_where_chance_would_not_do_it(self, project):
        who = make_member(project)
        for days in (0, 20, 27, 34):
            for _ in range(15):
                said(project, check(project), who, "bullish" if days else "bearish", days)
        assert person(project, who).drifts == [
            "Agreed with the checks on 0% of 15 in the last week, 100% of 45 before: more than chance would change."
        ]

    def test_long_ago_is_left_out(self, project):
        who = make_member(project)
        said(project, double(project), who, "bullish", days=7 * reviewers.WEEKS + 7)
        assert person(project, who) is None


class TestOneself:
    def test_up_to_yesterday_alone(self, project):
        """Whoever saw the figure of checks move after a decision would know that it was one."""
        who = make_member(project)
        said(project, check(project), who, "bullish", days=0)
        assert reviewers.oneself(project, who) is None
        said(project, check(project), who, "bearish", days=1)
        assert reviewers.oneself(project, who).whole.on_checks == reliability.Share(0, 1)

    def test_the_page_names_no_check(self, client, project):
        who = make_member(project)
        waiting = check(project)
        said(project, waiting, who, "bearish")
        client.force_login(who)
        page = client.get(f"/p/{project.slug}/reviewers/me").content.decode()
        assert "Right on posts whose label is known" in page
        assert "/posts/" not in page
        assert "quality" not in page.split("<main")[1].replace('class="grid quality"', "").replace("quality.css", "")

    def test_nobody_else_is_on_it(self, client, project):
        who, other = make_member(project, username="kim"), make_member(project, username="zoe")
        for user in (who, other):
            said(project, double(project), user, "bullish")
        client.force_login(who)
        assert "zoe" not in client.get(f"/p/{project.slug}/reviewers/me").content.decode()
        assert client.get(f"/p/{project.slug}/reviewers/{other.pk}").status_code == 403
        assert client.get(f"/p/{project.slug}/reviewers").status_code == 403

    def test_with_nothing_decided_it_says_what_to_do(self, client, project):
        client.force_login(make_member(project))
        assert "counted from tomorrow on" in client.get(f"/p/{project.slug}/reviewers/me").content.decode()


class TestLeads:
    def test_everybody_by_name(self, client, project):
        names = ("zoe", "Ada", "kim")
        for many, username in enumerate(names, 1):
            for number in range(many):
                said(project, double(project), make_member(project, username=f"{username}{number}"), "bullish")
        room = reviewers.everybody(project)
        assert [one.user.username for one in room.people] == ["Ada0", "Ada1", "kim0", "kim1", "kim2", "zoe0"]
        client.force_login(make_member(project, Role.LEAD))
        page = client.get(f"/p/{project.slug}/reviewers").content.decode()
        assert page.index("Ada0") < page.index("kim0") < page.index("zoe0")

    def test_one_person(self, client, project):
        who = make_member(project, username="kim")
        said(project, double(project), who, "bullish", seconds=4)
        client.force_login(make_member(project, Role.LEAD))
        page = client.get(f"/p/{project.slug}/reviewers/{who.pk}").content.decode()
        assert "4.0 s" in page
        assert "quality/decided?who=kim" in page

    def test_only_who_reviewed_here(self, client, project):
        client.force_login(make_member(project, Role.LEAD))
        assert client.get(f"/p/{project.slug}/reviewers/{make_user().pk}").status_code == 404

    def test_before_anybody_reviewed(self, client, project):
        client.force_login(make_member(project, Role.LEAD))
        page = client.get(f"/p/{project.slug}/reviewers").content.decode()
        assert "Nobody has decided anything in these weeks" in page
