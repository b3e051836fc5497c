"""Every table, for site admins. What a million rows hang on is not deleted here, and nothing is counted to its end."""

from typing import Any

from django.apps import apps
from django.conf import settings
from django.contrib import admin
from django.contrib.auth.admin import UserAdmin
from django.contrib.auth.models import Group
from django.contrib.postgres.search import SearchQuery
from django.core.paginator import Paginator
from django.db.models import Model, Q, QuerySet
from django.http import HttpRequest
from django.utils.functional import cached_property

from .models import (
    ApiToken,
    Delivery,
    Disagreement,
    Event,
    Holding,
    Image,
    ImportRun,
    Invitation,
    Label,
    LabelStudioAnnotation,
    LabelStudioPerson,
    LabelStudioProject,
    LabelStudioRun,
    LabelStudioTask,
    Membership,
    Place,
    Post,
    Project,
    QueueTally,
    Removal,
    Review,
    Tally,
    Targeting,
    Template,
    User,
    Vote,
    Voter,
    VoteTally,
    Webhook,
)

COUNT_AT_MOST = 10_000

admin.site.unregister(Group)  # roles are memberships; a group would grant nothing


class FirstPages(Paginator[Any]):
    """Who looks for more has the filters; counting a million rows on each page helps nobody."""

    @cached_property
    def count(self) -> int:
        counted: int = self.object_list.order_by()[:COUNT_AT_MOST].count()  # type: ignore[attr-defined]
        return counted


class Table(admin.ModelAdmin[Any]):
    show_full_result_count = False
    list_per_page = 50


class Kept(Table):
    """Posts, votes or both hang on it: to ask whether it may be deleted would load them all."""

    def has_delete_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False


class Big(Table):
    paginator = FirstPages
    show_facets = admin.ShowFacets.NEVER
    actions = None


class Unwritable(Big, Kept):
    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False


# --- People


@admin.register(User)
class PersonAdmin(UserAdmin[User]):
    list_display = ("username", "first_name", "last_name", "email", "is_superuser", "is_active", "last_login")
    list_filter = ("is_superuser", "is_active")
    readonly_fields = ("last_login", "date_joined")
    filter_horizontal = ()
    show_full_result_count = False
    fieldsets = (
        (None, {"fields": ("username", "password", "first_name", "last_name", "email")}),
        ("A site admin is both superuser and staff", {"fields": ("is_superuser", "is_staff")}),
        ("Switch off instead of deleting", {"fields": ("is_active", "last_login", "date_joined")}),
    )


@admin.register(Membership)
class MembershipAdmin(Table):
    list_display = ("user", "project", "role", "created")
    list_filter = ("role", "project")
    list_select_related = ("user", "project")
    search_fields = ("user__username", "project__name")
    autocomplete_fields = ("user", "project")


@admin.register(Invitation)
class InvitationAdmin(Table):
    """Made on the people page of a project, where the link can be shown."""

    list_display = ("project", "role", "note", "created_by", "expires", "used_by")
    list_filter = ("role", "project")
    list_select_related = ("project", "created_by", "used_by")
    search_fields = ("note", "created_by__username", "used_by__username")
    fields = ("project", "role", "note", "created_by", "created", "expires", "used_by", "used_at")
    readonly_fields = ("project", "created_by", "created", "used_by", "used_at")

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False


@admin.register(ApiToken)
class ApiTokenAdmin(Table):
    """Made on one's account page, where the secret can be shown."""

    list_display = ("name", "user", "created", "last_used")
    list_select_related = ("user",)
    search_fields = ("name", "user__username")
    fields = ("name", "user", "created", "last_used")
    readonly_fields = ("user", "created", "last_used")

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False


@admin.register(Event)
class EventAdmin(Unwritable):
    list_display = ("at", "verb", "user", "project", "post_id", "data")
    list_filter = ("project",)
    list_select_related = ("user", "project")
    search_fields = ("post_id__exact",)
    search_help_text = "The number of a post"


