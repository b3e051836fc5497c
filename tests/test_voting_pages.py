import re
from datetime import timedelta
from decimal import Decimal

import pytest
from django.urls import reverse
from django.utils import timezone
from django_q.models import OrmQ

from annotate import settling
from annotate.funnel import read_voters
from annotate.models import Event, Post, Role, Vote, Voter
from annotate.tasks import settle_project
from labeling import asking, pairs, runs, voters, voting
from labeling.models import Failure, RunState, VotingRun
from labeling.standings import standings
from labeling.voters import Makeup
from labeling.watching import watch

from .make import make_label, make_member, make_post, make_project, make_user, make_vote

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _no_keys(monkeypatch):
    for name in ("OPENAI_API_KEY", "GEMINI_API_KEY", "GOOGLE_API_KEY"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def project():
    return make_project("Memes")


@pytest.fixture
def admin(client, project):
    user = make_member(project, Role.ADMIN, "ada")
    client.force_login(user)
    return user


@pytest.fixture
def keywords(project):
    return voters.create(project, None, Makeup.told("offline", "keywords", {}))


def make_gpt(project, **parameters):
    return voters.create(project, None, Makeup.told("openai", "gpt-4o-mini", parameters))


def make_run(project, *chosen, **fields):
    run = runs.start(project, None, chosen, queue=False)
    VotingRun.objects.filter(pk=run.pk).update(**fields)
    run.refresh_from_db()
    return run


def get(client, name, project, /, *args, **query):
    response = client.get(reverse(name, args=[project.slug, *args]), query)
    assert response.status_code == 200
    return response.content.decode()


def words(page):
    return " ".join(re.sub(r"<[^>]+>", " ", page).split())


def post(client, name, project, /, *args, **data):
    return client.post(reverse(name, args=[project.slug, *args]), data)


def voter_data(provider="openai", **changes):
    """What a browser would send of the page as it stands."""
    data = {"provider": provider, "model": "some-model", "name": "", "required": "on", "prompt": "Is it?\r\n$post"}
    return data | changes


class TestWhoAVoterIs:
    def test_it_is_known_however_it_is_written(self):
        parameters = {"temperature": 0, "detail": "low", "blind": False}
        told = Makeup.told("openai", " gpt ", parameters, "Judge.\r\n$post  \n")
        same = Makeup.told("openai", "gpt", {"temperature": 0.0}, "Judge.\n$post")
        assert told.fingerprint == same.fingerprint
        assert told.parameters == {"temperature": 0.0}

    def test_asked_for_twice_it_is_the_one_that_is_there(self, project, keywords):
        assert voters.create(project, None, Makeup.of(keywords)) == keywords
        assert Event.objects.filter(verb="voter added").count() == 1

    def test_two_may_not_share_a_name(self, project):
        names = [make_gpt(project, max_output_tokens=n).name for n in (100, 200, 300)]
        assert names == ["gpt-4o-mini", "gpt-4o-mini v2", "gpt-4o-mini v3"]

    def test_another_prompt_makes_another_voter_and_the_old_one_keeps_its_votes(self, project, admin):
        old = make_gpt(project)
        vote = Vote.objects.create(post=make_post(project), voter=old)
        new = voters.revise(
            old, admin, Makeup.told("openai", "gpt-4o-mini", {}, "$post?"), old.name, required=True, limits={}
        )
        old.refresh_from_db()
        vote.refresh_from_db()
        assert (new.name, new.required, old.name, old.required) == ("gpt-4o-mini v2", True, "gpt-4o-mini", False)
        assert old.retired
        assert OrmQ.objects.get().task["func"] == "annotate.tasks.settle_project"
        assert vote.voter == old
        assert Event.objects.latest("pk").data == {"name": "gpt-4o-mini by gpt-4o-mini v2"}

    def test_the_votes_of_one_that_was_replaced_settle_and_split_nothing(self, project, keywords):
        gpt, contested = make_gpt(project), make_post(project)
        make_vote(contested, keywords.name, "bearish")
        make_vote(contested, gpt.name, "bullish")
        settling.settle(project, [contested.pk])
        contested.refresh_from_db()
        assert contested.state == "contested"
        new = voters.revise(gpt, None, Makeup.told("openai", "gpt-5", {}), "gpt-5", required=True, limits={})
        make_vote(contested, new.name, "bearish")
        settle_project(project.pk)
        contested.refresh_from_db()
        assert (contested.state, contested.label.name) == ("settled", "bearish")
        voters.bring_back(gpt, None)
        settle_project(project.pk)
        contested.refresh_from_db()
        assert contested.state == "contested"

    def test_name_limits_and_duty_change_in_place(self, project, admin):
        gpt = make_gpt(project)
        same = voters.revise(gpt, admin, Makeup.of(gpt), "Mini", required=True, limits={"concurrency": 4})
        assert (same.pk, same.name, same.limits) == (gpt.pk, "Mini", {"concurrency": 4})
        assert Event.objects.latest("pk").data == {"name": "Mini", "changed": ["name", "limits"]}
        assert not OrmQ.objects.exists()

    def test_posts_that_waited_for_it_alone_are_looked_at_again(self, project, admin):
        gpt = make_gpt(project)
        voters.revise(gpt, admin, Makeup.of(gpt), gpt.name, required=False, limits={})
        assert OrmQ.objects.get().task["func"] == "annotate.tasks.settle_project"

    def test_every_pair_can_be_added_twice(self, project, admin):
        for pair in pairs.available() * 2:
            voters.add_pair(project, admin, pair)
        assert project.voters.count() == sum(len(pair.voters) for pair in pairs.available())


class TestAddingAVoter:
    def test_a_pair_takes_one_click(self, client, project, admin):
        assert post(client, "voter_new", project, pair="offline").url == reverse("votes", args=[project.slug])
        assert [voter.model for voter in project.voters.all()] == ["chart", "keywords"]

    def test_an_unknown_pair_is_refused(self, client, project, admin):
        assert post(client, "voter_new", project, pair="nonsense").status_code == 422

    def test_its_form_is_filled_in_with_what_the_provider_has(self, client, project, admin):
        page = get(client, "voter_new", project, provider="gemini")
        assert 'name="with_thinking_budget"' in page
        assert re.search(r'name="with_max_output_tokens" value="500"', page)
        assert "$question" in page

    def test_one_of_ones_own(self, client, project, admin, settings):
        settings.PROVIDER_BASE_URLS = ["127.0.0.1"]
        given = {"with_base_url": "http://127.0.0.1:1/v1", "with_temperature": "0", "concurrency": 3}
        response = post(client, "voter_new", project, **voter_data(model="qwen", **given))
        voter = project.voters.get()
        assert response.url == reverse("voter", args=[project.slug, voter.pk])
        assert (voter.name, voter.prompt, voter.limits) == ("qwen", "Is it?\n$post", {"concurrency": 3})
        assert voter.parameters == {"base_url": "http://127.0.0.1:1/v1", "temperature": 0.0}

    @pytest.mark.parametrize(
        ("changes", "told"),
        [
            ({"prompt": "Judge $colour of $post"}, "$colour"),
            ({"prompt": "Judge it."}, "never shows the post"),
            ({"model": " "}, "required"),
            ({"with_temperature": "-1"}, "greater than or equal to 0"),
            ({"with_extra": "[1]"}, "must be a JSON object"),
            ({"with_base_url": "localhost"}, "must begin with http"),
            ({"with_base_url": "http://me:secret@host/v1"}, "password in it"),
        ],
    )
    def test_what_cannot_work_is_told(self, client, project, admin, changes, told):
        response = post(client, "voter_new", project, **voter_data(**changes))
        assert response.status_code == 422
        assert told in response.content.decode()
        assert not project.voters.exists()

    def test_only_a_site_admin_names_a_servers_address(self, client, project, admin):
        data = voter_data(with_base_url="http://169.254.169.254/latest/")
        refused = post(client, "voter_new", project, **data)
        assert (refused.status_code, project.voters.count()) == (422, 0)
        assert "Only a site admin may name a server&#x27;s address" in refused.content.decode()
        client.force_login(make_user(is_superuser=True))
        assert post(client, "voter_new", project, **data).status_code == 302

    def test_nor_does_a_pair_bring_one_in(self, client, project, admin):
        assert 'value="local"' not in get(client, "voter_new", project)
        assert post(client, "voter_new", project, pair="local").status_code == 422
        assert not project.voters.exists()

    def test_what_the_site_allows_anybody_may_name(self, client, project, admin, settings):
        settings.PROVIDER_BASE_URLS = ["localhost:11434", "https://models.example/v1"]
        for address, status in [
            ("http://localhost:11434/v1", 302),
            ("https://models.example/v1/", 302),
            ("https://models.example/v2", 422),
        ]:
            data = voter_data(with_base_url=address)
            assert post(client, "voter_new", project, **data).status_code == status, address
        assert post(client, "voter_new", project, pair="local").status_code == 302
        refused = post(client, "voter_new", project, **voter_data(with_base_url="http://localhost:5432/"))
        assert "https://models.example/v1, localhost:11434" in refused.content.decode()

    def test_the_same_again_is_refused_with_the_way_to_it(self, client, project, admin):
        post(client, "voter_new", project, **voter_data())
        response = post(client, "voter_new", project, **voter_data(name="Another name"))
        assert response.status_code == 422
        there = reverse("voter", args=[project.slug, project.voters.get().pk])
        assert f'<a href="{there}">some-model</a> is this very voter' in response.content.decode()

    def test_a_taken_name_is_refused(self, client, project, admin, keywords):
        response = post(client, "voter_new", project, **voter_data(name="keywords"))
        assert "is called that already" in response.content.decode()


class TestChangingAVoter:
    def test_the_form_as_it_stands_changes_nothing(self, client, project, admin):
        gpt = make_gpt(project, temperature=0.5, logprobs=5)
        page = client.get(reverse("voter_edit", args=[project.slug, gpt.pk]))
        form = page.context["form"]
        data = {field.html_name: field.value() for field in form if field.value() not in (None, False)}
        data = {name: "{}" if value == {} else value for name, value in data.items()}
        response = post(client, "voter_edit", project, gpt.pk, provider="openai", **data)
        assert response.url == reverse("voter", args=[project.slug, gpt.pk])
        assert list(project.voters.all()) == [gpt]

    def test_an_address_that_a_site_admin_gave_it_stays_but_is_not_changed(self, client, project, admin):
        own = make_gpt(project, base_url="http://10.0.0.1/v1")
        moved = voter_data(with_base_url="http://10.0.0.2/v1")
        assert post(client, "voter_edit", project, own.pk, **moved).status_code == 422
        assert post(client, "voter_edit", project, own.pk, **voter_data()).status_code == 302
        assert post(client, "voter_edit", project, own.pk, **voter_data(with_base_url="http://10.0.0.1/v1")).url

    def test_with_another_model_it_is_another_voter(self, client, project, admin):
        gpt = make_gpt(project)
        response = post(client, "voter_edit", project, gpt.pk, **voter_data(model="gpt-5", name="gpt-4o-mini"))
        new = project.voters.get(model="gpt-5")
        assert response.url == reverse("voter", args=[project.slug, new.pk])
        gpt.refresh_from_db()
        assert (new.name, gpt.required) == ("gpt-4o-mini v2", False)
        assert f'replaced</span> <span class="small soft">by <a href="{response.url}">gpt-4o-mini v2</a>' in get(
            client, "votes", project
        )

    def test_one_that_was_replaced_can_be_brought_back(self, client, project, admin):
        gpt = make_gpt(project)
        new = project.voters.get(pk=edited_into(client, project, gpt))
        page = get(client, "voter", project, gpt.pk)
        assert reverse("voter_return", args=[project.slug, gpt.pk]) in page
        assert "count no longer" in page
        post(client, "voter_return", project, gpt.pk)
        gpt.refresh_from_db()
        assert (gpt.retired, gpt.required, new.retired) == (None, False, None)
        assert Event.objects.latest("pk").verb == "voter brought back"
        post(client, "voter_return", project, gpt.pk)
        assert Event.objects.filter(verb="voter brought back").count() == 1

    def test_changed_into_what_it_once_was_the_old_one_takes_its_seat(self, client, project, admin):
        gpt = make_gpt(project)
        new = project.voters.get(pk=edited_into(client, project, gpt))
        form = voter_data(model="gpt-4o-mini", prompt=gpt.prompt, name=new.name)
        assert post(client, "voter_edit", project, new.pk, **form).url == reverse("voter", args=[project.slug, gpt.pk])
        gpt.refresh_from_db()
        new.refresh_from_db()
        assert (gpt.retired, gpt.required, new.required) == (None, True, False)
        assert new.retired

    def test_one_that_was_replaced_is_never_required(self, project, admin):
        gpt = make_gpt(project)
        voters.revise(gpt, admin, Makeup.told("openai", "gpt-5", {}), "", required=True, limits={})
        gpt.refresh_from_db()
        voters.revise(gpt, admin, Makeup.of(gpt), "Old", required=True, limits={})
        gpt.refresh_from_db()
        assert (gpt.name, gpt.required) == ("Old", False)

    def test_one_that_came_with_a_file_cannot_be_changed_nor_asked(self, client, project, admin):
        came = Voter.imported(project, "from a file")
        assert "came with an imported file" in get(client, "voter", project, came.pk)
        for name in "voter_edit", "voter_request":
            assert client.get(reverse(name, args=[project.slug, came.pk])).status_code == 404

    def test_one_of_another_project_is_not_found(self, client, project, admin):
        other = make_gpt(make_project())
        assert client.get(reverse("voter", args=[project.slug, other.pk])).status_code == 404


class TestAModelOfOurs:
    """Served elsewhere, and asked in the words of its training: it learnt from the voters that consensus hears."""

    TUNED = {"prompt": "What is it?\n\n$post", "with_words": "trained", "with_answer_format": "text"}
    UNHEARD = (False, False)

    @pytest.fixture
    def tuned(self, client, project, admin):
        answer = post(client, "voter_new", project, **voter_data(**self.TUNED))
        assert answer.status_code == 302
        return Voter.objects.get(model="some-model")

    def stands(self, voter):
        voter.refresh_from_db()
        return voter.heard, voter.required

    def test_consensus_neither_hears_it_nor_waits_for_it(self, client, project, keywords, tuned):
        assert self.stands(tuned) == self.UNHEARD
        shown = make_post(project)
        make_vote(shown, keywords.name, "bearish")
        make_vote(shown, tuned.name, "bearish")
        settling.settle(project, [shown.pk])
        shown.refresh_from_db()
        assert shown.label_source != "consensus"
        page = get(client, "voter", project, tuned.pk)
        assert "It votes, and consensus does not hear it: it learnt from these voters." in page
        assert "heard where it has voted" not in page
        assert "does not hear it" not in get(client, "voter", project, keywords.pk)

    def test_whatever_is_changed_it_stays_so(self, client, project, admin, tuned):
        post(client, "voter_edit", project, tuned.pk, **voter_data(**self.TUNED, name="Ours"))
        assert (self.stands(tuned), tuned.name) == (self.UNHEARD, "Ours")
        post(client, "voter_edit", project, tuned.pk, **voter_data(**self.TUNED, with_temperature="0"))
        heir = Voter.objects.get(retired=None, model="some-model")
        assert (heir != tuned, self.stands(heir)) == (True, self.UNHEARD)
        post(client, "voter_edit", project, heir.pk, **voter_data(**self.TUNED, name=heir.name))
        assert (self.stands(tuned), tuned.retired) == (self.UNHEARD, None)  # in its seat again
        told = client.post(reverse("voter_return", args=[project.slug, heir.pk]), follow=True).content.decode()
        assert self.stands(heir) == self.UNHEARD
        assert "its votes count again" not in told
        voters.retire(tuned, heir)
        voters.create(project, admin, Makeup.of(tuned))
        assert (self.stands(tuned), tuned.retired) == (self.UNHEARD, None)

    def test_one_that_was_heard_before_this_rule_is_mended_by_saving_it(self, client, project, admin, tuned):
        Voter.objects.filter(pk=tuned.pk).update(heard=True, required=True)
        post(client, "voter_edit", project, tuned.pk, **voter_data(**self.TUNED, name=tuned.name))
        assert self.stands(tuned) == self.UNHEARD
        assert OrmQ.objects.get().task["func"] == "annotate.tasks.settle_project"

    def test_a_voter_of_the_general_kind_in_a_tuned_ones_seat_is_heard(self, client, project, admin, tuned):
        post(client, "voter_edit", project, tuned.pk, **voter_data(model="gpt-5"))
        assert self.stands(Voter.objects.get(model="gpt-5")) == (True, True)


def edited_into(client, project, voter):
    response = post(client, "voter_edit", project, voter.pk, **voter_data(model="gpt-5"))
    return int(response.url.rsplit("/", 1)[1])


class TestTheListOfVoters:
    def test_it_shows_votes_and_leads_to_them(self, client, project, admin, keywords):
        Vote.objects.create(post=make_post(project), voter=keywords, cost=Decimal(0))
        page = get(client, "votes", project)
        assert f'href="{reverse("posts", args=[project.slug])}?voter=keywords&amp;said=abstained"' in page

    def test_a_missing_key_and_an_end_are_told(self, client, project, admin):
        make_gpt(project)
        page = get(client, "votes", project)
        assert "set OPENAI_API_KEY" in page
        assert "switches this model off on 14 Jan 2027" in page

    def test_a_silent_voter_that_holds_everything_up_is_told(self, client, project, admin, keywords):
        make_gpt(project)
        make_vote(make_post(project), "someone", "bullish")
        assert get(client, "votes", project).count("no label settles before it has") == 2

    def test_an_unknown_price_is_not_nothing(self, client, project, admin):
        gpt = make_gpt(project, base_url="http://127.0.0.1:1/v1")
        make_post(project)
        run = make_run(project, gpt, state=RunState.DONE)
        run.parts.update(done=1, unpriced=1)
        Vote.objects.create(post=make_post(project), voter=gpt)
        (standing,) = standings(project)
        assert standing.cost.is_unknown
        assert "unknown" in get(client, "votes", project)
        assert [count.cost for count in read_voters([project])] == [None]

    def test_and_asking_for_free_is_nothing_and_not_unknown(self, project, keywords):
        Vote.objects.create(post=make_post(project), voter=keywords, cost=Decimal(0))
        assert [count.cost for count in read_voters([project])] == [0]
        (standing,) = standings(project)
        assert (standing.cost.is_unknown, standing.cost.known) == (False, 0)

    def test_a_reviewer_sees_it_and_cannot_start(self, client, project, keywords):
        client.force_login(make_member(project, Role.REVIEWER))
        page = get(client, "votes", project)
        assert "Add voters" not in page
        assert "Start voting" not in page

    def test_it_asks_as_much_of_the_database_for_many_runs(self, client, project, admin, django_assert_max_num_queries):
        def queries():
            with django_assert_max_num_queries(40) as asked:
                get(client, "votes", project)
            return len(asked)

        for n in range(6):
            make_post(project)
            make_run(project, make_gpt(project, base_url=f"http://127.0.0.1:{n + 1}/"), state=RunState.DONE)
            if n == 1:
                few = queries()
        assert queries() <= few


class TestTheRequest:
    def test_it_is_what_is_sent(self, client, project, admin):
        sent = make_post(project, "to the <moon>")
        gpt = make_gpt(project)
        ask = asking.Writer(gpt).ask(sent)
        response = client.get(reverse("voter_request", args=[project.slug, gpt.pk]), {"post": sent.pk})
        assert response.context["shown"].ask == ask
        assert "to the &lt;moon&gt;" in response.content.decode()

    def test_no_key_is_on_it(self, client, project, admin, monkeypatch):
        monkeypatch.setenv("OPENAI_API_KEY", "sk-not-for-your-eyes")
        make_post(project)
        assert "sk-not" not in get(client, "voter_request", project, make_gpt(project).pk)

    def test_it_begins_with_a_post_that_waits(self, client, project, admin, keywords):
        make_post(project, label="bullish")
        waits, after = make_post(project), make_post(project)
        response = client.get(reverse("voter_request", args=[project.slug, keywords.pk]))
        assert (response.context["shown"].post, response.context["shown"].after) == (waits, after)

    @pytest.mark.parametrize("number", ["0", "x", "9" * 30])
    def test_a_post_that_is_not_there_is_not_found(self, client, project, admin, keywords, number):
        make_post(project)
        address = reverse("voter_request", args=[project.slug, keywords.pk])
        assert client.get(address, {"post": number}).status_code == 404

    def test_a_random_one(self, client, project, admin, keywords):
        assert "No post to ask about" in get(client, "voter_request", project, keywords.pk, post="random")
        make_post(project, "only me")
        assert "only me" in get(client, "voter_request", project, keywords.pk, post="random")


class TestStarting:
    def test_it_starts_what_was_chosen(self, client, project, admin, keywords):
        make_post(project)
        make_post(project, label="bullish")
        response = post(client, "voting_new", project, voters=keywords.pk, state="waiting", budget="2.50")
        run = project.voting_runs.get()
        assert response.url == run.get_absolute_url()
        assert (run.by, run.posts, run.budget, run.limit) == (admin, {"state": "waiting"}, Decimal("2.5"), None)
        assert run.parts.get().total == 1

    def test_a_pilot_is_one_button(self, client, project, admin, keywords):
        make_post(project)
        post(client, "voting_new", project, voters=keywords.pk, pilot="20")
        assert project.voting_runs.get().limit == 20

    def test_as_batch_jobs_at_the_provider(self, client, project, admin, monkeypatch):
        monkeypatch.setenv("OPENAI_API_KEY", "none")
        make_post(project)
        response = post(client, "voting_new", project, voters=make_gpt(project).pk, mode="batch")
        run = project.voting_runs.get()
        assert (response.url, run.mode) == (run.get_absolute_url(), "batch")

    @pytest.mark.parametrize(
        ("data", "told"),
        [
            ({"voters": "keywords", "mode": "batch"}, "batch"),
            ({}, "Choose at least one voter."),
            ({"voters": "gpt"}, "set OPENAI_API_KEY"),
            ({"voters": "keywords", "state": "settled"}, "has a vote of each of these voters already"),
            ({"voters": "keywords", "state": "nonsense"}, "is not a state"),
            ({"voters": "keywords", "budget": "0"}, "greater than or equal to 0.01"),
            ({"voters": "keywords", "limit": "some"}, "whole number"),
        ],
    )
    def test_what_is_in_the_way_is_told(self, client, project, admin, keywords, data, told):
        make_post(project)
        pks = {"gpt": make_gpt(project).pk, "keywords": keywords.pk}
        sent = {name: pks.get(value, value) for name, value in data.items()} or {"budget": ""}
        response = post(client, "voting_new", project, **sent)
        assert response.status_code == 422
        assert told in response.content.decode()
        assert not VotingRun.objects.exists()

    def test_a_voter_that_was_replaced_is_not_offered(self, client, project, admin, keywords):
        make_post(project)
        gpt = make_gpt(project)
        voters.revise(gpt, admin, Makeup.told("openai", "gpt-5", {}), "gpt-5", required=True, limits={})
        response = client.get(reverse("voting_new", args=[project.slug]))
        assert [one.voter.name for one in response.context["form"].estimates] == ["gpt-5", "keywords"]
        assert post(client, "voting_new", project, voters=gpt.pk).status_code == 422

    @pytest.mark.django_db(transaction=True)
    def test_instructions_that_changed_since_earlier_votes_are_told(self, client, project, admin, keywords):
        make_post(project)
        run = runs.start(project, None, [keywords], queue=False)
        assert voting.carry_out(run)
        make_post(project)
        assert "have changed since" not in get(client, "voting_new", project)
        project.question = "Another question?"
        project.save()
        assert "Its instructions have changed since its earlier votes" in get(client, "voting_new", project)
        assert "It was asked with an older question" in get(client, "votes", project)
        page = get(client, "voter", project, keywords.pk)
        assert "What sentiment?" in page
        run = runs.start(project, None, [keywords], queue=False)
        assert voting.carry_out(run)
        make_post(project)
        assert "since some of its earlier votes" in get(client, "voting_new", project)
        assert "Part of its votes were cast" in get(client, "votes", project)

    def test_what_is_not_known_reads_unknown(self, client, project, admin):
        make_post(project)
        make_gpt(project)
        page = get(client, "voting_new", project)
        assert "Unknown until a pilot of 20 posts" in page
        assert "Start a pilot of 20 posts" in page
        assert "$0.00" not in page.replace("<b data-together>$0.00", "")

    def test_real_answers_make_an_estimate(self, client, project, admin):
        gpt = make_gpt(project)
        Vote.objects.create(post=make_post(project), voter=gpt, tokens_in=1_000_000, tokens_out=0)
        make_post(project)
        page = get(client, "voting_new", project)
        assert "From the real usage of its last 1 answer." in page
        assert "$0.15" in page
        assert "As a batch job" in page

    def test_of_very_many_posts_a_part_tells_how_many_are_left(self, client, project, admin, keywords, monkeypatch):
        monkeypatch.setattr(runs, "COUNTED", 100)
        gpt = make_gpt(project)
        Post.objects.bulk_create(
            Post(project=project, external_id=str(n), text="moon", at=timezone.now(), content_hash=str(n))
            for n in range(200)
        )
        last = make_post(project, "gm")
        Vote.objects.create(post=last, voter=gpt)
        page = words(get(client, "voting_new", project, q="moon"))
        assert "Asks about 200" in page
        assert "Asks 200" in page  # the other has never said anything
        Vote.objects.bulk_create(Vote(post=post, voter=gpt) for post in project.posts.exclude(pk=last.pk))
        page = words(get(client, "voting_new", project, q="moon"))
        assert "Asks about 0" in page
        assert "It has voted on nearly all of these." in page
        assert "It has voted on all of these." in words(get(client, "voting_new", project, q="gm"))

    def test_without_voters_it_says_what_to_do(self, client, project, admin):
        make_post(project)
        assert "Nobody to ask yet" in get(client, "voting_new", project)


class TestARun:
    @pytest.fixture
    def run(self, project, keywords):
        for _ in range(4):
            make_post(project)
        return make_run(project, keywords)

    def test_it_asks_for_its_progress_until_it_is_over(self, client, project, admin, run):
        address = reverse("voting_progress", args=[project.slug, run.pk])
        assert f'hx-get="{address}"' in get(client, "voting_run", project, run.pk)
        assert f'hx-get="{address}"' in get(client, "voting_progress", project, run.pk)
        for state in RunState.DONE, RunState.CANCELLED, RunState.FAILED, RunState.PAUSED:
            VotingRun.objects.filter(pk=run.pk).update(state=state)
            assert "hx-get" not in get(client, "voting_progress", project, run.pk)

    def test_its_answers_lead_to_the_posts(self, client, project, admin, run):
        run.parts.update(done=3, abstained=1, by_label={"bullish": 2})
        page = get(client, "voting_run", project, run.pk)
        posts = reverse("posts", args=[project.slug])
        assert f'href="{posts}?voter=keywords&amp;said=bullish"' in page
        assert f'href="{posts}?voter=keywords&amp;said=abstained"' in page

    def test_its_pace_is_that_of_the_last_half_minute(self, project, keywords, run):
        now = timezone.now()
        VotingRun.objects.filter(pk=run.pk).update(state=RunState.RUNNING, heartbeat=now)
        run.refresh_from_db()
        for post, seconds in zip(project.posts.all(), (300, 10, 5, 0), strict=True):
            vote = Vote.objects.create(post=post, voter=keywords)
            Vote.objects.filter(pk=vote.pk).update(created=now - timedelta(seconds=seconds))
        run.parts.update(total=103, done=3)
        (line,) = watch(run).lines
        assert line.per_second == pytest.approx(0.3, rel=0.1)
        assert line.seconds_left == pytest.approx(333, rel=0.1)

    def test_a_silent_one_says_so_and_can_be_resumed(self, client, project, admin, run):
        long_ago = timezone.now() - timedelta(minutes=2)
        VotingRun.objects.filter(pk=run.pk).update(state=RunState.RUNNING, heartbeat=long_ago)
        page = get(client, "voting_run", project, run.pk)
        assert "Interrupted" in page
        assert reverse("voting_resume", args=[project.slug, run.pk]) in page

    def test_it_is_paused_resumed_and_cancelled(self, client, project, admin, run):
        for name, state, verb in [
            ("pause", "paused", "voting paused"),
            ("resume", "queued", "voting resumed"),
            ("cancel", "cancelled", "voting cancelled"),
        ]:
            for _ in range(2):  # the second time nothing is left to do, and nothing is told
                assert post(client, f"voting_{name}", project, run.pk).url == run.get_absolute_url()
            run.refresh_from_db()
            assert run.state == state
            event = Event.objects.get(verb=verb)
            assert (event.user, event.project, event.data) == (admin, project, {"run": run.pk, "voters": ["keywords"]})
        assert "A voting run was cancelled" in get(client, "project", project)

    def test_one_whose_voter_is_busy_elsewhere_is_not_resumed(self, client, project, admin, run, keywords):
        VotingRun.objects.filter(pk=run.pk).update(state=RunState.FAILED)
        Failure.objects.create(part=run.parts.get(), post=project.posts.first(), cause="no answer")
        make_run(project, keywords)
        refused = post(client, "voting_resume", project, run.pk)
        assert refused.status_code == 422
        assert "keywords is voting in another run" in refused.content.decode()
        refused = client.post(reverse("voting_retry", args=[project.slug, run.pk]), follow=True)
        assert "keywords is voting in another run" in refused.content.decode()
        run.refresh_from_db()
        assert (run.state, Failure.objects.count()) == ("failed", 1)

    def test_what_left_the_selection_meanwhile_is_told(self, client, project, admin, run):
        run.parts.update(total=4, done=3)
        VotingRun.objects.filter(pk=run.pk).update(state=RunState.DONE)
        assert "1</span> of the posts that were chosen at the start was not asked about" in get(
            client, "voting_run", project, run.pk
        )

    def test_a_budget_is_raised_on_resuming(self, client, project, admin, run):
        run.parts.update(cost=Decimal("0.9"))
        VotingRun.objects.filter(pk=run.pk).update(state="paused", budget=1, granted="0.9", written_off="0.1")
        refused = post(client, "voting_resume", project, run.pk, budget="1.00")
        assert refused.status_code == 422
        assert "$1.0000 of it is spent already" in refused.content.decode()
        post(client, "voting_resume", project, run.pk, budget="3")
        run.refresh_from_db()
        assert (run.state, run.budget) == ("queued", 3)

    def test_what_a_dead_worker_cannot_account_for_is_explained(self, client, project, admin, run):
        VotingRun.objects.filter(pk=run.pk).update(state="paused", budget=1, written_off="0.25")
        page = get(client, "voting_run", project, run.pk)
        assert "$0.25 of it had been granted to a worker that broke off" in page
        assert 'value="0.25000000"' in page

    def test_failures_are_told_by_cause_and_tried_again(self, client, project, admin, run):
        part = run.parts.get()
        causes = ["too many requests", "too many requests", "refused (400)"]
        for failed, cause in zip(project.posts.order_by("pk"), causes, strict=False):
            Failure.objects.create(part=part, post=failed, cause=cause)
        VotingRun.objects.filter(pk=run.pk).update(state=RunState.DONE)
        page = get(client, "voting_run", project, run.pk)
        assert '<b class="num">2</b> too many requests' in page
        (address,) = re.findall(r'href="([^"]*cause=too[^"]*)"', page)
        listed = client.get(address.replace("&amp;", "&"))
        assert {one.pk for one in listed.context["page"].posts} == {one.pk for one in project.posts.order_by("pk")[:2]}
        assert len(client.get(reverse("posts", args=[project.slug]), {"failed": run.pk}).context["page"].posts) == 3
        assert "is not the number of a voting run" in get(client, "posts", project, failed="x")
        post(client, "voting_retry", project, run.pk, cause="too many requests")
        event = Event.objects.get(verb="failures retried")
        assert (event.user, event.data["posts"]) == (admin, 2)
        run.refresh_from_db()
        assert (run.state, part.failures.get().cause) == ("queued", "refused (400)")

    def test_a_reviewer_watches_and_touches_nothing(self, client, project, run):
        client.force_login(make_member(project, Role.REVIEWER))
        page = get(client, "voting_run", project, run.pk)
        assert "Pause" not in page
        assert "Cancel" not in page

    def test_why_it_ended_is_shown(self, client, project, admin, run):
        VotingRun.objects.filter(pk=run.pk).update(state="failed", error="The key is not accepted.")
        assert "The key is not accepted." in get(client, "voting_run", project, run.pk)

    def test_a_label_that_was_renamed_meanwhile_breaks_nothing(self, client, project, admin, run):
        run.parts.update(done=2, by_label={"gone": 1, "bullish": 1})
        make_label(project, "fresh")
        assert "gone" in get(client, "voting_run", project, run.pk)
