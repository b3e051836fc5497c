"""The seven steps of a round as its page shows them: how far each is, what it came to, and what it will do."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, NamedTuple

from django.db.models import F
from django.urls import reverse
from django.utils.http import urlencode

from annotate.models import LabelSource
from modeling.models import Evaluation, Goal, Needs, PreLabelling, Round, RoundState, Split
from modeling.prelabelling import audited
from modeling.prelabelling import outcome as became
from modeling.prelabelling import report as asking
from modeling.prelabelling.report import Meaning, Wanted, told_finely
from modeling.training import watching

from . import ending, guards, judging
from .plan import Plan

DONE, AT_WORK, QUEUED, PEOPLE, TROUBLE, TO_COME, LEFT_OUT = (
    "done", "at work", "queued", "people", "trouble", "to come", "left out",
)  # fmt: skip
WORDS = {
    DONE: "Done", AT_WORK: "At work", QUEUED: "Waits for a worker", PEOPLE: "Waits for people", TROUBLE: "Stopped",
    TO_COME: "Not begun", LEFT_OUT: "Left out",
}  # fmt: skip
CSS = {DONE: "good", AT_WORK: "at-work", PEOPLE: "warn", TROUBLE: "bad"}
STATES = {"frozen": DONE, "done": DONE, "queued": QUEUED, "freezing": AT_WORK, "running": AT_WORK}


class Told(NamedTuple):
    words: str
    url: str = ""


class Progress(NamedTuple):
    done: int
    total: int
    seconds_left: int | None
    doing: str = ""


@dataclass(frozen=True)
class Step:
    key: str
    title: str
    will: str
    state: str
    told: list[Told] = field(default_factory=list)
    progress: Progress | None = None
    said: str = ""  # of its state, where there is a better word
    error: str = ""

    @property
    def words(self) -> str:
        return self.said or WORDS[self.state]

    @property
    def css(self) -> str:
        return CSS.get(self.state, "soft")


@dataclass(frozen=True)
class Walk:
    one: Round

    @cached_property
    def plan(self) -> Plan:
        return Plan.from_json(self.one.plan)

    @cached_property
    def steps(self) -> list[Step]:
        return [
            frozen(self), trained(self), measured(self), compared(self), pre_labelled(self), reviewed(self),
            audits_of(self),
        ]  # fmt: skip

    @cached_property
    def difference(self) -> guards.Difference | None:
        return judging.difference(self.one)

    @property
    def was_settled(self) -> PreLabelling | None:
        made = self.one.prelabelling
        return made if made and made.goal != Goal.ASK else None

    @cached_property
    def audits(self) -> audited.Audits | None:
        return audited.read(self.was_settled) if self.was_settled else None

    @cached_property
    def doubts(self) -> became.Doubts | None:
        return became.doubts(self.was_settled) if self.was_settled else None

    @property
    def unbegun(self) -> str:
        return LEFT_OUT if self.one.is_over else TO_COME

    @property
    def is_live(self) -> bool:
        """Something goes on without people, or people answer elsewhere."""
        takes_back = self.one.prelabelling is not None and not self.one.prelabelling.is_over
        return self.one.state in (RoundState.RUNNING, RoundState.WAITING) or takes_back

    @property
    def mark(self) -> str:
        """What the rest of the page hangs on: it is shown anew where this has changed."""
        made = self.one.prelabelling
        return f"{self.one.state}.{self.needs}.{f'{made.goal}.{made.is_over}' if made else ''}".replace(" ", "-")

    @property
    def done(self) -> int:
        return sum(step.state == DONE for step in self.steps)

    # --- What people are asked for

    @property
    def needs(self) -> str:
        """A word that was given on the page of the pre-labelling is needed no more."""
        made = self.one.prelabelling
        if self.one.needs == Needs.WORD and not (made and made.waits_for_a_word):
            return ""
        return self.one.needs

    def meaning(self, query: Mapping[str, str]) -> Meaning | None:
        """Of the threshold in the address."""
        made = self.one.prelabelling
        if self.needs != Needs.WORD or made is None:
            return None
        return Meaning(made, Wanted.from_query({"threshold": query.get("threshold", "")}, made))

    def audits_drawn(self, settles: int) -> int:
        return round(settles * guards.share_audited(self.plan.audit_rate, settles))

    @property
    def answers(self) -> int:
        """That are open."""
        return (self.doubts.waiting if self.doubts else 0) + (self.audits.waiting if self.audits else 0)

    @property
    def audits_missing(self) -> int:
        """Before a rule says anything, whoever wants to go on."""
        return min(max(0, guards.ENOUGH - self.audits.told), self.audits.waiting) if self.audits else 0

    @cached_property
    def goes_back(self) -> list[tuple[PreLabelling, int]]:
        """What rolling it back would take from posts."""
        found = ((made, standing(made)) for made in ending.to_take_back(self.one) if made.goal == Goal.APPLY)
        return [(made, labels) for made, labels in found if labels]

    @property
    def labels_back(self) -> int:
        return sum(labels for _, labels in self.goes_back)


def standing(made: PreLabelling) -> int:
    given = made.labels.filter(label__isnull=False, taken_back=False, post__label_source=LabelSource.MODEL)
    return given.filter(post__label=F("label")).count()


# --- Step by step


def state_of(thing: Any) -> str:
    return TROUBLE if thing.is_silent else STATES.get(thing.state, TROUBLE)


def said_of(thing: Any) -> str:
    return "Interrupted" if thing.is_silent else thing.get_state_display()


def frozen(walk: Walk) -> Step:
    one, dataset = walk.one, walk.one.dataset
    will = "A copy of all that is settled, which never changes, split into what is learnt from and what is judged by."
    title = "Freeze"
    if dataset is None:
        waits = not one.is_over and one.state == RoundState.RUNNING
        return Step("freeze", title, will, QUEUED if waits else walk.unbegun)
    url = dataset.get_absolute_url()
    told = [Told(dataset.name, url)]
    if dataset.is_frozen:
        splits = dataset.composition["splits"]
        told += [Told(f"{splits[Split.TRAIN]['posts']:,} posts to train on", f"{url}/posts?split=train")]
        told += [Told(f"{n:,} of them labelled by models") for n in [splits[Split.TRAIN]["sources"].get("model")] if n]
        told += [Told(f"{splits[Split.HOLDOUT]['posts']:,} in the locked test set", f"{url}/posts?split=holdout")]
    progress = Progress(dataset.done, dataset.total, dataset.seconds_left)
    return Step("freeze", title, will, state_of(dataset), told, progress, said_of(dataset), dataset.error)


def trained(walk: Walk) -> Step:
    run, base = walk.one.run, walk.plan.base or "the recipe’s model"
    will = f"{base.capitalize() if base.startswith('the ') else base} is tuned on the train split."
    if run is None:
        return Step("train", "Train", will, walk.unbegun)
    watch = watching.watch(run)
    told = [Told(str(run), reverse("run", args=[walk.one.project.slug, run.pk])), Told(str(run.config["model"]))]
    if watch.lasted is not None and run.is_over:
        told += [Told(lasting(watch.lasted))]
    progress = Progress(run.step, run.steps, watch.seconds_left, run.doing)
    return Step("train", "Train", will, state_of(run), told, progress, said_of(run), run.error)


def lasting(seconds: float) -> str:
    return f"{seconds / 3600:.1f} h" if seconds >= 7200 else f"{seconds / 60:.0f} min" if seconds >= 120 else (
        f"{seconds:.0f} s")  # fmt: skip


def measured(walk: Walk) -> Step:
    one = walk.one
    asked = [evaluation for evaluation in (one.evaluation, one.rival) if evaluation]
    will = "The new model, and that of the best round that was kept, are asked about the locked test set."
    if not asked:
        return Step("measure", "Evaluate", will, walk.unbegun)
    states = [state_of(evaluation) for evaluation in asked]
    state = next((state for state in (TROUBLE, AT_WORK, QUEUED) if state in states), DONE)
    at = asked[states.index(state)]
    told = [Told(figure_words(evaluation), evaluation.get_absolute_url()) for evaluation in asked]
    done, total = sum(one.done for one in asked), sum(one.total for one in asked)
    progress = Progress(done, total, at.seconds_left)
    return Step("measure", "Evaluate", will, state, told, progress, said_of(at), at.error)


def figure_words(evaluation: Evaluation) -> str:
    if not evaluation.measured:
        return evaluation.name
    figure = evaluation.measured["figures"]["macro_f1"]
    known = figure["low"] is not None
    between = f" (95%: {figure['low']:.2f} to {figure['high']:.2f})" if known else ""
    return f"{evaluation.name}: macro F1 {figure['value']:.2f}{between}"


def compared(walk: Walk) -> Step:
    one = walk.one
    will = "Worse than the best round so far, and more than luck can be: then it ends here. No worse: then it goes on."
    asked = [evaluation for evaluation in (one.evaluation, one.rival) if evaluation]
    if not asked or not all(evaluation.measured for evaluation in asked):
        return Step("compare", "Compare", will, walk.unbegun)
    judged = judging.of_holdout(one)
    told = [Told(judged.words, compare_url(one) if walk.difference else "")]
    if judged.verdict == "keep" or (judged.verdict == "ask" and one.is_over):
        return Step("compare", "Compare", will, DONE, told)
    if judged.verdict == "wait":
        held_up = one.state == RoundState.HELD_UP
        return Step("compare", "Compare", will, TROUBLE if held_up else walk.unbegun, told, said="Not compared")
    waits = walk.needs == Needs.VERDICT
    return Step("compare", "Compare", will, PEOPLE if waits else TROUBLE, told, said="" if waits else "Worse")


def compare_url(one: Round) -> str:
    both = urlencode({"first": str(one.evaluation_id), "second": str(one.rival_id)})
    return f"{reverse('evaluation_compare', args=[one.project.slug])}?{both}"


def pre_labelled(walk: Walk) -> Step:
    one, made, plan = walk.one, walk.one.prelabelling, walk.plan
    word = "without a word, as long as few of them should be wrong" if plan.unattended else "on somebody’s word"
    will = f"It is asked about all posts that wait; what it is at least {plan.threshold:g} sure of is settled {word}."
    if made is None:
        kept = one.state == RoundState.KEPT
        none_waited = [Told("No post waited for a label, or it was kept without asking.")] if kept else []
        return Step("pre-label", "Pre-label", will, walk.unbegun, none_waited)
    watch = asking.watch(made)
    state = state_of(made)
    if made.waits_for_a_word:
        state = LEFT_OUT if one.is_over else PEOPLE
    told = [Told(str(made), made.get_absolute_url()), *settled_by(walk, made)]
    progress = Progress(made.done, made.total, watch.seconds_left, made.doing) if not made.is_over else None
    said = "Not settled" if state == LEFT_OUT else watch.words
    return Step("pre-label", "Pre-label", will, state, told, progress, said, made.error)


def settled_by(walk: Walk, made: PreLabelling) -> list[Told]:
    if made.taken_back:
        return [Told(f"{int(made.result.get('freed') or 0):,} labels were taken back")]
    if "settled" not in made.result:
        return [Told(f"asked about {made.done:,} posts")] if made.done else []
    posts = reverse("posts", args=[walk.one.project.slug])
    query = urlencode({"source": LabelSource.MODEL.value, "voter": made.voter.name})
    settled = sum(made.result["settled"].values())
    return [Told(f"{settled:,} posts settled at {made.threshold:g}", f"{posts}?{query}")]


def reviewed(walk: Walk) -> Step:
    doubts, made = walk.doubts, walk.was_settled
    will = f"Up to {walk.plan.doubts:,} posts that it is unsure of go to people: the next round learns from them."
    if doubts is None or made is None:
        return Step("review", "Review", will, walk.unbegun)
    decided = f"{reverse('quality_decided', args=[walk.one.project.slug])}?why=model"
    told = [Told(f"{doubts.answered:,} of {doubts.sent:,} doubts answered", decided)]
    if not doubts.sent:
        told = [Told("It was unsure of none." if made.is_applied or walk.one.is_over else "None was sent yet.")]
    state = of_people(walk, made, doubts.waiting)
    return Step("review", "Review", will, state, told, Progress(doubts.answered, doubts.sent, None))


def of_people(walk: Walk, made: PreLabelling, waiting: int) -> str:
    if walk.one.is_over or made.is_applied:
        return PEOPLE if waiting and not walk.one.is_over else DONE
    return TO_COME


def audits_of(walk: Walk) -> Step:
    audits, made, plan = walk.audits, walk.was_settled, walk.plan
    will = (
        f"{plan.audit_rate:.0%} of its labels, and no fewer than a verdict takes, are checked by people who do not know"
        f" what it said. More than {told_finely(plan.error_allowed)} wrong, and "
        f"{'all of them go back' if plan.by_rule else 'a lead decides'}."
    )
    if audits is None or made is None:
        return Step("audit", "Audit", will, walk.unbegun)
    told = [Told(f"{audits.told:,} of {audits.drawn:,} audits answered", f"{made.get_absolute_url()}#outcome")]
    state, said = of_people(walk, made, audits.waiting), ""
    judged = judging.of_audits(walk.one, made, audits, plan.error_allowed)
    if audits.estimate and judged:
        told.append(Told(judged.words))
        if judged.verdict == "roll back":
            state, said = TROUBLE, "Too many wrong"
    if walk.needs == Needs.VERDICT and made.is_applied:
        state, said = PEOPLE, "A lead decides"
    return Step("audit", "Audit", will, state, told, Progress(audits.told, audits.drawn, None), said)
