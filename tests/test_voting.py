import asyncio
import time
from decimal import Decimal

import pytest
from django.core.management import CommandError, call_command
from django.utils import timezone

from annotate.models import Disagreement, State, Vote, Voter
from labeling import asking, pricing, runs, storing, voting, wording
from labeling.ledger import Ledger
from labeling.models import Failure, RunState, VotingRun, Wording
from labeling.providers.contract import Answer, Failed, Later, Stop, Usage
from labeling.watching import watch
from tests.make import make_label, make_post, make_project

pytestmark = pytest.mark.django_db(transaction=True)


class Scripted:
    """A provider that answers as it is told to, and remembers what it was asked."""

    vision, batch_factor = True, None

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.says = lambda ask: Answer("bullish", usage=Usage(100, 10), raw="{}")
        self.seconds = 0.0
        self.flying = self.most_flying = 0

    def missing(self, parameters) -> str:
        return ""

    def problem_with(self, model, parameters) -> str:
        return ""

    def connect(self, model, parameters):
        return self

    async def ask(self, ask):
        self.flying += 1
        self.most_flying = max(self.most_flying, self.flying)
        self.asked.append(ask.prompt)
        try:
            await asyncio.sleep(self.seconds)
            return self.says(ask)
        finally:
            self.flying -= 1

    async def close(self) -> None:
        pass


@pytest.fixture
def provider(monkeypatch):
    scripted = Scripted()
    registry = {"scripted": scripted}
    for module in (voting, asking, runs):
        monkeypatch.setattr(module, "PROVIDERS", registry)
    monkeypatch.setattr(pricing, "price_of", lambda *args: Decimal("0.01"))
    monkeypatch.setattr(pricing, "most_for", lambda *args: Decimal("0.02"))
    monkeypatch.setattr(pricing, "is_known", lambda *args: True)
    monkeypatch.setattr(voting, "FIRST_PAUSE", 0.01)
    return scripted


@pytest.fixture
def project(provider):
    return make_project(audit_rate=0)


def make_voter(project, name: str = "one", **fields) -> Voter:
    return Voter.objects.create(project=project, name=name, provider="scripted", model=name, fingerprint=name, **fields)


def make_run(project, *voters: Voter, **fields) -> VotingRun:
    return runs.start(project, None, voters, queue=False, **fields)


def carry_out(run: VotingRun) -> VotingRun:
    assert voting.carry_out(run)
    run.refresh_from_db()
    return run


class TestEveryVoterIsAskedAboutEveryPostOnce:
    def test_and_agreement_settles(self, project):
        posts = [make_post(project, f"post {n}") for n in range(5)]
        run = carry_out(make_run(project, make_voter(project, "one"), make_voter(project, "two")))
        assert (run.state, Vote.objects.count()) == (RunState.DONE, 10)
        posts[0].refresh_from_db()
        assert (posts[0].state, posts[0].label.name) == (State.SETTLED, "bullish")

    def test_a_second_run_has_nothing_to_ask(self, project):
        make_post(project)
        voter = make_voter(project)
        carry_out(make_run(project, voter))
        with pytest.raises(runs.CannotStart, match="already"):
            make_run(project, voter)

    def test_what_is_stored_is_told(self, project, provider):
        make_post(project, "to the moon")
        provider.says = lambda ask: Answer(
            "bearish", confidence=0.7, probabilities={"bearish": 0.7}, reason="sar\0casm", text_reading="bullish",
            image_reading="bearish", incongruous=True, raw='{"label": "bearish"}', usage=Usage(120, 30),
        )  # fmt: skip
        run = carry_out(make_run(project, make_voter(project)))
        vote = Vote.objects.get()
        assert (vote.label.name, vote.confidence, vote.reason) == ("bearish", 0.7, "sarcasm")
        assert (vote.tokens_in, vote.cost, vote.incongruous) == (120, Decimal("0.01"), True)
        part = run.parts.get()
        assert (part.done, part.tokens_in, part.cost, part.by_label) == (1, 120, Decimal("0.01"), {"bearish": 1})

    def test_only_the_posts_asked_for(self, project):
        make_post(project, "moon")
        make_post(project, "rug")
        run = carry_out(make_run(project, make_voter(project), posts={"q": "moon"}))
        assert run.parts.get().done == 1

    def test_a_pilot_asks_a_few(self, project):
        for n in range(5):
            make_post(project, str(n))
        carry_out(make_run(project, make_voter(project), limit=2))
        assert Vote.objects.count() == 2

    def test_a_post_that_vanishes_meanwhile_costs_nothing_else(self, project):
        gone, stays = make_post(project, "gone"), make_post(project, "stays")
        run = make_run(project, make_voter(project))
        assert run.claim()
        results = [storing.Result(post.pk, Answer("bullish")) for post in (gone, stays)]
        gone.delete()
        storing.store(run, [storing.Batch(run.parts.get(), results)])
        assert run.parts.get().done == 1


