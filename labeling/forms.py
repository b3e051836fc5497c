from collections.abc import Callable, Sequence
from decimal import Decimal
from typing import Any, cast
from urllib.parse import urlsplit

from django import forms
from django.conf import settings
from django.urls import reverse
from django.utils.html import format_html

from annotate import addresses
from annotate.browse import Filters
from annotate.models import Project, User, Voter

from . import pairs, prompt, runs, voters
from .models import Mode, VotingRun
from .providers import PROVIDERS, Parameter
from .runs import Estimate
from .voting import CONCURRENCY

PILOT = 20
LIMITS = ("concurrency", "requests_a_minute", "tokens_a_minute")
LEFT = "left to the model"


class PairForm(forms.Form):
    """One click: the pair comes with its voters and their parameters."""

    pair = forms.ChoiceField()

    def __init__(self, data: Any = None, *, by: User) -> None:
        super().__init__(data)
        self.by = by
        self.pairs = {pair.key: pair for pair in pairs.available()}
        cast(forms.ChoiceField, self.fields["pair"]).choices = [(pair.key, pair.title) for pair in self.pairs.values()]

    @property
    def offered(self) -> list[tuple[pairs.Pair, str]]:
        """Each with what keeps this person from adding it."""
        return [(pair, self.problem_with(pair)) for pair in self.pairs.values()]

    def problem_with(self, pair: pairs.Pair) -> str:
        addresses = [str(voter.parameters.get("base_url") or "") for voter in pair.voters]
        return next(filter(None, (address_problem(self.by, address) for address in addresses)), "")

    def clean_pair(self) -> str:
        key: str = self.cleaned_data["pair"]
        if problem := self.problem_with(self.pairs[key]):
            raise forms.ValidationError(problem)
        return key

    def add(self, project: Project) -> list[Voter]:
        return voters.add_pair(project, self.by, self.pairs[self.cleaned_data["pair"]])


class VoterForm(forms.Form):
    """For one provider: its parameters are fields, named `with_` and the parameter's name."""

    model = forms.CharField(
        max_length=120, help_text="Exactly as the provider writes it.", widget=forms.TextInput({"autocomplete": "off"})
    )
    name = forms.CharField(
        max_length=voters.LONGEST_NAME,
        required=False,
        help_text="What it is called on these pages. Left empty, as its model.",
        widget=forms.TextInput({"autocomplete": "off"}),
    )
    required = forms.BooleanField(
        required=False,
        label="Required: no label settles before it has voted",
        help_text="A voter that is not required is heard where it has voted, and never waited for. One that is asked "
        "in the words of its training is never required: consensus does not hear it.",
    )
    prompt = forms.CharField(
        help_text="Filled in for each post: " + ", ".join(f"${hole}" for hole in prompt.HOLES),
        widget=forms.Textarea({"rows": 16, "class": "guidelines", "spellcheck": "false"}),
    )
    concurrency = forms.IntegerField(
        min_value=1,
        max_value=512,
        required=False,
        label="At once",
        help_text=f"Requests under way. Blank: {CONCURRENCY}.",
    )
    requests_a_minute = forms.IntegerField(min_value=1, required=False, help_text="Blank: no limit.")
    tokens_a_minute = forms.IntegerField(min_value=1, required=False, help_text="Blank: no limit.")

    def __init__(
        self, data: Any = None, *, project: Project, provider: str, by: User, voter: Voter | None = None
    ) -> None:
        self.project, self.provider, self.by, self.voter = project, PROVIDERS[provider], by, voter
        super().__init__(data, initial=stands(voter) if voter else FRESH)
        if self.provider.models:
            self.fields["model"] = forms.ChoiceField(choices=[(model, model) for model in self.provider.models])
        self.parameters = {f"with_{name}": name for name in self.provider.parameters}
        for field, name in self.parameters.items():
            self.fields[field] = field_for(name, self.provider.parameters[name])
            if voter and voter.provider == provider and name in voter.parameters:
                self.initial[field] = voter.parameters[name]

    @property
    def parameter_fields(self) -> list[forms.BoundField]:
        return [self[field] for field in self.parameters]

    @property
    def limit_fields(self) -> list[forms.BoundField]:
        return [self[field] for field in LIMITS]

    def clean_prompt(self) -> str:
        written: str = voters.tidy(self.cleaned_data["prompt"])
        if problem := prompt.problem_with(written):
            raise forms.ValidationError(problem)
        return written

    def clean_name(self) -> str:
        name: str = self.cleaned_data["name"]
        other = self.project.voters.filter(name=name).first()
        if other and other != self.voter:
            raise forms.ValidationError(format_html("{} is called that already.", link_to(other)))
        return name

    def clean_with_base_url(self) -> str:
        address: str = self.cleaned_data["with_base_url"]
        if "@" in urlsplit(address).netloc:
            raise forms.ValidationError("An address with a password in it would be seen by every member; leave it out.")
        stays = self.voter is not None and address == self.voter.parameters.get("base_url")
        if not stays and (problem := address_problem(self.by, address)):
            raise forms.ValidationError(problem)
        return address

    def clean(self) -> None:
        if self.errors:
            return
        self.makeup = self.told_makeup()
        if problem := self.provider.problem_with(self.makeup.model, self.makeup.parameters):
            self.add_error(None, problem)
        there = voters.twin(self.project, self.makeup)
        if there and there != self.voter and not there.retired:
            told = "{} is this very voter: the same provider, model, parameters and prompt. Change one of them."
            self.add_error(None, forms.ValidationError(format_html(told, link_to(there))))

    def told_makeup(self) -> voters.Makeup:
        given = {name: self.cleaned_data[field] for field, name in self.parameters.items()}
        parameters = {name: value for name, value in given.items() if value not in (None, "")}
        return voters.Makeup.told(
            self.provider.name, self.cleaned_data["model"], parameters, self.cleaned_data["prompt"]
        )

    def save(self) -> Voter:
        given = self.cleaned_data
        kept: dict[str, Any] = {"required": given["required"]}
        kept["limits"] = {name: given[name] for name in LIMITS if given[name]}
        if self.voter is None:
            return voters.create(self.project, self.by, self.makeup, given["name"], **kept)
        return voters.revise(self.voter, self.by, self.makeup, given["name"] or self.voter.name, **kept)


