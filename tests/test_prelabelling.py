"""A run's model says what posts without a label are; what it is sure of settles on somebody's word, and can go back."""

import os
from datetime import timedelta

import pytest
from django.core.management import CommandError, call_command
from django.utils import timezone

from annotate import model_labels, settling
from annotate.blindness import OVERSEER
from annotate.deciding import Given, decide, undo
from annotate.models import Disagreement, Event, LabelSource, Post, Role, State, Vote, Voter
from annotate.models.review import Stream, Why
from annotate.queue import Seat, claim
from annotate.story import story_of
from modeling import tasks
from modeling.cascade import asking as cascading
from modeling.datasets.recipe import Recipe
from modeling.gpu.hashing import hash_of
from modeling.models import Cascade, Goal, JobState, PreLabel, PreLabelling, Run, RunState
from modeling.prelabelling import asking, audited, feeding, prelabelling, quotas, thresholds
from modeling.training import results, run_folder

from . import scripted_asking
from .make import make_label, make_member, make_post, make_vote
from .test_dataset import freeze
from .test_evaluating import WORDS, make_known

pytestmark = pytest.mark.django_db
NAMES = tuple(WORDS)
SIGN = {"bearish": "rug", "neutral": "fees", "bullish": "moon"}


@pytest.fixture(autouse=True)
def var(tmp_path, settings, monkeypatch):
    settings.VAR_DIR = tmp_path
    monkeypatch.setattr(asking, "LOOK_EVERY", 0.02)
    monkeypatch.setattr(asking, "COMMAND", scripted_asking.program(tmp_path))
    return tmp_path


@pytest.fixture
def project():
    return make_known(posts=60, held=6)


@pytest.fixture
def run(project):
    return done_run(freeze(project, recipe=Recipe(validation=0.4, test=0.1)))


def done_run(dataset):
    """As training leaves it; what lies in its folder is read by nobody here."""
    run = Run.objects.create(
        project=dataset.project, dataset=dataset, state=RunState.DONE,
        config={"model": "/somewhere", "method": "lora"},
    )  # fmt: skip
    adapter = run_folder.folder_of(run) / results.ADAPTER
    adapter.mkdir(parents=True)
    (adapter / "adapter_config.json").write_text("{}")
    run.receipt = {"adapter": hash_of(adapter)}
    run.save()
    return run


def new_posts(project, label, sure, number=1, **fields):
    return [make_post(project, f"{SIGN[label]} sure={sure} {n} {label}{sure}", **fields) for n in range(number)]


def pre_label(run, posts=None, **how):
    made = prelabelling.ask(run.project, None, run, posts, queue=False, **how)
    return carry_out(made)


def carry_out(made):
    assert prelabelling.carry_out(made)
    made.refresh_from_db()
    return made


def settle(made, **how):
    assert prelabelling.apply(made, None, queue=False, **how)
    return carry_out(made)


def take_back(made):
    assert prelabelling.take_back(made, None, queue=False)
    return carry_out(made)


def state(post):
    post.refresh_from_db()
    return post.state, post.label.name if post.label else "", post.label_source


