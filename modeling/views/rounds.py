"""Rounds: all of them beside each other, the form that begins the next, one step by step, and what people say of it."""

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
from modeling.forms.rounds import RoundForm, ThresholdForm
from modeling.models import Round
from modeling.prelabelling import prelabelling
from modeling.rounds import report, rounds, told
from modeling.rounds.guards import ENOUGH
from modeling.rounds.walking import Walk
from modeling.training import starting

from .runs import number as whole_number


@require_safe
@never_cache
@requires(Role.LEAD)
def listed(request: HttpRequest, project: Project) -> HttpResponse:
    before = whole_number(request.GET.get("before", ""))
    board = report.board(project, before)
    is_worth, why_not = told.another(project) if board.rows else (True, "")
    last = project.rounds.first() if before is not None else (board.rows[0].one if board.rows else None)
    context = {
        "project": project, "board": board, "before": before, "stock": report.stock(project), "is_worth": is_worth,
        "why_not": why_not, "next": (last.number if last else 0) + 1, "may_begin": last is None or last.is_over,
    }  # fmt: skip
    return render(request, "modeling/rounds.html", context)


@require_http_methods(["GET", "HEAD", "POST"])
@requires(Role.LEAD)
def new(request: HttpRequest, project: Project) -> HttpResponse:
    """Leads see what it would cost; admins begin it."""
    role: Role = request.role  # type: ignore[attr-defined]
    asked = request.method == "POST"
    if asked and not role.covers(Role.ADMIN):
        raise PermissionDenied("Only an admin of this project begins rounds.")
    form = RoundForm(request.POST if asked else request.GET, project=project, by=me(request))
    if form.is_valid() and asked and (begun := form.begin()):
        return redirect(begun)
    context = preview_of(form) | {
        "asked": asked, "suggestions": starting.suggestions(), "stock": report.stock(project),
        "open": form.last if form.last and not form.last.is_over else None,
    }  # fmt: skip
    return render(request, "modeling/round_new.html", context, status=422 if asked else 200)


@require_safe
@never_cache
@requires(Role.LEAD)
def preview(request: HttpRequest, project: Project) -> HttpResponse:
    """The address bar follows, so that what is on the screen can be sent to somebody."""
    form = RoundForm(request.GET, project=project, by=me(request))
    answer = render(request, "modeling/_round_cost.html", preview_of(form))
    if form.plan:
        answer["HX-Replace-Url"] = f"{reverse('round_new', args=[project.slug])}?{form.query}"
    return answer


def preview_of(form: RoundForm) -> dict[str, Any]:
    form.is_valid()
    return {"project": form.project, "form": form, "reckoned": form.reckoned}


@require_safe
@never_cache
@requires(Role.LEAD)
def one(request: HttpRequest, project: Project, number: int) -> HttpResponse:
    walk = Walk(round_in(project, number))
    context = walked(request, project, walk)
    if walk.one.is_over:
        is_worth, why_not = told.another(project)
        context |= {
            "row": report.Row(walk.one, walk.one.told), "is_worth": is_worth, "why_not": why_not,
            "is_last": not project.rounds.filter(number__gt=number).exists(),
        }  # fmt: skip
    return render(request, "modeling/round.html", context)


def walked(request: HttpRequest, project: Project, walk: Walk) -> dict[str, Any]:
    meaning = walk.meaning(request.GET.dict())
    audits = walk.audits_drawn(meaning.reckoning.settled) if meaning else 0
    return {
        "project": project, "one": walk.one, "walk": walk, "meaning": meaning, "audits": audits, "enough": ENOUGH,
    }  # fmt: skip


@require_safe
@never_cache
@requires(Role.LEAD)
def progress(request: HttpRequest, project: Project, number: int) -> HttpResponse:
    """The whole page anew once something else is needed; a form that somebody fills in is never replaced."""
    walk = Walk(round_in(project, number))
    if request.GET.get("as") != walk.mark:
        return HttpResponse(headers={"HX-Refresh": "true"})
    return render(request, "modeling/_round_steps.html", walked(request, project, walk))


# --- What people say


@require_POST
@requires(Role.ADMIN)
def settle(request: HttpRequest, project: Project, number: int) -> HttpResponse:
    shown, form = round_in(project, number), ThresholdForm(request.POST)
    if not form.is_valid():
        messages.error(request, "Nothing was settled: the threshold is a chance from 0.5 to 1.")
        return redirect(shown)
    try:
        settled = rounds.settle(shown, me(request), form.cleaned_data["threshold"])
    except prelabelling.Refused as refusal:
        messages.error(request, f"Nothing was settled. {refusal}")
        return redirect(shown)
    return answered(request, shown, settled, "Nothing was settled by this: it does not wait for a word any more.")


@require_POST
@requires(Role.ADMIN)
def go_on(request: HttpRequest, project: Project, number: int) -> HttpResponse:
    shown = round_in(project, number)
    gone = rounds.go_on(shown, me(request))
    return answered(request, shown, gone, "It does not wait for answers, or was told so already.")


@require_POST
@requires(Role.LEAD)
def keep(request: HttpRequest, project: Project, number: int) -> HttpResponse:
    shown = round_in(project, number)
    kept = rounds.keep_all_the_same(shown, me(request))
    return answered(request, shown, kept, "Nobody is asked any more whether it is kept.")


@require_POST
@requires(Role.LEAD)
def roll_back(request: HttpRequest, project: Project, number: int) -> HttpResponse:
    shown = round_in(project, number)
    return answered(request, shown, rounds.roll_back(shown, me(request)), "It was rolled back before.")


@require_POST
@requires(Role.ADMIN)
def stop(request: HttpRequest, project: Project, number: int) -> HttpResponse:
    shown = round_in(project, number)
    return answered(request, shown, rounds.stop(shown, me(request)), "It is not under way; there is nothing to stop.")


@require_POST
@requires(Role.ADMIN)
def resume(request: HttpRequest, project: Project, number: int) -> HttpResponse:
    shown = round_in(project, number)
    resumed = rounds.resume(shown, me(request))
    return answered(request, shown, resumed, "It is under way or over; there is nothing to resume.")


def answered(request: HttpRequest, shown: Round, changed: bool, otherwise: str) -> HttpResponse:
    if not changed:
        messages.warning(request, otherwise)
    return redirect(shown)


def round_in(project: Project, number: int) -> Round:
    known = number if number < 2**31 else 0
    related = project.rounds.select_related(*rounds.RELATED, "prelabelling__voter")
    found: Round = get_object_or_404(related, number=known)
    return found
