"""Rounds: what comes next comes once, people are waited for, and what does not help is rolled back."""

from typing import Any

import pytest
from django.core.management import CommandError, call_command

from annotate import quality, queue
from annotate.deciding import Given, decide
from annotate.models import Disagreement, Event, Post, Role, State
from annotate.models.review import Why
from annotate.queue import Seat
from annotate.removing import remove
from modeling import tasks
from modeling.datasets import dataset as freezing
from modeling.evaluation import evaluating
from modeling.models import Comparison, Evaluation, Goal, JobState, Needs, On, PreLabel, Round, RoundState, RunState
from modeling.prelabelling import asking, audited, prelabelling
from modeling.rounds import guards, rounds, told, walking
from modeling.rounds.guards import Audited, Difference, Past
from modeling.rounds.plan import Plan
from modeling.rounds.rounds import Refused
from modeling.training import runner

from . import scripted_rounds
from .freezing import freeze
from .make import make_label, make_member, make_post, make_project
from .test_quotas import full

pytestmark = pytest.mark.django_db
WORDS = {"bearish": "rug dump scam", "neutral": "fees question wallet", "bullish": "moon pump green"}
NAMES = tuple(WORDS)
QUIET: dict[str, Any] = dict.fromkeys(("dataset", "run", "evaluation", "prelabelling"), lambda _: None)


@pytest.fixture(autouse=True)
def quick(tmp_path, settings, monkeypatch):
    settings.VAR_DIR = tmp_path / "var"
    for room in (runner, evaluating, asking):
        monkeypatch.setattr(room, "LOOK_EVERY", 0.02)
    learn, answer = scripted_rounds.programs(tmp_path)
    monkeypatch.setattr(runner, "PROGRAM", learn)
    monkeypatch.setattr(evaluating, "COMMAND", answer)
    monkeypatch.setattr(asking, "COMMAND", answer)


@pytest.fixture
def project():
    return make_known()


def make_known(known=90, held=45, waiting=60):
    project = make_project("Memes", audit_rate=0, double_rate=0, check_rate=0)
    for number in range(known):
        name = NAMES[number % 3]
        make_post(project, f"{WORDS[name]} a{number}", name, label_source="review", external_id=f"p{number}")
    for number in range(held):
        name = NAMES[number % 3]
        make_post(project, f"{WORDS[name]} h{number}", name, label_source="import", holdout=True)
    stream(project, waiting)
    return project


def stream(project, posts, begin="w"):
    """Posts that nobody has labelled; what they are stands in their id alone."""
    for number in range(posts):
        name = NAMES[number % 3]
        make_post(project, f"{WORDS[name]} {begin}{number}", external_id=f"{begin}{number}-{name}")


def plan(**how):
    return Plan(base="tiny", audit_rate=0.3, **how)


def a_round(project, **how):
    one = rounds.start(project, None, plan(**how), queue=False)
    return carried(one)


def carried(one):
    rounds.carry_out(one, QUIET)
    one.refresh_from_db()
    return one


def people(project):
    return [
        Seat(project, make_member(project, role, name), role)
        for role, name in ((Role.REVIEWER, "ann"), (Role.REVIEWER, "bob"), (Role.LEAD, "lea"))
    ]


def answer_all(seats, truth=lambda post: post.external_id.rpartition("-")[2]):
    """As people who know better than any machine."""
    for seat in seats * 2:
        while (pk := queue.claim(seat)) is not None:
            post = Disagreement.objects.select_related("post").get(pk=pk).post
            decide(seat, pk, Given(label=make_label(seat.project, truth(post)).pk), f"{seat.user.pk}-{pk}")


def by_model(project):
    return set(project.posts.filter(label_source="model").values_list("external_id", "label__name"))