def address_problem(by: User, address: str) -> str:
    """Nothing for a site admin, who may have any server asked; and what is no address is told elsewhere."""
    if by.is_superuser or not address.startswith(("http://", "https://")):
        return ""
    return addresses.problem_with(address, settings.PROVIDER_BASE_URLS)


FRESH = {"prompt": voters.tidy(prompt.DEFAULT), "required": True}


def stands(voter: Voter) -> dict[str, Any]:
    known = {"model": voter.model, "name": voter.name, "required": voter.required}
    return {**known, "prompt": voter.prompt or FRESH["prompt"], **voter.limits}


def link_to(voter: Voter) -> str:
    return format_html('<a href="{}">{}</a>', reverse("voter", args=[voter.project.slug, voter.pk]), voter.name)


def field_for(name: str, parameter: Parameter) -> forms.Field:
    make: dict[type, Callable[..., forms.Field]] = {
        bool: forms.BooleanField, int: forms.IntegerField, float: forms.FloatField, dict: forms.JSONField,
    }  # fmt: skip
    options: dict[str, Any] = {"required": False, "label": named(name), "help_text": parameter.meaning}
    if parameter.choices:
        blank = [] if parameter.default else [("", LEFT)]
        choices = [*blank, *((choice, choice) for choice in parameter.choices)]
        return forms.ChoiceField(choices=choices, initial=parameter.default, **options)
    if parameter.kind in {int, float}:
        options["min_value"] = parameter.least
    if parameter.kind is dict:
        options["widget"] = forms.Textarea({"rows": 2})
    if parameter.default is None and not name.startswith("price"):
        options["help_text"] += f" Blank: {LEFT}."
    return make.get(parameter.kind, forms.CharField)(initial=parameter.default, **options)


def named(parameter: str) -> str:
    return parameter.replace("_", " ").replace("url", "URL").capitalize().replace("url", "URL")


