"""What a run made, written out for a server, and whether it answers as the run did."""

from typing import Any

from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from annotate.access import me, requires
from annotate.models import Project, Role
from modeling.forms.serving import CheckForm, WriteForm
from modeling.models import Run, ServedCheck, Serving
from modeling.serving import checking, commands, shown, writing
from modeling.serving.at_work import Refused

from .runs import number, run_in


@require_http_methods(["GET", "HEAD", "POST"])
@never_cache
@requires(Role.LEAD)
def serving(request: HttpRequest, project: Project, pk: int) -> HttpResponse:
    """Leads look; admins have it written."""
    run, role = run_in(project, pk), request.role  # type: ignore[attr-defined]
    asked = request.method == "POST"
    if asked and not role.covers(Role.ADMIN):
        raise PermissionDenied("Only an admin of this project writes models out.")
    form = WriteForm(request.POST if asked else None, run=run)
    if form.is_valid() and (begun := form.begin(project, me(request))):
        return redirect(begun)
    return page(request, project, run, form, status=422 if asked else 200)


def page(
    request: HttpRequest, project: Project, run: Run, form: WriteForm, checks: dict[int, CheckForm] | None = None,
    status: int = 200,
) -> HttpResponse:  # fmt: skip
    told, checks, evaluated_on = shown.of_run(run), checks or {}, checking.evaluated_on(run)
    plain: dict[str, Any] = {"by": me(request), "evaluated_on": evaluated_on}
    listed = [(one, checks.get(one.serving.pk) or CheckForm(None, serving=one.serving, **plain)) for one in told]
    context = {
        "project": project, "run": run, "form": form,
        "listed": [pair for pair in listed if not pair[0].serving.deleted],
        "gone": [pair for pair in listed if pair[0].serving.deleted], "not_run": commands.NOT_RUN,
        "replicas": commands.REPLICAS, "evaluate": checking.command(run, checking.SPLITS[0]),
    }  # fmt: skip
    return render(request, "modeling/serving.html", context, status=status)


@require_safe
@never_cache
@requires(Role.LEAD)
def progress(request: HttpRequest, project: Project, pk: int) -> HttpResponse:
    """Of one that is being written, or checked."""
    context: dict[str, Any] = {"project": project, "run": run_in(project, pk)}
    if "check" in request.GET:
        job: Any = check_in(project, number(request.GET["check"]) or 0)
        context |= {"check": job}
    else:
        job = serving_in(project, number(request.GET.get("serving", "")) or 0)
        context |= {"serving": job, "log": writing.last_lines(job)}
    if job.is_over:
        return HttpResponse(headers={"HX-Refresh": "true"})
    fragment = "_serving_check_state" if "check" in context else "_serving_state"
    return render(request, f"modeling/{fragment}.html", context)


@require_POST
@requires(Role.ADMIN)
def stop(request: HttpRequest, project: Project, pk: int) -> HttpResponse:
    stopped = serving_in(project, pk)
    if not writing.stop(stopped, me(request)):
        messages.warning(request, "It is not being written; there is nothing to stop.")
    return redirect(stopped)


@require_POST
@requires(Role.ADMIN)
def resume(request: HttpRequest, project: Project, pk: int) -> HttpResponse:
    resumed = serving_in(project, pk)
    if not writing.resume(resumed, me(request)):
        messages.warning(request, "It is being written or done; there is nothing to resume.")
    return redirect(resumed)


@require_POST
@requires(Role.ADMIN)
def delete(request: HttpRequest, project: Project, pk: int) -> HttpResponse:
    gone = serving_in(project, pk)
    try:
        writing.delete(gone, me(request))
        messages.success(request, "The folder is deleted. What was found out about it stays here.")
    except Refused as refusal:
        messages.error(request, str(refusal))
    return redirect(gone)


@require_POST
@requires(Role.ADMIN)
def check(request: HttpRequest, project: Project, pk: int) -> HttpResponse:
    checked = serving_in(project, pk)
    on = checking.evaluated_on(checked.run)
    form = CheckForm(request.POST, serving=checked, by=me(request), evaluated_on=on)
    if form.is_valid() and form.begin():
        return redirect(checked)
    return page(request, project, checked.run, WriteForm(None, run=checked.run), {checked.pk: form}, status=422)


@require_POST
@requires(Role.ADMIN)
def check_stop(request: HttpRequest, project: Project, pk: int) -> HttpResponse:
    stopped = check_in(project, pk)
    if not checking.stop(stopped, me(request)):
        messages.warning(request, "Nothing is being asked here; there is nothing to stop.")
    return redirect(stopped.serving)


@require_POST
@requires(Role.ADMIN)
def check_resume(request: HttpRequest, project: Project, pk: int) -> HttpResponse:
    resumed = check_in(project, pk)
    if not checking.resume(resumed, me(request)):
        messages.warning(request, "It is at work or done; there is nothing to resume.")
    return redirect(resumed.serving)


def serving_in(project: Project, pk: int) -> Serving:
    found = project.servings.select_related("project", "run__dataset", "run__project", "by")
    one: Serving = get_object_or_404(found, pk=pk)
    return one


def check_in(project: Project, pk: int) -> ServedCheck:
    found = ServedCheck.objects.select_related("serving__project", "serving__run__project", "serving__run__dataset")
    one: ServedCheck = get_object_or_404(found, pk=pk, serving__project=project)
    return one
