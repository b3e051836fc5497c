"""Pre-labellings: all of them, asking a model, what a threshold would mean, settling, taking back, and conflicts."""

from typing import Any

from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.utils.http import urlencode
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from annotate.access import me, requires
from annotate.models import Project, Role
from modeling.forms.prelabellings import PreLabellingForm, SettleForm
from modeling.models import Goal, PreLabelling
from modeling.prelabelling import outcome, report
from modeling.prelabelling import prelabelling as room
from modeling.prelabelling.report import Meaning, Wanted

from .runs import number

A_PAGE = 50


@require_safe
@never_cache
@requires(Role.LEAD)
def prelabellings(request: HttpRequest, project: Project) -> HttpResponse:
    listed = prelabellings_of(project)
    before = number(request.GET.get("before", ""))
    if before is not None:
        listed = listed.filter(pk__lt=before)
    page = list(listed.defer("validation", "meaning")[: A_PAGE + 1])
    context = {
        "project": project, "watched": report.listed(page[:A_PAGE]), "is_first": before is None,
        "older": page[A_PAGE - 1].pk if len(page) > A_PAGE else None,
        "is_live": any(not one.is_over for one in page),
        "run": next(iter(report.may_be_asked(project)), None) if not page else None,
    }  # fmt: skip
    return render(request, "modeling/prelabellings.html", context)


@require_http_methods(["GET", "HEAD", "POST"])
@requires(Role.LEAD)
def new(request: HttpRequest, project: Project) -> HttpResponse:
    """Leads see how many posts it would be; admins ask."""
    role: Role = request.role  # type: ignore[attr-defined]
    asked = request.method == "POST"
    if asked and not role.covers(Role.ADMIN):
        raise PermissionDenied("Only an admin of this project asks a model about its posts.")
    form = PreLabellingForm(request.POST if asked else request.GET, project=project, by=me(request))
    if form.is_valid() and asked and (made := form.ask()):
        return redirect(made)
    context = {"project": project, "form": form, "asked": asked}
    return render(request, "modeling/prelabelling_new.html", context, status=422 if asked else 200)


@require_safe
@never_cache
@requires(Role.LEAD)
def preview(request: HttpRequest, project: Project) -> HttpResponse:
    form = PreLabellingForm(request.GET, project=project, by=me(request))
    form.is_valid()
    return render(request, "modeling/_prelabelling_posts.html", {"project": project, "form": form})


@require_safe
@never_cache
@requires(Role.LEAD)
def prelabelling(request: HttpRequest, project: Project, pk: int) -> HttpResponse:
    shown = prelabelling_in(project, pk)
    context: dict[str, Any] = {"project": project, "prelabelling": shown, "watch": report.watch(shown)}
    if shown.waits_for_a_word:
        meaning = Meaning(shown, Wanted.from_query(request.GET.dict(), shown))
        context |= {"meaning": meaning, "form": settling(meaning.wanted)}
    elif shown.is_over and shown.goal != Goal.ASK:
        context |= {"outcome": outcome.read(shown), "may_be_taken_back": shown.goal == Goal.APPLY}
    return render(request, "modeling/prelabelling.html", context)


def settling(wanted: Wanted) -> SettleForm:
    """For just what is on the screen."""
    return SettleForm(initial={name: f"{getattr(wanted, name):g}" for name in SettleForm.base_fields})


@require_safe
@never_cache
@requires(Role.LEAD)
def progress(request: HttpRequest, project: Project, pk: int) -> HttpResponse:
    shown = prelabelling_in(project, pk)
    if shown.is_over:
        return HttpResponse(headers={"HX-Refresh": "true"})
    context = {"project": project, "prelabelling": shown, "watch": report.watch(shown)}
    return render(request, "modeling/_prelabelling_progress.html", context)


@require_POST
@requires(Role.ADMIN)
def apply(request: HttpRequest, project: Project, pk: int) -> HttpResponse:
    shown, form = prelabelling_in(project, pk), SettleForm(request.POST)
    if not form.is_valid():
        messages.error(request, f"Nothing was settled. {problems(form)}")
        return back(request, shown)
    try:
        if not room.apply(shown, me(request), **form.how):
            messages.warning(request, "Nothing was settled by this: somebody has settled it already, or it is at work.")
            return redirect(shown)
    except room.Refused as refusal:
        messages.error(request, f"Nothing was settled. {refusal}")
        return back(request, shown)
    return redirect(shown)


