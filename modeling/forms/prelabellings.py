"""Which run or cascade is asked about which posts; and later, how what it is sure of is settled."""

from collections.abc import Mapping
from dataclasses import replace
from functools import cached_property
from typing import Any
from urllib.parse import parse_qsl

from django import forms
from django.db.models import Exists, OuterRef, Sum
from django.http import QueryDict

from annotate.browse import Count, Filters, Match, matching
from annotate.models import Project, Tally, User, Vote, Voter
from modeling.cascade import asking as cascading
from modeling.cascade import cascades
from modeling.models import Cascade, PreLabelling, Run
from modeling.prelabelling import prelabelling as room
from modeling.prelabelling import report

from .evaluations import BITS_WORDS

USUAL = {
    "which": "waiting", "bits": "0", "batch": "16", "threshold": "0.9", "growth": "1.5", "audit_rate": "0.1",
    "most_doubts": "200",
}  # fmt: skip
LOOK_AT = 10_000  # posts, whether the model was asked about them before; of more, a page says "at least"
CASCADE = "cascade-"  # before its number, where a run is told by its number alone
WHICH = (
    ("waiting", "Those that wait for votes: as usual"),
    ("contested", "Those that voters contest: it settles one only where one of them says the same"),
    ("all", "All: of those with a label, the ones that it would label otherwise are listed, and nothing is done"),
    ("list", "Those of a list of posts"),
)


class SettleForm(forms.Form):
    """Each may be set before the model is asked, and again once it is known what it means."""

    threshold = forms.FloatField(
        label="Threshold", min_value=0.5, max_value=1,
        help_text="How likely a label must be for a post to be settled. A higher one settles fewer, with fewer errors.",
    )  # fmt: skip
    growth = forms.FloatField(
        label="Growth of a label", min_value=0, max_value=100,
        help_text="How many times its share of all labels one may come to have, so that the model’s favourite does not"
        " swamp the others. 0: any.",
    )  # fmt: skip
    audit_rate = forms.FloatField(
        label="Share that is audited", min_value=0, max_value=1,
        help_text="Drawn by lot from what it settles, and checked by people who do not know: what tells how wrong it"
        " is.",
    )  # fmt: skip
    most_doubts = forms.IntegerField(
        label="Doubts to people, at most", min_value=0, max_value=100_000,
        help_text="Of what it is less sure of, these go to people: those first whose answer would teach most.",
    )  # fmt: skip

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        for name, step in (("threshold", 0.005), ("growth", 0.1), ("audit_rate", 0.01), ("most_doubts", 1)):
            self.fields[name].widget.attrs |= {"step": step, "inputmode": "decimal"}

    @property
    def how(self) -> dict[str, Any]:
        return {name: self.cleaned_data[name] for name in SettleForm.base_fields}