class TestAsking:
    def test_answers_become_votes_that_settle_nothing_yet(self, project, run):
        posts = new_posts(project, "bullish", 0.97, 3)
        made = pre_label(run)
        assert (made.state, made.goal, made.done, made.total) == ("done", Goal.ASK, 3, 3), made.error
        assert made.waits_for_a_word
        assert [state(post) for post in posts] == [(State.WAITING, "", "")] * 3
        vote = Vote.objects.get(post=posts[0])
        assert (vote.label.name, vote.voter.name, vote.voter.provider) == ("bullish", str(run), "model")
        assert vote.confidence == pytest.approx(max(vote.probabilities.values()))
        assert sum(vote.probabilities.values()) == pytest.approx(1, abs=1e-5)
        posts[0].refresh_from_db()
        assert posts[0].vote_count == 1

    def test_it_is_calibrated_on_the_validation_split_alone(self, project, run):
        post = make_post(project, "rug sure=0.999")
        for item in run.dataset.items.filter(split="validation", label="bearish")[:4]:
            type(item).objects.filter(pk=item.pk)
        made = pre_label(run)
        assert made.temperature is not None
        assert len(made.validation) == run.dataset.items.filter(split="validation").count() >= 20
        assert {label for label, _, _ in made.validation} == set(NAMES)
        assert Vote.objects.filter(post=post).exists()

    def test_the_locked_test_set_is_never_asked_about(self, project, run):
        Post.objects.filter(holdout=True).update(state=State.WAITING, label=None, label_source="")
        made = pre_label(run, {})
        assert not Vote.objects.filter(voter=made.voter, post__holdout=True).exists()
        assert made.done == 60

    def test_asked_again_nothing_is_asked_twice(self, project, run):
        new_posts(project, "bullish", 0.97, 2)
        pre_label(run)
        new_posts(project, "bearish", 0.97, 1)
        again = pre_label(run)
        assert (again.done, Vote.objects.filter(voter=again.voter).count()) == (3, 3)
        assert Voter.objects.filter(provider="model").count() == 1

    def test_many_portions_leave_nothing_on_the_disk(self, project, run, monkeypatch):
        monkeypatch.setattr(feeding, "PORTION", 4)
        new_posts(project, "neutral", 0.95, 30)
        made = pre_label(run)
        assert made.done == 30, made.error
        assert not feeding.folder_of(made).exists()

    def test_a_killed_process_loses_nothing_and_a_resumed_one_asks_only_what_is_left(
        self, project, run, monkeypatch, tmp_path
    ):
        monkeypatch.setattr(feeding, "PORTION", 5)
        die = "import os, signal\n            if done == 40: os.kill(os.getpid(), signal.SIGKILL)"
        monkeypatch.setattr(asking, "COMMAND", scripted_asking.program(tmp_path, die))
        new_posts(project, "neutral", 0.95, 30)
        made = pre_label(run)
        assert made.state == JobState.INTERRUPTED
        answered = Vote.objects.filter(voter=made.voter).count()
        assert 0 < answered < 30
        monkeypatch.setattr(asking, "COMMAND", scripted_asking.program(tmp_path))
        assert prelabelling.resume(made)
        tasks.prelabel(made.pk)
        made.refresh_from_db()
        assert (made.state, made.done) == ("done", 30), made.error

    def test_stopped_it_keeps_what_was_answered(self, project, run, monkeypatch, tmp_path):
        monkeypatch.setattr(asking, "COMMAND", scripted_asking.program(tmp_path, "time.sleep(0.05)"))
        new_posts(project, "neutral", 0.95, 200)
        made = prelabelling.ask(project, None, run, queue=False)

        def progress(one):
            if one.done >= 1:
                prelabelling.stop(one)

        assert prelabelling.carry_out(made, progress)
        made.refresh_from_db()
        assert made.state == JobState.STOPPED
        assert 0 < Vote.objects.filter(voter=made.voter).count() < 200

    def test_a_worker_that_died_is_followed_by_another_and_not_by_two(self, project, run):
        new_posts(project, "neutral", 0.95, 2)
        made = prelabelling.ask(project, None, run, queue=False)
        assert made.claim()
        assert not prelabelling.carry_out(made)
        PreLabelling.objects.update(heartbeat=timezone.now() - timedelta(minutes=5))
        prelabelling.take_up()
        carry_out(made)
        assert (made.state, made.interruptions) == ("done", 1)

    @pytest.mark.parametrize(("posts", "how", "sentence"), [
        ({"holdout": "1"}, {}, "not asked about the locked test set"),
        ({"state": "lost"}, {}, "is not a state"),
        (None, {"threshold": 0.3}, "a chance from 0.5 to 1"),
        (None, {"growth": 0.5}, "from 1 to 100; 0 for any"),
        (None, {"bits": 5}, "4, 8 or 16"),
    ])  # fmt: skip
    def test_what_cannot_be_is_refused_in_words(self, project, run, posts, how, sentence):
        with pytest.raises(prelabelling.Refused, match=sentence):
            prelabelling.ask(project, None, run, posts, queue=False, **how)

    def test_a_column_of_the_same_name_is_another_voter(self, project, run):
        Voter.imported(project, str(run))
        assert pre_label(run).voter.name == f"{run} (2)"

    def test_a_renamed_label_is_voted_for_by_its_new_name(self, project, run):
        project.labels.filter(name="bullish").update(name="up")
        post = make_post(project, "moon sure=0.97")
        pre_label(run)
        assert Vote.objects.get(post=post).label.name == "up"


