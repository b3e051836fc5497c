from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from annotate.operating import restoring


class Command(BaseCommand):
    help = "Restore a site from a backup: the database in one transaction, the media beside what lies there."
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("path", type=Path, metavar="PATH", help="what `manage.py backup` has made")
        parser.add_argument("--replace", action="store_true", help="the site that is in the database now goes")

    def handle(self, *args: Any, path: Path, replace: bool, **options: Any) -> None:
        try:
            done = restoring.restore(path, replace, self.stdout.write)
        except restoring.NotRestored as failure:
            raise CommandError(str(failure)) from failure
        except KeyboardInterrupt:
            raise CommandError(f"Stopped. {restoring.GO_ON}") from None
        made, files = done.manifest.made, done.written + len(done.replaced)
        self.stdout.write(f"Restored as of {made}: {files:,} files written, {done.there_already:,} there already.")
        if done.removed_again:
            told = "1 post" if done.removed_again == 1 else f"{done.removed_again:,} posts"
            self.stdout.write(f"Removed again, as since that backup: {told}.")
        if done.other_key:
            self.stderr.write(
                "This site has another SECRET_KEY than the one that was backed up: login links that were sent out no "
                f"longer work, and {done.waiting_tasks:,} queued tasks cannot be read until it has the old one."
            )
