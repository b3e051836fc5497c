from datetime import timedelta
from typing import Any

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils import timezone
from django.views.decorators.cache import never_cache
from django.views.decorators.debug import sensitive_variables
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from annotate.access import me, requires
from annotate.forms.webhooks import ChangeWebhookForm, WebhookForm
from annotate.models import Project, Role, Webhook
from annotate.webhooks import keeping, kinds

SHOWN = 50  # deliveries
WORTH_WATCHING = timedelta(minutes=2)


@never_cache
@sensitive_variables("secret")
@require_http_methods(["GET", "HEAD", "POST"])
@requires(Role.ADMIN)
def listed(request: HttpRequest, project: Project) -> HttpResponse:
    form = WebhookForm(project, me(request), request.POST or None)
    if form.is_valid():
        webhook, secret = form.made
        return webhook_page(request, webhook, secret=secret, is_new=True)
    context = {"project": project, "form": form, "rows": [(one, words_of(one)) for one in project.webhooks.all()]}
    return render(request, "annotate/webhooks.html", context, status=422 if form.is_bound else 200)


def words_of(webhook: Webhook) -> list[tuple[str, str]]:
    return [(kinds.short(kind), kinds.KINDS.get(kind, kind)) for kind in webhook.kinds]


def webhook_page(request: HttpRequest, webhook: Webhook, status: int = 200, **context: Any) -> HttpResponse:
    return render(request, "annotate/webhook.html", told(webhook) | context, status=status)


def told(webhook: Webhook) -> dict[str, Any]:
    deliveries, soon = list(keeping.recent(webhook)[:SHOWN]), timezone.now() + WORTH_WATCHING
    return {
        "project": webhook.project, "webhook": webhook, "kinds": words_of(webhook), "deliveries": deliveries,
        "is_moving": any(not one.is_over and one.due < soon for one in deliveries), "form": ChangeWebhookForm(webhook),
    }  # fmt: skip


def of(project: Project, pk: int) -> Webhook:
    return get_object_or_404(project.webhooks.select_related("project", "by"), pk=pk)


@never_cache
@require_http_methods(["GET", "HEAD", "POST"])
@requires(Role.ADMIN)
def webhook(request: HttpRequest, project: Project, pk: int) -> HttpResponse:
    """What it is told of is changed here; its address never is."""
    shown = of(project, pk)
    if request.method != "POST":
        return webhook_page(request, shown)
    form = ChangeWebhookForm(shown, request.POST)
    if not form.is_valid():
        return webhook_page(request, shown, 422, form=form)
    form.save(me(request))
    messages.success(request, "Saved.")
    return redirect(shown)


@never_cache
@require_safe
@requires(Role.ADMIN)
def deliveries(request: HttpRequest, project: Project, pk: int) -> HttpResponse:
    return render(request, "annotate/_webhook_deliveries.html", told(of(project, pk)))


@require_POST
@requires(Role.ADMIN)
def test(request: HttpRequest, project: Project, pk: int) -> HttpResponse:
    shown = of(project, pk)
    keeping.test(shown)
    messages.success(request, "A test is on its way.")
    return redirect(shown)


@require_POST
@requires(Role.ADMIN)
def again(request: HttpRequest, project: Project, pk: int, delivery: int) -> HttpResponse:
    shown = of(project, pk)
    if keeping.send_again(get_object_or_404(shown.deliveries, pk=delivery)):
        messages.success(request, "It is sent again.")
    else:
        messages.info(request, "It is on its way already.")
    return redirect(shown)


@require_POST
@requires(Role.ADMIN)
def pause(request: HttpRequest, project: Project, pk: int) -> HttpResponse:
    shown = of(project, pk)
    if keeping.pause(shown, me(request)):
        messages.success(request, "It is paused: what happens from now on is not told.")
    return redirect(shown)


@require_POST
@requires(Role.ADMIN)
def turn_on(request: HttpRequest, project: Project, pk: int) -> HttpResponse:
    shown = of(project, pk)
    if keeping.turn_on(shown, me(request)):
        messages.success(request, "It is on: what happens from now on is told.")
    return redirect(shown)


@never_cache
@sensitive_variables("secret")
@require_POST
@requires(Role.ADMIN)
def new_secret(request: HttpRequest, project: Project, pk: int) -> HttpResponse:
    secret = keeping.new_secret(of(project, pk), me(request))
    return webhook_page(request, of(project, pk), secret=secret)


@require_http_methods(["GET", "HEAD", "POST"])
@requires(Role.ADMIN)
def delete(request: HttpRequest, project: Project, pk: int) -> HttpResponse:
    shown = of(project, pk)
    if request.method != "POST":
        context = {"project": project, "webhook": shown, "unsent": keeping.waiting(shown)}
        return render(request, "annotate/webhook_delete.html", context)
    keeping.delete(shown, me(request))
    messages.success(request, f"The webhook to {shown.host} is deleted; nothing more is sent there.")
    return redirect("webhooks", project.slug)
