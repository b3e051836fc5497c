"""How wrong the settled labels are: what people decided, read in a few queries however many posts there are."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Literal, NamedTuple

from django.core.cache import cache
from django.db import connection
from django.db.models import Exists, OuterRef, Sum

from . import audit
from .agreement import Share
from .audit import Audited, Estimate, Needed, Population, Quality, Span
from .models import Disagreement, Label, LabelSource, Project, QueueTally, Review, Tally, User
from .models.review import BROUGHT, Instead, Stream, Why

MACHINES = (LabelSource.CONSENSUS, LabelSource.MODEL)
TIERS = (Why.SPLIT, Why.UNSURE, Why.ABSTAINED)
ENOUGH_CHECKS = 30  # answers; of fewer, one slip would look like a habit, and take the error away with it
MANY = 2000  # audits: of so many, the estimate is kept
MINUTES = 10  # for so long, and a headline for one

Outcome = Literal["right", "wrong", "aside", "new", "kept", "changed"]
Eyes = Literal["one", "two", "lead"]


class Decided(NamedTuple):
    """So many posts that people decided alike. `new`: it had no label; `kept` and `changed`: one that people gave."""

    why: Why
    source: str
    was: int | None
    outcome: Outcome
    eyes: Eyes
    posts: int


# An answer that was taken back has left was_state blank again, so each of these stands.
DECIDED = """
SELECT why, was_source, was_label_id,
  CASE WHEN label_id IS NULL THEN 'aside' WHEN was_source = '' THEN 'new'
    WHEN was_source = ANY(%(machines)s) THEN CASE WHEN label_id = was_label_id THEN 'right' ELSE 'wrong' END
    WHEN label_id = was_label_id THEN 'kept' ELSE 'changed' END,
  CASE WHEN stream = %(conflict)s THEN 'lead' WHEN answers > 1 THEN 'two' ELSE 'one' END, count(*)
FROM annotate_disagreement WHERE project_id = %(project)s AND was_state <> '' GROUP BY 1, 2, 3, 4, 5
"""


def decided(project: Project) -> list[Decided]:
    with connection.cursor() as cursor:
        cursor.execute(DECIDED, {"project": project.pk, "machines": list(MACHINES), "conflict": Stream.CONFLICT})
        return [Decided(Why(why), *rest) for why, *rest in cursor.fetchall()]


# Each half walks an index of its own. What was drawn and nobody has answered tells nothing, and is only counted.
AUDITS = """
SELECT d.post_id, d.was, d.source, d.inclusion,
  array_agg(review.label_id ORDER BY review.id) FILTER (WHERE NOT review.final) AS answers, d.label_id AS verdict,
  coalesce(bool_or(cardinality(review.saw) > 0), FALSE) AS saw
FROM (
  SELECT id, post_id, was_label_id AS was, was_source AS source, inclusion, label_id FROM annotate_disagreement
  WHERE project_id = %(project)s AND why = 'audit' AND was_state = 'settled'
  UNION ALL
  SELECT open.id, post_id, post.label_id, post.label_source, inclusion, NULL FROM annotate_disagreement AS open
  JOIN annotate_post AS post ON post.id = post_id AND post.state = 'settled'
  WHERE open.project_id = %(project)s AND why = 'audit' AND closed IS NULL AND answers > 0
) AS d
LEFT JOIN annotate_review AS review
  ON review.disagreement_id = d.id AND review.undone IS NULL AND review.instead <> 'skip'
