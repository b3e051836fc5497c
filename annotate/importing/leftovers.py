"""What an import leaves on disk: the file that was sent, and the report of its rows. Both may hold a post's words."""

import csv
import hashlib
import io
import tempfile
from collections.abc import Collection
from pathlib import Path

from django.core.files import File
from django.core.files.storage import default_storage

from annotate.models import ImportRun, Project, Removal
from annotate.models.importing import ImportState

ENDED = (ImportState.DONE, ImportState.FAILED, ImportState.CANCELLED)
EXCERPT = 60  # characters; a report quotes a few more of a row that was refused
TELLING = 20  # so short a text is looked for between its brackets alone
BROUGHT_REMOVED = "brought_removed"


def forget(project: Project, id_hashes: Collection[str], text: str = "") -> None:
    """All files sent for imports that are over, because any of them may hold it; and its lines in the reports."""
    for run in project.imports.filter(state__in=ENDED):
        drop_upload(run)
        clear_report(run, id_hashes, text)


def forget_after(run: ImportRun) -> None:
    """What was removed while this run was under way, or came with it anew."""
    removed = set(Removal.objects.filter(project=run.project_id, at__gte=run.created).values_list("id_hash", flat=True))
    if removed or run.options.get(BROUGHT_REMOVED):
        drop_upload(run)
        clear_report(run, removed)


def drop_upload(run: ImportRun) -> None:
    if run.path:
        default_storage.delete(run.path)


def clear_report(run: ImportRun, id_hashes: Collection[str], text: str = "") -> None:
    """Written anew and only then exchanged, so that a report is never lost half-way."""
    if not run.report or not default_storage.exists(run.report):
        return
    with tempfile.NamedTemporaryFile("w", newline="", suffix=".csv", encoding="utf-8-sig") as clean:
        with io.TextIOWrapper(default_storage.open(run.report), encoding="utf-8-sig", newline="") as report:
            if not rewrite(report, clean, id_hashes, text[:EXCERPT]):
                return
        clean.flush()
        before = run.report
        with Path(clean.name).open("rb") as file:
            run.report = default_storage.save(f"reports/import-{run.pk}.csv", File(file))
    ImportRun.objects.filter(pk=run.pk).update(report=run.report)
    if run.report != before:  # a bucket puts the new one in the place of the old
        default_storage.delete(before)


def rewrite(report: io.TextIOBase, clean: object, id_hashes: Collection[str], excerpt: str) -> bool:
    """Whether anything was found."""
    quoted = excerpt if len(excerpt) > TELLING else f"({excerpt})"
    found = False
    out = csv.writer(clean)  # type: ignore[arg-type]
    for number, external_id, outcome, detail in csv.reader(report):
        if is_one_of(external_id, id_hashes) or (excerpt and quoted in detail):
            found = True
            out.writerow([number, "", outcome, "this post was removed since"])
        else:
            out.writerow([number, external_id, outcome, detail])
    return found


def is_one_of(cell: str, id_hashes: Collection[str]) -> bool:
    """The report puts a quote before what a spreadsheet would run."""
    written = {cell, cell.removeprefix("'")} - {""}
    return any(hashlib.sha256(one.encode()).hexdigest() in id_hashes for one in written)