class PreLabellingForm(SettleForm):
    run = forms.ChoiceField(label="Run", error_messages={"invalid_choice": "That is no run that could be asked."})
    which = forms.ChoiceField(label="Posts", choices=WHICH, widget=forms.RadioSelect)
    address = forms.CharField(
        label="Address of that list", required=False, max_length=2000,
        help_text="Filter the posts as you like, and copy the address of the list to here.",
        widget=forms.TextInput({"autocomplete": "off", "spellcheck": "false", "placeholder": "…/posts?q=moon"}),
    )  # fmt: skip
    bits = forms.ChoiceField(
        label="Bits a weight", choices=list(BITS_WORDS.items()), help_text="Fewer take less memory."
    )
    batch = forms.IntegerField(
        label="Posts at once", min_value=1, max_value=1024,
        help_text="More are quicker, as long as the memory lasts.",
    )  # fmt: skip

    def __init__(self, data: QueryDict, *, project: Project, by: User) -> None:
        self.project, self.by = project, by
        super().__init__(self.completed(data))
        self.offer()

    def offer(self) -> None:
        run: Any = self.fields["run"]
        run.choices = [(str(one.pk), f"{one}: {one.config['model']} on {one.dataset.name}") for one in self.runs]
        if not self.cascades:
            return
        told = [(f"{CASCADE}{one.pk}", f"{one}: {point_of(one)}") for one in self.cascades]
        run.choices = [("Runs", run.choices), ("Cascades", told)]
        run.label = "Run or cascade"
        run.help_text = "A cascade asks its run where its first stage is unsure, about the likeliest labels alone."

    @cached_property
    def runs(self) -> list[Run]:
        return report.may_be_asked(self.project)

    @cached_property
    def cascades(self) -> list[Cascade]:
        """Fitted, and at a point that somebody chose."""
        return [one for one in cascades.of(self.project).usable() if one.is_usable]

    def completed(self, data: QueryDict) -> QueryDict:
        """Whoever comes from a list of posts brings its filters in the address."""
        whole = data.copy()
        if data.get("cascade"):
            whole.setdefault("run", f"{CASCADE}{data['cascade']}")
        if self.runs:
            whole.setdefault("run", str(self.runs[0].pk))
        filters = Filters.from_query({name: str(data[name]) for name in data}).narrowing
        if filters and "which" not in whole:
            kind = report.kind_of(filters)
            whole["which"] = kind
            whole.setdefault("address", Filters(**filters).query() if kind == "list" else "")
        for name, value in USUAL.items():
            whole.setdefault(name, value)
        return whole

    # --- Which posts

    @property
    def posts(self) -> dict[str, str]:
        which = self.cleaned_data["which"]
        if which != "list":
            return report.KINDS[which][0]
        return filters_in(self.cleaned_data["address"]).narrowing

    @property
    def chosen(self) -> Run | None:
        """Of a cascade, its second stage."""
        if self.cascade:
            return self.cascade.second
        return next((run for run in self.runs if str(run.pk) == self.cleaned_data.get("run")), None)

    @property
    def cascade(self) -> Cascade | None:
        return next((one for one in self.cascades if f"{CASCADE}{one.pk}" == self.cleaned_data.get("run")), None)

    def clean(self) -> dict[str, Any]:
        given = self.cleaned_data
        if given.get("which") == "list" and not self.errors and not self.posts:
            self.add_error("address", "That address filters nothing. For all posts, tick all.")
        if not self.errors and self.chosen:
            try:
                filters = Filters.from_query(self.posts)
                room.check(self.project, self.chosen, filters, int(given["bits"]), given["batch"])
                room.check_cascade(self.cascade, self.chosen)
                room.checked(self.how)
            except room.Refused as refusal:
                self.add_error("address" if given["which"] == "list" else None, str(refusal))
        return given

    def ask(self) -> PreLabelling | None:
        """None where it is refused; the form then says why."""
        assert self.chosen is not None
        given = self.cleaned_data
        try:
            return room.ask(
                self.project, self.by, self.chosen, self.posts, bits=int(given["bits"]), batch=given["batch"],
                cascade=self.cascade, **self.how,
            )  # fmt: skip
        except room.Refused as refusal:
            self.add_error(None, str(refusal))
        return None

    # --- How many they are

    @property
    def counts(self) -> dict[str, Count]:
        """Of each that can be ticked without more."""
        return {key: unlocked(self.project, filters).count() for key, (filters, _) in report.KINDS.items()}

    @cached_property
    def count(self) -> Count | None:
        return None if self.errors else unlocked(self.project, self.posts).count()

    @cached_property
    def known(self) -> Count:
        """Those of them that this very model was asked about before; a cascade, at this very point. Of very many, no
        more are looked at than a page can wait for."""
        run, bits, cascade = self.chosen, int(self.cleaned_data["bits"]), self.cascade
        assert run is not None
        parameters: dict[str, Any] = {"run": run.pk} | ({"bits": bits} if bits else {})
        if cascade:
            parameters |= cascading.parameters_of(cascade)
        before = Voter.objects.filter(project=self.project, provider=room.PROVIDER, parameters=parameters).first()
        if before is None or nobody_voted(unlocked(self.project, self.posts)):
            return Count(0)
        posts = unlocked(self.project, self.posts).posts.order_by()
        votes = Vote.objects.filter(voter=before, post=OuterRef("pk"))
        said = list(posts.values_list(Exists(votes), flat=True)[: LOOK_AT + 1])
        return Count(min(sum(said), LOOK_AT), more=len(said) > LOOK_AT)


def point_of(cascade: Cascade) -> str:
    return "" if cascade.threshold is None else cascades.in_words(cascade.threshold)


def unlocked(project: Project, filters: Mapping[str, str]) -> Match:
    """Without the locked test set, which no model is asked about."""
    match = matching(project, Filters.from_query(filters))
    counted = match.tally.filter(holdout=False) if match.tally is not None and match.tally.model is Tally else None
    return replace(match, posts=match.posts.filter(holdout=False), tally=counted)


def nobody_voted(match: Match) -> bool:
    """As far as that stands already."""
    tally: Any = match.tally
    return tally is not None and not tally.filter(voted=True).aggregate(n=Sum("posts"))["n"]


def filters_in(address: str) -> Filters:
    """Of a whole address, or of what stands behind its question mark."""
    return Filters.from_query(dict(parse_qsl(address.rpartition("?")[2].partition("#")[0])))