@admin.register(Webhook)
class WebhookAdmin(Unwritable):
    """Kept by the admins of its project, on its own page."""

    list_display = ("address", "project", "state", "private", "failing_since", "by", "created")
    list_filter = ("state", "private", "project")
    list_select_related = ("project", "by")
    search_fields = ("address", "note")


@admin.register(Delivery)
class DeliveryAdmin(Unwritable):
    list_display = ("message", "webhook", "kind", "state", "tries", "code", "tried", "due")
    list_filter = ("state",)
    list_select_related = ("webhook",)
    search_fields = ("kind",)


# --- Projects


@admin.register(Project)
class ProjectAdmin(Kept):
    list_display = ("name", "slug", "question", "synthetic", "created")
    search_fields = ("name", "slug", "question")
    readonly_fields = ("synthetic", "created")
    autocomplete_fields = ("created_by",)


@admin.register(Label)
class LabelAdmin(Kept):
    list_display = ("name", "project", "key", "colour", "position")
    list_filter = ("project",)
    list_select_related = ("project",)
    search_fields = ("name", "project__name")
    autocomplete_fields = ("project",)


@admin.register(ImportRun)
class ImportRunAdmin(Kept):
    """Started, stopped and started again on its page in the project."""

    list_display = ("name", "project", "by", "state", "imported", "already", "refused", "votes", "created")
    list_filter = ("state", "project")
    list_select_related = ("project", "by")
    search_fields = ("name", "project__name")

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False


# --- Posts, and what was said of them


@admin.register(Post)
class PostAdmin(Big, Kept):
    """Removed on its page in the project, where its pictures go with it and it is kept from coming back."""

    list_display = ("external_id", "project", "state", "label", "label_source", "holdout", "at")
    list_filter = ("state", "label_source", "holdout", "project")
    list_select_related = ("project", "label")
    search_fields = ("text",)
    search_help_text = "Words of the text, or the whole external id"
    autocomplete_fields = ("project", "label")
    raw_id_fields = ("image", "template", "import_run")
    readonly_fields = ("vote_count", "content_hash", "created")

    def get_queryset(self, request: HttpRequest) -> QuerySet[Post]:
        return super().get_queryset(request).defer("search")

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Post], search_term: str
    ) -> tuple[QuerySet[Post], bool]:
        """Through the index of words that the pages use: `text ILIKE` would read every post."""
        if not search_term:
            return queryset, False
        words = SearchQuery(search_term, config="english", search_type="websearch")
        return queryset.filter(Q(search=words) | Q(external_id=search_term)), False


@admin.register(Removal)
class RemovalAdmin(Unwritable):
    list_display = ("at", "project", "post_id", "by", "reason")
    list_filter = ("project",)
    list_select_related = ("project", "by")
    search_fields = ("post_id__exact",)
    search_help_text = "The number that the post had"


@admin.register(Image)
class ImageAdmin(Unwritable):
    list_display = ("sha256", "format", "width", "height", "bytes", "created")
    list_filter = ("format",)
    search_fields = ("sha256__startswith",)


@admin.register(Template)
class TemplateAdmin(Big, Kept):
    list_display = ("__str__", "project", "size")
    list_filter = ("project",)
    list_select_related = ("project",)
    search_fields = ("name",)
    autocomplete_fields = ("project",)
    readonly_fields = ("size",)


@admin.register(Voter)
class VoterAdmin(Kept):
    list_display = ("name", "project", "provider", "model", "created")
    list_filter = ("provider", "project")
    list_select_related = ("project",)
    search_fields = ("name", "model", "project__name")
    readonly_fields = ("project", "provider", "model", "parameters", "prompt", "fingerprint", "created")

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False


@admin.register(Vote)
class VoteAdmin(Unwritable):
    list_display = ("post", "voter", "label", "confidence", "cost", "created")
    list_filter = ("voter",)
    list_select_related = ("post", "voter", "label")
    search_fields = ("post__external_id__exact",)

    def get_queryset(self, request: HttpRequest) -> QuerySet[Vote]:
        return super().get_queryset(request).defer("raw", "post__search", "post__text", "post__meta")


