from typing import Any

from django.contrib import messages
from django.db.models import Count, QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_POST, require_safe

from annotate.access import me, requires
from annotate.forms.label_studio import PushForm
from annotate.label_studio import linking, running
from annotate.label_studio import server as servers
from annotate.label_studio.pushing import waiting
from annotate.models import LabelStudioAnnotation, LabelStudioProject, LabelStudioRun, Project, Role
from annotate.models.label_studio import Outcome, Way

LISTED = 100
CHANGED, DELETED = "changed there", "deleted there"
# What a pull came to, with the most urgent first.
KINDS = [Outcome.CONFLICT, Outcome.UNMAPPED, Outcome.STRANGER, Outcome.UNKNOWN_LABEL, Outcome.EMPTY, Outcome.POST_GONE,
         Outcome.ON_SCREEN, Outcome.DIFFER, Outcome.TAKEN_BACK, Outcome.AGREES, Outcome.SKIPPED,
         Outcome.APPLIED]  # fmt: skip


@require_safe
@never_cache
@requires(Role.LEAD)
def label_studio(request: HttpRequest, project: Project) -> HttpResponse:
    return page(request, project, PushForm())


def page(request: HttpRequest, project: Project, form: PushForm) -> HttpResponse:
    link = linking.current(project)
    runs = list(project.label_studio_runs.select_related("by", "project")[:10])
    context: dict[str, Any] = {
        "project": project, "link": link, "form": form, "runs": runs, "problem": servers.problem(),
        "run": runs[0] if runs else None, "to_push": waiting(project, link).count(),
    }  # fmt: skip
    if link:
        context["stale"] = linking.labelling_page(project, link.config) != link.config
        context |= told_of(link, request.GET.get("show", ""))
    if not context["problem"]:
        context |= {"address": servers.address(), "people": people_rows(project)}
    return render(request, "annotate/label_studio.html", context, status=422 if form.is_bound else 200)


def told_of(link: LabelStudioProject, show: str) -> dict[str, Any]:
    annotations = LabelStudioAnnotation.objects.filter(task__link=link)
    counted = dict(annotations.order_by().values_list("outcome").annotate(n=Count("pk")))
    counts = [(kind.value, kind.label, counted[kind.value]) for kind in KINDS if kind.value in counted]
    for name, words, found in (
        (CHANGED, "Changed there since; the review here stands", annotations.exclude(says_now="")),
        (DELETED, "Deleted there since; the review here stands", annotations.filter(deleted_there__isnull=False)),
    ):
        if n := found.count():
            counts.append((name, words, n))
    listed = kind_of(annotations, show)
    return {
        "tasks": link.tasks.count(), "decided": link.tasks.filter(disagreement__closed__isnull=False).count(),
        "tasks_gone": link.tasks.filter(deleted_there__isnull=False).count(), "counts": counts, "show": show,
        "annotations": listed.select_related(
            "person__user", "review__reviewer", "task__disagreement__post"
        ).defer("task__disagreement__post__meta")[:LISTED],
    }  # fmt: skip


def kind_of(annotations: QuerySet[LabelStudioAnnotation], show: str) -> QuerySet[LabelStudioAnnotation]:
    if show == CHANGED:
        return annotations.exclude(says_now="")
    if show == DELETED:
        return annotations.filter(deleted_there__isnull=False)
    return annotations.filter(outcome=show) if show in Outcome.values else annotations


def people_rows(project: Project) -> list[dict[str, Any]]:
    """Each with who it is here, or who it may be by the e-mail address."""
    candidates = list(linking.candidates(project))
    return [
        {"person": person, "n": person.n, "suggested": None if person.user else linking.suggested(person, candidates),
         "candidates": candidates}
        for person in linking.people(project).annotate(n=Count("annotations")).order_by("-n", "email")
    ]  # fmt: skip


@require_POST
@requires(Role.ADMIN)
def push(request: HttpRequest, project: Project) -> HttpResponse:
    form = PushForm(request.POST)
    if not form.is_valid():
        return page(request, project, form)
    return start(request, project, Way.PUSH, form.cleaned_data["limit"])


@require_POST
@requires(Role.ADMIN)
def pull(request: HttpRequest, project: Project) -> HttpResponse:
    return start(request, project, Way.PULL)


def start(request: HttpRequest, project: Project, way: Way, limit: int | None = None) -> HttpResponse:
    try:
        running.ask(project, me(request), way, limit)
    except servers.Failed as failure:
        messages.error(request, str(failure))
    return redirect("label_studio", project.slug)


@require_POST
@requires(Role.ADMIN)
def people(request: HttpRequest, project: Project) -> HttpResponse:
    chosen = {
        int(name.removeprefix("person-")): int(value) if value.isdecimal() else None
        for name, value in request.POST.items()
        if name.startswith("person-") and name.removeprefix("person-").isdecimal() and isinstance(value, str)
    }
    if linking.say_who(project, chosen):
        messages.success(request, "Noted. The next pull takes in what they said.")
    return redirect("label_studio", project.slug)


@require_POST
@requires(Role.ADMIN)
def anew(request: HttpRequest, project: Project) -> HttpResponse:
    if linking.leave(project):
        messages.success(request, "The next push begins a new project in Label Studio.")
    return redirect("label_studio", project.slug)


@require_safe
@never_cache
@requires(Role.LEAD)
def progress(request: HttpRequest, project: Project, pk: int) -> HttpResponse:
    run = get_object_or_404(project.label_studio_runs.select_related("by", "project"), pk=pk)
    response = render(request, "annotate/_label_studio_progress.html", {"project": project, "run": run})
    if run.is_over and request.headers.get("HX-Request"):
        response["HX-Refresh"] = "true"  # what it came to stands all over the page
    return response


@require_POST
@requires(Role.ADMIN)
def stop(request: HttpRequest, project: Project, pk: int) -> HttpResponse:
    run: LabelStudioRun = get_object_or_404(project.label_studio_runs, pk=pk)
    running.stop(run)
    return redirect("label_studio", project.slug)
