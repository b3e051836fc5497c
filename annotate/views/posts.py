import json

from django import forms
from django.contrib import messages
from django.core.paginator import Paginator
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from annotate import removing
from annotate.access import me, requires
from annotate.blindness import Reader, knows_label, reader_of
from annotate.browse import ANSWERS, Filters, matching, page_of, write_key
from annotate.models import LabelSource, Post, Project, Removal, Role, State, Template
from annotate.models.review import FLAGS
from annotate.story import flag_of, story_of

MORE = {"voter", "said", "other", "other_said", "answers", "since", "until", "order", "holdout", "flag", "reviewer"}


@require_safe
@requires(Role.REVIEWER)
def posts(request: HttpRequest, project: Project) -> HttpResponse:
    filters = Filters.from_query(request.GET.dict())
    match = matching(project, filters, reader_of(request)).within_reach(filters)
    count = match.count()
    context = {
        "project": project,
        "filters": filters,
        "page": page_of(match.posts, filters, request.GET.dict(), count=count),
        "count": count,
        "mend": match.mend,
        "told": match.told,
        "more_filters": filters.as_dict().keys() & MORE,
        "as_list": request.GET.get("as") == "list",
        "tail": tail(request),
        "states": State.choices,
        "sources": [choice for choice in LabelSource.choices if choice[0]],
        "labels": list(project.labels.all()),
        "voters": list(project.voters.values_list("name", flat=True)),
        "answers": ANSWERS.items(),
        "flags": [(flag.value, flag.label) for flag in FLAGS],
    }
    return render(request, "annotate/posts.html", context)


@require_safe
@requires(Role.REVIEWER)
def post(request: HttpRequest, project: Project, pk: int) -> HttpResponse:
    shown = get_object_or_404(
        project.posts.select_related("image", "label", "template", "import_run").defer("search"), pk=pk
    )
    filters = Filters.from_query(request.GET.dict())
    reader = reader_of(request)
    before, after = neighbours(project, filters, shown, reader)
    context = {
        "project": project, "post": shown, "story": story_of(shown, reader), "flag": flag_of(shown),
        "name": name_of(shown), "facts": facts(shown) if knows_label(reader, shown) else [],
        "tail": tail(request), "filters": filters, "before": before, "after": after,
    }  # fmt: skip
    return render(request, "annotate/post.html", context)


def tail(request: HttpRequest) -> str:
    """Whoever came from the list goes back to the list, not to the grid."""
    return "&as=list" if request.GET.get("as") == "list" else ""


def name_of(post: Post) -> str:
    """An id made from the content says nothing to anybody."""
    return f"Post {post.pk}" if post.content_hash.startswith(post.external_id) else post.external_id


def facts(post: Post) -> list[tuple[str, str]]:
    """What came with the post; its label may be among it, under any name."""
    return [(name, told(value)) for name, value in post.meta.items()]


def told(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def neighbours(project: Project, filters: Filters, shown: Post, reader: Reader) -> tuple[Post | None, Post | None]:
    """The posts on either side in the list that the reader came from."""
    match, key = matching(project, filters, reader).within_reach(filters), write_key(shown)
    count = match.count() if filters.q else None
    before = page_of(match.posts, filters, {"before": key}, size=1, count=count).posts
    after = page_of(match.posts, filters, {"after": key}, size=1, count=count).posts
    return (before[0] if before else None), (after[0] if after else None)


@require_safe
@requires(Role.REVIEWER)
def templates(request: HttpRequest, project: Project) -> HttpResponse:
    groups = Template.objects.filter(project=project, size__gt=1).order_by("-size", "id")
    page = Paginator(groups, 48).get_page(request.GET.get("page"))
    faces = {post.template_id: post for post in first_posts([group.pk for group in page])}
    context = {"project": project, "page": page, "groups": [(group, faces.get(group.pk)) for group in page]}
    return render(request, "annotate/templates.html", context)


def first_posts(templates: list[int]) -> list[Post]:
    return list(
        Post.objects.filter(template__in=templates)
        .order_by("template", "at", "id")
        .distinct("template")
        .select_related("image")
    )


class TemplateForm(forms.ModelForm[Template]):
    class Meta:
        model = Template
        fields = ["name"]


@require_POST
@requires(Role.LEAD)
def template_name(request: HttpRequest, project: Project, pk: int) -> HttpResponse:
    group = get_object_or_404(Template, project=project, pk=pk)
    form = TemplateForm(request.POST, instance=group)
    if form.is_valid():
        form.save()
        messages.success(request, f"The group is now called {group}.")
    else:
        messages.error(request, f"That name cannot be used: {form.errors['name'][0]}")
    return redirect("templates", project.slug)


class RemovalForm(forms.ModelForm[Removal]):
    class Meta:
        model = Removal
        fields = ["reason"]
        labels = {"reason": "Why"}
        help_texts = {"reason": "Such as: its author asked for it. Kept for good, so quote nothing of the post."}
        error_messages = {"reason": {"required": "Say why it is removed; the reason stays on record."}}


@never_cache
@require_http_methods(["GET", "HEAD", "POST"])
@requires(Role.ADMIN)
def post_remove(request: HttpRequest, project: Project, pk: int) -> HttpResponse:
    """Nothing is typed but the reason; the page says what goes, what stays, and what is out of our hands."""
    if project.removals.filter(post_id=pk).exists():
        messages.info(request, "This post was removed already.")
        return redirect("removals", project.slug)
    shown = get_object_or_404(project.posts.select_related("image", "label").defer("search"), pk=pk)
    form = RemovalForm(request.POST or None)
    if form.is_valid():
        try:
            removing.remove(shown, me(request), form.cleaned_data["reason"])
        except removing.NotRemoved as refusal:
            messages.warning(request, str(refusal))
        else:
            messages.success(request, "The post was removed for good.")
        return redirect("posts", project.slug)
    context = {
        "project": project,
        "post": shown,
        "name": name_of(shown),
        "form": form,
        "holds": removing.held_by(shown),
    }
    return render(request, "annotate/post_remove.html", context, status=422 if form.is_bound else 200)


@require_safe
@requires(Role.ADMIN)
def removals(request: HttpRequest, project: Project) -> HttpResponse:
    page = Paginator(project.removals.select_related("by"), 100).get_page(request.GET.get("page"))
    return render(request, "annotate/removals.html", {"project": project, "page": page})
