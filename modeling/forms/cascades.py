"""Which two stages, and about how many labels the second is asked."""

from functools import cached_property

from django import forms
from django.http import QueryDict

from annotate.models import Project, User
from modeling.cascade import cascades, choosing
from modeling.cascade.choosing import Stage
from modeling.models import Cascade, Dataset, Run

USUAL_K = 5


class CascadeForm(forms.Form):
    first = forms.ChoiceField(
        label="First stage", help_text="Answers where it is sure. It costs nothing here: it has said what it says."
    )
    second = forms.ChoiceField(label="Second stage", help_text="Asked where the first is unsure.")
    k = forms.IntegerField(
        label="Candidates", min_value=cascades.FEWEST, max_value=cascades.MOST, initial=USUAL_K,
        help_text="Of the first stage’s likeliest labels so many are asked about. Few: quick, and a label that is not "
                  "among them is lost.",
    )  # fmt: skip
    dataset = forms.ChoiceField(label="Dataset", help_text="On whose validation split weight and threshold are fitted.")
    name = forms.CharField(
        label="Name", required=False, max_length=120, help_text="Blank: told by its parts.",
        widget=forms.TextInput({"autocomplete": "off"}),
    )  # fmt: skip

    def __init__(self, data: QueryDict | None, *, project: Project, by: User, asked: QueryDict | None = None) -> None:
        self.project, self.by = project, by
        super().__init__(data, initial={name: asked[name] for name in self.base_fields if asked and name in asked})
        for name, stages in (("first", self.firsts), ("second", self.seconds)):
            self.choose(name, [(one.key, one.words) for one in stages])
        self.choose("dataset", [(one.name, one.name) for one in self.datasets])

    def choose(self, name: str, choices: list[tuple[str, str]]) -> None:
        field = self.fields[name]
        assert isinstance(field, forms.ChoiceField)
        field.choices = choices
        field.error_messages["invalid_choice"] = "That is not offered here: choose one of the list."

    @cached_property
    def firsts(self) -> list[Stage]:
        return choosing.firsts(self.project)

    @cached_property
    def seconds(self) -> list[Stage]:
        return choosing.seconds(self.project)

    @cached_property
    def datasets(self) -> list[Dataset]:
        return choosing.datasets(self.project)

    def make(self) -> Cascade | None:
        """None where it is refused; the form then says why."""
        given = self.cleaned_data
        dataset = next(one for one in self.datasets if one.name == given["dataset"])
        first, second = choosing.named(self.firsts, given["first"]), choosing.named(self.seconds, given["second"])
        assert first is not None
        assert isinstance(second, Run)
        try:
            return cascades.make(self.project, self.by, dataset, first, second, given["k"], given["name"])
        except cascades.Refused as refusal:
            self.add_error(None, str(refusal))
        return None
