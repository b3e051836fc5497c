"""Studies: all of them, the form that starts one, one while it goes on and afterwards."""

from typing import Any

from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from annotate.access import me, requires
from annotate.models import Project, Role
from modeling.forms import studies as forms_studies
from modeling.forms.studies import StudyForm
from modeling.models import On, Study
from modeling.studying import drawn, out_of_fold, studies, watching
from modeling.training import starting

from .runs import number, titles
from .training import preview_of

A_PAGE = 30


@require_safe
@never_cache
@requires(Role.LEAD)
def listed(request: HttpRequest, project: Project) -> HttpResponse:
    found = studies_of(project)
    if (before := number(request.GET.get("before", ""))) is not None:
        found = found.filter(pk__lt=before)
    page = list(found[: A_PAGE + 1])
    context = {
        "project": project, "watched": watching.watch_all(page[:A_PAGE]),
        "older": page[A_PAGE - 1].pk if len(page) > A_PAGE else None,
        "is_live": any(not study.is_over for study in page),
    }  # fmt: skip
    return render(request, "modeling/studies.html", context)


@require_http_methods(["GET", "HEAD", "POST"])
@requires(Role.LEAD)
def new(request: HttpRequest, project: Project) -> HttpResponse:
    """Leads see what a study would take; admins start it."""
    role: Role = request.role  # type: ignore[attr-defined]
    asked = request.method == "POST"
    if asked and not role.covers(Role.ADMIN):
        raise PermissionDenied("Only an admin of this project starts studies.")
    if not asked and "like" in request.GET:
        like = forms_studies.like(study_in(project, number(request.GET["like"]) or 0))
        return redirect(f"{reverse('study_new', args=[project.slug])}?{like}")
    form = StudyForm(request.POST if asked else request.GET, project=project, by=me(request), whole=asked)
    if form.is_valid() and asked and (begun := form.begin()):
        return redirect(begun)
    context = preview_of(form) | {
        "reckoned": form.reckoned, "asked": asked, "suggestions": starting.suggestions(),
    }  # fmt: skip
    return render(request, "modeling/study_new.html", context, status=422 if asked else 200)


@require_safe
@never_cache
@requires(Role.LEAD)
def preview(request: HttpRequest, project: Project) -> HttpResponse:
    """The address bar follows, so that what is on the screen can be sent to somebody."""
    form = StudyForm(request.GET, project=project, by=me(request))
    context = preview_of(form) | {"reckoned": form.reckoned, "turned": form.turned_to_another(request.GET)}
    answer = render(request, "modeling/_run_preview.html", context)
    if form.reckoned:
        answer["HX-Replace-Url"] = f"{reverse('study_new', args=[project.slug])}?{form.query}"
    return answer


@require_safe
@never_cache
@requires(Role.LEAD)
def study(request: HttpRequest, project: Project, pk: int) -> HttpResponse:
    shown = study_in(project, pk)
    context = watched(project, shown) | {"recipe": titles().get(shown.recipe, "")}
    if out_of_fold.may_doubt(shown):
        context["headline"] = headline(shown)
    elif shown.measured:
        context["curves"] = drawn.curves(shown)
    return render(request, "modeling/study.html", context)


@require_safe
@never_cache
@requires(Role.LEAD)
def progress(request: HttpRequest, project: Project, pk: int) -> HttpResponse:
    context = watched(project, study_in(project, pk))
    if not context["watch"].is_live:
        return HttpResponse(headers={"HX-Refresh": "true"})
    return render(request, "modeling/_study_progress.html", context)


@require_POST
@requires(Role.ADMIN)
def stop(request: HttpRequest, project: Project, pk: int) -> HttpResponse:
    stopped = study_in(project, pk)
    if not studies.stop(stopped, me(request)):
        messages.warning(request, "This study is not at work; there is nothing to stop.")
    return redirect(stopped)


@require_POST
@requires(Role.ADMIN)
def resume(request: HttpRequest, project: Project, pk: int) -> HttpResponse:
    resumed = study_in(project, pk)
    if not studies.resume(resumed, me(request)):
        messages.warning(request, "This study is at work, still stopping, or done; there is nothing to resume.")
    return redirect(resumed)


@require_POST
@requires(Role.LEAD)
def doubts(request: HttpRequest, project: Project, pk: int) -> HttpResponse:
    shown = study_in(project, pk)
    if not out_of_fold.may_doubt(shown):
        messages.warning(request, "Only folds that are done can tell which labels look wrong.")
        return redirect(shown)
    out_of_fold.ask_for_doubts(shown, me(request))
    messages.success(request, "Labels that look wrong are being looked for; they will stand here in a moment.")
    return redirect("dataset_doubts", project.slug, shown.dataset.name)


def studies_of(project: Project) -> Any:
    """Without what was drawn: a byte for each post is nothing for a page."""
    found = project.studies.select_related("dataset", "dataset__project", "project", "by")
    return found.defer("drawn", "dataset__told")


def study_in(project: Project, pk: int) -> Study:
    found: Study = get_object_or_404(studies_of(project), pk=pk)
    return found


def watched(project: Project, shown: Study) -> dict[str, Any]:
    on = studies.asked_on(shown)
    words = [""] if shown.of_folds else [On(one).label.lower() for one in on]
    return {"project": project, "study": shown, "watch": watching.watch(shown), "on_words": words}


def headline(shown: Study) -> list[tuple[str, Any, Any]]:
    """Title, figure, and how it differs from run to run."""
    pooled, over = shown.measured["pooled"], shown.measured["over_folds"]
    names = (("macro_f1", "Macro F1"), ("accuracy", "Accuracy"), ("balanced_accuracy", "Balanced accuracy"))
    return [(title, pooled[name], over[name]) for name, title in names]