class TestSettling:
    def test_what_it_is_sure_of_settles_and_says_who(self, project, run):
        sure, unsure = new_posts(project, "bullish", 0.99)[0], new_posts(project, "bearish", 0.5)[0]
        made = settle(pre_label(run))
        assert state(sure) == (State.SETTLED, "bullish", LabelSource.MODEL)
        assert state(unsure) == (State.CONTESTED, "", "")
        assert Disagreement.objects.get(post=unsure).why == Why.MODEL
        assert made.is_applied
        assert made.result["settled"] == {"bullish": 1}
        assert made.result["doubts"] == 1
        assert any(f"{run} was sure of bullish." in chapter.detail for chapter in story_of(sure, OVERSEER))

    def test_no_label_grows_past_its_quota_and_the_surest_go_first(self, project, run):
        posts = new_posts(project, "bullish", 0.96, 40) + new_posts(project, "bullish", 0.99, 10)
        made = settle(pre_label(run), growth=1.2)
        before, settled = 20, made.result["settled"]["bullish"]
        share = (before + settled) / (60 + settled)
        assert share <= 1.2 * before / 60 < (before + settled + 1) / (60 + settled + 1)
        assert made.result["held_back"] == {"bullish": 50 - settled}
        by_model = {post.pk for post in posts if state(post)[2] == LabelSource.MODEL}
        assert len(by_model) == settled
        surest = {post.pk for post in posts[40:]}
        assert surest >= by_model or by_model >= surest

    def test_voters_who_say_otherwise_are_heard_before_the_model(self, project, run):
        post = new_posts(project, "bullish", 0.99)[0]
        make_vote(post, "gpt", "bearish")
        made = pre_label(run)
        assert thresholds.reckon(made.meaning, made.validation, 0.9, 0).against == 1
        settle(made)
        assert state(post)[:2] == (State.CONTESTED, "")

    def test_a_contested_post_settles_where_a_voter_said_the_same(self, project, run):
        Voter.objects.update(required=False)
        taken, open_still = new_posts(project, "bullish", 0.99, 2)
        for post, labels in ((taken, ("bullish", "bearish")), (open_still, ("neutral", "bearish"))):
            for voter, label in zip(("gpt", "gemini"), labels, strict=True):
                make_vote(post, voter, label)
        settling.settle(project, [taken.pk, open_still.pk])
        settle(pre_label(run, {"state": "contested"}))
        assert state(taken) == (State.SETTLED, "bullish", LabelSource.MODEL)
        assert not Disagreement.objects.filter(post=taken, closed=None, stream=Stream.CONTESTED).exists()
        assert state(open_still)[0] == State.CONTESTED

    def test_what_somebody_has_on_the_screen_is_theirs(self, project, run):
        Voter.objects.update(required=False)
        post = new_posts(project, "bullish", 0.99)[0]
        make_vote(post, "gpt", "bullish")
        make_vote(post, "gemini", "bearish")
        settling.settle(project, [post.pk])
        assert claim(Seat(project, make_member(project), Role.REVIEWER)) is not None
        settle(pre_label(run, {"state": "contested"}))
        assert state(post)[0] == State.CONTESTED

    def test_its_votes_are_never_heard_by_consensus(self, project, run):
        Voter.objects.update(required=False)
        post = new_posts(project, "bullish", 0.6)[0]
        pre_label(run)
        make_vote(post, "gpt", "bullish")
        settling.settle(project, [post.pk])
        assert state(post)[0] == State.WAITING  # one voter that is heard agrees with nobody

    def test_its_label_stands_until_voters_agree(self, project, run):
        Voter.objects.update(required=False)
        post = new_posts(project, "bullish", 0.99)[0]
        settle(pre_label(run))
        make_vote(post, "gpt", "bullish")
        make_vote(post, "gemini", "bearish")
        settling.settle(project, [post.pk])
        assert state(post) == (State.SETTLED, "bullish", LabelSource.MODEL)
        Vote.objects.filter(post=post, voter__name="gpt").update(label=make_label(project, "bearish"))
        settling.settle(project, [post.pk])
        assert state(post) == (State.SETTLED, "bearish", LabelSource.CONSENSUS)

    def test_a_blind_sample_of_its_own_is_audited(self, project, run):
        new_posts(project, "bullish", 0.99, 40)
        made = settle(pre_label(run), audit_rate=0.5, growth=0)
        drawn = Disagreement.objects.filter(why=Why.AUDIT, post__in=made.labels.values("post"))
        assert 8 <= drawn.count() <= 32
        assert set(drawn.values_list("inclusion", "wanted")) == {(0.5, 2)}

    def test_of_near_duplicates_one_doubt_goes_to_people(self, project, run):
        for text in ("rug sure=0.5 same", "RUG sure=0.5 same!", "rug sure=0.6 other"):
            make_post(project, text)
        made = settle(pre_label(run))
        assert made.result["doubts"] == 2

    def test_what_teaches_most_is_asked_first_and_no_more_than_wanted(self, project, run):
        posts = [new_posts(project, "bearish", sure)[0] for sure in (0.8, 0.4, 0.6)]
        settle(pre_label(run), most_doubts=2)
        asked = Disagreement.objects.filter(why=Why.MODEL).order_by("rank").values_list("post", flat=True)
        assert list(asked) == [posts[1].pk, posts[2].pk]

    def test_conflicts_are_listed_and_never_applied(self, project, run):
        post = make_post(project, "moon sure=0.99 labelled wrongly", "bearish", label_source="review")
        made = pre_label(run, {})
        before = list(Post.objects.order_by("pk").values_list("state", "label", "label_source"))
        settle(made)
        assert made.result["conflicts"] == 1
        assert list(Post.objects.order_by("pk").values_list("state", "label", "label_source")) == before
        assert state(post) == (State.SETTLED, "bearish", "review")

    def test_cut_off_and_taken_up_again_it_settles_no_more_than_it_may(self, project, run, monkeypatch):
        new_posts(project, "bullish", 0.99, 30)
        made = pre_label(run)
        assert prelabelling.apply(made, None, queue=False, growth=1.2)
        real, calls = model_labels.settle, []

        def dies(*args):
            done = real(*args)
            calls.append(done)
            raise KeyboardInterrupt

        monkeypatch.setattr(model_labels, "settle", dies)
        with pytest.raises(KeyboardInterrupt):
            prelabelling.carry_out(made)
        monkeypatch.setattr(model_labels, "settle", real)
        assert not PreLabel.objects.exists()  # what it did was one transaction
        assert prelabelling.resume(made)
        carry_out(made)
        assert made.result["settled"] == made.result["allowed"]

    def test_it_is_settled_once_however_often_it_is_asked_for(self, project, run):
        new_posts(project, "bullish", 0.99, 3)
        made = settle(pre_label(run))
        assert not prelabelling.apply(made, None, queue=False)
        assert Event.objects.filter(verb="settling by a model done").get().data["settled"] == 3


