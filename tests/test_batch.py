import asyncio
import json
import re
import time
from datetime import timedelta
from decimal import Decimal

import pytest
from django.core.management import CommandError, call_command
from django.utils import timezone

from annotate.models import Vote, Voter
from labeling import asking, batch, collecting, pricing, runs, storing, submitting, tasks, voting, watching
from labeling.management.commands import vote
from labeling.models import Batch, BatchPost, BatchState, Failure, Mode, RunState, VotingRun
from labeling.providers import BATCHING, PROVIDERS
from labeling.providers.batching import Batching
from labeling.providers.contract import Ask
from tests import fakes
from tests.batch_server import (
    BatchServer,
    gemini_error_line,
    gemini_line,
    openai_error_line,
    openai_line,
    openai_refused_line,
)
from tests.make import make_post, make_project

pytestmark = pytest.mark.django_db(transaction=True)

MODELS = {"openai": "gpt-4o-mini", "gemini": "gemini-2.5-flash-lite"}
LINES = {"openai": openai_line, "gemini": gemini_line}
both = pytest.mark.parametrize("provider", ["openai", "gemini"])


@pytest.fixture
def server(monkeypatch):
    monkeypatch.delenv("GOOGLE_API_KEY", raising=False)
    with BatchServer() as server:
        monkeypatch.setenv("OPENAI_BASE_URL", f"{server.url}/v1")
        monkeypatch.setenv("GOOGLE_GEMINI_BASE_URL", server.url)
        monkeypatch.setenv("OPENAI_API_KEY", "key-of-openai")
        monkeypatch.setenv("GEMINI_API_KEY", "key-of-gemini")
        yield server


@pytest.fixture
def project(server):
    return make_project(audit_rate=0)


def make_voter(project, provider: str = "openai", **fields) -> Voter:
    return Voter.objects.create(
        project=project, name=provider, provider=provider, model=MODELS[provider], fingerprint=provider, **fields,
    )  # fmt: skip


def make_run(project, *voters: Voter, posts: int = 3, **fields) -> VotingRun:
    for n in range(posts):
        make_post(project, f"post {n}")
    return runs.start(project, None, voters, queue=False, mode=Mode.BATCH, **fields)


def look(run: VotingRun) -> VotingRun:
    """As at the next minute."""
    VotingRun.objects.filter(pk=run.pk, waits_until__isnull=False).update(waits_until=timezone.now())
    run.refresh_from_db()
    assert batch.carry_out(run)
    run.refresh_from_db()
    return run


def small(monkeypatch, provider: str, **limits) -> None:
    held = BATCHING[provider]
    known = {"requests": held.requests, "bytes": held.bytes} | limits
    monkeypatch.setitem(BATCHING, provider, Batching(open=held.open, **known))


def camel(told):
    if isinstance(told, list):
        return [camel(one) for one in told]
    if not isinstance(told, dict):
        return told
    spelt = {re.sub(r"_(\w)", lambda m: m[1].upper(), key): camel(value) for key, value in told.items()}
    return spelt | {"properties": told["properties"]} if "properties" in told else spelt