class TestTheWay:
    def test_it_goes_as_far_as_a_word_is_needed_and_settles_on_that(self, project):
        one = a_round(project)
        assert (one.state, one.needs) == (RoundState.WAITING, Needs.WORD), one.why
        assert (one.dataset.name, one.run.state, one.prelabelling.goal) == ("round-1", RunState.DONE, Goal.ASK)
        assert by_model(project) == set()
        assert rounds.settle(one, None, queue=False)
        carried(one)
        assert (one.state, one.needs) == (RoundState.WAITING, Needs.REVIEW), one.why
        assert len(by_model(project)) > 40
        assert all(external_id.endswith(label) for external_id, label in by_model(project))

    def test_people_answer_and_it_is_kept_with_what_it_came_to(self, project):
        one = a_round(project, unattended=True)
        assert one.needs == Needs.REVIEW, one.why
        seats = people(project)
        answer_all(seats)
        rounds.advance(one.pk)
        one.refresh_from_db()
        assert one.state == RoundState.KEPT, one.why
        assert "0.0% of its labels are wrong" in one.why
        assert one.told["macro_f1"]["value"] == pytest.approx(1)
        assert one.told["settled"] > 40
        assert one.told["labels"]["review"] > 90
        assert one.told["people_hours"] >= 0
        assert Event.objects.filter(verb="round kept").exists()

    def test_the_second_round_learns_from_the_first_and_is_held_against_it(self, project):
        first = kept(project)
        stream(project, 30, "x")
        second = a_round(project, unattended=True)
        assert second.number == 2
        assert second.rival is not None
        assert second.rival.run == first.run
        splits = second.dataset.composition["splits"]
        assert splits["train"]["sources"]["model"] > 20
        assert all("model" not in splits[name]["sources"] for name in ("validation", "test", "holdout"))
        assert "not worse" in rounds.steps.judging.of_holdout(second).words

    def test_it_is_held_against_the_best_that_was_kept_not_the_last(self, project):
        """Each a little worse than the one before, within luck: only the best shows how far it has come down."""
        to_beat, dataset = rounds.judging.to_beat, freeze(project)

        def measured(run, figure, posts):
            return Evaluation.objects.create(
                project=project, dataset=dataset, run=run, split=On.HOLDOUT, predictor={}, name="a", key=str(run.pk),
                test_hash=posts, state=JobState.DONE, measured={"figures": {"macro_f1": {"value": figure}}},
            )  # fmt: skip

        def over(number, figure, posts="first", state=RoundState.KEPT, run=RunState.DONE):
            run = dataset.runs.create(project=project, config={"model": "tiny"}, state=run)
            evaluation = measured(run, figure, posts) if figure else None
            return Round.objects.create(
                project=project, number=number, plan={}, state=state, run=run, evaluation=evaluation
            )

        assert to_beat(project) is None
        unmeasured = over(1, None)
        assert to_beat(project) == unmeasured
        best = over(2, 0.84)
        over(3, 0.83)
        over(4, 0.9, state=RoundState.ROLLED_BACK)
        over(5, 0.9, run=RunState.FAILED)
        assert to_beat(project) == best
        assert to_beat(project, before=2) == unmeasured
        again = over(6, 0.84)
        assert to_beat(project) == again, "of two alike the later"
        harder = over(7, 0.6, posts="second")
        assert to_beat(project) == harder, "on other posts a figure says nothing"
        measured(best.run, 0.65, "second")
        assert to_beat(project) == best, "asked about those posts too, it is still the better one"

    def test_who_learns_from_labels_that_went_back_does_not_go_on(self, project):
        first = kept(project)
        stream(project, 30, "x")
        second = rounds.start(project, None, plan(), queue=False)
        rounds.advance(second.pk, queue=False)
        second.refresh_from_db()
        freezing.carry_out(second.dataset)
        assert rounds.roll_back(first, None, queue=False)
        for _ in range(2):
            carried(second)
            assert second.state == RoundState.HELD_UP
            assert second.why.startswith("Labels of ")
            assert "went back after round-2 was begun" in second.why
            assert second.run is None
            rounds.resume(second, None, queue=False)

    def test_what_began_while_somebody_stopped_it_is_stopped_too(self, project):
        one = rounds.start(project, None, plan(), queue=False)
        rounds.advance(one.pk, queue=False)
        one.refresh_from_db()
        freezing.carry_out(one.dataset)
        looked_at = Round.objects.get(pk=one.pk)
        rounds.advance(one.pk, queue=False)  # by a worker, meanwhile
        assert rounds.stop(looked_at)
        one.refresh_from_db()
        assert (one.state, one.run.state) == (RoundState.STOPPED, RunState.STOPPED)

    def test_it_is_not_resumed_while_its_dataset_still_stops(self, project):
        one = rounds.start(project, None, plan(), queue=False)
        rounds.advance(one.pk, queue=False)
        one.refresh_from_db()
        assert one.dataset.claim()
        assert rounds.stop(one)
        assert not rounds.resume(one, None, queue=False)

    def test_what_has_begun_may_end_in_a_full_project(self, project):
        one = rounds.start(project, None, plan(), queue=False)
        full(project)
        carried(one)
        assert (one.state, one.needs) == (RoundState.WAITING, Needs.WORD), one.why
        rounds.roll_back(one, None, queue=False)
        with pytest.raises(Refused, match="is full"):
            rounds.start(project, None, plan(), queue=False)

    def test_where_it_settles_nothing_its_doubts_are_waited_for_all_the_same(self, project):
        one = a_round(project)
        assert rounds.settle(one, None, threshold=1.0, queue=False)
        carried(one)
        assert by_model(project) == set()
        assert rounds.judging.doubts_open(one.prelabelling)
        assert (one.state, one.needs) == (RoundState.WAITING, Needs.REVIEW), one.why
        assert walking.Walk(one).audits_missing == 0
        assert rounds.go_on(one, None, queue=False)
        one.refresh_from_db()
        assert one.state == RoundState.KEPT

    def test_on_too_few_posts_to_tell_luck_a_lead_decides(self, project):
        kept(project)
        stream(project, 30, "x")
        second = a_round(project, unattended=True)
        for found in Comparison.objects.all():
            figure = found.told["macro_f1"] | {"value": -0.01, "low": None, "high": None}
            Comparison.objects.filter(pk=found.pk).update(told=found.told | {"macro_f1": figure})
        assert rounds.judging.is_compared(second)  # it is not held up for ever
        assert guards.on_holdout(rounds.judging.difference(second)).verdict == "ask"
        assert "a lead decides" in walking.compared(walking.Walk(second)).told[0].words

    def test_without_posts_to_label_it_is_kept_for_its_figures(self, project):
        project.posts.filter(state=State.WAITING).delete()
        one = a_round(project)
        assert (one.state, one.prelabelling) == (RoundState.KEPT, None), one.why
        assert not told.another(project)[0]

    def test_one_at_a_time(self, project):
        a_round(project)
        with pytest.raises(Refused, match="not over yet"):
            rounds.start(project, None, plan(), queue=False)

    def test_without_a_locked_test_set_nothing_can_be_judged(self, project):
        project.posts.filter(holdout=True).delete()
        with pytest.raises(Refused, match="locked test set"):
            rounds.start(project, None, plan(), queue=False)

    @pytest.mark.parametrize(("how", "sentence"), [
        ({"recipe": "nope"}, "no recipe “nope”"), ({"settings": {"lrr": 1}}, "“lrr”"),
        ({"frozen": {"validation": 2}}, "something must be left"),
    ])  # fmt: skip
    def test_a_plan_that_cannot_be_is_refused_before_anything_is_frozen(self, project, how, sentence):
        with pytest.raises(Refused, match=sentence):
            rounds.start(project, None, plan(**how), queue=False)
        assert not project.datasets.exists()

    def test_a_step_that_fails_holds_it_up_and_resumed_it_goes_on(self, project, monkeypatch):
        right = runner.PROGRAM
        monkeypatch.setattr(runner, "PROGRAM", [right[0], "-c", "raise SystemExit(3)"])
        one = a_round(project)
        assert one.state == RoundState.HELD_UP
        assert "was interrupted" in one.why
        monkeypatch.setattr(runner, "PROGRAM", right)
        assert rounds.resume(one, None, queue=False)
        carried(one)
        assert one.needs == Needs.WORD

    def test_stopped_and_resumed(self, project):
        one = rounds.start(project, None, plan(), queue=False)
        rounds.advance(one.pk, queue=False)
        one.refresh_from_db()
        assert rounds.stop(one)
        rounds.advance(one.pk, queue=False)
        one.refresh_from_db()
        assert one.state == RoundState.STOPPED
        assert rounds.resume(one, None, queue=False)
        carried(one)
        assert one.needs == Needs.WORD, one.why

    def test_workers_carry_it_on_each_step_leading_to_the_next(self, project, monkeypatch):
        todo = []
        monkeypatch.setattr("modeling.datasets.dataset.enqueue", lambda d: todo.append((tasks.freeze, d.pk)))
        monkeypatch.setattr(runner, "enqueue", lambda r: todo.append((tasks.train, r.pk)))
        monkeypatch.setattr(evaluating, "enqueue", lambda e: todo.append((tasks.evaluate, e.pk)))
        monkeypatch.setattr(prelabelling, "enqueue", lambda p: todo.append((tasks.prelabel, p.pk)))
        one = rounds.start(project, None, plan(unattended=True))
        rounds.advance(one.pk)
        while todo:
            task, pk = todo.pop(0)
            task(pk)
            task(pk)  # delivered twice
        one.refresh_from_db()
        assert one.needs == Needs.REVIEW, one.why
        assert [project.runs.count(), project.datasets.count(), project.prelabellings.count()] == [1, 1, 1]


