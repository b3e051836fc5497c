from typing import Any

from django.core.management.base import CommandParser

from annotate.models import ImportRun
from annotate.models.importing import ImportState

from . import import_posts


class Command(import_posts.Command):
    help = "Collect posts from a 4chan board, within its API's rules: one request a second, nothing asked twice."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("board")
        parser.add_argument("--project", required=True, metavar="SLUG")
        parser.add_argument("--threads", type=int, default=10)
        parser.add_argument("--without-pictures", action="store_true")

    def handle(self, *args: Any, **options: Any) -> None:
        wanted = {
            "board": options["board"].strip("/"),
            "threads": options["threads"],
            "with_pictures": not options["without_pictures"],
        }
        run = ImportRun.objects.create(
            project=self.project(options["project"]), name=f"/{wanted['board']}/ live", options=wanted,
            state=ImportState.QUEUED,
        )  # fmt: skip
        self.carry_out(run, None)
        self.conclude(run, None)
