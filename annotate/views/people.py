from typing import Any

from django.conf import settings
from django.contrib import auth, messages
from django.contrib.auth.decorators import login_not_required
from django.core.exceptions import BadRequest, PermissionDenied
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import get_object_or_404, redirect, render, resolve_url
from django.urls import reverse
from django.utils.html import format_html
from django.utils.http import url_has_allowed_host_and_scheme
from django.views.decorators.cache import never_cache
from django.views.decorators.debug import sensitive_post_parameters, sensitive_variables
from django.views.decorators.http import require_GET, require_http_methods, require_POST, require_safe

from annotate import guessing, team
from annotate.access import me, requires
from annotate.forms.people import (
    InviteForm,
    LoginForm,
    NewAccountForm,
    ProfileForm,
    ReviewKeysForm,
    RoleForm,
    TokenForm,
    password_form,
)
from annotate.login_links import BACKEND, enter
from annotate.models import Event, Invitation, Membership, Project, Role, User
from annotate.models.people import NotOpen
from annotate.operating.limits import HOUR, Limit, TooFast, give_back, spend

# --- Coming and going


@login_not_required
@never_cache
@sensitive_post_parameters("password")
def login(request: HttpRequest) -> HttpResponse:
    if "HX-Request" in request.headers:  # a page that watches something outlived its session
        return HttpResponse(headers={"HX-Refresh": "true"})
    onward = onward_from(request)
    if request.user.is_authenticated:
        return HttpResponseRedirect(onward)
    form = LoginForm(request, (request.POST if settings.PASSWORD_LOGIN else None) or None)
    if form.is_bound:
        try:
            if user := proven(request, form):
                return let_in(request, user, onward)
        except TooFast as refusal:
            return too_many_failures(request, refusal.seconds)
    return render(request, "people/login.html", {"form": form} | ways_in(onward), status=422 if form.is_bound else 200)


def proven(request: HttpRequest, form: LoginForm) -> User | None:
    with guessing.attempt(request, request.POST.get("username", "")) as attempt:
        attempt.succeeded = form.is_valid()
    return form.get_user() if attempt.succeeded else None


def let_in(request: HttpRequest, user: User, onward: str) -> HttpResponse:
    auth.login(request, user, backend=BACKEND)
    response = HttpResponseRedirect(onward)
    guessing.remember(request, response, user)
    return response


def ways_in(onward: str = "") -> dict[str, Any]:
    """What a page that lets somebody in has to know."""
    return {
        "sign_on": settings.OIDC_NAME if settings.OIDC_ISSUER else "",
        "password_login": settings.PASSWORD_LOGIN,
        "onward": "" if onward == resolve_url("home") else onward,
    }


def locked_out(request: HttpRequest, *_: Any) -> HttpResponse:
    """By django-axes: one name from one address."""
    return too_many_failures(request, round(settings.AXES_COOLOFF_TIME * 3600), anew=True)


def too_many_failures(request: HttpRequest, seconds: int, anew: bool = False) -> HttpResponse:
    context = {"username": request.POST.get("username", ""), "seconds": seconds, "anew": anew}
    response = render(request, "people/locked.html", context, status=429)
    response["Retry-After"] = str(seconds)
    return response


def onward_from(request: HttpRequest) -> str:
    """Only to a page of ours, and never in a circle."""
    onward = request.GET.get("next", "").replace("\0", "")
    ours = onward.startswith("/") and url_has_allowed_host_and_scheme(
        onward, {request.get_host()}, require_https=request.is_secure()
    )
    return onward if ours and not onward.startswith(reverse("login")) else resolve_url("home")


@login_not_required
@require_POST
def logout(request: HttpRequest) -> HttpResponse:
    signed_on = "signed_on" in request.session
    auth.logout(request)
    if signed_on:
        messages.info(request, f"You are logged out here. With {settings.OIDC_NAME} you may be logged in still.")
    return redirect("login")


@login_not_required
@never_cache
@require_GET
def login_once(request: HttpRequest, uid: str, token: str) -> HttpResponse:
    user = enter(request, uid, token)
    if user is None:
        return render(request, "people/link_spent.html", status=410)
    if settings.PASSWORD_LOGIN and not user.has_usable_password():
        words = 'You have no password yet. Set one on <a href="{}">your account page</a>, for the next time.'
        messages.info(request, format_html(words, reverse("account")))
    response = redirect("home")
    guessing.remember(request, response, user)
    return response


