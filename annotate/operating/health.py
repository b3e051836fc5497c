"""For load balancers and Prometheus: does this process answer, can this machine serve, and how does it go.

These addresses are answered before anything else is asked, by plain HTTP and under any host name: a balancer asks
a machine by its number, and knows neither our name nor our certificate. Nothing in an answer is made of what was
asked, so a forged name gains nothing; and strangers are told which part is well, and no more of it.
"""

from collections.abc import Callable
from hmac import compare_digest

from django.conf import settings
from django.contrib.auth.decorators import login_not_required
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseBase, JsonResponse
from django.urls import resolve
from django.views.decorators.http import require_safe
from prometheus_client import CONTENT_TYPE_LATEST

from annotate.models import User

from . import metrics as figures
from . import readiness
from .readiness import Part

Answer = Callable[[HttpRequest], HttpResponseBase]
HEADERS = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}


def door(answer: Answer) -> Answer:
    """Whoever is logged in goes the usual way, where it is known who they are."""

    def around(request: HttpRequest) -> HttpResponseBase:
        if not opens(request):
            return answer(request)
        request.resolver_match = match = resolve(request.path_info)
        told: HttpResponseBase = match.func(request)
        return told

    return around


def opens(request: HttpRequest) -> bool:
    if request.path_info in {"/healthz", "/readyz"}:
        return has_token(request) or settings.SESSION_COOKIE_NAME not in request.COOKIES
    return request.path_info == "/metrics" and has_token(request)


@require_safe
@login_not_required
def healthz(request: HttpRequest) -> HttpResponse:
    return JsonResponse({"ok": True}, headers=HEADERS)


@require_safe
@login_not_required
def readyz(request: HttpRequest) -> HttpResponse:
    """`?exclude=queue_gpu` leaves a part out: people can review while no worker is there, and a balancer that took
    every machine away then would make it worse."""
    left_out = set(request.GET.getlist("exclude"))
    parts = [part for part in readiness.PARTS() if part.name not in left_out]
    ready = all(part.ok for part in parts)
    told = {"ready": ready, "parts": as_told(parts, in_full=is_ours(request))}
    answer = JsonResponse(told, status=200 if ready else 503, headers=HEADERS)
    answer._has_been_logged = True  # type: ignore[attr-defined]  # Django would call each of these an error
    return answer


def as_told(parts: list[Part], in_full: bool) -> dict[str, dict[str, object]]:
    return {part.name: {"ok": part.ok} | ({"says": part.says} if in_full else {}) for part in parts}


def is_ours(request: HttpRequest) -> bool:
    """A login stands in the database, so while that is gone only the token is believed."""
    if has_token(request):
        return True
    return readiness.database_answers() and is_site_admin(request)


def is_site_admin(request: HttpRequest) -> bool:
    user = getattr(request, "user", None)  # nobody has looked who it is, at the door
    return isinstance(user, User) and user.is_active and user.is_superuser


def has_token(request: HttpRequest) -> bool:
    scheme, _, token = request.META.get("HTTP_AUTHORIZATION", "").partition(" ")
    wanted: str = settings.METRICS_TOKEN
    is_right = compare_digest(token.strip().encode(errors="replace"), wanted.encode())
    return bool(wanted) and scheme.lower() == "bearer" and is_right


@require_safe
@login_not_required
def metrics(request: HttpRequest) -> HttpResponse:
    """To anybody else there is nothing here."""
    if not has_token(request) and not is_site_admin(request):
        raise Http404
    return HttpResponse(figures.exposition(), content_type=CONTENT_TYPE_LATEST, headers=HEADERS)
