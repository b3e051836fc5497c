from typing import Any

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from annotate.access import me, requires
from annotate.browse import Filters, matching
from annotate.models import Project, Role, State, Voter

from . import runs, showing, voters, wording
from .forms import PILOT, PairForm, ResumeForm, StartForm, VoterForm
from .models import VotingRun
from .providers import PROVIDERS
from .standings import answers_of, standing_of, standings
from .voting import CONCURRENCY
from .watching import recent, watch

UNHEARD = "It votes, and consensus does not hear it: it learnt from these voters."
AGAIN = "its votes count again. It is not required until you say so."
form_page = require_http_methods(["GET", "HEAD", "POST"])


@require_safe
@requires(Role.REVIEWER)
def votes(request: HttpRequest, project: Project) -> HttpResponse:
    context = {"project": project, "standings": standings(project), "watched": recent(project)}
    return render(request, "labeling/votes.html", context)


# --- Voters


@form_page
@requires(Role.ADMIN)
def voter_new(request: HttpRequest, project: Project) -> HttpResponse:
    """Two ways on one page: a pair in one click, or a voter of one's own."""
    data = request.POST or None
    pair = PairForm(data if data and "pair" in data else None, by=me(request))
    if pair.is_valid():
        added = pair.add(project)
        messages.success(request, f"{' and '.join(voter.name for voter in added)} are voters now.")
        return redirect("votes", project.slug)
    provider = chosen_provider(request, "openai")
    form = VoterForm(data if not pair.is_bound else None, project=project, provider=provider, by=me(request))
    if form.is_valid():
        return redirect("voter", project.slug, form.save().pk)
    context = {"project": project, "form": form, "pair": pair, "providers": PROVIDERS.values()}
    return render(request, "labeling/voter_new.html", context, status=422 if data else 200)


@require_safe
@requires(Role.REVIEWER)
def voter(request: HttpRequest, project: Project, pk: int) -> HttpResponse:
    shown = get_object_or_404(project.voters.select_related("project"), pk=pk)
    context = {
        "project": project, "voter": shown, "standing": standing_of(shown), "slices": answers_of(shown),
        "usual": CONCURRENCY, "wordings": wording.kept(shown), "unheard": "" if shown.heard else UNHEARD,
    }  # fmt: skip
    return render(request, "labeling/voter.html", context)


@form_page
@requires(Role.ADMIN)
def voter_edit(request: HttpRequest, project: Project, pk: int) -> HttpResponse:
    edited = askable(project, pk)
    provider = chosen_provider(request, edited.provider)
    form = VoterForm(request.POST or None, project=project, provider=provider, by=me(request), voter=edited)
    if form.is_valid():
        saved = form.save()
        if saved.pk != edited.pk:
            told = f"{saved.name} takes the seat of {edited.name}, which keeps its votes; they count no longer."
            messages.success(request, told)
        return redirect("voter", project.slug, saved.pk)
    context = {"project": project, "form": form, "voter": edited, "providers": PROVIDERS.values()}
    return render(request, "labeling/voter_edit.html", context, status=422 if form.is_bound else 200)


@require_POST
@requires(Role.ADMIN)
def voter_return(request: HttpRequest, project: Project, pk: int) -> HttpResponse:
    back = get_object_or_404(project.voters, pk=pk)
    if voters.bring_back(back, me(request)):
        told = AGAIN if back.heard else f"it may be asked again. {UNHEARD}"
        messages.success(request, f"{back.name} is back: {told}")
    return redirect("voter", project.slug, pk)


@require_safe
@requires(Role.REVIEWER)
def voter_request(request: HttpRequest, project: Project, pk: int) -> HttpResponse:
    asked = askable(project, pk)
    context: dict[str, Any] = {"project": project, "voter": asked, "standing": standing_of(asked)}
    number = request.GET.get("post", "")
    if number == "random":
        post = showing.random_post(project)
    elif number:
        post = get_object_or_404(showing.posts_of(project), pk=int(number) if number.isdecimal() else 0)
    else:
        post = showing.waiting_post(asked)
    context["shown"] = showing.shown(asked, post) if post else None
    return render(request, "labeling/request.html", context)


def askable(project: Project, pk: int) -> Voter:
    return get_object_or_404(project.voters.select_related("project"), pk=pk, provider__in=PROVIDERS)


def chosen_provider(request: HttpRequest, otherwise: str) -> str:
    name = request.POST.get("provider") or request.GET.get("provider") or ""
    return name if name in PROVIDERS else otherwise


# --- Runs


@form_page
@requires(Role.ADMIN)
def start(request: HttpRequest, project: Project) -> HttpResponse:
    filters = Filters.from_query((request.POST or request.GET).dict())
    form = StartForm(request.POST or None, project=project, filters=filters)
    if form.is_valid() and (begun := form.start(me(request))):
        return redirect(begun)
    context = {
        "project": project, "form": form, "filters": filters, "mend": matching(project, filters).mend,
        "states": State.choices, "labels": project.labels.all(), "pilot": PILOT,
    }  # fmt: skip
    return render(request, "labeling/start.html", context, status=422 if form.is_bound else 200)


@require_safe
@never_cache
@requires(Role.REVIEWER)
def run(request: HttpRequest, project: Project, pk: int) -> HttpResponse:
    return render(request, "labeling/run.html", watch_context(run_in(project, pk)))


@require_safe
@never_cache
@requires(Role.REVIEWER)
def progress(request: HttpRequest, project: Project, pk: int) -> HttpResponse:
    return render(request, "labeling/_progress.html", watch_context(run_in(project, pk)))


@require_POST
@requires(Role.ADMIN)
def pause(request: HttpRequest, project: Project, pk: int) -> HttpResponse:
    paused = run_in(project, pk)
    runs.pause(paused, me(request))
    return redirect(paused)


@require_POST
@requires(Role.ADMIN)
def resume(request: HttpRequest, project: Project, pk: int) -> HttpResponse:
    resumed = run_in(project, pk)
    form = ResumeForm(request.POST, run=resumed)
    done = form.is_valid() and form.resume(me(request))
    if form.errors:
        return render(request, "labeling/run.html", watch_context(resumed) | {"resuming": form}, status=422)
    if not done:
        messages.warning(request, "This run is not paused; there is nothing to resume.")
    return redirect(resumed)


@require_POST
@requires(Role.ADMIN)
def cancel(request: HttpRequest, project: Project, pk: int) -> HttpResponse:
    cancelled = run_in(project, pk)
    runs.cancel(cancelled, me(request))
    return redirect(cancelled)


@require_POST
@requires(Role.ADMIN)
def retry(request: HttpRequest, project: Project, pk: int) -> HttpResponse:
    retried = run_in(project, pk)
    try:
        runs.retry_failures(retried, request.POST.get("cause", ""), me(request))
    except runs.CannotStart as reason:
        messages.error(request, str(reason))
    return redirect(retried)


def run_in(project: Project, pk: int) -> VotingRun:
    return get_object_or_404(project.voting_runs.select_related("by", "project"), pk=pk)


def watch_context(shown: VotingRun) -> dict[str, Any]:
    return {"project": shown.project, "run": shown, "watch": watch(shown), "resuming": ResumeForm(run=shown)}
