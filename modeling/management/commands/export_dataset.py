from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from modeling.datasets import items
from modeling.export.formats import FORMATS, NotExported, Options, Written, write_to
from modeling.export.pictures import MISSING
from modeling.models import Dataset


class Command(BaseCommand):
    help = "Export a frozen dataset. The same dataset gives the same bytes."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("name", help="as the dataset is called, such as v1")
        parser.add_argument("--project", default="", metavar="SLUG", help="where several have a dataset of this name")
        parser.add_argument("--format", required=True, metavar="FORMAT", help=", ".join(FORMATS))
        parser.add_argument(
            "--out", required=True, type=Path, metavar="PATH", help="a folder, or a file that ends in .zip, .csv, ..."
        )
        parser.add_argument(
            "--splits",
            default=",".join(items.TO_TRAIN_WITH),
            help="default: %(default)s. The locked test set, holdout, only where it is named: the file has its answers",
        )
        parser.add_argument("--reasons", action="store_true", help="a brief reason below each answer, for trainers")
        parser.add_argument("--without-pictures", action="store_true", help="the tables alone")
        parser.add_argument("--force", action="store_true", help="replace an earlier export at PATH")

    def handle(self, *args: Any, **options: Any) -> None:
        splits = tuple(dict.fromkeys(filter(None, map(str.strip, options["splits"].split(",")))))
        wanted = Options(splits, options["reasons"], not options["without_pictures"])
        out: Path = options["out"]
        try:
            dataset = find(options["name"], options["project"])
            written = write_to(dataset, options["format"], wanted, out, self.tell, replace=options["force"])
        except NotExported as refusal:
            self.clear()
            raise CommandError(str(refusal)) from refusal
        except KeyboardInterrupt:
            self.clear()
            raise CommandError(f"Stopped; nothing was left at {out}.") from None
        self.clear()
        files = "1 file" if written.files == 1 else f"{written.files:,} files"
        self.stdout.write(f"{out}: {files}, {written.bytes / 1e6:,.1f} MB.")
        if written.missing:
            gone = f"{written.missing:,} of the pictures are gone from the storage"
            self.stderr.write(f"{gone}; {MISSING} among the files names them.")

    def tell(self, written: Written) -> None:
        if self.stderr.isatty():
            self.stderr.write(f"\r\x1b[K{written.files:,} files, {written.bytes / 1e6:,.1f} MB", ending="")

    def clear(self) -> None:
        if self.stderr.isatty():
            self.stderr.write("\r\x1b[K", ending="")


def find(name: str, slug: str) -> Dataset:
    known = Dataset.objects.select_related("project").order_by("project__slug", "name")
    found = [dataset for dataset in known.filter(name=name) if slug in {"", dataset.project.slug}]
    if len(found) == 1:
        return found[0]
    if found:
        raise NotExported(f"Several projects have a dataset {name}: add --project {' or '.join(slugs(found))}.")
    there = ", ".join(f"{dataset.name} ({dataset.project.slug})" for dataset in known) or "none yet"
    raise NotExported(f"There is no dataset {name}{f' in {slug}' if slug else ''}. Datasets: {there}.")


def slugs(datasets: list[Dataset]) -> list[str]:
    return [dataset.project.slug for dataset in datasets]
