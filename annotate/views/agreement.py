from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from annotate import ballots
from annotate.access import requires
from annotate.models import Project, Role
from annotate.voter_pairs import LEAST_COMPARED, Pair, Voters, heat, label_rows, over_time, template_rows


@require_safe
@requires(Role.REVIEWER)
def agreement(request: HttpRequest, project: Project) -> HttpResponse:
    reading = ballots.read(project)
    context = {"project": project, "reading": reading}
    if reading.ballots:
        voters = Voters(project, list(project.voters.filter(pk__in=reading.voters)), reading.ballots)
        pair = voters.chosen(request.GET.dict())
        context |= {"voters": voters, "pair": pair} | (figures(voters, pair) if pair and pair.agreed.of else {})
    return render(request, "annotate/agreement.html", context)


def figures(voters: Voters, pair: Pair) -> dict[str, object]:
    labels = list(voters.project.labels.all())
    templates = voters.project.templates.in_bulk(list(voters.ballots.by_template(pair.one.pk, pair.other.pk)))
    picture, squares = heat(pair, labels)
    timeline, periods = over_time(pair, voters.ballots)
    return {
        "labels": label_rows(pair, labels), "heat": picture, "squares": squares,
        "templates": template_rows(pair, voters.ballots, templates), "least": LEAST_COMPARED,
        "line": timeline, "periods": periods, "unit": voters.ballots.unit,
        "points": list(zip(timeline.points, periods, strict=True)) if timeline else [],
    }  # fmt: skip
