"""Who is asked about which posts, and how: one press queues all of it."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

from django import forms
from django.core.exceptions import ValidationError
from django.db import transaction
from django.http import QueryDict

from annotate.models import LabelSource, Project, User, Voter
from modeling.evaluation import evaluating, predictors
from modeling.evaluation.predictors import Predictor, Unknown
from modeling.gpu import tiny
from modeling.gpu.ask import MOST_SHOWN
from modeling.models import Cascade, Dataset, Evaluation, JobState, On, Run, Sees, StudyKind
from modeling.training import starting

TESTED = (On.HOLDOUT, On.TEST, On.VALIDATION)
POOLED = (On.TRAIN, On.VALIDATION, On.TEST)
BITS_WORDS = {0: "as it was trained", 4: "4 bits", 8: "8 bits", 16: "16 bits"}
SAYS = {
    "consensus": "What the voters agree on, as posts are settled now.",
    "majority": "The commonest label of the train split, whatever the post. Whoever does no better has learnt nothing.",
    "text": "TF-IDF and logistic regression on the words of the train split.",
    "text-cv": "The same, learnt from these very posts, each time without those that it is asked about.",
}


class Offer(NamedTuple):
    """A predictor that can be ticked."""

    key: str
    name: str
    says: str
    ticked: bool
    predictor: Predictor


@dataclass(frozen=True)
class Place:
    """Posts to ask about."""

    key: str
    dataset: Dataset
    split: On
    posts: int
    to_calibrate: int

    @property
    def name(self) -> str:
        posts = f"{self.posts:,} post{'s' if self.posts > 1 else ''}"
        if self.split == On.POOL:
            return f"{self.dataset.name}, all folds of its studies: {posts}, for whoever has not learnt from them"
        return f"{self.dataset.name}, {self.split.label.lower()}: {posts}"


class EvaluationForm(forms.Form):
    sees = forms.MultipleChoiceField(
        label="What a model sees", choices=Sees.choices, widget=forms.CheckboxSelectMultiple,
        help_text="Asked three ways, it shows what it leans on. Whoever is no model is asked once, as it is.",
        error_messages={"required": "Say what a model sees."},
    )  # fmt: skip
    bits = forms.ChoiceField(label="Bits a weight", required=False, choices=list(BITS_WORDS.items()))
    merged = forms.BooleanField(
        label="Merged", required=False,
        help_text="What a run learnt is added to the weights first, as it would be served.",
    )  # fmt: skip
    shots = forms.IntegerField(
        label="Examples of each label", required=False, min_value=0, max_value=MOST_SHOWN,
        help_text="Shown before each post, from the train split alone.",
    )  # fmt: skip
    model = forms.CharField(
        label="A base model as it is", required=False, max_length=300,
        help_text="Untrained, with the same prompt: a name on the hub, a folder, or tiny.",
        widget=forms.TextInput(attrs={"list": "models", "autocomplete": "off", "spellcheck": "false"}),
    )  # fmt: skip
    revision = forms.CharField(label="Revision", required=False, max_length=80, help_text="Blank: the latest.")
    trust_remote_code = forms.BooleanField(
        label="Run the model’s own code", required=False, help_text="Only site admins may, after they have read it."
    )

    def __init__(self, data: QueryDict | None, *, project: Project, by: User, asked: QueryDict | None = None) -> None:
        self.project, self.by = project, by
        self.asked = data if data is not None else asked or QueryDict()
        self.wanted: list[tuple[Predictor, str]] = []
        initial = {"sees": [Sees.BOTH], "bits": 0, "shots": 0, "model": self.asked.get("model", "")}
        super().__init__(data, initial=initial)
        on: Any = forms.ChoiceField(label="Posts", choices=[(one.key, one.name) for one in self.places])
        on.error_messages = {"invalid_choice": "No frozen dataset has such posts.", "required": "Say which posts."}
        on.initial = self.chosen_place.key if self.chosen_place else None
        self.fields["on"] = on

    # --- As the page shows it

    @cached_property
    def places(self) -> list[Place]:
        """The latest dataset first, and of each the locked test set first."""
        found = []
        pooled = set(self.project.studies.filter(kind=StudyKind.FOLDS).values_list("dataset", flat=True))
        for dataset in self.project.datasets.frozen().select_related("project").defer("facts", "told"):
            splits = dataset.composition["splits"]
            spare = splits[On.VALIDATION]["posts"]
            for split in TESTED:
                if posts := splits[split]["posts"]:
                    calibrates = 0 if split == On.VALIDATION else spare
                    found.append(Place(f"{dataset.name}:{split}", dataset, split, posts, calibrates))
            if dataset.pk in pooled:
                posts = sum(
                    splits[split]["posts"] - splits[split]["sources"].get(LabelSource.MODEL, 0) for split in POOLED
                )
                found.append(Place(f"{dataset.name}:{On.POOL}", dataset, On.POOL, posts, 0))
        return found

    @property
    def chosen_place(self) -> Place | None:
        wanted = self.asked.get("on", "")
        return next((one for one in self.places if one.key == wanted), self.places[0] if self.places else None)

    @cached_property
    def offers(self) -> list[Offer]:
        ticked = set(self.asked.getlist("predictor"))
        offered = predictors.offered(self.project)
        runs = Run.objects.select_related("dataset").in_bulk([one.run for one in offered if one.run])
        voters = Voter.objects.in_bulk([one.voter for one in offered if one.voter])
        cascades = Cascade.objects.in_bulk([one.cascade for one in offered if one.cascade])
        return [offer(one, runs, voters, cascades, ticked) for one in offered]

    @property
    def models(self) -> list[Offer]:
        return [one for one in self.offers if one.predictor.needs_model]

    @property
    def others(self) -> list[Offer]:
        return [one for one in self.offers if not one.predictor.needs_model]

    # --- What is asked for

    def clean(self) -> None:
        given = self.cleaned_data
        place = next((one for one in self.places if one.key == given.get("on")), None)
        if self.errors or place is None:
            return
        problems: list[str] = []
        for predictor in self.named(problems):
            ways = given["sees"] if predictor.needs_model else [Sees.BOTH]
            for sees in ways:
                try:
                    self.check(place, predictor, sees)
                    self.wanted.append((predictor, sees))
                except (evaluating.Refused, Unknown) as refusal:
                    problems.append(str(refusal))
        if not self.wanted and not problems:
            problems.append("Tick somebody to ask, or name a base model.")
        if problems:
            raise ValidationError(list(dict.fromkeys(problems)))

    def named(self, problems: list[str]) -> Iterator[Predictor]:
        given, ticked = self.cleaned_data, set(self.asked.getlist("predictor"))
        known = {one.key: one.predictor for one in self.offers}
        problems += [f"“{key[:60]}” is not offered here." for key in sorted(ticked - known.keys())]
        changes = {"bits": int(given["bits"] or 0), "shots": given["shots"] or 0}
        for key in [key for key in known if key in ticked]:
            merged = given["merged"] and known[key].kind == "run"
            yield predictors.changed(known[key], **changes, merged=merged)
        if model := given["model"].strip():
            code = given["trust_remote_code"]
            base = Predictor("base", model=model, revision=given["revision"].strip(), trust_remote_code=code)
            if problem := problem_with(base, self.by):
                problems.append(problem)
            else:
                yield predictors.changed(base, **changes)

    def check(self, place: Place, predictor: Predictor, sees: str) -> None:
        evaluating.check(self.project, place.dataset, place.split, predictor, sees)
        at_work = Evaluation.objects.filter(
            dataset=place.dataset, split=place.split, key=Evaluation.key_of(predictor.as_json(), Sees(sees)),
            state__in=[JobState.QUEUED, JobState.RUNNING],
        )  # fmt: skip
        if at_work.exists():
            raise evaluating.Refused(f"{predictors.title(predictor, self.project)} is being asked about these already.")

    def ask(self) -> list[Evaluation]:
        """All of it, or nothing."""
        place = next(one for one in self.places if one.key == self.cleaned_data["on"])
        project, by, made = self.project, self.by, []
        with transaction.atomic():
            for predictor, sees in self.wanted:
                made.append(evaluating.ask(project, by, place.dataset, place.split, predictor, sees))
        return made


def problem_with(base: Predictor, by: User) -> str:
    """As when one is trained; blank where there is none."""
    if base.trust_remote_code and not by.is_superuser:
        return starting.NO_CODE_OF_OTHERS
    return starting.problem_with_model(base.model)


def offer(
    one: Predictor, runs: dict[int, Run], voters: dict[int, Voter], cascades: dict[int, Cascade], ticked: set[str]
) -> Offer:
    """In words without asking the database about each."""
    if one.kind == "run":
        run = runs[one.run]
        of = f"{predictors.short(run.config['model'])}, trained on {run.dataset.name}"
        tiny_one = " It is no real model." if run.config["model"] == tiny.NAME else ""
        return Offer(f"run-{run.pk}", str(run), f"{of}.{tiny_one}", f"run-{run.pk}" in ticked, one)
    if one.kind == "cascade":
        key, says = f"cascade-{one.cascade}", "What its stages have said of those posts; they were asked before."
        return Offer(key, str(cascades[one.cascade]), says, key in ticked, one)
    if one.kind == "voter":
        voter = voters[one.voter]
        key = f"voter-{voter.pk}"
        return Offer(key, str(voter), "What it voted, on those posts on which it did.", key in ticked, one)
    return Offer(one.kind, predictors.TITLES[one.kind], SAYS[one.kind], one.kind in ticked, one)
