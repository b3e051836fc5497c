"""Runs: all of them, one while it goes on and afterwards, and two side by side."""

from typing import Any

from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_POST, require_safe

from annotate.access import me, requires
from annotate.models import Project, Role
from modeling.models import Run
from modeling.training import (
    nvidia,
    receipts,
    results,
    run_folder,
    run_settings,
    runner,
    starting,
    training_presets,
    watching,
)
from modeling.training.comparing_runs import Beside

A_PAGE = 50


@require_safe
@never_cache
@requires(Role.LEAD)
def runs(request: HttpRequest, project: Project) -> HttpResponse:
    listed = runs_of(project)
    before = number(request.GET.get("before", ""))
    if before is not None:
        listed = listed.filter(pk__lt=before)
    page = list(listed[: A_PAGE + 1])
    context = {
        "project": project, "watched": [watching.Watch(run, 0, None) for run in page[:A_PAGE]],
        "older": page[A_PAGE - 1].pk if len(page) > A_PAGE else None, "is_first": before is None,
        "titles": titles(), "trainable": starting.trainable(project) if not page else [],
        "is_live": any(not run.is_over for run in page),
    }  # fmt: skip
    return render(request, "modeling/runs.html", context)


@require_safe
@never_cache
@requires(Role.LEAD)
def run(request: HttpRequest, project: Project, pk: int) -> HttpResponse:
    shown = run_in(project, pk)
    context = watched(project, shown) | machine(shown) | {
        "settings": settings_of(shown), "receipt": receipts.lines(shown.receipt),
        "has_modules": results.are_at_hand(shown),
    }  # fmt: skip
    return render(request, "modeling/run.html", context)


@require_safe
@never_cache
@requires(Role.LEAD)
def progress(request: HttpRequest, project: Project, pk: int) -> HttpResponse:
    shown = run_in(project, pk)
    if shown.is_over:
        return HttpResponse(headers={"HX-Refresh": "true"})
    return render(request, "modeling/_run_poll.html", watched(project, shown))


@require_safe
@never_cache
@requires(Role.LEAD)
def points(request: HttpRequest, project: Project, pk: int) -> JsonResponse:
    after = number(request.GET.get("after", ""))
    return JsonResponse(watching.curves(run_in(project, pk), -1 if after is None else after))


@require_safe
@never_cache
@requires(Role.LEAD)
def on_machine(request: HttpRequest, project: Project, pk: int) -> HttpResponse:
    shown = run_in(project, pk)
    return render(request, "modeling/_run_machine_poll.html", {"project": project, "run": shown} | machine(shown))


@require_POST
@requires(Role.ADMIN)
def stop(request: HttpRequest, project: Project, pk: int) -> HttpResponse:
    stopped = run_in(project, pk)
    if not runner.stop(stopped, me(request)):
        messages.warning(request, "This run is not at work; there is nothing to stop.")
    return redirect("run", project.slug, pk)


@require_POST
@requires(Role.ADMIN)
def resume(request: HttpRequest, project: Project, pk: int) -> HttpResponse:
    if not starting.resume(run_in(project, pk), me(request)):
        messages.warning(request, "This run is at work or done; there is nothing to resume.")
    return redirect("run", project.slug, pk)


@require_safe
@requires(Role.LEAD)
def receipt(request: HttpRequest, project: Project, pk: int) -> JsonResponse:
    shown = run_in(project, pk)
    if not shown.receipt:
        raise Http404("This run has no receipt yet: it is written when it is done.")
    name = f"{project.slug}-run-{pk}-receipt.json"
    headers = {"Content-Disposition": f'attachment; filename="{name}"'}
    return JsonResponse(shown.receipt, json_dumps_params={"indent": 1, "ensure_ascii": False}, headers=headers)


@require_safe
@requires(Role.LEAD)
def modules(request: HttpRequest, project: Project, pk: int) -> HttpResponse:
    """Which were trained, by name: that list lies beside the adapter alone."""
    listed = results.modules_of(run_in(project, pk))
    if listed is None:
        raise Http404("The list of modules is not where this machine could read it.")
    headers = {"Content-Disposition": f'inline; filename="run-{pk}-{results.MODULES}"'}
    return HttpResponse(listed, content_type="text/plain; charset=utf-8", headers=headers)


@require_safe
@never_cache
@requires(Role.LEAD)
def compare(request: HttpRequest, project: Project) -> HttpResponse:
    """Any two; those not named are the latest."""
    listed = list(runs_of(project)[:200])
    one = named(project, request.GET.get("one", ""), listed, None)
    other = named(project, request.GET.get("other", ""), listed, one)
    context: dict[str, Any] = {"project": project, "runs": listed, "titles": titles()}
    if one and other:
        context |= {"beside": Beside(one, other), "one": watching.watch(one), "other": watching.watch(other)}
    return render(request, "modeling/run_compare.html", context)


def named(project: Project, pk: str, listed: list[Run], beside: Run | None) -> Run | None:
    if pk:
        return run_in(project, number(pk) or 0)
    return next((run for run in listed if run != beside), None)


def number(told: str) -> int | None:
    """Nothing that PostgreSQL would not take for one."""
    return int(told) if told.isdecimal() and len(told) < 19 else None


def runs_of(project: Project) -> Any:
    return project.runs.select_related("dataset", "dataset__project", "by").defer(
        "receipt", "log", "dataset__told", "dataset__facts", "dataset__composition"
    )


def run_in(project: Project, pk: int) -> Run:
    return get_object_or_404(project.runs.select_related("dataset", "dataset__project", "by"), pk=pk)


def titles() -> dict[str, str]:
    return {preset.key: preset.title for preset in training_presets.available()}


def watched(project: Project, shown: Run) -> dict[str, Any]:
    return {
        "project": project, "run": shown, "watch": watching.watch(shown),
        "steps": watching.latest(shown, "step"), "evaluations": watching.latest(shown, "evaluation"),
    }  # fmt: skip


def machine(shown: Run) -> dict[str, Any]:
    """The cards, where the run works on this machine."""
    told: dict[str, Any] = {"is_here": watching.is_here(shown)}
    if told["is_here"] and not shown.is_over:
        try:
            told["cards"] = nvidia.cards(run_folder.folder_of(shown))
        except nvidia.Silent:
            told["cards_silent"] = True
    return told


def settings_of(shown: Run) -> dict[str, Any]:
    """What differs from its recipe, and then all of them."""
    presets = {preset.key: preset for preset in training_presets.available()}
    preset = presets.get(shown.recipe)
    usual = starting.as_recipe_says(preset, shown.dataset).as_json() if preset else {}
    words, title = run_settings.in_words, run_settings.title_of
    differs = [(title(name), words(name, usual[name]) if name in usual else "", words(name, shown.config.get(name, "")))
               for name in (run_settings.differing(usual, shown.config) if preset else ())]  # fmt: skip
    every = [(title(name), words(name, value)) for name, value in run_settings.in_order(shown.config)]
    return {"preset": preset, "differs": differs, "all": every}