def kept(project):
    one = a_round(project, unattended=True)
    answer_all(people(project))
    rounds.advance(one.pk)
    one.refresh_from_db()
    assert one.state == RoundState.KEPT, one.why
    return one


SWAPPED = {"bearish": "bullish", "bullish": "bearish", "neutral": "neutral"}


class TestPoison:
    def test_labels_that_audits_find_wrong_all_go_back(self, project):
        """The part of the stream that nobody labelled means the reverse of what it says."""
        one = a_round(project, unattended=True)
        assert len(by_model(project)) > 40
        answer_all(people(project), lambda post: SWAPPED[post.external_id.rpartition("-")[2]])
        rounds.advance(one.pk, queue=False)
        carried(one)
        assert one.state == RoundState.ROLLED_BACK
        assert "of its labels are wrong" in one.why
        assert by_model(project) == set()
        assert one.prelabelling.taken_back is not None
        assert project.posts.filter(label_source="review", external_id__startswith="w").exists()  # people's stand

    def test_labels_that_make_the_next_model_worse_all_go_back(self, project):
        """Swapped after the audit, as if the audit had seen nothing: the next round's model shows it."""
        first = kept(project)
        labels = {name: make_label(project, name) for name in NAMES}
        for one in PreLabel.objects.filter(label__isnull=False).select_related("label", "post"):
            Post.objects.filter(pk=one.post_id, label_source="model").update(label=labels[SWAPPED[one.label.name]])
        for number in range(90):  # many more of the same, so that they outweigh what is known
            name = NAMES[number % 3]
            post = make_post(project, f"{WORDS[name]} y{number}", SWAPPED[name], label_source="model")
            PreLabel.objects.create(
                prelabelling=first.prelabelling, post=post, label=labels[SWAPPED[name]], chance=0.99
            )  # fmt: skip
        stream(project, 10, "z")
        second = a_round(project, unattended=True)
        assert second.state == RoundState.ROLLED_BACK, second.why
        assert "worse on the locked test set" in second.why
        assert second.prelabelling is None
        assert by_model(project) == set()
        assert project.posts.filter(label_source="review").count() >= 90

    def test_a_lead_decides_where_no_rule_does(self, project):
        one = a_round(project, unattended=True, by_rule=False)
        seats = people(project)
        answer_all(seats, lambda post: SWAPPED[post.external_id.rpartition("-")[2]])
        rounds.advance(one.pk, queue=False)
        one.refresh_from_db()
        assert (one.state, one.needs) == (RoundState.WAITING, Needs.VERDICT)
        assert by_model(project)
        assert rounds.keep_all_the_same(one, seats[2].user)
        one.refresh_from_db()
        assert one.state == RoundState.KEPT
        assert "lea keeps it all the same" in one.why
        assert rounds.roll_back(one, seats[2].user, queue=False)
        carried(one)
        assert by_model(project) == set()

    def test_given_up_half_way_it_takes_back_what_it_settled(self, project):
        one = a_round(project, unattended=True)
        assert by_model(project)
        assert rounds.roll_back(one, None, queue=False)
        carried(one)
        assert one.state == RoundState.ROLLED_BACK
        assert by_model(project) == set()
        assert not Disagreement.objects.filter(closed=None, why__in=[Why.AUDIT, Why.MODEL]).exists()

    def test_rolled_back_while_its_labels_are_being_settled_none_of_them_stands(self, project, monkeypatch):
        one = a_round(project)
        assert rounds.settle(one, None, queue=False)
        monkeypatch.setattr("modeling.prelabelling.candidates.WINDOW", 5)
        rolled = []

        def seen(made):
            if made.doing == "settling what it is sure of" and made.done and not rolled:
                rolled.append(rounds.roll_back(one, None, queue=False))

        made = one.prelabelling
        made.refresh_from_db()
        assert prelabelling.carry_out(made, seen)
        assert rolled == [True]
        carried(one)
        assert (one.state, by_model(project)) == (RoundState.ROLLED_BACK, set())

    def test_rolled_back_while_it_is_taken_back_it_all_goes_back(self, project):
        one = a_round(project, unattended=True)
        assert prelabelling.take_back(one.prelabelling, None, queue=False)
        assert rounds.roll_back(one, None, queue=False)
        carried(one)
        assert by_model(project) == set()

    def test_the_next_round_waits_until_the_labels_have_gone_back(self, project):
        one = a_round(project, unattended=True)
        assert rounds.roll_back(one, None, queue=False)
        second = rounds.start(project, None, plan(), queue=False)
        rounds.advance(second.pk, queue=False)
        second.refresh_from_db()
        assert second.dataset is None
        carried(second)
        assert "model" not in second.dataset.composition["splits"]["train"]["sources"]

    def test_what_waited_for_a_word_cannot_be_settled_after_it_was_rolled_back(self, project):
        one = a_round(project)
        assert rounds.roll_back(one, None, queue=False)
        assert not prelabelling.apply(one.prelabelling, None, queue=False)
        carried(one)
        assert by_model(project) == set()

    def test_the_round_after_a_rollback_is_audited_too_and_by_its_own_labels_alone(self, project):
        one = kept(project)
        assert quality.read(project).quality.by_source["model"].audits >= 20
        assert rounds.roll_back(one, None, queue=False)
        carried(one)
        assert "model" not in quality.read(project).quality.by_source
        second = a_round(project, unattended=True)
        assert len(by_model(project)) > 20
        assert audited.read(second.prelabelling).drawn >= 20

    def test_two_models_that_were_not_asked_about_the_same_posts_are_asked_again(self, project, monkeypatch):
        kept(project)
        stream(project, 20, "x")
        real = rounds.steps.evaluating.ask
        asked = []

        def one_goes(*args, **how):
            made = real(*args, **how)
            asked.append(made)
            return made

        monkeypatch.setattr(rounds.steps.evaluating, "ask", one_goes)
        second = rounds.start(project, None, plan(unattended=True), queue=False)
        gone = []

        def heard(evaluation):
            if evaluation.pk == asked[0].pk and evaluation.doing == "comparing it with the others" and not gone:
                post = project.posts.filter(holdout=True).first()
                gone.append(post.pk)
                remove(post, project.created_by or make_member(project, Role.ADMIN, "adi"), "asked")

        rounds.carry_out(second, QUIET | {"evaluation": heard})
        second.refresh_from_db()
        assert gone
        assert (second.state, "not measured on the same posts" in second.why) == (RoundState.HELD_UP, True)
        assert rounds.resume(second, None, queue=False)
        carried(second)
        assert second.needs == Needs.REVIEW, second.why


