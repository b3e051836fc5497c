"""How far a project's posts have come. Read from tallies, so a million posts cost what ten do."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from functools import cached_property
from typing import NamedTuple

from django.db.models import F, OuterRef, Q, Subquery, Sum
from django.urls import reverse

from . import queue
from .models import Label, LabelSource, Project, Role, State, Tally, Vote, Voter, VoteTally
from .shares import Slice, split


class Cell(NamedTuple):
    project: int
    state: str
    label: int | None
    source: str
    voted: bool
    holdout: bool
    posts: int


class VoterCount(NamedTuple):
    project: int
    name: str
    provider: str
    votes: int
    abstentions: int
    known_cost: Decimal
    one_cost: Decimal | None  # of any one of its votes

    @property
    def cost(self) -> Decimal | None:
        """Nothing where asking is free; None where nobody knows the price, as for votes that came in a file."""
        return None if not self.known_cost and self.one_cost is None else self.known_cost


@dataclass(frozen=True)
class Funnel:
    imported: int
    voted: int
    waiting: int
    settled: int
    contested: int
    aside: int
    reviewed: int
    holdout: int
    by_label: dict[int, dict[str, int]]  # label, then source of the label
    by_label_told: dict[int, dict[str, int]]  # to reviewers: without the locked test set
    voters: tuple[VoterCount, ...]

    @property
    def labelled(self) -> int:
        return sum(sum(sources.values()) for sources in self.by_label.values())

    @property
    def spent(self) -> Decimal | None:
        known = [voter.cost for voter in self.voters if voter.cost is not None]
        return sum(known, Decimal()) if known or not self.voters else None

    @property
    def unpriced(self) -> bool:
        return any(voter.cost is None for voter in self.voters)

    @cached_property
    def states(self) -> list[Slice]:
        return split(
            ("settled", "state-settled", self.settled),
            ("contested", "state-contested", self.contested),
            ("set aside", "state-aside", self.aside),
            ("waiting", "state-waiting", self.waiting),
        )


def read(projects: Sequence[Project]) -> dict[int, Funnel]:
    """Two queries, however many projects."""
    cells, voters = defaultdict(list), defaultdict(list)
    for cell in read_cells(projects):
        cells[cell.project].append(cell)
    for voter in read_voters(projects):
        voters[voter.project].append(voter)
    return {project.pk: add_up(cells[project.pk], voters[project.pk]) for project in projects}


def funnel_of(project: Project) -> Funnel:
    return read([project])[project.pk]


def read_cells(projects: Sequence[Project]) -> Iterable[Cell]:
    groups = Tally.objects.filter(project__in=projects).values_list(
        "project", "state", "label_id", "label_source", "voted", "holdout"
    )
    return (Cell(*group) for group in groups.annotate(n=Sum("posts")).exclude(n=0))


def read_voters(projects: Sequence[Project]) -> Iterable[VoterCount]:
    voter = Voter.objects.filter(pk=OuterRef("voter_id"))
    # In the order of an index: without one PostgreSQL reads the table until it meets this voter, millions of rows on.
    any_vote = Vote.objects.filter(voter=OuterRef("voter_id")).order_by("label_id", "post_id")
    groups = (
        VoteTally.objects.filter(voter_id__in=Voter.objects.filter(project__in=projects).values("pk"))
        .values("voter_id")
        .annotate(n=Sum("votes"), none=Sum("votes", filter=Q(label_id=None), default=0), paid=Sum("cost"))
        .exclude(n=0, paid=0)
        .annotate(**{field: Subquery(voter.values(field)) for field in ("project", "name", "provider")})
        .annotate(one=Subquery(any_vote.values("cost")[:1]))
        .order_by(F("name"))
    )
    return (VoterCount(*row) for row in groups.values_list("project", "name", "provider", "n", "none", "paid", "one"))


def add_up(cells: list[Cell], voters: list[VoterCount]) -> Funnel:
    def total(counts: Callable[[Cell], bool]) -> int:
        return sum(cell.posts for cell in cells if counts(cell))

    return Funnel(
        imported=total(lambda cell: True),
        voted=total(lambda cell: cell.voted),
        waiting=total(lambda cell: cell.state == State.WAITING),
        settled=total(lambda cell: cell.state == State.SETTLED),
        contested=total(lambda cell: cell.state == State.CONTESTED),
        aside=total(lambda cell: cell.state == State.ASIDE),
        reviewed=total(lambda cell: cell.source == LabelSource.REVIEW),
        holdout=total(lambda cell: cell.holdout),
        by_label=labels_in(cells),
        by_label_told=labels_in([cell for cell in cells if not cell.holdout]),
        voters=tuple(voters),
    )


def labels_in(cells: list[Cell]) -> dict[int, dict[str, int]]:
    found: dict[int, dict[str, int]] = {}
    for cell in cells:
        if cell.label is not None:
            sources = found.setdefault(cell.label, {})
            sources[cell.source] = sources.get(cell.source, 0) + cell.posts
    return found


def held_by(label: Label) -> str:
    """What keeps a label from being removed, in words; blank where nothing does."""
    posts = Tally.objects.filter(project=label.project_id, label_id=label.pk).aggregate(n=Sum("posts", default=0))["n"]
    votes = VoteTally.objects.filter(label_id=label.pk).aggregate(n=Sum("votes", default=0))["n"]
    told = [(posts, "post"), (votes, "vote")]
    return " and ".join(f"{n:,} {thing}{'' if n == 1 else 's'}" for n, thing in told if n)


class Step(NamedTuple):
    sentence: str
    url: str
    button: str


def what_next(project: Project, funnel: Funnel, role: Role) -> list[Step]:
    setup = admins_steps(project, funnel) if role.covers(Role.ADMIN) else []
    return setup + everyones_steps(project, funnel, role)


def admins_steps(project: Project, funnel: Funnel) -> list[Step]:
    settings, steps = reverse("settings", args=[project.slug]), []
    if len(project.labels.all()) < 2:
        steps.append(Step("A question needs at least two labels to choose between.", settings, "Add labels"))
    if not funnel.imported:
        steps.append(Step("There are no posts yet.", reverse("import_new", args=[project.slug]), "Import posts"))
    if not project.guidelines:
        steps.append(Step("Without guidelines, everyone decides by a rule of their own.", settings, "Write guidelines"))
    return steps


def everyones_steps(project: Project, funnel: Funnel, role: Role) -> list[Step]:
    posts, steps = reverse("posts", args=[project.slug]), []
    if to_review := queue.waiting_for(project, role):
        steps.append(Step(f"{counted(to_review)} to be reviewed.", reverse("review", args=[project.slug]), "Review"))
    if funnel.waiting:
        voting = reverse("voting_new", args=[project.slug])
        url, button = (voting, "Start voting") if role.covers(Role.ADMIN) else (posts, "See the waiting")
        steps.append(Step(f"{counted(funnel.waiting)} waiting for votes.", f"{url}?state=waiting", button))
    return steps


def counted(posts: int) -> str:
    return "1 post is" if posts == 1 else f"{posts:,} posts are"
