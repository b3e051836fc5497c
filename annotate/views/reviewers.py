from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, render
from django.views.decorators.http import require_safe

from annotate import reviewers as room
from annotate.access import me, requires
from annotate.models import Project, Role, User


@require_safe
@requires(Role.LEAD)
def reviewers(request: HttpRequest, project: Project) -> HttpResponse:
    return render(request, "annotate/reviewers.html", {"project": project, "room": room.everybody(project)})


@require_safe
@requires(Role.LEAD)
def reviewer(request: HttpRequest, project: Project, pk: int) -> HttpResponse:
    user = get_object_or_404(User.objects.filter(reviews__project=project).distinct(), pk=pk)
    context = {"project": project, "shown": user, "person": room.one(project, user), "live": True}
    return render(request, "annotate/reviewer.html", context)


@require_safe
@requires(Role.REVIEWER)
def myself(request: HttpRequest, project: Project) -> HttpResponse:
    user = me(request)
    context = {"project": project, "shown": user, "person": room.oneself(project, user), "live": False}
    return render(request, "annotate/reviewer.html", context)