class TestTakingBack:
    def test_every_label_of_it_goes_and_nobody_elses(self, project, run):
        mine, doubted = new_posts(project, "bullish", 0.99, 5), new_posts(project, "bearish", 0.5)[0]
        other = make_post(project, "by another", "bullish", label_source="model")
        made = take_back(settle(pre_label(run), audit_rate=1))
        assert {state(post) for post in mine} == {(State.WAITING, "", "")}
        assert state(doubted) == (State.WAITING, "", "")
        assert state(other)[2] == LabelSource.MODEL
        assert not Disagreement.objects.filter(closed=None).exists()
        assert (made.result["freed"], made.taken_back is not None) == (5, True)

    def test_what_people_said_since_stands(self, project, run):
        post, other = new_posts(project, "bullish", 0.99, 2)
        made = settle(pre_label(run))
        post.state, post.label, post.label_source = State.SETTLED, make_label(project, "bearish"), LabelSource.REVIEW
        post.save()
        take_back(made)
        assert state(post) == (State.SETTLED, "bearish", "review")
        assert state(other)[0] == State.WAITING

    def test_what_voters_contested_is_contested_again(self, project, run):
        Voter.objects.update(required=False)
        post = new_posts(project, "bullish", 0.99)[0]
        make_vote(post, "gpt", "bullish")
        make_vote(post, "gemini", "bearish")
        settling.settle(project, [post.pk])
        take_back(settle(pre_label(run, {"state": "contested"})))
        assert state(post)[0] == State.CONTESTED
        assert Disagreement.objects.filter(post=post, closed=None, why=Why.SPLIT).exists()

    def test_a_label_that_a_later_one_gave_stays_with_its_audits_until_that_one_goes(self, project, run):
        Voter.objects.update(required=False)
        post, other = new_posts(project, "bullish", 0.99, 2)
        older = settle(pre_label(run), audit_rate=0, growth=0)
        for voter, label in (("gpt", "bearish"), ("gemini", "bearish"), ("late", "bullish")):
            make_vote(post, voter, label)
            settling.settle(project, [post.pk])
        assert state(post) == (State.CONTESTED, "", "")
        newer = settle(pre_label(done_run(run.dataset), {"state": "contested"}), audit_rate=1, growth=0)
        take_back(older)
        assert state(post) == (State.SETTLED, "bullish", LabelSource.MODEL)
        assert state(other) == (State.WAITING, "", "")
        assert older.result["freed"] == 1
        assert (audited.read(newer).drawn, audited.read(newer).waiting) == (1, 1)
        take_back(newer)
        assert state(post) == (State.CONTESTED, "", "")
        assert not Disagreement.objects.filter(closed=None, why=Why.AUDIT).exists()

    def test_a_doubt_that_a_later_one_has_is_not_withdrawn_with_an_older_one(self, project, run):
        post = new_posts(project, "bullish", 0.7)[0]
        older = settle(pre_label(run))
        take_back(settle(pre_label(run, {"state": "contested"}), threshold=0.5, growth=0))  # it had ended that doubt
        newer = settle(pre_label(run))
        assert newer.result["doubts"] == 1
        take_back(older)
        assert Disagreement.objects.get(post=post, closed=None).why == Why.MODEL
        assert state(post)[0] == State.CONTESTED
        take_back(newer)
        assert state(post)[0] == State.WAITING

    def test_half_settled_it_can_be_taken_back(self, project, run):
        new_posts(project, "bullish", 0.99, 3)
        made = settle(pre_label(run))
        PreLabelling.objects.update(state=JobState.STOPPED)
        made.refresh_from_db()
        take_back(made)
        assert not Post.objects.filter(label_source="model").exists()

    def test_settled_again_it_is_audited_again(self, project, run):
        new_posts(project, "bullish", 0.99, 6)
        take_back(settle(pre_label(run), audit_rate=1, growth=0))
        made = settle(pre_label(run), audit_rate=1, growth=0)
        assert audited.read(made).drawn == 6

    def test_an_answer_taken_back_afterwards_brings_none_of_its_labels_back(self, project, run):
        post = new_posts(project, "bullish", 0.99)[0]
        made = settle(pre_label(run), audit_rate=1, growth=0)
        seat = Seat(project, make_member(project), Role.REVIEWER)
        Disagreement.objects.update(wanted=1)
        decide(seat, claim(seat), Given(label=make_label(project, "bearish").pk), "k")
        take_back(made)
        assert state(post)[2] == "review"
        undo(seat)
        assert state(post) == (State.WAITING, "", "")


