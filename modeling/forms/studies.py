"""A study as a form: that of a run, and beside it what is to be learnt from in each part."""

from typing import Any

from django import forms
from django.http import QueryDict
from django.utils.http import urlencode

from annotate.models import Project, User
from modeling.models import MOST_PARTS, Study, StudyKind
from modeling.studying import reckoning, studies
from modeling.studying.reckoning import Reckoned
from modeling.studying.studies import Plan
from modeling.training import runner, starting

from .runs import RunForm, filled_in

USUAL = {"kind": "folds", "folds": "5", "shares": "0.1, 0.25, 0.5, 1", "draw": "0"}
KINDS = (
    (StudyKind.FOLDS, "Folds: every post is asked about once, by a run that has not seen it"),
    (StudyKind.CURVE, "Learning curve: the same recipe on growing shares of the train split"),
)


class StudyForm(RunForm):
    def __init__(self, data: QueryDict, *, project: Project, by: User, whole: bool = False) -> None:
        self.plan: Plan | None = None
        super().__init__(data, project=project, by=by, whole=whole)
        self.fields |= {
            "kind": forms.ChoiceField(label="What is studied", choices=KINDS, widget=forms.RadioSelect),
            "folds": forms.IntegerField(
                label="Folds", required=False, min_value=studies.FEWEST_FOLDS, max_value=MOST_PARTS,
                help_text=f"A run each: {studies.FEWEST_FOLDS} to {MOST_PARTS}.",
            ),
            "shares": forms.CharField(
                label="Shares", required=False, max_length=200, widget=forms.TextInput({"autocomplete": "off"}),
                help_text="A run each, such as 0.1, 0.25, 0.5, 1. The last two tell whether more posts still help.",
            ),
            "draw": forms.IntegerField(
                label="Draw", min_value=0, max_value=2**31 - 1,
                help_text="The same number draws the same posts for each part.",
            ),
        }  # fmt: skip

    def completed(self, data: QueryDict) -> QueryDict:
        whole = super().completed(data)
        for name, value in USUAL.items():
            whole.setdefault(name, value)
        return whole

    @property
    def kept(self) -> str:
        """What another recipe leaves as it is."""
        given = {name: self.data.get(name, "") for name in USUAL}
        return f"&{urlencode(given)}"

    @property
    def studied(self) -> list[Any]:
        return [self[name] for name in ("folds", "shares", "draw")]

    def clean(self) -> None:
        super().clean()
        given = self.cleaned_data
        if "kind" not in given or "draw" not in given:
            return
        try:
            self.plan = self.planned(given)
            problem = self.learns_from and studies.problem_with_dataset(self.learns_from, self.plan)
        except studies.Refused as refusal:
            problem = str(refusal)
        if problem:
            self.add_error("folds" if given["kind"] == StudyKind.FOLDS else "shares", problem)

    def planned(self, given: dict[str, Any]) -> Plan:
        if given["kind"] == StudyKind.FOLDS:
            return Plan(StudyKind.FOLDS, folds=given.get("folds") or 0, seed=given["draw"])
        return Plan(StudyKind.CURVE, shares=studies.shares_in(given.get("shares", "")), seed=given["draw"])

    @property
    def reckoned(self) -> Reckoned | None:
        if self.errors or self.config is None or self.plan is None or self.learns_from is None:
            return None
        return reckoning.reckon(self.config, self.learns_from, self.plan)

    @property
    def query(self) -> str:
        asked = {name: str(self.cleaned_data.get(name, "")) for name in USUAL}
        differs = urlencode({name: value for name, value in asked.items() if value not in (USUAL[name], "None")})
        return f"{super().query}&{differs}" if differs else super().query

    def begin(self) -> Study | None:
        """None where it is refused; the form then says why."""
        assert self.config is not None
        assert self.plan is not None
        assert self.learns_from is not None
        try:
            return studies.begin(self.project, self.by, self.learns_from, self.config, self.preset.key, self.plan)
        except (studies.Refused, runner.Refused, starting.NotUnderstood) as refusal:
            self.add_error(None, str(refusal))
        return None


def like(study: Study) -> str:
    """The address of a form filled in as that study was."""
    asked = {"kind": study.kind, "draw": str(study.seed)}
    if study.of_folds:
        asked["folds"] = str(len(study.parts))
    else:
        asked["shares"] = ", ".join(f"{part['share']:g}" for part in study.parts)
    return f"{filled_in(study.dataset, study.recipe, study.config)}&{urlencode(asked)}"
