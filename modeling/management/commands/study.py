from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from annotate.models import Project
from modeling.gpu.config import Config
from modeling.models import Dataset, Evaluation, Run, Study, StudyState
from modeling.studying import studies, told
from modeling.studying.studies import Plan
from modeling.training import runner, starting, training_presets

from .train import setting

WHICH = "Say what to study: --folds N or --shares .25,.5,1"


class Command(BaseCommand):
    help = "Several runs of one recipe as one job, here and now: folds, or growing shares. Ctrl-C stops it."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--project", metavar="SLUG")
        parser.add_argument("--dataset", metavar="NAME", help="the latest that is frozen, where none is named")
        parser.add_argument("--recipe", default="", help=", ".join(p.key for p in training_presets.available()))
        parser.add_argument("--base", default="", metavar="MODEL", help="tiny, a name on the hub, or a folder")
        parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", help="such as lr=1e-4")
        parser.add_argument("--folds", type=int, metavar="N", help="runs, each of which leaves out another part")
        parser.add_argument("--shares", metavar="SHARES", help="such as .1,.25,.5,1: of the train split, a run each")
        parser.add_argument("--seed", type=int, default=0, help="the same seed draws the same posts")
        parser.add_argument("--resume", type=int, metavar="STUDY")

    def handle(self, *args: Any, **options: Any) -> None:
        study = self.resumed(options["resume"]) if options["resume"] else self.started(options)
        self.stdout.write(f"{study}: {study.title}, {study.config['model']} on {study.dataset.name}")
        try:
            studies.carry_out(study, self.tell_run, self.tell_evaluation)
        except KeyboardInterrupt:
            studies.stop(study)
            raise CommandError(f"Stopped. Go on with: manage.py study --resume {study.pk}") from None
        finally:
            self.clear()
        if study.state != StudyState.DONE:
            how = study.error or f"It was {study.get_state_display().lower()}."
            raise CommandError(f"{how}\nGo on with: manage.py study --resume {study.pk}")
        self.stdout.write("\n".join(told.lines(study)))

    def started(self, options: dict[str, Any]) -> Study:
        project = Project.objects.filter(slug=options["project"] or "").first()
        if project is None:
            known = ", ".join(Project.objects.values_list("slug", flat=True)) or "none yet"
            raise CommandError(f"Which project? --project SLUG. There are: {known}.")
        try:
            dataset = dataset_in(project, options["dataset"])
            recipe = options["recipe"] or starting.usual_recipe(options["base"])
            config: Config = starting.configured(dataset, recipe, options["base"], dict(map(setting, options["set"])))
            return studies.start(project, None, dataset, config, recipe, plan_of(options), queue=False)
        except (starting.NotUnderstood, studies.Refused, runner.Refused) as error:
            raise CommandError(str(error)) from error

    def resumed(self, pk: int) -> Study:
        study = Study.objects.select_related("project", "dataset").filter(pk=pk).first()
        if study is None:
            raise CommandError(f"There is no study {pk}.")
        studies.resume(study)
        return study

    # --- While it goes

    def tell_run(self, run: Run) -> None:
        step = f", step {run.step:,} of {run.steps:,}" if run.steps else f", {run.doing}"
        self.line(f"{place(run)}{step}")

    def tell_evaluation(self, evaluation: Evaluation) -> None:
        of = f" {evaluation.done:,} of {evaluation.total:,}" if evaluation.done else ""
        self.line(f"{place(evaluation.run) if evaluation.run else 'all folds'}: {evaluation.doing}{of}")

    def line(self, words: str) -> None:
        if self.stderr.isatty():
            self.stderr.write(f"\r\x1b[K{words}", ending="")
            self.stderr.flush()

    def clear(self) -> None:
        if self.stderr.isatty():
            self.stderr.write("\r\x1b[K", ending="")


def place(run: Run) -> str:
    assert run.study is not None
    return f"part {run.study.parts.index(run.part) + 1} of {len(run.study.parts)} ({run.part_in_words})"


def dataset_in(project: Project, name: str | None) -> Dataset:
    frozen = project.datasets.frozen()
    dataset = frozen.filter(name=name).first() if name else frozen.first()
    if dataset is None:
        known = ", ".join(frozen.values_list("name", flat=True)) or "none: see `manage.py freeze`"
        raise CommandError(f"There is no frozen dataset {name or ''}. There are: {known}.")
    return dataset


def plan_of(options: dict[str, Any]) -> Plan:
    if bool(options["folds"]) == bool(options["shares"]):
        raise CommandError(WHICH)
    if options["folds"]:
        return Plan("folds", folds=options["folds"], seed=options["seed"])
    return Plan("curve", shares=studies.shares_in(options["shares"]), seed=options["seed"])