class TestBothProviders:
    @both
    def test_answers_come_back_in_any_order_and_cost_half(self, server, project, provider):
        run = look(make_run(project, make_voter(project, provider)))
        assert (run.state, run.at_provider, Vote.objects.count()) == (RunState.RUNNING, 3, 0)
        (job,) = server.jobs
        job.end(output=[LINES[provider](key) for key in job.keys])
        look(run)
        assert run.state == RunState.DONE
        assert Vote.objects.filter(label__name="bullish").count() == 3
        live = pricing.price_of(provider, MODELS[provider], 100, 20)
        assert Vote.objects.first().cost == (live / 2).quantize(pricing.CENTS, "ROUND_UP")
        assert run.parts.get().cost == run.granted == sum(Vote.objects.values_list("cost", flat=True))
        assert Batch.objects.get().state == BatchState.DONE

    @both
    def test_a_request_in_a_file_is_the_one_that_is_sent_one_by_one(self, monkeypatch, project, provider):
        ask = Ask("be brief", "gm", ("bullish", "bearish"), image=bytes(range(256)), image_format="png")
        row = PROVIDERS[provider]
        parameters = {"temperature": 0.5, "logprobs": 3} | ({"extra": {"seed": 7}} if provider == "openai" else {})
        parameters |= {"thinking_budget": 0} if provider == "gemini" else {}
        with fakes.Server() as live:
            monkeypatch.setenv("OPENAI_BASE_URL", f"{live.url}/v1")
            monkeypatch.setenv("GOOGLE_GEMINI_BASE_URL", live.url)
            live.says(fakes.openai_answer("{}") if provider == "openai" else fakes.gemini_answer("{}"))

            async def both_ways() -> str:
                one, many = row.connect("m", parameters), BATCHING[provider].open("m", row.filled(parameters))
                await one.ask(ask)
                return many.line("7", ask)

            line = json.loads(asyncio.run(both_ways()))
            (sent,) = live.requests
        del sent["path"]
        assert (line.get("custom_id") or line.get("key")) == "7"
        # Google reads either spelling of a key, and its client sends both
        assert camel(line.get("body") or line.get("request")) == camel(sent)

    @both
    def test_a_file_of_many_megabytes_arrives_whole(self, server, tmp_path, provider):
        path = tmp_path / "requests.jsonl"
        path.write_bytes(b'{"key": 1}\n' * 1_000_000)

        async def upload() -> str:
            connection = BATCHING[provider].open("m", PROVIDERS[provider].filled({}))
            try:
                return await connection.upload(path, "mark")
            finally:
                await connection.close()

        name = asyncio.run(upload()).removeprefix("files/")
        assert server.files[name] == path.read_bytes()

    @both
    def test_a_chunk_holds_what_a_batch_may(self, server, project, monkeypatch, provider):
        small(monkeypatch, provider, requests=2)
        look(make_run(project, make_voter(project, provider), posts=5))
        assert [len(job.keys) for job in server.jobs] == [2, 2, 1]
        assert len({key for job in server.jobs for key in job.keys}) == 5

    def test_and_is_no_larger_than_a_file_may_be(self, server, project, monkeypatch):
        small(monkeypatch, "openai", bytes=2500)
        look(make_run(project, make_voter(project), posts=4))
        assert len(server.jobs) > 1
        assert all(len(file) <= 2500 for file in server.files.values())

    @both
    def test_cancelling_cancels_there_and_keeps_what_was_done(self, server, project, provider):
        run = look(make_run(project, make_voter(project, provider)))
        runs.cancel(run)
        run.refresh_from_db()
        assert run.state == RunState.RUNNING
        look(run)
        assert server.cancelled == [1]
        (job,) = server.jobs
        job.end("cancelled", output=[LINES[provider](job.keys[0])])
        look(run)
        assert (run.state, Vote.objects.count(), Failure.objects.count()) == (RunState.CANCELLED, 1, 0)
        assert run.at_provider == 0

    @both
    def test_killed_before_the_file_went_out_it_is_submitted_once(self, server, project, provider):
        run = make_run(project, make_voter(project, provider))
        with pytest.MonkeyPatch.context() as patched:
            patched.setattr(submitting, "submit", lambda *args: 1 / 0)
            with pytest.raises(ZeroDivisionError):
                look(run)
        assert Batch.objects.get().state == BatchState.WRITTEN
        look(run)
        assert not server.jobs  # it may be missing in the list for a moment only
        Batch.objects.update(created=timezone.now() - collecting.GRACE)
        look(run)
        assert len(server.jobs) == 1
        assert Batch.objects.get().state == BatchState.SUBMITTED

    @both
    def test_killed_before_its_number_was_noted_it_is_found_again(self, server, project, provider):
        run = make_run(project, make_voter(project, provider))
        with pytest.MonkeyPatch.context() as patched:
            patched.setattr(submitting, "note", lambda *args: 1 / 0)
            with pytest.raises(ZeroDivisionError):
                look(run)
        Batch.objects.update(created=timezone.now() - collecting.GRACE)
        look(run)
        assert (len(server.jobs), Batch.objects.get().state) == (1, BatchState.SUBMITTED)

    @both
    def test_an_answer_that_got_lost_on_the_way_back_submits_nothing_twice(self, server, project, provider):
        run = make_run(project, make_voter(project, provider))
        create = ("POST /v1/batches", "batchGenerateContent")
        server.fault = lambda call, before: -1 if call.endswith(create) and not before else 0
        look(run)
        assert "Tried again" in run.error
        look(run)
        assert (len(server.jobs), Batch.objects.get().state) == (1, BatchState.SUBMITTED)
        assert run.error == ""

    @both
    def test_a_wrong_key_stops_the_voter_and_takes_no_post(self, server, project, provider):
        run = make_run(project, make_voter(project, provider))
        server.fault = lambda call, before: 401
        look(run)
        assert run.state == RunState.FAILED
        assert "API key" in run.error
        assert (Batch.objects.count(), run.granted) == (0, 0)
        server.fault = lambda call, before: 0
        assert runs.resume(run, queue=False)
        look(run)
        assert len(server.jobs) == 1


