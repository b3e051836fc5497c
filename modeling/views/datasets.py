"""Frozen datasets: what they hold, how they differ, and the ways out."""

from typing import Any

from django.contrib import messages
from django.http import HttpRequest, HttpResponse, HttpResponseBase, StreamingHttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from annotate import prose
from annotate.access import me, requires
from annotate.models import Event, Project, Role
from modeling.datasets import card as cards
from modeling.datasets import drawing, listing, marks
from modeling.datasets.card_text import SOURCE_NAMES
from modeling.datasets.comparing import compare as compared
from modeling.datasets.comparing import picture_of
from modeling.datasets.composition import Composition
from modeling.datasets.items import SPLITS, TO_TRAIN_WITH
from modeling.datasets.recipe import Recipe
from modeling.datasets.recipe_words import in_words
from modeling.export import formats
from modeling.models import Dataset, Split


@require_safe
@never_cache
@requires(Role.LEAD)
def datasets(request: HttpRequest, project: Project) -> HttpResponse:
    return render(request, "modeling/datasets.html", {"project": project, "rows": marks.listed(project)})


@require_safe
@never_cache
@requires(Role.LEAD)
def dataset(request: HttpRequest, project: Project, name: str) -> HttpResponse:
    shown = get_object_or_404(project.datasets.select_related("project", "by"), name=name)
    context: dict[str, Any] = {
        "project": project, "dataset": shown, "recipe": in_words(Recipe.from_json(shown.recipe)),
        "pace": marks.pace(shown),
    }  # fmt: skip
    if shown.is_frozen:
        context |= {
            "drawing": drawn(shown), "removed": cards.removed_from(shown), "splits": split_choices(shown),
            "formats": formats.FORMATS.values(),
        }  # fmt: skip
    return render(request, "modeling/dataset.html", context)


def drawn(shown: Dataset) -> drawing.Drawing:
    made, recipe = Composition.from_json(shown.composition), Recipe.from_json(shown.recipe)
    return drawing.draw(shown.project, made, recipe, [label["name"] for label in shown.facts["labels"]])


def others(shown: Dataset) -> list[str]:
    """Whatever it can be compared with; the latest before it comes first."""
    frozen = shown.project.datasets.frozen().exclude(pk=shown.pk).order_by("-pk").values_list("pk", "name")
    return [name for _, name in sorted(frozen, key=lambda one: one[0] > shown.pk)]


def split_choices(shown: Dataset) -> list[tuple[str, str, bool]]:
    """Those that hold something, and whether they are ticked beforehand."""
    parts = shown.composition["splits"]
    return [(split, Split(split).label, split in TO_TRAIN_WITH) for split in SPLITS if parts[split]["posts"]]


def frozen_in(project: Project, name: str) -> Dataset:
    return get_object_or_404(project.datasets.frozen().select_related("project", "by"), name=name)


@require_safe
@requires(Role.LEAD)
def posts(request: HttpRequest, project: Project, name: str) -> HttpResponse:
    shown = frozen_in(project, name)
    filters = listing.Filters.from_query(request.GET.dict())
    match = listing.matching(shown, filters)
    count, more = match.count()
    context = {
        "project": project, "dataset": shown, "filters": filters, "match": match, "count": count, "more": more,
        "page": listing.page_of(match.items, request.GET.dict()), "as_list": request.GET.get("as") == "list",
        "drawing": drawn(match.of), "others": others(shown), "splits": Split.choices,
        "sources": SOURCE_NAMES.items(), "tail": "&as=list" if request.GET.get("as") == "list" else "",
        "changes": listing.CHOICES, "change": listing.CHANGES.get(filters.change, ""),
        "was_labels": [label["name"] for label in (match.against or shown).facts["labels"]],
    }  # fmt: skip
    return render(request, "modeling/dataset_posts.html", context)


@require_safe
@requires(Role.LEAD)
def compare(request: HttpRequest, project: Project, name: str) -> HttpResponse:
    new = frozen_in(project, name)
    choices = others(new)
    context: dict[str, Any] = {"project": project, "dataset": new, "others": choices}
    if choices:
        old = frozen_in(project, request.GET.get("with", choices[0]).replace("\0", ""))
        found = compared(old, new)
        context |= {"found": found, "picture": picture_of(found, drawn(new).labels)}
    return render(request, "modeling/dataset_compare.html", context)


@require_safe
@requires(Role.LEAD)
def card(request: HttpRequest, project: Project, name: str) -> HttpResponse:
    shown = frozen_in(project, name)
    context = {"project": project, "dataset": shown, "rendered": prose.render(cards.markdown(shown))}
    return render(request, "modeling/dataset_card.html", context)


@require_safe
@never_cache
@requires(Role.ADMIN)
def download(request: HttpRequest, project: Project, name: str) -> HttpResponseBase:
    shown = frozen_in(project, name)
    options = formats.Options(
        splits=tuple(split for split in SPLITS if split in request.GET.getlist("split")),
        with_reason="reason" in request.GET,
        with_pictures="pictures" in request.GET,
    )
    try:
        return sent(request, shown, request.GET.get("format", ""), options)
    except formats.NotExported as refusal:
        messages.error(request, str(refusal))
    return redirect(shown)


def sent(request: HttpRequest, shown: Dataset, key: str, options: formats.Options) -> HttpResponseBase:
    """Noted before the first byte: whoever has the start of it may have enough."""
    made = formats.stream(shown, key, options)
    headers = {"Content-Disposition": f'attachment; filename="{made.name}"', "X-Accel-Buffering": "no"}
    if request.method == "HEAD":
        return HttpResponse(content_type=made.content_type, headers=headers)
    Event.record(
        "dataset downloaded", user=me(request), project=shown.project,
        dataset=shown.name, format=key, splits=list(options.splits),
    )  # fmt: skip
    return StreamingHttpResponse(made.chunks, content_type=made.content_type, headers=headers)