@login_not_required
@never_cache
@sensitive_post_parameters("password1", "password2")
def invited(request: HttpRequest, secret: str) -> HttpResponse:
    invitation = Invitation.objects.by_secret(secret)
    if invitation is None or not invitation.is_open:
        return turned_away(request, invitation)
    try:
        if request.user.is_authenticated:
            return accept_as_oneself(request, invitation)
        return accept_as_newcomer(request, invitation)
    except NotOpen:
        return turned_away(request, invitation)


def turned_away(request: HttpRequest, invitation: Invitation | None) -> HttpResponse:
    context = {"invitation": invitation}
    return render(request, "people/invited_too_late.html", context, status=410 if invitation else 404)


def accept_as_oneself(request: HttpRequest, invitation: Invitation) -> HttpResponse:
    """An invitation that would change nothing is left for whom it was meant."""
    user = me(request)
    held = user.role_in(invitation.project)
    gains = held is None or not held.covers(Role(invitation.role))
    if request.method == "POST" and gains:
        return welcome(request, invitation, team.join(invitation, lambda: user))
    return render(request, "people/invited.html", {"invitation": invitation, "held": held, "gains": gains})


def accept_as_newcomer(request: HttpRequest, invitation: Invitation) -> HttpResponse:
    form = NewAccountForm((request.POST if settings.PASSWORD_LOGIN else None) or None)
    if form.is_valid():
        user = team.join(invitation, form.save)
        auth.login(request, user, backend=BACKEND)
        return welcome(request, invitation, user)
    context = {"invitation": invitation, "form": form} | ways_in()
    return render(request, "people/invited.html", context, status=422 if form.is_bound else 200)


def welcome(request: HttpRequest, invitation: Invitation, user: User) -> HttpResponse:
    role = Role(invitation.role).label.lower()
    messages.success(request, f"Welcome to {invitation.project}, {user.get_short_name() or user}. Your role is {role}.")
    return redirect(invitation.project)


# --- One's own account


@never_cache
@require_http_methods(["GET", "HEAD", "POST"])
def account(request: HttpRequest) -> HttpResponse:
    form = ProfileForm(request.POST or None, instance=User.objects.get(pk=me(request).pk))
    if form.is_valid():
        form.save()
        messages.success(request, "Saved.")
        return redirect("account")
    return account_page(request, profile=form)


def account_page(request: HttpRequest, **forms: Any) -> HttpResponse:
    """Four forms on one page; a view hands over the one that it could not accept, or the secret that it made."""
    user = me(request)
    context = {
        "profile": ProfileForm(instance=user),
        "password": password_form(user),
        "keys": ReviewKeysForm(user.review_keys),
        "token": TokenForm(),
        "tokens": user.api_tokens.all(),
        "is_connected": bool(settings.OIDC_ISSUER) and is_connected(user),
    } | ways_in() | forms  # fmt: skip
    bound = any(getattr(form, "is_bound", False) for form in forms.values())
    return render(request, "people/account.html", context, status=422 if bound else 200)


def is_connected(user: User) -> bool:
    from annotate import single_sign_on

    return single_sign_on.is_connected(user)


@never_cache
@sensitive_post_parameters()
def password(request: HttpRequest) -> HttpResponse:
    if request.method != "POST":
        return redirect("account")
    if not settings.PASSWORD_LOGIN:
        raise PermissionDenied("Nobody logs in with a password here, so none can be set.")
    guesses = Limit("old password", 10, HOUR, "wrong passwords")  # whoever finds a browser open does not guess either
    try:
        spend(guesses, me(request).pk)
    except TooFast as refusal:
        messages.error(request, str(refusal))
        return redirect("account")
    form = password_form(me(request), request.POST)
    if not form.is_valid():
        return account_page(request, password=form)
    give_back(guesses, me(request).pk)
    auth.update_session_auth_hash(request, form.save())
    messages.success(request, "Your password is set. Every other browser you were logged in with is logged out.")
    return redirect("account")


