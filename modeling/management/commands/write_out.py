from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from annotate.models import Project
from modeling.models import Form, JobState, Run, Serving
from modeling.serving import commands, writing
from modeling.serving.at_work import Refused


class Command(BaseCommand):
    help = "Write out what a run made as a folder that vLLM or transformers loads, here and now."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--project", required=True, metavar="SLUG")
        parser.add_argument("--run", required=True, type=int, metavar="N")
        parser.add_argument("--form", default=Form.MERGED, choices=list(Form.values))
        parser.add_argument("--to", default="", metavar="FOLDER", help="an empty one; left out, among the site's data")

    def handle(self, *args: Any, **options: Any) -> None:
        run = run_of(options["project"], options["run"])
        folder = str(Path(options["to"]).resolve()) if options["to"] else ""
        try:
            serving = writing.ask(run.project, None, run, options["form"], folder, queue=False)
        except Refused as refusal:
            raise CommandError(str(refusal)) from refusal
        try:
            writing.carry_out(serving, self.tell)
        except KeyboardInterrupt:
            raise CommandError("Stopped. Nothing of it was left behind.") from None
        finally:
            if self.stderr.isatty():
                self.stderr.write("")
        if serving.state != JobState.DONE:
            raise CommandError(serving.error or f"It was {serving.get_state_display().lower()}.")
        known = writing.written_of(serving)
        self.stdout.write(f"Written to {known.folder}, {serving.told['bytes'] / 1e6:,.1f} MB.")
        self.stdout.write("\n".join([*commands.notes(known), commands.serve(known) or commands.transformers(known)]))

    def tell(self, serving: Serving) -> None:
        if self.stderr.isatty():
            of = f" {serving.done / 1e6:,.0f} of {serving.total / 1e6:,.0f} MB" if serving.total else ""
            self.stderr.write(f"\r\x1b[K{serving.doing}{of}", ending="")
            self.stderr.flush()


def run_of(slug: str, pk: int) -> Run:
    project = Project.objects.filter(slug=slug).first()
    if project is None:
        known = ", ".join(Project.objects.values_list("slug", flat=True)) or "none yet"
        raise CommandError(f"There is no project {slug}. There are: {known}.")
    run = project.runs.select_related("project", "dataset").filter(pk=pk).first()
    if run is None:
        raise CommandError(f"There is no run {pk} in {slug}.")
    return run