class TestAbstentionsAndFailures:
    def test_an_abstention_is_a_vote_with_its_reason(self, project, provider):
        make_post(project)
        provider.says = lambda ask: Answer(None, "refused", reason="I cannot help with that", raw="I cannot")
        carry_out(make_run(project, make_voter(project, "one"), make_voter(project, "two")))
        assert Vote.objects.filter(label=None, reason__contains="refused").count() == 2
        assert Disagreement.objects.get().why == "abstained"

    def test_a_busy_server_is_asked_again(self, project, provider):
        make_post(project)
        answers = iter([Later("too many requests", 0.05), Later("server error 500"), None])

        def says(ask):
            if error := next(answers):
                raise error
            return Answer("bullish")

        provider.says = says
        began = time.perf_counter()
        carry_out(make_run(project, make_voter(project)))
        assert Vote.objects.count() == 1
        assert len(provider.asked) == 3
        assert time.perf_counter() - began >= 0.05

    def test_what_never_works_is_a_failure_by_its_cause_and_can_be_retried(self, project, provider):
        make_post(project, "bad")
        make_post(project, "good")
        provider.says = lambda ask: refuse() if "bad" in ask.prompt else Answer("bullish")

        def refuse():
            raise Failed("refused (400): too long")

        run = carry_out(make_run(project, make_voter(project)))
        assert run.state == RunState.DONE
        assert [(cause.cause, cause.posts) for cause in watch(run).causes] == [("refused (400): too long", 1)]
        provider.says = lambda ask: Answer("bullish")
        assert runs.retry_failures(run) == 1
        carry_out(run)
        assert Vote.objects.count() == 2
        assert not Failure.objects.exists()

    def test_a_wrong_key_stops_that_voter_at_once_and_not_the_others(self, project, provider):
        for n in range(300):
            make_post(project, str(n))
        good, bad = make_voter(project, "good"), make_voter(project, "bad", limits={"concurrency": 2})

        class Locked(Scripted):
            async def ask(self, ask):
                self.asked.append(ask.prompt)
                raise Stop("The server does not accept the API key.")

        locked = Locked()
        provider.connect = lambda model, parameters: locked if model == "bad" else provider
        run = carry_out(make_run(project, good, bad))
        assert len(locked.asked) <= 4
        assert run.parts.get(voter=bad).stopped == "The server does not accept the API key."
        assert run.parts.get(voter=good).done == 300

    def test_when_every_voter_is_stopped_the_run_says_so(self, project, provider):
        make_post(project)

        def says(ask):
            raise Stop("No quota is left.")

        provider.says = says
        run = carry_out(make_run(project, make_voter(project)))
        assert run.state == RunState.FAILED
        assert "No quota is left." in run.error

    def test_a_surprise_in_our_own_code_costs_one_post(self, project, provider):
        make_post(project)
        provider.says = lambda ask: 1 / 0
        run = carry_out(make_run(project, make_voter(project)))
        assert run.state == RunState.DONE
        assert "ZeroDivisionError" in Failure.objects.get().cause


