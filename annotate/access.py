"""Who may see and do what in a project. Strangers get a 404: they must not learn which projects exist."""

from collections.abc import Callable
from functools import wraps
from ipaddress import ip_address
from typing import Any, Concatenate, ParamSpec, cast

from django.conf import settings
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponseBase
from django.shortcuts import get_object_or_404

from .models import Membership, Project, Role, User

P = ParamSpec("P")
Inner = Callable[Concatenate[HttpRequest, Project, P], HttpResponseBase]
Outer = Callable[Concatenate[HttpRequest, str, P], HttpResponseBase]


def me(request: HttpRequest) -> User:
    """The user behind a request that LoginRequiredMiddleware let through."""
    return cast(User, request.user)


def project_for(user: User, slug: str, least: Role) -> tuple[Project, Role]:
    project, role = seen(user, slug.replace("\0", ""))
    if not role.covers(least):
        raise PermissionDenied(
            f"This needs the role {least.label.lower()} in {project.name}; yours is {role.label.lower()}."
        )
    return project, role


def seen(user: User, slug: str) -> tuple[Project, Role]:
    """In one query, because it stands before everything else that a page does."""
    if user.is_superuser:
        return get_object_or_404(Project, slug=slug), Role.ADMIN
    seats = Membership.objects.select_related("project").filter(user=user, project__slug=slug)
    seat = get_object_or_404(seats)
    return seat.project, Role(seat.role)


def requires(least: Role) -> Callable[[Inner[P]], Outer[P]]:
    """The view below receives the project in place of its slug, and `request.role` holds the user's role in it."""

    def decorate(view: Inner[P]) -> Outer[P]:
        @wraps(view)
        def inner(request: HttpRequest, slug: str, *args: P.args, **kwargs: P.kwargs) -> HttpResponseBase:
            project, role = project_for(me(request), slug, least)
            request.role = role  # type: ignore[attr-defined]
            return view(request, project, *args, **kwargs)

        return cast(Outer[P], inner)  # wraps() keeps the argument's name, which a plain callable has none of

    return decorate


def site_admin(view: Callable[P, HttpResponseBase]) -> Callable[P, HttpResponseBase]:
    @wraps(view)
    def inner(*args: P.args, **kwargs: P.kwargs) -> HttpResponseBase:
        request = cast(HttpRequest, args[0])
        if not me(request).is_superuser:
            raise PermissionDenied("Only a site admin may do this.")
        return view(*args, **kwargs)

    return inner


def client_address(request: HttpRequest) -> str:
    """Each proxy of ours adds the address that it saw to the end; what stands before those, anybody could write."""
    proxies: int = settings.TRUSTED_PROXIES
    told: list[str] = [address.strip() for address in request.META.get("HTTP_X_FORWARDED_FOR", "").split(",")]
    if proxies and len(told) >= proxies and is_address(told[-proxies]):
        return told[-proxies]
    return str(request.META.get("REMOTE_ADDR", ""))


def is_address(text: str) -> bool:
    try:
        return bool(ip_address(text))
    except ValueError:
        return False


def role(request: HttpRequest) -> dict[str, Any]:
    """For templates: what to show is decided by the same role as what to allow."""
    held: Role | None = getattr(request, "role", None)
    return {
        "role": held,
        "is_lead": held is not None and held.covers(Role.LEAD),
        "is_admin": held is not None and held.covers(Role.ADMIN),
    }
