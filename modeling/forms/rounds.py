"""The next round as a form: how each of its steps is to be done."""

import json
from collections.abc import Mapping
from dataclasses import replace
from functools import cached_property
from typing import Any

from django import forms
from django.http import QueryDict
from pydantic import TypeAdapter

from annotate.models import Project, User
from modeling.datasets import asking as recipes
from modeling.models import Round
from modeling.rounds import reckoning, rounds
from modeling.rounds.plan import Plan
from modeling.rounds.reckoning import Reckoned
from modeling.training import starting, training_presets
from modeling.training.run_settings import SETTINGS

JUDGED = (
    ("rule", "It is rolled back by itself, and all its labels go back"),
    ("lead", "It waits, and a lead decides"),
)  # fmt: skip
WORD = (
    ("ask", "Somebody says so, having seen what the threshold means"),
    ("unattended", "It does so by itself, as long as no more should be wrong than is allowed"),
)
PLAN = TypeAdapter(Plan)
QUIET = {"autocomplete": "off", "spellcheck": "false"}


def number(label: str, least: float, most: float, step: float, help_text: str) -> forms.FloatField:
    widget = forms.NumberInput({"step": step, "inputmode": "decimal"})
    return forms.FloatField(label=label, min_value=least, max_value=most, help_text=help_text, widget=widget)


class RoundForm(forms.Form):
    base = forms.CharField(
        label="Base model", required=False, max_length=300, widget=forms.TextInput(QUIET | {"list": "models"}),
        help_text="A name on the hub, a folder, or tiny. Blank: as the recipe has it.",
    )  # fmt: skip
    recipe = forms.ChoiceField(
        label="Recipe", required=False, error_messages={"invalid_choice": "There is no such recipe; choose one."}
    )
    settings = forms.CharField(
        label="What differs from the recipe", required=False, max_length=4000,
        widget=forms.Textarea(QUIET | {"rows": 2, "placeholder": "lr=1e-4"}), help_text="One a line, as name=value.",
    )  # fmt: skip
    threshold = number(
        "Threshold", 0.5, 1, 0.005, "How likely a label must be to settle a post. It can be changed before it does."
    )
    growth = number("Growth of a label", 0, 100, 0.1, "Times its share of all labels, at most. 0: any.")
    doubts = forms.IntegerField(
        label="Doubts to people, at most", min_value=0, max_value=100_000,
        help_text="Posts whose answer would teach it most.",
    )  # fmt: skip
    audit_rate = number("Share that is audited", 0, 1, 0.01, "Of what it settles; drawn by lot, checked blind.")
    error_allowed = number(
        "Errors allowed", 0.001, 0.999, 0.001, "Share of its labels that may be wrong, as the audits tell."
    )
    word = forms.ChoiceField(label="What it is sure of is settled when", choices=WORD, widget=forms.RadioSelect)
    judged = forms.ChoiceField(label="A round that breaks a rule", choices=JUDGED, widget=forms.RadioSelect)

    def __init__(self, data: QueryDict, *, project: Project, by: User) -> None:
        self.project, self.by = project, by
        super().__init__(self.completed(data))
        recipes = [(preset.key, preset.title) for preset in training_presets.available()]
        self.fields["recipe"].choices = [("", "The usual one for that model"), *recipes]  # type: ignore[attr-defined]
        self.plan: Plan | None = None

    @cached_property
    def last(self) -> Round | None:
        return self.project.rounds.first()

    @property
    def number(self) -> int:
        return self.last.number + 1 if self.last else 1

    @property
    def usual(self) -> Plan:
        """As the last one: only rounds that are done alike tell what more labels did."""
        return replace(self.stored, frozen={}) if self.not_taken_over else self.stored

    @cached_property
    def stored(self) -> Plan:
        """By another release, maybe: the form opens all the same."""
        try:
            return PLAN.validate_python(self.last.plan) if self.last else Plan()
        except ValueError:
            return Plan()

    @cached_property
    def not_taken_over(self) -> str:
        """Why the next one cannot be frozen as the last was, which nobody could mend in the form: a label that it named
        may be gone. Blank where it can."""
        try:
            if self.stored.frozen:
                recipes.recipe_of(self.project, "", self.stored.frozen)
        except recipes.NotUnderstood as problem:
            return str(problem)
        return ""

    def completed(self, data: QueryDict) -> QueryDict:
        whole = data.copy()
        for name, value in written(self.usual).items():
            whole.setdefault(name, value)
        return whole

    def clean_base(self) -> str:
        base: str = self.cleaned_data["base"].strip()
        if base and (problem := starting.problem_with_model(base)):
            raise forms.ValidationError(problem)
        return base

    def clean_settings(self) -> dict[str, Any]:
        return settings_in(self.cleaned_data["settings"])

    def clean(self) -> None:
        if self.errors:
            return
        given = dict(self.cleaned_data)
        unattended, by_rule = given.pop("word") == "unattended", given.pop("judged") == "rule"
        try:
            plan = Plan(**given, frozen=self.usual.frozen, by_rule=by_rule, unattended=unattended)
            reckoning.config_of(self.project, plan)
        except (starting.NotUnderstood, ValueError, TypeError) as problem:
            raise forms.ValidationError(str(problem)) from problem
        self.plan = plan

    @cached_property
    def reckoned(self) -> Reckoned | None:
        return Reckoned(self.project, self.plan, reckoning.config_of(self.project, self.plan)) if self.plan else None

    @property
    def query(self) -> str:
        usual = written(self.usual)
        asked: QueryDict = self.data.copy()  # type: ignore[attr-defined]
        for name in [name for name in asked if name not in usual or asked[name] == usual[name]]:
            del asked[name]
        return asked.urlencode()

    def begin(self) -> Round | None:
        """None where it is refused; the form then says why."""
        assert self.plan is not None
        try:
            return rounds.start(self.project, self.by, self.plan)
        except rounds.Refused as refusal:
            self.add_error(None, str(refusal))
        return None


class ThresholdForm(forms.Form):
    """For just what is on the screen."""

    threshold = forms.FloatField(required=False, min_value=0.5, max_value=1)


def settings_in(told: str) -> dict[str, Any]:
    """As the command reads them: a value that is no number and no list is a word. So is all that is said of a setting
    which is a word: a commit may be all digits."""
    found: dict[str, Any] = {}
    for line in filter(None, map(str.strip, told.splitlines())):
        name, sign, value = line.partition("=")
        if not sign:
            raise forms.ValidationError(f"“{line[:60]}” sets nothing; write it as lr=1e-4.")
        found[name.strip()] = value_of(name.strip(), value.strip())
    return found


def value_of(name: str, written: str) -> Any:
    try:
        value = json.loads(written)
    except (ValueError, RecursionError):
        return written
    is_word = name in SETTINGS and SETTINGS[name].is_word
    return written if is_word and not isinstance(value, str) else value


def lines_of(settings: Mapping[str, Any]) -> str:
    told = ((name, value if isinstance(value, str) else json.dumps(value)) for name, value in settings.items())
    return "\n".join(f"{name}={value}" for name, value in told)


def written(plan: Plan) -> dict[str, str]:
    """As the form's fields hold it."""
    return {
        "base": plan.base, "recipe": plan.recipe, "settings": lines_of(plan.settings),
        "threshold": f"{plan.threshold:g}", "growth": f"{plan.growth:g}", "doubts": str(plan.doubts),
        "audit_rate": f"{plan.audit_rate:g}", "error_allowed": f"{plan.error_allowed:g}",
        "word": "unattended" if plan.unattended else "ask", "judged": "rule" if plan.by_rule else "lead",
    }  # fmt: skip
