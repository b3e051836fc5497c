"""The tables of the modelling wing, for site admins: to look at. What is frozen never changes, here neither."""

from django.contrib import admin

from annotate.admin import Unwritable

from .models import Card, Dataset, DatasetItem, Preview, Run, RunPoint


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


@admin.register(Card)
class CardAdmin(admin.ModelAdmin[Card]):
    """The one table here that is to be edited: what a card costs changes by the month."""

    list_display = ("name", "gigabytes", "teraflops", "price")
    list_editable = ("price",)