class TestByACascade:
    def cascade(self, project, run):
        return Cascade.objects.create(
            project=project, name="Two stages", dataset=run.dataset, voter=Voter.imported(project, "first"), second=run,
            k=2, threshold=0.8, weight=0.5, temperature=1.0, state="done",
        )  # fmt: skip

    def test_the_model_is_asked_only_where_the_first_stage_is_unsure_and_about_its_candidates(self, project, run):
        sure, unsure, unknown = (make_post(project, f"moon sure=0.95 {n}") for n in range(3))
        make_vote(sure, "first", "bearish", probabilities={"bearish": 0.9, "neutral": 0.06, "bullish": 0.04})
        make_vote(unsure, "first", "bearish", probabilities={"bearish": 0.5, "neutral": 0.08, "bullish": 0.42})
        project.voters.filter(name="first").update(required=False)
        made = pre_label(run, cascade=self.cascade(project, run))
        assert (made.state, made.done, made.total) == ("done", 3, 3), made.error
        said = dict(Vote.objects.filter(voter=made.voter).values_list("post", "label__name"))
        assert said == {sure.pk: "bearish", unsure.pk: "bullish", unknown.pk: "bullish"}
        assert made.voter.name == "Two stages at 0.8"
        told = Vote.objects.get(post=unsure, voter=made.voter).probabilities
        assert sum(told.values()) == pytest.approx(1, abs=1e-5)
        assert told["bullish"] > told["bearish"] > told["neutral"]

    @pytest.mark.parametrize("since", [{"threshold": 0.6}, {"weight": 0.9}, {"temperature": 3.0}])
    def test_what_was_asked_at_one_point_is_never_answered_at_another(self, project, run, since):
        new_posts(project, "bullish", 0.95, 2)
        cascade = self.cascade(project, run)
        made = prelabelling.ask(project, None, run, cascade=cascade, queue=False)
        before = {name: getattr(cascade, name) for name in since}
        Cascade.objects.update(**since)
        carry_out(made)
        assert made.state == JobState.FAILED
        assert made.error.startswith("Since this was asked for, Two stages was fitted anew or given another point")
        assert not Vote.objects.filter(voter=made.voter).exists()
        Cascade.objects.update(**before)
        assert prelabelling.resume(made)
        assert (carry_out(made).state, made.done) == ("done", 2), made.error

    def test_one_that_was_stopped_does_not_go_on_at_another_point(self, project, run, monkeypatch, tmp_path):
        new_posts(project, "bullish", 0.95, 200)
        monkeypatch.setattr(asking, "COMMAND", scripted_asking.program(tmp_path, "time.sleep(0.05)"))
        made = prelabelling.ask(project, None, run, cascade=self.cascade(project, run), queue=False)
        assert prelabelling.carry_out(made, lambda one: prelabelling.stop(one) if one.done else None)
        made.refresh_from_db()
        votes = Vote.objects.filter(voter=made.voter).count()
        assert (made.state, 0 < votes < 200) == (JobState.STOPPED, True)
        Cascade.objects.update(threshold=0.6)
        assert prelabelling.resume(made)
        assert carry_out(made).state == JobState.FAILED
        assert Vote.objects.filter(voter=made.voter).count() == votes

    def test_fitted_anew_it_is_another_voter_unless_the_fit_came_out_the_same(self, project, run):
        post = new_posts(project, "bullish", 0.95)[0]
        first = pre_label(run, cascade=self.cascade(project, run)).voter
        Cascade.objects.update(temperature=1 + 1e-12)
        assert pre_label(run, cascade=Cascade.objects.get()).voter == first
        Cascade.objects.update(temperature=3)
        anew = pre_label(run, cascade=Cascade.objects.get())
        assert (anew.voter.name, anew.state) == ("Two stages at 0.8 (2)", "done")
        sure, less = (Vote.objects.get(post=post, voter=voter).confidence for voter in (first, anew.voter))
        assert sure > less

    def test_a_run_as_the_first_stage_votes_as_itself_not_as_a_cascade_in_which_it_is_the_second(self, project, run):
        new_posts(project, "bullish", 0.95)
        alone = pre_label(run).voter
        pre_label(run, cascade=self.cascade(project, run))
        above = Cascade.objects.create(
            project=project, name="Above", dataset=run.dataset, run=run, second=done_run(run.dataset), k=2
        )
        assert cascading.voter_of(above) == alone

    def test_what_an_older_version_asked_for_goes_on(self, project, run):
        """Its voter tells of no weight and no temperature."""
        new_posts(project, "bullish", 0.95)
        cascade = self.cascade(project, run)
        made = prelabelling.ask(project, None, run, cascade=cascade, queue=False)
        parameters = {"run": run.pk, "cascade": cascade.pk, "threshold": 0.8}
        Voter.objects.filter(pk=made.voter_id).update(
            parameters=parameters, fingerprint=Voter.fingerprint_of("model", made.voter.model, parameters, "")
        )
        assert (carry_out(made).state, made.done) == ("done", 1), made.error
        assert pre_label(run, cascade=cascade).voter != made.voter  # by which fit those votes came nobody knows

    def test_one_without_a_point_is_refused(self, project, run):
        make_vote(make_post(project), "first", "bearish", probabilities={"bearish": 1.0})
        made = self.cascade(project, run)
        Cascade.objects.update(threshold=None)
        made.refresh_from_db()
        with pytest.raises(prelabelling.Refused, match="has no point yet"):
            prelabelling.ask(project, None, run, cascade=made, queue=False)