class TestPartialResults:
    def test_openai_tells_errors_in_a_file_of_their_own(self, server, project):
        run = look(make_run(project, make_voter(project)))
        (job,) = server.jobs
        good, bad, busy = job.keys
        job.end(
            output=[openai_line(good)],
            errors=[openai_refused_line(bad, 400, "Too long", "string_above_max_length"),
                    openai_refused_line(busy, 500, "Sorry")],
        )  # fmt: skip
        look(run)
        assert Vote.objects.get().post_id == int(good)
        assert Failure.objects.get().cause == "refused (400): string_above_max_length"
        assert (run.state, server.jobs[1].keys) == (RunState.RUNNING, [busy])

    def test_completed_may_hold_failures_among_the_answers(self, server, project):
        run = look(make_run(project, make_voter(project)))
        (job,) = server.jobs
        job.end(output=[openai_line(job.keys[0]), openai_refused_line(job.keys[1], 429, "Slow down"),
                        openai_line(job.keys[2], fakes.openai_answer(None, refusal="No."))])  # fmt: skip
        look(run)
        assert Vote.objects.filter(label=None, reason__contains="refused").count() == 1
        assert server.jobs[1].keys == [job.keys[1]]

    def test_what_came_before_it_expired_is_kept_and_the_rest_tried_three_times(self, server, project):
        run = look(make_run(project, make_voter(project)))
        first = server.jobs[0].keys
        server.jobs[0].end(
            "expired", [openai_line(first[0])], [openai_error_line(k, "batch_expired") for k in first[1:]]
        )
        look(run)
        assert Vote.objects.count() == 1
        for n in (1, 2):
            assert server.jobs[n].keys == first[1:]
            server.jobs[n].end("expired", [], [openai_error_line(key, "batch_expired") for key in first[1:]])
            look(run)
        assert (run.state, len(server.jobs)) == (RunState.DONE, 3)
        assert set(Failure.objects.values_list("cause", flat=True)) == {"not answered in time"}
        assert not BatchPost.objects.filter(in_vain=True).exists()  # who retries begins anew

    def test_gemini_succeeds_with_errors_and_blocked_answers_inside(self, server, project):
        run = look(make_run(project, make_voter(project, "gemini"), posts=5))
        (job,) = server.jobs
        good, bad, busy, blocked, odd = job.keys
        job.end(output=[
            gemini_line(good, fakes.gemini_answer('{"label": "bullish"}') | {"aFieldOfTomorrow": {"x": 1}}),
            gemini_error_line(bad, 3, "Bad image"), gemini_error_line(busy, 8, "Exhausted"),
            gemini_line(blocked, {"promptFeedback": {"blockReason": "SAFETY"}}),
            gemini_line(odd, fakes.gemini_answer("", "RECITATION")),
        ])  # fmt: skip
        look(run)
        assert Vote.objects.get(label__name="bullish").post_id == int(good)
        assert Vote.objects.filter(label=None, reason__contains="blocked").count() == 2
        assert Failure.objects.get().post_id == int(bad)
        assert server.jobs[1].keys == [busy]

    @pytest.mark.parametrize(
        ("error", "cause"),
        [
            ({"code": 3, "message": "Bad image", "details": [{"@type": "x/BadRequest"}]}, "refused (400): Bad image"),
            ({"code": 3, "message": "Bad image", "details": ["one text", None]}, "refused (400): Bad image"),
            ({"code": "3", "message": "Bad image"}, "refused (400): Bad image"),
            ({"code": "INVALID_ARGUMENT", "message": "Bad image"}, "refused (400): Bad image"),
            ({"code": 400, "message": "Bad image", "status": "INVALID_ARGUMENT"}, "refused (400): INVALID_ARGUMENT"),
            ({"code": 400, "message": "Bad image"}, "refused (400): Bad image"),
            ({"code": 3, "details": ["Too large"]}, "refused (400): Too large"),
            ({"message": "Internal error"}, ""),
            ({"code": 13}, ""),
            ({"code": 99, "message": "What?"}, "refused (99): What?"),
            ({"code": None, "message": None, "details": None}, ""),
            ("Something went wrong", ""),
            ([], ""),
            ({}, ""),
        ],
    )
    def test_geminis_errors_are_read_however_they_are_written(self, server, project, error, cause):
        """With no cause to keep it is tried again in the next batch."""
        run = look(make_run(project, make_voter(project, "gemini"), posts=2))
        good, bad = server.jobs[0].keys
        server.jobs[0].end(output=[gemini_line(good), {"key": bad, "error": error}])
        look(run)
        assert Vote.objects.get().post_id == int(good)
        assert [f.cause.startswith(cause) for f in Failure.objects.all()] == ([True] if cause else [])
        assert len(server.jobs) == (1 if cause else 2)

    def test_a_wrong_key_among_geminis_errors_stops_the_voter(self, server, project):
        run = look(make_run(project, make_voter(project, "gemini"), posts=2))
        good, bad = server.jobs[0].keys
        error = {"code": 3, "message": "It is not valid.", "details": ["API_KEY_INVALID"]}
        server.jobs[0].end(output=[gemini_line(good), {"key": bad, "error": error}])
        look(run)
        assert "API key" in run.parts.get().stopped
        assert not Failure.objects.exists()

    def test_what_google_forbids_in_one_answer_it_forbids_in_all(self, server, project):
        run = look(make_run(project, make_voter(project, "gemini"), posts=2))
        good, bad = server.jobs[0].keys
        server.jobs[0].end(output=[gemini_line(good), gemini_error_line(bad, 9, "Billing is off.")])
        look(run)
        assert "Billing is off." in run.parts.get().stopped

    def test_why_a_whole_batch_of_geminis_failed_is_told(self, server, project):
        run = look(make_run(project, make_voter(project, "gemini")))
        for job in range(3):
            server.jobs[job].error = {"code": 3, "message": "The model takes no batches.", "details": [{"x": "y"}]}
            server.jobs[job].end("failed")
            look(run)
        assert set(Failure.objects.values_list("cause", flat=True)) == {"The model takes no batches."}

    def test_a_batch_that_fails_whole_is_tried_three_times(self, server, project):
        run = look(make_run(project, make_voter(project)))
        for n in range(3):
            server.jobs[n].error = {"code": "invalid", "message": "Line 1 is odd."}
            server.jobs[n].end("failed")
            look(run)
        assert (run.state, len(server.jobs)) == (RunState.DONE, 3)
        assert set(Failure.objects.values_list("cause", flat=True)) == {"Line 1 is odd."}

    def test_a_queue_without_room_gets_smaller_batches_and_counts_as_no_try(self, server, project):
        run = look(make_run(project, make_voter(project), posts=4))
        server.jobs[0].error = {"code": "token_limit_exceeded", "message": "Enqueued token limit reached"}
        server.jobs[0].end("failed")
        look(run)
        assert [len(job.keys) for job in server.jobs] == [4, 2, 2]
        assert not Failure.objects.exists()

    def test_lines_that_are_none_cost_nothing_else(self, server, project):
        run = look(make_run(project, make_voter(project)))
        (job,) = server.jobs
        job.end(output=[{"custom_id": None}, {"custom_id": "999999999", "response": None}, {"response": {"body": 7}},
                        *map(openai_line, job.keys)])  # fmt: skip
        look(run)
        assert (run.state, Vote.objects.count()) == (RunState.DONE, 3)

    def test_a_batch_that_is_gone_is_asked_again(self, server, project):
        run = look(make_run(project, make_voter(project)))
        server.fault = lambda call, before: 404 if call == "GET /v1/batches/batch_1" else 0
        look(run)
        assert (len(server.jobs), Batch.objects.first().error) == (2, "the batch is gone")


