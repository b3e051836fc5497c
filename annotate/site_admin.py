"""Django's admin, for site admins alone, behind the same login as everything else."""

from typing import Any

from django.contrib.admin import AdminSite
from django.contrib.admin.apps import AdminConfig
from django.contrib.auth.decorators import login_not_required
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import reverse
from django.utils.decorators import method_decorator


class SiteAdmin(AdminSite):
    site_header = site_title = "Casting Vote"
    index_title = "Site administration"

    def has_permission(self, request: HttpRequest) -> bool:
        user = request.user
        return user.is_authenticated and user.is_active and user.is_staff and user.is_superuser

    @method_decorator(login_not_required)
    def login(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        if self.has_permission(request):
            return redirect("admin:index")
        if request.user.is_authenticated:
            raise PermissionDenied("Only a site admin may do this.")
        return redirect(reverse("login", query={"next": request.GET.get("next", reverse("admin:index"))}))


class SiteAdminConfig(AdminConfig):
    default_site = "annotate.site_admin.SiteAdmin"