WHERE d.inclusion > 0 AND d.source = ANY(%(machines)s)
GROUP BY d.id, d.post_id, d.was, d.source, d.inclusion, d.label_id
"""
ALIKE = f"""
SELECT was, source, inclusion, answers, verdict, saw, count(*) FROM ({AUDITS}) AS one GROUP BY 1, 2, 3, 4, 5, 6
"""


def audits(project: Project) -> list[tuple[int, Audited]]:
    """With the number of the post. An audit counts as soon as one person has answered it."""
    with connection.cursor() as cursor:
        cursor.execute(AUDITS, {"project": project.pk, "machines": list(MACHINES)})
        return [
            (post, Audited(was, source, inclusion, tuple(answers or ()), verdict, saw))
            for post, was, source, inclusion, answers, verdict, saw in cursor.fetchall()
        ]


def audits_alike(project: Project) -> Counter[Audited]:
    """The same, where it does not matter of which posts: however many audits there are, only a few kinds are told."""
    with connection.cursor() as cursor:
        cursor.execute(ALIKE, {"project": project.pk, "machines": list(MACHINES)})
        return Counter(
            {
                Audited(was, source, inclusion, tuple(answers or ()), verdict, saw): times
                for was, source, inclusion, answers, verdict, saw, times in cursor.fetchall()
            }
        )


def settled_now(project: Project) -> dict[tuple[int, str], int]:
    settled = Tally.objects.filter(project=project, state="settled", label_source__in=MACHINES)
    counts = settled.values_list("label_id", "label_source").annotate(n=Sum("posts"))
    return {(label, source): posts for label, source, posts in counts if label is not None and posts > 0}


def population(now: Population, people: Iterable[Decided]) -> Population:
    """What machines have settled, as it stands; and what they had settled before people looked at it."""
    counts = Counter(now)
    for one in people:
        if one.was is not None and one.source in MACHINES:
            counts[one.was, one.source] += one.posts
    return counts


CHECKS = """
SELECT count(*) FILTER (WHERE review.label_id = post.label_id), count(review.label_id)
FROM annotate_post AS post
JOIN annotate_disagreement AS d ON d.post_id = post.id AND d.why = 'check' AND d.answers = 0 -- those of an import have
JOIN annotate_review AS review
  ON review.disagreement_id = d.id AND review.undone IS NULL AND review.label_id IS NOT NULL
WHERE post.project_id = %s AND post.holdout AND post.label_source IN ('import', 'review')
"""


def checks(project: Project) -> Share | None:
    """People's answers on the locked test set, as far as its labels are known otherwise than from machines."""
    with connection.cursor() as cursor:
        cursor.execute(CHECKS, [project.pk])
        answers = Share(*cursor.fetchone())
    return answers if answers.of >= ENOUGH_CHECKS else None


@dataclass(frozen=True)
class Overview:
    project: Project
    quality: Quality
    now: Population  # what stands as machines settled it
    people: list[Decided]
    waiting: int  # audits that nobody has answered
    reviewers: int  # people who have decided anything

    @property
    def overall(self) -> Estimate | None:
        return self.quality.overall

    @cached_property
    def settled(self) -> int:
        """All that machines settled, what people have looked at since too."""
        return sum(population(self.now, self.people).values())

    def corrected(self, **of: object) -> int:
        """Labels from machines that people have put right, however they came to look at them."""
        return self.count(outcome="wrong", **of)

    def count(self, **of: object) -> int:
        found = (one for one in self.people if all(getattr(one, name) == value for name, value in of.items()))
        return sum(one.posts for one in found)

    @property
    def left(self) -> Span | None:
        return self.overall.left(self.corrected()) if self.overall else None

    @cached_property
    def eyes(self) -> dict[Eyes, int]:
        """Of the labels that people gave, how many rest on whom."""
        counts: dict[Eyes, int] = {"one": 0, "two": 0, "lead": 0}
        for one in self.people:
            if one.outcome != "aside":
                counts[one.eyes] += one.posts
        return counts

    @property
    def by_people(self) -> int:
        return sum(self.eyes.values())

    @property
    def closed(self) -> int:
        """Audits that people are done with: the others are blind still, and are shown to nobody."""
        return self.count(why=Why.AUDIT)

    @property
    def half_read(self) -> int:
        """Answered by somebody, and not done: a second person or a lead is to come."""
        return max(0, self.quality.audits + self.quality.unread - self.closed)

    @property
    def audits_aside(self) -> int:
        return self.count(why=Why.AUDIT, outcome="aside")

    @property
    def minutes_kept(self) -> int:
        return MINUTES if self.quality.audits > MANY else 0

    @property
    def points(self) -> str:
        return f"{100 * self.overall.half_width:.1f}".removesuffix(".0") if self.overall else ""

    @cached_property
    def plans(self) -> list["Plan"]:
        if not self.overall or not self.settled:
            return []
        return [self.plan(needed) for needed in audit.more_needed(self.overall)]

    def plan(self, needed: Needed) -> "Plan":
        """A higher rate draws from what is settled already, and what waits to be read is on its way."""
        fresh = max(0, needed.more - self.waiting)
        return Plan(needed.half_width, needed.more, min(1.0, self.project.audit_rate + fresh / self.settled))

    # --- The parts of the whole
    @cached_property
    def labels(self) -> list["Part"]:
        by_label = self.quality.by_label
        return [
            Part(label.name, label, by_label.get(label.pk), *self.told(was=label.pk), self.standing(label=label.pk))
            for label in self.project.labels.all()
        ]

    @cached_property
    def sources(self) -> list["Part"]:
        by_source = self.quality.by_source
        return [
            Part(source.label, source, by_source.get(source), *self.told(source=source), self.standing(source=source))
            for source in MACHINES
            if source in by_source or self.standing(source=source)
        ]

    def told(self, **of: object) -> tuple[int, int]:
        return self.count(why=Why.AUDIT, **of), self.count(why=Why.AUDIT, outcome="wrong", **of)

    def standing(self, label: int | None = None, source: str | None = None) -> int:
        return sum(n for (one, of), n in self.now.items() if label in (None, one) and source in (None, of))

    @property
    def estimates(self) -> list[Estimate]:
        parts = (part.estimate for part in [*self.labels, *self.sources])
        return [one for one in (self.overall, *parts) if one]