class StartForm(forms.Form):
    voters = forms.ModelMultipleChoiceField(
        queryset=Voter.objects.none(), error_messages={"required": "Choose at least one voter."}
    )
    budget = forms.DecimalField(
        min_value=Decimal("0.01"),
        max_digits=10,
        decimal_places=4,
        required=False,
        label="Budget in dollars",
        help_text="Never passed, whatever is in flight; the run pauses there. Blank: no limit.",
    )
    limit = forms.IntegerField(
        min_value=1, required=False, label="A pilot of so many posts", help_text="Blank: all of them."
    )
    mode = forms.ChoiceField(
        choices=[(Mode.LIVE, "Now, answer by answer"), (Mode.BATCH, "As batch jobs, cheaper, within a day")],
        initial=Mode.LIVE,
        required=False,
        label="How",
    )

    def __init__(self, data: Any = None, *, project: Project, filters: Filters) -> None:
        super().__init__(data)
        self.project, self.filters = project, filters
        limit = self["limit"].value()
        drawn = VotingRun(project=project, posts=filters.narrowing, limit=int(limit) if is_count(limit) else None)
        self.estimates = runs.estimates(drawn, runs.askable(project))
        field = cast("forms.ModelMultipleChoiceField[Voter]", self.fields["voters"])
        field.queryset = Voter.objects.filter(pk__in=[estimate.voter.pk for estimate in self.estimates])
        field.initial = [one.voter.pk for one in self.estimates if one.voter.required and one.asks and not one.missing]

    @property
    def rows(self) -> list[tuple[Estimate, bool]]:
        chosen = {str(pk) for pk in self["voters"].value() or []}
        return [(estimate, str(estimate.voter.pk) in chosen) for estimate in self.estimates]

    @property
    def posts(self) -> int:
        """Chosen, whoever has voted on them."""
        return self.estimates[0].posts if self.estimates else 0

    @property
    def wants_pilot(self) -> bool:
        return any(estimate.each is None and not estimate.answers for estimate in self.estimates)

    @property
    def together(self) -> Decimal | None:
        """Of those that are chosen; unknown as long as one of them is."""
        totals = [estimate.total for estimate, chosen in self.rows if chosen]
        known = [total for total in totals if total is not None]
        return sum(known, Decimal(0)) if len(known) == len(totals) else None

    def start(self, by: User) -> VotingRun | None:
        """None where it cannot start; the form then says why."""
        given = self.cleaned_data
        chosen: Sequence[Voter] = list(given["voters"])
        limit = PILOT if "pilot" in self.data else given["limit"]
        try:
            return runs.start(
                self.project, by, chosen, posts=self.filters.narrowing, budget=given["budget"], limit=limit,
                mode=Mode(given["mode"] or Mode.LIVE),
            )  # fmt: skip
        except runs.CannotStart as reason:
            self.add_error(None, str(reason))
        return None


def is_count(written: Any) -> bool:
    return str(written).isdecimal() and 0 < int(written) < 10**9


class ResumeForm(forms.Form):
    """A budget may be raised; below what is spent it could not be kept, and left blank it stays as it is."""

    budget = forms.DecimalField(
        max_digits=10,
        decimal_places=4,
        required=False,
        label="Budget in dollars",
        widget=forms.NumberInput({"step": "any"}),
    )

    def __init__(self, data: Any = None, *, run: VotingRun) -> None:
        super().__init__(data, initial={"budget": run.budget and f"{run.budget:.2f}"})
        self.run = run
        if run.budget is None:
            del self.fields["budget"]

    def clean_budget(self) -> Decimal | None:
        budget: Decimal | None = self.cleaned_data["budget"]
        gone = self.run.spent + self.run.written_off
        if budget is not None and budget <= gone:
            raise forms.ValidationError(f"${gone:.4f} of it is spent already; the budget must be more than that.")
        return budget

    def resume(self, by: User) -> bool:
        """False where it cannot be resumed; with an error of the form's where something is in the way."""
        try:
            return runs.resume(self.run, self.cleaned_data.get("budget"), by=by)
        except runs.CannotStart as reason:
            self.add_error(None, str(reason))
        return False
