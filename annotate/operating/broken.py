"""What is answered when something broke that nobody foresaw: a page, a sentence or JSON, with the number under which
the log tells why. It asks for nothing that may be what broke: no database, no session, and if need be no template."""

import logging

from django.http import HttpRequest, HttpResponse, JsonResponse
from django.template.loader import render_to_string

from . import at_work

SENTENCE = "Something broke on the server. Try again; if it breaks again, tell whoever runs it"
BARE = "<!doctype html><html lang=en><title>Something broke</title><h1>Something broke on the server</h1><p>{}</p>"


def broken(request: HttpRequest) -> HttpResponse:
    number = at_work.number()
    if request.path_info.startswith("/v1/"):  # in the form that programs of OpenAI's API can read
        error = {"message": sentence(number), "type": "server_error", "param": None, "code": "server_error"}
        return JsonResponse({"error": error, "number": number}, status=500)
    if request.path_info.startswith("/api/"):
        return JsonResponse({"detail": sentence(number), "number": number}, status=500)
    if "HTTP_HX_REQUEST" in request.META:  # part of a page, which shows it as it is
        return HttpResponse(sentence(number), status=500, content_type="text/plain; charset=utf-8")
    return HttpResponse(page(number), status=500)


def sentence(number: str) -> str:
    return f"{SENTENCE} the number {number}." if number else f"{SENTENCE} what you did and when."


def page(number: str) -> str:
    try:
        return render_to_string("500.html", {"number": number})
    except Exception:
        logging.getLogger("django.request").exception("Not even the page of errors could be drawn.")
        return BARE.format(sentence(number))