@admin.register(Disagreement)
class DisagreementAdmin(Unwritable):
    """Claimed, answered and taken back on the review screen, where what follows from it is done too."""

    list_display = ("post", "project", "why", "stream", "answers", "holder", "opened", "closed")
    list_filter = ("why", "stream", "project")
    list_select_related = ("post", "project", "holder")
    ordering = ("-id",)
    search_fields = ("post__external_id__exact",)

    def get_queryset(self, request: HttpRequest) -> QuerySet[Disagreement]:
        return super().get_queryset(request).defer("post__search", "post__text", "post__meta")


@admin.register(Review)
class ReviewAdmin(Unwritable):
    list_display = ("at", "project", "reviewer", "disagreement_id", "label", "instead", "final", "undone")
    list_filter = ("instead", "final", "project")
    list_select_related = ("project", "reviewer", "label")
    search_fields = ("reviewer__username__exact",)


@admin.register(Targeting)
class TargetingAdmin(Unwritable):
    list_display = ("created", "project", "by", "posts", "expected", "low", "high", "method")
    list_filter = ("project",)
    list_select_related = ("project", "by")


@admin.register(Tally)
class TallyAdmin(Unwritable):
    list_display = ("project", "state", "label_id", "label_source", "voted", "holdout", "posts")
    list_filter = ("state", "project")
    list_select_related = ("project",)


@admin.register(VoteTally)
class VoteTallyAdmin(Unwritable):
    list_display = ("voter_id", "label_id", "votes", "cost")


@admin.register(QueueTally)
class QueueTallyAdmin(Unwritable):
    list_display = ("project", "stream", "posts")
    list_filter = ("project",)
    list_select_related = ("project",)


# --- Room: measured by workers, told at Storage


@admin.register(Place)
class PlaceAdmin(Unwritable):
    list_display = ("__str__", "measured", "asked", "claimed", "swept")


@admin.register(Holding)
class HoldingAdmin(Unwritable):
    list_display = ("project", "what", "bytes", "place")
    list_filter = ("project",)
    list_select_related = ("project", "place")


# --- Label Studio: all of it is done on a project's page


@admin.register(LabelStudioProject)
class LabelStudioProjectAdmin(Unwritable):
    list_display = ("project", "address", "number", "created", "left")
    list_select_related = ("project",)


@admin.register(LabelStudioPerson)
class LabelStudioPersonAdmin(Unwritable):
    list_display = ("__str__", "email", "project", "user")
    list_filter = ("project",)
    list_select_related = ("project", "user")
    search_fields = ("email",)


@admin.register(LabelStudioTask)
class LabelStudioTaskAdmin(Unwritable):
    list_display = ("number", "link", "disagreement_id", "pushed", "deleted_there")
    list_select_related = ("link",)
    search_fields = ("number__exact",)


@admin.register(LabelStudioAnnotation)
class LabelStudioAnnotationAdmin(Unwritable):
    list_display = ("number", "task", "person", "said", "here", "outcome", "read")
    list_filter = ("outcome",)
    list_select_related = ("task", "person")
    search_fields = ("number__exact",)


@admin.register(LabelStudioRun)
class LabelStudioRunAdmin(Unwritable):
    list_display = ("created", "project", "way", "by", "state", "done", "total")
    list_filter = ("way", "state", "project")
    list_select_related = ("project", "by")


# --- Single sign-on


WHO_IS_WHO = ("socialaccount", "SocialAccount")


def register_sign_on() -> None:
    """Its library's tables, but for who is who, hold nothing here; what is entered in them would open other doors."""
    for label in ("account", "socialaccount"):
        for model in apps.get_app_config(label).get_models():
            if admin.site.is_registered(model):
                admin.site.unregister(model)

    @admin.register(apps.get_model(*WHO_IS_WHO))
    class SignOnAdmin(Table):
        """Deleted, the person has to be connected again."""

        list_display = ("user", "provider", "uid", "last_login")
        list_select_related = ("user",)
        search_fields = ("user__username", "uid")

        def has_add_permission(self, request: HttpRequest) -> bool:
            return False

        def has_change_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
            return False


if settings.OIDC_ISSUER:
    register_sign_on()