class TestOnceOnly:
    def test_collected_twice_it_counts_once(self, server, project):
        run = look(make_run(project, make_voter(project)))
        (job,) = server.jobs
        job.end(output=map(openai_line, job.keys))
        with pytest.MonkeyPatch.context() as patched:
            patched.setattr(collecting, "close", lambda *args: 1 / 0)
            with pytest.raises(ZeroDivisionError):
                look(run)
        assert Vote.objects.count() == 3
        look(run)
        part = run.parts.get()
        assert (run.state, part.done, len(server.jobs)) == (RunState.DONE, 3, 1)
        assert part.cost == sum(Vote.objects.values_list("cost", flat=True))

    def test_what_lies_in_a_batch_is_pending_for_nobody(self, project):
        voter = make_voter(project)
        run = look(make_run(project, voter))
        assert not asking.pending_posts(run, run.parts.get()).exists()
        VotingRun.objects.update(state=RunState.FAILED)
        make_post(project, "new")
        live = runs.start(project, None, [voter], queue=False)
        assert [post.text for post in asking.pending_posts(live, live.parts.get())] == ["new"]

    def test_a_pilot_asks_a_few(self, server, project):
        run = look(make_run(project, make_voter(project), posts=5, limit=2))
        server.jobs[0].end(
            output=[openai_line(server.jobs[0].keys[0])], errors=[openai_error_line(server.jobs[0].keys[1], "x")]
        )
        look(run)
        assert (run.state, len(server.jobs), len(server.jobs[0].keys)) == (RunState.DONE, 1, 2)

    def test_between_two_looks_it_is_neither_dead_nor_due(self, project):
        run = look(make_run(project, make_voter(project)))
        VotingRun.objects.update(heartbeat=timezone.now() - timedelta(minutes=2))
        run.refresh_from_db()
        assert not run.is_silent
        assert not batch.carry_out(run)
        VotingRun.objects.update(waits_until=timezone.now() - timedelta(minutes=10))
        run.refresh_from_db()
        assert run.is_silent
        assert list(VotingRun.objects.claimable()) == [run]

    def test_the_schedule_looks_at_it(self, server, project, monkeypatch):
        monkeypatch.setattr(runs, "async_task", lambda name, pk, **options: tasks.vote(pk))
        run = look(make_run(project, make_voter(project)))
        server.jobs[0].end(output=map(openai_line, server.jobs[0].keys))
        VotingRun.objects.update(waits_until=timezone.now())
        tasks.every_minute()
        run.refresh_from_db()
        assert run.state == RunState.DONE

    def test_a_worker_taken_for_dead_submits_nothing(self, server, project, monkeypatch):
        run = make_run(project, make_voter(project))
        original = submitting.record

        def record(current, seat, chunk):
            VotingRun.objects.update(claim_number=7)
            return original(current, seat, chunk)

        monkeypatch.setattr(submitting, "record", record)
        assert not batch.carry_out(run)
        assert (Batch.objects.count(), len(server.jobs)) == (0, 0)


