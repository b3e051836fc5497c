import json
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from annotate.models import Project
from modeling.models import Run, RunState
from modeling.training import run_folder, runner, starting, training_presets


class Command(BaseCommand):
    help = "Fine-tune a base model on a dataset, here and now. Ctrl-C saves a checkpoint; --resume goes on from it."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--project", metavar="SLUG")
        parser.add_argument("--dataset", metavar="NAME", help="the latest that is frozen, where none is named")
        parser.add_argument("--recipe", default="", help=", ".join(p.key for p in training_presets.available()))
        parser.add_argument("--base", default="", metavar="MODEL", help="tiny, a name on the hub, or a folder")
        parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", help="such as lr=1e-4")
        parser.add_argument("--resume", type=int, metavar="RUN")

    def handle(self, *args: Any, **options: Any) -> None:
        run = self.resumed(options["resume"]) if options["resume"] else self.started(options)
        self.stdout.write(f"Run {run.pk}: {run.config['model']} on {run.dataset.name}, in {run_folder.folder_of(run)}")
        try:
            if not runner.carry_out(run, self.tell):
                raise CommandError("Somebody else is working on this run.")
        except KeyboardInterrupt:
            raise CommandError(f"Stopped. Go on with: manage.py train --resume {run.pk}") from None
        self.conclude(run)

    def started(self, options: dict[str, Any]) -> Run:
        project = Project.objects.filter(slug=options["project"] or "").first()
        if project is None:
            known = ", ".join(Project.objects.values_list("slug", flat=True)) or "none yet"
            raise CommandError(f"Which project? --project SLUG. There are: {known}.")
        frozen = project.datasets.frozen()
        dataset = frozen.filter(name=options["dataset"]).first() if options["dataset"] else frozen.first()
        if dataset is None:
            known = ", ".join(frozen.values_list("name", flat=True)) or "none: see `manage.py freeze`"
            raise CommandError(f"There is no frozen dataset {options['dataset'] or ''}. There are: {known}.")
        try:
            changes = dict(map(setting, options["set"]))
            recipe = options["recipe"] or starting.usual_recipe(options["base"])
            config = starting.configured(dataset, recipe, options["base"], changes)
            return runner.start(project, None, dataset, config, recipe, queue=False)
        except (starting.NotUnderstood, runner.Refused) as error:
            raise CommandError(str(error)) from error

    def resumed(self, pk: int) -> Run:
        run = Run.objects.select_related("project", "dataset").filter(pk=pk).first()
        if run is None:
            raise CommandError(f"There is no run {pk}.")
        Run.objects.filter(pk=pk, state__in=runner.MAY_RESUME).update(state=RunState.QUEUED)
        return run

    def tell(self, run: Run) -> None:
        if not self.stderr.isatty():
            return
        if not run.steps:
            told = run.doing
        else:
            done = round(30 * run.step / run.steps)
            score = f", macro F1 {run.scores['macro_f1']:.3f}" if run.scores else ""
            bar = "█" * done + "·" * (30 - done)
            told = f"{bar} {run.step}/{run.steps}, loss {run.latest.get('loss', 0):.3f}{score}"
        self.stderr.write(f"\r\x1b[K{told}", ending="")

    def conclude(self, run: Run) -> None:
        if self.stderr.isatty():
            self.stderr.write("\r\x1b[K", ending="")
        if run.state != RunState.DONE:
            raise CommandError(run.error or f"Stopped. Go on with: manage.py train --resume {run.pk}")
        scores = f" Best on validation: macro F1 {run.scores['macro_f1']:.3f}." if run.scores else ""
        self.stdout.write(f"Done in {run.receipt['seconds']:.0f} s.{scores}")


def setting(told: str) -> tuple[str, Any]:
    name, _, value = told.partition("=")
    try:
        return name.strip(), json.loads(value)
    except (ValueError, RecursionError):
        return name.strip(), value
