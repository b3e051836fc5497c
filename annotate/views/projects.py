from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_http_methods, require_safe

from annotate import funnel, prose
from annotate.access import me, requires, site_admin
from annotate.colours import shades
from annotate.forms.projects import NewProjectForm, ProjectForm, label_rows, save
from annotate.models import Project, Role
from annotate.operating import storage
from annotate.shares import label_table

RECENT_EVENTS = 8


@require_safe
def home(request: HttpRequest) -> HttpResponse:
    user = me(request)
    projects = list(Project.objects.seen_by(user))
    if len(projects) == 1 and not user.is_superuser:
        return redirect(projects[0])
    funnels = funnel.read(projects)
    return render(request, "annotate/home.html", {"rows": [(project, funnels[project.pk]) for project in projects]})


@require_http_methods(["GET", "HEAD", "POST"])
@site_admin
def new(request: HttpRequest) -> HttpResponse:
    form = NewProjectForm(request.POST or None)
    if not form.is_valid():
        return render(request, "annotate/project_new.html", {"form": form}, status=422 if form.is_bound else 200)
    project = form.make(me(request))
    messages.success(request, f"{project.name} is made.")
    return redirect("project" if project.labels.exists() else "settings", project.slug)


@require_safe
@requires(Role.REVIEWER)
def project(request: HttpRequest, project: Project) -> HttpResponse:
    counts = funnel.funnel_of(project)
    role: Role = request.role  # type: ignore[attr-defined]
    is_lead = role.covers(Role.LEAD)  # the labels of the locked test set are told to no reviewer
    context = {
        "project": project,
        "funnel": counts,
        "table": label_table(project.labels.all(), counts.by_label if is_lead else counts.by_label_told),
        "steps": funnel.what_next(project, counts, role),
        "events": project.events.select_related("user")[:RECENT_EVENTS],
    }
    return render(request, "annotate/project.html", context)


@require_http_methods(["GET", "HEAD", "POST"])
@requires(Role.ADMIN)
def edit(request: HttpRequest, project: Project) -> HttpResponse:
    form = ProjectForm(request.POST or None, instance=project)
    rows = label_rows(project, request.POST or None)
    if form.is_valid() and rows.is_valid():
        save(form, rows, me(request))
        messages.success(request, "Saved.")
        return redirect("settings", project.slug)
    stored = Project.objects.get(pk=project.pk) if form.is_bound else project
    context = {
        "project": stored, "form": form, "rows": rows, "rendered": prose.render(stored.guidelines),
        "held": storage.held_by(stored),
    }  # fmt: skip
    return render(request, "annotate/project_edit.html", context, status=422 if form.is_bound else 200)


@require_safe
@requires(Role.REVIEWER)
def guidelines(request: HttpRequest, project: Project) -> HttpResponse:
    context = {"project": project, "labels": project.labels.all(), "rendered": prose.render(project.guidelines)}
    return render(request, "annotate/guidelines.html", context)


@require_safe
@requires(Role.REVIEWER)
def label_colours(request: HttpRequest, project: Project) -> HttpResponse:
    """Kept for ever under the version that was asked for, so only where that is the one that stands."""
    css = "\n".join(f".label-{label.pk}{{--c:{shades(label.colour)}}}" for label in project.labels.all())
    current = request.GET.get("v") == project.colours_version
    keep = "private, max-age=31536000, immutable" if current else "private, no-cache"
    return HttpResponse(css, content_type="text/css; charset=utf-8", headers={"Cache-Control": keep})
