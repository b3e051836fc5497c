"""Cascades: all of them, a new one, one with its curve, and the point at which it is used."""

from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from annotate.access import me, requires
from annotate.models import Project, Role
from modeling.cascade import cascades, shown
from modeling.evaluation import evaluating
from modeling.forms.cascades import CascadeForm
from modeling.models import Cascade

from .runs import number


@require_safe
@never_cache
@requires(Role.LEAD)
def listed(request: HttpRequest, project: Project) -> HttpResponse:
    page = list(cascades.of(project)[: shown.A_PAGE])
    context = {
        "project": project, "listed": shown.listed(page), "comes_first": None if page else shown.comes_first(project),
        "is_live": any(not one.is_over for one in page),
    }  # fmt: skip
    return render(request, "modeling/cascades.html", context)


@require_http_methods(["GET", "HEAD", "POST"])
@requires(Role.LEAD)
def new(request: HttpRequest, project: Project) -> HttpResponse:
    """Leads see what could be chosen; admins make it."""
    role: Role = request.role  # type: ignore[attr-defined]
    asked = request.method == "POST"
    if asked and not role.covers(Role.ADMIN):
        raise PermissionDenied("Only an admin of this project makes cascades.")
    form = CascadeForm(request.POST if asked else None, project=project, by=me(request), asked=request.GET)
    if asked and form.is_valid() and (made := form.make()):
        return redirect(made)
    context = {"project": project, "form": form, "comes_first": shown.comes_first(project)}
    return render(request, "modeling/cascade_new.html", context, status=422 if asked else 200)


@require_safe
@never_cache
@requires(Role.LEAD)
def cascade(request: HttpRequest, project: Project, pk: int) -> HttpResponse:
    page = shown.Page(cascade_in(project, pk), request.GET.get("at", "").replace("\0", "")[:20])
    return render(request, "modeling/cascade.html", {"project": project, "cascade": page.made, "page": page})


@require_safe
@never_cache
@requires(Role.LEAD)
def progress(request: HttpRequest, project: Project, pk: int) -> HttpResponse:
    page = shown.Page(cascade_in(project, pk))
    if not page.is_live:
        return HttpResponse(headers={"HX-Refresh": "true"})
    context = {"project": project, "cascade": page.made, "page": page}
    return render(request, "modeling/_cascade_progress.html", context)


@require_POST
@requires(Role.ADMIN)
def use(request: HttpRequest, project: Project, pk: int) -> HttpResponse:
    made = cascade_in(project, pk)
    point = shown.Page(made, request.POST.get("threshold", "").replace("\0", "")[:20])
    if point.wanted is None:
        messages.error(request, "Nothing was changed: a threshold is a number from 0 to 1, or more to always ask.")
        return redirect(made)
    try:
        used = cascades.use(made, point.wanted, me(request))
    except cascades.Refused as refusal:
        messages.error(request, str(refusal))
    else:
        messages.success(request, f"It is used so now: {cascades.in_words(used.threshold)}.")
    return redirect(made)


@require_POST
@requires(Role.ADMIN)
def again(request: HttpRequest, project: Project, pk: int) -> HttpResponse:
    made = cascade_in(project, pk)
    if not cascades.again(made):
        messages.warning(request, "It is being fitted already.")
    return redirect(made)


@require_POST
@requires(Role.ADMIN)
def ask(request: HttpRequest, project: Project, pk: int) -> HttpResponse:
    """One of the evaluations that it lacks."""
    made = cascade_in(project, pk)
    try:
        asked = cascades.ask_for(
            made, me(request), number(request.POST.get("run", "")) or 0, request.POST.get("on", "")
        )
    except (cascades.Refused, evaluating.Refused) as refusal:
        messages.error(request, str(refusal))
    else:
        messages.success(request, f"{asked.name} is asked. The cascade goes on by itself when that is done.")
    return redirect(made)


def cascade_in(project: Project, pk: int) -> Cascade:
    return get_object_or_404(cascades.of(project), pk=pk)
