"""Annotations back from Label Studio, each once: as answers of people here, by the same rules as on our own screen.

What became a review stays as it is; a later change there is shown beside it. Everything else is looked at again by the
next pull: whoever was nobody here may be somebody by then, and a decision may have been taken back.
"""

from dataclasses import dataclass, field
from functools import cached_property

from django.db import transaction
from django.utils import timezone

from annotate.deciding import Given, decide_elsewhere
from annotate.models import (
    Disagreement,
    LabelStudioAnnotation,
    LabelStudioPerson,
    LabelStudioProject,
    LabelStudioTask,
    Review,
    Role,
    User,
)
from annotate.models.label_studio import Outcome
from annotate.models.review import Instead, Stream
from annotate.queue import Gone, Seat

from . import linking
from . import server as servers
from .server import Annotation, Failed, Task
from .work import Work

WORDS = 200


def pull(work: Work) -> None:
    link = linking.current(work.run.project)
    if link is None:
        raise Failed("Nothing lies in Label Studio yet: push posts first.")
    linking.seen(link, work.server)
    pulling = Pulling(link, linking.meet(link.project, work.server))
    for tasks, total in work.server.pages(link.number, annotations=True):
        linking.note(link, tasks)
        for outcome in pulling.take_in(tasks):
            work.counts[outcome] += 1
        work.step(len(tasks), total)
    work.counts["task deleted there"] += pulling.miss(work)
    work.step(0)


@dataclass
class Found:
    """What an annotation comes to."""

    outcome: Outcome
    review: Review | None = None
    here: str = ""


@dataclass
class Pulling:
    link: LabelStudioProject
    people: dict[int, LabelStudioPerson]
    seen: set[int] = field(default_factory=set)
    roles: dict[int, Role | None] = field(default_factory=dict)

    @cached_property
    def labels(self) -> dict[str, int]:
        return dict(self.link.project.labels.values_list("name", "pk"))

    def take_in(self, tasks: list[Task]) -> list[str]:
        """A page of tasks; what each of its annotations came to."""
        self.seen |= {task.number for task in tasks}
        ours = {task.number: task for task in self.link.tasks.filter(number__in=[task.number for task in tasks])}
        held = LabelStudioAnnotation.objects.filter(task__in=ours.values()).select_related("review")
        known = {(one.task_id, one.number): one for one in held}
        outcomes: list[str] = []
        for task in tasks:
            if mine := ours.get(task.number):
                for read in task.annotations:
                    with transaction.atomic():
                        outcomes.append(self.take(mine, read, known.pop((mine.pk, read.number), None)))
        gone = [one.pk for one in known.values() if one.deleted_there is None]
        LabelStudioAnnotation.objects.filter(pk__in=gone).update(deleted_there=timezone.now())
        return outcomes

    def take(self, task: LabelStudioTask, read: Annotation, known: LabelStudioAnnotation | None) -> str:
        if known is None:
            known = LabelStudioAnnotation(task=task, number=read.number, person=self.person(read.who))
        known.deleted_there = None
        if known.review and task.disagreement_id:
            says = said(read)
            known.says_now = "" if says == known.said else says
            if known.review.undone:
                known.outcome = Outcome.TAKEN_BACK
        else:
            found = self.find(task, read, known.person)
            known.said, known.outcome, known.review, known.here = (
                said(read), found.outcome, found.review, found.here[:WORDS],
            )  # fmt: skip
        known.save()
        return known.outcome

    def person(self, number: int) -> LabelStudioPerson:
        """Whoever annotated and has left the server since is in no list of its people."""
        if number not in self.people:
            self.people[number] = LabelStudioPerson.objects.create(
                project=self.link.project, address=servers.address(), number=number
            )
        return self.people[number]

    def find(self, task: LabelStudioTask, read: Annotation, person: LabelStudioPerson) -> Found:
        if task.disagreement_id is None:
            return Found(Outcome.POST_GONE)
        if not read.skipped and not read.answer.label:
            return Found(Outcome.EMPTY)
        if not read.skipped and read.answer.label not in self.labels:
            return Found(Outcome.UNKNOWN_LABEL)
        if person.user is None:
            return Found(Outcome.UNMAPPED)
        role = self.role(person.user)
        if role is None:
            return Found(Outcome.STRANGER)
        seat = Seat(self.link.project, person.user, role)
        return self.decide(seat, task, task.disagreement_id, read)

    def role(self, user: User) -> Role | None:
        if user.pk not in self.roles:
            self.roles[user.pk] = user.role_in(self.link.project) if user.is_active else None
        return self.roles[user.pk]

    def decide(self, seat: Seat, task: LabelStudioTask, pk: int, read: Annotation) -> Found:
        given = self.given(read)
        try:
            review = decide_elsewhere(seat, pk, given, f"label-studio {self.link.pk} {read.number}", task.saw)
        except Gone:
            return why_not(seat, pk, given)
        if review.undone:
            return Found(Outcome.TAKEN_BACK, review)
        return Found(Outcome.SKIPPED if given.instead else Outcome.APPLIED, review)

    def given(self, read: Annotation) -> Given:
        asked = self.link.project.asks_incongruous and not read.skipped
        return Given(
            label=None if read.skipped else self.labels[read.answer.label],
            instead=Instead.SKIP if read.skipped else "",
            incongruous=read.answer.incongruous if asked else None,
            note=read.answer.note[:4000],
            seconds=read.seconds,
        )

    def miss(self, work: Work) -> int:
        """Tasks of ours that were on no page. Pages shift while somebody deletes, so each is asked for by itself."""
        missing = 0
        for task in self.link.tasks.filter(deleted_there=None).exclude(number__in=self.seen):
            if not work.server.has_task(task.number):
                LabelStudioTask.objects.filter(pk=task.pk).update(deleted_there=timezone.now())
                missing += 1
            work.step(0)
        return missing


