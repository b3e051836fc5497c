"""From a recipe to a frozen dataset: the form with its preview, and the work while it goes on."""

from typing import Any

from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, QueryDict
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.utils.http import urlencode
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from annotate.access import me, requires
from annotate.models import Project, Role
from modeling.datasets import dataset as room
from modeling.datasets import drawing, marks, previews
from modeling.datasets.recipe import Recipe
from modeling.forms.datasets import FreezeForm, RecipeForm, query_of
from modeling.models import Dataset


@require_http_methods(["GET", "HEAD", "POST"])
@requires(Role.LEAD)
def new(request: HttpRequest, project: Project) -> HttpResponse:
    """Leads see what a recipe would give; admins freeze it."""
    role: Role = request.role  # type: ignore[attr-defined]
    asked = request.method == "POST"
    if asked and not role.covers(Role.ADMIN):
        raise PermissionDenied("Only an admin of this project freezes datasets.")
    if like := request.GET.get("like"):
        return redirect(f"{reverse('dataset_new', args=[project.slug])}?{as_in(project, like)}")
    form = FreezeForm(request.POST if asked else named(project, request.GET), project=project)
    if form.is_valid() and asked and (made := form.freeze(me(request))):
        return redirect(made)
    context = preview_of(form) | {
        "asked": asked, "earlier": project.datasets.frozen().values_list("name", flat=True),
        "labelled": previews.stamp(project, Recipe())[0],
    }  # fmt: skip
    return render(request, "modeling/dataset_new.html", context, status=422 if asked else 200)


def named(project: Project, query: QueryDict) -> QueryDict:
    whole = query.copy()
    whole.setdefault("name", room.next_name(project))
    return whole


def as_in(project: Project, name: str) -> str:
    earlier = get_object_or_404(project.datasets, name=name.replace("\0", ""))
    return urlencode(query_of(Recipe.from_json(earlier.recipe), project), doseq=True)


@require_safe
@never_cache
@requires(Role.LEAD)
def preview(request: HttpRequest, project: Project) -> HttpResponse:
    """The address bar follows, so that what is on the screen can be sent to somebody."""
    form = RecipeForm(request.GET, project=project)
    form.is_valid()
    answer = render(request, "modeling/_preview.html", preview_of(form))
    if request.headers.get("HX-Trigger") == "recipe" and not form.errors:
        answer["HX-Replace-Url"] = f"{reverse('dataset_new', args=[project.slug])}?{form.query}"
    return answer


def preview_of(form: RecipeForm) -> dict[str, Any]:
    context: dict[str, Any] = {"project": form.project, "form": form}
    if form.recipe_errors:
        return context
    made = previews.read(form.project, form.recipe)
    if made is None:
        return context | {"counting": previews.stamp(form.project, form.recipe)[0]}
    names = [label.name for label in form.labels]
    return context | {"drawing": drawing.draw(form.project, made, form.recipe, names)}


@require_safe
@never_cache
@requires(Role.LEAD)
def progress(request: HttpRequest, project: Project, name: str) -> HttpResponse:
    shown = dataset_in(project, name)
    if shown.is_frozen:
        return HttpResponse(headers={"HX-Refresh": "true"})
    return render(request, "modeling/_progress.html", {"project": project, "dataset": shown, "pace": marks.pace(shown)})


@require_POST
@requires(Role.ADMIN)
def stop(request: HttpRequest, project: Project, name: str) -> HttpResponse:
    stopped = dataset_in(project, name)
    room.stop(stopped)
    return redirect(stopped)


@require_POST
@requires(Role.ADMIN)
def again(request: HttpRequest, project: Project, name: str) -> HttpResponse:
    """What failed or was stopped is asked for anew; what a dead worker left is taken up."""
    left = dataset_in(project, name)
    if left.is_silent:
        room.enqueue(left)
    elif left.is_over and not left.is_frozen:
        try:
            left = room.ask(project, me(request), left.name, Recipe.from_json(left.recipe))
        except room.Refused as refusal:
            messages.warning(request, str(refusal))
    return redirect("dataset", project.slug, left.name)


def dataset_in(project: Project, name: str) -> Dataset:
    return get_object_or_404(project.datasets.select_related("project", "by"), name=name)
