from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from annotate.operating import backup


class Command(BaseCommand):
    help = "Back up the database and all media into a new folder, while the site runs; or check such a folder."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("path", type=Path, metavar="PATH", help="a folder that is not there yet, beside the last")
        parser.add_argument(
            "--check", action="store_true",
            help="read every file of the backup at PATH, and restore its database into one that is thrown away",
        )  # fmt: skip
        parser.add_argument(
            "--without-media",
            action="store_true",
            help="the database alone: a bucket keeps versions of the media",
        )

    def handle(self, *args: Any, path: Path, check: bool, without_media: bool, **options: Any) -> None:
        try:
            if check:
                manifest = backup.tried(path, self.stdout.write)
                told = f"{path} is whole: {sum(manifest.rows.values()):,} rows and {manifest.files:,} files."
            else:
                manifest = backup.make(path, self.stdout.write, not without_media)
                told = f"Backed up to {path}. Keep SECRET_KEY and .env elsewhere: they are not in it."
        except backup.NotBackedUp as failure:
            raise CommandError(str(failure)) from failure
        except KeyboardInterrupt:
            raise CommandError("Stopped; nothing was left.") from None
        self.stdout.write(told)
        if manifest.gone_meanwhile:
            self.stderr.write(f"{manifest.gone_meanwhile:,} pictures were removed for good while it was made.")
        if manifest.missing:
            self.stderr.write(f"{manifest.missing:,} pictures were lost before: the storage does not have them.")
