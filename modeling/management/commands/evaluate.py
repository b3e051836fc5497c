from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from annotate.models import Project
from modeling.evaluation import evaluating, predictors, told
from modeling.models import Evaluation, JobState, Sees, Split


class Command(BaseCommand):
    help = "Ask a predictor about posts whose labels are known, and measure it."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--project", required=True, help="slug")
        names = "run-N, base:MODEL, consensus, majority, text, text-cv, or the name of a voter"
        parser.add_argument("--predictor", required=True, metavar="NAME", help=names)
        parser.add_argument("--on", default=Split.HOLDOUT, choices=[Split.HOLDOUT, Split.TEST, Split.VALIDATION])
        parser.add_argument("--dataset", help="its name; the latest frozen one otherwise")
        parser.add_argument("--sees", default=Sees.BOTH, choices=list(Sees.values))
        parser.add_argument("--bits", type=int, default=0, choices=[0, 4, 8, 16], help="0: as it was trained")
        parser.add_argument("--merged", action="store_true", help="the adapter added to the weights before asking")
        parser.add_argument("--shots", type=int, default=0, help="examples of each label shown before each post")
        parser.add_argument("--recipe", default="", help="of a base model: classifier for one of the hub that sees")
        parser.add_argument("--batch", type=int, default=16)
        parser.add_argument("--format", choices=told.FORMATS, default="words")

    def handle(self, *args: Any, **options: Any) -> None:
        evaluation = self.asked(options)
        try:
            evaluating.carry_out(evaluation, self.progress)
        finally:
            if self.stderr.isatty():
                self.stderr.write("")
        if evaluation.state != JobState.DONE:
            raise CommandError(evaluation.error or f"It was {evaluation.get_state_display().lower()}.")
        for part in told.parts(evaluation, options["format"]):
            self.stdout.write(part, ending="")

    def asked(self, options: dict[str, Any]) -> Evaluation:
        project = Project.objects.filter(slug=options["project"]).first()
        if project is None:
            raise CommandError(f"There is no project {options['project']}.")
        frozen = project.datasets.frozen()
        dataset = frozen.filter(name=options["dataset"]).first() if options["dataset"] else frozen.first()
        if dataset is None:
            raise CommandError("There is no such frozen dataset. Freeze one first.")
        try:
            named = predictors.named(project, options["predictor"])
            changes = {name: options[name] for name in ("bits", "merged", "shots", "batch", "recipe")}
            predictor = predictors.changed(named, **changes)
            return evaluating.ask(project, None, dataset, options["on"], predictor, options["sees"], queue=False)
        except (predictors.Unknown, evaluating.Refused) as refusal:
            raise CommandError(str(refusal)) from refusal

    def progress(self, evaluation: Evaluation) -> None:
        if self.stderr.isatty():
            of = f" {evaluation.done:,} of {evaluation.total:,}" if evaluation.done else ""
            self.stderr.write(f"\r\033[K{evaluation.doing}{of}", ending="")
            self.stderr.flush()
