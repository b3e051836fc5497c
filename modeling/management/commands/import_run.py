from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from modeling.models import Run
from modeling.training import bundle


class Command(BaseCommand):
    help = "Bring home what a bundle trained on another machine: its result.zip."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("run", type=int)
        parser.add_argument("path", type=Path)

    def handle(self, *args: Any, **options: Any) -> None:
        run = Run.objects.select_related("project", "dataset").filter(pk=options["run"]).first()
        if run is None:
            raise CommandError(f"There is no run {options['run']}.")
        if not options["path"].is_file():
            raise CommandError(f"There is no file at {options['path']}.")
        try:
            bundle.bring_home(run, options["path"])
        except bundle.NotOurs as error:
            raise CommandError(str(error)) from error
        self.stdout.write(f"Run {run.pk} is home.")