class Part(NamedTuple):
    """The labels of one name, or from one source."""

    name: str
    of: Label | LabelSource
    estimate: Estimate | None
    audited: int  # that people are done with
    wrong: int
    standing: int


class Plan(NamedTuple):
    half_width: float
    more: int
    rate: float  # of audits, that would draw so many

    @property
    def points(self) -> int:
        return round(100 * self.half_width)


def read(project: Project) -> Overview:
    people, now = decided(project), settled_now(project)
    answers = Review.objects.filter(~BROUGHT, project=project, undone=None, reviewer=OuterRef("pk"))
    return Overview(
        project=project,
        quality=estimate(project, population(now, people)),
        now=now,
        people=people,
        waiting=unanswered(project),
        reviewers=User.objects.filter(Exists(answers.exclude(instead=Instead.SKIP))).count(),
    )


def estimate(project: Project, settled: Population) -> Quality:
    """Thousands of audits take a second, and one more among them changes nothing that anybody could see."""
    key = f"quality-{project.pk}"
    kept: Quality | None = cache.get(key)
    if kept is None:
        found = audits_alike(project)
        kept = audit.quality(found, settled, len(project.labels.all()), checks(project))
        if found.total() > MANY:
            cache.set(key, kept, 60 * MINUTES)
    return kept


def unanswered(project: Project) -> int:
    """From the tally, less what one person has answered and a second is to."""
    waiting = QueueTally.objects.filter(project=project, stream=Stream.AUDIT).aggregate(n=Sum("posts", default=0))["n"]
    half = Disagreement.objects.filter(project=project, stream=Stream.AUDIT, closed=None, answers__gt=0).count()
    return max(0, int(waiting) - half)


# --- In words
VAGUE = 0.1  # either way: what is known no better than that is told as a range


def sentence(of: Estimate) -> str:
    told = "audit" if of.audits == 1 else "audits"
    if of.half_width > VAGUE:
        return (
            f"From {span_words(of.low, of.high)} of the {of.posts:,} labels that machines settled are wrong (95%): "
            f"{of.audits:,} blind {told} cannot tell it more exactly."
        )
    return (
        f"About {rate_words(of.rate, of.low, of.high)} of the {of.posts:,} labels that machines settled are wrong "
        f"(95%: {span_words(of.low, of.high)}), from {of.audits:,} blind {told}."
    )


def rate_words(rate: float, low: float, high: float) -> str:
    return f"{100 * rate:.{places(low, high) if rate else 0}f}%"


def span_words(low: float, high: float) -> str:
    digits = places(low, high)
    return f"{100 * low:.{digits}f} to {100 * high:.{digits}f}%"


def places(low: float, high: float) -> int:
    """As many as tell the ends apart, and no more than is known."""
    return sum(high - low < width for width in (0.04, 0.002))


def headline(project: Project) -> str:
    """For the project's home: blank where nothing is known."""
    key = f"quality-headline-{project.pk}"
    told: str | None = cache.get(key)
    if told is None:
        overall = estimate(project, population(settled_now(project), decided(project))).overall
        told = sentence(overall) if overall else ""
        cache.set(key, told, 60)
    return told
