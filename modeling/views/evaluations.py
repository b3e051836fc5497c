"""Evaluations: who is best on a test set, one while it goes on and afterwards, and asking anew."""

from typing import Any

from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from annotate.access import me, requires
from annotate.models import Project, Role
from modeling.evaluation import board_told, evaluating, leaderboard, learning, report
from modeling.evaluation.predictors import KINDS
from modeling.forms.evaluations import EvaluationForm
from modeling.models import Evaluation, JobState, Sees
from modeling.training import starting

TYPES = {"md": "text/markdown", "csv": "text/csv", "json": "application/json"}


@require_safe
@never_cache
@requires(Role.LEAD)
def evaluations(request: HttpRequest, project: Project) -> HttpResponse:
    filters = leaderboard.Filters.from_query(request.GET.dict())
    context = board_of(project, filters)
    board, waiting = context["board"], leaderboard.unfinished(project)
    series = learning.series(project, board.test_set)
    context |= {
        "unfinished": [report.Watch(one, 0) for one in waiting], "is_live": any(not one.is_over for one in waiting),
        "elsewhere": leaderboard.elsewhere(project, me(request), board.test_set, board.axis),
        "series": series, "learnt": learning.chosen(series, request.GET.get("series", "")),
        "sees": Sees.choices, "kinds": leaderboard.KIND_TITLES.items(),
        "has_datasets": bool(context["test_sets"]) or project.datasets.frozen().exists(),
    }  # fmt: skip
    return render(request, "modeling/evaluations.html", context)


def board_of(project: Project, filters: leaderboard.Filters) -> dict[str, Any]:
    mend: list[str] = []
    known = leaderboard.test_sets(project)
    chosen = leaderboard.chosen(project, filters, known, mend)
    board = leaderboard.board(project, filters, chosen, mend)
    return {"project": project, "filters": filters, "test_sets": known, "board": board, "mend": mend}


@require_safe
@never_cache
@requires(Role.LEAD)
def board_export(request: HttpRequest, project: Project, format: str) -> HttpResponse:
    """The same address as the page's, with another ending."""
    if format not in board_told.FORMATS:
        raise Http404(f"There is no such format; there are {', '.join(board_told.FORMATS)}.")
    board = board_of(project, leaderboard.Filters.from_query(request.GET.dict()))["board"]
    headers = {"Content-Disposition": f'attachment; filename="{project.slug}-evaluations.{format}"'}
    return HttpResponse(
        board_told.written(board, format), content_type=f"{TYPES[format]}; charset=utf-8", headers=headers
    )


@require_http_methods(["GET", "HEAD", "POST"])
@requires(Role.LEAD)
def new(request: HttpRequest, project: Project) -> HttpResponse:
    """Leads see who could be asked; admins ask."""
    role: Role = request.role  # type: ignore[attr-defined]
    asked = request.method == "POST"
    if asked and not role.covers(Role.ADMIN):
        raise PermissionDenied("Only an admin of this project asks predictors.")
    form = EvaluationForm(request.POST if asked else None, project=project, by=me(request), asked=request.GET)
    if asked and form.is_valid():
        return asked_for(request, project, form.ask())
    context = {"project": project, "form": form, "suggestions": starting.suggestions(), "kinds": KINDS}
    return render(request, "modeling/evaluation_new.html", context, status=422 if asked else 200)


def asked_for(request: HttpRequest, project: Project, made: list[Evaluation]) -> HttpResponse:
    if len(made) == 1:
        return redirect(made[0])
    messages.success(request, f"{len(made):,} are asked, one after the other.")
    return redirect("evaluations", project.slug)


@require_safe
@never_cache
@requires(Role.LEAD)
def evaluation(request: HttpRequest, project: Project, pk: int) -> HttpResponse:
    shown = evaluation_in(project, pk)
    context = {"project": project, "evaluation": shown, "watch": report.watch(shown)}
    if shown.state == JobState.DONE:
        beside = report.rivals(shown)
        ways = report.leans_on(shown, beside)
        context |= {
            "report": report.Report(shown), "rivals": beside, "ways": ways, "newer": report.newer(shown),
            "missing": report.missing(shown) if ways else [], "receipt": report.receipt(shown),
        }  # fmt: skip
    return render(request, "modeling/evaluation.html", context)


@require_safe
@never_cache
@requires(Role.LEAD)
def progress(request: HttpRequest, project: Project, pk: int) -> HttpResponse:
    shown = evaluation_in(project, pk)
    if shown.is_over:
        return HttpResponse(headers={"HX-Refresh": "true"})
    context = {"project": project, "evaluation": shown, "watch": report.watch(shown)}
    return render(request, "modeling/_evaluation_progress.html", context)


@require_POST
@requires(Role.ADMIN)
def stop(request: HttpRequest, project: Project, pk: int) -> HttpResponse:
    if not evaluating.stop(evaluation_in(project, pk), me(request)):
        messages.warning(request, "Nobody is being asked here; there is nothing to stop.")
    return back(request, project, pk)


@require_POST
@requires(Role.ADMIN)
def resume(request: HttpRequest, project: Project, pk: int) -> HttpResponse:
    if not evaluating.resume(evaluation_in(project, pk), me(request)):
        messages.warning(request, "It is at work or done; there is nothing to resume.")
    return back(request, project, pk)


def back(request: HttpRequest, project: Project, pk: int) -> HttpResponse:
    """Whoever stopped it in the list stays in the list."""
    if request.POST.get("from") == "list":
        return redirect("evaluations", project.slug)
    return redirect("evaluation", project.slug, pk)


@require_POST
@requires(Role.ADMIN)
def three_ways(request: HttpRequest, project: Project, pk: int) -> HttpResponse:
    """The same model asked in the ways that are missing, about the same posts."""
    shown = evaluation_in(project, pk)
    try:
        asked = report.three_ways(shown, project, me(request))
    except evaluating.Refused as refusal:
        messages.error(request, str(refusal))
        return redirect(shown)
    if not asked:
        messages.warning(request, "It was asked all three ways, or is being asked now.")
        return redirect(shown)
    messages.success(request, f"It is asked {asked} more way{'s' if asked > 1 else ''}.")
    return redirect(f"{reverse('evaluations', args=[project.slug])}?which=all")


def evaluation_in(project: Project, pk: int) -> Evaluation:
    found = project.evaluations.select_related("dataset", "dataset__project", "project", "by", "run", "run__dataset")
    return get_object_or_404(found.defer("dataset__told", "dataset__composition", "run__receipt", "run__log"), pk=pk)