def why_not(seat: Seat, pk: int, given: Given) -> Found:
    """Its answer was refused: how the post stands here instead."""
    stored = Disagreement.objects.select_related("post__label").filter(pk=pk).first()
    if stored is None:
        return Found(Outcome.POST_GONE)
    if given.instead:
        return Found(Outcome.SKIPPED)
    own = Review.objects.filter(disagreement=pk, reviewer=seat.user, undone=None).select_related("label").first()
    if own:
        here = own.label.name if own.label else Instead(own.instead).label.lower()
        return Found(agreeing(own.label_id, given), here=f"{here} ({seat.user.get_username()})")
    if stored.closed:
        label = stored.post.label
        return Found(agreeing(label.pk if label else None, given), here=f"{standing(stored)} ({by_whom(stored)})")
    return Found(Outcome.DIFFER if stored.stream == Stream.CONFLICT else Outcome.ON_SCREEN)


def agreeing(label: int | None, given: Given) -> Outcome:
    return Outcome.AGREES if label == given.label else Outcome.CONFLICT


def standing(stored: Disagreement) -> str:
    """What the post is here, now."""
    if stored.post.label:
        return stored.post.label.name
    return Instead(stored.instead).label.lower() if stored.instead else "no label"


def by_whom(stored: Disagreement) -> str:
    """Closed by voters, a disagreement holds no state that people put an end to."""
    if not stored.was_state:
        return "voters"
    live = Review.objects.filter(disagreement=stored.pk, undone=None).exclude(instead=Instead.SKIP)
    return ", ".join(live.order_by("pk").values_list("reviewer__username", flat=True)) or "people"


def said(read: Annotation) -> str:
    if read.skipped:
        return "skipped"
    beside = {True: ", picture and text contradict each other", False: ", picture and text agree", None: ""}
    return (read.answer.label + beside[read.answer.incongruous])[:WORDS]
