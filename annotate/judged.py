"""How far each voter can be trusted: posts that people decided beside what machines had said, each with its weight."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from django.db import connection
from django.db.models import Count

from . import reliability
from .agreement_pictures import HeatMap, Square, heat_map
from .decided import ABSTAINED, Filters
from .models import Disagreement, Label, Project, Voter
from .models.review import Why
from .quality import MACHINES, TIERS, Decided, decided, population, settled_now
from .reliability import Judged, Reliability, SharedMistakes

MOST = 3000  # posts of each kind: more narrow no interval that anybody could see, and take seconds to read

# Posts chosen for their risk are left out: they are no sample of anything. Of the others, where there are very many,
# as many as we read are taken by a hash of their number, which knows nothing about them.
JUDGED = """
WITH picked AS (
  SELECT drawn.* FROM unnest(%(whys)s::text[]) AS kind CROSS JOIN LATERAL (
    SELECT id, post_id, label_id, why, inclusion FROM annotate_disagreement
    WHERE project_id = %(project)s AND why = kind AND was_state <> '' AND label_id IS NOT NULL
      AND (why <> 'audit' OR inclusion > 0 AND was_source = ANY(%(machines)s))
    ORDER BY hashint8(id), id LIMIT %(most)s
  ) AS drawn
)
SELECT picked.why, picked.label_id, picked.inclusion, array_agg(vote.voter_id), array_agg(vote.label_id),
  array_agg(vote.confidence), EXISTS (
    SELECT FROM annotate_review AS review
    WHERE review.disagreement_id = picked.id AND review.undone IS NULL AND cardinality(review.saw) > 0
  )
FROM picked JOIN annotate_vote AS vote ON vote.post_id = picked.post_id
GROUP BY picked.id, picked.why, picked.label_id, picked.inclusion
"""


class Read(NamedTuple):
    why: str
    truth: int
    inclusion: float | None
    voters: list[int]
    labels: list[int | None]
    confidences: list[float | None]
    saw: bool


@dataclass(frozen=True)
class Trust:
    """Of every voter, and what it rests on."""

    audits: int
    contested: int
    decided: int  # posts that it was taken from: all of them, unless they are very many
    saw_votes: int
    still_contested: int
    voters: list["Row"]
    pairs: list["PairRow"]

    @property
    def posts(self) -> int:
        return self.audits + self.contested

    @property
    def is_sample(self) -> bool:
        return max(self.audits, self.contested) >= MOST

    @property
    def alike(self) -> list[str]:
        return [pair.words for pair in self.pairs if pair.words]

    def chosen(self, name: str) -> "Row | None":
        """As the address asks; else the first."""
        return next((row for row in self.voters if row.voter.name == name), self.voters[0] if self.voters else None)


class Row(NamedTuple):
    voter: Voter
    reliability: Reliability
    recall: list[tuple[Label, reliability.Weighted]]

    @property
    def query(self) -> str:
        """The posts that this rests on."""
        return Filters(why="sampled", verdict="labelled", voter=self.voter.name).query()


class PairRow(NamedTuple):
    one: Voter
    other: Voter
    shared: SharedMistakes

    @property
    def words(self) -> str:
        """Nothing, where chance could have done it."""
        met, wrong = self.shared, self.shared.when_one_errs
        if not met.more_than_chance or wrong.rate is None or met.when_one_errs_by_chance is None:
            return ""
        return (
            f"Where {self.one} is wrong, {self.other} makes the same mistake {100 * wrong.rate:.0f}% of the time; "
            f"did each err by itself, that would be {100 * min(1.0, met.when_one_errs_by_chance):.0f}%."
        )


def read(project: Project) -> Trust:
    rows = judged_rows(project)
    people = decided(project)
    open_now = still_contested(project)
    settled = sum(population(settled_now(project), people).values())
    judged = weigh(rows, settled, contested_ever(people, open_now))
    labels = list(project.labels.all())
    voters = project.voters.in_bulk()
    pks = [label.pk for label in labels]
    return Trust(
        audits=sum(row.why == Why.AUDIT for row in rows),
        contested=sum(row.why != Why.AUDIT for row in rows),
        decided=sum(one.posts for one in people if one.why in (Why.AUDIT, *TIERS) and one.outcome != "aside"),
        saw_votes=sum(row.saw for row in rows),
        still_contested=sum(open_now.values()),
        voters=sorted(
            (
                Row(voters[one.voter], one, [(label, one.recall[label.pk]) for label in labels])
                for one in reliability.reliabilities(judged, pks)
            ),
            key=lambda row: (row.voter.retired is not None, row.voter.name),
        ),
        pairs=[
            PairRow(voters[pair.one], voters[pair.other], pair) for pair in reliability.shared_mistakes(judged, pks)
        ],
    )


def judged_rows(project: Project) -> list[Read]:
    with connection.cursor() as cursor:
        whys = [Why.AUDIT, *TIERS]
        cursor.execute(JUDGED, {"project": project.pk, "whys": whys, "machines": list(MACHINES), "most": MOST})
        return [Read(*row) for row in cursor.fetchall()]


def still_contested(project: Project) -> dict[str, int]:
    open_ = Disagreement.objects.filter(project=project, closed=None, why__in=TIERS).order_by()
    return dict(open_.values_list("why").annotate(n=Count("pk")))


def contested_ever(people: Iterable[Decided], open_now: Mapping[str, int]) -> dict[str, int]:
    ever = dict(open_now)
    for one in people:
        if one.why in TIERS:
            ever[one.why] = ever.get(one.why, 0) + one.posts
    return ever


def weigh(rows: list[Read], settled: int, contested: Mapping[str, int]) -> list[Judged]:
    """Audits stand for all that machines settled, by the chance of each; the contested for all like them."""
    stands_for = {**contested, Why.AUDIT.value: settled}
    base = [1 / (row.inclusion or 1) if row.why == Why.AUDIT else 1.0 for row in rows]
    sums: dict[str, float] = {}
    for row, weight in zip(rows, base, strict=True):
        sums[row.why] = sums.get(row.why, 0.0) + weight
    return [
        Judged(
            votes=dict(zip(row.voters, row.labels, strict=True)),
            truth=row.truth,
            weight=weight * max(stands_for[row.why], 1) / sums[row.why],
            stratum=row.why,
            confidences={
                voter: sure for voter, sure in zip(row.voters, row.confidences, strict=True) if sure is not None
            },
        )
        for row, weight in zip(rows, base, strict=True)
    ]


class Link(NamedTuple):
    square: Square
    truth: str
    said: str
    query: str


def confusion(row: Row, labels: list[Label]) -> tuple[HeatMap, list[Link]]:
    """Truth down, what the voter said across; each square opens its posts."""
    names: dict[int | None, tuple[str, str]] = {label.pk: (label.name, f"label-{label.pk}") for label in labels}
    names[None] = (ABSTAINED, "")
    picture = heat_map(row.reliability.confusion, names)
    asked = Filters(why="sampled", voter=row.voter.name)
    told = ((square, names[square.cell.one][0], names[square.cell.other][0]) for square in picture.squares)
    return picture, [Link(it, truth, said, asked.query(label=truth, said=said)) for it, truth, said in told]
