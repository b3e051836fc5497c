"""Labels of a frozen dataset that a model doubts: looked for, listed, sent to people."""

from typing import Any

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_POST

from annotate.access import me, requires
from annotate.models import Project, Role
from modeling.doubting import doubted, doubts
from modeling.models import DoubtSearch, DoubtState

from .datasets import frozen_in

FIRST = 50  # offered to be sent
MOST = 20_000


@require_http_methods(["GET", "HEAD", "POST"])
@never_cache
@requires(Role.LEAD)
def listed(request: HttpRequest, project: Project, name: str) -> HttpResponse:
    dataset = frozen_in(project, name)
    if request.method == "POST":
        return redirect(doubts.ask(dataset, me(request)))
    search = doubts.latest(dataset)
    context: dict[str, Any] = {"project": project, "dataset": dataset, "search": search}
    if search and search.state == DoubtState.READY:
        context |= shown(search, request.GET.dict())
    return render(request, "modeling/doubts.html", context)


def shown(search: DoubtSearch, query: dict[str, str]) -> dict[str, Any]:
    filters = doubted.Filters.from_query(query)
    given, suggested = doubted.labels_in(search)
    matching = doubted.matching(search, filters)
    chips = {label.name: f"label-{label.pk}" for label in search.dataset.project.labels.all()}
    page = doubted.page_of(matching, query)
    return {
        "filters": filters, "given": given, "suggested": suggested, "fates": doubted.FATES, "page": page,
        "open": matching.filter(fate="open").count(), "found": doubted.found_by(search),
        "lines": [(one, chips.get(one.item.label, ""), chips.get(one.suggested, "")) for one in page.doubts],
        "first": FIRST, "most": MOST,
    }  # fmt: skip


@require_POST
@requires(Role.LEAD)
def send(request: HttpRequest, project: Project, name: str) -> HttpResponse:
    """The ticked ones, or the first of all that match; of the list that was on the screen, not of a later one."""
    dataset = frozen_in(project, name)
    search = doubts.latest(dataset)
    if search is None or request.POST.get("search") != str(search.pk):
        messages.warning(request, "Nothing was sent: the list has been made anew since.")
        return redirect("dataset_doubts", project.slug, dataset.name)
    filters = doubted.Filters.from_query(request.POST.dict())
    chosen, first = doubted.matching(search, filters), None
    if "first" in request.POST:
        first = doubted.rank(request.POST["first"]) or 0
    else:
        chosen = chosen.filter(rank__in=[n for n in map(doubted.rank, request.POST.getlist("doubt")) if n])
    if first == 0 or (first is None and not chosen.exists()):
        messages.warning(request, "Nothing was sent: tick some, or say how many of the first.")
    else:
        tell(request, doubted.send(search, me(request), chosen, first))
    return redirect(f"{search.get_absolute_url()}?{filters.query}" if filters.query else search)


def tell(request: HttpRequest, opened: int) -> None:
    if opened:
        messages.success(request, f"{opened:,} {'post waits' if opened == 1 else 'posts wait'} for people now.")
    else:
        messages.warning(request, "None was sent: people look at them already, or have done so.")


@require_POST
@requires(Role.LEAD)
def stop(request: HttpRequest, project: Project, name: str) -> HttpResponse:
    dataset = frozen_in(project, name)
    if not doubts.stop(dataset):
        messages.warning(request, "There was nothing to stop.")
    return redirect("dataset_doubts", project.slug, dataset.name)
