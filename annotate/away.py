"""What is answered while the database is away, as when it is started anew: that it is so, and to ask again."""

import sys

from django.db import InterfaceError, OperationalError
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.template.loader import render_to_string

from .operating import broken

SECONDS = 3  # after which it is worth while to ask again
# By SQLSTATE: lost, shut down or starting, too many at once; and whoever gave way where two waited for each other
GONE = ("08", "57P", "53300", "40")
SENTENCE = "The database is away for a moment. What you sent is stored whole or not at all: look, and send it again."


def answer(request: HttpRequest) -> HttpResponse:
    """In place of what is answered when something broke; called while that is being handled."""
    if not is_away(sys.exc_info()[1]):
        return broken.broken(request)
    told = in_form_of(request)
    told["Retry-After"] = str(SECONDS)
    told["Cache-Control"] = "no-store"
    return told


def is_away(error: BaseException | None) -> bool:
    if not isinstance(error, OperationalError | InterfaceError):
        return False
    state = getattr(error.__cause__, "sqlstate", None)
    return state is None or state.startswith(GONE)


def in_form_of(request: HttpRequest) -> HttpResponse:
    if request.path_info.startswith("/v1/"):  # in the form that programs of OpenAI's API can read
        error = {"message": SENTENCE, "type": "server_error", "param": None, "code": "database_away"}
        return JsonResponse({"error": error}, status=503)
    if request.path_info.startswith("/api/"):
        return JsonResponse({"detail": SENTENCE}, status=503)
    if "HTTP_HX_REQUEST" in request.META:
        return HttpResponse(SENTENCE, status=503, content_type="text/plain; charset=utf-8")
    looks = request.method in ("GET", "HEAD")
    page = HttpResponse(render_to_string("503.html", {"looks": looks, "seconds": SECONDS}), status=503)
    if looks:
        page["Refresh"] = str(SECONDS)
    return page