@never_cache
def review_keys(request: HttpRequest) -> HttpResponse:
    if request.method != "POST":
        return redirect("account")
    form = ReviewKeysForm(me(request).review_keys, None if "as_they_were" in request.POST else request.POST)
    if form.is_bound and not form.is_valid():
        return account_page(request, keys=form)
    User.objects.filter(pk=me(request).pk).update(review_keys=form.chosen if form.is_bound else {})
    messages.success(request, "Your keys are saved." if form.is_bound else "The keys are as they were.")
    return redirect("account")


@never_cache
@sensitive_variables("secret")
def token_new(request: HttpRequest) -> HttpResponse:
    if request.method != "POST":
        return redirect("account")
    form = TokenForm(request.POST)
    if not form.is_valid():
        return account_page(request, token=form)
    secret = form.issue(me(request))
    return account_page(request, secret=secret, secret_name=form.cleaned_data["name"])


@require_POST
def token_revoke(request: HttpRequest, pk: int) -> HttpResponse:
    token = get_object_or_404(me(request).api_tokens, pk=pk)
    token.delete()
    Event.record("token revoked", user=me(request), name=token.name)
    messages.success(request, f"The token {token.name} is revoked; whatever used it is locked out from now on.")
    return redirect("account")


# --- The people in a project


@never_cache
@require_safe
@requires(Role.ADMIN)
def people(request: HttpRequest, project: Project) -> HttpResponse:
    return people_page(request, project)


def people_page(request: HttpRequest, project: Project, status: int = 200, **context: Any) -> HttpResponse:
    members = project.memberships.select_related("user").order_by("user__username")
    context = {
        "project": project,
        "members": [(member, RoleForm({"role": member.role}, auto_id=f"member-{member.pk}-%s")) for member in members],
        "site_admins": User.objects.filter(is_superuser=True, is_active=True).order_by("username"),
        "invitations": project.invitations.open().select_related("created_by"),
        "form": InviteForm(),
    } | context
    return render(request, "people/people.html", context, status=status)


@never_cache
@sensitive_variables("secret")
@requires(Role.ADMIN)
def invite(request: HttpRequest, project: Project) -> HttpResponse:
    if request.method != "POST":
        return redirect("people", project.slug)
    form = InviteForm(request.POST)
    if not form.is_valid():
        return people_page(request, project, 422, form=form)
    secret = team.invite(project, by=me(request), **form.cleaned_data)
    link = request.build_absolute_uri(reverse("invited", args=[secret]))
    return people_page(request, project, link=link, invited=form.cleaned_data)


@require_POST
@requires(Role.ADMIN)
def invitation_revoke(request: HttpRequest, project: Project, pk: int) -> HttpResponse:
    team.withdraw(get_object_or_404(project.invitations, pk=pk, used_at=None), me(request))
    messages.success(request, "The invitation is withdrawn; its link no longer works.")
    return redirect("people", project.slug)


@require_POST
@requires(Role.ADMIN)
def role_change(request: HttpRequest, project: Project, pk: int) -> HttpResponse:
    member = member_of(project, pk)
    form = RoleForm(request.POST)
    if not form.is_valid():
        raise BadRequest("There is no such role.")
    role: Role = form.cleaned_data["role"]
    try:
        team.change_role(member, role, me(request))
        messages.success(request, f"{member.user} is now {role.label.lower()}.")
    except team.LastAdmin as refused:
        messages.error(request, str(refused))
    return back_to_people(request, project)


@require_POST
@requires(Role.ADMIN)
def member_remove(request: HttpRequest, project: Project, pk: int) -> HttpResponse:
    member = member_of(project, pk)
    try:
        team.remove(member, me(request))
        messages.success(request, f"{member.user} is no longer in {project}. What they labelled stays.")
    except team.LastAdmin as refused:
        messages.error(request, str(refused))
    return back_to_people(request, project)


def member_of(project: Project, pk: int) -> Membership:
    return get_object_or_404(project.memberships.select_related("user", "project"), pk=pk)


def back_to_people(request: HttpRequest, project: Project) -> HttpResponse:
    """Who just gave up the role, or left, would find that door closed."""
    held = me(request).role_in(project)
    if held is None:
        return redirect("home")
    return redirect("people" if held.covers(Role.ADMIN) else "project", project.slug)