class TestBudget:
    def test_what_was_submitted_is_reserved_and_no_more_is(self, server, project, monkeypatch):
        monkeypatch.setattr(pricing, "most_for", lambda *args: Decimal("0.02"))
        run = look(make_run(project, make_voter(project), posts=10, budget=Decimal("0.045")))
        assert (len(server.jobs[0].keys), run.granted) == (4, Decimal("0.04"))
        server.jobs[0].end(output=map(openai_line, server.jobs[0].keys))
        look(run)
        assert len(server.jobs[1].keys) == 4  # they cost less than was reserved
        assert run.granted == run.spent + Decimal("0.04") <= run.budget

    def test_used_up_it_pauses_and_raised_it_goes_on(self, server, project, monkeypatch):
        monkeypatch.setattr(pricing, "most_for", lambda *args: Decimal("0.02"))
        monkeypatch.setattr(pricing, "price_of", lambda *args, batch=False: Decimal("0.01"))
        run = look(make_run(project, make_voter(project), posts=3, budget=Decimal("0.02")))
        server.jobs[0].end(output=map(openai_line, server.jobs[0].keys))
        look(run)
        assert (run.state, run.spent, len(server.jobs)) == (RunState.PAUSED, Decimal("0.02"), 1)
        assert "budget" in run.error
        assert runs.resume(run, Decimal(1), queue=False)
        look(run)
        assert len(server.jobs[1].keys) == 1

    def test_an_answer_without_a_price_counts_as_the_most(self, server, project, monkeypatch):
        monkeypatch.setattr(pricing, "most_for", lambda *args: Decimal("0.02"))
        run = look(make_run(project, make_voter(project), posts=2, budget=Decimal("0.02")))
        silent = fakes.openai_answer('{"label": "bullish"}') | {"usage": None}
        server.jobs[0].end(output=[openai_line(key, silent) for key in server.jobs[0].keys])
        look(run)
        assert (run.written_off, run.granted, run.parts.get().unpriced) == (Decimal("0.02"), 0, 2)

    def test_a_killed_worker_writes_nothing_off(self, project, monkeypatch):
        monkeypatch.setattr(pricing, "most_for", lambda *args: Decimal("0.02"))
        run = look(make_run(project, make_voter(project), budget=Decimal("0.05")))
        assert look(run).written_off == 0
        assert run.granted == Decimal("0.03")


