"""A recipe as a form: written into the address, so that it can be kept, sent to somebody and tried again."""

from collections.abc import Iterator
from typing import Any
from urllib.parse import urlencode

from django import forms
from django.core.exceptions import ValidationError
from django.http import QueryDict

from annotate.forms.projects import PercentField
from annotate.models import Label, Project, User
from modeling.datasets import dataset
from modeling.datasets.recipe import SOURCES, Recipe
from modeling.models import Dataset

SOURCE_CHOICES = [
    ("review", "People, in review"),
    ("consensus", "Consensus of voters"),
    ("model", "Our tuned model"),
    ("import", "Known at import"),
]
ALWAYS_SENT = "validation"  # by the form; an address that somebody shortened lacks it, and means what it leaves out
FRACTION = {"min": 0, "max": 1, "step": "any"}


class RecipeForm(forms.Form):
    sources = forms.MultipleChoiceField(
        label="Labels from",
        choices=SOURCE_CHOICES,
        widget=forms.CheckboxSelectMultiple,
        error_messages={"required": "Choose at least one source of labels."},
    )
    least_confidence = forms.FloatField(
        required=False,
        min_value=0,
        max_value=1,
        widget=forms.NumberInput(FRACTION),
        help_text="Of machines' labels: what the least sure voter for it stated, from 0 to 1. Blank: any.",
    )
    one_per_group = forms.BooleanField(required=False, label="One post of each group of near-duplicates")
    size = forms.IntegerField(
        required=False,
        min_value=1,
        max_value=10**9,
        label="Posts at most",
        help_text="The locked test set aside. Blank: all of them.",
    )
    validation = PercentField(required=False, label="Validation, in %")
    test = PercentField(required=False, label="Test, in %")
    balanced = forms.BooleanField(required=False, label="Balance the weights: a rare label weighs more")
    incongruous = PercentField(
        required=False,
        label="Incongruous in training, in %",
        help_text="20 to 30 serves sarcasm best. Others are left out until the share comes out. Blank: as they come.",
    )

    def __init__(self, data: QueryDict, *, project: Project) -> None:
        self.project, self.recipe = project, Recipe()
        super().__init__(completed(data, project))
        self.labels = list(project.labels.all())
        if not project.asks_incongruous:
            del self.fields["incongruous"]
        for label in self.labels:
            self.fields[f"cap-{label.pk}"] = forms.IntegerField(required=False, min_value=0, max_value=10**9)
            self.fields[f"weight-{label.pk}"] = forms.FloatField(required=False, min_value=0, max_value=1000)
            for kind, words in (("cap", "Most posts to train on"), ("weight", "Weight in training")):
                field = self.fields[f"{kind}-{label.pk}"]
                field.label = f"{words}, {label.name}"
                field.widget.attrs |= {"step": "any"} if kind == "weight" else {}

    @property
    def label_fields(self) -> list[tuple[Label, forms.BoundField, forms.BoundField]]:
        return [(label, self[f"cap-{label.pk}"], self[f"weight-{label.pk}"]) for label in self.labels]

    @property
    def recipe_errors(self) -> list[str]:
        """Each with its field's name, for the place where the preview would stand."""
        errors = ((name, str(problem)) for name, problems in self.errors.items() for problem in problems)
        told = ((name, problem) for name, problem in errors if name != "name")
        return [problem if name == "__all__" else f"{self[name].label}: {problem}" for name, problem in told]

    @property
    def query(self) -> str:
        return urlencode(query_of(self.recipe, self.project), doseq=True)

    def clean(self) -> None:
        if self.errors.keys() - {"name"}:
            return
        try:
            self.recipe = Recipe(**self.told())
        except ValueError as problem:
            raise ValidationError(str(problem)) from problem

    def told(self) -> dict[str, Any]:
        given = self.cleaned_data
        plain = {name: given.get(name) for name in ("least_confidence", "size", "incongruous")}
        usual = Recipe()
        shares = {name: getattr(usual, name) if given[name] is None else given[name] for name in ("validation", "test")}
        flags = {name: given[name] for name in ("one_per_group", "balanced")}
        sources = tuple(source for source in SOURCES if source in given["sources"])
        return {**plain, **shares, **flags, "sources": sources, "caps": self.by_label("cap"), "weights": self.weights()}

    def by_label(self, kind: str) -> dict[str, Any]:
        told = ((label.name, self.cleaned_data.get(f"{kind}-{label.pk}")) for label in self.labels)
        return {name: value for name, value in told if value is not None}

    def weights(self) -> dict[str, float]:
        return {name: weight for name, weight in self.by_label("weight").items() if weight != 1}


class FreezeForm(RecipeForm):
    """The name is no part of the recipe: what is wrong with it keeps nobody from a preview."""

    name = forms.CharField(
        max_length=60,
        help_text="Letters, digits, dots, dashes and underscores. It stays for good.",
        widget=forms.TextInput({"autocomplete": "off", "form": "recipe"}),
    )

    def freeze(self, by: User) -> Dataset | None:
        """None where it is refused; the form then says why."""
        try:
            return dataset.ask(self.project, by, self.cleaned_data["name"], self.recipe)
        except ValidationError as error:
            self.add_error("name", error)
        except dataset.Refused as refusal:
            self.add_error("name", str(refusal))
        return None


def completed(data: QueryDict, project: Project) -> QueryDict:
    """What an address leaves out is as usual; but a box that was unticked in the form stays so."""
    whole = data.copy()
    if ALWAYS_SENT not in whole:
        for name, value in form_values(Recipe(), project):
            if name not in whole:
                whole.setlist(name, value)
    return whole


def form_values(recipe: Recipe, project: Project) -> Iterator[tuple[str, list[str]]]:
    yield "sources", [source for source in SOURCES if source in recipe.sources]
    yield "validation", [percent(recipe.validation)]
    yield "test", [percent(recipe.test)]
    for name in ("least_confidence", "size"):
        if (value := getattr(recipe, name)) is not None:
            yield name, [f"{value:.10g}"]
    if recipe.incongruous is not None and project.asks_incongruous:
        yield "incongruous", [percent(recipe.incongruous)]
    for name in ("one_per_group", "balanced"):
        if getattr(recipe, name):
            yield name, ["on"]
    for label in project.labels.all():
        for kind, told in (("cap", recipe.caps), ("weight", recipe.weights)):
            if label.name in told:
                yield f"{kind}-{label.pk}", [f"{told[label.name]:.10g}"]


def query_of(recipe: Recipe, project: Project) -> dict[str, list[str]]:
    return dict(form_values(recipe, project))


def percent(share: float) -> str:
    return f"{100 * share:.10g}"
