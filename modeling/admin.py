"""The tables of the modelling wing, for site admins: to look at. What is frozen never changes, here neither."""

from django.contrib import admin

from annotate.admin import Unwritable

from .models import (
    Card,
    Cascade,
    Comparison,
    Dataset,
    DatasetItem,
    Doubt,
    DoubtSearch,
    Evaluation,
    Prediction,
    PreLabel,
    PreLabelling,
    Preview,
    Round,
    Run,
    RunPoint,
    ServedCheck,
    Serving,
    Study,
)


@admin.register(Dataset)
class DatasetAdmin(Unwritable):
    list_display = ("name", "project", "state", "total", "by", "created")
    list_filter = ("state", "project")
    list_select_related = ("project", "by")
    search_fields = ("name__exact", "content_hash__startswith")


@admin.register(DatasetItem)
class DatasetItemAdmin(Unwritable):
    """Found by dataset and position: there are millions of them."""

    list_display = ("external_id", "dataset", "position", "split", "label", "label_source", "removed")
    list_select_related = ("dataset",)
    ordering = ("-pk",)


@admin.register(DoubtSearch)
class DoubtSearchAdmin(Unwritable):
    list_display = ("__str__", "dataset", "state", "posts", "by", "created")
    list_filter = ("state",)
    list_select_related = ("dataset", "by")


@admin.register(Doubt)
class DoubtAdmin(Unwritable):
    list_display = ("item", "suggested", "chance", "search")
    list_select_related = ("item", "search")
    ordering = ("-pk",)


@admin.register(Preview)
class PreviewAdmin(Unwritable):
    list_display = ("__str__", "project", "asked", "created")
    list_select_related = ("project",)


@admin.register(Run)
class RunAdmin(Unwritable):
    list_display = ("__str__", "project", "dataset", "recipe", "state", "step", "steps", "by", "created")
    list_filter = ("state", "project")
    list_select_related = ("project", "dataset", "by")


@admin.register(RunPoint)
class RunPointAdmin(Unwritable):
    """There may be millions of them."""

    list_display = ("__str__", "kind", "step")
    ordering = ("-pk",)


@admin.register(Study)
class StudyAdmin(Unwritable):
    list_display = ("__str__", "title", "project", "dataset", "recipe", "state", "by", "created")
    list_filter = ("state", "kind", "project")
    list_select_related = ("project", "dataset", "by")


@admin.register(Evaluation)
class EvaluationAdmin(Unwritable):
    list_display = ("name", "project", "dataset", "split", "sees", "state", "by", "created")
    list_filter = ("state", "split", "sees")
    list_select_related = ("project", "dataset", "by")
    search_fields = ("test_hash__startswith",)


@admin.register(Serving)
class ServingAdmin(Unwritable):
    list_display = ("__str__", "project", "form", "state", "machine", "by", "created")
    list_filter = ("state", "form", "project")
    list_select_related = ("project", "run", "by")


@admin.register(ServedCheck)
class ServedCheckAdmin(Unwritable):
    list_display = ("__str__", "serving", "way", "split", "state", "by", "created")
    list_filter = ("state", "way")
    list_select_related = ("serving__run", "by")


@admin.register(Prediction)
class PredictionAdmin(Unwritable):
    """There may be millions of them."""

    list_display = ("__str__", "evaluation", "label", "confidence")
    list_select_related = ("evaluation",)
    ordering = ("-pk",)


@admin.register(Comparison)
class ComparisonAdmin(Unwritable):
    list_display = ("__str__", "first", "second")
    list_select_related = ("first", "second")
    ordering = ("-pk",)


@admin.register(Cascade)
class CascadeAdmin(Unwritable):
    list_display = ("name", "project", "dataset", "k", "threshold", "state", "by", "created")
    list_filter = ("state", "project")
    list_select_related = ("project", "dataset", "by")


@admin.register(PreLabelling)
class PreLabellingAdmin(Unwritable):
    list_display = ("__str__", "project", "run", "goal", "state", "threshold", "by", "created")
    list_filter = ("goal", "state", "project")
    list_select_related = ("project", "run", "by")


@admin.register(Round)
class RoundAdmin(Unwritable):
    list_display = ("__str__", "project", "state", "needs", "dataset", "run", "by", "created")
    list_filter = ("state", "needs", "project")
    list_select_related = ("project", "dataset", "run", "by")


@admin.register(PreLabel)
class PreLabelAdmin(Unwritable):
    """There may be millions of them."""

    list_display = ("__str__", "prelabelling", "chance", "taken_back")
    list_select_related = ("prelabelling",)
    ordering = ("-pk",)


@admin.register(Card)
class CardAdmin(admin.ModelAdmin[Card]):
    """The one table here that is to be edited: what a card costs changes by the month."""

    list_display = ("name", "gigabytes", "teraflops", "price")
    list_editable = ("price",)
