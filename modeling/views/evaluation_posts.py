"""The posts behind the figures of an evaluation, two evaluations side by side, and the ways out."""

from typing import Any

from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseBase, StreamingHttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_POST, require_safe

from annotate.access import me, requires
from annotate.models import Event, Project, Role
from modeling.evaluation import differing, told
from modeling.evaluation import posts as room
from modeling.evaluation.answers import label_names
from modeling.models import Evaluation, JobState

from .evaluations import evaluation_in
from .runs import number


@require_safe
@never_cache
@requires(Role.LEAD)
def posts(request: HttpRequest, project: Project, pk: int) -> HttpResponse:
    shown = measured_in(project, pk)
    filters = room.Filters.from_query(request.GET.dict())
    match = room.matching(shown, filters)
    count, more = match.count()
    cuts = [(f"{cut['by']}/{part['name']}", cut["by"], part["name"])
            for cut in shown.measured["slices"] for part in cut["parts"]]  # fmt: skip
    context = {
        "project": project, "evaluation": shown, "filters": filters, "mend": match.mend, "count": count, "more": more,
        "page": room.page_of(shown, filters, request.GET.dict()), "names": label_names(shown.dataset),
        "orders": room.ORDERS.items(), "cuts": cuts, "after": request.GET.get("after", "")[:60],
        "as_list": filters.query(order=""), "as_gallery": filters.query(order=room.MISTAKES, right="", answered=""),
    }  # fmt: skip
    return render(request, "modeling/evaluation_posts.html", context)


@require_POST
@requires(Role.LEAD)
def doubt(request: HttpRequest, project: Project, pk: int, item: int) -> HttpResponse:
    """The label of a post goes back to people; over htmx its button alone is served again."""
    shown = measured_in(project, pk)
    sent = room.doubt(shown, me(request), item)
    if "HX-Request" in request.headers:
        return render(request, "modeling/_evaluation_sent.html", {"sent": sent})
    if sent:
        messages.success(request, "Its label waits for people now.")
    else:
        messages.warning(
            request, "It was not sent: people look at it already, it has another label now or none, or it is gone."
        )
    return redirect(f"{reverse('evaluation_posts', args=[project.slug, pk])}?{query_of(request)}")


def query_of(request: HttpRequest) -> str:
    """Back to the page of the list where it was pressed, and to nowhere else."""
    filters = room.Filters.from_query(request.POST.dict())
    return filters.query(after=request.POST.get("after", "")[:60])


def measured_in(project: Project, pk: int) -> Evaluation:
    shown = evaluation_in(project, pk)
    if shown.state != JobState.DONE:
        raise Http404("Nothing is measured here yet: it is " + shown.get_state_display().lower() + ".")
    return shown


# --- Two of them


@require_safe
@never_cache
@requires(Role.LEAD)
def compare(request: HttpRequest, project: Project) -> HttpResponse:
    listed = differing.choices(project)
    first, second = (number(request.GET.get(name, "")) for name in ("first", "second"))
    known = differing.known(project, listed, [pk for pk in (first, second) if pk])
    if missing := [pk for pk in (first, second) if pk and pk not in known]:
        raise Http404(f"There is no measured evaluation {missing[0]} in this project.")
    context: dict[str, Any] = {"project": project, "listed": listed}
    if pair := differing.chosen(listed, known, first, second):
        which = request.GET.get("which", "")
        which = which if which in differing.WHICH else ""
        context |= {"pair": pair, "which": which, "whiches": differing.WHICH.items()}
        if pair.told:
            context["page"] = differing.page_of(pair, which, number(request.GET.get("after", "")))
    return render(request, "modeling/evaluation_compare.html", context)


# --- Ways out


@require_safe
@never_cache
@requires(Role.LEAD)
def export(request: HttpRequest, project: Project, pk: int, format: str) -> HttpResponseBase:
    if format not in told.ENDINGS.values():
        raise Http404(f"There is no such format; there are {', '.join(told.ENDINGS.values())}.")
    shown = measured_in(project, pk)
    key = next(key for key, ending in told.ENDINGS.items() if ending == format)
    name = f"{project.slug}-evaluation-{pk}.{format}"
    headers = {"Content-Disposition": f'attachment; filename="{name}"', "X-Accel-Buffering": "no"}
    kind = f"{told.TYPES[key]}; charset=utf-8"
    if request.method == "HEAD":
        return HttpResponse(content_type=kind, headers=headers)
    if key == "csv":  # the true label of each post, of the locked test set too: noted before the first byte
        Event.record("evaluation downloaded", user=me(request), project=project, evaluation=pk, format=format)
    return StreamingHttpResponse(told.parts(shown, key), content_type=kind, headers=headers)
