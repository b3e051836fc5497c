"""The playground: a post is asked about, and what the runs say stands beside what they learnt from."""

import base64
from typing import Any
from uuid import UUID

from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_safe

from annotate.access import me, requires
from annotate.models import Project, Role
from annotate.operating.limits import TooFast
from modeling.answering import claims, nearest, told, waiting
from modeling.evaluation.posts import colours_of
from modeling.forms.playground import PlaygroundForm
from modeling.models import Question


@require_http_methods(["GET", "HEAD", "POST"])
@never_cache
@requires(Role.LEAD)
def playground(request: HttpRequest, project: Project) -> HttpResponse:
    if request.method == "POST":
        return asked(request, project)
    form = PlaygroundForm(project=project, by=me(request), ticked=set(request.GET.getlist("run")))
    return render(request, "modeling/playground.html", {"project": project, "form": form})


def asked(request: HttpRequest, project: Project) -> HttpResponse:
    form = PlaygroundForm(request.POST, request.FILES, project=project, by=me(request))
    if form.is_valid():
        try:
            return redirect("playground_question", project.slug, form.ask())
        except TooFast as refusal:
            form.add_error(None, str(refusal))
    again = form.cleaned_data.get("again")
    form.before = told.question_in(project, again) if again else None
    context = {"project": project, "form": form, "thumbnail": thumbnail(form.before)}
    return render(request, "modeling/playground.html", context, status=422)


@require_safe
@never_cache
@requires(Role.LEAD)
def question(request: HttpRequest, project: Project, batch: UUID) -> HttpResponse:
    shown = told.question_in(project, batch)
    if shown is None:
        raise Http404("Questions are deleted after an hour; ask it again.")
    css = colours_of(project)
    said = told.told(told.replies_to(batch, project), css)
    datasets = list({one.run.dataset_id: one.run.dataset for one in said}.values())
    ticked = {str(one.run.pk) for one in said}
    if any(one.is_waiting for one in said):
        claims.summon()
    context: dict[str, Any] = {
        "project": project, "question": shown, "answers": said, "thumbnail": thumbnail(shown),
        "neighbours": nearest.shown(shown, datasets, css), "waits": waiting.told(shown, said),
        "is_live": any(one.is_waiting for one in said) or shown.near is None,
        "form": PlaygroundForm(project=project, by=me(request), ticked=ticked, before=shown),
    }  # fmt: skip
    return render(request, "modeling/playground.html", context)


def thumbnail(question: Question | None) -> str:
    """Within the page: it has no address of its own, so none is left behind when it is deleted."""
    if question is None or not question.thumbnail:
        return ""
    return f"data:image/webp;base64,{base64.b64encode(question.thumbnail).decode()}"