class TestTheCommand:
    def test_it_says_what_the_threshold_means_and_settles_on_a_word(self, project, run, capsys, monkeypatch):
        posts = new_posts(project, "bullish", 0.99, 3)
        monkeypatch.setattr("sys.stdin", open(os.devnull))  # noqa: SIM115 - nobody is there to answer
        call_command("prelabel", project=project.slug, run=run.pk)
        told = capsys.readouterr().out
        assert "Calibrated on" in told
        assert "on the validation split" in told
        assert "Nothing is settled yet" in told
        assert state(posts[0])[0] == State.WAITING
        made = PreLabelling.objects.get()
        call_command("prelabel", project=project.slug, apply=made.pk, yes=True)
        assert "3 posts were settled: 3 bullish." in capsys.readouterr().out
        call_command("prelabel", project=project.slug, take_back=made.pk)
        assert "3 labels were taken back" in capsys.readouterr().out
        with pytest.raises(CommandError, match="has settled nothing"):
            call_command("prelabel", project=project.slug, take_back=made.pk)


class TestQuotas:
    def test_no_limit_is_broken_and_none_could_be_higher(self):
        known = {"a": 50, "b": 40, "c": 10}
        found = quotas.allowed({"a": 1000, "b": 10, "c": 500}, known, 1.5)
        whole = 100 + sum(found.values())
        for label, n in found.items():
            assert known[label] + n <= 1.5 * known[label] / 100 * whole + 1e-6
        assert found["b"] == 10

    def test_what_models_gave_before_has_used_up_some_of_it(self):
        first = quotas.allowed({"a": 1000}, {"a": 30, "b": 70}, 1.2)["a"]
        assert first > 0
        assert quotas.allowed({"a": 1000}, {"a": 30, "b": 70}, 1.2, {"a": first})["a"] == 0

    def test_a_label_that_nobody_gave_gets_none(self):
        assert quotas.allowed({"a": 5, "new": 5}, {"a": 10}, 2)["new"] == 0

    def test_without_a_limit_all_pass(self):
        assert quotas.allowed({"a": 5}, {"b": 10}, 0) == {"a": 5}
