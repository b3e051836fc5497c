import sys
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from annotate import events
from annotate.models import Project


class Command(BaseCommand):
    help = "Write the event log out, of a project or of the whole site; that it was written out is in the log."

    def add_arguments(self, parser: CommandParser) -> None:
        which = parser.add_mutually_exclusive_group(required=True)
        which.add_argument("--project", metavar="SLUG")
        which.add_argument("--site", action="store_true", help="all projects, and what belongs to none")
        parser.add_argument("--verb", default="", help="what was done, as the log says it: “voting done”")
        parser.add_argument("--who", default="", metavar="USERNAME", help="- for what happened by itself")
        parser.add_argument("--since", default="", metavar="MOMENT", help="2025-11-14 or 2025-11-14T09:30")
        parser.add_argument("--until", default="", metavar="MOMENT")
        parser.add_argument("--about", default="", metavar="THING", help="run:12, dataset:coins, post:345")
        parser.add_argument("--order", default="oldest", choices=["oldest", "newest"])
        parser.add_argument("--format", default="jsonl", choices=list(events.FORMATS))

    def handle(self, *args: Any, **options: Any) -> None:
        project = Project.objects.filter(slug=options["project"]).first() if options["project"] else None
        if options["project"] and not project:
            raise CommandError(f"There is no project “{options['project']}”.")
        asked = events.Asked.of(options | {"project": ""})
        log, mend = events.matching(project, asked)
        if mend:
            raise CommandError(" ".join(mend))
        chunks = events.export(log, asked, options["format"], notes=True)
        events.note_export(project, None, asked, options["format"])
        try:
            for chunk in chunks:
                self.stdout.write(chunk, ending="")
        except BrokenPipeError:  # whoever reads has seen enough
            sys.stderr.close()
