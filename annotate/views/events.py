from typing import Any

from django.core.exceptions import BadRequest
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseBase, StreamingHttpResponse
from django.shortcuts import render
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from annotate import event_words, events
from annotate.access import me, requires, site_admin
from annotate.models import Event, Project, Role
from annotate.webhooks import telling


@never_cache
@require_safe
@requires(Role.LEAD)
def listed(request: HttpRequest, project: Project) -> HttpResponse:
    return log_page(request, project)


@never_cache
@require_safe
@site_admin
def of_site(request: HttpRequest) -> HttpResponse:
    return log_page(request, None)


def log_page(request: HttpRequest, project: Project | None) -> HttpResponse:
    asked = events.Asked.of(request.GET)
    log, mend = events.matching(project, asked)
    page = events.page_of(log, asked, request.GET.dict())
    context: dict[str, Any] = {
        "project": project, "asked": asked, "mend": mend, "page": page,
        "rows": [(event, place_of(event)) for event in page.events],
        "verbs": sorted(events.verbs(project), key=event_words.sentence_of),
        "people": events.people(project), "nobody": events.NOBODY,
        "projects": [] if project else Project.objects.order_by("name"),
    }  # fmt: skip
    return render(request, "annotate/events.html", context)


def place_of(event: Event) -> str:
    """The page of what it is about; blank where there is none but the project's own."""
    if event.project is None:
        return ""
    found = telling.address_of(event.verb, event.data, event.project.slug)
    return "" if found == event.project.get_absolute_url() else found


@never_cache
@require_safe
@requires(Role.ADMIN)
def export(request: HttpRequest, project: Project, ending: str) -> HttpResponseBase:
    return sent(request, project, ending)


@never_cache
@require_safe
@site_admin
def export_site(request: HttpRequest, ending: str) -> HttpResponseBase:
    return sent(request, None, ending)


def sent(request: HttpRequest, project: Project | None, format: str) -> HttpResponseBase:
    if format not in events.FORMATS:
        raise Http404
    asked = events.Asked.of(request.GET)
    log, mend = events.matching(project, asked)
    if mend:
        raise BadRequest(" ".join(mend))
    name = events.name_of(project, format)
    headers = {"Content-Disposition": f'attachment; filename="{name}"', "X-Accel-Buffering": "no"}
    if request.method == "HEAD":
        return HttpResponse(content_type=events.FORMATS[format], headers=headers)
    chunks = events.export(log, asked, format, notes=True)
    events.note_export(project, me(request), asked, format)
    return StreamingHttpResponse(chunks, content_type=events.FORMATS[format], headers=headers)
