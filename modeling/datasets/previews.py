"""What a recipe would give, before anything is frozen: of few posts while the page waits, of many by a task."""

import hashlib
import json

from django.db import transaction
from django.db.models import Sum
from django_q.tasks import async_task

from annotate.models import Project, Tally
from modeling.models import Preview

from . import dataset
from .composition import Composition
from .recipe import Recipe

FEW = 20_000  # labelled posts, counted in about 0.4 s


def read(project: Project, recipe: Recipe) -> Composition | None:
    """None while it is being counted: ask again in a moment."""
    labelled, key = stamp(project, recipe)
    if labelled <= FEW:
        return dataset.choose(project, recipe)[2]
    preview, _ = Preview.objects.get_or_create(project=project, key=key, defaults={"recipe": recipe.as_json()})
    if preview.composition:
        return Composition.from_json(preview.composition)
    with transaction.atomic():
        if preview.claim():
            async_task("modeling.tasks.count_preview", preview.pk, task_name=f"preview {preview.pk}")
    return None


def count(preview: Preview) -> None:
    """Asked twice, it counts once."""
    if preview.composition is None:
        made = dataset.choose(preview.project, Recipe.from_json(preview.recipe))[2]
        preview.composition = made.as_json()
        preview.save(update_fields=["composition"])


def stamp(project: Project, recipe: Recipe) -> tuple[int, str]:
    """How many labelled posts there are, and a mark of all that the answer hangs on and that is cheap to know."""
    tallies = Tally.objects.filter(project=project, label_id__isnull=False).order_by()
    rows = sorted(
        (state, label, source, holdout, posts)
        for state, label, source, holdout, posts in tallies.values_list(
            "state", "label_id", "label_source", "holdout"
        ).annotate(n=Sum("posts"))
    )
    frozen = sorted(project.datasets.frozen().values_list("pk", flat=True))
    told = json.dumps([rows, frozen, recipe.as_json()], sort_keys=True)
    return sum(posts for *_, posts in rows), hashlib.sha256(told.encode()).hexdigest()
