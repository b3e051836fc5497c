from pathlib import Path
from typing import Any

from django.core.files.storage import default_storage
from django.core.management.base import BaseCommand, CommandError, CommandParser

from annotate.importing import doors
from annotate.importing.running import carry_out
from annotate.models import ImportRun, Project
from annotate.models.importing import ImportState


class Command(BaseCommand):
    help = "Import posts from a file or a folder of images. Importing twice changes nothing."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("path", type=Path)
        parser.add_argument("--project", required=True, metavar="SLUG")
        parser.add_argument(
            "--holdout", action="store_true", help="the locked test set; every row needs its known label"
        )
        parser.add_argument("--format", default="", help="where the file's name and content do not tell")
        parser.add_argument("--source", default="", help="where these posts come from, for rows that do not say")
        parser.add_argument("--voter", default="", help="whose predictions they are that come without a name")
        parser.add_argument("--report", type=Path, help="copy the row-by-row report to this file")

    def handle(self, *args: Any, **options: Any) -> None:
        path: Path = options["path"]
        project = self.project(options["project"])
        if not path.exists():
            raise CommandError(f"There is nothing at {path}.")
        run = ImportRun.objects.create(
            project=project, name=path.name, holdout=options["holdout"], state=ImportState.QUEUED,
            options={name: options[name] for name in ("format", "source", "voter")},
        )  # fmt: skip
        self.carry_out(run, path)
        self.conclude(run, options["report"])

    def project(self, slug: str) -> Project:
        project = Project.objects.filter(slug=slug).first()
        if not project:
            known = (
                ", ".join(Project.objects.values_list("slug", flat=True)) or "none yet: see `manage.py make_project`"
            )
            raise CommandError(f"There is no project “{slug}”. Projects: {known}.")
        return project

    def carry_out(self, run: ImportRun, path: Path | None) -> None:
        try:
            if not carry_out(run, path, self.tell):
                run.delete()
                raise CommandError("Another import into this project is under way; try again when it has ended.")
        except KeyboardInterrupt:
            raise CommandError("Stopped. What was imported stands; run the same command again to go on.") from None

    def tell(self, run: ImportRun) -> None:
        if not self.stderr.isatty():
            return
        pace = doors.pace(run)
        of = f" of {run.total:,}" if run.total else ""
        left = f", {pace.seconds_left} s left" if pace and pace.seconds_left is not None else ""
        rate = f", {pace.per_second:,.0f} a second" if pace else ""
        self.stderr.write(f"\r\x1b[K{run.done:,}{of} rows{rate}{left}", ending="")

    def conclude(self, run: ImportRun, report: Path | None) -> None:
        if self.stderr.isatty():
            self.stderr.write("\r\x1b[K", ending="")
        if report and run.report:
            report.write_bytes(default_storage.open(run.report).read())
        if run.state != ImportState.DONE:
            raise CommandError(run.error or "The import was stopped.")
        votes = f" {run.votes:,} votes came along." if run.votes else ""
        self.stdout.write(f"{run.imported:,} imported, {run.already:,} already there, {run.refused:,} refused.{votes}")
        if run.refused:
            self.stdout.write(
                "Which rows, and why: " + (str(report) if report else f"/p/{run.project.slug}/imports/{run.pk}")
            )