class TestPause:
    def test_submits_no_more_and_fetches_what_is_there(self, server, project, monkeypatch):
        run = look(make_run(project, make_voter(project)))
        runs.pause(run)
        make_post(project, "new")
        look(run)
        assert (run.state, len(server.jobs)) == (RunState.RUNNING, 1)
        server.jobs[0].end(output=map(openai_line, server.jobs[0].keys))
        look(run)
        assert (run.state, Vote.objects.count()) == (RunState.PAUSED, 3)
        assert runs.resume(run, queue=False)
        look(run)
        assert len(server.jobs) == 2

    def test_can_be_taken_back(self, server, project):
        run = look(make_run(project, make_voter(project)))
        runs.pause(run)
        assert runs.resume(run, queue=False)
        look(run)
        assert (run.state, run.asked, len(server.jobs)) == (RunState.RUNNING, "", 1)


class TestAlive:
    def test_it_shows_signs_of_life_while_a_file_goes_up(self, server, project, monkeypatch):
        monkeypatch.setattr(batch, "BEAT", 0.02)
        beats = []
        original = batch.Round.beat_apart
        monkeypatch.setattr(batch.Round, "beat_apart", lambda self: (beats.append(1), original(self)))
        server.fault = lambda call, before: time.sleep(0.1) or 0
        run = look(make_run(project, make_voter(project)))
        assert (len(beats) > 3, run.at_provider) == (True, 3)

    def test_one_providers_trouble_does_not_hold_up_the_other(self, server, project):
        run = make_run(project, make_voter(project), make_voter(project, "gemini"))
        server.fault = lambda call, before: 403 if "/v1/" in call else 0
        look(run)
        assert "forbids" in run.parts.get(voter__name="openai").stopped
        server.jobs[0].end(output=map(gemini_line, server.jobs[0].keys))
        look(run)
        assert (run.state, run.parts.get(voter__name="gemini").done) == (RunState.DONE, 3)

    def test_a_key_that_went_missing_leaves_what_is_at_the_provider_to_be_fetched(self, server, project, monkeypatch):
        run = look(make_run(project, make_voter(project)))
        monkeypatch.delenv("OPENAI_API_KEY")
        look(run)
        assert (run.state, run.at_provider) == (RunState.FAILED, 3)
        monkeypatch.setenv("OPENAI_API_KEY", "x")
        server.jobs[0].end(output=map(openai_line, server.jobs[0].keys))
        assert runs.resume(run, queue=False)
        look(run)
        assert (run.state, Vote.objects.count(), len(server.jobs)) == (RunState.DONE, 3, 1)


class TestCommand:
    def test_submits_and_returns(self, server, project, capsys):
        make_post(project)
        make_voter(project)
        call_command("vote", project=project.slug, batch=True)
        assert "1 request is at the provider" in capsys.readouterr().out
        server.jobs[0].end(output=map(openai_line, server.jobs[0].keys))
        call_command("vote", project=project.slug, batch=True)
        assert "is at the provider" in capsys.readouterr().out  # not due yet: nobody asks all the time
        VotingRun.objects.update(waits_until=timezone.now())
        call_command("vote", project=project.slug)
        assert "openai: 1 votes" in capsys.readouterr().out
        assert VotingRun.objects.count() == 1

    def test_waits_if_told_to(self, server, project, capsys, monkeypatch):
        monkeypatch.setattr(batch, "POLL", timedelta(seconds=0))
        monkeypatch.setattr(vote, "NAP", 0.01)
        make_post(project)
        make_voter(project)

        def answered(call, before):
            if before and call.startswith("GET /v1/batches/"):
                server.jobs[0].end(output=map(openai_line, server.jobs[0].keys))
            return 0

        server.fault = answered
        call_command("vote", project=project.slug, batch=True, wait=True)
        assert "openai: 1 votes" in capsys.readouterr().out

    def test_says_who_takes_no_batches(self, project):
        make_post(project)
        Voter.objects.create(project=project, name="o", provider="offline", model="chart", fingerprint="o")
        with pytest.raises(CommandError, match="takes no batches"):
            call_command("vote", project=project.slug, batch=True)


