"""In which form a run is written out, and how that is checked."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from django import forms
from django.http import QueryDict

from annotate.models import Project, User
from modeling.evaluation import evaluating
from modeling.models import Form, Run, ServedCheck, Serving, Way
from modeling.serving import checking, commands, writing
from modeling.serving.at_work import Refused


@dataclass(frozen=True)
class Offer:
    """A form that can be chosen, or why it cannot."""

    key: str
    title: str
    says: str
    problem: str


class WriteForm(forms.Form):
    form = forms.ChoiceField(choices=Form.choices, error_messages={"required": "Choose a form."})

    def __init__(self, data: QueryDict | None, *, run: Run) -> None:
        super().__init__(data)
        self.run = run

    @property
    def offers(self) -> list[Offer]:
        return [Offer(one.value, one.label, commands.FORMS[one.value], writing.problem_with(self.run, one.value))
                for one in Form]  # fmt: skip

    @property
    def chosen(self) -> str:
        """What is ticked: what was asked for, or the first that can be had."""
        told = self.data.get("form", "") if self.is_bound else ""
        return told or next((one.key for one in self.offers if not one.problem), "")

    def begin(self, project: Project, by: User) -> Serving | None:
        """None where it is refused; the form then says why."""
        try:
            return writing.ask(project, by, self.run, self.cleaned_data["form"])
        except Refused as refusal:
            self.add_error(None, str(refusal))
        return None


class CheckForm(forms.Form):
    way = forms.ChoiceField(choices=Way.choices)
    url = forms.CharField(
        label="Its address", required=False, max_length=checking.LONGEST_URL,
        help_text="Up to /v1, as this site’s machine reaches it.",
        widget=forms.TextInput({"autocomplete": "off", "spellcheck": "false", "inputmode": "url",
                                "placeholder": f"http://localhost:{commands.PORT}/v1"}),
    )  # fmt: skip
    model = forms.CharField(
        label="As it calls the model", required=False, max_length=200,
        widget=forms.TextInput({"autocomplete": "off", "spellcheck": "false"}),
    )  # fmt: skip
    split = forms.ChoiceField(label="On which posts")

    def __init__(self, data: QueryDict | None, *, serving: Serving, by: User, evaluated_on: Sequence[str]) -> None:
        self.serving, self.by = serving, by
        super().__init__(data, auto_id=f"%s-{serving.pk}", initial={"model": f"run-{serving.run_id}"})
        split: Any = self.fields["split"]
        split.choices = [(one.value, one.label) for one in checking.SPLITS]
        split.initial = next(iter(evaluated_on), None)
        self.has_evaluation = bool(evaluated_on)

    def begin(self) -> ServedCheck | None:
        given = self.cleaned_data
        try:
            return checking.ask(
                self.serving, self.by, given["way"], given["split"], given["url"].strip(), given["model"].strip()
            )
        except (Refused, evaluating.Refused) as refusal:
            self.add_error("url" if given["way"] == Way.SERVER and "address" in str(refusal) else None, str(refusal))
        return None
