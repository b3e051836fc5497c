"""Whoever can be asked for the labels of posts: models as they were trained or are, voters, consensus, baselines."""

from dataclasses import dataclass, fields, replace
from typing import Any, Literal, Self, get_args

from annotate.models import Project, Voter
from modeling.gpu.ask import BITS, MOST_SHOWN
from modeling.models import Cascade, Run, RunState, Study
from modeling.training import training_presets

Kind = Literal["run", "base", "voter", "consensus", "majority", "text", "text-cv", "folds", "cascade"]
KINDS: tuple[Kind, ...] = get_args(Kind)
BY_MODEL = frozenset({"run", "base"})  # loaded and asked by a process, on a card where there is one
BATCH = 16  # posts at once
TITLES = {
    "consensus": "Consensus of the voters",
    "majority": "Always the commonest label",
    "text": "Words alone, TF-IDF",
    "text-cv": "Words alone, cross-validated on these posts",
}


class Unknown(Exception):
    """There is no such predictor; the words are for whoever asked."""


@dataclass(frozen=True)
class Predictor:
    kind: Kind
    run: int = 0
    voter: int = 0
    study: int = 0  # each post by the run of it that had not seen it
    cascade: int = 0  # a cheap first stage, and a run where that is unsure
    model: str = ""  # of a base: tiny, a name on the hub, or a folder
    revision: str = ""
    trust_remote_code: bool = False
    recipe: str = ""  # of a base that does not tell how it is asked, as a classifier on the hub
    bits: int = 0  # a weight; 0: as it was trained
    merged: bool = False
    shots: int = 0  # examples of each label, shown before each post
    batch: int = BATCH  # changes nobody's answer: the same predictor, whatever it is

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise Unknown(f"“{self.kind}” is no kind of predictor; there are {', '.join(KINDS)}.")
        if self.recipe and (self.kind != "base" or not training_presets.is_known(self.recipe)):
            raise Unknown(f"“{self.recipe}” is no recipe, or whom you ask has one: it is told of a base model alone.")
        if self.bits not in BITS:
            raise Unknown("A weight is asked for with 4, 8 or 16 bits, or as it was trained (0).")
        if not 0 <= self.shots <= MOST_SHOWN:
            raise Unknown(f"From 0 to {MOST_SHOWN} examples of each label can be shown.")

    @classmethod
    def from_json(cls, stored: dict[str, Any]) -> Self:
        known = {f.name for f in fields(cls)}
        if unknown := sorted(set(stored) - known):
            raise Unknown(f"“{unknown[0]}” is nothing that a predictor has.")
        return cls(**stored)

    def as_json(self) -> dict[str, Any]:
        """Only what differs from what is usual, so that the same predictor has the same key tomorrow."""
        return {f.name: getattr(self, f.name) for f in fields(self) if getattr(self, f.name) != f.default}

    @property
    def needs_model(self) -> bool:
        return self.kind in BY_MODEL


def title(predictor: Predictor, project: Project) -> str:
    """As it stands in every list."""
    if predictor.kind == "voter":
        return str(voter_of(predictor, project))
    if predictor.kind == "run":
        run = run_of(predictor, project)
        part = f", {run.part_in_words}" if run.part else ""
        return ", ".join([f"{run} ({short(run.config['model'])}, {run.dataset.name}{part})", *how(predictor)])
    if predictor.kind == "folds":
        study = study_of(predictor, project)
        return f"Runs like {short(study.config['model'])} on {study.dataset.name}, {study.title} ({str(study).lower()})"
    if predictor.kind == "cascade":
        cascade = cascade_of(predictor, project)
        return f"{cascade} (asked below {cascade.threshold or 0:g})"
    if predictor.kind == "base":
        as_it_came = "as it is" if predictor.recipe else "untrained"
        return ", ".join([f"{short(predictor.model)} {as_it_came}", *how(predictor)])
    return TITLES[predictor.kind]


def how(predictor: Predictor) -> list[str]:
    examples = f"{predictor.shots} example{'s' * (predictor.shots > 1)} a label"
    return [
        *([examples] if predictor.shots else []), *([f"{predictor.bits} bits"] if predictor.bits else []),
        *(["merged"] if predictor.merged else []),
    ]  # fmt: skip


def short(model: str) -> str:
    return model.rstrip("/").rpartition("/")[2]


def run_of(predictor: Predictor, project: Project) -> Run:
    run = Run.objects.select_related("dataset", "project").filter(project=project, pk=predictor.run).first()
    if run is None:
        raise Unknown(f"There is no run {predictor.run} in this project.")
    return run


def study_of(predictor: Predictor, project: Project) -> Study:
    study = project.studies.select_related("dataset", "project").filter(pk=predictor.study).first()
    if study is None:
        raise Unknown(f"There is no study {predictor.study} in this project.")
    return study


def cascade_of(predictor: Predictor, project: Project) -> Cascade:
    found = project.cascades.select_related("voter", "run", "second", "dataset__project")
    cascade = found.filter(pk=predictor.cascade).first()
    if cascade is None:
        raise Unknown(f"There is no cascade {predictor.cascade} in this project.")
    return cascade


def voter_of(predictor: Predictor, project: Project) -> Voter:
    voter = Voter.objects.filter(project=project, pk=predictor.voter).first()
    if voter is None:
        raise Unknown("There is no such voter in this project.")
    return voter


def named(project: Project, name: str) -> Predictor:
    """As commands and programs write it: run-3, cascade-2, base:OWNER/MODEL, consensus and its like, or a voter."""
    if name in TITLES:
        return Predictor(name)  # type: ignore[arg-type]
    if name.startswith("run-") and name[4:].isdecimal():
        predictor = Predictor("run", run=int(name[4:]))
        run_of(predictor, project)
        return predictor
    if name.startswith("base:") and len(name) > 5:
        return Predictor("base", model=name[5:])
    if name.startswith("cascade-") and name[8:].isdecimal():
        predictor = Predictor("cascade", cascade=int(name[8:]))
        cascade_of(predictor, project)
        return predictor
    voter = Voter.objects.filter(project=project, name=name).first()
    if voter is None:
        voters = ", ".join(Voter.objects.filter(project=project).values_list("name", flat=True)[:10])
        raise Unknown(
            f"“{name}” is no predictor: write run-N, base:MODEL, cascade-N, {', '.join(TITLES)}, or the name of a voter"
            f"{f' ({voters})' if voters else ''}."
        )
    return Predictor("voter", voter=voter.pk)


def changed(predictor: Predictor, **changes: Any) -> Predictor:
    """Asked in another way than is usual. What makes no difference to who answers is left as it is."""
    return replace(predictor, **(changes if predictor.needs_model else {}))


def offered(project: Project) -> list[Predictor]:
    """All that can be asked at once, the latest runs first and the baselines last: what a page lists."""
    runs = Run.objects.filter(project=project, state=RunState.DONE, study=None).order_by("-pk")[:50]
    voters = Voter.objects.filter(project=project, retired=None)
    cascades = Cascade.objects.filter(project=project).usable()[:50]
    several = [Predictor("consensus")] if len(voters) > 1 else []
    return [
        *(Predictor("run", run=run.pk) for run in runs), *(Predictor("cascade", cascade=one.pk) for one in cascades),
        *(Predictor("voter", voter=voter.pk) for voter in voters),
        *several, Predictor("majority"), Predictor("text"), Predictor("text-cv"),
    ]  # fmt: skip