class TestStart:
    def test_who_takes_no_batches_says_so(self, project):
        make_post(project)
        offline = Voter.objects.create(project=project, name="o", provider="offline", model="chart", fingerprint="o")
        with pytest.raises(runs.CannotStart, match="takes no batches"):
            runs.start(project, None, [offline], queue=False, mode=Mode.BATCH)
        own = make_voter(project, parameters={"base_url": "http://localhost:1/v1"})
        with pytest.raises(runs.CannotStart, match="one by one"):
            runs.start(project, None, [own], queue=False, mode=Mode.BATCH)


class TestWhatIsLeftAtTheProvider:
    @both
    def test_files_are_deleted_once_their_answers_are_stored(self, server, project, provider):
        run = look(make_run(project, make_voter(project, provider)))
        (sent,) = server.files
        (job,) = server.jobs
        job.end(output=[LINES[provider](job.keys[0])], errors=[LINES[provider](key) for key in job.keys[1:]])
        look(run)
        assert (run.state, Vote.objects.count()) == (RunState.DONE, 3)
        assert sent in server.deleted
        assert not server.files.keys() & {name for call in server.calls if (name := downloaded(call))}

    @both
    def test_one_that_cannot_be_deleted_costs_nothing(self, server, project, provider):
        run = look(make_run(project, make_voter(project, provider)))
        server.jobs[0].end(output=[LINES[provider](key) for key in server.jobs[0].keys])
        server.fault = lambda call, before: 500 if call.startswith("DELETE") else 0
        look(run)
        assert (run.state, run.error, Vote.objects.count()) == (RunState.DONE, "", 3)
        assert server.files

    @both
    def test_a_file_whose_batch_was_refused_is_deleted(self, server, project, provider):
        create = ("POST /v1/batches", "batchGenerateContent")
        server.fault = lambda call, before: 400 if call.endswith(create) else 0
        run = look(make_run(project, make_voter(project, provider)))
        assert (run.state, server.files, Batch.objects.count()) == (RunState.FAILED, {}, 0)

    @both
    def test_cancelling_a_run_that_failed_cancels_what_is_there(self, server, project, provider, monkeypatch):
        run = look(make_run(project, make_voter(project, provider)))
        server.fault = lambda call, before: 401
        look(run)
        assert (run.state, run.at_provider, watching.watch(run).may_cancel) == (RunState.FAILED, 3, True)
        server.fault = lambda call, before: 0
        runs.cancel(run)
        look(run)
        assert server.cancelled == [1]
        server.jobs[0].end("cancelled", output=[LINES[provider](server.jobs[0].keys[0])])
        look(run)
        assert (run.state, Vote.objects.count(), len(server.jobs)) == (RunState.CANCELLED, 1, 1)
        assert not watching.watch(run).may_cancel

    def test_cancelling_a_run_that_failed_with_nothing_there_does_nothing(self, server, project):
        run = make_run(project, make_voter(project))
        server.fault = lambda call, before: 401
        look(run)
        assert not watching.watch(run).may_cancel
        runs.cancel(run)
        run.refresh_from_db()
        assert run.state == RunState.FAILED


def downloaded(call: str) -> str:
    found = re.fullmatch(r"GET /v1/files/(\w+)/content|GET /v1beta/files/(\w+):download", call)
    return (found[1] or found[2]) if found else ""


class TestWords:
    def test_an_answer_belongs_to_the_words_that_were_sent(self, server, project):
        run = look(make_run(project, make_voter(project)))
        project.question = "Something else?"
        project.save()
        make_post(project, "late")
        look(run)
        first, second = Batch.objects.order_by("number")
        assert "What sentiment?" in first.wording.text
        assert "Something else?" in second.wording.text
        assert first.wording.hash != second.wording.hash


def test_a_batch_is_of_no_concern_to_a_live_run(project):
    make_post(project)
    offline = Voter.objects.create(project=project, name="o", provider="offline", model="keywords", fingerprint="o")
    run = runs.start(project, None, [offline], queue=False)
    assert voting.carry_out(run)
    assert Vote.objects.get().latency_ms is not None
    assert storing.Result(1).latency_ms is None
