"""The tables of the voting wing, for site admins; what happens to a run is decided on its own page."""

from django.contrib import admin

from annotate.admin import Unwritable

from .models import Batch, Failure, Part, Replacement, VotingRun, Wording


@admin.register(VotingRun)
class VotingRunAdmin(Unwritable):
    list_display = ("__str__", "project", "state", "budget", "by", "created")
    list_filter = ("state", "project")
    list_select_related = ("project", "by")


@admin.register(Part)
class PartAdmin(Unwritable):
    list_display = ("voter", "run_id", "done", "total", "abstained", "cost", "unpriced")
    list_select_related = ("voter",)
    search_fields = ("voter__name",)


@admin.register(Failure)
class FailureAdmin(Unwritable):
    list_display = ("cause", "part", "post_id", "created")
    list_select_related = ("part__voter",)
    search_fields = ("cause",)


@admin.register(Batch)
class BatchAdmin(Unwritable):
    list_display = ("__str__", "state", "requests", "batch_id", "error", "created", "submitted", "ended")
    list_filter = ("state",)
    list_select_related = ("part__voter",)
    search_fields = ("batch_id__exact", "mark__exact")


@admin.register(Wording)
class WordingAdmin(Unwritable):
    list_display = ("hash", "part", "since")
    list_select_related = ("part__voter",)
    search_fields = ("hash__exact",)


@admin.register(Replacement)
class ReplacementAdmin(Unwritable):
    list_display = ("voter", "heir")
    list_select_related = ("voter", "heir")