def problems(form: SettleForm) -> str:
    told = (f"{form[name].label}: {' '.join(map(str, errors))}" for name, errors in form.errors.items())
    return " ".join(told)


def back(request: HttpRequest, shown: PreLabelling) -> HttpResponse:
    """To the threshold that was on the screen."""
    asked = {name: request.POST[name][:40] for name in SettleForm.base_fields if request.POST.get(name)}
    return redirect(f"{shown.get_absolute_url()}?{urlencode(asked)}" if asked else shown)


@require_POST
@requires(Role.ADMIN)
def take_back(request: HttpRequest, project: Project, pk: int) -> HttpResponse:
    shown = prelabelling_in(project, pk)
    if not room.take_back(shown, me(request)):
        messages.warning(request, "There is nothing to take back: it has settled nothing, is at work, or was asked to.")
    return redirect(shown)


@require_POST
@requires(Role.ADMIN)
def stop(request: HttpRequest, project: Project, pk: int) -> HttpResponse:
    if not room.stop(prelabelling_in(project, pk), me(request)):
        messages.warning(request, "Nothing goes on here; there is nothing to stop.")
    return to_where_it_was_pressed(request, project, pk)


@require_POST
@requires(Role.ADMIN)
def resume(request: HttpRequest, project: Project, pk: int) -> HttpResponse:
    if not room.resume(prelabelling_in(project, pk), me(request)):
        messages.warning(request, "It is at work or done; there is nothing to resume.")
    return to_where_it_was_pressed(request, project, pk)


def to_where_it_was_pressed(request: HttpRequest, project: Project, pk: int) -> HttpResponse:
    if request.POST.get("from") == "list":
        return redirect("prelabellings", project.slug)
    return redirect("prelabelling", project.slug, pk)


# --- Labels that it would give otherwise


@require_safe
@never_cache
@requires(Role.LEAD)
def conflicts(request: HttpRequest, project: Project, pk: int) -> HttpResponse:
    shown = prelabelling_in(project, pk)
    wanted = at_threshold(shown, request.GET.dict())
    after = request.GET.get("after", "")[:60]
    context = {
        "project": project, "prelabelling": shown, "wanted": wanted, "after": after,
        "page": outcome.conflicts(shown, after),
    }  # fmt: skip
    return render(request, "modeling/prelabelling_conflicts.html", context)


@require_POST
@requires(Role.LEAD)
def doubt(request: HttpRequest, project: Project, pk: int) -> HttpResponse:
    """The labels of the chosen posts go back to people; over htmx a card's button alone is served again."""
    shown = prelabelling_in(project, pk)
    at_threshold(shown, request.POST.dict())
    posts = [post for told in request.POST.getlist("post")[: outcome.PAGE] if (post := number(told))]
    sent = outcome.doubt(shown, me(request), posts)
    if "HX-Request" in request.headers:
        return render(request, "modeling/_evaluation_sent.html", {"sent": bool(sent)})
    if sent:
        messages.success(request, f"{sent:,} {'label waits' if sent == 1 else 'labels wait'} for people now.")
    else:
        messages.warning(request, "None was sent: people look at them already, or their labels have changed.")
    asked = {name: request.POST.get(name, "")[:60] for name in ("threshold", "after") if request.POST.get(name)}
    address = reverse("prelabelling_conflicts", args=[project.slug, pk])
    return redirect(f"{address}?{urlencode(asked)}" if asked else address)


def at_threshold(shown: PreLabelling, query: dict[str, str]) -> Wanted:
    """As somebody looks at it now; nothing is kept of that."""
    wanted = Wanted.from_query(query, shown)
    shown.threshold = wanted.threshold
    return wanted


def prelabellings_of(project: Project) -> Any:
    related = ("project", "run", "run__dataset", "cascade", "voter", "by")
    of_dataset = (f"run__dataset__{name}" for name in ("told", "facts", "composition"))
    unread = ("run__receipt", "run__log", "cascade__told", *of_dataset)
    return project.prelabellings.select_related(*related).defer(*unread)


def prelabelling_in(project: Project, pk: int) -> PreLabelling:
    found: PreLabelling = get_object_or_404(prelabellings_of(project), pk=pk)
    return found
