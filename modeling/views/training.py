"""From a dataset and a recipe to a run: the form, and what is known of the run before it is started."""

from typing import Any

from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_safe

from annotate.access import me, requires
from annotate.models import Project, Role
from modeling.forms.runs import RunForm, like
from modeling.training import estimates, starting

from .runs import number


@require_http_methods(["GET", "HEAD", "POST"])
@requires(Role.LEAD)
def new(request: HttpRequest, project: Project) -> HttpResponse:
    """Leads see what a run would need; admins start it."""
    role: Role = request.role  # type: ignore[attr-defined]
    asked = request.method == "POST"
    if asked and not role.covers(Role.ADMIN):
        raise PermissionDenied("Only an admin of this project starts runs.")
    if not asked and "like" in request.GET:
        return redirect(f"{reverse('run_new', args=[project.slug])}?{as_in(project, request.GET['like'])}")
    form = RunForm(request.POST if asked else request.GET, project=project, by=me(request), whole=asked)
    if form.is_valid() and asked and (begun := form.start(away="away" in request.GET)):
        return redirect("run", project.slug, begun.pk)
    context = preview_of(form) | {"asked": asked, "suggestions": starting.suggestions()}
    return render(request, "modeling/run_new.html", context, status=422 if asked else 200)


def as_in(project: Project, pk: str) -> str:
    return like(get_object_or_404(project.runs.select_related("dataset"), pk=number(pk) or 0))


@require_safe
@never_cache
@requires(Role.LEAD)
def preview(request: HttpRequest, project: Project) -> HttpResponse:
    """The address bar follows, so that what is on the screen can be sent to somebody."""
    form = RunForm(request.GET, project=project, by=me(request))
    form.is_valid()
    context = preview_of(form) | {"turned": form.turned_to_another(request.GET)}
    answer = render(request, "modeling/_run_preview.html", context)
    if form.config:
        answer["HX-Replace-Url"] = f"{reverse('run_new', args=[project.slug])}?{form.query}"
    return answer


def preview_of(form: RunForm) -> dict[str, Any]:
    form.is_valid()
    context: dict[str, Any] = {"project": form.project, "form": form}
    if form.config is None:
        return context
    assert form.learns_from is not None
    return context | {
        "known": starting.known(form.config.model), "is_tiny": form.config.is_made_on_the_spot,
        "told": estimates.told(form.config, form.learns_from),
    }  # fmt: skip
