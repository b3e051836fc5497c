"""A run as a form: every setting of the trainer, filled in from a recipe, and in the address what differs from it."""

from collections.abc import Mapping
from dataclasses import fields
from functools import cached_property
from typing import Any, NamedTuple
from urllib.parse import urlencode

from django import forms
from django.core.exceptions import ValidationError
from django.forms import BoundField
from django.http import QueryDict

from annotate.models import Project, User
from modeling.gpu.config import Config
from modeling.models import Dataset, Run
from modeling.training import run_settings, runner, starting, training_presets
from modeling.training.run_settings import BASE, GROUPS, SETTINGS, Setting
from modeling.training.training_presets import TrainingPreset

ALL_SENT = "whole"  # by the form itself: then a box that is missing was unticked, and is not as in the recipe
WEIGHT = "weight-"
NO_SUCH_DATASET = "There is no frozen dataset of this name with posts to train on."


class Fields(NamedTuple):
    """A group as the page shows it."""

    title: str
    plain: list[BoundField]
    folded: list[BoundField]
    is_open: bool
    by_label: bool


class LabelWeight(NamedTuple):
    name: str
    css: str
    field: BoundField


class RunForm(forms.Form):
    def __init__(self, data: QueryDict, *, project: Project, by: User, whole: bool = False) -> None:
        self.project, self.by, self.whole = project, by, whole or ALL_SENT in data
        self.learns_froms = starting.trainable(project)
        self.presets = {preset.key: preset for preset in training_presets.available()}
        self.preset: TrainingPreset = self.presets[starting.USUAL]
        self.preset = self.presets.get(data.get("recipe", ""), self.preset)
        self.learns_from: Dataset | None = self.chosen(data.get("dataset"))
        self.config: Config | None = None
        super().__init__(self.completed(data))
        choices = [(dataset.name, self.described(dataset)) for dataset in self.learns_froms]
        self.fields["dataset"] = forms.ChoiceField(choices=choices, error_messages={"invalid_choice": NO_SUCH_DATASET})
        self.fields |= {name: field_for(setting) for name, setting in SETTINGS.items()}
        for number, label in enumerate(self.labels):
            least, most = run_settings.LEAST_WEIGHT, run_settings.MOST_WEIGHT
            weight = forms.FloatField(required=False, min_value=least, max_value=most, widget=number_input())
            weight.label = f"Weight of {label}"
            self.fields[f"{WEIGHT}{number}"] = weight

    def chosen(self, name: str | None) -> Dataset | None:
        latest = self.learns_froms[0] if self.learns_froms else None
        return next((dataset for dataset in self.learns_froms if dataset.name == name), latest)

    def described(self, dataset: Dataset) -> str:
        posts = dataset.composition["splits"]["train"]["posts"]
        return f"{dataset.name}, {posts:,} posts to train on"

    @cached_property
    def labels(self) -> list[str]:
        return [label["name"] for label in self.learns_from.facts["labels"]] if self.learns_from else []

    @cached_property
    def of_recipe(self) -> Config | None:
        return starting.as_recipe_says(self.preset, self.learns_from) if self.learns_from else None

    def completed(self, data: QueryDict) -> QueryDict:
        """What an address leaves out is as in the recipe. Weights told for another dataset are none of this one's."""
        whole = data.copy()
        if self.learns_from is None or self.of_recipe is None:
            return whole
        if self.turned_to_another(data):
            for name in [name for name in whole if name.startswith(WEIGHT)]:
                del whole[name]
        for name, value in written(self.of_recipe, self.labels).items():
            if not self.whole or name.startswith(WEIGHT) or (name in SETTINGS and SETTINGS[name].for_words):
                whole.setdefault(name, value)  # of a classifier the page asks for nothing that is about words
        whole.setdefault("dataset", self.learns_from.name)
        return whole

    def turned_to_another(self, data: QueryDict) -> bool:
        """The form was sent with the labels of one dataset and the name of another."""
        return self.learns_from is not None and data.get("weights_of", self.learns_from.name) != self.learns_from.name

    # --- As the page shows it

    @property
    def groups(self) -> list[Fields]:
        shown = (self.shown(group) for group in GROUPS)
        return [group for group in shown if group.plain or group.folded]

    @property
    def kept(self) -> str:
        """Beside dataset and recipe, what the address of another recipe carries along."""
        return ""

    @property
    def base(self) -> Fields:
        return self.shown(BASE)

    def shown(self, group: run_settings.Group) -> Fields:
        method = str(self.data.get("method", ""))
        settings = [setting for setting in group.settings if run_settings.applies(setting.name, method)]
        plain = [self[setting.name] for setting in settings if not setting.rare]
        folded = [self[setting.name] for setting in settings if setting.rare]
        touched = any(field.errors or field.name in self.changes for field in folded)
        return Fields(group.title, plain, folded, touched, group is run_settings.RARE_LABELS)

    @property
    def weights(self) -> list[LabelWeight]:
        colours = {label.name: f"label-{label.pk}" for label in self.project.labels.all()}
        return [LabelWeight(name, colours.get(name, ""), self[f"{WEIGHT}{n}"]) for n, name in enumerate(self.labels)]

    @property
    def problems(self) -> list[str]:
        """Each with its field's name, for the place beside the form."""
        told = ((name, str(problem)) for name, problems in self.errors.items() for problem in problems)
        return [problem if name == "__all__" else f"{self[name].label}: {problem}" for name, problem in told]

    @cached_property
    def changes(self) -> list[str]:
        """What differs from the recipe, by name."""
        if self.config is None or self.of_recipe is None:
            return []
        return list(run_settings.differing(self.of_recipe.as_json(), self.config.as_json()))

    @property
    def changes_in_words(self) -> list[tuple[str, str, str]]:
        assert self.config is not None
        assert self.of_recipe is not None
        was, now = self.of_recipe.as_json(), self.config.as_json()
        words = run_settings.in_words
        return [(run_settings.title_of(name), words(name, was[name]), words(name, now[name])) for name in self.changes]

    @property
    def query(self) -> str:
        assert self.config is not None
        assert self.learns_from is not None
        return query_of(self.learns_from, self.preset, self.config)

    # --- What is asked for

    def clean(self) -> None:
        given = self.cleaned_data
        if "recipe" in self.data and self.data["recipe"] not in self.presets:
            self.add_error(None, f"There is no recipe “{self.data['recipe'][:60]}”; choose one of these.")
        if given.get("min_pixels", 0) > given.get("max_pixels", 10**9):
            self.add_error("min_pixels", "No more than the most pixels.")
        if self.errors or not self.learns_from:
            return
        try:
            told = {name: given[name] for name in SETTINGS}
            self.config = Config.from_json(told | {"weights": self.told_weights()})
        except ValueError as error:
            raise ValidationError(str(error)) from error
        if problem := starting.problem_with_code(self.by, self.config):
            self.add_error("trust_remote_code", problem)

    def told_weights(self) -> dict[str, float]:
        """All of them, or none where each is 1 anyway: without any a run takes those of its dataset."""
        told = {name: self.cleaned_data[f"{WEIGHT}{n}"] for n, name in enumerate(self.labels)}
        weights = {name: 1.0 if weight is None else weight for name, weight in told.items()}
        plain = set(weights.values()) <= {1.0} and not (self.learns_from and self.learns_from.facts.get("weights"))
        return {} if plain else weights

    def clean_model(self) -> str:
        model: str = self.cleaned_data["model"].strip()
        if problem := starting.problem_with_model(model):
            raise forms.ValidationError(problem)
        return model

    def clean_targets(self) -> str:
        targets: str = self.cleaned_data["targets"]
        if problem := run_settings.problem_with_targets(targets):
            raise forms.ValidationError(problem)
        return targets

    def start(self, away: bool = False) -> Run | None:
        """None where it is refused; the form then says why."""
        assert self.config is not None
        assert self.learns_from is not None
        try:
            return starting.begin(self.project, self.by, self.learns_from, self.config, self.preset.key, away)
        except runner.Refused as refusal:
            self.add_error("dataset", str(refusal))
        return None


