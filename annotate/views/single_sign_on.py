"""There and back again. The way there begins with a form of ours, so that no other site can begin it for somebody."""

from django.conf import settings
from django.contrib import auth, messages
from django.contrib.auth.decorators import login_not_required
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_GET, require_POST

from annotate.access import client_address, me
from annotate.login_links import BACKEND
from annotate.models import Invitation, User
from annotate.models.people import digest
from annotate.operating.limits import MINUTE, Limit, TooFast, network_of, spend
from annotate.single_sign_on import Asked, TurnedAway, received, way_back, way_there
from annotate.views.people import onward_from

KNOCKS = Limit("sign-on", 60, MINUTE, "attempts to log in")  # each leaves a session behind
SIGNED_ON = "signed_on"  # in the session: how this person came in


@login_not_required
@never_cache
@require_POST
def there(request: HttpRequest) -> HttpResponse:
    """By a page and not a redirect: a browser lets a form of ours lead nowhere but here, also by a detour."""
    secret = request.POST.get("invitation", "")
    connects = me(request).pk if "connect" in request.POST and request.user.is_authenticated else None
    asked = Asked(onward_from(request), digest(secret) if secret else "", connects)
    try:
        spend(KNOCKS, network_of(client_address(request)))
        return render(request, "people/sign_on.html", {"there": way_there(request, asked), "name": settings.OIDC_NAME})
    except TurnedAway as refusal:
        return turned_away(request, refusal, 503)
    except TooFast as refusal:
        return turned_away(request, refusal, 429)


@login_not_required
@never_cache
@require_GET
def back(request: HttpRequest) -> HttpResponse:
    by = me(request) if request.user.is_authenticated else None
    try:
        told, asked = way_back(request)
        user = received(told, asked, by)
    except TurnedAway as refusal:
        return turned_away(request, refusal, 403)
    if asked.connects is None:
        enter(request, user)
        return HttpResponseRedirect(address_of(asked))
    messages.success(request, f"Connected: from now on you can log in with {settings.OIDC_NAME}.")
    return HttpResponseRedirect(asked.onward)


def enter(request: HttpRequest, user: User) -> None:
    """For hours and not for a month: whoever leaves the organisation must not stay in here for long."""
    auth.login(request, user, backend=BACKEND)
    request.session.set_expiry(round(settings.OIDC_SESSION_HOURS * 3600))
    request.session[SIGNED_ON] = True


def address_of(asked: Asked) -> str:
    if asked.invitation:
        return Invitation.objects.get(digest=asked.invitation).project.get_absolute_url()
    return asked.onward


def turned_away(request: HttpRequest, refusal: Exception, status: int) -> HttpResponse:
    response = render(request, "people/turned_away.html", {"refusal": str(refusal)}, status=status)
    if isinstance(refusal, TooFast):
        response["Retry-After"] = str(refusal.seconds)
    return response