class TestBudget:
    @pytest.mark.parametrize("concurrency", [1, 64])
    def test_is_never_passed_however_many_are_in_flight(self, project, provider, concurrency):
        for n in range(100):
            make_post(project, str(n))
        provider.seconds = 0.005
        run = make_run(
            project, make_voter(project, limits={"concurrency": concurrency}), budget=Decimal("0.30")
        )  # fmt: skip
        carry_out(run)
        assert run.state == RunState.PAUSED
        assert "budget" in run.error
        assert Decimal("0.28") <= run.spent <= Decimal("0.30")
        assert len(provider.asked) == Vote.objects.count()

    def test_raised_and_resumed_it_goes_on(self, project):
        for n in range(10):
            make_post(project, str(n))
        run = carry_out(make_run(project, make_voter(project), budget=Decimal("0.05")))
        assert Vote.objects.count() == 4  # the fifth could have cost two cents
        assert runs.resume(run, Decimal("1.00"))
        assert carry_out(run).state == RunState.DONE
        assert Vote.objects.count() == 10

    def test_what_a_killed_worker_cannot_account_for_counts_as_spent(self, project):
        for n in range(10):
            make_post(project, str(n))
        run = make_run(project, make_voter(project), budget=Decimal("0.20"))
        assert run.claim()
        storing.grant(run, Decimal("0.15"))
        VotingRun.objects.update(state=RunState.QUEUED)  # as the sweep finds it after the worker died
        carry_out(run)
        assert run.written_off == Decimal("0.15")
        assert run.spent + run.written_off <= Decimal("0.20")

    def test_cannot_be_kept_where_the_price_is_unknown(self, project, monkeypatch):
        make_post(project)
        monkeypatch.setattr(pricing, "is_known", lambda *args: False)
        with pytest.raises(runs.CannotStart, match="price"):
            make_run(project, make_voter(project), budget=Decimal(1))

    def test_an_unknown_price_is_told_as_such_and_not_as_nothing(self, project, monkeypatch):
        make_post(project)
        monkeypatch.setattr(pricing, "price_of", lambda *args: None)
        run = carry_out(make_run(project, make_voter(project)))
        assert run.parts.get().unpriced == 1
        assert Vote.objects.get().cost is None

    def test_a_ledger_counts_an_unpriced_answer_as_the_most_it_could_have_cost(self):
        ledger = Ledger(Decimal(1), Decimal(0), Decimal(0))
        ledger.reserve(Decimal("0.6"))
        assert not ledger.has_room_for(Decimal("0.6"))
        ledger.settle(Decimal("0.6"), None)
        assert ledger.spent == Decimal("0.6")


class TestLimits:
    def test_no_more_in_flight_than_the_voter_allows(self, project, provider):
        for n in range(20):
            make_post(project, str(n))
        provider.seconds = 0.01
        carry_out(make_run(project, make_voter(project, limits={"concurrency": 3})))
        assert provider.most_flying == 3


class TestOneWorkerAtATime:
    def test_a_task_delivered_twice_asks_nothing_twice(self, project, provider):
        make_post(project)
        run = make_run(project, make_voter(project))
        carry_out(run)
        assert not voting.carry_out(run)
        assert len(provider.asked) == 1

    def test_a_worker_taken_for_dead_writes_nothing_more(self, project):
        post = make_post(project)
        run = make_run(project, make_voter(project))
        assert run.claim()
        VotingRun.objects.update(claim_number=7)
        batch = storing.Batch(run.parts.get(), [storing.Result(post.pk, Answer("bullish"))])
        with pytest.raises(storing.LostClaim):
            storing.store(run, [batch])
        assert not Vote.objects.exists()

    def test_an_answer_that_is_there_already_is_not_counted_again(self, project):
        post = make_post(project)
        run = make_run(project, make_voter(project))
        assert run.claim()
        batch = storing.Batch(run.parts.get(), [storing.Result(post.pk, Answer("bullish"), cost=Decimal(1))])
        storing.store(run, [batch])
        storing.store(run, [batch])
        assert run.parts.get().done == 1
        assert run.spent == 1

    def test_two_runs_never_share_a_voter(self, project):
        make_post(project)
        voter = make_voter(project)
        make_run(project, voter)
        with pytest.raises(runs.CannotStart, match="another run"):
            make_run(project, voter)


class TestPauseAndResume:
    def test_pausing_keeps_what_is_answered_and_resuming_asks_the_rest(self, project, provider):
        for n in range(60):
            make_post(project, str(n))
        run = make_run(project, make_voter(project, limits={"concurrency": 2}))
        provider.seconds = 0.02
        original = storing.store

        def store(current, batches):
            if Vote.objects.exists():
                VotingRun.objects.filter(pk=run.pk).update(asked="pause")
            return original(current, batches)

        with pytest.MonkeyPatch.context() as patched:
            patched.setattr(storing, "store", store)
            carry_out(run)
        assert run.state == RunState.PAUSED
        before = Vote.objects.count()
        assert 0 < before < 60
        assert runs.resume(run)
        assert carry_out(run).state == RunState.DONE
        assert (Vote.objects.count(), len(provider.asked)) == (60, 60)

    def test_a_run_that_nobody_works_on_is_cancelled_at_once(self, project):
        make_post(project)
        run = make_run(project, make_voter(project))
        runs.cancel(run)
        run.refresh_from_db()
        assert run.state == RunState.CANCELLED


