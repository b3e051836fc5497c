"""A run out to another machine as one archive, and its result back."""

from pathlib import Path
from tempfile import NamedTemporaryFile

from django.contrib import messages
from django.http import HttpRequest, HttpResponse, HttpResponseBase, StreamingHttpResponse
from django.shortcuts import get_object_or_404, redirect
from django.views.decorators.http import require_POST, require_safe

from annotate.access import me, requires
from annotate.models import Project, Role
from modeling.models import Run
from modeling.training import bundle as room


def run_of(project: Project, pk: int) -> Run:
    return get_object_or_404(project.runs.select_related("project", "dataset"), pk=pk)


@require_safe
@requires(Role.ADMIN)
def bundle(request: HttpRequest, project: Project, pk: int) -> HttpResponseBase:
    run = run_of(project, pk)
    name = f"{project.slug}-run-{run.pk}.zip"
    told = {"Content-Disposition": f'attachment; filename="{name}"'}
    return StreamingHttpResponse(room.pack(run), content_type="application/zip", headers=told)


@require_POST
@requires(Role.ADMIN)
def result(request: HttpRequest, project: Project, pk: int) -> HttpResponse:
    run, brought = run_of(project, pk), request.FILES.get("result")
    if brought is None:
        messages.error(request, "Choose the result.zip that the other machine made.")
        return redirect("run", project.slug, pk)
    with NamedTemporaryFile(suffix=".zip") as kept:
        for chunk in brought.chunks():
            kept.write(chunk)
        kept.flush()
        try:
            room.bring_home(run, Path(kept.name), me(request))
        except room.NotOurs as refusal:
            messages.error(request, str(refusal))
        else:
            messages.success(request, "The result is home: this run is done, as if it had been trained here.")
    return redirect("run", project.slug, pk)
