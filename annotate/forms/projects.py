from collections import Counter
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, cast

from django import forms
from django.db import transaction
from django.db.models import CharField, Value
from django.db.models.functions import Cast, Concat
from django.http import QueryDict
from django_q.tasks import async_task

from annotate.colours import PALETTE
from annotate.funnel import held_by
from annotate.models import Event, Label, Project, User
from annotate.models.project import Rule, VotesShown
from annotate.project_presets import BLANK, Preset, available, make_project

if TYPE_CHECKING:  # Django's form classes take no parameters where they run
    ProjectFormBase = forms.ModelForm[Project]
    LabelFormBase = forms.ModelForm[Label]
    LabelFormSetBase = forms.BaseInlineFormSet[Label, Project, "LabelForm"]
else:
    ProjectFormBase = LabelFormBase = forms.ModelForm
    LabelFormSetBase = forms.BaseInlineFormSet


class NewProjectForm(forms.Form):
    name = forms.CharField(max_length=80)
    preset = forms.ChoiceField(label="Start from", required=False, widget=forms.RadioSelect)
    question = forms.CharField(
        max_length=300,
        required=False,
        help_text="What is asked about each post. Left empty, the preset's own question.",
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.presets = [*available(), BLANK]
        self.initial.setdefault("preset", self.presets[0].key)
        cast(forms.ChoiceField, self.fields["preset"]).choices = [(preset.key, preset.name) for preset in self.presets]

    @property
    def options(self) -> Iterator[tuple[forms.boundfield.BoundWidget, Preset]]:
        return zip(self["preset"].subwidgets, self.presets, strict=True)

    def clean(self) -> None:
        if not self.cleaned_data.get("preset") and not self.cleaned_data.get("question"):
            self.add_error("question", "A blank project needs a question: what is asked about each post?")

    def make(self, by: User) -> Project:
        given = self.cleaned_data
        return make_project(given["preset"], given["name"], by, question=given["question"])


class PercentField(forms.FloatField):
    """A share, written and read as a percentage."""

    def __init__(self, most: float = 1, **options: Any) -> None:
        told = {"min_value": "This share is at least 0%%.", "max_value": f"This share is at most {100 * most:g}%%."}
        self.most = 100 * most
        super().__init__(min_value=0, max_value=most, error_messages=told, **options)

    def widget_attrs(self, widget: forms.Widget) -> dict[str, Any]:
        return {"min": 0, "max": f"{self.most:g}", "step": "any"}

    def prepare_value(self, value: Any) -> Any:
        return f"{100 * value:g}" if isinstance(value, float) else value

    def to_python(self, value: Any) -> float | None:  # type: ignore[override]
        share = super().to_python(value)
        return None if share is None else share / 100


class Prose(forms.CharField):
    """A browser ends each line with two signs, and Django leaves out the last end. Then whoever only pressed Save would
    have given the voters other words."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options, strip=False)

    def to_python(self, value: Any) -> str:
        written = str(super().to_python(value)).replace("\r\n", "\n").replace("\r", "\n")
        return written if written.strip() else ""

    def has_changed(self, initial: Any, data: Any) -> bool:
        """What stands there may have been stored with either end of a line."""
        return super().has_changed(self.to_python(initial), data)


# What each rule does, for whoever chooses one.
RULES = {
    Rule.ALL: "One that differs or abstains makes the post contested. The safest, and the most work for people.",
    Rule.MAJORITY: "More than half of all who voted; an abstention counts against every label. "
    "With two voters, both must agree.",
    Rule.WEIGHTED: "A model of who errs how (Dawid and Skene) is fitted on all votes, again after each run. "
    "With two voters, both must agree.",
}
# When the machines' votes are shown, for whoever chooses.
SHOWN = {
    VotesShown.ASKED: "A key on the review screen shows them. Who had seen which votes is stored with each answer.",
    VotesShown.START: "Quicker, and people follow what they see. Audits, known answers and posts for two people "
    "stay blind.",
    VotesShown.AFTER: "Nobody is swayed, and everybody learns how the machines voted.",
}
SETTLES = {"consensus", "least_confidence", "audit_rate"}  # a change of these looks at every voted post again


class ProjectForm(ProjectFormBase):
    audit_rate = PercentField(
        label="Audited blind, in %",
        help_text="Of the posts that voters settle, this share goes to people as if it were contested. "
        "Only that tells how wrong the settled labels are.",
    )
    double_rate = PercentField(
        label="Decided by two people, in %",
        help_text="Of the posts contested from now on, blind to each other; where they differ, a lead decides. "
        "Audits always want two.",
    )
    check_rate = PercentField(
        most=0.5,
        label="Known answers slipped in, in %",
        help_text="Posts of the locked test set, unmarked among the others: they tell how well each person decides. "
        "0 takes them away.",
    )

    class Meta:
        model = Project
        fields = (
            "name", "question", "guidelines", "asks_incongruous", "consensus", "least_confidence", "audit_rate",
            "votes_shown", "hide_voters", "double_rate", "check_rate",
        )  # fmt: skip
        field_classes = {"guidelines": Prose}
        labels = {
            "guidelines": "What tells the labels apart",
            "consensus": "The label stands where",
            "least_confidence": "Least confidence",
            "votes_shown": "Reviewers see the machines' votes",
        }
        help_texts = {
            "guidelines": "Markdown, with examples of the hard cases.",
            "consensus": "",
            "votes_shown": "",
            "hide_voters": "Voters are then called A, B and so on, in another order for every post.",
            "least_confidence": "From 0 to 1. A voter that says it is less sure than this makes the post contested. "
            "Blank: confidence does not matter.",
        }
        widgets = {
            "guidelines": forms.Textarea(attrs={"rows": 12, "class": "guidelines"}),
            "consensus": forms.RadioSelect,
            "votes_shown": forms.RadioSelect,
            "least_confidence": forms.NumberInput(attrs={"min": 0, "max": 1, "step": "any"}),
        }

    def clean_guidelines(self) -> str:
        """Untouched they stay to the sign as they are stored, for their every sign is part of what voters are asked."""
        name = "guidelines"
        written: str = self.cleaned_data[name] if name in self.changed_data else self.initial[name]
        return written

    @property
    def rules(self) -> Iterator[tuple[forms.boundfield.BoundWidget, str]]:
        return zip(self["consensus"].subwidgets, (RULES[rule] for rule in Rule), strict=True)

    @property
    def moments(self) -> Iterator[tuple[forms.boundfield.BoundWidget, str]]:
        return zip(self["votes_shown"].subwidgets, (SHOWN[moment] for moment in VotesShown), strict=True)


class LabelForm(LabelFormBase):
    class Meta:
        model = Label
        fields = ("name", "key", "colour", "meaning", "position")
        labels = {"position": "Order"}
        widgets = {
            "name": forms.TextInput(attrs={"autocomplete": "off"}),
            "key": forms.TextInput(attrs={"autocomplete": "off", "autocapitalize": "off", "data-key": ""}),
            "colour": forms.TextInput(attrs={"type": "color"}),
            "meaning": forms.Textarea(attrs={"rows": 1}),
            "position": forms.NumberInput(attrs={"min": 0, "inputmode": "numeric"}),
        }

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["position"].required = False
        if not self.instance.pk:
            self.initial["position"] = None

    def has_changed(self) -> bool:
        """A new row in which only the colour was touched is still a blank row."""
        return bool(set(self.changed_data) - {"colour"}) if not self.instance.pk else super().has_changed()

    def clean_key(self) -> str:
        key: str = self.cleaned_data["key"]
        return key.lower()

    def clean_position(self) -> int:
        """A row without a number goes to the end."""
        position: int | None = self.cleaned_data["position"]
        return 32767 if position is None else position

    def validate_constraints(self) -> None:
        """The rows are compared with each other, because two labels may swap their names or keys in one save."""


class LabelFormSet(LabelFormSetBase):
    palette = ",".join(PALETTE)

    def add_fields(self, form: LabelForm, index: int | None) -> None:
        super().add_fields(form, index)
        if not form.instance.pk:
            form.initial["colour"] = PALETTE[(index or 0) % len(PALETTE)]

    @property
    def gone(self) -> list[LabelForm]:
        return [row for row in self.forms if row.instance.pk and row.cleaned_data.get("DELETE")]

    @property
    def kept(self) -> list[LabelForm]:
        """In the order asked for, less the rows that were left blank."""
        filled = [row for row in self.forms if row.has_changed() or row.instance.pk]
        staying = [row for row in filled if not row.cleaned_data.get("DELETE")]
        return sorted(staying, key=lambda row: row.cleaned_data.get("position", 0))

    def clean(self) -> None:
        self.forbid_twins("name")
        self.forbid_twins("key")
        held = [(row.initial["name"], held_by(row.instance)) for row in self.gone]
        told = [f"“{name}” cannot be removed: it stands on {by}. Rename it instead." for name, by in held if by]
        if told:
            raise forms.ValidationError(told)

    def forbid_twins(self, field: str) -> None:
        """Among the rows, and with any label that somebody added while this page was open."""
        mine = [row.instance.pk for row in self.forms if row.instance.pk]
        others = self.instance.labels.exclude(pk__in=mine).values_list(field, flat=True)
        values = [*others, *(row.cleaned_data.get(field, "") for row in self.kept)]
        count = Counter(value.lower() for value in values if value)
        for row in self.kept:
            value = row.cleaned_data.get(field, "")
            if count[value.lower()] > 1:
                row.add_error(field, f"Another label has the {field} “{value}”.")

    @transaction.atomic
    def save_all(self) -> None:
        for row in self.gone:
            row.instance.delete()
        self.step_aside()
        for position, row in enumerate(self.kept, 1):
            row.instance.position = position
            row.instance.save()

    def step_aside(self) -> None:
        """Free these names and keys for a moment, so that labels can swap them: the database checks row by row."""
        mine = self.instance.labels.filter(pk__in=[row.instance.pk for row in self.kept if row.instance.pk])
        mine.update(key="", name=Concat(Value("~"), Cast("pk", CharField())))


LabelRows = forms.inlineformset_factory(
    Project, Label, form=LabelForm, formset=LabelFormSet, extra=2, max_num=100, absolute_max=200, can_delete=True
)


def label_rows(project: Project, data: QueryDict | None = None) -> LabelFormSet:
    return cast(LabelFormSet, LabelRows(data, instance=project, prefix="labels"))


@transaction.atomic
def save(form: ProjectForm, rows: LabelFormSet, by: User) -> Project:
    changed = list(form.changed_data) + (["labels"] if rows.has_changed() else [])
    project = form.save()
    if rows.has_changed():
        rows.save_all()
    if changed:
        Event.record("settings changed", user=by, project=project, changed=changed)
    if SETTLES & set(changed):
        async_task("annotate.tasks.settle_project", project.pk)
    if "check_rate" in changed:
        async_task("annotate.tasks.change_checks", project.pk)
    return project