class TestWords:
    def test_what_was_sent_is_kept_once_for_as_long_as_it_stays(self, project, provider):
        make_post(project, "a post")
        voter = make_voter(project)
        run = carry_out(make_run(project, voter))
        make_post(project, "another")
        carry_out(make_run(project, voter))
        first, second = Wording.objects.order_by("pk")
        assert (first.part, first.hash) == (run.parts.get(), second.hash)
        voter.refresh_from_db()
        assert voter.words == second.text
        before_the_post = provider.asked[0].partition("The words of the post:")[0].strip()
        assert before_the_post in first.text
        assert "What sentiment?" in before_the_post
        assert "a post" not in first.text

    def test_a_run_that_goes_on_in_other_words_says_since_when(self, project, provider):
        for n in range(10):
            make_post(project, str(n))
        run = carry_out(make_run(project, make_voter(project), budget=Decimal("0.05")))
        runs.resume(run, Decimal("0.06"))
        carry_out(run)
        assert Wording.objects.count() == 1
        project.labels.filter(name="bullish").update(meaning="It says that prices rise.")
        runs.resume(run, Decimal(1))
        carry_out(run)
        before, after = Wording.objects.order_by("pk")
        asked_before = Vote.objects.filter(created__lt=after.since).count()
        assert "prices rise" in after.text
        assert ["prices rise" in asked for asked in provider.asked] == [False] * asked_before + [True] * (
            10 - asked_before
        )
        assert "prices rise" not in before.text
        assert wording.changes(project)[run.parts.get().voter_id].is_mixed


class TestCommand:
    def test_votes_and_says_what_it_cost(self, project, capsys):
        make_post(project)
        make_voter(project, "one")
        call_command("vote", project=project.slug)
        assert "one: 1 votes" in capsys.readouterr().out

    def test_names_the_voters_there_are(self, project):
        make_voter(project, "one")
        with pytest.raises(CommandError, match="There are: one"):
            call_command("vote", project=project.slug, voter=["two"])

    def test_started_again_it_carries_on(self, project, provider):
        for n in range(5):
            make_post(project, str(n))
        make_voter(project)
        with pytest.raises(CommandError, match="budget"):
            call_command("vote", project=project.slug, budget="0.05")
        call_command("vote", project=project.slug, budget="5")
        assert (Vote.objects.count(), VotingRun.objects.count()) == (5, 1)

    def test_a_voter_that_was_replaced_votes_only_where_it_is_named(self, project, provider):
        make_post(project)
        make_voter(project, "one")
        make_voter(project, "old", retired=timezone.now(), required=False)
        call_command("vote", project=project.slug)
        assert {vote.voter.name for vote in Vote.objects.all()} == {"one"}
        call_command("vote", project=project.slug, voter=["old"])
        assert Vote.objects.count() == 2

    @pytest.mark.parametrize(
        ("options", "told"),
        [
            ({"budget": "five"}, r"write it as 5\.00"),
            ({"budget": "0"}, "more than nothing"),
            ({"budget": "-1"}, "more than nothing"),
            ({"budget": "nan"}, "more than nothing"),
            ({"posts": "waiting"}, "is not a filter; write it as state=waiting"),
            ({"posts": "stat=waiting"}, "cannot be chosen by stat; there are state, label"),
            ({"posts": "state=wating"}, "is not a state"),
            ({"limit": 0}, "at least one post"),
            ({"wait": True}, "goes with --batch"),
        ],
    )
    def test_what_cannot_be_meant_is_told_and_nothing_is_asked(self, project, provider, options, told):
        make_post(project)
        make_voter(project)
        with pytest.raises(CommandError, match=told):
            call_command("vote", project=project.slug, **options)
        assert not provider.asked

    def test_a_project_without_voters_is_told_so(self, project):
        with pytest.raises(CommandError, match="no voters to ask yet"):
            call_command("vote", project=project.slug)


def test_people_are_not_overruled(project):
    post = make_post(project, label="bearish", label_source="import")
    carry_out(make_run(project, make_voter(project, "one"), make_voter(project, "two")))
    post.refresh_from_db()
    assert post.label == make_label(project, "bearish")
    assert post.vote_count == 2


def test_a_voter_whose_key_went_missing_does_not_hold_up_the_others(project, provider):
    make_post(project)
    good, bad = make_voter(project, "good"), make_voter(project, "bad")
    run = make_run(project, good, bad)

    def connect(model, parameters):
        if model == "bad":
            raise Stop("It needs a key.")
        return provider

    provider.connect = connect
    carry_out(run)
    assert run.parts.get(voter=bad).stopped == "It needs a key."
    assert run.parts.get(voter=good).done == 1
