"""Around every request: its number, its line in the log, and its place in the figures."""

import logging
import time
from collections.abc import Callable

from django.conf import settings
from django.http import HttpRequest, HttpResponseBase

from . import at_work, metrics

log = logging.getLogger("annotate.requests")
HEADER = "X-Request-ID"
# Asked for by every page or every few seconds: their lines would hide the others.
QUIET = {"image", "thumb", "label_colours", "metrics"}
PROBES = {"healthz", "readyz"}  # whether they turn out well or not: a change is told once, by readiness
LINE = "%s %s %s %.1f ms"
Answer = Callable[[HttpRequest], HttpResponseBase]


def requests(answer: Answer) -> Answer:
    static = "/" + settings.STATIC_URL.lstrip("/")

    def around(request: HttpRequest) -> HttpResponseBase:
        if request.path_info.startswith(static):
            return answer(request)
        began = time.perf_counter()
        number = at_work.number_for(request.META.get("HTTP_X_REQUEST_ID", ""))
        request.number = number  # type: ignore[attr-defined]
        with at_work.at(at_work.Request(number, request)):
            response = answer(request)
            seconds = time.perf_counter() - began
            response.headers[HEADER] = number
            metrics.count(request, response.status_code, seconds)
            metrics.ITSELF.tell()
            tell(request, response.status_code, seconds)
        return response

    return around


def tell(request: HttpRequest, status: int, seconds: float) -> None:
    level = logging.DEBUG if is_quiet(request, status) else logging.INFO
    if not log.isEnabledFor(level):
        return
    route, milliseconds = at_work.route_of(request), round(seconds * 1000, 1)
    method = at_work.method_of(request)
    told = (method, route, status, milliseconds)
    # By hand, because every request pays for it: where in our code it was said is no news, and its words are ours.
    record = log.makeRecord(log.name, level, __file__, 0, LINE, told, None)
    record.more = {"method": method, "status": status, "ms": milliseconds, "route": route}
    record.is_harmless = True
    log.handle(record)


def is_quiet(request: HttpRequest, status: int) -> bool:
    """So is a page that looks every second how far something is."""
    route = at_work.route_of(request)
    polls = request.method == "GET" and "HTTP_HX_REQUEST" in request.META
    return route in PROBES or (status < 500 and (polls or route in QUIET))
