"""The voters of a project: what each has done so far, and what should be known before it is asked again."""

from dataclasses import dataclass
from datetime import date
from decimal import Decimal

from django.db.models import Sum

from annotate.funnel import VoterCount, read_voters
from annotate.models import Project, Voter, VoteTally
from annotate.shares import Slice, split

from . import pricing, wording
from .models import Part, Replacement
from .providers import PROVIDERS, Provider
from .watching import Cost


@dataclass(frozen=True)
class Standing:
    voter: Voter
    count: VoterCount
    unpriced: int
    others_voted: bool
    heir: Voter | None  # who took its seat
    change: wording.Change | None  # of the words it is asked in

    @property
    def holds_up(self) -> bool:
        """Everything, by being required and silent while others have spoken."""
        return self.voter.required and not self.count.votes and self.others_voted

    @property
    def is_warned(self) -> bool:
        return not self.voter.retired and bool(self.missing or self.ends or self.holds_up or self.change)

    @property
    def provider(self) -> Provider | None:
        """None for a voter that came with a file: nothing can be asked of it."""
        return PROVIDERS.get(self.voter.provider)

    @property
    def cost(self) -> Cost | None:
        """None where the votes were paid for elsewhere."""
        if self.provider is None and self.count.cost is None:
            return None
        return Cost(self.count.known_cost, self.unpriced, self.count.votes)

    @property
    def missing(self) -> str:
        return self.provider.missing(self.voter.parameters) if self.provider else ""

    @property
    def ends(self) -> date | None:
        return pricing.ends(self.voter.provider, self.voter.model)

    @property
    def parameters(self) -> list[tuple[str, object, bool]]:
        """Name, value, and whether it is as the provider has it."""
        if not self.provider:
            return []
        filled = self.provider.filled(self.voter.parameters)
        return [(name, value, name not in self.voter.parameters) for name, value in filled.items()]


def standings(project: Project) -> list[Standing]:
    counts = {count.name: count for count in read_voters([project])}
    parts = Part.objects.filter(voter__project=project).order_by().values_list("voter")
    unpriced = dict(parts.annotate(n=Sum("unpriced")))
    replaced = Replacement.objects.filter(voter__project=project).select_related("heir")
    heirs = {replacement.voter_id: replacement.heir for replacement in replaced}
    changed = wording.changes(project)
    found = [
        Standing(
            voter, counts.get(voter.name) or silent(voter), unpriced.get(voter.pk, 0), bool(counts),
            heirs.get(voter.pk), changed.get(voter.pk),
        )
        for voter in project.voters.all()
    ]  # fmt: skip
    return sorted(found, key=lambda standing: standing.voter.retired is not None)


def silent(voter: Voter) -> VoterCount:
    return VoterCount(voter.project_id, voter.name, voter.provider, 0, 0, Decimal(0), Decimal(0))


def standing_of(voter: Voter) -> Standing:
    return next(one for one in standings(voter.project) if one.voter.pk == voter.pk)


def answers_of(voter: Voter) -> list[Slice]:
    """What it said so far, in the project's order of labels."""
    tallies = VoteTally.objects.filter(voter_id=voter.pk).order_by().values_list("label_id")
    counts = dict(tallies.annotate(n=Sum("votes")))
    told = [(label.name, f"label-{label.pk}", counts.get(label.pk, 0)) for label in voter.project.labels.all()]
    return split(*told, ("abstained", "abstained", counts.get(None, 0)))
