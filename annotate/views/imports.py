from typing import Any

from django.contrib import messages
from django.core.files.storage import default_storage
from django.http import FileResponse, Http404, HttpRequest, HttpResponse, HttpResponseBase
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_POST, require_safe

from annotate.access import me, requires
from annotate.forms.imports import BoardForm, MappingForm, UploadForm
from annotate.importing import doors
from annotate.importing.rows import Unreadable
from annotate.models import ImportRun, Project, Role
from annotate.models.importing import ImportState

FORMAT_NAMES = {
    "csv": "CSV", "tsv": "TSV", "json": "JSON", "jsonl": "JSON Lines", "parquet": "Parquet", "sharegpt": "ShareGPT",
    "label_studio": "Label Studio tasks", "fourchan": "4chan JSON", "images": "pictures",
    "casting_vote": "posts of Casting Vote",
}  # fmt: skip


@require_safe
@requires(Role.ADMIN)
def imports(request: HttpRequest, project: Project) -> HttpResponse:
    runs = project.imports.select_related("by")[:100]
    return render(request, "annotate/imports.html", {"project": project, "runs": runs})


@requires(Role.ADMIN)
def upload(request: HttpRequest, project: Project) -> HttpResponse:
    """Two ways in on one page: a file, or a board of 4chan."""
    door = request.POST.get("door", "file") if request.method == "POST" else ""
    form = UploadForm(request.POST, request.FILES) if door == "file" else UploadForm()
    board = BoardForm(request.POST) if door == "board" else BoardForm()
    if door == "board" and board.is_valid():
        try:
            return redirect(doors.collect(project, me(request), **board.cleaned_data))
        except Unreadable as problem:
            board.add_error(None, str(problem))
    if door == "file" and form.is_valid():
        try:
            return redirect(doors.receive(project, me(request), form.cleaned_data["file"]))
        except Unreadable as problem:
            form.add_error("file", str(problem))
    status = 422 if door else 200
    return render(
        request, "annotate/import_new.html", {"project": project, "form": form, "board": board}, status=status
    )


@require_safe
@never_cache
@requires(Role.ADMIN)
def show(request: HttpRequest, project: Project, pk: int) -> HttpResponse:
    run = get_object_or_404(project.imports.select_related("by", "project"), pk=pk)
    if run.state == ImportState.DRAFT:
        return ask(request, run)
    return render(request, "annotate/import.html", progress_context(run))


def ask(request: HttpRequest, run: ImportRun, form: MappingForm | None = None) -> HttpResponse:
    """What we understood of the file, to be put right before anything is imported."""
    context: dict[str, Any] = {"project": run.project, "run": run}
    try:
        preview, total = doors.preview(run)
        headers = preview.headers or list(dict.fromkeys(name for row in preview.rows for name in row))
        context |= {
            "format": FORMAT_NAMES[preview.format],
            "total": total,
            "headers": headers,
            "cells": [[row.get(header, "") for header in headers] for row in preview.rows],
            "refused": preview.refused,
            "form": form or MappingForm.for_preview(preview),
        }
    except Unreadable as failure:
        context["unreadable"] = str(failure)
    return render(request, "annotate/import_draft.html", context, status=422 if form else 200)


@require_POST
@requires(Role.ADMIN)
def start(request: HttpRequest, project: Project, pk: int) -> HttpResponse:
    """Begins a draft, and a run that ended before its time: importing twice changes nothing."""
    run = get_object_or_404(project.imports, pk=pk)
    if run.state == ImportState.DRAFT:
        try:
            preview = doors.preview(run)[0]
            form = MappingForm(request.POST, headers=preview.headers, topk=preview.topk)
        except Unreadable:
            return redirect(run)
        if not form.is_valid():
            return ask(request, run, form)
        run.options |= form.options()
        run.holdout = form.cleaned_data["holdout"]
    if not doors.begin(run) and run.can_begin:
        messages.error(request, "The file of this import is gone; upload it again.")
    return redirect(run)


@require_safe
@requires(Role.ADMIN)
def progress(request: HttpRequest, project: Project, pk: int) -> HttpResponse:
    run = get_object_or_404(project.imports.select_related("by", "project"), pk=pk)
    return render(request, "annotate/_import_progress.html", progress_context(run))


def progress_context(run: ImportRun) -> dict[str, Any]:
    return {"project": run.project, "run": run, "pace": doors.pace(run)}


@require_POST
@requires(Role.ADMIN)
def stop(request: HttpRequest, project: Project, pk: int) -> HttpResponse:
    run = get_object_or_404(project.imports, pk=pk)
    doors.ask_to_stop(run)
    return redirect(run)


@require_safe
@requires(Role.ADMIN)
def report(request: HttpRequest, project: Project, pk: int) -> HttpResponseBase:
    run = get_object_or_404(project.imports, pk=pk)
    if not run.report or not default_storage.exists(run.report):
        raise Http404("This import has no report yet.")
    return FileResponse(default_storage.open(run.report), as_attachment=True, filename=f"import-{run.pk}.csv")