class TestTheCommand:
    def test_it_stops_where_people_are_needed_and_goes_on_when_run_again(self, project, capsys):
        call_command("round", project=project.slug, base="tiny", audit_rate=0.3)
        first = capsys.readouterr().out
        assert "macro F1 1.000" in first
        assert "It waits for a word" in first
        call_command("round", project=project.slug, yes=True)
        assert "It waits for people" in capsys.readouterr().out
        answer_all(people(project))
        call_command("round", project=project.slug)
        assert "Round 1: kept" in capsys.readouterr().out
        call_command("round", project=project.slug, roll_back=True)
        assert "Round 1: rolled back" in capsys.readouterr().out
        assert by_model(project) == set()

    def test_what_is_wrong_is_a_sentence(self, project):
        with pytest.raises(CommandError, match="no project"):
            call_command("round", project="nope")
        with pytest.raises(CommandError, match="no recipe"):
            call_command("round", project=project.slug, recipe="nope")


class TestGuards:
    @pytest.mark.parametrize(("difference", "verdict"), [
        (Difference(0.02, -0.05, 0.09), "keep"), (Difference(-0.03, -0.09, 0.02), "keep"),
        (Difference(-0.2, -0.3, -0.1), "roll back"), (Difference(-0.2, None, None), "ask"),
    ])  # fmt: skip
    def test_worse_is_what_cannot_be_luck(self, difference, verdict):
        assert guards.on_holdout(difference).verdict == verdict

    @pytest.mark.parametrize(("audited", "enough", "verdict"), [
        (None, False, "wait"), (Audited(0, 0, 1, 0, 12), True, "wait"),
        (Audited(0.0, 0.0, 0.1, 30, 0), False, "keep"), (Audited(0.0, 0.0, 0.1, 30, 5), False, "wait"),
        (Audited(0.0, 0.0, 0.1, 30, 5), True, "keep"), (Audited(0.0, 0.0, 0.3, 5, 5), True, "wait"),
        (Audited(0.08, 0.01, 0.2, 30, 0), False, "roll back"), (Audited(0.6, 0.3, 0.9, 10, 20), False, "roll back"),
        (Audited(0.25, 0.08, 0.5, 8, 20), False, "wait"), (Audited(0.0, 0.0, 0.3, 11, 0), False, "ask"),
    ])  # fmt: skip
    def test_the_audit_decides_once_there_is_enough_of_it(self, audited, enough, verdict):
        assert guards.by_audit(audited, 0.05, enough).verdict == verdict

    def test_another_round_is_not_worth_it_when_nothing_is_gained(self):
        luck = Past(True, 0.004, True, 50)
        assert guards.worth([luck], 10)[0]
        assert not guards.worth([luck, luck], 10)[0]
        assert guards.worth([luck, Past(True, 0.05, False, 50)], 10)[0]
        assert not guards.worth([Past(False, -0.1, False, 0)] * 2, 10)[0]
        assert not guards.worth([luck], 0)[0]
        assert guards.worth([], 0)[0]
