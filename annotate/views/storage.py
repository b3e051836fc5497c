"""What takes how much room and what may go, as workers last told; and how much each project may hold."""

from typing import Any

from django.conf import settings
from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods

from annotate.access import me, site_admin
from annotate.forms.quotas import QuotaForm
from annotate.models import Project
from annotate.operating import pruning, room, upkeep
from annotate.operating import storage as told

LARGEST = 2**63 - 1


@require_http_methods(["GET", "HEAD", "POST"])
@never_cache
@site_admin
def storage(request: HttpRequest) -> HttpResponse:
    asked = request.POST.get("do", "")
    if asked == "allow":
        return allow(request)
    if asked == "remove":
        remove(request)
    elif asked == "forget":
        if not upkeep.forget(number(request, "place")):
            messages.info(request, "Nothing was forgotten: it is looked after, or was forgotten before.")
    elif request.method == "POST":
        upkeep.ask()
    return redirect("storage") if request.method == "POST" else page(request)


def allow(request: HttpRequest) -> HttpResponse:
    form = QuotaForm(request.POST, get_object_or_404(Project, pk=number(request, "project")))
    if not form.is_valid():
        return page(request, form)
    messages.success(request, f"Saved for {form.save_as(me(request)).name}.")
    return redirect("storage")


def remove(request: HttpRequest) -> None:
    known = {rule.key for rule in pruning.rules()}
    if rules := known & {*request.POST.getlist("rule")}:
        upkeep.ask(me(request), rules)
        messages.success(request, "What is ticked is removed within a minute, by each machine of its own.")
    else:
        messages.info(request, "Nothing was ticked, so nothing is removed.")


def number(request: HttpRequest, name: str) -> int:
    given = request.POST.get(name, "")
    return min(int(given), LARGEST) if given.isascii() and given.isdecimal() else 0


def page(request: HttpRequest, bound: QuotaForm | None = None) -> HttpResponse:
    places, projects = told.places(), room.stands(Project.objects.all())
    rows = [
        (one, stand, bound if bound and bound.instance.pk == one.pk else QuotaForm(None, one))
        for one, stand in projects
    ]
    context: dict[str, Any] = {
        "places": places, "awaited": told.are_awaited(places), "rows": rows, "found": told.may_go(places),
        "least": settings.LEAST_FREE_MB, "quota": settings.MEDIA_QUOTA_MB, "daily": settings.PRUNE,
        "usual_gb": settings.PROJECT_QUOTA_GB, "usual_posts": settings.PROJECT_QUOTA_POSTS, "bound": bound,
        "measured": any(place.measured for place in places),
    }  # fmt: skip
    context["going"] = any(each.count for each in context["found"])
    return render(request, "annotate/storage.html", context, status=422 if bound else 200)
