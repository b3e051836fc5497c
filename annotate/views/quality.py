from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from annotate import decided, judged, targeting
from annotate import quality as room
from annotate.access import me, requires
from annotate.forms.quality import RiskiestForm
from annotate.models import Project, Role
from annotate.models.review import TargetingState


@require_safe
@requires(Role.LEAD)
def quality(request: HttpRequest, project: Project) -> HttpResponse:
    return render(request, "annotate/quality.html", {"project": project, "overview": room.read(project)})


@require_safe
@requires(Role.LEAD)
def headline(request: HttpRequest, project: Project) -> HttpResponse:
    """Asked for by the project's home once that is there: with very many audits it takes a moment."""
    return render(request, "annotate/_quality_headline.html", {"project": project, "told": room.headline(project)})


@require_safe
@requires(Role.LEAD)
def listed(request: HttpRequest, project: Project) -> HttpResponse:
    filters = decided.Filters.from_query(request.GET.dict())
    found, mend = decided.matching(project, filters)
    context = {
        "project": project, "filters": filters, "mend": mend, "count": decided.count_of(found, filters),
        "page": decided.page_of(found, request.GET.dict()), "choices": decided.CHOICES,
        "labels": list(project.labels.all()), "voters": list(project.voters.values_list("name", flat=True)),
    }  # fmt: skip
    return render(request, "annotate/quality_decided.html", context)


@require_safe
@requires(Role.LEAD)
def machines(request: HttpRequest, project: Project) -> HttpResponse:
    trust, labels = judged.read(project), list(project.labels.all())
    chosen = trust.chosen(request.GET.get("voter", ""))
    context = {"project": project, "trust": trust, "labels": labels, "chosen": chosen}
    if chosen:
        context["heat"], context["links"] = judged.confusion(chosen, labels)
    return render(request, "annotate/quality_machines.html", context)


@require_http_methods(["GET", "HEAD", "POST"])
@requires(Role.LEAD)
def riskiest(request: HttpRequest, project: Project) -> HttpResponse:
    form = RiskiestForm(request.POST or None)
    if form.is_valid():
        return redirect(targeting.ask(project, me(request), form.cleaned_data["posts"]))
    before = list(project.targetings.select_related("by", "project").defer("picked"))
    found = targeting.found_by(before)
    context = {
        "project": project, "form": form, "candidates": targeting.candidates_in(project),
        "before": [(one, found.get(one.pk, targeting.NOTHING)) for one in before],
    }  # fmt: skip
    return render(request, "annotate/quality_riskiest.html", context, status=422 if form.is_bound else 200)


@require_safe
@never_cache
@requires(Role.LEAD)
def show(request: HttpRequest, project: Project, pk: int) -> HttpResponse:
    asked = get_object_or_404(project.targetings.select_related("by", "project").defer("picked"), pk=pk)
    found = targeting.found_by([asked]).get(pk, targeting.NOTHING)
    return render(request, "annotate/quality_targeting.html", {"project": project, "asked": asked, "found": found})


@require_POST
@requires(Role.LEAD)
def put_to_people(request: HttpRequest, project: Project, pk: int) -> HttpResponse:
    asked = get_object_or_404(project.targetings.defer("picked"), pk=pk)
    posts = targeting.put_to_people(asked, me(request))
    if posts:
        messages.success(request, f"{posts:,} {'post waits' if posts == 1 else 'posts wait'} for people now.")
    elif asked.state == TargetingState.READY:
        messages.warning(request, "People have decided or taken up all of these since; ask for others.")
    return redirect(asked)


@require_POST
@requires(Role.LEAD)
def discard(request: HttpRequest, project: Project, pk: int) -> HttpResponse:
    asked = get_object_or_404(project.targetings.defer("picked"), pk=pk)
    if not targeting.discard(asked):
        messages.warning(request, "People look at these already; they cannot be discarded.")
    return redirect("quality_riskiest", project.slug)