def number_input() -> forms.NumberInput:
    return forms.NumberInput({"step": "any", "autocomplete": "off"})


def field_for(setting: Setting) -> forms.Field:
    """Of the kind that the setting usually is."""
    common: dict[str, Any] = {"label": setting.title, "help_text": setting.help}
    usual = setting.usual
    if setting.choices:
        return forms.ChoiceField(choices=setting.choices, **common)
    if isinstance(usual, bool):
        return forms.BooleanField(required=False, **common)
    bounds: dict[str, Any] = {"min_value": setting.least, "max_value": setting.most}
    if isinstance(usual, int):
        return forms.IntegerField(**common, **bounds, widget=forms.NumberInput({"autocomplete": "off"}))
    if isinstance(usual, float):
        return forms.FloatField(**common, **bounds, widget=number_input())
    quiet = {"autocomplete": "off", "spellcheck": "false"} | ({"list": "models"} if setting.name == "model" else {})
    required, widget = setting.name != "revision", forms.TextInput(quiet)
    return forms.CharField(max_length=run_settings.LONGEST, required=required, widget=widget, **common)


def written(config: Config, labels: list[str]) -> dict[str, str]:
    """As the form's fields hold it."""
    plain = {name: in_field(getattr(config, name)) for name in SETTINGS}
    weights = ((f"{WEIGHT}{n}", config.weights.get(label)) for n, label in enumerate(labels))
    return plain | {name: in_field(weight) for name, weight in weights if weight is not None}


def in_field(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return f"{value:.10g}" if isinstance(value, float) else str(value)


def query_of(dataset: Dataset, preset: TrainingPreset, config: Config) -> str:
    """The address of a form filled in like this: what differs from the recipe, and no more."""
    labels = [label["name"] for label in dataset.facts["labels"]]
    usual = written(starting.as_recipe_says(preset, dataset), labels)
    asked = written(config, labels)
    blank = {name: "" for name in usual if name not in asked}
    differs = {name: value for name, value in (asked | blank).items() if usual.get(name) != value}
    return urlencode({"dataset": dataset.name, "recipe": preset.key, **differs})


def like(run: Run) -> str:
    """The address of a form filled in as that run was."""
    return filled_in(run.dataset, run.recipe, run.config)


def filled_in(dataset: Dataset, recipe: str, config: Mapping[str, Any]) -> str:
    presets = {preset.key: preset for preset in training_presets.available()}
    known = {field.name for field in fields(Config)}
    told = Config.from_json({name: value for name, value in config.items() if name in known})
    return query_of(dataset, presets.get(recipe, presets[starting.USUAL]), told)
