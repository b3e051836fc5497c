"""How far a study is: its parts, what goes on now, what is left of the time, what was spent."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from functools import cached_property
from typing import Any

from django.db.models.fields.json import KeyTransform
from django.utils import timezone

from modeling.models import Evaluation, JobState, On, Run, RunState, Study, StudyState, part_in_words
from modeling.training import estimates, watching
from modeling.training.fitting import Card

from . import studies

HOUR = 3600.0
SECOND = timedelta(seconds=1)
MACRO_F1 = KeyTransform("macro_f1", KeyTransform("figures", "measured"))  # of all that was measured, what lists show


@dataclass(frozen=True)
class Part:
    number: int
    words: str
    posts: dict[str, int]
    run: Run | None
    evaluations: list[Evaluation]
    asked_on: list[str]

    @property
    def is_done(self) -> bool:
        done = [one for one in self.evaluations if one.state == JobState.DONE]
        return bool(self.run) and len(done) == len(self.asked_on)

    @property
    def asking(self) -> Evaluation | None:
        return next((one for one in self.evaluations if one.state == JobState.RUNNING), None)

    @property
    def is_at_work(self) -> bool:
        return bool(self.run and self.run.state == RunState.RUNNING) or self.asking is not None

    @property
    def state(self) -> str:
        """In a word or two."""
        if self.run is None:
            return "not begun"
        if self.run.state != RunState.DONE:
            return "interrupted" if self.run.is_silent else str(self.run.get_state_display()).lower()
        if self.is_done:
            return "done"
        trouble = next((one for one in self.evaluations if one.is_over and one.state != JobState.DONE), None)
        if trouble:
            return f"asking it: {trouble.get_state_display().lower()}"
        return "being asked" if self.asking else "trained, waits to be asked"

    @property
    def css(self) -> str:
        if self.is_done:
            return "good"
        return "at-work" if self.is_at_work else "soft" if self.state in CALM else "warn"

    @property
    def seconds(self) -> int:
        """Of training and asking, so far."""
        waits = self.run is None or self.run.state == RunState.QUEUED
        lasted = 0 if waits or self.run is None else watching.Watch(self.run, 0, None).lasted
        return round((lasted or 0) + sum(lasted_of(one) for one in self.evaluations))

    @property
    def measured(self) -> list[dict[str, Any] | None]:
        """The macro F1 on each of what is asked."""
        found = {one.split: one for one in self.evaluations if one.state == JobState.DONE}
        return [
            {"evaluation": found[on].pk, **found[on].macro_f1} if on in found else None  # type: ignore[attr-defined]
            for on in self.asked_on
        ]

    @property
    def done_share(self) -> float:
        if self.is_done:
            return 1.0
        if self.run is None or not self.run.steps:
            return 0.0
        return 0.9 * self.run.step / self.run.steps  # asking takes about a tenth


CALM = {"not begun", "waiting for a card", "trained, waits to be asked"}


def lasted_of(one: Evaluation) -> float:
    return ((one.ended or timezone.now()) - one.started) / SECOND if one.started else 0.0


@dataclass(frozen=True)
class Watch:
    study: Study
    parts: list[Part]
    pooled: Evaluation | None

    @property
    def done(self) -> int:
        return sum(part.is_done for part in self.parts)

    @property
    def at_work(self) -> list[Part]:
        return [part for part in self.parts if part.is_at_work]

    @property
    def is_stopping(self) -> bool:
        return self.study.state == StudyState.STOPPED and bool(self.at_work)

    @property
    def may_resume(self) -> bool:
        return self.study.state in studies.MAY_RESUME and not self.is_stopping

    @property
    def is_live(self) -> bool:
        return not self.study.is_over or self.is_stopping

    @property
    def headline(self) -> list[tuple[str, dict[str, Any]]]:
        """For a list: what it is of, where that is not all folds, and the macro F1."""
        if self.study.of_folds:
            return [("", self.study.measured["pooled"]["macro_f1"])] if self.study.measured else []
        told = sorted(self.study.measured.items(), key=lambda one: one[0] != On.HOLDOUT)
        return [(On(on).label.lower(), of["points"][-1]["macro_f1"]) for on, of in told]

    @property
    def share(self) -> float:
        return round(sum(part.done_share for part in self.parts) / len(self.parts), 4)

    @cached_property
    def doing(self) -> str:
        """In a line."""
        if not self.study.posts:
            return "drawing which post is in which part"
        if self.pooled:
            return "measuring all folds together"
        if not self.at_work:
            return "measuring" if self.done == len(self.parts) else "waiting for a card"
        return "; ".join(doing(part, len(self.parts)) for part in self.at_work)

    @cached_property
    def seconds_left(self) -> int | None:
        """By the parts that are done; before there is one, by how the first goes. More posts take longer."""
        over = [part for part in self.parts if part.is_done]
        spent: float = sum(part.seconds for part in over)
        weight = sum(weight_of(part) for part in over)
        if not over:
            spent, weight = self.first_guess
        if self.study.is_over or not spent or not weight:
            return None
        open_ones = [part for part in self.parts if not part.is_done]
        left = sum(max(0.0, weight_of(part) * spent / weight - part.seconds) for part in open_ones)
        return round(left / max(1, len(self.at_work)))

    @property
    def first_guess(self) -> tuple[float, int]:
        for part in self.at_work:
            if part.run and (left := watching.watch(part.run).seconds_left) is not None:
                return part.seconds + left, weight_of(part)
        return 0.0, 0

    @cached_property
    def spent(self) -> float | None:
        """Of the runs that are done, by the price of their cards; None where one of these is not known."""
        runs = [part.run for part in self.parts if part.run and part.run.state == RunState.DONE]
        cards = estimates.cards()
        costs = [cost_of(run, cards) for run in runs]
        known = [cost for cost in costs if cost is not None]
        return sum(known) if known and len(known) == len(costs) else None


def weight_of(part: Part) -> int:
    return part.posts.get("learnt", 1) or 1


def doing(part: Part, of: int) -> str:
    place = f"part {part.number} of {of}"
    if part.asking:
        asked = f", {part.asking.done:,} of {part.asking.total:,} posts" if part.asking.done else ""
        return f"{place}: asking it{asked}"
    assert part.run is not None
    if part.run.steps:
        return f"{place}: step {part.run.step:,} of {part.run.steps:,}"
    return f"{place}: {part.run.doing or 'starting'}"


def cost_of(run: Run, cards: Sequence[Card]) -> float | None:
    names = run.receipt.get("machine", {}).get("cards", [])
    prices = [price_of(name, cards) for name in names]
    if not prices or None in prices:
        return None
    return sum(price or 0 for price in prices) * float(run.receipt["seconds"]) / HOUR


def price_of(name: str, cards: Sequence[Card]) -> float | None:
    """An hour of what its maker calls so: "NVIDIA H100 80GB HBM3" is an "H100 80 GB"."""
    plain = name.casefold()
    called = [card for card in cards if all(word in plain for word in card.name.casefold().split() if word != "gb")]
    return max((card.price for card in called if card.price is not None), default=None)


def watch(study: Study) -> Watch:
    return watch_all([study])[0]


def watch_all(some: Sequence[Study]) -> list[Watch]:
    """With two questions to the database, however many there are."""
    runs: dict[int, list[Run]] = defaultdict(list)
    asked: dict[int, list[Evaluation]] = defaultdict(list)
    for run in Run.objects.filter(study__in=some).select_related("dataset__project").defer("log"):
        runs[run.study_id or 0].append(run)
    evaluations = Evaluation.objects.filter(study__in=some).defer("used", "measured").annotate(macro_f1=MACRO_F1)
    for evaluation in evaluations.order_by("pk"):
        asked[evaluation.study_id or 0].append(evaluation)
    return [watched(study, runs[study.pk], asked[study.pk]) for study in some]


def watched(study: Study, runs: Sequence[Run], evaluations: Sequence[Evaluation]) -> Watch:
    by_part = {study.parts.index(run.part): run for run in runs}
    asked_on = studies.asked_on(study)
    found: dict[int, list[Evaluation]] = defaultdict(list)
    for evaluation in evaluations:
        if evaluation.run_id:
            found[evaluation.run_id].append(evaluation)
    parts = []
    for index, part in enumerate(study.parts):
        one = by_part.get(index)
        posts = study.posts[index] if study.posts else {}
        parts.append(Part(index + 1, part_in_words(part), posts, one, found[one.pk] if one else [], asked_on))
    pooled = [evaluation for evaluation in evaluations if evaluation.split == On.POOL]
    return Watch(study, parts, pooled[-1] if pooled else None)
